"""Appendix D: what its paragraph holds, and what the text says that it lacks."""

from __future__ import annotations

import re

import matplotlib.pyplot  # noqa: F401  (closed at the end, whether the page draws or not)
import pytest
from cells import CHAPTERS, run_chapter
from said import stands

from pylmm_helpers import load, report


@pytest.fixture(scope="module")
def paragraph() -> str:
    page = run_chapter("D-checklist")
    return str(report(page["fit"], unit="mmHg", labels=page["words"]))


def test_the_variance_between_hospitals_says_where_it_holds(paragraph: str) -> None:
    assert stands("D-checklist", "says where its number holds, which is for untreated patients")
    assert "between-hospital variance where treatment = 0 was" in paragraph
    assert set(load("bp_trial")["treatment"]) == {0, 1}


def test_variances_have_intervals_as_the_checklist_asks(paragraph: str) -> None:
    assert stands("D-checklist", "Every variance component with its unit")
    variances = paragraph.partition("Fixed effects:")[0].rpartition("\n\n")[2]
    # between, of the slope, and residual
    assert variances.count("CI of the variance") == 3


def test_what_the_paragraph_lacks_is_what_the_text_names(paragraph: str) -> None:
    assert stands("D-checklist", "It says nothing of the design, of the checks of the assumptions")
    for word in ("Q-Q", "influen", "planned", "normality"):
        assert word not in paragraph


def test_a_decision_leads_to_a_section_and_not_to_the_top_of_a_chapter() -> None:
    page = (CHAPTERS / "D-checklist.qmd").read_text(encoding="utf-8")
    table = page.partition("| Decision |")[2].partition("{#tbl-dl-log}")[0]
    led = re.findall(r"\| @(sec-[\w-]+) \|$", table, re.M)
    text = "\n".join(p.read_text(encoding="utf-8") for p in CHAPTERS.glob("[01]*.qmd"))
    levels = {m[2]: len(m[1]) for m in re.finditer(r"^(#+) .*\{#(sec-[\w-]+)", text, re.M)}
    assert [section for section in led if levels[section] == 1] == []
    assert len(led) == table.count("\n|") - 1

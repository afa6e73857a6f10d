"""Appendix D: what its paragraph holds, and what the text says that it lacks."""

from __future__ import annotations

import matplotlib.pyplot  # noqa: F401  (closed at the end, whether the page draws or not)
import pytest
from cells import run_chapter
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

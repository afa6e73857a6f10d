"""Appendix D: what its paragraph holds, and what the text says that it lacks."""

from __future__ import annotations

import re

import matplotlib.pyplot  # noqa: F401  (closed at the end, whether the page draws or not)
import pytest
from cells import run_chapter
from said import stands

from pylmm_helpers import load, profile_ci, report


@pytest.fixture(scope="module")
def paragraph() -> str:
    page = run_chapter("D-checklist")
    return str(report(page["fit"], unit="mmHg", labels=page["words"]))


def test_the_variance_of_a_model_with_a_slope_is_that_of_the_intercept(paragraph: str) -> None:
    assert stands("D-checklist", "so it says that of the intercept, which holds for untreated")
    assert "variance of the intercept was" in paragraph
    assert not re.search(r"between-hospital variance was", paragraph)
    assert set(load("bp_trial")["treatment"]) == {0, 1}


def test_the_paragraph_has_no_interval_of_a_variance_and_profile_ci_has(paragraph: str) -> None:
    assert stands("D-checklist", "It gives no intervals of variances")
    variances = paragraph.partition("Fixed effects:")[0].rpartition("\n\n")[2]
    assert "variance" in variances and "CI" not in variances
    found = profile_ci(run_chapter("D-checklist")["fit"])
    assert len(found) >= 3 and (found["ci_low"] <= found["ci_high"]).all()

"""`agreement_summary`: one line for the comparisons of a chapter, and their tables behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pylmm_helpers import agreement_summary, crosscheck, fit_lmm, load


@pytest.fixture(scope="module")
def agreement():
    fit = fit_lmm("milk_kg ~ parity", load("dairy_herds"), groups="herd")
    return crosscheck(fit, "milk_kg ~ parity + (1 | herd)", label="summary-test")


def with_record(agreement, **changes):
    return replace(agreement, record={**agreement.record, **changes})


def test_counts_models_and_names_the_largest_difference(agreement):
    far = with_record(agreement, max_diff_engine=3e-5)
    line = agreement_summary([agreement, far]).line
    assert line.startswith("2 models agree with lme4; largest difference 3e−05 (engine)")
    assert "statsmodels" not in line  # it took no part
    assert agreement_summary(agreement).line.startswith("1 model agrees with lme4")


def test_a_model_in_which_statsmodels_is_off_is_counted_apart(agreement):
    off = with_record(agreement, verdict="statsmodels differs", max_diff_statsmodels=0.5)
    near = with_record(agreement, max_diff_statsmodels=2e-4)
    line = agreement_summary([near, off]).line
    assert line.startswith("1 model agrees with lme4; in 1 more the engine does")
    assert "2e−04 (statsmodels)" in line
    assert "5e−01" not in line


def test_tables_stand_in_a_fold_without_what_holds_for_every_model(agreement):
    markdown = agreement_summary([agreement])._repr_markdown_()
    line, fold = markdown.split("::: {.proof summary=")
    assert "|" not in line
    assert "SE of `parity`" in fold and "`milk_kg ~ parity + (1 | herd)` by REML" in fold
    assert "lme4 values" in agreement._repr_markdown_() and "lme4 values" not in markdown


def test_prints_a_line_for_each_model_in_80_columns(agreement):
    printed = repr(agreement_summary([agreement, agreement]))
    assert printed.count("agrees; largest difference") == 2
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("given", "named"), [([], "nothing"), ([1.5], "a float"), (["x"], "a str")]
)
def test_refuses_what_is_no_comparison(given, named):
    with pytest.raises(ValueError, match=named):
        agreement_summary(given)

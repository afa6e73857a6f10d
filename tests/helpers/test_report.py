"""The reporting paragraph says what was done and what came out, with the fit's own numbers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import statsmodels.formula.api as smf

from pylmm_helpers.inference import coef_table
from pylmm_helpers.lmm import fit_lmm
from pylmm_helpers.report import report
from pylmm_helpers.variance import icc, variance_components

ROOT = Path(__file__).parents[2]


def data(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "datasets" / f"{name}.csv")


@pytest.fixture(scope="module")
def dairy():
    return fit_lmm("milk_kg ~ parity + C(feeding)", data("dairy_herds"), "herd")


def test_methods_name_estimation_model_sizes_and_df_method(dairy):
    text = report(dairy)
    for words in ("restricted maximum likelihood (REML)", "parity and feeding", "random intercept",
                  f"{dairy.nobs:,} observations in {dairy.ngroups} groups", "8 to 60 each",
                  "Kenward and Roger"):  # fmt: skip
        assert words in text


def test_results_carry_the_fits_numbers(dairy):
    text = report(dairy, unit="kg")
    parts, row = variance_components(dairy), coef_table(dairy).loc["parity"]
    ratio = icc(dairy)
    assert f"between-herd variance was {parts.loc['Intercept', 'variance']:.0f} kg²" in text
    assert f"(SD {parts.loc['Intercept', 'sd']:.1f} kg)" in text
    assert f"parity {row['estimate']:.2f} kg (95% CI {row['ci_low']:.2f} to" in text
    assert f"was {ratio['estimate']:.2f} (95% profile likelihood CI {ratio['ci_low']:.2f}" in text


def test_categories_name_what_they_are_compared_with(dairy):
    assert "feeding mixed (against confined) −" in report(dairy)


def test_maximum_likelihood_is_said_and_uses_satterthwaite():
    text = report(fit_lmm("milk_kg ~ parity", data("dairy_herds"), "herd", reml=False))
    assert "by maximum likelihood (ML)" in text and "Satterthwaite" in text
    assert "Kenward" not in text


def test_a_slope_model_gives_the_correlation_and_no_single_icc():
    fit = fit_lmm("Reaction ~ Days", data("published/sleepstudy"), "Subject", "1 + Days")
    text = report(fit)
    assert "The correlation of intercept and slope of Days was 0.07." in text
    assert "intraclass" not in text and "(10 each)" in text


def test_a_singular_fit_is_said():
    text = report(fit_lmm("Yield ~ 1", data("published/dyestuff2"), "Batch"))
    assert "singular" in text and "variance was 0 (SD 0)" in text and "no predictors" in text


def test_dropped_rows_are_counted():
    frame = data("dairy_herds")
    frame.loc[[3, 77], "parity"] = None
    text = report(fit_lmm("milk_kg ~ parity", frame, "herd", missing="drop"))
    assert "2 rows with missing values were left out" in text


def test_a_statsmodels_fit_names_its_engine():
    text = report(smf.mixedlm("milk_kg ~ parity", data("dairy_herds"), groups="herd").fit())
    assert "fitted with statsmodels" in text and "each herd" in text


def test_wald_tests_use_z_and_kenward_roger_needs_reml(dairy):
    assert "; z = " in report(dairy, df="wald")
    with pytest.raises(ValueError, match="df"):
        report(dairy, df="exact")


def test_small_p_values_are_not_zero_and_minus_signs_are_minus_signs(dairy):
    text = report(dairy)
    assert "p < 0.001" in text and "p = 0.000" not in text and " -" not in text


def test_it_prints_and_shows_as_the_same_text(dairy):
    text = report(dairy)
    assert str(text) == text._repr_markdown_() == repr(text)


def test_symbols_in_term_names_are_not_taken_for_markup():
    text = report(fit_lmm("milk_kg ~ parity + I(parity**2)", data("dairy_herds"), "herd"))
    assert "parity**2" in text
    assert r"parity\*\*2" in text._repr_markdown_()

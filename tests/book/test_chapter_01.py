"""What chapter 1 says in words about its data, where the words would not change by themselves."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from offline_render.book import Cell, split
from pylmm_helpers import blups, coef_table, contrast, fit_lmm, icc, load, lrt, plots
from pylmm_helpers.quantities.diagnostics import residuals

CHAPTER = Path(__file__).parents[2] / "chapters" / "01-whole-game.qmd"
FORMULA = "milk_kg ~ parity + feeding"
CONFINED = "feeding[T.confined]"


@pytest.fixture(scope="module")
def dairy() -> pd.DataFrame:
    return load("dairy_herds")


@pytest.fixture(scope="module")
def fit(dairy: pd.DataFrame):
    return smf.mixedlm(FORMULA, dairy, groups="herd").fit(reml=True)


@pytest.fixture(scope="module")
def effects(fit) -> pd.DataFrame:
    return coef_table(fit)


def gls_cell() -> str:
    return next(
        part.code for part in split(CHAPTER) if isinstance(part, Cell) and part.label == "gls"
    )


def test_the_ten_lines_give_the_fixed_effects_of_the_fit(dairy: pd.DataFrame, fit) -> None:
    names = {"np": np, "fit": fit, "herds": dairy.groupby("herd", observed=True)}
    exec(gls_cell(), names)
    np.testing.assert_allclose(names["beta"], fit.fe_params, rtol=1e-8)
    wald = coef_table(fit, df="wald")["std_error"]
    np.testing.assert_allclose(names["std_error"], wald, rtol=1e-8)


def test_the_ten_lines_are_ten() -> None:
    assert len([line for line in gls_cell().splitlines() if line.strip()]) == 10


def test_the_intervals_cover_the_truth(fit, effects: pd.DataFrame, dairy: pd.DataFrame) -> None:
    for term, truth in {"parity": 6, "feeding[T.mixed]": 10, CONFINED: 20}.items():
        assert effects.loc[term, "ci_low"] < truth < effects.loc[term, "ci_high"], term
    null = icc(smf.mixedlm("milk_kg ~ 1", dairy, groups="herd").fit(reml=True))
    assert null["ci_low"] < 0.20 < null["ci_high"]


def test_feeding_rests_on_herds_and_parity_on_cows(
    effects: pd.DataFrame, dairy: pd.DataFrame
) -> None:
    herds = dairy["herd"].nunique()
    assert (effects.loc[["feeding[T.mixed]", CONFINED], "df"] < herds).all()
    assert effects.loc["parity", "df"] > 0.95 * len(dairy)


def test_the_herd_variance_test_is_the_reml_comparison_with_least_squares(
    dairy: pd.DataFrame, fit
) -> None:
    X, y = fit.model.exog, fit.model.endog
    n, p = X.shape
    rest = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    sigma2 = rest @ rest / (n - p)
    null = (n - p) * (1 + np.log(2 * np.pi * sigma2)) + np.linalg.slogdet(X.T @ X)[1]
    test = lrt(fit, "ols").iloc[0]
    assert test["statistic"] == pytest.approx(null + 2 * fit.llf, abs=1e-4)
    assert test["p_value"] == pytest.approx(test["p_value_naive"] / 2, rel=1e-12)


def test_every_herd_lies_inside_the_band(fit) -> None:
    labels = {text.get_text() for text in plots.qq(fit).get_legend().get_texts()}
    assert labels == {"95% simultaneous band"}


def test_residuals_show_no_trend_with_parity(fit, dairy: pd.DataFrame) -> None:
    grouped = fit.resid.groupby(dairy["parity"])
    table = grouped.agg(["mean", "sem", "std"])
    assert (table["mean"].abs() < 2 * table["sem"]).all()
    assert table["std"].idxmin() == 1
    # "the spread is another matter", but it moves no coefficient by a fifth of its error
    assert 0.02 < stats.bartlett(*[residual for _, residual in grouped]).pvalue < 0.05
    weights = dairy["parity"].map(table["std"] ** -2)
    spread = fit_lmm(FORMULA, dairy, groups="herd", weights=weights.to_numpy())
    moved = (spread.fe_params - fit.fe_params[spread.fe_params.index]).abs()
    assert (moved < 0.2 * spread.bse_fe).all() and spread.criterion < -2 * fit.llf
    assert residuals(fit)["conditional_std"].std() == pytest.approx(1, abs=0.02)


def test_parities_leave_no_line(dairy: pd.DataFrame, fit) -> None:
    """The page's F-test of the departures, beside the likelihood ratio of the two models."""
    by_category = smf.mixedlm("milk_kg ~ C(parity) + feeding", dairy, groups="herd").fit(reml=True)
    step = "C(parity)[T.2]"
    bends = [{f"C(parity)[T.{k}]": 1, step: 1 - k} for k in range(3, 7)]
    line = contrast(by_category, bends).iloc[0]
    models = ("milk_kg ~ C(parity) + feeding", FORMULA)
    larger, smaller = (fit_lmm(m, dairy, groups="herd", reml=False) for m in models)
    ratio = lrt(larger, smaller).iloc[0]
    assert line["df_num"] == ratio["df"] == 4
    assert line["p_value"] == pytest.approx(ratio["p_value"], abs=0.01)
    assert line["p_value"] > 0.2, "a straight line will do"


def test_other_choices_move_confined_feeding_by_less_than_a_standard_error(
    fit, dairy: pd.DataFrame
) -> None:
    extreme = blups(fit)["estimate"].abs().idxmax()
    region = smf.mixedlm(f"{FORMULA} + region", dairy, groups="herd").fit(reml=True)
    fewer = dairy[dairy["herd"] != extreme]
    without = smf.mixedlm(FORMULA, fewer, groups="herd").fit(reml=True)
    ols = smf.ols(FORMULA, dairy).fit()
    for other in (region.fe_params, without.fe_params, ols.params):
        assert abs(other[CONFINED] - fit.fe_params[CONFINED]) < fit.bse_fe[CONFINED]
    assert ols.bse[CONFINED] < 0.6 * fit.bse_fe[CONFINED]
    assert (
        ols.pvalues["feeding[T.mixed]"] < 0.01 * coef_table(fit).loc["feeding[T.mixed]", "p_value"]
    )


def test_feeding_takes_most_of_what_leaves_the_herd_variance(dairy: pd.DataFrame) -> None:
    between = {
        formula: float(
            smf.mixedlm(f"milk_kg ~ {formula}", dairy, groups="herd")
            .fit(reml=True)
            .cov_re.iloc[0, 0]
        )
        for formula in ("1", "feeding", "parity + feeding")
    }
    assert between["1"] - between["feeding"] > 0.7 * (between["1"] - between["parity + feeding"])


def test_herd_means_and_cows_spread_as_the_description_of_the_figure_says(
    dairy: pd.DataFrame,
) -> None:
    alt = re.search(
        r"Herd means rise by about (\d+) .*? herd spread over about (\d+)", CHAPTER.read_text()
    )
    assert alt
    herds = dairy.groupby("herd")["milk_kg"]
    assert np.ptp(herds.mean()) == pytest.approx(float(alt[1]), abs=5)
    assert (herds.max() - herds.min()).median() == pytest.approx(float(alt[2]), abs=15)

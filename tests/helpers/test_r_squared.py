"""R squared and ICC against R's performance (record_r_squared.R), and what can't be answered."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from recorded import HERE, ROOT

from pylmm_helpers import cross_products, fit_lmm, icc, load, r_squared

CASES = {
    case["id"]: case
    for case in json.loads((HERE / "reference" / "r_squared.json").read_text("utf-8"))["cases"]
}
ROWS = {
    "marginal R2": "marginal",
    "conditional R2": "conditional",
    "adjusted ICC": "adjusted",
    "unadjusted ICC": "unadjusted",
}
#: performance leaves out all but the first of a factor's terms, and singular fits.
OTHER = {"sleepstudy-uncorrelated", "schools", "singular"}


def fitted(name: str) -> Any:
    case = CASES[name]
    places = [ROOT / "datasets", ROOT / "datasets" / "published", HERE / "data"]
    path = next(p for p in (d / f"{case['data']}.csv" for d in places) if p.exists())
    data = pd.read_csv(path).dropna()
    if case["data"] == "pastes":
        data["strong"] = (data["cask"] == "c").astype(int)
    return fit_lmm(case["formula"].replace("factor(", "C("), data, reml=case["reml"])


@pytest.mark.parametrize("name", sorted(set(CASES) - OTHER))
def test_shares_are_those_of_performance(name: str) -> None:
    table = r_squared(fitted(name))
    for row, key in ROWS.items():
        # both optimisers stop within 1e-7 of the variances
        assert table.loc[row, "share"] == pytest.approx(CASES[name][key], abs=1e-6)
    np.testing.assert_allclose(table["share"], table["variance"] / table["of"], rtol=1e-14)


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case["levels"]])
def test_levels_are_those_of_performance(name: str) -> None:
    table = r_squared(fitted(name), by_level=True)
    for row in CASES[name]["levels"]:
        level = {"Level 1": "Residual"}.get(row["Level"], row["Level"])
        found = table.loc[level]
        # the null model's variances have the optimiser's error too; lme4 stops earlier there
        assert found["explained"] == pytest.approx(row["R2"], abs=2e-6)
        assert (found["note"] == "below zero") == (found["explained"] < 0.0)
    assert len(table) == len(CASES[name]["levels"])


def test_the_numbers_of_the_design() -> None:
    slopes = r_squared(fitted("sleepstudy-slope"))["share"]
    assert slopes.iloc[:2].round(3).tolist() == [0.279, 0.799]
    dairy = r_squared(fitted("dairy"))["share"]
    assert dairy.iloc[:2].round(3).tolist() == [0.142, 0.272]


def test_a_share_below_zero_says_so() -> None:
    table = r_squared(fitted("sleepstudy-intercept"), by_level=True)
    assert table.loc["Subject", "explained"] < 0.0
    assert table.loc["Subject", "note"] == "below zero"
    assert table.loc["Residual", "note"] == ""
    assert "leave more variance" in table.attrs["note"]
    assert "note" not in r_squared(fitted("dairy"), by_level=True).attrs


def test_every_term_of_a_factor_counts() -> None:
    fit = fitted("sleepstudy-uncorrelated")
    G = np.diag(fit.cov_re_by_group["Subject"])
    days = fit.frame["Days"].to_numpy(dtype=float)
    random = G[0] + G[1] * np.mean(days**2)
    table = r_squared(fit)
    assert table.loc["adjusted ICC", "share"] == pytest.approx(random / (random + fit.scale))
    fixed = np.var(fit.X @ fit.fe_params.to_numpy(), ddof=1)
    total = fixed + random + fit.scale
    assert table.loc["marginal R2", "share"] == pytest.approx(fixed / total)
    # what performance gives: the intercepts alone
    only = G[0] / (G[0] + fit.scale)
    assert CASES["sleepstudy-uncorrelated"]["adjusted"] == pytest.approx(only, rel=1e-6)


@pytest.mark.parametrize("name", ["schools", "singular"])
def test_a_zero_variance_is_a_number_with_a_note(name: str) -> None:
    fit = fitted(name)
    assert fit.singular and CASES[name]["conditional"] is None
    table = r_squared(fit)
    assert np.isfinite(table.to_numpy()).all()
    assert "performance" in table.attrs["note"]
    assert "note" not in r_squared(fitted("dairy")).attrs


def test_no_variance_between_groups_at_all() -> None:
    fit = fitted("singular")
    table = r_squared(fit)["share"]
    assert table["adjusted ICC"] == 0.0
    assert table["marginal R2"] == pytest.approx(table["conditional R2"])
    data = load("dyestuff2")
    alone = r_squared(fit_lmm("Yield ~ 1", data, "Batch"), by_level=True)
    assert alone.loc["Batch", "note"] == "no null variance"
    assert np.isnan(alone.loc["Batch", "explained"])


def test_the_adjusted_icc_is_that_of_icc() -> None:
    for name in ("dairy", "sleepstudy-slope"):
        fit = fitted(name)
        own = r_squared(fit).loc["adjusted ICC", "share"]
        assert own == pytest.approx(icc(fit)["estimate"], rel=1e-12)


def test_the_model_without_predictors_explains_nothing() -> None:
    fit = fit_lmm("milk_kg ~ 1", load("dairy_herds"), "herd")
    assert r_squared(fit).loc["marginal R2", "share"] == pytest.approx(0.0, abs=1e-15)
    by = r_squared(fit, by_level=True)
    np.testing.assert_allclose(by["explained"], 0.0, atol=1e-7)


def test_slopes_by_level_do_not_depend_on_the_origin() -> None:
    data = load("sleepstudy")
    data["later"] = data["Days"] + 100.0
    one = r_squared(fit_lmm("Reaction ~ Days", data, "Subject", "Days"), by_level=True)
    two = r_squared(fit_lmm("Reaction ~ later", data, "Subject", "later"), by_level=True)
    np.testing.assert_allclose(one["explained"], two["explained"], rtol=1e-5)


@pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning")
def test_fits_of_statsmodels_and_of_products() -> None:
    data = load("dairy_herds")
    want = r_squared(fit_lmm("milk_kg ~ parity + dtfs", data, "herd", "parity"))
    theirs = smf.mixedlm("milk_kg ~ parity + dtfs", data, groups="herd").fit()
    ours = fit_lmm("milk_kg ~ parity + dtfs", data, "herd")
    np.testing.assert_allclose(r_squared(theirs), r_squared(ours), rtol=1e-4)
    by = (r_squared(theirs, True)["explained"], r_squared(ours, True)["explained"])
    np.testing.assert_allclose(*by, rtol=1e-3)
    sums = cross_products(data, "milk_kg ~ parity + dtfs", "herd", "parity", progress=False)
    np.testing.assert_allclose(r_squared(fit_lmm(sums)), want, rtol=1e-6)
    with pytest.raises(ValueError, match="has no rows"):
        r_squared(fit_lmm(sums), by_level=True)
    formula = "milk_kg ~ parity + dtfs + (1 | region) + (1 + parity | herd)"
    several = fit_lmm(cross_products(data, formula, progress=False))
    np.testing.assert_allclose(r_squared(several), r_squared(fit_lmm(formula, data)), rtol=1e-6)
    with pytest.raises(ValueError, match="no rows"):
        r_squared(several, by_level=True)
    for formula, groups in (
        ("milk_kg ~ parity + offset(dtfs)", "herd"),
        ("milk_kg ~ parity + offset(dtfs) + (1 | region) + (1 | herd)", None),
    ):
        known = fit_lmm(cross_products(data, formula, groups, progress=False))
        with pytest.raises(ValueError, match="offset"):
            r_squared(known)


def test_what_can_not_be_answered_is_named() -> None:
    data = load("dairy_herds")
    data["w"] = 1.0 + (np.arange(len(data)) % 2)
    with pytest.raises(ValueError, match="with weights"):
        r_squared(fit_lmm("milk_kg ~ parity", data, "herd", weights="w"))
    formula = "milk_kg ~ parity + (1 | region) + (1 | herd)"
    several = fit_lmm(formula, data, weights="w")
    with pytest.raises(ValueError, match="with weights"):
        r_squared(several)
    with pytest.raises(ValueError, match="offset"):
        r_squared(fit_lmm("milk_kg ~ parity + offset(dtfs)", data, "herd"))
    sleep = load("sleepstudy")
    unequal = fit_lmm("Reaction ~ Days", sleep, "Subject", correlation="ar1(Days)")
    with pytest.raises(ValueError, match="independent residuals"):
        r_squared(unequal)
    with pytest.raises(ValueError, match="no intercept"):
        r_squared(fit_lmm("milk_kg ~ 0 + parity", data, "herd"), by_level=True)
    fit = fit_lmm("milk_kg ~ parity", data, "herd")
    with pytest.raises(ValueError, match="by_level is 'herd'"):
        r_squared(fit, by_level="herd")
    with pytest.raises(ValueError, match="fit_lmm"):
        r_squared(smf.ols("milk_kg ~ parity", data).fit())

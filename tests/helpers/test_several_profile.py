"""Profile intervals of models with several random terms: lme4's, those of the engine for one
factor, and a likelihood written out densely."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recorded import HERE, read
from scipy.optimize import minimize

from pylmm_helpers import fit_lmm, plots, profile_ci
from pylmm_helpers.engine.several.design import build
from pylmm_helpers.engine.several.fit import fit_design
from pylmm_helpers.inference.profile import profile_zeta

CASES = json.loads((HERE / "reference" / "several_profile.json").read_text(encoding="utf-8"))[
    "cases"
]
CUT = 1.9599639845400545


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_ends_are_those_of_lme4(case: dict[str, Any]) -> None:
    fit = fit_lmm(case["formula"], read(case["data"]), reml=False)
    found = profile_ci(fit)
    assert list(found["lme4_name"]) == case["names"]
    theirs = np.array([[np.nan if v == "NA" else v for v in row] for row in case["ends"]], float)
    # lme4 interpolates its profile by a spline, off by up to 4e-4 where the profile bends at zero;
    # the tests below hold the ends themselves to 1e-5
    np.testing.assert_allclose(found[["ci_low", "ci_high"]], theirs, rtol=5e-4, atol=2e-5)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("terms", ["1", "1 + Days"])
def test_one_factor_has_the_ends_of_its_own_engine(method: str, terms: str) -> None:
    data = read("sleepstudy")
    formula = f"Reaction ~ Days + ({terms} | Subject)"
    several = fit_design(build(formula, data, None, "raise", None), reml=True)
    ours = profile_ci(several, method=method)
    theirs = profile_ci(fit_lmm(formula, data), method=method)
    columns = ["estimate", "ci_low", "ci_high"]
    # both searches stop within 1e-8 of the quantile
    np.testing.assert_allclose(ours[columns], theirs[columns], rtol=1e-7)
    assert list(ours["lme4_name"]) == list(theirs["lme4_name"])
    assert list(ours["method"]) == list(theirs["method"])


def dense_least(data: pd.DataFrame, held: str, value: float, reml: bool) -> float:
    """The criterion of Pastes with one standard deviation held, from the covariance of the rows."""
    X, y = np.ones((len(data), 1)), data["strength"].to_numpy(float)
    batch = pd.get_dummies(data["batch"]).to_numpy(float)
    cask = pd.get_dummies(data["batch"].astype(str) + data["cask"].astype(str)).to_numpy(float)
    names = ["sd(Intercept | batch:cask)", "sd(Intercept | batch)", "sigma"]

    def criterion(log_free: np.ndarray) -> float:
        sd = dict(zip([n for n in names if n != held], np.exp(log_free), strict=True))
        sd[held] = value
        V = sd[names[0]] ** 2 * cask @ cask.T + sd[names[1]] ** 2 * batch @ batch.T
        V = V + sd["sigma"] ** 2 * np.eye(len(y))
        inverse = np.linalg.inv(V)
        XVX = X.T @ inverse @ X
        residual = y - X @ np.linalg.solve(XVX, X.T @ inverse @ y)
        found = np.linalg.slogdet(V)[1] + residual @ inverse @ residual
        return float(found + (np.linalg.slogdet(XVX)[1] if reml else 0.0))

    starts = [[1.0, 0.0], [0.0, 0.0], [0.5, -3.0], [-3.0, 0.5]]
    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
    return min(
        minimize(criterion, start, method="Nelder-Mead", options=options).fun for start in starts
    )


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", ["sd(Intercept | batch:cask)", "sd(Intercept | batch)", "sigma"])
def test_the_criterion_has_risen_by_the_quantile_at_the_ends(name: str, reml: bool) -> None:
    data = read("pastes")
    fit = fit_lmm("strength ~ 1 + (1 | batch/cask)", data, reml=reml)
    table = profile_ci(fit, parameters=[name])
    lowest = dense_least(data, name, float(table.loc[name, "estimate"]), reml)
    for end in table.loc[name, ["ci_low", "ci_high"]].to_numpy(float):
        rise = dense_least(data, name, max(end, 1e-8), reml) - lowest
        if end == 0.0:
            assert rise < CUT**2
        else:
            assert rise == pytest.approx(CUT**2, abs=1e-5)


def test_zeta_is_read_from_the_same_profile() -> None:
    fit = fit_lmm("diameter ~ 1 + (1 | plate) + (1 | sample)", read("penicillin"))
    ends = profile_ci(fit, parameters=["sd(Intercept | sample)"]).iloc[0]
    zeta = profile_zeta(fit, "sd(Intercept | sample)", [ends["ci_low"], ends["ci_high"]])
    np.testing.assert_allclose(zeta, [-CUT, CUT], atol=1e-5)
    drawn = plots.profile_zeta(fit, "sigma")
    assert drawn.get_xlabel()


def test_a_singular_term_starts_at_zero_and_units_are_kept() -> None:
    data = read("several_raters")
    fit = fit_lmm("y ~ x + (1 | rater) + (1 | item)", data)
    table = profile_ci(fit, parameters=["sd(Intercept | rater)", "sd(Intercept | item)"])
    assert table.loc["sd(Intercept | rater)", "ci_low"] == 0.0
    assert (table["ci_low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["ci_high"]).all()
    larger = fit_lmm("y ~ x + (1 | rater) + (1 | item)", data.assign(y=1000.0 * data["y"]))
    again = profile_ci(larger, parameters=list(table.index))
    columns = ["ci_low", "ci_high"]
    np.testing.assert_allclose(again[columns], 1000.0 * table[columns], rtol=1e-6)


def test_an_unknown_parameter_is_named() -> None:
    fit = fit_lmm("diameter ~ 1 + (1 | plate) + (1 | sample)", read("penicillin"))
    with pytest.raises(ValueError, match=r"no parameter sd\(Intercept\).*plate"):
        profile_ci(fit, parameters=["sd(Intercept)"])

"""What goes wrong elsewhere: false boundaries, lost digits, and the places where statsmodels
differs."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from recorded import CASES, fitted, read, standard_errors
from scipy.optimize import minimize
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from pylmm_helpers.engine.adapter import as_results
from pylmm_helpers.engine.boundary import way_down
from pylmm_helpers.engine.criterion import (
    criterion,
    delta_gradient,
    delta_hessian,
    derivatives,
    theta_derivatives,
)
from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.engine.products import GroupRows
from pylmm_helpers.engine.search import minimise, optimise


def small_problem(seed: int) -> pd.DataFrame:
    """Few groups, unbalanced, with variances that are often zero."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 9, int(rng.integers(4, 13)))
    sizes[0] = 9
    g = np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(size=len(g))
    sd = rng.choice([0.0, 0.1, 0.5, 1.0], 2)
    u, v = rng.normal(size=(2, len(sizes)))
    return pd.DataFrame(
        {"g": g, "x": x, "y": 1 + x + sd[0] * u[g] + sd[1] * v[g] * x + rng.normal(size=len(g))}
    )


def dense_criterion(fit: object, theta: np.ndarray) -> float:
    """The definition, with n by n matrices, in the units of the data."""
    n, p, q = fit.nobs, fit.cross.p, fit.cross.q  # type: ignore[attr-defined]
    factor = np.zeros((q, q))
    column, row = np.triu_indices(q)
    factor[row, column] = theta
    same = fit.codes[:, None] == fit.codes  # type: ignore[attr-defined]
    V = np.eye(n) + same * (fit.Z @ factor @ factor.T @ fit.Z.T)  # type: ignore[attr-defined]
    X, y = fit.X, fit.y  # type: ignore[attr-defined]
    XV = X.T @ np.linalg.inv(V)
    beta = np.linalg.solve(XV @ X, XV @ y)
    r = y - X @ beta
    r2, nu = r @ np.linalg.solve(V, r), n - p if fit.reml else n  # type: ignore[attr-defined]
    value = np.linalg.slogdet(V)[1] + nu * (1 + np.log(2 * np.pi * r2 / nu))
    return value + (np.linalg.slogdet(XV @ X)[1] if fit.reml else 0.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("reml", [True, False])
def test_criterion_is_its_definition(reml: bool) -> None:
    fit = fit_lmm("y ~ x + z", read("unbalanced"), "g", "1 + x", reml=reml)
    assert fit.criterion == pytest.approx(dense_criterion(fit, fit.theta), abs=1e-9)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", ["sleepstudy-slope", "three-terms", "u3"])
def test_derivatives_are_those_of_the_criterion(name: str, reml: bool) -> None:
    rows = fitted(name).rows
    d = rows.q * (rows.q + 1) // 2
    theta = 0.3 + 0.4 * np.random.default_rng(1).random(d)
    nu = rows.nobs - (rows.p if reml else 0)

    def at(point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        found, whitened = criterion(point[None], rows, reml)
        parts = derivatives(found, whitened, rows, reml)
        first, second = theta_derivatives(
            point[None], delta_gradient(parts, nu), delta_hessian(parts, nu)
        )
        return float(found.value[0]), first[0], second[0]

    _, first, second = at(theta)
    for k, step in enumerate(1e-5 * np.eye(d)):
        above, below = at(theta + step), at(theta - step)
        assert first[k] == pytest.approx((above[0] - below[0]) / 2e-5, rel=1e-5, abs=1e-5)
        np.testing.assert_allclose(second[k], (above[1] - below[1]) / 2e-5, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("seed", range(40))
def test_no_search_from_anywhere_finds_a_lower_criterion(seed: int) -> None:
    fit = fit_lmm("y ~ x", small_problem(seed), "g", "1 + x")
    rng = np.random.default_rng(seed)

    def value(theta: np.ndarray) -> float:
        return float(criterion(theta[None], fit.rows, True)[0].value[0])

    for _ in range(2):
        start = rng.normal(size=3)
        found = minimize(value, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
        assert value(fit.theta_scaled) <= found.fun + 1e-8
    assert fit.converged


def test_a_false_boundary_is_recognised_and_left() -> None:
    """At theta = 0 the gradient in theta vanishes though the criterion falls (pitfall 1)."""
    rows = fitted("sleepstudy-slope").rows
    for stuck in (np.zeros((1, 3)), np.array([[0.97, 0.0, 0.0]])):
        before = criterion(stuck, rows, True)[0].value[0]
        found, whitened = criterion(stuck, rows, True)
        parts = derivatives(found, whitened, rows, True)
        nu = rows.nobs - 2
        slope, _ = theta_derivatives(stuck, delta_gradient(parts, nu), delta_hessian(parts, nu))
        assert abs(slope[0, 2]) < 1e-12
        better = way_down(stuck, rows, True)
        assert better is not None
        assert criterion(better, rows, True)[0].value[0] < before - 1.0


def test_a_true_boundary_is_kept_with_exact_zeros() -> None:
    fit = fitted("nothing-varies")
    assert fit.singular
    assert fit.converged
    assert (fit.theta == 0.0).all()
    assert way_down(fit.theta_scaled[None], fit.rows, True) is None
    assert (fit.random_effects == 0.0).all(axis=None)


def test_many_groups_reach_the_optimum_past_a_false_boundary() -> None:
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(20_000), 3)
    x = rng.normal(size=len(g))
    y = (
        x
        + 0.3 * rng.normal(size=20_000)[g]
        + 0.2 * rng.normal(size=20_000)[g] * x
        + rng.normal(size=len(g))
    )
    fit = fit_lmm("y ~ x", pd.DataFrame({"y": y, "x": x, "g": g}), "g", "1 + x")
    sd = np.sqrt(np.diag(fit.cov_re))
    assert not fit.singular
    np.testing.assert_allclose(sd, [0.3, 0.2], atol=0.06)


@pytest.mark.parametrize("shift", [1e5, 1e6, 1e8])
def test_a_large_mean_of_x_leaves_the_fit_alone(shift: float) -> None:
    """Without centring the criterion moves by thousandths at a mean of 1e5 (pitfall 2)."""
    data = read("unbalanced")
    plain = fit_lmm("y ~ x + z", data, "g", "1 + x")
    # the shifted column itself is rounded: undo that for the comparison
    moved = data.assign(x=data["x"] + shift)
    plain = fit_lmm("y ~ x + z", data.assign(x=moved["x"] - shift), "g", "1 + x")
    other = fit_lmm("y ~ x + z", moved, "g", "1 + x")
    assert other.criterion == pytest.approx(plain.criterion, abs=1e-8)
    np.testing.assert_allclose(other.fe_params[["x", "z"]], plain.fe_params[["x", "z"]], rtol=1e-7)
    np.testing.assert_allclose(other.bse_fe[["x", "z"]], plain.bse_fe[["x", "z"]], rtol=1e-6)
    assert other.cov_re.loc["x", "x"] == pytest.approx(plain.cov_re.loc["x", "x"], rel=1e-6)
    np.testing.assert_allclose(other.resid, plain.resid, atol=1e-6)


def test_almost_all_variation_between_groups_keeps_the_within_part_exact() -> None:
    data = read("unbalanced")
    within = np.sqrt(fit_lmm("y ~ x", data, "g").scale)
    apart = data.assign(y=data["y"] + 1e9 * data["g"])
    fit = fit_lmm("y ~ x", apart, "g")
    # at an ICC of one the slope is the within-group one and sigma that of the dummy regression
    dummies = smf.ols("y ~ x + C(g)", data).fit()
    assert fit.fe_params["x"] == pytest.approx(dummies.params["x"], rel=1e-5)
    assert fit.scale == pytest.approx(dummies.scale, rel=1e-5)
    assert fit.converged
    assert np.sqrt(fit.scale) == pytest.approx(within, rel=0.1)


# -- statsmodels
# ---------------------------------------------------------------------------------------


def statsmodels_fit(name: str) -> object:
    case = CASES[name]
    model = smf.mixedlm(case["fixed"], read(case["data"]), groups=case["group"])
    return model.fit(reml=case["reml"], method="powell")


def test_statsmodels_standard_errors_are_not_lme4s() -> None:
    """It inverts the Hessian of fixed effects and variances together (pitfall 3)."""
    theirs = statsmodels_fit("u3")
    lme4 = standard_errors(CASES["u3"])
    assert np.max(np.abs(theirs.bse_fe / lme4 - 1)) > 0.015  # type: ignore[attr-defined]
    np.testing.assert_allclose(fitted("u3").bse_fe, lme4, rtol=1e-7)
    np.testing.assert_allclose(as_results(theirs).bse_fe, lme4, rtol=1e-4)


def test_statsmodels_lbfgs_fails_where_the_group_variance_is_zero() -> None:
    """LinAlgError, while the answer is an ordinary singular fit (pitfall 4)."""
    failures = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        g = np.repeat(np.arange(20), 10)
        x = rng.normal(size=200)
        data = pd.DataFrame({"y": x + rng.normal(size=200), "x": x, "g": g})
        assert fit_lmm("y ~ x", data, "g", reml=False).converged
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                smf.mixedlm("y ~ x", data, groups="g").fit(method="lbfgs", reml=False)
            except np.linalg.LinAlgError:
                failures += 1
    assert failures > 0


def test_statsmodels_reml_has_no_information_criteria() -> None:
    """NaN there (pitfall 5), lme4's values here."""
    theirs = statsmodels_fit("u3")
    assert np.isnan(theirs.aic)  # type: ignore[attr-defined]
    assert np.isnan(theirs.bic)  # type: ignore[attr-defined]
    assert as_results(theirs).aic == pytest.approx(CASES["u3"]["aic"], abs=1e-6)


def test_statsmodels_log_likelihood_is_the_same() -> None:
    theirs = statsmodels_fit("u3")
    assert theirs.llf == pytest.approx(fitted("u3").llf, abs=1e-6)  # type: ignore[attr-defined]


def test_adapter_keeps_statsmodels_own_estimates() -> None:
    data = read("sleepstudy")
    theirs = smf.mixedlm("Reaction ~ Days", data, groups="Subject", re_formula="1 + Days").fit()
    ours = as_results(theirs)
    np.testing.assert_allclose(ours.fe_params, theirs.fe_params, rtol=1e-12)
    np.testing.assert_allclose(ours.cov_re, theirs.cov_re, rtol=1e-10)
    assert ours.scale == pytest.approx(theirs.scale, rel=1e-12)
    assert list(ours.cov_re.index) == ["Intercept", "Days"]
    assert ours.groups == "Subject"
    np.testing.assert_allclose(ours.fittedvalues, theirs.fittedvalues, atol=1e-8)
    np.testing.assert_allclose(
        ours.random_effects, pd.DataFrame(theirs.random_effects).T, atol=1e-8
    )
    assert as_results(ours) is ours


def test_adapter_takes_arrays_and_dropped_rows() -> None:
    data = read("u3").assign(x=lambda d: d["x"].where(d.index != 4))
    theirs = smf.mixedlm("y ~ x", data, groups="g", missing="drop").fit(method="powell")
    ours = as_results(theirs)
    assert ours.nobs == 23
    assert len(ours.frame) == 23
    np.testing.assert_allclose(ours.fe_params, theirs.fe_params, rtol=1e-10)


def test_adapter_refuses_what_it_does_not_know() -> None:
    data = read("u3").assign(h=[0, 1] * 12)
    vc = smf.mixedlm("y ~ x", data, groups="g", vc_formula={"h": "0 + C(h)"}).fit(method="powell")
    with pytest.raises(ValueError, match="vc_formula"):
        as_results(vc)
    with pytest.raises(ValueError, match="MixedLM"):
        as_results(smf.ols("y ~ x", data).fit())
    sleep = read("sleepstudy")
    model = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days")
    independent = MixedLMParams.from_components(fe_params=np.ones(2), cov_re=np.eye(2))
    # from arrays: statsmodels reads a Series by position, which pandas 3 has no more
    arrays = model.endog, model.exog, np.asarray(sleep["Subject"])
    penalised = MixedLM(*arrays).fit_regularized(method="l1", alpha=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        held = model.fit(free=independent)
    with pytest.raises(ValueError, match="penalised"):
        as_results(penalised)
    with pytest.raises(ValueError, match="free="):
        as_results(held)


def test_adapter_keeps_the_rows_it_used_though_their_labels_repeat() -> None:
    data = read("u3")
    data.index = pd.Index([0, 1] * 12)
    data.iloc[3, data.columns.get_loc("y")] = np.nan
    ours = as_results(smf.mixedlm("y ~ x", data, groups="g", missing="drop").fit(method="powell"))
    pd.testing.assert_frame_equal(ours.frame[["x", "y"]], data[["x", "y"]].dropna())


def test_optimiser_is_deterministic() -> None:
    rows: GroupRows = fitted("three-terms").rows
    first, again = optimise(rows, True), optimise(rows, True)
    np.testing.assert_array_equal(first[0], again[0])


def test_a_second_valley_with_a_correlation_of_one_is_found() -> None:
    """Here lme4's start, and smaller and larger ones, all lead to the higher of two minima."""
    rng = np.random.default_rng(334)
    g = np.repeat(np.arange(4), rng.integers(4, 8, 4))
    x = rng.normal(size=len(g)) + 10.0
    y = 1.5 * rng.normal(size=4)[g] + rng.normal(size=4)[g] * (x - 10.0) + rng.normal(size=len(g))
    fit = fit_lmm("y ~ 1", pd.DataFrame({"y": y - x, "x": x, "g": g}), "g", "1 + x", reml=False)
    wide = rng.normal(size=(200, 3)) * [3.0, 1.0, 1.0]
    assert minimise(wide, fit.rows, False).value.min() > fit.at.value[0] - 1e-7
    plain = np.array([[1.0], [0.1], [5.0]]) * [1.0, 0.0, 1.0]
    assert minimise(plain, fit.rows, False).value.min() > fit.at.value[0] + 1e-3
    assert fit.singular

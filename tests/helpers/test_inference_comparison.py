"""Likelihood ratio tests, bootstrap and information criteria: values, boundaries, refusals."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from recorded import fitted, read
from scipy import stats

from pylmm_helpers.engine.constraints import HeldModels
from pylmm_helpers.engine.criterion import theta_to_factor
from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.engine.parameters import parameter_names
from pylmm_helpers.inference.bootstrap import parametric_bootstrap
from pylmm_helpers.inference.lrt import information_criteria, lrt
from pylmm_helpers.inference.one_factor_profile import OneFactorProfile as Profile
from pylmm_helpers.inference.profile import profile_ci


def test_first_random_intercept_halves_the_naive_p_value() -> None:
    row = lrt(fitted("u3"), "ols").iloc[0]
    assert row["statistic"] == pytest.approx(0.7725069785, abs=1e-9)
    assert row["p_value_naive"] == pytest.approx(0.3794426, abs=1e-7)
    assert row["p_value"] == pytest.approx(0.1897213, abs=1e-7)
    assert row["reference"] == "0.5 chi2(0) + 0.5 chi2(1)"


def test_statsmodels_ols_serves_as_the_reduced_model() -> None:
    data = read("u3")
    ols = smf.ols("y ~ x + z", data).fit()
    assert lrt(fitted("u3"), ols)["statistic"].iloc[0] == pytest.approx(0.7725069785, abs=1e-9)
    ml = lrt(fitted("u3-ml"), smf.ols("y ~ x", data).fit()).iloc[0]
    assert ml["statistic"] == pytest.approx(
        2 * (fitted("u3-ml").llf - smf.ols("y ~ x", data).fit().llf), abs=1e-9
    )
    assert ml["reference"] == "0.5 chi2(1) + 0.5 chi2(2)"


def test_second_random_term_mixes_one_and_two_degrees_of_freedom() -> None:
    row = lrt(fitted("sleepstudy-slope"), fitted("sleepstudy-intercept")).iloc[0]
    x = row["statistic"]
    assert x == pytest.approx(1786.4650854 - 1743.6282720, abs=1e-6)
    expected = 0.5 * stats.chi2.sf(x, 1) + 0.5 * stats.chi2.sf(x, 2)
    assert row["p_value"] == pytest.approx(expected, rel=1e-9)


def test_two_new_random_terms_have_weights_from_the_information() -> None:
    row = lrt(fitted("unbalanced-slope"), "ols").iloc[0]
    weights = [float(part.split()[0]) for part in row["reference"].split(" + ")]
    assert sum(weights) == pytest.approx(1.0, abs=0.01)
    assert weights[0] + weights[2] == pytest.approx(0.5, abs=0.01)
    assert 0 < weights[3] < weights[1]


def test_mixture_of_two_new_terms_holds_its_level() -> None:
    """The distribution of the statistic, simulated, against the mixture worked out."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(300), 6)
    x = rng.normal(size=len(g))
    fit = fit_lmm(
        "y ~ x", pd.DataFrame({"y": rng.normal(size=len(g)), "x": x, "g": g}), "g", "1 + x"
    )
    null = parametric_bootstrap(fit, "ols", replicates=2000, rng=5).statistics
    reference = lrt(fit, "ols")["reference"].iloc[0]
    weights = [float(part.split()[0]) for part in reference.split(" + ")]
    for cut in (1.5, 3.0, 5.0):
        tail = sum(w * stats.chi2.sf(cut, k) for k, w in enumerate(weights) if k)
        assert np.mean(null > cut) == pytest.approx(tail, abs=0.03)


def test_fixed_effects_by_maximum_likelihood_are_chi_squared() -> None:
    small = fit_lmm("y ~ x", read("u3"), "g", reml=False)
    row = lrt(fitted("u3-ml"), small).iloc[0]
    assert (row["df"], row["reference"], row["method"]) == (1, "chi2(1)", "ML")
    assert row["p_value"] == pytest.approx(stats.chi2.sf(row["statistic"], 1), rel=1e-9)


def test_what_must_not_be_compared_is_refused_with_the_reason() -> None:
    u3 = read("u3")
    full = fitted("u3")
    cases = [
        (full, fitted("u3-x"), "REML criteria"),
        (full, fitted("u3-ml"), "REML and the other by ML"),
        (full, full, "same fixed and random"),
        (fitted("u3-x"), full, "full model first"),
        (full, fitted("sleepstudy-slope"), "different rows"),
        (full, fit_lmm("y ~ x + z", u3.iloc[1:], "g"), "different rows"),
        (full, fit_lmm("np.log(y) ~ x + z", u3, "g"), "responses differ"),
        (full, fit_lmm("y ~ x + z", u3.assign(h=[1, 2, 3, 4] * 6), "h"), "different groups"),
        (full, fit_lmm("y ~ x + z", u3.assign(w=2.0), "g", weights="w"), "weights"),
        (
            fit_lmm("y ~ x", u3, "g", reml=False),
            fit_lmm("y ~ z", u3, "g", reml=False),
            "not nested.*information_criteria",
        ),
        (fit_lmm("y ~ x", u3, "g", "0 + x"), fit_lmm("y ~ x", u3, "g"), "not nested"),
        (full, "lm", "'ols'"),
        (full, 3.0, "fit_lmm"),
    ]
    for big, small, words in cases:
        with pytest.raises(ValueError, match=words):
            lrt(big, small)


def test_more_than_two_new_terms_point_to_the_bootstrap() -> None:
    with pytest.raises(ValueError, match="parametric_bootstrap"):
        lrt(fitted("three-terms"), "ols")
    test = parametric_bootstrap(fitted("three-terms"), "ols", replicates=99)
    assert test.table["p_value"].iloc[0] == pytest.approx(0.01)
    assert np.isnan(test.table["p_value_lrt"].iloc[0])


def test_bootstrap_of_a_variance_agrees_with_its_null_distribution() -> None:
    """The mass at zero is the chance that the REML criterion rises from theta = 0 on."""
    fit = fitted("u3")
    test = parametric_bootstrap(fit, "ols", replicates=4000)
    K = (fit.codes[:, None] == fit.codes) * 1.0
    M = np.eye(fit.nobs) - fit.X @ np.linalg.pinv(fit.X)
    e = np.random.default_rng(8).normal(size=(40_000, fit.nobs)) @ M
    slope = np.trace(M @ K) - (fit.nobs - 3) * np.einsum("bi,ij,bj->b", e, K, e) / (e**2).sum(
        axis=1
    )
    assert np.mean(test.statistics < 1e-8) == pytest.approx(np.mean(slope >= 0), abs=0.03)


def test_bootstrap_simulates_what_simulated_rows_would_give() -> None:
    """The shortcut through sufficient statistics against plain simulation of responses."""
    data, fit = read("unbalanced"), fitted("unbalanced-intercept")
    draws = parametric_bootstrap(fit, replicates=3000, rng=1).draws
    rng = np.random.default_rng(2)
    rows = []
    for _ in range(250):
        u = np.sqrt(fit.cov_re.iloc[0, 0]) * rng.normal(size=fit.ngroups)
        y = (
            fit.X @ fit.fe_params.to_numpy()
            + u[fit.codes]
            + np.sqrt(fit.scale) * rng.normal(size=fit.nobs)
        )
        one = fit_lmm("y ~ x + z", data.assign(y=y), "g")
        rows.append([np.sqrt(one.cov_re.iloc[0, 0]), np.sqrt(one.scale), *one.fe_params])
    plain = np.array(rows)
    names = ["sd(Intercept)", "sigma", "Intercept", "x", "z"]
    error = plain.std(axis=0) / np.sqrt(len(plain))
    assert (np.abs(plain.mean(axis=0) - draws[names].mean()) < 4 * error).all()
    np.testing.assert_allclose(plain.std(axis=0), draws[names].std(), rtol=0.2)


def test_bootstrap_repeats_with_its_seed_and_differs_with_another() -> None:
    first, again, other = (
        parametric_bootstrap(fitted("u3"), "ols", replicates=50, rng=seed).statistics
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bootstrap_of_fixed_effects_by_maximum_likelihood() -> None:
    small = fit_lmm("y ~ x", read("u3"), "g", reml=False)
    test = parametric_bootstrap(fitted("u3-ml"), small, replicates=2000)
    row = test.table.iloc[0]
    assert row["p_value"] > row["p_value_lrt"]  # few groups: the asymptotic test is too liberal


@pytest.mark.parametrize("replicates", [0, -3, 2.5])
def test_bootstrap_refuses_impossible_numbers(replicates: float) -> None:
    with pytest.raises(ValueError, match="replicates"):
        parametric_bootstrap(fitted("u3"), "ols", replicates=replicates)  # type: ignore[arg-type]


def test_information_criteria_rank_models_and_refuse_other_data() -> None:
    table = information_criteria(fitted("sleepstudy-intercept"), fitted("sleepstudy-slope"))
    assert table["n_params"].tolist() == [4, 6]
    assert table["delta_aic"].tolist() == pytest.approx([38.8368, 0.0], abs=1e-3)
    with pytest.raises(ValueError, match="different rows"):
        information_criteria(fitted("u3"), fitted("rail"))
    with pytest.raises(ValueError, match="reml=False"):
        information_criteria(fitted("u3"), fitted("u3-x"))


def test_profile_ci_takes_some_parameters_and_refuses_unknown_ones() -> None:
    table = profile_ci(fitted("u3"), parameters=["x"], level=0.9)
    assert list(table.index) == ["x"]
    assert table["ci_low"].iloc[0] > profile_ci(fitted("u3"), parameters=["x"])["ci_low"].iloc[0]
    with pytest.raises(ValueError, match="sigma"):
        profile_ci(fitted("u3"), parameters=["tau"])


def test_profile_of_a_zero_variance_starts_at_zero() -> None:
    table = profile_ci(fitted("no-group-variance"))
    assert table.loc["sd(Intercept)", "ci_low"] == 0.0
    assert table.loc["sd(Intercept)", "ci_high"] > 0.1
    assert np.isfinite(table[["ci_low", "ci_high"]]).all(axis=None)


def awkward(seed: int) -> pd.DataFrame:
    """Few groups and a predictor with a mean far from zero; seed 0 has a correlation of -1."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(8), 5)
    x = rng.normal(10.0, 1.0, size=40)
    u = rng.normal(size=(8, 2)) * [0.3, 0.3]
    y = 1.0 + x + u[g, 0] + u[g, 1] * (x - 10.0) + rng.normal(size=40)
    return pd.DataFrame({"y": y, "x": x, "g": g})


def held_models(profile: Profile, k: int, value: float, size: int) -> HeldModels:
    """`size` members of the k-th family at one value, given in the units of the data."""
    values = np.full(size, value / profile.families[k].unit)
    member = np.full(size, k)
    return HeldModels(profile.rows, profile.reml, profile.families, member, values)


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_profile_ends_where_no_other_model_with_that_value_is_better(seed: int, reml: bool) -> None:
    """Each end is reached by models with that very value; random ones don't do better there."""
    fit = fit_lmm("y ~ x", awkward(seed), "g", "1 + x", reml=reml)
    profile = Profile(fit, reml)
    table = profile_ci(fit)
    assert np.isfinite(table[["ci_low", "ci_high"]].to_numpy()).all()
    rng = np.random.default_rng(seed)
    for k, name in enumerate(["sd(Intercept)", "cor(Intercept, x)", "sd(x)", "sigma"]):
        for value in table.loc[name, ["ci_low", "ci_high"]].astype(float):
            if value in (0.0, -1.0, 1.0):
                continue
            least = profile.least(np.array([k]), np.array([value]), thorough=True)[0]
            assert least - profile.best == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-4)
            factor = theta_to_factor(profile.theta, 2)
            start = profile.families[k].start(factor, profile.log_sigma)
            near = start * rng.uniform(0.3, 3.0, (200, 3)) + rng.normal(0.0, 0.3, (200, 3))
            held = held_models(profile, k, value, 200)
            assert held.at(np.arange(200), near)[0].min() > least - 1e-7


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("name", ["sd(Intercept)", "cor(Intercept, x)", "sd(x)", "sigma"])
def test_a_held_value_is_held_and_its_derivatives_are_right(name: str, reml: bool) -> None:
    fit = fit_lmm("y ~ x", awkward(3), "g", "1 + x", reml=reml)
    profile = Profile(fit, reml)
    k = parameter_names(fit).index(name)
    value, scaling = 0.37, fit.cross.scaling
    family = profile.families[k]
    free = family.start(theta_to_factor(profile.theta, 2), profile.log_sigma) + 0.1
    x = family.expand(np.array([value / family.unit]), free[None])[0][0]
    # back from the turned basis: the covariance of the random effects in the data's units
    factor = scaling.z_map @ family.basis.T @ theta_to_factor(x[:-1], 2)
    sigma = np.exp(x[-1]) * scaling.y_scale
    cov = sigma**2 * factor @ factor.T
    sds = np.sqrt(np.diag(cov))
    got = {"sd(Intercept)": sds[0], "sd(x)": sds[1], "sigma": sigma}.get(
        name, cov[0, 1] / sds.prod()
    )
    assert got == pytest.approx(value, rel=1e-9)
    step = 1e-5 * np.eye(3)
    held = held_models(profile, k, value, 7)
    values, slopes, curves = held.at(np.arange(7), np.vstack([free, free + step, free - step]))
    numeric = (values[1:4] - values[4:]) / 2e-5
    assert slopes[0] == pytest.approx(numeric, rel=1e-5, abs=1e-4)
    np.testing.assert_allclose(curves[0], (slopes[1:4] - slopes[4:]) / 2e-5, rtol=1e-5, atol=1e-3)


def sizes_of(table: pd.DataFrame) -> np.ndarray:
    return table.loc[["sd(Intercept)", "sd(x)", "sigma"], ["ci_low", "ci_high"]].to_numpy(float)


@cache
def profile_in_units(unit: float, response: float, method: str) -> pd.DataFrame:
    data = read("unbalanced").assign(x=lambda d: unit * d["x"], y=lambda d: response * d["y"])
    return profile_ci(fit_lmm("y ~ x", data, "g", "1 + x"), method=method)


@pytest.mark.parametrize(
    "unit, response",
    [*((unit, 1.0) for unit in (1e-9, 1e-3, 1e5, 1e12)),
     *((unit, response) for unit in (1e-9, 1e12) for response in (1e-6, 1e6))],
)  # fmt: skip
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_profile_ends_keep_up_with_the_units(unit: float, response: float, method: str) -> None:
    """Seconds, Hz, income: the slope's SD may be any power of ten below or above the response's."""
    here = profile_in_units(1.0, 1.0, method)
    there = profile_in_units(unit, response, method)
    expected = response * sizes_of(here) / [[1.0], [unit], [1.0]]
    np.testing.assert_allclose(sizes_of(there), expected, rtol=1e-6)
    name = "cor(Intercept, x)"
    np.testing.assert_allclose(
        there.loc[name, ["ci_low", "ci_high"]].astype(float),
        here.loc[name, ["ci_low", "ci_high"]].astype(float),
        atol=1e-6,
    )


def test_profile_follows_the_fit_unless_told_and_keeps_fixed_effects_to_ml() -> None:
    by_reml, by_ml = fitted("u3"), fit_lmm("y ~ x + z", read("u3"), "g", reml=False)
    own, told = profile_ci(by_reml), profile_ci(by_ml, method="reml")
    assert list(own["method"]) == ["REML"] * 2 + ["ML"] * 3
    ends = ["ci_low", "ci_high"]
    pd.testing.assert_frame_equal(own[[*ends, "method"]], told[[*ends, "method"]])
    pd.testing.assert_frame_equal(profile_ci(by_ml)[ends], profile_ci(by_reml, method="ml")[ends])
    # ML takes no account of the fixed effects, so its intervals lie lower
    lower = profile_ci(by_ml).loc[["sd(Intercept)", "sigma"], "ci_high"]
    assert (lower < own.loc[lower.index, "ci_high"]).all()
    with pytest.raises(ValueError, match="method"):
        profile_ci(by_reml, method="REML")


def test_profile_of_a_fixed_effect_keeps_the_weights() -> None:
    # lme4's profile loses them here; a fit with the effect moved to the response settles it
    data = read("unbalanced")
    full = fit_lmm("y ~ x + z", data, "g", reml=False, weights="w")
    for end in profile_ci(full, parameters=["x"])[["ci_low", "ci_high"]].iloc[0]:
        moved = data.assign(y=data["y"] - end * data["x"])
        rise = fit_lmm("y ~ z", moved, "g", reml=False, weights="w").criterion - full.criterion
        assert rise == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-4)


def test_profile_names_categories_as_lme4_does() -> None:
    data = read("u3").assign(k=lambda d: np.arange(len(d)) % 3)
    data["arm"] = np.where(data["z"] > 0, "old", "new")
    fit = fit_lmm("y ~ C(k) + arm + np.exp(x)", data, "g")
    names = profile_ci(fit, parameters=[*fit.fe_params.index])["lme4_name"]
    assert list(names) == ["(Intercept)", "factor(k)1", "factor(k)2", "armold", "exp(x)"]


@pytest.mark.filterwarnings("ignore:.*boundary")
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    ("full", "reduced"),
    [
        ("y ~ x + (1 + x | g)", "y ~ x + (1 | g)"),
        ("y ~ x + offset(o) + (1 | g)", "y ~ x + offset(o)"),
        ("y ~ x + (1 | g) + (1 | h)", "y ~ x + (1 | g)"),
        ("y ~ x + (1 + x | g) + (1 | h)", "y ~ x + (1 | g) + (1 | h)"),
    ],
)
def test_the_order_of_the_rows_is_no_matter(full: str, reduced: str, reml: bool) -> None:
    rng = np.random.default_rng(0)
    n = 240
    d = pd.DataFrame({"g": np.arange(n) % 12, "h": np.arange(n) // 12 % 6})
    d = d.assign(x=rng.normal(size=n), o=rng.normal(size=n), w=rng.random(n) + 0.5)
    d["y"] = d["x"] + rng.normal(size=12)[d["g"]] + rng.normal(size=6)[d["h"]] + rng.normal(size=n)
    d.index = pd.Index([f"row {k}" for k in range(n)])
    mixed = d.sample(frac=1, random_state=1)

    def small(data: pd.DataFrame) -> object:
        if "|" in reduced:
            return fit_lmm(reduced, data, reml=reml, weights="w")
        return smf.ols("Q('y') ~ x", data.assign(y=data["y"] - data["o"])).fit()

    weights = "w" if "|" in reduced else None
    big = fit_lmm(full, d, reml=reml, weights=weights)
    same, other = small(d), small(mixed)
    # sums in another order end in other digits
    close = {"rtol": 1e-6, "atol": 1e-8}
    pd.testing.assert_frame_equal(lrt(big, same), lrt(big, other), **close)
    again = fit_lmm(full, mixed, reml=reml, weights=weights)
    pd.testing.assert_frame_equal(lrt(big, same), lrt(again, same), **close)
    if "|" in reduced:
        pd.testing.assert_frame_equal(
            information_criteria(big, same), information_criteria(big, other), **close
        )
        test = parametric_bootstrap(big, other, replicates=4).table.iloc[0]
        assert test["p_value"] <= 1.0 and test["statistic"] == pytest.approx(
            lrt(big, same)["statistic"].iloc[0], rel=1e-6
        )
        with pytest.raises(ValueError, match="other rows"):
            lrt(big, small(mixed.reset_index(drop=True)))
        with pytest.raises(ValueError, match="other rows"):
            lrt(big, small(mixed.set_axis(["one row"] * n)))


def test_the_bootstrap_of_rows_in_another_order_is_that_of_the_same_rows() -> None:
    rng = np.random.default_rng(3)
    d = pd.DataFrame({"g": np.arange(120) % 10, "h": np.arange(120) // 10 % 6})
    d["y"] = rng.normal(size=10)[d["g"]] + rng.normal(size=120)
    d["x"] = rng.normal(size=120)
    full = fit_lmm("y ~ x + (1 | g) + (1 | h)", d)
    narrow = [fit_lmm("y ~ x + (1 | g)", rows) for rows in (d, d.sample(frac=1, random_state=2))]
    first, second = (parametric_bootstrap(full, small, replicates=20) for small in narrow)
    # responses in the wrong order fit the full model worse than the reduced one, every time: all 0
    shares = [np.mean(test.statistics > 1e-6) for test in (first, second)]
    assert min(shares) > 0.15  # half of them are 0, because no variance is negative

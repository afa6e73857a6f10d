"""Variance components, ICC intervals, ANOVA estimators, design effect: against R and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.stats import chi2

from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.quantities.anova import anova_components
from pylmm_helpers.quantities.design_effect import design_effect
from pylmm_helpers.quantities.variance import icc, variance_components, variance_function

ROOT = Path(__file__).parents[2]
R = json.loads((Path(__file__).parent / "reference" / "helpers.json").read_text())["variance"]


def data(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "datasets" / f"{name}.csv")


@pytest.fixture(scope="module")
def dairy():
    return fit_lmm("milk_kg ~ 1", data("dairy_herds"), "herd")


@pytest.fixture(scope="module")
def sleepstudy():
    return fit_lmm("Reaction ~ Days", data("published/sleepstudy"), "Subject", "1 + Days")


def test_variances_and_sds_are_lme4s(dairy):
    table = variance_components(dairy)
    rows = ["Intercept", "Residual"]
    assert np.allclose(table.loc[rows, "variance"], R["dairy"]["variance"], rtol=1e-6)
    assert np.allclose(table.loc[rows, "sd"], R["dairy"]["sd_or_cor"], rtol=1e-6)


def test_slopes_add_a_covariance_row_with_the_correlation(sleepstudy):
    table = variance_components(sleepstudy)
    rows = ["Intercept", "Days", "cov(Intercept, Days)", "Residual"]
    assert np.allclose(table.loc[rows, "variance"], R["sleepstudy"]["variance"], rtol=1e-5)
    correlation = table.loc["cov(Intercept, Days)", "correlation"]
    assert correlation == pytest.approx(R["sleepstudy"]["sd_or_cor"][2], rel=1e-5)


def test_shares_of_a_random_intercept_model_add_up_and_give_the_icc(dairy):
    table = variance_components(dairy)
    assert table.loc["Total", "variance"] == pytest.approx(table["variance"].iloc[:2].sum())
    assert table.loc["Intercept", "share"] == pytest.approx(icc(dairy)["estimate"])
    assert not table.isna().any().any()


def test_total_of_a_slope_model_is_the_average_over_the_rows(sleepstudy):
    Z, G = sleepstudy.Z, sleepstudy.cov_re.to_numpy()
    average = np.mean([z @ G @ z for z in Z]) + sleepstudy.scale
    assert variance_components(sleepstudy).loc["Total", "variance"] == pytest.approx(average)


def test_variance_function_is_the_quadratic_form(sleepstudy):
    table = variance_function(sleepstudy, "Days", [0, 9])
    G = sleepstudy.cov_re.to_numpy()
    assert table["between"].iloc[0] == pytest.approx(G[0, 0])
    assert table["between"].iloc[1] == pytest.approx(G[0, 0] + 18 * G[0, 1] + 81 * G[1, 1])
    with pytest.raises(ValueError, match="parity"):
        variance_function(sleepstudy, "parity", [1])


@pytest.mark.parametrize(
    ("name", "formula", "group"),
    [
        ("dairy", "milk_kg ~ 1", "herd"),
        ("dyestuff", "Yield ~ 1", "Batch"),
        ("dyestuff2", "Yield ~ 1", "Batch"),
    ],
)
def test_profile_interval_of_the_icc_is_that_of_lme4s_criterion(name, formula, group):
    frame = data({"dairy": "dairy_herds"}.get(name, f"published/{name}"))
    result, expected = icc(fit_lmm(formula, frame, group)), R[f"icc_{name}"]
    assert result["estimate"] == pytest.approx(expected["estimate"], abs=1e-6)
    assert result["ci_low"] == pytest.approx(expected["low"], abs=1e-6)
    assert result["ci_high"] == pytest.approx(expected["high"], abs=1e-6)


def test_an_icc_of_zero_has_an_interval_from_zero_and_no_delta_interval():
    fit = fit_lmm("Yield ~ 1", data("published/dyestuff2"), "Batch")
    result = icc(fit)
    assert result["estimate"] == 0.0 and result["ci_low"] == 0.0 and 0.1 < result["ci_high"] < 0.5
    with pytest.raises(ValueError, match="profile"):
        icc(fit, "delta")


def test_delta_and_profile_agree_when_groups_are_many():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(2000), 10)
    frame = pd.DataFrame({"g": g, "y": rng.normal(size=2000)[g] + rng.normal(size=len(g))})
    fit = fit_lmm("y ~ 1", frame, "g")
    profile, delta = icc(fit), icc(fit, "delta")
    assert delta["ci_low"] == pytest.approx(profile["ci_low"], abs=5e-4)
    assert delta["ci_high"] == pytest.approx(profile["ci_high"], abs=5e-4)


def test_profile_interval_of_a_slope_models_icc_reaches_the_cutoff(sleepstudy):
    # independent search: fix the ratio by a penalty and minimise over theta
    from scipy.optimize import minimize

    from pylmm_helpers.engine.criterion import criterion, factor_to_theta, theta_to_factor

    result = icc(sleepstudy)
    goal = result["ci_low"] / (1 - result["ci_low"])
    z_map = sleepstudy.cross.scaling.z_map
    W = z_map.T @ (sleepstudy.Z.T @ sleepstudy.Z / sleepstudy.nobs) @ z_map

    def value(theta):
        return float(criterion(np.asarray(theta)[None], sleepstudy.rows, True)[0].value[0])

    def ratio(theta):
        factor = theta_to_factor(np.asarray(theta), 2)
        return np.sum((W @ factor) * factor)

    start = factor_to_theta(sleepstudy.factor_scaled)
    found = minimize(
        value, start, method="SLSQP", constraints={"type": "eq", "fun": lambda t: ratio(t) - goal},
        options={"ftol": 1e-12},
    )  # fmt: skip
    rise = found.fun - value(start)
    assert rise == pytest.approx(chi2.ppf(0.95, 1), abs=1e-4)


def test_icc_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    sizes = np.array([3, 4, 6, 8, 10, 12, 15, 20, 25, 30, 5, 7])
    g = np.repeat(np.arange(len(sizes)), sizes)
    hits = 0
    for _ in range(150):
        y = 0.5 * rng.normal(size=len(sizes))[g] + rng.normal(size=len(g))
        result = icc(fit_lmm("y ~ 1", pd.DataFrame({"y": y, "g": g}), "g"))
        hits += result["ci_low"] <= 0.2 <= result["ci_high"]
    # 95% of 150 is 142.5; three standard errors are 8
    assert 134 <= hits <= 150


@pytest.mark.parametrize(
    ("name", "y", "group"),
    [("dairy", "milk_kg", "herd"), ("dyestuff", "Yield", "Batch"), ("dyestuff2", "Yield", "Batch")],
)
def test_one_way_anova_is_rs(name, y, group):
    frame = data({"dairy": "dairy_herds"}.get(name, f"published/{name}"))
    table, expected = anova_components(f"{y} ~ 1", frame, group), R[f"anova_{name}"]
    assert list(table["df"]) == expected["df"]
    assert np.allclose(table["mean_sq"], expected["mean_sq"], rtol=1e-9)
    assert table.loc["between", "n0"] == pytest.approx(expected["n0"], rel=1e-9)
    assert table.loc["between", "variance"] == pytest.approx(expected["sigma2_g"], rel=1e-8)
    assert table.loc["between", "p_value"] == pytest.approx(expected["p"], rel=1e-7)
    interval = icc(fit_lmm(f"{y} ~ 1", frame, group), "f")
    found = interval[["estimate", "ci_low", "ci_high"]].to_numpy()
    assert np.allclose(found, expected["icc"], rtol=1e-8)


def test_a_negative_estimate_is_kept_and_said():
    table = anova_components("Yield ~ 1", data("published/dyestuff2"), "Batch")
    assert table.loc["between", "variance"] < 0
    assert "negative" in table.loc["between", "note"]
    assert table.loc["between", "sd"] == 0.0
    assert anova_components("Yield ~ 1", data("published/dyestuff"), "Batch")["note"].eq("").all()


def test_with_predictors_it_is_hendersons_third_method():
    table = anova_components("milk_kg ~ parity + herd_size", data("dairy_herds"), "herd")
    expected = R["henderson_dairy"]
    assert list(table["df"]) == expected["df"]
    assert np.allclose(table["sum_sq"], expected["sum_sq"], rtol=1e-9)
    assert table.loc["between", "n0"] == pytest.approx(expected["n0"], rel=1e-9)
    assert table.loc["between", "variance"] == pytest.approx(expected["sigma2_g"], rel=1e-8)


def test_balanced_anova_equals_reml():
    frame = data("published/dyestuff")
    reml = variance_components(fit_lmm("Yield ~ 1", frame, "Batch"))["variance"]
    anova = anova_components("Yield ~ 1", frame, "Batch")["variance"]
    assert reml["Intercept"] == pytest.approx(anova["between"], rel=1e-7)
    assert reml["Residual"] == pytest.approx(anova["within"], rel=1e-7)


def test_arrays_do_as_well_as_a_formula():
    frame = data("dairy_herds")
    one = anova_components("milk_kg ~ 1", frame, "herd")
    two = anova_components(frame["milk_kg"].to_numpy(), groups=frame["herd"].to_numpy())
    pd.testing.assert_frame_equal(one, two)


def test_series_of_anova_are_matched_by_their_rows_not_by_position():
    frame = data("dairy_herds")
    y, herd = frame["milk_kg"], frame["herd"]
    other = np.random.default_rng(0).permutation(len(frame))
    expected = anova_components("milk_kg ~ 1", frame, "herd").drop(columns="note")
    for arguments in (
        (y, None, herd.iloc[other]),
        (y.iloc[other], None, herd),
        ("milk_kg ~ 1", frame, herd.iloc[other]),
        (y.iloc[other], frame, "herd"),
        (y.iloc[other], frame, herd.sort_values()),
    ):
        found = anova_components(*arguments).drop(columns="note")
        # the order of summation differs
        pd.testing.assert_frame_equal(found, expected, rtol=1e-10)
    for rows in (herd.set_axis(herd.index + 1), herd.iloc[1:], herd.set_axis([0] * len(herd))):
        with pytest.raises(ValueError, match=r"groups is a Series.*to_numpy"):
            anova_components(y, groups=rows)
        with pytest.raises(ValueError, match=r"groups is a Series.*to_numpy"):
            anova_components("milk_kg ~ 1", frame, rows)
    with pytest.raises(ValueError, match="the response is a Series"):
        anova_components(y.iloc[1:], frame, "herd")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": "farm"}, "farm"),
        ({"formula": "milk ~ 1"}, "milk"),
        ({"groups": None}, "groups"),
        ({"formula": "milk_kg"}, "milk_kg"),
    ],
)
def test_anova_names_what_is_wrong(change, message):
    arguments = {"formula": "milk_kg ~ 1", "data": data("dairy_herds"), "groups": "herd", **change}
    with pytest.raises(ValueError, match=message):
        anova_components(**arguments)


def test_anova_refuses_one_group_and_single_rows():
    y = np.array([1.0, 2.0, 4.0, 3.0])
    with pytest.raises(ValueError, match="one group"):
        anova_components(y, groups=[1, 1, 1, 1])
    with pytest.raises(ValueError, match="two rows"):
        anova_components(y, groups=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="missing or infinite"):
        anova_components(np.array([1.0, np.nan, 2.0, 3.0]), groups=[1, 1, 2, 2])


def test_design_effect_of_equal_groups_is_the_textbook_formula():
    result = design_effect(0.2, 20)
    assert result["design_effect"] == pytest.approx(1 + 19 * 0.2)
    assert result["effective_n"] == pytest.approx(20 / 4.8)


def test_design_effect_is_the_variance_of_the_mean_over_that_of_independent_rows():
    sizes = np.array([2, 5, 30])
    rho = 0.3
    V = np.eye(37) * (1 - rho)
    start = 0
    for m in sizes:
        V[start : start + m, start : start + m] += rho
        start += m
    result = design_effect(rho, sizes)
    assert result["design_effect"] == pytest.approx(V.sum() / 37)
    assert result["effective_n_model"] == pytest.approx(np.linalg.inv(V).sum())


def test_design_effect_takes_icc_and_sizes_from_a_fit(dairy, sleepstudy):
    result = design_effect(dairy)
    assert result["n"] == dairy.nobs and result["groups"] == dairy.ngroups
    assert result["effective_n"] < result["effective_n_model"] < dairy.nobs
    with pytest.raises(ValueError, match="random-intercept"):
        design_effect(sleepstudy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.2, 5), "ICC"), ((0.2,), "sizes"), ((0.2, [3, 0]), "sizes"), ((0.2, [2.5]), "sizes")],
)
def test_design_effect_refuses_nonsense(arguments, message):
    with pytest.raises(ValueError, match=message):
        design_effect(*arguments)


def test_a_statsmodels_fit_gives_its_own_estimates():
    fit = smf.mixedlm("milk_kg ~ parity", data("dairy_herds"), groups="herd").fit()
    table = variance_components(fit)
    assert table.loc["Intercept", "variance"] == pytest.approx(
        float(fit.cov_re.iloc[0, 0]), rel=1e-9
    )
    assert table.loc["Residual", "variance"] == pytest.approx(float(fit.scale), rel=1e-9)
    assert icc(fit)["ci_low"] < icc(fit)["estimate"] < icc(fit)["ci_high"]


@pytest.mark.parametrize("bad", [{"method": "exact"}, {"level": 95}])
def test_icc_refuses_unknown_options(dairy, bad):
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        icc(dairy, **bad)


def test_f_interval_is_refused_with_predictors():
    fit = fit_lmm("milk_kg ~ parity", data("dairy_herds"), "herd")
    with pytest.raises(ValueError, match="profile"):
        icc(fit, "f")


def test_a_predictor_far_from_zero_leaves_variances_positive_and_the_same(sleepstudy):
    frame = data("published/sleepstudy").assign(when=lambda d: d["Days"] / 1000 + 1e6)
    far = fit_lmm("Reaction ~ when", frame, "Subject", "1 + when")
    here = variance_components(sleepstudy).loc["Total", "variance"]
    assert variance_components(far).loc["Total", "variance"] == pytest.approx(here, rel=1e-6)
    assert icc(far)["ci_low"] == pytest.approx(icc(sleepstudy)["ci_low"], rel=1e-4)

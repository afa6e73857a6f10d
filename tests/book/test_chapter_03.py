"""Chapter 3 run cell by cell: its calculations by hand must reach the estimates of its fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter

from pylmm_helpers import anova_components, blups, coef_table, fit_lmm, icc, refit


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    # the page fits one model at the boundary on purpose
    return run_chapter("03-random-intercept", "ignore")


def test_reml_by_hand_reaches_the_estimator(page: dict[str, Any]) -> None:
    engine = fit_lmm("milk_kg ~ 1", page["dairy"], groups="herd")
    by_hand = page["best"].x * page["total"], (1 - page["best"].x) * page["total"]
    assert by_hand == pytest.approx((engine.cov_re.iloc[0, 0], engine.scale), rel=1e-5)
    assert page["best"].fun == pytest.approx(engine.criterion, abs=1e-6)
    assert page["mean_hand"] == pytest.approx(engine.fe_params["Intercept"], rel=1e-8)
    interval = icc(engine)[["ci_low", "ci_high"]].to_numpy()
    assert (page["low"], page["high"]) == pytest.approx(interval, rel=1e-6)


def test_with_fifty_herds_likelihood_and_reml_give_nearly_one_interval(
    page: dict[str, Any],
) -> None:
    of_sd, share = page["sds"].loc["between herds"], page["rho"]
    for end in ("ci_low", "ci_high"):  # the residual variance hardly moves along the profile
        by_reml = np.sqrt(page["sigma2"] * share[end] / (1 - share[end]))
        assert of_sd[end] == pytest.approx(by_reml, rel=0.03)


def test_mean_squares_by_hand_reach_the_helper(page: dict[str, Any]) -> None:
    helper = anova_components("milk_kg ~ 1", page["dairy"], groups="herd")
    by_hand = page["sigma2_g_anova"], page["ms_within"]
    assert by_hand == pytest.approx(helper["variance"].to_numpy())
    assert page["n_0"] == pytest.approx(helper.loc["between", "n0"])


def test_weighting_by_shrinkage_gives_the_intercept_and_the_least_variance(
    page: dict[str, Any],
) -> None:
    averages = page["averages"]
    assert averages.loc["REML", "estimate"] == pytest.approx(page["beta_0"], rel=1e-8)
    assert averages["std_error"].idxmin() == "REML"


def test_predictors_move_the_components_as_the_page_says(page: dict[str, Any]) -> None:
    between, within = page["components"]["between"], page["components"]["within"]
    assert between["parity"] < between["none"] and within["parity"] < within["none"] - 50
    assert between["parity, feeding"] < between["parity"] - 40
    assert within["parity, feeding"] == pytest.approx(within["parity"], rel=1e-3)
    assert page["sigma2_g_dev"] > page["sigma2_g"]


def test_a_useless_predictor_of_the_herd_raises_the_variance_between_them(
    page: dict[str, Any],
) -> None:
    assert page["between_region"] > page["between_both"] + 3
    # the rule behind it: the variance rises about when the F-test of the predictor stays below 1
    dairy, rng = page["dairy"], np.random.default_rng(7)
    base = fit_lmm("milk_kg ~ parity", dairy, groups="herd").cov_re.iloc[0, 0]
    agreed = 0
    for _ in range(40):
        label = dict(zip(dairy["herd"].unique(), rng.normal(size=50), strict=True))
        rows = dairy.assign(w=dairy["herd"].map(label).astype(float))
        other = fit_lmm("milk_kg ~ parity + w", rows, groups="herd")
        statistic = coef_table(other).loc["w", "statistic"] ** 2
        agreed += (other.cov_re.iloc[0, 0] > base) == (statistic < 1)
    assert agreed >= 36


def test_the_third_assumption_is_hardly_tested_by_a_correlation(page: dict[str, Any]) -> None:
    assert page["r_low"] < -0.1 and page["r_high"] > 0.3
    within, both = page["fit_dev"].fe_params["parity_dev"], page["fit_parity"]
    assert abs(within - both.fe_params["parity"]) < 0.2 * both.bse_fe["parity"]
    # herds whose means carry an effect as large as the parity effect itself: most correlations
    # stay small, so a small one says little
    dairy, rng = page["dairy"], np.random.default_rng(8)
    mean = dairy.groupby("herd")["parity"].transform("mean").to_numpy()
    herd, start = dairy["herd"].factorize()[0], fit_lmm("milk_kg ~ parity", dairy, groups="herd")
    of_herd = dairy.groupby("herd", sort=False)["parity"].mean().to_numpy()
    small = []
    for _ in range(200):
        y = 5 * mean + 6 * dairy["parity"] + rng.normal(0, np.sqrt(200), 50)[herd]
        again = refit(start, (y + rng.normal(0, np.sqrt(800), len(dairy))).to_numpy())
        u = blups(again)["estimate"].loc[dairy["herd"].unique()]
        small.append(abs(np.corrcoef(u, of_herd)[0, 1]) < 0.2)
    assert np.mean(small) > 0.5


def test_the_split_of_the_components_is_exact(page: dict[str, Any]) -> None:
    split_up = page["split"]
    parts = split_up.drop("milk solids").sum()
    assert parts.to_numpy() == pytest.approx(split_up.loc["milk solids"].to_numpy())
    assert split_up.loc["milk solids", "between"] == pytest.approx(page["sigma2_g_anova"])
    between = split_up["between"]
    by_anova = between["milk solids"] - between["rest"]
    by_reml = -page["components"]["between"].diff()["parity"]
    assert 0 < by_anova < 0.8 * by_reml, "the direction, and not all of its size"
    assert between["twice the covariance"] > between["due to parity"]


def test_the_small_study_is_negative_by_anova_and_singular_by_reml(page: dict[str, Any]) -> None:
    assert page["anova_few"].loc["between", "variance"] < 0
    assert page["fit_few"].singular
    assert page["rho_few"]["ci_low"] == 0 < 0.3 < page["rho_few"]["ci_high"]
    assert not page["fit_early"].converged


def test_simulated_estimates_are_unbiased_until_truncated(page: dict[str, Any]) -> None:
    estimates = page["estimates"]
    standard_error = estimates.std() / np.sqrt(len(estimates))
    assert estimates.mean() == pytest.approx(200, abs=4 * standard_error)
    assert np.maximum(estimates, 0).mean() > 200 + 10 * standard_error
    assert (estimates < 0).mean() == pytest.approx(page["expected"], abs=0.015)

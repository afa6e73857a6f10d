"""Chapter 6 run cell by cell: the estimator it builds, ML's bias, and what REML can't compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("06-estimation")


def test_the_deviance_is_the_normal_density(page: dict[str, Any]) -> None:
    by_hand = page["deviance"](page["guess"], page["covariance"](200, 800))
    assert by_hand == pytest.approx(-2 * page["density"].logpdf(page["y"]), rel=1e-12)


def test_the_chapters_estimator_ends_at_the_same_numbers(page: dict[str, Any]) -> None:
    four = page["four_fits"]
    # Nelder-Mead stops at 1e-10 of the criterion, statsmodels a little earlier
    np.testing.assert_allclose(four["by hand"], four["fit_lmm"], rtol=1e-9)
    np.testing.assert_allclose(four["statsmodels"], four["fit_lmm"], rtol=1e-7)
    np.testing.assert_allclose(page["sleep_beta"], [251.4051, 10.4673], atol=1e-4)


def test_rows_and_products_give_the_same_criterion(page: dict[str, Any]) -> None:
    for theta in (0.0, 0.4, 1.7):
        for reml in (False, True):
            from_products = page["criterion"]([theta], page["pilot_products"], reml)[0]
            assert from_products == pytest.approx(page["profiled"](theta, reml), rel=1e-11)


def test_ml_variances_are_smaller_on_the_pilot(page: dict[str, Any]) -> None:
    two = page["two"]
    assert two.loc["ML", "between"] < 0.9 * two.loc["REML", "between"]
    assert 0.95 < two.loc["ML", "within"] / two.loc["REML", "within"] < 1
    assert page["curves"]["ML"].argmin() < page["curves"]["REML"].argmin()


def test_error_contrasts_differ_from_reml_by_the_constant_alone(page: dict[str, Any]) -> None:
    assert page["contrast_gap"].max() < 1e-9
    np.testing.assert_allclose(page["shift"].iloc[0, :3], page["constant"], atol=1e-8)


def test_reml_is_less_biased_and_ml_scatters_less(page: dict[str, Any]) -> None:
    table = page["by_groups"].pivot(index="herds", columns="method")
    mean, mce, rmse = table["mean"], table["MCE"], table["RMSE"]
    assert (mean["ML"] < 200 - 2 * mce["ML"]).loc[[4, 8, 16, 50]].all()
    assert mean["ML"].is_monotonic_increasing and mean.loc[4, "ML"] < 150
    # the cut at zero lifts REML above the truth where zeros are common, here by up to 15
    assert ((mean["REML"] - 200).abs() < 15 + 4 * mce["REML"]).all()
    assert (rmse["ML"] < rmse["REML"]).loc[[4, 8, 16]].all()
    assert (table["zero (%)"]["ML"] >= table["zero (%)"]["REML"]).all()


def test_both_are_too_large_when_groups_hardly_differ(page: dict[str, Any]) -> None:
    ml, reml = page["biases"].T
    assert reml[0] > ml[0] > 5
    assert (reml > ml).all() and ml[-1] < -35
    assert ml[page["truths"] == 30] > -8 and ml[page["truths"] == 60] < 0
    # 40,000 studies a point: REML is nearly unbiased where zeros are rare
    assert page["worst_mce"] < 1.5 and abs(reml[-1]) < 4 * page["worst_mce"] + 3


def test_predictors_of_the_herd_cost_ml_the_variance_between(page: dict[str, Any]) -> None:
    many = page["many"]
    ml, reml = many["ML between"], many["REML between"]
    assert ml.iloc[2] < 75 and (reml - 200).abs().max() < 15
    assert many["ML within"].iloc[4] < 620 and (many["REML within"] - 800).abs().max() < 12
    assert max(page["error"]) < 3


def test_the_unit_of_a_predictor_moves_the_reml_criterion(page: dict[str, Any]) -> None:
    fits = page["fits"]
    gap = page["reml_cows"].criterion - page["reml_thousands"].criterion
    assert gap == pytest.approx(2 * np.log(1000), abs=1e-7)
    ml = [fits["ML", " + herd_size"].criterion, fits["ML", " + thousands"].criterion]
    assert ml[0] == pytest.approx(ml[1], abs=1e-8)
    assert page["gain_ml"] > 0 > page["gain_reml"]
    gain = page["gain"]
    assert gain["herd_size", "kg"] == pytest.approx(gain["thousands", "kg"], abs=1e-6)
    moved = gain["herd_size", "g"] - gain["herd_size", "kg"]
    assert moved == pytest.approx(2 * np.log(1000), abs=1e-6)


def test_only_kenward_roger_keeps_its_level_with_eight_herds(page: dict[str, Any]) -> None:
    ml, cows, thousands, kenward_roger = page["share"]
    # 1,000 replicates: a share of 5% has a Monte-Carlo error of 0.7 points
    assert ml > 0.07 and cows < 0.035 and thousands > 0.95
    assert 0.025 < kenward_roger < 0.08
    assert page["errors_of_tests"]["negative (%)"].iloc[1] > 50


def test_statsmodels_gives_the_likelihood_of_the_last_fit(page: dict[str, Any]) -> None:
    assert page["first"].method == "ML"
    assert abs(page["first"].llf - page["fit_ml"].llf) > 1

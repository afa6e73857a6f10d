"""Chapter 5 run cell by cell: what it says about within, between and contextual effects holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter

from pylmm_helpers import contextual_effect


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("05-contextual-effects")


def test_the_predictor_varies_on_both_levels_and_the_line_between_is_steeper(
    page: dict[str, Any],
) -> None:
    assert page["sd_between"] > 5 and page["sd_within"] > 10
    effects = page["effects"]["estimate"]
    assert effects["between"] > 2 * effects["within"] > 0
    slopes = [
        np.polyfit(d["income"], d["health"], 1)[0]
        for d in (page["places"].get_group(name) for name in page["chosen"])
    ]
    assert sum(slope > 0 for slope in slopes) >= 5  # "most of the eight short lines rise"


def test_intervals_cover_the_truth_of_the_codebook(page: dict[str, Any]) -> None:
    effects = page["effects"]
    truth = {"within": 0.12, "between": 0.45, "contextual": 0.33}
    for name, value in truth.items():
        assert effects.loc[name, "ci_low"] < value < effects.loc[name, "ci_high"]
    assert effects.loc["between", "df"] < 200 < 2000 < effects.loc["within", "df"]


def test_three_forms_have_one_contextual_effect_and_one_standard_error(
    page: dict[str, Any],
) -> None:
    three = page["three"]
    assert np.ptp(three["contextual"]) < 1e-6
    assert np.ptp(three["SE"]) < 1e-6
    assert three.loc["raw and mean", "second term"] == pytest.approx(
        three.loc["raw and mean", "contextual"]
    )
    assert three.loc["raw and deviation", "first term"] == pytest.approx(
        -three.loc["raw and mean", "contextual"], rel=1e-5
    )


def test_both_slopes_by_hand_are_those_of_the_fit_and_of_indicators(page: dict[str, Any]) -> None:
    params = page["fit"].fe_params
    assert page["beta_w"] == pytest.approx(params["income_within"], rel=1e-9)
    assert page["beta_w"] == pytest.approx(page["dummies"].params["income"], rel=1e-9)
    assert page["beta_b"] == pytest.approx(params["income_mean"], rel=1e-9)


def test_a_single_coefficient_is_the_mixture(page: dict[str, Any]) -> None:
    assert page["mixture"] == pytest.approx(page["fit_single"].fe_params["income"], rel=1e-6)
    assert 0.9 < page["share_w"] < 1
    assert page["g0"] > 1.3 * page["sigma2_g"]


def test_the_fallacies_have_the_signs_of_the_text(page: dict[str, Any]) -> None:
    slope, error = page["fallacy"]["mean slope"], page["fallacy"]["MC of slope"]
    assert slope["means of neighbourhoods"] == pytest.approx(
        -0.5, abs=5 * error["means of neighbourhoods"]
    )
    assert abs(slope["people, neighbourhoods ignored"]) < 0.05
    assert 0.4 < slope["random intercept, one coefficient"] < 0.5
    assert slope["both parts: within"] == pytest.approx(0.5, abs=5 * error["both parts: within"])
    assert slope["both parts: between"] == pytest.approx(-0.5, abs=5 * error["both parts: between"])
    assert error.max() < 0.01
    assert page["world"]["x"].min() > 0, "years in a country"
    share, doubt = page["fallacy"]["positive"], page["fallacy"]["MC of share"]
    assert doubt.to_numpy() == pytest.approx(np.sqrt(share * (100 - share) / 400))


def test_few_members_bias_the_between_group_effect_by_the_formula(page: dict[str, Any]) -> None:
    few = page["few"]
    # four standard errors: six comparisons rarely exceed that by chance
    assert page["miss"].max() < 4
    assert few["bias"].to_numpy() == pytest.approx(few["observed means"] - 0.45)
    assert few["bias"].iloc[0] / 0.45 < -0.3
    assert few["bias"].is_monotonic_increasing and few["bias"].max() < 0
    assert few["observed means"].iloc[0] - 0.12 < 0.6 * 0.33
    assert ((few["shrunken means"] - 0.45).abs() < 4 * few["MC of shrunken"]).all()
    assert (few["MC of shrunken"] > few["MC"]).all()


def test_dividing_by_the_estimated_reliability_is_using_the_blups(page: dict[str, Any]) -> None:
    """`estimates` saves a fit by the algebra that the text states; here is the long way."""
    d = page["sampled"](np.random.default_rng(1), 5)
    of_x = page["fit_lmm"]("x ~ 1", d, groups="g")
    d["shrunken"] = of_x.random_effects["Intercept"].to_numpy()[d["g"]]
    long_way = page["fit_lmm"]("y ~ x + shrunken", d, groups="g").fe_params
    assert page["estimates"](d, 5)[1] == pytest.approx(long_way["x"] + long_way["shrunken"])


def test_checks_find_nothing_where_the_truth_has_nothing(page: dict[str, Any]) -> None:
    assert page["slope_test"]["p_value"] > 0.2
    trend = np.corrcoef(page["means"]["income"], page["u"])[0, 1]
    assert abs(trend) < 0.1
    assert page["joined"]["u"].abs().max() < 1.5
    with_age = contextual_effect(page["fit_age"], "income_within", "income_mean")
    assert with_age.loc["contextual", "estimate"] == pytest.approx(
        page["context"]["estimate"], abs=0.02
    )
    assert page["lambda_j"].mean() == pytest.approx(0.85, abs=0.05)

"""Chapter 5 run cell by cell: what it says about within, between and contextual effects holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter
from scipy import stats

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


def mean_effects(page: dict[str, Any], x: Any, y: Any, g: Any) -> Any:
    """Within and contextual effect by Mundlak's form."""
    mean = np.bincount(g, x)[g] / np.bincount(g)[g]
    data = page["pd"].DataFrame({"y": y, "x": x, "mean": mean, "g": g})
    return page["fit_lmm"]("y ~ x + mean", data, groups="g").fe_params[["x", "mean"]].to_numpy()


def test_a_mean_of_most_members_needs_the_sampling_fraction(page: dict[str, Any]) -> None:
    rng, size, members = np.random.default_rng(3), 15, 20
    found = []
    for _ in range(60):
        all_x = rng.normal(40, 7, (120, 1)) + rng.normal(0, 12, (120, members))
        mu, seen = all_x.mean(axis=1), all_x[:, :size]
        g = np.repeat(np.arange(120), size)
        y = 42 + 0.12 * seen.ravel() + 0.33 * mu[g] + rng.normal(0, 3, 120)[g]
        found.append(mean_effects(page, seen.ravel(), y + rng.normal(0, 8, len(g)), g)[1])
    error = np.std(found, ddof=1) / np.sqrt(60)
    true_means = 49 + 144 / members
    right = 0.33 * true_means / (true_means + 144 * (1 / size - 1 / members))
    naive = 0.33 * 49 / (49 + 144 / size)
    assert np.mean(found) == pytest.approx(right, abs=4 * error)
    assert np.mean(found) > naive + 4 * error
    assert np.mean(found) / (naive / 0.33) > 0.33 + 4 * error, "the remedy overshoots"


def test_with_two_residents_the_reliability_is_sometimes_lost() -> None:
    """Mean squares of 120 places with two residents each; their ratio decides the reliability."""
    expected = (144 + 2 * 49) / 144  # mean square between over within
    near_zero = stats.f.cdf(1 / (1 - 0.1) / expected, 119, 120)
    assert 0.003 < near_zero < 0.03


def test_error_in_own_income_makes_a_contextual_effect(page: dict[str, Any]) -> None:
    rng, g = np.random.default_rng(4), np.repeat(np.arange(120), 24)
    found = []
    for _ in range(60):
        x = rng.normal(40, 7, 120)[g] + rng.normal(0, 12, len(g))
        y = 42 + 0.12 * x + rng.normal(0, 3, 120)[g] + rng.normal(0, 8, len(g))
        reported = x + rng.normal(0, 12 * np.sqrt(0.4 / 0.6), len(g))  # reliability 0.6
        found.append(mean_effects(page, reported, y, g))
    (within, context), error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(60)
    assert within == pytest.approx(0.6 * 0.12, abs=4 * error[0])
    assert context > 5 * error[1], "although the place adds nothing"
    assert within + context == pytest.approx(0.12, abs=0.02), "the slope between stays"


def test_a_single_coefficient_is_near_the_slope_within_unless_groups_are_small(
    page: dict[str, Any],
) -> None:
    def share_of_within(size: int, tau: float) -> float:
        info_w, info_b = (size - 1) * 144 / 64, (tau**2 + 144 / size) / (9 + 64 / size)
        return info_w / (info_w + info_b)

    assert share_of_within(10, 7) > 0.8 > share_of_within(2, 7)
    assert share_of_within(10, 30) < 0.5


def test_age_is_left_whole_at_no_cost_to_income(page: dict[str, Any]) -> None:
    people = page["center_within"](page["people"], "age", "neighbourhood")
    formula = "health ~ income_within + income_mean + age_within + age_mean"
    split = page["fit_lmm"](formula, people, groups="neighbourhood")
    context = contextual_effect(split, "income_within", "income_mean").loc["contextual"]
    whole = page["with_age"].loc["contextual", "estimate"]
    assert abs(context["estimate"] - whole) < 0.01
    dummies = page["smf"].ols("health ~ income + age + C(neighbourhood)", people).fit().params
    assert split.fe_params["income_within"] == pytest.approx(dummies["income"], rel=1e-8)
    unsplit = page["fit_age"].fe_params["income_within"]
    assert abs(unsplit - dummies["income"]) > 1e-6, "the same only if every predictor is split"
    assert page["fit_age"].scale < page["fit"].scale
    assert page["fit_age"].cov_re.iloc[0, 0] > page["fit"].cov_re.iloc[0, 0]


def test_a_slope_of_the_deviation_keeps_the_three_forms_one_model(page: dict[str, Any]) -> None:
    def criterion(fixed: str, slope: str) -> float:
        data = page["people"]
        return page["fit_lmm"](
            f"health ~ {fixed}", data, groups="neighbourhood", re_formula=f"1 + {slope}"
        ).criterion

    fixed = ["income_within + income_mean", "income + income_mean", "income_within + income"]
    of_deviation = [criterion(terms, "income_within") for terms in fixed]
    assert np.ptp(of_deviation) < 1e-5
    assert abs(criterion(fixed[1], "income") - of_deviation[0]) > 1e-3

"""Chapter 5 run cell by cell: what it says about within, between and contextual effects holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from cells import run_chapter
from said import Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import blups, center_within, coef_table, contextual_effect, fit_lmm, icc

CHAPTER = "05-contextual-effects"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(CHAPTER)


def slopes_of_eight(p: dict[str, Any]) -> Any:
    tables = (p["places"].get_group(name) for name in p["chosen"])
    return np.array([np.polyfit(d["income"], d["health"], 1)[0] for d in tables])


def slope_between(p: dict[str, Any]) -> float:
    return np.polyfit(p["means"]["income"], p["means"]["health"], 1)[0]


def on_people(p: dict[str, Any], formula: str) -> Any:
    return fit_lmm(formula, p["people"], groups="neighbourhood")


def df_of_equal_sizes(p: dict[str, Any]) -> float:
    """Ten residents from each place."""
    columns = ["neighbourhood", "income", "health"]
    ten = p["people"].groupby("neighbourhood", observed=True).head(10)[columns]
    ten = center_within(ten.reset_index(drop=True), "income", "neighbourhood")
    fit = fit_lmm("health ~ income_within + income_mean", ten, groups="neighbourhood")
    return coef_table(fit).loc["income_mean", "df"]


def p_of_a_curve(p: dict[str, Any]) -> float:
    people = p["people"].assign(square=(p["people"]["income_mean"] - 40) ** 2)
    fit = fit_lmm("health ~ income_within + income_mean + square", people, "neighbourhood")
    return coef_table(fit).loc["square", "p_value"]


def parts_of_age(p: dict[str, Any]) -> Any:
    people = center_within(p["people"], "age", "neighbourhood")
    formula = "health ~ income_within + income_mean + age_within + age_mean"
    fit = fit_lmm(formula, people, groups="neighbourhood")
    return contextual_effect(fit, "age_within", "age_mean").loc["contextual"]


def single_when_equal(p: dict[str, Any]) -> tuple[float, float]:
    """Standard errors of one coefficient and of that within, were both effects equal."""
    one, within = 1 / (p["info_w"] + p["info_b"]), 1 / p["info_w"]
    return np.sqrt(one), np.sqrt(within)


# What the chapter says of these data, each with its check.
STATEMENTS: list[Statement] = [
    (
        "Both pictures show that more income goes with better health.",
        lambda p: (slopes_of_eight(p) > 0).sum() >= 6 and slope_between(p) > 0,
    ),
    ("most of the eight short lines rise gently", lambda p: (slopes_of_eight(p) > 0).sum() >= 6),
    (
        "lie close to one line that rises clearly more steeply.",
        lambda p: (
            np.corrcoef(p["means"].T)[0, 1] > 0.6
            and slope_between(p) > 2 * np.median(slopes_of_eight(p))
        ),
    ),
    (
        "But the line on the right is steeper.",
        lambda p: slope_between(p) > slopes_of_eight(p).max(),
    ),
    (
        "is a little healthier; a neighbourhood whose residents earn ten thousand more on average "
        "is a good deal healthier.",
        lambda p: 10 * p["within"]["estimate"] < 2 and 10 * p["between"]["estimate"] > 4,
    ),
    (
        "## Between places the slope is steeper",
        lambda p: p["context"]["ci_low"] > 0,
    ),
    (
        "The other fitting function of this book gives the same coefficients.",
        lambda p: np.allclose(p["one_slope"].fe_params, p["fit"].fe_params, rtol=1e-4),
    ),
    ("Income varies on both levels", lambda p: icc(p["predictor"])["ci_low"] > 0.1),
    (
        "the new `income_mean` is the same.",
        lambda p: np.allclose(p["people"]["mean_income"], p["people"]["income_mean"], atol=1e-9),
    ),
    (
        "So the coefficient of the first stays the same when the second leaves the model, and that "
        "of the second nearly the same when the first does.",
        lambda p: (
            np.isclose(
                on_people(p, "health ~ income_within").fe_params["income_within"],
                p["fit"].fe_params["income_within"],
                rtol=1e-8,
            )
            and np.isclose(
                on_people(p, "health ~ income_mean").fe_params["income_mean"],
                p["fit"].fe_params["income_mean"],
                rtol=1e-3,
            )
        ),
    ),
    (
        "All three intervals cover the truth.",
        lambda p: all(
            p["effects"].loc[k, "ci_low"] < v < p["effects"].loc[k, "ci_high"]
            for k, v in {"within": 0.12, "between": 0.45, "contextual": 0.33}.items()
        ),
    ),
    (
        "the degrees of freedom would be exactly the number of neighbourhoods less two",
        lambda p: np.isclose(df_of_equal_sizes(p), p["G"] - 2, rtol=1e-6),
    ),
    (
        "The contextual effect is the same in every row, and so is its standard error.",
        lambda p: np.ptp(p["three"]["contextual"]) < 1e-6 and np.ptp(p["three"]["SE"]) < 1e-6,
    ),
    (
        "*Raw and deviation* shows it with its sign turned round.",
        lambda p: np.isclose(
            p["three"].loc["raw and deviation", "first term"], -p["context"]["estimate"], rtol=1e-5
        ),
    ),
    (
        "All three are the same number.",
        lambda p: np.isclose(p["beta_w"], p["dummies"].params["income"], rtol=1e-9),
    ),
    (
        "so places with more residents get more weight.",
        lambda p: (p["w"].sort_values().index.map(p["m"]).to_numpy()[[0, -1]] == [10, 40]).all(),
    ),
    (
        "The mixture is near $\\beta_W$ here",
        lambda p: abs(p["mixture"] - p["beta_w"]) < 0.1 * abs(p["slope_b0"] - p["beta_w"]),
    ),
    (
        "what income between places explains, the single coefficient leaves in $u_j$.",
        lambda p: p["g0"] > 1.3 * p["sigma2_g"],
    ),
    (
        "Then $u_j$ is correlated with income",
        lambda p: np.corrcoef(blups(p["fit_single"])["estimate"], p["means"]["income"])[0, 1] > 0.4,
    ),
    (
        "every short line rises, and the long line through the means falls.",
        lambda p: np.polyfit(p["centre"]["x"], p["centre"]["y"], 1)[0] < -0.3,
    ),
    (
        "To say it of people is the ecological fallacy, and here it has the wrong sign.",
        lambda p: p["one_study"]["means of neighbourhoods"] < 0,
    ),
    (
        "In $400$ such studies the means never have a positive slope, and the single coefficient "
        "always has one",
        lambda p: p["studies"] == 400 and p["fallacy"].iloc[[0, 2], 2].to_list() == [0, 100],
    ),
    (
        "the means have a negative slope in every study, and the random intercept a positive one.",
        lambda p: p["fallacy"].iloc[[0, 2], 2].to_list() == [0, 100],
    ),
    (
        "That is nearly true of people.",
        lambda p: (
            abs(p["fallacy"].iloc[2, 0] - 0.5) < 0.03 and abs(p["one_study"].iloc[2] - 0.5) < 0.03
        ),
    ),
    (
        "The regression of all people is about zero: the two effects hide each other.",
        lambda p: abs(p["fallacy"].iloc[1, 0]) < 0.05 and abs(p["one_study"].iloc[1]) < 0.05,
    ),
    ("The model with both parts finds both.", lambda p: both_parts_of_one_miss(p).max() < 2),
    (
        "The model with both parts misses neither truth by more than chance.",
        lambda p: both_parts_miss(p).max() < 4,
    ),
    ("and takes nearly all of the bias away", lambda p: gone(p["few"]) > 0.9),
    ("With shrunken means nearly all of the bias is gone.", lambda p: gone(p["few"]) > 0.9),
    (
        "The price is a less certain estimate",
        lambda p: (p["few"]["its MC error"] > p["few"]["MC error"]).all(),
    ),
    (
        "### There is no sign that the slope within varies",
        lambda p: p["slope_test"]["p_value"] > 0.3,
    ),
    ("### Between places no curve shows", lambda p: p_of_a_curve(p) > 0.1),
    (
        "The points of @fig-ctx-residual show no curve.",
        lambda p: p_of_a_curve(p) > 0.1 and p["joined"]["u"].abs().max() < 1,
    ),
    (
        "from about minus 8 to 6.",
        lambda p: np.allclose([p["u"].min(), p["u"].max()], [-8, 6], atol=0.7),
    ),
    (
        "More neighbourhoods would not help, since the bias depends on the residents of each.",
        lambda p: bias_of_many(p) < -0.12,
    ),
    (
        "`center_within` refuses both",
        lambda p: refused(p["people"], "mean_income") and refused(p["even"], "place"),
    ),
    (
        "A straight trend they can't show",
        lambda p: abs(np.corrcoef(p["means"]["income"], p["u"])[0, 1]) < 1e-6,
    ),
    (
        "@sec-ctx-age adds age, and income keeps its contextual effect.",
        lambda p: (
            abs(p["with_age"].loc["contextual", "estimate"] - p["context"]["estimate"]) < 0.01
        ),
    ),
    (
        "Age was drawn independently of income, so it has nothing to confound.",
        lambda p: abs(np.corrcoef(p["people"]["age"], p["people"]["income"])[0, 1]) < 0.05,
    ),
    (
        "moves the contextual effect of income by less than a hundredth of a point",
        lambda p: abs(moved_by_splitting(p)) < 0.01,
    ),
    (
        "Split, its slopes within and between places even differ with a p-value below $0.05$",
        lambda p: 0.001 < parts_of_age(p)["p_value"] < 0.05,
    ),
    (
        "then the single coefficient is the more precise one.",
        lambda p: single_when_equal(p)[0] < single_when_equal(p)[1],
    ),
    (
        "that moves the fixed intercept and separates nothing.",
        lambda p: np.isclose(
            on_people(p, "health ~ I(income - 41)").fe_params.iloc[1],
            p["fit_single"].fe_params["income"],
            rtol=1e-4,
        ),
    ),
    (
        "Intervals may overlap although the difference is clear.",
        # two estimates with a standard error of 1 each, three apart
        lambda p: 2 * stats.norm.ppf(0.975) > 3 > np.sqrt(2) * stats.norm.ppf(0.975),
    ),
    (
        "the steep slope between loses about as much as the flat one within, and the contextual "
        "effect stays nearly what it was.",
        lambda p: abs(p["both_rows"].loc["contextual", "with error"] - contextual(p)) < 0.02,
    ),
    (
        "Their difference may go either way:",
        lambda p: (
            p["both_rows"].loc["contextual", "no effect"] > 0.05
            and p["both_rows"].loc["contextual", "mended"] < contextual(p)
        ),
    ),
    (
        "The second reading gives the slope within back.",
        lambda p: abs(p["w_mended"] - p["within"]["estimate"]) < 4 * p["error_mc"][2],
    ),
    (
        "and $\\beta_B$ shrinks much less.",
        lambda p: 1 - p["lambda_b"] < 0.3 * (1 - p["lambda_w"]),
    ),
    (
        "which hardly exists, so report ten percentage points:",
        lambda p: (p["p_poor"] > 0.9).mean() < 0.05,
    ),
    (
        "the data don't say that there is one, and they couldn't rule out one as large as the "
        "effect within.",
        lambda p: (
            p["of_parity"].loc["contextual", "ci_low"] < 0
            and p["of_parity"].loc["contextual", "ci_high"] > p["of_parity"]["estimate"].iloc[0]
        ),
    ),
    ("so the first condition is barely met.", lambda p: p["parity_icc"] < 0.02),
    (
        "and the contextual effect from their own means is smaller, as @eq-ctx-bias says:",
        lambda p: p["four_effects"]["estimate"].iloc[0] < p["four_effects"]["estimate"].iloc[1],
    ),
]


def contextual(p: dict[str, Any]) -> float:
    return p["context"]["estimate"]


def gone(few: Any) -> float:
    """Share of the bias with three residents that shrunken means take away."""
    return 1 - abs(few["shrunken means"].iloc[0] - 0.45) / abs(few["bias"].iloc[0])


def bias_of_many(p: dict[str, Any]) -> float:
    """Mean bias between places in studies of 1,200 places with three residents each."""
    rng = np.random.default_rng(16)
    found = []
    for _ in range(10):
        params = fit_lmm("y ~ x + mean", p["sampled"](rng, 3, 1200), groups="g").fe_params
        found.append(params["x"] + params["mean"] - 0.45)
    return float(np.mean(found))


def refused(data: Any, column: str) -> bool:
    with pytest.raises(ValueError):
        center_within(data, column, "neighbourhood")
    return True


def moved_by_splitting(p: dict[str, Any]) -> float:
    """Contextual effect of income with age split, less that with age whole."""
    people = center_within(p["people"], "age", "neighbourhood")
    formula = "health ~ income_within + income_mean + age_within + age_mean"
    split = fit_lmm(formula, people, groups="neighbourhood")
    effects = contextual_effect(split, "income_within", "income_mean")
    return effects.loc["contextual", "estimate"] - p["with_age"].loc["contextual", "estimate"]


def both_parts_miss(p: dict[str, Any]) -> Any:
    """Distance of both slopes of the last model from the truth, in MC errors."""
    last = p["fallacy"].iloc[3:]
    return np.abs(last["mean slope"] - [0.5, -0.5]) / last["MC error"]


def both_parts_of_one_miss(p: dict[str, Any]) -> Any:
    """Distance of both slopes of the study that is drawn from the truth, in standard errors."""
    fit = fit_lmm("y ~ dev + mean", p["world"], groups="g")
    return np.abs(fit.fe_params[["dev", "mean"]] - [0.5, -0.5]) / fit.bse_fe[["dev", "mean"]]


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(
    page: dict[str, Any], fragment: str, holds: Any
) -> None:
    assert stands(CHAPTER, fragment), "the chapter no longer says so"
    assert holds(page)


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
    slope, error = page["fallacy"]["mean slope"], page["fallacy"]["MC error"]
    assert slope["means of neighbourhoods"] == pytest.approx(
        -0.5, abs=5 * error["means of neighbourhoods"]
    )
    assert abs(slope["people, neighbourhoods ignored"]) < 0.05
    assert 0.4 < slope["random intercept, one coefficient"] < 0.5
    assert slope["both parts: within"] == pytest.approx(0.5, abs=5 * error["both parts: within"])
    assert slope["both parts: between"] == pytest.approx(-0.5, abs=5 * error["both parts: between"])
    assert error.max() < 0.01
    assert page["world"]["x"].min() > 0, "years in a country"
    share, doubt = page["fallacy"]["positive (%)"], page["fallacy"]["its MC error"]
    assert doubt.to_numpy() == pytest.approx(np.sqrt(share * (100 - share) / 400))


def test_few_members_bias_the_between_group_effect_by_the_formula(page: dict[str, Any]) -> None:
    few = page["few"]
    assert few["predicted"].to_numpy() == pytest.approx(page["expected"]["between"].to_numpy())
    # four standard errors: six comparisons rarely exceed that by chance
    assert page["miss"].max() < 4
    assert few["bias"].to_numpy() == pytest.approx(few["observed means"] - 0.45)
    assert few["bias"].iloc[0] / 0.45 < -0.3
    assert few["bias"].is_monotonic_increasing and few["bias"].max() < 0
    assert few["observed means"].iloc[0] - 0.12 < 0.6 * 0.33
    assert ((few["shrunken means"] - 0.45).abs() < 4 * few["its MC error"]).all()
    assert (few["its MC error"] > few["MC error"]).all()


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


def test_the_information_within_and_between_follows_the_rule_of_the_text(
    page: dict[str, Any],
) -> None:
    of_groups = 1 + page["m"].mean() * page["g0"] / page["e0"]
    of_predictor = (page["x_dev"] ** 2).mean() / page["means"]["income"].var()
    rule = of_groups * of_predictor
    assert page["info_w"] / page["info_b"] == pytest.approx(rule, rel=0.1)


@pytest.mark.parametrize(("sd_between", "near"), [(3, True), (12, False)])
def test_dozens_of_members_do_not_make_sure_of_the_slope_within(
    sd_between: float, near: bool
) -> None:
    """36 members and little variance between groups; income within has an SD of 6."""
    rng = np.random.default_rng(36)
    g = np.repeat(np.arange(300), 36)
    x = rng.normal(0, sd_between, 300)[g] + rng.normal(0, 6, len(g))
    x_mean = np.bincount(g, x)[g] / 36
    y = 0.12 * (x - x_mean) + 0.45 * x_mean + rng.normal(0, 1, 300)[g] + rng.normal(0, 8, len(g))
    data = pd.DataFrame({"y": y, "x": x, "g": g})
    slope = fit_lmm("y ~ x", data, groups="g").fe_params["x"]
    from_within = (slope - 0.12) / (0.45 - 0.12)
    assert (from_within < 0.2) == near
    assert near or from_within > 0.3


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


def test_printed_errors_are_too_small_after_shrinking_and_a_bootstrap_of_places_is_not(
    page: dict[str, Any],
) -> None:
    """Contextual effect from shrunken means of three residents each."""

    def two_steps(d: Any) -> Any:
        of_x = fit_lmm("x ~ 1", d, groups="g")
        d = d.assign(shrunken=of_x.random_effects["Intercept"].to_numpy()[d["g"]])
        return fit_lmm("y ~ x + shrunken", d, groups="g")

    def drawn_anew(d: Any, rng: Any) -> Any:
        rows = rng.integers(0, 120, 120)[:, None] * 3 + np.arange(3)
        return d.iloc[rows.ravel()].assign(g=np.repeat(np.arange(120), 3))

    rng, found = np.random.default_rng(11), []
    for _ in range(200):
        fit = two_steps(page["sampled"](rng, 3))
        found.append([fit.fe_params["shrunken"], fit.bse_fe["shrunken"]])
    true, printed = np.std(found, axis=0)[0], np.mean(found, axis=0)[1]
    # an SD of 200 estimates has an error of 5%; the printed one is some 15% short
    assert printed < 0.95 * true
    boot = []
    for _ in range(8):
        d = page["sampled"](rng, 3)
        draws = [two_steps(drawn_anew(d, rng)).fe_params["shrunken"] for _ in range(30)]
        boot.append(np.std(draws))
    assert np.median(boot) > printed and 0.75 < np.median(boot) / true < 1.3


def test_the_python_side_gives_the_effects_of_the_chapter(page: dict[str, Any]) -> None:
    effects = run_python(blocks(CHAPTER)[0])["effects"]
    pd.testing.assert_frame_equal(effects, page["effects"])


@needs_r
def test_the_r_side_gives_the_effects_of_the_chapter(page: dict[str, Any]) -> None:
    slopes, context = run_r(
        blocks(CHAPTER)[1],
        'fixef(fit)[c("income_within", "income_mean")]',
        'context[c("Estimate", "Std. Error", "df")]',
    )
    ours = page["effects"]
    assert slopes == pytest.approx(ours["estimate"].iloc[:2].to_list(), rel=1e-4)
    expected = ours.loc["contextual", ["estimate", "std_error", "df"]].to_list()
    assert context == pytest.approx(expected, rel=1e-3)


def test_error_in_a_predictor_does_what_its_equation_says(page: dict[str, Any]) -> None:
    """Slopes within and between by the reliabilities, with either outcome."""
    foreseen = [page["w_foreseen"], page["b_foreseen"], None, 0.3 * page["lambda_w"]]
    found = [page["w_told"], page["b_told"], None, page["w_same"]]
    # one sample of places is behind all draws, whose own error the second outcome averages out
    assert found[0] == pytest.approx(foreseen[0], abs=4 * page["error_mc"][0])
    assert found[1] == pytest.approx(foreseen[1], abs=4 * page["error_mc"][1] + 0.003)
    assert found[3] == pytest.approx(foreseen[3], abs=4 * page["error_mc"][3])
    assert page["b_same"] == pytest.approx(0.3 * page["lambda_b"], abs=4 * page["error_mc"][4])


def test_a_binary_exposure_is_carried_by_places_with_both_kinds(page: dict[str, Any]) -> None:
    assert page["poor_by_hand"] == pytest.approx(page["fit_poor"].fe_params["poor_within"])
    alone = page["p_poor"].drop(page["gap_in"].index)
    assert alone.isin([0, 1]).all(), "the others have one kind only"


def test_the_share_of_a_cut_predictor_picks_up_what_the_cut_threw_away(
    page: dict[str, Any],
) -> None:
    """With income in the model the share of the poor has nothing left to say."""
    fit = on_people(page, "health ~ poor_within + poor_mean + income_within + income_mean")
    left, before = (coef_table(f).loc["poor_mean"] for f in (fit, page["fit_poor"]))
    assert left["p_value"] > 0.05 > before["p_value"]


@needs_r
def test_r_splits_the_binary_exposure_and_the_recorded_income_alike(page: dict[str, Any]) -> None:
    code = """
suppressMessages(library(lmerTest))
people <- read.csv("datasets/neighbourhood_health.csv")
people$poor <- as.numeric(people$income < 30)
people$poor_mean <- ave(people$poor, people$neighbourhood)
fit <- lmer(health ~ I(poor - poor_mean) + poor_mean + (1 | neighbourhood), people)
context <- contest1D(fit, c(0, -1, 1), ddf = "Kenward-Roger")
"""
    fixed, context = run_r(code, "fixef(fit)", "context[c('Estimate', 'Std. Error', 'df')]")
    assert page["fit_poor"].fe_params.to_numpy() == pytest.approx(fixed, rel=1e-4)
    found = page["of_poor"].loc["contextual", ["estimate", "std_error", "df"]].astype(float)
    assert found.to_numpy() == pytest.approx(context, rel=1e-3)

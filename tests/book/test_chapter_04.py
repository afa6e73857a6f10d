"""Chapter 4 run cell by cell: lines of people, effects of hospitals, codings and simulation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from answers import lmer_if_possible, truths_of
from cells import CHAPTERS, run_chapter
from said import Page, Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import coef_table, fit_lmm, lrt, plots, refit
from pylmm_helpers import residuals as residuals_of

NAME = "04-random-slopes"
SLOPE = "1 + treatment"
FORMULA = "bp_reduction ~ treatment"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(NAME, "ignore", replaced={"lmer": lmer_if_possible})


def lines_cross(page: Page) -> bool:
    ends = page["ends_line"].sort_values(0)
    return not ends[9].is_monotonic_increasing


def of_day(page: Page, day: int) -> Any:
    return page["sleep"].loc[page["sleep"]["Days"] == day, "Reaction"]


def within(values: Any, low: float, high: float) -> Any:
    return (low < values) & (values < high)


def lines_fan_out(page: Page) -> bool:
    ends = page["ends_line"]
    return bool(ends[9].std() > 2 * ends[0].std())


def one_is_flat(page: Page) -> bool:
    changes = (page["ends_line"][9] - page["ends_line"][0]).sort_values()
    return abs(changes.iloc[0]) < 9 < changes.iloc[1]


def share_outside_the_average(page: Page) -> float:
    values = page["beta_1"] + page["own"]["estimate"]
    return float(1 - within(values, page["low"], page["high"]).mean())


def edges_of_the_slopes(page: Page) -> float:
    """How far the slope that leaves the band lies beyond it, in standard deviations."""
    slopes = residuals_of(page["fit_own"], level="group").xs("treatment", level="term")
    above = slopes["standardised"].sort_values().to_numpy() - plots.qq_band(30)["high"].to_numpy()
    return float(above.max())


def intervals_cover(page: Page) -> bool:
    truth = {"here": 6.5, "there": 11.0, "cross": 4.5}
    return all(page[k]["ci_low"] < v < page[k]["ci_high"] for k, v in truth.items())


# What the page says of its data in words, and whether the data say so.
STATEMENTS: list[Statement] = [
    (
        "On day 0 all but one lie between 200 and 325 ms.",
        lambda p: within(of_day(p, 0), 200, 325).sum() == len(of_day(p, 0)) - 1,
    ),
    (
        "from about 200 to 470. On day 0",
        lambda p: (
            p["sleep"]["Reaction"].agg(["min", "max"]).tolist() == pytest.approx([200, 470], abs=10)
        ),
    ),
    (
        "so the people lie much further apart at the end.",
        lambda p: of_day(p, 9).std() > 1.8 * of_day(p, 0).std(),
    ),
    (
        "some not at all, some twice as fast as the average.",
        lambda p: p["few_days"] < 0 and 1.9 < p["many_days"] / p["per_day"]["estimate"] < 2.3,
    ),
    (
        "about as much as one measurement around a person's line",
        lambda p: (
            0.9
            < p["spread_sleep"].loc["sd(Intercept)", "estimate"] / np.sqrt(p["fit_line"].scale)
            < 1.1
        ),
    ),
    (
        "so the covariance is close to zero",
        lambda p: (
            abs(p["cor_sleep"]["estimate"]) < 0.1
            and p["cor_sleep"]["ci_low"] < -0.4
            and p["cor_sleep"]["ci_high"] > 0.6
        ),
    ),
    (
        "they cross in places and fan out, so they lie more than twice as far apart on day 9 as on",
        lambda p: lines_cross(p) and lines_fan_out(p) and one_is_flat(p),
    ),
    ("They fan out.", lines_fan_out),
    (
        "Both models give the same average slope",
        lambda p: (
            p["fit_level"].fe_params["Days"] == pytest.approx(p["fit_line"].fe_params["Days"])
            and p["mean_slope"] == pytest.approx(p["fit_line"].fe_params["Days"], rel=1e-6)
        ),
    ),
    (
        "you get the standard error of the second model.",
        lambda p: (
            p["se_slopes"] == pytest.approx(p["se_line"], rel=1e-3)
            and p["se_level"] < 0.6 * p["se_line"]
        ),
    ),
    (
        "The criterion is the same, the spread of the slopes is the same, and so are",
        lambda p: np.ptp(p["zeros"]["criterion"]) < 1e-6 and np.ptp(p["zeros"]["SD slope"]) < 1e-3,
    ),
    (
        "a correlation that is next to nothing on day $0$ is close to $1$ on day $9$",
        lambda p: (
            p["zeros"]["correlation"].iloc[0] < 0.1 and p["zeros"]["correlation"].iloc[2] > 0.9
        ),
    ),
    (
        "a parabola whose lowest point lies just left of day 0",
        lambda p: (
            -1 < p["lowest"] < 0
            and p["by_day"]["between"].tolist() == pytest.approx([600, 1400, 3600], rel=0.03)
        ),
    ),
    (
        "misses the truth about five times as often as it should",
        lambda p: 4 < (100 - p["sim"]["coverage"].iloc[0]) / 5 < 6,
    ),
    (
        "So hospitals differ more on the drug",
        lambda p: p["by_arm"]["sd_between"].iloc[1] > 1.5 * p["by_arm"]["sd_between"].iloc[0],
    ),
    (
        "which hardly moves the effect here.",
        lambda p: (
            abs(p["adjusted"]["estimate"].diff().iloc[1]) < 0.1 * p["adjusted"]["std_error"].min()
        ),
    ),
    (
        "everybody was measured on the same days, and the arms were allocated within hospitals.",
        lambda p: (
            p["people"]["Days"].agg(tuple).nunique() == 1 and (p["arm_size"] > 0).all(axis=None)
        ),
    ),
    (
        "The drug's mean lies above that of usual care in nearly every hospital",
        lambda p: 0.9 < (p["difference"] > 0).mean() < 1,
    ),
    (
        "in a few hospitals it is close to zero, in several it is above 10 mmHg.",
        lambda p: (
            2 <= (p["difference"] < 2.5).sum() <= 5 and 5 <= (p["difference"] > 10).sum() <= 10
        ),
    ),
    (
        "Their levels differ from hospital to hospital, and so does the gap between them.",
        lambda p: p["arm_mean"][0].std() > 3 and p["difference"].std() > 3,
    ),
    (
        "hospitals with a larger fall on usual care tend to have a larger drug effect as well.",
        lambda p: p["correlation"] > 0.2,
    ),
    (
        "thirty hospitals say little about a correlation.",
        lambda p: (
            np.ptp(p["spread"].loc["correlation of the two", ["ci_low", "ci_high"]].astype(float))
            > 0.6
        ),
    ),
    (
        "The predictions climb steadily from about 2 to about 15 mmHg.",
        lambda p: (
            (p["beta_1"] + p["own"]["estimate"]).agg(["min", "max"]).tolist()
            == pytest.approx([2, 15], abs=0.8)
        ),
    ),
    (
        "leaves more than half of the hospitals outside; the wide band covers all predictions.",
        lambda p: (
            share_outside_the_average(p) > 0.5
            and within(p["beta_1"] + p["own"]["estimate"], p["new_low"], p["new_high"]).all()
        ),
    ),
    (
        "Teaching hospitals, drawn as squares, stand mostly in the upper half.",
        lambda p: (p["own"]["rank"][p["kind"] == "teaching"] >= p["G"] / 2).mean() > 0.6,
    ),
    (
        "The criterion is the same, and so are all fitted values.",
        lambda p: (
            np.ptp(p["codings"]["criterion"]) < 1e-6
            and np.ptp(p["codings"]["slope"]) < 1e-3
            and np.ptp([f.fittedvalues for f in p["coded"].values()], axis=0).max() < 1e-3
        ),
    ),
    (
        "The covariance grows when the zero moves towards the drug.",
        lambda p: (
            p["codings"].loc["midway", "covariance"] > p["codings"].loc["usual care", "covariance"]
        ),
    ),
    (
        "and the covariance changes its sign.",
        lambda p: p["codings"].loc["drug", "covariance"] < 0,
    ),
    (
        "With the covariance, coding doesn't matter. Without it, the answer depends on",
        lambda p: (
            np.ptp(p["fixed"]["estimated"]) < 1e-6
            and np.ptp(p["fixed"]["fixed, statsmodels"]) > 15
            and (p["fixed"]["fixed, statsmodels"] > p["fixed"]["estimated"] + 3).all()
        ),
    ),
    (
        "Both are close to @tbl-rs-effects; the small rest is what the levels",
        lambda p: (
            (p["effects"]["estimate"].to_numpy() - np.array([p["pretend"][0], p["honest"][0]]))
            == pytest.approx([0, 0], abs=0.2)
            and (p["effects"]["std_error"].to_numpy() / [p["pretend"][1], p["honest"][1]])
            == pytest.approx([1, 1], abs=0.02)
        ),
    ),
    (
        "Here the smaller hospitals happen to have the larger differences",
        lambda p: -0.6 < p["difference"].corr(p["hospitals"].size()) < -0.2,
    ),
    ("so the average moves up.", lambda p: p["honest"][0] > p["pretend"][0]),
    (
        "The random-slopes model states what is true.",
        lambda p: (
            abs(p["sim"]["stated SE"].iloc[1] - p["sim"]["true SD"].iloc[1])
            < 2 * p["sim"]["MC error of SD"].iloc[1]
            and abs(p["sim"]["coverage"].iloc[1] - 95)
            < 2 * p["sim"]["MC error of coverage"].iloc[1]
        ),
    ),
    (
        "mmHg apart, by luck.",
        lambda p: (
            abs(p["gap_baseline"]) < 2 * p["bp"]["baseline_sbp"].std() * np.sqrt(4 / len(p["bp"]))
        ),
    ),
    (
        "You may expect a smaller standard error, and get a slightly larger one.",
        lambda p: 1 < p["adjusted"]["std_error"].iloc[1] / p["adjusted"]["std_error"].iloc[0] < 1.1,
    ),
    (
        "and the estimate of that spread rises here.",
        lambda p: p["adjusted"]["SD of effects"].is_monotonic_increasing,
    ),
    (
        "so the true difference is $4.5$; all three intervals cover the truth.",
        intervals_cover,
    ),
    (
        "one slope for all does not fit.",
        lambda p: p["test"]["p_value"].iloc[0] < 1e-5,
    ),
    (
        "lies outside its band,",
        lambda p: p["outside"] == ["T30"],
    ),
    ("and by a hair.", lambda p: 0 < edges_of_the_slopes(p) < 0.03),
    (
        "so the middle 95% of slopes run from about",
        lambda p: p["decade"]["estimate"] + p["reach_decade"] < 0,
    ),
    (
        "so the same pace everywhere is possible too.",
        lambda p: p["sd_decade"]["ci_low"] < 0.005,
    ),
    (
        "finds a clearly negative correlation of intercepts and slopes.",
        lambda p: p["cor_at"][0] < -0.5,
    ),
    (
        "those with the larger distance grow faster, and the lines fan out",
        lambda p: 0 < p["cor_at"][8] < p["cor_at"][11] < p["cor_at"][14],
    ),
    (
        "it is one and the same fit.",
        lambda p: (
            np.ptp(
                [
                    fit_lmm(
                        "distance ~ a",
                        p["skulls"].assign(a=p["skulls"]["age"] - zero),
                        "Subject",
                        "1 + a",
                    ).criterion
                    for zero in (0, 8, 11, 14)
                ]
            )
            < 1e-6
        ),
    ),
]


@each(STATEMENTS)
def test_the_data_bear_out_the_sentence(page: Page, fragment: str, holds: Any) -> None:
    assert stands(NAME, fragment), "the sentence reads otherwise now"
    assert holds(page)


def test_enough_patients_do_not_shrink_the_prediction_interval_to_a_point(page: Page) -> None:
    """The quiz: with ever more patients what is left is the spread and the error from hospitals."""
    reach = page["t_value"] * np.sqrt(page["s2_u1"] * (1 + 1 / page["G"]))
    assert reach > 0.9 * (page["new_high"] - page["new_low"]) / 2


def test_an_effect_that_does_not_vary_costs_power_if_it_gets_a_slope() -> None:
    """Parsimony's other side: with six hospitals and no variation the slope model finds less."""
    rng, group = np.random.default_rng(41), np.repeat(np.arange(6), 30)
    x = np.tile([0, 1], 90)
    rows = pd.DataFrame({"y": rng.normal(size=180), "x": x, "g": group})
    common = fit_lmm("y ~ x", rows, groups="g")
    own = fit_lmm("y ~ x", rows, groups="g", re_formula="1 + x")
    found = []
    for _ in range(250):
        y = 0.45 * x + rng.normal(0, 0.5, 6)[group] + rng.normal(0, 1, 180)
        found.append([coef_table(refit(f, y)).loc["x", "p_value"] < 0.05 for f in (common, own)])
    with_one, with_own = np.mean(found, axis=0)
    assert with_one - with_own > 0.1


def test_large_hospitals_decide_without_a_slope_variance(page: Page) -> None:
    """Size goes with the effect: one slope for all is near the average patient, and own slopes
    near the average hospital."""
    rng, bp = np.random.default_rng(42), page["bp"]
    code, x = pd.factorize(bp["hospital"])[0], bp["treatment"].to_numpy()
    m = np.bincount(code)
    effect = 8 - 0.25 * (m - m.mean()) + rng.normal(0, 1, len(m))
    y = 5 + effect[code] * x + rng.normal(0, 4, len(m))[code] + rng.normal(0, 2, len(x))
    of_patients, of_hospitals = (effect[code]).mean(), effect.mean()
    common, own = (refit(page[k], y).fe_params["treatment"] for k in ("fast_common", "fast_own"))
    assert of_hospitals - of_patients > 1
    assert abs(common - of_patients) < 0.3 < abs(common - of_hospitals)
    assert abs(own - of_hospitals) < 0.3 < abs(own - of_patients)


def test_reml_by_hand_reaches_the_estimator(page: dict[str, Any]) -> None:
    engine = fit_lmm(FORMULA, page["bp"], groups="hospital", re_formula=SLOPE)
    assert page["criterion"] == pytest.approx(engine.criterion, abs=1e-6)
    assert page["L"] @ page["L"].T == pytest.approx(engine.cov_re.to_numpy(), rel=1e-3)
    assert page["best"].x[3] ** 2 == pytest.approx(engine.scale, rel=1e-4)
    assert page["beta"] == pytest.approx(engine.fe_params.to_numpy(), rel=1e-4)
    errors = np.sqrt(np.diag(page["cov_beta"]))
    assert errors == pytest.approx(engine.bse_fe.to_numpy(), rel=1e-3)
    by_hand = pd.DataFrame(page["u_hand"]).T.loc[engine.random_effects.index]
    assert by_hand.to_numpy() == pytest.approx(engine.random_effects.to_numpy(), abs=2e-3)
    assert page["criterion"] == pytest.approx(-2 * page["fit_own"].llf, abs=1e-5)


def test_lines_are_parallel_in_one_model_and_fan_out_in_the_other(page: dict[str, Any]) -> None:
    level, line = page["ends_level"], page["ends_line"]
    assert np.ptp(level[9] - level[0]) < 1e-9
    assert lines_fan_out(page) and lines_cross(page), "lines cross in places"
    slopes = (line[9] - line[0]) / 9
    engine = fit_lmm("Reaction ~ Days", page["sleep"], "Subject", "1 + Days")
    expected = engine.fe_params["Days"] + engine.random_effects["Days"]
    assert slopes[expected.index].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-3)


def test_a_contextual_effect_and_a_curve_can_look_like_slopes_that_differ() -> None:
    """No slope varies; with the group mean, or the curve, in the model none is found."""
    rng, group = np.random.default_rng(45), np.repeat(np.arange(40), 8)

    def slopes(mean: Any, extra: str, with_it: str, size: float) -> list[tuple[float, float]]:
        x = mean[group] + rng.normal(0, 1, 320)
        noise = rng.normal(0, 0.3, 40)[group] + rng.normal(0, 1, 320)
        rows = pd.DataFrame({"x": x, "g": group, "mean": mean[group], "x2": x**2})
        rows["y"] = x + size * rows[extra] + noise
        found = []
        for formula in ("y ~ x", with_it):
            one = fit_lmm(formula, rows, groups="g")
            own = fit_lmm(formula, rows, groups="g", re_formula="1 + x")
            found.append((float(lrt(own, one)["p_value"].iloc[0]), own.cov_re.iloc[1, 1]))
        return found

    far_out = np.r_[rng.normal(0, 0.5, 30), rng.normal(-4, 0.5, 5), rng.normal(4, 0.5, 5)]
    without, with_mean = slopes(far_out, "mean", "y ~ x + mean", 1)
    assert without[1] > 5 * with_mean[1] and without[1] > 0.02
    without, with_curve = slopes(rng.normal(0, 2, 40), "x2", "y ~ x + x2", 0.3)
    assert without[0] < 1e-6 and with_curve[0] > 0.05


def test_both_sides_run_alone_in_python(page: dict[str, Any]) -> None:
    names = run_python(blocks(NAME)[0])
    ours, theirs = page["fit_own"], names["own"]
    assert theirs.cov_re.to_numpy() == pytest.approx(ours.cov_re.to_numpy())
    assert names["by_type"].fe_params.to_numpy() == pytest.approx(
        page["fit_type"].fe_params.to_numpy()
    )


@needs_r
def test_both_sides_run_alone_in_r(page: dict[str, Any]) -> None:
    fixed, covariance, variance, by_type = run_r(
        blocks(NAME)[1], "fixef(own)", "as.matrix(VarCorr(own)$hospital)[1:4]", "sigma(own)^2",
        "fixef(by_type)",
    )  # fmt: skip
    ours = page["fit_own"]
    assert fixed == pytest.approx(ours.fe_params.to_numpy(), abs=1e-3)
    assert covariance == pytest.approx(ours.cov_re.to_numpy().ravel(), rel=1e-2)
    assert variance[0] == pytest.approx(ours.scale, rel=1e-3)
    assert by_type == pytest.approx(page["fit_type"].fe_params.to_numpy(), abs=1e-2)


def test_raw_gaps_look_as_the_figure_is_described(page: dict[str, Any]) -> None:
    gap = page["difference"]
    assert (gap > 0).mean() > 0.9
    assert 2 <= (gap < 2.5).sum() <= 5 and (gap > 10).sum() >= 5
    assert gap.corr(page["hospitals"].size()) < -0.1, "smaller hospitals, larger differences"


def test_random_slopes_widen_the_interval_of_the_effect(page: dict[str, Any]) -> None:
    errors = page["effects"]["std_error"]
    assert errors["a slope for each"] > 1.5 * errors["one slope for all"]
    assert page["effects"].loc["a slope for each", "df"] < 30
    assert page["effects"].loc["one slope for all", "df"] > 1000
    width = page["high"] - page["low"]
    assert page["new_high"] - page["new_low"] > 3 * width
    assert page["correlation"] > 0
    row = page["spread"].loc["correlation of the two"]
    assert row["ci_low"] > 0 and row["ci_high"] - row["ci_low"] > 0.5


def test_the_figure_of_effects_shows_what_its_alt_text_says(page: dict[str, Any]) -> None:
    values = page["beta_1"] + page["own"]["estimate"]
    assert values.min() == pytest.approx(2, abs=1) and values.max() == pytest.approx(15, abs=1)
    outside = (values < page["low"]) | (values > page["high"])
    assert outside.mean() > 0.5
    assert values.between(page["new_low"], page["new_high"]).all()
    teaching = page["kind"] == "teaching"
    assert (page["own"]["rank"][teaching] >= page["G"] / 2).mean() > 0.7


def test_variance_function_by_hand(page: dict[str, Any]) -> None:
    by_hand = page["s2_u0"] + 2 * page["s_u01"] + page["s2_u1"]
    assert page["by_arm"]["between"].tolist() == pytest.approx([page["s2_u0"], by_hand])
    assert page["by_arm"]["icc"].iloc[1] > 2 * page["by_arm"]["icc"].iloc[0]
    (v0, c), (_, v1) = page["fit_line"].cov_re.to_numpy()
    days = np.array([0, 4.5, 9])
    assert page["by_day"]["between"].to_numpy() == pytest.approx(v0 + 2 * c * days + v1 * days**2)
    # moving the zero gives the same values: the covariance is half the slope of the curve
    zeros = page["zeros"]
    assert zeros["SD intercept"].to_numpy() == pytest.approx(page["by_day"]["sd_between"], rel=1e-3)
    covariance = zeros["correlation"] * zeros["SD intercept"] * zeros["SD slope"]
    assert covariance.to_numpy() == pytest.approx(c + v1 * days, abs=0.1)


def test_imagined_groups_fan_out_spread_or_draw_together(page: dict[str, Any]) -> None:
    ends = {name: page["deviations"](cov)[1] for name, cov in page["shapes"].items()}
    assert [v[0] for v in ends.values()] == [16, 16, 16]
    assert (ends["positive"][-1], ends["zero"][-1]) == (48, 32)
    assert ends["negative"].min() < 10 and ends["negative"][-1] > ends["negative"].min()
    assert page["dose"][ends["negative"].argmin()] == pytest.approx(0.75)
    for cov in page["shapes"].values():
        lines, variance = page["deviations"](cov)
        assert lines.var(axis=0) == pytest.approx(variance)


def test_coding_changes_the_covariance_but_not_the_model(page: dict[str, Any]) -> None:
    codings = page["codings"]
    assert np.ptp(codings["criterion"]) < 1e-6
    assert np.ptp(codings["slope"]) < 1e-3
    covariance = codings["covariance"]
    assert covariance["usual care"] > 0 > covariance["drug"]
    assert covariance["midway"] > covariance["usual care"]
    expected = page["s_u01"] + 0.5 * page["s2_u1"]
    assert covariance["midway"] == pytest.approx(expected, rel=1e-3)
    fitted = [fit.fittedvalues.to_numpy() for fit in page["coded"].values()]
    assert fitted[1] == pytest.approx(fitted[0], abs=1e-3)
    assert fitted[2] == pytest.approx(fitted[0], abs=1e-3)


def test_without_the_covariance_the_coding_decides(page: dict[str, Any]) -> None:
    fixed = page["fixed"]
    ours = fixed["fixed, statsmodels"]
    assert np.ptp(ours) > 15
    assert (ours > fixed["estimated"] + 3).all()
    in_r = fixed["fixed, lme4"].dropna()
    assert ours[in_r.index].to_numpy() == pytest.approx(in_r.to_numpy(), abs=1e-3)


def test_standard_error_by_formula_is_close_to_the_models(page: dict[str, Any]) -> None:
    errors, estimates = page["effects"]["std_error"], page["effects"]["estimate"]
    assert page["pretend"][1] == pytest.approx(errors["one slope for all"], abs=0.01)
    assert page["honest"][1] == pytest.approx(errors["a slope for each"], abs=0.03)
    assert page["pretend"][0] == pytest.approx(estimates["one slope for all"], abs=0.05)
    assert page["honest"][0] == pytest.approx(estimates["a slope for each"], abs=0.2)
    assert page["pretend"][0] < page["honest"][0]
    assert page["pretend"][1] < page["floor"] < page["honest"][1]
    # most of the small rest is the levels' information, whether or not they go with the effect
    apart = [np.sqrt(page["s2_u0"]), 0, np.sqrt(page["s2_u1"]), np.sqrt(page["s2"])]
    uncorrelated = page["by_hand"](apart)[1][1]
    rest = page["beta_1"] - page["honest"][0]
    assert rest > 0 and uncorrelated - page["honest"][0] > 0.5 * rest


def test_simulation_shows_which_standard_error_is_right(page: dict[str, Any]) -> None:
    sim, trials = page["sim"], page["trials"]
    one, each = sim.loc["one slope for all"], sim.loc["a slope for each"]
    assert one["stated SE"] < 0.65 * one["true SD"]
    assert each["stated SE"] == pytest.approx(each["true SD"], abs=4 * each["MC error of SD"])
    assert one["coverage"] < 80
    assert each["coverage"] == pytest.approx(95, abs=4 * 100 * np.sqrt(0.95 * 0.05 / trials))
    caught = page["found"][:, 6].mean()
    assert caught == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / trials))
    text = (CHAPTERS / "04-random-slopes.qmd").read_text(encoding="utf-8")
    stated = re.search(r"Draw \$(\d+)\$ trials", text)
    assert stated is not None and int(stated[1]) == trials


def test_hospital_type_explains_slopes_and_the_truth_is_covered(page: dict[str, Any]) -> None:
    for row, truth in [("here", 6.5), ("there", 11.0), ("cross", 4.5)]:
        assert page[row]["ci_low"] < truth < page[row]["ci_high"]
    assert page["s2_u1_left"] < page["s2_u1"]
    assert page["explained"] > 0.28
    assert page["cross"]["df"] < 30
    # the type's share of the drawn slope variance: a third of the hospitals is a teaching hospital
    teaching = page["hospitals"]["teaching"].first().mean()
    assert 4.5**2 * teaching * (1 - teaching) == pytest.approx(4.5, abs=1e-9)
    assert abs(4.5 / 16 - 0.28) < 0.005


def test_adjusting_for_the_baseline_lowers_the_residual_not_the_standard_error(
    page: dict[str, Any],
) -> None:
    without, adjusted = (page["adjusted"].loc[name] for name in ("without", "with"))
    assert adjusted["residual SD"] < without["residual SD"] - 0.3
    assert adjusted["SD of effects"] > without["SD of effects"]
    assert 0 < adjusted["std_error"] - without["std_error"] < 0.1, "slightly larger"
    assert abs(adjusted["estimate"] - without["estimate"]) < 0.1 * without["std_error"]
    assert 0 < page["beta_baseline"] < 1, "subtracting fixes what the data put between"
    spread = page["bp"]["baseline_sbp"].std()
    assert abs(page["gap_baseline"]) < 2 * spread * np.sqrt(4 / len(page["bp"])), "luck"
    truths = [t["random"]["sigma2_u1"] for t in truths_of("bp_trial")[:2]]
    assert truths == [16, 16], "the codebook's value is the same with and without"


def test_slope_is_supported_and_both_effects_look_normal(page: dict[str, Any]) -> None:
    test = page["test"].iloc[0]
    assert test["p_value"] < 1e-5
    naive = stats.chi2.sf(test["statistic"], 2)  # what anova of lme4 prints
    assert naive / 2 < test["p_value"] < naive
    assert page["outside"] == ["T30"], "one hospital outside"
    slopes = residuals_of(page["fit_own"], level="group").xs("treatment", level="term")
    above = slopes["standardised"].sort_values().to_numpy() - plots.qq_band(30)["high"].to_numpy()
    assert 0 < above.max() < 0.03, "by a hair"
    standardised = residuals_of(page["fit_own"], level="group")["standardised"].unstack()
    for term in standardised:
        assert stats.shapiro(standardised[term]).pvalue > 0.05

"""Chapter 11 run cell by cell: what it says about BLUPs, shrinkage and league tables holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from cells import run_chapter
from said import Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import center_within, fit_lmm, icc, refit, shrinkage_factor

CHAPTER = "11-prediction"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(CHAPTER)


def by_rank(p: dict[str, Any]) -> Any:
    """Sizes of the hospitals from the lowest to the highest raw mean."""
    return p["m"][p["raw_mean"].sort_values().index].to_numpy()


def width(table: Any, what: str = "") -> Any:
    return table[f"{what}ci_high"] - table[f"{what}ci_low"]


def gain(p: dict[str, Any]) -> Any:
    """Error of the raw mean over that of the BLUP, by members and ICC."""
    mse = p["mse"].set_index(["members", "ICC"])
    return mse["raw"] / mse["BLUP"]


def kept_gain(p: dict[str, Any]) -> Any:
    """The gain over the raw mean, as a share of what known variances would give."""
    mse = p["mse"]
    return (mse["raw"] - mse["BLUP"]) / (mse["raw"] - mse["theory"])


def spread_of_large(p: dict[str, Any]) -> Any:
    found = p["patients"].groupby("hospital", observed=True)["recovery"].agg(np.ptp)
    return found[p["m"] == 100]


def case_mix_slopes(p: dict[str, Any]) -> Any:
    data = center_within(p["complete"], "severity", "hospital")
    fit = fit_lmm("recovery ~ severity_within + severity_mean + age", data, groups="hospital")
    return fit.fe_params


# What the chapter says of these data, each with its check.
STATEMENTS: list[Statement] = [
    (
        "is a hospital with three patients, and so are two of the four worst.",
        lambda p: by_rank(p)[-1] == 3 and (by_rank(p)[:4] == 3).sum() == 2,
    ),
    (
        "Patients of one large hospital spread over about 20 to 25 points, the means over "
        "about 11.",
        lambda p: spread_of_large(p).between(17, 27).all() and 10 < np.ptp(p["raw_mean"]) < 12,
    ),
    ("## The best raw mean falls to third place", lambda p: p["place"] == 3),
    ("more than those of any other.", lambda p: p["u"]["raw"].idxmax() == p["top"]),
    (
        "and the first is `{python} leader`, with a hundred patients.",
        lambda p: p["u"].loc[p["leader"], "n"] == 100,
    ),
    (
        "The interval of `{python} top` includes zero.",
        lambda p: p["u"].loc[p["top"], "ci_low"] < 0 < p["u"].loc[p["top"], "ci_high"],
    ),
    (
        ": likely, from three patients, but not settled.",
        lambda p: 0.9 < better_than_average(p) < 0.975,
    ),
    (
        "Five arrows, of the hospitals with three patients, lean strongly towards zero and end at "
        "less than half of their start.",
        lambda p: p["sizes"].loc["3", "shrinkage"] < 0.5,
    ),
    (
        "The rightmost start, of a hospital with three patients, moves past two others.",
        lambda p: (p["u"]["estimate"] > p["u"].loc[p["top"], "estimate"]).sum() == 2,
    ),
    (
        "Small hospitals are not more extreme; their raw means are.",
        lambda p: (
            p["sizes"].loc["3", "SD of raw"] > p["sizes"].loc["100", "SD of raw"]
            and p["sizes"].loc["3", "SD of BLUPs"] < p["sizes"].loc["100", "SD of BLUPs"]
        ),
    ),
    (
        "five hospitals are too few to find that value exactly.",
        lambda p: abs(sd_of_small(p)[0] - sd_of_small(p)[1]) > 0.2,
    ),
    (
        "Its prediction and its mean are nearly the same",
        lambda p: p["sizes"].loc["100", "shrinkage"] > 0.95,
    ),
    (
        "More than half of what you see is put down to luck",
        lambda p: p["sizes"].loc["3", "shrinkage"] < 0.5,
    ),
    (
        "tells the same story, because its ICC is much the same.",
        lambda p: abs(icc(p["fit"])["estimate"] - icc(p["fit_cost"])["estimate"]) < 0.03,
    ),
    (
        "Predictions run from about minus 4 to 4.",
        lambda p: np.allclose(
            [p["u"]["estimate"].min(), p["u"]["estimate"].max()], [-4, 4], atol=0.5
        ),
    ),
    (
        "the five of hospitals with three patients are almost three times as long and all include "
        "zero.",
        lambda p: 2.5 < ratio_of_widths(p) < 3 and small_include_zero(p),
    ),
    (
        "with the widest interval: nothing is known about it",
        lambda p: width(p["of_mean"]).idxmax() == width(p["of_mean"]).index[2],
    ),
    (
        "Three patients narrow the interval of `{python} top` a little, a hundred narrow that of "
        "`{python} leader` a lot.",
        lambda p: (
            0.6 < width(p["of_mean"]).iloc[1] / width(p["of_mean"]).iloc[2] < 0.9
            and width(p["of_mean"]).iloc[0] / width(p["of_mean"]).iloc[2] < 0.4
        ),
    ),
    (
        "because patients of one hospital differ more than hospitals do.",
        lambda p: p["sigma2"] > 2 * p["sigma2_g"],
    ),
    (
        "That they treat the variances as known costs little with 25 hospitals.",
        lambda p: (p["covered"] > 92).all() and (p["covered"] < 96).all(),
    ),
    (
        "shows that most of the gain survives when they are estimated.",
        lambda p: kept_gain(p).median() > 0.8,
    ),
    (
        "has the smallest error in every row of @tbl-pred-mse but the first",
        lambda p: (
            p["mse"][["raw", "overall", "BLUP"]].idxmin(axis=1).to_list()
            == ["overall"] + 8 * ["BLUP"]
        ),
    ),
    (
        "The gain over the raw mean is large when groups are small and much alike.",
        lambda p: gain(p).idxmax() == (3, 0.05) and gain(p).max() > 3,
    ),
    (
        "With a hundred members and a large ICC there is nothing left to gain.",
        lambda p: 1 < gain(p).loc[(100, 0.5)] < 1.02,
    ),
    (
        "known variances would have given the error of the last column.",
        lambda p: p["mse"]["theory"].iloc[0] < p["mse"]["overall"].iloc[0],
    ),
    (
        "Twenty intervals are short, about two and a half points",
        lambda p: abs(width(p["u"])[p["u"]["n"] == 100].mean() - 2.5) < 0.1,
    ),
    (
        "The raw mean's error is a level line near 7. The BLUP's error starts near 1 at zero",
        lambda p: abs(p["given"][0] - 1) < 0.3 and (np.diff(p["given"]) > 0).all(),
    ),
    (
        "it crosses the level line a little above 4 points, about two standard deviations.",
        lambda p: 4 < p["even"] < 4.3 and 1.7 < p["even"] / np.sqrt(5) < 2.1,
    ),
    (
        "by less than two points for every hospital;",
        lambda p: 0 < moved_by_an_error_in_the_mean(p).max() < 2,
    ),
    (
        "At the ends, hospitals with a hundred patients are fairly sure",
        lambda p: (
            p["league"]["patients"].iloc[[0, -1]].eq(100).all()
            and (p["league"]["high"] - p["league"]["low"]).iloc[[0, -1]].max() <= 4
        ),
    ),
    (
        "Intervals at both ends are short, those in the middle span about ten ranks, and those of "
        "the five hospitals with three patients span about twenty.",
        lambda p: 8 < p["span_middle"] < 12 and 17 < p["span_small"] < 23,
    ),
    (
        "although case mix explains little of the differences here.",
        lambda p: 0.9 < p["fit_mix"].cov_re.iloc[0, 0] / p["fit_plain"].cov_re.iloc[0, 0] < 1,
    ),
    (
        "with a hundred patients in most of them the single coefficient is nearly that",
        lambda p: np.isclose(
            p["fit_mix"].fe_params["severity"], case_mix_slopes(p)["severity_within"], rtol=0.01
        ),
    ),
    (
        "On average it will have improved, even if nothing was done: its luck doesn't come twice.",
        lambda p: p["year"][2] - p["year"][0] > 10 * p["year_error"][2],
    ),
    (
        "although only one hospital in five is that small",
        lambda p: (p["m"] == 3).mean() == 0.2 and p["small_last"] > 35,
    ),
    (
        ": no sign of it, and little power to see one.",
        lambda p: abs(small_departure(p)) < np.sqrt((p["sigma2_g"] + p["sigma2"] / 3) / 5),
    ),
    (
        "and a little larger for unequal sizes.",
        lambda p: 1 < error_of_difference(p, p["leader"], p["top"]) < 1.05,
    ),
    (
        "with the conditional SDs $c$ of two hospitals of one size",
        lambda p: np.isclose(error_of_difference(p, "C16", "C01"), 1, rtol=1e-9),
    ),
    (
        "the two can't be told apart, although one of them is known well.",
        lambda p: p["two"].iloc[0]["ci_low"] < 0 < p["two"].iloc[0]["ci_high"],
    ),
    (
        "which has a hundred patients as well and is the most average of these, it differs "
        "clearly.",
        lambda p: p["two"].iloc[1]["ci_low"] > 0 and p["m"][p["usual"]] == 100,
    ),
    (
        "The standard error is nearly the root of the two squared conditional SDs;",
        lambda p: 1 < p["alone"]["std_error"] / p["from_both"] < 1.02,
    ),
    (
        "The interval of a patient is wide in each row,",
        lambda p: (width(p["of_case"]) > 2 * 1.96 * np.sqrt(p["fit_mix"].scale)).all(),
    ),
    (
        "a hospital without data adds its own variance.",
        lambda p: width(p["of_case"]).idxmax() == 3,
    ),
    (
        'so that "outside" says no more than that hospitals differ, which you knew.',
        lambda p: p["outside_equal"][p["m"] == 100].mean() > 0.5,
    ),
    (
        "The solid limits ask whether a hospital fits in with the others, and every hospital lies "
        "within them.",
        lambda p: not p["outside_usual"].any(),
    ),
    (
        "most of the twenty hospitals with a hundred patients lie outside them.",
        lambda p: (p["m"] == 100).sum() == 20 and p["outside_equal"][p["m"] == 100].sum() > 10,
    ),
    (
        "Dashed limits narrow from about 6 points on either side of the average at 2 patients to "
        "less than 1 at 100;",
        lambda p: abs(p["by_luck"][0] - 6) < 0.7 and 1.96 * np.sqrt(p["sigma2"] / 100) < 1,
    ),
    (
        "Solid limits narrow much less, to between 4 and 5 points on either side,",
        lambda p: 4 < p["as_usual"][-1] < 5,
    ),
    (
        "the complete rows are right, with wider intervals than all rows would give.",
        lambda p: all(
            abs(off(p, way)) < 3 for way in ("severity, by chance", "severity, if it is high")
        ),
    ),
    (
        "the complete rows are biased, since the gaps depend on the outcome, and imputation, which "
        "uses the outcome, repairs it.",
        lambda p: (
            off(p, "severity, if recovery is poor") > 8
            and abs(off(p, "severity, if recovery is poor", 2)) < 3
        ),
    ),
    (
        "imputation is no better than the complete rows but a little worse,",
        lambda p: off(p, "severity, if it is high", 2) < min(0, off(p, "severity, if it is high")),
    ),
    (
        "right, because severity is in the model.",
        lambda p: abs(off(p, "recovery, if severity is high")) < 3,
    ),
    (
        "biased, and neither likelihood nor imputation can know.",
        lambda p: off(p, "recovery, if it is poor") > 8,
    ),
    (
        "where about a third of one column goes missing in one of five ways.",
        lambda p: len(p["ways"]) == 5 and 0.25 < share_gone(p) < 0.42,
    ),
    (
        "Here the patients without a grade are older than the others,",
        lambda p: (
            p["patients"].groupby(p["patients"]["severity"].isna())["age"].mean().diff()[True] > 2
        ),
    ),
    (
        "and its standard error nearly the same:",
        lambda p: abs(p["se_20"] / p["per_grade"]["std_error"] - 1) < 0.05,
    ),
    (
        "on the strength of three patients; its prediction is pulled back.",
        lambda p: (
            p["m"][p["mean_log"].idxmax()] == 3 and p["mean_log"].idxmax() != p["dear"].index[0]
        ),
    ),
    (
        "So a list of three names would promise more than is known.",
        lambda p: p["all_three"] < 0.6 and p["promise"]["patients"].min() == 3,
    ),
    (
        "The predictions are shrunken, so they spread less than the hospitals do:",
        lambda p: p["sd_of_blups"] < 0.8 * p["sd_between"],
    ),
    (
        "the variance of the predictions is about $\\lambda\\,\\sigma_g^2$.",
        lambda p: np.isclose(
            p["sd_of_blups"] ** 2,
            shrinkage_factor(p["sd_between"] ** 2, p["trio_fit"].scale, 3) * p["sd_between"] ** 2,
            rtol=0.1,
        ),
    ),
]


def off(p: dict[str, Any], way: str, column: int = 0) -> float:
    """Mean estimate less the truth, in MC errors: of the complete rows, or (2) of imputation."""
    found = np.array(p["gaps"][way])[:, column]
    return (found.mean() + 2) / (found.std(ddof=1) / np.sqrt(len(found)))


def share_gone(p: dict[str, Any]) -> float:
    """Share of rows that lose a value, over the five ways."""
    world = p["hospital_world"]()
    lost = [p["with_gaps"](world, *how).isna().to_numpy().any(axis=1) for how in p["ways"].values()]
    return float(np.mean(lost))


def better_than_average(p: dict[str, Any]) -> float:
    row = p["u"].loc[p["top"]]
    return float(stats.norm.cdf(row["estimate"] / row["prediction_sd"]))


def sd_of_small(p: dict[str, Any]) -> tuple[float, float]:
    return p["sizes"].loc["3", "SD of raw"], np.sqrt(p["sigma2_g"] + p["sigma2"] / 3)


def small_departure(p: dict[str, Any]) -> float:
    return p["u"].loc[p["u"]["n"] == 3, "raw"].mean()


def ratio_of_widths(p: dict[str, Any]) -> float:
    by_size = width(p["u"]).groupby(p["u"]["n"]).mean()
    return by_size[3] / by_size[100]


def small_include_zero(p: dict[str, Any]) -> bool:
    small = p["u"][p["u"]["n"] == 3]
    return bool(((small["ci_low"] < 0) & (small["ci_high"] > 0)).all())


def moved_by_an_error_in_the_mean(p: dict[str, Any]) -> Any:
    """Change of the chance to be among the best five when the overall mean is drawn too."""
    u, rng = p["u"], np.random.default_rng(26)
    weight = 1 / (p["sigma2_g"] + p["sigma2"] / u["n"].to_numpy())
    normal = rng.normal(size=(100_000, len(u)))
    draws = u["estimate"].to_numpy() + u["conditional_sd"].to_numpy() * normal
    error = rng.normal(size=(len(draws), 1)) / np.sqrt(weight.sum())
    moved = draws - u["shrinkage"].to_numpy() * error
    top = [100 * ((-d).argsort(axis=1).argsort(axis=1) < 5).mean(axis=0) for d in (draws, moved)]
    return np.abs(top[0] - top[1])


def error_of_difference(p: dict[str, Any], one: str, other: str) -> float:
    """SD of the error of a difference of two BLUPs by the mixed-model equations, over the rule."""
    m, c = p["u"]["n"].to_numpy(), p["u"]["conditional_sd"]
    C = np.diag(np.r_[m.sum(), m / 1.0]) / p["sigma2"]
    C[0, 1:] = C[1:, 0] = m / p["sigma2"]
    C[1:, 1:] += np.eye(len(m)) / p["sigma2_g"]
    pick = np.zeros(len(m) + 1)
    pick[1 + p["u"].index.get_loc(one)], pick[1 + p["u"].index.get_loc(other)] = 1, -1
    return np.sqrt(pick @ np.linalg.solve(C, pick)) / np.hypot(c[one], c[other])


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(
    page: dict[str, Any], fragment: str, holds: Any
) -> None:
    assert stands(CHAPTER, fragment), "the chapter no longer says so"
    assert holds(page)


def test_the_raw_extremes_are_small_hospitals(page: dict[str, Any]) -> None:
    sizes = page["m"][page["raw_mean"].sort_values().index]
    assert sizes.iloc[-1] == 3
    assert (sizes.iloc[:4] == 3).sum() == 2


def test_blups_by_precision_and_by_matrices_are_the_helpers(page: dict[str, Any]) -> None:
    estimate = page["u"]["estimate"]
    np.testing.assert_allclose(page["u_hand"], estimate, atol=1e-9)
    np.testing.assert_allclose(page["u_matrix"], estimate, atol=1e-9)
    np.testing.assert_allclose(page["sd_hand"], page["u"]["conditional_sd"], rtol=1e-9)


def test_no_other_share_of_the_departure_has_a_smaller_error() -> None:
    share = np.linspace(0, 1, 1001)
    for m in (3, 4, 100):
        error = (1 - share) ** 2 * 5 + share**2 * 20 / m
        assert share[error.argmin()] == pytest.approx(shrinkage_factor(5, 20, m), abs=1e-3)


def test_costs_shrink_as_recovery_does(page: dict[str, Any]) -> None:
    sizes, kept = page["sizes"]["shrinkage"], page["kept"]
    assert kept[3] == pytest.approx(sizes["3"], abs=0.03)
    assert kept[100] == pytest.approx(sizes["100"], abs=0.01)


def test_the_factors_of_the_lesson() -> None:
    factors = [round(float(shrinkage_factor(5, 20, m)), 2) for m in (100, 4, 3)]
    assert factors == [0.96, 0.50, 0.43]


def test_the_leader_by_raw_mean_falls_behind_two_large_hospitals(page: dict[str, Any]) -> None:
    u, top = page["u"], page["top"]
    assert u.loc[top, "n"] == 3 and u.loc[page["leader"], "n"] == 100
    assert page["place"] == 3
    assert u.loc[top, "ci_low"] < 0 < u.loc[top, "ci_high"]
    small = u[u["n"] == 3]
    assert ((small["ci_low"] < 0) & (small["ci_high"] > 0)).all()
    assert page["sizes"].loc["3", "shrinkage"] < 0.5 < 0.9 < page["sizes"].loc["100", "shrinkage"]


def test_intervals_widen_with_what_is_unknown(page: dict[str, Any]) -> None:
    mean = page["of_mean"]["ci_high"] - page["of_mean"]["ci_low"]
    patient = page["of_patient"]["ci_high"] - page["of_patient"]["ci_low"]
    assert mean.is_monotonic_increasing and patient.is_monotonic_increasing
    assert (patient > mean).all()
    new = page["of_mean"]["prediction"].iloc[2]
    assert new == pytest.approx(page["beta_0"])


def test_intervals_hold_the_truth_nearly_as_often_as_they_say(page: dict[str, Any]) -> None:
    assert page["covered"] == pytest.approx([95, 95], abs=4)
    assert (page["covered_error"] < 1).all()


def test_shrinkage_wins_except_where_the_variance_is_badly_estimated(page: dict[str, Any]) -> None:
    mse = page["mse"]
    assert (mse["BLUP"] < mse["raw"]).all()
    best = mse[["raw", "overall", "BLUP"]].idxmin(axis=1)
    assert best.iloc[0] == "overall" and (best.iloc[1:] == "BLUP").all()
    assert (mse["BLUP"] > mse["theory"] - 4 * mse["its MC error"]).all()
    expected = 25 * (1 - mse["ICC"]) / mse["members"]
    assert ((mse["raw"] - expected).abs() < 4 * mse["MC error"]).all()


def test_shrinkage_loses_for_a_truly_extreme_group(page: dict[str, Any]) -> None:
    at_break = np.interp(page["even"], page["departure"], page["given"])
    assert at_break == pytest.approx(20 / 3, rel=1e-2)
    assert 4 < page["even"] < 4.5


def test_groups_that_differ_in_kind_are_pulled_to_the_wrong_mean(page: dict[str, Any]) -> None:
    assert page["too_high"][0] > 0.8
    assert abs(page["too_high"][1]) < 4 * page["too_high_error"][1] + 0.02


def test_ranks_are_uncertain_as_the_text_says(page: dict[str, Any]) -> None:
    assert page["span_small"] > 15 > page["span_middle"] > 5
    league, top = page["league"], page["top"]
    assert league.loc[page["first"], "top five"] > 95
    assert league["patients"].iloc[[0, -1]].eq(100).all(), "large hospitals at both ends"
    assert (league["high"] - league["low"]).iloc[[0, -1]].max() <= 4
    assert league.loc[top, "top five"] > 50 and league.loc[top, "high"] > 12, "likely, not sure"
    assert 0 < (page["moved"] > 0).sum() < 25


def test_an_error_in_the_overall_mean_moves_small_hospitals_more(page: dict[str, Any]) -> None:
    kept, m = page["u"]["shrinkage"].to_numpy(), page["u"]["n"].to_numpy()
    assert (1 - kept[m == 3]).min() > 0.5 > 0.1 > (1 - kept[m == 100]).max()


def test_blups_are_poor_outcomes_and_good_predictors() -> None:
    """Slopes of BLUPs on what explains them, and of what they explain on them."""
    rng, code = np.random.default_rng(28), np.repeat(np.arange(60), 5)
    start = fit_lmm("y ~ 1", pd.DataFrame({"y": rng.random(300), "g": code}), groups="g")
    found = []
    for _ in range(100):
        cause = rng.normal(size=60)
        u = 1.5 * cause + rng.normal(0, 1.5, 60)
        effect = u + rng.normal(0, 1, 60)
        y = u[code] + rng.normal(0, np.sqrt(20), 300)
        blup = refit(start, y).random_effects["Intercept"].to_numpy()
        raw = np.bincount(code, y) / 5
        slopes = [(cause, raw), (cause, blup), (raw, effect), (blup, effect)]
        found.append([np.polyfit(x, v, 1)[0] for x, v in slopes])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / 10
    factor = shrinkage_factor(4.5, 20, 5)
    assert mean[0] == pytest.approx(1.5, abs=4 * error[0])
    assert mean[1] == pytest.approx(1.5 * factor, abs=4 * error[1] + 0.05), "too small"
    assert mean[2] == pytest.approx(factor, abs=4 * error[2])
    # the factor is estimated, so the slope is a little above its aim
    assert abs(mean[3] - 1) < 0.15 < 0.4 < 1 - mean[2]


def test_small_hospitals_have_a_say_beyond_their_patients(page: dict[str, Any]) -> None:
    patients = 100 * page["m"][page["m"] == 3].sum() / page["m"].sum()
    assert page["say_small"] > 5 * patients
    by_weight = (page["say"] * page["raw_mean"]).sum() / page["say"].sum()
    assert by_weight == pytest.approx(page["beta_0"], rel=1e-9)


def test_a_new_hospital_needs_the_t_distribution(page: dict[str, Any]) -> None:
    """Mean of a new hospital by z and by t with G - 2 degrees of freedom, from ten hospitals."""
    rng, code = np.random.default_rng(27), np.repeat(np.arange(10), 30)
    data = page["pd"].DataFrame({"y": rng.random(300), "g": code})
    start, studies, held = fit_lmm("y ~ 1", data, groups="g"), 600, []
    for _ in range(studies):
        u = rng.normal(0, np.sqrt(5), 11)
        fit = refit(start, 70 + u[code] + rng.normal(0, np.sqrt(20), 300))
        reach = np.sqrt(fit.bse_fe.iloc[0] ** 2 + fit.cov_re.iloc[0, 0])
        miss = abs(70 + u[10] - fit.fe_params.iloc[0]) / reach
        held.append([miss < stats.norm.ppf(0.975), miss < stats.t.ppf(0.975, 8)])
    by_z, by_t = np.mean(held, axis=0)
    error = np.sqrt(0.95 * 0.05 / studies)
    assert by_z < 0.95 - 3 * error and abs(by_t - 0.95) < 4 * error


def test_the_last_of_one_year_improves_by_luck_as_the_blup_foresaw(page: dict[str, Any]) -> None:
    first, blup, second = page["year"]
    assert first < second < 0
    assert blup == pytest.approx(second, abs=5 * page["year_error"][2])
    assert page["small_last"] > 40  # one hospital in five is small


def test_python_runs_alone_and_has_the_numbers_of_the_page(page: dict[str, Any]) -> None:
    names = run_python(blocks(CHAPTER)[0])
    np.testing.assert_allclose(names["u"]["estimate"], page["u"]["estimate"], rtol=1e-6)
    np.testing.assert_allclose(names["factor"], page["sizes"]["shrinkage"], rtol=1e-6)
    patient = page["of_patient"].loc[[1, 2], ["prediction", "ci_low", "ci_high"]]
    assert page["new"]["hospital"].to_list()[1:] == names["new"]["hospital"]
    np.testing.assert_allclose(names["guess"][patient.columns], patient, rtol=1e-6)
    assert names["average"]["prediction"].to_numpy() == pytest.approx([page["beta_0"]] * 2)


@needs_r
def test_r_runs_alone_and_has_the_numbers_of_the_page(page: dict[str, Any]) -> None:
    code = "pdf(NULL)\n" + blocks(CHAPTER)[1]  # the plot needs no file
    u, sds, factor, guess, average = run_r(code, "u$hospital", "sds", "factor", "guess", "average")
    assert u == pytest.approx(page["u"]["estimate"].to_numpy(), abs=1e-3)
    assert sds == pytest.approx(page["u"]["conditional_sd"].to_numpy(), rel=1e-3)
    assert factor == pytest.approx(page["sizes"]["shrinkage"].to_numpy(), rel=1e-3)
    assert guess == pytest.approx(page["of_mean"]["prediction"].to_numpy()[1:], abs=1e-3)
    assert average == pytest.approx([page["beta_0"]] * 2, abs=1e-3)


def test_the_comparison_of_two_hospitals_is_that_of_the_mixed_model_equations(
    page: dict[str, Any],
) -> None:
    two = page["two"]["std_error"].to_numpy()
    for (one, other), found in zip(page["asked"], two, strict=True):
        c = page["u"]["conditional_sd"]
        by_equations = error_of_difference(page, one, other) * np.hypot(c[one], c[other])
        assert found == pytest.approx(by_equations, rel=1e-6)


def test_a_prediction_with_predictors_is_their_effects_and_the_blup(page: dict[str, Any]) -> None:
    assert page["grave_by_hand"] == pytest.approx(page["of_case"]["prediction"].iloc[1], rel=1e-9)


def test_no_prediction_comes_from_a_missing_value(page: dict[str, Any]) -> None:
    ungraded = page["cases"].assign(severity=[np.nan, 1, 1, 1])
    try:
        found = page["predict"](page["fit_mix"], ungraded, level="group")["prediction"]
    except ValueError:
        return
    assert np.isnan(found.iloc[0]), "a number for a patient without a grade"


def test_imputation_gives_what_mice_gives(page: dict[str, Any]) -> None:
    """R's mice 3.15 with 2l.pan, the same imputation model, 20 imputations, seed 1."""
    assert page["per_grade_20"] == pytest.approx(-1.3116, abs=0.02)
    assert page["se_20"] == pytest.approx(0.0781, rel=0.05)


@needs_r
def test_r_predicts_and_compares_the_same(page: dict[str, Any]) -> None:
    code = """
library(lme4)
patients <- read.csv("datasets/hospital_costs.csv")
null <- lmer(recovery ~ 1 + (1 | hospital), patients)
u <- ranef(null, condVar = TRUE)$hospital
v <- attr(u, "postVar")[1, 1, ]; names(v) <- rownames(u)
mix <- lmer(recovery ~ severity + age + (1 | hospital), patients)
new <- data.frame(hospital = c("C16", "C16", "C10", "another"), severity = c(1, 5, 5, 5),
                  age = c(45, 75, 75, 75))
"""
    asked = ", ".join(f'"{name}"' for name in page["asked"][1])
    difference, error, guess = run_r(
        code,
        f"diff(rev(u[c({asked}), 1]))",
        f"sqrt(sum(v[c({asked})]))",
        "predict(mix, new, allow.new.levels = TRUE)",
    )
    assert page["two"]["estimate"].iloc[1] == pytest.approx(difference[0], abs=1e-3)
    # hospitals of one size: the error of the mean cancels
    assert page["two"]["std_error"].iloc[1] == pytest.approx(error[0], rel=1e-4)
    assert page["of_case"]["prediction"].to_numpy() == pytest.approx(guess, abs=1e-3)

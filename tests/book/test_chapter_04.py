"""Chapter 4 run cell by cell: hand calculations, codings, simulation and the convergence clinic."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cells import CHAPTERS, run_chapter
from said import Page, Statement, each, stands
from scipy import stats

from pylmm_helpers import check_convergence, check_singular, coef_table, fit_lmm, lmer, plots, refit
from pylmm_helpers import residuals as residuals_of

NAME = "04-random-slopes"
SLOPE = "1 + treatment"
FORMULA = "bp_reduction ~ treatment"


class NoAnswer:
    """Stands in for a fit by lme4 where neither R nor a record of it is at hand."""

    messages: tuple[str, ...] = ()
    criterion = float("nan")


def lmer_if_possible(*args: Any, **kwargs: Any) -> Any:
    try:
        return lmer(*args, **kwargs)
    except ValueError as error:
        if "neither" in str(error) or "cannot be asked" in str(error):
            return NoAnswer()
        raise


def truths_of(name: str) -> list[dict[str, Any]]:
    package = json.loads((CHAPTERS.parent / "datasets" / "datapackage.json").read_text("utf-8"))
    return next(r["truth"] for r in package["resources"] if r["name"] == name)


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(NAME, "ignore", replaced={"lmer": lmer_if_possible})


def answered(fit: Any) -> bool:
    """Whether lme4, or a record of it, was at hand for this fit."""
    return not isinstance(fit, NoAnswer)


def lines_cross(page: Page) -> bool:
    ends = page["ends_own"].sort_values("usual")
    return not ends["drug"].is_monotonic_increasing


def within(values: Any, low: float, high: float) -> Any:
    return (low < values) & (values < high)


def spreads_on_the_drug(page: Page) -> bool:
    ends = page["ends_own"]
    return bool(ends["drug"].std() > 1.5 * ends["usual"].std())


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


def reached(page: Page) -> Any:
    criteria = page["methods"]["criterion"].astype(float).drop("fit_lmm")
    return criteria < page["engine"].criterion + 1e-3


def directions(fit: Any) -> tuple[float, float]:
    """Smallest and middle eigenvalue of the random effects' covariance, relative to the largest."""
    values = np.linalg.eigvalsh(fit.cov_re)
    return float(values[0] / values[2]), float(values[1] / values[2])


# What the page says of its data in words, and whether the data say so.
STATEMENTS: list[Statement] = [
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
        "they cross in places and fan out, so they lie further apart on the drug",
        lambda p: (
            lines_cross(p) and p["ends_own"]["drug"].std() > 1.5 * p["ends_own"]["usual"].std()
        ),
    ),
    ("They fan out.", spreads_on_the_drug),
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
        "The raw data agree.",
        lambda p: (
            (
                p["bp"].groupby("treatment")["bp_reduction"].std().to_numpy()
                - np.sqrt(p["between"]["total"].to_numpy())
            )
            == pytest.approx([0, 0], abs=0.4)
        ),
    ),
    (
        "The criterion is the same, the slope variance is the same, and so are all fitted values.",
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
        "lowest point lies midway between the codes minus 1 and 0, left of the data",
        lambda p: -0.75 < p["lowest"] < -0.4,
    ),
    (
        "from about 16 at code 0, usual care, through about 29 midway to about 50 at code 1",
        lambda p: p["at"].tolist() == pytest.approx([16, 29, 50], abs=0.6),
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
        "The share found here is larger",
        lambda p: p["explained"] > 4.5 / 16,
    ),
    (
        "One slope for all does not fit.",
        lambda p: p["test"]["p_value"].iloc[0] < 1e-5,
    ),
    (
        "lies outside its band,",
        lambda p: p["outside"] == ["T30"],
    ),
    ("and by a hair.", lambda p: 0 < edges_of_the_slopes(p) < 0.03),
    (
        "lme4 calls the fit singular.",
        lambda p: not answered(p["lme4_sex"]) or "singular" in p["lme4_sex"].messages[0],
    ),
    (
        "In the data, sex has no effect in any hospital.",
        lambda p: (
            truths_of("bp_trial")[2]["fixed"]["sex[T.male]"] == 0
            and "| hospital" in truths_of("bp_trial")[2]["model"]
            and "sex" not in truths_of("bp_trial")[2]["model"].split("(")[1]
        ),
    ),
    (
        "The variance of the slope of sex is nearly nothing",
        lambda p: p["engine_sex"].cov_re.loc["male", "male"] < 0.05 * p["s2_u1"],
    ),
    (
        "it is a sound minimum at the edge of what is allowed",
        lambda p: check_convergence(p["engine_sex"]).ok and directions(p["engine_sex"])[0] < 1e-8,
    ),
    (
        "the data show no trace of it.",
        lambda p: p["p_sex"] > 0.3,
    ),
    (
        "The effect and its standard error hardly change",
        lambda p: (
            np.ptp(p["dropped"]["estimate"]) < 0.03 * p["dropped"]["standard error"].min()
            and np.ptp(p["dropped"]["standard error"]) < 0.01
        ),
    ),
    (
        "so the data do not prove that men and women differ alike everywhere.",
        lambda p: p["sd_male"]["ci_low"] == 0 and p["sd_male"]["ci_high"] > 1,
    ),
    (
        "Three programs, three criteria, and only one can be the minimum.",
        lambda p: (
            -2 * p["fit_age"].llf > p["engine_age"].criterion + 1
            and (
                not answered(p["lme4_age"])
                or p["engine_age"].criterion + 0.01
                < p["lme4_age"].criterion
                < -2 * p["fit_age"].llf
            )
        ),
    ),
    (
        "lme4 now finds the minimum",
        lambda p: (
            not answered(p["lme4_ten"])
            or abs(p["lme4_ten"].criterion - p["engine_ten"].criterion) < 1e-3
        ),
    ),
    (
        "next to no variance of the slope of age, and three random effects that span two",
        lambda p: (
            p["engine_ten"].cov_re.loc["age_10", "age_10"] < 0.2
            and directions(p["engine_ten"])[0] < 1e-8
            and directions(p["engine_ten"])[1] > 1e-4
        ),
    ),
    (
        "lme4 has no complaint.",
        lambda p: not answered(p["lme4_twelve"]) or p["lme4_twelve"].messages == (),
    ),
    (
        "The estimates are in the output all the same, and they are wrong.",
        lambda p: -2 * p["fit_twelve"].llf > p["engine"].criterion + 1,
    ),
    (
        "two optimisers of statsmodels reach it; one that claims success stops a little above.",
        lambda p: (
            reached(p).sum() == 2
            and (p["methods"]["converged"].astype(bool).drop("fit_lmm") & ~reached(p)).sum() == 1
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
    common, own = page["ends_common"], page["ends_own"]
    assert np.ptp(common["drug"] - common["usual"]) < 1e-9
    assert own["drug"].std() > 1.5 * own["usual"].std()
    order = own.loc[own["usual"].sort_values().index, "drug"]
    assert not order.is_monotonic_increasing, "lines cross in places"
    effects = (own["drug"] - own["usual"]).sort_values()
    assert effects.to_numpy() == pytest.approx(
        page["beta_1"] + page["own"].loc[effects.index, "estimate"].to_numpy(), abs=1e-6
    )


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
    assert page["between"]["between"].tolist() == pytest.approx([page["s2_u0"], by_hand])
    raw = page["bp"].groupby("treatment")["bp_reduction"].std()
    assert np.sqrt(page["between"]["total"]).to_numpy() == pytest.approx(raw, abs=0.4)
    assert -0.75 < page["lowest"] < -0.4
    assert page["between"]["icc"].iloc[1] > 2 * page["between"]["icc"].iloc[0]


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
    assert codings["intercept"].to_numpy() == pytest.approx(page["at"].to_numpy(), rel=1e-3)
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


def test_patient_1_is_singular_at_its_minimum(page: dict[str, Any]) -> None:
    engine = page["engine_sex"]
    assert engine.singular and check_convergence(engine).ok and not check_singular(engine).ok
    # statsmodels' flag depends on the processor here; that it stops too early doesn't
    assert -2 * page["fit_sex"].llf > engine.criterion + 0.01
    if page["lme4_sex"].messages:
        assert "singular" in page["lme4_sex"].messages[0]
        assert page["lme4_sex"].criterion == pytest.approx(engine.criterion, abs=1e-3)
    dropped = page["dropped"]
    assert dropped["estimate"].diff().abs().max() < 0.02
    assert dropped["standard error"].diff().abs().max() < 0.005
    # the treatment keeps its slope, and with it the standard error of the trial
    honest = page["effects"].loc["a slope for each", "std_error"]
    assert dropped["standard error"].to_numpy() == pytest.approx(honest, rel=0.02)
    assert page["p_sex"] > 0.2
    assert page["sd_male"]["ci_low"] == 0 and page["sd_male"]["ci_high"] > 1
    assert engine.cov_re.loc["male", "male"] < 0.5 and page["cor_sex"] > 0.9
    values = np.linalg.eigvalsh(engine.cov_re)
    assert values[0] < 1e-8 * values[2] and values[1] > 0.01, "three effects, two directions"
    roots = np.sqrt(np.diag(engine.cov_re))
    correlations = (engine.cov_re / np.outer(roots, roots)).to_numpy()[np.triu_indices(3, 1)]
    assert (np.abs(correlations) < 0.999).all(), "no correlation need be 1"


def test_patient_2_fails_in_both_engines_until_age_is_centred(page: dict[str, Any]) -> None:
    lowest, centred = page["engine_age"].criterion, page["engine_ten"].criterion
    assert -2 * page["fit_age"].llf > lowest + 10
    assert not page["fit_age"].converged and not check_convergence(page["fit_age"]).ok
    if page["lme4_age"].messages:
        assert all("singular" in m for m in page["lme4_age"].messages)
        assert page["lme4_age"].criterion > lowest + 0.05
        assert page["lme4_ten"].messages == (), "it doesn't mention the edge"
        assert page["lme4_ten"].criterion == pytest.approx(centred, abs=1e-3)
    assert lowest - centred == pytest.approx(2 * np.log(10), abs=1e-4)
    assert 0.01 < -2 * page["fit_ten"].llf - centred < 0.2
    for fit in (page["engine_age"], page["engine_ten"]):
        values = np.linalg.eigvalsh(fit.cov_re)
        assert fit.singular and values[0] < 1e-8 * values[2] and values[1] > 1e-6
    assert page["engine_ten"].cov_re.loc["age_10", "age_10"] < 0.2


def test_patient_3_is_healthy_but_statsmodels_stops_early(page: dict[str, Any]) -> None:
    methods, lowest = page["methods"], page["engine"].criterion
    assert not page["fit_twelve"].converged
    assert -2 * page["fit_twelve"].llf > lowest + 1
    assert not page["engine"].singular and page["engine"].converged
    if not isinstance(page["lme4_twelve"], NoAnswer):
        assert page["lme4_twelve"].messages == ()
        assert page["lme4_twelve"].criterion == pytest.approx(lowest, abs=1e-4)
    reached = methods["criterion"].astype(float).drop("fit_lmm") < lowest + 1e-3
    assert sorted(reached.index[reached]) == ["cg", "lbfgs"]
    claims_but_above = methods["converged"].astype(bool).drop("fit_lmm") & ~reached
    assert list(claims_but_above.index[claims_but_above]) == ["powell"]
    assert page["twelve"]["hospital"].nunique() == 12

"""Chapter 4 run cell by cell: hand calculations, codings, simulation and the convergence clinic."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cells import CHAPTERS, run_chapter
from scipy import stats

from pylmm_helpers import check_convergence, check_singular, fit_lmm, lmer, plots
from pylmm_helpers import residuals as residuals_of

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
    return run_chapter("04-random-slopes", "ignore", replaced={"lmer": lmer_if_possible})


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
    assert each["stated SE"] == pytest.approx(each["true SD"], abs=4 * each["MC of SD"])
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

"""Chapter 7 run cell by cell: what it says of time, structures, drop-out and baselines holds."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from answers import truths_of
from cells import CHAPTERS, run_chapter
from said import Page, Statement, each, stands
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import coef_table, fit_lmm, lrt, refit, residuals, simulate
from pylmm_helpers.quantities import by_distance, pairs_of, times_of

CHAPTER = "07-repeated-measures"
RECORDED = CHAPTERS.parent / "datasets" / "reference" / "nlme" / "repeated.json"
SCRIPT = RECORDED.with_name("record.R")
#: The terms as R orders them: late, then Diet, then their products.
R_ORDER = ["Intercept", "early", "late", "Diet[T.barley+lupins]", "Diet[T.lupins]",
           "late:Diet[T.barley+lupins]", "late:Diet[T.lupins]"]  # fmt: skip


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(CHAPTER)


def weekly(p: Page, diet: str) -> Any:
    rows = p["milk"][p["milk"]["Diet"] == diet]
    return rows.groupby("Time")["protein"].mean()


def rise_of(p: Page, diet: str) -> float:
    means = weekly(p, diet)
    return means.loc[15:].mean() - means.loc[3:6].mean()


def lag_means(p: Page) -> Any:
    """Mean correlation of pairs of the weeks in the chapter's table, by their place in it."""
    corr = p["between_weeks"].to_numpy()
    return [np.diag(corr, k).mean() for k in range(1, 6)]


def autocorrelations(p: Page, fit: Any) -> Any:
    """Of the conditional residuals, over lags 1 to 12, with the limits of the plot."""
    ax = p["plots"].residual_autocorrelation(fit, time="Time", max_lag=12)
    tops = np.array([segment[1][1] for segment in ax.collections[0].get_segments()])
    half = np.array(ax.lines[0].get_ydata())
    p["plt"].close("all")
    return tops, np.abs(half)


def se(p: Page, name: str, term: str) -> float:
    return p["candidates"][name].bse_fe[term]


def error_at_the_mean_time(p: Page, fit: Any) -> float:
    """Of the difference of lupins from barley."""
    names = fit.fe_params.index
    pick = (names == "Diet[T.lupins]") * 1.0
    pick += p["milk"]["late"].mean() * (names == "late:Diet[T.lupins]")
    return float(np.sqrt(pick @ fit.cov_fe.to_numpy() @ pick))


def growth_of_error(p: Page, term: str) -> float:
    return se(p, "slope, AR(1)", term) / se(p, "intercept", term)


def week_apart(p: Page, fit: Any) -> float:
    left = residuals(fit, kind="normalized")["normalized"]
    wide = p["milk"].assign(left=left).pivot(index="Cow", columns="Time", values="left").to_numpy()
    return np.nanmean(wide[:, 1:] * wide[:, :-1]) / np.nanmean(wide**2)


def of_drawn(p: Page) -> float:
    """What data from the model with slope and AR(1) leave a week apart."""
    drawn = simulate(p["both"], 8, rng=7)
    return float(np.mean([week_apart(p, refit(p["both"], drawn.iloc[:, k])) for k in range(8)]))


def share(p: Page, predictor: str, what: str) -> float:
    return p["simulated"].loc[predictor, what]


def too_small(p: Page, predictor: str) -> float:
    """Mean standard error over the SD of the estimates, with a random intercept alone."""
    return share(p, predictor, "intercept, SE") / share(p, predictor, "intercept, SD")


def variogram(fit: Any) -> Any:
    return by_distance(pairs_of(fit, times_of(fit, None)), None)["semivariogram"]


def drawn_variogram_is_that_of_the_data(p: Page) -> bool:
    fit = p["in_days"]
    drawn = refit(fit, simulate(fit, 1, rng=1).iloc[:, 0])
    return bool(np.abs(variogram(drawn) - variogram(fit)).mean() < 0.08)


def by_gee(p: Page) -> float:
    rows = p["kept"]["seen"]
    rows = rows[rows["cow"] < 1000]
    found = smf.gee(
        "y ~ C(month, Treatment(7))", "cow", rows, cov_struct=sm.cov_struct.Independence()
    ).fit()
    return found.params["Intercept"] - rows.loc[rows["month"] == 7, "y"].mean()


def complete(p: Page) -> float:
    rows = p["kept"]["seen"]
    whole = rows[rows.groupby("cow")["y"].transform("size") == 8]
    return whole.loc[whole["month"] == 7, "y"].mean()


def missed(p: Page, method: str, why: str = "seen value") -> float:
    return p["ends"].loc[method, why] - 19.5


def effect(p: Page, name: str) -> Any:
    return p["compared"].loc[name]


# What the chapter says of these data, each with its check.
STATEMENTS: list[Statement] = [
    (
        "protein falls for three weeks, and changes slowly afterwards.",
        lambda p: all(
            weekly(p, diet).loc[:4].is_monotonic_decreasing
            and np.abs(np.diff(weekly(p, diet).loc[4:])).max()
            < weekly(p, diet).loc[1] - weekly(p, diet).loc[2]
            for diet in p["milk"]["Diet"].unique()
        ),
    ),
    (
        "Afterwards those of barley and of barley with lupins rise a little, that of lupins stays "
        "low.",
        lambda p: (
            rise_of(p, "barley") > 0.1 and rise_of(p, "barley+lupins") > 0.1
            and abs(rise_of(p, "lupins")) < 0.05
        ),
    ),
    (
        "the trial ended for all cows at once, so that cows which calved late were seen for fewer "
        "weeks",
        lambda p: set(p["cows"]["Time"].max()) == {14, 15, 16, 18, 19},
    ),
    (
        "Instead they are highest next to the diagonal, and most are lower the further from it.",
        lambda p: (np.diff(lag_means(p)) < 0).mean() > 0.7 and np.argmax(lag_means(p)) == 0,
    ),
    (
        "Bars are clearly above the dashed limits for the first three weeks, cross zero at four to "
        "five weeks, and are clearly below for longer lags.",
        lambda p: (
            (autocorrelations(p, p["plain"])[0][:3] > 0.14).all()
            and abs(autocorrelations(p, p["plain"])[0][3]) < 0.05
            and (autocorrelations(p, p["plain"])[0][4:] < -0.14).all()
        ),
    ),
    (
        "neighbours are alike beyond what the cow explains.",
        lambda p: autocorrelations(p, p["plain"])[0][0] > 0.3,
    ),
    (
        "`ar1(Time)` counts gaps: a cow that missed a week has two steps between her rows",
        lambda p: (p["cows"]["Time"].diff() == 2).any(),
    ),
    (
        "does: AR(1) has the lower one by",
        lambda p: p["serial"].aic < p["slope"].aic and p["serial"].n_params < p["slope"].n_params,
    ),
    ("Both together are lower still, by", lambda p: 2 < p["serial"].aic - p["both"].aic < 10),
    (
        "only the structures with AR(1) start where the dots do, and fade.",
        lambda p: (
            abs(p["by_lag"](p["implied"](p["serial"]))[1] - p["observed"][1]) < 0.03
            and abs(p["by_lag"](p["implied"](p["both"]))[1] - p["observed"][1]) < 0.03
            and p["by_lag"](p["implied"](p["slope"]))[1] < p["observed"][1] - 0.15
        ),
    ),
    (
        "Still they fall at once, where the dots fall slowly at first",
        lambda p: all(
            p["by_lag"](p["implied"](p[fit]))[lag] < p["observed"][lag] - 0.04
            for fit in ("serial", "both")
            for lag in (2, 3, 4)
        ),
    ),
    (
        "Dots fall steadily from above six tenths at one week to below one tenth at nine weeks, "
        "and rise a little after that.",
        lambda p: (
            p["observed"][1] > 0.6 and p["observed"][9] < 0.1
            and (p["observed"].diff().loc[2:9] < 0.01).all() and p["observed"][12] > 0.15
        ),
    ),
    (
        "data drawn from the model itself leave about $-0.07$.",
        lambda p: abs(of_drawn(p) + 0.07) < 0.015 and p["left_over"] < -0.12,
    ),
    (
        "The standard error of the difference between diets grows by a fifth, those of what "
        "happens over time double.",
        lambda p: (
            1.15 < growth_of_error(p, "Diet[T.lupins]") < 1.25
            and 1.9 < growth_of_error(p, "late") < 2.2
            and 1.9 < growth_of_error(p, "late:Diet[T.lupins]") < 2.2
        ),
    ),
    (
        "which need no structure at all, side with the others",
        lambda p: abs(p["robust"] / se(p, "slope, AR(1)", "late") - 1) < 0.2,
    ),
    (
        "Same cows, same milk.",
        lambda p: (
            p["rise"].loc["intercept", "p_value"] < 0.001
            and 0.001 < p["rise"].loc["intercept, AR(1)", "p_value"] < 0.05
            and p["rise"].loc["slope, AR(1)", "p_value"] > 0.05
        ),
    ),
    (
        "in ten weeks is uncertain",
        lambda p: p["grow"]["ci_low"] < 0 < p["grow"]["ci_high"] and p["level"]["ci_high"] < 0,
    ),
    (
        "*A predictor of cows* is safe",
        lambda p: (
            abs(too_small(p, "cow: diet") - 1) < 0.08
            and share(p, "cow: diet", "intercept, held") > 91
        ),
    ),
    (
        "at the mean time all four structures give it nearly the same error",
        lambda p: np.ptp([error_at_the_mean_time(p, f) for f in p["candidates"].values()]) < 0.001,
    ),
    (
        "gets a standard error that is far too small",
        lambda p: all(
            too_small(p, x) < 0.7 and share(p, x, "intercept, held") < 85
            and share(p, x, "AR(1), held") > 89
            for x in ("time: line", "diet by line")
        ),
    ),
    (
        "gets about the right standard error, for an estimate that wastes information",
        lambda p: (
            abs(too_small(p, "time: heat") - 1) < 0.1
            and share(p, "time: heat", "intercept, SD") > 1.2 * share(p, "time: heat", "AR(1), SE")
        ),
    ),
    (
        "Estimates have no bias in either model",
        lambda p: all(
            abs(np.mean([fit.fe_params[term] for fit in fits]))
            < 4 * np.std([fit.fe_params[term] for fit in fits]) / np.sqrt(len(fits))
            for fits in (p["simple"], p["right"])
            for term in ("diet", "line", "heat")
        ),
    ),
    (
        "Part of it is one boy, M09, whose measurements jump",
        lambda p: (
            p["equal"].resid.abs().groupby(p["jaws"]["Subject"]).max().idxmax() == "M09"
            and p["unequal"].variance_ratios["Female"] < p["without"].variance_ratios["Female"] < 1
        ),
    ),
    (
        "One pooled variance makes girls too uncertain and boys too certain.",
        lambda p: (
            p["slope_of_girls"](p["equal"]) > p["slope_of_girls"](p["unequal"])
            and p["equal"].bse_fe["age"] < p["unequal"].bse_fe["age"]
        ),
    ),
    (
        "The data were drawn with $0.6$ over 30 days.",
        lambda p: (
            truths_of("test_days")[0]["random"]["phi"] ** 30 == pytest.approx(0.6, abs=1e-3)
            and abs(p["in_days"].phi ** 30 - 0.6) < 0.06
        ),
    ),
    (
        "which takes all gaps for one step, has an AIC that is higher by",
        lambda p: (
            p["numbered"].aic > p["in_days"].aic + 2
            and (p["gaps"].dropna() > 0).all()  # rows stand in the order of time
        ),
    ),
    (
        "In @fig-rep-variogram the dots lie above the curve although the model is right",
        lambda p: variogram(p["in_days"]).iloc[4:].min() > 0.7,
    ),
    ("data drawn from the fit give the same dots.", drawn_variogram_is_that_of_the_data),
    (
        "Dots rise from about one half at a month past one at three months, and flatten",
        lambda p: (
            0.4 < variogram(p["in_days"]).iloc[0] < 0.6
            and variogram(p["in_days"]).iloc[8:].min() > 1
        ),
    ),
    (
        "the spline finds it without knowing it",
        lambda p: abs(p["curve"]["prediction"] - p["truth"]).max() < 1,
    ),
    (
        "The dashed true curve stays within the band of the spline throughout.",
        lambda p: p["truth"].between(p["curve"]["ci_low"], p["curve"]["ci_high"]).all(),
    ),
    (
        "peak between days 60 and 100",
        lambda p: (
            60 <= p["d"][p["truth"].idxmax()] <= 100
            and 55 <= p["d"][p["curve"]["prediction"].idxmax()] <= 105
        ),
    ),
    (
        "Six are enough, four are not.",
        lambda p: (
            p["by_ml"]["bs(dim, df=6)"] < p["by_ml"]["bs(dim, df=8)"]
            and p["by_ml"]["bs(dim, df=6)"] < p["by_ml"]["bs(dim, df=4)"] - 10
        ),
    ),
    (
        "two coefficients do better than each of the splines.",
        lambda p: min(p["by_ml"], key=p["by_ml"].get) == "dim + np.exp(-0.05 * dim)",
    ),
    (
        "*The mean of the cows that are left* is too high",
        lambda p: missed(p, "cows that are left") > 1.5,
    ),
    (
        "Complete series, ordinary regression on month and GEE with working independence all give "
        "that mean.",
        lambda p: (
            abs(complete(p) - p["ends"].loc["cows that are left", "seen value"]) < 1e-9
            and abs(by_gee(p)) < 1e-6
        ),
    ),
    (
        "*The last value carried on* is worse",
        lambda p: missed(p, "last value carried on") > missed(p, "cows that are left"),
    ),
    (
        "is right if leaving depends on what was seen.",
        lambda p: abs(missed(p, "intercept, AR(1)"))
        < 2 * p["ends"].loc["its standard error", "seen value"],
    ),
    (
        "with a random intercept alone the estimate is off.",
        lambda p: abs(missed(p, "random intercept"))
        > 2.5 * p["ends"].loc["its standard error", "seen value"],
    ),
    (
        "*If leaving depends on the unseen value*, every method is wrong.",
        lambda p: all(
            missed(p, method, "unseen value") > 0.4
            for method in p["ends"].index
            if method != "its standard error"
        ),
    ),
    (
        "In the test days, leaving can be seen at work.",
        lambda p: p["leavers"][True] < -2 < p["leavers"][False],
    ),
    (
        "The last two rows of @tbl-rep-change are one model",
        lambda p: (
            effect(p, "after, given baseline")["treatment"]
            == pytest.approx(-effect(p, "change, given baseline")["treatment"], abs=1e-6)
            and effect(p, "after, given baseline")["SE"]
            == pytest.approx(effect(p, "change, given baseline")["SE"], rel=1e-5)
        ),
    ),
    (
        "and the baseline's coefficients add up to 1.",
        lambda p: p["compared"]["baseline"].sum() == pytest.approx(1, abs=1e-6),
    ),
    (
        "and were drawn with $0.75$.",
        lambda p: truths_of("bp_trial")[1]["fixed"]["baseline_sbp"] == 0.25,
    ),
    (
        "and the analysis of covariance has the smallest residual variance",
        lambda p: p["compared"]["residual SD"].idxmin().endswith("given baseline"),
    ),
    (
        "so change and covariance come to much the same.",
        lambda p: (
            abs(effect(p, "change")["SE"] / effect(p, "after, given baseline")["SE"] - 1) < 0.06
            and p["analyses"]["change"].cov_re.loc["treatment", "treatment"] / 30
            > 0.6 * effect(p, "change")["SE"] ** 2
        ),
    ),
    (
        "A mean of its own for each week fits better here, and changes neither $\\phi$ nor the "
        "effect of lupins.",
        lambda p: (
            abs(p["free"].phi - p["serial"].phi) < 0.02
            and abs(
                p["free"].fe_params["lupins_late"] / p["serial"].fe_params["late:Diet[T.lupins]"]
                - 1
            )
            < 0.05
            and free_mean_fits_better(p)
        ),
    ),
    (
        "so its p-values for `late` are a little smaller.",
        lambda p: coef_table(p["serial"], df="satterthwaite").loc["late", "df"] < 1254,
    ),
    (
        "and AIC is lower without the correlation.",
        lambda p: p["no_memory"].aic < p["memory"].aic,
    ),
    (
        "Cell counts were drawn with a level for each lactation and nothing that fades",
        lambda p: p["memory"].phi ** 30 < 0.05,
    ),
    (
        "Boys still scatter more, though less so.",
        lambda p: lrt(p["without"], p["calm_equal"])["p_value"].iloc[0] < 0.01,
    ),
    (
        "and the growth of boys is much the same without him.",
        lambda p: abs(p["without"].fe_params["age"] - p["unequal"].fe_params["age"]) < 0.03,
    ),
    (
        "and there is no sign of that here.",
        lambda p: coef_table(p["response"]).loc["baseline_sbp:treatment", "p_value"] > 0.3,
    ),
    (
        "give the same slope without anything being done.",
        lambda p: abs(p["by_chance"] - p["compared"].loc["change, given baseline", "baseline"])
        < 0.03,
    ),
    (
        "The variance of the random intercept goes to zero",
        lambda p: p["noise"]["sd"] < 0.01,
    ),
    (
        "and a random slope adds nothing any more",
        lambda p: 3 < p["drift"]["aic"] - p["noise"]["aic"] < 4.5,
    ),
    (
        "is that of the model with slope and AR(1), and the verdicts are the same.",
        lambda p: (
            abs(p["noise"]["se"][p["late_at"]] / p["both"].bse_fe["late"] - 1) < 0.05
            and verdicts_by_noise(p)
        ),
    ),
]  # fmt: skip


def free_mean_fits_better(p: Page) -> bool:
    stiff = fit_lmm(p["mean_part"] + " + (1 | Cow)", p["milk"], reml=False, correlation="ar1(Time)")
    free = fit_lmm(p["by_week"], p["milk"], reml=False, correlation="ar1(Time)")
    return bool(free.aic < stiff.aic)


def verdicts_by_noise(p: Page) -> bool:
    found = pd.DataFrame({key: p["noise"][key] for key in ("beta", "se")}, p["noise"]["names"])
    z = (found["beta"] / found["se"]).abs()
    return bool(z["late"] < 1.96 and z["late:Dietlupins"] < 1.96 and z["Dietlupins"] > 1.96)


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(
    page: dict[str, Any], fragment: str, holds: Any
) -> None:
    assert stands(CHAPTER, fragment), "the chapter no longer says so"
    assert holds(page)


def test_the_fits_with_a_structure_are_nlmes(page: Page) -> None:
    beside = pd.DataFrame(page["beside"]).T
    assert len(beside) == 5
    assert (abs(beside["fit_lmm"] - beside["nlme"]) < 1e-6).all()
    # nlme ends its search where the criterion is flat
    assert (beside[["effects", "errors"]] < 5e-5).all(axis=None)
    for name, fit in page["structured"].items():
        told = page["in_nlme"][name]
        assert fit.aic == pytest.approx(told["aic"], abs=1e-5)
        if "correlation" in told:
            assert fit.phi == pytest.approx(told["correlation"], rel=5e-5)
    ratio = page["unequal"].variance_ratios["Female"]
    told = page["in_nlme"]["jaws, a variance for each sex"]["ratio"]
    # nlme's ratio is that of boys to girls
    assert 1 / ratio == pytest.approx(told, rel=5e-5)


def test_nlme_gives_the_recorded_values_again(tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    again = tmp_path / "again.json"
    done = subprocess.run(
        ["Rscript", "--vanilla", str(SCRIPT), str(again)],
        cwd=CHAPTERS.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "there is no package called" in done.stderr:
        pytest.skip("nlme or jsonlite is not installed")
    assert done.returncode == 0, done.stderr
    old, new = (json.loads(path.read_text("utf-8"))["models"] for path in (RECORDED, again))
    assert old.keys() == new.keys()
    for name, told in old.items():
        assert new[name]["loglik"] == pytest.approx(told["loglik"], abs=1e-5)
        np.testing.assert_allclose(new[name]["se"], told["se"], rtol=1e-4)


def test_the_implied_correlations_are_those_of_the_equation(page: Page) -> None:
    fit = page["serial"]
    by_formula = (page["sigma2_g"] + page["sigma2"] * fit.phi ** page["lags"]) / (
        page["sigma2_g"] + page["sigma2"]
    )
    np.testing.assert_allclose(page["implied"](fit), by_formula, rtol=1e-9)


def test_a_likelihood_knows_nothing_of_shares_and_delta_does(page: Page) -> None:
    """The mean moves by delta times the share of those who left."""
    gone = 1 - (page["kept"]["unseen"]["month"] == 7).sum() / 4000
    moved = page["ends"].loc["intercept, AR(1)", "unseen value"] + page["delta"] * gone
    assert moved == pytest.approx(19.5)
    assert 0.3 < page["share_left"] < 0.5


def test_python_runs_alone_and_has_the_numbers_of_the_page(page: Page) -> None:
    names = run_python(blocks(CHAPTER)[0])
    np.testing.assert_allclose(names["serial"].fe_params, page["serial"].fe_params, rtol=1e-6)
    assert names["serial"].phi == pytest.approx(page["serial"].phi, rel=1e-6)
    assert names["plain"].criterion == pytest.approx(page["plain"].criterion, abs=1e-6)


@needs_r
def test_r_runs_alone_and_has_the_numbers_of_the_page(page: Page) -> None:
    asked = ["fixef(fit)", "as.numeric(logLik(plain))", "fixef(serial)", "acf$ACF[2:4]",
             "coef(serial$modelStruct$corStruct, unconstrained = FALSE)",
             "summary(serial)$tTable['late', 'p-value']",
             "summary(serial)$tTable['late', 'DF']"]  # fmt: skip
    fixed, plain, serial, acf, phi, p_value, df = run_r(blocks(CHAPTER)[1], *asked)
    np.testing.assert_allclose(fixed, page["plain"].fe_params[R_ORDER], rtol=1e-3, atol=1e-5)
    assert plain[0] == pytest.approx(page["plain"].llf, abs=1e-5)
    np.testing.assert_allclose(serial, page["serial"].fe_params[R_ORDER], rtol=1e-4)
    assert phi[0] == pytest.approx(page["serial"].phi, rel=1e-4)
    ours, _ = autocorrelations(page, page["plain"])
    np.testing.assert_allclose(acf, ours[:3], atol=0.02)  # nlme takes a gap for one step
    assert p_value[0] < coef_table(page["serial"], df="satterthwaite").loc["late", "p_value"]
    assert df[0] == 1254

"""Inference run cell by cell: degrees of freedom, coverage, and tests at the boundary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cells import run_chapter
from said import Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import coef_table, fit_lmm, icc, lrt, refit

METHODS = ["wald", "satterthwaite", "kenward-roger"]
CHAPTER = "09-inference"
REFERENCE = Path(__file__).parents[1] / "helpers" / "reference"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(CHAPTER)


def by_herds(p: dict[str, Any], level: str = "herd") -> Any:
    """Coverage in %, by number of herds and method."""
    share = p["share"]
    return 100 * share[share["predictor of the"] == level].set_index("herds")[METHODS]


def at_zero(p: dict[str, Any], G: int, zero: bool = True) -> Any:
    """Coverage in % of studies by their estimate: three methods and the t test of means."""
    part = p["zero"][G] if zero else ~p["zero"][G]
    shares = np.column_stack([p["held"][G][:, :, 0], p["by_means"][G]])[part].mean(axis=0)
    return dict(zip([*METHODS, "means"], 100 * shares, strict=True))


def error_ratio(p: dict[str, Any], formula: str, rows: Any) -> float:
    """Largest distance from 1 of statsmodels' standard errors over those of lme4's definition."""
    fit = p["smf"].mixedlm(formula, rows, groups="herd").fit(reml=True)
    ratio = fit.bse_fe / coef_table(fit, df="wald")["std_error"].astype(float)
    return float(abs(ratio - 1).max())


def half_width(p: dict[str, Any], G: int, m: int) -> float:
    return float(stats.t.ppf(0.975, G - 2) * p["std_error"](G, m))


def satterthwaite(p: dict[str, Any]) -> tuple[float, float]:
    """Degrees of freedom of confined feeding and SE of the variance between herds, by hand.

    Slopes and curvature come from moving each variance a little up and down.
    """
    fit = p["fit"]
    X, y = fit.model.exog, fit.model.endog
    Z = pd.get_dummies(p["study"]["herd"].astype(str)).to_numpy(dtype=float)
    where = fit.model.exog_names.index(p["term"])

    def criterion_and_v(variances: Any) -> tuple[float, float]:
        V = variances[0] * Z @ Z.T + variances[1] * np.eye(len(y))
        VX, Vy = np.linalg.solve(V, X), np.linalg.solve(V, y)
        information = X.T @ VX
        beta = np.linalg.solve(information, X.T @ Vy)
        log_dets = np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
        return log_dets + y @ Vy - beta @ X.T @ Vy, np.linalg.inv(information)[where, where]

    at = np.array([fit.cov_re.iloc[0, 0], fit.scale])
    steps = np.diag(1e-3 * at)
    ends = np.array([[criterion_and_v(at + sign * s)[1] for s in steps] for sign in (1, -1)])
    slopes = (ends[0] - ends[1]) / (2 * np.diag(steps))
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    hessian = np.array(
        [
            [
                sum(a * b * criterion_and_v(at + a * s + b * t)[0] for a, b in signs)
                / (4 * s.sum() * t.sum())
                for t in steps
            ]
            for s in steps
        ]
    )
    A = 2 * np.linalg.inv(hessian)
    nu = 2 * criterion_and_v(at)[1] ** 2 / (slopes @ A @ slopes)
    return float(nu), float(np.sqrt(A[0, 0]))


def of_emmeans(p: dict[str, Any]) -> float:
    """Largest relative distance of the comparison in all herds from emmeans' record."""
    record = json.loads((REFERENCE / "means.json").read_text(encoding="utf-8"))
    case = next(c for c in record["cases"] if c["id"] == "feeding")
    assert case["formula"] == "milk_kg ~ parity + feeding + (1 | herd)"
    theirs = next(t for t in case["limits"] if t["contrast"] == "confined - pasture")
    row = p["widest"]
    ours = [-row["estimate"], -row["ci_high"], -row["ci_low"]]
    return float(
        abs(np.divide(ours, [theirs[c] for c in ("estimate", "lower.CL", "upper.CL")]) - 1).max()
    )


def milk_of(p: dict[str, Any], kind: str) -> Any:
    return p["herds"].loc[p["herds"]["feeding"] == kind, "milk"]


# What the chapter says of these data, each with its check.
STATEMENTS: list[Statement] = [
    (
        "herd means of confined feeding lie mostly higher than those of the two others, with "
        "overlap.",
        lambda p: (
            milk_of(p, "confined").median() > milk_of(p, "mixed").max()
            and milk_of(p, "confined").min() < milk_of(p, "pasture").max()
        ),
    ),
    (
        "Cows lie between about 90 and 270, and spread over about 80 to 140 within each herd",
        lambda p: (
            p["study"]["milk_kg"].between(90, 270).all()
            and p["study"].groupby("herd")["milk_kg"].agg(np.ptp).between(75, 145).all()
        ),
    ),
    (
        "['kenward-roger', 'p_value']:.3f}\"`, twice as large.",
        lambda p: (
            1.9 < p["three"]["p_value"]["kenward-roger"] / p["three"]["p_value"]["wald"] < 2.1
        ),
    ),
    (
        "Wald starts near 89 with 5 herds and climbs towards 95. Satterthwaite stays close to 95. "
        "Kenward-Roger starts near 100 with 5 herds and is close to 95 from 10 herds on.",
        lambda p: (
            abs(by_herds(p).loc[5, "wald"] - 89) < 2 and by_herds(p)["wald"].is_monotonic_increasing
        ),
    ),
    (
        "degrees of freedom for the herd's effect jump to about the number of cows.",
        lambda p: all(1 - df_at_zero(p, G) < 0.3 for G in (5, 20)),
    ),
    (
        "between 6 and 7.",
        lambda p: 6 < p["ratio"]["statistic"] < 7,
    ),
    (
        "and crosses the dashed lines near 8 and 20.",
        lambda p: np.allclose(
            p["profile"].loc["sd(Intercept)", ["ci_low", "ci_high"]].astype(float),
            [8, 20],
            atol=0.5,
        ),
    ),
    (
        "it bends, so the interval reaches further to the right.",
        lambda p: (
            (s := p["profile"].loc["sd(Intercept)"])["ci_high"] - s["estimate"]
            > 1.2 * (s["estimate"] - s["ci_low"])
        ),
    ),
    (
        "the points follow the diagonal. Against chi-squared with one degree of freedom "
        "(triangles) they lie below it throughout, and the lower half is zero.",
        lambda p: below_chi_squared(p),
    ),
    (
        "close to fifteen herds less three means",
        lambda p: abs(p["three"].loc["kenward-roger", "df"] - 12) < 0.1,
    ),
    (
        "For it the three methods agree to two digits",
        lambda p: np.ptp(parity_ends(p), axis=0).max() < 0.03,
    ),
    (
        "With so small a range the herds get nearly equal weights",
        lambda p: p["of_mean"].max() < 1.3 * p["of_mean"].min(),
    ),
    (
        "more than twice as often as promised.",
        lambda p: by_herds(p).loc[5, "wald"] < 90,
    ),
    (
        "whether they overlap is no test of a difference",
        # two intervals overlap although the single comparison's interval leaves out zero
        lambda p: (
            p["mean_milk"].loc["pasture", "ci_high"] > p["mean_milk"].loc["confined", "ci_low"]
            and p["alone"].loc["pasture - confined", "ci_high"] < 0
        ),
    ),
    (
        "as emmeans does in R.",
        lambda p: of_emmeans(p) < 1e-4,
    ),
    (
        "with fifteen herds the REML profile does, and the ML profile lies too low",
        lambda p: p["missed"].loc["REML", "all"] < 7 and p["missed"].loc["ML", "too low"] > 8,
    ),
    (
        "In this design the test rejects too often",
        lambda p: p["boot"].table["p_value"].iloc[0] > 1.3 * p["ratio"]["p_value"],
    ),
    (
        "It can't undo the luck of a zero either",
        lambda p: all(at_zero(p, G)["means"] < 91 for G in (5, 10, 20)),
    ),
    (
        "twenty herds aren't enough, a hundred are.",
        lambda p: by_herds(p).loc[20, "wald"] < 94 < by_herds(p).loc[100, "wald"],
    ),
    (
        "*Satterthwaite* intervals come close to 95% with any number of herds, on average.",
        lambda p: abs(by_herds(p)["satterthwaite"] - 95).max() < 2,
    ),
    (
        "so wide that hardly any misses the truth, and close to 95% from ten herds on",
        lambda p: (
            by_herds(p).loc[5, "kenward-roger"] > 99
            and abs(by_herds(p).loc[10:, "kenward-roger"] - 95).max() < 1.5
        ),
    ),
    (
        "the method matters less, because the evidence comes from cows:",
        lambda p: np.ptp(by_herds(p, "cow").loc[5]) < np.ptp(by_herds(p).loc[5]) / 2,
    ),
    (
        "At an estimate of zero, Wald and Satterthwaite intervals hold the truth in about "
        "$80\\%$ of studies, with five herds as with twenty.",
        lambda p: all(abs(at_zero(p, G)[m] - 80) < 3 for G in (5, 10, 20) for m in METHODS[:2]),
    ),
    (
        "With five and ten herds Satterthwaite's good average came from intervals that are too "
        "wide otherwise.",
        lambda p: (
            at_zero(p, 5, zero=False)["satterthwaite"] > 98
            and at_zero(p, 10, zero=False)["satterthwaite"] > 96
            and abs(at_zero(p, 20, zero=False)["satterthwaite"] - 95) < 1
        ),
    ),
    (
        "which saves it with five herds and helps less with twenty",
        lambda p: at_zero(p, 5)["kenward-roger"] > 98 and at_zero(p, 20)["kenward-roger"] < 92,
    ),
    (
        "and their $t$ test is too sure as well, if less so with few herds.",
        lambda p: (
            all(at_zero(p, G)["means"] < 91 for G in (5, 10, 20))
            and at_zero(p, 5)["means"] > at_zero(p, 20)["means"]
        ),
    ),
    (
        "feeding seems to matter; by Kenward-Roger the evidence is weaker than the usual limit.",
        lambda p: (
            p["joint"].loc["wald", "p_value"] < 0.05 < p["joint"].loc["kenward-roger", "p_value"]
        ),
    ),
    (
        "The points lie above the diagonal and move further from it to the right.",
        lambda p: (np.diff(excess(p)) > 0).all() and excess(p)[0] > 0,
    ),
    (
        'the two methods that trust large numbers say "yes" at the level of $5\\%$',
        lambda p: (
            (p["answers"].astype(float) < 0.05).to_list() == [True, True, False, False, False]
        ),
    ),
    (
        "The unhalved test rejects about half as often as it should, in every row",
        lambda p: p["null_table"]["unhalved (%)"].between(1.8, 3).all(),
    ),
    (
        "The halved test is close to its level",
        lambda p: abs(p["null_table"]["halved (%)"] - 5).max() < 1.2,
    ),
    (
        "and the halved test is still a little cautious.",
        lambda p: 3 < p["null_table"]["halved (%)"].iloc[0] < 4.7,
    ),
    (
        "zero comes more often, so the halved test is more cautious still",
        lambda p: (p["null_table"]["halved, ML (%)"] < p["null_table"]["halved (%)"]).all(),
    ),
    (
        "In the limit only the mixture keeps its level in @tbl-inf-slope: halving rejects too "
        "often, and not halving too seldom.",
        lambda p: p["slope_table"]["limit"].round(1).to_list() == [3.2, 6.6, 5.0],
    ),
    (
        "Both trials lie below the limit in every row",
        lambda p: (
            (p["slope_table"]["30 hospitals"] < p["slope_table"]["180 hospitals"]).all()
            and (p["slope_table"]["180 hospitals"] < p["slope_table"]["limit"]).all()
        ),
    ),
    (
        "Half of $\\chi^2_2$ comes near to $5\\%$ with thirty",
        lambda p: abs(p["slope_table"].loc["half of it", "30 hospitals"] - 5) < 0.75,
    ),
    (
        "and has to be multiplied by $\\hat{\\sigma}$",
        # the curvature with the residual variance free gives a little less
        lambda p: np.isclose(
            p["fit"].bse_re.iloc[0] * np.sqrt(p["fit"].scale), satterthwaite(p)[1], rtol=0.03
        ),
    ),
    (
        "is narrower than Kenward-Roger's.",
        lambda p: width(p["profile"].loc[p["term"]]) < width(p["three"].loc["kenward-roger"]),
    ),
    (
        "and nearly always because the whole interval lies below it",
        lambda p: p["missed"].loc["ML", "too low"] > 0.9 * p["missed"].loc["ML", "all"] > 8,
    ),
    (
        "the REML profile keeps close to $5\\%$, on both sides.",
        lambda p: (
            abs(p["missed"].loc["REML", "all"] - 5) < 2
            and p["missed"].loc["REML", ["too low", "too high"]].min() > 1
        ),
    ),
    (
        "AIC keeps it and BIC doesn't",
        lambda p: (
            p["criteria"]["aic"].idxmin() == "parity + feeding"
            and p["criteria"]["bic"].idxmin() == "parity"
        ),
    ),
    (
        "For a random effect AIC is stricter than its formula says",
        lambda p: (p["null"][50, 4] > 2).mean() < 0.6 * stats.chi2.sf(2, 1),
    ),
    (
        "More cows from the same herds hardly help once a herd has many; more herds do.",
        lambda p: (
            half_width(p, 4, 300) > 0.85 * half_width(p, 4, 30)
            and half_width(p, 16, 30) < 0.3 * half_width(p, 4, 30)
            and half_width(p, 4, 3) > 1.3 * half_width(p, 4, 30)
        ),
    ),
    (
        "The two are equal when all groups have one size and each predictor varies on one level "
        "only, and differ a little otherwise",
        lambda p: (
            error_ratio(p, "milk_kg ~ feeding", p["ten"].reset_index(drop=True)) < 1e-9
            and 1e-4 < error_ratio(p, p["formula"], p["ten"].reset_index(drop=True)) < 0.01
            and 1e-4 < error_ratio(p, p["formula"], p["study"]) < 0.01
        ),
    ),
    (
        "In the simulation with five herds the intervals missed the truth more than twice as often "
        "as promised.",
        lambda p: by_herds(p).loc[5, "wald"] < 90,
    ),
    (
        "With many hospitals this rejects too often (@sec-inf-slope-mixture).",
        lambda p: p["slope_table"].loc["half of it", "180 hospitals"] > 5.4,
    ),
    (
        "Without an adjustment some difference is called real in",
        lambda p: 10 < p["false_finding"][0] < 17,
    ),
    (
        "the three others keep close to $5\\%$",
        lambda p: all(2.5 < x < 7.5 for x in p["false_finding"][1:]),
    ),
    (
        "so for *all* pairs it is the sharpest,",
        lambda p: (
            p["by_way"].loc["pasture - confined", "Tukey"]
            < p["by_way"].loc["pasture - confined", "Holm"]
        ),
    ),
    (
        "Holm takes the same first step as Bonferroni, so it errs as seldom, and is bolder at the "
        "next.",
        lambda p: (
            (p["by_way"]["Holm"] <= p["by_way"]["Bonferroni"]).all()
            and p["by_way"]["Holm"].min() == p["by_way"]["Bonferroni"].min()
        ),
    ),
    (
        "and none of the pairs is worth a sentence of its own.",
        lambda p: (p["region_pairs"]["p_value"].astype(float) > 0.8).all(),
    ),
    (
        "the intervals reach over some ten kg on either side, as much as feeding makes.",
        lambda p: p["region_pairs"][["ci_low", "ci_high"]].astype(float).abs().max().max() > 10,
    ),
    (
        "The fall is large, and feeding is declared",
        lambda p: p["fall_of_reml"]["0 and 1"] > stats.chi2.isf(0.001, 2),
    ),
    (
        "with one coding and",
        lambda p: np.isclose(
            p["fall_of_reml"]["0 and 1"] - p["fall_of_reml"]["0 and 10"], 4 * np.log(10), atol=1e-6
        ),
    ),
    (
        "The effects still vary between hospitals of one type,",
        lambda p: p["p_slope"] < 0.001,
    ),
    (
        "and the model with one slope leaves that out, so its standard error is too small.",
        lambda p: p["type_effect"]["std_error"].astype(float).diff()["each"] > 0.3,
    ),
    (
        "so hospitals carry it:",
        lambda p: (
            p["type_effect"].loc["each", "df"] < 30 < 1000 < p["type_effect"].loc["one", "df"]
        ),
    ),
]


def df_at_zero(p: dict[str, Any], G: int) -> float:
    """Satterthwaite's degrees of freedom over the number of cows, where herd means are equal."""
    code, rows = p["design"](G)
    y = np.random.default_rng(1).normal(0, 28, len(code))
    y = y - (np.bincount(code, y) / np.bincount(code))[code]
    fit = refit(fit_lmm("milk ~ treated + x", rows, groups="herd"), y)
    return float(coef_table(fit, df="satterthwaite").loc["treated", "df"] / len(code))


def below_chi_squared(p: dict[str, Any]) -> bool:
    d, levels = p["null"][15, 2], np.array([0.6, 0.8, 0.9, 0.95, 0.99])
    found = np.quantile(d, levels)
    mixture = stats.chi2.ppf(2 * levels - 1, 1)
    return bool(
        (np.abs(found - mixture) < 0.1 * mixture + 0.05).all()
        and (found < 0.9 * stats.chi2.ppf(levels, 1)).all()
        and abs((d == 0).mean() - 0.5) < 0.02
    )


def parity_ends(p: dict[str, Any]) -> Any:
    tables = [coef_table(p["fit"], df=m).loc["parity", ["ci_low", "ci_high"]] for m in METHODS]
    return np.array(tables, dtype=float)


def width(row: Any) -> float:
    return float(row["ci_high"] - row["ci_low"])


def excess(p: dict[str, Any]) -> Any:
    """Simulated quantiles less those of chi-squared."""
    at = np.array([0.5, 0.8, 0.9, 0.95, 0.99])
    return np.quantile(p["boot"].statistics, at) - stats.chi2.ppf(at, 2)


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(
    page: dict[str, Any], fragment: str, holds: Any
) -> None:
    assert stands(CHAPTER, fragment), "the chapter no longer says so"
    assert holds(page)


def squares(rng: Any, G: int, m: int, total: Any, within: Any, size: Any) -> Any:
    """Sums of squares of balanced groups in two kinds: left by the kinds, of the kinds, within."""
    return (
        total * rng.chisquare(G - 2, size),
        total * rng.chisquare(1, size),
        within * rng.chisquare(G * (m - 1), size),
    )


def deviance_ml(between: Any, within: Any, G: int, m: int) -> Any:
    """Lowest deviance of a balanced random intercept, less a constant."""
    a, b = between / G, within / (G * (m - 1))
    apart = G * np.log(a) + G * (m - 1) * np.log(b)
    return np.where(a > b, apart, G * m * np.log((between + within) / (G * m)))


@pytest.mark.parametrize(
    ("G", "m", "low", "high"),
    [(5, 5, 0.05, 0.085), (8, 8, 0.035, 0.07), (15, 30, 0.035, 0.065)],
)
def test_the_bootstrap_comes_close_to_its_level_where_chi_squared_does_not(
    G: int, m: int, low: float, high: float
) -> None:
    rng, draws = np.random.default_rng(13), 499
    rest, kinds, within = squares(rng, G, m, 800 + m * 200, 800, (1500, 1))
    gained = deviance_ml(rest + kinds, within, G, m) - deviance_ml(rest, within, G, m)
    # the smaller model fitted by ML is the truth of the bootstrap
    a, b = (rest + kinds) / G, within / (G * (m - 1))
    pooled = (rest + kinds + within) / (G * m)
    total, inner = np.where(a > b, a, pooled), np.where(a > b, b, pooled)
    r, k, w = squares(rng, G, m, total, inner, (1500, draws))
    again = deviance_ml(r + k, w, G, m) - deviance_ml(r, w, G, m)
    p_boot = (1 + (again >= gained).sum(axis=1)) / (1 + draws)
    by_chi2 = (stats.chi2.sf(gained, 1) < 0.05).mean()
    assert low < (p_boot < 0.05).mean() < high and by_chi2 > (p_boot < 0.05).mean() + 0.01


def test_dropping_a_variance_that_is_not_significant_finds_effects_that_are_not_there() -> None:
    """Ten herds of twenty cows in two kinds; the random intercept stays if its test says so."""
    rng, G, m = np.random.default_rng(14), 10, 20
    rest, kinds, within = squares(rng, G, m, 800 + m * 40, 800, 50_000)
    b, w = G - 2, G * (m - 1)
    ms_b, ms_w, pooled = rest / b, within / w, (rest + within) / (b + w)
    fall = (b + w) * np.log(pooled) - b * np.log(ms_b) - w * np.log(ms_w)
    kept = (ms_b > ms_w) & (stats.chi2.sf(fall, 1) / 2 < 0.05)
    with_groups = stats.f.sf(kinds / ms_b, 1, b) < 0.05
    without = stats.f.sf(kinds / pooled, 1, b + w) < 0.05
    assert kept.mean() < 0.6, "with few groups the test misses a variance that matters"
    assert with_groups.mean() == pytest.approx(0.05, abs=0.004)
    assert np.where(kept, with_groups, without).mean() > 0.08


@pytest.mark.parametrize(("p_groups", "close"), [(2, True), (15, False)])
def test_a_hundred_groups_are_many_unless_effects_of_groups_are(p_groups: int, close: bool) -> None:
    """Exact level of the ML ratio for one effect of balanced groups with a variance above zero."""
    squared_t = (100 - p_groups) * np.expm1(stats.chi2.ppf(0.95, 1) / 100)
    level = 2 * stats.t.sf(np.sqrt(squared_t), 100 - p_groups)
    assert (level < 0.055) == close


def test_three_corrected_comparisons_keep_their_level_together() -> None:
    """Three kinds of five herds, compared in pairs by their means: p-values times three."""
    rng = np.random.default_rng(15)
    means = rng.normal(size=(20_000, 3, 5))
    error = np.sqrt(means.var(axis=2, ddof=1).mean(axis=1) * 2 / 5)
    m = means.mean(axis=2)
    t = np.abs(np.array([m[:, 0] - m[:, 1], m[:, 0] - m[:, 2], m[:, 1] - m[:, 2]])) / error
    p_min = 2 * stats.t.sf(t.max(axis=0), 12)
    assert (p_min < 0.05).mean() > 0.1 and (3 * p_min < 0.05).mean() < 0.052
    # Tukey's way keeps it as well, and uses it up
    tukey = stats.studentized_range.sf(np.sqrt(2) * t.max(axis=0)[:4000], 3, 12)
    assert (tukey < 0.05).mean() == pytest.approx(0.05, abs=0.011)


def test_satterthwaite_by_hand_is_the_helpers(page: dict[str, Any]) -> None:
    # finite differences with steps of a thousandth leave about 1e-4; statsmodels' optimiser 1e-4
    by_hand = satterthwaite(page)[0]
    assert by_hand == pytest.approx(page["three"].loc["satterthwaite", "df"], rel=5e-4)


def test_the_method_decides_about_feeding(page: dict[str, Any]) -> None:
    p = page["answers"].astype(float)
    assert p["Wald"] < 0.05 and p["likelihood ratio, ML"] < 0.05
    assert (p[["Satterthwaite", "Kenward-Roger", "parametric bootstrap"]] > 0.05).all()
    three = page["three"]["p_value"]
    assert 1.8 < three["kenward-roger"] / three["wald"] < 2.3  # "twice as large"
    parity = [coef_table(page["fit"], df=m).loc["parity", "ci_low"] for m in METHODS]
    assert np.ptp(parity) < 0.01


def test_a_random_slope_hands_the_effect_to_the_groups(page: dict[str, Any]) -> None:
    df, errors = page["carried"]["df"], page["carried"]["std_error"]
    assert (
        df["one for all"] > 1000 and df["one for each"] < 30 == page["trial"]["hospital"].nunique()
    )
    assert errors["one for each"] > 1.5 * errors["one for all"]


def test_estimating_the_variances_costs_little_where_herd_means_weigh_alike(
    page: dict[str, Any],
) -> None:
    """The same rows and sizes throughout; only the variance between herds changes."""
    rng, study = np.random.default_rng(9), page["study"]
    base, code = fit_lmm(page["formula"], study, groups="herd"), study["herd"].factorize()[0]
    typical = []
    for sigma2_g in (10, 50, 800):
        ratios = []
        for _ in range(60):
            u, e = rng.normal(0, np.sqrt(sigma2_g), 15), rng.normal(0, np.sqrt(750), len(code))
            again = refit(base, u[code] + e)
            if again.cov_re.iloc[0, 0] > 1:
                kr, wald = (coef_table(again, df=m)["std_error"] for m in ("kenward-roger", "wald"))
                ratios.append(kr[page["term"]] / wald[page["term"]])
        typical.append(np.median(ratios) - 1)
    assert typical[0] > 2 * typical[1] > 4 * typical[2] > 0
    assert 0 < page["kr_se"] / page["wald_se"] - 1 < 0.001
    assert page["herd_size"].max() > 5 * page["herd_size"].min(), "sizes are not similar"
    assert page["of_mean"].max() < 1.3 * page["of_mean"].min()


def test_two_questions_about_feeding_have_two_answers(page: dict[str, Any]) -> None:
    one, any_of_three = page["three"]["p_value"], page["joint"]["p_value"]
    assert one["kenward-roger"] < 0.05 < any_of_three["kenward-roger"]


def test_kenward_roger_is_the_exact_test_in_balanced_data(page: dict[str, Any]) -> None:
    kr, anova = page["kr"], page["anova"]
    assert kr["statistic"] == pytest.approx(anova.statistic, rel=1e-8)
    assert kr["df_den"] == pytest.approx(12, rel=1e-8)
    assert kr["p_value"] == pytest.approx(anova.pvalue, rel=1e-8)


def test_coverage_is_as_the_text_says(page: dict[str, Any]) -> None:
    share = page["share"].set_index(["predictor of the", "herds"])
    herd = share.loc["herd"]
    # 1,000 or 2,000 replicates: MC error of 0.5 to 0.7 points
    assert herd.loc[5, "wald"] < 0.91 and herd.loc[20, "wald"] < 0.945
    assert herd["wald"].is_monotonic_increasing
    assert herd["satterthwaite"].between(0.925, 0.965).all()
    assert herd.loc[5, "kenward-roger"] > 0.985
    assert herd.loc[10:, "kenward-roger"].between(0.935, 0.975).all()
    cow = share.loc["cow"].loc[10:, METHODS]
    assert cow.min().min() > 0.925 and cow.max().max() < 0.97


def test_at_a_zero_kenward_roger_keeps_few_degrees_of_freedom(page: dict[str, Any]) -> None:
    for herds in (5, 20):
        code, rows = page["design"](herds)
        start = fit_lmm("milk ~ treated + x", rows, groups="herd")
        # no variance between herds at all: the cows of a herd differ, their means don't
        y = np.random.default_rng(1).normal(0, 28, len(code))
        y = y - (np.bincount(code, y) / np.bincount(code))[code]
        fit = refit(start, y)
        assert fit.cov_re.iloc[0, 0] < 1e-8
        assert 1 < coef_table(fit).loc["treated", "df"] < herds - 2


def test_zero_estimates_make_satterthwaite_too_sure(page: dict[str, Any]) -> None:
    held, zero = page["held"], page["zero"]
    assert 0.25 < zero[5].mean() < 0.4 and zero[100].mean() < 0.01
    for herds in (5, 10):
        at, above = held[herds][zero[herds], :, 0], held[herds][~zero[herds], :, 0]
        assert at.mean(axis=0)[0] < 0.86 and at.mean(axis=0)[1] < 0.87
        assert above.mean(axis=0)[1] > 0.95
        # the means' t test keeps its level over all studies, and falls short after a zero as well
        means = page["by_means"][herds]
        assert 0.93 < means.mean() < 0.97
        assert at.mean(axis=0)[0] < means[zero[herds]].mean() < 0.93


def test_the_null_distribution_of_a_variance_is_the_mixture(page: dict[str, Any]) -> None:
    for (herds, cows), d in page["null"].items():
        exact = stats.f.cdf(1, herds - 1, herds * (cows - 1))  # MSB below MSW
        error = np.sqrt(exact * (1 - exact) / len(d))
        assert (d == 0).mean() == pytest.approx(exact, abs=5 * error)
    table = page["null_table"]
    assert table["unhalved (%)"].max() < 3.2
    assert table["halved (%)"].between(3.6, 5.6).all()
    assert table["zero (%)"].iloc[0] > 54 > 52 > table["zero (%)"].iloc[-1]
    assert (table["halved, ML (%)"] < table["halved (%)"]).all()


def test_halving_finds_the_variance_of_two_cows_a_herd(page: dict[str, Any]) -> None:
    row = page["of_variance"].iloc[0]
    assert row["p_value"] == pytest.approx(row["p_value_naive"] / 2)
    assert row["p_value"] < 0.05 < row["p_value_naive"]
    boot = page["boot_two"].table["p_value"].iloc[0]
    assert boot == pytest.approx(row["p_value"], abs=0.012)


def test_a_random_slope_needs_its_own_mixture(page: dict[str, Any]) -> None:
    many = page["slope_table"]["180 hospitals"]
    # 4,000 replicates with 180 hospitals: MC error of 0.3 to 0.4 points
    assert 3.7 < many["mixture of 1 and 2 df"] < 5.5
    assert many["chi-squared, 2 df"] < 3.6 and many["half of it"] > 5.3
    few = page["slope_table"]["30 hospitals"]
    assert few["mixture of 1 and 2 df"] < many["mixture of 1 and 2 df"] + 0.4
    # at thirty hospitals half of chi-squared on 2 df comes as near by two errors that offset
    assert few["mixture of 1 and 2 df"] < 5 < few["half of it"] < many["half of it"]
    distance = (few[["mixture of 1 and 2 df", "half of it"]] - 5).abs()
    assert distance["half of it"] < distance["mixture of 1 and 2 df"] + 0.25


def test_two_variances_at_once_need_more_parts(page: dict[str, Any]) -> None:
    reference = page["lrt"](page["slope"], "ols")["reference"].iloc[0]
    assert reference.count("chi2") == 4
    weights = [float(part.split()[0]) for part in reference.split(" + ")]
    assert sum(weights) == pytest.approx(1, abs=0.002)


def test_the_criterion_for_many_outcomes_is_that_of_the_fits(page: dict[str, Any]) -> None:
    for reml, fit in [(True, page["full_reml"]), (False, page["full_ml"])]:
        value = page["criterion_of"](page["y"][:, None], fit.cov_re.iloc[0, 0], fit.scale, reml)
        assert value[0] == pytest.approx(fit.criterion, abs=1e-6)
    # the interval by hand against the profile of the package, by ML, and that of the ICC, by REML
    sd = page["profile"].loc["sd(Intercept)"]
    for end in (sd["ci_low"], sd["ci_high"]):
        rise = page["lowest_at"](page["y"][:, None], end, False)[0] - page["full_ml"].criterion
        assert rise == pytest.approx(page["limit"], abs=0.01)
    share, (low, high) = icc(page["full_reml"]), page["by_reml"].astype(float)
    # at an end of either, sigma stays near its estimate
    scale = page["full_reml"].scale
    of_share = [np.sqrt(scale * share[e] / (1 - share[e])) for e in ("ci_low", "ci_high")]
    assert (low, high) == pytest.approx(of_share, rel=0.02)


def test_the_ml_profile_of_a_variance_lies_too_low(page: dict[str, Any]) -> None:
    missed = page["missed"]
    assert abs(missed.loc["REML", "all"] - 5) < 3.5 * page["missed_mc"]["REML"]
    assert (
        missed.loc["ML", "all"] > 9 and missed.loc["ML", "too low"] > 0.9 * missed.loc["ML", "all"]
    )
    assert missed.loc["REML", ["too low", "too high"]].min() > 1, "on both sides"
    assert page["by_reml"].iloc[1] > page["profile"].loc["sd(Intercept)", "ci_high"] + 2


def test_few_groups_make_percentiles_of_a_variance_too_low_and_many_do_not_matter() -> None:
    """Balanced herds, where the estimates are functions of two mean squares.

    Three feeding systems (p = 3) in 15 herds of 30 cows; the bootstrap draws from the REML fit.
    The ML profile is judged with 200 herds and one mean as well.
    """
    rng, m, s2_g, s2 = np.random.default_rng(10), 30, 200.0, 800.0

    def estimate(ms_b: Any, ms_w: Any) -> Any:
        return np.maximum((ms_b - ms_w) / m, 0)

    def mean_squares(variance: Any, within: Any, herds: int, p: int, size: Any) -> Any:
        ms_b = (within + m * variance) * rng.chisquare(herds - p, size) / (herds - p)
        return ms_b, within * rng.chisquare(herds * (m - 1), size) / (herds * (m - 1))

    studies = 1500
    ms = mean_squares(s2_g, s2, 15, 3, (studies, 1))
    again = estimate(*mean_squares(estimate(*ms), ms[1], 15, 3, (studies, 800)))
    low, high = np.percentile(again, [2.5, 97.5], axis=1)
    assert (high < s2_g).mean() > 0.06 and (low > s2_g).mean() < 0.025
    ms_b, ms_w = mean_squares(s2_g, s2, 200, 1, 20_000)
    w, b = 200 * (m - 1), 200  # ML divides the sum of squares between herds by all of them

    def deviance(total: Any, within: Any) -> Any:
        return b * np.log(total) + 199 * ms_b / total + w * np.log(within) + w * ms_w / within

    grid = np.linspace(700, 900, 201)[:, None]
    held = deviance(grid + m * s2_g, grid).min(axis=0)
    lowest = deviance(199 * ms_b / 200, ms_w)
    assert (held - lowest > stats.chi2.ppf(0.95, 1)).mean() == pytest.approx(0.05, abs=0.008)


def test_profiles_and_criteria(page: dict[str, Any]) -> None:
    profile, kr = page["profile"], page["three"].loc["kenward-roger"]
    sd = profile.loc["sd(Intercept)"]
    assert sd["ci_high"] > 2 * sd["ci_low"] > 0
    width = profile.loc[page["term"], "ci_high"] - profile.loc[page["term"], "ci_low"]
    assert width < kr["ci_high"] - kr["ci_low"]
    assert page["criteria"]["aic"].idxmin() == "parity + feeding"
    assert page["criteria"]["bic"].idxmin() == "parity"
    assert (page["null"][50, 4] > 2).mean() == pytest.approx(stats.chi2.sf(2, 1) / 2, abs=0.01)


def test_pairs_by_tukey_are_the_contrasts_with_its_distribution(page: dict[str, Any]) -> None:
    pairs, alone = page["pairs"], page["alone"]
    by_range = stats.studentized_range.sf(
        np.sqrt(2) * alone["statistic"].abs().astype(float), 3, alone["df"].astype(float)
    )
    np.testing.assert_allclose(pairs["p_value"].astype(float), by_range, rtol=1e-5)
    kr = page["three"].loc["kenward-roger"]
    assert alone.loc["pasture - confined", "p_value"] == pytest.approx(kr["p_value"], rel=1e-6)


def test_the_python_side_gives_the_chapters_numbers(page: dict[str, Any]) -> None:
    ours = run_python(blocks(CHAPTER)[0])
    for name, theirs in [("pairs", page["pairs"]), ("joint", page["joint"].iloc[[2]])]:
        for column in ("statistic", "p_value"):
            found = ours[name][column].astype(float)
            np.testing.assert_allclose(found, theirs[column].astype(float), rtol=1e-3)
    assert ours["ratio"]["statistic"].iloc[0] == pytest.approx(page["ratio"]["statistic"])
    np.testing.assert_allclose(
        ours["by_ml"]["ci_low"].astype(float), page["profile"]["ci_low"].astype(float), rtol=1e-6
    )


@needs_r
def test_the_r_side_gives_the_chapters_numbers(page: dict[str, Any]) -> None:
    dfs, joint, pairs, p, ratio, naive, sd = run_r(
        blocks(CHAPTER)[1],
        "coef(summary(fit))[, 'df']", "unlist(joint['feeding', c('F value', 'DenDF', 'Pr(>F)')])",
        "pairs[['t value']]", "p", "ratio$Chisq[2]",
        "of_variance[2, 'Pr(>Chisq)']", "by_ml['.sig01', ]",
    )  # fmt: skip
    by_satterthwaite = coef_table(page["fit"], df="satterthwaite")["df"].astype(float)
    assert sorted(dfs) == pytest.approx(sorted(by_satterthwaite), rel=2e-3)
    kr = page["joint"].loc["kenward-roger", ["statistic", "df_den", "p_value"]]
    assert joint == pytest.approx(kr.astype(float).to_list(), rel=1e-3)
    assert pairs == pytest.approx(page["pairs"]["statistic"].astype(float).to_list(), rel=1e-3)
    assert p == pytest.approx(page["pairs"]["p_value"].astype(float).to_list(), rel=2e-3)
    assert ratio == pytest.approx([page["ratio"]["statistic"]], rel=1e-5)
    of_variance = lrt(page["fit"], "ols").iloc[0]
    assert naive == pytest.approx([of_variance["p_value_naive"]], rel=1e-2)
    limits = page["profile"].loc["sd(Intercept)", ["ci_low", "ci_high"]].astype(float)
    assert sd == pytest.approx(limits.to_list(), rel=2e-3)


def test_the_adjustments_by_hand_are_the_helpers(page: dict[str, Any]) -> None:
    for name in ("bonferroni", "holm", "tukey"):
        table = page["marginal_means"](page["fit"], "feeding", pairs=True, adjust=name)
        by_hand = page["by_way"][name.capitalize()].to_numpy()
        np.testing.assert_allclose(table["p_value"].astype(float), by_hand, rtol=1e-4)


@needs_r
def test_r_adjusts_the_same_and_counts_the_same_degrees_of_freedom(page: dict[str, Any]) -> None:
    code = """
suppressMessages(library(lmerTest))
trial <- read.csv("datasets/bp_trial.csv")
one <- lmer(bp_reduction ~ treatment * hospital_type + (1 | hospital), trial)
each <- lmer(bp_reduction ~ treatment * hospital_type + (1 + treatment | hospital), trial)
of <- function(fit) contest1D(fit, c(0, 0, 0, 1), ddf = "Kenward-Roger")[1:3]
"""
    p, df = page["by_way"]["none"].to_numpy(), page["df_of"]
    listed = ", ".join(f"{x:.12g}" for x in p)
    t = ", ".join(f"{x:.12g}" for x in page["t_of"])
    dfs = ", ".join(f"{x:.12g}" for x in df)
    bonferroni, holm, tukey, one, each = run_r(
        code,
        f'p.adjust(c({listed}), "bonferroni")',
        f'p.adjust(c({listed}), "holm")',
        f"ptukey(sqrt(2) * c({t}), 3, c({dfs}), lower.tail = FALSE)",
        "of(one)",
        "of(each)",
    )
    for name, found in zip(page["adjustments"][1:], [bonferroni, holm, tukey], strict=True):
        assert page["by_way"][name].to_numpy() == pytest.approx(found, rel=1e-6)
    own = page["type_effect"][["estimate", "std_error", "df"]].astype(float)
    assert own.loc["one"].to_numpy() == pytest.approx(one, rel=2e-3)
    assert own.loc["each"].to_numpy() == pytest.approx(each, rel=2e-3)

"""Chapter 10 run cell by cell: what it says of few clusters and of each analysis holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from cells import run_chapter
from said import Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import coef_table, fit_lmm, load

CHAPTER = "10-few-clusters"
CONFINED = "feeding[T.confined]"
# R's clubSandwich 0.5.8: estimate, standard error, Satterthwaite's df and p-value of feeding
CLUBSANDWICH = {
    "OLS, CR2": (17.61693548387, 9.44943782136, 8.42307762808, 0.09740846954),
    "mixed, CR2": (20.83768954383, 9.99418359101, 9.96948950229, 0.06374737762),
}


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(CHAPTER)


def doubt(share: Any, studies: int) -> Any:
    """Monte-Carlo error of a coverage."""
    return np.sqrt(share * (1 - share) / studies)


def excludes_zero(p: dict[str, Any]) -> Any:
    seven = p["seven"]
    return (seven["ci_low"] > 0) | (seven["ci_high"] < 0)


def counts_herds(p: dict[str, Any]) -> Any:
    """The rows that know how few herds there are, those of OLS left out."""
    return p["seven"][np.isfinite(p["seven"]["df"]) & ~p["seven"].index.str.startswith("OLS")]


def weighted(w: Any, y: Any, side: Any) -> float:
    return float((w[side] * y[side]).sum() / w[side].sum())


def lines_of_figure(p: dict[str, Any]) -> tuple[Any, Any]:
    """Coverage in per cent, on the left and on the right of the figure."""
    return 100 * p["uneven"].loc[p["shown_ways"]], 100 * p["no_slope"]


def near(values: Any, target: Any, by: float) -> bool:
    return bool((np.abs(np.asarray(values, float) - target) <= by).all())


def figure_of_wrong_models(p: dict[str, Any]) -> bool:
    left, right = lines_of_figure(p)
    return (
        near(left.loc["GEE, sandwich", [6, 40]], [65, 92], 1.5)
        and near(left.loc["GEE, CR2"], 94, 1.6)
        and near(left.loc[["mixed, Kenward-Roger", "herd means, t"]], 90, 2.5)
        and near(left.loc["herd means, Welch's t", [6, 40]], [91, 95], 1)
        and near(right.loc["sandwich", [6, 40]], [82, 94], 1)
        and near(right.loc[["CR2", "herd differences, t"]], 95, 0.8)
        and near(right.loc["Kenward-Roger, with slope", [6, 40]], [100, 95], 1.5)
        and near(right.loc["Kenward-Roger, no slope"], 85, 4.5)
    )


def slope_of_coverage(row: Any) -> float:
    """Gain in coverage (points) from 12 to 40 herds."""
    return float(100 * (row[40] - row[12]))


# What the chapter says of these data and simulations, each with its check.
STATEMENTS: list[Statement] = [
    (
        "one circle has more cows than the three smallest herds of its kind together.",
        lambda p: (
            p["largest"]["size"]
            > p["listed"][p["listed"]["feeding"] == "confined"]["size"].iloc[:3].sum()
        ),
    ),
    (
        "The means of the confined herds, circles, lie between about 180 and 210 and mostly above "
        "those of the herds on pasture, squares, which lie between about 140 and 195.",
        lambda p: (
            near(np.sort(p["milk"][p["confined"]])[[0, -1]], [180, 210], 3)
            and near(np.sort(p["milk"][~p["confined"]])[[0, -1]], [140, 195], 3)
        ),
    ),
    (
        "The line of the confined herds lies about 20 kilograms above the other; the largest "
        "herd, with 60 cows, is confined and lies a little below its line.",
        lambda p: (
            near(p["seven"].loc["herd means, t", "estimate"], 21, 2)
            and p["largest"]["size"] == 60
            and 0 < p["milk"][p["confined"]].mean() - p["largest"]["mean"] < 8
        ),
    ),
    (
        "They differ by less than half a standard error, but they do differ",
        lambda p: 0.5 < np.ptp(p["seven"]["estimate"]) < 0.5 * p["seven"]["std_error"].min(),
    ),
    (
        "Of the two sandwich rows GEE's excludes zero and OLS's misses that by a hair; the five "
        "others hold zero.",
        lambda p: (
            near(p["seven"].loc["OLS, sandwich", "ci_low"], 0, 0.1)
            and excludes_zero(p)["GEE, sandwich"]
            and (p["seven"]["ci_low"].drop(["OLS, sandwich", "GEE, sandwich"]) < -0.9).all()
            and not excludes_zero(p).drop("GEE, sandwich").any()
        ),
    ),
    (
        "about $20$ kg more, with an interval from a little below zero to more than $40$ kg.",
        lambda p: (
            near(counts_herds(p)["estimate"], 20.5, 1)
            and counts_herds(p)["ci_low"].between(-2, 0).all()
            and (counts_herds(p)["ci_high"] > 40).all()
            and len(counts_herds(p)) == 4
        ),
    ),
    (
        "it is nearly average for its kind, so the mean of that side hardly moves.",
        lambda p: abs(moved(p, "confined")) < 0.15 * abs(moved(p, "pasture")),
    ),
    (
        "The three smallest herds of @tbl-few-weights give least, and when cows are counted they "
        "weigh less",
        lambda p: (
            set(on_pasture(p).nsmallest(3, "size").index)
            == set(on_pasture(p).nsmallest(3, "mean").index)
            and moved(p, "pasture") > 3
            and p["seven"]["estimate"].idxmin().startswith("OLS")
        ),
    ),
    (
        "GEE lies a little nearer to OLS than the mixed model does, because its $\\hat{\\rho}$ is "
        "smaller",
        lambda p: (
            p["rho_gee"] < p["rho_mixed"]
            and p["seven"].loc["OLS, CR2", "estimate"]
            < p["seven"].loc["GEE, CR2", "estimate"]
            < p["seven"].loc["mixed, CR2", "estimate"]
        ),
    ),
    (
        "With six herds on either side CR2 has the ten degrees of freedom of a t-test.",
        lambda p: p["split_table"]["df"].iloc[0] == pytest.approx(10),
    ),
    (
        "With two on one side it has",
        lambda p: p["split_table"]["df"].iloc[-1] < 2,
    ),
    (
        "## With the right model only the sandwich fails",
        lambda p: (
            (p["right"].iloc[:2] < 0.95 - 3 * doubt(0.95, p["many"])).all(axis=None)
            and (p["right"].iloc[2:] > 0.92).all(axis=None)
        ),
    ),
    (
        "Whatever the fit, it comes close to $95\\%$, even OLS",
        lambda p: near(100 * p["right"].loc[["OLS, CR2", "GEE, CR2", "mixed, CR2"]], 95, 2),
    ),
    (
        "A t-distribution with $G - 1$ degrees of freedom would mend only a part",
        lambda p: all(
            p["right"].loc[row, G] < covered_by_t(p, k, G) < 0.95 - 2 * doubt(0.95, p["many"])
            for k, row in enumerate(p["analyses"][:2])
            for G in (6, 12, 20)
        ),
    ),
    (
        "Both hold; Kenward-Roger is too wide with six herds (@sec-inf-coverage).",
        lambda p: (
            p["right"].loc["mixed, Kenward-Roger", 6] > 0.95 + 2 * doubt(0.95, p["few"])
            and near(p["right"].loc["mixed, Kenward-Roger", [12, 20, 40]], 0.95, 0.02)
            and near(p["right"].loc["herd means, t"], 0.95, 0.01)
        ),
    ),
    ("Left: the sandwich climbs from about 65 to 92", figure_of_wrong_models),
    (
        "Its lines climb: what is wrong with it goes away as herds are added.",
        lambda p: (
            p["uneven"].loc["GEE, sandwich"].is_monotonic_increasing
            and p["no_slope"].loc["sandwich"].is_monotonic_increasing
        ),
    ),
    (
        "Its lines don't climb.",
        lambda p: (
            slope_of_coverage(p["uneven"].loc["mixed, Kenward-Roger"]) < 4
            and slope_of_coverage(p["no_slope"].loc["Kenward-Roger, no slope"]) < 4
            and p["uneven"].loc["mixed, Kenward-Roger", 40] < 0.95 - 3 * doubt(0.9, p["few"])
            and p["no_slope"].loc["Kenward-Roger, no slope", 40] < 0.95 - 3 * doubt(0.85, 300)
        ),
    ),
    (
        "With the slope in the model it holds.",
        lambda p: (p["no_slope"].loc["Kenward-Roger, with slope"] > 0.94).all(),
    ),
    (
        "On the right it is near $95\\%$ throughout.",
        lambda p: near(p["no_slope"].loc["CR2"], 0.95, 0.01),
    ),
    (
        "On the left it comes nearer to $95\\%$ than Kenward-Roger with any number of herds, but "
        "isn't exact",
        lambda p: (
            (
                (p["uneven"].loc["GEE, CR2"] - 0.95).abs()
                < (p["uneven"].loc["mixed, Kenward-Roger"] - 0.95).abs()
            ).all()
            and p["uneven"].loc["GEE, CR2", 12] < 0.95 - 3 * doubt(0.95, p["many"])
        ),
    ),
    (
        "because its degrees of freedom, and after OLS its correction too, rest on a working "
        "correlation that is wrong here.",
        lambda p: misses_of_cr2(p),
    ),
    (
        "Welch's doesn't, and from twelve herds on holds as well as CR2.",
        lambda p: (
            p["uneven"].loc["herd means, Welch's t", [12, 20, 40]]
            > p["uneven"].loc["GEE, CR2", [12, 20, 40]] - 2 * doubt(0.95, p["many"])
        ).all(),
    ),
    (
        "from $4$ kg in a herd of $8$ cows to $23$ kg in a herd of $46$.",
        lambda p: list(p["effect_of_size"][[0, -1]]) == [4, 23],
    ),
    (
        "A curve starts at the upper line, the average cow, just below 16, falls steeply, is near "
        "13 at an ICC of one tenth, and approaches the lower line, the average herd, at 12.",
        lambda p: (
            15.5 < p["for_cow"] < 16
            and p["for_herd"] == 12
            and p["aims"][0] == pytest.approx(p["for_cow"])
            and p["aims"][-1] == pytest.approx(p["for_herd"])
            and near(p["aims"][10], 13, 0.3)
            and (np.diff(p["aims"]) < 0).all()
        ),
    ),
    (
        "whose hospitals have 12 to 60 patients",
        lambda p: (p["patients"].min(), p["patients"].max()) == (12, 60),
    ),
    (
        "the random-intercept model counts patients, the random-slopes model nearly counts "
        "hospitals.",
        lambda p: (
            np.ptp(p["trial_table"]["estimate"].iloc[:2]) < 0.05
            and np.ptp(p["trial_table"]["estimate"].iloc[2:]) < 0.2
            and p["trial_table"]["estimate"].iloc[2] - p["trial_table"]["estimate"].iloc[1] > 0.3
            and abs(counted_by_patients(p) - p["trial_table"]["estimate"].iloc[0]) < 0.05
        ),
    ),
    (
        "That is compatible with none and with a good deal; thirty hospitals can't tell.",
        lambda p: p["with_size"]["ci_low"] < -2 and p["with_size"]["ci_high"] > 0,
    ),
    (
        "Where the two agree, as in @tbl-few-five",
        lambda p: near(
            p["seven"].loc["mixed, CR2", "std_error"]
            / p["seven"].loc["mixed, Kenward-Roger", "std_error"],
            1,
            0.03,
        ),
    ),
    (
        "CR2 looks sure, and is useless.",
        lambda p: (
            p["cr2_single"]["p_value"] < 0.05
            and p["kr_single"]["p_value"] > 0.2
            and p["kr_single"]["std_error"] > 2 * p["cr2_single"]["std_error"]
        ),
    ),
    (
        "With two herds on either side the smallest possible p-value is one third.",
        lambda p: (
            stats.permutation_test(
                ([9.0, 8.0], [1.0, 2.0]), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf
            ).pvalue
            == pytest.approx(1 / 3)
        ),
    ),
    (
        "would declare differences that aren't there in about one trial of ten.",
        lambda p: 0.08 < 1 - p["right"].loc["GEE, sandwich", [12, 20]].mean() < 0.13,
    ),
    (
        "with standard errors of about $6$ kg.",
        lambda p: near(
            [p["gee_row"]["std_error"], p["kr_row"]["std_error"], p["means_row"][1]], 6.2, 0.2
        ),
    ),
    (
        "the three agree within a kilogram",
        lambda p: (
            np.ptp([p["gee_row"]["estimate"], p["kr_row"]["estimate"], p["means_row"][0]]) < 1
        ),
    ),
    (
        "is about half of what it should be.",
        lambda p: near(
            p["sleep_rows"]["intercept, Kenward-Roger"]["std_error"]
            / p["sleep_rows"]["slopes, Kenward-Roger"]["std_error"],
            0.5,
            0.05,
        ),
    ),
    (
        "The two are equal because the design is balanced",
        lambda p: (
            p["sleep_rows"]["intercept, CR2"]["std_error"]
            == pytest.approx(p["sleep_rows"]["slopes, Kenward-Roger"]["std_error"], rel=1e-6)
        ),
    ),
    (
        "(z test, p less than one in two hundred).",
        lambda p: p_by_z(p) < 1 / 200,
    ),
    (", about ten times as large.", lambda p: 7 < p["p_cr2"] / p_by_z(p) < 13),
    (
        "CR2 of the mixed model costs next to nothing, and herd means hardly more",
        lambda p: (
            near(half(p, "mixed, CR2") / half(p, "mixed, Kenward-Roger"), 1, 0.03)
            and near(half(p, "herd means, t") / half(p, "mixed, Kenward-Roger"), 1, 0.04)
        ),
    ),
    (
        "OLS pays for letting the large herds decide, from twelve herds on by nearly a tenth.",
        lambda p: near((half(p, "OLS, CR2") / half(p, "mixed, Kenward-Roger"))[1:], 1.08, 0.03),
    ),
    (
        "all rows answer the question, and GEE and the mixed model are the most precise.",
        lambda p: spreads(p)["gee"] < 1.02 * spreads(p)["means"] < spreads(p)["ols"],
    ),
    (
        "a herd of $46$ cows has only $1.4$ times the weight of one of $8$ when the ICC is one "
        "fifth.",
        lambda p: round(46 / (1 + 45 * 0.2) / (8 / (1 + 7 * 0.2)), 1) == 1.4,
    ),
    (
        "With an ICC of one hundredth herd means would pay more",
        lambda p: efficiency_of_means(0.01) < 0.9 < 0.97 < efficiency_of_means(0.2),
    ),
]


def on_pasture(p: dict[str, Any]) -> Any:
    return p["listed"][p["listed"]["feeding"] == "pasture"]


def moved(p: dict[str, Any], side: str) -> float:
    """How far the mean of a side moves (kg) when cows are counted instead of herds."""
    return float(p["side_means"].loc[side, "OLS"] - p["side_means"].loc[side, "herd means"])


def covered_by_t(p: dict[str, Any], k: int, G: int) -> float:
    """Coverage of a sandwich with a t-distribution in place of the normal one."""
    low, high = p["runs"][G][k]
    wider = stats.t.ppf(0.975, G - 1) / stats.norm.ppf(0.975)
    return float(np.mean(np.abs(low + high) <= wider * (high - low)))


def misses_of_cr2(p: dict[str, Any]) -> bool:
    """With a spread that differs it has fewer df than it says, and after OLS too small a mean."""
    rng = np.random.default_rng(5)
    m = np.resize([8, 14, 22, 30, 46], 12)[:, None]
    exposed = np.arange(12) % 3 == 0
    variance = np.where(exposed, 2, 1)[:, None] ** 2 * 200 + 800 / m
    y = rng.normal(size=(12, 20_000)) * np.sqrt(variance)
    found = []
    for rho in (0, 0.2):
        gap, _, cr2, df = p["compare"](y, m / (1 + (m - 1) * rho) + 0 * y, exposed)
        true_df = 2 * cr2.mean() ** 2 / cr2.var()
        found.append((cr2.mean() / gap.var(), true_df / np.mean(df)))
    (ols, ols_df), (gee, gee_df) = found
    return ols < 0.95 < gee < 1.05 and max(ols_df, gee_df) < 0.8


def spreads(p: dict[str, Any]) -> dict[str, float]:
    """SD of three estimates in the studies of forty herds, by their intervals' middles."""
    middle = {k: np.mean(run, axis=0) for k, run in zip(p["analyses"], p["runs"][40], strict=True)}
    rows = {"ols": "OLS, CR2", "gee": "GEE, CR2", "means": "herd means, t"}
    return {name: float(middle[row].std()) for name, row in rows.items()}


def counted_by_patients(p: dict[str, Any]) -> float:
    """Mean of the hospitals' differences, each counted as often as it has patients."""
    return float(np.average(p["per_hospital"], weights=p["patients"]))


def p_by_z(p: dict[str, Any]) -> float:
    """What statsmodels prints for the report of the last exercise."""
    ten = p["ten_herds"]
    fit = smf.ols(p["formula"], ten).fit(cov_type="cluster", cov_kwds={"groups": ten["herd"]})
    return float(fit.pvalues[CONFINED])


def half(p: dict[str, Any], analysis: str) -> Any:
    return pd.DataFrame(p["price"]).loc[analysis].to_numpy()


def efficiency_of_means(rho: float) -> float:
    """Variance of the best weighted mean of herds of the simulation over that of their mean."""
    sizes = np.array([8, 14, 22, 30, 46])
    variance = rho + (1 - rho) / sizes
    return float((1 / (1 / variance).sum()) / (variance.sum() / 25))


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(
    page: dict[str, Any], fragment: str, holds: Any
) -> None:
    assert stands(CHAPTER, fragment), "the chapter no longer says so"
    assert holds(page)


def test_cr2_is_what_clubsandwich_gives(page: dict[str, Any]) -> None:
    for analysis, theirs in CLUBSANDWICH.items():
        ours = page["seven"].loc[analysis, ["estimate", "std_error", "df", "p_value"]]
        assert ours.to_numpy(float) == pytest.approx(theirs, rel=2e-5), analysis


def test_all_estimates_are_weighted_means_of_herd_means(page: dict[str, Any]) -> None:
    y, side = page["milk"], page["confined"]
    rows = {"herd means": "herd means, t", "OLS": "OLS, CR2", "GEE": "GEE, CR2",
            "mixed": "mixed, CR2"}  # fmt: skip
    for name, row in rows.items():
        w = page["weights"][name].to_numpy(float)
        gap = weighted(w, y, side) - weighted(w, y, ~side)
        assert gap == pytest.approx(page["seven"].loc[row, "estimate"], rel=1e-6), name


def test_the_short_form_of_cr2_is_that_of_the_helper_for_mixed_fits(page: dict[str, Any]) -> None:
    fit = page["fit_mixed"]
    m = page["m_study"]
    w = m / (1 + m * fit.theta[0] ** 2)
    gap, _, variance, df = page["compare"](page["milk"], w, page["confined"])
    theirs = coef_table(fit, df="cr2").loc[CONFINED]
    assert (gap, np.sqrt(variance), df) == pytest.approx(
        tuple(theirs[["estimate", "std_error", "df"]].astype(float)), rel=1e-6
    )


def test_residuals_keep_the_part_that_cr2_divides_out() -> None:
    """The square of a herd's distance is short by its share, if the weights are right."""
    rng = np.random.default_rng(1)
    variance = np.array([1.0, 2.0, 5.0, 0.5])
    y = rng.normal(size=(200_000, 4)) * np.sqrt(variance)
    share = (1 / variance) / (1 / variance).sum()
    e = y - (y * share).sum(axis=1)[:, None]
    assert (e**2).mean(axis=0) == pytest.approx(variance * (1 - share), rel=0.02)


def test_moments_of_gee_are_statsmodels_own(page: dict[str, Any]) -> None:
    """For the study and, with more herds, where the correlation comes out above zero."""
    study, side = page["study"], page["confined"]
    within = study.groupby("herd")["milk_kg"].agg(lambda v: ((v - v.mean()) ** 2).sum())
    within = within[page["by_herd"]["herd"]].to_numpy()[:, None]
    rho = page["moment_rho"](page["milk"][:, None], within, page["m_study"][:, None], side)
    assert rho[0] == pytest.approx(page["rho_gee"], rel=1e-4)


def test_gee_finds_too_small_a_correlation_with_few_herds(page: dict[str, Any]) -> None:
    assert stands(CHAPTER, "with few herds GEE's $\\hat{\\rho}$ is too small on average.")
    mean = {}
    for G in (12, 40):
        y, within, M, exposed, (_, theta) = page["drawn"](G, 2, 1)
        mean[G] = page["moment_rho"](y, within, M, exposed).mean()
        assert (theta**2 / (1 + theta**2)).mean() == pytest.approx(0.2, abs=0.015)
    assert mean[12] < 0.18 < mean[40] < 0.2


def test_how_far_gee_and_reml_are_apart_here_is_chance(page: dict[str, Any]) -> None:
    """With these herds and REML's ICC, GEE finds less than here in nearly a third of studies."""
    assert stands(CHAPTER, "The size of that gap is chance, its direction is not.")
    rng, M, true = np.random.default_rng(5), page["m_study"][:, None], page["rho_mixed"]
    y = np.sqrt(true + (1 - true) / M) * rng.normal(size=(12, 4000))
    within = (1 - true) * rng.chisquare(M - 1, (12, 4000))
    rho = page["moment_rho"](y, within, M, page["confined"])
    assert rho.mean() < 0.19
    assert 0.2 < (rho < page["rho_gee"]).mean() < 0.4


def test_t_mends_only_a_part_of_the_sandwich(page: dict[str, Any]) -> None:
    assert stands(CHAPTER, "A t-distribution with $G - 1$ degrees of freedom would mend only")
    by_z, exposed = page["runs"][6][0], np.arange(6) % 2 == 0
    assert exposed.sum() == 3
    centre, half_width = by_z.mean(axis=0), np.ptp(by_z, axis=0) / 2
    wider = half_width * stats.t.ppf(0.975, 5) / stats.norm.ppf(0.975)
    covered = (np.abs(centre) <= wider).mean()
    assert page["right"].loc["OLS, sandwich", 6] + 0.05 < covered < 0.9


def test_gee_and_mixed_weights_have_the_least_variance(page: dict[str, Any]) -> None:
    """Of the table's rows, if one effect holds for all: OLS isn't more precise than herd means."""
    assert stands(CHAPTER, "GEE and the mixed model are the most precise.")
    sizes = np.array([8, 14, 22, 30, 46])
    variance = 0.2 + 0.8 / sizes
    found = {
        name: float((w**2 * variance).sum() / w.sum() ** 2)
        for name, w in {"means": np.ones(5), "OLS": sizes, "best": 1 / variance}.items()
    }
    assert found["best"] < found["means"] < found["OLS"]


def test_rows_of_the_simulation_have_the_means_and_squares_that_were_drawn(
    page: dict[str, Any],
) -> None:
    M, herd, turn, pattern = page["layout"](12)
    Z = np.equal.outer(np.arange(12), herd).astype(float)
    assert (Z @ pattern).ravel() == pytest.approx(np.zeros(12))
    assert (Z @ pattern**2).ravel() == pytest.approx(np.ones(12))
    x = (turn % 2)[:, None]
    assert (Z @ (x * pattern)).ravel() == pytest.approx(np.zeros(12)), "nor has it a slope"
    assert (Z @ x).ravel() == pytest.approx(M.ravel() / 2)


def test_the_short_form_for_slopes_is_that_of_the_helper(page: dict[str, Any]) -> None:
    """CR2 of a treatment given to half of each herd depends on the herds' differences only."""
    rng = np.random.default_rng(2)
    M, herd, turn, _ = page["layout"](12)
    x = turn % 2
    y = rng.normal(size=12)[herd] + x * rng.normal(size=12)[herd] + rng.normal(size=len(herd))
    data = pd.DataFrame({"y": y, "x": 1.0 * x, "g": herd.astype(str)})
    found = coef_table(fit_lmm("y ~ x", data, groups="g"), df="cr2").loc["x"].astype(float)
    arms = data.groupby([herd, x])["y"].mean().unstack()
    d, h = (arms[1] - arms[0]).to_numpy(), M.ravel() / M.sum()
    gap, p = h @ d, h**2 / (1 - h)
    df = 1 / ((h**2 - p**2).sum() + p.sum() ** 2)
    by_hand = (gap, np.sqrt(p @ (d - gap) ** 2), df)
    assert stands(CHAPTER, "so one sandwich and one CR2 stand for all three")
    same = sm.cov_struct.Exchangeable()
    for fit, options in [
        (smf.ols("y ~ x", data).fit(), {"cluster": "g"}),
        (smf.gee("y ~ x", "g", data, cov_struct=same).fit(), {}),
    ]:
        row = coef_table(fit, df="cr2", **options).loc["x"].astype(float)
        assert tuple(row[["estimate", "std_error", "df"]]) == pytest.approx(by_hand, rel=1e-5)
    assert tuple(found[["estimate", "std_error", "df"]]) == pytest.approx(by_hand, rel=1e-6)


def test_kenward_roger_alone_pools_the_spread_of_the_other_side(page: dict[str, Any]) -> None:
    """With one herd on a side CR2 doesn't feel that herd's mean, and Kenward-Roger does."""
    single, shifted = page["single"], page["single"].copy()
    shifted.loc[shifted["feeding"] == "confined", "milk_kg"] += 50
    errors = []
    for data in (single, shifted):
        ols = smf.ols(page["formula"], data).fit()
        errors.append(coef_table(ols, df="cr2", cluster="herd").loc[CONFINED, "std_error"])
    assert float(errors[0]) == pytest.approx(float(errors[1]))
    own = coef_table(page["ols_single"], df="cr2", cluster="herd")["std_error"].astype(float)
    assert own.iloc[0] == pytest.approx(own.iloc[1]), "it is the error of the other side alone"


def test_a_negative_correlation_gives_large_herds_more_weight_than_their_cows() -> None:
    assert stands(CHAPTER, "A negative one gives large herds even more weight than OLS does")
    m = np.array([10, 20, 40])
    w = m / (1 + (m - 1) * -0.02)
    assert (w / w.sum())[-1] > (m / m.sum())[-1]
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat([f"g{k}" for k in range(6)], 40)})
    data["x"] = np.repeat([0.0, 1.0] * 3, 40)
    noise = rng.normal(size=(6, 40))
    data["y"] = (noise - noise.mean(axis=1)[:, None]).ravel()
    gee = smf.gee("y ~ x", "g", data, cov_struct=sm.cov_struct.Exchangeable()).fit(maxiter=100)
    assert gee.model.cov_struct.dep_params < 0


def test_a_variance_for_each_kind_of_herd_makes_a_mixed_model_welchs_test() -> None:
    assert stands(CHAPTER, "for herds of one size the mixed model is then Welch's t-test.")
    rng = np.random.default_rng(4)
    herd, exposed = np.repeat(np.arange(12), 20), np.arange(12) % 3 == 0
    data = pd.DataFrame({"g": herd.astype(str), "x": 1.0 * exposed[herd]})
    u = rng.normal(size=12) * np.sqrt(200) * np.where(exposed, 2, 1)
    data = data.assign(z=1 - data["x"], y=u[herd] + rng.normal(0, np.sqrt(800), len(herd)))
    fit = fit_lmm("y ~ x + (0 + x | g) + (0 + z | g)", data)
    found = coef_table(fit).loc["x"].astype(float)
    means = data.groupby(herd)["y"].mean().to_numpy()
    welch = stats.ttest_ind(means[exposed], means[~exposed], equal_var=False)
    assert found["p_value"] == pytest.approx(welch.pvalue, rel=1e-3)
    assert found["df"] == pytest.approx(welch.df, rel=1e-3)


def test_by_hand_is_the_helper(page: dict[str, Any]) -> None:
    assert page["largest_gap"] < 1e-6


def test_python_side_gives_the_chapters_numbers(page: dict[str, Any]) -> None:
    names = run_python(blocks(CHAPTER)[0])
    seven = page["seven"]
    assert names["means"].params[CONFINED] == pytest.approx(seven.loc["herd means, t", "estimate"])
    for fit, row, options in [
        ("ols", "OLS, CR2", {"df": "cr2", "cluster": "herd"}),
        ("gee", "GEE, CR2", {"df": "cr2"}),
        ("fit", "mixed, CR2", {"df": "cr2"}),
        ("fit", "mixed, Kenward-Roger", {}),
    ]:
        found = coef_table(names[fit], **options).loc[CONFINED, page["parts"]].astype(float)
        assert found.to_numpy() == pytest.approx(seven.loc[row].to_numpy(float), rel=1e-6), row


@needs_r
def test_r_side_gives_the_chapters_numbers(page: dict[str, Any]) -> None:
    asked = [
        "coef(summary(means))[2, ]",
        "coef(summary(fit, ddf = 'Kenward-Roger'))[2, ]",
        "if (is.null(cr2)) NA else c(cr2[[1]][2, 'SE'], cr2[[1]][2, 'df_Satt'], "
        "cr2[[2]][2, 'SE'], cr2[[2]][2, 'df_Satt'])",
        "if (is.null(gee)) NA else c(coef(gee)[2], summary(gee)$coefficients[2, 2])",
    ]
    means, kr, cr2, gee = run_r(blocks(CHAPTER)[1], *asked)
    seven = page["seven"]
    assert means[:2] == pytest.approx(seven.loc["herd means, t", ["estimate", "std_error"]])
    assert means[3] == pytest.approx(seven.loc["herd means, t", "p_value"])
    ours = seven.loc["mixed, Kenward-Roger", ["estimate", "std_error", "df"]].to_numpy(float)
    assert kr[:3] == pytest.approx(ours, rel=2e-4)
    if len(cr2) > 1:
        found = [seven.loc[row, part] for row in CLUBSANDWICH for part in ("std_error", "df")]
        assert cr2 == pytest.approx(found, rel=2e-4)
    if len(gee) > 1:  # "so its rho and with it the estimate differ a little"
        ours = seven.loc["GEE, sandwich", ["estimate", "std_error"]].to_numpy(float)
        assert gee == pytest.approx(ours, rel=2e-3)
        assert gee[0] != pytest.approx(ours[0], rel=1e-6)


def test_the_exercises_need_what_the_book_has() -> None:
    assert load("sleepstudy")["Subject"].nunique() == 18
    kinds = load("dairy_herds").groupby("feeding", observed=True)["herd"].nunique()
    assert kinds.min() >= 6

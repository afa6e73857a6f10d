"""What chapter 1 says in words about its data, where the words would not change by themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from cells import run_chapter
from said import Page, Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from offline_render.book import Cell, split
from pylmm_helpers import blups, coef_table, contrast, fit_lmm, icc, load, lrt, plots, refit
from pylmm_helpers.quantities.diagnostics import residuals

NAME = "01-whole-game"
CHAPTER = Path(__file__).parents[2] / "chapters" / f"{NAME}.qmd"
FORMULA = "milk_kg ~ parity + feeding"
CONFINED = "feeding[T.confined]"


@pytest.fixture(scope="module")
def page() -> Page:
    return run_chapter(NAME, "ignore")


def moved(page: Page, other: str) -> float:
    """Change of confined feeding under another choice, in standard errors of the page's fit."""
    refits = page["refits"]
    change = refits.loc[other, "estimate"] - refits.loc["as above", "estimate"]
    return float(abs(change) / refits.loc["as above", "std_error"])


def trend(page: Page) -> tuple[float, float]:
    """Slope of the residuals on the fitted values, and p-value of a bend."""
    fitted = page["fit"].fittedvalues.to_numpy()
    at = fitted - fitted.mean()
    rows = pd.DataFrame({"r": page["fit"].resid.to_numpy(), "at": at, "bend": at**2})
    line = smf.ols("r ~ at + bend", rows).fit()
    return float(line.params["at"]), float(line.pvalues["bend"])


def funnel(page: Page) -> float:
    """p-value of a relation between the size of the residuals and the fitted values."""
    return float(stats.spearmanr(page["fit"].resid.abs(), page["fit"].fittedvalues).pvalue)


def alone(page: Page, formula: str) -> tuple[float, float]:
    """Variances between and within herds of a model with these predictors."""
    other = fit_lmm(f"milk_kg ~ {formula}", page["dairy"], groups="herd")
    return float(other.cov_re.iloc[0, 0]), float(other.scale)


def feeding_does_most(page: Page) -> bool:
    none, both = alone(page, "1")[0], alone(page, "parity + feeding")[0]
    by_both = none - both
    return by_both > 0.2 * none and none - alone(page, "feeding")[0] > 0.7 * by_both


def parity_does_it(page: Page) -> bool:
    none, both = alone(page, "1")[1], alone(page, "parity + feeding")[1]
    by_feeding, by_parity = none - alone(page, "feeding")[1], none - alone(page, "parity")[1]
    return by_parity > 0.98 * (none - both) and abs(by_feeding) < 0.01 * by_parity


def herds_side_with_their_blup(page: Page) -> bool:
    left = page["fit"].resid.groupby(page["dairy"]["herd"]).mean()
    return bool((np.sign(left) == np.sign(blups(page["fit"])["estimate"])).all())


def spread_by_parity_moves_little(page: Page) -> bool:
    fit, dairy = page["fit"], page["dairy"]
    weights = dairy["parity"].map(page["by_parity"]["sd"] ** -2).to_numpy()
    other = fit_lmm(FORMULA, dairy, groups="herd", weights=weights)
    change = (other.fe_params - fit.fe_params[other.fe_params.index]).abs()
    return bool((change < 0.2 * other.bse_fe).all())


def ols_rejects_too_often(page: Page) -> bool:
    """Share of false findings when the true standard error is the mixed model's."""
    share = page["ols"].bse["feeding[T.mixed]"] / page["effects"]["std_error"]["feeding[T.mixed]"]
    return 2 * stats.norm.cdf(-1.96 * share) > 0.25


def truths_are_those_of_the_file(page: Page) -> bool:
    package = json.loads((CHAPTER.parents[1] / "datasets" / "datapackage.json").read_text("utf-8"))
    truth = next(r["truth"] for r in package["resources"] if r["name"] == "dairy_herds")
    stated = {float(x) for x in re.findall(r"(?<=: )[\d.]+", json.dumps(truth))}
    return {6.0, 10.0, 20.0} <= stated


# What the page says of its data in words, and whether the data say so.
STATEMENTS: list[Statement] = [
    (
        "Pasture herds stand mostly on the left and confined herds on the right.",
        lambda p: (
            p["rank"].groupby(p["herds"]["feeding"].first(), observed=True).median()["pasture"] < 25
            and p["rank"][p["herds"]["feeding"].first() == "confined"].gt(25.5).mean() > 0.6
        ),
    ),
    (
        "Around each bar the cows differ too, and by more.",
        lambda p: (p["herds"]["milk_kg"].std() > p["means"].std()).all(),
    ),
    (
        "for most cows the service falls within the $100$ days",
        lambda p: (p["dairy"]["dtfs"] <= 100).mean() > 0.75,
    ),
    (
        "The cow matters more, but the herd is not a detail.",
        lambda p: p["icc_null"]["ci_high"] < 0.5 and p["icc_null"]["ci_low"] > 0.1,
    ),
    (
        "## A fifth of the variation lies between herds",
        lambda p: abs(p["icc_null"]["estimate"] - 0.2) < 0.02,
    ),
    (
        "so that you see the same numbers from both.",
        lambda p: (p["beside"]["statsmodels"] - p["beside"]["fit_lmm"]).abs().max() < 0.03,
    ),
    ("mostly because herds differ in feeding", feeding_does_most),
    ("because cows differ in parity.", parity_does_it),
    (
        "Kenward-Roger adds a little for their being estimated",
        lambda p: (
            (p["effects"]["std_error"] / coef_table(p["fit"], df="wald")["std_error"] - 1)
            .between(0, 0.02, inclusive="neither")
            .all()
        ),
    ),
    (
        "degrees of freedom stand behind it: nearly one a cow.",
        lambda p: 0.95 < p["effects"].loc["parity", "df"] / len(p["dairy"]) < 1,
    ),
    (
        "degrees of freedom stand behind it: fewer than there are herds.",
        lambda p: p["effects"].loc["feeding[T.mixed]", "df"] < len(p["herds"]),
    ),
    (
        "its small p-value says that the data hardly fit equal feeding systems",
        lambda p: p["joint"]["p_value"] < 0.001,
    ),
    (
        "Chance alone does not make herds differ this much, and feeding does not account for all",
        lambda p: p["test"]["p_value"].iloc[0] < 1e-6,
    ),
    (
        "The standard errors are a little smaller than those of @tbl-wg-coefficients",
        lambda p: (
            (p["by_hand"]["std_error by hand"] / p["effects"]["std_error"]).between(0.98, 1).all()
        ),
    ),
    (
        "Every herd in @fig-wg-qq lies inside the band.",
        lambda p: (
            {t.get_text() for t in plots.qq(p["fit"]).get_legend().get_texts()}
            == {"95% simultaneous band"}
        ),
    ),
    (
        "You see no funnel, and a trend that rises a little without a bend.",
        lambda p: funnel(p) > 0.1 and 0 < trend(p)[0] < 0.2 and trend(p)[1] > 0.1,
    ),
    (
        "from about 140 to 230",
        lambda p: (
            abs(p["fit"].fittedvalues.min() - 140) < 5
            and abs(p["fit"].fittedvalues.max() - 230) < 5
        ),
    ),
    (
        "So the cows of a high herd lie above their fitted values on average",
        herds_side_with_their_blup,
    ),
    (
        "no parity's mean lies further from the line than one parity is worth",
        lambda p: p["by_parity"]["mean"].abs().max() < p["effects"].loc["parity", "estimate"],
    ),
    (
        "All means lie within two standard errors of zero.",
        lambda p: (p["by_parity"]["mean"].abs() < 2 * p["by_parity"]["std_error"]).all(),
    ),
    (
        "less than one parity is worth, so a straight line will do",
        lambda p: (
            p["line"]["p_value"] > 0.2
            and p["by_parity"]["mean"].abs().max() < p["effects"].loc["parity", "estimate"]
        ),
    ),
    (
        "how much is known about the spread behind each standard error",
        # Satterthwaite's are by definition those of a variance estimate that is as uncertain as the
        # squared standard error; the two methods differ by one or two herds
        lambda p: np.allclose(
            p["effects"]["df"], coef_table(p["fit"], df="satterthwaite")["df"], atol=2, rtol=0
        ),
    ),
    (
        "The spread is another matter: it is smallest at parity $1$",
        lambda p: p["by_parity"]["sd"].idxmin() == 1 and p["equal_spread"].pvalue < 0.05,
    ),
    (
        "moves no coefficient by more than a fifth of its standard error (@sec-wg-parity)",
        spread_by_parity_moves_little,
    ),
    (
        "### Other choices move the difference by less than its standard error",
        lambda p: all(moved(p, choice) < 1 for choice in p["refits"].index),
    ),
    (
        "the difference that depends most on the herds: confined feeding against pasture.",
        lambda p: p["effects"]["std_error"].drop("Intercept").idxmax() == CONFINED,
    ),
    (
        "whose BLUP is furthest from zero, the estimate moves by less than its standard error.",
        lambda p: max(moved(p, "with region"), moved(p, "without one herd")) < 1,
    ),
    (
        "Its estimate is close, but its standard error is only",
        lambda p: moved(p, "least squares") < 0.25 and p["ratio"] < 0.6,
    ),
    (
        "finds a far smaller p-value for mixed feeding against pasture than you do",
        lambda p: (
            p["ols"].pvalues["feeding[T.mixed]"]
            < 0.01 * p["effects"].loc["feeding[T.mixed]", "p_value"]
        ),
    ),
    ("her method would still report one far more often than", ols_rejects_too_often),
    (
        "$6$ kg for each parity, $10$ kg for mixed and $20$ kg for confined feeding",
        truths_are_those_of_the_file,
    ),
    (
        "as in the herds, about a fifth of the variation lies between groups.",
        lambda p: (
            round(5 * p["icc_stays"]["estimate"]) == round(5 * p["icc_null"]["estimate"]) == 1
        ),
    ),
    (
        "because age differs within hospitals.",
        lambda p: p["stays"].groupby("hospital")["age"].nunique().min() > 1,
    ),
    (
        "She reports that two thirds of the variation in milk solids lie between herds",
        lambda p: abs(icc(p["fit_merged"])["estimate"] - 2 / 3) < 0.02,
    ),
    (
        "standard deviations above the average, and no other herd lies further than",
        lambda p: p["in_sds"][p["odd_herd"]] > 5 > 2 > p["in_sds"].abs().nlargest(2).iloc[1],
    ),
    (
        "with its milk divided by $2.2046$ the analysis is that of this chapter.",
        lambda p: (
            set(p["merged"].loc[p["other_dairy"], "herd"]) == {p["odd_herd"]}
            and np.allclose(
                p["merged"]["milk_kg"] / np.where(p["other_dairy"], 2.2046, 1),
                p["dairy"]["milk_kg"],
            )
        ),
    ),
]


@each(STATEMENTS)
def test_the_data_bear_out_the_sentence(page: Page, fragment: str, holds) -> None:
    assert stands(NAME, fragment), "the sentence reads otherwise now"
    assert holds(page)


def test_half_of_the_statistics_are_zero_without_any_variance(dairy: pd.DataFrame) -> None:
    """Which is why the p-value is halved; with few groups more than half are zero."""
    rng, start = np.random.default_rng(1), fit_lmm("milk_kg ~ parity", dairy, groups="herd")
    p = np.array(
        [
            lrt(refit(start, rng.normal(size=len(dairy))), "ols")["p_value"].iloc[0]
            for _ in range(400)
        ]
    )
    naive = np.minimum(2 * p, 1)
    assert abs((p > 0.49).mean() - 0.5) < 0.1  # four MC errors of one half
    assert abs((p < 0.05).mean() - 0.05) < 0.044  # four of one in twenty
    assert (naive < 0.05).mean() < 0.05
    few = dairy[dairy["herd"].isin(dairy["herd"].unique()[:5])]
    start = fit_lmm("milk_kg ~ 1", few, groups="herd")
    at_zero = [refit(start, rng.normal(size=len(few))).cov_re.iloc[0, 0] < 1e-9 for _ in range(400)]
    assert np.mean(at_zero) > 0.52, "so the sentence says: with dozens of them"


@pytest.fixture(scope="module")
def dairy() -> pd.DataFrame:
    return load("dairy_herds")


@pytest.fixture(scope="module")
def fit(dairy: pd.DataFrame):
    return smf.mixedlm(FORMULA, dairy, groups="herd").fit(reml=True)


@pytest.fixture(scope="module")
def effects(fit) -> pd.DataFrame:
    return coef_table(fit)


def gls_cell() -> str:
    return next(
        part.code for part in split(CHAPTER) if isinstance(part, Cell) and part.label == "gls"
    )


def test_the_ten_lines_give_the_fixed_effects_of_the_fit(dairy: pd.DataFrame, fit) -> None:
    names = {"np": np, "fit": fit, "herds": dairy.groupby("herd", observed=True)}
    exec(gls_cell(), names)
    np.testing.assert_allclose(names["beta"], fit.fe_params, rtol=1e-8)
    wald = coef_table(fit, df="wald")["std_error"]
    np.testing.assert_allclose(names["std_error"], wald, rtol=1e-8)


def test_the_ten_lines_are_ten() -> None:
    assert len([line for line in gls_cell().splitlines() if line.strip()]) == 10


def test_the_intervals_cover_the_truth(fit, effects: pd.DataFrame, dairy: pd.DataFrame) -> None:
    for term, truth in {"parity": 6, "feeding[T.mixed]": 10, CONFINED: 20}.items():
        assert effects.loc[term, "ci_low"] < truth < effects.loc[term, "ci_high"], term
    null = icc(smf.mixedlm("milk_kg ~ 1", dairy, groups="herd").fit(reml=True))
    assert null["ci_low"] < 0.20 < null["ci_high"]


def test_the_herd_variance_test_is_the_reml_comparison_with_least_squares(
    dairy: pd.DataFrame, fit
) -> None:
    X, y = fit.model.exog, fit.model.endog
    n, p = X.shape
    rest = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    sigma2 = rest @ rest / (n - p)
    null = (n - p) * (1 + np.log(2 * np.pi * sigma2)) + np.linalg.slogdet(X.T @ X)[1]
    test = lrt(fit, "ols").iloc[0]
    assert test["statistic"] == pytest.approx(null + 2 * fit.llf, abs=1e-4)
    assert test["p_value"] == pytest.approx(test["p_value_naive"] / 2, rel=1e-12)


def test_residuals_are_standardised_and_spread_by_parity_fits_better(
    fit, dairy: pd.DataFrame
) -> None:
    sd = fit.resid.groupby(dairy["parity"]).std()
    weights = dairy["parity"].map(sd**-2).to_numpy()
    assert fit_lmm(FORMULA, dairy, groups="herd", weights=weights).criterion < -2 * fit.llf
    assert residuals(fit)["conditional_std"].std() == pytest.approx(1, abs=0.02)


def test_parities_leave_no_line(dairy: pd.DataFrame, fit) -> None:
    """The page's F-test of the departures, beside the likelihood ratio of the two models."""
    by_category = smf.mixedlm("milk_kg ~ C(parity) + feeding", dairy, groups="herd").fit(reml=True)
    step = "C(parity)[T.2]"
    bends = [{f"C(parity)[T.{k}]": 1, step: 1 - k} for k in range(3, 7)]
    line = contrast(by_category, bends).iloc[0]
    models = ("milk_kg ~ C(parity) + feeding", FORMULA)
    larger, smaller = (fit_lmm(m, dairy, groups="herd", reml=False) for m in models)
    ratio = lrt(larger, smaller).iloc[0]
    assert line["df_num"] == ratio["df"] == 4
    assert line["p_value"] == pytest.approx(ratio["p_value"], abs=0.01)
    assert line["p_value"] > 0.2, "a straight line will do"


def test_herd_means_and_cows_spread_as_the_description_of_the_figure_says(
    dairy: pd.DataFrame,
) -> None:
    alt = re.search(
        r"Herd means rise by about (\d+) .*? herd spread over about (\d+)", CHAPTER.read_text()
    )
    assert alt
    herds = dairy.groupby("herd")["milk_kg"]
    assert np.ptp(herds.mean()) == pytest.approx(float(alt[1]), abs=5)
    assert (herds.max() - herds.min()).median() == pytest.approx(float(alt[2]), abs=15)


def test_the_python_side_gives_the_fit_of_the_chapter(page: Page) -> None:
    names = run_python(blocks(NAME)[0])
    np.testing.assert_allclose(names["fit"].fe_params, page["fit"].fe_params, rtol=1e-8)
    assert icc(names["null"])["estimate"] == pytest.approx(page["icc_null"]["estimate"], rel=1e-8)


@needs_r
def test_the_r_side_gives_the_fit_of_the_chapter(page: Page) -> None:
    terms = 'c("(Intercept)", "feedingmixed", "feedingconfined", "parity")'
    fixed, df, share, tested = run_r(
        blocks(NAME)[1],
        f"fixef(fit)[{terms}]",
        f'coef(summary(fit, ddf = "Kenward-Roger"))[{terms}, "df"]',
        "variances[1] / sum(variances)",
        'ranova(fit)[2, c("LRT", "Pr(>Chisq)")]',
    )
    ours = page["effects"].loc[["Intercept", "feeding[T.mixed]", CONFINED, "parity"]]
    assert fixed == pytest.approx(ours["estimate"].to_list(), rel=1e-4)
    assert df == pytest.approx(ours["df"].to_list(), rel=1e-3)
    assert share == pytest.approx([page["icc_null"]["estimate"]], rel=1e-3)
    statistic, naive = page["test"].iloc[0][["statistic", "p_value_naive"]]
    assert tested[0] == pytest.approx(statistic, rel=1e-4)
    assert tested[1] == pytest.approx(naive, rel=1e-2), "which the page says to halve"

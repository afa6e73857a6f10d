"""Chapter 2 run cell by cell: what it says about clusters must be what its numbers show."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from cells import run_chapter
from said import Page, Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import (
    anova_components,
    coef_table,
    design_effect,
    fit_lmm,
    shrinkage_factor,
)

NAME = "02-clustered-data"
MIXED, CONFINED = "feeding[T.mixed]", "feeding[T.confined]"
FEEDING = [MIXED, CONFINED]


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    # As on the page: its collinear model warns, and a cell prints that warning.
    return run_chapter(NAME, "default")


def mc_error(share: float, replicates: int) -> float:
    return float(np.sqrt(share * (1 - share) / replicates))


def errors(page: Page) -> Any:
    """Standard errors by four analyses."""
    return page["side"].xs("std_error", axis=1, level=1)


def estimates(page: Page) -> Any:
    return page["side"].xs("estimate", axis=1, level=1).drop("Intercept")


def steps(page: Page) -> Any:
    """Range of the group means of the dots, panel by panel, rising from left to right."""
    return [
        frame.groupby("feeding", observed=True)["milk_kg"].mean()
        for frame in (page["dairy"], page["means"])
    ]


def between_mean_and_line(page: Page) -> bool:
    own, shrunk, line = page["own"], page["shrunk"], page["overall"]
    inside = (shrunk - line).abs() <= (own - line).abs()
    same_side = np.sign(shrunk - line) == np.sign(own - line)
    return bool((inside & same_side).all()) and abs(line - 181) < 1


def nearer_dummies(page: Page) -> bool:
    slopes = page["bought"]["estimate"]
    way = slopes["OLS, cluster-robust"] - slopes["dummy model"]
    return 0 < slopes["mixed model"] - slopes["dummy model"] < 0.3 * way


# What the page says of its data in words, and whether the data say so.
STATEMENTS: list[Statement] = [
    (
        "12 to 25 herd means in each system lie between about 140 and 210 kilograms",
        lambda p: (
            p["means"].groupby("feeding", observed=True).size().agg(["min", "max"]).tolist()
            == [12, 25]
            and abs(p["means"]["milk_kg"].min() - 140) < 3
            and abs(p["means"]["milk_kg"].max() - 210) < 3
        ),
    ),
    (
        "The means rise from pasture to confined in both panels.",
        lambda p: all(step.is_monotonic_increasing for step in steps(p)),
    ),
    (
        "The last row is a little better",
        lambda p: 1 < p["effect"]["effective_n_model"] / p["effect"]["effective_n"] < 1.25,
    ),
    (
        "The data agree with the design effect",
        lambda p: (
            abs(p["boot"]["herds"] / (p["dairy"]["milk_kg"].sem() * np.sqrt(p["deff"])) - 1)
            < 2.5 * p["mc_share"]
        ),
    ),
    (
        "The estimates differ by less than half a standard error of the mixed model.",
        lambda p: (
            ((estimates(p).max(axis=1) - estimates(p).min(axis=1)) / errors(p)["mixed model"])
            .drop("Intercept")
            .lt(0.5)
            .all()
        ),
    ),
    (
        "those of OLS are less than half as large as the others.",
        lambda p: (
            errors(p)["OLS"][FEEDING]
            .lt(0.5 * errors(p).loc[FEEDING, ["cluster-robust", "mixed model"]].min(axis=1))
            .all()
        ),
    ),
    (
        "all four are close, and the mixed model's is the smallest.",
        lambda p: (
            errors(p).loc["parity"].idxmin() == "mixed model"
            and errors(p).loc["parity"].max() < 1.08 * errors(p).loc["parity"].min()
        ),
    ),
    (
        "The dummy model has no answer on feeding.",
        lambda p: estimates(p).loc[FEEDING, "dummies"].isna().all(),
    ),
    (
        "Every analysis would tell the farmer the same.",
        lambda p: np.ptp(estimates(p).loc["parity"]) < 0.5 * errors(p).loc["parity"].min(),
    ),
    ("as if the matter were settled.", lambda p: p["tests"].loc["OLS", "p_value"] < 0.0001),
    (
        "some evidence, with lower limits near $0$.",
        lambda p: (
            p["tests"].loc["mixed model", "p_value"]
            < 0.05
            < p["tests"].loc["cluster-robust", "p_value"]
            < 0.15
            and (p["tests"]["ci_low"].drop("OLS").abs() < 2).all()
        ),
    ),
    (
        "fewer than there are herds.",
        lambda p: p["effects"].loc[MIXED, "df"] < p["G"] and p["effects"].loc[CONFINED, "df"] < 50,
    ),
    (
        "and its estimate is a little more precise.",
        lambda p: (
            (p["correct"]["OLS, corrected"] / p["correct"]["mixed model"]).between(1, 1.1).all()
        ),
    ),
    (
        "nearly the answer of the mixed model.",
        lambda p: (
            abs(p["fit_means"].params[MIXED] - p["effects"].loc[MIXED, "estimate"])
            < 0.1 * p["effects"].loc[MIXED, "std_error"]
            and abs(p["fit_means"].pvalues[MIXED] - p["effects"].loc[MIXED, "p_value"]) < 0.005
        ),
    ),
    (
        "In spite of its warning, statsmodels gives an estimate with a small standard error.",
        lambda p: p["fit_trap"].bse[CONFINED] < 0.5 * p["effects"].loc[CONFINED, "std_error"],
    ),
    (
        "Parity has a $\\kappa$ close to $0$: herds hardly differ in parity",
        lambda p: (
            abs(p["correct"].loc["parity", "kappa"]) < 0.5
            and p["herds"]["parity"].mean().std() < 0.3 * p["dairy"]["parity"].std()
        ),
    ),
    (
        "feeding has a large $\\kappa$",
        lambda p: (p["correct"].loc[FEEDING, "kappa"] > 20).all(),
    ),
    (
        "For parity the mixed model does better than OLS as well",
        lambda p: (
            p["correct"].loc["parity", "mixed model"]
            < 0.97 * p["correct"].loc["parity", "OLS, corrected"]
        ),
    ),
    (
        "The two other analyses stay near $5\\%$ in both columns; what is left is no more than two",
        lambda p: all(
            abs(share - 0.05) < 2 * mc_error(share, count)
            for kind in p["found"].values()
            for share, count in zip(kind[1:], (2000, 300), strict=True)
        ),
    ),
    (
        "a test that is too shy here also misses real effects",
        lambda p: p["found"]["cows"][0] + 2 * mc_error(0.05, 2000) < 0.05,
    ),
    (
        "In @fig-cl-growth more cows make it worse.",
        lambda p: all((np.diff(shares) > 0).all() for shares in p["growth"].values()),
    ),
    (
        "Both calls print the same",
        lambda p: (
            len(
                {
                    (
                        round(f.fe_params["parity"], 3),
                        round(f.cov_re.iloc[0, 0], 1),
                        round(f.scale, 1),
                    )
                    for f in (p["fit"], p["same_fit"])
                }
            )
            == 1
        ),
    ),
    (
        "dummies take half of the degrees of freedom",
        lambda p: abs(p["two_dummies"].df_resid / len(p["two"]) - 0.5) < 0.02,
    ),
    (
        "a shrunken estimate from four cows lies nearer to the rest of the herd",
        lambda p: p["held"]["error"].idxmin() == "mixed model",
    ),
    (
        "Every filled point lies between its open circle and a horizontal line near 181.",
        between_mean_and_line,
    ),
    (
        "With only four cows, the raw mean of a herd does no better than the overall mean",
        lambda p: (
            p["held"]["error"]["dummy model"]
            > p["held"]["error"]["one mean for all"] - p["held"]["MC error"].max()
        ),
    ),
    (
        "It also throws away data: in",
        lambda p: 1 < p["same_parity"] < 25,
    ),
    (
        "The dummy model aims at it",
        lambda p: abs(p["bought"].loc["dummy model", "estimate"] - 0.12) < 0.012,
    ),
    ("The mixed model lies between, close to the dummy model here", nearer_dummies),
    (
        "and for none of the three predictors do the two differ by as much as a fifth.",
        lambda p: (
            (p["fit_robust"].bse[p["correct"].index] / p["correct"]["OLS, corrected"])
            .between(0.8, 1.2)
            .all()
        ),
    ),
    (
        "The mixed model's own standard errors are smaller than both",
        lambda p: (
            (p["correct"]["mixed model"] < p["correct"]["OLS, corrected"]).all()
            and (p["correct"]["mixed model"] < p["fit_robust"].bse[p["correct"].index]).all()
        ),
    ),
    (
        "where OLS rejects about twice as often as it should",
        lambda p: 1.6 < p["growth"][0.01][-1] / 0.05 < 2.4,
    ),
    (
        "would miss the herds in about half of such studies.",
        lambda p: 0.4 < p["power"] < 0.6,
    ),
    (
        "and the sizes of the groups are nearly those of the herds",
        lambda p: (
            abs(p["worth_survey"]["icc"] - p["effect"]["icc"]) < 0.03
            and abs(p["worth_survey"]["mean_size"] / p["effect"]["mean_size"] - 1) < 0.05
        ),
    ),
    (
        "so the loss is nearly the same too",
        lambda p: abs(p["worth_survey"]["design_effect"] / p["effect"]["design_effect"] - 1) < 0.05,
    ),
    (
        "With more than a thousand patients the difference is significant",
        lambda p: len(p["trial_bp"]) > 1000 and p["p_patients"] < 0.05,
    ),
    (
        "The estimate hardly moves; its interval does, and it includes differences in either",
        lambda p: (
            abs(p["type_row"]["estimate"] - p["by_patients"].params.iloc[1])
            < 0.3 * p["type_row"]["std_error"]
            and p["type_row"]["std_error"] > 2 * p["by_patients"].bse.iloc[1]
            and p["type_row"]["ci_low"] < 0 < p["type_row"]["ci_high"]
        ),
    ),
    (
        "Fifty herds of ten cows give the mean with a standard error of",
        lambda p: (
            p["plans"]["std_error"].idxmin() == 2
            and p["plans"].loc[2, ["herds", "cows"]].tolist() == [50, 10]
            and (p["plans"]["cost"].between(990, 1000)).all()
        ),
    ),
    (
        "ninety herds with one cow each spend nearly everything on visits",
        lambda p: p["plans"]["std_error"][3] > p["plans"]["std_error"][2],
    ),
]


@each(STATEMENTS)
def test_the_data_bear_out_the_sentence(page: Page, fragment: str, holds: Any) -> None:
    assert stands(NAME, fragment), "the sentence reads otherwise now"
    assert holds(page)


def test_the_number_of_cows_from_a_herd_that_is_worth_its_price() -> None:
    """By search: most information on a mean for a budget in which a herd costs k cows."""
    cows = np.arange(1, 200)
    for rho, price in [(0.2, 25), (0.05, 25), (0.01, 4), (0.2, 1)]:
        herds = 10_000 / (price + cows)
        worth = herds * cows / (1 + (cows - 1) * rho)
        best = cows[worth.argmax()]
        assert abs(best - np.sqrt(price * (1 - rho) / rho)) <= 1
    assert stands(NAME, "$10$ cows for $\\rho = 0.2$ and $k = 25$")
    assert np.sqrt(25 * 0.8 / 0.2) == pytest.approx(10)


def test_more_cows_help_a_predictor_that_varies_within_herds() -> None:
    """Standard error of a cow-level predictor, ten herds: it falls as one over the root of cows."""
    ratio = []
    for cows in (10, 40):
        x = np.tile(np.arange(cows) % 2 - 0.5, 10)
        V = 0.8 * np.eye(cows) + 0.2
        of_herd = x[:cows] @ np.linalg.solve(V, x[:cows])
        ratio.append(1 / np.sqrt(10 * of_herd))
    assert ratio[1] == pytest.approx(ratio[0] / 2)


def test_an_effect_that_varies_spoils_least_squares_for_predictors_within_herds(
    page: Page,
) -> None:
    """Balanced within herds, OLS is too cautious with one effect and too sure with many."""
    rng, tests, herd = np.random.default_rng(22), page["slope_tests"], np.repeat(np.arange(40), 20)
    x = np.tile(np.arange(20) % 2 - 0.5, 40)
    shares = []
    for sd in (0, 0.4):
        found = []
        for _ in range(500):
            y = rng.normal(0, np.sqrt(0.2), 40)[herd] + rng.normal(0, sd, 40)[herd] * x
            t = tests(x, y + rng.normal(0, np.sqrt(0.8), 800), herd)[0]
            found.append(abs(t) > 1.96)
        shares.append(np.mean(found))
    assert shares[0] < 0.05 and shares[1] > 0.08


def test_unequal_clusters_need_more_of_them(page: Page) -> None:
    """The cluster-robust t test of a herd-level exposure: few unequal, dozens equal and unequal."""
    rng, tests = np.random.default_rng(23), page["slope_tests"]

    def share(sizes: Any) -> float:
        herd = np.repeat(np.arange(len(sizes)), sizes)
        x, found = (np.arange(len(sizes)) % 2)[herd] * 1.0, []
        for _ in range(600):
            y = rng.normal(0, np.sqrt(0.2), len(sizes))[herd] + rng.normal(0, 0.9, len(herd))
            found.append(rejects(tests(x, y, herd)[1], len(sizes)))
        return float(np.mean(found))

    uneven = np.tile([5, 5, 8, 10, 15, 20, 30, 80], 5)
    doubt = mc_error(0.05, 600)
    assert share(uneven[:8]) > 0.05 + 4 * doubt
    assert abs(share(np.full(40, 20)) - 0.05) < 4 * doubt
    assert share(uneven) < share(uneven[:8])


def test_a_variance_from_a_handful_of_groups_is_hardly_known() -> None:
    """Balanced groups: spread of the ANOVA estimate in units of the truth, by theory of F."""

    def relative_sd(groups: int, members: int = 20, rho: float = 0.2) -> float:
        between = (1 - rho + members * rho) ** 2 * 2 / (groups - 1)
        within = (1 - rho) ** 2 * 2 / (groups * (members - 1))
        return float(np.sqrt(between + within) / members / rho)

    assert relative_sd(5) > 0.8 and relative_sd(10) > 0.5 and relative_sd(50) < 0.3


def test_the_data_are_as_the_captions_say(page: dict[str, Any]) -> None:
    means = page["means"]
    sizes = means.groupby("feeding", observed=True).size()
    assert (sizes.min(), sizes.max()) == (12, 25)
    assert 138 < means["milk_kg"].min() < 142 and 208 < means["milk_kg"].max() < 213
    assert means.groupby("feeding", observed=True)["milk_kg"].mean().is_monotonic_increasing
    assert page["dairy"].groupby("feeding", observed=True)["milk_kg"].mean().is_monotonic_increasing
    assert page["dairy"]["milk_kg"].min() > 70 and page["dairy"]["milk_kg"].max() < 285
    assert page["dairy"]["herd"].is_monotonic_increasing  # `label_cows` relies on it


def test_the_design_effect_by_hand_is_that_of_the_helper(page: dict[str, Any]) -> None:
    effect = page["effect"]
    assert page["deff"] == pytest.approx(effect["design_effect"])
    assert page["n"] / page["deff"] == pytest.approx(effect["effective_n"])
    assert effect["effective_n_model"] > effect["effective_n"]
    assert design_effect(0.2, 25)["design_effect"] == pytest.approx(1 + 24 * 0.2)
    # The worth of 50 herds in the alternative text of its figure.
    at_end = {icc: 3000 / (1 + 59 * icc) for icc in (0.01, 0.05, 0.2)}
    assert 1800 < at_end[0.01] < 2000 and at_end[0.05] < 1000 and 200 < at_end[0.2] < 250
    assert at_end[0.2] < 1.15 * 50 * 20 / (1 + 19 * 0.2)


def test_the_bootstrap_of_herds_agrees_with_the_design_effect(page: dict[str, Any]) -> None:
    naive = page["dairy"]["milk_kg"].sem()
    assert page["boot"]["cows"] == pytest.approx(naive, rel=0.05)
    assert page["boot"]["herds"] == pytest.approx(naive * np.sqrt(page["deff"]), rel=0.12)


def test_the_four_analyses_differ_as_the_page_says(page: dict[str, Any]) -> None:
    errors = page["side"].xs("std_error", axis=1, level=1)
    for term in (MIXED, CONFINED):
        honest = errors.loc[term, ["cluster-robust", "mixed model"]]
        assert (errors.loc[term, "OLS"] < 0.5 * honest).all()
        assert np.isnan(errors.loc[term, "dummies"])
    parity = errors.loc["parity"]
    assert parity.idxmin() == "mixed model" and parity.max() < 1.08 * parity.min()
    estimates = page["side"].xs("estimate", axis=1, level=1)
    spread = (estimates.max(axis=1) - estimates.min(axis=1)).drop("Intercept")
    assert (spread < errors.min(axis=1).drop("Intercept")).all()


def test_only_least_squares_settles_the_matter(page: dict[str, Any]) -> None:
    tests = page["tests"]
    assert tests.loc["OLS", "p_value"] < 0.001
    assert 0.01 < tests.loc["mixed model", "p_value"] < 0.05
    assert 0.05 < tests.loc["cluster-robust", "p_value"] < 0.15
    assert page["fit_ols"].df_resid == tests.loc["OLS", "df"]
    assert page["fit_robust"].df_resid_inference == tests.loc["cluster-robust", "df"]
    assert tests.loc["mixed model", "df"] < page["G"]
    # Weighting explains the smaller part of the gap; the page says so.
    corrected, robust = page["correct"].loc[MIXED, "OLS, corrected"], page["fit_robust"].bse[MIXED]
    assert page["effects"].loc[MIXED, "std_error"] < corrected < robust


def test_herd_means_nearly_give_the_answer_of_the_mixed_model(page: dict[str, Any]) -> None:
    means, effects = page["fit_means"], page["effects"]
    assert means.df_resid == page["G"] - 3
    for term in (MIXED, CONFINED):
        error = effects.loc[term, "std_error"]
        assert abs(means.params[term] - effects.loc[term, "estimate"]) < 0.2 * error
        assert means.bse[term] == pytest.approx(error, rel=0.05)
    assert abs(means.pvalues[MIXED] - effects.loc[MIXED, "p_value"]) < 0.01


def test_the_collinear_model_warns_and_prints_an_arbitrary_number(page: dict[str, Any]) -> None:
    assert "rank-deficient" in str(page["caught"][0].message)
    assert page["rank"] == page["design"].shape[1] - 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backwards = page["dairy"]["herd"].map(lambda herd: f"Z{99 - int(herd[1:])}")
        renamed = page["dairy"].assign(herd=backwards)  # another herd is the reference
        again = page["smf"].ols("milk_kg ~ parity + feeding + herd", renamed).fit()
    assert abs(again.params[CONFINED] - page["fit_trap"].params[CONFINED]) > 1
    assert again.fittedvalues.to_numpy() == pytest.approx(page["fit_trap"].fittedvalues.to_numpy())


def test_first_principles_reach_statsmodels(page: dict[str, Any]) -> None:
    assert page["largest"] < 1e-8
    assert page["slope"] == pytest.approx(page["fit_dummies"].params["parity"])
    assert page["error"] == pytest.approx(page["fit_dummies"].bse["parity"])


def test_the_design_effect_of_a_coefficient_is_exact(page: dict[str, Any]) -> None:
    """Against the full covariance of the least-squares estimates under the mixed model."""
    fit, X = page["fit"], page["X"]
    sigma2_g, sigma2 = fit.cov_re.iloc[0, 0], fit.scale
    filling = np.zeros((X.shape[1], X.shape[1]))
    for rows in page["herds"].indices.values():
        V = sigma2 * np.eye(len(rows)) + sigma2_g
        filling += X[rows].T @ V @ X[rows]
    bread = np.linalg.inv(X.T @ X)
    true = np.diag(bread @ filling @ bread) / ((sigma2_g + sigma2) * np.diag(bread))
    names = list(page["fit_ols"].params.index)
    for term in ("parity", MIXED, CONFINED):
        assert page["correct"].loc[term, "deff"] == pytest.approx(true[names.index(term)])
    assert page["correct"].loc["parity", "deff"] == pytest.approx(1, abs=0.05)
    assert (page["correct"].loc[[MIXED, CONFINED], "deff"] > 4).all()


def rejects(t: float, clusters: int) -> bool:
    return abs(t) > stats.t.ppf(0.975, clusters - 1)


def test_the_cluster_is_where_errors_and_predictor_are_both_alike(page: dict[str, Any]) -> None:
    """Each bullet of "Choose the right cluster", where the lower level would be wrong."""
    rng, tests = np.random.default_rng(20), page["slope_tests"]
    regions, studies = 30, 500
    herd = np.repeat(np.arange(6 * regions), 10)
    region = herd // 6
    found = []
    for _ in range(studies):  # herds decide on feeding, some regions favour it
        share = rng.beta(0.8, 0.8, regions)
        x = (rng.random(6 * regions) < np.repeat(share, 6))[herd].astype(float)
        y = rng.normal(0, np.sqrt(0.1), regions)[region] + rng.normal(0, np.sqrt(0.1), 180)[herd]
        y = y + rng.normal(0, np.sqrt(0.8), len(herd))
        t = tests(x, y, herd)[1], tests(x, y, region)[1]
        found.append([rejects(t[0], 180), rejects(t[1], regions)])
    by_herd, by_region = np.mean(found, axis=0)
    assert by_herd > 0.09 and abs(by_region - 0.05) < 4 * mc_error(0.05, studies)
    herd = np.repeat(np.arange(40), 20)
    for alike, slope_sd in [(0.3, 0), (0, 0.3)]:  # a predictor of the cow, by cow and by herd
        found = []
        for _ in range(studies):
            own = rng.normal(0, np.sqrt(1 - alike), len(herd))
            x = own + rng.normal(0, np.sqrt(alike), 40)[herd]
            y = rng.normal(0, np.sqrt(0.2), 40)[herd] + rng.normal(0, slope_sd, 40)[herd] * x
            ols, robust = tests(x, y + rng.normal(0, np.sqrt(0.8), len(herd)), herd)
            found.append([abs(ols) > 1.96, rejects(robust, 40)])
        by_cow, by_herd = np.mean(found, axis=0)
        assert by_cow > 0.12 and abs(by_herd - 0.05) < 4 * mc_error(0.05, studies)


def test_a_predictor_alone_has_the_three_kappas_and_company_moves_them() -> None:
    rng = np.random.default_rng(27)
    herd = np.repeat(np.arange(400), 10)

    def kappa(x: Any, *others: Any) -> float:
        design = np.column_stack([np.ones(len(herd)), *others])
        a = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
        sums = np.bincount(herd, a)
        return float(sums @ sums / (a @ a) - 1)

    of_herd, balanced = (herd % 2) * 1.0, np.tile([0.0, 1.0], 2000)
    assert kappa(of_herd) == pytest.approx(9) and kappa(balanced) == pytest.approx(-1)
    assert abs(kappa(rng.normal(size=4000))) < 0.4
    company = of_herd + rng.normal(size=4000)  # a predictor of the cow that goes with the herd's
    assert kappa(of_herd, company) < 8


def test_dummies_serve_with_pairs() -> None:
    """The dummy model of pairs is a regression of differences; its interval covers as it says."""
    rng = np.random.default_rng(28)
    pairs, studies = 50, 4000
    u = rng.normal(size=(studies, pairs))
    x = u[..., None] + rng.normal(size=(studies, pairs, 2))  # related to the pair's level
    y = 0.5 * x + 2 * u[..., None] + rng.normal(size=x.shape)
    dx, dy = np.diff(x)[..., 0], np.diff(y)[..., 0]
    squares = (dx**2).sum(axis=1)
    slope = (dx * dy).sum(axis=1) / squares
    rest = dy - slope[:, None] * dx
    error = np.sqrt((rest**2).sum(axis=1) / (pairs - 1) / squares)  # n - G - 1 with n = 2 G
    missed = (np.abs(slope - 0.5) / error > stats.t.ppf(0.975, pairs - 1)).mean()
    assert abs(missed - 0.05) < 4 * mc_error(0.05, studies)
    assert abs(slope.mean() - 0.5) < 4 * slope.std() / np.sqrt(studies)


def test_two_standard_errors_of_one_estimator_are_near_each_other(page: dict[str, Any]) -> None:
    corrected = page["correct"]["OLS, corrected"]
    ratio = page["fit_robust"].bse[corrected.index] / corrected
    assert ratio.between(0.8, 1.2).all()
    assert page["term"] == MIXED
    own = page["correct"]["mixed model"]
    assert (own < corrected).all() and (own < page["fit_robust"].bse[own.index]).all()


def test_slope_tests_are_those_of_statsmodels(page: dict[str, Any]) -> None:
    x = page["dairy"]["parity"].to_numpy(float)
    data = page["pd"].DataFrame({"y": page["milk"], "x": x})
    plain = page["smf"].ols("y ~ x", data).fit()
    robust = plain.get_robustcov_results("cluster", groups=page["herd_no"])
    assert page["slope_tests"](x, page["milk"], page["herd_no"]) == pytest.approx(
        (plain.tvalues["x"], robust.tvalues[1])
    )


def test_placebo_labels_mislead_only_least_squares(page: dict[str, Any]) -> None:
    herds, cows = page["found"]["herds"], page["found"]["cows"]
    theory = 2 * stats.norm.cdf(-1.96 / np.sqrt(page["deff"]))
    assert herds[0] == pytest.approx(theory, abs=0.06)
    assert cows[0] < 0.05 - 2 * mc_error(cows[0], 2000)
    for share, replicates in zip([*herds[1:], *cows[1:]], (2000, 300) * 2, strict=True):
        assert abs(share - 0.05) < 2 * mc_error(share, replicates)


def test_labels_of_cows_are_balanced_within_herds(page: dict[str, Any]) -> None:
    label = page["label_cows"]()
    ones = np.bincount(page["herd_no"], weights=label)
    assert (np.abs(2 * ones - page["m"].to_numpy()) <= 1).all()
    assert not (label == page["label_cows"]()).all()


def test_the_error_of_least_squares_grows_as_predicted(page: dict[str, Any]) -> None:
    ends = {0.01: (5.5, 9.6), 0.05: (7.4, 25.4), 0.2: (14.4, 51)}
    for icc, shares in page["growth"].items():
        theory = 2 * stats.norm.cdf(-1.96 / np.sqrt(1 + (np.array(page["sizes"]) - 1) * icc))
        error = np.sqrt(theory * (1 - theory) / page["replicates"])
        assert (np.abs(shares - theory) < 3.5 * error + 0.01).all()
        assert (100 * theory[0], 100 * theory[-1]) == pytest.approx(ends[icc], abs=0.6)
    assert 1.6 < page["growth"][0.01][-1] / 0.05 < 2.6


def test_shrinkage_pulls_every_herd_inwards_by_its_share(page: dict[str, Any]) -> None:
    fit = page["fit_null"]
    share = shrinkage_factor(fit.cov_re.iloc[0, 0], fit.scale, page["m"])
    assert page["kept"].to_numpy() == pytest.approx(np.asarray(share), rel=1e-4)
    herd_means = page["herds"]["milk_kg"].mean()
    assert page["own"].to_numpy() == pytest.approx(herd_means.to_numpy())
    assert page["overall"] == pytest.approx(181, abs=1)


def test_shrunken_estimates_are_nearer(page: dict[str, Any]) -> None:
    error, doubt = page["held"]["error"], page["held"]["MC error"]
    assert error["mixed model"] + 5 * doubt.max() < error[["dummy model", "one mean for all"]].min()
    assert error["dummy model"] > error["one mean for all"] - doubt.max()


def test_dummies_cost_precision_when_herds_are_small(page: dict[str, Any]) -> None:
    cost = page["cost"]
    assert cost.loc["dummy model", "std_error"] > 1.3 * cost.loc["mixed model", "std_error"]
    assert cost.loc["dummy model", "df"] == len(page["two"]) - page["G"] - 1 == 49
    assert cost.loc["mixed model", "df"] > 90
    assert page["same_parity"] > 0
    engine = fit_lmm("milk_kg ~ parity", page["two"], groups="herd")
    assert coef_table(engine).loc["parity", "std_error"] == pytest.approx(
        cost.loc["mixed model", "std_error"], rel=1e-3
    )


def test_dummies_are_nearest_the_effect_among_neighbours(page: dict[str, Any]) -> None:
    estimate = page["bought"]["estimate"]
    assert abs(estimate["dummy model"] - 0.12) < 0.02
    assert estimate["dummy model"] < estimate["mixed model"] < estimate["OLS, cluster-robust"]
    assert estimate["OLS, cluster-robust"] - estimate["mixed model"] > 0.04


def test_a_small_icc_is_missed_half_the_time(page: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(400):
        y = rng.normal(0, 0.1, (40, 1)) + rng.normal(0, np.sqrt(0.99), (40, 40))
        rejected += stats.f_oneway(*y).pvalue < 0.05
    assert rejected / 400 == pytest.approx(page["power"], abs=0.08)
    assert 0.4 < page["power"] < 0.6


def test_the_icc_of_the_data_is_the_one_that_drew_them(page: dict[str, Any]) -> None:
    anova = anova_components("milk_kg ~ 1", page["dairy"], groups="herd")["variance"]
    assert page["rho"] == pytest.approx(anova["between"] / anova.sum(), abs=0.02)
    assert page["rho"] == pytest.approx(0.2, abs=0.05)


def test_the_python_side_gives_the_numbers_of_the_chapter(page: dict[str, Any]) -> None:
    python, _ = blocks(NAME)
    side = run_python(python)
    for name, other in [("ols", "fit_ols"), ("robust", "fit_robust"), ("fit", "fit")]:
        assert side[name].params.to_numpy() == pytest.approx(page[other].params.to_numpy())
        assert side[name].bse.to_numpy() == pytest.approx(page[other].bse.to_numpy())
    assert side["dummies"].bse["parity"] == pytest.approx(page["fit_dummies"].bse["parity"])


@needs_r
def test_the_r_side_gives_the_numbers_of_the_chapter(page: dict[str, Any]) -> None:
    _, r = blocks(NAME)
    kenward_roger = 'coef(summary(fit, ddf = "Kenward-Roger"))'
    robust, ols, dummies, fixed, errors, p_value = run_r(
        r, "robust", "sqrt(diag(vcov(ols)))", 'coef(summary(dummies))["parity", 1:2]', "fixef(fit)",
        f'{kenward_roger}[, "Std. Error"]', f'{kenward_roger}["feedingmixed", "Pr(>|t|)"]',
    )  # fmt: skip
    order = ["Intercept", "parity", MIXED, CONFINED]  # R puts the intercept first, then as written
    assert robust == pytest.approx(page["fit_robust"].bse[order].to_list())
    assert ols == pytest.approx(page["fit_ols"].bse[order].to_list())
    own = page["fit_dummies"]
    assert dummies == pytest.approx([own.params["parity"], own.bse["parity"]])
    assert fixed == pytest.approx(page["effects"].loc[order, "estimate"].to_list(), rel=1e-4)
    assert errors == pytest.approx(page["effects"].loc[order, "std_error"].to_list(), rel=1e-3)
    assert p_value == pytest.approx([page["tests"].loc["mixed model", "p_value"]], rel=1e-2)

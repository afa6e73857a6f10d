"""Chapter 3 run cell by cell: its calculations by hand must reach the estimates of its fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter
from said import Page, Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import anova_components, blups, coef_table, fit_lmm, icc, plots, refit

NAME = "03-random-intercept"
CONFINED = "feeding[T.confined]"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    # the page fits one model at the boundary on purpose
    return run_chapter(NAME, "ignore")


def inside_the_band(page: Page) -> bool:
    """Both Q-Q plots of the null model, by what their legends say."""
    legends = [
        plots.qq(page["fit_null"], level=level).get_legend() for level in ("group", "observation")
    ]
    told = [{text.get_text() for text in legend.get_texts()} for legend in legends]
    return told == [{"95% simultaneous band"}] * 2


def weights_go_between(page: Page) -> bool:
    """REML's weights rise with the number of cows, steeply at first and hardly at the end."""
    by_size = page["weights"].groupby(page["m"]).mean()["REML"].sort_index()
    middle = page["m"].median()
    low, high = by_size[by_size.index <= middle], by_size[by_size.index > middle]
    per_cow = [np.ptp(part) / np.ptp(part.index) for part in (low, high)]
    rises = by_size.is_monotonic_increasing and by_size.iloc[-1] < 1.5 * by_size.iloc[0]
    return rises and per_cow[1] < 0.25 * per_cow[0]


def bartlett(page: Page, by: str) -> float:
    rest = page["fit_parity"].resid.groupby(page["dairy"][by])
    return float(stats.bartlett(*[group for _, group in rest]).pvalue)


def printed(fit: Any) -> tuple[str, str]:
    return f"{fit.cov_re.iloc[0, 0]:.1f}", f"{fit.scale:.1f}"


# What the page says of its data in words, and whether the data say so.
STATEMENTS: list[Statement] = [
    (
        "Herd means lie between about 140 and 210 kilograms around a line near 181",
        lambda p: (
            p["mean"].agg(["min", "max"]).tolist() == pytest.approx([140, 210], abs=3)
            and p["dairy"]["milk_kg"].mean() == pytest.approx(181, abs=0.5)
        ),
    ),
    (
        "50 herds, from the one with 8 cows to the one with 60",
        lambda p: (len(p["m"]), p["m"].min(), p["m"].max()) == (50, 8, 60),
    ),
    (
        "and the dots scatter around the bars, more widely.",
        lambda p: p["herds"]["milk_kg"].std().min() > p["mean"].std(),
    ),
    (
        "Herds hold a fifth of the variance",
        lambda p: p["rho"]["estimate"] == pytest.approx(0.2, abs=0.01),
    ),
    (
        "Both print the same variances, in kilograms squared.",
        lambda p: printed(p["fit_null"]) == printed(p["beside"]),
    ),
    (
        "because in this file the herds with older cows happen to be the better ones.",
        lambda p: p["r_blup"] > 0 and p["components"]["between"].diff().iloc[1] < 0,
    ),
    (
        "REML goes between, with",
        lambda p: p["mean"].mean() < p["beta_0"] < p["dairy"]["milk_kg"].mean(),
    ),
    (
        "Both estimates are near the truth, and the interval covers it.",
        lambda p: (
            abs(p["sigma2_g"] / 200 - 1) < 0.05
            and abs(p["sigma2"] / 800 - 1) < 0.05
            and p["rho"]["ci_low"] < 0.2 < p["rho"]["ci_high"]
        ),
    ),
    (
        "It is wide although there are",
        lambda p: p["rho"]["ci_high"] > 2 * p["rho"]["ci_low"],
    ),
    (
        "Three square blocks of medium intensity, with sides of 10, 8 and 11 cows",
        lambda p: p["m"][p["trio"]].tolist() == [10, 8, 11],
    ),
    (
        "With unequal herds it is a little less than the average herd",
        lambda p: 0.98 < p["n_0"] / (p["n"] / p["G"]) < 1,
    ),
    (
        "The variance between herds differs from statsmodels' in the last digits",
        lambda p: 0 < abs(p["best"].x * p["total"] - p["sigma2_g"]) < 0.05,
    ),
    (
        "The interval reaches further to the right of the estimate than to the left",
        lambda p: p["high"] - p["best"].x > 1.2 * (p["best"].x - p["low"]),
    ),
    (
        "REML has the smallest standard error in @tbl-ri-averages",
        lambda p: p["averages"]["std_error"].idxmin() == "REML",
    ),
    ("In @fig-ri-weights its weights level off.", weights_go_between),
    (
        "its weights rise for small herds and then level off, slightly above the equal weight.",
        lambda p: 1 < 50 * p["weights"]["REML"].max() < 1.25,
    ),
    (
        "all cows of a herd share one value.",
        lambda p: (p["herds"][["feeding", "region"]].nunique() == 1).all(axis=None),
    ),
    (
        "It also contains $\\sigma^2 / m_j$, the luck of the cows, and is too large.",
        lambda p: p["mean"].var() > p["sigma2_g"],
    ),
    (
        "kg for that difference, so chance may have made it.",
        lambda p: 0 < p["apart"] < 1.5 * p["apart_se"],
    ),
    (
        "and is less than half of what it should be.",
        lambda p: p["dairy"]["milk_kg"].sem() < 0.5 * p["averages"]["std_error"].min(),
    ),
    (
        "the factor rises steeply with the first cows, and then levels off.",
        lambda p: p["shrinkage"].min() > 0.6 and p["shrinkage"].max() < 1,
    ),
    (
        "The variance within herds does not move, beyond a trace of re-weighting",
        lambda p: abs(p["components"]["within"].pct_change().iloc[2]) < 0.001,
    ),
    (
        "Here it goes up with parity and down with feeding.",
        lambda p: p["components"]["ICC"].diff().iloc[1] > 0 > p["components"]["ICC"].diff().iloc[2],
    ),
    (
        "nearly all of the change is the variance that parity itself accounts for.",
        lambda p: (
            abs(
                p["split"].loc["due to parity", "within"]
                / (p["split"].loc["milk solids", "within"] - p["split"].loc["rest", "within"])
                - 1
            )
            < 0.03
        ),
    ),
    (
        "because herds hardly differ in mean parity.",
        lambda p: (
            p["split"].loc["due to parity", "between"]
            < 0.02 * p["split"].loc["due to parity", "within"]
        ),
    ),
    (
        "The covariance does the work: the herds with older cows are the better ones.",
        lambda p: (
            p["split"].loc["twice the covariance", "between"]
            > 2 * p["split"].loc["due to parity", "between"]
        ),
    ),
    (
        "In these simulated herds that is chance",
        lambda p: p["r_low"] < 0 < p["r_blup"] < 0.2,
    ),
    (
        "The variance within herds falls as before, but the variance between herds rises",
        lambda p: p["sigma2_g_dev"] > p["sigma2_g"] and p["fit_dev"].scale < 0.95 * p["sigma2"],
    ),
    (
        "about $1/n_0$ of the fall within.",
        lambda p: (
            (p["sigma2_g_dev"] - p["sigma2_g"]) * p["n_0"] / (p["sigma2"] - p["fit_dev"].scale)
            == pytest.approx(1, abs=0.1)
        ),
    ),
    (
        "and yet the estimate of what is left rises, from",
        lambda p: p["between_region"] > p["components"]["between"].iloc[2],
    ),
    ("the points of @fig-ri-qq stay inside the band at both levels.", inside_the_band),
    (
        "Bartlett's test of equal variances gives p =",
        lambda p: bartlett(p, "herd") > 0.5,
    ),
    (
        "is so wide that it can't rule out a relation that matters.",
        lambda p: p["r_low"] < -0.1 and p["r_high"] > 0.3,
    ),
    (
        "the means of the herds differ less than the luck of three cows alone would make them",
        lambda p: (
            p["anova_few"].loc["between", "mean_sq"] < p["anova_few"].loc["within", "mean_sq"]
        ),
    ),
    (
        "more than a quarter of it lies below zero",
        lambda p: 0.25 < (p["estimates"] < 0).mean() < 0.33,
    ),
    (
        "## More than a quarter of small studies give a negative estimate",
        lambda p: (p["estimates"] < 0).mean() > 0.25,
    ),
    (
        "kg squared, close to the truth.",
        lambda p: abs(p["estimates"].mean() - 200) < 4 * p["estimates"].std() / np.sqrt(20_000),
    ),
    (
        "the truncated estimate is biased upwards.",
        lambda p: np.maximum(p["estimates"], 0).mean() > 220,
    ),
    (
        "Near the boundary the optimiser of statsmodels can stop too early",
        lambda p: (
            not p["fit_early"].converged and -2 * p["fit_early"].llf > p["fit_few"].criterion + 1e-3
        ),
    ),
    (
        "The interval of the ICC reaches well above $0$",
        lambda p: p["rho_few"]["ci_low"] == 0 and p["rho_few"]["ci_high"] > 0.3,
    ),
    (
        "the mean square between herds is smaller than the one within",
        lambda p: (
            p["anova_dtfs"].loc["between", "mean_sq"] < p["anova_dtfs"].loc["within", "mean_sq"]
        ),
    ),
    (
        "There are no late farms to visit; what differs are cows.",
        lambda p: (
            p["fit_dtfs"].cov_re.iloc[0, 0] < 1e-6
            and p["rho_dtfs"]["ci_high"] < 0.01
            and abs(icc(p["fit_dtfs"])["ci_high"] - p["rho_dtfs"]["ci_high"]) < 1e-12
        ),
    ),
    (
        "It is nearly twice that of this chapter",
        lambda p: 1.7 < p["icc_naive"] / p["rho"]["estimate"] < 2,
    ),
    (
        "as REML finds from the same cows.",
        lambda p: abs(icc(p["fit_thirds"])["estimate"] - p["icc_thirds"]) < 1e-4,
    ),
    (
        "It is also what all cows of these herds gave.",
        lambda p: abs(p["rho"]["estimate"] - p["icc_thirds"]) < 0.005,
    ),
]


@each(STATEMENTS)
def test_the_data_bear_out_the_sentence(page: Page, fragment: str, holds: Any) -> None:
    assert stands(NAME, fragment), "the sentence reads otherwise now"
    assert holds(page)


def test_reml_is_more_precise_than_mean_squares_for_herds_like_these(page: Page) -> None:
    """The rule's "as a rule": for the sizes of the file, at a small and at a larger ICC."""
    rng, dairy = np.random.default_rng(31), page["dairy"]
    herd, start = dairy["herd"].factorize()[0], fit_lmm("milk_kg ~ 1", dairy, groups="herd")
    m = np.bincount(herd)
    for rho in (0.2, 0.6):
        pairs = []
        for _ in range(300):
            y = rng.normal(0, np.sqrt(rho), 50)[herd] + rng.normal(0, np.sqrt(1 - rho), len(herd))
            means = np.bincount(herd, y) / m
            within = ((y - means[herd]) ** 2).sum() / (len(y) - 50)
            between = (m * (means - y.mean()) ** 2).sum() / 49
            by_hand = (between - within) / page["n_0"]
            pairs.append([by_hand, refit(start, y).cov_re.iloc[0, 0]])
        anova, reml = np.var(pairs, axis=0)
        assert reml < 1.02 * anova, "never clearly worse"
    assert reml < 0.97 * anova, "and better where herds differ much"


def test_a_wrong_shape_of_the_random_effects_hurts_ranges_and_not_fixed_effects(
    page: Page,
) -> None:
    """Skewed herds: intervals of a herd-level effect keep their coverage, the range doesn't."""
    rng = np.random.default_rng(32)
    herd, w = np.repeat(np.arange(40), 10), np.repeat(np.arange(40) % 2, 10)
    rows = page["pd"].DataFrame({"y": rng.normal(size=400), "w": w, "g": herd})
    start, covered = fit_lmm("y ~ w", rows, groups="g"), []
    for _ in range(400):
        y = (rng.exponential(1, 40) - 1)[herd] + rng.normal(0, 1, 400)
        row = coef_table(refit(start, y)).loc["w"]
        covered.append(row["ci_low"] < 0 < row["ci_high"])
    assert abs(np.mean(covered) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)
    skewed = rng.exponential(1, 100_000) - 1  # mean 0, SD 1
    assert (skewed < -1.96).mean() < 0.001 and (skewed > 1.96).mean() > 0.04


def test_informative_cluster_size_parts_the_average_cow_from_the_average_herd(page: Page) -> None:
    """Where large herds give more, the two averages differ in truth, and REML lies between."""
    rng, m = np.random.default_rng(33), page["m"].to_numpy()
    herd = np.repeat(np.arange(50), m)
    level = 180 + 0.5 * (m - m.mean())
    rows = page["pd"].DataFrame({"y": rng.normal(level[herd], np.sqrt(800)), "g": herd})
    middle = fit_lmm("y ~ 1", rows, groups="g").fe_params["Intercept"]
    cow, of_herds = rows["y"].mean(), rows.groupby("g")["y"].mean().mean()
    assert cow - of_herds > 2 and of_herds < middle < cow


def test_reml_by_hand_reaches_the_estimator(page: dict[str, Any]) -> None:
    engine = fit_lmm("milk_kg ~ 1", page["dairy"], groups="herd")
    by_hand = page["best"].x * page["total"], (1 - page["best"].x) * page["total"]
    assert by_hand == pytest.approx((engine.cov_re.iloc[0, 0], engine.scale), rel=1e-5)
    assert page["best"].fun == pytest.approx(engine.criterion, abs=1e-6)
    assert page["mean_hand"] == pytest.approx(engine.fe_params["Intercept"], rel=1e-8)
    interval = icc(engine)[["ci_low", "ci_high"]].to_numpy()
    assert (page["low"], page["high"]) == pytest.approx(interval, rel=1e-6)


def test_with_fifty_herds_likelihood_and_reml_give_nearly_one_interval(
    page: dict[str, Any],
) -> None:
    of_sd, share = page["sds"].loc["between herds"], page["rho"]
    for end in ("ci_low", "ci_high"):  # the residual variance hardly moves along the profile
        by_reml = np.sqrt(page["sigma2"] * share[end] / (1 - share[end]))
        assert of_sd[end] == pytest.approx(by_reml, rel=0.03)


def test_mean_squares_by_hand_reach_the_helper(page: dict[str, Any]) -> None:
    helper = anova_components("milk_kg ~ 1", page["dairy"], groups="herd")
    by_hand = page["between_hand"], page["ss_within"] / (page["n"] - page["G"])
    assert by_hand == pytest.approx(helper["variance"].to_numpy())
    assert page["n_0_hand"] == pytest.approx(helper.loc["between", "n0"])
    shown = (page["ms_between"] - page["ms_within"]) / page["n_0"]
    assert shown == pytest.approx(page["between_hand"])


def test_weighting_by_shrinkage_gives_the_intercept_and_the_least_variance(
    page: dict[str, Any],
) -> None:
    averages = page["averages"]
    assert averages.loc["REML", "estimate"] == pytest.approx(page["beta_0"], rel=1e-8)
    assert averages["std_error"].idxmin() == "REML"


def test_predictors_move_the_components_as_the_page_says(page: dict[str, Any]) -> None:
    between, within = page["components"]["between"], page["components"]["within"]
    assert between["parity"] < between["none"] and within["parity"] < within["none"] - 50
    assert between["parity, feeding"] < between["parity"] - 40
    assert within["parity, feeding"] == pytest.approx(within["parity"], rel=1e-3)
    assert page["sigma2_g_dev"] > page["sigma2_g"]


def test_a_useless_predictor_of_the_herd_raises_the_variance_between_them(
    page: dict[str, Any],
) -> None:
    assert page["between_region"] > page["components"]["between"].iloc[2] + 3
    # the rule behind it: the variance rises about when the F-test of the predictor stays below 1
    dairy, rng = page["dairy"], np.random.default_rng(7)
    base = fit_lmm("milk_kg ~ parity", dairy, groups="herd").cov_re.iloc[0, 0]
    agreed = 0
    for _ in range(40):
        label = dict(zip(dairy["herd"].unique(), rng.normal(size=50), strict=True))
        rows = dairy.assign(w=dairy["herd"].map(label).astype(float))
        other = fit_lmm("milk_kg ~ parity + w", rows, groups="herd")
        statistic = coef_table(other).loc["w", "statistic"] ** 2
        agreed += (other.cov_re.iloc[0, 0] > base) == (statistic < 1)
    assert agreed >= 36


def test_the_third_assumption_is_hardly_tested_by_a_correlation(page: dict[str, Any]) -> None:
    assert page["r_low"] < -0.1 and page["r_high"] > 0.3
    within, both = page["fit_dev"].fe_params["parity_dev"], page["fit_parity"]
    assert abs(within - both.fe_params["parity"]) < 0.2 * both.bse_fe["parity"]
    # herds whose means carry an effect as large as the parity effect itself: most correlations
    # stay small, so a small one says little
    dairy, rng = page["dairy"], np.random.default_rng(8)
    mean = dairy.groupby("herd")["parity"].transform("mean").to_numpy()
    herd, start = dairy["herd"].factorize()[0], fit_lmm("milk_kg ~ parity", dairy, groups="herd")
    of_herd = dairy.groupby("herd", sort=False)["parity"].mean().to_numpy()
    small = []
    for _ in range(200):
        y = 5 * mean + 6 * dairy["parity"] + rng.normal(0, np.sqrt(200), 50)[herd]
        again = refit(start, (y + rng.normal(0, np.sqrt(800), len(dairy))).to_numpy())
        u = blups(again)["estimate"].loc[dairy["herd"].unique()]
        small.append(abs(np.corrcoef(u, of_herd)[0, 1]) < 0.2)
    assert np.mean(small) > 0.5


def test_the_split_of_the_components_is_exact(page: dict[str, Any]) -> None:
    split_up = page["split"]
    parts = split_up.drop("milk solids").sum()
    assert parts.to_numpy() == pytest.approx(split_up.loc["milk solids"].to_numpy())
    assert split_up.loc["milk solids", "between"] == pytest.approx(page["between_hand"])
    between = split_up["between"]
    by_anova = between["milk solids"] - between["rest"]
    by_reml = -page["components"]["between"].diff()["parity"]
    assert 0 < by_anova < 0.8 * by_reml, "the direction, and not all of its size"
    assert between["twice the covariance"] > between["due to parity"]


def test_the_small_study_is_negative_by_anova_and_singular_by_reml(page: dict[str, Any]) -> None:
    assert page["anova_few"].loc["between", "variance"] < 0
    assert page["fit_few"].singular
    assert page["rho_few"]["ci_low"] == 0 < 0.3 < page["rho_few"]["ci_high"]
    assert not page["fit_early"].converged


def test_simulated_estimates_are_unbiased_until_truncated(page: dict[str, Any]) -> None:
    estimates = page["estimates"]
    standard_error = estimates.std() / np.sqrt(len(estimates))
    assert estimates.mean() == pytest.approx(200, abs=4 * standard_error)
    assert np.maximum(estimates, 0).mean() > 200 + 10 * standard_error
    assert (estimates < 0).mean() == pytest.approx(page["expected"], abs=0.015)


def test_python_runs_alone_and_has_the_numbers_of_the_page(page: dict[str, Any]) -> None:
    names = run_python(blocks(NAME)[0])
    found = names["between"], names["within"], names["share"]
    assert found == pytest.approx((page["sigma2_g"], page["sigma2"], page["rho"]["estimate"]))
    assert names["fit_both"].fe_params.to_numpy() == pytest.approx(page["fit_both"].fe_params)
    assert names["predicted"].to_numpy() == pytest.approx(page["u_hand"].to_numpy(), abs=1e-4)
    assert names["squares"].loc["between", "mean_sq"] == pytest.approx(page["ms_between"])


@needs_r
def test_r_runs_alone_and_has_the_numbers_of_the_page(page: dict[str, Any]) -> None:
    asked = "components", "share", "fixef(fit_both)", "predicted", 'squares[["Mean Sq"]]'
    variances, share, effects, predicted, squares = run_r(blocks(NAME)[1], *asked)
    assert variances == pytest.approx([page["sigma2_g"], page["sigma2"]], rel=2e-4)
    assert share == pytest.approx([page["rho"]["estimate"]], rel=2e-4)
    by_term = page["fit_both"].fe_params
    in_order = ["Intercept", "parity", "feeding[T.mixed]", CONFINED]
    assert effects == pytest.approx(by_term[in_order].to_numpy(), rel=1e-4)
    assert predicted == pytest.approx(page["u_hand"].to_numpy(), abs=0.01)
    assert squares == pytest.approx([page["ms_between"], page["ms_within"]])

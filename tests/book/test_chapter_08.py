"""Estimation, run cell by cell: the estimator it builds, ML's bias, what REML can't compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter
from said import Statement, each, stands
from scipy import optimize, stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import coef_table, fit_lmm, icc, load

CHAPTER = "08-estimation"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(CHAPTER)


def lowest(p: dict[str, Any], k: int) -> tuple[float, float]:
    """SD between and within at the lowest point of the grid: 0 for ML, 1 for REML."""
    i, j = np.unravel_index(p["height"][..., k].argmin(), p["height"].shape[:2])
    return float(np.linspace(2, 46, 45)[j]), float(np.linspace(20, 36, 33)[i])


def flatness(p: dict[str, Any], k: int) -> float:
    """Extent of the second line across, over its extent upwards."""
    inside = p["height"][..., k] - p["height"][..., k].min() < 2
    across = np.ptp(np.linspace(2, 46, 45)[inside.any(axis=0)])
    return across / np.ptp(np.linspace(20, 36, 33)[inside.any(axis=1)])


def rise(p: dict[str, Any], name: str) -> Any:
    return p["curves"][name] - p["curves"][name].min()


def of_groups(p: dict[str, Any], what: str) -> Any:
    """Columns ML and REML by number of herds."""
    return p["by_groups"].pivot(index="herds", columns="method", values=what)


def searched_from_zero(p: dict[str, Any]) -> Any:
    value = p["value"]
    return optimize.minimize(
        value,
        x0=[0.0],
        method="L-BFGS-B",
        jac=lambda t: (value(t + 1e-5) - value(t - 1e-5)) / 2e-5,
    )


def crossing(p: dict[str, Any]) -> float:
    """Unit of farm size (cows) from which the REML statistic passes the point of the test."""
    return float(np.exp((stats.chi2.ppf(0.95, 1) - p["gain_reml"]) / 2))


def ends(values: Any) -> list[float]:
    return [float(values.min()), float(values.max())]


def recoded() -> float:
    """Shift of the REML criterion when a treatment is coded -1 and 1 instead of 0 and 1."""
    trial = load("bp_trial")
    coded = trial.assign(x=(trial["treatment"] == trial["treatment"].max()) * 1.0)
    one = fit_lmm("bp_reduction ~ x", coded, groups="hospital").criterion
    two = fit_lmm("bp_reduction ~ I(2 * x - 1)", coded, groups="hospital").criterion
    return abs(two - one)


def centred(p: dict[str, Any]) -> float:
    plain, moved = (
        fit_lmm(f"milk_kg ~ {term}", p["pilot"], groups="herd").criterion
        for term in ("parity", "I(parity - 3)")
    )
    return abs(plain - moved)


# What the chapter says of these data, each with its check.
STATEMENTS: list[Statement] = [
    (
        "Herd means climb from about 130 to about 205 kilograms; the cows of each herd spread "
        "about as widely as that.",
        lambda p: (
            np.allclose(ends(p["means"]), [130, 205], atol=4)
            and 0.8 < p["pilot"].groupby("herd")["milk_kg"].agg(np.ptp).mean() / 75 < 1.2
        ),
    ),
    (
        "lie mostly in the upper part of their herd.",
        lambda p: (
            (p["pilot"]["milk_kg"] > p["pilot"].groupby("herd")["milk_kg"].transform("mean"))[
                p["older"]
            ].mean()
            > 0.6
        ),
    ),
    (
        "the mean of ML is clearly below the true value of 200, the mean of REML is on it.",
        lambda p: p["ml"].mean() < 180 and abs(p["reml"].mean() - 200) < 8,
    ),
    (
        "The dashed line of REML rises in a straight line from about minus 1 to above 15",
        lambda p: -1.5 < p["gain_reml"] < -0.5 and p["gain_reml"] + 2 * np.log(1e4) > 15,
    ),
    (
        "Within herds the two differ by",
        lambda p: 0.95 < p["two"].loc["ML", "within"] / p["two"].loc["REML", "within"] < 1,
    ),
    (
        "The slope of parity is almost the same",
        lambda p: abs(p["two"]["parity"].diff().iloc[1]) < 0.001 * p["two"]["parity"].iloc[0],
    ),
    (
        "the lowest point of each curve is the estimate of $\\theta$, and that of REML is the "
        "larger",
        lambda p: 0 < p["curves"]["ML"].argmin() < p["curves"]["REML"].argmin() < 80,
    ),
    (
        "Eight herds say little about how herds differ, by either method.",
        lambda p: all(np.ptp(limits(p[f])) > 0.5 for f in ("fit_ml", "fit_reml")),
    ),
    (
        "both valleys are steep from bottom to top and flat from left to right.",
        lambda p: flatness(p, 0) > 2 and flatness(p, 1) > 2,
    ),
    (
        "the valley of REML has its floor further to the right",
        lambda p: lowest(p, 1)[0] > lowest(p, 0)[0],
    ),
    (
        "and it rises more slowly there.",
        lambda p: rise(p, "REML")[-1] < 0.9 * rise(p, "ML")[-1],
    ),
    (
        "the true value lies left of both, inside the second line.",
        lambda p: (
            np.sqrt(200) < min(lowest(p, 0)[0], lowest(p, 1)[0])
            and all(
                p["surfaces"](np.sqrt(200), np.sqrt(800))[k] - p["height"][..., k].min() < 2
                for k in (0, 1)
            )
        ),
    ),
    (
        "The columns of @tbl-est-four differ by less than $10^{-4}$",
        lambda p: np.ptp(p["four_fits"].to_numpy(), axis=1).max() < 1e-4,
    ),
    (
        "The difference is the same in every row, to within $10^{-9}$",
        lambda p: p["contrast_gap"].max() < 1e-9,
    ),
    (
        "and the cut at $0$ makes up for a little of it.",
        lambda p: 1 < 37.5 - (200 - p["ml"].mean()) < 12,
    ),
    (
        "with $200$ herds hardly anything.",
        lambda p: abs(of_groups(p, "mean").loc[200, "ML"] - 199) < 4,
    ),
    (
        "REML is right on average here, or a little above.",
        lambda p: (
            (of_groups(p, "mean")["REML"] > 200 - 4 * of_groups(p, "MC error")["REML"]).all()
            and of_groups(p, "mean")["REML"].max() < 220
        ),
    ),
    (
        "*The RMSE of ML is smaller than that of REML*, clearly so with few herds.",
        lambda p: (
            (of_groups(p, "RMSE")["ML"] < of_groups(p, "RMSE")["REML"]).all()
            and of_groups(p, "RMSE").loc[4, "ML"] < 0.8 * of_groups(p, "RMSE").loc[4, "REML"]
        ),
    ),
    (
        "When groups hardly differ, REML is biased upwards, and more than ML.",
        lambda p: (p["biases"][:4, 1] > 10).all() and (p["biases"][:, 1] > p["biases"][:, 0]).all(),
    ),
    (
        "ML, circles, starts about 15 above zero, crosses zero near a true variance of 35",
        lambda p: (
            12 < p["biases"][0, 0] < 18
            and p["biases"][p["truths"] == 30, 0] > 0 > p["biases"][p["truths"] == 40, 0]
        ),
    ),
    (
        "REML, squares, starts about 23 above zero and falls to about zero.",
        lambda p: 20 < p["biases"][0, 1] < 26 and abs(p["biases"][-1, 1]) < 5,
    ),
    (
        "and hardly touch the one within.",
        lambda p: abs(p["many"]["ML within"].iloc[2] / 800 - 1) < 0.03,
    ),
    (
        "Predictors of the cow eat the variance within herds, and part of that loss turns up "
        "between herds",
        lambda p: (
            p["many"]["ML within"].iloc[[0, 3, 4]].is_monotonic_decreasing
            and p["many"]["ML between"].iloc[[0, 3, 4]].is_monotonic_increasing
        ),
    ),
    (
        "REML stays near the truth in every row.",
        lambda p: (
            (p["many"]["REML between"] - 200).abs().max() < 10
            and (p["many"]["REML within"] - 800).abs().max() < 10
        ),
    ),
    (
        "ML gives both the same deviance.",
        lambda p: np.isclose(
            p["fits"]["ML", " + herd_size"].criterion,
            p["fits"]["ML", " + thousands"].criterion,
            rtol=0,
            atol=1e-8,
        ),
    ),
    (
        "the REML criterion says that the smaller model fits *better*",
        lambda p: p["reml_cows"].criterion > p["fits"]["REML", ""].criterion,
    ),
    (
        "That looks like strong evidence.",
        lambda p: p["fits"]["REML", ""].aic - p["reml_thousands"].aic > 10,
    ),
    (
        "in either unit: farm size explains next to nothing here.",
        lambda p: 0 < p["gain_ml"] < 1,
    ),
    ("crosses the dotted line near a unit of 12 cows.", lambda p: 11 < crossing(p) < 13),
    (
        "has half the effect per unit, and shifts the criterion by $2 \\log 2$.",
        lambda p: np.isclose(recoded(), 2 * np.log(2), atol=1e-7),
    ),
    ("Moving a zero, as in centring, shifts nothing", lambda p: centred(p) < 1e-7),
    (
        "In thousands it rejects nearly always, in cows too seldom, and often it is negative.",
        lambda p: (
            p["share"][2] > 0.95
            and p["share"][1] < 0.05 - 2 * np.sqrt(0.05 * 0.95 / 1000)
            and p["errors_of_tests"]["negative (%)"].iloc[1] > 50
        ),
    ),
    (
        "of true hypotheses instead of one in twenty.",
        lambda p: p["share"][0] > 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1000),
    ),
    (
        "The ML ratio lies a little above the diagonal.",
        lambda p: np.median(np.sort(p["gains"][:, 0])[-300:] / p["expected"][-300:]) > 1.1,
    ),
    (
        "Each criterion moves by the same amount with the unit, and the difference stays.",
        lambda p: np.isclose(gain_of_slope(p, "Days"), gain_of_slope(p, "weeks"), atol=1e-6),
    ),
    (
        "The optimiser reports success.",
        lambda p: (
            searched_from_zero(p).success
            and abs(searched_from_zero(p).x[0]) < 1e-6
            and searched_from_zero(p).fun > p["value"](np.array([0.7])) + 5
        ),
    ),
    (
        "`fit_lmm` gives the same numbers as statsmodels",
        lambda p: all(
            np.isclose(p["fits"][method, ""].criterion, -2 * p[fit].llf, rtol=0, atol=1e-4)
            for method, fit in (("ML", "fit_ml"), ("REML", "fit_reml"))
        ),
    ),
    (
        "the same fitted values, the same variances, an effect that is $1000$ times as large",
        lambda p: (
            p["gap"] < 1e-6
            and np.isclose(
                p["reml_thousands"].fe_params["thousands"],
                1000 * p["reml_cows"].fe_params["herd_size"],
                rtol=1e-6,
            )
        ),
    ),
    (
        "the ratio rejects true hypotheses far too often, while the Kenward-Roger test keeps its "
        "level",
        lambda p: p["share"][0] > 0.07 and abs(p["share"][3] - 0.05) < 0.03,
    ),
    (
        "though less often than ML, as @tbl-est-groups shows",
        lambda p: (
            (of_groups(p, "zero (%)")["REML"] <= of_groups(p, "zero (%)")["ML"]).all()
            and of_groups(p, "zero (%)").loc[8].diff().abs().iloc[1] > 1
        ),
    ),
    (
        "In the simulations of this chapter the RMSE of ML was smaller.",
        lambda p: (of_groups(p, "RMSE")["ML"] < of_groups(p, "RMSE")["REML"]).all(),
    ),
    (
        "a little less than $7/8$.",
        lambda p: 0.75 < p["factor_ml"] < 7 / 8,
    ),
    (
        "residents it hardly notices.",
        lambda p: abs(p["eight_ml"].scale / p["eight_reml"].scale - 1) < 0.01,
    ),
    (
        "By REML the herd's size was not significant, so we used maximum likelihood",
        lambda p: p["p_ml"] < 0.05 < p["p_reml"],
    ),
    (
        "But ML underestimates how much eight herds differ",
        lambda p: p["size_ml"].cov_re.iloc[0, 0] < p["size_reml"].cov_re.iloc[0, 0],
    ),
    (
        "this test finds something in",
        lambda p: p["false_ml"] > 0.08 > p["false_kr"] > 0.02,
    ),
]


def limits(fit: Any) -> list[float]:
    return [float(icc(fit)[end]) for end in ("ci_low", "ci_high")]


def reml_at_ml(p: dict[str, Any]) -> float:
    """REML log-likelihood at the theta by ML; the residual variance is profiled out by REML."""
    theta = np.sqrt(p["fit_ml"].cov_re.iloc[0, 0] / p["fit_ml"].scale)
    return -p["profiled"](theta, True) / 2


def gain_of_slope(p: dict[str, Any], time: str) -> float:
    slope, intercept = (
        fit_lmm(f"Reaction ~ {time}", p["sleep"], groups="Subject", re_formula=terms).criterion
        for terms in (f"1 + {time}", "1")
    )
    return intercept - slope


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(
    page: dict[str, Any], fragment: str, holds: Any
) -> None:
    assert stands(CHAPTER, fragment), "the chapter no longer says so"
    assert holds(page)


def test_the_formula_of_reml_needs_no_normal_distribution() -> None:
    """Exponential herds and cows, where negative estimates are rare."""
    rng, m = np.random.default_rng(12), 8
    u = rng.exponential(np.sqrt(200), (20_000, 16, 1))
    milk = u + rng.exponential(np.sqrt(800), (20_000, 16, m))
    between = m * milk.mean(axis=2).var(axis=1, ddof=1)
    estimate = (between - milk.var(axis=2, ddof=1).mean(axis=1)) / m
    error = estimate.std() / np.sqrt(len(estimate))
    assert estimate.mean() == pytest.approx(200, abs=4 * error)
    assert (estimate < 0).mean() < 0.05
    assert np.maximum(estimate, 0).mean() - estimate.mean() < 2


@pytest.mark.parametrize(
    ("groups", "of_groups", "low", "high"),
    [(8, 2, 0.07, 0.2), (100, 2, 0.045, 0.06), (100, 12, 0.06, 0.1)],
)
def test_the_ml_ratio_needs_many_groups_and_few_effects_of_groups(
    groups: int, of_groups: int, low: float, high: float
) -> None:
    """Its level is exact for balanced groups, as long as the variance between is above zero."""
    rest = groups - of_groups
    squared_t = rest * np.expm1(stats.chi2.ppf(0.95, 1) / groups)
    assert low < 2 * stats.t.sf(np.sqrt(squared_t), rest) < high


def test_ml_variances_shorten_the_intervals_of_group_level_effects(page: dict[str, Any]) -> None:
    """Standard errors by ML and by REML of a predictor of the herd and of one of the cow."""
    ml, reml = page["ml_cows"], page["reml_cows"]
    of_herd = ml.bse_fe["herd_size"] / reml.bse_fe["herd_size"]
    assert of_herd < 0.9 < 0.95 < ml.bse_fe["parity"] / reml.bse_fe["parity"]
    wald, kr = (coef_table(reml, df=m).loc["herd_size"] for m in ("wald", "kenward-roger"))
    assert kr["ci_high"] - kr["ci_low"] > wald["ci_high"] - wald["ci_low"]


def test_the_deviance_is_the_normal_density(page: dict[str, Any]) -> None:
    density = page["deviance"](page["guess"], page["covariance"](200, 800))
    assert sum(page["three_terms"]) == pytest.approx(density, rel=1e-11)
    at_ml = page["deviance"](page["fit_ml"].fe_params, page["at_ml"])
    assert at_ml == pytest.approx(-2 * page["fit_ml"].llf, rel=1e-9)


def test_the_chapters_estimator_ends_at_the_same_numbers(page: dict[str, Any]) -> None:
    four = page["four_fits"]
    # Nelder-Mead stops at 1e-10 of the criterion, statsmodels a little earlier
    np.testing.assert_allclose(four["by hand"], four["fit_lmm"], rtol=1e-9)
    np.testing.assert_allclose(four["statsmodels"], four["fit_lmm"], rtol=1e-7)
    np.testing.assert_allclose(page["sleep_beta"], [251.4051, 10.4673], atol=1e-4)


def test_rows_and_products_give_the_same_criterion(page: dict[str, Any]) -> None:
    for theta in (0.0, 0.4, 1.7):
        for reml in (False, True):
            from_products = page["criterion"]([theta], page["pilot_products"], reml)[0]
            assert from_products == pytest.approx(page["profiled"](theta, reml), rel=1e-11)


def test_ml_variances_are_smaller_on_the_pilot(page: dict[str, Any]) -> None:
    two = page["two"]
    assert two.loc["ML", "between"] < 0.9 * two.loc["REML", "between"]
    assert 0.95 < two.loc["ML", "within"] / two.loc["REML", "within"] < 1
    assert page["curves"]["ML"].argmin() < page["curves"]["REML"].argmin()


def test_error_contrasts_differ_from_reml_by_the_constant_alone(page: dict[str, Any]) -> None:
    assert page["contrast_gap"].max() < 1e-9
    np.testing.assert_allclose(page["shift"].iloc[0, :3], page["constant"], atol=1e-8)


def test_reml_is_less_biased_and_ml_scatters_less(page: dict[str, Any]) -> None:
    table = page["by_groups"].pivot(index="herds", columns="method")
    mean, mce, rmse = table["mean"], table["MC error"], table["RMSE"]
    assert (mean["ML"] < 200 - 2 * mce["ML"]).loc[[4, 8, 16, 50]].all()
    assert mean["ML"].is_monotonic_increasing and mean.loc[4, "ML"] < 150
    # the cut at zero lifts REML above the truth where zeros are common, here by up to 15
    assert ((mean["REML"] - 200).abs() < 15 + 4 * mce["REML"]).all()
    assert (rmse["ML"] < rmse["REML"]).loc[[4, 8, 16]].all()
    assert (table["zero (%)"]["ML"] >= table["zero (%)"]["REML"]).all()


@pytest.mark.parametrize(("herds", "cows"), [(8, 100), (400, 8)])
def test_more_groups_end_the_bias_and_more_members_do_not(
    page: dict[str, Any], herds: int, cows: int
) -> None:
    squares = page["mean_squares"](200, herds, studies=4000, m=cows)
    ml = page["ml_and_reml"](*squares, herds, m=cows)[0]
    error = ml.std() / np.sqrt(len(ml))
    assert abs(ml.mean() - 200 + (200 + 800 / cows) / herds) < 4 * error
    assert (200 - ml.mean() > 200 / herds - 3 * error) and (herds < 100 or 200 - ml.mean() < 5)


def test_the_quiz_on_the_bias_has_one_answer_at_its_icc() -> None:
    """Share of the variance that ML loses in the studies of the quiz, whose ICC is 0.2."""
    studies = [(400, 3, 2), (60, 200, 1), (10, 500, 5), (40, 50, 1)]
    lost = [p / G * (1 + 4 / m) for G, m, p in studies]
    assert np.argmax(lost) == 2 and lost[2] > 10 * max(lost[:2] + lost[3:])


def test_both_are_too_large_when_groups_hardly_differ(page: dict[str, Any]) -> None:
    ml, reml = page["biases"].T
    assert reml[0] > ml[0] > 5
    assert (reml > ml).all() and ml[-1] < -35
    assert ml[page["truths"] == 30] > -8 and ml[page["truths"] == 60] < 0
    # 40,000 studies a point: REML is nearly unbiased where zeros are rare
    assert page["worst_mc_error"] < 1.5 and abs(reml[-1]) < 4 * page["worst_mc_error"] + 3


def test_predictors_of_the_herd_cost_ml_the_variance_between(page: dict[str, Any]) -> None:
    many = page["many"]
    ml, reml = many["ML between"], many["REML between"]
    assert ml.iloc[2] < 75 and (reml - 200).abs().max() < 15
    assert many["ML within"].iloc[4] < 620 and (many["REML within"] - 800).abs().max() < 12
    assert max(page["error"]) < 3


def test_the_unit_of_a_predictor_moves_the_reml_criterion(page: dict[str, Any]) -> None:
    fits = page["fits"]
    gap = page["reml_cows"].criterion - page["reml_thousands"].criterion
    assert gap == pytest.approx(2 * np.log(1000), abs=1e-7)
    ml = [fits["ML", " + herd_size"].criterion, fits["ML", " + thousands"].criterion]
    assert ml[0] == pytest.approx(ml[1], abs=1e-8)
    assert page["gain_ml"] > 0 > page["gain_reml"]
    gain = page["gain"]
    assert gain["herd_size", "kg"] == pytest.approx(gain["thousands", "kg"], abs=1e-6)
    moved = gain["herd_size", "g"] - gain["herd_size", "kg"]
    assert moved == pytest.approx(2 * np.log(1000), abs=1e-6)


def test_only_kenward_roger_keeps_its_level_with_eight_herds(page: dict[str, Any]) -> None:
    ml, cows, thousands, kenward_roger = page["share"]
    # 1,000 replicates: a share of 5% has an MC error of 0.7 points
    assert ml > 0.07 and cows < 0.035 and thousands > 0.95
    assert 0.025 < kenward_roger < 0.08
    assert page["errors_of_tests"]["negative (%)"].iloc[1] > 50


def test_statsmodels_gives_the_likelihood_of_the_last_fit(page: dict[str, Any]) -> None:
    assert stands(CHAPTER, "by the method that its object was *last* fitted with")
    shared = page["pilot_model"]("milk_kg ~ parity")
    first = shared.fit(reml=False)
    shared.fit(reml=True)
    assert first.method == "ML"
    assert abs(first.llf - page["fit_ml"].llf) > 1
    # it is the REML log-likelihood at the theta that ML found
    assert first.llf == pytest.approx(reml_at_ml(page), abs=1e-6)


def test_the_python_side_runs_alone_and_gives_the_chapters_numbers(page: dict[str, Any]) -> None:
    alone = run_python(blocks(CHAPTER)[0])
    for name in ("fit_ml", "fit_reml"):
        assert alone[name].llf == pytest.approx(page[name].llf, rel=1e-9)
    for name, key in (("small", ""), ("large", " + herd_size")):
        assert alone[name].criterion == pytest.approx(page["fits"]["ML", key].criterion)


@needs_r
def test_the_r_side_runs_alone_and_gives_the_chapters_numbers(page: dict[str, Any]) -> None:
    found = run_r(
        blocks(CHAPTER)[1],
        "c(deviance(fit_ml), REMLcrit(fit_reml))",
        "c(VarCorr(fit_ml)$herd[1], VarCorr(fit_reml)$herd[1])",
        "anova(fit_reml, large)$Chisq[2]",
        "diff(AIC(fit_reml, large)$AIC)",
    )
    fits = page["fits"]
    ml, reml = fits["ML", ""], fits["REML", ""]
    np.testing.assert_allclose(found[0], [ml.criterion, reml.criterion], atol=1e-4)
    variances = [ml.cov_re.iloc[0, 0], reml.cov_re.iloc[0, 0]]
    np.testing.assert_allclose(found[1], variances, rtol=1e-3)
    assert found[2][0] == pytest.approx(page["gain_ml"], abs=1e-4)
    # AIC compares the REML criteria that can't be compared
    assert found[3][0] == pytest.approx(page["reml_cows"].aic - reml.aic, abs=1e-4)

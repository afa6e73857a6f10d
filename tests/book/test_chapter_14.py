"""Box-Cox run cell by cell: the profile with its Jacobian, REML's failure, the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from cells import run_chapter
from said import Page, Statement, each, stands
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import fit_lmm, plots, residuals


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("14-box-cox")


def test_the_profile_by_hand_is_the_helpers(page: dict[str, Any]) -> None:
    box = page["box"]
    by_hand = [page["lam_hat"], *page["limits"]]
    np.testing.assert_allclose(by_hand, [box.estimate, box.ci_low, box.ci_high], atol=1e-5)
    assert box.ci_low < 0 < box.ci_high < 0.5 and box.suggestion == 0


def test_a_linear_model_of_cost_breaks_its_assumptions(page: dict[str, Any]) -> None:
    assert page["mildest"]["ci_low"].iloc[0] < 0
    table = page["before_after"]
    assert table.loc["euro", "patients"] > 1 > 0.3 > abs(table.loc["log euro", "patients"])
    assert table.loc["euro", "funnel"] > 0.15 and abs(table.loc["log euro", "funnel"]) < 0.05
    assert table.loc["log euro", "hospitals"] < table.loc["euro", "hospitals"] < 0
    assert abs(page["without_c18"]) < 0.7


def test_without_the_jacobian_the_unit_chooses_the_power(page: dict[str, Any]) -> None:
    table = page["jacobian"].set_index("lambda")
    assert table["of z, euro"].idxmax() == -0.5 and table["of z, millions"].idxmax() == 1.0
    assert table["of y, euro"].idxmax() == table["of y, millions"].idxmax() == 0.0
    shift = table["of y, millions"] - table["of y, euro"]
    assert np.ptp(shift) < 1e-3


def test_reml_with_the_jacobian_depends_on_the_unit(page: dict[str, Any]) -> None:
    table = page["by_unit"].set_index(["data", "method", "scaled by"])
    spread = table.max(axis=1) - table.min(axis=1)
    # minimize_scalar's default xatol is 1e-5
    assert spread.drop([("all", "REML", "Jacobian"), ("small", "REML", "Jacobian")]).max() < 1e-3
    assert spread["all", "REML", "Jacobian"] > 0.02
    assert table.loc[("small", "REML", "Jacobian")].min() > 2.4
    ml, gm = table.loc[("all", "ML", "Jacobian")], table.loc[("all", "ML", "geometric mean")]
    np.testing.assert_allclose(ml, gm, atol=1e-3)


def test_the_interval_covers_in_small_studies(page: dict[str, Any]) -> None:
    # 250 replicates: Monte-Carlo error of 1.4 points at 95%
    assert np.all((page["hit"] > 0.89) & (page["hit"] < 0.99))
    assert page["coverage"]["SD"].min() > 0.2


def test_c18_is_the_cheapest_and_pushes_others_out_of_the_band(page: dict[str, Any]) -> None:
    u = residuals(page["fit_log"], level="group")
    assert u["residual"].idxmin() == "C18"
    assert 0.4 < np.exp(u["residual"].min()) < 0.6
    assert len(page["outside"]) > 1 and "C18" not in page["outside"]
    assert (u.loc[page["outside"], "standardised"].between(-0.5, 0)).all(), "on the inner side"


def test_means_need_half_of_both_variances(page: dict[str, Any]) -> None:
    share = page["share"]
    assert share["no correction"] < 0.93 < share["half of the within"] < 0.99
    assert abs(share["half of both"] - 1) < 0.015
    # 4,000 hospitals: about 0.4% Monte-Carlo error
    assert page["draws"].mean() == pytest.approx(page["mean_formula"], rel=0.02)
    assert np.median(page["draws"]) == pytest.approx(page["median_formula"], rel=0.02)
    assert page["by_quantiles"] == pytest.approx(page["mean_formula"], rel=1e-3)
    assert page["smeared"] == pytest.approx(page["mean_formula"], rel=0.02)


def test_the_mean_of_a_known_hospital_averages_over_what_is_unknown_of_it(
    page: dict[str, Any],
) -> None:
    known, rng = page["known"], np.random.default_rng(10)
    assert known["n"].tolist() == [3, 98, 0]
    assert known.loc["new", "mean"] == pytest.approx(page["mean_formula"])
    for name in ("C08", "C13"):
        # statsmodels' own conditional variance
        own = page["fit_log"].random_effects_cov[name].iloc[0, 0]
        assert known.loc[name, "variance"] == pytest.approx(own, rel=1e-9)
        sd = np.sqrt(page["sigma2"] + own)
        draws = np.exp(rng.normal(page["mu"] + known.loc[name, "estimate"], sd, 400_000))
        # Monte-Carlo error below 0.1%
        assert draws.mean() == pytest.approx(known.loc[name, "mean"], rel=0.004)


def test_other_remedies_and_edges(page: dict[str, Any]) -> None:
    assert page["gamma_ratio"][0] == pytest.approx(
        page["ratio"].loc["severity", "estimate"], rel=0.01
    )
    both = page["both"]
    assert both.loc["cost (mean)", "ci_low"] < 0 < both.loc["log cost (median)", "ci_low"]
    wide, box = page["wide"], page["box"]
    assert wide.ci_high - wide.ci_low > 5 * (box.ci_high - box.ci_low)


def test_not_a_few_dear_stays_make_the_icc_small(page: dict[str, Any]) -> None:
    """ "the ICC has risen"; "a few very dear stays are not the reason"."""
    euro, log = page["before_after"].loc[["euro", "log euro"], "ICC"]
    assert log > euro + 0.03
    assert abs(page["icc_without_dearest"] - euro) < 0.5 * (log - euro)


def out_of_band(z: Any) -> int:
    """How many points of a Q-Q plot lie outside its simultaneous band."""
    z = np.sort(np.asarray(z))
    band = plots.qq_band(len(z))
    return int(((z < band["low"]) | (z > band["high"])).sum())


def tails(p: Page, log: bool) -> pd.DataFrame:
    """Upper and lower tail of the larger hospitals; in small ones a tail is one patient."""
    cost = np.log(p["costs"]["cost"]) if log else p["costs"]["cost"]
    by = cost.groupby(p["costs"]["hospital"])
    found = pd.DataFrame({"median": by.median()})
    found["up"], found["down"] = by.quantile(0.95) - by.median(), by.median() - by.quantile(0.05)
    return found[by.size() >= 50]


def tails_grow(p: Page) -> bool:
    found = tails(p, log=False)
    return found.corr().loc["median", "up"] > 0.6 and (found["up"] > 1.3 * found["down"]).all()


def both_have_gone(p: Page) -> bool:
    found = tails(p, log=True)
    ratio = (found["up"] / found["down"]).median()
    return abs(found.corr().loc["median", "up"]) < 0.5 and 0.85 < ratio < 1.15


def raw_residuals(p: Page) -> bool:
    z = residuals(p["fit_raw"])["conditional_std"]
    return z.min() > -3 and round(z.max()) == 5


def bends_away(p: Page) -> bool:
    z = np.sort(residuals(p["fit_raw"])["conditional_std"])
    band = plots.qq_band(len(z))
    return z[0] > band["high"].iloc[0] and z[-1] > band["high"].iloc[-1] and out_of_band(z) > 500


def column(p: Page, name: str) -> pd.Series:
    return p["jacobian"].set_index("lambda")[name]


def by_thousands(p: Page) -> bool:
    z = column(p, "of z, euro")
    return z.sort_values().diff().iloc[-1] > 1000 and z.idxmax() == z.index.min()


def same_order(p: Page) -> bool:
    one, two = column(p, "of y, euro"), column(p, "of y, millions")
    return (one.rank() == two.rank()).all() and np.ptp(two - one) < 1e-3


def far_outside(p: Page) -> bool:
    """More than twice the width of the interval away from its end."""
    box = p["box"]
    return box.ci_low < 0 < box.ci_high < 0.5 - 2 * (box.ci_high - box.ci_low)


def reml_near_ml(p: Page) -> bool:
    t = p["by_unit"].set_index(["data", "method", "scaled by"])["euro"]
    return all(
        abs(t[d, "REML", "geometric mean"] - t[d, "ML", "Jacobian"]) < 0.02
        for d in ("all", "small")
    )


def harm_is_small(p: Page) -> bool:
    """Less than the half-width of the interval."""
    t = p["by_unit"].set_index(["data", "method", "scaled by"]).loc[("all", "REML", "Jacobian")]
    half = (p["box"].ci_high - p["box"].ci_low) / 2
    return 0.01 < (t - p["box"].estimate).abs().max() < half


def after(p: Page) -> bool:
    u = residuals(p["fit_log"], level="group")["standardised"].rank()
    return (
        out_of_band(residuals(p["fit_log"])["conditional_std"]) == 0
        and len(p["outside"]) == 2
        and (u[p["outside"]] < 13).all()
        and u.idxmin() == "C18"
    )


def spread_within_grows(p: Page) -> bool:
    big = p["costs"].groupby("hospital").filter(lambda d: len(d) >= 20).groupby("hospital")
    raw, log = (np.corrcoef(big[c].mean(), big[c].std())[0, 1] for c in ("cost", "log_cost"))
    return raw > 0.7 and abs(log) < 0.4


def plus_one(p: Page) -> bool:
    """The effect of a grade under log(y + 1), with y in euro and in million euro."""
    slopes = []
    for unit in (1, 1e6):
        data = p["costs"].assign(z=np.log(p["costs"]["cost"] / unit + 1))
        slopes.append(fit_lmm("z" + p["rhs"], data, "hospital").fe_params["severity"])
    return slopes[0] > 10 * slopes[1]


STATEMENTS: list[Statement] = [
    ("the cheap stays crowd together, and the tails grow with the median", tails_grow),
    ("On the right both have gone.", both_have_gone),
    ("vertical axis cost in thousand euro from 0 to 26", lambda p: 25e3 < p["y"].max() < 26e3),
    ("A negative cost is possible by this model.", lambda p: p["mildest"]["ci_low"].iloc[0] < 0),
    ("with residuals up to about 5 but none below minus 3", raw_residuals),
    ("the points bend away above the line at both ends, far outside the narrow band", bends_away),
    (
        "the spread grows with the mean, and the residuals are skewed to the right.",
        lambda p: (
            p["before_after"].loc["euro", "funnel"] > 0.15
            and p["before_after"].loc["euro", "patients"] > 1
        ),
    ),
    ("the smallest power wins by thousands", by_thousands),
    (
        "the largest power wins",
        lambda p: column(p, "of z, millions").idxmax() == 1 == p["jacobian"]["lambda"].max(),
    ),
    ("agree on the order, and differ by the same amount in each row", same_order),
    (
        "The logarithm lies inside, the square root and the untransformed cost far outside",
        far_outside,
    ),
    ("With all patients the harm is small", harm_is_small),
    (
        "in the small study the search runs to its end",
        lambda p: (p["by_unit"].iloc[6, 3:].astype(float) > 2.49).all(),
    ),
    ("doesn't depend on the unit, and comes close to ML", reml_near_ml),
    (
        "scaled by the geometric mean does no worse",
        lambda p: p["hit"][1] > p["hit"][0] - 2 * 0.014,
    ),
    (
        "can't tell a logarithm from a square root",
        lambda p: 1.96 * p["coverage"]["SD"].min() > 0.5,
    ),
    ("two in the lower half leave the band on its inner side", after),
    (
        "Funnel and skewness have gone from the patients.",
        lambda p: p["before_after"].loc["log euro", ["patients", "funnel"]].abs().max() < 0.15,
    ),
    (
        "the variance within hospitals grows with the mean, and one number for it hides",
        spread_within_grows,
    ),
    (
        "more skewed than before, though, and one of them does it: C18, the cheapest",
        lambda p: (
            p["before_after"]["hospitals"].abs().idxmax() == "log euro"
            and abs(p["without_c18"]) < 0.5 * abs(p["before_after"].loc["log euro", "hospitals"])
        ),
    ),
    (
        "as the spread is the same everywhere",
        lambda p: abs(p["before_after"].loc["log euro", "funnel"]) < 2 / np.sqrt(p["n"]),
    ),
    (
        "The less you know of a hospital, the larger the correction.",
        lambda p: (p["known"].sort_values("n")["variance"].diff().iloc[1:] < 0).all(),
    ),
    (
        "because the spread of log cost doesn't depend on severity here",
        lambda p: (
            abs(
                np.corrcoef(
                    residuals(p["fit_log"])["conditional_std"].abs(), p["costs"]["severity"]
                )[0, 1]
            )
            < 2 / np.sqrt(p["n"])
        ),
    ),
    (
        "makes the result depend on the constant and on the unit",
        plus_one,
    ),
    (
        "a power is nearly a straight line over the range of the data",
        lambda p: np.corrcoef(y := np.linspace(1, 2, 200), np.log(y))[0, 1] > 0.99,
    ),
    (
        "euro for such a patient, inside the interval.",
        lambda p: p["of_mean"]["ci_low"] < np.exp(8.8175) < p["of_mean"]["ci_high"],
    ),
    ("% of the squared error, hardly anything.", lambda p: share_of_v(p) < 0.05),
    (
        "so what @eq-bc-cox adds is $\\sigma_g^2 / 2$ times the first part,",
        lambda p: np.isclose(p["var_v"] / 4 / p["se_mu"] ** 2, p["sigma2_g"] / 2, rtol=0.25),
    ),
    (
        "the limits of the median mostly miss the mean,",
        lambda p: (p["of_three"].loc["limits of the median"] < 50).all(),
    ),
    (
        "With the fitted variances it makes no difference whether they count as known; with a "
        "variance of one between hospitals it does, and Cox's interval is the better one.",
        lambda p: (
            abs(p["of_three"]["as fitted"].diff()["Cox's"]) < 1.5
            and p["of_three"]["variance 1"].diff()["Cox's"] > 4
        ),
    ),
    (
        "It comes close to its promise.",
        lambda p: (abs(p["of_three"].loc["Cox's"] - 95) < 3).all(),
    ),
    (
        "and holds $1$: leave recovery alone.",
        lambda p: p["recovery_box"].ci_low > 0 and p["recovery_box"].ci_high > 1,
    ),
    (
        "It is much wider than that of cost, because the largest score is less than twice the "
        "smallest,",
        lambda p: (
            np.ptp([p["recovery_box"].ci_low, p["recovery_box"].ci_high])
            > 4 * (p["box"].ci_high - p["box"].ci_low)
            and p["costs"]["recovery"].max() < 2 * p["costs"]["recovery"].min()
        ),
    ),
    (
        "The recovery score of the same patients is an outcome between some $50$ and $90$ points.",
        lambda p: p["costs"]["recovery"].between(50, 90).all(),
    ),
    (
        "and an interval that is narrower than hers but far from $1/\\sqrt{200}$ of it,",
        lambda p: (
            1 > (p["high_sum"] - p["low_sum"]) / (p["her"]["ci_high"] - p["her"]["ci_low"]) > 0.3
        ),
    ),
]


def share_of_v(p: Page) -> float:
    return p["var_v"] / 4 / p["se_theta"] ** 2


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(page: Page, fragment: str, holds: Any) -> None:
    assert stands("14-box-cox", fragment), "the chapter no longer says so"
    assert holds(page)


MISSING_BY = {  # chance that the grade is missing, from severity and the log cost
    "severity": lambda severity, z: 0.15 * severity,
    "cost": lambda severity, z: 1 / (1 + np.exp(-4 * (z - z.mean()))),
}


@pytest.mark.parametrize("by", MISSING_BY)
def test_complete_rows_are_right_unless_missing_depends_on_cost(by: str) -> None:
    """ "doesn't depend on cost. It may depend on the severity itself" and what follows it."""
    assert stands("14-box-cox", "whether a grade is missing doesn't depend on cost.")
    assert stands("14-box-cox", "If grades are missing more often among dear stays")
    rng, slopes = np.random.default_rng(10), []
    hospital = np.repeat(np.arange(25), 40)
    for _ in range(60):
        severity = rng.integers(1, 6, hospital.size)
        u, e = rng.normal(0, 0.23, 25)[hospital], rng.normal(0, 0.42, hospital.size)
        data = pd.DataFrame({"z": 8 + 0.135 * severity + u + e, "severity": severity})
        gone = rng.random(hospital.size) < MISSING_BY[by](severity, data["z"])
        data["hospital"] = hospital
        slopes.append(fit_lmm("z ~ severity", data[~gone], "hospital").fe_params["severity"])
    off = np.mean(slopes) - 0.135
    error = np.std(slopes) / np.sqrt(len(slopes))
    if by == "cost":
        assert off < -8 * error and off < -0.02
    else:
        assert abs(off) < 3 * error


def test_the_plain_sandwich_is_too_small_on_average_with_25_groups() -> None:
    """ "the usual cluster-robust standard error is too small", the reduced one less so.

    A predictor of the group, 300 studies: a mean of squares over a variance is known to a tenth.
    """
    import statsmodels.api as sm

    assert stands("14-box-cox", "the usual cluster-robust standard error is too small")
    rng, found = np.random.default_rng(25), []
    group = np.repeat(np.arange(25), 6)
    for _ in range(300):
        x = rng.exponential(size=25)[group]
        y = rng.normal(size=25)[group] + rng.normal(size=group.size)
        fit = sm.GEE(y, sm.add_constant(x), group).fit(cov_type="bias_reduced")
        errors = [fit.standard_errors(kind)[1] for kind in ("robust", "bias_reduced")]
        found.append([fit.params[1], *errors])
    slope, plain, reduced = np.array(found).T
    assert (plain**2).mean() < 0.88 * slope.var() and (reduced > plain).all()
    assert (plain**2).mean() < (reduced**2).mean()


def test_the_python_side_runs_alone_and_gives_the_chapters_numbers(page: dict[str, Any]) -> None:
    alone, box = run_python(blocks("14-box-cox")[0]), page["box"]
    own = [alone["box"].estimate, alone["box"].ci_low, alone["box"].ci_high]
    np.testing.assert_allclose(own, [box.estimate, box.ci_low, box.ci_high], atol=1e-5)
    ours = np.exp(alone["fit_log"].fe_params)
    np.testing.assert_allclose(ours[page["ratio"].index], page["ratio"]["estimate"], rtol=1e-5)


@needs_r
def test_the_r_side_gives_the_same_numbers(page: dict[str, Any]) -> None:
    power, limits, ratios = run_r(
        blocks("14-box-cox")[1], "best$maximum", "limits", "exp(fixef(fit_log))"
    )
    box = page["box"]
    # R's optimize and uniroot stop at 1e-4 of their range
    np.testing.assert_allclose(
        [*power, *limits], [box.estimate, box.ci_low, box.ci_high], atol=1e-3
    )
    terms = ["Intercept", "severity", "age"]
    np.testing.assert_allclose(ratios, page["ratio"].loc[terms, "estimate"], rtol=1e-4)


def test_the_interval_of_a_mean_by_hand_is_the_helpers(page: dict[str, Any]) -> None:
    helper = page["of_mean"][["ci_low", "ci_high"]].to_numpy(dtype=float)
    np.testing.assert_allclose(page["cox"], helper, rtol=2e-3)


def test_the_mended_budget_pays_the_bill(page: dict[str, Any]) -> None:
    paid = page["costs"]["cost"].sum()
    assert page["mended_budget"] == pytest.approx(paid, rel=0.02)
    assert 8 < page["unpaid"] < 12


@needs_r
def test_r_gives_the_interval_of_the_mean(page: dict[str, Any]) -> None:
    """lmerTest's covariance of theta and sigma, carried to the sum of both variances."""
    code = """
suppressMessages(library(lmerTest))
costs <- subset(read.csv("datasets/hospital_costs.csv"), !is.na(severity))
fit <- lmer(log(cost) ~ severity + age + (1 | hospital), costs)
theta <- getME(fit, "theta"); s <- sigma(fit)
slope <- c(2 * theta * s^2, 2 * s * (theta^2 + 1))
x <- c(1, 3, 60)
error <- sqrt(x %*% vcov(fit) %*% x + slope %*% fit@vcov_varpar %*% slope / 4)
centre <- sum(x * fixef(fit)) + s^2 * (theta^2 + 1) / 2
limits <- exp(centre + c(-1, 1) * qnorm(0.975) * c(as.matrix(error)))
"""
    (limits,) = run_r(code, "limits")
    helper = page["of_mean"][["ci_low", "ci_high"]].to_numpy(dtype=float)
    np.testing.assert_allclose(helper, limits, rtol=1e-3)

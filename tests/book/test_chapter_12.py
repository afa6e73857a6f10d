"""Diagnostics run cell by cell: residuals by hand, five violations and what they cost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cells import CHAPTERS, run_chapter
from said import Page, Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import blups, coef_table, plots, refit, residuals


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("12-diagnostics")


def test_residuals_by_hand_are_the_helpers(page: dict[str, Any]) -> None:
    fit = page["fit_good"]
    cows, herds = residuals(fit), residuals(fit, level="group")
    np.testing.assert_allclose(page["r"], cows["marginal"], atol=1e-9)
    np.testing.assert_allclose(page["e"], cows["conditional"], atol=1e-9)
    np.testing.assert_allclose(page["u_hat"], herds["residual"], atol=1e-9)
    for raw, variance, standard in [
        ("r", "var_r", cows["marginal_std"]),
        ("u_hat", "var_u", herds["standardised"]),
        ("e", "var_e", cows["conditional_std"]),
    ]:
        np.testing.assert_allclose(page[raw] / np.sqrt(page[variance]), standard, atol=1e-9)


def test_the_sound_model_looks_sound(page: dict[str, Any]) -> None:
    assert page["outside"].sum() == 0
    # of 20,000 samples: 5% is what a simultaneous band promises
    assert page["left"]["simultaneous"] == pytest.approx(5, abs=0.7)
    assert page["left"]["pointwise"] > 30 and page["left"]["raw"] < 1, "almost anything"
    spread = page["spread"](page["fit_good"])["SD"]
    assert spread.between(0.9, 1.1).all()


def test_leaving_a_herd_out_by_hand_is_influence(page: dict[str, Any]) -> None:
    top = page["top"]
    assert page["D_top"] == pytest.approx(page["left_out"].loc[top, "cooks_distance"], rel=1e-3)
    changed = page["left_out"].loc[top, "beta[feeding[T.confined]]"]
    share = abs(changed - page["confined"]["estimate"]) / page["confined"]["std_error"]
    assert 0.4 < share < 0.6  # "about half its standard error"


def test_residuals_tilt_by_shrinkage_alone(page: dict[str, Any]) -> None:
    assert page["gap"] < 1e-9
    assert page["slope_full"] > 0.03 and abs(page["slope_marginal"]) < 1e-6


def test_correlations_with_predictors_in_the_model_are_zero(page: dict[str, Any]) -> None:
    assert np.abs(page["corr_cows"]).max() < 1e-9
    assert np.abs(page["feeding_sums"]).max() < 1e-9
    assert page["corr_curved"] < 1e-9
    assert page["gap_late"] < -10


def test_shrinkage_hides_the_shape_of_the_herds(page: dict[str, Any]) -> None:
    share = [float(cell.split()[0]) for cell in page["masking"]["exponential"]]
    # 4,000 studies: Monte-Carlo error below 0.8 points
    assert np.all(np.diff(share) > 0) and share[0] < 16 and share[-1] > 80
    normal = [float(cell.split()[0]) for cell in page["masking"]["normal"]]
    assert normal == pytest.approx([5.0] * 5, abs=1.2)
    u = blups(page["fits"]["skewed"])["estimate"]
    assert ((u - u.mean()) ** 3).mean() > 0
    assert 0 < page["bow_out"] < 5, "a few leave the band, as the text of the figure says"


def test_weights_recover_three_standard_deviations(page: dict[str, Any]) -> None:
    np.testing.assert_allclose(page["sd_hat"], [16, 26, 36], rtol=0.12)
    assert page["drop"] > 50
    assert (page["se"].loc[["parity", "dtfs"], "ratio"] < 0.95).all()
    assert page["se"].loc["feeding[T.confined]", "ratio"] > page["se"].loc["parity", "ratio"]
    sd = page["spread"](page["fits"]["unequal"])["SD"]
    assert sd["pasture"] < 0.75 < 1.15 < sd["confined"]
    by_rows = page["fit_scaled"].criterion - np.log(page["w"]).sum()
    assert by_rows == pytest.approx(page["weighted"](page["best"].x).criterion, abs=1e-6)
    # the search by hand stops where the criterion changes by less than 1e-4
    assert by_rows == pytest.approx(page["fit_weighted"].criterion, abs=2e-4)
    ours = page["fit_weighted"].fe_params
    np.testing.assert_allclose(page["fit_scaled"].fe_params, ours, rtol=1e-3)


def test_one_herd_hides_the_effect_of_feeding(page: dict[str, Any]) -> None:
    values = page["cook"]["outlying"]
    assert values.idxmax() == "H30" and values.max() > 3 * page["cook"]["milk_kg"].max()
    sound, outlying, without = (fit.cov_re.iloc[0, 0] for fit in page["three"].values())
    assert outlying > 2 * sound and without < 1.3 * sound
    table = page["counts"]
    assert table.loc["H30", "marginal"] > 0.5 * table.loc["H30", "cows"]
    assert table.loc["H30", "conditional"] < 0.2 * table.loc["H30", "cows"]


def test_one_cow_can_carry_her_herd_to_the_top(page: dict[str, Any]) -> None:
    assert page["slip"].loc["after", "rank"] == page["G"]
    assert page["slip"].loc["after", "herd mates"] < 0 < page["slip"].loc["before", "herd mates"]


def test_the_line_misses_what_square_and_steps_find(page: dict[str, Any]) -> None:
    answers = page["answers"].astype(float)
    assert answers.loc["line", "ci_low"] < 0 < answers.loc["line", "ci_high"]
    assert answers.loc["squared", "ci_high"] < 0 and answers.loc["categories", "ci_high"] < 0
    aic = page["aic"]
    assert aic[1] < aic[0] - 10 and aic[2] < aic[0] - 10


def test_what_the_violations_cost(page: dict[str, Any]) -> None:
    run = page["runs"].groupby("data", sort=False)
    confined, parity = run["confined estimate"].mean() - 20, run["parity estimate"].mean() - 6
    between = run["between"]
    # 250 replicates: Monte-Carlo errors of 0.34 kg, 0.03 kg per parity and 2 to 5 kg squared
    fine = ["sound", "skewed", "unequal", "weighted", "left out", "dependent", "pens"]
    assert confined[fine].abs().max() < 1.4 and parity[fine].abs().max() < 0.15
    assert confined["outlying"] < -4
    assert parity["curved"] < -0.1 and abs(parity["squared"]) < 0.12
    assert between.std()["skewed"] > 1.4 * between.std()["sound"]
    assert between.mean()["outlying"] > 1.7 * between.mean()["sound"]
    held = run.apply(
        lambda d: ((d["confined low"] <= 20) & (d["confined high"] >= 20)).mean(),
        include_groups=False,
    )
    assert held.between(0.9, 0.995).all()


def test_influence_belongs_to_a_coefficient(page: dict[str, Any]) -> None:
    """ "confined feeding does not hang on one herd; mixed feeding does"."""
    assert page["hanging"]["confined"] == 0 and page["lower"]["confined"].min() > 0
    assert page["hanging"]["mixed"] >= 1
    assert page["lower"].shape == (page["G"], 2)


def test_a_scale_error_shows_in_the_herds_own_residuals(page: dict[str, Any]) -> None:
    """ "a larger share than in the other herds"."""
    counts = page["counts"]
    share = counts["conditional"] / counts["cows"]
    assert share["H30"] > 2 * share["other herds"]


def test_a_plot_of_blups_that_are_all_zero_is_refused(page: dict[str, Any]) -> None:
    """ "there is no group level to look at, and `plots.qq` says so"."""
    few = page["few"]
    means = few.groupby("herd", observed=True)["milk_kg"].transform("mean")
    flat = refit(page["fit_few"], few["milk_kg"] - means)
    with pytest.raises(ValueError, match="all BLUPs are 0"):
        plots.qq(flat, level="group")


@pytest.mark.parametrize("spline", ["bs(dtfs, df=4)", 'cr(dtfs, df=4, constraints="center")'])
def test_the_splines_of_the_text_run_and_bend(page: dict[str, Any], spline: str) -> None:
    fit = page["fit_lmm"](f"curved ~ parity + {spline} + feeding", page["dairy"], groups="herd",
                          reml=False)  # fmt: skip
    line = page["fit_lmm"]("curved ~ parity + dtfs + feeding", page["dairy"], "herd", reml=False)
    assert fit.converged and line.criterion - fit.criterion > 10


def test_the_spline_without_the_constraint_is_refused(page: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cr"):
        page["fit_lmm"]("curved ~ cr(dtfs, df=4)", page["dairy"], groups="herd")


def test_unequal_spread_spoils_intervals_within_one_kind(page: dict[str, Any]) -> None:
    """ "It fails where an effect belongs to one kind of cow"; "Weights repair that"."""
    one, three = page["held"]["one"], page["held"]["three"]
    # 250 replicates: Monte-Carlo error 1.4 points at 95 %
    assert one[0] > 98.5 and one[2] < 91 and np.all((three > 91) & (three < 99))


def test_blups_show_the_short_side_of_skewed_herds_and_not_the_long_one(
    page: dict[str, Any],
) -> None:
    """ "the lower end comes out nearly right, the long upper tail too short"."""
    rng, ends = np.random.default_rng(5), []
    for _ in range(60):
        found = blups(refit(page["fits"]["skewed"], page["draw"](rng)["skewed"]))
        if (found["shrinkage"] > 0).all():
            scaled = found["estimate"] / np.sqrt(found["shrinkage"])
            ends.append([*found["estimate"].quantile([0.025, 0.975]), scaled.quantile(0.975)])
    # exponential herds with variance 150 and mean 0
    lower, upper = (np.sqrt(150) * (-np.log(1 - at) - 1) for at in (0.025, 0.975))
    low, high, scaled_high = np.median(ends, axis=0)
    normal = 1.96 * np.sqrt(150)
    assert abs(low - lower) < 0.4 * abs(-normal - lower)
    assert high < scaled_high < 0.9 * upper


def out_of_band(z: Any, kind: str = "simultaneous") -> int:
    """How many points of a Q-Q plot lie outside its band."""
    z = np.sort(np.asarray(z))
    band = plots.qq_band(len(z), band=kind)
    return int(((z < band["low"]) | (z > band["high"])).sum())


def gaps_of_means(p: Page) -> bool:
    gaps = np.diff(np.sort(p["milk_mean"]))
    low, high = p["milk_mean"].min(), p["milk_mean"].max()
    return round(low) == 139 and round(high) == 211 and round(gaps[0]) == 11 == round(max(gaps))


def bars_are_alike(p: Page) -> bool:
    ratio = p["milk_sd"] / p["milk_sd"].median()
    away = p["dairy"]["milk_kg"] - p["dairy"]["herd"].map(p["milk_mean"]).astype(float)
    return ratio.between(0.75, 1.33).mean() > 0.9 and away.abs().max() < 4 * p["milk_sd"].mean()


def truth_is_the_codebooks(p: Page) -> bool:
    package = json.loads((CHAPTERS.parent / "datasets" / "datapackage.json").read_text("utf-8"))
    models = next(r for r in package["resources"] if r["name"] == "dairy_herds")["truth"]
    full = max(models, key=lambda m: len(m["fixed"]))
    stated = [*full["fixed"].values(), *full["random"].values()]
    return all(v in stated for v in (169, 6, -0.2, 10, 20, 150, 700))


def smooth(p: Page, outcome: str) -> pd.Series:
    """Mean standardised residual in eight ranges of days."""
    edges = pd.cut(p["dairy"]["dtfs"], [0, 55, 65, 75, 85, 95, 105, 120, 200], labels=False)
    return residuals(p["fits"][outcome])["conditional_std"].groupby(edges).mean()


def herd_z(fit: Any) -> pd.Series:
    return residuals(fit, level="group")["standardised"]


def bow(p: Page) -> bool:
    above = p["bow"] - stats.norm.ppf((np.arange(1, 51) - 0.5) / 50)
    return (above[:3] > 0).all() and (above[-3:] > 0).all() and (above[15:35] < 0).all()


def box_heights(p: Page, outcome: str) -> np.ndarray:
    z = residuals(p["fits"][outcome])["conditional_std"]
    by = z.groupby(p["dairy"]["feeding"], observed=True)
    return (by.quantile(0.75) - by.quantile(0.25)).to_numpy()


def a_constant_leaves_no_trace(p: Page) -> bool:
    """H30 with a constant in place of a factor, of the same mean size."""
    milk, odd = p["dairy"]["milk_kg"], p["in_h30"]
    shifted = refit(p["fits"]["milk_kg"], milk + np.where(odd, milk[odd].mean() / 2, 0))
    before = residuals(p["fits"]["milk_kg"])["conditional_std"][odd].abs() > 2
    after = residuals(shifted)["conditional_std"][odd].abs() > 2
    return after.sum() <= before.sum() + 1 < p["counts"].loc["H30", "conditional"]


def three_intervals(p: Page) -> dict[str, pd.DataFrame]:
    rows = ["feeding[T.mixed]", "feeding[T.confined]"]
    return {name: coef_table(fit).loc[rows] for name, fit in p["three"].items()}


def h30_does_what_is_said(p: Page) -> bool:
    t = three_intervals(p)
    width = {name: c["ci_high"] - c["ci_low"] for name, c in t.items()}
    fall = t["outlying"]["estimate"] < t["sound"]["estimate"]
    between = {name: fit.cov_re.iloc[0, 0] for name, fit in p["three"].items()}
    return (
        p["dairy"].loc[p["in_h30"], "feeding"].eq("pasture").all()
        and fall.all()
        and (width["outlying"] > 1.3 * width["sound"]).all()
        and between["outlying"] > 2 * between["sound"]
    )


def significance_is_lost(p: Page) -> bool:
    t = three_intervals(p)
    return t["sound"]["ci_low"].iloc[1] > 0 > t["outlying"]["ci_low"].iloc[1]


def just_inside(p: Page) -> bool:
    low, high = p["bent"]["ci_low"], p["bent"]["ci_high"]
    return low < -0.01 < low + 0.1 * (high - low)


def runs_of(p: Page, name: str) -> pd.DataFrame:
    return p["runs"][p["runs"]["data"] == name]


def covers(run: pd.DataFrame, term: str, true: float) -> float:
    return ((run[f"{term} low"] <= true) & (run[f"{term} high"] >= true)).mean()


def skewed_are_as_good(p: Page) -> bool:
    """250 replicates: a coverage has a Monte-Carlo error of 1.4 points, a bias of its own SE."""
    run = runs_of(p, "skewed")
    fine = [
        abs(run[f"{term} estimate"].mean() - true) < 3 * run[f"{term} estimate"].sem()
        and covers(run, term, true) > 0.95 - 3 * 0.014
        for term, true in (("confined", 20), ("parity", 6))
    ]
    return all(fine)


def remedies_return(p: Page) -> bool:
    for name in ("weighted", "left out", "squared", "pens"):
        run, sound = runs_of(p, name), runs_of(p, "sound")
        for term, true in (("confined", 20), ("parity", 6)):
            off = run[f"{term} estimate"].mean() - sound[f"{term} estimate"].mean()
            if abs(off) > 3 * np.hypot(*(r[f"{term} estimate"].sem() for r in (run, sound))):
                return False
            if abs(covers(run, term, true) - covers(sound, term, true)) > 3 * 0.02:
                return False
    better = runs_of(p, "weighted")["parity se"].mean() / runs_of(p, "sound")["parity se"].mean()
    return better < 0.95


def wide_covers(p: Page) -> bool:
    run, sound = runs_of(p, "outlying"), runs_of(p, "sound")
    return (
        covers(run, "confined", 20) > 0.9
        and run["confined se"].mean() > 1.25 * sound["confined se"].mean()
        and 1.7 < run["between"].mean() / sound["between"].mean() < 2.5
    )


def parity_picks_up_the_bend(p: Page) -> bool:
    """Correlation and bias have one sign, since the line leaves the bend to parity."""
    bias = runs_of(p, "curved")["parity estimate"].mean() - 6
    return bias < -3 * runs_of(p, "curved")["parity estimate"].sem() and (
        np.corrcoef(p["dairy"]["parity"], p["bend"])[0, 1] < 0
    )


def blups_understate(p: Page) -> bool:
    on_means = np.polyfit(p["herds"]["dtfs"].mean(), p["u_hat"], 1)[0]
    return abs(on_means) < abs(p["extra"]["estimate"])


def many_few(p: Page) -> bool:
    """Some 5 % of the points, in about seven of ten samples of 60; plain limits hold them all."""
    z = p["standardised"](np.random.default_rng(60).normal(size=(4000, 60)))
    band = plots.qq_band(60, band="pointwise")
    out = (z < band["low"].to_numpy()) | (z > band["high"].to_numpy())
    k = np.arange(1, 61)
    low, high = (stats.norm.ppf(stats.beta.ppf(q, k, 61 - k)) for q in (0.025, 0.975))
    plain = ((z < low) | (z > high)).sum(axis=1)
    # 4,000 samples: Monte-Carlo errors of 0.1 points and of less than one per cent
    return (
        abs(out.sum(axis=1).mean() - 3) < 0.4
        and out.any(axis=1).mean() > 0.6
        and plain.mean() < 0.3
        and (plain >= 2).mean() < 0.05
    )


def maternity_units(p: Page) -> bool:
    """28 units of 107 children with exponential effects, by the chapter's own simulation."""
    rng, held = np.random.default_rng(28), []
    for rho in (0.01, 0.03):
        lam = rho / (rho + (1 - rho) / (3000 / 28))
        held.append(lam)
        u, luck = rng.exponential(size=(2000, 28)) - 1, rng.normal(size=(2000, 28))
        z = p["standardised"](np.sqrt(lam) * u + np.sqrt(1 - lam) * luck)
        if p["leaves"](z, plots.qq_band(28)).mean() > 0.5:
            return False
    return 0.45 < held[0] < 0.55 and 0.7 < held[1] < 0.8


def nobody_below(p: Page) -> bool:
    return p["skew_u"].min() > -1.96 * p["sd_skew"]


def luck_keeps_the_third_moment(p: Page) -> bool:
    """Exponential and normal parts of one variance: lambda is a half (MC error 0.01)."""
    one, two = np.random.default_rng(3).normal(size=(2, 400_000))
    drawn = np.random.default_rng(4).exponential(size=400_000)
    kept = stats.skew(drawn + one) / stats.skew(drawn)
    return abs(kept - 0.5**1.5) < 0.03 and abs(stats.skew(one + two)) < 0.02


def leverages(p: Page) -> bool:
    """From the matrix of the fit: how the fitted values move with the outcomes."""
    same = p["code"][:, None] == p["code"][None, :]
    V = p["sigma2_g"] * same + p["sigma2"] * np.eye(len(p["code"]))
    solved = np.linalg.solve(V, p["X"])
    P = np.linalg.inv(V) - solved @ np.linalg.solve(p["X"].T @ solved, solved.T)
    leverage = 1 - p["sigma2"] * np.diag(P)
    return np.allclose(p["var_e"], p["sigma2"] * (1 - leverage)) and leverage.max() < 0.2


def practices_hide_their_shape(p: Page) -> bool:
    """200 practices with exponential effects and a lambda of one quarter."""
    rng = np.random.default_rng(200)
    u, luck = rng.exponential(size=(2000, 200)) - 1, rng.normal(size=(2000, 200))
    z = p["standardised"](0.5 * u + np.sqrt(0.75) * luck)
    return p["leaves"](z, plots.qq_band(200)).mean() < 0.3


def steeper(p: Page) -> bool:
    by_pen = residuals(p["fits"]["dependent"])["conditional_std"].groupby(p["dairy"]["pen"])
    scaled = by_pen.sum() / np.sqrt(by_pen.size())
    return len(scaled) == 223 and scaled.min() < -3 and scaled.max() > 3 and scaled.std() > 1.3


def parity_lives_between_pens(p: Page) -> bool:
    """Share of the variance of parity within herds that lies between pens."""
    parity = p["dairy"]["parity"] - p["herds"]["parity"].transform("mean")
    in_pens = parity.groupby(p["dairy"]["pen"]).transform("mean")
    return in_pens.var() / parity.var() > 0.8 and p["pen"].max() + 1 < len(parity) / 5


def pens_widen(p: Page) -> bool:
    se, run = p["se_parity"], runs_of(p, "dependent")
    true = run["parity estimate"].std()
    return (
        min(se["pen"], se["robust"]) > 1.25 * se["herd"]
        # 250 replicates: a standard deviation is known to 5 %
        and run["parity se"].mean() < 0.8 * true
        and covers(run, "parity", 6) < 0.88 < 0.9 < covers(runs_of(p, "pens"), "parity", 6)
    )


def feeding_loses_nothing(p: Page) -> bool:
    run = runs_of(p, "dependent")
    took_up = run["between"].mean() > runs_of(p, "pens")["between"].mean()
    return covers(run, "confined", 20) > 0.95 - 3 * 0.014 and took_up


def quiz_herd(p: Page) -> bool:
    z = herd_z(refit(p["fits"]["milk_kg"], p["low_h17"]))
    band = plots.qq_band(len(z))
    others = z.sort_values().to_numpy()[1:]
    inside = (others >= band["low"].iloc[1:]) & (others <= band["high"].iloc[1:])
    return z.idxmin() == "H17" and -4.6 < z.min() < -3.5 and inside.all()


def quiz_fan(p: Page) -> bool:
    found = residuals(refit(p["fits"]["milk_kg"], p["fan"]))
    x, z = found["fitted_marginal"], found["conditional_std"]
    parts = z.groupby(pd.qcut(x, 6, labels=False))
    wide = parts.std()
    return 2.4 < wide.iloc[-1] / wide.iloc[0] < 3 and parts.mean().abs().max() < 0.25


STATEMENTS: list[Statement] = [
    (
        "independent cows give values with a standard deviation just below $1$",
        lambda p: 0.8 < p["pen_sd"]["milk_kg"] < 1,
    ),
    ("the points are clearly steeper than the diagonal, from below minus 3 to above 3", steeper),
    (
        "No plot of single cows shows it",
        lambda p: out_of_band(residuals(p["fits"]["dependent"])["conditional_std"]) == 0,
    ),
    ("so parity varies mainly between pens", parity_lives_between_pens),
    ("the first interval is far too narrow", pens_widen),
    ("Those of feeding, an effect of whole herds, lose nothing", feeding_loses_nothing),
    ("One herd, H17, lies near minus 4, far below the line", quiz_herd),
    ("nearly three times as wide on the right; the smooth trend stays flat at zero", quiz_fan),
    (
        "the intercepts stay in their band, and one slope, that of T30, touches its edge",
        lambda p: (
            out_of_band(p["by_term"]["Intercept"]) == 0
            and out_of_band(p["by_term"]["treatment"]) == 1
            and out_of_band(p["by_term"]["treatment"] - 0.02) == 0
        ),
    ),
    ("the lowest herd lies about 11 kg below the next, and no other gap is as wide", gaps_of_means),
    ("The bars of one standard deviation have similar lengths in most herds", bars_are_alike),
    ("The truth behind the file is", truth_is_the_codebooks),
    ("is her [**leverage**](E-glossary.qmd#gls-leverage) $h_{ij}$, and for given", leverages),
    ("For the BLUPs it matters", lambda p: p["var_u"].max() > 1.4 * p["var_u"].min()),
    ("For cows it hardly does", lambda p: p["var_e"].max() < 1.1 * p["var_e"].min()),
    (
        "All points of both plots stay inside their bands.",
        lambda p: p["outside"].sum() + out_of_band(p["cows"]["conditional_std"]) == 0,
    ),
    (
        "an even band whose smooth trend rises slightly",
        lambda p: 0 < p["slope_full"] < 0.2,
    ),
    (
        "Left: the smooth trend stays near zero where the data are dense",
        lambda p: smooth(p, "milk_kg").iloc[:6].abs().max() < 0.15,
    ),
    (
        "There is no funnel.",
        lambda p: (
            abs(np.corrcoef(p["cows"]["conditional_std"].abs(), p["cows"]["fitted"])[0, 1])
            < 2 / np.sqrt(len(p["cows"]))
        ),
    ),
    (
        "a cow beyond $3$ is nothing unusual in a file of this size",
        lambda p: abs((p["cows"]["conditional_std"].abs() > 3).sum() - 3.3) < 2 * np.sqrt(3.3),
    ),
    ("The mean residual has the sign of the BLUP", lambda p: (p["e_mean"] * p["u_hat"] > 0).all()),
    ("BLUPs show such a relation too weakly", blups_understate),
    ("compatible with zero", lambda p: p["extra"]["ci_low"] < 0 < p["extra"]["ci_high"]),
    ("On the right of @fig-diag-skewed the points form a bow: both ends lie above the line", bow),
    (
        "The luck adds variance but no skewness of its own",
        lambda p: (
            abs(
                stats.skew(p["rng"].exponential(size=400_000) + p["rng"].normal(size=400_000))
                - 2 * 0.5**1.5
            )
            < 0.05
        ),
    ),
    ("An exponential distribution has nobody below", nobody_below),
    (
        "a transformation spoils the cows",
        lambda p: abs(p["skewness"][1]) > 2 * abs(p["skewness"][0]) and p["skewness"][1] < -0.2,
    ),
    (
        "the widest, about twice the height of the first",
        lambda p: (
            (np.diff(box_heights(p, "unequal")) > 0).all()
            and 1.8 < box_heights(p, "unequal")[2] / box_heights(p, "unequal")[0] < 2.4
            and np.ptp(box_heights(p, "milk_kg")) < 0.25
        ),
    ),
    (
        "Cows of confined herds look full of outliers and pasture cows have almost none",
        lambda p: (
            (s := p["spread"](p["fits"]["unequal"])["beyond 2 (%)"])["confined"] > 8
            and s["pasture"] < 1
        ),
    ),
    (
        "A Q-Q plot of all cows would show heavy tails",
        lambda p: (
            stats.kurtosis(z := residuals(p["fits"]["unequal"])["conditional_std"]) > 0.4
            and out_of_band(z) > 0
        ),
    ),
    (
        "Parity and days gain most precision",
        lambda p: (
            p["se"].loc[["parity", "dtfs"], "ratio"].max()
            < p["se"].drop(["parity", "dtfs"])["ratio"].min()
            < 1
        ),
    ),
    (
        "one point, H30, lies near 5",
        lambda p: (
            4.5 < herd_z(p["fits"]["outlying"])["H30"] < 5.5
            and herd_z(p["fits"]["outlying"]).drop("H30").abs().max() < 2.5
        ),
    ),
    (
        "without the change all values are below about 0.1",
        lambda p: (
            p["cook"]["milk_kg"].max() < 0.105
            and p["cook"]["outlying"]["H30"] > 4 * p["cook"]["outlying"].drop("H30").max()
        ),
    ),
    (
        "leave the band for that reason alone, and return when H30 goes",
        lambda p: p["others_out"] > 1 and out_of_band(herd_z(p["fit_without"])) == 0,
    ),
    ("H30 is a pasture herd.", h30_does_what_is_said),
    ("taken the effect of confined feeding across the line of significance", significance_is_lost),
    ("A mistake that adds a constant would leave no such trace", a_constant_leaves_no_trace),
    (
        "below zero on the left, above it in the middle and far below it beyond 120 days",
        lambda p: (s := smooth(p, "curved"))[0] < 0 < s[4] and s[7] < -0.5,
    ),
    (
        "nothing points to days",
        lambda p: p["qq_out"][0] <= 2 and p["qq_out"][1] <= 2,
    ),
    ("lies just inside", just_inside),
    (
        "so their answer is milder",
        lambda p: (
            0 > p["answers"].loc["categories", "estimate"] > p["answers"].loc["squared", "estimate"]
        ),
    ),
    ("as good as in the sound row, with these 50 herds", skewed_are_as_good),
    ("estimates and intervals are as good as without skewness", skewed_are_as_good),
    (
        "their standard errors shrink by about a tenth",
        lambda p: p["se"].loc[["parity", "dtfs"], "ratio"].between(0.86, 0.94).all(),
    ),
    (
        "Coverage of fixed effects holds as long as the same predictors occur",
        lambda p: all(
            covers(runs_of(p, "unequal"), term, true) > 0.95 - 3 * 0.014
            for term, true in (("confined", 20), ("parity", 6))
        ),
    ),
    ("it is correlated with the bend and picks up a part of it", parity_picks_up_the_bend),
    (
        "less than 3 points of coverage",
        lambda p: all(
            100 * np.sqrt(share * (1 - share) / len(run)) < 3
            for _, run in p["runs"].groupby("data")
            for share in (covers(run, "parity", 6), covers(run, "confined", 20))
        ),
    ),
    ("the inflated variance has made them wide", wide_covers),
    ("The effect of parity is off, although nothing was done to parity.", parity_picks_up_the_bend),
    ("weights do better than that for parity", remedies_return),
    ("About 3 of 60 points are expected outside such a band", many_few),
    ("misses exponential effects more often than it finds them", maternity_units),
    ("the plot can hardly show the shape of the practices' effects", practices_hide_their_shape),
    (
        "which is $0.125$ here: $\\lambda = 0.25$",
        lambda p: np.isclose(lam := 0.1 / (0.1 + 0.9 / 3), 0.25) and np.isclose(lam**1.5, 0.125),
    ),
    (
        "like that of any other hospital, and its slope,",
        lambda p: (
            abs(p["of_swapped"].loc["T05", "Intercept"]) < 1
            and p["of_swapped"]["treatment"].abs().idxmax() == "T05"
        ),
    ),
    (
        "one hospital of thirty is easily taken for varying effects.",
        lambda p: p["fit_swapped"].cov_re.loc["treatment", "treatment"] > 1.3 * p["tau2"],
    ),
    (
        "here the difference of its arms has the wrong sign.",
        lambda p: difference_of_arms(p, "T05") > 0,
    ),
    (
        "is above the screen $4/G$, which a few of $120$ sound groups are,",
        lambda p: (
            p["largest_cook"] > 4 / 120
            and 1 < (p["no_place"]["cooks_distance"] > 4 / 120).sum() < 12
        ),
    ),
    (
        "The result doesn't hang on one neighbourhood.",
        lambda p: p["steps_se"].max() < 0.5,
    ),
    (
        "Whoever leaves it out finds a smaller variance every time:",
        lambda p: all(t < k for t, k in zip(p["tidied"], p["kept_all"], strict=True)),
    ),
    ("There is no sign of it (", lambda p: p["of_arms"]["p_value"] > 0.2),
    (
        "and the effect of treatment doesn't move.",
        lambda p: abs(p["moved_by"]) < 0.05 * p["one_spread"].bse_fe["treatment"],
    ),
]


def difference_of_arms(p: dict[str, Any], hospital: str) -> float:
    """Of the means of the true arms, in mmHg: what swapping them turns round."""
    rows = p["bp"][p["bp"]["hospital"] == hospital]
    means = rows.groupby("treatment")["bp_reduction"].mean()
    return float(means[1] - means[0])


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(page: Page, fragment: str, holds: Any) -> None:
    assert stands("12-diagnostics", fragment), "the chapter no longer says so"
    assert holds(page)


def test_cluster_robust_errors_need_many_herds() -> None:
    """ "cluster-robust ones don't assume one variance; with few herds they are too small".

    A predictor of the herd, 8 against 80 herds of 10, spread of cows by the predictor; 400
    studies, so a root of a mean of squares is known to about 4 %.
    """
    rng, ratio = np.random.default_rng(9), {}
    for herds in (8, 80):
        herd = np.repeat(np.arange(herds), 10)
        x = np.repeat(np.arange(herds) % 2, 10)
        X = np.column_stack([np.ones(len(x)), x])
        bread, slopes, stated = np.linalg.inv(X.T @ X), [], []
        for _ in range(400):
            y = rng.normal(size=herds)[herd] + rng.normal(size=len(x)) * (1 + 2 * x)
            b = bread @ X.T @ y
            sums = np.zeros((herds, 2))
            np.add.at(sums, herd, X * (y - X @ b)[:, None])
            slopes.append(b[1])
            stated.append((bread @ sums.T @ sums @ bread)[1, 1])
        ratio[herds] = np.sqrt(np.mean(stated)) / np.std(slopes)
    assert ratio[8] < 0.94 and 0.9 < ratio[80] < 1.1


def test_the_python_side_runs_alone_and_gives_the_chapters_numbers(page: dict[str, Any]) -> None:
    alone = run_python(blocks("12-diagnostics")[0])
    own = page["fits"]["milk_kg"]
    assert alone["fit"].criterion == pytest.approx(own.criterion, abs=1e-9)
    far = alone["left_out"]["cooks_distance"]
    np.testing.assert_allclose(far, page["left_out"]["cooks_distance"], rtol=1e-3)
    np.testing.assert_allclose(alone["cows"]["conditional"], page["e"], atol=1e-3)
    assert alone["by_feeding"].structure is not None


@needs_r
def test_the_r_side_gives_the_same_numbers(page: dict[str, Any]) -> None:
    """Rows of R stand in the file's order, herds in the order of their names."""
    python, r = blocks("12-diagnostics")
    alone, own = run_python(python), page["fits"]["milk_kg"]
    fixed, conditional, marginal, blup, cook, spread = run_r(
        f"pdf(NULL)\n{r}", "fixef(fit)", "conditional", "marginal", "herds[, 1]",
        "left_out", "by_feeding$sigma * coef(by_feeding$modelStruct$varStruct,"
        "unconstrained = FALSE, allCoef = TRUE)[c('pasture', 'mixed', 'confined')]",
    )  # fmt: skip
    # lme4 stops its search where a variance is known to about 3e-3
    np.testing.assert_allclose(fixed, own.fe_params[page["order"]], rtol=1e-3)
    np.testing.assert_allclose(conditional, page["e"], atol=0.02)
    np.testing.assert_allclose(marginal, page["r"], atol=0.02)
    np.testing.assert_allclose(blup, page["u_hat"], atol=0.02)
    p, G = len(fixed), page["G"]
    found = page["left_out"]["cooks_distance"].to_numpy() * (G - p) / G
    np.testing.assert_allclose(cook, found, rtol=0.02, atol=1e-5)
    by_feeding = alone["by_feeding"]
    ours = np.sqrt(by_feeding.scale) * by_feeding.variance_ratios
    np.testing.assert_allclose(spread, ours, rtol=1e-3)


@needs_r
def test_r_finds_the_swapped_arms_and_one_spread_of_both(page: dict[str, Any]) -> None:
    code = """
suppressMessages({library(lme4); library(nlme)})
trial <- read.csv("datasets/bp_trial.csv")
swapped <- within(trial, treatment <- ifelse(hospital == "T05", 1 - treatment, treatment))
fit <- lmer(bp_reduction ~ treatment + (1 + treatment | hospital), swapped)
slope <- ranef(fit)$hospital["T05", "treatment"]
one <- lme(bp_reduction ~ treatment, trial, ~ 1 + treatment | hospital)
two <- update(one, weights = varIdent(form = ~ 1 | treatment))
"""
    variance, slope, statistic = run_r(
        code, "VarCorr(fit)$hospital[2, 2]", "slope", "2 * (logLik(two) - logLik(one))"
    )
    swapped = page["fit_swapped"]
    assert swapped.cov_re.iloc[1, 1] == pytest.approx(variance[0], rel=2e-3)
    assert swapped.random_effects.loc["T05", "treatment"] == pytest.approx(slope[0], rel=2e-3)
    assert page["of_arms"]["statistic"] == pytest.approx(statistic[0], abs=2e-3)

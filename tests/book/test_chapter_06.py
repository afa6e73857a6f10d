"""Chapter 6 run cell by cell: levels, whose standard errors break, and labels that repeat."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from answers import truths_of
from cells import CHAPTERS, run_chapter
from said import Statement, each, stands
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import blups, coef_table, fit_lmm, icc, load, plots, residuals

CHAPTER = "06-levels"
REFERENCE = CHAPTERS.parent / "datasets" / "reference"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(CHAPTER)


def sd_within(p: dict[str, Any], inner: str) -> float:
    return float(np.sqrt(p["curve_only"].cov_re_by_group[inner].iloc[0, 0]))


def serial(p: dict[str, Any]) -> Any:
    """The model of the chapter with the correlation that the next chapter adds."""
    if "serial" not in p:
        three = f"{p['fixed']} + (1 | herd/cow/lactation)"
        p["serial"] = fit_lmm(three, p["days"], correlation="car1(dim)")
    return p["serial"]


def moved(p: dict[str, Any]) -> pd.Series:
    """Variances with serial correlation over those without."""
    return p["variances"](serial(p)) / p["variances"](p["fit"])


def se_moved(p: dict[str, Any]) -> pd.Series:
    return serial(p).bse_fe / p["fit"].bse_fe


def many_lactations(p: dict[str, Any]) -> float:
    """Share of cows with more than one lactation."""
    return float((p["days"].groupby("cow")["lactation"].nunique() > 1).mean())


def leaves_the_band(p: dict[str, Any], **where: Any) -> float:
    """The furthest standardised residual of a level, in standard deviations."""
    level = where.get("group") or "observation"
    table = residuals(p["fit"], level=level)
    column = "standardised" if "standardised" in table else "conditional_std"
    return float(table[column].abs().max())


def whole_day(p: dict[str, Any], name: str) -> float:
    return float(-p["doubled"][p["words"][name]])


def score_by_breed(p: dict[str, Any]) -> pd.DataFrame:
    return p["own_breed"].astype(float)


# What the chapter says of these data, each with its check.
STATEMENTS: list[Statement] = [
    (
        "Columns of one herd stand at very different heights, and each keeps its height over its "
        "dots.",
        lambda p: (
            p["part"].groupby("lactation")["milk_kg"].mean().groupby(lambda x: x[:3]).std().min()
            > p["part"].groupby("lactation")["milk_kg"].std().median()
        ),
    ),
    (
        "So most of the difference seems to lie between cows and lactations, less between herds.",
        lambda p: p["share"].iloc[:2].sum() > 0.5 and p["share"].iloc[2] < 0.25,
    ),
    (
        "The output counts the levels of each; they are those of @tbl-lev-units",
        lambda p: (
            list(p["fit"].ngroups_by_group.values())
            == [p["units"].loc[u, "units"] for u in ("lactation", "cow", "herd")]
        ),
    ),
    (
        "so a test day of one lactation says something about a test day of the next, but far from "
        "everything.",
        lambda p: 0.3 < p["rho"].iloc[1] < 0.7,
    ),
    ("Herd-mates are a little alike.", lambda p: 0.05 < p["alike"]["ci_low"].iloc[2] < 0.2),
    (
        "Parity is a property of the lactation, and the variance between lactations falls; breed "
        "is a property of the cow, and hers falls.",
        lambda p: (p["explained"]["explained (%)"].iloc[:2] > 30).all(),
    ),
    (
        "Housing takes little from the herds, and nothing is taken from the residual variance",
        lambda p: (
            0 <= p["explained"]["explained (%)"].iloc[2] < 15
            and p["explained"]["explained (%)"].iloc[3] == 0
        ),
    ),
    (
        "two less than there are herds, though",
        lambda p: abs(p["kr"].loc["housing[T.free]", "df"] - 34) < 0.5,
    ),
    (
        "not many less than there are cows",
        lambda p: 320 < p["kr"].loc["breed[T.Jersey]", "df"] < 373,
    ),
    (
        "parity lies between cows and lactations",
        lambda p: p["kr"].loc["parity_class[T.later]", "df"] < 548,
    ),
    (
        "the curve has thousands, as many as there are test days within lactations",
        lambda p: abs(p["kr"].loc["late", "df"] / (len(p["days"]) - 548) - 1) < 0.05,
    ),
    (
        "find them from the covariance matrix (@sec-inference), and differ little.",
        lambda p: (p["kr"]["df"] / p["satterthwaite"]["df"] - 1).abs().max() < 0.05,
    ),
    (
        "The interval is wide for a file of this size",
        lambda p: (
            p["kr"].loc["housing[T.free]", "ci_high"]
            > 4 * p["kr"].loc["housing[T.free]", "ci_low"]
        ),
    ),
    (
        "the variance of the difference is about",
        lambda p: abs(p["helps"].iloc[0] / p["fit"].bse_fe["housing[T.free]"] - 1) < 0.03,
    ),
    (
        "Twice the work with test days buys nothing, with cows little; only more herds help.",
        lambda p: (
            (1 - p["helps"] / p["helps"].iloc[0]).round(3).iloc[1] < 0.01
            and (1 - p["helps"] / p["helps"].iloc[0]).iloc[2] < 0.06
            and (1 - p["helps"] / p["helps"].iloc[0]).iloc[3] > 0.25
        ),
    ),
    ("possible where most cows have several", lambda p: many_lactations(p) < 0.6),
    (
        "the interval holds it, but would hold much else, zero included",
        lambda p: p["low_herd"] < -2 < 0 < p["high_herd"],
    ),
    (
        "the highest level is again the one about which you know least",
        lambda p: p["in_levels"]["std_error"].idxmax() == p["words"][4],
    ),
    (
        "the long history counts on top of the day",
        lambda p: p["in_levels"].loc[p["words"][2], "ci_high"] < 0,
    ),
    (
        "The predictor of cows has a standard error of",
        lambda p: p["no_cow"]["SE, cow_x"] < 0.6 and p["no_cow"]["held, cow_x"] < 80,
    ),
    (
        "The herd's predictor is as well off as before",
        lambda p: (
            np.corrcoef(
                p["found"]["herd, cow left out"][0][:150, 0], p["found"]["herd and cow"][0][:, 0]
            )[0, 1]
            > 0.999
            and abs(p["no_cow"]["SE, herd_x"] - 1) < 0.06
        ),
    ),
    (
        "For the predictor of test days the standard error is honest, but the estimate has lost "
        "precision",
        lambda p: abs(p["no_cow"]["SE, day_x"] - 1) < 0.07 and p["wider"] > 0.1,
    ),
    (
        "Now the predictor of herds is the one with half a standard error.",
        lambda p: abs(p["no_herd"]["SE, herd_x"] - 0.5) < 0.1,
    ),
    (
        "That of cows has one that is too *large*",
        lambda p: p["no_herd"]["SE, cow_x"] > 1.2,
    ),
    (
        "Part of it becomes residual. Part of it becomes variance between herds",
        lambda p: (
            p["both"]["without"]["test day (residual)"]
            > 1.2 * p["both"]["with technicians"]["test day (residual)"]
            and p["both"]["without"]["herd"] > 1.5 * p["both"]["with technicians"]["herd"]
        ),
    ),
    (
        "And the standard error of the intercept is too small",
        lambda p: (
            p["both"].loc["SE of the intercept", "without"]
            < 0.7 * p["both"].loc["SE of the intercept", "with technicians"]
        ),
    ),
    (
        "The intervals of two technicians at the upper end and of two at the lower end exclude "
        "zero.",
        lambda p: (
            [
                int((blups(p["score"], group="technician")["ci_low"] > 0).sum()),
                int((blups(p["score"], group="technician")["ci_high"] < 0).sum()),
            ]
            == [2, 2]
        ),
    ),
    (
        "The first two rows of @tbl-lev-labels are one model",
        lambda p: np.allclose(p["labelled"].iloc[0], p["labelled"].iloc[1], rtol=1e-6),
    ),
    (
        "what real cows have in common becomes residual",
        lambda p: p["labelled"]["residual"].iloc[2] > 1.8 * p["labelled"]["residual"].iloc[0],
    ),
    (
        "`fit_lmm` notices that the nested reading fits far better",
        lambda p: (
            [len(caught) for _, caught in p["by_label"].values()] == [0, 0, 1]
            and "(1 | herd/cow_number)" in p["by_label"][p["spellings"][2]][1][0]
        ),
    ),
    (
        "The interval reaches from nothing to as much as herds vary.",
        lambda p: (
            p["of_regions"]["ci_low"] == 0
            and p["of_regions"]["ci_high"] > 0.9 * np.sqrt(p["variances"](p["fit"])["herd"])
        ),
    ),
    ("that it finds nothing is no proof", lambda p: p["region_test"]["p_value"] > 0.1),
    (
        "For housing it hardly matters in @tbl-lev-regions, because each region has herds of both "
        "kinds.",
        lambda p: (
            np.ptp(p["housing"]["estimate"]) < 0.05
            and np.ptp(p["housing"]["std_error"]) < 0.05
            and (p["days"].groupby("region")["housing"].nunique() == 2).all()
        ),
    ),
    (
        "No distribution of @fig-lev-qq calls for action",
        lambda p: all(
            leaves_the_band(p, group=g) < 4 for g in ("herd", "herd:cow", "herd:cow:lactation")
        )
        and leaves_the_band(p) < 5,
    ),
    (
        "no single herd carries the effect of housing",
        lambda p: p["free"].min() > 2 * p["fit"].bse_fe["housing[T.free]"],
    ),
    (
        "Take all pairs of one lactation and ask how their correlation falls with the days",
        lambda p: (np.diff(p["distance"]["correlation"]) < 0).all(),
    ),
    (
        "its variance is too large, that of the residuals too small",
        lambda p: (
            moved(p)["herd:cow:lactation"] < 0.8 and moved(p)["test day (residual)"] > 1.2
        ),
    ),
    (
        "The variances of cows and herds, and what lives there, are hardly touched.",
        lambda p: (
            (moved(p)[["herd:cow", "herd"]] - 1).abs().max() < 0.05
            and (se_moved(p).filter(regex="breed|housing") - 1).abs().max() < 0.05
        ),
    ),
    (
        "The standard error of the slow decline, `late`, is too small",
        lambda p: se_moved(p)["late"] > 1.3,
    ),
    (
        "Cells vary from day to day far more than milk does",
        lambda p: p["own_alike"]["estimate"].iloc[0] < p["rho"].iloc[0] - 0.15,
    ),
    (
        "lactations of one cow hardly differ in them",
        lambda p: p["own_alike"]["share"].iloc[0] < 0.15,
    ),
    (
        "For the breeds all three give nearly the same",
        lambda p: (
            np.ptp(score_by_breed(p)["estimate"]) < 0.5 * score_by_breed(p)["std_error"].min()
            and np.ptp(score_by_breed(p)["std_error"]) < 0.05 * score_by_breed(p)["std_error"].max()
        ),
    ),
    (
        "Fixed and random agree.",
        lambda p: abs(score_by_breed(p).loc["fixed", "estimate"]
                      - score_by_breed(p).loc["random", "estimate"]) < 0.001,
    ),
    (
        "The remark notices that parity starts anew in each herd, and offers `(1 | herd/parity)`",
        lambda p: len(p["own_said"]) == 1 and "(1 | herd/parity)" in p["own_said"][0],
    ),
    (
        "as many as there are lactations, and a residual variance of",
        lambda p: p["own_right"].ngroups_by_group["herd:cow:parity"] == 548,
    ),
    (
        "Two ratings of one lecturer are more alike than two by one student",
        lambda p: p["sds"].loc["lecturer", "share"] > p["sds"].loc["student", "share"],
    ),
    (
        "who stands in front matters more than who sits there, and most of a rating is neither",
        lambda p: p["sds"]["share"].sum() < 0.5,
    ),
    (
        "its degrees of freedom are near the number of lecturers; service differs between the "
        "ratings of one lecturer, and has thousands.",
        lambda p: (
            100 < p["rated_effects"].loc["dept[T.10]", "df"] < 220
            and p["rated_effects"].loc["service", "df"] > 2000
        ),
    ),
    (
        "The first is the model of this chapter, and gives its numbers.",
        lambda p: np.allclose(
            p["both_ways"]["with"].fe_params[p["fit"].fe_params.index],
            p["fit"].fe_params,
            atol=2e-3,
        ),
    ),
    (
        "the standard error of housing is wrong without a word",
        lambda p: (
            p["both_ways"]["without"].bse_fe["housing[T.free]"]
            < 0.6 * p["both_ways"]["with"].bse_fe["housing[T.free]"]
        ),
    ),
]  # fmt: skip


@each(STATEMENTS)
def test_what_the_chapter_says_of_the_data_holds(
    page: dict[str, Any], fragment: str, holds: Any
) -> None:
    assert stands(CHAPTER, fragment)
    assert holds(page)


def test_the_truths_lie_within_the_intervals(page: dict[str, Any]) -> None:
    """Of the model of the file, but for what the serial correlation moves."""
    truth = next(t for t in truths_of("test_days") if t["model"].startswith("milk"))["fixed"]
    table = coef_table(page["cells_fit"])
    for term in ("housing[T.free]", "breed[T.Jersey]", "parity_class[T.later]"):
        assert table.loc[term, "ci_low"] < truth[term] < table.loc[term, "ci_high"]


def test_correlations_are_sums_of_shares(page: dict[str, Any]) -> None:
    share = page["alike"]["share"].to_numpy()
    np.testing.assert_allclose(page["rho"], np.cumsum(share[::-1])[::-1], rtol=1e-9)
    s_l, s_c, s_h, s_e = page["variances"](page["curve_only"])
    total = s_l + s_c + s_h + s_e
    assert page["rho"].iloc[0] == pytest.approx((s_l + s_c + s_h) / total)
    np.testing.assert_allclose(
        page["difference"].iloc[0], np.sqrt(2 * s_e), rtol=1e-9  # what a lactation doesn't share
    )  # fmt: skip


def test_the_matrix_of_a_herd_has_the_correlations_of_the_model(page: dict[str, Any]) -> None:
    V = page["V"] / page["V"][0, 0]
    given = icc(page["fit"])["estimate"].to_numpy()
    np.testing.assert_allclose([V[0, 1], V[0, 2], V[0, 4]], given, rtol=1e-9)


def test_true_standard_errors_of_the_simulation_are_those_of_theory(page: dict[str, Any]) -> None:
    """Balanced: 4 / 20 (9 + 9 / 6 + 9 / 36) between herds, 4 / 120 (9 + 9 / 6) within them."""
    b = page["found"]["herd, cow left out"][0]
    expected = np.sqrt([0.2 * (9 + 9 / 6 + 9 / 36), (9 + 9 / 6) / 30])
    np.testing.assert_allclose(b[:, :2].std(axis=0), expected, rtol=0.08)


def test_statsmodels_refuses_two_columns_as_the_page_shows() -> None:
    import statsmodels.formula.api as smf

    with pytest.raises(ValueError, match="shapes"):
        smf.mixedlm("milk_kg ~ dim", load("test_days"), groups=["herd", "cow"])


def test_the_bands_of_the_page_hold_their_points(page: dict[str, Any]) -> None:
    """The points outside a band are few at every level."""
    import matplotlib.pyplot as plt

    for group in ("herd", "herd:cow", "herd:cow:lactation"):
        ax = plots.qq(page["fit"], group=group)
        assert len(ax.texts) <= 2, group
    plt.close("all")


def test_python_runs_alone_and_has_the_numbers_of_the_page(page: dict[str, Any]) -> None:
    names = run_python(blocks(CHAPTER)[0])
    np.testing.assert_allclose(names["effects"]["estimate"], page["kr"]["estimate"], rtol=1e-9)
    np.testing.assert_allclose(names["alike"]["estimate"], icc(page["fit"])["estimate"], rtol=1e-9)
    assert names["score"].criterion == pytest.approx(page["score"].criterion)


@needs_r
def test_r_runs_alone_and_has_the_numbers_of_the_page(page: dict[str, Any]) -> None:
    estimates, df, alike, groups, scores = run_r(
        blocks(CHAPTER)[1], "effects[, 'Estimate']", "effects[, 'df']", "alike",
        "ngrps(fit)", "as.data.frame(VarCorr(score))$vcov",
    )  # fmt: skip
    assert estimates == pytest.approx(page["fit"].fe_params.to_numpy(), rel=1e-4)
    assert df == pytest.approx(page["satterthwaite"]["df"].to_numpy(), rel=1e-2)
    assert alike == pytest.approx(icc(page["fit"])["estimate"].to_numpy(), rel=1e-3)
    assert groups == [548, 373, 36]
    ours = page["variances"](page["score"])
    assert sorted(scores) == pytest.approx(sorted(ours), rel=2e-2)


def test_lme4_says_nothing_about_labels_that_repeat() -> None:
    """In the record of its fit, which is what R said."""
    assert stands(CHAPTER, "lme4 gives the same fit without a remark.")
    record = json.loads((REFERENCE / "lev-cow-crossed.json").read_text(encoding="utf-8"))
    assert record["lme4"]["messages"] == []

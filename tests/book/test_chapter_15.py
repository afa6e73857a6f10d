"""Chapter 15 run cell by cell: what it says about sample sizes, power and costs holds."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cells import CHAPTERS, run_chapter
from said import Statement, each, stands
from scipy import stats
from side_by_side import blocks, needs_r, run_python, run_r

from pylmm_helpers import fit_lmm, icc, load, power, refit, sample_size

CHAPTER = "15-planning"
SOURCE = (CHAPTERS / f"{CHAPTER}.qmd").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter(CHAPTER)


def spread_within(p: dict[str, Any]) -> float:
    return float(p["herds"]["milk_kg"].agg(np.ptp).median())


def herds_at_target(p: dict[str, Any], cows: int) -> float:
    """Where the curve of so many cows crosses a power of 80%."""
    own = p["many"][p["many"]["cluster_size"] == cows]
    return float(np.interp(0.8, own["power"], own["groups"]))


def share_of_groups(p: dict[str, Any], cows: float) -> float:
    rho = p["rho"]
    return float(rho / (rho + (1 - rho) / cows))


def of_budget(p: dict[str, Any], cows: int) -> float:
    return float(p["bought"].set_index("cows from each")["power"][cows])


def miss_of_simulated(p: dict[str, Any]) -> Any:
    """Simulated less formula, in MC errors that the formula's power has."""
    formula = p["compared"]["effect varies"]
    return (p["compared"]["simulated"] - formula) / np.sqrt(formula * (1 - formula) / 200)


# What the chapter says of these data and plans, each with its check.
STATEMENTS: list[Statement] = [
    (
        "the effect that matters is small beside the differences between herds, and those are "
        "small beside the differences between cows.",
        lambda p: 5 * p["smallest"] < np.ptp(p["means"]) < np.ptp(p["dairy"]["milk_kg"]) / 2,
    ),
    (
        "The cows of a herd spread over about 100 kilograms, the means of the herds over about 70.",
        lambda p: 90 < spread_within(p) < 130 and 60 < np.ptp(p["means"]) < 80,
    ),
    (
        "The same herds that differ in milk hardly differ in days to first service",
        lambda p: p["own"]["estimate"].iloc[0] > 0.15 and p["own"]["ci_high"].iloc[1] < 0.02,
    ),
    (
        "The ICCs of this book's health score and recovery score are higher than most that were "
        "published",
        lambda p: p["own"]["estimate"].iloc[3:].min() > 0.15,
    ),
    (
        "That is the design effect of @sec-cl-deff at work",
        lambda p: np.isclose(p["plan_herds"]["design_effect"].iloc[0], 1 + 19 * p["rho"]),
    ),
    (
        "From 5 to 10 cows the curve rises clearly, from 20 to 40 hardly. They cross the dashed "
        "line of the target between about 70 and 120 herds.",
        lambda p: (
            herds_at_target(p, 5) - herds_at_target(p, 10)
            > 3 * (herds_at_target(p, 20) - herds_at_target(p, 40))
            and 65 < herds_at_target(p, 40) < 75
            and 110 < herds_at_target(p, 5) < 125
        ),
    ),
    (
        "doubling the cows from $20$ to $40$ is hardly seen.",
        lambda p: herds_at_target(p, 20) < 1.12 * herds_at_target(p, 40),
    ),
    (
        "their standard error is large, and the effect must be twice as many of them as with "
        "forty.",
        lambda p: 1.9 < p["few"]["times SE"].iloc[0] / p["few"]["times SE"].iloc[5] < 2.1,
    ),
    (
        "If it gives a dozen or more, one herd more in each arm makes up for that; if it gives "
        "fewer, use the $t$.",
        lambda p: (
            herds_by_normal(p) + 2 >= p["G_plan"]
            and min(power_with_one_more(G) for G in range(12, 60, 2)) > 0.79
            and power_with_one_more(4) < 0.75
        ),
    ),
    (
        "A mixed model weights herds by what their means are worth, and loses less:",
        lambda p: p["equal"] < p["by_model"] < p["by_rows"],
    ),
    (
        "summed over their real sizes it is",
        lambda p: abs(p["by_model"] / p["exact"] - 1) < 0.005,
    ),
    (
        "The loss rarely exceeds a tenth",
        lambda p: p["equal"] / p["exact"] > 0.9,
    ),
    (
        "Parity and feeding explain a part of both variances",
        lambda p: (
            p["left"]["sigma2_g"] < p["share"]["sigma2_g"]
            and p["left"]["sigma2"] < p["share"]["sigma2"]
        ),
    ),
    (
        "## A treatment of cows needs a sixth of the cows",
        lambda p: np.isclose(p["kinds"]["rows"].iloc[1] / p["kinds"]["rows"].iloc[0], 1 / 6),
    ),
    (
        "and the number of herds rises again, and the degrees of freedom fall from cows to herds.",
        lambda p: (
            p["kinds"]["groups"].iloc[2] > p["kinds"]["groups"].iloc[1]
            and p["kinds"]["df"].iloc[2] == p["kinds"]["groups"].iloc[2] - 1
        ),
    ),
    (
        'the patients add only `{python} f"{4 * slope.scale / size:.0f}"` to it',
        lambda p: 4 * p["slope"].scale / p["size"] < p["s2_u1"] / 2,
    ),
    (
        "The simulated powers agree with the formula within two Monte-Carlo errors",
        lambda p: miss_of_simulated(p).abs().max() < 2,
    ),
    (
        "Three falling curves start together near 320 herds with one cow each",
        lambda p: all(abs(v[0] - 320) < 5 for v in p["needed"].values()),
    ),
    (
        "levels off from about 20 cows on, near a dotted line at about 65 herds; the one for a "
        "tenth near 34; the one for a twentieth still falls at 64 cows, towards about 18.",
        lambda p: (
            [p["least"][v] for v in (0.2, 0.1, 0.05)] == [66, 34, 18]
            and p["needed"][0.2][8] < 1.2 * 66
            and p["needed"][0.05][-1] > 1.2 * 18
        ),
    ),
    (
        "at $m = 1/\\rho$ more than half of the variance in @eq-plan-group, and at twice that "
        "more than two thirds, is that of herds.",
        lambda p: (
            1 / 2 < share_of_groups(p, 1 / p["rho"]) < 0.6
            and 2 / 3 < share_of_groups(p, 2 / p["rho"]) < 0.75
        ),
    ),
    (
        "In @tbl-plan-budget the power is highest there",
        lambda p: abs(p["bought"].set_index("cows from each")["power"].idxmax() - p["m_best"]) <= 1,
    ),
    (
        "half or twice as many cows cost five or six percentage points, while $40$ cows from each "
        "herd would waste a good part of the money.",
        lambda p: (
            0.045 < of_budget(p, 9) - of_budget(p, 4) < 0.065
            and 0.045 < of_budget(p, 9) - of_budget(p, 20) < 0.065
            and of_budget(p, 9) - of_budget(p, 40) > 0.15
        ),
    ),
    (
        "The cheapest study with a power of $80\\%$ takes",
        lambda p: p["bought"]["power"].max() < 0.8 and p["cheapest"]["cost"].iloc[0] > p["budget"],
    ),
    (
        "for a given test it is a function of the p-value",
        lambda p: (np.diff(p["of_p"]) < 0).all(),
    ),
    (
        "A result with $p = 0.05$ has an observed power of about one half, whatever the study.",
        lambda p: abs(p["of_p"][2] - 0.5) < 1e-3 and 0.4 < observed_power_of_t(4) < 0.6,
    ),
    (
        "Plan with that, and the next study is far too small.",
        lambda p: size_for_found(p) < 0.6 * p["G_plan"],
    ),
    (
        "no simulated power is further than two MC errors from $80\\%$.",
        lambda p: ((p["small"]["simulated power"] - 0.8).abs() < 2 * np.sqrt(0.16 / 250)).all(),
    ),
    (
        "The second plan wins although its new herds are dear",
        lambda p: max(p["money"], key=p["money"].get) == "near and far",
    ),
    (
        "hardly more than the level of the test, and even for $22$ kg only",
        lambda p: p["protocol"]["power"] < 0.08 and p["for_pilot"]["power"] < 0.2,
    ),
    (
        "Nearly all information on parity comes from within herds",
        lambda p: p["information_within"] * p["se_parity"] ** 2 > 0.95,
    ),
    (
        "still fewer than the `{python} guessed[2]` of the upper limit.",
        lambda p: p["guessed"][1] < p["assured"] < p["guessed"][2],
    ),
    (
        "It lies below the power at the estimate when that is high",
        lambda p: p["assurance"](p["guessed"][1]) < 0.8,
    ),
]


def herds_by_normal(p: dict[str, Any]) -> int:
    """Herds by the normal distribution, with the variances of the plan."""
    ratio = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    one = p["variances"]["sigma2_g"] + p["variances"]["sigma2"] / p["m_plan"]
    return int(np.ceil(4 * one * (ratio / p["smallest"]) ** 2))


def power_with_one_more(G: int) -> float:
    """Power of a study of G herds by the normal distribution, and one more in each arm."""
    shift = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * np.sqrt((G + 2) / G)
    return float(stats.nct.sf(stats.t.isf(0.025, G), G, shift))


def size_for_found(p: dict[str, Any]) -> int:
    """Herds of a study that is planned for what the significant ones found."""
    found = float(p["estimates"][p["significant"]].mean())
    return int(sample_size(found, cluster_size=20, **p["variances"])["groups"].iloc[0])


def observed_power_of_t(df: float) -> float:
    """Of a result with p = 0.05 on so few degrees of freedom."""
    t = stats.t.isf(0.025, df)
    return float(stats.nct.sf(t, df, t))


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_plans_holds(
    page: dict[str, Any], fragment: str, holds: Any
) -> None:
    assert stands(CHAPTER, fragment), "the chapter no longer says so"
    assert holds(page)


def test_the_power_by_hand_is_the_helpers(page: dict[str, Any]) -> None:
    # which counts findings of the wrong sign too, less than one in a million
    assert page["by_hand"] == pytest.approx(page["plan_herds"]["power"].iloc[0], abs=1e-6)


def test_the_plan_is_the_smallest(page: dict[str, Any]) -> None:
    fewer = power(page["smallest"], page["G_plan"] - 1, page["m_plan"], **page["variances"])
    assert fewer["power"].iloc[0] < 0.8 <= page["plan_herds"]["power"].iloc[0]


def test_the_derived_size_has_the_smallest_variance_for_its_cost(page: dict[str, Any]) -> None:
    sizes = np.linspace(1, 60, 100_000)
    price = page["cost_herd"] + sizes * page["cost_cow"]
    variance = price * (page["variances"]["sigma2_g"] + page["variances"]["sigma2"] / sizes)
    assert sizes[variance.argmin()] == pytest.approx(page["m_best"], abs=1e-3)
    # the two terms that depend on the size grow by (k + 1/k) / 2
    assert stands(
        CHAPTER, "these two terms are $(k + 1/k)/2$ times as large: a quarter more at twice or"
    )
    fixed = variance.min() - 2 * np.sqrt(
        page["cost_herd"] * page["cost_cow"] * page["variances"]["sigma2"]
        * page["variances"]["sigma2_g"]
    )  # fmt: skip
    ends = np.interp([page["m_best"] / 2, 2 * page["m_best"]], sizes, variance) - fixed
    assert ends / (variance.min() - fixed) == pytest.approx([1.25, 1.25], rel=1e-4)


def test_no_number_of_cows_helps_too_few_herds(page: dict[str, Any]) -> None:
    huge = power(page["smallest"], 40, 10**8, **page["variances"])["power"].iloc[0]
    assert huge < 0.6
    with pytest.raises(ValueError, match="40 groups don't reach a power"):
        sample_size(page["smallest"], groups=40, **page["variances"])


def test_the_error_of_parity_by_hand_is_the_fits(page: dict[str, Any]) -> None:
    assert page["se_parity"] == pytest.approx(page["fit_parity"].bse_fe["parity"], rel=1e-9)


def test_the_study_drawn_by_hand_has_the_power_of_the_formula(page: dict[str, Any]) -> None:
    formula = page["plan_herds"]["power"].iloc[0]
    error = np.sqrt(formula * (1 - formula) / len(page["p_values"]))
    assert abs(page["found_share"] - formula) < 3 * error


def test_significant_estimates_are_too_large_as_their_distribution_says(
    page: dict[str, Any],
) -> None:
    formula = power(page["smallest"], 30, 20, **page["variances"])["power"].iloc[0]
    assert page["significant"].mean() == pytest.approx(formula, abs=0.015)
    assert page["estimates"][page["significant"]].mean() > 1.4 * page["smallest"]


def test_the_pilots_draws_are_centred_on_its_estimates(page: dict[str, Any]) -> None:
    """In balanced data REML is the analysis of variance, so the mean squares are its own."""
    fit = page["small_pilot"]
    assert page["ms_within"] == pytest.approx(fit.scale, rel=1e-5)
    between = (page["ms_between"] - page["ms_within"]) / 20
    assert between == pytest.approx(fit.cov_re.iloc[0, 0], rel=1e-4)
    assert np.median(page["possible_g"]) == pytest.approx(between, rel=0.2)
    assert (page["ten"].groupby("herd", observed=True).size() == 20).all()


def test_the_paragraph_holds_what_the_standard_asks_for(page: dict[str, Any]) -> None:
    says = " ".join(page["says"].split())
    for word in ("ICC", "coefficient of variation", "95% interval", "degrees of freedom",
                 "smallest that matters", "two-sided", "power", "enrolled"):  # fmt: skip
        assert word in says, word
    assert page["G_final"] % 2 == page["enrolled"] % 2 == 0
    assert page["final"]["power"].iloc[0] >= 0.9 > page["worse"]
    assert page["enrolled"] * 0.95 >= page["G_final"]
    assert stands(CHAPTER, "If the ICC is at its upper limit")


def test_numbers_of_the_quizzes() -> None:
    np.testing.assert_allclose([0.1 + 0.9 / 30, 0.1 + 0.9 / 60], [0.13, 0.115])
    assert 8 * 200 - 8 - 1 == 1591
    assert np.sqrt(16 * 0.8 / 0.2) == pytest.approx(8)
    assert np.sqrt(16 * (1 - 1 / 17) * 17) == pytest.approx(16)  # an ICC of about 0.06
    error = np.sqrt(0.84 * 0.16 / 100)
    assert [round(100 * (0.84 + k * error)) for k in (-2, 2)] == [77, 91]
    se = 20 / (2 * 1.96)  # of an interval from -6 to 14
    assert 2 * stats.norm.sf(4 / se) == pytest.approx(0.43, abs=0.01)


def test_the_pilot_of_the_exercise_could_have_been_a_significant_one() -> None:
    """22 kg with p = 0.03 from five herds: a standard error of about 6 kg, on three df."""
    se = 22 / stats.t.isf(0.015, 3)
    assert 5 < se < 8
    # two groups of 34 cows, taken as independent
    assert stats.nct.sf(stats.t.isf(0.025, 66), 66, 22 / (32 * np.sqrt(2 / 34))) == pytest.approx(
        0.8, abs=0.01
    )


@pytest.mark.parametrize("title", re.findall(r"^\| .+ \| (@[\w]+) \|$", SOURCE, flags=re.M))
def test_published_iccs_name_a_source_that_exists(title: str) -> None:
    references = (CHAPTERS.parent / "references.bib").read_text(encoding="utf-8")
    assert f"{{{title.removeprefix('@')}," in references


def test_ignoring_a_slope_that_varies_promises_too_much(page: dict[str, Any]) -> None:
    assert (page["compared"]["effect the same"] > page["compared"]["effect varies"]).all()
    assert page["compared"]["effect varies"].is_monotonic_increasing


def test_kenward_roger_is_the_t_test_of_herd_means_in_equal_herds(page: dict[str, Any]) -> None:
    """What makes the formula exact: unless the variance between herds is estimated as zero."""
    rng, code = np.random.default_rng(1), np.repeat(np.arange(8), 10)
    frame = pd.DataFrame({"g": code, "x": code % 2.0, "y": rng.normal(size=80)})
    start = fit_lmm("y ~ x", frame, groups="g")
    y = 3 * rng.normal(size=8)[code] + rng.normal(size=80)
    again = refit(start, y)
    means = np.bincount(code, y) / 10
    own = stats.ttest_ind(means[1::2], means[::2])
    from pylmm_helpers import coef_table

    row = coef_table(again).loc["x"]
    assert row["p_value"] == pytest.approx(own.pvalue, rel=1e-5) and row["df"] == pytest.approx(6)


# ---- exercises


def test_solutions_say_what_their_code_finds(page: dict[str, Any]) -> None:
    share = icc(fit_lmm("recovery ~ 1", load("hospital_costs"), groups="hospital"))
    one = share["sigma2_g"] + share["sigma2"] / 30
    groups = int(page["whole"]["groups"].iloc[0])

    def reached(G: int) -> float:
        return float(stats.nct.sf(stats.t.ppf(0.975, G - 2), G - 2, 2 / np.sqrt(4 * one / G)))

    assert reached(groups) >= 0.9 > reached(groups - 2)
    assert page["within"]["groups"].iloc[0] < groups / 5
    for plan, (herds, cows) in page["choices"].items():
        near = 0 if plan == "far only" else 60
        assert 58_000 < 300 * near + 900 * (herds - near) + 25 * herds * cows <= 60_000
    assert page["protocol"]["df"] == 2


# ---- side by side


def test_python_runs_alone_and_has_the_numbers_of_the_page(page: dict[str, Any]) -> None:
    names = run_python(blocks(CHAPTER)[0])
    assert names["herds"]["groups"].iloc[0] == page["G_plan"]
    by_cv = page["compared"].loc[20, "effect varies"]
    assert names["hospitals"]["power"].iloc[0] == pytest.approx(by_cv, abs=0.02)
    drawn = names["drawn"].iloc[0]
    assert drawn["power"] == pytest.approx(0.8, abs=4 * drawn["mc_error"])


@needs_r
def test_r_runs_alone_and_has_the_numbers_of_the_page(page: dict[str, Any]) -> None:
    herds, hospitals, drawn = run_r(blocks(CHAPTER)[1], "herds", "hospitals", "drawn")
    assert herds == [page["G_plan"]]
    slope = page["slope"]
    own = power(3, 20, 38, "row", sigma2_g=1.0, sigma2=slope.scale, sigma2_slope=page["s2_u1"])
    assert hospitals == pytest.approx(own["power"].to_numpy(), abs=1e-4)
    assert drawn == pytest.approx([0.8], abs=4 * np.sqrt(0.16 / 100))

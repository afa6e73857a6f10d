"""Sample size and power: against other programs, against simulated studies, and what is refused."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

mpl.use("Agg")
import matplotlib.pyplot as plt

import pylmm_helpers as ph
from pylmm_helpers import plots, power, sample_size, simulate_power

REFERENCE = Path(__file__).parent / "reference"
ONE_IN_TEN = {"icc": 0.1, "sd": np.sqrt(5.0)}


def only(table: pd.DataFrame, column: str) -> float:
    assert len(table) == 1
    return table[column].iloc[0]


# ---- other programs


def other_side(effect: float, table: pd.DataFrame) -> float:
    """Chance to find an effect of the wrong sign, which clusterPower doesn't count."""
    df, ratio = only(table, "df"), effect / only(table, "std_error")
    return float(stats.nct.cdf(-stats.t.isf(0.025, df), df, ratio))


def test_examples_in_the_manual_of_clusterpower():
    """R's clusterPower 0.7.0, help page of cpa.normal: 0.801766 and 0.4559881; it counts clusters
    by arm and gives them as fractions (15.93278 rounds up to 16)."""
    found = power(1.0, 32, 10, **ONE_IN_TEN)
    assert only(found, "power") - other_side(1.0, found) == pytest.approx(0.801766, abs=5e-7)
    assert only(sample_size(1.0, cluster_size=10, **ONE_IN_TEN), "groups") == 32
    unequal = power(0.2, 40, 100, icc=0.1, sd=1.0, cv=0.5)
    assert only(unequal, "power") - other_side(0.2, unequal) == pytest.approx(0.4559881, abs=5e-8)


@pytest.mark.parametrize(
    "options, groups, size, expected",
    [
        ({"icc": 0.2, "cv": 0.9, "effect": 0.4}, 24, 8, 0.3406812908),
        ({"icc": 0.1, "sd": np.sqrt(5.0), "effect": 1.0}, 32, 10, 0.8017660228),
    ],
)
def test_power_of_clusterpower(options, groups, size, expected):
    """cpa.normal(nclusters = groups / 2, nsubjects = size, ...), other side left out."""
    found = power(groups=groups, cluster_size=size, **options)
    rest = other_side(options["effect"], found)
    assert only(found, "power") - rest == pytest.approx(expected, abs=1e-9)


def test_sizes_of_clusterpower():
    """cpa.normal says 6.338962 rows in each of 20 clusters by arm, and 14.170744 clusters by arm:
    of the whole numbers those above, or 29 in all, of which one arm has 14."""
    assert only(sample_size(1.0, groups=40, **ONE_IN_TEN), "cluster_size") == 7
    unequal = sample_size(0.4, icc=0.05, cluster_size=25, cv=0.7, power=0.9)
    assert only(unequal, "groups") == 29
    assert only(power(0.4, 28, 25, icc=0.05, cv=0.7), "power") < 0.9


@pytest.mark.parametrize("row", range(36))
def test_power_of_groups_is_that_of_r_for_their_means(row):
    said = pd.read_csv(REFERENCE / "power_of_groups.csv").iloc[row]
    found = power(said["effect"], 2 * said["per_arm"], said["m"], icc=said["icc"])
    assert only(found, "power") == pytest.approx(said["power"], abs=2e-9)  # nine digits recorded


@pytest.mark.parametrize("row", range(24))
def test_power_of_varying_effects_is_that_of_r_for_each_groups_difference(row):
    said = pd.read_csv(REFERENCE / "power_of_slopes.csv").iloc[row]
    found = power(
        said["effect"], said["groups"], said["m"], "row", sigma2_g=2.0, sigma2=1.0,
        sigma2_slope=said["sigma2_slope"],
    )  # fmt: skip
    assert only(found, "power") == pytest.approx(said["power"], abs=2e-9)


@pytest.mark.parametrize("effect, groups", [(0.5, 60), (-0.5, 60), (1.2, 10), (0.1, 400)])
def test_no_clustering_is_statsmodels_t_test(effect, groups):
    expected = TTestIndPower().power(effect, groups / 2, 0.05)
    assert only(power(effect, groups, 1, icc=0.0), "power") == pytest.approx(expected, abs=1e-9)
    # one arm of a third
    third = power(effect, 3 * groups, 1, icc=0.0, allocation=1 / 3)
    expected = TTestIndPower().power(effect, groups, 0.05, ratio=2.0)
    assert only(third, "power") == pytest.approx(expected, abs=1e-9)


def test_one_pair_in_each_group_is_statsmodels_paired_t_test():
    found = power(0.5, 20, 2, "row", sigma2_g=3.0, sigma2=1.0)
    expected = TTestPower().power(0.5 / np.sqrt(2.0), 20, 0.05)
    assert only(found, "df") == 19
    assert only(found, "power") == pytest.approx(expected, abs=1e-9)


# ---- formulas


def test_design_effect_of_groups_and_of_rows():
    table = power(0.3, [10, 20], [1, 5, 30], icc=0.2, sd=3.0)
    expected = 1 + (table["cluster_size"] - 1) * 0.2
    np.testing.assert_allclose(table["design_effect"], expected, rtol=1e-12)
    np.testing.assert_allclose(
        table["std_error"], np.sqrt(4 * expected * 9 / table["rows"]), rtol=1e-12
    )
    rows = power(0.3, 10, 6, "row", icc=0.2)
    assert only(rows, "design_effect") == pytest.approx(0.8, abs=1e-12)
    assert only(rows, "df") == 60 - 10 - 1
    unequal = power(0.3, 10, 30, icc=0.2, cv=0.6)
    share = 30 * 0.2 / (1 + 29 * 0.2)
    assert only(unequal, "design_effect") == pytest.approx(
        (1 + 29 * 0.2) / (1 - 0.36 * share * (1 - share)), rel=1e-12
    )
    # a mixed model loses less by unequal sizes than an analysis that weights all rows alike
    assert only(unequal, "design_effect") < 1 + ((0.36 + 1) * 30 - 1) * 0.2


def generalised_least_squares(frame: pd.DataFrame, V: np.ndarray) -> float:
    """Standard error of the slope of x, from matrices."""
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    return float(np.sqrt(np.linalg.inv(X.T @ np.linalg.solve(V, X))[1, 1]))


@pytest.mark.parametrize(
    "level, slope",
    [("group", 0.0), ("subgroup", 0.0), ("subgroup", 0.3), ("row", 0.0), ("row", 0.3)],
)
def test_three_levels_have_the_errors_of_the_whole_matrix(level, slope):
    groups, cows, days = 6, 4, 2
    group, cow, day = np.indices((groups, cows, days)).reshape(3, -1)
    x = {"group": group, "subgroup": cow, "row": day}[level] % 2 - 0.5
    same = np.equal.outer(group, group)
    V = same * (0.7 + slope * np.outer(x, x)) + np.eye(len(x))
    V = V + 0.4 * np.equal.outer(cows * group + cow, cows * group + cow)
    found = power(0.3, groups, cows, level, sigma2_g=0.7, sigma2_sub=0.4, sigma2=1.0,
                  sigma2_slope=slope, repeats=days)  # fmt: skip
    frame = pd.DataFrame({"x": x})
    assert only(found, "std_error") == pytest.approx(generalised_least_squares(frame, V), rel=1e-10)
    df = {"group": 4, "subgroup": 24 - 6 - 1, "row": 48 - 24 - 1}[level]
    assert only(found, "df") == (groups - 1 if slope else df)
    assert only(found, "rows") == 48


def test_a_numeric_predictor_counts_by_its_sd():
    two = power(0.6, 20, 8, icc=0.1)
    slope = power(0.3, 20, 8, icc=0.1, predictor_sd=1.0)  # arms at -1 and 1 differ by two units
    assert only(slope, "power") == pytest.approx(only(two, "power"), abs=1e-12)


def test_solutions_are_the_smallest():
    for options in (
        {"icc": 0.05, "cluster_size": 12},
        {"level": "row", "icc": 0.3, "cluster_size": 4},
        {"level": "row", "sigma2_g": 1.0, "sigma2": 1.0, "sigma2_slope": 0.2, "cluster_size": 6},
        {"icc": 0.02, "groups": 30},
        {"level": "row", "icc": 0.3, "groups": 4},
    ):
        found = sample_size(0.4, power=0.9, **options)
        assert only(found, "power") >= 0.9
        rest = {k: v for k, v in options.items() if k not in ("groups", "cluster_size")}
        groups, size = only(found, "groups"), only(found, "cluster_size")
        fewer = (groups, size - 1) if "groups" in options else (groups - 1, size)
        assert only(power(0.4, *fewer, **rest), "power") < 0.9


def test_the_cheapest_size_is_cheapest():
    costs = {"cost_group": 20.0, "cost_unit": 1.0}
    best = sample_size(0.2, icc=0.05, **costs)
    # Raudenbush 1997: root of 20 * 0.95 / 0.05 = 19.49
    assert only(best, "cluster_size") in (19, 20)
    others = [
        only(sample_size(0.2, icc=0.05, cluster_size=m, **costs), "cost") for m in (8, 19, 20, 50)
    ]
    assert only(best, "cost") == min(others)
    assert only(best, "cost") == only(best, "groups") * 20 + only(best, "rows")
    slopes = sample_size(0.3, "row", sigma2_g=1.0, sigma2=1.0, sigma2_slope=0.1, **costs)
    assert only(slopes, "cluster_size") in (28, 29)  # root of 20 * (1 / 0.25) / 0.1 = 28.28


# ---- simulated studies

#: Few studies each: four Monte-Carlo errors, beyond which chance goes once in 16,000. Variances far
#: enough from 0 to be seldom estimated as 0, where the tests would be a little more careful.
STUDIES = {
    "herds": ((1.0, 24, 8), {"icc": 0.2, "sd": 1.6}),
    "herds of unequal size": ((1.0, 24, 8), {"icc": 0.2, "sd": 1.6, "cv": 0.6}),
    "herds, a third treated": ((1.2, 24, 8), {"icc": 0.2, "sd": 1.6, "allocation": 1 / 3}),
    "herds, numeric": ((0.5, 20, 6), {"icc": 0.3, "predictor_sd": 0.8}),
    "cows": ((0.45, 12, 8), {"level": "row", "icc": 0.3}),
    "cows, numeric, unequal": (
        (0.4, 12, 8), {"level": "row", "icc": 0.3, "predictor_sd": 0.7, "cv": 0.4}
    ),
    "cows, effects vary": (
        (0.5, 15, 16), {"level": "row", "sigma2_g": 0.3, "sigma2": 1.0, "sigma2_slope": 0.4}
    ),
}  # fmt: skip


def agrees(formula: pd.DataFrame, simulation: pd.DataFrame) -> None:
    assert only(simulation, "no_test") == 0
    # the error that the formula's power has in so many studies
    expected, number = only(formula, "power"), only(simulation, "replicates")
    error = np.sqrt(expected * (1 - expected) / number)
    assert 0.3 < expected < 0.95
    assert abs(only(simulation, "power") - expected) < 4 * error


@pytest.mark.parametrize("name", STUDIES)
def test_formulas_agree_with_simulated_studies(name):
    design, options = STUDIES[name]
    simulation = power(*design, **options, method="simulation", replicates=150, rng=11)
    agrees(power(*design, **options), simulation)


@pytest.mark.parametrize("level, effect", [("group", 1.1), ("subgroup", 0.65), ("row", 0.35)])
def test_formulas_agree_with_simulated_studies_of_three_levels(level, effect):
    options = {"sigma2_g": 0.3, "sigma2_sub": 0.5, "sigma2": 1.0, "repeats": 3}
    simulation = power(effect, 12, 4, level, **options, method="simulation",
                       test="satterthwaite", replicates=40, rng=3)  # fmt: skip
    agrees(power(effect, 12, 4, level, **options), simulation)


def test_likelihood_ratio_and_seeds():
    options = {"icc": 0.2, "sd": 1.6, "method": "simulation", "replicates": 60, "test": "lrt"}
    found = power(1.0, 24, 8, **options, rng=5)
    agrees(power(1.0, 24, 8, icc=0.2, sd=1.6), found)
    pd.testing.assert_frame_equal(found, power(1.0, 24, 8, **options, rng=5))
    pd.testing.assert_frame_equal(found, power(1.0, 24, 8, **options, rng=np.random.default_rng(5)))
    q = (60 * only(found, "power") + 1) / 62
    assert only(found, "mc_error") == pytest.approx(np.sqrt(q * (1 - q) / 60))


def test_unequal_sizes_of_a_simulated_study_have_the_variation_that_was_asked_for():
    from pylmm_helpers.quantities.planning_input import plan_of
    from pylmm_helpers.quantities.power_simulation import study

    plan = plan_of(1.0, "row", 0.1, None, None, None, None, 0.0, 1, 0.5, 0.5, 2.0, 0.05)
    frame = study(plan, 40, 20, np.random.default_rng(1))
    sizes = frame["group"].value_counts()
    assert sizes.mean() == pytest.approx(20, abs=0.2)  # whole numbers
    assert sizes.std(ddof=0) / sizes.mean() == pytest.approx(0.5, abs=0.03)  # 40 quantiles
    own = frame.groupby("group")["x"]
    np.testing.assert_allclose(own.mean(), 0.0, atol=1e-12)
    np.testing.assert_allclose(own.std(ddof=0), 2.0, rtol=1e-12)


# ---- from a fit


@pytest.fixture(scope="module")
def pilot() -> ph.LMMResults:
    """A fit whose estimates are known, so that the formula says what its power is."""
    rng = np.random.default_rng(8)
    herd = np.repeat(np.arange(20), 6)
    frame = pd.DataFrame({"herd": herd, "x": (herd % 2) - 0.5, "z": np.tile(np.arange(6.0), 20)})
    y = 20.0 + 1.2 * rng.normal(size=20)[herd] + 2.0 * rng.normal(size=120)
    return ph.fit_lmm("y ~ x + z", frame.assign(y=y), "herd")


def test_a_fit_has_the_power_that_the_formula_says(pilot):
    variances = {"sigma2_g": pilot.cov_re.iloc[0, 0], "sigma2": pilot.scale}
    effect = 2.9 * only(power(1.0, 20, 6, **variances), "std_error")
    found = simulate_power(pilot, "x", effect, replicates=150, rng=2)
    assert list(found.iloc[0, :3]) == [20, 120, effect]
    agrees(power(effect, 20, 6, **variances), found)
    # twice the groups have each herd's rows twice
    more = simulate_power(pilot, "x", 0.7 * effect, groups=40, replicates=100, rng=2)
    assert only(more, "rows") == 240
    agrees(power(0.7 * effect, 40, 6, **variances), more)


def test_the_effect_of_a_fit_is_its_estimate_unless_given(pilot):
    own = simulate_power(pilot, "z", replicates=5)
    assert only(own, "effect") == pilot.fe_params["z"]
    assert only(simulate_power(pilot, "z", 50.0, replicates=5), "power") == 1.0


def test_no_effect_is_found_as_often_as_alpha_says(pilot):
    """An effect of next to nothing: the test keeps its level, to four Monte-Carlo errors."""
    found = simulate_power(pilot, "x", 1e-9, replicates=200, alpha=0.2, rng=6)
    assert abs(only(found, "power") - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 200)


def test_several_factors_multiply_what_lies_in_the_groups_and_keep_what_crosses_them():
    from pylmm_helpers.quantities.power_of_fit import larger, multiplied

    rng = np.random.default_rng(3)
    herd, cow, day = np.indices((5, 3, 4)).reshape(3, -1)
    frame = pd.DataFrame({"herd": herd, "cow": 3 * herd + cow, "day": day, "x": day % 2})
    y = rng.normal(size=5)[herd] + rng.normal(size=15)[frame["cow"]] + rng.normal(size=4)[day]
    frame["y"] = 10 * y + rng.normal(size=60)
    fit = ph.fit_lmm("y ~ x + (1 | herd) + (1 | cow) + (1 | day)", frame)
    made = larger(fit, "herd", 12, np.random.default_rng(1))
    assert made.ngroups_by_group == {"cow": 36, "herd": 12, "day": 4}
    assert multiplied(fit, None) == "day" and multiplied(fit, "herd") == "herd"
    found = simulate_power(fit, "x", 1.0, 8, group="herd", replicates=2, test="satterthwaite")
    assert only(found, "groups") == 8 and only(found, "rows") == 96


# ---- what is shown


def test_tables_print_whole_and_the_figure_has_a_line_for_each_size():
    table = power(0.4, [20, 10, 30], [5, 12], icc=0.05)
    assert max(map(len, repr(table).split("\n"))) <= 80 and "..." not in repr(table)
    assert list(table["groups"]) == [20, 10, 30] * 2
    ax = plots.power(table, target=0.9)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert [line.get_label() for line in lines] == ["5", "12"]
    for size, line in zip((5, 12), lines, strict=True):
        own = table[table["cluster_size"] == size].sort_values("groups")
        np.testing.assert_allclose(line.get_ydata(), own["power"])
        assert list(line.get_xdata()) == [10, 20, 30]
    assert [line for line in ax.lines if list(line.get_ydata()) == [0.9, 0.9]]
    plt.close("all")
    simulated = power(0.4, [10, 20], 5, icc=0.05, method="simulation", replicates=3)
    ax = plots.power(simulated)
    assert len(ax.collections) == 1  # bars of the Monte-Carlo error
    plt.close("all")


@pytest.mark.parametrize(
    "table, target, message",
    [
        (pd.DataFrame({"power": [0.5]}), 0.8, "groups and power"),
        ("power", 0.8, "groups and power"),
        (power(0.4, 20, 5, icc=0.1), 1.5, "target"),
    ],
)
def test_the_figure_refuses_other_tables(table, target, message):
    with pytest.raises(ValueError, match=message):
        plots.power(table, target)


def test_examples_in_the_docstrings_run():
    import doctest

    from pylmm_helpers.engine import responses
    from pylmm_helpers.quantities import planning, power_of_fit

    for module in (planning, power_of_fit, responses):
        names = {name: getattr(ph, name) for name in ("power", "sample_size")}
        found = doctest.testmod(module, extraglobs=names)
        assert found.attempted >= 2 and found.failed == 0


# ---- what is refused

GOOD = {"effect": 0.5, "icc": 0.1, "cluster_size": 10}
THREE = {"icc": None, "sigma2_g": 0.1, "sigma2_sub": 0.2, "sigma2": 0.5}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"effect": 0.0}, "effect is 0"),
        ({"effect": np.nan}, "effect is .*finite"),
        ({"effect": "large"}, "effect must be numbers"),
        ({"icc": 1.0}, "icc is 1.0; it must be at least 0 and below 1"),
        ({"icc": -0.1}, "icc is -0.1"),
        ({"icc": None}, "variances are open"),
        ({"icc": None, "sigma2_g": 1.0}, "variances are open"),
        ({"icc": None, "sd": 1.0, "sigma2_g": 1.0, "sigma2": 1.0}, "without sd"),
        ({"sigma2": 1.0}, "icc and variances"),
        ({"sd": 0.0}, "sd is 0.0"),
        ({"icc": None, "sigma2_g": -1.0, "sigma2": 1.0}, "sigma2_g is -1.0; a variance can't"),
        ({"icc": None, "sigma2_g": 1.0, "sigma2": -1.0}, "sigma2 is -1.0; a variance can't"),
        ({"icc": None, "sigma2_g": 1.0, "sigma2": 0.0}, "sigma2 is 0"),
        ({"level": "row", "sigma2_slope": -0.1}, "sigma2_slope is -0.1; a variance can't"),
        ({"sigma2_slope": 0.1}, "leave sigma2_slope out"),
        ({"sigma2_sub": 0.1}, "one ICC doesn't say three variances"),
        ({**THREE, "sigma2_sub": -0.1}, "sigma2_sub is -0.1"),
        ({**THREE, "level": "row"}, "repeats is 1"),
        ({"repeats": 3}, "give sigma2_sub"),
        ({"level": "subgroup"}, "level='subgroup' is for three levels"),
        ({"level": "herd"}, "level is 'herd'; choose"),
        ({"repeats": 0}, "repeats is 0"),
        ({"cv": -0.1}, "cv is -0.1"),
        ({"cv": 1.2}, "simulate_power"),
        ({"allocation": 1.0}, "allocation is 1.0"),
        ({"predictor_sd": 0.0}, "predictor_sd is 0.0"),
        ({"power": 1.0}, "power is 1.0"),
        ({"power": 0.01}, "even a true effect of 0"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"cluster_size": 0}, "cluster_size is 0; give a whole number of at least 1"),
        ({"cluster_size": 1, "level": "row"}, "cluster_size is 1; .* at least 2"),
        ({"cluster_size": 2.5}, "cluster_size is 2.5"),
        ({"cluster_size": None}, "the design is open"),
        ({"groups": 10}, r"use power\(\)"),
        ({"cluster_size": None, "groups": 2}, "groups is 2; give a whole number of at least 3"),
        ({"cost_group": 10.0}, "one cost alone"),
        ({"cost_group": 10.0, "cost_unit": 0.0}, "must be above 0"),
        ({"effect": 1e-7}, "more than 1e.09 groups"),
        (
            {"cluster_size": None, "level": "row", "cost_group": 9.0, "cost_unit": 1.0},
            "no cheapest size",
        ),
    ],
)  # fmt: skip
def test_what_no_study_can_have_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        sample_size(**{**GOOD, **change})


def test_power_out_of_reach_says_how_many_groups_are_needed():
    with pytest.raises(ValueError, match=r"8 groups don't reach a power .* at least") as told:
        sample_size(0.5, icc=0.1, groups=8)
    enough = int(str(told.value).split("at least ")[1].split()[0])
    assert only(sample_size(0.5, icc=0.1, groups=enough), "power") >= 0.8
    with pytest.raises(ValueError, match="don't reach"):
        sample_size(0.5, icc=0.1, groups=enough - 1)
    # no size: the same from the other side
    assert only(power(0.5, enough - 1, 10**8, icc=0.1), "power") < 0.8


@pytest.mark.parametrize(
    "change, message",
    [
        ({"groups": []}, "groups is empty"),
        ({"groups": [10, 2]}, "groups is 2"),
        ({"method": "guess"}, "method is 'guess'"),
        ({"test": "t"}, "test is 't'"),
        ({"method": "simulation", "replicates": 0}, "replicates is 0"),
        ({"method": "simulation", "rng": -1}, "seed"),
        ({"method": "simulation", "cluster_size": 1}, "one row in each group"),
    ],
)
def test_power_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        power(**{"effect": 0.5, "icc": 0.1, "groups": 10, "cluster_size": 4, **change})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"term": "parity"}, "no coefficient 'parity'"),
        ({"effect": 0.0}, "effect is 0"),
        ({"test": "lrt"}, "test is 'lrt'"),
        ({"alpha": 2}, "alpha is 2"),
        ({"groups": 1}, "groups is 1"),
        ({"group": "cow"}, "the groups of this fit are 'herd'"),
        ({"replicates": 1.5}, "replicates is 1.5"),
    ],
)
def test_power_of_a_fit_refuses(pilot, change, message):
    with pytest.raises(ValueError, match=message):
        simulate_power(**{"fit": pilot, "term": "x", **change})


def test_new_groups_of_a_fit_with_weights_are_refused(pilot):
    fit = ph.fit_lmm("y ~ x", pilot.frame.assign(w=1.0 + pilot.frame["z"]), "herd", weights="w")
    with pytest.raises(ValueError, match="leave groups out"):
        simulate_power(fit, "x", 1.0, groups=30)
    assert only(simulate_power(fit, "x", 50.0, replicates=2), "power") == 1.0

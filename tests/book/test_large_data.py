"""Data larger than memory, run cell by cell: sums give the fit of the rows, squares lose digits,
limits hold.

Seconds are measured in the chapter and not asserted here.
"""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from said import Page, Statement, each, stands
from side_by_side import blocks, run_python, run_r

from offline_render.book import Cell, split
from pylmm_helpers import blups, coef_table, cross_products, fit_lmm, icc, load, lrt, profile_ci

CHAPTER = Path(__file__).parents[2] / "chapters" / "H-large-data.qmd"
PROOF = r"crosscheck\(|agreement_summary\("

# Ibis 12.0 still calls what DuckDB 2.0 has renamed
RENAMED = "ignore:fetch_.*deprecated:DeprecationWarning"
pytestmark = pytest.mark.filterwarnings(RENAMED)


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the chapter's cells leave behind; `crosscheck` has tests of its own."""
    import matplotlib
    import statsmodels.formula.api  # noqa: F401  (sets warning filters when first imported)

    matplotlib.use("Agg")
    names: dict[str, Any] = {"printed": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "fetch_.*deprecated", DeprecationWarning)
        for part in split(CHAPTER):
            if not isinstance(part, Cell) or re.search(PROOF, part.code):
                continue
            if part.label == "remove":  # keep a part of the rows for the tests
                query = "SELECT * FROM register WHERE herd <= 40"
                names["kept"] = names["database"].sql(query).df()
            said: list[str] = []
            names["print"] = lambda *words, said=said, **_: said.append(" ".join(map(str, words)))
            exec(compile(part.code, f"{CHAPTER.name}:{part.label}", "exec"), names)
            names["printed"][part.label] = "\n".join(said)
    matplotlib.pyplot.close("all")
    return names


def test_the_file_is_larger_than_the_limit_and_the_sums_much_smaller(page: dict[str, Any]) -> None:
    assert page["on_disk"] > 50 * 1.2
    assert page["in_pandas"] > 3 * page["on_disk"]
    assert page["in_products"] < page["in_pandas"] / 1_000
    assert not page["folder"].exists()


def test_the_rows_dont_fit_where_the_sums_do(page: dict[str, Any]) -> None:
    assert page["printed"]["too-large"] == "The rows don't fit."
    pd.testing.assert_frame_equal(page["tight_sums"], page["sums"], rtol=1e-9)


def test_the_sums_by_hand_give_the_fit(page: dict[str, Any]) -> None:
    fit = page["fit"]
    np.testing.assert_allclose(page["beta"], fit.fe_params, rtol=1e-8)
    assert page["sigma2"] == pytest.approx(fit.scale, rel=1e-7)
    assert page["theta"] == pytest.approx(fit.theta[0], rel=1e-5)
    assert page["value"] == pytest.approx(fit.criterion, rel=1e-11)
    assert len(page["sums"]) == page["n_herds"] == fit.ngroups


def test_the_six_sums_are_those_of_the_rows(page: dict[str, Any]) -> None:
    rows = page["kept"].dropna(subset="milk_kg")
    x, y = rows["parity"], rows["milk_kg"]
    rows = rows.assign(n=1, x=x, y=y, xx=x * x, xy=x * y, yy=y * y)
    names = ["n", "x", "y", "xx", "xy", "yy"]
    ours = rows.groupby("herd")[names].sum()
    theirs = page["sums"].set_index("herd").loc[ours.index, names]
    np.testing.assert_allclose(theirs, ours, rtol=1e-11)


def test_sums_are_exact(page: dict[str, Any]) -> None:
    assert page["off"] < 1e-10
    assert len(page["everything"]) == page["fit"].nobs
    assert page["same_fits"].map(float).to_numpy().max() < 1e-8


def test_other_rows_with_the_same_sums_give_the_same_fit(page: dict[str, Any]) -> None:
    real, other = page["fits"]
    assert real.criterion == pytest.approx(other.criterion, rel=1e-9)
    np.testing.assert_allclose(real.fe_params, other.fe_params, rtol=1e-7)
    np.testing.assert_allclose(real.cov_re, other.cov_re, rtol=1e-5)
    herd = page["chosen"] if np.isscalar(page["chosen"]) else None
    moved = page["other"][page["other"]["herd"] == herd]["parity"]
    assert ((moved % 1 > 0.01) & (moved % 1 < 0.99)).mean() > 0.8
    assert -1 < moved.min() < 1 and 6 < moved.max() < 8.5
    assert set(page["real"]["parity"]) == {1, 2, 3, 4, 5, 6}


def test_meaning_and_precision_are_as_told(page: dict[str, Any]) -> None:
    parity, part = page["parity"], page["part_parity"]
    assert len(page["part"]["herd"].unique()) == 50
    assert part["std_error"] / parity["std_error"] > 5
    assert page["se_ratio"] > 2.5  # herds differ in the slope: several times as large
    assert (page["few"]["herd"].nunique(), page["few"]["herd"].max()) == (12, 12)
    assert 5 < page["few"]["milk_kg"].quantile(0.02) < page["few"]["milk_kg"].max() < 52
    assert np.ptp(page["few_means"]) > 3


def test_the_fuller_model_finds_the_truth(page: dict[str, Any]) -> None:
    full = page["full"]
    error = (full["estimate"] - page["truth"]) / full["std_error"]
    assert error.abs().max() < 4
    np.testing.assert_allclose(page["sd_full"], [3, 0.5], rtol=0.05)
    assert np.sqrt(page["fit_full"].scale) == pytest.approx(5, rel=0.01)


def test_raw_squares_lose_digits_and_centred_ones_dont(page: dict[str, Any]) -> None:
    lost = page["lost"]
    assert lost["two passes"].max() < 1e-11
    assert lost["raw sums"].is_monotonic_increasing
    assert 1e-6 < lost.loc[10**6, "raw sums"] < 1e-2
    assert lost.loc[10**7, "raw sums"] > 0.01
    assert lost.loc[100, "raw sums"] < 1e-7


def test_residuals_come_from_a_second_query(page: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no rows"):
        _ = page["fit"].resid
    days, spread = page["by_days"], page["by_milkings"].set_index("milkings")["SD"]
    assert 4 < days["mean"].iloc[0] < 5 and -5 < days["mean"].iloc[-1] < -4
    straight = np.polyval(np.polyfit(days["days"], days["mean"], 1), days["days"])
    assert np.abs(days["mean"] - straight).max() < 0.15
    assert spread[1] > 1.2 * spread[2]
    cows = page["histogram"].set_index("r")["cows"]
    assert abs(cows.idxmax()) <= 1
    assert cows.sum() == page["fit"].nobs == page["by_milkings"]["cows"].sum()


def test_missing_values_are_counted(page: dict[str, Any]) -> None:
    total = page["n_parts"] * page["part_rows"]
    assert page["fit"].n_dropped == total - page["fit"].nobs
    kept, arguments = page["kept"], ("milk_kg ~ parity", "herd")
    gaps = int(kept["milk_kg"].isna().sum())
    with pytest.raises(ValueError, match=rf"'milk_kg' \({gaps}\)"):
        cross_products(kept, *arguments)
    assert cross_products(kept, *arguments, missing="drop").n_dropped == gaps > 0
    assert page["by_season"]["missing"].between(0.9, 1.1).all()


def test_weights_are_columns_times_their_root(page: dict[str, Any]) -> None:
    columns, weights = page["by_columns"], page["by_weights"]
    np.testing.assert_allclose(columns.fe_params, weights.fe_params, rtol=1e-8)
    np.testing.assert_allclose(columns.cov_re, weights.cov_re, rtol=1e-6)
    assert columns.scale == pytest.approx(weights.scale, rel=1e-9)


def test_cost_is_measured_over_the_sizes_told(page: dict[str, Any]) -> None:
    times = page["times"]
    assert list(times["million rows"]) == [0.25, 0.5, 1, 2, 4]
    assert list(times["groups"]) == [100, 1_000, 10_000, 100_000]
    assert max(times["random effects"]) == 6
    query = [seconds[0] for seconds in times["million rows"].values()]
    assert query[-1] > query[0]  # sixteen times the rows
    assert np.isfinite([page["row_slope"], page["group_slope"]]).all()


def test_sums_stop_helping_with_tiny_groups(page: dict[str, Any]) -> None:
    shrunk = page["shrunk"]
    per_group = {"random intercept": 1 * (2 + 1 + 1), "random slope": 2 * (2 + 2 + 1)}
    for kind, numbers in per_group.items():
        groups = page["part_rows"] / shrunk.index.to_numpy()
        np.testing.assert_allclose(shrunk[kind], groups * numbers * 8 / 1e6, rtol=0.01)
    assert shrunk.loc[500, "random slope"] < shrunk.loc[500, "rows"] / 100
    assert shrunk.loc[3, "random slope"] > shrunk.loc[3, "rows"]


def test_crossed_effects_need_a_table_nearly_as_long_as_the_rows(page: dict[str, Any]) -> None:
    assert page["n_technicians"] == 300
    total = page["n_parts"] * page["part_rows"]
    assert 500_000 < page["pairs"] < 1_200_000 and total / page["pairs"] < 3.5


def test_crossed_factors_have_sums_for_each_pair_that_occurs(page: dict[str, Any]) -> None:
    """The register's technicians and herds, in the herds that are kept."""
    kept = page["kept"].dropna(subset="milk_kg")
    formula = "milk_kg ~ parity + (1 | herd) + (1 | technician)"
    ours, theirs = fit_lmm(cross_products(kept, formula)), fit_lmm(formula, kept)
    np.testing.assert_allclose(ours.fe_params, theirs.fe_params, rtol=1e-6)
    assert ours.scale == pytest.approx(theirs.scale, rel=1e-6)


def test_statsmodels_stops_early_and_says_converged(page: dict[str, Any]) -> None:
    early, closely, sums = page["early"], page["fit_part"], page["from_sums"]
    target = sums.cov_re.iloc[0, 0]
    assert early.converged and closely.converged
    assert closely.cov_re.iloc[0, 0] == pytest.approx(target, rel=1e-5)
    assert abs(early.cov_re.iloc[0, 0] / target - 1) > 1e-4
    assert abs(early.cov_re.iloc[0, 0] - target) < 0.05 * target * np.sqrt(2 / 50)
    assert round(early.cov_re.iloc[0, 0], 3) != round(target, 3)


def test_formulas_without_a_query_are_refused(page: dict[str, Any]) -> None:
    said = page["printed"]["groups-few"]
    for words in ("identifier", "add it to the", "there is no column 'breed'"):
        assert words in said


def test_a_small_limit_means_fewer_cores(tmp_path: Path) -> None:
    import duckdb

    from pylmm_helpers.sums.source import settle

    for limit, most in [("50MB", 1), ("110MB", 4), ("4GB", 32)]:
        with duckdb.connect(config={"threads": 32}) as database:
            settle(database, limit, str(tmp_path))
            found = database.execute("SELECT current_setting('threads')").fetchall()
        assert found == [(most,)]


@pytest.mark.parametrize("limit", ["0B", "100KB"])
def test_a_limit_too_small_to_open_the_file_is_named(limit: str, page: dict[str, Any]) -> None:
    with pytest.raises(MemoryError, match="Raise memory_limit"):
        cross_products(page["kept"], "milk_kg ~ parity", "herd", memory_limit=limit)


def test_tests_and_intervals_need_no_rows(page: dict[str, Any]) -> None:
    kept = page["kept"]
    formula, both = "milk_kg ~ parity", {"groups": "herd", "missing": "drop"}
    lean = [
        fit_lmm(cross_products(kept, formula, re_formula=r, **both)) for r in ("1 + parity", "1")
    ]
    rows = [fit_lmm(formula, kept, re_formula=r, **both) for r in ("1 + parity", "1")]
    with pytest.raises(ValueError, match="no rows"):
        lrt(*lean)
    by_hand = lean[1].criterion - lean[0].criterion
    assert lrt(*rows)["statistic"].iloc[0] == pytest.approx(by_hand, rel=1e-6)
    assert icc(lean[1])["ci_low"] == pytest.approx(icc(rows[1])["ci_low"], rel=1e-6)
    for fits in zip(lean, rows, strict=True):
        np.testing.assert_allclose(*(coef_table(fit) for fit in fits), rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(
            *(profile_ci(fit).select_dtypes("number") for fit in fits), rtol=1e-4
        )


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded lme4", "live lme4"])
def test_the_models_agree_with_lme4(
    recorded: bool, page: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The records hold no rows of these models; their digests must fit what the chapter makes."""
    from pylmm_helpers.lme4.check import _pymer4, crosscheck

    if recorded:
        monkeypatch.setenv("PYLMM_NO_R", "1")
    elif _pymer4()[0] is None:
        pytest.skip(_pymer4()[1])
    monkeypatch.chdir(tmp_path)  # the agreement records of the book stay as they are
    cells = [p for p in split(CHAPTER) if isinstance(p, Cell) and "crosscheck(" in p.code]
    seen: list[Any] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        seen.append(crosscheck(*arguments, **options))
        return seen[-1]

    names = {**page, "crosscheck": noted}
    for cell in cells:
        exec(compile(cell.code, f"{CHAPTER.name}:{cell.label}", "exec"), names)
    assert {a.record["label"] for a in seen} == {
        "register-rows",
        "register-slope",
        "register-weights",
    }
    assert all(a.agrees for a in seen)
    assert {a.record["data"] for a in seen} == {None}


def test_without_spark_the_cell_leaves_nothing_on_the_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = CHAPTER.read_text(encoding="utf-8")
    (code,) = re.findall(r"^#\| label: spark-run\n(.*?)^```", text, re.S | re.M)
    exec(compile(code, CHAPTER.name, "exec"), {"has_spark": False})
    assert capsys.readouterr().out == ""
    assert stands("H-large-data", "runs where Spark (`pip install pyspark`) and Java are installed")


def test_the_python_side_and_the_r_side_give_the_same_fit() -> None:
    python, r = blocks("H-large-data")
    fit = run_python(python)["fit"]
    whole = fit_lmm("milk_kg ~ parity", load("dairy_herds"), groups="herd")
    expected = [*whole.fe_params, whole.cov_re.iloc[0, 0], whole.scale]
    np.testing.assert_allclose(
        [*fit.fe_params, fit.cov_re.iloc[0, 0], fit.scale], expected, rtol=1e-6
    )
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    by_sums, fixed, variances = run_r(
        r, "by_sums", "fixef(fit)", "as.data.frame(VarCorr(fit))$vcov"
    )
    np.testing.assert_allclose(by_sums, expected, rtol=1e-5)
    np.testing.assert_allclose([*fixed, *variances], expected, rtol=1e-4)


def test_the_sample_misses_the_truth_by_its_model_not_by_its_size(page: dict[str, Any]) -> None:
    """ "holds neither the estimate from all herds nor the 1.5"; "which holds both"."""
    part, slopes, whole = page["part_parity"], page["part_slopes"], page["parity"]["estimate"]
    for value in (1.5, whole):
        assert not part["ci_low"] <= value <= part["ci_high"]
        assert slopes["ci_low"] <= value <= slopes["ci_high"]


def test_some_cows_of_all_herds_tell_more_of_the_population_than_all_cows_of_some() -> None:
    """The advice of "When a sample is enough", by simulation with a slope that varies.

    20 whole herds of 120 against 6 cows from each of 400 herds and 20 from each of 120, 2,400
    rows each; 150 replicates, so a ratio of two standard deviations is known to about an eighth.
    """
    rng = np.random.default_rng(1)
    designs = {"whole": (20, 120), "thin": (400, 6), "between": (120, 20)}
    found: dict[str, list[list[float]]] = {name: [] for name in designs}
    shrunk, last = {}, {}
    for _ in range(150):
        for design, (herds, cows) in designs.items():
            herd = np.repeat(np.arange(herds), cows)
            u, v = rng.normal(0, [3, 0.5], (herds, 2)).T
            parity = rng.integers(1, 7, herd.size)
            milk = 26 + u[herd] + (1.5 + v[herd]) * parity + rng.normal(0, 5, herd.size)
            data = pd.DataFrame({"milk": milk, "parity": parity, "herd": herd})
            fit = fit_lmm("milk ~ parity", data, groups="herd", re_formula="1 + parity")
            found[design].append([*fit.fe_params, fit.cov_re.iloc[0, 0], fit.cov_re.iloc[1, 1]])
            last[design] = data
    for design, data in last.items():
        level = fit_lmm("milk ~ 1", data, groups="herd")
        raw = data.groupby("herd")["milk"].mean()
        shrunk[design] = np.ptp(blups(level)["estimate"]) / np.ptp(raw)
    sd = {name: np.std(values, axis=0) for name, values in found.items()}
    # intercept, slope and variance between herds: the more herds the better
    assert (sd["thin"][:3] < 0.75 * sd["whole"][:3]).all()
    # the variance of slopes wants more than six cows a herd, and is better with twenty
    assert sd["thin"][3] > sd["whole"][3] > 0.95 * sd["between"][3]
    # the level of a herd of six is shrunk far, that of a whole herd hardly
    assert shrunk["thin"] < 0.85 < shrunk["whole"]


def later_lie_higher(p: Page) -> bool:
    few = p["few"]
    above = few["milk_kg"] > few.groupby("herd")["milk_kg"].transform("median")
    return above[few["parity"] >= 4].mean() > 0.6


def herds_set_the_standard_error(p: Page) -> bool:
    """Share of the squared standard error of parity that more cows could not take away."""
    of_herds = p["fit_full"].cov_re.iloc[1, 1] / p["fit_full"].ngroups
    return of_herds > 0.9 * p["full"].loc["parity", "std_error"] ** 2


def parts_miss(p: Page) -> bool:
    """In standard errors of the smaller model, which are too small, and of the one with slopes."""
    whole, part, slopes = p["parity"]["estimate"], p["part_parity"], p["part_slopes"]
    off = abs(part["estimate"] - whole) / part["std_error"]
    return off > 3 and abs(slopes["estimate"] - whole) < 2 * slopes["std_error"]


def a_few_hundred_kilobytes(p: Page) -> bool:
    """2,000 hospitals, a random slope and five to ten fixed effects, eight bytes a number."""
    sizes = [2000 * 2 * (fixed + 2 + 1) * 8 / 1000 for fixed in (5, 10)]
    return all(200 <= size <= 500 for size in sizes)


STATEMENTS: list[Statement] = [
    (
        "less than the files take on disk and much less than pandas would need",
        lambda p: p["on_disk"] > 50 and p["in_pandas"] > 4 * 50,
    ),
    ("lie mostly in the upper half of their herd", later_lie_higher),
    (
        "The means rise by several kilograms from left to right",
        lambda p: np.ptp(p["few_means"]) > 3,
    ),
    ("That interval holds neither the estimate from all herds nor the", parts_miss),
    (
        "then turns out to be several times as large",
        lambda p: p["se_ratio"] > 2.5,
    ),
    (
        "Six columns and",
        lambda p: (
            len(p["sums"]) == p["n_herds"] and {"n", "x", "y", "xx", "xy", "yy"} < set(p["sums"])
        ),
    ),
    (
        "there is a pair for every two or three rows",
        lambda p: 2 < p["n_parts"] * p["part_rows"] / p["pairs"] < 3.5,
    ),
    (
        "its estimates agree in all digits",
        lambda p: np.allclose(p["fits"][0].fe_params, p["fits"][1].fe_params, rtol=1e-7),
    ),
    (
        "On the left the points stand in six columns, at parities 1 to 6",
        lambda p: set(p["real"]["parity"]) == set(range(1, 7)),
    ),
    (
        "Milk falls with the days since calving, and the model knows nothing of it",
        lambda p: (
            (p["by_days"]["mean"].diff().iloc[1:] < 0.1).all()
            and p["by_days"]["mean"].iloc[0] > 4 > -4 > p["by_days"]["mean"].iloc[-1]
        ),
    ),
    (
        "days with one weighed milking scatter more than days with two",
        lambda p: p["by_milkings"].set_index("milkings")["SD"].diff().iloc[-1] < -0.5,
    ),
    (
        "lost about one test in a hundred",
        lambda p: len(p["by_season"]) == 4 and p["by_season"]["missing"].between(0.9, 1.1).all(),
    ),
    (
        "The fuller model finds the truth again.",
        lambda p: ((p["full"]["estimate"] - p["truth"]).abs() < 4 * p["full"]["std_error"]).all(),
    ),
    ("More cows in the same herds won't make it much smaller.", herds_set_the_standard_error),
    (
        "With $500$ cows in a group, hardly anything is left of the rows",
        lambda p: (p["shrunk"].loc[500].drop("rows") < 0.02 * p["shrunk"].loc[500, "rows"]).all(),
    ),
    (
        "With three, the products of a random slope are larger than the rows.",
        lambda p: p["shrunk"].loc[3, "random slope"] > p["shrunk"].loc[3, "rows"],
    ),
    (
        "The difference is small beside the uncertainty of fifty herds",
        lambda p: (
            abs(p["early"].cov_re.iloc[0, 0] / p["fit_part"].cov_re.iloc[0, 0] - 1)
            < 0.25 * np.sqrt(2 / 50)
        ),
    ),
    ("of all fifty million rows are a few hundred kilobytes", a_few_hundred_kilobytes),
    (
        "grows by the root of five hundred, more than twenty times",
        lambda p: np.isclose(50e6 / 100e3, 500) and np.sqrt(500) > 20,
    ),
]


@each(STATEMENTS)
def test_what_the_chapter_says_of_its_data_holds(page: Page, fragment: str, holds: Any) -> None:
    assert stands("H-large-data", fragment), "the chapter no longer says so"
    assert holds(page)


def test_fifty_stays_of_each_of_many_hospitals_show_a_slope_that_varies() -> None:
    """ "With fifty stays each even a slope that varies between them", at a third of the size.

    700 hospitals of 50, residual SD 5, slopes with SD 0.5; by the mixture of chi-squared
    distributions every one of six studies finds it.
    """
    assert stands("H-large-data", "With fifty stays each even a slope that varies between them")
    rng, hospital = np.random.default_rng(50), np.repeat(np.arange(700), 50)
    for _ in range(6):
        x = rng.normal(size=hospital.size)
        u, v = rng.normal(0, [2, 0.5], (700, 2)).T
        y = u[hospital] + (1 + v[hospital]) * x + rng.normal(0, 5, hospital.size)
        data = pd.DataFrame({"y": y, "x": x, "hospital": hospital})
        fits = [fit_lmm("y ~ x", data, "hospital", re_formula=r) for r in ("1 + x", "1")]
        assert lrt(*fits)["p_value"].iloc[0] < 0.05

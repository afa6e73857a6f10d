"""Fits of several random terms from a database's sums by cell equal fits of the rows, whatever the
source; bad input gives the same words, and memory is set by the cells."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import duckdb
import ibis
import numpy as np
import pandas as pd
import polars as pl
import pytest

from pylmm_helpers import (
    check_convergence,
    check_singular,
    coef_table,
    cross_products,
    fit_lmm,
    icc,
    information_criteria,
    predict,
    refit,
    residuals,
    variance_components,
)
from pylmm_helpers.engine import LMMResults, SeveralProducts, SeveralResults
from pylmm_helpers.sums import queries

# Ibis 12.0 still calls what DuckDB 2.0 has renamed
pytestmark = pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning")

#: Sums in another order differ by rounding, which the search for theta amplifies by the root.
EQUAL = 1e-8


def herds(n: int = 3_000) -> pd.DataFrame:
    """Cows of herds, crossed with days; `far` has mean 1e6, and cow labels start anew per herd."""
    rng = np.random.default_rng(20261126)
    herd, cow, day = (rng.integers(0, k, n) for k in (18, 9, 25))
    u, v, d = rng.normal(size=(18, 2)), rng.normal(size=(18, 9)), rng.normal(size=25)
    x, far = rng.normal(size=n), 1e6 + rng.normal(size=n)
    feed = rng.choice(["pasture", "mixed", "confined"], n)
    w = rng.uniform(0.5, 2, n)
    y = 20 + u[herd, 0] + (1 + 0.5 * u[herd, 1]) * x + 0.8 * v[herd, cow] + d[day]
    return pd.DataFrame(
        {
            "herd": [f"H{k:02d}" for k in herd],
            "number": herd + 1000,
            "cow": cow + 1,
            "sire": (herd * 9 + cow) // 3,
            "day": day,
            "x": x,
            "far": far,
            "feed": pd.Categorical(feed, categories=["pasture", "mixed", "confined"]),
            "sex": rng.choice(["f", "m"], n),
            "told": rng.random(n) < 0.4,
            "w": w,
            "y": y + (feed == "mixed") + 0.3 * (far - 1e6) + rng.normal(size=n) / np.sqrt(w),
        }
    )


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return herds()


def assert_same(lean: SeveralResults, rows: SeveralResults) -> None:
    """Everything that a fit says of itself and of its levels."""
    assert isinstance(lean, SeveralResults)
    assert lean.criterion == pytest.approx(rows.criterion, rel=EQUAL)
    assert (lean.nobs, lean.n_dropped) == (rows.nobs, rows.n_dropped)
    assert lean.scale == pytest.approx(rows.scale, rel=EQUAL)
    assert list(lean.fe_params.index) == list(rows.fe_params.index)
    np.testing.assert_allclose(lean.fe_params, rows.fe_params, rtol=EQUAL)
    np.testing.assert_allclose(lean.bse_fe, rows.bse_fe, rtol=EQUAL)
    assert lean.group_names == rows.group_names
    assert lean.ngroups_by_group == rows.ngroups_by_group
    assert (lean.aic, lean.n_params) == (pytest.approx(rows.aic, rel=EQUAL), rows.n_params)
    for name in rows.group_names:
        ours, theirs = (fit.cov_re_by_group[name] for fit in (lean, rows))
        size = max(float(np.abs(theirs.to_numpy()).max()), rows.scale)
        pd.testing.assert_frame_equal(ours, theirs, rtol=0, atol=EQUAL * size)
        np.testing.assert_array_equal(lean.sizes_by_group[name], rows.sizes_by_group[name])
        ours, theirs = (fit.random_effects_by_group[name] for fit in (lean, rows))
        size = float(np.abs(theirs.to_numpy()).max())
        pd.testing.assert_frame_equal(
            ours, theirs, rtol=0, atol=EQUAL * max(size, 1.0), check_index_type=False
        )
        ours, theirs = (fit.random_effects_var_by_group[name] for fit in (lean, rows))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=EQUAL * np.abs(theirs).max() + 1e-12)


@pytest.mark.parametrize(
    ("formula", "weights"),
    [
        ("y ~ x + (1 | herd) + (1 | herd:cow)", None),
        ("y ~ x + (1 + x | herd) + (1 | herd:cow)", "w"),
        ("y ~ x + feed + (1 | number/cow)", None),
        ("y ~ x * sex + (1 | number/sire/cow) + (1 | day)", "w"),
        ("y ~ far + (x || herd) + (1 | day)", None),
        ("y ~ far + x + (1 + far | herd) + (1 + x | day) + (1 | herd:day)", None),
        ("y ~ 0 + feed + (0 + sex | herd) + (1 | day)", "w"),
        ("y ~ x + (1 | herd) + (0 + x | herd)", None),
        ("y ~ C(feed, contr.sum) + told + offset(x) + (1 | day) + (0 + feed | herd)", None),
        ("np.log(w) ~ I(x**2) + (1 | herd:day) + (1 | cow)", None),
        ("y ~ 1 + (1 | herd:cow)", None),
    ],
)
def test_estimates_equal_those_from_the_rows(
    data: pd.DataFrame, formula: str, weights: str | None
) -> None:
    products = cross_products(data, formula, weights=weights)
    for reml in (True, False):
        rows = fit_lmm(formula, data, weights=weights, reml=reml)
        assert_same(fit_lmm(products, reml=reml), rows)


def test_one_bar_is_the_model_of_one_factor(data: pd.DataFrame) -> None:
    lean = fit_lmm(cross_products(data, "y ~ x + (1 + x | herd)"))
    other = fit_lmm(cross_products(data, "y ~ x", "herd", "1 + x"))
    assert isinstance(lean, LMMResults)
    assert lean.criterion == other.criterion
    np.testing.assert_array_equal(lean.theta, other.theta)


FORMULA = "y ~ x + feed + (1 + x | herd) + (1 | herd:cow) + (1 | day)"


@pytest.fixture(scope="module")
def rows_fit(data: pd.DataFrame) -> SeveralResults:
    return fit_lmm(FORMULA, data.astype({"feed": str}))


@pytest.fixture(scope="module")
def folder(data: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows in several Parquet files."""
    place = tmp_path_factory.mktemp("herds")
    for k, part in enumerate(np.array_split(np.arange(len(data)), 3)):
        data.astype({"feed": str}).iloc[part].to_parquet(place / f"part-{k}.parquet")
    return place


def test_frames_files_and_tables_give_the_same(
    data: pd.DataFrame, folder: Path, rows_fit: SeveralResults, tmp_path: Path
) -> None:
    plain = data.astype({"feed": str})
    file = tmp_path / "herds.parquet"
    plain.to_parquet(file)
    connection = ibis.duckdb.connect()
    connection.raw_sql(f"CREATE TABLE herds AS SELECT * FROM '{file}'")
    table = connection.table("herds")
    for source in (plain, pl.from_pandas(plain), file, folder, str(folder), table):
        assert_same(fit_lmm(cross_products(source, FORMULA)), rows_fit)
    connection.disconnect()


def test_categories_of_a_frame_keep_their_order(data: pd.DataFrame) -> None:
    own = data.assign(herd=pd.Categorical(data["herd"], sorted(set(data["herd"]))[::-1]))
    lean, rows = fit_lmm(cross_products(own, FORMULA)), fit_lmm(FORMULA, own)
    assert list(lean.labels_by_group["herd"]) == list(rows.labels_by_group["herd"])
    assert_same(lean, rows)


def test_several_passes_give_the_same_products(
    folder: Path, rows_fit: SeveralResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cells' sums would outgrow DuckDB's limit, a part of the cells at a time."""
    found = []
    monkeypatch.setattr(queries, "BYTES_A_GROUP", 2**23)

    def counted(*given: Any) -> int:
        found.append(real(*given))
        return found[-1]

    real = queries.passes
    monkeypatch.setattr(queries, "passes", counted)
    products = cross_products(folder, FORMULA, memory_limit="1GB")
    assert max(found) > 3
    assert_same(fit_lmm(products), rows_fit)


def test_more_products_than_one_query_takes(
    data: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "PRODUCTS_BY_GROUP", 3)
    assert_same(fit_lmm(cross_products(data, FORMULA)), fit_lmm(FORMULA, data))


def test_a_response_almost_reproduced_keeps_its_digits(data: pd.DataFrame) -> None:
    """The fixed effects leave a share of 1e-14 of the response: a second pass over the rows."""
    near = data.assign(y=1e7 * data["x"] + data["y"])
    formula = "y ~ x + (1 | herd) + (1 | day)"
    lean, rows = fit_lmm(cross_products(near, formula)), fit_lmm(formula, near)
    assert lean.scale == pytest.approx(rows.scale, rel=1e-6)
    np.testing.assert_allclose(lean.bse_fe, rows.bse_fe, rtol=1e-6)
    np.testing.assert_allclose(lean.fe_params, rows.fe_params, rtol=1e-8)


def test_rows_with_missing_values_are_refused_or_dropped(data: pd.DataFrame) -> None:
    holes = data.astype({"feed": str})
    rng = np.random.default_rng(7)
    for name in ("y", "x", "herd", "feed"):
        holes.loc[rng.choice(len(holes), 20, replace=False), name] = None
    holes["cow"] = holes["cow"].astype("Int64").mask(rng.random(len(holes)) < 0.01)
    for source in (holes, pl.from_pandas(holes)):
        with pytest.raises(
            ValueError, match=r"'y' \(20\), 'herd' \(20\), 'cow' \(\d+\).*missing='drop'"
        ):
            cross_products(source, FORMULA)
        rows = fit_lmm(FORMULA, holes, missing="drop")
        lean = fit_lmm(cross_products(source, FORMULA, missing="drop"))
        assert lean.n_dropped == rows.n_dropped > 80
        assert_same(lean, rows)


def same_summary(lean: Any, rows: Any) -> None:
    """Equal but for the column that says where a predictor varies, which only rows can tell."""
    found, wanted = lean.summary(), rows.summary()
    assert (found.header, found.notes) == (wanted.header, wanted.notes)
    assert str(found.random) == str(wanted.random)
    pd.testing.assert_frame_equal(found.fixed, wanted.fixed.drop(columns="varies"), rtol=1e-6)


def changed(**columns: Any) -> pd.DataFrame:
    return herds().assign(**columns)


BAD: dict[str, tuple[pd.DataFrame, str]] = {
    "unknown column": (herds(), "y ~ x + (1 | herd) + (1 | herb)"),
    "infinite": (changed(x=lambda d: d["x"].mask(d.index == 3, np.inf)), "y ~ x + (1 | herd/cow)"),
    "constant": (changed(x=1.0), "y ~ x + (1 | herd/cow)"),
    "constant response": (changed(y=2.5), "y ~ x + (1 | herd/cow)"),
    "collinear": (changed(z=lambda d: 2 * d["x"]), "y ~ x + z + (1 | herd/cow)"),
    "collinear slopes": (changed(z=lambda d: 2 * d["x"]), "y ~ x + (1 + x + z | herd) + (1 | day)"),
    "one level": (changed(farm="a"), "y ~ x + (1 | farm) + (1 | herd)"),
    "as many levels as rows": (
        changed(row=lambda d: np.arange(len(d))),
        "y ~ x + (1 | herd) + (1 | row)",
    ),
    "repeated factor": (herds(), "y ~ x + (1 | herd) + (1 | number)"),
    "repeated combination": (herds(), "y ~ x + (1 | herd:cow) + (1 | number:cow)"),
    "repeated effect": (herds(), "y ~ x + (1 | herd) + (1 + x | herd)"),
    "too few levels": (
        changed(half=lambda d: d["day"] % 2, z=lambda d: d["far"] - 1e6),
        "y ~ x + (1 + x | half) + (1 | herd)",
    ),
    "unidentified slope": (
        changed(arm=lambda d: (d["number"] % 2).astype(float)),
        "y ~ arm + (0 + arm | herd) + (1 + arm | number:cow)",
    ),
    "truth in a double bar": (herds(), "y ~ x + (told || herd) + (1 | day)"),
    "categories in a double bar": (herds(), "y ~ x + (feed || herd) + (1 | day)"),
    "exact response": (changed(y=lambda d: 3 * d["x"] + 1), "y ~ x + (1 | herd) + (1 | day)"),
    "bars and groups": (herds(), "y ~ x + (1 | herd) + groups"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_the_same_words(case: str) -> None:
    data, formula = BAD[case]
    with pytest.raises(ValueError) as rows:
        fit_lmm(formula, data)
    with pytest.raises(ValueError) as lean:
        fit_lmm(cross_products(data, formula))
    assert str(lean.value) == str(rows.value)


def test_double_bars_that_mean_something_are_taken(data: pd.DataFrame) -> None:
    """Numbers and coded numbers that one made-up row could confuse are not refused."""
    formula = "y ~ x + (0 + feed + x || herd) + (1 | day)"
    assert_same(fit_lmm(cross_products(data, formula)), fit_lmm(formula, data))


def test_two_ways_of_naming_terms_and_a_list_are_refused(data: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="random terms in it"):
        cross_products(data, "y ~ x + (1 | herd) + (1 | day)", "herd")
    with pytest.raises(ValueError, match="part of the cross products"):
        fit_lmm(cross_products(data, "y ~ x + (1 | herd/cow)"), data)


def test_labels_used_twice_are_pointed_out(data: pd.DataFrame) -> None:
    formula = "y ~ x + (1 | herd) + (1 | cow)"
    with pytest.warns(UserWarning, match="taken as crossed") as rows:
        fit_lmm(formula, data)
    products = cross_products(data, formula)
    with pytest.warns(UserWarning, match="taken as crossed") as lean:
        fit = fit_lmm(products)
    assert str(lean[0].message) == str(rows[0].message)
    assert lean[0].filename == __file__
    assert fit.remarks


def test_helpers_work_without_rows_or_say_why_not(
    data: pd.DataFrame, rows_fit: SeveralResults
) -> None:
    lean = fit_lmm(cross_products(data.astype({"feed": str}), FORMULA))
    for df in ("satterthwaite", "kenward-roger", "wald"):
        tables = [coef_table(fit, df=df).to_numpy(float) for fit in (lean, rows_fit)]
        np.testing.assert_allclose(*tables, rtol=1e-6, atol=1e-12)
    numbers = [variance_components(fit)["variance"] for fit in (lean, rows_fit)]
    np.testing.assert_allclose(*numbers, rtol=1e-7)
    assert str(check_singular(lean)) == str(check_singular(rows_fit))
    same_summary(lean, rows_fit)
    assert check_convergence(lean) is not None
    one, two = (information_criteria(fit) for fit in (lean, rows_fit))
    np.testing.assert_allclose(one["aic"], two["aic"], rtol=EQUAL)
    shares = [icc(fit, method="delta") for fit in (lean, rows_fit)]
    np.testing.assert_allclose(*(s["estimate"] for s in shares), rtol=1e-7)
    for name in ("resid", "fittedvalues", "X", "y", "frame", "offset"):
        with pytest.raises(ValueError, match="made from cross products: it has no rows"):
            getattr(lean, name)
    for helper in (
        lambda: residuals(lean),
        lambda: predict(lean, data),
        lambda: refit(lean, data["y"]),
    ):
        with pytest.raises(ValueError, match="cross products"):
            helper()


def test_weights_are_told_and_kept(data: pd.DataFrame) -> None:
    formula = "y ~ x + (1 | herd/cow)"
    lean = fit_lmm(cross_products(data, formula, weights="w"))
    rows = fit_lmm(formula, data, weights="w")
    same_summary(lean, rows)
    assert "The fit has weights" in str(lean.summary())
    # without a weight there is no total, for which the rows would be needed
    numbers = [variance_components(fit)["variance"].dropna() for fit in (lean, rows)]
    np.testing.assert_allclose(*numbers, rtol=1e-7)


def test_products_and_fit_survive_a_file(data: pd.DataFrame) -> None:
    products = cross_products(data, FORMULA)
    kept = pickle.loads(pickle.dumps(products))
    assert isinstance(kept, SeveralProducts)
    fit = fit_lmm(kept)
    assert fit.criterion == fit_lmm(products).criterion
    assert pickle.loads(pickle.dumps(fit)).criterion == fit.criterion
    assert repr(products) == (
        f"<SeveralProducts: y by herd:cow and day and herd, n = 3000 in {products.ncells} cells>"
    )


def test_memory_is_set_by_cells() -> None:
    """A million rows with 1e5 cows: Python holds a few numbers for each cow, four times the rows
    take no more, and both stay below what the columns of the rows would need."""
    cows, peaks = 100_000, []
    for n in (1_000_000, 4_000_000):
        connection = ibis.duckdb.connect()
        connection.raw_sql(f"""
            CREATE VIEW cells AS SELECT i % {cows} AS cow, (i % {cows}) % 400 AS herd, x,
              x + ((hash(i % {cows}) % 1000) + (hash((i % {cows}) % 400 + 7) % 1000)
              + (hash(i + 13) % 2000)) / 1000 AS y
            FROM (SELECT i, (hash(i + 5) % 1000) / 1000 AS x FROM range({n}) AS numbers(i))
        """)
        table = connection.table("cells")
        tracemalloc.start()
        products = cross_products(table, "y ~ x + (1 | herd/cow)", progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        connection.disconnect()
        assert (products.nobs, products.ncells) == (n, cows)
    # labels, codes, sizes and six sums a cell, each held a few times over on the way
    assert peaks[0] < 600 * cows
    # what does grow is nothing
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 4_000_000 * 4 * 8
    fit = fit_lmm(products)
    assert fit.ngroups_by_group == {"herd:cow": cows, "herd": 400}
    assert fit.fe_params["x"] == pytest.approx(1.0, abs=0.01)


@pytest.fixture
def spark_table(
    data: pd.DataFrame, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The rows as an Ibis table of a local Spark session."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()
    yield ibis.pyspark.connect(session).read_parquet(str(folder))
    session.stop()


@pytest.mark.skipif(
    find_spec("pyspark") is None,
    reason="pyspark isn't installed; pip install -r requirements-spark.lock adds it",
)
@pytest.mark.skipif(
    which("java") is None and "JAVA_HOME" not in os.environ,
    reason="Spark needs Java; Debian's package openjdk-17-jre-headless has it",
)
def test_spark_gives_the_same(
    spark_table: Any, rows_fit: SeveralResults, data: pd.DataFrame
) -> None:
    assert_same(fit_lmm(cross_products(spark_table, FORMULA)), rows_fit)
    formula = "y ~ far + sex + (1 + far | number/cow)"
    rows = fit_lmm(formula, data, weights="w")
    assert_same(fit_lmm(cross_products(spark_table, formula, weights="w")), rows)


def test_sums_of_a_database_that_others_fill(folder: Path, rows_fit: SeveralResults) -> None:
    """A DuckDB connection of one's own, opened through Ibis."""
    own = duckdb.connect()
    own.execute(f"CREATE TABLE milk AS SELECT * FROM '{folder}/*.parquet'")
    table = ibis.duckdb.from_connection(own).table("milk")
    assert_same(fit_lmm(cross_products(table, FORMULA)), rows_fit)
    own.close()

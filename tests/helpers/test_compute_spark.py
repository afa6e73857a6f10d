"""Cross products from Spark in local mode are those of DuckDB, and the book's Spark code runs.

Needs pyspark (`requirements-spark.lock`) and Java; skipped where either is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from pylmm_helpers import cross_products, fit_lmm
from pylmm_helpers.engine.products import CrossProducts

CHAPTER = Path(__file__).parents[2] / "chapters" / "H-large-data.qmd"

pytestmark = [
    pytest.mark.skipif(
        find_spec("pyspark") is None,
        reason="pyspark isn't installed; pip install -r requirements-spark.lock adds it",
    ),
    pytest.mark.skipif(
        which("java") is None and "JAVA_HOME" not in os.environ,
        reason="Spark needs Java; Debian's package openjdk-17-jre-headless has it",
    ),
    # Ibis 12.0 still calls what DuckDB 2.0 has renamed
    pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning"),
]


def register(n: int = 20_000, ngroups: int = 200) -> pd.DataFrame:
    """Rows with the columns of the chapter's register; `far` has mean 1e6."""
    rng = np.random.default_rng(20261125)
    herd = rng.integers(0, ngroups, n)
    u = rng.normal(0, [3, 0.5], (ngroups, 2))
    rows = pd.DataFrame(
        {
            "herd": herd + 1,
            "parity": rng.integers(1, 7, n),
            "days": rng.integers(1, 301, n),
            "season": rng.choice(["autumn", "spring", "summer", "winter"], n),
            "milkings": rng.integers(1, 3, n),
        }
    )
    milk = 26 + u[herd, 0] + (1.5 + u[herd, 1]) * rows["parity"] - 0.03 * rows["days"]
    milk += rng.normal(0, 5, n) / np.sqrt(rows["milkings"])
    rows["far"] = 1e6 + rows["days"] + rng.normal(size=n)
    rows["level"] = rows["herd"] + 1e-6 * rng.normal(size=n)
    rows["milk_kg"] = milk.mask(rng.random(n) < 0.01)
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The register in several Parquet files."""
    place = tmp_path_factory.mktemp("register")
    for k, part in enumerate(np.array_split(np.arange(20_000), 3)):
        register().iloc[part].to_parquet(place / f"part-{k}.parquet")
    return place


@pytest.fixture
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Spark leaves in the working folder goes with the test; no network is looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


@pytest.fixture
def spark_table(quiet_place: None, folder: Path) -> Iterator[Any]:
    """The register as an Ibis table of a local Spark session."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()
    yield ibis.pyspark.connect(session).read_parquet(str(folder))
    session.stop()


def assert_same_products(ours: CrossProducts, theirs: CrossProducts, rtol: float = 1e-10) -> None:
    """Every product, relative to the largest of its kind: a sum of centred values may be near 0."""
    assert list(ours.group_labels) == list(theirs.group_labels)
    np.testing.assert_array_equal(ours.sizes, theirs.sizes)
    assert ours.n_dropped == theirs.n_dropped
    assert (ours.x_names, ours.z_names) == (theirs.x_names, theirs.z_names)
    assert ours.sum_log_weights == pytest.approx(theirs.sum_log_weights, rel=rtol)
    for name in ("ZtZ", "ZtR"):
        one, two = getattr(ours, name), getattr(theirs, name)
        size = np.abs(two).max(axis=-1, keepdims=True)
        assert np.all(np.abs(one - two) <= rtol * size), name
    size = np.sqrt(np.outer(np.diag(theirs.RtR), np.diag(theirs.RtR)))
    assert np.all(np.abs(ours.RtR - theirs.RtR) <= rtol * size)


def test_spark_gives_the_products_of_duckdb(spark_table: Any, folder: Path) -> None:
    for formula, re_formula, weights in [
        ("milk_kg ~ parity", "1", None),
        ("milk_kg ~ parity + I(days / 100) + season", "1 + parity", "milkings"),
        ("milk_kg ~ C(parity) * days + np.log(days)", "1", None),
        ("milk_kg ~ far", "1 + far", None),
    ]:
        arguments = (formula, "herd", re_formula, weights, "drop")
        ours, theirs = cross_products(spark_table, *arguments), cross_products(folder, *arguments)
        assert_same_products(ours, theirs)
        one, two = fit_lmm(ours), fit_lmm(theirs)
        assert one.criterion == pytest.approx(two.criterion, rel=1e-10)
        np.testing.assert_allclose(one.fe_params, two.fe_params, rtol=1e-8)
        np.testing.assert_allclose(one.cov_re, two.cov_re, rtol=1e-7)


def test_a_second_look_at_the_rows_runs_on_spark_too(spark_table: Any, folder: Path) -> None:
    """Almost all of `level` lies between herds, so that the products alone don't do."""
    arguments = ("milk_kg ~ level", "herd", "1", None, "drop")
    one, two = (fit_lmm(cross_products(place, *arguments)) for place in (spark_table, folder))
    np.testing.assert_allclose(one.fe_params, two.fe_params, rtol=1e-6)
    np.testing.assert_allclose(one.bse_fe, two.bse_fe, rtol=1e-6)


def test_spark_refuses_in_the_same_words(spark_table: Any, folder: Path) -> None:
    count = int(register()["milk_kg"].isna().sum())
    for place in (spark_table, folder):
        with pytest.raises(ValueError, match=rf"'milk_kg' \({count}\).*missing='drop'"):
            cross_products(place, "milk_kg ~ parity", "herd")


def test_the_code_of_the_chapter_runs_and_agrees(
    quiet_place: None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CHAPTER.read_text(encoding="utf-8")
    pattern = r"^```\{python\}\n#\| label: (spark-\w+)\n(.*?)^```"
    cells = dict(re.findall(pattern, text, re.S | re.M))
    assert list(cells) == ["spark-here", "spark-run"]
    here = cross_products(folder, "milk_kg ~ parity", groups="herd", missing="drop")
    names: dict[str, Any] = {
        "folder": folder, "cross_products": cross_products, "fit_lmm": fit_lmm,
        "ibis": ibis, "fit": fit_lmm(here),
    }  # fmt: skip
    for label, code in cells.items():
        exec(compile(code, f"{CHAPTER.name} {label}", "exec"), names)
    assert names["has_spark"]
    assert_same_products(names["spark_products"], here)
    assert names["spark_fit"].criterion == pytest.approx(names["fit"].criterion, rel=1e-10)
    assert names["off"] < 1e-10
    assert re.search(r"Spark: parity \d\.\d{8}, .* DuckDB", capsys.readouterr().out, re.S)

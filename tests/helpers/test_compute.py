"""Fits from cross products of a database equal fits of the rows, whatever the source; bad input
gives the same words."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import polars as pl
import pytest
from test_lmm_bad_input import BAD, good

from pylmm_helpers import (
    coef_table,
    cross_products,
    fit_lmm,
    icc,
    load,
)
from pylmm_helpers.engine.results import LMMResults
from pylmm_helpers.sums import queries, source

# Ibis 12.0 still calls what DuckDB 2.0 has renamed
pytestmark = pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning")

RNG_SEED = 20261124
DOUBLE = 2.0


def sample(n: int = 4_000, ngroups: int = 120) -> pd.DataFrame:
    """Rows with every kind of column; x has mean 1e6."""
    rng = np.random.default_rng(RNG_SEED)
    g = rng.integers(0, ngroups, n)
    u = rng.normal(size=(ngroups, 2))
    z = rng.normal(size=n)
    x = 1e6 + rng.normal(size=n)
    feed = rng.choice(["pasture", "mixed", "confined"], n)
    y = 3 + 0.5 * (x - 1e6) + u[g, 0] + (1 + 0.4 * u[g, 1]) * z + (feed == "mixed")
    return pd.DataFrame(
        {
            "herd": g + 1000,
            "x": x,
            "z": z,
            "feed": pd.Categorical(feed, categories=["pasture", "mixed", "confined"]),
            "sex": rng.choice(["f", "m"], n),
            "k": rng.integers(1, 4, n),
            "told": rng.random(n) < 0.4,
            "w": rng.uniform(0.5, 2, n),
            "y": y + rng.normal(size=n),
        }
    )


def assert_same(lean: LMMResults, rows: LMMResults, rtol: float = 1e-8) -> None:
    """Names, estimates, criterion, tests and predictions."""
    assert list(lean.fe_params.index) == list(rows.fe_params.index)
    assert list(lean.cov_re.index) == list(rows.cov_re.index)
    np.testing.assert_allclose(lean.fe_params, rows.fe_params, rtol=rtol)
    np.testing.assert_allclose(lean.bse_fe, rows.bse_fe, rtol=rtol)
    size = float(np.abs(rows.cov_re.to_numpy()).max())
    np.testing.assert_allclose(lean.cov_re, rows.cov_re, rtol=rtol, atol=rtol * size)
    assert lean.scale == pytest.approx(rows.scale, rel=rtol)
    assert lean.criterion == pytest.approx(rows.criterion, rel=rtol, abs=1e-6)
    assert lean.nobs == rows.nobs and lean.n_dropped == rows.n_dropped
    pd.testing.assert_frame_equal(
        lean.random_effects, rows.random_effects, rtol=1e-6, atol=1e-7, check_index_type=False
    )


@pytest.mark.parametrize(
    ("formula", "re_formula"),
    [
        ("y ~ 1", "1"),
        ("y ~ x", "1"),
        ("y ~ x", "1 + z"),
        ("y ~ x + z", "1 + x + z"),
        ("y ~ z * feed + sex", "1 + z"),
        ("y ~ feed:sex + z", "1"),
        ("y ~ C(k) * z + told", "1"),
        ("y ~ told:z + sex * told", "0 + told"),
        ("y ~ 0 + feed + z", "1 + z"),
        ("y ~ 0 + z", "1"),
        ("y ~ 0 + C(k)", "0 + z"),
        ("y ~ z", "0 + sex"),
        ("np.exp(z) ~ I(x - 1e6) + I(z**2) + np.log(w) + {z * w}", "1"),
        ("y ~ C(feed, contr.sum) + C(k, contr.treatment(base=2))", "1"),
        ("y ~ C(sex, levels=['m', 'f']) + C(k, contr.poly)", "1"),
        ("y ~ I(z > 0) + I(sex == 'f') + np.abs(z) + I(w / 2 - z)", "1"),
        ("y ~ I((z > 0) & (w < 1)) + np.sqrt(w) + I(-z)", "1"),
        ("y ~ I(DOUBLE * z) + {w**2}", "1"),
        ("np.log(w) ~ z", "1 + np.log(k)"),
    ],
)
@pytest.mark.parametrize("weights", [None, "w"])
def test_estimates_equal_those_from_the_rows(
    formula: str, re_formula: str, weights: str | None
) -> None:
    data = sample()
    rows = fit_lmm(formula, data, "herd", re_formula, weights=weights)
    lean = fit_lmm(cross_products(data, formula, "herd", re_formula, weights))
    assert_same(lean, rows)


def test_ml_tests_and_icc_work_without_rows() -> None:
    data = sample()
    rows = fit_lmm("y ~ x + feed", data, "herd", reml=False)
    lean = fit_lmm(cross_products(data, "y ~ x + feed", "herd"), reml=False)
    assert_same(lean, rows)
    tests = [coef_table(fit, df="satterthwaite") for fit in (lean, rows)]
    np.testing.assert_allclose(*tests, rtol=1e-6, atol=1e-12)
    reml = [fit_lmm(cross_products(data, "y ~ x", "herd")), fit_lmm("y ~ x", data, "herd")]
    np.testing.assert_allclose(*(coef_table(fit) for fit in reml), rtol=1e-6, atol=1e-12)
    assert icc(lean)["estimate"] == pytest.approx(icc(rows)["estimate"], rel=1e-8)
    assert "feed[T.mixed]" in str(lean.summary())
    for name in ("resid", "fittedvalues", "X", "formula"):
        with pytest.raises(ValueError, match="cross products"):
            getattr(lean, name)


def test_a_large_mean_keeps_ten_digits() -> None:
    """The dairy data, checked against lme4 elsewhere, moved by a million."""
    dairy = load("dairy_herds")
    rows = fit_lmm("milk_kg ~ parity", dairy, "herd", "1 + parity")
    far = dairy.assign(parity=dairy["parity"] + 1e6)
    lean = fit_lmm(cross_products(far, "milk_kg ~ parity", "herd", "1 + parity"))
    assert lean.fe_params["parity"] == pytest.approx(rows.fe_params["parity"], rel=1e-10)
    assert lean.bse_fe["parity"] == pytest.approx(rows.bse_fe["parity"], rel=1e-10)
    assert lean.scale == pytest.approx(rows.scale, rel=1e-10)
    assert lean.criterion == pytest.approx(rows.criterion, rel=1e-10)
    moved = lean.fe_params["Intercept"] + 1e6 * lean.fe_params["parity"]
    assert moved == pytest.approx(rows.fe_params["Intercept"], rel=1e-8)


LME4_AT = """
suppressMessages(library(lme4))
args <- commandArgs(TRUE); d <- read.csv(args[1])
f <- lmer(milk_kg ~ parity + (1 + parity | herd), d, devFunOnly = TRUE)
value <- f(as.numeric(args[2:4])); pp <- environment(f)$pp
cat(sprintf("%.17g", c(value, pp$beta(1))))
"""


def test_a_mean_of_a_million_keeps_ten_digits_of_lme4(tmp_path: Path) -> None:
    """lme4 gets the column before it is moved, and the same theta, so that no stopping rule of an
    optimiser comes between the digits."""
    if shutil.which("Rscript") is None:
        pytest.skip("R with lme4 isn't installed")
    dairy = load("dairy_herds")[["herd", "parity", "milk_kg"]]
    dairy["parity"] -= 3
    far = dairy.assign(parity=dairy["parity"] + 1e6)
    lean = fit_lmm(cross_products(far, "milk_kg ~ parity", "herd", "1 + parity"))
    fit = fit_lmm("milk_kg ~ parity", dairy, "herd", "1 + parity")
    dairy.to_csv(tmp_path / "dairy.csv", index=False)
    (tmp_path / "at.R").write_text(LME4_AT)
    theta = [repr(float(value)) for value in fit.theta]
    done = subprocess.run(
        ["Rscript", "--vanilla", tmp_path / "at.R", tmp_path / "dairy.csv", *theta],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"lme4 did not run: {done.stderr[-200:]}")
    criterion, _, slope = map(float, done.stdout.split())
    assert lean.fe_params["parity"] == pytest.approx(slope, rel=1e-10)
    assert lean.criterion == pytest.approx(criterion, rel=1e-10)


def test_a_centre_far_from_the_first_rows_is_found() -> None:
    data = sample()
    data["x"] = data["x"].where(np.arange(len(data)) > 1_000, 1e9)
    data["step"] = np.where(np.arange(len(data)) < 1_500, 5e8, data["z"])
    data = data[np.arange(len(data)) >= 500].reset_index(drop=True)
    data.loc[:999, "x"] = 1e6
    rows = fit_lmm("y ~ x + step", data, "herd")
    assert_same(fit_lmm(cross_products(data, "y ~ x + step", "herd")), rows)


def test_almost_all_variation_between_groups() -> None:
    data = sample()
    data["y"] = 1e6 * (data["herd"] % 7) + 1e-3 * data["y"]
    data["level"] = data["herd"] * 1.0 + 1e-6 * data["z"]
    for formula, re_formula in (("y ~ z", "1"), ("y ~ level", "1"), ("y ~ z + sex", "1 + z")):
        rows = fit_lmm(formula, data, "herd", re_formula)
        lean = fit_lmm(cross_products(data, formula, "herd", re_formula))
        assert lean.scale == pytest.approx(rows.scale, rel=1e-7)
        np.testing.assert_allclose(lean.bse_fe, rows.bse_fe, rtol=1e-6)


def test_a_response_that_the_predictors_almost_fix() -> None:
    data = sample()
    data["y"] = 1e5 * data["z"] + data["y"]
    rows = fit_lmm("y ~ z + x", data, "herd")
    lean = fit_lmm(cross_products(data, "y ~ z + x", "herd"))
    assert lean.scale == pytest.approx(rows.scale, rel=1e-6)
    np.testing.assert_allclose(lean.fe_params, rows.fe_params, rtol=1e-8)
    np.testing.assert_allclose(lean.bse_fe, rows.bse_fe, rtol=1e-6)


# --- sources ----------------------------------------------------------------------------------


def sources(data: pd.DataFrame, folder: Path) -> dict[str, Any]:
    file, parts = folder / "rows.parquet", folder / "parts"
    data.to_parquet(file)
    (parts / "deep").mkdir(parents=True)
    data.iloc[:1500].to_parquet(parts / "a.parquet")
    data.iloc[1500:].to_parquet(parts / "deep" / "b.parquet")
    return {
        "pandas": data,
        "Polars": pl.from_pandas(data),
        "file": file,
        "file as text": str(file),
        "folder": parts,
        "memtable": ibis.memtable(data),
        "DuckDB": ibis.duckdb.connect().read_parquet(file),
    }


@pytest.mark.parametrize(
    "kind", ["pandas", "Polars", "file", "file as text", "folder", "memtable", "DuckDB"]
)
def test_every_source_gives_the_same(kind: str, tmp_path: Path) -> None:
    data = sample().astype({"feed": str})
    rows = fit_lmm("y ~ z + feed + told", data, "herd", "1 + z")
    products = cross_products(
        sources(data, tmp_path)[kind], "y ~ z + feed + told", "herd", "1 + z", progress=False
    )
    assert_same(fit_lmm(products), rows)
    assert products.ngroups == 120 and products.sizes.sum() == len(data)


def test_categories_of_a_frame_keep_their_order() -> None:
    data = sample()
    herds = [str(h) for h in range(1119, 999, -1)]
    data["herd"] = pd.Categorical(data["herd"].astype(str), categories=herds)
    data["k"] = pd.Categorical(data["k"], categories=[2, 3, 1])
    data["feed"] = data["feed"].cat.add_categories("unused")
    rows = fit_lmm("y ~ feed + k", data, "herd")
    lean = fit_lmm(cross_products(data, "y ~ feed + k", "herd"))
    assert_same(lean, rows)
    assert list(lean.fe_params.index)[1:3] == ["feed[T.mixed]", "feed[T.confined]"]
    assert lean.random_effects.index[0] == "1119"


@pytest.mark.parametrize("kind", [pl.Categorical(), pl.Enum(["pasture", "mixed", "confined"])])
def test_categories_of_polars_are_those_of_the_rows(kind: Any) -> None:
    data = pl.from_pandas(sample().astype({"feed": str})).with_columns(pl.col("feed").cast(kind))
    rows = fit_lmm("y ~ feed", data, "herd")
    assert_same(fit_lmm(cross_products(data, "y ~ feed", "herd")), rows)


def test_columns_with_odd_names() -> None:
    data = sample().rename(columns={"z": "days in milk", "herd": "herd id", "feed": "feed (kind)"})
    formula = "y ~ `days in milk` + `feed (kind)` + I(`days in milk` ** 2)"
    rows = fit_lmm(formula, data, "herd id")
    assert_same(fit_lmm(cross_products(data, formula, "herd id")), rows)


@pytest.mark.parametrize("label", [str, float, lambda h: f"herd {h}"])
def test_group_labels_keep_their_type_and_order(label: Any) -> None:
    data = sample()
    data["herd"] = data["herd"].map(label)
    rows = fit_lmm("y ~ z", data, "herd")
    assert_same(fit_lmm(cross_products(data, "y ~ z", "herd")), rows)


def test_small_types_do_not_overflow() -> None:
    data = sample().astype({"k": np.int8, "herd": np.int32})
    data["n"] = (data["z"] * 10_000).astype(np.int32)
    rows = fit_lmm("y ~ I(n * 1.0 * n) + n:k", data, "herd")
    lean = fit_lmm(cross_products(data, "y ~ I(n * 1.0 * n) + n:k", "herd"))
    assert_same(lean, rows)


# --- missing values ---------------------------------------------------------------------------


def with_gaps() -> pd.DataFrame:
    data = sample().astype({"feed": object, "sex": object})
    rng = np.random.default_rng(1)
    for name in ("x", "z", "feed", "sex", "y", "w", "herd"):
        data.loc[rng.random(len(data)) < 0.02, name] = None
    # a category that only incomplete rows have
    data.loc[data.index[data["y"].isna()][:3], "feed"] = "unknown"
    return data


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("as_polars", [False, True])
def test_missing_rows_are_dropped_and_counted(weights: str | None, as_polars: bool) -> None:
    data = with_gaps()
    given = pl.from_pandas(data) if as_polars else data
    formula = "y ~ x + feed * z"
    rows = fit_lmm(formula, data, "herd", "1 + z", weights=weights, missing="drop")
    products = cross_products(given, formula, "herd", "1 + z", weights, missing="drop")
    assert_same(fit_lmm(products), rows)
    assert products.n_dropped == rows.n_dropped > 100


def test_missing_values_are_refused_with_counts() -> None:
    data = with_gaps()
    count = int(data["z"].isna().sum())
    with pytest.raises(ValueError, match=rf"'z' \({count}\).*missing='drop'"):
        cross_products(data, "y ~ z", "herd")
    nan = pl.DataFrame({"y": [1.0, float("nan")] * 10, "g": [1, 2] * 10})
    with pytest.raises(ValueError, match=r"'y' \(10\)"):
        cross_products(nan, "y ~ 1", "g")


# --- bad input --------------------------------------------------------------------------------

#: Cases of `fit_lmm` that a table can't have, or that read differently here.
ELSEWHERE = {
    "complex numbers", "column name twice", "no table", "groups left out",
    "weights of another length", "negative weights", "lme4's bar",
}  # fmt: skip


@pytest.mark.parametrize("case", [name for name in BAD if name not in ELSEWHERE])
def test_bad_input_gives_the_words_of_fit_lmm(case: str) -> None:
    data, changes, words = BAD[case]
    arguments = {"formula": "y ~ x", "groups": "g", **changes}
    weights = arguments.get("weights")
    if weights is not None and not isinstance(weights, str):
        data, arguments["weights"] = data.assign(w_=weights), "w_"
    reml = arguments.pop("reml", True)
    with pytest.raises(ValueError, match=words) as ours:
        fit_lmm(cross_products(data, **arguments), reml=reml)
    with pytest.raises(ValueError) as theirs:
        fit_lmm(arguments.pop("formula"), data, reml=reml, **arguments)
    assert same_words(str(ours.value)) == same_words(str(theirs.value))


def test_a_bar_beside_groups_is_refused() -> None:
    data = BAD["lme4's bar"][0]
    with pytest.raises(ValueError, match="random terms in it, so groups= and"):
        cross_products(data, "y ~ x + (1 | g)", "g")
    with pytest.raises(ValueError, match="groups is missing"):
        cross_products(data, "y ~ x")


def same_words(message: str) -> str:
    """The message without what depends on the last digits or on how a type is called."""
    return message.split(" has type ")[0].split("constant (")[0]


@pytest.mark.parametrize(
    ("source", "changes", "words"),
    [
        ([1, 2], {}, "source must be a pandas or Polars DataFrame.*not list"),
        (pl.DataFrame({"y": [1.0]}).lazy(), {}, r"LazyFrame.*\.collect\(\).*\.sink_parquet"),
        (ibis.table({"y": "float64"}, name="t"), {}, "no database; take it from a connection"),
        ("s3://bucket/rows.parquet", {}, "not on this computer; open it with Ibis"),
        (good().assign(X=1.0), {}, "'x' and 'X' differ in upper and lower case only.*rename one"),
        (good().assign(t=[(1, 2)] * 60), {"groups": "t"}, "'t' has type array.*turn it into text"),
        (
            good().assign(t=pd.to_timedelta(range(60), "D")), {"groups": "t"},
            "'t' has type interval.*turn it into text",
        ),
        (good().assign(t=["a", 1] * 30), {"groups": "t"}, "column 't' can't be read.*or text"),
        (good().assign(t=[2**80] * 60), {"groups": "t"}, "column 't' can't be read.*or text"),
        ("nowhere.parquet", {}, "no file or folder 'nowhere.parquet'"),
        (__file__, {}, "not a Parquet file"),
        (Path(__file__).parent / "data", {}, "holds no file that ends in .parquet"),
        (pd.concat([good(), good()[["x"]]], axis=1), {}, "'x' stands more than once"),
        (good(), {"weights": np.ones(60)}, "weights must be the name of a column.*ndarray"),
        (good().assign(w=-1.0), {"weights": "w"}, "'w' must be positive and finite, but 60"),
        (good().assign(w="a"), {"weights": "w"}, "'w' must be numbers"),
        (good(), {"weights": "v"}, "no column 'v'"),
        (good(), {"memory_limit": "much"}, "memory_limit 'much' is no size"),
        (ibis.memtable(good()), {"memory_limit": "1GB"}, "memory_limit is for files"),
        (good(), {"formula": "y ~ center(x)"}, r"'center\(x\)'.*add it to the table"),
        (good(), {"formula": "y ~ bs(x, df=4)"}, r"'bs\(x, df=4\)'.*add it to the table"),
        (good(), {"formula": "y ~ np.log1p(x):x"}, r"'np.log1p\(x\)'.*add it to the table"),
        (good(), {"formula": "y ~ C(np.floor(x))"}, r"C\(np.floor\(x\)\).*add it to the table"),
        (good(), {"formula": "y ~ I(x % 2)"}, r"'x % 2'.*add it to the table"),
        (good().assign(s="a"), {"formula": "y ~ I(s * 2)"}, "'I.s . 2.' has one level only"),
        (good().assign(k=range(60)), {"formula": "y ~ I(1 / k)"}, "1 infinite or undefined"),
        (good(), {"formula": "y ~ np.sqrt(x)"}, r"np.sqrt\(x\).*infinite or undefined"),
        (
            pd.DataFrame({"g": range(4), "y": 1.0, "id": [f"p{k}" for k in range(4)]}).loc[
                np.tile(range(4), 600)
            ].assign(id=lambda d: [f"p{k}" for k in range(len(d))]),
            {"formula": "y ~ id"},
            "'id' has more than 1000 categories.*identifier",
        ),
    ],
)  # fmt: skip
def test_bad_sources_and_terms_are_named(source: Any, changes: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cross_products(source, **{"formula": "y ~ x", "groups": "g", **changes})


def two_files(folder: Path, first: pd.DataFrame, second: pd.DataFrame) -> Path:
    first.to_parquet(folder / "a.parquet")
    second.to_parquet(folder / "b.parquet")
    return folder


def test_files_of_a_folder_with_other_number_types_keep_every_digit(tmp_path: Path) -> None:
    """DuckDB alone would round the second file to the whole numbers of the first."""
    data = sample()
    half = len(data) // 2
    data["n"] = data["z"].where(data.index >= half, data["k"])
    data["m"] = data["k"].where(data.index < half, data["k"] + 1_000)
    first, second = data[:half].astype({"n": np.int8, "m": np.int8}), data[half:]
    place = two_files(tmp_path, first, second.assign(unused="a"))
    rows = fit_lmm("y ~ n + m", data, "herd")
    assert_same(fit_lmm(cross_products(place, "y ~ n + m", "herd")), rows)


def test_files_of_a_folder_that_differ_are_named(tmp_path: Path) -> None:
    data = sample()
    place = two_files(tmp_path, data.assign(x=data["x"].astype(str)), data.drop(columns="z"))
    with pytest.raises(ValueError, match=r"'x' holds text in .*a\.parquet.*numbers in .*b\.par"):
        cross_products(place, "y ~ x", "herd")
    with pytest.raises(ValueError, match=r"'z' is not in file .*b\.parquet"):
        cross_products(place, "y ~ z", "herd", missing="drop")
    products = cross_products(place, "y ~ w", "herd")
    assert products.nobs == 2 * len(data)


def test_paths_are_no_patterns_and_hidden_files_no_data(tmp_path: Path) -> None:
    data, place = sample(), tmp_path / "of [1] herd's*"
    (place / "_temporary").mkdir(parents=True)
    two_files(place, data[:1500], data[1500:])
    data.to_parquet(place / "_temporary" / "part.parquet")
    data.to_parquet(place / ".hidden.parquet")
    rows = fit_lmm("y ~ z", data, "herd")
    assert_same(fit_lmm(cross_products(place, "y ~ z", "herd")), rows)


def test_groups_in_the_names_of_folders(tmp_path: Path) -> None:
    data = sample()
    for herd, rows in data.groupby("herd"):
        (tmp_path / f"herd={herd}").mkdir()
        rows.drop(columns="herd").to_parquet(tmp_path / f"herd={herd}" / "rows.parquet")
    assert_same(fit_lmm(cross_products(tmp_path, "y ~ z", "herd")), fit_lmm("y ~ z", data, "herd"))


def test_half_precision_and_large_labels() -> None:
    data = sample().astype({"z": np.float16})
    data["herd"] = (data["herd"] + 2**62).astype(np.uint64) * np.uint64(2)
    rows = fit_lmm("y ~ z", data, "herd")
    assert_same(fit_lmm(cross_products(data, "y ~ z", "herd")), rows)
    assert rows.random_effects.index[0] > 2**63


@pytest.mark.parametrize("power", ["z**2.0", "z**9", "z**-2", "k**0.5", "(k - 1)**0.5", "2**z"])
def test_powers_are_those_of_numpy(power: str) -> None:
    data = sample()
    data["z"] = np.where(data["z"] < 0, -1, 1) * (1 + data["z"].abs())
    rows = fit_lmm(f"y ~ I({power})", data, "herd")
    assert_same(fit_lmm(cross_products(data, f"y ~ I({power})", "herd")), rows)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    sample().to_parquet(whole)
    cut.write_bytes(whole.read_bytes()[:20_000])
    with pytest.raises(ValueError, match=r"can't be read.*cut\.parquet"):
        cross_products(cut, "y ~ z", "herd")


def test_fit_lmm_refuses_products_and_data_together() -> None:
    products = cross_products(good(), "y ~ x", "g")
    for extra in ({"data": good()}, {"groups": "g"}, {"re_formula": "1 + x"}, {"weights": "x"}):
        with pytest.raises(ValueError, match="part of the cross products already"):
            fit_lmm(products, **extra)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="data is missing"):
        fit_lmm("y ~ x", groups="g")


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ibis", None)
    with pytest.raises(ValueError, match=r"pip install 'pylmm-helpers\[compute\]'"):
        cross_products(good(), "y ~ x", "g")


def test_importing_the_package_loads_no_database() -> None:
    code = (
        "import sys; from pylmm_helpers import cross_products, fit_lmm; "
        "print([m for m in ('ibis', 'duckdb', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- memory, interrupts, progress -------------------------------------------------------------


def test_a_file_larger_than_the_memory_limit(tmp_path: Path) -> None:
    file = tmp_path / "large.parquet"
    duck = ibis.duckdb.connect().con
    duck.execute(
        "COPY (SELECT hash(range) % 5000 AS g, random() AS x, random() AS y, random() AS filler "
        f"FROM range(4_000_000)) TO '{file}' (FORMAT parquet)"
    )
    assert file.stat().st_size > 64e6
    products = cross_products(file, "y ~ x", "g", "1 + x", memory_limit="64MB")
    assert products.nobs == 4_000_000 and products.ngroups == 5_000
    with pytest.raises(MemoryError, match="memory_limit"):
        cross_products(file, "y ~ x", "g", memory_limit="1MB")


def slow_table() -> Any:
    """A table of two billion rows that are made when they are asked for."""
    return made_up_rows(2_000_000_000)


def made_up_rows(n: int) -> Any:
    connection = ibis.duckdb.connect()
    connection.con.execute(
        "CREATE VIEW made_up AS SELECT range % 1000 AS g, sin(range) AS x, cos(range * 1.7) AS y "
        f"FROM range({n})"
    )
    return connection.table("made_up")


@pytest.mark.parametrize("label", ["herd", "name"])
def test_groups_in_several_passes_give_the_same(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sample().assign(name=lambda d: "herd " + d["herd"].astype(str))
    at_once = cross_products(data, "y ~ x + feed", label, "1 + z", weights="w")
    monkeypatch.setattr(queries, "passes", lambda *_: 3)
    in_parts = cross_products(data, "y ~ x + feed", label, "1 + z", weights="w")
    assert list(in_parts.group_labels) == list(at_once.group_labels)
    np.testing.assert_array_equal(in_parts.sizes, at_once.sizes)
    np.testing.assert_allclose(in_parts.ZtZ, at_once.ZtZ, rtol=1e-13)
    np.testing.assert_allclose(in_parts.RtR, at_once.RtR, rtol=1e-12, atol=1e-9)


def test_many_groups_in_little_memory_take_several_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, groups = np.random.default_rng(RNG_SEED), 200_000
    g = rng.integers(0, groups, 400_000)
    x = rng.normal(size=len(g))
    y = x + rng.normal(size=groups)[g] + rng.normal(size=len(g))
    data = pd.DataFrame({"g": g, "x": x, "y": y})
    data.to_parquet(tmp_path / "rows.parquet")
    asked: list[int] = []
    real = queries.passes
    monkeypatch.setattr(queries, "passes", lambda *a: asked.append(real(*a)) or asked[-1])
    lean = cross_products(tmp_path, "y ~ x", "g", "1 + x", memory_limit="60MB")
    assert asked and min(asked) > 1
    fit, rows = fit_lmm(lean), fit_lmm("y ~ x", data, "g", "1 + x")
    assert fit.ngroups == rows.ngroups
    assert fit.criterion == pytest.approx(rows.criterion, rel=1e-12)


def test_a_table_that_changes_between_the_queries_is_refused() -> None:
    connection = ibis.duckdb.connect()
    connection.con.register("all_rows", sample())
    connection.con.execute("CREATE VIEW half AS SELECT * FROM all_rows WHERE random() < 0.5")
    with pytest.raises(ValueError, match="changed meanwhile"):
        cross_products(connection.table("half"), "y ~ z", "herd")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own answer to an interrupt, which a shell's background jobs are started without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_the_query_and_leaves_nothing(
    interruptible: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a folder of its own: other processes of the tests make theirs beside
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = slow_table()
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    threads = threading.active_count()
    began = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        cross_products(table, "y ~ x", "g")
    assert time.monotonic() - began < 10
    timer.join()
    assert threading.active_count() == threads  # the query is over, not left behind
    assert list(tmp_path.iterdir()) == []
    assert table.limit(3).count().execute() == 3


def test_progress_is_shown_when_wanted_and_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cross_products(good(), "y ~ x", "g", progress=True)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(source, "PATIENCE_SECONDS", -1.0)
    cross_products(good(), "y ~ x", "g", progress=False)
    assert capsys.readouterr().err == ""
    cross_products(made_up_rows(3_000_000), "y ~ x", "g", progress=True)
    assert "adding up products by group" in capsys.readouterr().err


@pytest.mark.parametrize("asked, shown", [(True, True), (False, False)])
def test_a_notebook_shows_a_bar_but_a_document_run_in_a_batch_does_not(
    asked: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar would stay on the page of a book; the one who runs a batch can't be asked for input."""

    class ZMQInteractiveShell:
        kernel = type("Kernel", (), {"_allow_stdin": asked})()

    shell = type("IPython", (), {"get_ipython": staticmethod(ZMQInteractiveShell)})
    monkeypatch.setitem(sys.modules, "IPython", shell)
    assert source.interactive() is shown

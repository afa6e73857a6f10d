"""load() and describe(): typed data, the codebook, and errors that say what to do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pylmm_helpers.data.datasets import describe, load

NAMES = ["dairy_herds", "bp_trial", "neighbourhood_health", "hospital_costs"]


@pytest.fixture
def copy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data that load() is pointed at, to be damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(root / "datasets", folder)
    monkeypatch.setenv("PYLMM_DATASETS", str(folder))
    return folder


def listed(root: Path) -> list[str]:
    package = json.loads((root / "datasets" / "datapackage.json").read_text())
    return [resource["name"] for resource in package["resources"]]


def test_categories_come_in_codebook_order() -> None:
    assert list(load("dairy_herds")["feeding"].cat.categories) == ["pasture", "mixed", "confined"]
    assert list(load("bp_trial")["sex"].cat.categories) == ["female", "male"]


def test_columns_are_typed_as_the_codebook_says() -> None:
    dairy = load("dairy_herds")
    assert dairy.dtypes.astype(str).to_dict() == {
        "herd": "object",
        "cow": "object",
        "milk_kg": "float64",
        "parity": "int64",
        "dtfs": "int64",
        "herd_size": "int64",
        "feeding": "category",
        "region": "category",
    }
    assert load("bp_trial")["treatment"].dtype == np.int64


def test_whole_numbers_with_missing_values_are_floats_with_nan() -> None:
    severity = load("hospital_costs")["severity"]
    assert severity.dtype == np.float64
    assert set(severity.dropna()) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_numbers_are_read_to_the_last_digit(root: Path) -> None:
    for name in NAMES:
        frame = load(name)
        text = pd.read_csv(root / "datasets" / f"{name}.csv", dtype=str)
        for column in frame.select_dtypes("number"):
            assert frame[column].tolist() == pytest.approx(
                [float(cell) for cell in text[column]], abs=0, rel=0, nan_ok=True
            )


def test_every_listed_file_loads_and_is_described(root: Path) -> None:
    for name in listed(root):
        frame, codebook = load(name), describe(name)
        assert list(codebook["column"]) == list(frame.columns)
        assert codebook["missing"].tolist() == frame.isna().sum().tolist()
        assert len(frame) > 0


def test_describe_gives_meaning_unit_type_values_and_missing() -> None:
    codebook = describe("dairy_herds").set_index("column")
    assert list(describe("dairy_herds").columns) == [
        "column", "meaning", "unit", "type", "values", "missing",
    ]  # fmt: skip
    assert codebook.loc["milk_kg", ["unit", "type"]].tolist() == ["kg", "number"]
    assert codebook.loc["feeding", ["unit", "type", "values"]].tolist() == [
        "", "category", "pasture, mixed, confined",
    ]  # fmt: skip
    assert codebook.loc["parity", "values"] == "1 to 6"
    assert codebook.loc["herd", "values"] == "50 different"
    assert describe("bp_trial").set_index("column").loc["treatment", "values"] == "0, 1"
    assert describe("hospital_costs").set_index("column").loc["severity", "missing"] > 0


@pytest.mark.parametrize("name", ["cows", "", "dairy_herds.csv", "../dairy_herds", None])
@pytest.mark.parametrize("function", [load, describe])
def test_an_unknown_name_is_refused_with_the_names_there_are(function, name) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="dairy_herds, bp_trial, neighbourhood_health, hospital"):
        function(name)


def test_a_changed_file_is_refused_with_the_remedy(copy: Path) -> None:
    file = copy / "bp_trial.csv"
    file.write_bytes(file.read_bytes().replace(b"female", b"male", 1))
    with pytest.raises(ValueError, match=r"bp_trial: .*has changed.*git checkout datasets"):
        load("bp_trial")
    assert len(load("dairy_herds"))


def test_windows_line_ends_count_as_a_change(copy: Path) -> None:
    file = copy / "bp_trial.csv"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(ValueError, match="has changed"):
        load("bp_trial")


def test_a_missing_file_is_refused_with_the_remedy(copy: Path) -> None:
    (copy / "bp_trial.csv").unlink()
    with pytest.raises(ValueError, match=r"bp_trial\.csv is missing.*git checkout datasets"):
        load("bp_trial")


def test_a_broken_codebook_is_refused_by_its_name(copy: Path) -> None:
    (copy / "datapackage.json").write_text("{")
    with pytest.raises(ValueError, match=r"datapackage\.json is not valid JSON"):
        load("bp_trial")


def test_a_wrong_environment_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYLMM_DATASETS", str(tmp_path))
    with pytest.raises(ValueError, match=r"PYLMM_DATASETS is .*unset it"):
        load("bp_trial")


def test_data_are_found_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYLMM_DATASETS", raising=False)
    # Another project's data package nearby is not the handbook's.
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "datapackage.json").write_text('{"name": "other", "resources": []}')
    monkeypatch.chdir(tmp_path)
    assert len(load("dairy_herds")) > 1000


@pytest.mark.parametrize("packed", [True, False])
def test_an_installed_package_finds_its_own_copy_or_says_what_to_set(
    root: Path, tmp_path: Path, packed: bool
) -> None:
    # As from a wheel: the package alone, with the data inside it or without.
    installed = tmp_path / "site" / "pylmm_helpers"
    shutil.copytree(root / "pylmm_helpers", installed)
    if packed:
        shutil.copytree(root / "datasets", installed / "_datasets")
    code = (
        f"import sys, os; sys.path.insert(0, {str(tmp_path / 'site')!r});"
        "os.environ.pop('PYLMM_DATASETS', None);"
        "from pylmm_helpers import load; print(len(load('dairy_herds')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if packed:
        assert int(done.stdout) > 1000
    else:
        assert "set PYLMM_DATASETS" in done.stderr


def test_loading_needs_neither_statsmodels_nor_r() -> None:
    code = (
        "import sys; from pylmm_helpers import load; load('dairy_herds');"
        "assert not {'statsmodels', 'rpy2', 'pymer4', 'matplotlib'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)


def test_a_codebook_shows_the_values_that_occur() -> None:
    rows = describe("hospital_costs").set_index("column")["values"]
    costs = load("hospital_costs")
    assert rows["cost"] == f"{costs['cost'].min():,} to {costs['cost'].max():,}"
    assert rows["severity"] == "1 to 5"
    assert describe("bp_trial").set_index("column").loc["bp_reduction", "values"][0] == "\u2212"

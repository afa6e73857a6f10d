"""The generated files: the same bytes everywhere, and the design that the chapters rely on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasets.generate import DATASETS, bp_trial, dairy_herds, hospital_costs, write_all
from datasets.generate._shared import Column, DataSet, csv_bytes
from pylmm_helpers.data.datasets import load


def test_regeneration_gives_the_bytes_in_the_repository(root: Path, tmp_path: Path) -> None:
    for path in write_all(tmp_path):
        assert path.read_bytes() == (root / "datasets" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    "command", [["-m", "datasets.generate"], ["datasets/generate/__main__.py"]]
)
def test_both_commands_write_the_same_whatever_locale_and_hash_seed(
    root: Path, tmp_path: Path, command: list[str]
) -> None:
    odd = {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "7", "PYTHONUTF8": "0"}
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | odd
    subprocess.run(
        [sys.executable, *command, str(tmp_path / "new" / "folder")],
        cwd=root,
        env=environment,
        check=True,
        capture_output=True,
    )
    written = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert written == sorted([*(f"{d.name}.csv" for d in DATASETS), "datapackage.json"])
    for name in written:
        content = (tmp_path / "new" / "folder" / name).read_bytes()
        assert content == (root / "datasets" / name).read_bytes()


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.name)
def test_files_are_plain_text_with_unix_lines_and_the_declared_decimals(
    root: Path, dataset: DataSet
) -> None:
    content = (root / "datasets" / f"{dataset.name}.csv").read_bytes()
    assert content.isascii()
    assert b"\r" not in content
    assert content.endswith(b"\n")
    rows = [line.split(",") for line in content.decode().splitlines()[1:]]
    for column, cells in zip(dataset.columns, zip(*rows, strict=True), strict=True):
        assert "-0" not in cells
        assert "-0.0" not in cells
        if column.type == "number":
            assert {len(cell.partition(".")[2]) for cell in cells} == {column.decimals}


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.name)
def test_another_seed_gives_other_data(dataset: DataSet) -> None:
    # A seed that the stream ignores would make every simulation the same one.
    drawn = {csv_bytes(dataset, seed) for seed in (dataset.seed, dataset.seed + 1, dataset.seed)}
    assert len(drawn) == 2


@pytest.mark.parametrize(
    ("name", "group", "groups", "smallest", "largest"),
    [
        ("dairy_herds", "herd", 50, 8, 60),
        ("bp_trial", "hospital", 30, 12, 60),
        ("neighbourhood_health", "neighbourhood", 120, 10, 40),
        ("hospital_costs", "hospital", 25, 3, 100),
        ("test_days", "lactation", 548, 1, 10),
    ],
)
def test_numbers_and_sizes_of_groups_are_those_of_the_design(
    name: str, group: str, groups: int, smallest: int, largest: int
) -> None:
    sizes = load(name).groupby(group).size()
    assert (len(sizes), sizes.min(), sizes.max()) == (groups, smallest, largest)


def test_hospital_costs_has_five_tiny_hospitals_and_twenty_large_ones() -> None:
    sizes = load("hospital_costs").groupby("hospital").size()
    assert sizes.value_counts().to_dict() == {100: 20, 3: 5}


@pytest.mark.parametrize(
    ("name", "group", "constant"),
    [
        ("dairy_herds", "herd", ["herd_size", "feeding", "region"]),
        ("bp_trial", "hospital", ["hospital_type"]),
        ("neighbourhood_health", "neighbourhood", ["mean_income"]),
    ],
)
def test_group_level_columns_are_constant_within_groups(
    name: str, group: str, constant: list[str]
) -> None:
    different = load(name).groupby(group)[constant].nunique()
    assert (different == 1).all(axis=None)


def test_no_herd_has_more_sampled_cows_than_cows_in_milk() -> None:
    herds = load("dairy_herds").groupby("herd").agg(n=("cow", "size"), size=("herd_size", "first"))
    assert (herds["n"] <= herds["size"]).all()


def test_treatment_is_balanced_within_each_hospital() -> None:
    arms = load("bp_trial").groupby("hospital")["treatment"].agg(["sum", "size"])
    assert ((arms["size"] - 2 * arms["sum"]).between(0, 1)).all()


def test_mean_income_is_exactly_the_mean_of_the_residents_in_the_file() -> None:
    data = load("neighbourhood_health")
    means = data.groupby("neighbourhood")["income"].transform("mean")
    np.testing.assert_allclose(data["mean_income"], means, rtol=0, atol=1e-12)


def test_only_severity_has_missing_values_and_only_in_large_hospitals() -> None:
    empty = {d.name: load(d.name).isna().sum() for d in DATASETS}
    assert {(n, c) for n, s in empty.items() for c in s.index[s > 0]} == {
        ("hospital_costs", "severity")
    }
    data = load("hospital_costs")
    large = data.groupby("hospital")["age"].transform("size") == 100
    missing = data["severity"].isna()
    assert 0.03 < missing.mean() < 0.09
    assert not missing[~large].any()
    # Older patients are graded less often, as the codebook says.
    assert data.loc[missing, "age"].mean() > data.loc[large & ~missing, "age"].mean() + 2


def test_cost_is_right_skewed_and_its_logarithm_is_not() -> None:
    cost = load("hospital_costs")["cost"]
    assert cost.skew() > 1
    assert abs(np.log(cost).skew()) < 0.2


def test_dairy_totals_are_the_residual_variances_plus_what_predictors_explain() -> None:
    counts = pd.Series(dairy_herds.HERDS_BY_FEEDING)
    effects = pd.Series(dairy_herds.FEEDING)[counts.index].repeat(counts)
    parity = np.arange(1, 7)
    shares = np.array(dairy_herds.PARITY_SHARES)
    var_parity = shares @ parity**2 - (shares @ parity) ** 2
    # Gamma with shape 4 and scale 9.84; rounding to whole days adds a twelfth.
    within = dairy_herds.PARITY_EFFECT**2 * var_parity
    within += dairy_herds.DTFS_EFFECT**2 * (4 * 9.84**2 + 1 / 12)
    total = dairy_herds.DATASET.truths[0].random
    assert dairy_herds.SIGMA2_G + effects.var(ddof=0) == pytest.approx(total["sigma2_g"], abs=0.1)
    assert dairy_herds.SIGMA2 + within == pytest.approx(total["sigma2"], abs=0.1)


def test_trial_totals_are_the_residual_variances_plus_what_predictors_explain() -> None:
    total = bp_trial.DATASET.truths[0].random
    share = bp_trial.TEACHING / bp_trial.HOSPITALS
    between = bp_trial.BASELINE_EFFECT**2 * bp_trial.BASELINE_SD_BETWEEN**2
    within = bp_trial.BASELINE_EFFECT**2 * bp_trial.BASELINE_SD_WITHIN**2
    within += bp_trial.AGE_EFFECT**2 * bp_trial.AGE_SD**2
    slopes = bp_trial.TEACHING_BONUS**2 * share * (1 - share)
    assert bp_trial.SIGMA2_U0 + between == pytest.approx(total["sigma2_u0"])
    assert bp_trial.SIGMA2_U1 + slopes == pytest.approx(total["sigma2_u1"])
    assert bp_trial.SIGMA2 + within == pytest.approx(total["sigma2"])
    mean_effect = bp_trial.TREATMENT_EFFECT + share * bp_trial.TEACHING_BONUS
    assert mean_effect == pytest.approx(bp_trial.DATASET.truths[0].fixed["treatment"])


def test_hospital_totals_are_the_residual_variances_plus_what_predictors_explain() -> None:
    grades, shares = np.arange(1, 6), np.array(hospital_costs.SEVERITY_SHARES)
    var_severity = shares @ grades**2 - (shares @ grades) ** 2
    var_age = hospital_costs.AGE_SD**2
    recovery = hospital_costs.RECOVERY_SEVERITY**2 * var_severity
    recovery += hospital_costs.RECOVERY_AGE**2 * var_age
    cost = hospital_costs.COST_SEVERITY**2 * var_severity + hospital_costs.COST_AGE**2 * var_age
    assert hospital_costs.RECOVERY_SIGMA2 + recovery == pytest.approx(20, abs=0.05)
    assert hospital_costs.COST_SIGMA2 + cost == pytest.approx(0.20, abs=0.001)


@pytest.mark.parametrize(
    ("drawn", "complaint"),
    [
        ({"x": [11.0]}, "outside"),
        ({"x": [-0.1]}, "outside"),
        ({"x": [float("nan")]}, "missing"),
        ({"x": ["c"]}, "not one of"),
        ({"y": [1.0]}, "declared"),
    ],
)
def test_a_draw_that_breaks_the_codebook_is_refused(
    drawn: dict[str, list[object]], complaint: str
) -> None:
    levels = ("a", "b") if drawn.get("x") == ["c"] else ()
    column = Column("x", "number", "x", minimum=0, maximum=10, levels=levels)
    dataset = DataSet("toy", "", "", 1, "x", (column,), (), lambda rng: drawn)
    with pytest.raises(ValueError, match=complaint):
        csv_bytes(dataset)


def test_a_small_negative_value_is_not_written_as_minus_zero() -> None:
    column = Column("x", "number", "x", decimals=1)
    dataset = DataSet("toy", "", "", 1, "x", (column,), (), lambda rng: {"x": [-0.01, -0.06]})
    assert csv_bytes(dataset) == b"x\n0.0\n-0.1\n"

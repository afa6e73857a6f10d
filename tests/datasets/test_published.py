"""The published data: the bytes that R's packages give, and the part of InstEval that is stated."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pylmm_helpers.data.datasets import load


@pytest.mark.skipif(not shutil.which("Rscript"), reason="R is not installed")
def test_r_exports_the_bytes_in_the_repository(root: Path, tmp_path: Path) -> None:
    script = root / "datasets" / "generate" / "published.R"
    subprocess.run(["Rscript", str(script), str(tmp_path)], check=True, capture_output=True)
    kept = {path.name: path.read_bytes() for path in (root / "datasets/published").glob("*.csv")}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_the_part_of_insteval_is_that_of_its_rule() -> None:
    ratings = load("insteval")
    by_department = ratings.groupby("dept", observed=True)["s"]
    assert list(by_department.size()) == [3790, 4708]
    assert (by_department.size() / by_department.nunique() >= 9).all()


def test_students_and_lecturers_of_insteval_are_crossed() -> None:
    ratings = load("insteval")
    assert (ratings["s"].nunique(), ratings["d"].nunique()) == (724, 147)
    assert not ratings.duplicated(["s", "d"]).any()  # a student rates a lecturer once
    assert (ratings.groupby("d")["dept"].nunique() == 1).all()  # lecturers belong to a department
    assert (ratings.groupby("s")["dept"].nunique() == 2).sum() == 79

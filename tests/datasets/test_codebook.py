"""datapackage.json: a valid Frictionless package that tells the truth about every file."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import frictionless
import pytest

from datasets.generate import DATASETS, write_all
from pylmm_helpers.data.datasets import PACKAGE_NAME

ENTRY: dict[str, Any] = {
    "name": "toy",
    "path": "toy.csv",
    "title": "Toy",
    "description": "A toy.",
    "source": "A. Book (1999)",
    "licence": "GPL (>= 2)",
    "fields": [{"name": "x", "type": "number", "title": "An x", "unit": "kg"}],
}


@pytest.fixture(scope="module")
def package(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "datasets" / "datapackage.json").read_text())
    return content


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder of published data with one file, declared by ENTRY."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "toy.csv").write_text("x\n1.5\n2\n")
    (folder / "sources.json").write_text(json.dumps([ENTRY]))
    return folder


def test_frictionless_finds_the_package_and_every_file_valid(root: Path) -> None:
    report = frictionless.validate(str(root / "datasets" / "datapackage.json"))
    assert report.valid, report.to_summary()
    assert len(report.tasks) >= len(DATASETS)


@pytest.mark.parametrize(
    ("old", "new"),
    [("pasture", "meadow"), ("H01-01", "H01-02"), (",6,", ",9,")],
    ids=["unknown level", "duplicate identifier", "parity out of range"],
)
def test_frictionless_refuses_a_file_that_breaks_its_codebook(
    root: Path, tmp_path: Path, package: dict[str, Any], old: str, new: str
) -> None:
    resource = dict(package["resources"][0])
    text = (root / "datasets" / resource["path"]).read_text()
    (tmp_path / resource["path"]).write_text(text.replace(old, new, 1))
    # Without bytes and hash, which any change breaks: here the constraints must notice.
    del resource["bytes"], resource["hash"]
    (tmp_path / "datapackage.json").write_text(json.dumps(package | {"resources": [resource]}))
    assert not frictionless.validate(str(tmp_path / "datapackage.json")).valid


def test_frictionless_refuses_a_file_with_another_checksum(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "datasets", tmp_path / "datasets")
    file = tmp_path / "datasets" / "dairy_herds.csv"
    content = file.read_bytes()
    file.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    assert not frictionless.validate(str(tmp_path / "datasets" / "datapackage.json")).valid


def test_size_checksum_rows_and_missing_counts_are_those_of_the_files(
    root: Path, package: dict[str, Any]
) -> None:
    for resource in package["resources"]:
        path = root / "datasets" / resource["path"]
        content = path.read_bytes()
        assert resource["bytes"] == len(content)
        assert resource["hash"] == "sha256:" + hashlib.sha256(content).hexdigest()
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert resource["rows"] == len(rows)
        for field in resource["schema"]["fields"]:
            assert field["missing"] == sum(row[field["name"]] == "" for row in rows)
            if field["missing"] and "truth" in resource:
                assert field["missingReason"]


def test_every_file_and_every_column_is_in_the_codebook(
    root: Path, package: dict[str, Any]
) -> None:
    files = {
        path.relative_to(root / "datasets").as_posix()
        for path in [
            *(root / "datasets").glob("*.csv"),
            *(root / "datasets" / "published").glob("*.csv"),
        ]
    }
    assert {resource["path"] for resource in package["resources"]} == files
    for resource in package["resources"]:
        header = (root / "datasets" / resource["path"]).read_text().splitlines()[0]
        fields = resource["schema"]["fields"]
        assert [field["name"] for field in fields] == header.replace('"', "").split(",")
        assert all(field["title"] and isinstance(field["unit"], str) for field in fields)
        assert resource["title"]
        assert resource["description"]
        assert resource["licenses"]


def test_measured_columns_of_the_generated_files_have_a_unit_and_a_range(
    package: dict[str, Any],
) -> None:
    for resource in (r for r in package["resources"] if "truth" in r):
        for field in resource["schema"]["fields"]:
            if field["type"] != "string" and "enum" not in field["constraints"]:
                assert field["unit"], field["name"]
                assert field["constraints"]["minimum"] < field["constraints"]["maximum"]


def test_generated_files_state_seed_and_truth_as_the_generators_do(package: dict[str, Any]) -> None:
    stated = {r["name"]: r for r in package["resources"] if "truth" in r}
    assert package["name"] == PACKAGE_NAME
    assert set(stated) == {dataset.name for dataset in DATASETS}
    for dataset in DATASETS:
        assert stated[dataset.name]["seed"] == dataset.seed
        for written, truth in zip(stated[dataset.name]["truth"], dataset.truths, strict=True):
            assert written["model"] == truth.model
            assert written["fixed"] == pytest.approx(dict(truth.fixed), abs=1e-6)
            assert written["random"] == pytest.approx(dict(truth.random), abs=1e-6)


def test_published_files_join_the_codebook_with_source_and_licence(
    published: Path, tmp_path: Path
) -> None:
    write_all(tmp_path, published)
    package = json.loads((tmp_path / "datapackage.json").read_text())
    toy = package["resources"][-1]
    assert (toy["path"], toy["rows"]) == ("published/toy.csv", 2)
    assert toy["sources"] == [{"title": "A. Book (1999)"}]
    assert toy["licenses"] == [{"name": "GPL-2", "title": "GPL (>= 2)"}]
    assert frictionless.validate(str(tmp_path / "datapackage.json")).valid


def test_without_published_files_the_codebook_has_the_four(tmp_path: Path) -> None:
    write_all(tmp_path, tmp_path / "absent")
    package = json.loads((tmp_path / "datapackage.json").read_text())
    assert [r["name"] for r in package["resources"]] == [d.name for d in DATASETS]


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([], "toy.csv has no source and licence"),
        ([ENTRY, ENTRY | {"name": "lost", "path": "published/lost.csv"}], "lost.csv"),
        ([ENTRY | {"fields": [ENTRY["fields"][0] | {"name": "z"}]}], "declares"),
    ],
    ids=["undeclared file", "declared file absent", "other columns"],
)
def test_published_files_and_their_declarations_must_agree(
    published: Path, tmp_path: Path, entries: list[dict[str, Any]], complaint: str
) -> None:
    (published / "sources.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=complaint):
        write_all(tmp_path, published)
    # A refused codebook leaves no half-written data behind.
    assert not list(tmp_path.glob("*.csv"))

"""The codebook datapackage.json, built from the same declarations that write the csv files.

The format is a Frictionless data package (https://specs.frictionlessdata.io). Beyond it, a
field has `unit`, `missing` (number of empty cells) and, where cells are empty, `missingReason`;
a generated resource has `seed` and `truth`, the models that hold for it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from datasets.generate._shared import Column, DataSet

CC0 = {
    "name": "CC0-1.0",
    "title": "Creative Commons Zero 1.0 Universal",
    "path": "https://creativecommons.org/publicdomain/zero/1.0/",
}


def codebook_bytes(
    generated: dict[str, bytes], datasets: tuple[DataSet, ...], published: Path
) -> bytes:
    """Return datapackage.json for the generated files and for those in `published`.

    Parameters
    ----------
    generated
        The csv files just drawn, by data set name.
    datasets
        Their declarations.
    published
        The folder with sources.json and the published csv files; it need not exist.

    Raises
    ------
    ValueError
        If a published file is not declared, not there, or has other columns than declared.
    """
    package = {
        "profile": "data-package",
        "name": "mixed-models-handbook-data",
        "title": "Data of the mixed models handbook",
        "description": "Simulated data sets with stated truths, and published classics. Written "
        "by `python -m datasets.generate`; not edited by hand.",
        "licenses": [CC0],
        "resources": [
            *(_generated_resource(dataset, generated[dataset.name]) for dataset in datasets),
            *_published_resources(published),
        ],
    }
    return (json.dumps(package, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _generated_resource(dataset: DataSet, content: bytes) -> dict[str, Any]:
    fields = [_field(column) for column in dataset.columns]
    resource = _resource(dataset.name, f"{dataset.name}.csv", content, fields)
    resource |= {"title": dataset.title, "description": dataset.description, "licenses": [CC0]}
    resource["schema"]["primaryKey"] = [dataset.key]
    truths = [
        {
            "model": truth.model,
            "fixed": {term: round(value, 6) for term, value in truth.fixed.items()},
            "random": {name: round(value, 6) for name, value in truth.random.items()},
            "note": truth.note,
        }
        for truth in dataset.truths
    ]
    return resource | {"seed": dataset.seed, "truth": truths}


def _field(column: Column) -> dict[str, Any]:
    constraints: dict[str, Any] = {"required": not column.missing}
    if column.levels:
        constraints["enum"] = list(column.levels)
    if column.minimum is not None:
        constraints["minimum"] = column.minimum
    if column.maximum is not None:
        constraints["maximum"] = column.maximum
    if column.pattern:
        constraints["pattern"] = column.pattern
    field: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "title": column.title,
        "unit": column.unit,
        "constraints": constraints,
    }
    return field | ({"missingReason": column.missing} if column.missing else {})


def _published_resources(folder: Path) -> list[dict[str, Any]]:
    """Return the resources that published/sources.json declares, checked against the files."""
    sources = folder / "sources.json"
    entries = json.loads(sources.read_text("utf-8")) if sources.is_file() else []
    declared = {Path(entry["path"]).name for entry in entries}
    stray = sorted({path.name for path in folder.glob("*.csv")} - declared)
    if stray:
        raise ValueError(f"published/{stray[0]} has no source and licence: add it to {sources}")
    return [_published_resource(folder, entry) for entry in entries]


def _published_resource(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    file = folder / Path(entry["path"]).name
    if not file.is_file():
        raise ValueError(f"{entry['name']}: sources.json declares {file.name}, which is not there")
    fields = [
        {
            "name": field["name"],
            "type": field["type"],
            "title": field["title"],
            "unit": field.get("unit") or "",
            "constraints": field.get("constraints", {}),
        }
        for field in entry["fields"]
    ]
    resource = _resource(entry["name"], f"published/{file.name}", file.read_bytes(), fields)
    return resource | {
        "title": entry["title"],
        "description": entry["description"],
        "sources": [_source(entry["source"])],
        "licenses": [_licence(entry["licence"])],
    }


def _source(source: str | dict[str, str]) -> dict[str, str]:
    return source if isinstance(source, dict) else {"title": source}


def _licence(licence: str | dict[str, str]) -> dict[str, str]:
    """Give a licence the short name that the format asks for, made of its own words."""
    if isinstance(licence, dict):
        return licence
    name = re.sub(r"[^-a-zA-Z0-9._]+", "-", licence).strip("-")
    return {"name": name} if name == licence else {"name": name, "title": licence}


def _resource(name: str, path: str, content: bytes, fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe one csv file: where, how large, which checksum, which columns."""
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))
    header = list(rows[0]) if rows else []
    names = [field["name"] for field in fields]
    if header != names:
        raise ValueError(f"{path} has the columns {header}, the codebook declares {names}")
    for field in fields:
        field["missing"] = sum(row[field["name"]] == "" for row in rows)
    return {
        "name": name,
        "profile": "tabular-data-resource",
        "path": path,
        "title": "",
        "description": "",
        "scheme": "file",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "rows": len(rows),
        "schema": {"fields": fields, "missingValues": [""]},
    }

"""The handbook's data: `load` gives a typed table, `describe` its codebook.

Both read ``datasets/datapackage.json``, a Frictionless data package that lists every file with its
columns, units, allowed values and SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from pylmm_helpers.common import shown_whole

PACKAGE_NAME = "mixed-models-handbook-data"
_REMEDY = "restore it with `git checkout datasets`, or download the handbook's data again"


def load(name: str) -> pd.DataFrame:
    """Return one of the handbook's data sets, typed as its codebook says.

    Parameters
    ----------
    name : str
        The name in the codebook, such as ``"dairy_herds"``.

    Returns
    -------
    DataFrame
        One row an observation, in the order of the file. Texts with a fixed list of values are
        ordered as in the codebook in a ``category`` column (the first is the reference); other
        texts, such as identifiers, are plain ``object`` columns. Whole numbers are ``int64``, or
        ``float64`` where some are missing; other numbers are ``float64``. Missing is NaN.
        Units are those of `describe`.

    Raises
    ------
    ValueError
        If the name is unknown, the data are not to be found, or a file is missing or has not the
        SHA-256 that the codebook states.

    Notes
    -----
    The folder is that of the environment variable ``PYLMM_DATASETS`` where set, else the
    ``datasets`` folder at or above the working directory, else the one at or above this package
    (a source checkout, also when installed in editable mode), else the copy inside the installed
    package.
    """
    folder, resource = _find(name)
    schema = resource["schema"]
    frame = pd.read_csv(
        io.BytesIO(_checked_bytes(folder, resource)),
        dtype={field["name"]: object for field in schema["fields"]},
        keep_default_na=False,
        na_values=schema["missingValues"],
    )
    return frame.assign(
        **{field["name"]: _typed(frame[field["name"]], field) for field in schema["fields"]}
    )


@shown_whole
def describe(name: str) -> pd.DataFrame:
    """Return the codebook of a data set, one row a column.

    Parameters
    ----------
    name : str
        As in `load`.

    Returns
    -------
    DataFrame
        Columns ``column``, ``meaning``, ``unit`` (empty where there is none), ``type``
        ("identifier", "category", "integer", "number"), ``values`` (the levels, the
        smallest and largest number, or how many different identifiers there are) and ``missing``
        (number of empty cells).

    Raises
    ------
    ValueError
        As `load`.
    """
    _, resource = _find(name)
    frame = load(name)
    rows = [
        {
            "column": field["name"],
            "meaning": field["title"],
            "unit": field["unit"],
            "type": _kind(field),
            "values": _values(field, frame[field["name"]]),
            "missing": int(field["missing"]),
        }
        for field in resource["schema"]["fields"]
    ]
    return pd.DataFrame(rows)


def _find(name: str) -> tuple[Path, dict[str, Any]]:
    """Return the data folder and the codebook's entry of one data set."""
    folder, package = data_package()
    resources = {str(resource["name"]): resource for resource in package["resources"]}
    if not isinstance(name, str) or name not in resources:
        raise ValueError(f"there is no data set {name!r}; choose one of {', '.join(resources)}")
    return folder, resources[name]


def data_package() -> tuple[Path, dict[str, Any]]:
    """Return the folder that holds the data, and its codebook."""
    chosen = os.environ.get("PYLMM_DATASETS")
    here, package_folder = Path.cwd(), Path(__file__).resolve().parents[1]
    above = [*(here, *here.parents), *package_folder.parents]
    nearby = [*(folder / "datasets" for folder in above), package_folder / "_datasets"]
    for folder in [Path(chosen)] if chosen else nearby:
        codebook = folder / "datapackage.json"
        if codebook.is_file():
            package = _read_codebook(codebook)
            # Other projects keep a datasets/datapackage.json too: only the handbook's counts.
            if package.get("name") == PACKAGE_NAME:
                return folder, package
    if chosen:
        raise ValueError(
            f"PYLMM_DATASETS is {chosen}, but the handbook's datapackage.json is not there; "
            "point it at the handbook's datasets folder, or unset it"
        )
    raise ValueError(
        "the handbook's data are not to be found: work inside a copy of the handbook, or set "
        "PYLMM_DATASETS to its datasets folder"
    )


def _read_codebook(path: Path) -> dict[str, Any]:
    try:
        package = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); {_REMEDY}") from error
    return package if isinstance(package, dict) else {}


def _checked_bytes(folder: Path, resource: dict[str, Any]) -> bytes:
    """Read a data file, and refuse it unless it is the one that the codebook describes."""
    path = folder / resource["path"]
    if not path.is_file():
        raise ValueError(f"{resource['name']}: {path} is missing; {_REMEDY}")
    content: bytes = path.read_bytes()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != resource["hash"]:
        raise ValueError(
            f"{resource['name']}: {path} has changed, its SHA-256 is not that of the codebook; "
            f"{_REMEDY}"
        )
    return content


def _kind(field: dict[str, Any]) -> str:
    if field["type"] != "string":
        return str(field["type"])
    return "category" if "enum" in field["constraints"] else "identifier"


def _typed(values: pd.Series, field: dict[str, Any]) -> pd.Series:
    """Convert a column of texts to the type that the codebook states."""
    kind = _kind(field)
    if kind == "category":
        return values.astype(pd.CategoricalDtype(field["constraints"]["enum"]))
    if kind == "identifier":
        return values
    numbers = values.astype("float64")
    return numbers.astype("int64") if kind == "integer" and numbers.notna().all() else numbers


def _values(field: dict[str, Any], values: pd.Series) -> str:
    """Say which values a column has, as a reader of a codebook table wants it."""
    if "enum" in field["constraints"]:
        return ", ".join(map(str, field["constraints"]["enum"]))
    if _kind(field) == "identifier":
        return f"{values.nunique():,} different"
    low, high = (f"{end:,.8g}".replace("-", "\u2212") for end in (values.min(), values.max()))
    return f"{low} to {high}"

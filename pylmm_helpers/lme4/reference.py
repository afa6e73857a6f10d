"""Recorded lme4 results: where they are, how one is found, and how a stale one is refused.

A record is one JSON file in datasets/reference/, named by its label (or, without one, by a digest
of formula, data, method and control). It holds what `_rbridge.extract` read from R, the versions
that gave it, and the digest of the data, so that a record of other data is never used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.data import data_package, load

from . import formula as _rformula
from . import frame as _rframe

_INLINE_ROWS = 5_000  # larger data are not copied into a record


class NoRecordError(ValueError):
    """No recorded lme4 result for this model, and no R to ask."""


class StaleRecordError(ValueError):
    """A record exists, but for other data, another formula or another method."""


class DamagedRecordError(ValueError):
    """A record that can't be read as one; says which file, and how to get it back."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(
            f"the recorded lme4 result {path} is damaged ({why}). Restore it with `git checkout "
            "datasets`, or record it again where R is: python datasets/reference/record.py"
        )


def project_folder(start: Path | None = None) -> Path | None:
    """The folder with _quarto.yml at or above `start` (the working directory), if any."""
    here = (start or Path.cwd()).resolve()
    return next((p for p in (here, *here.parents) if (p / "_quarto.yml").is_file()), None)


def reference_folder() -> Path:
    """Where records are read and written: datasets/reference, or PYLMM_REFERENCE_DIR where set.

    Raises
    ------
    ValueError
        When the handbook's data folder is not to be found.
    """
    if os.environ.get("PYLMM_REFERENCE_DIR"):
        return Path(os.environ["PYLMM_REFERENCE_DIR"])
    return data_package()[0] / "reference"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
            # a list of numbers on one line, so that a change in a record is a short diff
            text = re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", _one_line, text)
            file.write(text + "\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _one_line(found: re.Match[str]) -> str:
    return "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]"


def data_digest(r_data: pd.DataFrame) -> str:
    """SHA-256 of the columns as R gets them (`_rframe.r_frame`), order of columns aside.

    Numbers count to ten digits of their column's largest value: a group mean may differ in its
    last bit between machines without being other data.
    """
    digest = hashlib.sha256()
    for column in sorted(r_data.columns):
        values = r_data[column]
        digest.update(f"{column}\x1f{len(values)}\x1f".encode())
        if isinstance(values.dtype, pd.CategoricalDtype):
            digest.update("\x1f".join(map(str, values.cat.categories)).encode())
            digest.update(np.asarray(values.cat.codes, dtype="<i4").tobytes())
        else:
            numbers = values.to_numpy(dtype=float)
            largest = float(np.abs(numbers).max())
            unit = 10.0 ** (np.floor(np.log10(largest)) - 9) if largest > 0 else 1.0
            digest.update(np.rint(numbers / unit).astype("<i8").tobytes())
    return digest.hexdigest()


def normalised(formula: str) -> str:
    """A formula without the spaces that don't matter."""
    return re.sub(r"\s+", "", formula)


def record_name(key: dict[str, Any], name: str | None) -> str:
    """File stem of a record: the label, or a digest of the whole key."""
    if name is None:
        return "lmer-" + hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"label {name!r}: use letters, digits, hyphens and dots only.")
    return name


def _mismatch(record: dict[str, Any], key: dict[str, Any]) -> str | None:
    """What of `key` the record was not made with, or None."""
    words = {
        "formula": "the formula {old!r} (here {new!r})",
        "reml": "reml={old} (here {new})",
        "control": "the lme4 control {old!r} (here {new!r})",
        "data_sha256": "other data (digest {old:.12}, here {new:.12})",
    }
    for part, text in words.items():
        if record["key"].get(part) != key[part]:
            return text.format(old=str(record["key"].get(part)), new=str(key[part]))
    return None


def read(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises
    ------
    DamagedRecordError
        When the file is cut short, or holds something else than a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except ValueError as error:  # of the decoder of UTF-8 and of json
        raise DamagedRecordError(path, error) from error
    for part in ("key", "data", "lme4"):
        if not isinstance(record, dict) or not isinstance(record.get(part), dict):
            raise DamagedRecordError(path, f"it has no {part!r}")
    if any(leaf is None for leaf in _leaves(record["lme4"])):
        raise DamagedRecordError(path, "a value is missing")
    return dict(record)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, dict | list):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _leaves(item)
    else:
        yield node


def find(key: dict[str, Any], name: str | None) -> tuple[dict[str, Any], Path]:
    """The record of a model, and the file it stands in.

    Raises
    ------
    DamagedRecordError
        When a record that may be the one can't be read.
    StaleRecordError
        When the record of that name was made with something else.
    NoRecordError
        When there is none.
    """
    folder = reference_folder()
    path = folder / f"{record_name(key, name)}.json"
    if path.is_file():
        record = read(path)
        wrong = _mismatch(record, key)
        if wrong is None:
            return record, path
        raise StaleRecordError(
            f"the recorded lme4 result {path.name} was made with {wrong}. Record it again where R "
            "is installed: python datasets/reference/record.py"
        )
    # another cell may have recorded the very same model under its own label
    others = {p: read(p) for p in sorted(folder.glob("*.json"))}
    for other, record in others.items():
        if _mismatch(record, key) is None:
            return record, other
    for record in others.values():
        if {**record["key"], "data_sha256": key["data_sha256"]} == key and name is None:
            raise StaleRecordError(
                f"a recorded lme4 result of {key['formula']} exists, but for other data. Record it "
                "again where R is installed: python datasets/reference/record.py"
            )
    raise NoRecordError(f"no recorded lme4 result named {path.name} in {folder}")


def save(
    key: dict[str, Any], name: str | None, result: dict[str, Any], frame: pd.DataFrame
) -> Path:
    """Write the record of a model, with what a later check needs to fit it again."""
    dataset, exact = identify(frame, key)
    source: dict[str, Any] = {"dataset": dataset, "columns": list(frame.columns)}
    if not exact:
        small = len(frame) <= _INLINE_ROWS
        source["values"] = {c: _plain(frame[c]) for c in frame.columns} if small else None
    path = reference_folder() / f"{record_name(key, name)}.json"
    write_json(path, {"key": key, "data": source, "lme4": result})
    return path


def _plain(values: pd.Series) -> dict[str, Any]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return {"levels": values.cat.categories.tolist(), "codes": values.cat.codes.tolist()}
    return {"values": values.tolist()}


def recorded_frame(record: dict[str, Any]) -> pd.DataFrame | None:
    """The data a record was made with, or None for data too large to keep."""
    source = record["data"]
    if "values" not in source:
        parsed = _rformula.parse(record["key"]["formula"])
        return _rframe.model_frame(parsed, load(source["dataset"]), "drop")
    if source["values"] is None:
        return None
    out = {}
    for column, kept in source["values"].items():
        is_factor = "codes" in kept
        out[column] = (
            pd.Categorical.from_codes(kept["codes"], kept["levels"])
            if is_factor
            else kept["values"]
        )
    return pd.DataFrame(out)


def identify(frame: pd.DataFrame, key: dict[str, Any]) -> tuple[str | None, bool]:
    """Name of the shipped data set that `frame` comes from, and whether it equals it.

    A frame with derived columns or fewer rows is named by its response and grouping columns, when
    the data set has all of its groups.
    """
    try:
        resources = data_package()[1]["resources"]
    except ValueError:  # used outside the handbook: other data, which need no name
        return None, False
    parsed = _rformula.parse(key["formula"])
    marks = {*parsed.group_columns, *re.findall(r"\w+", parsed.response)} & set(frame.columns)
    likely = None
    for resource in resources:
        name, columns = (str(resource["name"]), {f["name"] for f in resource["schema"]["fields"]})
        if not marks <= columns:
            continue
        shipped = load(name)
        if all(_levels(frame[g]) <= _levels(shipped[g]) for g in parsed.group_columns):
            likely = likely or name
        if set(frame.columns) <= columns:
            same = _rframe.model_frame(parsed, shipped, "drop")
            if data_digest(_rframe.r_frame(parsed, same)) == key["data_sha256"]:
                return name, True
    return likely, False


def _levels(column: pd.Series) -> set[str]:
    return set(column.dropna().astype(str))

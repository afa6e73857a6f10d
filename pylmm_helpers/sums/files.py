"""Parquet files: which ones a path means, and whether they fit together.

A database takes the types of the first file for all: numbers with decimals in a later file would
be rounded where the first one holds whole numbers. So the schemas are compared first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

CONVERT = (
    "Convert it once, for example with pandas.read_csv(...).to_parquet(...), or give an Ibis table."
)


def parquet_files(path: str | Path) -> list[Path]:
    """The file, or all Parquet files of a folder and those below it.

    Names that start with a dot or an underscore are left out, as Spark leaves them out: its
    half-written files are called so.
    """
    if "://" in str(path):
        raise ValueError(
            f"'{path}' is not on this computer; open it with Ibis, for example "
            "ibis.duckdb.connect().read_parquet(...), and give that table."
        )
    place = Path(path).expanduser()
    if place.is_dir():
        found = [
            file
            for file in sorted(place.rglob("*.parquet"))
            if file.is_file()
            and not any(part.startswith((".", "_")) for part in file.relative_to(place).parts)
        ]
        if not found:
            raise ValueError(f"folder '{path}' holds no file that ends in .parquet.")
        return found
    if not place.is_file():
        raise ValueError(f"there is no file or folder '{path}'.")
    with place.open("rb") as handle:
        if handle.read(4) != b"PAR1":
            raise ValueError(f"'{path}' is not a Parquet file. {CONVERT}")
    return [place]


def read_schemas(files: list[Path]) -> list[Any]:
    """Column names and types of every file, from its last bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = []
    for file in files:
        try:
            schemas.append(pq.read_schema(file))
        except (OSError, pa.ArrowException) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"the table can't be read: '{file}' is no whole Parquet file ({first})."
            ) from error
    return schemas


def differences(files: list[Path], schemas: list[Any]) -> dict[str, str]:
    """What is wrong with each column that is not of one kind in all files."""
    faults: dict[str, str] = {}
    for name in dict.fromkeys(name for schema in schemas for name in schema.names):
        kinds: dict[str, Path] = {}
        for file, schema in zip(files, schemas, strict=True):
            if name not in schema.names:
                faults[name] = (
                    f"column '{name}' is not in file '{file}', but in others of the folder; add it "
                    "there, or leave that file out."
                )
                break
            kind = kind_of(schema.field(name).type)
            if kind:
                kinds.setdefault(kind, file)
        if name not in faults and len(kinds) > 1:
            (one, first), (two, second) = list(kinds.items())[:2]
            faults[name] = (
                f"column '{name}' holds {one} in file '{first}' but {two} in file '{second}'; "
                "write both with the same type."
            )
    return faults


def kind_of(arrow_type: Any) -> str:
    """What a column holds, in a word; nothing for a column without a value."""
    from pyarrow import types

    if types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    if types.is_null(arrow_type):
        return ""
    if (
        types.is_integer(arrow_type)
        or types.is_floating(arrow_type)
        or types.is_decimal(arrow_type)
    ):
        return "numbers"
    if types.is_string(arrow_type) or types.is_large_string(arrow_type):
        return "text"
    return "dates" if types.is_temporal(arrow_type) else str(arrow_type)


def check_case(names: Iterable[str]) -> None:
    """Refuse names that a database takes for the same."""
    seen: dict[str, str] = {}
    for name in map(str, names):
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ValueError(
                f"columns '{other}' and '{name}' differ in upper and lower case only, which a "
                "database can't tell apart; rename one, or leave it out."
            )

"""Where the rows are: frames, Parquet files and folders through DuckDB, or any table of Ibis.

Ibis, DuckDB and PyArrow are imported here only, when a source is opened.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pylmm_helpers.common import interactive, progress_bar

from .files import check_case, differences, parquet_files, read_schemas

NEEDED = (
    "cross_products needs DuckDB and Ibis, which are not installed; run: "
    "pip install 'pylmm-helpers[compute]'"
)
POLL_SECONDS = 0.05
#: Shorter queries show no progress bar.
PATIENCE_SECONDS = 2.0
#: Every thread of DuckDB needs room of its own; with less of it, a query fails on many processors.
MEGABYTES_PER_THREAD = 25


@dataclass(frozen=True)
class Source:
    """A table to send queries to.

    Attributes
    ----------
    table : ibis Table
    categories : dict
        Order of the categories of each categorical column of a data frame; a database has none.
    database : DuckDBPyConnection or None
        The connection under the table, to be asked for progress and to be interrupted.
    progress : bool
        Whether a bar may be shown.
    faults : dict
        What is wrong with each column that can't be used, to be said when a model asks for it.
    """

    table: Any
    categories: dict[str, list[Any]] = field(default_factory=dict)
    database: Any = None
    progress: bool = False
    faults: dict[str, str] = field(default_factory=dict)

    def check(self, names: list[str]) -> None:
        """Refuse columns that the files of a folder hold in different kinds."""
        for name in names:
            if name in self.faults:
                raise ValueError(self.faults[name])

    def run(self, expression: Any, words: str) -> pd.DataFrame:
        """The rows of an Ibis expression, in pandas; an interrupt ends the query first."""
        if self.database is None:
            return expression.to_pandas()
        outcome: dict[str, Any] = {}
        done = threading.Event()  # an interrupted join() would take the thread for dead

        def work() -> None:
            try:
                outcome["rows"] = expression.to_pyarrow().to_pandas()
            except BaseException as error:
                outcome["error"] = error
            finally:
                done.set()

        thread = threading.Thread(target=work, daemon=True)
        try:
            thread.start()
            with progress_bar(words, self.progress, PATIENCE_SECONDS) as show:
                while not done.wait(POLL_SECONDS):
                    show(self.database.query_progress())
        except BaseException:
            while not done.wait(POLL_SECONDS):
                self.database.interrupt()
            raise
        finally:
            thread.join()
        if "error" in outcome:
            raise in_plain_words(outcome["error"])
        return outcome["rows"]

    def room(self) -> tuple[float, int] | None:
        """DuckDB's memory limit in bytes and its threads; None for other databases."""
        if self.database is None:
            return None
        ((limit, threads),) = self.database.execute(
            "SELECT current_setting('memory_limit'), current_setting('threads')"
        ).fetchall()
        return mebibytes(limit) * 2**20, int(threads)


def in_plain_words(error: BaseException) -> BaseException:
    """DuckDB's errors about memory and files, with the remedy."""
    import duckdb

    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, duckdb.OutOfMemoryException):
        return MemoryError(
            f"DuckDB ran out of the memory that it may use ({first}). Raise memory_limit, or make "
            "room in the folder for temporary files."
        )
    unreadable = (
        duckdb.IOException, duckdb.InvalidInputException, duckdb.DataError,
        duckdb.NotSupportedError,
    )  # fmt: skip
    if isinstance(error, unreadable):
        return ValueError(f"the table can't be read: {first}")
    return error


@contextmanager
def open_source(source: Any, memory_limit: str | None, progress: bool | None) -> Iterator[Source]:
    """The source behind whatever was given; what is opened here is closed, with its temporary
    files, at the end or at the first error."""
    try:
        import duckdb
        import ibis
        import pyarrow as pa
    except ImportError as error:
        raise ValueError(NEEDED) from error
    shown = interactive() if progress is None else progress
    if isinstance(source, ibis.Table):
        if memory_limit is not None:
            raise ValueError(
                "memory_limit is for files and data frames; an Ibis table has a connection of its "
                "own: set the limit there."
            )
        try:
            backend = source.get_backend()
        except ibis.common.exceptions.IbisError as error:
            raise ValueError(
                "the Ibis table belongs to no database; take it from a connection, for example "
                "ibis.duckdb.connect().read_parquet(...)."
            ) from error
        database = backend.con if backend.name == "duckdb" else None
        yield Source(source, {}, database, shown)
        return
    with tempfile.TemporaryDirectory(prefix="pylmm-") as folder:
        connection = ibis.duckdb.connect()
        try:
            settle(connection.con, memory_limit, folder)
            if isinstance(source, (str, Path)):
                table, faults = parquet_table(connection, source)
                categories: dict[str, list[Any]] = {}
            else:
                frame, categories = arrow_table(source, pa)
                faults = {}
                connection.con.register("rows_in_memory", frame)
                table = connection.table("rows_in_memory")
            yield Source(table, categories, connection.con, shown, faults)
        except duckdb.Error as error:
            plain = in_plain_words(error)
            if plain is error:
                raise
            raise plain from error
        finally:
            connection.disconnect()


def settle(database: Any, memory_limit: str | None, folder: str) -> None:
    """Where DuckDB may put what does not fit, and what it may hold in memory."""
    import duckdb

    database.execute("SET temp_directory = ?", [folder])
    database.execute("SET preserve_insertion_order = false")
    if memory_limit is None:
        return
    try:
        database.execute("SET memory_limit = ?", [memory_limit])
    except (duckdb.Error, TypeError) as error:
        raise ValueError(
            f"memory_limit {memory_limit!r} is no size; write it as '1.5GB' or '500MB'."
        ) from error
    limit, threads = database.execute(
        "SELECT current_setting('memory_limit'), current_setting('threads')"
    ).fetchone()
    affordable = max(1, int(mebibytes(limit) / MEGABYTES_PER_THREAD))
    database.execute("SET threads = ?", [min(threads, affordable)])


def mebibytes(size: str) -> float:
    """MiB of a size as DuckDB writes it, such as '57.2 MiB'."""
    value, unit = size.split()
    powers = {"bytes": -2, "byte": -2, "KiB": -1, "MiB": 0, "GiB": 1, "TiB": 2, "PiB": 3}
    return float(value) * 1024.0 ** powers[unit]


def parquet_table(connection: Any, path: str | Path) -> tuple[Any, dict[str, str]]:
    """The rows of all files, and what is wrong with columns that differ between files."""
    files = parquet_files(path)
    schemas = read_schemas(files)
    check_case(dict.fromkeys(name for schema in schemas for name in schema.names))
    # types wide enough for all files; needed only where they differ
    wide = {} if all(s.equals(schemas[0]) for s in schemas) else {"union_by_name": True}
    table = connection.read_parquet([str(file) for file in files], **wide)
    return table, differences(files, schemas)


def arrow_table(source: Any, pa: Any) -> tuple[Any, dict[str, list[Any]]]:
    """A frame's columns for DuckDB, mostly without copying, and the order of its categories."""
    if hasattr(source, "to_arrow") and hasattr(source, "get_columns"):  # Polars
        kinds = {name: type(kind).__name__ for name, kind in source.schema.items()}
        frame = source.select(n for n, k in kinds.items() if k in ("Categorical", "Enum"))
        frame = frame.to_pandas()
        check_case(source.columns)
        table = source.to_arrow()
    elif isinstance(source, pa.Table):
        check_case(source.column_names)
        frame, table = source.slice(0, 0).to_pandas(), source
    elif isinstance(source, pd.DataFrame):
        frame = source
        repeated = source.columns[source.columns.duplicated()]
        if len(repeated):
            raise ValueError(
                f"column '{repeated[0]}' stands more than once in the data; rename or drop the "
                "copies."
            )
        check_case(source.columns)
        try:
            table = pa.Table.from_pandas(source, preserve_index=False)
        except (pa.ArrowException, OverflowError) as error:
            raise ValueError(unreadable_column(source, pa)) from error
    elif hasattr(source, "sink_parquet"):
        raise ValueError(
            "source is a Polars LazyFrame, whose rows are nowhere yet; give .collect() of it where "
            "they fit in memory, else write it once with .sink_parquet(path) and give the path."
        )
    else:
        raise ValueError(
            "source must be a pandas or Polars DataFrame, an Arrow table, the path of a Parquet "
            f"file or folder, or an Ibis table, not {type(source).__name__}; a Spark DataFrame "
            "becomes one by ibis.pyspark.connect(session).table(name)."
        )
    categories = {
        str(name): list(column.cat.categories)
        for name, column in frame.items()
        if isinstance(column.dtype, pd.CategoricalDtype)
    }
    for k, part in enumerate(table.schema):
        if pa.types.is_float16(part.type):  # DuckDB has none
            table = table.set_column(k, part.name, table.column(k).cast(pa.float32()))
    return table, categories


def unreadable_column(frame: pd.DataFrame, pa: Any) -> str:
    """Words about the first column whose values have no common type."""
    for name, column in frame.items():
        try:
            pa.Array.from_pandas(column)
        except (pa.ArrowException, OverflowError) as error:
            return f"column '{name}' can't be read ({error}); turn it into numbers or text."
    return "the data frame can't be read; write it to a Parquet file and give its path."

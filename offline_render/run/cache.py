"""Results of cells between builds: jupyter-cache, with what a power failure damages found out."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from sqlalchemy.exc import SQLAlchemyError

from ..book import cannot_write, tell_damage

LIMIT = 10_000
COLUMNS = {
    "settings": {"key", "value"},
    "nbcache": {"hashkey", "uri", "data"},
}


class CellCache:
    """Executed notebooks by the content of their cells; a damaged one counts as absent.

    Parameters
    ----------
    folder : Path
        Where jupyter-cache keeps its database and notebooks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.exists():
            what = damage(folder)
            if what:
                tell_damage(folder / "global.db", what)
                _remove(folder)
        self._open()

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.cache = get_cache(self.folder)
            self.cache.change_cache_limit(LIMIT)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        except (RuntimeError, SQLAlchemyError) as error:
            # jupyter-cache hides sqlite's error behind its own
            cause = error.__cause__ or error
            raise cannot_write(self.folder, OSError(0, _first_line(cause))) from error

    def find(self, book: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
        """The notebook with its kept outputs, or None where its cells have to run."""
        try:
            record = self.cache.match_cache_notebook(book)
        except KeyError:
            return None
        except (RuntimeError, SQLAlchemyError, ValueError, TypeError) as error:
            self._start_again(_first_line(error.__cause__ or error))
            return None
        path = self.path(record.hashkey)
        try:
            content = path.read_bytes()
            digest = (record.data or {}).get("sha256")
            if hashlib.sha256(content).hexdigest() != digest:
                raise ValueError("cut short or changed")
            _, merged = self.cache.merge_match_into_notebook(book)
            return merged
        except FileNotFoundError:
            tell_damage(path, "missing")
        except OSError as error:
            tell_damage(path, error.strerror or str(error))
        except Exception as error:  # whatever it is, running the cells again mends it
            tell_damage(path, _first_line(error))
        return None

    def store(self, book: nbformat.NotebookNode, source: Path) -> None:
        """Keep an executed notebook, in place of an earlier one of the same cells."""
        try:
            self._store(book, source)
        except (RuntimeError, SQLAlchemyError) as error:
            self._start_again(_first_line(error.__cause__ or error))
            self._store(book, source)
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def _store(self, book: nbformat.NotebookNode, source: Path) -> None:
        hashed, key = self.cache.create_hashed_notebook(book)
        text = nbformat.writes(hashed, nbformat.NO_CONVERT)
        # the checksum goes into the database, so that a notebook written in part is known for it
        data = {"sha256": hashlib.sha256(text.encode()).hexdigest()}
        # jupyter-cache removes the folder of an earlier result only if its notebook is still there
        _remove(self.path(key).parent)
        self.cache.cache_notebook_bundle(
            CacheBundleIn(book, str(source), data=data), check_validity=False, overwrite=True
        )

    def path(self, key: str) -> Path:
        return self.folder / "executed" / key / "base.ipynb"

    def _start_again(self, what: str) -> None:
        tell_damage(self.folder / "global.db", what)
        if self.cache.db is not None:
            self.cache.db.dispose()
        _remove(self.folder)
        self._open()


def damage(folder: Path) -> str:
    """What is wrong with the cache's database, or nothing."""
    if not folder.is_dir():
        return "a file stands where the folder should be"
    database = folder / "global.db"
    if not database.exists():
        # notebooks without a database would never be found again
        return "missing" if any(folder.iterdir()) else ""
    if not database.is_file():
        return "it is no file"
    try:
        with closing(sqlite3.connect(database)) as connection:
            found: list[tuple[Any, ...]] = connection.execute("PRAGMA quick_check").fetchall()
            if found != [("ok",)]:
                return "the database is not whole"
            pages, size = (
                connection.execute(f"PRAGMA {what}").fetchone()[0]
                for what in ("page_count", "page_size")
            )
            if pages * size != database.stat().st_size:
                return "cut short"
            for table, columns in COLUMNS.items():
                there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
                if not columns <= there:
                    return "the database is not whole"
    except sqlite3.OperationalError as error:
        # locked by another build, or without rights: no damage, and opening will say so
        busy = ("locked", "readonly", "unable to open")
        return "" if any(word in str(error) for word in busy) else str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    return ""


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]

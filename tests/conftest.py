"""Shared by all tests: the repository's root, the finished book, and the order of the files."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

# Before anything imports numpy: two workers and the book's kernels already share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Files that take longest start first, so that no worker is left alone with one at the end. The
#: very first builds the book, with kernels of its own, while the other worker tests helpers.
FIRST = (
    "book/test_downloads.py", "helpers/test_symmetries.py", "helpers/test_crosscheck.py",
    "book/test_chapter_09.py", "book/test_large_data.py", "helpers/test_new_rows.py",
    "helpers/test_compute_several.py", "helpers/test_formula_language.py",
    "book/test_isolation.py", "browser/test_accessibility.py", "browser/test_live.py",
    "book/test_chapter_04.py",
    "helpers/test_compute.py", "helpers/test_inference_comparison.py",
    "helpers/test_several_by_factor.py", "helpers/test_planning.py", "book/test_classics.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the others stay in their order, those that need the book behind."""
    place = {ROOT / "tests" / name: number for number, name in enumerate(FIRST)}
    with_book = {item.path for item in items if "book" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (place.get(item.path, len(place)), item.path in with_book))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def book(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole book, built by the embedded renderer; every chapter's cells run on the way.

    One worker builds it for all; the others wait, and hear of its failure too.
    """
    from filelock import FileLock

    from offline_render.render import build

    if "PYTEST_XDIST_WORKER" not in os.environ:
        return build(root)
    shared = tmp_path_factory.getbasetemp().parent
    built, failed = shared / "book-built", shared / "book-failed"
    with FileLock(shared / "book-lock"):
        if failed.exists():
            pytest.fail(failed.read_text(encoding="utf-8"), pytrace=False)
        if not built.exists():
            try:
                built.write_text(str(build(root)), encoding="utf-8")
            except BaseException as error:
                failed.write_text(f"the book was not built: {error}", encoding="utf-8")
                raise
    return Path(built.read_text(encoding="utf-8"))


def pytest_unconfigure() -> None:
    """Let pytest have the last word.

    DuckDB's bindings print at the end of the interpreter which of their objects still live
    (hypothesis keeps some of them); by then every test has been reported.
    """
    if "duckdb" in sys.modules:
        atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))

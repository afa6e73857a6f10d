"""Shared by all tests: the repository's root and the finished book."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def book(root: Path) -> Path:
    """The whole book, built by the embedded renderer; every chapter's cells run on the way."""
    from offline_render.render import build

    return build(root)


def pytest_unconfigure() -> None:
    """Let pytest have the last word.

    DuckDB's bindings print at the end of the interpreter which of their objects still live
    (hypothesis keeps some of them); by then every test has been reported.
    """
    if "duckdb" in sys.modules:
        atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))

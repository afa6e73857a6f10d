"""Shared by all tests: the repository's root and the finished book."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def book(root: Path) -> Path:
    """The whole book, built by the embedded renderer; every chapter's cells run on the way."""
    from offline_render.build import build

    return build(root)

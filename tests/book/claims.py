"""Sentences of a chapter, each with the check that computes whether it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cells import CHAPTERS

# The words as they stand in the source, and what must be true of the names its cells leave.
Statement = tuple[str, Callable[[dict[str, Any]], Any]]


def check_statement(name: str, statement: Statement, page: dict[str, Any]) -> None:
    """Fail if the chapter no longer says it, or if it isn't so."""
    words, holds = statement
    source = (CHAPTERS / f"{name}.qmd").read_text(encoding="utf-8")
    assert words in source, f"{name} no longer says {words!r}: change the list with the text"
    assert holds(page), f"{name} says {words!r}, which doesn't hold"


def words_of(statement: Statement) -> str:
    """The sentence as the test's name."""
    return statement[0][:60]

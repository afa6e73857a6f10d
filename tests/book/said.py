"""What a chapter says about its data: the words, beside the calculation that bears them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cells import CHAPTERS

Page = dict[str, Any]
Statement = tuple[str, Callable[[Page], Any]]


def stands(chapter: str, words: str) -> bool:
    """Are these words in the source of the chapter, or in a caption or alt text of it?"""
    return words in (CHAPTERS / f"{chapter}.qmd").read_text(encoding="utf-8")


def ids(statements: list[Statement]) -> list[str]:
    """The first words of each statement, for the names of the tests."""
    return [words[:40] for words, _ in statements]

"""Sentences of a chapter that judge its data, each beside the calculation that bears it out.

A chapter's test lists them as `STATEMENTS`: a piece of the sentence as it stands in the source, and
a function of the names that the chapter's cells leave behind. A sentence that is reworded has to be
looked up in the list, and one that the data no longer bear out fails by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cells import CHAPTERS

Page = dict[str, Any]
Statement = tuple[str, Callable[[Page], Any]]


def stands(chapter: str, fragment: str) -> bool:
    """Whether the source of the chapter has this piece of text, however its lines are broken."""
    source = (CHAPTERS / f"{chapter}.qmd").read_text(encoding="utf-8")
    return " ".join(fragment.split()) in " ".join(source.split())


def each(statements: list[Statement]) -> pytest.MarkDecorator:
    """One test for each statement, named by its first words."""
    names = [" ".join(fragment.split()[:7]) for fragment, _ in statements]
    return pytest.mark.parametrize(("fragment", "holds"), statements, ids=names)

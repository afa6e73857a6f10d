"""Only an appendix may read what other documents write, and it runs after all of them."""

from __future__ import annotations

import ast

from .errors import BuildError
from .project import Chapter, Project
from .source import Cell, Part

WRITES, READS = "crosscheck", "agreement_records"


def check_order(project: Project, sources: dict[str, list[Part]]) -> None:
    """Refuse a book in which a document asks for agreement records that can't be there yet.

    Raises
    ------
    BuildError
        Names the document and the line, and what to do.
    """
    for chapter in project.chapters:
        calls = called(chapter, sources[chapter.source])
        if READS not in calls:
            continue
        if not chapter.appendix:
            raise BuildError(
                f"{READS}() in a chapter: chapters run side by side, so only a document under "
                "`appendices:` can report on the others",
                chapter.path,
                calls[READS],
            )
        if WRITES in calls:
            raise BuildError(
                f"{READS}() beside {WRITES}(): a document that reports on all models can't make "
                "one of its own; compare it in another document",
                chapter.path,
                calls[READS],
            )


def reports(chapter: Chapter, parts: list[Part]) -> bool:
    """Whether a document reports on the others."""
    return READS in called(chapter, parts)


def compares(chapter: Chapter, parts: list[Part]) -> bool:
    """Whether a document compares models of its own with lme4."""
    return WRITES in called(chapter, parts)


def called(chapter: Chapter, parts: list[Part]) -> dict[str, int]:
    """Names of the functions that a document's cells call, with the line of the first call."""
    found: dict[str, int] = {}
    for part in parts:
        if not isinstance(part, Cell) or not part.option("eval", True):
            continue
        try:
            tree = ast.parse(part.code)
        except SyntaxError:
            continue  # a magic, or a fault that running the cell will show with its place
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
                if name is not None:
                    found.setdefault(str(name), part.code_line + node.lineno - 1)
    return found

"""Documents run in the order of ``_quarto.yml``, so none may read what a later one writes."""

from __future__ import annotations

import ast

from .errors import BuildError
from .project import Chapter, Project
from .source import Cell, Part

WRITES, READS = "crosscheck", "agreement_records"


def check_order(project: Project, sources: dict[str, list[Part]]) -> None:
    """Refuse a book in which a document asks for agreement records before they are made.

    Raises
    ------
    BuildError
        Names both documents, the line, and the place in ``_quarto.yml`` that would do.
    """
    readers: list[tuple[Chapter, int]] = []
    for chapter in project.chapters:
        calls = called(chapter, sources[chapter.source])
        if WRITES in calls and readers:
            reader, line = readers[0]
            raise BuildError(
                f"{READS}() needs the records of {chapter.source}, which _quarto.yml lists after "
                f"{reader.source}: list {reader.source} after it",
                reader.path,
                line,
            )
        if READS in calls:
            if not chapter.appendix:
                raise BuildError(
                    f"{READS}() in a chapter: chapters run side by side, so only a document under "
                    "`appendices:` can report on the others",
                    chapter.path,
                    calls[READS],
                )
            readers.append((chapter, calls[READS]))


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

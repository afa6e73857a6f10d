"""What a page has to know to run its cells, and the line that brings the buttons to it."""

from __future__ import annotations

import ast
import hashlib
import html
import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from ..book import Cell, Chapter, Part, reports, write_whole
from ..run import seconds_of

FOLDER = "live"
#: Its blocks of code are programs of their own, which read the reader's file.
RECIPES = "recipes"
#: Calls of modules that later cells feel.
SETTINGS = {"filterwarnings", "seed", "simplefilter", "update", "use"}


def runnable(chapter: Chapter, parts: list[Part]) -> bool:
    """Chapters with code of their own; a page that reports on the book can't run without it."""
    cells = [part for part in parts if isinstance(part, Cell)]
    own = any(shown(cell) for cell in cells) and not reports(chapter, parts)
    return chapter.key == RECIPES or own


def shown(cell: Cell) -> bool:
    """Whether a reader sees the code of a cell."""
    return bool(
        cell.option("include", True) and cell.option("echo", True) and cell.option("eval", True)
    )


def page_data(parts: list[Part], seconds: dict[str, float]) -> dict[str, Any]:
    """The cells of a page: code, names they give, size of their figures, how long they took."""
    own = [part for part in parts if isinstance(part, Cell)]
    imported = {
        name
        for part in own
        for node in ast.walk(ast.parse(part.code))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in brought(node)
    }
    cells: list[dict[str, Any]] = []
    for part in parts:
        if not isinstance(part, Cell) or not part.option("eval", True) or not part.code.strip():
            continue
        code = part.code.strip("\n")
        cell: dict[str, Any] = {
            "label": part.label,
            "code": code,
            "defines": sorted(given(code, imported)),
        }
        for side in ("width", "height"):
            if size := part.option(f"fig-{side}", 0):
                cell[side] = size
        # imports are done when Python has started, and there is no R to wait for
        elsewhere = not cells or any(word in code for word in ("crosscheck(", "lmer("))
        cell["seconds"] = 0 if elsewhere else round(seconds.get(part.label, 0), 1)
        if not part.option("warning", True):
            cell["quiet"] = True
        if not shown(part):
            cell["hidden"] = True
        cells.append(cell)
    return {"cells": cells}


def given(code: str, imported: Set[str] = frozenset()) -> set[str]:
    """Names that a cell binds, or whose objects it may change; a call of a module changes it not.

    Parameters
    ----------
    code : str
        The cell.
    imported : set of str
        Names of the page that stand for modules and what they offer.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= brought(node)
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            names |= root_of(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            if isinstance(function, ast.Attribute):
                names |= root_of(function) - (set() if function.attr in SETTINGS else imported)
    return names


def brought(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {alias.asname or alias.name.partition(".")[0] for alias in node.names}


def root_of(node: ast.expr) -> set[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def with_buttons(text: str, chapter: Chapter) -> str:
    """The HTML of a page that loads the buttons."""
    told = ' data-each="1"' if chapter.key == RECIPES else ""
    place = f"{chapter.root}{FOLDER}"
    lines = (
        f'<link rel="stylesheet" href="{place}/live.css">\n'
        f'<script defer src="{place}/live.js" data-page="{html.escape(chapter.key)}"{told}>'
        "</script>\n"
    )
    return text if f"{place}/live.js" in text else text.replace("</head>", f"{lines}</head>", 1)


def write_page(chapter: Chapter, parts: list[Part], out: Path, work: Path) -> None:
    """Put the buttons on a finished page, and its cells beside the runtime."""
    page = out / chapter.href
    if not page.is_file() or not runnable(chapter, parts):
        return
    data = json.dumps(page_data(parts, seconds_of(work, chapter)), ensure_ascii=False)
    place = out / FOLDER / "pages" / f"{chapter.key}.js"
    write_whole(place, f"handbookLive.pageData={data}\n".encode())
    text = page.read_text(encoding="utf-8")
    write_whole(page, with_buttons(text, chapter).encode())


def digest_of(contents: list[bytes]) -> str:
    total = hashlib.sha256()
    for content in contents:
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()[:16]

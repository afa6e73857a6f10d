"""Run the cells of a chapter in one namespace, for the tests of what the chapter says."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, Literal

from offline_render.book import Cell, split

CHAPTERS = Path(__file__).parents[2] / "chapters"


def run_chapter(
    name: str,
    warnings_are: Literal["error", "ignore", "default"] = "error",
    skip: str = r"crosscheck\(|agreement_summary\(",
    replaced: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The names that the cells leave behind.

    Cells whose label or code matches `skip` are left out: by default those with `crosscheck`,
    which asks R and has tests of its own. `replaced` names take the place of what the first cell
    imports.
    """
    import matplotlib
    import statsmodels.formula.api  # noqa: F401  (sets warning filters when first imported)

    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    first = True
    for part in split(CHAPTERS / f"{name}.qmd"):
        if not isinstance(part, Cell) or re.search(skip, f"{part.label}\n{part.code}"):
            continue
        with warnings.catch_warnings():
            # a page that hides a warning of a cell says why
            warnings.simplefilter(warnings_are if part.option("warning", True) else "ignore")
            exec(compile(part.code, f"{name}.qmd:{part.label}", "exec"), names)
        if first:
            names |= replaced or {}
            first = False
    matplotlib.pyplot.close("all")
    return names

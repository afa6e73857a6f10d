"""Run the cells of a chapter in one namespace, for the tests of what the chapter says."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from offline_render.source import Cell, split

CHAPTERS = Path(__file__).parents[2] / "chapters"


def run_chapter(name: str, skip: str = "crosscheck(") -> dict[str, Any]:
    """The names that the cells leave behind; a warning that the page doesn't hide is an error.

    Cells with `crosscheck` are left out: it asks R, and has tests of its own.
    """
    import matplotlib
    import statsmodels.formula.api  # noqa: F401  (sets warning filters when first imported)

    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    for part in split(CHAPTERS / f"{name}.qmd"):
        if isinstance(part, Cell) and skip not in part.code:
            with warnings.catch_warnings():
                warnings.simplefilter("error" if part.option("warning", True) else "ignore")
                exec(compile(part.code, f"{name}.qmd:{part.label}", "exec"), names)
    matplotlib.pyplot.close("all")
    return names

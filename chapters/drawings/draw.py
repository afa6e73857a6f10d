"""Draw the figure that opens each chapter: its idea, with made-up numbers and no data.

    python chapters/drawings/draw.py

writes one SVG for each chapter beside this file. They are committed; a test draws them again and
compares, so that a change here can't be forgotten there.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import choosing  # noqa: F401  (its drawing enters the list)
import matplotlib.pyplot as plt
import methods  # noqa: F401
import models  # noqa: F401
from pens import DRAWINGS

from pylmm_helpers import plots

HERE = Path(__file__).parent


def as_svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def draw_all() -> dict[str, str]:
    """The SVG of each drawing, by its name."""
    plots.use_style()
    return {name: as_svg(draw()) for name, draw in DRAWINGS.items()}


if __name__ == "__main__":
    for name, svg in draw_all().items():
        (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")

"""Pens and colours of the drawings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

BLUE, RED, GREEN, INK, SOFT = "#0072B2", "#C84C00", "#007A59", "#333333", "#767676"
HERDS = [BLUE, RED, GREEN]
DRAWINGS: dict[str, Callable[[], Any]] = {}


def drawing(name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def register(draw: Callable[[], Any]) -> Callable[[], Any]:
        DRAWINGS[name] = draw
        return draw

    return register


def canvas(width: float = 6.5, height: float = 2.5, columns: int = 1) -> tuple[Any, Any]:
    """A figure without axes: the unit of both directions is up to the drawing."""
    figure, axes = plt.subplots(1, columns, figsize=(width, height))
    for ax in np.atleast_1d(axes):
        ax.set_axis_off()
    return figure, axes


def say(ax: Any, x: float, y: float, text: str, color: str = INK, **more: Any) -> None:
    ax.text(x, y, text, color=color, **{"ha": "center", "va": "center", "fontsize": 10, **more})


def arrow(ax: Any, start: tuple[float, float], end: tuple[float, float], color: str = INK,
          style: str = "-|>", **more: Any) -> None:  # fmt: skip
    ax.annotate("", end, start, arrowprops={
        "arrowstyle": style, "color": color, "lw": 1.4, "shrinkA": 0, "shrinkB": 0,
        "mutation_scale": 11, **more,
    })  # fmt: skip

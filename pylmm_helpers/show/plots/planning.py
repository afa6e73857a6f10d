"""The figure of a planned study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import a_number, shown

from .parts import SOFT, axes_or_new, size_map

#: What the lines of the figure are for, in order of preference.
LINES = ("cluster_size", "repeats")


def power(table: pd.DataFrame, target: float = 0.8, ax: Any = None) -> Any:
    """Power against the number of groups, a line for each size of the groups.

    Parameters
    ----------
    table : DataFrame
        What `power` or `simulate_power` returned.
    target : float
        Wanted power, drawn as a dashed line.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Bars show twice the Monte-Carlo error of simulated power to either side.

    Raises
    ------
    ValueError
        For a table without the columns groups and power, and a target outside (0, 1).
    """
    if not isinstance(table, pd.DataFrame) or not {"groups", "power"} <= set(table.columns):
        raise ValueError(
            f"table is {shown(table)} without the columns groups and power; give what power() or "
            "simulate_power() returned"
        )
    if not 0.0 < a_number(target, "target") < 1.0:
        raise ValueError(f"target is {target!r}; give a power between 0 and 1")
    ax = axes_or_new(ax)
    by = next((name for name in LINES if name in table.columns), None)
    parts: list[tuple[Any, pd.DataFrame]] = [(None, table)]
    if by is not None:
        parts = list(table.groupby(by))
    # the palest fifth of the map is too faint for thin lines on white
    colours = size_map()(np.linspace(0.0, 1.0, len(parts)))
    for (size, part), colour in zip(parts, colours, strict=True):
        own = part.sort_values("groups")
        label = None if size is None else f"{size}"
        x, y = own["groups"].to_numpy(), own["power"].to_numpy()
        ax.plot(x, y, marker="o", markersize=4, color=colour, label=label)
        if "mc_error" in own.columns:
            error = 2.0 * own["mc_error"].to_numpy()
            ax.vlines(x, np.maximum(y - error, 0.0), np.minimum(y + error, 1.0), color=colour)
    ax.axhline(target, color=SOFT, linewidth=0.9, linestyle=(0, (5, 4)))
    ax.set(xlabel="number of groups", ylabel="power", ylim=(0.0, 1.02))
    if by is not None:
        title = "units in each group" if "repeats" in table.columns else "rows in each group"
        ax.legend(loc="lower right", title=title)
    return ax

"""Q-Q plots: are groups, or rows, normal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, one_of
from pylmm_helpers.engine import LMMResults, as_results
from pylmm_helpers.quantities import check_level, residuals

from .band import BANDS, limits
from .parts import BAND, BLUE, INK, VERMILLION, axes_or_new, chosen_term, effect_name


def qq(
    fit: Any,
    level: str = "group",
    term: str | None = None,
    band: str = "simultaneous",
    confidence: float = 0.95,
    ax: Any = None,
) -> Any:
    """Normal QQ plot of standardised BLUPs, or of standardised residuals, with a band.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    level : {"group", "observation"}
        BLUPs of the groups (each divided by its own standard deviation, so that groups of all sizes
        can be compared), or conditional residuals of the rows.
    term : str, optional
        Random effect to show; the first unless named.
    band : {"simultaneous", "pointwise", "raw"}
        If the model holds, all points stay inside a simultaneous band with the given probability;
        inside a pointwise band each point does, so that some points outside are to be expected.
        Both allow for the standard deviations being estimated; "raw" doesn't, see `qq_band`.
    confidence : float
        That probability.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Points outside the band are named (groups) and coloured.
    """
    res = as_results(fit)
    one_of(level, ("group", "observation"), "level")
    one_of(band, BANDS, "band")
    name = chosen_term(res, term) if level == "group" else None
    what = f"standardised {effect_name(res, name)}" if name else "standardised residual"
    values, x, low, high = qq_points(res, name, check_level(confidence), band)
    y = values.to_numpy()
    ax = axes_or_new(ax)
    # far out in a long sample the band runs off; the points decide how much of it is shown
    ax.fill_between(
        x, low, high, color=BAND, linewidth=0, label=f"{100 * confidence:g}% {band} band"
    )
    ends = np.array([x[0], x[-1]])
    ax.plot(ends, ends, color=INK, linewidth=1.0)
    out = (y < low) | (y > high)
    size = 26 if len(y) <= 200 else 10
    ax.scatter(x[~out], y[~out], s=size, color=BLUE, zorder=3)
    if out.any():
        ax.scatter(x[out], y[out], s=size, color=VERMILLION, zorder=3, label="outside")
    if level == "group":
        # the farthest beyond the band, for a single one pushes others out
        for k in np.argsort(-np.maximum(low - y, y - high))[: min(8, int(out.sum()))]:
            ax.annotate(
                str(values.index[k]),
                (x[k], y[k]),
                xytext=(5, -9),
                textcoords="offset points",
                fontsize=8.5,
            )
    ax.set(xlabel="standard normal quantile", ylabel=what)
    ax.legend(loc="upper left")
    return ax


def qq_points(
    res: LMMResults, term: str | None, confidence: float, band: str
) -> tuple[pd.Series, Array, Array, Array]:
    """Sorted values (n,), their normal quantiles and limits: of a random effect, or of the rows."""
    if term is None:
        values = residuals(res)["conditional_std"]
    else:
        table = residuals(res, "group")
        part = table if res.cross.q == 1 else table.xs(term, level="term")
        values = part["standardised"]
    values = values.sort_values()
    if not np.any(values.to_numpy()):
        raise ValueError(
            "all BLUPs are 0, so there is no distribution to show; see check_singular(fit)"
        )
    x, low, high = limits(len(values), confidence, band)
    if not res.reml:  # ML's variances are too small, so that the values spread more than 1
        spread = float(np.sqrt(np.mean(values.to_numpy() ** 2)))
        low, high = spread * low, spread * high
    return values, x, low, high

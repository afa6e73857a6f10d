"""Q-Q plots: are groups, or rows, normal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, one_of
from pylmm_helpers.engine import SeveralResults, any_results
from pylmm_helpers.quantities import check_level, residuals

from .band import BANDS, limits
from .factor import OneFactor, factor_of, words_of
from .parts import BAND, BLUE, INK, VERMILLION, axes_or_new, chosen_term, effect_name


def qq(
    fit: Any,
    level: str = "group",
    term: str | None = None,
    band: str = "simultaneous",
    confidence: float = 0.95,
    ax: Any = None,
    group: str | None = None,
) -> Any:
    """Normal QQ plot of standardised BLUPs, or of standardised residuals, with a band.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        A fitted linear mixed model.
    level : {"group", "observation"}
        BLUPs of the groups (each divided by its own standard deviation, so that groups of all sizes
        can be compared), or conditional residuals of the rows.
    term : str, optional
        Random effect to show; the first unless named.
    band : {"simultaneous", "pointwise", "raw"}
        If the model holds, all points stay inside a simultaneous band with the given probability;
        inside a pointwise band each point does, so that some points outside are to be expected.
        Both allow for the standard deviations being estimated; "raw" doesn't, see `qq_band`. They
        take values for independent, which BLUPs of levels that share rows with those of another
        factor are only nearly.
    confidence : float
        That probability.
    ax : matplotlib Axes, optional
        Where to draw.
    group : str, optional
        The grouping factor whose BLUPs are meant, such as ``"herd:cow"``; needed for them when the
        fit has several.

    Returns
    -------
    Axes
        Points outside the band are named (groups) and coloured.
    """
    one_of(level, ("group", "observation"), "level")
    one_of(band, BANDS, "band")
    if level == "observation" and group is not None:
        raise ValueError("group= is for the BLUPs of a factor; rows have level='observation' alone")
    factor = factor_of(fit, group) if level == "group" else None
    name = chosen_term(factor, term) if factor else None
    what = f"standardised {effect_name(factor, name)}" if factor and name else "standardised "
    what += "" if factor else "residual"
    values, x, low, high = qq_points(fit, name, check_level(confidence), band, factor)
    y, labels = values.to_numpy(), words_of(values.index)
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
                labels[k],
                (x[k], y[k]),
                xytext=(5, -9),
                textcoords="offset points",
                fontsize=8.5,
            )
    ax.set(xlabel="standard normal quantile", ylabel=what)
    ax.legend(loc="upper left")
    return ax


def qq_points(
    fit: Any,
    term: str | None,
    confidence: float,
    band: str,
    factor: OneFactor | None = None,
) -> tuple[pd.Series, Array, Array, Array]:
    """Sorted values (n,), their normal quantiles and limits: of a random effect, or of the rows."""
    res = any_results(fit)
    if term is None:
        values = residuals(res)["conditional_std"]
    else:
        values = level_residuals(factor or factor_of(res, None), term)
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


def level_residuals(factor: OneFactor, term: str) -> pd.Series:
    """Standardised BLUPs (G,) of one random effect of a factor, level by level."""
    level = factor.groups if isinstance(factor.fit, SeveralResults) else "group"
    table = residuals(factor.fit, level)
    part = table if len(factor.terms) == 1 else table.xs(term, level="term")
    return part["standardised"]

"""Figures of the model: residuals, and profiles of the likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers._adapter import as_results
from pylmm_helpers._plot_parts import BLUE, INK, SOFT, VERMILLION, axes_or_new
from pylmm_helpers.diagnostics import residuals


def residual_fitted(fit: Any, x: str | None = None, ax: Any = None) -> Any:
    """Standardised conditional residuals against fitted values or a column of the data.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    x : str, optional
        Numeric column of the data for the horizontal axis, or ``"fitted_marginal"`` for X beta; the
        conditional fitted values without it.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        With a smooth trend (lowess), which is flat at 0 if nothing is wrong with the mean, and
        lines at -2 and 2, beyond which about 5% of the points belong.

    Notes
    -----
    Against conditional fitted values the trend may rise a little although nothing is wrong: a
    shrunken BLUP leaves part of its group's deviation in the residuals, with the same sign. Against
    the marginal ones it doesn't.
    """
    from statsmodels.nonparametric.smoothers_lowess import lowess

    res = as_results(fit)
    table = residuals(res)
    y = table["conditional_std"].to_numpy()
    if x is None:
        across, label = table["fitted"].to_numpy(), f"fitted {res.endog_name}"
    elif x == "fitted_marginal":
        across, label = table[x].to_numpy(), f"marginal fitted {res.endog_name}"
    else:
        if x not in res.frame.columns or not pd.api.types.is_numeric_dtype(res.frame[x]):
            raise ValueError(f"x is {x!r}; give a numeric column of the data")
        across, label = res.frame[x].to_numpy(dtype=float), x
    ax = axes_or_new(ax)
    ax.scatter(
        across, y, s=12 if len(y) <= 2000 else 5, color=BLUE, alpha=0.45, rasterized=len(y) > 5000
    )
    for line in (-2.0, 2.0):
        ax.axhline(line, color=SOFT, linewidth=0.9, linestyle=(0, (5, 4)))
    ax.axhline(0.0, color=INK, linewidth=0.9)
    smooth = lowess(y, across, frac=0.6, delta=0.01 * float(np.ptp(across)))
    ax.plot(smooth[:, 0], smooth[:, 1], color=VERMILLION, linewidth=1.8, label="smooth trend")
    ax.set(xlabel=label, ylabel="standardised residual")
    ax.legend(loc="upper right")
    return ax

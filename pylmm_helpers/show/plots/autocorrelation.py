"""Whether rows near in time are alike, after all that the fit takes into account."""

from __future__ import annotations

from typing import Any

import numpy as np

from pylmm_helpers.common import a_number
from pylmm_helpers.engine import any_results
from pylmm_helpers.quantities import by_distance, by_lag, pairs_of, times_of

from .parts import BLUE, INK, SOFT, VERMILLION, axes_or_new


def residual_autocorrelation(
    fit: Any, time: str | None = None, max_lag: float | None = None, ax: Any = None
) -> Any:
    r"""Autocorrelation of the residuals by lag, or their semivariogram, with the fitted curve.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or statsmodels MixedLMResults
        A fitted linear mixed model.
    time : str, optional
        Column of times; that of ``correlation=`` if left out. For a fit without a correlation it
        shows whether one is needed.
    max_lag : float, optional
        The longest lag to show.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        For whole times a bar for each lag, with limits of :math:`\pm 1.96 / \sqrt{m}` for m pairs,
        within which uncorrelated residuals would mostly stay. For other times half the mean squared
        difference of pairs, by distance, which is 1 for uncorrelated residuals. Fits with a
        correlation add the curve :math:`\phi^d` or :math:`1 - \phi^d`.

    Notes
    -----
    Conditional residuals over their SD are used (nlme's "pearson"). They are residuals about
    *estimated* random effects, which makes them a little less alike than the errors: with few rows
    a group the bars lie below the curve even if it is right. ``residuals(fit, kind="normalized")``
    should show none of the correlation any more.

    Raises
    ------
    ValueError
        Without `time` for a fit without a correlation; for times that are missing, repeated in a
        group or no numbers.

    References
    ----------
    Pinheiro & Bates (2000), Mixed-effects models in S and S-PLUS, ch. 5.3.
    """
    if max_lag is not None and a_number(max_lag, "max_lag") <= 0.0:
        raise ValueError(f"max_lag is {max_lag!r}; give a lag above 0, or leave it out")
    res = any_results(fit, structures=True)
    structure = times_of(res, time)
    pairs = pairs_of(res, structure)
    own = res.structure
    fitted = own is not None and own.phi is not None and structure is own
    whole = bool(np.all(pairs.distance == np.round(pairs.distance)))
    ax = axes_or_new(ax)
    name = structure.request.time
    unit = f" ({structure.unit})" if structure.unit else ""
    ax.set(xlabel=f"difference in {name}{unit}")
    if whole and (own is None or own.request.kind != "car1"):
        table = by_lag(pairs, None if max_lag is None else int(max_lag))
        half = 1.96 / np.sqrt(table["pairs"])
        ax.vlines(table["lag"], 0.0, table["autocorrelation"], color=BLUE, linewidth=3.0)
        for sign in (-1.0, 1.0):
            ax.plot(table["lag"], sign * half, color=SOFT, linewidth=0.9, linestyle=(0, (5, 4)))
        ax.axhline(0.0, color=INK, linewidth=0.9)
        curve = table["lag"].to_numpy(dtype=float)
        values = np.power(res.phi, curve) if fitted else None
        ax.set(ylabel="autocorrelation of residuals")
    else:
        table = by_distance(pairs, max_lag)
        ax.scatter(table["lag"], table["semivariogram"], color=BLUE, s=26, zorder=3)
        ax.axhline(1.0, color=SOFT, linewidth=0.9, linestyle=(0, (5, 4)))
        curve = np.linspace(0.0, float(table["lag"].max()), 200)
        values = 1.0 - np.power(res.phi, curve) if fitted else None
        ax.set(ylabel="semivariogram of residuals", ylim=(0.0, None))
    if values is not None:
        ax.plot(curve, values, color=VERMILLION, linewidth=1.8, label=f"fit, phi = {res.phi:.3f}")
        ax.legend(loc="best")
    return ax

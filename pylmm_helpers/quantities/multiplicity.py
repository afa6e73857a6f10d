"""Several comparisons at once: adjusted p-values, and limits that hold together."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BarycentricInterpolator
from scipy.stats import studentized_range

from pylmm_helpers.common import Array, one_of
from pylmm_helpers.inference import t_below, t_quantile

#: Quantiles of the studentised range that are computed when more are wanted.
POINTS = 9
ADJUSTMENTS = ("tukey", "holm", "sidak", "bonferroni", "none")


def adjusted(
    statistic: Array, df: Array, adjust: str, means: int, level: float
) -> tuple[Array, Array]:
    """Adjusted p-values (m,), and the multiples (m,) of the standard error that limits are away.

    Parameters
    ----------
    statistic, df : ndarray (m,)
        t of each comparison of the family, and its degrees of freedom (infinite: normal).
    adjust : str
        "tukey" is right for all pairs of `means` means. Holm's method has no limits of its own:
        they are Bonferroni's.
    means : int
    level : float

    References
    ----------
    Tukey J (1953); Kramer CY (1956), doi:10.2307/3001469, for unequal standard errors. Holm S
    (1979), Scand J Stat 6, 65-70. Šidák Z (1967), doi:10.1080/01621459.1967.10482935.
    """
    one_of(adjust, ADJUSTMENTS, "adjust")
    m, size = len(statistic), np.abs(statistic)
    p = 2.0 * t_below(-size, df)
    if m == 1 or adjust == "none":
        return p, t_quantile(0.5 + level / 2.0, df)
    if adjust == "tukey":
        root = np.sqrt(2.0)
        tail = studentized_range.sf(root * size, means, df)
        # what the integral loses by rounding must not make p smaller than without adjustment
        return np.clip(tail, p, 1.0), tukey_quantile(level, means, df) / root
    if adjust == "sidak":
        return -np.expm1(m * np.log1p(-p)), t_quantile(0.5 + 0.5 * level ** (1.0 / m), df)
    limits = t_quantile(1.0 - 0.5 * (1.0 - level) / m, df)
    if adjust == "bonferroni":
        return np.minimum(m * p, 1.0), limits
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(np.maximum.accumulate((m - np.arange(m)) * p[order]), 1.0)
    found = np.empty(m)
    found[order] = stepped
    return found, limits


def tukey_quantile(p: float, means: int, df: Array) -> Array:
    """Quantiles (m,) of the studentised range of `means` means.

    Each costs a sixth of a second; of many, those at a few Chebyshev points of 1/df are computed,
    and the others interpolated, to nine digits since the quantile is smooth in 1/df.
    """
    different = np.unique(df)
    if len(different) <= POINTS:
        each = studentized_range.ppf(p, means, different)
        return np.asarray(np.atleast_1d(each)[np.searchsorted(different, df)])
    turned = 1.0 / different
    low, high = turned.min(), turned.max()
    node = np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
    points = 0.5 * (low + high) + 0.5 * (high - low) * node
    curve = BarycentricInterpolator(points, studentized_range.ppf(p, means, 1.0 / points))
    return np.asarray(curve(1.0 / df))

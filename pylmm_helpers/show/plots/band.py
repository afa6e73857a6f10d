"""Bands for Q-Q plots of values that were divided by a standard deviation estimated from them.

Such values stray less from the line than a normal sample does, because the estimates follow them: a
band made for a plain normal sample of 50 is left by 1 of 1,000 such samples, not by 50.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import betainc, betaincinv, ndtr, ndtri

from pylmm_helpers.common import Array, one_of, shown
from pylmm_helpers.quantities import check_level

#: Numbers drawn for a band, most and fewest samples, and the largest size that is drawn as it is.
DRAWN, MOST, FEWEST, LARGEST = 1_000_000, 20_000, 1_000, 1_000
#: From this size on, the variances are those of the limit for large n.
LARGE = 400
BANDS = ("simultaneous", "pointwise", "raw")


def qq_band(n: int, confidence: float = 0.95, band: str = "simultaneous") -> pd.DataFrame:
    """Limits for the sorted values of a normal Q-Q plot.

    Parameters
    ----------
    n : int
        Number of values.
    confidence : float
        Probability with which the band holds what it is made for.
    band : {"simultaneous", "pointwise", "raw"}
        A simultaneous band holds all n values at once, a pointwise one each value. Both are for
        values with their own mean and standard deviation taken out, as `residuals` gives them and
        `qq` draws them. "raw" holds a whole sample of standard normal values as they are.

    Returns
    -------
    DataFrame (n rows)
        quantile (of the standard normal distribution, at (k - 1/2)/n), low and high.

    Raises
    ------
    ValueError
        For n that is no whole number of at least 1, a confidence outside (0, 1) or an unknown band.

    Notes
    -----
    The k-th of n sorted uniforms has a beta(k, n + 1 - k) distribution. With mean and standard
    deviation taken out, the k-th value's probability is still nearly beta, of a smaller variance,
    which is simulated (from 400 values on: the limit of large n, Durbin 1973). For a simultaneous
    band the same tail probability is used at every k, chosen so that a whole simulated sample stays
    inside with the wanted probability (equal local levels); beyond 1,000 values that of 1,000,
    which leaves 6% or 7% of samples of 20,000 values outside a 95% band.

    References
    ----------
    Aldor-Noiman et al. (2013), doi:10.1080/00031305.2013.847865. Durbin (1973), Annals of
    Statistics 1, 279-290 (doi:10.1214/aos/1176342365).
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n is {shown(n)}; give the number of values, at least 1")
    one_of(band, BANDS, "band")
    middle, low, high = limits(int(n), check_level(confidence), band)
    return pd.DataFrame({"quantile": middle, "low": low, "high": high})


@lru_cache(maxsize=64)
def limits(n: int, confidence: float, band: str) -> tuple[Array, Array, Array]:
    """Normal quantiles, lower and upper limits (n,) of `qq_band`."""
    raw = band == "raw" or n < 3  # one or two standardised values are fixed
    m = min(n, LARGEST)
    draws = samples(m, raw)
    a, b = shapes(n, draws, raw)
    tail = (1.0 - confidence) / 2.0
    if band != "pointwise":
        below = betainc(*shapes(m, draws, raw), draws)
        tail = float(np.quantile(np.minimum(below, 1.0 - below).min(axis=1), 1.0 - confidence))
    low, high = ndtri(betaincinv(a, b, tail)), ndtri(betaincinv(a, b, 1.0 - tail))
    return ndtri((np.arange(1, n + 1) - 0.5) / n), low, high


def samples(m: int, raw: bool) -> Array:
    """Probabilities (N, m) of the sorted values of normal samples, standardised unless raw."""
    size = int(np.clip(DRAWN // m, FEWEST, MOST))
    draws = np.random.default_rng(20120).standard_normal((size, m))
    if not raw:
        draws -= draws.mean(axis=1, keepdims=True)
        draws /= np.sqrt(np.mean(draws**2, axis=1, keepdims=True))
    return np.asarray(ndtr(np.sort(draws, axis=1)))


def shapes(n: int, draws: Array, raw: bool) -> tuple[Array, Array]:
    """Parameters (n,) of the beta distributions of the sorted probabilities."""
    k = np.arange(1.0, n + 1.0)
    if raw:
        return k, n + 1.0 - k
    if n < LARGE:
        mean, variance = draws.mean(axis=0), draws.var(axis=0)
        mean = 0.5 * (mean + 1.0 - mean[::-1])  # both tails are alike
        total = mean * (1.0 - mean) / (0.5 * (variance + variance[::-1])) - 1.0
        return total * mean, total * (1.0 - mean)
    p = k / (n + 1.0)
    z = ndtri(p)
    density2 = np.exp(-(z**2)) / (2.0 * np.pi)
    wider = p * (1.0 - p) / (p * (1.0 - p) - density2 * (1.0 + 0.5 * z**2))
    return wider * k, wider * (n + 1.0 - k)

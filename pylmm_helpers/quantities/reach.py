"""How many standard errors the limits of a prediction lie away from it, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from pylmm_helpers.common import Array


def check_df(df: float | None) -> float | None:
    """Degrees of freedom for all rows as a number above 0, or None for the rule of `reach`."""
    if df is None:
        return None
    number = isinstance(df, (int, float, np.number)) and not isinstance(df, bool)
    if not (number and df > 0):
        raise ValueError(
            f"df is {df!r}; give degrees of freedom above 0, float('inf') for the normal "
            "distribution, or None"
        )
    return float(df)


def reach(
    coverage: float,
    df: float | None,
    rows: int,
    new: dict[str, tuple[NDArray[np.bool_], int]],
) -> Array:
    """Quantile for each row (n,).

    Parameters
    ----------
    coverage : float
        Probability below the quantile.
    df : float or None
        Of Student's t, for all rows. None: the normal where every level is known; t with G - 2
        where one isn't, since the variance of its effect is estimated from G levels.
    rows : int
        Number of rows.
    new : dict
        For each factor the rows (n,) whose level is new, and the number G of levels in the fit.
    """
    if df is not None:
        return np.full(rows, float(norm.ppf(coverage) if df == np.inf else t.ppf(coverage, df)))
    degrees = np.full(rows, np.inf)
    for name, (is_new, levels) in new.items():
        if not is_new.any():
            continue
        if levels <= 2:
            raise ValueError(
                f"the fit has {levels} levels of {name!r}: that leaves no degrees of freedom "
                "(levels less 2) for an interval about a new one. Give df=, such as "
                "df=float('inf') for the normal distribution, which is far too narrow here; or "
                "leave interval= out"
            )
        degrees[is_new] = np.minimum(degrees[is_new], levels - 2.0)
    found = np.empty(rows)
    for value in np.unique(degrees):
        found[degrees == value] = norm.ppf(coverage) if value == np.inf else t.ppf(coverage, value)
    return found

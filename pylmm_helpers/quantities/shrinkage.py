"""The share of a group's deviation that its BLUP keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pylmm_helpers.common import numbers, shown_whole, whole
from pylmm_helpers.engine import LMMResults
from pylmm_helpers.engine.several import SeveralResults

from .prediction import blups


@shown_whole
def shrinkage_factor(
    sigma2_g: Any,
    sigma2: ArrayLike | None = None,
    m: ArrayLike | None = None,
    group: str | None = None,
) -> Any:
    r"""Share of a group's deviation that its BLUP keeps, :math:`\sigma_g^2 / (\sigma_g^2 + \sigma^2
    / m)`.

    Parameters
    ----------
    sigma2_g : float, array_like or fit
        Variance between groups; or a fitted mixed model, alone.
    sigma2 : float or array_like
        Variance within groups (same units).
    m : float or array_like
        Rows of the group.
    group : str, optional
        For a fit with several grouping factors: one of them.

    Returns
    -------
    float, ndarray, Series or dict of Series
        Between 0 (the BLUP is the overall mean) and 1 (it is the group's own mean). It is also the
        reliability of the group's mean. For a fit, a Series with one value for each group (and
        term, if there are several); for several factors and none chosen, a dict of them.

    Notes
    -----
    For a fit it is the reliability of each BLUP, :math:`1 - c_{jj} / g_{jj}`, conditional over
    prior variance with the fixed effects taken as known: the squared correlation of a BLUP with the
    true effect. For one random intercept that is the formula above. With several terms it is less,
    as a level's deviation has to be told from those of the levels of other factors that its rows
    belong to; it then is no longer the weight of the level's own mean, which the BLUP does not use
    alone.

    Raises
    ------
    ValueError
        For a negative variance, two zero variances, or a size that is negative; numbers beside a
        fit.

    References
    ----------
    Searle, Casella & McCulloch (1992), Variance Components, section 3.4
    (doi:10.1002/9780470316856). Henderson (1975), Biometrics 31, 423-447 (doi:10.2307/2529430).

    Examples
    --------
    >>> round(shrinkage_factor(5, 20, 4), 2)
    0.5
    """
    if isinstance(sigma2_g, SeveralResults | LMMResults) or hasattr(sigma2_g, "model"):
        if sigma2 is not None or m is not None:
            raise ValueError("sigma2 and m go with numbers; a fit has its own, so leave them out")
        found = blups(sigma2_g, group=group)
        if isinstance(found, dict):
            return {name: whole(table["shrinkage"]) for name, table in found.items()}
        return found["shrinkage"]
    if sigma2 is None or m is None or group is not None:
        raise ValueError(
            "give sigma2_g, sigma2 and m as numbers (without group), or a fitted mixed model alone"
        )
    between, within, size = (
        numbers(v, name) for name, v in (("sigma2_g", sigma2_g), ("sigma2", sigma2), ("m", m))
    )
    for name, value in (("sigma2_g", between), ("sigma2", within), ("m", size)):
        if not np.all(np.isfinite(value)) or np.any(value < 0):
            raise ValueError(f"{name} must be a finite number of at least 0")
    if np.any((between == 0) & (within == 0)):
        raise ValueError("sigma2_g and sigma2 are both 0; at least one variance must be positive")
    # m sigma2_g / (m sigma2_g + sigma2) is the same and has no division by a size of 0
    denominator = size * between + within
    factor = np.divide(
        size * between, denominator, out=np.zeros(denominator.shape), where=denominator > 0
    )
    return float(factor) if factor.ndim == 0 else factor

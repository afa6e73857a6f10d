"""The design effect of clustered data, and the effective sample size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pylmm_helpers.common import numbers, shown_whole
from pylmm_helpers.engine import any_results, as_results
from pylmm_helpers.engine.several import SeveralResults

from .group_level import is_random_intercept, weight_of
from .several import level_shares


@shown_whole
def design_effect(
    fit_or_icc: Any,
    sizes: int | Sequence[int] | ArrayLike | None = None,
    weight: float | None = None,
) -> Any:
    r"""Design effect and effective sample size of clustered data.

    The variance of the plain mean, relative to independent observations, is
    :math:`1 + (\tilde m - 1)\rho` with :math:`\tilde m = \sum m_j^2 / \sum m_j` (Kish 1965, section
    5.4). For equal sizes this is the familiar :math:`1 + (m - 1)\rho`. A mixed model weights groups
    better; its estimate of the mean is worth :math:`\sum m_j / (1 + (m_j - 1)\rho)` independent
    observations.

    Parameters
    ----------
    fit_or_icc : fit or float
        A fitted random-intercept model (ICC and sizes are taken from it), or the ICC itself. With
        several random intercepts, nested or crossed, each factor adds its part.
    sizes : int or array_like, optional
        Group sizes; one number for a common size. Needed with a plain ICC.
    weight : float, optional
        For a fit with weights: the weight that all rows are taken to have.

    Returns
    -------
    Series
        `icc`, `groups`, `n`, `mean_size`, `size_cv` (coefficient of variation of the sizes),
        `design_effect`, `effective_n` (n / design effect, for the plain mean), `effective_n_model`
        (for the mixed model's mean). With a single common size and no number of groups, `groups` is
        1 and n counts one group. For several factors a DataFrame: for each its `share` of a row's
        variance, `levels`, `mean_size`, `size_cv` and `added`,
        :math:`(\tilde m_k - 1)\rho_k`; in the row `all factors` the sums of the shares and of what
        is added, and `design_effect` (1 and what is added), `n`, `effective_n`,
        `effective_n_model`.

    Raises
    ------
    ValueError
        For an ICC outside [0, 1], sizes that are not whole numbers of at least 1, a model with
        random slopes (its design effect depends on the predictors), a fit with weights and no
        `weight`, or sizes beside a fit of several factors.
    """
    if isinstance(fit_or_icc, (int, float, np.floating, np.integer)) and not isinstance(
        fit_or_icc, bool
    ):
        rho = float(fit_or_icc)
        if weight is not None:
            raise ValueError("weight goes with a fit; an ICC that is a number needs none")
        if sizes is None:
            raise ValueError(
                "sizes is missing; give the group sizes beside the ICC, such as sizes=20"
            )
    elif isinstance(fit_or_icc, SeveralResults):
        if sizes is not None:
            raise ValueError(
                "sizes goes with one grouping factor; this fit has its levels' own sizes, so leave "
                "it out"
            )
        return level_shares.design_effect(any_results(fit_or_icc), weight)
    else:
        res = as_results(fit_or_icc)
        if not is_random_intercept(res):
            raise ValueError(
                "the design effect needs one ICC; fit a random-intercept model or give the ICC as "
                "a number"
            )
        sigma2_g = float(res.cov_re.to_numpy(dtype=float)[0, 0])
        sigma2 = float(res.scale) / weight_of(res, weight, "the design effect")
        rho = sigma2_g / (sigma2_g + sigma2)
        sizes = res.cross.sizes if sizes is None else sizes
    if not 0.0 <= rho <= 1.0:
        raise ValueError(f"the ICC is {rho!r}; it must lie between 0 and 1")
    m = np.atleast_1d(numbers(sizes, "sizes")).ravel()
    if m.size == 0 or not np.all(np.isfinite(m)) or np.any(m < 1) or np.any(m != np.round(m)):
        raise ValueError("sizes must be whole numbers of at least 1, one for each group")
    n = float(m.sum())
    deff = 1.0 + (float(np.sum(m**2)) / n - 1.0) * rho
    return pd.Series(
        {
            "icc": rho,
            "groups": float(m.size),
            "n": n,
            "mean_size": n / m.size,
            "size_cv": float(m.std() / m.mean()),
            "design_effect": deff,
            "effective_n": n / deff,
            "effective_n_model": float(np.sum(m / (1.0 + (m - 1.0) * rho))),
        },
        name="design effect",
    )

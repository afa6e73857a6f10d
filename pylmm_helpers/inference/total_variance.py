r"""Sampling variance of an estimated total variance, ``z'Gz + sigma^2``.

Let the variance parameters be the entries of Delta = G / sigma^2 and the size of V as a whole, as
in Kenward and Roger's W (`ddf.KenwardRoger`). A change w of them changes ``z'Gz + sigma^2`` by
:math:`\sigma^2 (\sum_r w_r\, z'E_r z + w_V (z'\Delta z + 1))`, which is linear, so that its
variance is a quadratic form in W.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine import symmetric_basis
from pylmm_helpers.engine.several import SeveralResults, vector_of

from . import ddf
from .several import ddf as several_ddf


def total_variance_spread(fit: Any, Z: dict[str, Array], total: Array) -> Array:
    """Sampling variance (n,) of the total variance of rows.

    Parameters
    ----------
    fit : LMMResults or SeveralResults
        Fitted by REML.
    Z : dict of ndarray (n, q)
        For each grouping factor its columns, in units of the data.
    total : ndarray (n,)
        Estimates of ``z'Gz + sigma^2``, in squared units of the left-hand side.

    Raises
    ------
    ValueError
        For a fit by maximum likelihood, or one with too many levels that hang together.
    """
    if not fit.reml:
        raise ValueError(
            "the uncertainty of the variances is worked out for REML; refit with reml=True"
        )
    if isinstance(fit, SeveralResults):
        W = several_ddf.kenward_roger(fit).W
        scaled = {name: fit.scaled_z(name, columns) for name, columns in Z.items()}
        names = [factor.name for factor in fit.sums.factors]
        slope = np.array(
            [
                vector_of(fit.sums, [np.outer(scaled[k][i], scaled[k][i]) for k in names])
                for i in range(len(total))
            ]
        )
    else:
        W = ddf.kenward_roger(fit).W
        z = fit.cross.scaling.z(Z[fit.groups])
        slope = np.einsum("rij,ni,nj->nr", symmetric_basis(fit.cross.q), z, z)
    slope = np.column_stack([fit.scale * slope, total])
    return np.asarray(np.einsum("na,ab,nb->n", slope, W, slope))

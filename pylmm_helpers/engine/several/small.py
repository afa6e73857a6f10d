"""Products and inverses of many small matrices at once, the level as last axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from ..products import eliminate


def times(a: Array, b: Array) -> Array:
    """``a b`` for matrices (i, j, L) and (j, k, L)."""
    if a.shape[1] == 1:
        return a * b
    return np.einsum("ijg,jkg->ikg", a, b)


def transposed(a: Array) -> Array:
    """The transpose of each matrix (i, j, L)."""
    return a.swapaxes(0, 1)


def gathered(values: Array, parent: NDArray[np.intp], levels: int) -> Array:
    """Sums (..., levels) of values (..., L) over the levels that share a parent."""
    flat = values.reshape(-1, values.shape[-1])
    found = np.array([np.bincount(parent, row, levels) for row in flat])
    return found.reshape(*values.shape[:-1], levels)


def covariance_given(A: Array, factor: Array) -> tuple[Array, float]:
    """``Lambda (I + Lambda'A Lambda)^-1 Lambda'`` (q, q, L) for A (q, q, L), and the sum of the
    logarithms of the determinants of what is inverted."""
    q = len(factor)
    half = (factor.T @ A.reshape(q, -1)).reshape(A.shape).swapaxes(0, 1)
    inner = (factor.T @ half.reshape(q, -1)).reshape(A.shape)
    inner[np.arange(q), np.arange(q)] += 1.0
    right = np.broadcast_to(factor[:, :, None], inner.shape)
    with np.errstate(invalid="ignore", divide="ignore"):  # a theta beyond reason gives NaN
        pivots, half = eliminate(inner, right)
        log_det = float(np.log(pivots).sum())
    return np.einsum("iag,jag->ijg", half, half), log_det

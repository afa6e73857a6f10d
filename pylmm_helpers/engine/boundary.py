"""The edge of the parameter space, where a variance is zero or a correlation one.

Lambda and Lambda with a column's sign changed give the same model, so theta needs no bounds: a
diagonal entry may pass through zero. But there the gradient in theta vanishes whether or not the
criterion still falls, and a minimiser that trusts it stops at a false boundary. The gradient with
respect to Delta tells the two apart.
"""

from __future__ import annotations

import numpy as np

from pylmm_helpers.common import Array

from .criterion import (
    Criterion,
    criterion,
    delta_gradient,
    derivatives,
    factor_to_theta,
    theta_to_factor,
    triangular,
)
from .products import GroupRows

#: A singular value of Lambda below this share of the largest (or of one) may be a zero variance.
NEARLY_ZERO = 1e-4


def canonical(theta: Array, q: int) -> Array:
    """The triangular factor with a non-negative diagonal that gives the same Delta, exact zeros
    where it is singular."""
    factor = theta_to_factor(theta, q)
    u, s, _ = np.linalg.svd(factor)
    keep = s > NEARLY_ZERO * np.maximum(s[..., :1], 1.0)
    lower = triangular(u * np.where(keep, s, 0.0)[..., None, :])
    lower[
        np.abs(lower) < 1e-15 * np.abs(lower).max(axis=(-1, -2), keepdims=True, initial=1e-300)
    ] = 0.0
    return factor_to_theta(lower)


def settle(theta: Array, rows: GroupRows, reml: bool) -> tuple[Array, Criterion]:
    """Put a solution (1, d) that ended beside the boundary on it, if the criterion is no worse for
    it."""
    q = rows.q
    factor = theta_to_factor(theta, q)
    signs = np.where(np.diagonal(factor, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    theta = factor_to_theta(factor * signs[:, None, :])
    at, _ = criterion(theta, rows, reml)
    if beside_boundary(theta[0], q):
        snapped = canonical(theta, q)
        there, _ = criterion(snapped, rows, reml)
        if there.value[0] <= at.value[0] + 1e-9:
            theta, at = snapped, there
    return theta, at


def beside_boundary(theta: Array, q: int) -> bool:
    """Whether Delta is singular, or so nearly that it may be."""
    sizes = np.linalg.svd(theta_to_factor(theta, q), compute_uv=False)
    return bool(sizes[-1] <= NEARLY_ZERO * max(sizes[0], 1.0))


def way_down(theta: Array, rows: GroupRows, reml: bool) -> Array | None:
    """Theta (1, d) from which the criterion falls below a false boundary, or None at a true
    minimum.

    On the null space of Delta the gradient with respect to Delta must be positive semidefinite; a
    negative eigenvalue belongs to a direction whose variance ought not to be zero.
    """
    if not beside_boundary(theta[0], rows.q):
        return None
    nu = rows.nobs - (rows.p if reml else 0)
    factor = theta_to_factor(theta, rows.q)[0]
    values, vectors = np.linalg.eigh(factor @ factor.T)
    null = vectors[:, values <= NEARLY_ZERO**2 * max(values[-1], 1.0)]
    if not null.shape[1]:
        return None
    at, whitened = criterion(theta, rows, reml)
    delta_slope = delta_gradient(derivatives(at, whitened, rows, reml), nu)[0]
    slopes, directions = np.linalg.eigh(null.T @ delta_slope @ null)
    if slopes[0] >= 0.0:
        return None
    direction = null @ directions[:, 0]
    sizes = 10.0 ** np.arange(-8.0, 3.0)
    wider = np.concatenate(
        [
            np.broadcast_to(factor, (len(sizes), *factor.shape)),
            np.sqrt(sizes)[:, None, None] * direction[:, None],
        ],
        axis=2,
    )
    trials = factor_to_theta(triangular(wider))
    there = np.array([criterion(t[None], rows, reml)[0].value[0] for t in trials])
    best = int(there.argmin())
    return trials[best : best + 1] if there[best] < at.value[0] - 1e-9 else None

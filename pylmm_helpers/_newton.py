"""Minimise the profiled criterion over theta: Newton steps, many starts, and a check of the
boundary.

Lambda and Lambda with a column's sign changed give the same model, so theta needs no bounds: a
diagonal entry may pass through zero. But there the gradient in theta vanishes whether or not the
criterion still falls, and a minimiser that trusts it stops at a false boundary. The gradient with
respect to Delta tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pylmm_helpers._crossprod import Array, GroupRows
from pylmm_helpers._profile import (
    Criterion,
    Derivatives,
    criterion,
    delta_gradient,
    delta_hessian,
    derivatives,
    factor_to_theta,
    theta_derivatives,
    theta_to_factor,
)

MAX_STEPS = 200
#: A Newton step that lowers the criterion by less than this is the last: convergence is quadratic,
#: so the error left after it is far below rounding.
DECREMENT = 1e-8
#: An eigenvalue of Delta below this share of the largest (or of this size) is a zero variance.
BOUNDARY = 1e-8


@dataclass(frozen=True)
class Optimum:
    """Minimum of the criterion for each of B responses: theta (B, d), value (B,), converged (B,),
    steps taken."""

    theta: Array
    value: Array
    converged: np.ndarray
    steps: int


def newton_step(gradient: Array, hessian: Array, radius: Array) -> tuple[Array, Array, Array]:
    """Step (B, d) inside the trust radius (B,), predicted decrease and gradient measured in the
    Hessian.

    Negative curvature is turned round, so that the step leaves saddles and maxima.
    """
    values, vectors = np.linalg.eigh(hessian)
    along = np.einsum("bij,bi->bj", vectors, gradient)
    size = np.abs(values)
    floor = 1e-10 * size.max(axis=1, keepdims=True) + 1e-300
    scaled = along / np.maximum(size, floor)
    length = np.linalg.norm(scaled, axis=1)
    shrink = np.minimum(1.0, radius / np.maximum(length, 1e-300))[:, None]
    step = -np.einsum("bij,bj->bi", vectors, scaled * shrink)
    decrease = np.sum(along * scaled * shrink * (1.0 - 0.5 * shrink), axis=1)
    return step, decrease, 0.5 * np.sum(along * scaled, axis=1)


def minimise(start: Array, rows: GroupRows, reml: bool) -> Optimum:
    """Newton's method with a trust radius from theta = start (B, d), one search for each replicate
    of `rows`.

    With a single response and several starts the searches share the data.
    """
    nu = rows.nobs - (rows.p if reml else 0)
    theta = start.copy()
    B = len(theta)
    value = np.full(B, np.inf)
    converged = np.zeros(B, dtype=bool)
    active = np.arange(B)
    radius = np.full(B, 1.0) + 2.0 * np.abs(theta).max(axis=1)
    gradient = np.zeros_like(theta)
    hessian = np.zeros(theta.shape + theta.shape[-1:])
    trial, predicted = theta.copy(), np.zeros(B)
    steps = 0
    for steps in range(1, MAX_STEPS + 1):
        part = rows.take(active)
        at, whitened = criterion(trial[active], part, reml)
        # rounding in a criterion of size 1e6 is about 1e-9: do not take it for a rise
        noise = 1e-13 * np.abs(at.value) + 1e-12
        first = np.isinf(value[active])
        gain = value[active] - at.value
        better = first | (gain > -noise)
        radius[active] = np.where(
            first, radius[active], np.where(better, 3.0, 0.25) * np.minimum(radius[active], 1e8)
        )
        radius[active] = np.where(
            better,
            radius[active],
            np.minimum(
                radius[active], 0.25 * np.linalg.norm(trial[active] - theta[active], axis=1)
            ),
        )
        moved = active[better]
        if len(moved):
            if better.all():
                subset, kept, sub = at, whitened, part
            else:
                subset = Criterion(at.value[better], at.r2[better], at.root[better])
                kept, sub = whitened[better], part.take(np.flatnonzero(better))
            theta[moved], value[moved] = trial[moved], subset.value
            d = derivatives(subset, kept, sub, reml)
            gradient[moved], hessian[moved] = theta_derivatives(
                theta[moved], delta_gradient(d, nu), delta_hessian(d, nu)
            )
        step, predicted[active], decrement = newton_step(
            gradient[active], hessian[active], radius[active]
        )
        trial[active] = theta[active] + step
        stuck = radius[active] < 1e-12
        small = decrement <= DECREMENT
        last = active[small]
        theta[last] = trial[last]
        converged[last] = True
        active = active[~(small | stuck)]
        if not len(active):
            break
    return Optimum(theta, value, converged, steps)


def canonical(theta: Array, q: int) -> Array:
    """The triangular factor with a non-negative diagonal that gives the same Delta, exact zeros
    where it is singular."""
    factor = theta_to_factor(theta, q)
    u, s, _ = np.linalg.svd(factor)
    keep = s > 1e-4 * np.maximum(s[..., :1], 1.0)
    root = u * np.where(keep, s, 0.0)[..., None, :]
    lower = np.asarray(np.linalg.qr(root.swapaxes(-1, -2), mode="r")).swapaxes(-1, -2)
    lower = lower * np.where(np.diagonal(lower, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None, :]
    lower[
        np.abs(lower) < 1e-15 * np.abs(lower).max(axis=(-1, -2), keepdims=True, initial=1e-300)
    ] = 0.0
    return factor_to_theta(lower)


def settle(theta: Array, rows: GroupRows, reml: bool) -> tuple[Array, Criterion, Derivatives]:
    """Put a solution (1, d) that ended beside the boundary on it, if the criterion is no worse for
    it."""
    q = rows.q
    factor = theta_to_factor(theta, q)
    signs = np.where(np.diagonal(factor, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    theta = factor_to_theta(factor * signs[:, None, :])
    at, whitened = criterion(theta, rows, reml)
    snapped = canonical(theta, q)
    if np.linalg.matrix_rank(theta_to_factor(snapped, q)[0]) < q:
        there, whitened_there = criterion(snapped, rows, reml)
        if there.value[0] <= at.value[0] + 1e-9:
            theta, at, whitened = snapped, there, whitened_there
    return theta, at, derivatives(at, whitened, rows, reml)


def way_down(theta: Array, d: Derivatives, rows: GroupRows, reml: bool) -> Array | None:
    """Theta (1, d) from which the criterion falls below a false boundary, or None at a true
    minimum.

    On the null space of Delta the gradient with respect to Delta must be positive semidefinite; a
    negative eigenvalue belongs to a direction whose variance ought not to be zero.
    """
    nu = rows.nobs - (rows.p if reml else 0)
    delta_slope = delta_gradient(d, nu)[0]
    factor = theta_to_factor(theta, rows.q)[0]
    values, vectors = np.linalg.eigh(factor @ factor.T)
    null = vectors[:, values <= BOUNDARY * max(values[-1], BOUNDARY)]
    if not null.shape[1]:
        return None
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
    lower = np.asarray(np.linalg.qr(wider.swapaxes(1, 2), mode="r")).swapaxes(1, 2)
    trials = factor_to_theta(lower)
    values_there = np.array([criterion(t[None], rows, reml)[0].value[0] for t in trials])
    best = int(values_there.argmin())
    here = criterion(theta, rows, reml)[0].value[0]
    return trials[best : best + 1] if values_there[best] < here - 1e-9 else None


def starts(rows: GroupRows) -> Array:
    """Values of theta (B, d) to start from: lme4's identity; smaller and larger ones where that
    costs little."""
    q = rows.q
    unit = factor_to_theta(np.eye(q))
    scales = [1.0] if rows.Z.shape[-1] * q * q > 4000 else [1.0, 0.1, 5.0]
    return np.array(scales)[:, None] * unit


def optimise(rows: GroupRows, reml: bool) -> tuple[Array, Criterion, Derivatives, bool]:
    """Global minimum for one response: theta (d,), criterion and derivatives there, converged."""
    search = minimise(starts(rows), rows, reml)
    best = int(search.value.argmin())
    theta, converged = search.theta[best : best + 1], bool(search.converged[best])
    theta, at, d = settle(theta, rows, reml)
    for _ in range(10):
        better = way_down(theta, d, rows, reml)
        if better is None:
            break
        search = minimise(better, rows, reml)
        theta, converged = search.theta, bool(search.converged[0])
        theta, at, d = settle(theta, rows, reml)
    else:
        converged = False
    return theta[0], at, d, converged

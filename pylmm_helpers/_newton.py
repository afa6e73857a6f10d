"""Minimise the profiled criterion over theta: Newton steps, many starts, and a check of the
boundary.

Lambda and Lambda with a column's sign changed give the same model, so theta needs no bounds: a
diagonal entry may pass through zero. But there the gradient in theta vanishes whether or not the
criterion still falls, and a minimiser that trusts it stops at a false boundary. The gradient with
respect to Delta tells the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import minimize

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
    triangle,
)

MAX_STEPS = 200
SCORING_STEPS = 2
#: Scoring goes first while Newton's method promises more than this; nearer to the minimum Newton is
#: better.
SCORE_ABOVE = 1e-2
#: A Newton step that lowers the criterion by less than this is the last: convergence is quadratic,
#: so the error left after it is far below rounding.
DECREMENT = 1e-8
#: A singular value of Lambda below this share of the largest (or of one) may be a zero variance.
NEARLY_ZERO = 1e-4
POLISH_ROUNDS = 20


@dataclass(frozen=True)
class Optimum:
    """Minimum of the criterion for each of B responses: theta (B, d), value (B,), converged (B,),
    steps taken."""

    theta: Array
    value: Array
    converged: np.ndarray
    steps: int


def newton_step(
    theta: Array, gradient: Array, hessian: Array, radius: Array
) -> tuple[Array, Array]:
    """Step (B, d) of at most the given radius (B,), and the decrease (B,) a free step promises.

    Negative curvature is turned round, so that the step leaves saddles and maxima. Parameters are
    scaled to unit curvature first: one that is a million times another would else drown it. The
    radius is relative to the size of the parameters.
    """
    curvature = np.abs(np.diagonal(hessian, axis1=1, axis2=2))
    scale = np.sqrt(curvature + 1e-40 * curvature.max(axis=1, keepdims=True) + 1e-300)
    values, vectors = np.linalg.eigh(hessian / (scale[:, :, None] * scale[:, None, :]))
    along = np.einsum("bij,bi->bj", vectors, gradient / scale)
    scaled = along / np.maximum(np.abs(values), 1e-10)
    step = -np.einsum("bij,bj->bi", vectors, scaled) / scale
    length = relative_length(step, theta)
    shrink = np.minimum(1.0, radius / np.maximum(length, 1e-300))
    return step * shrink[:, None], 0.5 * np.sum(along * scaled, axis=1)


def relative_length(step: Array, theta: Array) -> Array:
    """Length (B,) of steps relative to the size of the parameters."""
    return np.asarray(np.sqrt(np.sum((step / (1.0 + np.abs(theta))) ** 2, axis=1)))


def scoring_step(theta: Array, d: Derivatives, nu: int) -> Array:
    """Theta (B, d) after one step of Fisher scoring in the variances, sigma^2 and sigma^2 Delta
    together.

    The equations ``sum_s tr(P G_r P G_s) gamma_s = y'P G_r P y`` are linear in the variances gamma
    and exact in one step for balanced data, wherever they start (Searle, Casella & McCulloch 1992,
    ch. 8.3). With V itself in the place of the residual's I, their last row is trivial and can be
    eliminated.
    """
    q = d.trace.shape[-1]
    basis = symmetric_basis(q)
    trace = np.einsum("kij,bij->bk", basis, d.trace)
    quadratic = np.einsum("kij,bij->bk", basis, d.quadratic)
    information = np.einsum("kij,bijmn,lmn->bkl", basis, d.trace2, basis)
    information = information - trace[:, :, None] * trace[:, None, :] / nu
    scale = np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-300))
    relative = information / (scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(len(basis))
    change = (
        np.linalg.solve(relative, ((nu * quadratic - trace) / scale)[..., None])[..., 0] / scale
    )
    residual = np.maximum(1.0 - np.sum(trace * change, axis=1) / nu, 1e-10)
    factor = theta_to_factor(theta, q)
    delta = factor @ factor.swapaxes(1, 2)
    delta = delta + np.einsum("bk,kij->bij", change / residual[:, None], basis)
    values, vectors = np.linalg.eigh(delta)
    floor = 1e-4 * np.maximum(values[:, -1:], 1e-2)
    root = vectors * np.sqrt(np.maximum(values, floor))[:, None, :]
    return factor_to_theta(triangular(root))


@cache
def symmetric_basis(q: int) -> Array:
    """Symmetric matrices (q(q+1)/2, q, q) with ones at (i, j) and (j, i), in the order of theta."""
    column, row = triangle(q)
    basis = np.zeros((len(row), q, q))
    basis[np.arange(len(row)), row, column] = 1.0
    basis[np.arange(len(row)), column, row] = 1.0
    return basis


def triangular(root: Array) -> Array:
    """The lower triangular matrix (..., q, q), diagonal not negative, with the same product ``root
    root'``."""
    lower = np.asarray(np.linalg.qr(root.swapaxes(-1, -2), mode="r")).swapaxes(-1, -2)
    return lower * np.where(np.diagonal(lower, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None, :]


def minimise(start: Array, rows: GroupRows, reml: bool) -> Optimum:
    """Minimise from theta = start (B, d), one search for each replicate of `rows`.

    Two steps of Fisher scoring come first, because they are right at any distance; then Newton's
    method with a trust radius, because its convergence is quadratic. With a single response and
    several starts, the searches share the data.
    """
    nu = rows.nobs - (rows.p if reml else 0)
    theta, trial = start.copy(), start.copy()
    B = len(theta)
    value = np.full(B, np.inf)
    gradient, hessian = np.zeros_like(theta), np.zeros(theta.shape + theta.shape[-1:])
    radius = np.full(B, 10.0)
    scored, converged = np.zeros(B, dtype=int), np.zeros(B, dtype=bool)
    active = np.arange(B)
    steps = 0
    while len(active) and steps < MAX_STEPS:
        steps += 1
        part = rows.take(active)
        at, whitened = criterion(trial[active], part, reml)
        # rounding in a criterion of size 1e6 is about 1e-9: do not take it for a rise
        better = at.value < value[active] + 1e-13 * np.abs(at.value) + 1e-12
        moved = active[better]
        if len(moved):
            keep = np.flatnonzero(better)
            kept = whitened if len(keep) == len(active) else [block[keep] for block in whitened]
            d = derivatives(at.take(keep), kept, part.take(keep), reml)
            theta[moved], value[moved] = trial[moved], at.value[better]
            gradient[moved], hessian[moved] = theta_derivatives(
                theta[moved], delta_gradient(d, nu), delta_hessian(d, nu)
            )
        # a rejected scoring step says nothing about the radius; a rejected Newton step divides it
        taken = relative_length(trial[active] - theta[active], theta[active])
        by_newton = scored[active] >= SCORING_STEPS
        radius[active] = np.where(
            better,
            np.minimum(2.0 * radius[active], 1e100),
            np.where(by_newton, 0.25 * taken, radius[active]),
        )
        scored[active[~better]] = SCORING_STEPS
        move, promise = newton_step(
            theta[active], gradient[active], hessian[active], radius[active]
        )
        trial[active] = theta[active] + move
        if len(moved):
            score = (scored[moved] < SCORING_STEPS) & (promise[better] > SCORE_ABOVE)
            trial[moved[score]] = scoring_step(theta[moved], d, nu)[score]
            scored[moved] = np.where(score, scored[moved] + 1, SCORING_STEPS)
        small = promise <= DECREMENT
        last = active[small]
        theta[last] += move[small]
        converged[last] = True
        active = active[~(small | (radius[active] < 1e-13))]
    return Optimum(theta, value, converged, steps)


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


def starts(rows: GroupRows) -> Array:
    """Values of theta (B, d) to start from: lme4's identity; smaller and larger ones where that
    costs little."""
    q = rows.q
    unit = factor_to_theta(np.eye(q))
    scales = [1.0] if rows.Z.shape[-1] * q * q > 4000 else [1.0, 0.1, 5.0]
    return np.array(scales)[:, None] * unit


def polish(theta: Array, rows: GroupRows, reml: bool) -> tuple[Array, bool]:
    """Go on without derivatives where rounding spoils them, as it does when a group variance is
    many powers of ten above the residual one: theta (1, d), and whether it is a minimum."""

    def value(t: Array) -> float:
        return float(criterion(t[None], rows, reml)[0].value[0])

    best, point = value(theta[0]), theta[0]
    for _ in range(POLISH_ROUNDS):
        spread = 0.05 * np.maximum(np.abs(point), 1e-3)
        simplex = np.vstack([point, point + np.diag(spread)])
        found = minimize(
            value,
            point,
            method="Nelder-Mead",
            options={"initial_simplex": simplex, "xatol": 1e-10, "fatol": 1e-10, "maxfev": 600},
        )
        gain, best, point = best - float(found.fun), float(found.fun), found.x
        if gain < 1e-8 and found.success:
            return point[None], True
    return point[None], False


def optimise(rows: GroupRows, reml: bool) -> tuple[Array, Criterion, bool]:
    """Global minimum for one response: theta (d,), the criterion there, converged."""
    search = minimise(starts(rows), rows, reml)
    best = int(search.value.argmin())
    theta, converged = search.theta[best : best + 1], bool(search.converged[best])
    if not converged:
        theta, converged = polish(theta, rows, reml)
    theta, at = settle(theta, rows, reml)
    for _ in range(10):
        better = way_down(theta, rows, reml)
        if better is None:
            break
        search = minimise(better, rows, reml)
        theta, converged = search.theta, bool(search.converged[0])
        theta, at = settle(theta, rows, reml)
    else:
        converged = False
    return theta[0], at, converged

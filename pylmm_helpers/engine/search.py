"""Minimise the profiled criterion over theta: Fisher scoring, then Newton steps, several starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from pylmm_helpers.common import Array

from .boundary import settle, way_down
from .criterion import (
    Criterion,
    Derivatives,
    criterion,
    delta_gradient,
    delta_hessian,
    derivatives,
    factor_to_theta,
    symmetric_basis,
    theta_derivatives,
    theta_to_factor,
    triangular,
)
from .products import GroupRows

__all__ = ["Optimum", "minimise", "optimise", "optimise_all", "settle", "way_down"]

MAX_STEPS = 200
SCORING_STEPS = 2
#: Scoring goes first while Newton's method promises more than this; nearer to the minimum Newton is
#: better.
SCORE_ABOVE = 1e-2
#: A Newton step that lowers the criterion by less than this is the last: convergence is quadratic,
#: so the error left after it is far below rounding.
DECREMENT = 1e-8
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


def minimise(start: Array, rows: GroupRows, reml: bool, most: int = MAX_STEPS) -> Optimum:
    """Minimise from theta = start (B, d), one search for each replicate of `rows`, in no more than
    `most` steps.

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
    while len(active) and steps < most:
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


def starts(rows: GroupRows) -> Array:
    """Values of theta (B, d) to start from: lme4's identity; where that costs little also smaller
    and larger ones, and correlations near one and minus one, where a second valley may lie."""
    q = rows.q
    unit = factor_to_theta(np.eye(q))
    if rows.Z.shape[-1] * q * q > 4000:
        return unit[None]
    found = [unit, 0.1 * unit, 5.0 * unit]
    for sign in (1.0, -1.0) if q > 1 else ():
        factor = 0.1 * np.eye(q)
        factor[:, 0] = sign
        factor[0, 0] = 1.0
        found.append(factor_to_theta(factor))
    return np.array(found)


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
    return finish(search.theta[best : best + 1], bool(search.converged[best]), rows, reml)


def optimise_all(each: list[GroupRows], reml: bool) -> list[tuple[Array, Criterion, bool]]:
    """`optimise` for many responses that share X and Z, searched together."""
    together = GroupRows(
        each[0].Z,
        np.concatenate([rows.R for rows in each]),
        np.concatenate([rows.within for rows in each]),
        each[0].nobs,
    )
    searches = [
        minimise(np.tile(start, (len(each), 1)), together, reml) for start in starts(each[0])
    ]
    best = np.array([search.value for search in searches]).argmin(axis=0)
    return [
        finish(searches[s].theta[b : b + 1], bool(searches[s].converged[b]), each[b], reml)
        for b, s in enumerate(best)
    ]


def finish(
    theta: Array, converged: bool, rows: GroupRows, reml: bool
) -> tuple[Array, Criterion, bool]:
    """From where a search for one response ended, theta (1, d), to a minimum that is none of
    rounding and no false boundary."""
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

"""The search for phi and the SD ratios, outside the search for the random effects' covariance.

For given phi and ratios the rows are whitened and the model is fitted as any other, which leaves a
criterion of one parameter or a few, transformed to the whole line (`structure_coordinates`). A grid
finds the valleys along phi; Newton's method, with derivatives by differences of the criterion,
finds the bottom of the two deepest.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure

from .structure_bounds import SAME, check_bounds, check_ratios, not_identified
from .structure_coordinates import Coordinates, coordinates

#: Step of the differences: their error is far below that of nlme's own.
STEP = 5e-4
#: Step of second differences, which lose twice the digits.
CURVE_STEP = 2e-3
#: A step that lowers the criterion by less is the last; convergence is quadratic.
DECREMENT = 1e-10
MAX_STEPS = 60
#: A step shorter than this is the last, whatever it promises.
LAST_STEP = 1e-6
#: In a sample of the groups a step that lowers the criterion by less is the last.
ROUGH = 1e-3
#: With many rows a step that promises this little moves phi by a millionth.
MANY_ROWS = 1e-7
#: After a longer step the second derivatives are worked out anew.
LONG = 0.5
#: Steps below this don't change the second derivatives.
SHORTEST = 1e-4


class Problem(Protocol):
    """A model whose residuals have a structure, for the search over its parameters."""

    def value(self, structure: Structure, near: Any) -> tuple[float, Any]:
        """Criterion for given phi and ratios, the random effects' covariance at its best; `near` is
        the covariance of a point nearby. The second value is the covariance found."""
        ...

    def value_at(self, structure: Structure, theta: Any) -> float:
        """Criterion for given phi and ratios and a given covariance of the random effects."""
        ...

    def sample(self) -> Problem | None:
        """The same model for some of the groups, where there are many."""
        ...

    @property
    def nobs(self) -> int:
        """Rows."""
        ...


class Surface:
    """The criterion over the coordinates, each point sought near the best so far.

    Attributes
    ----------
    near, last : object
        The random effects' covariance at the best point and at the last one.
    hessian : ndarray (k, k) or None
        Second derivatives at the end of a descent.
    """

    def __init__(self, problem: Problem, where: Coordinates, near: Any) -> None:
        self.problem, self.where, self.near, self.last = problem, where, near, near
        self.best = np.inf
        self.hessian: Array | None = None

    def __call__(self, u: Array) -> float:
        """The criterion at a point; infinite where the model can't be fitted."""
        try:
            value, found = self.problem.value(self.where.at(u), self.near)
        except (ValueError, np.linalg.LinAlgError):
            return np.inf
        if not np.isfinite(value):
            return np.inf
        self.last = found
        if value < self.best:
            self.best, self.near = value, found
        return value

    def slope(self, u: Array, theta: Any) -> Array:
        """Gradient (k,) at a point, by central differences with the covariance theta of that point:
        it is at its best there, so its own change counts for nothing."""
        eye, found = STEP * np.eye(len(u)), []
        for e in eye:
            ends = [self.problem.value_at(self.where.at(u + sign * e), theta) for sign in (1, -1)]
            found.append((ends[0] - ends[1]) / (2.0 * STEP))
        return np.array(found)

    def curvature(self, u: Array, value: float) -> Array:
        """Hessian (k, k) by second differences."""
        k, eye = len(u), CURVE_STEP * np.eye(len(u))
        up = np.array([self(u + e) for e in eye])
        down = np.array([self(u - e) for e in eye])
        hessian = np.diag((up - 2.0 * value + down) / CURVE_STEP**2)
        for i in range(k):
            for j in range(i):
                both = self(u + eye[i] + eye[j]) + self(u - eye[i] - eye[j])
                mixed = both - up[i] - down[i] - up[j] - down[j] + 2.0 * value
                hessian[i, j] = hessian[j, i] = mixed / (2.0 * CURVE_STEP**2)
        return hessian


def updated(hessian: Array, move: Array, change: Array) -> Array | None:
    """The Hessian after a step and a change of the gradient (BFGS); None where it is not convex
    there. A step too short to tell changes nothing."""
    if np.abs(move).max() < SHORTEST:
        return hessian
    curve, image = float(move @ change), hessian @ move
    if curve <= 0.0 or float(move @ image) <= 0.0:
        return None
    more = np.outer(change, change) / curve - np.outer(image, image) / float(move @ image)
    return np.asarray(hessian + more)


def descend(
    f: Surface,
    u: Array,
    where: Coordinates,
    enough: float = DECREMENT,
    hessian: Array | None = None,
) -> tuple[Array, float]:
    """Newton's method from a point (k,) until a step promises no more than `enough`; negative
    curvature is turned round, and second derivatives are kept up to date by the gradients where the
    steps are short."""
    value, radius = f(u), 2.0
    theta = f.last
    low, high = where.limits if where.correlated else (-np.inf, np.inf)
    if not np.isfinite(value):
        return u, value
    gradient = f.slope(u, theta)
    for _ in range(MAX_STEPS):
        hessian = f.curvature(u, value) if hessian is None else hessian
        if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
            break
        values, vectors = np.linalg.eigh(hessian)
        along = vectors.T @ gradient
        scaled = along / np.maximum(np.abs(values), 1e-8)
        move, promise = -vectors @ scaled, 0.5 * float(along @ scaled)
        move *= min(1.0, radius / max(float(np.abs(move).max()), 1e-300))
        while True:
            there = u + move
            if where.correlated:
                there[0] = np.clip(there[0], low, high)
            trial = f(there)
            better = trial <= value + 1e-13 * abs(value)
            if better or np.abs(move).max() < 1e-9:
                break
            move, radius = 0.25 * move, 0.25 * float(np.abs(move).max())
        size = float(np.abs(move).max())
        f.hessian = hessian
        if better:
            before, moved = gradient, there - u
            u, value, theta, radius = there, min(trial, value), f.last, min(2.0 * radius, 4.0)
        if promise < enough or size < LAST_STEP or not better:
            break
        gradient = f.slope(u, theta)
        if size > LONG or values[0] <= 0.0:
            hessian = None
        else:
            hessian = updated(hessian, moved, gradient - before)
    return u, value


def search(
    problem: Problem, structure: Structure, ratios: Array | None, near: Any
) -> tuple[Structure, float]:
    """The structure at its best and the criterion there.

    Parameters
    ----------
    ratios : ndarray (levels,) or None
        SD ratios to start from.
    near : object
        Covariance of the random effects to start from, as the problem gives it.

    Raises
    ------
    ValueError
        A parameter at its bound, or one that can't be told from the random effects.
    """
    where = coordinates(structure)
    rest = [] if ratios is None else list(np.log(ratios[1:] / ratios[0]))
    few = problem.sample()
    if few is not None:
        try:
            u, _, small = valley(few, where, rest, near, ROUGH)
        except ValueError:
            few = None  # some of the groups may not do for what all of them do
    if few is None:
        u, value, _ = valley(problem, where, rest, near)
    else:
        f, share = Surface(problem, where, small.near), problem.nobs / few.nobs
        curve = small.hessian
        if curve is not None and np.linalg.eigvalsh(curve)[0] > 0.0:
            curve = share * curve
        else:
            curve = None
        u, value = descend(f, u, where, MANY_ROWS, curve)
        if where.correlated and not where.grid[0] < u[0] < where.grid[-1]:
            check_bounds(f, u, value, where)
    check_ratios(structure, u[1:] if where.correlated else u)
    return where.at(u), value


def search_near(problem: Problem, structure: Structure, near: Any) -> tuple[Structure, float]:
    """The lowest point found from a structure's own values, a bound included: for the refits of a
    simulation, some of which end there."""
    where = coordinates(structure)
    f = Surface(problem, where, near)
    start = where.point(structure)
    starts = [start]
    if where.correlated:
        middle = where.grid[len(where.grid) // 2]
        starts.append(np.append(middle, start[1:]))
    u, value = min((descend(f, s, where) for s in starts), key=lambda pair: pair[1])
    if where.correlated:
        for bound in where.limits:
            edge = np.append(bound, u[1:])
            there = f(edge)
            if there < value:
                u, value = edge, there
    return where.at(u), value


def valley(
    problem: Problem,
    where: Coordinates,
    rest: list[float],
    near: Any,
    enough: float = DECREMENT,
) -> tuple[Array, float, Surface]:
    """The lowest point (k,) of the deepest valley, the criterion there, and the surface."""
    f = Surface(problem, where, near)
    if not where.correlated:
        return *descend(f, np.array(rest), where, enough), f
    points = [np.array([start, *rest]) for start in where.grid]
    values = np.array([f(p) for p in points])
    # the criterion is level along a part of the line, or all of it
    if np.ptp(np.sort(values)[:2]) < SAME * max(1.0, abs(values.min()) * 1e-6):
        raise not_identified(where.structure)
    wider = np.concatenate([[np.inf], values, [np.inf]])
    valleys = np.flatnonzero((values <= wider[:-2]) & (values <= wider[2:]))
    chosen = valleys[np.argsort(values[valleys])][:2]
    found = [descend(f, points[k], where, enough) for k in chosen]
    u, value = min(found, key=lambda pair: pair[1])
    check_bounds(f, u, value, where)
    return u, value, f

"""The search for phi and the SD ratios, outside the search for the random effects' covariance.

For given phi and ratios the rows are whitened and the model is fitted as any other, which leaves a
criterion of one parameter or a few, transformed to the whole line (`structure_coordinates`). A grid
finds the valleys along phi; Newton's method, with derivatives by differences of the criterion,
finds the bottom of the two deepest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure

from .structure_bounds import SAME, check_bounds, check_ratios, not_identified
from .structure_coordinates import Coordinates, coordinates

#: Step of the differences: their error is far below that of nlme's own.
STEP = 5e-4
#: A step that lowers the criterion by less is the last; convergence is quadratic.
DECREMENT = 1e-10
MAX_STEPS = 60
#: A step shorter than this is the last, whatever it promises.
LAST_STEP = 1e-6
#: In a sample of the groups a step that lowers the criterion by less is the last.
ROUGH = 1e-3
#: After a shorter step the second derivatives are taken over.
SHORT = 0.1


class Problem(Protocol):
    """A model whose residuals have a structure, for the search over its parameters."""

    def value(self, structure: Structure, near: Any) -> tuple[float, Any]:
        """Criterion for given phi and ratios, the random effects' covariance at its best; `near` is
        the covariance of a point nearby. The second value is the covariance found."""
        ...

    def sample(self) -> Problem | None:
        """The same model for some of the groups, where there are many."""
        ...


class Surface:
    """The criterion over the coordinates, each point worked out once, near the best so far."""

    def __init__(self, problem: Problem, where: Coordinates, near: Any) -> None:
        self.problem, self.where, self.near = problem, where, near
        self.best = np.inf

    def __call__(self, u: Array) -> float:
        """The criterion at a point; infinite where the model can't be fitted."""
        try:
            value, found = self.problem.value(self.where.at(u), self.near)
        except (ValueError, np.linalg.LinAlgError):
            return np.inf
        if not np.isfinite(value):
            return np.inf
        if value < self.best:
            self.best, self.near = value, found
        return value


def slopes(
    f: Callable[[Array], float], u: Array, value: float, step: float = STEP
) -> tuple[Array, Array]:
    """Gradient (k,) and Hessian (k, k) by central differences."""
    k = len(u)
    eye = step * np.eye(k)
    up = np.array([f(u + e) for e in eye])
    down = np.array([f(u - e) for e in eye])
    hessian = np.diag((up - 2.0 * value + down) / step**2)
    for i in range(k):
        for j in range(i):
            both = f(u + eye[i] + eye[j]) + f(u - eye[i] - eye[j])
            mixed = both - up[i] - down[i] - up[j] - down[j] + 2.0 * value
            hessian[i, j] = hessian[j, i] = mixed / (2.0 * step**2)
    return (up - down) / (2.0 * step), hessian


def gradient_of(f: Callable[[Array], float], u: Array, step: float = STEP) -> Array:
    """Gradient (k,) by central differences."""
    eye = step * np.eye(len(u))
    return np.array([f(u + e) - f(u - e) for e in eye]) / (2.0 * step)


def descend(
    f: Callable[[Array], float], u: Array, where: Coordinates, enough: float = DECREMENT
) -> tuple[Array, float]:
    """Newton's method from a point (k,) until a step promises no more than `enough`; negative
    curvature is turned round, and after a short step the second derivatives are those of the step
    before."""
    value, radius = f(u), 2.0
    low, high = where.limits if where.correlated else (-np.inf, np.inf)
    hessian: Array | None = None
    for _ in range(MAX_STEPS):
        if hessian is None:
            gradient, hessian = slopes(f, u, value)
        else:
            gradient = gradient_of(f, u)
        if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
            break
        values, vectors = np.linalg.eigh(hessian)
        along = vectors.T @ gradient
        move = -vectors @ (along / np.maximum(np.abs(values), 1e-8))
        promise = 0.5 * float(along @ (along / np.maximum(np.abs(values), 1e-8)))
        move *= min(1.0, radius / max(float(np.abs(move).max()), 1e-300))
        while True:
            there = u + move
            if where.correlated:
                there[0] = np.clip(there[0], low, high)
            trial = f(there)
            if trial <= value + 1e-13 * abs(value) or np.abs(move).max() < 1e-9:
                break
            move, radius = 0.25 * move, 0.25 * float(np.abs(move).max())
        if trial <= value + 1e-13 * abs(value):
            u, value, radius = there, min(trial, value), min(2.0 * radius, 4.0)
        size = float(np.abs(move).max())
        if promise < enough or size < LAST_STEP:
            break
        if size > SHORT or values[0] <= 0.0:
            hessian = None
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
            u, _, near = valley(few, where, rest, near, ROUGH)
        except ValueError:
            few = None  # some of the groups may not do for what all of them do
    if few is None:
        u, value, _ = valley(problem, where, rest, near)
    else:
        f = Surface(problem, where, near)
        u, value = descend(f, u, where)
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
) -> tuple[Array, float, Any]:
    """The lowest point (k,) of the deepest valley, the criterion there, and the random effects'
    covariance."""
    f = Surface(problem, where, near)
    if not where.correlated:
        return *descend(f, np.array(rest), where, enough), f.near
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
    return u, value, f.near

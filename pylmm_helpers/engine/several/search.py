"""Minimise the criterion over theta: steps of average information, as
`pylmm_helpers.engine.search` does for one factor with the full second derivatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pylmm_helpers.common import Array

from ..boundary import NEARLY_ZERO
from ..criterion import triangular
from ..search import newton_step, relative_length
from .criterion import (
    Point,
    Slopes,
    average_information,
    chain_rule,
    evaluate,
    first_derivatives,
    lambdas_of,
    theta_hessian,
    theta_of,
)
from .information import expected_form
from .sums import Sums

MAX_STEPS = 200
SCORING_STEPS = 3
#: Scoring goes first while a step promises more than this.
SCORE_ABOVE = 1e-2
#: A step that lowers the criterion by less than this is the last.
DECREMENT = 1e-10
#: Criteria that differ by less are the same.
ROUNDING = 1e-8
#: Up to this many random effects the exact second derivatives cost no more than a step.
SMALL = 300


@dataclass(frozen=True)
class Optimum:
    """Where a search ended, and whether it converged there."""

    at: Point
    converged: bool
    steps: int


def vector_of(sums: Sums, form: list[Array]) -> Array:
    """Derivatives (d,) by the free entries of Delta, from symmetric slopes (q_k, q_k)."""
    return np.concatenate(
        [np.einsum("kij,ij->k", f.basis, g) for f, g in zip(sums.factors, form, strict=True)]
    )


def delta_gradient(at: Point, first: Slopes) -> list[Array]:
    """Gradient (q_k, q_k) of the criterion with respect to every Delta_k."""
    return [t - at.nu * q for t, q in zip(first.trace, first.quadratic, strict=True)]


def delta_hessian(at: Point, first: Slopes) -> Array:
    """Second derivatives (d, d) by the free entries of Delta: exact for a small model, else with
    the average information in place of the expected."""
    average = average_information(at, first)
    quadratic = vector_of(at.f.sums, first.quadratic)
    second = at.nu * average
    if is_small(at.f.sums):
        second = 2.0 * second - expected_form(at, first)
    return np.asarray(second - at.nu * np.outer(quadratic, quadratic))


def is_small(sums: Sums) -> bool:
    """Whether exact second derivatives are cheap."""
    return sum(factor.size for factor in sums.factors) <= SMALL


def terms_of(sums: Sums) -> Iterator[tuple[int, slice]]:
    """The number of its factor and its part of Lambda, for every random term."""
    for k, factor in enumerate(sums.factors):
        start = 0
        for width in factor.widths:
            yield k, slice(start, start + width)
            start += width


def scoring_step(at: Point, first: Slopes) -> Array:
    """Theta (d,) after a step in the variances themselves, sigma^2 and sigma^2 Delta together, in
    which V is linear; from far away it goes further than a step in theta."""
    sums = at.f.sums
    quadratic, trace = vector_of(sums, first.quadratic), vector_of(sums, first.trace)
    information = average_information(at, first) - np.outer(quadratic, quadratic)
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    relative = information / np.outer(scale, scale) + 1e-9 * np.eye(len(scale))
    change = np.linalg.solve(relative, (quadratic - trace / at.nu) / scale) / scale
    residual = max(1.0 - float(quadratic @ change), 1e-10)
    lambdas = lambdas_of(at.theta, sums)
    deltas = [L @ L.T for L in lambdas]
    for k, own in enumerate(sums.slices):
        step = change[own] / residual
        deltas[k] = deltas[k] + np.einsum("k,kij->ij", step, sums.factors[k].basis)
    for k, part in terms_of(sums):
        values, vectors = np.linalg.eigh(deltas[k][part, part])
        floor = 1e-4 * max(values[-1], 1e-2)
        lambdas[k][part, part] = triangular(vectors * np.sqrt(np.maximum(values, floor)))
    return theta_of(lambdas, sums)


def minimise(start: Array, sums: Sums, reml: bool) -> Optimum:
    """Minimise from theta = start (d,)."""
    best = evaluate(start, sums, reml)
    if not np.isfinite(best.value):
        return Optimum(best, False, 0)
    scored, radius, steps = 0, 10.0, 1
    while steps < MAX_STEPS:
        first = first_derivatives(best)
        slope = delta_gradient(best, first)
        gradient = chain_rule(sums, best.theta, slope)
        hessian = theta_hessian(sums, best.theta, delta_hessian(best, first), slope)
        move, promise = newton_step(
            best.theta[None], gradient[None], hessian[None], np.array([radius])
        )
        if promise[0] <= DECREMENT:
            # the step is too small for the criterion's own rounding to judge it
            last = evaluate(best.theta + move[0], sums, reml)
            sound = last.value <= best.value + ROUNDING + noise(best)
            return Optimum(last if sound else best, sound, steps)
        trials = []
        if scored < SCORING_STEPS and promise[0] > SCORE_ABOVE:
            scored += 1
            trials.append(scoring_step(best, first))
        while True:
            by_score = bool(trials)
            theta = trials.pop() if by_score else best.theta + move[0]
            steps += 1
            there = evaluate(theta, sums, reml)
            if not_above(there, best):
                best, radius = there, min(2.0 * radius, 1e100)
                break
            if by_score:
                scored = SCORING_STEPS
                continue
            radius = 0.25 * float(relative_length(move, best.theta[None])[0])
            if radius < 1e-13 or steps >= MAX_STEPS:
                return Optimum(best, False, steps)
            move, _ = newton_step(
                best.theta[None], gradient[None], hessian[None], np.array([radius])
            )
    return Optimum(best, False, steps)


def noise(at: Point) -> float:
    """Rounding of the criterion: what is left of y'y after the random effects are taken out has
    lost the digits that they had more."""
    p = at.f.sums.p
    return 8.0 * float(np.finfo(float).eps) * at.nu * float(at.f.sums.RR[p, p]) / at.r2


def not_above(there: Point, best: Point) -> bool:
    """Whether the criterion has not risen; rounding does not count as a rise."""
    return there.value < best.value + 1e-13 * abs(best.value) + 1e-12 + 0.1 * noise(best)


def starts(sums: Sums) -> list[Array]:
    """Values of theta to start from: lme4's identity; for small models smaller and larger ones, and
    correlations near one and minus one."""
    unit = [np.eye(f.q) for f in sums.factors]
    found = [theta_of(unit, sums)]
    if is_small(sums):
        found += [0.1 * found[0], 5.0 * found[0]]
        if any(part.stop - part.start > 1 for _, part in terms_of(sums)):
            for sign in (1.0, -1.0):
                steep = [0.1 * L for L in unit]
                for k, part in terms_of(sums):
                    steep[k][part, part.start] = sign
                    steep[k][part.start, part.start] = 1.0
                found.append(theta_of(steep, sums))
    return found


def optimise(sums: Sums, reml: bool) -> Optimum:
    """The global minimum."""
    found = [minimise(start, sums, reml) for start in starts(sums)]
    least = min(o.at.value for o in found)
    equal = [o for o in found if o.at.value <= least + ROUNDING]
    best = settle(next((o for o in equal if o.converged), equal[0]))
    for _ in range(10):
        better = way_down(best.at)
        if better is None:
            return best
        best = settle(minimise(better, sums, reml))
    return Optimum(best.at, False, best.steps)


def settle(found: Optimum) -> Optimum:
    """Signs of Lambda put right; a solution beside the boundary put on it, if the criterion is no
    worse for it."""
    at, sums = found.at, found.at.f.sums
    lambdas = lambdas_of(at.theta, sums)
    snapped, beside = [L.copy() for L in lambdas], False
    for k, part in terms_of(sums):
        L = lambdas[k][part, part]
        lambdas[k][part, part] = L * np.where(np.diag(L) < 0, -1.0, 1.0)
        u, s, _ = np.linalg.svd(L)
        keep = s > NEARLY_ZERO * max(float(s[0]), 1.0)
        root = triangular(u * np.where(keep, s, 0.0))
        root[np.abs(root) < 1e-15 * max(float(np.abs(root).max()), 1e-300)] = 0.0
        snapped[k][part, part] = lambdas[k][part, part] if keep.all() else root
        beside = beside or not keep.all()
    at = evaluate(theta_of(lambdas, sums), sums, at.reml)
    if beside:
        there = evaluate(theta_of(snapped, sums), sums, at.reml)
        if there.value <= at.value + 1e-9:
            at = there
    return Optimum(at, found.converged, found.steps)


def way_down(at: Point) -> Array | None:
    """Theta from which the criterion falls below a false boundary, or None at a true minimum.

    On the null space of every term's Delta the gradient with respect to it must be positive
    semidefinite; a negative eigenvalue belongs to a direction whose variance ought not to be zero.
    """
    sums = at.f.sums
    lambdas = lambdas_of(at.theta, sums)
    slope: list[Array] = []
    for k, part in terms_of(sums):
        L = lambdas[k][part, part]
        values, vectors = np.linalg.eigh(L @ L.T)
        null = vectors[:, values <= NEARLY_ZERO**2 * max(values[-1], 1.0)]
        if not null.shape[1]:
            continue
        slope = slope or delta_gradient(at, first_derivatives(at))
        slopes, directions = np.linalg.eigh(null.T @ slope[k][part, part] @ null)
        if slopes[0] >= 0.0:
            continue
        direction = null @ directions[:, 0]
        best, found = at.value - 1e-9, None
        for size in 10.0 ** np.arange(-8.0, 3.0):
            trial = [M.copy() for M in lambdas]
            wider = np.column_stack([L, np.sqrt(size) * direction])
            trial[k][part, part] = triangular(wider)
            there = evaluate(theta_of(trial, sums), sums, at.reml)
            if there.value < best:
                best, found = there.value, there.theta
        if found is not None:
            return found
    return None

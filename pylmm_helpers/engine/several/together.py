"""Refits without each of several levels of a small model, all at once.

The search is that of `search.minimise` with exact second derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from ..identified import NO_INFORMATION
from ..search import newton_step, relative_length
from .criterion import chain_rule, lambdas_of, theta_hessian, theta_of
from .dense import Products, dense_columns, derivatives, evaluate, products_without
from .search import DECREMENT, ROUNDING, terms_of, vector_of
from .sums import Sums
from .without import Without

#: Most random effects, and most numbers of Z, for which this is worth while.
MOST_EFFECTS = 160
MOST_NUMBERS = 20_000_000
#: Numbers held at a time.
BATCH = 1_000_000
MOST_STEPS = 30
#: Singular values of a relative factor below this may be on their way to zero.
NEAR_ZERO = 1e-3


def is_worth_while(sums: Sums) -> bool:
    """Whether the model is small enough."""
    m = sum(factor.size for factor in sums.factors)
    return m <= MOST_EFFECTS and m * sums.n <= MOST_NUMBERS


@dataclass
class Refit:
    """One model's estimates: theta (d,), with ``root``, ``r2`` and ``nu`` as in
    `criterion.Point`."""

    theta: Array
    root: Array
    r2: float
    nu: float


def steps(theta: Array, p: Products, radius: Array) -> tuple[Array, Array]:
    """Newton steps (B, d) and the falls (B,) that they promise."""
    found = derivatives(evaluate(theta, p, True), p)
    gradients, hessians = [], []
    for b, own in enumerate(theta):
        nu = p.nu[b]
        slope = [t[b] - nu * q[b] for t, q in zip(found.trace, found.quadratic, strict=True)]
        quadratic = vector_of(p.sums, [q[b] for q in found.quadratic])
        second = nu * (2.0 * found.average[b] - np.outer(quadratic, quadratic))
        gradients.append(chain_rule(p.sums, own, slope))
        hessians.append(theta_hessian(p.sums, own, second - found.expected[b], slope))
    return newton_step(theta, np.array(gradients), np.array(hessians), radius)


def minimise_all(start: Array, p: Products) -> tuple[Array, Array]:
    """Minimise from theta = start (d,): theta (B, d), and whether (B,) a clear minimum was
    found."""
    theta = np.repeat(start[None], len(p.n), axis=0)
    best = evaluate(theta, p, False)
    value, sound = best.value, np.isfinite(best.value)
    size = 8.0 * np.finfo(float).eps * p.nu * p.RR[:, -1, -1]
    noise = size / np.where(sound, best.root[:, -1, -1] ** 2, 1.0)
    radius, active, converged = np.full(len(p.n), 10.0), sound.copy(), np.zeros(len(p.n), bool)
    for _ in range(MOST_STEPS):
        which = np.flatnonzero(active)
        if not len(which):
            break
        some = p.some(which)
        move, promise = steps(theta[which], some, radius[which])
        there = evaluate(theta[which] + move, some, False).value
        last = promise <= DECREMENT
        room = np.where(last, ROUNDING + noise[which], 1e-12 + 0.1 * noise[which])
        good = there <= value[which] + 1e-13 * np.abs(value[which]) + room
        length = relative_length(move, theta[which])
        theta[which[good]] += move[good]
        value[which[good]] = there[good]
        radius[which] = np.where(good, np.minimum(2.0 * radius[which], 1e100), 0.25 * length)
        converged[which[good & last]] = True
        active[which[last | (~good & (length < 1e-13))]] = False
    return theta, converged


def refit_all(
    start: Array, without: Without, levels: NDArray[np.intp], reml: bool
) -> tuple[dict[int, Refit], set[int]]:
    """Refits without each of some levels (B,), and the levels without which variances may not be
    told apart. Levels for which only a search of their own will do, as beside the boundary, have no
    refit."""
    sums = without.whole
    Z = dense_columns(without, slice(0, sums.n))
    whole = Z.T @ Z, Z.T @ without.R.T
    found: dict[int, Refit] = {}
    doubtful: set[int] = set()
    step = max(1, BATCH // Z.shape[1] ** 2)
    for begin in range(0, len(levels), step):
        part = levels[begin : begin + step]
        p = products_without(without, part, whole, reml)
        lost = not_told_apart(p)
        doubtful |= {int(g) for g in part[lost]}
        p, part = p.some(np.flatnonzero(~lost)), part[~lost]
        if not len(part):
            continue
        theta, converged = minimise_all(start, p)
        theta = np.array([upright(own, sums) for own in theta]).reshape(len(part), -1)
        at = evaluate(theta, p, False)
        for b, g in enumerate(part):
            if converged[b] and not beside_boundary(theta[b], sums):
                root = at.root[b]
                found[int(g)] = Refit(theta[b], root, float(root[-1, -1] ** 2), float(p.nu[b]))
    return found, doubtful


def upright(theta: Array, sums: Sums) -> Array:
    """The same covariances with no diagonal entry of a relative factor below zero."""
    signed = [L * np.where(np.diag(L) < 0, -1.0, 1.0) for L in lambdas_of(theta, sums)]
    return theta_of(signed, sums)


def beside_boundary(theta: Array, sums: Sums) -> bool:
    """Whether some term's covariance has nearly lost rank."""
    lambdas = lambdas_of(theta, sums)
    sizes = [np.linalg.svd(lambdas[k][own, own], compute_uv=False) for k, own in terms_of(sums)]
    return any(s[-1] < NEAR_ZERO * max(float(s[0]), 1.0) for s in sizes)


def not_told_apart(p: Products) -> NDArray[np.bool_]:
    """Which models (B,) have a change of variances that leaves the likelihood as it is; as
    `identified.check_identified` judges it."""
    unit = theta_of([np.eye(f.q) for f in p.sums.factors], p.sums)
    found = derivatives(evaluate(np.repeat(unit[None], len(p.n), axis=0), p, True), p)
    sides = found.quadratic if p.reml else found.trace
    flat = np.array([vector_of(p.sums, [s[b] for s in sides]) for b in range(len(p.n))])
    d = flat.shape[1]
    information = np.ones((len(p.n), d + 1, d + 1))
    information[:, :d, :d] = found.average if p.reml else found.expected / p.nu[:, None, None]
    side = flat if p.reml else flat / p.nu[:, None]
    information[:, :d, d] = information[:, d, :d] = side
    diagonal = np.diagonal(information, axis1=1, axis2=2)
    scale = np.sqrt(np.maximum(diagonal, 1e-300))
    relative = information / (scale[:, :, None] * scale[:, None, :])
    usable = np.isfinite(relative).all(axis=(1, 2))
    values = np.linalg.eigvalsh(np.where(usable[:, None, None], relative, 0.0))[:, 0]
    lost = (diagonal < NO_INFORMATION * diagonal[:, -1:]).any(axis=1)
    return np.asarray(~usable | lost | (values < NO_INFORMATION))

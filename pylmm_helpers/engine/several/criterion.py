r"""The profiled criterion for several grouping factors, its gradient and the average information.

As in `pylmm_helpers.engine.criterion`, the best beta and sigma^2 are put back into the likelihood,
which leaves a function of theta, the free entries of all Lambda_k. With :math:`G_r` the
derivative of V by an entry r of some Delta_k, the gradient needs :math:`\operatorname{tr}(P G_r)`
and :math:`y'PG_rPy`; both follow from the levels' own blocks. In place of second derivatives stands
the average information :math:`y'P G_r P G_s P y`, half-way between the observed and the expected
one, which costs one more solve for each parameter (Gilmour, Thompson & Cullis 1995,
doi:10.2307/2533274).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pylmm_helpers.common import Array

from .blocks import slopes
from .solve import (
    Columns,
    Factorised,
    backward,
    dense_blocks,
    explained,
    factorise,
    forward,
    level_rows,
    sandwich,
)
from .sums import Factor, Sums


@dataclass(frozen=True)
class Point:
    """The criterion at one theta, with what its derivatives need.

    Attributes
    ----------
    theta : ndarray (d,)
    value : float
        Deviance (ML) or REML criterion in scaled columns, prior weights left out.
    r2 : float
        ``y'Py``.
    root : ndarray (p + 1, p + 1)
        Cholesky factor of ``[X y]'V^-1[X y]``; its last diagonal entry squared is `r2`.
    """

    theta: Array
    value: float
    r2: float
    root: Array
    reml: bool
    f: Factorised
    left: Columns
    half: Array

    @property
    def nu(self) -> int:
        """n - p, or n for ML."""
        return self.f.sums.n - (self.f.sums.p if self.reml else 0)


@dataclass(frozen=True)
class Slopes:
    """Derivatives with respect to the symmetric Delta_k, at one theta.

    Attributes
    ----------
    trace : list of ndarray (q_k, q_k)
        ``tr(P G)``; with ML, ``tr(V^-1 G)``.
    quadratic : list of ndarray (q_k, q_k)
        ``y'P G P y / r2``.
    scores : list of ndarray (q_k, p + 1, L_k)
        ``Z_k'V^-1 [X y]`` in the basis where ``X'V^-1X`` is the identity and the last column is
        the residual over r.
    """

    trace: list[Array]
    quadratic: list[Array]
    scores: list[Array]


def lambdas_of(theta: Array, sums: Sums) -> list[Array]:
    """The relative factors Lambda_k (q_k, q_k) of theta (d,)."""
    found = []
    for factor, own in zip(sums.factors, sums.slices, strict=True):
        L = np.zeros((factor.q, factor.q))
        L[factor.free] = theta[own]
        found.append(L)
    return found


def theta_of(lambdas: list[Array], sums: Sums) -> Array:
    """The inverse of `lambdas_of`."""
    return np.concatenate([L[f.free] for f, L in zip(sums.factors, lambdas, strict=True)])


def evaluate(theta: Array, sums: Sums, reml: bool) -> Point:
    """The criterion at theta (d,); infinite where rounding leaves nothing of the residual."""
    f = factorise(sums, lambdas_of(theta, sums))
    p, nu = sums.p, sums.n - (sums.p if reml else 0)
    nothing = np.eye(p + 1)
    raw = Columns(sums.ZR, sums.DR)
    if not f.proper:
        return Point(theta, np.inf, np.nan, nothing, reml, f, raw, sums.DR)
    left, half = forward(f, raw)
    try:
        root = np.asarray(np.linalg.cholesky(sums.RR - explained(f, left, half)), dtype=float)
    except np.linalg.LinAlgError:
        return Point(theta, np.inf, np.nan, nothing, reml, f, left, half)
    r2 = float(root[p, p] ** 2)
    value = f.log_det + nu * (1.0 + np.log(2.0 * np.pi * r2 / nu))
    if reml:
        value += 2.0 * float(np.log(np.diag(root)[:p]).sum())
    return Point(theta, value, r2, root, reml, f, left, half)


def by_factor(columns: Columns, sums: Sums) -> list[Array]:
    """Blocks (q_k, t, L_k) for every factor, those of the dense part included."""
    return columns.chain + [dense_blocks(columns.dense[own], f) for f, own in sums.dense]


def as_columns(blocks: list[Array], sums: Sums, t: int) -> Columns:
    """The inverse of `by_factor`."""
    dense = [level_rows(block) for block in blocks[sums.m :]]
    return Columns(blocks[: sums.m], np.vstack(dense) if dense else np.zeros((0, t)))


def scores(at: Point) -> list[Array]:
    """``Z_k'V^-1 [X y]`` in the basis of the Cholesky factor; see `Slopes`."""
    found, _ = backward(at.f, at.left, at.half)
    turn = np.linalg.inv(at.root)
    return [np.einsum("cr,irg->icg", turn, b) for b in by_factor(found, at.f.sums)]


def first_derivatives(at: Point) -> Slopes:
    """Gradient of the criterion with respect to every Delta_k; see `Slopes`."""
    a, p = scores(at), at.f.sums.p
    trace = slopes(at.f)
    if at.reml:
        trace = [
            t - np.einsum("ipg,jpg->ij", b[:, :p], b[:, :p]) for t, b in zip(trace, a, strict=True)
        ]
    quadratic = [b[:, p] @ b[:, p].T for b in a]
    return Slopes(trace, quadratic, a)


def directions(factors: tuple[Factor, ...], scores: list[Array], column: int) -> list[Array]:
    """Coefficients W with ``Z W`` the columns ``G_r v``, one for each parameter r, when `scores`
    holds ``Z'v`` in one of its columns."""
    d = sum(len(f.free[0]) for f in factors)
    found, start = [], 0
    for factor, a in zip(factors, scores, strict=True):
        W = np.zeros((factor.q, d, factor.levels))
        stop = start + len(factor.basis)
        W[:, start:stop] = np.einsum("kij,jg->ikg", factor.basis, a[:, column])
        found.append(W)
        start = stop
    return found


def solved(at: Point, W: list[Array], t: int) -> tuple[list[Array], Array]:
    """``Z_k'V^-1 Z W`` for every factor, and ``W'Z'V^-1 Z W`` (t, t), for t coefficient vectors."""
    sums = at.f.sums
    left, half = forward(at.f, sandwich(sums, as_columns(W, sums, t)))
    found = by_factor(backward(at.f, left, half)[0], sums)
    return found, sum_products(W, found)


def sum_products(W: list[Array], U: list[Array]) -> Array:
    """``sum_k W_k'U_k`` (t, u) for blocks (q_k, t, L_k) and (q_k, u, L_k)."""
    total: Any = 0.0
    for w, u in zip(W, U, strict=True):
        total = total + flat(w) @ flat(u).T
    return np.asarray(total)


def flat(blocks: Array) -> Array:
    """Blocks (q, t, L) as t rows (t, q L)."""
    q, t, levels = blocks.shape
    return blocks.transpose(1, 0, 2).reshape(t, q * levels)


def average_information(at: Point, first: Slopes) -> Array:
    """``y'P G_r P G_s P y / r2`` (d, d)."""
    p, factors = at.f.sums.p, at.f.sums.factors
    W = directions(factors, first.scores, p)
    _, products = solved(at, W, W[0].shape[1])
    with_x = sum_products([a[:, :p] for a in first.scores], W)
    return products - with_x.T @ with_x


def chain_rule(sums: Sums, theta: Array, form: list[Array]) -> Array:
    """Gradient (d,) in theta of a function with slopes `form` (q_k, q_k) in Delta_k."""
    lambdas = lambdas_of(theta, sums)
    return np.concatenate(
        [2.0 * (g @ L)[f.free] for f, g, L in zip(sums.factors, form, lambdas, strict=True)]
    )


def jacobian(sums: Sums, theta: Array) -> Array:
    """Derivatives (d, d) of the entries of Delta (rows) by those of theta (columns)."""
    found = np.zeros((len(theta), len(theta)))
    for factor, own, L in zip(sums.factors, sums.slices, lambdas_of(theta, sums), strict=True):
        row, column = factor.free
        change = np.zeros((len(row), factor.q, factor.q))
        change[np.arange(len(row)), row] = L[:, column].T
        change = change + change.swapaxes(1, 2)
        found[own, own] = change[:, row, column].T
    return found


def theta_hessian(sums: Sums, theta: Array, hessian: Array, gradient: list[Array]) -> Array:
    """Second derivatives in theta from those (d, d) in Delta, counted once for each free entry,
    and the gradient (q_k, q_k)."""
    J = jacobian(sums, theta)
    found = J.T @ hessian @ J
    for factor, own, g in zip(sums.factors, sums.slices, gradient, strict=True):
        row, column = factor.free
        found[own, own] += 2.0 * g[np.ix_(row, row)] * (column[:, None] == column[None, :])
    return found

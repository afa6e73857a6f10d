"""The criterion of several models with the same factors, and its derivatives, from dense matrices.

For few random effects Z'Z is a small matrix, and a batch of them costs little more than the calls
for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from .criterion import lambdas_of
from .sums import Sums
from .without import Without


@dataclass
class Products:
    """Dense products ``Z'Z`` (B, m, m), ``Z'R`` (B, m, r), ``R'R`` (B, r, r) and rows (B,) of some
    models with the same factors."""

    sums: Sums
    ZZ: Array
    ZR: Array
    RR: Array
    n: Array
    reml: bool

    @property
    def nu(self) -> Array:
        """n - p, or n for ML (B,)."""
        return self.n - (self.sums.p if self.reml else 0)

    def some(self, which: NDArray[np.intp]) -> Products:
        """The products of some of the models."""
        return Products(
            self.sums, self.ZZ[which], self.ZR[which], self.RR[which], self.n[which], self.reml
        )


def slices_of(sums: Sums) -> list[slice]:
    """Where each factor's effects stand, level by level."""
    ends = np.cumsum([0, *(factor.size for factor in sums.factors)])
    return [slice(int(a), int(b)) for a, b in pairwise(ends)]


def dense_columns(without: Without, rows: slice) -> Array:
    """Z (k, m) of some rows."""
    sums = without.whole
    Z = np.zeros((len(range(*rows.indices(without.R.shape[1]))), slices_of(sums)[-1].stop))
    every = np.arange(len(Z))
    each = zip(sums.factors, slices_of(sums), without.codes, without.Z, strict=True)
    for factor, own, codes, columns in each:
        for i, column in enumerate(columns):
            Z[every, own.start + codes[rows] * factor.q + i] = column[rows]
    return Z


def products_without(
    without: Without, levels: NDArray[np.intp], whole: tuple[Array, Array], reml: bool
) -> Products:
    """The products of the rows that are left without each of some levels (B,); `whole` holds Z'Z
    and Z'R of all rows."""
    sums = without.whole
    ZZ, ZR = (np.repeat(a[None], len(levels), axis=0) for a in whole)
    RR, n = np.repeat(sums.RR[None], len(levels), axis=0), np.full(len(levels), float(sums.n))
    for b, level in enumerate(levels):
        rows = slice(int(without.ends[level]), int(without.ends[level + 1]))
        Z, R = dense_columns(without, rows), without.R[:, rows].T
        ZZ[b] -= Z.T @ Z
        ZR[b] -= Z.T @ R
        RR[b] -= R.T @ R
        n[b] -= len(R)
        for factor, own, only in zip(sums.factors, slices_of(sums), without.only, strict=True):
            gone = own.start + np.flatnonzero(np.repeat(only == level, factor.q))
            ZZ[b, gone], ZZ[b, :, gone], ZR[b, gone] = 0.0, 0.0, 0.0
    return Products(sums, ZZ, ZR, RR, n, reml)


def times_lambda(p: Products, lambdas: list[Array], X: Array) -> Array:
    """``Lambda'X`` for X (B, m, t) and relative factors (B, q_k, q_k)."""
    found = np.empty_like(X)
    for factor, own, L in zip(p.sums.factors, slices_of(p.sums), lambdas, strict=True):
        if factor.q == 1:
            found[:, own] = L[:, :1] * X[:, own]
        else:
            part = X[:, own].reshape(len(X), factor.levels, factor.q, -1)
            found[:, own] = (L.swapaxes(1, 2)[:, None] @ part).reshape(found[:, own].shape)
    return found


def cholesky(A: Array) -> Array:
    """Cholesky factors of matrices (B, k, k); NaN for those that rounding made indefinite."""
    try:
        return np.asarray(np.linalg.cholesky(A))
    except np.linalg.LinAlgError:
        found = np.full(A.shape, np.nan)
        for b, own in enumerate(A):
            if np.isfinite(own).all() and np.linalg.eigvalsh(own)[0] > 0.0:
                found[b] = np.linalg.cholesky(own)
        return found


@dataclass
class Together:
    """The criterion (B,) of the models at theta (B, d), with ``root`` as in `criterion.Point`, and
    ``half = root_T^-1 Lambda'Z'Z`` where derivatives are wanted."""

    value: Array
    root: Array
    half: Array
    half_r: Array


def evaluate(theta: Array, p: Products, derivatives: bool) -> Together:
    """The criterion of every model at its own theta."""
    each = [lambdas_of(own, p.sums) for own in theta]
    lambdas = [np.array([own[k] for own in each]) for k in range(len(p.sums.factors))]
    LZ = times_lambda(p, lambdas, p.ZZ)
    inner = times_lambda(p, lambdas, LZ.swapaxes(1, 2))
    m, r = p.ZR.shape[1:]
    inner[:, np.arange(m), np.arange(m)] += 1.0
    lower = cholesky(inner)
    right = times_lambda(p, lambdas, p.ZR)
    if derivatives:
        right = np.concatenate([right, LZ], axis=2)
    half = np.asarray(np.linalg.solve(lower, right), dtype=float)
    half_r = half[..., :r]
    root = cholesky(p.RR - half_r.swapaxes(1, 2) @ half_r)
    diagonal = np.diagonal(root, axis1=1, axis2=2)
    r2, nu = diagonal[:, -1] ** 2, p.nu
    value = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    value += nu * (1.0 + np.log(2.0 * np.pi * r2 / nu))
    if p.reml:
        value += 2.0 * np.log(diagonal[:, :-1]).sum(axis=1)
    return Together(np.where(np.isnan(value), np.inf, value), root, half[..., r:], half_r)


@dataclass
class Slopes:
    """Derivatives by the free entries of Delta: slopes of log|V| and of y'Py/r2 as (B, q_k, q_k),
    the average and the expected information (B, d, d)."""

    trace: list[Array]
    quadratic: list[Array]
    average: Array
    expected: Array


def derivatives(at: Together, p: Products) -> Slopes:
    """All that first and second derivatives are made of."""
    sums, count, own = p.sums, len(p.n), slices_of(p.sums)
    fixed = sums.p
    V = p.ZZ - at.half.swapaxes(1, 2) @ at.half
    scores = p.ZR - at.half.swapaxes(1, 2) @ at.half_r
    turned = np.linalg.solve(at.root, scores.swapaxes(1, 2)).swapaxes(1, 2)
    x, e = turned[..., :fixed], turned[..., fixed]
    P = V - x @ x.swapaxes(1, 2)
    M = P if p.reml else V
    d = sum(len(f.basis) for f in sums.factors)
    W, expected = np.zeros((count, len(p.ZZ[0]), d)), np.zeros((count, d, d))
    trace, quadratic = [], []
    for k, (a, rows) in enumerate(zip(sums.factors, own, strict=True)):
        left = e[:, rows].reshape(count, a.levels, a.q)
        quadratic.append(left.swapaxes(1, 2) @ left)
        W[:, rows, sums.slices[k]] = np.einsum("rij,blj->blir", a.basis, left).reshape(
            count, a.size, len(a.basis)
        )
        block = M[:, rows, rows].reshape(count, a.levels, a.q, a.levels, a.q)
        trace.append(np.einsum("bliLj,lL->bij", block, np.eye(a.levels), optimize=True))
        for j in range(k, len(own)):
            b = sums.factors[j]
            block = M[:, rows, own[j]].reshape(count, a.levels, a.q, b.levels, b.q)
            flat = block.transpose(0, 2, 4, 1, 3).reshape(count, a.q * b.q, -1)
            form = (flat @ flat.swapaxes(1, 2)).reshape(count, a.q, b.q, a.q, b.q)
            # tr(E M F M'): E over (i2, i), F over (h, h2)
            value = np.einsum("rIi,cihIH,shH->crs", a.basis, form, b.basis, optimize=True)
            expected[:, sums.slices[k], sums.slices[j]] = value
            expected[:, sums.slices[j], sums.slices[k]] = value.swapaxes(1, 2)
    return Slopes(trace, quadratic, W.swapaxes(1, 2) @ P @ W, expected)

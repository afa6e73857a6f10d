r"""Variances of the errors of predictions and of residuals.

With w a row's columns for the levels that it belongs to,
:math:`H = \Delta - \Delta Z'V^{-1}Z\Delta` and :math:`B = \Delta Z'V^{-1}X`, the error of a
prediction x'b + w'u has the variance :math:`\sigma^2 w'Hw + (x - B'w)'\Phi(x - B'w)`. The blocks of
H that a row needs are mostly those of the selected inverse (`blocks.Inverse`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.engine.several import SeveralResults, dense_rows, solved

#: Numbers held at a time.
CHUNK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Rows:
    """Rows to predict: X, the offset and each factor's Z in the columns of the data, and the level
    numbers of the factors that count as known, -1 for a level without data."""

    index: pd.Index
    X: Array
    offset: Array
    Z: dict[str, Array]
    numbers: dict[str, NDArray[np.intp]]


def phi(fit: SeveralResults) -> Array:
    """Covariance (p, p) of the fixed effects in scaled columns, in squared units of the data."""
    p = fit.sums.p
    inverse = np.linalg.inv(fit.at.root[:p, :p])
    return np.asarray(fit.scale * inverse.T @ inverse)


def prior_variance(fit: SeveralResults, name: str, Z: Array) -> Array:
    """Variance (n,) of a factor's contribution to rows of levels without data."""
    half = fit.scaled_z(name, Z) @ fit.lambdas[name]
    return np.asarray(fit.scale * np.sum(half**2, axis=1))


def error_variance(fit: SeveralResults, rows: Rows) -> Array:
    """Variance (n,) of ``x'(b - beta) + z'(u_hat - u)`` over the known factors, and of a whole
    effect where the level has no data."""
    p = fit.sums.p
    direction = fit.scalings[0].x(rows.X)
    variance = np.zeros(len(direction))
    z, numbers = {}, {}
    for name, found in rows.numbers.items():
        k, new = fit.number[name], found < 0
        variance[new] += prior_variance(fit, name, rows.Z[name][new])
        z[k], numbers[k] = fit.scaled_z(name, rows.Z[name]), found
        link = fit.coefficients[name][:, :p]
        for start in range(0, len(found), CHUNK_NUMBERS // (p * len(link))):
            part = slice(start, start + CHUNK_NUMBERS // (p * len(link)))
            there = np.einsum("nq,qcn->nc", z[k][part], link[..., found[part]])
            direction[part] -= np.where(new[part, None], 0.0, there)
    variance += fit.scale * np.maximum(effects_variance(fit, z, numbers), 0.0)
    return np.asarray(variance + np.einsum("np,pr,nr->n", direction, phi(fit), direction))


def effects_variance(
    fit: SeveralResults, z: dict[int, Array], numbers: dict[int, NDArray[np.intp]]
) -> Array:
    """``w'Hw`` (n,) over the levels with data, for the columns z (n, q) and level numbers (n,) of
    some factors, named by their place in the order of elimination."""
    sums, order = fit.sums, sorted(z)
    n = len(next(iter(z.values()), []))
    total = np.zeros(n) if order else np.zeros(1)
    apart = np.zeros(n, dtype=bool)  # levels of nested factors that do not belong to each other
    for a, k in enumerate(order):
        for j in order[a:]:
            both = (numbers[k] >= 0) & (numbers[j] >= 0)
            if j < sums.m and j > k:
                strange = both & (sums.parents[k, j][numbers[k]] != numbers[j])
                apart |= strange
                both &= ~strange
            rows = np.flatnonzero(both)
            value = pair_variance(
                fit, k, j, z[k][rows], z[j][rows], numbers[k][rows], numbers[j][rows]
            )
            total[rows] += value if k == j else 2.0 * value
    rows = np.flatnonzero(apart)
    if len(rows):
        total[rows] = variance_by_solving(
            fit, {k: v[rows] for k, v in z.items()}, {k: v[rows] for k, v in numbers.items()}
        )
    return total


def pair_variance(
    fit: SeveralResults,
    k: int,
    j: int,
    z: Array,
    other: Array,
    level: NDArray[np.intp],
    of_other: NDArray[np.intp],
) -> Array:
    """``z'H_kj other`` (n,) for rows of given levels of the factors k and j, k <= j."""
    sums, inverse = fit.sums, fit.inverse
    if j < sums.m:
        block = inverse.own[k] if k == j else inverse.between[k, j]
        return np.asarray(np.einsum("ni,ijn,nj->n", z, block[..., level], other))
    start, q = sums.dense[j - sums.m][1].start, sums.factors[j].q
    column = start + of_other[:, None] * q + np.arange(q)
    if k >= sums.m:
        first, qk = sums.dense[k - sums.m][1].start, sums.factors[k].q
        row = first + level[:, None] * qk + np.arange(qk)
        block = inverse.dense[row[:, :, None], column[:, None, :]]
        return np.asarray(np.einsum("ni,nij,nj->n", z, block, other))
    found = np.empty(len(z))
    order = np.argsort(level, kind="stable")
    present, firsts = np.unique(level[order], return_index=True)
    step = max(1, CHUNK_NUMBERS // (sums.N * sums.factors[k].q))
    ends = np.append(firsts, len(order))
    for begin in range(0, len(present), step):
        levels = present[begin : begin + step]
        rows = order[ends[begin] : ends[min(begin + step, len(present))]]
        block = dense_rows(fit.at.f, inverse, k, levels)
        place = np.searchsorted(levels, level[rows])
        part = block[place[:, None, None], np.arange(z.shape[1])[:, None], column[rows][:, None, :]]
        found[rows] = np.einsum("ni,nij,nj->n", z[rows], part, other[rows])
    return found


def variance_by_solving(
    fit: SeveralResults, z: dict[int, Array], numbers: dict[int, NDArray[np.intp]]
) -> Array:
    """The same as `effects_variance` for any combination of levels, some rows at a time."""
    sums = fit.sums
    n = len(next(iter(z.values())))
    total = np.zeros(n)
    step = max(1, CHUNK_NUMBERS // sum(factor.size for factor in sums.factors))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        t = part.stop - start
        W = [np.zeros((f.q, t, f.levels)) for f in sums.factors]
        for k, columns in z.items():
            here = numbers[k][part]
            seen = np.flatnonzero(here >= 0)
            Lambda = fit.lambdas[sums.factors[k].name]
            half = columns[part][seen] @ Lambda
            total[start + seen] += np.sum(half**2, axis=1)
            W[k][:, seen, here[seen]] = Lambda @ half.T
        found, _ = solved(fit.at, W, t)
        total[part] -= sum(np.einsum("qtg,qtg->t", w, u) for w, u in zip(W, found, strict=True))
    return total

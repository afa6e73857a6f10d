"""The blocks of two inverses that belong to single levels: ``Z_k'V^-1 Z_k``, whose sum is the slope
of log|V|, and the random effects' covariance given the data.

The second is the inverse of Henderson's matrix without fixed effects; only the entries that the
elimination has touched are needed, and they come from the last factor back to the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack, solve_triangular

from pylmm_helpers.common import Array

from .pairs import mirror
from .small import times, transposed
from .solve import Factorised, scaled_rows

#: Where a relative factor has a smaller singular value, the slope is not taken from the inverse,
#: which would lose digits.
WELL_INSIDE = 1e-2
#: Rows of a dense product formed at a time.
CHUNK = 4_096


@dataclass
class Inverse:
    """Blocks of ``Delta - Delta Z'V^-1 Z Delta``, the random effects' covariance given the data
    over sigma^2.

    Attributes
    ----------
    dense : ndarray (N, N)
        Of the dense part.
    own : dict k -> ndarray (q_k, q_k, L_k)
        Of each chain factor's level with itself.
    between : dict (k, l) -> ndarray (q_k, q_l, L_k)
        With its level of a later chain factor.
    rows : dict k -> ndarray (L_k q_k, N)
        With the dense part.
    """

    dense: Array
    own: dict[int, Array] = field(default_factory=dict)
    between: dict[tuple[int, int], Array] = field(default_factory=dict)
    rows: dict[int, Array] = field(default_factory=dict)


def dense_inverse(f: Factorised) -> Array:
    """``Lambda (I + Lambda'D Lambda)^-1 Lambda'`` (N, N)."""
    if not f.sums.N:
        return np.zeros((0, 0))
    lower, _ = lapack.dpotri(f.root, lower=1)
    mirror(lower)
    half = scaled_rows(f.sums, f.lambdas, lower, False)
    return scaled_rows(f.sums, f.lambdas, np.asarray(half.T), False)


def slopes(f: Factorised) -> list[Array]:
    """The sums over levels of ``Z_k'V^-1 Z_k`` (q_k, q_k): slopes of log|V| in Delta_k."""
    inverse = Inverse(dense_inverse(f))
    found = [chain_slope(f, inverse, k) for k in reversed(range(f.sums.m))][::-1]
    return found + dense_slopes(f, inverse.dense)


def whole_inverse(f: Factorised) -> Inverse:
    """All blocks of the inverse that the elimination touches."""
    inverse = Inverse(dense_inverse(f))
    for k in reversed(range(f.sums.m)):
        add_level(f, inverse, k, taken_away(f, inverse, k))
    return inverse


def conditional_blocks(f: Factorised, inverse: Inverse) -> list[Array]:
    """Covariance (q_k, q_k, L_k) of each level's random effects given the data and the fixed
    effects, over sigma^2, factor by factor."""
    found = [inverse.own[k] for k in range(f.sums.m)]
    for factor, own in f.sums.dense:
        part = inverse.dense[own, own].reshape(factor.levels, factor.q, factor.levels, factor.q)
        every = np.arange(factor.levels)
        found.append(np.moveaxis(part[every, :, every, :], 0, -1))
    return found


def dense_rows(f: Factorised, inverse: Inverse, k: int, levels: NDArray[np.intp]) -> Array:
    """Blocks (g, q_k, N) of the inverse between some levels (g,) of chain factor k and the dense
    part."""
    q = f.sums.factors[k].q
    if k in inverse.rows:
        return inverse.rows[k].reshape(-1, q, f.sums.N)[levels]
    place = (levels[:, None] * q + np.arange(q)).ravel()
    total = np.asarray(f.C[k][place] @ inverse.dense).reshape(len(levels), q, f.sums.N)
    for i in range(k + 1, f.sums.m):
        qi, parent = f.sums.factors[i].q, f.sums.parents[k, i][levels]
        later = inverse.rows[i].reshape(-1, qi, f.sums.N)[parent]
        total = total + np.einsum("ijg,gjn->gin", f.B[k, i][..., levels], later)
    return np.asarray(-np.einsum("ijg,gjn->gin", f.M[k][..., levels], total))


def chain_slope(f: Factorised, inverse: Inverse, k: int) -> Array:
    """The slope for chain factor k; adds its blocks to the inverse where an earlier one needs
    them."""
    A, M, q = f.A[k], f.M[k], f.sums.factors[k].q
    P = -times(A, M)
    P[np.arange(q), np.arange(q)] += 1.0
    own = times(P, A).sum(axis=-1)
    if k == 0 and f.sums.pairs is not None:
        taken = chain_part(f, inverse, k)
        crossed = crossed_part(f, inverse, k)
        if taken is not None:
            inner = taken if crossed is None else taken + crossed
            own = own - times(times(P, inner), transposed(P)).sum(axis=-1)
        for a in range(q):
            for b in range(a + 1):
                weight = P[a][:, None] * P[b][None, :]
                weight = 0.5 * (weight + weight.swapaxes(0, 1))
                value = f.sums.pairs.inner(inverse.dense, weight)
                own[a, b] -= value
                if a != b:
                    own[b, a] -= value
        return own
    inner = taken_away(f, inverse, k)
    if k:
        add_level(f, inverse, k, inner)
    return own - times(times(P, inner), transposed(P)).sum(axis=-1)


def taken_away(f: Factorised, inverse: Inverse, k: int) -> Array:
    """``b H b'`` (q_k, q_k, L_k): b a level's products with all later columns, H their inverse."""
    parts = [chain_part(f, inverse, k), crossed_part(f, inverse, k)]
    if f.sums.N:
        parts.append(row_products(f.C[k], inverse.dense, f.sums.factors[k].q))
    present = [part for part in parts if part is not None]
    return sum(present[1:], present[0]) if present else np.zeros_like(f.A[k])


def chain_part(f: Factorised, inverse: Inverse, k: int) -> Array | None:
    """The part of `taken_away` that the later chain factors have."""
    found = None
    for i in range(k + 1, f.sums.m):
        for j in range(k + 1, f.sums.m):
            part = times(times(f.B[k, i], block_of(f, inverse, k, i, j)), transposed(f.B[k, j]))
            found = part if found is None else found + part
    return found


def block_of(f: Factorised, inverse: Inverse, k: int, i: int, j: int) -> Array:
    """Block (q_i, q_j, L_k) of the inverse for the levels of i and j to which those of k belong."""
    if i == j:
        return inverse.own[i][..., f.sums.parents[k, i]]
    if i < j:
        return inverse.between[i, j][..., f.sums.parents[k, i]]
    return transposed(inverse.between[j, i][..., f.sums.parents[k, j]])


def crossed_part(f: Factorised, inverse: Inverse, k: int) -> Array | None:
    """The part of `taken_away` that later chain factors and the dense part have together."""
    found = None
    if f.sums.N:
        for i in range(k + 1, f.sums.m):
            part = times(f.B[k, i], with_dense(f, inverse, k, i))
            part = part + transposed(part)
            found = part if found is None else found + part
    return found


def with_dense(f: Factorised, inverse: Inverse, k: int, i: int) -> Array:
    """``H_iD C_k'`` (q_i, q_k, L_k) for the levels of i to which those of k belong."""
    C, factor, qi = f.C[k].tocoo(), f.sums.factors[k], f.sums.factors[i].q
    level, term = np.divmod(C.row, factor.q)
    found = np.empty((qi, factor.q, factor.levels))
    for a in range(qi):
        values = C.data * inverse.rows[i][f.sums.parents[k, i][level] * qi + a, C.col]
        sums = np.bincount(level * factor.q + term, values, factor.size)
        found[a] = sums.reshape(factor.levels, factor.q).T
    return found


def row_products(C: sparse.csr_array, H: Array, q: int) -> Array:
    """``C_g H C_g'`` (q, q, L) for the q rows of every level g of C (L q, N)."""
    levels = C.shape[0] // q
    found = np.empty((q, q, levels))
    for start in range(0, levels, CHUNK):
        part = C[start * q : min(start + CHUNK, levels) * q]
        rows = np.asarray(part @ H)
        for i in range(q):
            for j in range(q):
                product = part[j::q].multiply(rows[i::q]).sum(axis=1)
                found[i, j, start : start + CHUNK] = np.asarray(product).ravel()
    return found


def add_level(f: Factorised, inverse: Inverse, k: int, inner: Array) -> None:
    """Put the blocks of chain factor k into the inverse."""
    sums, M = f.sums, f.M[k]
    inverse.own[k] = M + times(times(M, inner), M)
    for i in range(k + 1, sums.m):
        total = np.zeros_like(f.B[k, i])
        for j in range(k + 1, sums.m):
            total = total + times(f.B[k, j], block_of(f, inverse, k, j, i))
        if sums.N:
            total = total + transposed(with_dense(f, inverse, k, i))
        inverse.between[k, i] = -times(M, total)
    if sums.N and k:
        every = np.arange(sums.factors[k].levels)
        inverse.rows[k] = dense_rows(f, inverse, k, every).reshape(-1, sums.N)


def dense_slopes(f: Factorised, H: Array) -> list[Array]:
    """The slopes for the factors of the dense part."""
    found = []
    for (factor, own), L in zip(f.sums.dense, f.lambdas[f.sums.m :], strict=True):
        every = np.arange(factor.levels)
        shape = (factor.levels, factor.q, factor.levels, factor.q)
        if np.linalg.svd(L, compute_uv=False)[-1] > WELL_INSIDE:
            inverse = np.linalg.inv(L @ L.T)
            total = H[own, own].reshape(shape)[every, :, every, :].sum(axis=0)
            found.append(factor.levels * inverse - inverse @ total @ inverse)
            continue
        total = f.D[own, own].reshape(shape)[every, :, every, :].sum(axis=0)
        half = solve_triangular(
            f.root,
            scaled_rows(f.sums, f.lambdas, f.D[:, own], True),
            lower=True,
            check_finite=False,
        ).reshape(f.sums.N, factor.levels, factor.q)
        found.append(total - np.einsum("nli,nlj->ij", half, half))
    return found

r"""V^-1 for several grouping factors, without ever forming it.

:math:`V = I + \sum_k Z_k \Delta_k Z_k'`. The factors of the chain are taken out one after the
other: with :math:`V_k` the covariance up to factor k and :math:`A_k = Z_k' V_{k-1}^{-1} Z_k`,

.. math:: V_k^{-1} = V_{k-1}^{-1} - V_{k-1}^{-1} Z_k M_k Z_k' V_{k-1}^{-1}, \qquad
          M_k = \Lambda_k (I + \Lambda_k' A_k \Lambda_k)^{-1} \Lambda_k',

and the dense part at the end by the Cholesky factor of :math:`I + \Lambda' D \Lambda`. Everything
happens to the products, as in Bates et al. (2015, doi:10.18637/jss.v067.i01, section 3) to the
rows. The way back gives :math:`Z_k' V^{-1} R` and the blocks of the random effects' covariance
given the data (Takahashi's recursion for the inverse of a sparse matrix: Erisman & Tinney 1975,
doi:10.1145/360680.360704).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import lapack, solve_triangular

from pylmm_helpers.common import Array

from .small import covariance_given, gathered, times, transposed
from .sums import Factor, Sums


@dataclass(frozen=True)
class Columns:
    """Products Z'T of the random effects' columns with some columns T: a block (q_k, t, L_k) for
    each factor of the chain, and (N, t) for the dense part."""

    chain: list[Array]
    dense: Array


@dataclass(frozen=True)
class Factorised:
    """What is left of the products after each elimination.

    Attributes
    ----------
    sums : Sums
    lambdas : list of ndarray (q_k, q_k)
    A, M : list of ndarray (q_k, q_k, L_k)
        For each factor of the chain.
    B : dict (k, l) -> ndarray (q_k, q_l, L_k)
        ``Z_k' V_{k-1}^-1 Z_l`` for later factors l of the chain.
    C : list of sparse arrays (L_k q_k, N)
        The same with the dense part.
    D : ndarray (N, N)
        ``Z_D' V_m^-1 Z_D``.
    root : ndarray (N, N)
        Lower Cholesky factor of ``I + Lambda'D Lambda``.
    log_det : float
        Of V.
    proper : bool
        False where rounding made a matrix indefinite.
    """

    sums: Sums
    lambdas: list[Array]
    A: list[Array]
    M: list[Array]
    B: dict[tuple[int, int], Array]
    C: list[sparse.csr_array]
    D: Array
    root: Array
    log_det: float
    proper: bool


def factorise(sums: Sums, lambdas: list[Array]) -> Factorised:
    """Eliminate all factors at the given relative factors Lambda."""
    m = sums.m
    ZZ, C = dict(sums.ZZ), list(sums.cells)
    D = sums.DD
    Ms, log_det = [], 0.0
    for k in range(m):
        M, part = covariance_given(ZZ[k, k], lambdas[k])
        log_det += part
        Ms.append(M)
        for j in range(k + 1, m):
            MB = times(M, ZZ[k, j])
            for i in range(k + 1, j + 1):
                down = gathered(times(transposed(ZZ[k, i]), MB), *upward(sums, k, i))
                # the product belongs to the level of i; (i, j) is stored by the levels of i
                ZZ[i, j] = ZZ[i, j] - down
        if sums.N:
            if k == 0 and sums.pairs is not None:
                D = D - sums.pairs.product(M)
            else:
                D = D - (C[k].T @ (block_diagonal(M) @ C[k])).toarray()
            for j in range(k + 1, m):
                BM = times(transposed(ZZ[k, j]), M)
                C[j] = C[j] - link(BM, sums.parents[k, j], sums.factors[j].levels) @ C[k]
    root, proper = np.zeros((0, 0)), True
    if sums.N:
        K = both_sides(sums, lambdas, D)
        K[np.diag_indices_from(K)] += 1.0
        root, fault = lapack.dpotrf(K, lower=1, clean=1, overwrite_a=1)
        proper = fault == 0
        log_det += 2.0 * float(np.log(np.diag(root)).sum()) if proper else np.inf
    proper = proper and bool(np.isfinite(log_det))
    A = [ZZ[k, k] for k in range(m)]
    B = {(k, j): ZZ[k, j] for k in range(m) for j in range(k + 1, m)}
    return Factorised(sums, lambdas, A, Ms, B, C, D, root, log_det, proper)


def upward(sums: Sums, k: int, i: int) -> tuple[np.ndarray, int]:
    """Parents in factor i of the levels of factor k, and how many there are."""
    return sums.parents[k, i], sums.factors[i].levels


def block_diagonal(M: Array) -> sparse.csr_array:
    """Blocks (q, q, L) as one sparse matrix (L q, L q)."""
    q, _, levels = M.shape
    if q == 1:
        return sparse.diags_array(M[0, 0]).tocsr()
    blocks = np.ascontiguousarray(np.moveaxis(M, -1, 0))
    return sparse.bsr_array((blocks, np.arange(levels), np.arange(levels + 1))).tocsr()


def link(BM: Array, parent: np.ndarray, parents: int) -> sparse.csr_array:
    """Blocks (q_j, q_k, L_k) as a sparse matrix (L_j q_j, L_k q_k) that sums over children."""
    qj, qk, levels = BM.shape
    row = parent * qj + np.arange(qj)[:, None, None]
    column = np.arange(levels) * qk + np.arange(qk)[:, None]
    where = (np.broadcast_to(row, BM.shape).ravel(), np.broadcast_to(column, BM.shape).ravel())
    return sparse.coo_array((BM.ravel(), where), shape=(parents * qj, levels * qk)).tocsr()


def scaled_rows(sums: Sums, lambdas: list[Array], X: Array, transpose: bool) -> Array:
    """``Lambda'X`` (transpose) or ``Lambda X`` for X (N, t), Lambda that of the dense part."""
    found = np.empty(X.shape, order="F" if X.flags.f_contiguous else "C")
    for (factor, own), L in zip(sums.dense, lambdas[sums.m :], strict=True):
        if factor.q == 1:
            np.multiply(X[own], L[0, 0], out=found[own])
        else:
            part = X[own].reshape(factor.levels, factor.q, -1)
            found[own] = np.matmul(L.T if transpose else L, part).reshape(factor.size, -1)
    return found


def both_sides(sums: Sums, lambdas: list[Array], D: Array) -> Array:
    """``Lambda'D Lambda`` in the order of memory that LAPACK likes."""
    half = scaled_rows(sums, lambdas, D, True)
    return np.asfortranarray(scaled_rows(sums, lambdas, np.asarray(half.T), True))


def forward(f: Factorised, raw: Columns) -> tuple[Columns, Array]:
    """``Z_k' V_{k-1}^-1 T`` for each factor, from ``Z'T``; and for the dense part what is left of
    it, ``root^-1 Lambda' Z_D' V_m^-1 T`` (N, t)."""
    sums, chain, dense = f.sums, list(raw.chain), raw.dense
    for k in range(sums.m):
        MT = times(f.M[k], chain[k])
        for j in range(k + 1, sums.m):
            chain[j] = chain[j] - gathered(times(transposed(f.B[k, j]), MT), *upward(sums, k, j))
        if sums.N:
            dense = dense - f.C[k].T @ level_rows(MT)
    half = np.zeros_like(dense)
    if sums.N:
        half = solve_triangular(
            f.root, scaled_rows(sums, f.lambdas, dense, True), lower=True, check_finite=False
        )
    return Columns(chain, dense), half


def level_rows(blocks: Array) -> Array:
    """Blocks (q, t, L) as rows (L q, t)."""
    return np.ascontiguousarray(blocks.transpose(2, 0, 1)).reshape(-1, blocks.shape[1])


def level_blocks(rows: Array, q: int) -> Array:
    """The inverse of `level_rows`."""
    return np.ascontiguousarray(rows.reshape(-1, q, rows.shape[-1]).transpose(1, 2, 0))


def explained(f: Factorised, left: Columns, half: Array) -> Array:
    """What the random effects explain of T'T: ``T'T - T'V^-1 T`` (t, t)."""
    found = half.T @ half
    for k in range(f.sums.m):
        flat = left.chain[k].transpose(1, 0, 2).reshape(left.chain[k].shape[1], -1)
        other = times(f.M[k], left.chain[k]).transpose(1, 0, 2).reshape(len(flat), -1)
        found = found + flat @ other.T
    return found


def backward(f: Factorised, left: Columns, half: Array) -> tuple[Columns, Columns]:
    """``Z'V^-1 T`` and the coefficients ``Delta Z'V^-1 T``, from the outcome of `forward`."""
    sums = f.sums
    effects = np.zeros_like(left.dense)
    scores = left.dense
    if sums.N:
        effects = scaled_rows(
            sums,
            f.lambdas,
            solve_triangular(f.root, half, lower=True, trans="T", check_finite=False),
            False,
        )
        scores = left.dense - f.D @ effects
    chain_effects: list[Array] = [np.zeros(0)] * sums.m
    chain_scores: list[Array] = [np.zeros(0)] * sums.m
    for k in reversed(range(sums.m)):
        rest = left.chain[k]
        for j in range(k + 1, sums.m):
            rest = rest - times(f.B[k, j], chain_effects[j][..., sums.parents[k, j]])
        if sums.N:
            rest = rest - level_blocks(f.C[k] @ effects, sums.factors[k].q)
        chain_effects[k] = times(f.M[k], rest)
        chain_scores[k] = rest - times(f.A[k], chain_effects[k])
    return Columns(chain_scores, scores), Columns(chain_effects, effects)


def sandwich(sums: Sums, coefficients: Columns) -> Columns:
    """``Z'Z W`` for coefficients W of all random effects."""
    W, m = coefficients, sums.m
    t = W.dense.shape[1]
    found = [times(sums.ZZ[k, k], W.chain[k]) for k in range(m)]
    for k in range(m):
        for j in range(k + 1, m):
            B = sums.ZZ[k, j]
            found[k] = found[k] + times(B, W.chain[j][..., sums.parents[k, j]])
            found[j] = found[j] + gathered(times(transposed(B), W.chain[k]), *upward(sums, k, j))
    dense = np.zeros((0, t))
    if sums.N:
        dense = sums.DD @ W.dense
        for k in range(m):
            found[k] = found[k] + level_blocks(sums.cells[k] @ W.dense, sums.factors[k].q)
            dense = dense + sums.cells[k].T @ level_rows(W.chain[k])
    return Columns(found, dense)


def dense_blocks(rows: Array, factor: Factor) -> Array:
    """Rows (L q, t) of one factor of the dense part as blocks (q, t, L)."""
    return level_blocks(rows, factor.q)

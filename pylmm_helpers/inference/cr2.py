r"""Cluster-robust covariance CR2 and its degrees of freedom.

Cluster j has the rows :math:`X_j`, the residuals :math:`e_j` and the working covariance
:math:`V_j` (over sigma^2), and :math:`M = (\sum X_j'V_j^{-1}X_j)^{-1}`. Then

.. math::

    \operatorname{cov}(\hat\beta) = M \Big( \sum_j X_j' V_j^{-1} A_j e_j e_j' A_j V_j^{-1} X_j
    \Big) M,

with the symmetric :math:`A_j` for which the estimate has no bias where V is right:
:math:`A_j (V_j - X_j M X_j') A_j = V_j`, that is :math:`A_j = V_j^{1/2} G_j^{-1/2} V_j^{1/2}` with
:math:`G_j = V_j^{1/2}(V_j - X_j M X_j')V_j^{1/2}` (Moore-Penrose where a cluster alone determines
some coefficient).

V_j is the identity but for what the random effects' columns Z_j add. In an orthonormal basis of
the columns of :math:`[Z_j\ X_j]` everything is a small matrix, and outside it :math:`A_j` is the
identity; no matrix of n_j by n_j rows is needed. With the rows of :math:`V^{-1/2}X` as Q T (Q'Q =
I), :math:`G_j = V_j(I - Q_jQ_j')V_j`.

References
----------
Bell RM, McCaffrey DF (2002). Bias reduction in standard errors for linear regression with
multi-stage samples. Survey Methodology 28(2), 169-181.

Pustejovsky JE, Tipton E (2018). Small-sample methods for cluster-robust variance estimation and
hypothesis testing in fixed effects models. J Bus Econ Stat 36, 672-683.
doi:10.1080/07350015.2016.1247004
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pylmm_helpers.common import Array

from .working import Block, Working

#: What is left of a leverage of one, from rounding.
DETERMINED = 1e-9


@dataclass(frozen=True)
class Cr2:
    """The clusters' parts of the robust covariance, in the basis where ``X'V^-1X`` is the identity.

    Attributes
    ----------
    root : ndarray (p, p)
        T, triangular: ``X'V^-1X = T'T``.
    scores : ndarray (m, p)
        ``Q_j' G_j^(-1/2) V_j^(1/2) e_j`` of each of the m clusters.
    own : ndarray (m, p, p)
        ``Q_j' G_j^(-1/2) V_j^2 G_j^(-1/2) Q_j``.
    shared : ndarray (m, p, p)
        ``Q_j' G_j^(-1/2) V_j Q_j``.
    """

    root: Array
    scores: Array
    own: Array
    shared: Array

    def basis(self, L: Array) -> Array:
        """Contrasts L (k, p) in the basis of the parts."""
        return np.asarray(np.linalg.solve(self.root.T, L.T).T)

    def covariance(self, C: Array) -> Array:
        """Robust covariance (k, k) of the contrasts, C in the basis."""
        each = self.scores @ C.T
        return np.asarray(each.T @ each)

    def expected(self, C: Array) -> Array:
        """What `covariance` is on average where the working covariance is right, over sigma^2."""
        F = np.einsum("sp,jpr->jsr", C, self.shared)
        diagonal = np.einsum("sp,jpr,tr->st", C, self.own, C, optimize=True)
        return np.asarray(diagonal - np.einsum("jsr,jtr->st", F, F))

    def variances(self, C: Array) -> Array:
        """Variances (k, k) of the elements of `covariance` where the working covariance is right,
        over sigma^4: of element (s, t) the sum over the clusters j, l of ``B_st,jl B_ts,jl +
        B_ss,jl B_tt,jl``, with ``B_st,jl = [j = l] d_st,j - F_sj'F_tl``."""
        F = np.einsum("sp,jpr->jsr", C, self.shared)
        d = np.einsum("sp,jpr,tr->jst", C, self.own, C, optimize=True)
        inner = np.einsum("jsr,jtr->jst", F, F)
        S = np.einsum("jsa,jtb->stab", F, F, optimize=True)
        dd, ii = np.einsum("jss->js", d), np.einsum("jss->js", inner)
        crossed = np.einsum("stab,stba->st", S, S) + np.einsum("stab,stab->st", S, S)
        diagonal = (d * (d - 2.0 * inner)).sum(axis=0) + dd.T @ dd - dd.T @ ii - ii.T @ dd
        return np.asarray(diagonal + crossed)


def cr2(model: Working) -> Cr2:
    """The parts of the clusters of a fit."""
    reduced = [reduce(block) for block in model.blocks()]
    stacked = np.vstack([part.x for part in reduced])
    Q, root = np.linalg.qr(stacked)
    p, m = root.shape[0], len(reduced)
    scores, own, shared = np.empty((m, p)), np.empty((m, p, p)), np.empty((m, p, p))
    start = 0
    for j, part in enumerate(reduced):
        q = Q[start : start + len(part.x)]
        start += len(part.x)
        A = inverse_root(part.v, q)
        right = A @ q
        scores[j] = right.T @ part.e
        own[j] = (v_right := part.v[:, None] * right).T @ v_right
        shared[j] = v_right.T @ q
    return Cr2(root, scores, own, shared)


@dataclass(frozen=True)
class Reduced:
    """A cluster in the eigenvectors of its working covariance: eigenvalues (r,), ``V^-1/2 X``
    (r, p) and ``V^1/2 e`` (r,)."""

    v: Array
    x: Array
    e: Array


def reduce(block: Block) -> Reduced:
    """A cluster's rows in an orthonormal basis of the columns of ``[Z X]`` in which V is
    diagonal."""
    rows = len(block.X)
    columns = np.hstack([block.Z, block.X])
    basis = np.linalg.qr(columns)[0] if columns.shape[1] < rows else np.eye(rows)
    Z = basis.T @ block.Z
    left, size, _ = np.linalg.svd(Z)
    v = np.ones(len(Z))
    v[: len(size)] += block.sign * size**2
    basis = basis @ left
    return Reduced(v, (basis.T @ block.X) / np.sqrt(v)[:, None], (basis.T @ block.e) * np.sqrt(v))


def inverse_root(v: Array, q: Array) -> Array:
    """``G^(-1/2)`` (r, r) of ``G = V (I - q q') V`` for V = diag(v); Moore-Penrose where q q' has
    an eigenvalue of one, whose space is found in I - q q', where rounding can be told from it."""
    G = (v[:, None] * (np.eye(len(v)) - q @ q.T)) * v
    left, size, _ = np.linalg.svd(q, full_matrices=False)
    lost = size**2 > 1.0 - DETERMINED
    if not lost.any():
        values, vectors = np.linalg.eigh(G)
        return np.asarray((vectors / np.sqrt(values)) @ vectors.T)
    null = np.linalg.qr(left[:, lost] / v[:, None], mode="complete")[0][:, int(lost.sum()) :]
    values, vectors = np.linalg.eigh(null.T @ G @ null)
    vectors = null @ vectors
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)


def satterthwaite_cr2(parts: Cr2, C: Array) -> tuple[Array, Array]:
    """Variance and Satterthwaite's degrees of freedom of each row of C (k, p); zero where the
    clusters say nothing of it."""
    variance, degrees = np.zeros(len(C)), np.zeros(len(C))
    for k, row in enumerate(C):
        own = row[None]
        expected = float(parts.expected(own)[0, 0])
        if expected > DETERMINED * float(row @ row):
            variance[k] = parts.covariance(own)[0, 0]
            degrees[k] = 2.0 * expected**2 / parts.variances(own)[0, 0]
    return variance, degrees


def hotelling(parts: Cr2, C: Array) -> float:
    """Degrees of freedom eta of the approximate Hotelling's T^2 (AHT, clubSandwich's HTZ) of the
    rows of C (k, p) together; zero where the clusters say nothing of one of them."""
    k = len(C)
    values, vectors = np.linalg.eigh(parts.expected(C))
    if values[0] <= DETERMINED * values[-1]:
        return 0.0
    turned = (vectors / np.sqrt(values)) @ vectors.T @ C
    return float(k * (k + 1) / parts.variances(turned).sum())

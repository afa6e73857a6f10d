"""Simulated responses.

Neither rows nor responses are simulated, but the statistics that a fit needs of them: each group's
q pseudo-rows are normal with mean X beta and variance sigma^2 V, and what is left of the rows
enters through ``X'e``, which is normal, and a residual sum of squares, which is chi-squared. The
distribution is exactly that of simulated rows, at a cost that does not depend on their number.
"""

from __future__ import annotations

import numpy as np

from pylmm_helpers.common import Array

from .products import GroupRows
from .results import LMMResults


def simulated_rows(
    fit: LMMResults,
    beta: Array,
    sigma2: float,
    root: Array,
    replicates: int,
    rng: np.random.Generator,
) -> GroupRows:
    """Sufficient statistics of simulated responses, in scaled columns.

    Parameters
    ----------
    beta, sigma2, root : ndarray (p,), float, ndarray (q, q)
        Truth of the simulation; ``root root'`` is the relative covariance of the random effects.
    """
    rows, p, q = fit.rows, fit.cross.p, fit.cross.q
    sigma = np.sqrt(sigma2)
    X, ngroups = rows.R[0, :p], rows.Z.shape[-1]
    effects = sigma * np.einsum("ij,bjg->big", root, rng.standard_normal((replicates, q, ngroups)))
    noise = sigma * rng.standard_normal((replicates, q, ngroups))
    present = np.any(rows.Z != 0.0, axis=0)  # a row of zeros stands for no row
    y = (
        np.einsum("crg,c->rg", X, beta)
        + np.einsum("irg,big->brg", rows.Z, effects)
        + noise * present
    )
    R = np.concatenate([np.broadcast_to(X, (replicates, *X.shape)), y[:, None]], axis=1)
    within = rows.within[0, :p, :p]
    size = np.sqrt(np.diag(fit.cross.RtR)[:p])
    values, vectors = np.linalg.eigh(within / np.outer(size, size))
    good = values > 1e-12
    # the symmetric root: eigenvectors turn with the last digit, and the draws would turn with them
    half = size[:, None] * (vectors[:, good] * np.sqrt(values[good])) @ vectors[:, good].T
    df = fit.nobs - int(present.sum()) - int(good.sum())
    z = rng.standard_normal((replicates, p)) @ vectors[:, good] @ vectors[:, good].T
    score = sigma * z @ half.T
    total = np.empty((replicates, p + 1, p + 1))
    total[:, :p, :p] = within
    total[:, :p, p] = total[:, p, :p] = within @ beta + score
    square = sigma2 * (np.sum(z**2, axis=1) + rng.chisquare(df, replicates))
    total[:, p, p] = beta @ within @ beta + 2.0 * score @ beta + square
    return GroupRows(rows.Z, R, total, fit.nobs)


def narrowed(rows: GroupRows, x_basis: Array, z_basis: Array) -> GroupRows:
    """The same responses for a model with fewer columns."""
    p0 = x_basis.shape[1]
    A = np.zeros((x_basis.shape[0] + 1, p0 + 1))
    A[:-1, :-1], A[-1, -1] = x_basis, 1.0
    R = np.einsum("bcrg,cd->bdrg", rows.R, A, optimize=True)
    return GroupRows(np.einsum("irg,ij->jrg", rows.Z, z_basis), R, A.T @ rows.within @ A, rows.nobs)

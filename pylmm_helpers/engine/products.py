"""Per-group cross products: the sufficient statistics of a linear mixed model with one grouping
factor.

Once ``Z'Z``, ``Z'[X y]`` of every group and the total ``[X y]'[X y]`` are known, the rows are not
needed any more, whatever their number. Columns are centred and scaled before they are multiplied,
because products of raw columns with a large mean lose the digits that carry the information.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array

#: Groups handled at a time: large enough to keep NumPy busy, small enough to stay in the
#: processor's cache.
BLOCK_GROUPS = 8_192

#: A pivot smaller than this share of its diagonal is rounding noise: the group says nothing in that
#: direction.
PIVOT_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Scaling:
    """How the model's columns were centred and scaled, and how to get back.

    With ``x_map`` of shape (p, p), ``z_map`` (q, q), ``constant`` (p,) and ``offset`` (p,):
    ``X_scaled = X @ x_map``, ``Z_scaled = Z @ z_map`` and
    ``y_scaled = (y - y_shift) / y_scale - X_scaled @ offset``. ``X @ constant`` is a column of
    ones (zeros where X spans no constant; then nothing is centred and ``y_shift`` is 0). The offset
    is zero unless the fixed effects explain almost all of y. Prior weights enter as their ratio to
    their mean; the root of the mean is part of all scales, so that no result depends on their unit.
    ``x_shift`` (p,) and ``z_shift`` (q,) are what was taken from each column.
    """

    x_map: Array
    z_map: Array
    constant: Array
    y_shift: float
    y_scale: float
    offset: Array
    x_shift: Array
    z_shift: Array

    def x(self, X: Array) -> Array:
        """Scaled rows of X (n, p); ``X @ x_map`` would round where the shift is large."""
        return np.asarray((X - self.x_shift) * np.diag(self.x_map))

    def z(self, Z: Array) -> Array:
        """Scaled rows of Z (n, q)."""
        return np.asarray((Z - self.z_shift) * np.diag(self.z_map))

    def fixed(self, X: Array, scaled: Array) -> Array:
        """What fixed effects (p,) give for rows (n, p) of X, less ``y_shift``: neither a large mean
        of the response nor one of a predictor takes digits."""
        return np.asarray(self.y_scale * (self.x(X) @ (scaled + self.offset)))

    def random(self, Z: Array, scaled: Array) -> Array:
        """What random effects (n, q), those of each row's group, give for rows (n, q) of Z."""
        return np.asarray(self.y_scale * np.sum(self.z(Z) * scaled, axis=1))

    def beta(self, scaled: Array) -> Array:
        """Fixed effects (..., p) in the units of the data."""
        slopes = self.y_scale * ((scaled + self.offset) @ self.x_map.T)
        return np.asarray(slopes + self.y_shift * self.constant)

    def scaled_beta(self, beta: Array) -> Array:
        """Inverse of `beta`."""
        slopes = np.linalg.solve(self.x_map, beta - self.y_shift * self.constant)
        return np.asarray(slopes / self.y_scale - self.offset)

    def cov_beta(self, scaled: Array) -> Array:
        """Covariance matrix (p, p) of the fixed effects in the units of the data."""
        return np.asarray(self.y_scale**2 * self.x_map @ scaled @ self.x_map.T)

    def factor(self, scaled: Array) -> Array:
        """Lower triangular factor (q, q) of the relative covariance, for the columns of the data.

        ``z_map @ scaled`` is a factor already, only not triangular; its QR decomposition makes it
        so without ever forming the product, which would lose half the digits.
        """
        lower = np.asarray(np.linalg.qr((self.z_map @ scaled).T, mode="r")).T
        signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
        return np.asarray(lower * signs)

    def scaled_factor(self, factor: Array) -> Array:
        """Inverse of `factor`: triangular factor (q, q) for the scaled columns."""
        lower = np.asarray(np.linalg.qr(np.linalg.solve(self.z_map, factor).T, mode="r")).T
        signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
        return np.asarray(lower * signs)


@dataclass(frozen=True)
class CrossProducts:
    """Sufficient statistics of the model, in scaled columns; R stands for the p + 1 columns ``[X
    y]``.

    Attributes
    ----------
    ZtZ : ndarray (q, q, G)
        Products of the random-effect columns within each of the G groups; groups are the last axis,
        so that every operation on a small matrix runs over all groups at once.
    ZtR : ndarray (q, p + 1, G)
        Products of the random-effect columns with the predictors and the response within each
        group.
    RtR : ndarray (p + 1, p + 1)
        Products of predictors and response over all rows.
    sizes : ndarray (G,)
        Rows of each group.
    scaling : Scaling
        The way back to the units of the data.
    x_names, z_names : tuple of str
        Terms of the fixed and the random part.
    y_name : str
        The response as the formula spells it.
    group_name : str
        The grouping column.
    group_labels : pandas Index
        Label of each group, in the order of the last axis.
    sum_log_weights : float
        Sum of the logarithms of the prior weights (0 without weights).
    mean_weight : float or None
        Mean of the prior weights; None without weights.
    RtR_within : ndarray (p + 1, p + 1) or None
        What is left of ``RtR`` once each group's own regression on Z is taken out, when it was
        computed from the rows; otherwise it is found by subtraction.
    formula, re_formula : str
        The formulas of the fixed and the random part.
    y_largest : float
        Largest magnitude of the response, in the units of the data.
    n_dropped : int
        Incomplete rows left out.
    """

    ZtZ: Array
    ZtR: Array
    RtR: Array
    sizes: NDArray[np.int64]
    scaling: Scaling
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]
    y_name: str
    group_name: str
    group_labels: pd.Index
    sum_log_weights: float = 0.0
    mean_weight: float | None = None
    RtR_within: Array | None = field(default=None)
    formula: str = ""
    re_formula: str = ""
    y_largest: float = 0.0
    n_dropped: int = 0

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return int(self.sizes.sum())

    @property
    def ngroups(self) -> int:
        """Number of groups G."""
        return int(self.ZtZ.shape[-1])

    @property
    def q(self) -> int:
        """Number of random-effect terms."""
        return int(self.ZtZ.shape[0])

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return int(self.RtR.shape[0] - 1)


@dataclass(frozen=True)
class GroupRows:
    """Each group reduced to q pseudo-rows that carry all it says about its random effects.

    A rotation of a group's rows turns Z into a triangle of q rows above zeros. The q rows under the
    triangle (``Z`` (q, q, G) and ``R`` (B, p + 1, q, G), first index the column, then the row)
    carry the random effects; all others are free of them and enter only through their pooled
    products ``within`` (B, p + 1, p + 1). For a random intercept this is the familiar split into
    group means and deviations from them. B is 1, or the number of responses that share X and Z
    (bootstrap replicates).
    """

    Z: Array
    R: Array
    within: Array
    nobs: int

    @property
    def q(self) -> int:
        """Number of random-effect terms."""
        return int(self.Z.shape[0])

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return int(self.within.shape[-1] - 1)

    def blocks(self) -> Iterator[tuple[Array, Array]]:
        """`Z` and `R` some thousand groups at a time, which fit in the processor's cache."""
        ngroups = self.Z.shape[-1]
        size = max(64, BLOCK_GROUPS // len(self.R))
        for start in range(0, ngroups, size):
            part = slice(start, min(start + size, ngroups))
            yield self.Z[..., part], self.R[..., part]

    def take(self, index: NDArray[np.intp]) -> GroupRows:
        """The replicates in `index` only."""
        if len(self.R) == 1:
            return self
        return GroupRows(self.Z, self.R[index], self.within[index], self.nobs)


def eliminate(matrix: Array, columns: Array, semidefinite: bool = False) -> tuple[Array, Array]:
    """Solve ``L x = columns`` for the Cholesky factor L of many small matrices at once.

    Parameters
    ----------
    matrix : ndarray (..., q, q, G)
        Symmetric positive definite matrices, one for each position of the last axis.
    columns : ndarray (..., m, q, G)
        Right-hand sides; first index the column, then the row.
    semidefinite : bool
        Accept singular matrices: a vanishing pivot gives a row of zeros.

    Returns
    -------
    pivots : ndarray (..., q, G)
        Squared diagonal of L; their product is the determinant.
    solution : ndarray (..., m, q, G)
        ``L^-1 columns``.
    """
    q = matrix.shape[-2]
    lower = np.zeros_like(matrix)
    pivots = np.empty(matrix.shape[:-3] + matrix.shape[-2:])
    lead = np.broadcast_shapes(matrix.shape[:-3], columns.shape[:-3])
    solution = np.empty(lead + columns.shape[-3:])
    for r in range(q):
        # row r, less what the rows above already explain: columns r.. of L, then the right-hand
        # sides
        below = matrix[..., r:, r, :].copy()
        row = columns[..., r, :]
        for s in range(r):
            below -= lower[..., r:, s, :] * lower[..., r : r + 1, s, :]
            row = row - lower[..., r, s, :][..., None, :] * solution[..., s, :]
        pivot = below[..., 0, :]
        if semidefinite:
            empty = pivot <= PIVOT_TOLERANCE * matrix[..., r, r, :]
            pivot = np.where(empty, 0.0, pivot)
            inverse_root = np.where(empty, 0.0, 1.0 / np.sqrt(np.where(empty, 1.0, pivot)))
        else:
            inverse_root = 1.0 / np.sqrt(pivot)
        pivots[..., r, :] = pivot
        lower[..., r:, r, :] = below * inverse_root[..., None, :]
        np.multiply(row, inverse_root[..., None, :], out=solution[..., r, :])
    return pivots, solution


def group_rows(cross: CrossProducts) -> GroupRows:
    """Reduce every group to q pseudo-rows; see `GroupRows`."""
    q = cross.q
    right = np.concatenate([cross.ZtZ, cross.ZtR], axis=1).swapaxes(0, 1)
    _, rows = eliminate(cross.ZtZ, right, semidefinite=True)
    flat = rows[q:].reshape(cross.p + 1, -1)
    within = cross.RtR_within if cross.RtR_within is not None else cross.RtR - flat @ flat.T
    return GroupRows(rows[:q], rows[None, q:], within[None], cross.nobs)

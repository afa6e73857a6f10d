r"""What a fitted model says about each group: conditional covariances and their link with the fixed
effects.

The errors of :math:`\hat\beta` and :math:`\hat u` are correlated, because the random effects are
predicted from residuals about *estimated* fixed effects. With :math:`V_g = I + Z_g \Delta Z_g'` (in
units of sigma^2),

.. math::

    C_g = \sigma^2 (\Delta - \Delta Z_g' V_g^{-1} Z_g \Delta), \quad
    B_g = \Delta Z_g' V_g^{-1} X_g, \quad
    \operatorname{cov}(\hat\beta, \hat u_g - u_g) = -\Phi B_g', \quad
    \operatorname{cov}(\hat u_g - u_g, \hat u_h - u_h) = [g = h]\, C_g + B_g \Phi B_h'.

These are the blocks of sigma^2 times the inverse of Henderson's mixed-model equations (Henderson
1975, doi:10.2307/2529430; Searle, Casella & McCulloch 1992, ch. 7), in a form that stays valid when
Delta is singular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers._crossprod import Array
from pylmm_helpers._results import LMMResults

#: Rows handled at a time: each needs q times p numbers of its own.
CHUNK_ROWS = 50_000


@dataclass(frozen=True)
class GroupLevel:
    """Blocks of the joint error covariance; a row number -1 stands for a group without data.

    Fixed effects are kept in the centred and scaled columns of the cross products: in the columns
    of the data, a predictor with a large mean would cancel all digits of a variance.

    Attributes
    ----------
    conditional : ndarray (G + 1, q, q)
        Covariance C_g of the random effects given the data, fixed effects taken as known; last,
        that of a group without data.
    link : ndarray (G + 1, q, p)
        B_g for scaled columns of X; last, zeros.
    phi : ndarray (p, p)
        Covariance of the fixed effects of scaled columns.
    x_map : ndarray (p, p)
        ``X @ x_map`` are the scaled columns.
    """

    conditional: Array
    link: Array
    phi: Array
    x_map: Array

    def prediction_covariance(self) -> Array:
        """Covariance (G, q, q) of ``u_hat - u``, uncertainty of the fixed effects included."""
        link = self.link[:-1]
        return np.asarray(self.conditional[:-1] + link @ self.phi @ link.swapaxes(1, 2))

    def fixed_variance(self, X: Array) -> Array:
        """Variance (n,) of ``x'b``."""
        scaled = X @ self.x_map
        return np.asarray(np.einsum("np,pr,nr->n", scaled, self.phi, scaled))

    def group_variance(self, X: Array, Z: Array, numbers: NDArray[np.intp]) -> Array:
        """Variance (n,) of ``x'(b - beta) + z'(u_hat - u)`` for rows of the given groups."""
        result = np.empty(len(X))
        for start in range(0, len(X), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            z, group = Z[rows], numbers[rows]
            direction = X[rows] @ self.x_map - np.einsum("nq,nqp->np", z, self.link[group])
            result[rows] = np.einsum("nq,nqr,nr->n", z, self.conditional[group], z)
            result[rows] += np.einsum("np,pr,nr->n", direction, self.phi, direction)
        return result


def group_level(res: LMMResults) -> GroupLevel:
    """Work out the blocks for every group from the fit's cross products; no rows are needed."""
    cross, scaling = res.cross, res.cross.scaling
    q = cross.q
    factor = res.factor_scaled
    ztz = np.moveaxis(cross.ZtZ, -1, 0)
    ztx = np.moveaxis(cross.ZtR[:, :-1], -1, 0)
    inner = np.eye(q) + factor.T @ ztz @ factor
    # S = Lambda (I + Lambda'Z'Z Lambda)^-1 Lambda' is Delta - Delta Z'V^-1 Z Delta; and
    # Delta Z'V^-1 = S Z'.
    shared = factor @ np.linalg.solve(inner, np.broadcast_to(factor.T, inner.shape))
    conditional = res.scale * scaling.z_map @ shared @ scaling.z_map.T
    unknown = res.cov_re.to_numpy(dtype=float)[None]
    link = np.concatenate([scaling.z_map @ shared @ ztx, np.zeros((1, q, cross.p))])
    phi = res.scale * res.at.unscaled_cov()[0]
    symmetric = (conditional + conditional.swapaxes(1, 2)) / 2.0
    return GroupLevel(np.concatenate([symmetric, unknown]), link, phi, scaling.x_map)


def mean_outer_z(res: LMMResults) -> Array:
    """Average W (q, q) of ``z z'`` over the rows; tr(W G) is the mean variance between groups."""
    if res.design is not None:
        return np.asarray(res.Z.T @ res.Z / len(res.Z))
    cross = res.cross
    inverse = np.linalg.inv(cross.scaling.z_map)
    total = inverse.T @ cross.ZtZ.sum(axis=-1) @ inverse
    return np.asarray(total / cross.nobs)


def is_random_intercept(res: LMMResults) -> bool:
    """True when the intercept is the only random effect."""
    return list(res.cov_re.index) == ["Intercept"]


def check_level(level: float) -> float:
    """Validate a confidence level."""
    if not (isinstance(level, (int, float)) and 0.0 < float(level) < 1.0):
        raise ValueError(
            f"level is {level!r}; give a confidence level between 0 and 1, such as 0.95"
        )
    return float(level)

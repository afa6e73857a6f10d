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
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array, a_level, a_number
from pylmm_helpers.engine import LMMResults, Scaling

#: Rows handled at a time: each needs q times p numbers of its own.
CHUNK_ROWS = 50_000


@dataclass(frozen=True)
class GroupLevel:
    """Blocks of the joint error covariance; group number -1 stands for a group without data.

    All blocks belong to the centred and scaled columns of the cross products: in the columns of the
    data, a predictor with a large mean would cancel all digits of a variance.

    Attributes
    ----------
    conditional : ndarray (G + 1, q, q)
        Covariance C_g of the random effects given the data, fixed effects taken as known; last, the
        prior covariance, for a group without data.
    link : ndarray (G + 1, q, p)
        B_g; last, zeros.
    phi : ndarray (p, p)
        Covariance of the fixed effects.
    scaling : Scaling
        The way from the columns of the data to the scaled ones.
    """

    conditional: Array
    link: Array
    phi: Array
    scaling: Scaling

    def conditional_covariance(self) -> Array:
        """Covariance (G, q, q) of the random effects given the data, in units of the data."""
        z_map = self.scaling.z_map
        return np.asarray(z_map @ self.conditional[:-1] @ z_map.T)

    def prediction_covariance(self) -> Array:
        """Covariance (G, q, q) of ``u_hat - u``, uncertainty of the fixed effects included."""
        link = self.scaling.z_map @ self.link[:-1]
        return self.conditional_covariance() + link @ self.phi @ link.swapaxes(1, 2)

    def fixed_variance(self, X: Array) -> Array:
        """Variance (n,) of ``x'b``."""
        x = self.scaling.x(X)
        return np.asarray(np.einsum("np,pr,nr->n", x, self.phi, x))

    def prior_variance(self, Z: Array) -> Array:
        """Variance (n,) of ``z'u``."""
        z = self.scaling.z(Z)
        return np.asarray(np.einsum("nq,qr,nr->n", z, self.conditional[-1], z))

    def group_variance(self, X: Array, Z: Array, numbers: NDArray[np.intp]) -> Array:
        """Variance (n,) of ``x'(b - beta) + z'(u_hat - u)`` for rows of the given groups."""
        result = np.empty(len(X))
        for start in range(0, len(X), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            z, group = self.scaling.z(Z[rows]), numbers[rows]
            direction = self.scaling.x(X[rows]) - np.einsum("nq,nqp->np", z, self.link[group])
            result[rows] = np.einsum("nq,nqr,nr->n", z, self.conditional[group], z)
            result[rows] += np.einsum("np,pr,nr->n", direction, self.phi, direction)
        return result


def group_level(res: LMMResults) -> GroupLevel:
    """Work out the blocks for every group from the fit's cross products; no rows are needed."""
    cross, q = res.cross, res.cross.q
    factor = res.factor_scaled
    ztz = np.moveaxis(cross.ZtZ, -1, 0)
    ztx = np.moveaxis(cross.ZtR[:, :-1], -1, 0)
    inner = np.eye(q) + factor.T @ ztz @ factor
    # S = Lambda (I + Lambda'Z'Z Lambda)^-1 Lambda' is Delta - Delta Z'V^-1 Z Delta; and
    # Delta Z'V^-1 = S Z'.
    shared = factor @ np.linalg.solve(inner, np.broadcast_to(factor.T, inner.shape))
    shared = (shared + shared.swapaxes(1, 2)) / 2.0
    conditional = res.scale * np.concatenate([shared, (factor @ factor.T)[None]])
    link = np.concatenate([shared @ ztx, np.zeros((1, q, cross.p))])
    phi = res.scale * res.at.unscaled_cov()[0]
    return GroupLevel(conditional, link, phi, cross.scaling)


def weight_of(res: LMMResults, weight: float | None, what: str) -> float:
    """Weight of the row that a quantity is about; 1 for a fit without weights.

    Raises
    ------
    ValueError
        When the fit has weights and none is named, because `what` would then depend on their unit;
        or when one is named that is no positive number, or that the fit has no use for.
    """
    mean = res.cross.mean_weight
    if mean is None:
        if weight is not None:
            raise ValueError("the fit has no weights; leave weight= out")
        return 1.0
    if weight is None:
        raise ValueError(
            "the fit has weights, so that the residual variance of a row is sigma^2 over its "
            f"weight, and {what} depends on it. Say which row is meant: weight={mean:.4g}, for "
            "example, is the mean of the weights"
        )
    value = a_number(weight, "weight")
    if value <= 0.0:
        raise ValueError(f"weight is {value:g}; give a weight above 0")
    return value


def mean_outer_z(res: LMMResults, weight: float = 1.0) -> Array:
    """Average W (q, q) of ``z z'`` over the rows, in scaled columns, for rows of a given weight."""
    cross = res.cross
    if res.design is not None:
        z = cross.scaling.z(res.Z)
        return np.asarray(weight * z.T @ z / len(z))
    if cross.mean_weight is not None and not is_random_intercept(res):
        raise ValueError(
            "this fit of cross products has weights and random slopes: the average over its rows "
            "needs the rows themselves; fit the data frame"
        )
    return np.asarray(weight / (cross.mean_weight or 1.0) * cross.ZtZ.sum(axis=-1) / cross.nobs)


def mean_ratio(res: LMMResults, weight: Array) -> float:
    """Variance between groups, averaged over the rows, over sigma^2: ``tr(W Lambda Lambda')``."""
    return float(np.sum((weight @ res.factor_scaled) * res.factor_scaled))


def is_random_intercept(res: LMMResults) -> bool:
    """True when the intercept is the only random effect."""
    return list(res.cov_re.index) == ["Intercept"]


def check_level(level: float) -> float:
    """Validate a confidence level."""
    a_level(level)
    return float(level)


def group_by_group(frames: list[pd.DataFrame], terms: list[str]) -> pd.DataFrame:
    """Tables of all groups, one for each term, as one table with the terms of a group together; by
    position, since labels of mixed type have no order."""
    positions = np.arange(len(frames) * len(frames[0])).reshape(len(frames), -1).T.ravel()
    return pd.concat(frames, keys=terms, names=["term"]).swaplevel().iloc[positions]

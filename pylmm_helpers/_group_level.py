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

from pylmm_helpers._crossprod import Array
from pylmm_helpers._results import LMMResults


@dataclass(frozen=True)
class GroupLevel:
    """Blocks of the joint error covariance, in the units of the data.

    Attributes
    ----------
    conditional : ndarray (G, q, q)
        Covariance C_g of the random effects given the data, fixed effects taken as known.
    link : ndarray (G, q, p)
        B_g: how an error in the fixed effects is carried over into the predicted random effects,
        sign reversed.
    phi : ndarray (p, p)
        Covariance of the fixed effects.
    """

    conditional: Array
    link: Array
    phi: Array

    def prediction_covariance(self) -> Array:
        """Covariance (G, q, q) of ``u_hat - u``, uncertainty of the fixed effects included."""
        return np.asarray(self.conditional + self.link @ self.phi @ self.link.swapaxes(1, 2))


def group_level(res: LMMResults) -> GroupLevel:
    """Work out the blocks for every group from the fit's cross products; no rows are needed."""
    cross = res.cross
    scaling = cross.scaling
    q = cross.q
    # Scaled columns (the cross products' own) keep the digits when a predictor's mean is large.
    factor = res.factor_scaled
    ztz = np.moveaxis(cross.ZtZ, -1, 0)
    ztx = np.moveaxis(cross.ZtR[:, :-1], -1, 0)
    inner = np.eye(q) + factor.T @ ztz @ factor
    # S = Lambda (I + Lambda'Z'Z Lambda)^-1 Lambda' is Delta - Delta Z'V^-1 Z Delta; and
    # Delta Z'V^-1 = S Z'.
    shared = factor @ np.linalg.solve(inner, np.broadcast_to(factor.T, inner.shape))
    conditional = res.scale * scaling.z_map @ shared @ scaling.z_map.T
    link = scaling.z_map @ shared @ ztx @ np.linalg.inv(scaling.x_map)
    phi = res.cov_fe.to_numpy(dtype=float)
    return GroupLevel((conditional + conditional.swapaxes(1, 2)) / 2.0, link, phi)


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

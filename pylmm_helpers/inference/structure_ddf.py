r"""Satterthwaite's degrees of freedom where residuals are correlated or of unequal variance.

The variance of a contrast is a function of the random effects' covariance and sigma, gamma, and
of the structure's parameters psi. Measured from the profile, :math:`\gamma - \hat\gamma(\psi)`,
the two are uncorrelated: the criterion's mixed derivatives vanish where gamma is at its best for
every psi. So the variance of the estimated variance is the sum of what is known for given psi
(`pylmm_helpers.inference.ddf`) and :math:`d'A_\psi d`, with d the derivative of the contrast's
variance along the profile and :math:`A_\psi` twice the inverse Hessian of the profiled criterion.
Both are differences of exact fits.

Reference
---------
Fai AHT, Cornelius PL (1996). J Stat Comput Simul 54, 363-378, for the principle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine import structure_information

from .ddf import positive_inverse


def with_structure(fit: Any, L: Array, degrees: Array) -> Array:
    """Degrees of freedom (k,) of the rows of L (k, p), from those for known phi and ratios."""
    if fit.structure is None:
        return degrees
    info = structure_information(fit)
    variance = np.einsum("kp,pr,kr->k", L, fit.cov_fe.to_numpy(), L)
    slope = np.einsum("kp,apr,kr->ka", L, info.cov_fe, L)
    more = np.einsum("ka,ab,kb->k", slope, 2.0 * positive_inverse(info.hessian), slope)
    return np.asarray(2.0 * variance**2 / (2.0 * variance**2 / degrees + more))

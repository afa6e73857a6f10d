"""The parameters of a model as one list, named and in the units of the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from .criterion import theta_to_factor, triangle
from .results import LMMResults


def parameter_names(fit: LMMResults) -> list[str]:
    """Names of all parameters: sd(...) and cor(...) of random effects in lme4's order, sigma, fixed
    effects."""
    z = fit.cross.z_names
    column, row = triangle(len(z))
    random = [
        f"sd({z[i]})" if i == j else f"cor({z[j]}, {z[i]})"
        for j, i in zip(column, row, strict=True)
    ]
    return [*random, "sigma", *fit.cross.x_names]


def parameters(fit: LMMResults, theta: Array, beta: Array, sigma2: Array) -> Array:
    """Estimates (B, parameters) in the units of the data, from scaled ones."""
    scaling, q = fit.cross.scaling, fit.cross.q
    factor = scaling.z_map @ theta_to_factor(theta, q)
    length = np.sqrt(np.sum(factor**2, axis=2))
    sigma = scaling.y_scale * np.sqrt(sigma2)
    column, row = triangle(q)
    products = np.einsum("bik,bik->bi", factor[:, row], factor[:, column])
    safe = np.maximum(length[:, row] * length[:, column], 1e-300)
    random = np.where(row == column, sigma[:, None] * length[:, row], products / safe)
    return np.column_stack([random, sigma, scaling.beta(beta)])


def parameters_of(res: LMMResults) -> Array:
    """A fit's own estimates in the order of `parameter_names`."""
    sigma2 = np.array([res.sigma2_scaled])
    return np.asarray(parameters(res, res.theta_scaled[None], res.beta_scaled[None], sigma2)[0])


def identified_parameters(res: LMMResults) -> NDArray[np.bool_]:
    """Which parameters (in the order of `parameter_names`) the data can tell from the others."""
    found = res.identification
    both = found.known & np.diag(found.known)[:, None] & np.diag(found.known)
    column, row = triangle(res.cross.q)
    return np.array([*both[row, column], found.residual, *[True] * res.cross.p])

"""The parameters of a fit with several random terms as one list, named and in the units of the
data."""

from __future__ import annotations

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine.several import Point, SeveralResults, lambdas_of

#: A relative standard deviation below this is zero.
NOTHING = 1e-6


def parameter_names(fit: SeveralResults) -> list[str]:
    """Standard deviations and correlations by factor, sigma, fixed effects."""
    found = []
    for name in fit.group_names:
        terms = fit.z_names[name]
        for i, j in zip(*fit.design.factors[name].free, strict=True):
            what = f"sd({terms[i]}" if i == j else f"cor({terms[j]}, {terms[i]}"
            found.append(f"{what} | {name})")
    return [*found, "sigma", *fit.cross.x_names]


def parameters(fit: SeveralResults, at: Point) -> Array:
    """Their values at a point, in the units of the data."""
    sigma = np.sqrt(at.r2 / at.nu) * fit.scalings[0].y_scale
    lambdas, found = lambdas_of(at.theta, fit.sums), []
    for name in fit.group_names:
        root = fit.z_map[name] @ lambdas[fit.number[name]]
        G = root @ root.T
        sd = np.sqrt(np.diag(G))
        sd = np.where(sd < NOTHING * max(sd.max(), 1.0), 0.0, sd)
        for i, j in zip(*fit.design.factors[name].free, strict=True):
            size = max(float(sd[i] * sd[j]), 1e-300)
            found.append(sigma * sd[i] if i == j else G[i, j] / size)
    p = fit.sums.p
    beta = np.asarray(np.linalg.solve(at.root[:p, :p].T, at.root[p, :p]), dtype=float)
    return np.array([*found, sigma, *fit.scalings[0].beta(beta)])

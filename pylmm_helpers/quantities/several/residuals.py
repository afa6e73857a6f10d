"""Residuals of every level of a fit with several random terms."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.engine.several import SeveralResults

from ..structure import residual_sd
from .errors import error_variance, phi, prior_variance
from .prediction import a_factor, by_terms, rows_of


def residuals(fit: SeveralResults, level: str) -> pd.DataFrame:
    """`pylmm_helpers.residuals`: of the rows, or of the levels of one factor."""
    if level == "group" and len(fit.group_names) > 1:
        raise ValueError(
            "level='group' is one of several factors here; give 'observation' or "
            f"{' or '.join(repr(g) for g in fit.group_names)}."
        )
    if level != "observation":
        return of_levels(fit, a_factor(fit, fit.group_names[0] if level == "group" else level))
    rows = rows_of(fit, None, fit.group_names)
    # the residual SD of a row is sigma over this root
    root = 1.0 / residual_sd(fit)
    weight = root**2
    x = fit.scalings[0].x(rows.X)
    between = sum(prior_variance(fit, name, rows.Z[name]) for name in fit.group_names)
    fixed = np.einsum("np,pr,nr->n", x, phi(fit), x)
    # of a row multiplied by the root of its weight
    marginal_variance = fit.scale + weight * (between - fixed)
    conditional_variance = fit.scale - weight * error_variance(fit, rows)
    fixed_part = fit.scalings[0].fixed(fit.X, fit.beta_scaled)
    fitted_marginal = fixed_part + fit.scalings[0].y_shift + fit.offset
    fitted, conditional = fit.fittedvalues.to_numpy(), fit.resid.to_numpy()
    marginal = fit.design.first.target - fit.scalings[0].y_shift - fixed_part
    labels = {
        name: fit.labels_by_group[name].take(fit.design.factors[name].codes)
        for name in fit.group_names
    }
    return pd.DataFrame(
        {
            **{name: np.asarray(found, dtype=object) for name, found in labels.items()},
            "fitted_marginal": fitted_marginal,
            "marginal": marginal,
            "fitted": fitted,
            "conditional": conditional,
            "marginal_std": over_sd(marginal * root, marginal_variance, fit.scale),
            "conditional_std": over_sd(conditional * root, conditional_variance, fit.scale),
        },
        index=fit.frame.index,
    )


def of_levels(fit: SeveralResults, group: str) -> pd.DataFrame:
    """The BLUPs of one factor with their own standard deviations over repeated samples."""
    effects, p = fit.random_effects_by_group[group], fit.sums.p
    prior = fit.cov_re_by_group[group].to_numpy()
    link = np.einsum("ij,jcg->gic", fit.z_map[group], fit.coefficients[group][:, :p])
    error = fit.random_effects_var_by_group[group] + link @ phi(fit) @ link.swapaxes(1, 2)
    spread = np.diagonal(prior - error, axis1=1, axis2=2)
    frames = {}
    for j, name in enumerate(effects.columns):
        values = effects.iloc[:, j].to_numpy()
        frames[str(name)] = pd.DataFrame(
            {
                "n": fit.sizes_by_group[group],
                "residual": values,
                "sd": np.sqrt(np.maximum(spread[:, j], 0.0)),
                "standardised": over_sd(values, spread[:, j], max(prior[j, j], 1e-300)),
            },
            index=effects.index,
        )
    return by_terms(frames)


def over_sd(values: Array, variance: Array, unit: float) -> Array:
    """Values over their standard deviation; 0 where the fit leaves a value no freedom at all."""
    free = variance > 1e-10 * unit
    return np.where(free, values / np.sqrt(np.where(free, variance, 1.0)), 0.0)

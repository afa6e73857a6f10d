"""The summary of a fit with several random terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, counted

from ..structure_results import structure_note, structure_rows
from ..summary import Summary, number, with_structure
from .sums import Factor, parent_levels


def summarise(fit: Any) -> Summary:
    """Collect what a reader of a `SeveralResults` wants first; inference with proper degrees of
    freedom is `coef_table`'s."""
    groups = ", ".join(f"{name} ({number})" for name, number in fit.ngroups_by_group.items())
    header = {
        "Response": fit.endog_name,
        "Groups": f"{groups}; {fit.nobs} rows",
        "Method": "REML" if fit.reml else "ML",
        "REML criterion" if fit.reml else "Deviance": number(fit.criterion),
        "Converged": "yes" if fit.converged else "no",
    }
    rows = []
    for name, covariance in fit.cov_re_by_group.items():
        G, names = covariance.to_numpy(), list(covariance.index)
        sd = np.sqrt(np.diag(G))
        for i, term in enumerate(names):
            pairs = [
                f"{G[i, j] / (sd[i] * sd[j]):.3f} with {names[j]}"
                for j in range(i)
                if G[i, j] != 0.0 and sd[i] * sd[j] > 0.0
            ]
            rows.append((name, term, G[i, i], sd[i], ", ".join(pairs)))
    rows.append(("residual", "", fit.scale, np.sqrt(fit.scale), ""))
    random = pd.DataFrame(rows, columns=["group", "term", "variance", "sd", "correlation"])
    if not random["correlation"].any():
        random = random.drop(columns="correlation")
    random = with_structure(random, structure_rows(fit))
    errors = fit.bse_fe.to_numpy()
    fixed = pd.DataFrame(
        {
            "term": fit.fe_params.index,
            "estimate": fit.fe_params.to_numpy(),
            "std_error": errors,
            "t": fit.fe_params.to_numpy() / errors,
        }
    )
    if fit.design.has_rows:
        fixed["varies"] = [varies(fit, column) for column in fit.X.T]
    return Summary(header, random, fixed, tuple(notes(fit)))


def varies(fit: Any, column: Array) -> str:
    """Where a column's values differ: "between herd" when it is constant within herds, "within all"
    when it is constant within no factor; nothing for an intercept, and where two factors that are
    not nested in one another could both be meant."""
    if np.ptp(column) == 0.0:
        return ""
    factors = fit.design.factors
    constant = [name for name, factor in factors.items() if is_constant(column, factor)]
    if not constant:
        return "within all"
    coarsest = min(constant, key=lambda name: factors[name].levels)
    others = [factors[name] for name in constant if name != coarsest]
    nested = all(parent_levels(other, factors[coarsest]) is not None for other in others)
    return f"between {coarsest}" if nested else ""


def is_constant(column: Array, factor: Factor) -> bool:
    """Whether a column has one value in each level."""
    first = np.zeros(factor.levels, dtype=np.intp)
    first[factor.codes] = np.arange(len(factor.codes))
    return bool(np.array_equal(column, column[first][factor.codes]))


def notes(fit: Any) -> list[str]:
    """What a reader must know before the numbers are used."""
    found = []
    weights = fit.design.first.weights if fit.design.has_rows else None
    mean_weight = fit.design.mean_weight
    if mean_weight is not None and (weights is None or np.ptp(weights) > 0.0):
        found.append(
            "The fit has weights: the residual variance of a row is the one above over its weight "
            f"(mean weight {number(mean_weight)})."
        )
    if fit.structure is not None:
        found.append(structure_note(fit))
    if fit.singular:
        found.append("Singular fit: a variance is estimated as zero, or a correlation as one.")
    if not fit.converged:
        found.append("Not converged: the gradient does not vanish at the solution.")
    if fit.n_dropped:
        was = "was" if fit.n_dropped == 1 else "were"
        found.append(f"{counted(fit.n_dropped, 'incomplete row')} {was} dropped.")
    return [*found, *fit.remarks]

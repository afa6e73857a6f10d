"""The summary of a fit with several random terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import counted

from ..summary import Summary, number


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
    errors = fit.bse_fe.to_numpy()
    fixed = pd.DataFrame(
        {
            "term": fit.fe_params.index,
            "estimate": fit.fe_params.to_numpy(),
            "std_error": errors,
            "t": fit.fe_params.to_numpy() / errors,
        }
    )
    return Summary(header, random, fixed, tuple(notes(fit)))


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
    if fit.singular:
        found.append("Singular fit: a variance is estimated as zero, or a correlation as one.")
    if not fit.converged:
        found.append("Not converged: the gradient does not vanish at the solution.")
    if fit.n_dropped:
        was = "was" if fit.n_dropped == 1 else "were"
        found.append(f"{counted(fit.n_dropped, 'incomplete row')} {was} dropped.")
    return [*found, *fit.remarks]

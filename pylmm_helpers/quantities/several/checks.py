"""Checks of a fit with several random terms whose answer is a sentence and what to do next."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pylmm_helpers.engine import listed
from pylmm_helpers.engine.several import (
    SeveralResults,
    chain_rule,
    delta_gradient,
    delta_hessian,
    first_derivatives,
    minimise,
    theta_hessian,
    way_down,
)

from ..checks import GAP, Check

#: Singular values of a term's relative factor below this share of the largest (or of one) are zero.
ZERO = 1e-4


def singularity_check(fit: SeveralResults) -> Check:
    """Judge the rank of each term's covariance; scaled columns make it free of units."""
    rows, findings, drop = [], [], []
    for name, own in fit.design.by_factor.items():
        start = 0
        for k in own:
            terms = list(fit.design.parts[k].z_names)
            stop = start + len(terms)
            L = fit.lambdas[name][start:stop, start:stop]
            start = stop
            size = np.linalg.svd(L, compute_uv=False)
            rows += [(name, " + ".join(terms), j + 1, s) for j, s in enumerate(size)]
            if size[-1] > ZERO * max(float(size[0]), 1.0):
                continue
            sd = np.sqrt(np.sum(L**2, axis=1))
            zero = [t for t, s in zip(terms, sd, strict=True) if s <= ZERO * max(sd.max(), 1.0)]
            findings.append(
                f"the variance of {listed(zero)} between the levels of `{name}` is estimated as 0"
                if zero
                else f"a combination of {listed(terms)} has no variance between the levels of "
                f"`{name}` (a correlation of 1 in size)"
            )
            drop.append(f"`({' + '.join(terms)} | {name})`")
    columns = ["group", "terms", "direction", "relative_sd"]
    details = pd.DataFrame(rows, columns=columns).set_index("group")
    if not findings:
        return Check(True, "The covariances of all random terms have full rank.", (), details)
    text = ", and ".join(findings)
    steps = (
        "Look at the interval before you call a variance zero: `icc(fit)` gives upper limits.",
        f"If the design has the grouping, keep the term and report the zero; else make "
        f"{' and '.join(drop)} smaller and compare the two fits with `lrt()`.",
        "Write `(x || group)` in place of `(x | group)` where a correlation is 1 in size, and "
        "centre the predictors of slopes.",
        "If you fitted by ML, fit by REML: ML's variances are biased towards 0.",
    )
    return Check(False, f"{text[0].upper()}{text[1:]}.", steps, details)


def convergence_check(fit: SeveralResults) -> Check:
    """Compare the estimates with the best minimum that can be found from elsewhere."""
    at, sums = fit.at, fit.sums
    first = first_derivatives(at)
    slope = delta_gradient(at, first)
    gradient = chain_rule(sums, at.theta, slope)
    hessian = theta_hessian(sums, at.theta, delta_hessian(at, first), slope)
    others = [minimise(start, sums, fit.reml) for start in (0.5 * at.theta + 0.05, 2.0 * at.theta)]
    lowest = min(other.at.value for other in others)
    further = way_down(at)
    gap = max(at.value - lowest, 0.0)
    details = pd.DataFrame(
        {
            "value": {
                "criterion": fit.criterion,
                "lowest criterion found": fit.criterion - gap,
                "largest gradient": float(np.abs(gradient).max()),
                "smallest curvature": float(np.linalg.eigvalsh(hessian)[0]),
            }
        }
    )
    if gap <= GAP and further is None and (fit.converged or gap <= 1e-6):
        edge = " It lies on the boundary; see `check_singular(fit)`." if fit.singular else ""
        return Check(True, f"The fit is at the minimum of its criterion.{edge}", (), details)
    steps = (
        "Scale and centre the predictors of random slopes.",
        "Take effects out of the random terms, and compare the fits with `lrt()`.",
    )
    finding = f"The fit is not at the minimum: the criterion can still fall by {gap:.3g}."
    if gap <= GAP:
        finding = "The search ended without a clear minimum."
    return Check(False, finding, steps, details)

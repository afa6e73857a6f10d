"""Checks of a fit whose answer is a sentence and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pylmm_helpers.common import counted, whole
from pylmm_helpers.engine import (
    LMMResults,
    criterion,
    delta_gradient,
    delta_hessian,
    derivatives,
    listed,
    optimise,
    theta_derivatives,
)

#: A criterion this much above the minimum changes no reported digit (half of it in log-likelihood).
GAP = 1e-4
#: Fixed effects further than this from their best values, in standard errors, are not converged.
BETA_GAP = 1e-3


@dataclass(frozen=True)
class Check:
    """Outcome of a check; its sentences are Markdown, with code in backticks.

    Attributes
    ----------
    ok : bool
        True if nothing needs doing; so is the object itself in a condition.
    finding : str
        What was found, in one or two sentences.
    next_steps : tuple of str
        What to do, the first thing first; empty if all is well.
    details : DataFrame
        The numbers behind the finding.
    """

    ok: bool
    finding: str
    next_steps: tuple[str, ...]
    details: pd.DataFrame

    def __post_init__(self) -> None:
        object.__setattr__(self, "details", whole(self.details))

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        steps = "".join(f"\n  {k}. {s}" for k, s in enumerate(self.next_steps, 1))
        return self.finding + ("\nNext:" + steps if steps else "")

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        steps = "".join(f"\n{k}. {s}" for k, s in enumerate(self.next_steps, 1))
        return self.finding + ("\n\nNext:\n" + steps if steps else "")


def singularity_check(res: LMMResults) -> Check:
    """Judge the rank of the random-effects covariance; scaled columns make it free of units."""
    terms = [str(t) for t in res.cov_re.index]
    q = len(terms)
    directions, size, _ = np.linalg.svd(res.factor_scaled)
    share = size**2 / max(float(np.sum(size**2)), 1e-300)
    details = pd.DataFrame(
        {"relative_sd": size, "share": share, **{t: directions[j] for j, t in enumerate(terms)}},
        index=pd.Index(range(1, q + 1), name="direction"),
    )
    if not res.identified:
        return Check(False, res.identification.finding, remedies(res), details)
    if not res.singular:
        return Check(True, "The random-effects covariance has full rank.", (), details)
    if q == 1:
        what = "random intercept" if terms == ["Intercept"] else f"random slope of `{terms[0]}`"
        finding = (
            f"The variance of the {what} is estimated as 0: the groups of `{res.groups}` differ "
            "no more than their rows would make them differ by chance."
        )
        steps = (
            "Look at the interval before you call the variance zero: `icc(fit)` gives its "
            "upper limit.",
            "If the design is clustered, keep the random effect and report the zero; the fixed "
            "effects are then those of ordinary regression.",
            "If you fitted by ML, fit by REML: ML's variance is biased towards 0.",
            f"Check that `{res.groups}` is the grouping you meant, and how many groups have two "
            "rows or more.",
        )
        return Check(False, finding, steps, details)
    own = np.sqrt(np.sum(res.factor_scaled**2, axis=1))
    zero = [t for t, s in zip(terms, own, strict=True) if s < 1e-4 * max(float(own.max()), 1.0)]
    if len(zero) == q:
        finding = f"All variances between the groups of `{res.groups}` are estimated as 0."
        drop = "Fit the random intercept alone, then check again."
    elif zero:
        finding = f"The variance of {listed(zero)} between groups is estimated as 0."
        slopes = [t for t in zero if t != "Intercept"]
        drop = (
            f"Leave {listed(slopes)} out of `re_formula` and compare with `lrt()`."
            if slopes
            else "Centre the predictors of the slopes, so that the intercept is a place with data."
        )
    elif q == 2:
        sign = "+1" if res.cov_re.to_numpy()[0, 1] > 0 else "\N{MINUS SIGN}1"
        finding = (
            f"The correlation of {listed(terms)} is estimated as {sign}: "
            "the data can't tell the two random effects apart."
        )
        drop = f"Leave `{terms[1]}` out of `re_formula` and compare the two fits with `lrt()`."
    else:
        lost = int(np.sum(size < 1e-4 * max(float(size[0]), 1.0))) or 1
        finding = (
            f"The {q} random effects span only {counted(q - lost, 'direction')}: some are "
            "combinations of others."
        )
        drop = "Leave the term with the smallest variance out of `re_formula`, and check again."
    steps = (
        drop,
        "Centre the predictors of random slopes at a meaningful value; correlations of "
        "\N{PLUS-MINUS SIGN}1 "
        "often belong to an intercept far from the data.",
        f"Check that each slope's predictor varies within most of the {res.ngroups} groups.",
        "Report that the larger model was singular; the fixed effects rarely change, their "
        "standard errors may.",
    )
    return Check(False, finding, steps, details)


def remedies(res: LMMResults) -> tuple[str, ...]:
    """What to do about variances that can't be told apart."""
    found = res.identification
    drop = listed([*found.constant]) if found.constant else "one of the terms"
    other = (
        "To let the variance differ between kinds of group, fit each kind alone."
        if found.constant
        else "Or collect more rows, or more different values, in each group."
    )
    return (
        f"Leave {drop} out of `re_formula`, and compare with `lrt()`, which counts only what is "
        "identified.",
        other,
        "Fixed effects and their tests stand: all equally good fits agree on them.",
    )


def convergence_check(res: LMMResults) -> Check:
    """Compare the estimates with the best minimum that can be found."""
    rows, reml = res.rows, res.reml
    nu = rows.nobs - (rows.p if reml else 0)
    at, whitened = criterion(res.theta_scaled[None], rows, reml)
    best = optimise(rows, reml)[0]
    lowest = float(criterion(best[None], rows, reml)[0].value[0])
    gap = float(at.value[0]) - lowest
    beta_gap = float(
        np.max(
            np.abs(res.beta_scaled - at.beta()[0])
            / np.sqrt(res.sigma2_scaled * np.diag(at.unscaled_cov()[0]))
        )
    )
    values = {
        "criterion": res.criterion,
        "lowest criterion found": res.criterion - gap,
        "largest shift of a fixed effect (SE)": beta_gap,
    }
    if not res.singular and res.identified:
        d = derivatives(at, whitened, rows, reml)
        gradient, hessian = theta_derivatives(
            res.theta_scaled[None], delta_gradient(d, nu), delta_hessian(d, nu)
        )
        values["largest gradient"] = float(np.abs(gradient[0]).max())
        values["smallest curvature"] = float(np.linalg.eigvalsh(hessian[0])[0])
    details = pd.DataFrame({"value": values})
    close = gap <= GAP and beta_gap <= BETA_GAP
    if close and not res.identified:
        finding = f"The minimum is not a single point. {res.identification.finding}"
        return Check(False, finding, remedies(res), details)
    if close and (res.converged or gap <= 1e-6):
        extra = (
            ""
            if res.converged
            else " The engine's own warning can be set aside: no lower point exists."
        )
        edge = " It lies on the boundary; see `check_singular(fit)`." if res.singular else ""
        return Check(True, f"The fit is at the minimum of its criterion.{edge}{extra}", (), details)
    finding = (
        f"The fit is not at the minimum: the criterion can still fall by {gap:.3g}."
        if gap > GAP
        else "The search ended without a clear minimum."
        if beta_gap <= BETA_GAP
        else f"The fixed effects are off their best values by {beta_gap:.2g} standard errors."
    )
    steps = (
        "Fit the same model with `fit_lmm`, or with statsmodels by another method (for example "
        "`method=['bfgs', 'lbfgs', 'powell']`), and compare the criteria.",
        "Centre and scale the predictors, the random slopes' above all.",
        "Look at `check_singular(fit)`: a model with more random effects than the data carry is "
        "the usual cause.",
        "Do not report estimates from this fit.",
    )
    return Check(False, finding, steps, details)

"""Likelihood ratio tests, with the boundary taken into account, and information criteria."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, shown_whole
from pylmm_helpers.engine import (
    LMMResults,
    any_results,
    as_results,
    criterion,
    derivatives,
    factor_to_theta,
    symmetric_basis,
)
from pylmm_helpers.engine.several import SeveralResults
from pylmm_helpers.formula import in_order_of

from . import structure_lrt
from .mixture import chi2_tail, cone_weights_of, describe, mixture_tail
from .nesting import Comparison, compare, same_data, same_fixed
from .several import lrt as several


@shown_whole
def lrt(full: Any, reduced: Any) -> pd.DataFrame:
    """Likelihood ratio test of two nested models.

    The reference distribution is worked out from the models. Fixed effects only: chi-squared. One
    more random term beside q others: an equal mixture of chi-squared with q and q + 1 degrees of
    freedom, because a variance can't be negative; for the first random intercept (q = 0) that
    halves the naive p-value. Two more random terms at once: a mixture whose weights depend on the
    design, found from the information matrix. A correlation of the residuals: chi-squared with 1
    for "ar1"; for "car1", whose phi is positive, half of it and half 0 (nlme's ``anova`` takes
    chi-squared with 1); unequal variances: one for each ratio.

    Parameters
    ----------
    full : LMMResults or statsmodels MixedLMResults
        The larger model.
    reduced : LMMResults, statsmodels MixedLMResults, statsmodels OLS results or "ols"
        The smaller model; "ols" is ordinary regression on the full model's fixed effects.

    Returns
    -------
    DataFrame (one row)
        statistic, df (difference in parameters that are identified), p_value, p_value_naive
        (chi-squared with df), reference (the distribution in words) and method ("REML" or "ML").

    Raises
    ------
    ValueError
        With the reason, for what must not be compared: other rows, responses, weights or groups;
        REML with different fixed effects; REML against ML; models that are not nested or are the
        same; more than two random terms at once.

    References
    ----------
    Self SG, Liang K-Y (1987) J Am Stat Assoc 82, 605-610; Stram DO, Lee JW (1994)
    Biometrics 50, 1171-1177.
    """
    if any(getattr(fit, "structure", None) is not None for fit in (full, reduced)):
        return structure_lrt.lrt(full, reduced)
    if isinstance(full, SeveralResults) or isinstance(reduced, SeveralResults):
        return several.lrt(full, reduced, as_results)
    models = compare(full, reduced)
    degrees, weights = reference_mixture(models)
    statistic = models.statistic
    df = extra_parameters(models)
    return pd.DataFrame(
        {
            "statistic": [statistic],
            "df": [df],
            "p_value": [mixture_tail(statistic, degrees, weights)],
            "p_value_naive": [chi2_tail(statistic, df)],
            "reference": [describe(degrees, weights)],
            "method": ["REML" if models.full.reml else "ML"],
        },
        index=pd.Index(["likelihood ratio"], name="test"),
    )


def reference_mixture(models: Comparison) -> tuple[list[int], list[float]]:
    """Degrees of freedom and weights of the chi-squared mixture under the reduced model."""
    df = extra_parameters(models)
    if df == 0:
        raise ValueError(
            "the data can't tell the models apart: "
            f"{models.full.identification.finding.rstrip('.')}; there is nothing to test."
        )
    if models.random_dropped == 0:
        return [df], [1.0]
    if not models.full.identification.complete:
        return lost_boundary(models, df)
    base = models.fixed_dropped + models.random_kept * models.random_dropped
    if models.random_dropped == 1:
        return [base, base + 1], [0.5, 0.5]
    if models.random_dropped == 2:
        return [base + k for k in range(4)], cone_weights(models)
    raise ValueError(
        f"the models differ by {models.random_dropped} random terms; the mixture is known for one "
        "or two. Drop them one at a time, or use parametric_bootstrap(full, reduced)."
    )


def extra_parameters(models: Comparison) -> int:
    """Identified parameters that the full model has and the reduced one lacks."""
    full, small, q0 = models.full, models.reduced, models.random_kept
    kept = q0 * (q0 + 1) // 2 - (0 if small is None else len(small.identification.directions))
    q = full.cross.q
    extra = q * (q + 1) // 2 - len(full.identification.directions) - kept
    return models.fixed_dropped + extra


def lost_boundary(models: Comparison, df: int) -> tuple[list[int], list[float]]:
    """The mixture where something is not identified.

    With one more random term, its variance can't be negative. But a change that the data can't see
    may have moved that variance up; then zero is no boundary for what they can see, and chi-squared
    holds as it stands.
    """
    if models.random_dropped > 1:
        raise ValueError(
            f"{models.full.identification.finding} The reference distribution of a test of "
            f"{models.random_dropped} random terms is not known then; drop one at a time, or use "
            "parametric_bootstrap(full, reduced)."
        )
    complement = np.linalg.svd(models.z_basis, full_matrices=True)[0][:, -1]
    steps = models.full.identification.directions
    size = np.sqrt(np.sum(steps**2, axis=(1, 2)))
    moved = np.abs(np.einsum("kij,i,j->k", steps, complement, complement)) > 1e-6 * size
    return ([df], [1.0]) if moved.any() else ([df - 1, df], [0.5, 0.5])


def cone_weights(models: Comparison) -> list[float]:
    """Weights of chi-squared 0 to 3 for two new random terms, whose covariance matrix must be PSD.

    With J the information on the 2 x 2 matrix and z normal with covariance J^-1, the weight of 3 is
    the chance that z is itself positive semidefinite, that of 0 the chance that Jz is negative
    semidefinite; those of 1 and 2 complete each to one half (Shapiro 1988, Int Stat Rev 56, 49-62,
    on chi-bar-squared weights).
    """
    return cone_weights_of(new_term_information(models))


def new_term_information(models: Comparison) -> Array:
    """Expected information (3, 3) on the covariance of two new random terms, all else profiled out.

    Evaluated at the reduced model, in coordinates where its random terms come first.
    """
    full, q = models.full, models.full.cross.q
    scaling = full.cross.scaling
    kept = np.linalg.solve(scaling.z_map, models.z_map)
    complement = np.linalg.svd(kept, full_matrices=True)[0][:, models.random_kept :]
    theta = np.zeros((1, q * (q + 1) // 2))
    if models.reduced is not None:
        root = kept @ models.reduced.factor
        theta = factor_to_theta(
            np.asarray(np.linalg.qr(np.pad(root, ((0, 0), (0, 2))).T, mode="r")).T
        )[None]
    at, whitened = criterion(theta, full.rows, full.reml)
    d = derivatives(at, whitened, full.rows, full.reml)
    columns = np.hstack([kept, complement])
    basis = symmetric_basis(q)
    new = np.array([np.all(b[: models.random_kept] == 0) for b in basis])
    # each change of the covariance, written in the coordinates of the scaled columns
    moved = np.einsum("ia,kab,jb->kij", columns, basis, columns)
    trace = np.einsum("kij,ij->k", moved, d.trace[0])
    nu = full.nobs - (full.cross.p if full.reml else 0)
    information = (
        np.einsum("kij,ijmn,lmn->kl", moved, d.trace2[0], moved) - np.outer(trace, trace) / nu
    )
    A, B, C = (
        information[np.ix_(new, new)],
        information[np.ix_(new, ~new)],
        information[np.ix_(~new, ~new)],
    )
    return np.asarray(0.5 * (A - B @ np.linalg.pinv(C) @ B.T)) if (~new).any() else 0.5 * A


@shown_whole
def information_criteria(*fits: Any, names: list[str] | None = None) -> pd.DataFrame:
    """AIC and BIC of models fitted to the same data, with differences from the best.

    Parameters
    ----------
    *fits : LMMResults or statsmodels MixedLMResults
        They need not be nested.
    names : list of str, optional
        Row labels; the formulas by default.

    Returns
    -------
    DataFrame
        n, n_params (fixed effects, variance parameters and sigma, less what is not identified),
        loglik, aic, delta_aic, bic, delta_bic, method; counted as lme4 counts (BIC with log n for
        REML too). statsmodels gives NaN for REML fits.

    Raises
    ------
    ValueError
        Different rows, responses or weights; REML against ML; REML fits with different fixed
        effects.
    """
    results = [any_results(fit, structures=True) for fit in fits]
    if not results:
        raise ValueError("give at least one fitted model.")
    for other in (in_order_of(results[0], fit) for fit in results[1:]):
        same_data(results[0], other)
        if other.reml:
            comparable(results[0], other)
    labels = names or [whole_formula(r) for r in results]
    if len(labels) != len(results):
        raise ValueError(f"{len(labels)} names for {len(results)} models; give one each.")
    table = pd.DataFrame(
        {
            "n": [r.nobs for r in results],
            "n_params": [r.n_params for r in results],
            "loglik": [r.llf for r in results],
            "aic": [r.aic for r in results],
            "delta_aic": [r.aic for r in results],
            "bic": [r.bic for r in results],
            "delta_bic": [r.bic for r in results],
            "method": ["REML" if r.reml else "ML" for r in results],
        },
        index=pd.Index(labels, name="model"),
    )
    for column in ("delta_aic", "delta_bic"):
        table[column] -= table[column].min()
    return table


def whole_formula(fit: Any) -> str:
    """The formula of a fit with its random terms."""
    words = "" if fit.structure is None else f", {fit.structure.request.words}"
    if isinstance(fit, SeveralResults):
        return fit.formula + words
    return f"{fit.formula} + ({fit.re_formula} | {fit.groups}){words}"


def comparable(first: LMMResults, second: LMMResults) -> None:
    """Refuse REML fits whose fixed effects differ."""
    reason = (
        "REML likelihoods of models with different fixed effects can't be compared; "
        "refit them with reml=False."
    )
    if not same_fixed(first, second.X):
        raise ValueError(reason)

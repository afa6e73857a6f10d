"""Degrees of freedom by Satterthwaite and by Kenward and Roger for several random terms.

The formulas are those of `pylmm_helpers.inference.ddf`, whose functions have the same names and
arguments; only the second-order quantities come from `information`. Where too many levels hang
together for those, Satterthwaite's second derivatives are differences of the exact gradient, which
agree to nine digits, and Kenward-Roger is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine.several import (
    Point,
    SeveralResults,
    Slopes,
    TooLargeError,
    average_information,
    chain_rule,
    delta_gradient,
    evaluate,
    expected_form,
    first_derivatives,
    theta_hessian,
    vector_of,
    x_forms,
)

from ..ddf import KenwardRoger, in_basis, kenward_roger_f, positive_inverse

__all__ = [
    "in_basis",
    "kenward_roger",
    "kenward_roger_f",
    "satterthwaite",
    "variance_information",
]

#: Step of a difference of gradients, relative to the size of a parameter.
STEP = 1e-3


@dataclass(frozen=True)
class VarianceInformation:
    """First derivatives at a fit's estimates, and the second by all free entries of Delta and by
    sigma; see `second_derivatives`."""

    first: Slopes


def variance_information(fit: SeveralResults) -> VarianceInformation:
    """Derivatives of the criterion at a fit's estimates."""
    return VarianceInformation(first_derivatives(fit.at))


def second_derivatives(at: Point, first: Slopes) -> Array:
    """Second derivatives (d + 1, d + 1) of the deviance by theta and sigma, at sigma = 1."""
    sums, nu, d = at.f.sums, at.nu, len(at.theta)
    mixed = 2.0 * nu * chain_rule(sums, at.theta, first.quadratic)
    found = np.empty((d + 1, d + 1))
    found[d, d] = 4.0 * nu
    found[:d, d] = found[d, :d] = mixed
    try:
        second = 2.0 * nu * average_information(at, first) - expected_form(at, first)
        found[:d, :d] = theta_hessian(sums, at.theta, second, delta_gradient(at, first))
    except TooLargeError:
        # differences of the profiled gradient lack what sigma takes up
        found[:d, :d] = differences(at) + np.outer(mixed, mixed) / (4.0 * nu)
    return found


def differences(at: Point) -> Array:
    """Second derivatives (d, d) of the profiled criterion in theta, from its gradient at four
    points along each parameter."""
    sums, d = at.f.sums, len(at.theta)
    found = np.empty((d, d))
    for k in range(d):
        step = STEP * max(abs(float(at.theta[k])), 0.1)
        values = []
        for size in (-2.0, -1.0, 1.0, 2.0):
            there = evaluate(at.theta + size * step * np.eye(d)[k], sums, at.reml)
            slope = delta_gradient(there, first_derivatives(there))
            values.append(chain_rule(sums, there.theta, slope))
        found[k] = (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * step)
    return 0.5 * (found + found.T)


def satterthwaite(fit: SeveralResults, L: Array, info: VarianceInformation | None = None) -> Array:
    """Satterthwaite's degrees of freedom (k,) for each row of L (k, p), as lmerTest defines
    them."""
    info = info or variance_information(fit)
    at, p = fit.at, fit.sums.p
    covariance = 2.0 * positive_inverse(second_derivatives(at, info.first))
    C = in_basis(fit, L)  # type: ignore[arg-type]  # it asks of a fit what both kinds have
    variance = np.sum(C**2, axis=1)
    slopes = []
    for row, own in zip(C, variance, strict=True):
        along = [np.einsum("icg,c->ig", a[:, :p], row) for a in info.first.scores]
        change = chain_rule(fit.sums, at.theta, [a @ a.T for a in along])
        slopes.append(np.append(change, 2.0 * own))
    slope = np.array(slopes)
    return np.asarray(2.0 * variance**2 / np.einsum("ka,ab,kb->k", slope, covariance, slope))


def kenward_roger(fit: SeveralResults, info: VarianceInformation | None = None) -> KenwardRoger:
    """Adjusted covariance and the pieces for degrees of freedom.

    Raises
    ------
    ValueError
        A maximum-likelihood fit; a fit in which too many levels hang together.
    """
    if not fit.reml:
        raise ValueError(
            "Kenward-Roger needs a REML fit; refit with reml=True, or ask for df='satterthwaite'."
        )
    info = info or variance_information(fit)
    at, d = fit.at, len(fit.at.theta)
    forms = x_forms(at, info.first)
    information = np.empty((d + 1, d + 1))
    try:
        information[:d, :d] = expected_form(at, info.first, forms)
    except TooLargeError as error:
        raise ValueError(
            f"Kenward-Roger takes all pairs of levels, and {error}; ask for df='satterthwaite'."
        ) from error
    information[:d, d] = information[d, :d] = vector_of(fit.sums, info.first.trace)
    information[d, d] = at.nu
    W = 2.0 * positive_inverse(information)
    products = np.einsum("rpt,stu->rspu", forms.P, forms.P)
    bias = np.einsum("rs,rspt->pt", W[:d, :d], forms.Q - products)
    one = np.eye(fit.sums.p)
    return KenwardRoger(one + bias + bias.T, np.concatenate([forms.P, one[None]]), W)

"""Whether the variances of several random terms can be told from each other and from the fixed
effects."""

from __future__ import annotations

import numpy as np

from pylmm_helpers.common import Array

from ..identified import NO_INFORMATION, TOUCHED
from .criterion import Point, Slopes, average_information, evaluate, first_derivatives, theta_of
from .design import SeveralDesign
from .information import KEPT, TooLargeError, second_traces
from .search import is_small, vector_of
from .sums import Sums

#: Share of the response left by the fixed effects that is too little for the information.
ALMOST_NOTHING = 1e-9


def check_identified(sums: Sums, design: SeveralDesign, reml: bool) -> None:
    """Refuse a model in which a change of variances leaves the likelihood as it is.

    The information is taken where every relative covariance is the identity in scaled columns: at a
    zero variance that on covariances vanishes though they are identified elsewhere.
    """
    if not reml and sum(factor.size for factor in sums.factors) > KEPT:
        return
    at = evaluate(theta_of([np.eye(f.q) for f in sums.factors], sums), sums, reml)
    if not np.isfinite(at.value) or at.r2 < ALMOST_NOTHING * float(np.sum(at.root[-1] ** 2)):
        return  # what is left of y may be rounding, which says nothing
    try:
        information = information_with_residual(at, first_derivatives(at))
    except TooLargeError:
        return
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    lost = np.diag(information) < NO_INFORMATION * np.diag(information)[-1]
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    null = vectors[:, values < NO_INFORMATION].T / scale
    if not len(null) and not lost.any():
        return
    # V = I + sum of Z_k Z_k': a step along V is one along I and along every variance
    units = np.concatenate([f.basis.trace(axis1=1, axis2=2) > 0 for f in sums.factors])
    units &= np.concatenate([f.free[0] == f.free[1] for f in sums.factors])
    steps = np.abs(np.column_stack([null[:, :-1] + null[:, -1:] * units, null[:, -1]]))
    touched = (steps > TOUCHED * steps.max(axis=1, keepdims=True, initial=1e-300)).any(axis=0)
    names = [n for n, t in zip(parameter_names(sums, design), touched | lost, strict=True) if t]
    listed = " and ".join(names)
    finding = f"can't determine {listed}" if len(names) == 1 else f"can't tell {listed} apart"
    if reml and sums.p > 1:
        finding += f", beside the fixed effects of {design.first.formula!r}"
    raise ValueError(
        f"the data {finding}. Leave a random effect out whose "
        "predictor is constant within the levels, or a fixed effect that tells the levels apart, "
        "or take (... || group)."
    )


def finding_on_identification(sums: Sums, design: SeveralDesign, reml: bool) -> str:
    """What can't be told apart in a small model; empty if all can, or where the model is large."""
    if not is_small(sums):
        return ""
    try:
        check_identified(sums, design, reml)
    except ValueError as error:
        return str(error).split(". ")[0]
    return ""


def information_with_residual(at: Point, first: Slopes) -> Array:
    """Information (d + 1, d + 1) on the entries of Delta and, last, on V itself, over n.

    For REML it is the average information, whose cost does not grow with the pairs of levels.
    """
    sums, d = at.f.sums, len(at.theta)
    found = np.empty((d + 1, d + 1))
    if at.reml:
        found[:d, :d] = average_information(at, first)
        found[:d, d] = found[d, :d] = vector_of(sums, first.quadratic)
        found[d, d] = 1.0
    else:
        found[:d, :d] = second_traces(at) / at.nu
        found[:d, d] = found[d, :d] = vector_of(sums, first.trace) / at.nu
        found[d, d] = 1.0
    return found


def parameter_names(sums: Sums, design: SeveralDesign) -> list[str]:
    """The entries of all Delta in words, and the residual variance."""
    found = []
    for factor in sums.factors:
        terms = [z for k in design.by_factor[factor.name] for z in design.parts[k].z_names]
        for i, j in zip(*factor.free, strict=True):
            what = (
                f"the variance of {terms[i]}"
                if i == j
                else f"the covariance of {terms[j]} and {terms[i]}"
            )
            found.append(f"{what} between the levels of '{factor.name}'")
    return [*found, "the residual variance"]

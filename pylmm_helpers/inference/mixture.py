"""Mixtures of chi-squared: what a likelihood ratio follows where a variance is zero."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaincc

from pylmm_helpers.common import Array

#: Draws for the mixture weights when two random terms are tested together; fixed, so that p-values
#: repeat.
WEIGHT_DRAWS, WEIGHT_SEED = 400_000, 19871994


def cone_weights_of(J: Array) -> list[float]:
    """Weights of chi-squared 0 to 3 for two new random terms, J (3, 3) the information on their
    covariance matrix; see `cone_weights`."""
    rng = np.random.default_rng(WEIGHT_SEED)
    root = np.linalg.cholesky(J)
    normal = rng.standard_normal((WEIGHT_DRAWS, 3))
    inside = np.linalg.solve(root.T, normal.T).T
    score = normal @ root.T
    # order of the basis: (1,1), (2,1), (2,2); the score of an off-diagonal element counts it twice
    positive = (inside[:, 0] > 0) & (inside[:, 0] * inside[:, 2] > inside[:, 1] ** 2)
    negative = (score[:, 0] < 0) & (score[:, 0] * score[:, 2] > 0.25 * score[:, 1] ** 2)
    w3, w0 = float(positive.mean()), float(negative.mean())
    return [w0, 0.5 - w3, 0.5 - w0, w3]


def mixture_tail(x: float, degrees: list[int], weights: list[float]) -> float:
    """Probability that the mixture is at least x."""
    return float(sum(w * chi2_tail(x, k) for k, w in zip(degrees, weights, strict=True)))


def chi2_tail(x: float, df: int) -> float:
    """Upper tail of chi-squared; with no degrees of freedom all mass is at zero."""
    if df == 0:
        return 1.0 if x <= 0.0 else 0.0
    return float(gammaincc(df / 2.0, x / 2.0))


def describe(degrees: list[int], weights: list[float]) -> str:
    """The reference distribution in words."""
    if len(degrees) == 1:
        return f"chi2({degrees[0]})"
    return " + ".join(f"{w:.3g} chi2({k})" for k, w in zip(degrees, weights, strict=True))

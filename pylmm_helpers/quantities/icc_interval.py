r"""Confidence intervals for an intraclass correlation, from the criterion as a function of one
variance ratio.

The ratio is :math:`t = \operatorname{tr}(W\Delta)`, with :math:`\Delta` the random-effect
covariance divided by sigma^2 and W the average of :math:`zz'` (for a random intercept simply
:math:`\theta^2`); then ICC = t / (1 + t).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.stats import chi2, f, norm

from pylmm_helpers.common import Array
from pylmm_helpers.engine import (
    LMMResults,
    criterion,
    delta_gradient,
    derivatives,
    factor_to_theta,
    theta_to_factor,
)

#: Ratios beyond this are an ICC of 1 to ten digits.
LARGEST_RATIO = 1e10


class RatioProfile:
    """The fit's criterion, minimised over everything but the ratio t. Works in scaled columns."""

    def __init__(self, res: LMMResults, weight: Array) -> None:
        self.rows = res.rows
        self.reml = res.reml
        self.nu = res.nobs - (res.cross.p if res.reml else 0)
        self.weight = weight
        self.q = len(weight)
        self.best = float(res.at.value[0])
        self.ratio = self._ratio_of(res.factor_scaled)
        self._start = res.factor_scaled
        self._fresh = True

    def _ratio_of(self, factor: Array) -> float:
        """T = tr(W Lambda Lambda')."""
        return float(np.sum((self.weight @ factor) * factor))

    def _value(self, factor: Array) -> float:
        return float(criterion(factor_to_theta(factor)[None], self.rows, self.reml)[0].value[0])

    def rise(self, ratio: float) -> float:
        """How far the criterion at this ratio lies above its minimum."""
        if ratio == 0.0:
            return self._value(np.zeros((self.q, self.q))) - self.best
        if self.q == 1:
            return self._value(np.sqrt(np.array([[ratio]]) / self.weight)) - self.best
        return self._constrained(ratio) - self.best

    def _constrained(self, ratio: float) -> float:
        """Minimum over all Delta of the given ratio."""

        def value_and_slope(free: Array) -> tuple[float, Array]:
            # any factor will do: its length is rescaled to the ratio, and its gradient with it
            factor = theta_to_factor(free, self.q)
            weighted = self.weight @ factor
            size = float(np.sum(weighted * factor))
            theta = free * np.sqrt(ratio / size)
            at, whitened = criterion(theta[None], self.rows, self.reml)
            slope = delta_gradient(derivatives(at, whitened, self.rows, self.reml), self.nu)[0]
            along = float(np.sum(slope * (factor @ factor.T)))
            gradient = 2.0 * ratio / size * (slope @ factor - along / size * weighted)
            return float(at.value[0]), factor_to_theta(gradient)

        # independent effects, and nearly nothing but one of them: the minimum may lie at either;
        # later calls follow the path from the solution before
        first = [self._start] if self._ratio_of(self._start) > 0.0 else []
        if self._fresh:
            first += [np.eye(self.q), np.diag(np.where(np.arange(self.q) == 0, 1.0, 0.05))]
            self._fresh = False
        found = [
            minimize(value_and_slope, factor_to_theta(f / np.sqrt(self._ratio_of(f))), jac=True,
                     method="BFGS", options={"gtol": 1e-6})
            for f in first
        ]  # fmt: skip
        best = min(found, key=lambda r: float(r.fun))
        self._start = theta_to_factor(best.x, self.q)
        return float(best.fun)


def profile_interval(profile: RatioProfile, level: float) -> tuple[float, float]:
    """Ratios where the criterion has risen by the chi-squared quantile; 0 if it never does."""
    cutoff = float(chi2.ppf(level, 1))

    def above(ratio: float) -> float:
        return profile.rise(ratio) - cutoff

    low = 0.0
    if profile.ratio > 0.0 and above(0.0) > 0.0:
        # on the logarithm, because the lower end may lie orders of magnitude below the estimate
        near = np.log(profile.ratio)
        far = near - 1.0
        while above(float(np.exp(far))) < 0.0:
            far -= 2.0
        low = float(np.exp(brentq(lambda s: above(float(np.exp(s))), far, near, xtol=1e-10)))
    near = np.log(max(profile.ratio, 1e-8))
    far = near + 1.0
    while above(float(np.exp(far))) < 0.0:
        far += 1.0
        if far > np.log(LARGEST_RATIO):
            return low, np.inf
    high = float(np.exp(brentq(lambda s: above(float(np.exp(s))), near, far, xtol=1e-10)))
    return low, high


def delta_interval(profile: RatioProfile, level: float) -> tuple[float, float]:
    """Normal interval for log t, which is logit ICC, from the curvature of its profile."""
    if profile.ratio <= 0.0:
        raise ValueError(
            "the estimated ICC is 0, where the delta method has no standard error; use "
            "method='profile'"
        )
    centre, h = np.log(profile.ratio), 1e-2
    # the step of a tenth of a standard error balances rounding against curvature
    for _ in range(2):
        curvature = (
            profile.rise(float(np.exp(centre + h))) + profile.rise(float(np.exp(centre - h)))
        ) / h**2
        if curvature <= 0.0:
            raise ValueError(
                "the criterion is flat in the ICC, so the delta method fails; use method='profile'"
            )
        se = np.sqrt(2.0 / curvature)
        h = 0.1 * se
    half = float(norm.ppf(0.5 + level / 2.0)) * se
    return float(np.exp(centre - half)), float(np.exp(centre + half))


def f_interval(
    f_statistic: float, df1: int, df2: int, n0: float, level: float
) -> tuple[float, float]:
    """Searle's interval for the ICC from the one-way F; exact when all groups have n0 rows."""
    tail = (1.0 - level) / 2.0
    upper = f_statistic / float(f.ppf(1.0 - tail, df1, df2))
    lower = f_statistic / float(f.ppf(tail, df1, df2))
    return (upper - 1.0) / (upper + n0 - 1.0), (lower - 1.0) / (lower + n0 - 1.0)

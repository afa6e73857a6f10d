"""The profile of a likelihood: one parameter is held at a value and the criterion minimised over
all others.

zeta is the signed root of the rise above the overall minimum. The ends of an interval are where it
reaches a normal quantile; lme4 interpolates between some points of the profile, here the ends of
all intervals are found exactly, in one search.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine import Family, Index

from .roots import grow, roots

#: How far the search for an end of an interval goes, in Wald standard errors or powers of e.
FARTHEST = 60.0
#: Relative standard deviations of the random terms from which a constrained search starts as well.
SIZES = (0.2, 1.0, 4.0)
#: How near zeta at an end must come to its quantile.
ENOUGH = 1e-5
#: Share of a unit below which a standard deviation counts as zero.
ZERO = 1e-6
#: Terms of one direction but for this in scaled columns (a predictor a million spreads from 0, and
#: the intercept) have a correlation of 1 or -1 to eleven digits, whatever the model.
ONE_DIRECTION = 1.5e-6
#: A search that starts at a zero stays there: the gradient vanishes.
OFF_ZERO = 0.03


class Profile(ABC):
    """The criterion minimised over all parameters but one, REML or ML, in scaled columns.

    Attributes
    ----------
    best : float
        The overall minimum.
    log_sigma : float
        Logarithm of the residual standard deviation there.
    estimates : ndarray (k,)
        All parameters there, in the units of the data: random effects, sigma, fixed effects.
    errors : ndarray (p,)
        Wald standard errors of the fixed effects.
    families : list of Family
        One for each parameter before the fixed effects, `variances` of them.
    rows_each : ndarray (variances,)
        Rows for each level of the grouping factor that a parameter belongs to.
    each : int
        Numbers that one model holds.
    """

    best: float
    log_sigma: float
    estimates: Array
    errors: Array
    families: list[Family]
    rows_each: Array
    each: int

    @property
    def variances(self) -> int:
        """Parameters before the fixed effects."""
        return len(self.families)

    @abstractmethod
    def with_variance(self, which: Index, values: Array, thorough: bool) -> Array:
        """`least` for standard deviations, correlations and sigma."""

    @abstractmethod
    def with_fixed_effect(self, j: Index, values: Array, thorough: bool) -> Array:
        """`least` for fixed effects j (m,)."""

    def zeta(self, which: Index, values: Array, thorough: bool = False) -> Array:
        """Signed root (m,) of the rise of the criterion with parameter `which` (m,) at `values`;
        thoroughly: from several starts."""
        rise = self.least(which, values, thorough) - self.best
        sign = np.sign(values - self.estimates[which])
        return np.asarray(sign * np.sqrt(np.maximum(rise, 0.0)))

    def least(self, which: Index, values: Array, thorough: bool) -> Array:
        """Minimum (m,) of the criterion, the parameters `which` (m,) held at `values`."""
        which = np.asarray(which, dtype=np.intp)
        found = np.empty(len(which))
        fixed = which >= self.variances
        if (~fixed).any():
            found[~fixed] = self.with_variance(which[~fixed], values[~fixed], thorough)
        if fixed.any():
            found[fixed] = self.with_fixed_effect(
                which[fixed] - self.variances, values[fixed], thorough
            )
        return found

    def ends(self, which: list[int], cut: float) -> Array:
        """Both ends (m, 2) of the intervals of parameters `which`, where zeta is -cut and cut."""
        k = np.repeat(np.array(which, dtype=np.intp), 2)
        sign = np.tile([-1.0, 1.0], len(which))
        found = self.estimates[k].copy()
        mixes = [self.families[i].mix[1] if i < self.variances else 1.0 for i in k]
        some = np.flatnonzero(np.array(mixes) >= ONE_DIRECTION)
        found[some] = self.search(k[some], sign[some], cut, thorough=False)
        at_end = some[np.isfinite(found[some])]
        zeta = self.zeta(k[at_end], found[at_end], thorough=True)
        limit = np.array([self.limit(i, s) for i, s in zip(k[at_end], sign[at_end], strict=True)])
        wrong = (np.abs(np.abs(zeta) - cut) > ENOUGH) & ~(
            (found[at_end] == limit) & (np.abs(zeta) <= cut)
        )
        lost = at_end[wrong]  # these had been in another valley
        if len(lost):
            found[lost] = self.search(k[lost], sign[lost], cut, thorough=True)
        return found.reshape(-1, 2)

    def limit(self, k: int, sign: float) -> float:
        """How far a parameter may go: 0 for standard deviations, -1 and 1 for correlations; NaN
        where there is no limit."""
        if k < self.variances and self.families[k].kind == "cor":
            return float(sign)
        return 0.0 if k < self.variances - 1 and sign < 0 else float("nan")

    def search(self, k: Index, sign: Array, cut: float, thorough: bool) -> Array:
        """Values (m,) where zeta reaches ``sign * cut``, or the limits of the parameters."""
        here = self.estimates[k]
        unit = np.array([self.families[i].unit if i < self.variances else 1.0 for i in k])
        here = np.where((k < self.variances) & (np.abs(here) < ZERO * unit), 0.0, here)
        limit = np.array([self.limit(i, s) for i, s in zip(k, sign, strict=True)])
        bounded = np.isfinite(limit)
        found = np.full(len(k), np.nan)
        step, power = np.empty(len(k)), np.zeros(len(k), dtype=bool)
        for m, i in enumerate(k):
            if i >= self.variances:
                step[m] = self.errors[i - self.variances]
            elif here[m] > 0.0:
                step[m], power[m] = 0.2, True
            else:
                step[m] = unit[m] * np.exp(self.log_sigma) / np.sqrt(self.rows_each[i])

        def value(index: Index, t: Array) -> Array:
            """The parameter on its path: from the estimate at 0 to the limit at 1, or beyond."""
            s, x = sign[index], here[index]
            free = np.where(
                power[index], x * np.exp(np.minimum(s * t, 700.0)), x + s * t * step[index]
            )
            return np.where(bounded[index], x + t * (limit[index] - x), free)

        def excess(index: Index, t: Array) -> Array:
            return np.abs(self.zeta(k[index], value(index, t), thorough)) - cut

        everything = np.arange(len(k))
        some = everything[bounded]
        last = excess(some, np.ones(len(some)))
        found[some] = limit[some]
        inside = some[last > 0.0]
        start = np.full(len(inside), -cut)
        t = roots(excess, inside, np.zeros(len(inside)), np.ones(len(inside)), start,
                  last[last > 0.0])  # fmt: skip
        found[inside] = value(inside, t)
        some = everything[~bounded]
        first = np.where(power[some], step[some], 1.0)
        bracket = grow(excess, some, np.full(len(some), -cut), first, FARTHEST)
        t = roots(excess, some, *bracket)
        endless = ~np.isfinite(bracket[1])
        found[some] = np.where(endless, sign[some] * np.inf, value(some, np.where(endless, 0.0, t)))
        return found

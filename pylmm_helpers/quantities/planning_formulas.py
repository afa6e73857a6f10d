"""Variance of an effect's estimate in a design that is only planned, and the power of its test.

A predictor varies at one level: between groups (herds), between the subgroups of a group (cows), or
between the rows of a subgroup (test days). What varies below it averages out; what varies above it
cancels; what varies with it stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVELS = ("group", "subgroup", "row")


@dataclass(frozen=True)
class Plan:
    """What is known of a study before its size is.

    Attributes
    ----------
    effect : float
        Difference of two means, or slope per unit of a numeric predictor.
    level : {"group", "subgroup", "row"}
        Where the predictor varies.
    sigma2_g, sigma2_sub, sigma2 : float
        Variances between groups, between subgroups of a group, between rows of a subgroup.
    sigma2_slope : float
        Variance of the effect between groups.
    repeats : int
        Rows of a subgroup; 1 where rows lie in groups directly.
    cv : float
        Coefficient of variation of the groups' sizes.
    allocation : float
        Share of the units in the first of two arms.
    predictor_sd : float, optional
        SD of a numeric predictor, in place of two arms.
    alpha : float
        Level of the two-sided test.
    """

    effect: float
    level: str
    sigma2_g: float
    sigma2_sub: float
    sigma2: float
    sigma2_slope: float
    repeats: int
    cv: float
    allocation: float
    predictor_sd: float | None
    alpha: float

    @property
    def own_units(self) -> float:
        """Units in a subgroup at the predictor's level: rows for a predictor of rows."""
        return float(self.repeats) if self.level == "row" else 1.0

    @property
    def below(self) -> float:
        """Variance of one unit at the predictor's level, all that lies below averaged out; for a
        predictor of groups that of a subgroup."""
        return self.sigma2 if self.level == "row" else self.sigma2_sub + self.sigma2 / self.repeats

    @property
    def between(self) -> float:
        """Variance that more units in a group don't average out."""
        return self.sigma2_g if self.level == "group" else self.sigma2_slope

    def spread(self, groups: float) -> float:
        """Variance of the predictor: between groups, or within each of them."""
        if self.predictor_sd is not None:
            return self.predictor_sd**2
        if self.level != "group" or groups != round(groups):
            return self.allocation * (1.0 - self.allocation)
        first = arm(groups, self.allocation)
        return first * (groups - first) / groups**2

    def noise(self, size: float) -> float:
        """What is added to `between` in a group of `size` subgroups, for a predictor of variance
        one (between groups) or of its own (within)."""
        if self.level == "group":
            return self.below / size
        return self.below / (size * self.own_units * self.spread(np.inf))

    def efficiency(self, size: float) -> float:
        """Efficiency of unequal sizes relative to equal ones (van Breukelen, Candel & Berger
        2007): 1 - cv^2 lambda (1 - lambda)."""
        share = self.between / (self.between + self.noise(size))
        return 1.0 - self.cv**2 * share * (1.0 - share)

    def variance(self, groups: float, size: float) -> float:
        """Variance of the estimated effect."""
        one = (self.between + self.noise(size)) / self.efficiency(size)
        return one / (groups * (self.spread(groups) if self.level == "group" else 1.0))

    def design_effect(self, groups: float, size: float) -> float:
        """That variance over the one in as many independent rows of the same total variance."""
        total = self.sigma2_g + self.sigma2_sub + self.sigma2
        rows = groups * size * self.repeats
        return self.variance(groups, size) * rows * self.spread(groups) / total

    def df(self, groups: float, size: float) -> float:
        """Degrees of freedom of the t-test: units of the level that the error comes from, less what
        is estimated there."""
        if self.level == "group":
            return groups - 2.0
        if self.sigma2_slope > 0.0:
            return groups - 1.0
        units = groups * size
        above = groups
        if self.level == "row" and self.repeats > 1:
            units, above = units * self.repeats, units
        return units - above - 1.0

    def power(self, groups: float, size: float) -> float:
        """Power of the two-sided t-test; 0 where it has no degrees of freedom."""
        return t_power(self.effect / np.sqrt(self.variance(groups, size)),
                       self.df(groups, size), self.alpha)  # fmt: skip

    def most_power(self, groups: float) -> float:
        """Power that ever larger groups come near to."""
        if self.between == 0.0:
            return 1.0
        spread = self.spread(groups) if self.level == "group" else 1.0
        ratio = self.effect / np.sqrt(self.between / (groups * spread))
        return t_power(ratio, self.df(groups, np.inf), self.alpha)

    def best_size(self, cost_group: float, cost_unit: float) -> float:
        """Subgroups of a group with which the variance is smallest for a given cost; infinite where
        nothing but their number matters (Raudenbush 1997)."""
        if self.between == 0.0:
            return np.inf
        return float(np.sqrt(cost_group / cost_unit * self.noise(1.0) / self.between))


def arm(units: float, allocation: float) -> float:
    """Units in the first of two arms, at least one in each."""
    return float(np.clip(np.floor(units * allocation + 0.5), 1.0, units - 1.0))


def t_power(ratio: float, df: float, alpha: float) -> float:
    """Power of a two-sided t-test whose statistic has the noncentrality `ratio`."""
    if not df >= 1.0:
        return 0.0
    if df > 1e6:
        # the noncentral t of very many degrees of freedom loses its digits; it is normal to 1e-6
        edge = stats.norm.isf(alpha / 2.0)
        return float(stats.norm.sf(edge - ratio) + stats.norm.cdf(-edge - ratio))
    edge = stats.t.isf(alpha / 2.0, df)
    size = abs(ratio)
    upper = float(stats.nct.sf(edge, df, size)) if size < 37.0 else 1.0
    lower = float(stats.nct.cdf(-edge, df, size)) if size < 5.0 else 0.0
    return min(upper + lower, 1.0)


def smallest(reached: Callable[[int], bool], start: int, most: int) -> int | None:
    """Smallest whole number from `start` on at which the predicate `reached` holds, if it holds for
    all larger ones but for rounding; None beyond `most`."""
    if reached(start):
        return start
    low, high = start, start
    while not reached(high):
        low, high = high, high * 2
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high

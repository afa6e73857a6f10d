"""The profile of a likelihood: one parameter is held at a value and the criterion minimised over
all others.

zeta is the signed root of the rise above the overall minimum. The ends of an interval are where it
reaches a normal quantile; lme4 interpolates between some points of the profile, here the ends of
all intervals are found exactly, in one search.
"""

from __future__ import annotations

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine import (
    GroupRows,
    HeldModels,
    Index,
    LMMResults,
    family,
    minimise,
    optimise,
    parameter_names,
    parameters,
    theta_to_factor,
    triangle,
)

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
#: Numbers held at a time; more models are done in turns.
BATCH = 4_000_000


class Profile:
    """The criterion minimised over all parameters but one, REML or ML, in scaled columns.

    Parameters
    ----------
    res : LMMResults
    reml : bool
        Whether the REML criterion is profiled; fixed effects need False.
    """

    def __init__(self, res: LMMResults, reml: bool) -> None:
        self.res, self.rows, self.reml = res, res.rows, reml
        scaling, self.q, self.p = res.cross.scaling, res.cross.q, res.cross.p
        theta, at, _ = optimise(self.rows, reml)
        self.theta, self.best = theta, float(at.value[0])
        sigma2 = at.r2 / (res.nobs - (self.p if reml else 0))
        self.log_sigma = 0.5 * float(np.log(sigma2[0]))
        self.estimates = parameters(res, theta[None], at.beta(), sigma2)[0]
        scaled = float(sigma2[0]) * at.unscaled_cov()[0]
        self.errors = np.sqrt(np.diag(scaling.cov_beta(scaled)))
        self.variances = len(theta) + 1
        self.families = [family(scaling.z_map, scaling.y_scale, k) for k in range(self.variances)]
        self.names = parameter_names(res)
        self.each = res.ngroups * self.q * (self.q + self.p + 1)  # numbers that one model holds

    # --- the criterion at values of parameters ------------------------------------------------

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

    def with_variance(self, which: Index, values: Array, thorough: bool) -> Array:
        """`least` for standard deviations, correlations and sigma."""
        factors = [theta_to_factor(self.theta, self.q) + OFF_ZERO * np.eye(self.q)]
        factors += [size * np.eye(self.q) for size in SIZES] if thorough else []
        units = np.array([f.unit for f in self.families])
        first = {k: [self.families[k].start(f, self.log_sigma) for f in factors] for k in {*which}}
        best = np.full(len(which), np.inf)
        for s in range(len(factors)):
            for turn in turns(len(which), self.each):
                held = HeldModels(
                    self.rows, self.reml, self.families, which[turn],
                    values[turn] / units[which[turn]],
                )  # fmt: skip
                start = np.array([first[k][s] for k in which[turn]])
                best[turn] = np.minimum(best[turn], held.minimise(start)[1])
        return best

    def with_fixed_effect(self, j: Index, values: Array, thorough: bool) -> Array:
        """`least` for fixed effects: ``x_j * value`` goes to the response, the other columns are
        fitted."""
        if thorough:
            return np.array(
                [
                    optimise(self.moved(j[m : m + 1], values[m : m + 1]), self.reml)[1].value[0]
                    for m in range(len(j))
                ]
            )
        best = np.empty(len(j))
        column, row = triangle(self.q)
        theta = self.theta + OFF_ZERO * (column == row)
        for turn in turns(len(j), self.each):
            rows = self.moved(j[turn], values[turn])
            best[turn] = minimise(np.tile(theta, (len(rows.R), 1)), rows, self.reml).value
        return best

    def moved(self, j: Index, values: Array) -> GroupRows:
        """The rows for fits in which fixed effects j (m,) have given values."""
        scaling, p = self.res.cross.scaling, self.p
        change = np.zeros((len(j), p + 1, p))
        for m, (k, value) in enumerate(zip(j, values, strict=True)):
            direction = scaling.x_map[k]  # beta_j = y_scale * direction @ beta_scaled + shift
            goal = (value - scaling.y_shift * scaling.constant[k]) / scaling.y_scale
            goal -= float(direction @ scaling.offset)
            change[m, :p, : p - 1] = np.linalg.svd(direction[None])[2][1:].T
            change[m, :p, -1] = -goal * direction / (direction @ direction)
            change[m, p, -1] = 1.0
        R = np.einsum("crg,mcd->mdrg", self.rows.R[0], change, optimize=True)
        within = change.swapaxes(1, 2) @ self.rows.within[0] @ change
        return GroupRows(self.rows.Z, R, within, self.rows.nobs)

    # --- intervals ----------------------------------------------------------------------------

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
                groups = np.sqrt(self.res.nobs / self.res.ngroups)
                step[m] = unit[m] * np.exp(self.log_sigma) / groups

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


def turns(m: int, each: int, batch: int = BATCH) -> list[slice]:
    """The turns in which m models are done, `each` numbers to hold for one."""
    size = max(1, batch // max(each, 1))
    return [slice(start, min(start + size, m)) for start in range(0, m, size)]

"""The profile of a model with one grouping factor, for many values of its parameters at once."""

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
    parameters,
    theta_to_factor,
    triangle,
)

from .zeta import OFF_ZERO, SIZES, Profile

#: Numbers held at a time; more models are done in turns.
BATCH = 4_000_000


class OneFactorProfile(Profile):
    """`Profile` from the cross products of the groups.

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
        self.families = [family(scaling.z_map, scaling.y_scale, k) for k in range(len(theta) + 1)]
        self.rows_each = np.full(len(self.families), res.nobs / res.ngroups)
        self.each = res.ngroups * self.q * (self.q + self.p + 1)  # numbers that one model holds

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


def turns(m: int, each: int, batch: int = BATCH) -> list[slice]:
    """The turns in which m models are done, `each` numbers to hold for one."""
    size = max(1, batch // max(each, 1))
    return [slice(start, min(start + size, m)) for start in range(0, m, size)]

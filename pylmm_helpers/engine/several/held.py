"""A model with several random terms in which a standard deviation or correlation of one term, or
sigma, has a given value.

The held term is turned as `pylmm_helpers.engine.constraints` does for one factor, so that the held
value fixes one entry of its triangular factor; all other entries of theta, and sigma where it isn't
held itself, are free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pylmm_helpers.common import Array

from ..boundary import NEARLY_ZERO
from ..constraints import Family, Index
from ..criterion import theta_to_factor, triangle, triangular
from ..search import newton_step, relative_length
from .criterion import (
    Point,
    average_information,
    evaluate,
    first_derivatives,
    jacobian,
    lambdas_of,
    theta_of,
)
from .information import expected_form
from .search import DECREMENT, MAX_STEPS, is_small, noise, terms_of, vector_of
from .sums import Sums

#: Powers of e beyond which sigma is out of sight.
FAR = 300.0


@dataclass(frozen=True)
class HeldTerm:
    """The models in which the parameter of one family has a value, all in scaled columns.

    Attributes
    ----------
    family : Family
    factor : int
        Position of the held term's factor among those of the sums; -1 if sigma is held.
    part : slice
        The term's columns among those of its factor.
    value : float
        In scaled columns.
    """

    sums: Sums
    reml: bool
    family: Family
    factor: int
    part: slice
    value: float

    @property
    def own(self) -> Index:
        """Positions of the held term's entries in theta; all of them if sigma is held."""
        if self.factor < 0:
            return np.arange(self.sums.slices[-1].stop)
        start = self.sums.slices[self.factor].start
        for k, part in terms_of(self.sums):
            width = part.stop - part.start
            size = width * (width + 1) // 2
            if (k, part) == (self.factor, self.part):
                return np.arange(start, start + size)
            start += size if k == self.factor else 0
        raise AssertionError("the term is one of the sums' terms")

    def expand(self, free: Array) -> tuple[Array, Array, Array]:
        """Theta with the held term turned, and log sigma, as x (d + 1,); its Jacobian (d + 1, d)
        and second derivatives (d + 1, d)."""
        d = len(free)
        own = np.append(self.own, d)  # log sigma last
        others = np.setdiff1d(np.arange(d), self.own)
        rest = len(others)
        x, jac, bend = np.zeros(d + 1), np.zeros((d + 1, d)), np.zeros((d + 1, d))
        x[others], jac[others, np.arange(rest)] = free[:rest], 1.0
        values, inner, second = self.family.expand(np.array([self.value]), free[None, rest:])
        x[own], jac[np.ix_(own, np.arange(rest, d))] = values[0], inner[0]
        bend[np.ix_(own, np.arange(rest, d))] = second[0]
        return x, jac, bend

    def start(self, theta: Array, log_sigma: float) -> Array:
        """Free parameters (d,) nearest to the model with this theta (d,)."""
        others = np.setdiff1d(np.arange(len(theta)), self.own)
        if self.factor < 0:
            return theta.copy()
        block = lambdas_of(theta, self.sums)[self.factor][self.part, self.part]
        return np.concatenate([theta[others], self.family.start(block, log_sigma)])

    def theta(self, turned: Array) -> Array:
        """Theta (d,) of the model, from the one in which the held term is turned."""
        if self.factor < 0:
            return turned
        lambdas = lambdas_of(turned, self.sums)
        block = lambdas[self.factor][self.part, self.part]
        lambdas[self.factor][self.part, self.part] = triangular(self.family.basis.T @ block)
        return theta_of(lambdas, self.sums)

    def value_at(self, free: Array) -> tuple[float, Point, float]:
        """The criterion with its sigma, the point of its theta, and log sigma."""
        x, _, _ = self.expand(free)
        log_sigma = float(np.clip(x[-1], -FAR, FAR))
        with np.errstate(over="ignore", invalid="ignore"):
            at = evaluate(self.theta(x[:-1]), self.sums, self.reml)
        if not np.isfinite(at.value):
            return np.inf, at, log_sigma
        # the criterion has the best sigma in it; put this one in its place
        ratio = at.r2 * np.exp(-2.0 * log_sigma)
        value = at.value + at.nu * (2.0 * log_sigma - np.log(at.r2 / at.nu) - 1.0) + ratio
        return float(value), at, log_sigma

    def derivatives(self, free: Array, at: Point) -> tuple[Array, Array]:
        """Gradient (d,) and Hessian (d, d); exact for a small model, else with the average
        information."""
        x, jac, bend = self.expand(free)
        d, ratio = len(free), at.r2 * np.exp(-2.0 * np.clip(x[-1], -FAR, FAR))
        first = first_derivatives(at)
        curve = ratio * average_information(at, first)
        if is_small(self.sums):
            curve = 2.0 * curve - expected_form(at, first)
        slope = [t - ratio * q for t, q in zip(first.trace, first.quadratic, strict=True)]
        J = self.jacobian(x[:-1], at)
        gradient, hessian = np.zeros(d + 1), np.zeros((d + 1, d + 1))
        gradient[:-1] = J.T @ vector_of(self.sums, slope)
        hessian[:-1, :-1] = J.T @ curve @ J + self.bends(slope)
        hessian[:-1, -1] = hessian[-1, :-1] = (
            2.0 * ratio * J.T @ vector_of(self.sums, first.quadratic)
        )
        gradient[-1], hessian[-1, -1] = 2.0 * (at.nu - ratio), 4.0 * ratio
        inner = jac.T @ hessian @ jac
        inner[np.arange(d), np.arange(d)] += gradient @ bend
        return jac.T @ gradient, inner

    def jacobian(self, turned: Array, at: Point) -> Array:
        """Derivatives (d, d) of the free entries of Delta by theta with the held term turned."""
        J = jacobian(self.sums, at.theta)
        if self.factor < 0:
            return J
        q, B, own = self.part.stop - self.part.start, self.family.basis, self.own
        L = theta_to_factor(turned[own][None], q)[0]
        column, row = triangle(q)
        change = np.zeros((len(row), q, q))
        change[np.arange(len(row)), row] = L[:, column].T
        change = B.T @ (change + change.swapaxes(1, 2)) @ B
        J[np.ix_(own, own)] = change[:, row, column].T
        return J

    def bends(self, slope: list[Array]) -> Array:
        """What the slopes add to the Hessian in theta because Delta is quadratic in theta."""
        d = self.sums.slices[-1].stop
        found = np.zeros((d, d))
        for k, (factor, own) in enumerate(zip(self.sums.factors, self.sums.slices, strict=True)):
            g = slope[k]
            if k == self.factor:
                g = g.copy()
                B = self.family.basis
                g[self.part, self.part] = B @ g[self.part, self.part] @ B.T
            row, column = factor.free
            found[own, own] += 2.0 * g[np.ix_(row, row)] * (column[:, None] == column[None, :])
        return found

    def minimise(self, start: Array) -> tuple[float, Point, float]:
        """The least criterion that a start (d,) leads to, by Newton's method with a trust radius;
        the point and log sigma there."""
        free, radius = start, 10.0
        value, at, log_sigma = self.value_at(free)
        steps = 0
        while steps < MAX_STEPS and np.isfinite(value):
            gradient, hessian = self.derivatives(free, at)
            while steps < MAX_STEPS:
                steps += 1
                move, promise = newton_step(
                    free[None], gradient[None], hessian[None], np.array([radius])
                )
                if promise[0] <= DECREMENT or radius < 1e-13:
                    return value, at, log_sigma
                new, there, sigma_there = self.value_at(free + move[0])
                if new < value + 1e-13 * abs(value) + 1e-12 + 0.1 * noise(at):
                    free, value, at, log_sigma = free + move[0], new, there, sigma_there
                    radius = min(2.0 * radius, 1e100)
                    break
                radius = 0.25 * float(relative_length(move, free[None])[0])
        return value, at, log_sigma


def off_zero(theta: Array, sums: Sums, by: float) -> Array:
    """Theta (d,) with zeros on the diagonals moved away from where the gradient vanishes."""
    lambdas = lambdas_of(theta, sums)
    for L in lambdas:
        spread = np.diag(L) < max(by, NEARLY_ZERO)
        L[np.diag_indices_from(L)] += by * spread
    return theta_of(lambdas, sums)

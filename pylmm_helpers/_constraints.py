"""A standard deviation or correlation of random effects held at a value.

The random terms are turned so that the held one comes first (for a correlation, its two terms come
first and second). In that basis the held value fixes one entry of the triangular factor, and the
others are free: what remains is a minimisation without constraint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pylmm_helpers._crossprod import Array, GroupRows
from pylmm_helpers._profile import (
    criterion,
    derivatives,
    factor_to_theta,
    theta_derivatives,
    triangle,
    triangular,
)
from pylmm_helpers._results import LMMResults

#: Factor entries (in sizes of the optimum) and powers of e for sigma beyond which no profile leads.
FARTHEST, FARTHEST_SIGMA = 1e4, 20.0


@dataclass(frozen=True)
class Held:
    """A family of models in which one variance parameter has a given value.

    Attributes
    ----------
    rows : GroupRows
        Pseudo-rows with the random terms in the turned basis.
    point : ndarray (d + 1,)
        Theta of the overall optimum in that basis, and log sigma.
    first : float
        Standard deviation: its value over sigma is the first entry of theta, ``first / sigma``.
    mix : tuple of float
        Correlation: coefficients alpha, beta of the second term in the first two basis vectors.
    cor, log_sigma : float
        The value at which the correlation or log sigma is held.
    """

    rows: GroupRows
    point: Array
    first: float | None = None
    mix: tuple[float, float] | None = None
    cor: float = 0.0
    log_sigma: float | None = None

    def expand(self, free: Array) -> tuple[Array, Array]:
        """Theta and log sigma (d + 1,) of free parameters, and their Jacobian (d + 1, k)."""
        size = len(self.point)
        x = np.zeros(size)
        if self.log_sigma is not None:
            x[:-1], x[-1] = free, self.log_sigma
            return x, np.eye(size)[:, :-1]
        if self.first is not None:
            jacobian = np.eye(size)[:, 1:]
            x[1:] = free
            x[0] = self.first * np.exp(min(-x[-1], 100.0))  # a wild step is sent back later
            jacobian[0, -1] = -x[0]
            return x, jacobian
        jacobian = self.spread()
        return jacobian @ free, jacobian

    def spread(self) -> Array:
        """Matrix (d + 1, d) from the lengths of both terms and the other entries to theta."""
        assert self.mix is not None
        size, second = len(self.point), self.second
        alpha, beta = self.mix
        matrix = np.eye(size)[:, np.arange(size) != second]
        matrix[1, 0], matrix[1, 1] = -alpha / beta, self.cor / beta
        matrix[second, 1] = np.sqrt(1.0 - self.cor**2) / beta
        return matrix

    @property
    def second(self) -> int:
        """Position in theta of the second diagonal entry."""
        column, row = triangle(self.rows.q)
        return int(np.flatnonzero((column == 1) & (row == 1))[0])

    def start(self) -> Array:
        """Free parameters (k,) nearest to the overall optimum."""
        if self.log_sigma is not None:
            return self.point[:-1].copy()
        if self.first is not None:
            return self.point[1:].copy()
        assert self.mix is not None
        alpha, beta = self.mix
        a, b, c = self.point[0], self.point[1], self.point[self.second]
        start = np.delete(self.point, self.second)
        start[1] = np.hypot(alpha * a + beta * b, beta * c)
        return start

    @property
    def lengths(self) -> int:
        """How many of the free parameters, the first ones, are lengths and so not negative."""
        return 2 if self.mix is not None else 0

    def to_unbounded(self, free: Array) -> Array:
        """Free parameters with the roots of lengths in their places, which may be any number."""
        found = free.copy()
        found[: self.lengths] = np.sqrt(np.maximum(free[: self.lengths], 0.0))
        return found

    def from_unbounded(self, roots: Array) -> Array:
        """The way back from `to_unbounded`."""
        found = roots.copy()
        found[: self.lengths] **= 2
        return found

    def unbounded(self, roots: Array) -> tuple[float, Array]:
        """`value_and_slope` as a function of the roots of lengths."""
        value, slope = self.value_and_slope(self.from_unbounded(roots))
        slope[: self.lengths] *= 2.0 * roots[: self.lengths]
        return value, slope

    def value_and_slope(self, free: Array) -> tuple[float, Array]:
        """Deviance and its gradient (k,) at free parameters (k,)."""
        x, jacobian = self.expand(free)
        limit = FARTHEST * np.maximum(1.0, np.abs(self.point))
        limit[-1] = FARTHEST_SIGMA
        far = (x - np.append(np.zeros(len(x) - 1), self.point[-1])) / limit
        if not np.abs(far).max() < 1.0:  # send a wild step back before numbers overflow
            return 1e12 * float(far @ far), 2e12 * (far / limit) @ jacobian
        theta, log_sigma, n = x[None, :-1], float(x[-1]), self.rows.nobs
        at, whitened = criterion(theta, self.rows, False)
        d = derivatives(at, whitened, self.rows, False)
        r2 = float(at.r2[0])
        ratio = r2 * np.exp(-2.0 * log_sigma)
        # the criterion has the best sigma in it; put this one in its place
        value = float(at.value[0]) + n * (2.0 * log_sigma - np.log(r2 / n) - 1.0) + ratio
        slope, _ = theta_derivatives(theta, d.trace - ratio * d.quadratic, np.zeros_like(d.trace2))
        return value, np.append(slope[0], 2.0 * (n - ratio)) @ jacobian


def turned(rows: GroupRows, factor: Array, log_sigma: float, first: Array) -> Held:
    """The basis whose first vectors span the rows of `first` (k, q), with the optimum in it."""
    basis = np.linalg.qr(np.vstack([first, np.eye(len(factor))]).T)[0].T
    basis[: len(first)] *= np.sign(np.sum(basis[: len(first)] * first, axis=1))[:, None]
    Z = np.einsum("irg,ki->krg", rows.Z, basis)
    theta = factor_to_theta(triangular(basis @ factor))
    return Held(replace(rows, Z=Z), np.append(theta, log_sigma))


def held_sd(res: LMMResults, rows: GroupRows, factor: Array, log_sigma: float, i: int) -> Held:
    """Random term i turned to the front; `replace` its `first` to hold its standard deviation."""
    return turned(rows, factor, log_sigma, res.cross.scaling.z_map[[i]])


def held_correlation(
    res: LMMResults, rows: GroupRows, factor: Array, log_sigma: float, i: int, j: int
) -> Held:
    """Random terms i and j turned to the front; `replace` its `cor` to hold their correlation."""
    pair = res.cross.scaling.z_map[[i, j]]
    pair = pair / np.sqrt(np.sum(pair**2, axis=1, keepdims=True))
    alpha = float(pair[0] @ pair[1])
    across = pair[1] - alpha * pair[0]
    beta = float(np.sqrt(across @ across))
    found = turned(rows, factor, log_sigma, np.vstack([pair[0], across / beta]))
    return replace(found, mix=(alpha, beta))

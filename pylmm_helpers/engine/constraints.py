"""Models in which a standard deviation or correlation of random effects, or sigma, has a given
value.

The random terms are turned so that the held one comes first (for a correlation, its two terms come
first and second). In that basis the held value fixes one entry of the triangular factor, and the
others are free: what remains is a minimisation without constraint. Many are done at once: values
of several parameters, each from several starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from .criterion import (
    criterion,
    derivatives,
    factor_to_theta,
    theta_derivatives,
    theta_to_factor,
    triangle,
    triangular,
)
from .products import GroupRows
from .search import DECREMENT, MAX_STEPS, newton_step, relative_length

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Family:
    """The models whose k-th variance parameter has some value; all in scaled columns.

    Free are d = q(q+1)/2 numbers: theta if sigma is held; theta without its first entry and log
    sigma if a standard deviation is; for a correlation the roots of the lengths of both terms, the
    rest of theta, and log sigma.

    Attributes
    ----------
    basis : ndarray (q, q)
        The turned random terms, as rows.
    kind : str
        "sigma", "sd" or "cor".
    unit : float
        Value in the units of the data of one in scaled columns.
    mix : tuple of float
        Correlation: coefficients alpha, beta of the second term in the first two basis vectors.
    """

    basis: Array
    kind: str
    unit: float = 1.0
    mix: tuple[float, float] = (0.0, 1.0)

    @property
    def second(self) -> int:
        """Position in theta of the second diagonal entry."""
        column, row = triangle(len(self.basis))
        return int(np.flatnonzero((column == 1) & (row == 1))[0])

    def expand(self, values: Array, free: Array) -> tuple[Array, Array, Array]:
        """Theta and log sigma x (m, d + 1) of free parameters (m, d), the Jacobian (m, d + 1, d),
        and the second derivative (m, d + 1, d) of x by each free parameter."""
        m, d = free.shape
        x, jacobian, bend = np.zeros((m, d + 1)), np.zeros((m, d + 1, d)), np.zeros((m, d + 1, d))
        if self.kind == "sigma":
            x[:, :-1], x[:, -1] = free, np.log(values)
            jacobian[:, np.arange(d), np.arange(d)] = 1.0
            return x, jacobian, bend
        if self.kind == "sd":
            x[:, 1:] = free
            x[:, 0] = values * np.exp(np.clip(-free[:, -1], -300.0, 300.0))
            jacobian[:, np.arange(1, d + 1), np.arange(d)] = 1.0
            jacobian[:, 0, -1], bend[:, 0, -1] = -x[:, 0], x[:, 0]
            return x, jacobian, bend
        alpha, beta = self.mix
        jacobian[:, np.delete(np.arange(d + 1), self.second), np.arange(d)] = 1.0
        jacobian[:, 1, 0], jacobian[:, 1, 1] = -alpha / beta, values / beta
        jacobian[:, self.second, 1] = np.sqrt(np.maximum(1.0 - values**2, 0.0)) / beta
        lengths = free.copy()
        lengths[:, :2] **= 2
        x = np.einsum("mij,mj->mi", jacobian, lengths)
        bend[:, :, :2] = 2.0 * jacobian[:, :, :2]
        jacobian[:, :, :2] *= 2.0 * free[:, None, :2]
        return x, jacobian, bend

    def start(self, factor: Array, log_sigma: float) -> Array:
        """Free parameters (d,) nearest to a model with the given factor (q, q) and log sigma."""
        theta = factor_to_theta(triangular(self.basis @ factor))
        if self.kind == "sigma":
            return theta
        if self.kind == "sd":
            return np.append(theta[1:], log_sigma)
        alpha, beta = self.mix
        a, b, c = theta[0], theta[1], theta[self.second]
        start = np.delete(np.append(theta, log_sigma), self.second)
        start[1] = np.hypot(alpha * a + beta * b, beta * c)
        start[:2] = np.sqrt(np.maximum(start[:2], 0.0))
        return start


def family(z_map: Array, y_scale: float, k: int) -> Family:
    """The family of the k-th variance parameter, in the order of `parameter_names`."""
    q = len(z_map)
    column, row = triangle(q)
    if k == len(row):
        return Family(np.eye(q), "sigma", y_scale)
    i, j = int(column[k]), int(row[k])
    if i == j:
        size = float(np.linalg.norm(z_map[i]))
        return Family(turned(z_map[[i]] / size), "sd", y_scale * size)
    pair = z_map[[i, j]]
    pair = pair / np.sqrt(np.sum(pair**2, axis=1, keepdims=True))
    alpha = float(pair[0] @ pair[1])
    across = pair[1] - alpha * pair[0]
    beta = float(np.sqrt(across @ across))
    return Family(turned(np.vstack([pair[0], across / beta])), "cor", 1.0, (alpha, beta))


def turned(first: Array) -> Array:
    """An orthonormal basis (q, q) whose first rows are those of `first` (k, q)."""
    q = first.shape[1]
    basis = np.linalg.qr(np.vstack([first, np.eye(q)]).T)[0].T
    basis[: len(first)] *= np.sign(np.sum(basis[: len(first)] * first, axis=1))[:, None]
    return np.asarray(basis)


@dataclass(frozen=True)
class HeldModels:
    """Members of families at values (m,): the criterion at their free parameters (m, d)."""

    rows: GroupRows
    reml: bool
    families: list[Family]
    member: Index
    values: Array

    def at(self, index: Index, free: Array) -> tuple[Array, Array, Array]:
        """Criterion (b,), gradient (b, d) and Hessian (b, d, d) of the chosen members."""
        nu = self.rows.nobs - (self.rows.p if self.reml else 0)
        q, (b, d) = self.rows.q, free.shape
        x, jacobian, bend = np.empty((b, d + 1)), np.empty((b, d + 1, d)), np.empty((b, d + 1, d))
        which = self.member[index]
        for k in np.unique(which):
            mine = which == k
            x[mine], jacobian[mine], bend[mine] = self.families[k].expand(
                self.values[index[mine]], free[mine]
            )
        basis = np.array([f.basis for f in self.families])[which]
        theta, log_sigma = x[:, :-1], np.clip(x[:, -1], -300.0, 300.0)
        # a wild step overflows; it is sent back because its value is not finite
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            factor = triangular(basis.swapaxes(1, 2) @ theta_to_factor(theta, q))
            at, whitened = criterion(factor_to_theta(factor), self.rows, self.reml)
            der = derivatives(at, whitened, self.rows, self.reml)
            ratio = at.r2 * np.exp(-2.0 * log_sigma)
            # the criterion has the best sigma in it; put this one in its place
            value = at.value + nu * (2.0 * log_sigma - np.log(at.r2 / nu) - 1.0) + ratio
            slope = der.trace - ratio[:, None, None] * der.quadratic
            curve = 2.0 * ratio[:, None, None, None, None] * der.quadratic2 - der.trace2
            quadratic = 2.0 * ratio[:, None, None] * der.quadratic
            turn = "bxi,bij,byj->bxy"
            slope = np.einsum(turn, basis, slope, basis)
            quadratic = np.einsum(turn, basis, quadratic, basis)
            curve = np.einsum("bxi,byj,bijkl,bzk,bwl->bxyzw", basis, basis, curve, basis, basis,
                              optimize=True)  # fmt: skip
            gradient, hessian = np.empty((b, d + 1)), np.empty((b, d + 1, d + 1))
            gradient[:, :-1], hessian[:, :-1, :-1] = theta_derivatives(theta, slope, curve)
            mixed, _ = theta_derivatives(theta, quadratic, np.zeros_like(curve))
            gradient[:, -1] = 2.0 * (nu - ratio)
            hessian[:, :-1, -1] = hessian[:, -1, :-1] = mixed
            hessian[:, -1, -1] = 4.0 * ratio
            inner = jacobian.swapaxes(1, 2) @ hessian @ jacobian
            inner[:, np.arange(d), np.arange(d)] += np.einsum("ma,mai->mi", gradient, bend)
            outer = np.einsum("mai,ma->mi", jacobian, gradient)
        sound = np.isfinite(value) & np.isfinite(outer).all(axis=1)
        sound &= np.isfinite(inner).all(axis=(1, 2))
        return np.where(sound, value, np.inf), outer, inner

    def minimise(self, start: Array) -> tuple[Array, Array]:
        """Free parameters (m, d) at the minimum that each start leads to, and the criterion (m,)
        there, by Newton's method with a trust radius."""
        point, trial = start.copy(), start.copy()
        value, radius = np.full(len(start), np.inf), np.full(len(start), 10.0)
        gradient, hessian = np.zeros_like(start), np.zeros(start.shape + start.shape[-1:])
        active = np.arange(len(start))
        for _ in range(MAX_STEPS):
            new, slope, curve = self.at(active, trial[active])
            better = new < value[active] + 1e-13 * np.abs(new) + 1e-12
            taken = relative_length(trial[active] - point[active], point[active])
            moved = active[better]
            point[moved], value[moved] = trial[moved], new[better]
            gradient[moved], hessian[moved] = slope[better], curve[better]
            radius[active] = np.where(better, np.minimum(2.0 * radius[active], 1e100), 0.25 * taken)
            move, promise = newton_step(
                point[active], gradient[active], hessian[active], radius[active]
            )
            trial[active] = point[active] + move
            active = active[~((promise <= DECREMENT) | (radius[active] < 1e-13))]
            if not len(active):
                break
        return point, value

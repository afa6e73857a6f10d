"""Refits without each of many groups at once.

The criterion of all groups but one is made of ``log|V|`` and of ``[X y]'V^-1 [X y]``, sums over the
groups. Leaving one out moves the relative covariance Delta a little, about its standard error over
the root of the number of groups, and there each sum is a polynomial in Delta to all digits. So the
sums are taken at some values of Delta, polynomials put through them, those of the group taken from
those of all, and Newton's method finds the minima of all the differences together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from pylmm_helpers.common import Array
from pylmm_helpers.engine import (
    GroupRows,
    LMMResults,
    criterion,
    delta_gradient,
    delta_hessian,
    derivatives,
    symmetric_basis,
    whiten,
)

#: How far the polynomials reach, in standard errors over the root of the number of groups.
REACH = 8.0
#: Degrees of the polynomials to try, by the number of variance parameters; more aren't batched.
DEGREES = {1: (6, 10), 3: (4, 6)}
#: Largest error of Delta, relative to its size, that the polynomials may make.
EXACT = 1e-8
STEPS = 30
#: Groups handled at a time.
BLOCK = 2_000


@dataclass
class Refits:
    """Estimates without each group, in scaled columns; rows of NaN where there is none yet.

    Attributes
    ----------
    factor, beta, phi, sigma2 : ndarray (G, q, q), (G, p), (G, p, p), (G,)
        Relative covariance factor, fixed effects, their covariance over sigma^2, and sigma^2.
    """

    factor: Array
    beta: Array
    phi: Array
    sigma2: Array

    @classmethod
    def empty(cls, ngroups: int, q: int, p: int) -> Refits:
        """Nothing known yet."""
        shapes = ((ngroups, q, q), (ngroups, p), (ngroups, p, p), (ngroups,))
        return cls(*(np.full(shape, np.nan) for shape in shapes))


@dataclass(frozen=True)
class Polynomials:
    """Values of Delta, ``centre + sum_i t_i axes_i``, and all monomials of t up to a degree.

    Attributes
    ----------
    centre, axes : ndarray (q, q), (d, q, q)
    low, high : ndarray (d,)
        Where t may be.
    powers : ndarray (m, d)
        Exponents of the monomials of t / REACH.
    """

    centre: Array
    axes: Array
    low: Array
    high: Array
    powers: NDArray[np.intp]

    def of_degree(self, degree: int) -> Polynomials:
        """The same place, with monomials up to a degree."""
        d = len(self.low)
        powers = [
            np.bincount(chosen, minlength=d + 1)[:d]
            for chosen in combinations_with_replacement(range(d + 1), degree)
        ]
        return replace(self, powers=np.array(powers))

    def monomials(self, t: Array) -> tuple[Array, Array, Array]:
        """Monomials (b, m) at t (b, d), first (b, d, m) and second derivatives (b, d, d, m)."""
        d = len(self.low)
        grown = (t / REACH)[:, None, :] ** np.arange(self.powers.max() + 1)[None, :, None]
        each = [grown[:, self.powers[:, i], i] for i in range(d)]
        lower = [
            self.powers[:, i] * grown[:, np.maximum(self.powers[:, i] - 1, 0), i] / REACH
            for i in range(d)
        ]
        lowest = [
            self.powers[:, i] * (self.powers[:, i] - 1)
            * grown[:, np.maximum(self.powers[:, i] - 2, 0), i] / REACH**2
            for i in range(d)
        ]  # fmt: skip

        def product(*change: int) -> Array:
            parts = [(each, lower, lowest)[change.count(i)][i] for i in range(d)]
            return np.asarray(np.prod(parts, axis=0))

        first = np.stack([product(i) for i in range(d)], axis=1)
        second = np.stack(
            [np.stack([product(i, j) for j in range(d)], axis=1) for i in range(d)], axis=1
        )
        return product(), first, second

    def delta(self, t: Array) -> Array:
        """Delta (b, q, q) at t (b, d)."""
        return np.asarray(self.centre + np.einsum("bi,ijk->bjk", t, self.axes))


def refit_all(
    res: LMMResults, own: Array, wanted: NDArray[np.bool_], show: Callable[[float], None]
) -> Refits:
    """Refits without each of the wanted groups; NaN where only a refit of its own will do.

    Parameters
    ----------
    own : ndarray (G, p + 1, p + 1)
        Part of each group in `GroupRows.within`.
    """
    rows, q, p = res.rows, res.cross.q, res.cross.p
    found = Refits.empty(res.ngroups, q, p)
    space = region(res)
    if space is None:
        return found
    parts = [
        slice(start, min(start + BLOCK, res.ngroups)) for start in range(0, res.ngroups, BLOCK)
    ]
    for degree in DEGREES[len(space.low)]:
        space = space.of_degree(degree)
        nodes = points(space)
        monomials = space.monomials(nodes)[0]
        fit = np.linalg.pinv(monomials)
        factors = np.array([psd_root(delta) for delta in space.delta(nodes)])
        at_nodes = sum(group_sums(rows, part, factors).sum(axis=1) for part in parts)
        at_nodes[:, 1:] += rows.within[0].ravel()
        total = fit @ at_nodes
        if accurate(res, space, at_nodes, monomials @ total):
            break
    else:
        return found
    constant = int(np.flatnonzero(space.powers.sum(axis=1) == 0)[0])
    for k, part in enumerate(parts):
        mine = np.einsum("mn,ngf->gmf", fit, group_sums(rows, part, factors), optimize=True)
        mine = total - mine
        mine[:, constant, 1:] -= own[part].reshape(len(mine), -1)
        nu = res.nobs - res.cross.sizes[part] - (p if res.reml else 0)
        descend(res, space, mine, nu, wanted[part], found, part)
        show(100.0 * (k + 1) / len(parts))
    return found


def region(res: LMMResults) -> Polynomials | None:
    """Where the refits will lie, from the information; None where polynomials can't follow them."""
    q = res.cross.q
    basis = symmetric_basis(q)
    d = len(basis)
    if d not in DEGREES or not res.identified:
        return None
    nu = res.nobs - (res.cross.p if res.reml else 0)
    der = derivatives(*criterion(res.theta_scaled[None], res.rows, res.reml), res.rows, res.reml)
    hessian = np.einsum("kij,ijmn,lmn->kl", basis, delta_hessian(der, nu)[0], basis)
    gradient = np.einsum("kij,ij->k", basis, delta_gradient(der, nu)[0])
    values, vectors = np.linalg.eigh(hessian)
    if values[0] <= 1e-10 * values[-1] or (q > 1 and res.singular):
        return None
    centre = res.factor_scaled @ res.factor_scaled.T
    axes = np.einsum("ki,kab->iab", vectors * np.sqrt(2.0 / values / res.ngroups), basis)
    low, high = np.full(d, -REACH), np.full(d, REACH)
    if q == 1:  # a variance may come to its zero, but not below
        axes = np.abs(axes)
        low = np.maximum(low, -centre[0] / axes[0])
    else:
        reach = np.sqrt(d) * REACH * np.abs(np.linalg.eigvalsh(axes)).max()
        if reach >= np.linalg.eigvalsh(centre)[0] or np.abs(gradient).max() > 1e-3 * nu:
            return None
    return Polynomials(centre, axes, low, high, np.zeros((1, d), dtype=np.intp))


def points(space: Polynomials) -> Array:
    """Values of t (n, d) to put polynomials through: Chebyshev's in one dimension, else many."""
    d, m = len(space.low), len(space.powers)
    if d == 1:
        spread = np.cos(np.pi * (np.arange(2 * m) + 0.5) / (2 * m))[:, None]
    else:
        # denser at the edges, as Chebyshev's points are
        spread = -np.cos(np.pi * qmc.Halton(d, scramble=False).random(2 * m + 1)[1:])
    return np.asarray(0.5 * (space.low + space.high) + 0.5 * (space.high - space.low) * spread)


def psd_root(delta: Array) -> Array:
    """Lower triangular root (q, q) of a matrix that may be zero."""
    if len(delta) == 1:
        return np.sqrt(np.maximum(delta, 0.0))
    return np.asarray(np.linalg.cholesky(delta))


def group_sums(rows: GroupRows, part: slice, factors: Array) -> Array:
    """``log|V_g|`` and ``[X y]'V_g^-1 [X y]`` of pseudo-rows (n, g, 1 + (p + 1)^2), for factors
    (n, q, q)."""
    q, k = rows.q, rows.p + 1
    Z, R = rows.Z[..., part], rows.R[..., part]
    out = np.empty((len(factors), Z.shape[-1], 1 + k * k))
    for n, factor in enumerate(factors):
        pivots, block = whiten(factor[None], Z, R)
        out[n, :, 0] = np.log(pivots[0]).sum(axis=0)
        right = np.moveaxis(block[0, q:], 2, 0)
        out[n, :, 1:] = (right @ right.swapaxes(1, 2)).reshape(-1, k * k)
    return out


def accurate(res: LMMResults, space: Polynomials, sums: Array, approximate: Array) -> bool:
    """Whether the polynomials of all groups together give their criterion exactly enough."""
    k, nu = res.cross.p + 1, res.nobs - (res.cross.p if res.reml else 0)
    values = [s[:, 0] + form(s[:, 1:].reshape(-1, k, k), nu, res.reml) for s in (sums, approximate)]
    if not np.isfinite(values).all():
        return False
    wrong = float(np.abs(values[0] - values[1]).max())
    # the criterion is t't / G: an error of its slope is one of t, times G / 2
    step = np.abs(space.axes).max() / max(float(np.abs(space.centre).max()), 1e-2)
    rounding = 1e-13 * abs(float(values[0][0]))
    return max(wrong - rounding, 0.0) * res.ngroups * step <= EXACT


def form(M: Array, nu: Array | int, reml: bool) -> Array:
    """What the criterion adds to ``log|V|`` but for constants: of M (b, p + 1, p + 1)."""
    inner = np.linalg.slogdet(M[:, :-1, :-1])[1]
    return np.asarray(nu * np.linalg.slogdet(M)[1] + (float(reml) - nu) * inner)


def descend(
    res: LMMResults,
    space: Polynomials,
    coefficients: Array,
    nu: NDArray[Any],
    wanted: NDArray[np.bool_],
    found: Refits,
    part: slice,
) -> None:
    """Newton's method for a block of groups (b, m, 1 + (p + 1)^2); the results go to `found`."""
    b, d, k, p = len(coefficients), len(space.low), res.cross.p + 1, res.cross.p
    t = np.clip(np.zeros((b, d)), space.low, space.high)
    done, active = np.zeros(b, dtype=bool), np.flatnonzero(wanted)
    for _ in range(STEPS):
        if not len(active):
            break
        phi, first, second = space.monomials(t[active])
        C = coefficients[active]
        sums = np.einsum("bm,bmf->bf", phi, C)
        slope, curve = first @ C, np.einsum("bijm,bmf->bijf", second, C, optimize=True)
        M, dM = sums[:, 1:].reshape(-1, k, k), slope[..., 1:].reshape(-1, d, k, k)
        d2M = curve[..., 1:].reshape(-1, d, d, k, k)
        gradient, hessian = slope[..., 0].copy(), curve[..., 0].copy()
        sound = np.linalg.eigvalsh(M)[:, 0] > 0.0
        M[~sound] = np.eye(k)
        for size, weight in ((k, nu[active]), (p, float(res.reml) - nu[active])):
            inverse = np.linalg.inv(M[:, :size, :size])
            moved = inverse[:, None] @ dM[..., :size, :size]
            gradient += weight[:, None] * np.einsum("bdii->bd", moved)
            both = np.einsum("bij,bdeji->bde", inverse, d2M[..., :size, :size])
            both = both - np.einsum("bdij,beji->bde", moved, moved)
            hessian += weight[:, None, None] * both
        values, vectors = np.linalg.eigh(hessian)
        sound &= values[:, 0] > 0.0
        step = -np.einsum(
            "bij,bj->bi", vectors,
            np.einsum("bij,bi->bj", vectors, gradient) / np.where(sound[:, None], values, 1.0),
        )  # fmt: skip
        new = t[active] + step
        if d == 1:
            new = np.maximum(new, space.low)
        inside = sound & np.all((new >= space.low) & (new <= space.high), axis=1)
        size = np.abs(new - t[active]).max(axis=1)
        t[active[inside]] = new[inside]
        over = inside & (size < 1e-9 * REACH)
        done[active[over]] = True
        active = active[inside & ~over]
    good = np.flatnonzero(done)
    sums = np.einsum("bm,bmf->bf", space.monomials(t[good])[0], coefficients[good])
    M = sums[:, 1:].reshape(-1, k, k)
    inverse = np.linalg.inv(M[:, :p, :p])
    beta = np.einsum("bij,bj->bi", inverse, M[:, :p, p])
    index = np.arange(part.start, part.stop)[good]
    found.factor[index] = [psd_root(delta) for delta in space.delta(t[good])]
    found.beta[index], found.phi[index] = beta, inverse
    found.sigma2[index] = (M[:, p, p] - np.einsum("bi,bi->b", beta, M[:, :p, p])) / nu[good]

r"""The profiled criterion of a linear mixed model, its gradient and its second derivatives.

For one grouping factor, :math:`\operatorname{var}(y) = \sigma^2 V` with :math:`V_g = I + Z_g \Delta
Z_g'` in each group g. Given the relative covariance :math:`\Delta = \Lambda\Lambda'` the best
:math:`\beta` and :math:`\sigma^2` have closed forms; put back into the likelihood they leave a
function of :math:`\theta`, the free entries of the triangular :math:`\Lambda`:

.. math:: -2\ell = \log|V| + \nu(1 + \log(2\pi r^2/\nu)) + [\log|X'V^{-1}X|], \qquad r^2 = y'Py,

with :math:`\nu = n` for ML, and :math:`\nu = n - p` and the bracket for REML. This is lme4's
deviance or REML criterion (Bates et al. 2015, doi:10.18637/jss.v067.i01, eqs. 34 and 42).
Derivatives follow from :math:`dP = -P\,dV\,P` (Searle, Casella & McCulloch 1992, ch. 6).

Every function takes B values of theta at once (first axis), for several starts or for bootstrap
replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from .products import GroupRows, eliminate


@dataclass(frozen=True)
class Criterion:
    """The profiled criterion at B values of theta.

    Attributes
    ----------
    value : ndarray (B,)
        Deviance (ML) or REML criterion in scaled columns, prior weights left out.
    r2 : ndarray (B,)
        Weighted residual sum of squares plus the penalty of the random effects.
    root : ndarray (B, p + 1, p + 1)
        Cholesky factor of ``[X y]' V^-1 [X y]``; its last diagonal entry squared is `r2`.
    """

    value: Array
    r2: Array
    root: Array

    def take(self, index: NDArray[np.intp]) -> Criterion:
        """The chosen replicates only."""
        return Criterion(self.value[index], self.r2[index], self.root[index])

    def beta(self) -> Array:
        """Fixed effects (B, p) in scaled columns."""
        p = self.root.shape[-1] - 1
        corner = self.root[:, :p, :p]
        return np.asarray(np.linalg.solve(corner.swapaxes(1, 2), self.root[:, p, :p, None])[..., 0])

    def unexplained(self) -> Array:
        """Share (B,) of the response's weighted sum of squares that the fixed effects leave."""
        return np.asarray(self.r2 / np.sum(self.root[:, -1] ** 2, axis=1))

    def unscaled_cov(self) -> Array:
        """``(X' V^-1 X)^-1`` (B, p, p) in scaled columns; times sigma^2 it is the covariance of
        beta."""
        p = self.root.shape[-1] - 1
        inverse = np.linalg.inv(self.root[:, :p, :p])
        return np.asarray(inverse.swapaxes(1, 2) @ inverse)


@dataclass(frozen=True)
class Derivatives:
    """Derivatives with respect to the symmetric matrix Delta, at B values of theta.

    A change of Delta by the symmetric matrices E and F changes V by ``Z E Z'`` and ``Z F Z'``.
    Tensors of shape (B, q, q, q, q) are bilinear forms: contract the first two indices with E, the
    last two with F.

    Attributes
    ----------
    trace : ndarray (B, q, q)
        ``tr(P ZEZ')``; with ML, ``tr(V^-1 ZEZ')``.
    quadratic : ndarray (B, q, q)
        ``y'P ZEZ' P y / r2``.
    trace2 : ndarray (B, q, q, q, q)
        ``tr(P ZEZ' P ZFZ')``, twice the expected information; with ML, V^-1 in place of P.
    quadratic2 : ndarray (B, q, q, q, q)
        ``y'P ZEZ' P ZFZ' P y / r2``.
    x_products : ndarray (B, q, p, q, p)
        ``sum_g a_g a_g'`` with ``a_g = Z_g'V^-1 X_g root^-T``: contracted with E over both q it is
        ``X'V^-1 ZEZ' V^-1 X`` in the basis where ``X'V^-1X`` is the identity.
    """

    trace: Array
    quadratic: Array
    trace2: Array
    quadratic2: Array
    x_products: Array


@cache
def triangle(q: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Columns and rows of a lower triangle (q, q), down the columns: lme4's order of theta."""
    column, row = np.triu_indices(q)
    return column, row


def theta_to_factor(theta: Array, q: int) -> Array:
    """Lower triangular Lambda (..., q, q) from theta (..., q(q+1)/2), lme4's order: down the
    columns."""
    factor = np.zeros((*theta.shape[:-1], q, q))
    column, row = triangle(q)
    factor[..., row, column] = theta
    return factor


def factor_to_theta(factor: Array) -> Array:
    """The free entries (..., q(q+1)/2) of lower triangular matrices (..., q, q), down the
    columns."""
    column, row = triangle(factor.shape[-1])
    return np.asarray(factor[..., row, column])


@cache
def symmetric_basis(q: int) -> Array:
    """Symmetric matrices (q(q+1)/2, q, q) with ones at (i, j) and (j, i), in the order of theta."""
    column, row = triangle(q)
    basis = np.zeros((len(row), q, q))
    basis[np.arange(len(row)), row, column] = 1.0
    basis[np.arange(len(row)), column, row] = 1.0
    return basis


def triangular(root: Array) -> Array:
    """The lower triangular matrix (..., q, q), diagonal not negative, with the same product ``root
    root'``."""
    lower = np.asarray(np.linalg.qr(root.swapaxes(-1, -2), mode="r")).swapaxes(-1, -2)
    return lower * np.where(np.diagonal(lower, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None, :]


def whiten(factor: Array, Z: Array, R: Array) -> tuple[Array, Array]:
    """Pseudo-rows of some groups, multiplied by ``V_g^-1/2``.

    Parameters
    ----------
    factor : ndarray (B, q, q)
        Lambda.
    Z, R : ndarray (q, q, G) and (B or 1, p + 1, q, G)
        Pseudo-rows of G groups, see `GroupRows`.

    Returns
    -------
    pivots : ndarray (B, q, G)
        Their product over q is the determinant of V_g.
    whitened : ndarray (B, q + p + 1, q, G)
        Columns of Z, X and y after whitening.
    """
    diagonal = np.arange(Z.shape[1])
    ZL = (factor.swapaxes(1, 2) @ Z.reshape(len(Z), -1)).reshape(-1, *Z.shape)
    V = np.einsum("bjrg,bjsg->brsg", ZL, ZL)
    V[:, diagonal, diagonal] += 1.0
    right = np.concatenate([np.broadcast_to(Z, (len(R), *Z.shape)), R], axis=1)
    return eliminate(V, right)


def criterion(theta: Array, rows: GroupRows, reml: bool) -> tuple[Criterion, list[Array]]:
    """Profiled criterion at theta (B, q(q+1)/2), and the whitened rows that `derivatives` needs,
    block by block."""
    q, p, nu = rows.q, rows.p, rows.nobs - (rows.p if reml else 0)
    factor = theta_to_factor(theta, q)
    log_det, products, whitened = np.zeros(len(theta)), rows.within, []
    for Z, R in rows.blocks():
        pivots, block = whiten(factor, Z, R)
        log_det += np.log(pivots).sum(axis=(1, 2))
        flat = block[:, q:].reshape(len(block), p + 1, -1)
        products = products + flat @ flat.swapaxes(1, 2)
        whitened.append(block)
    root, proper = cholesky(products)
    r2 = root[:, p, p] ** 2
    value = log_det + nu * (1.0 + np.log(2.0 * np.pi * r2 / nu))
    if reml:
        value = value + 2.0 * np.log(np.diagonal(root[:, :p, :p], axis1=1, axis2=2)).sum(axis=1)
    return Criterion(np.where(proper, value, np.inf), r2, root), whitened


def cholesky(products: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Cholesky factors of (B, k, k) matrices, and which of them are positive definite.

    At a theta far outside all reason rounding may make one indefinite; such a theta counts as
    infinitely bad.
    """
    proper = np.ones(len(products), dtype=bool)
    try:
        return np.asarray(np.linalg.cholesky(products), dtype=float), proper
    except np.linalg.LinAlgError:
        roots = np.broadcast_to(np.eye(products.shape[-1]), products.shape).copy()
        for k, matrix in enumerate(products):
            try:
                roots[k] = np.linalg.cholesky(matrix)
            except np.linalg.LinAlgError:
                proper[k] = False
        return roots, proper


def group_products(inverse_root: Array, whitened: Array, q: int) -> tuple[Array, Array]:
    """What each group adds: ``Z'V^-1 Z`` (B, q, q, G), and ``root^-1 [X y]'V^-1 Z`` (B, p + 1, q,
    G).

    In the basis of the Cholesky factor X'V^-1X is the identity and the last column is the residual
    y - X beta divided by r, so that one matrix product serves beta, residual and projection.
    """
    Z, R = whitened[:, :q], whitened[:, q:]
    ZVZ = np.einsum("birg,bjrg->bijg", Z, Z)
    ZVR = np.einsum("bcrg,birg->bcig", R, Z)
    return ZVZ, (inverse_root @ ZVR.reshape(*ZVR.shape[:2], -1)).reshape(ZVR.shape)


def derivatives(at: Criterion, whitened: list[Array], rows: GroupRows, reml: bool) -> Derivatives:
    """All first and second derivatives with respect to Delta; see `Derivatives`."""
    q, p, B = rows.q, rows.p, len(at.value)
    inverse_root = np.asarray(np.linalg.inv(at.root), dtype=float)
    trace = np.zeros((B, q, q))
    products = np.zeros((B, (p + 1) * q, (p + 1) * q))
    fourth = np.zeros((B, q * q, 2 * q * q))
    for block in whitened:
        ZVZ, a = group_products(inverse_root, block, q)
        trace += ZVZ.sum(axis=-1)
        flat = a.reshape(B, (p + 1) * q, -1)
        products += flat @ flat.swapaxes(1, 2)
        square = np.einsum("big,bjg->bijg", a[:, p], a[:, p])
        spread = ZVZ - 2.0 * np.einsum("bpig,bpjg->bijg", a[:, :p], a[:, :p]) if reml else ZVZ
        pairs = np.concatenate([spread, square], axis=1).reshape(B, 2 * q * q, -1)
        fourth += ZVZ.reshape(B, q * q, -1) @ pairs.swapaxes(1, 2)
    products = products.reshape(B, p + 1, q, p + 1, q)
    x_products, cross = products[:, :p, :, :p, :], products[:, :p, :, p, :]
    fourth = fourth.reshape(B, q, q, 2, q, q)
    trace2 = np.einsum("bjkli->bijkl", fourth[:, :, :, 0])
    quadratic2 = np.einsum("bjkli->bijkl", fourth[:, :, :, 1])
    quadratic2 = quadratic2 - np.einsum("bpij,bpkl->bijkl", cross, cross)
    if reml:
        trace = trace - np.einsum("bpipj->bij", x_products)
        trace2 = trace2 + np.einsum("bpirj,brkpl->bijkl", x_products, x_products)
    return Derivatives(
        trace, products[:, p, :, p, :], symmetrise(trace2), symmetrise(quadratic2), x_products
    )


def symmetrise(form: Array) -> Array:
    """The part of a bilinear form (..., q, q, q, q) that symmetric matrices can see."""
    form = form + form.swapaxes(-1, -2)
    form = form + form.swapaxes(-3, -4)
    return np.asarray(form / 4.0)


def delta_gradient(d: Derivatives, nu: int) -> Array:
    """Gradient (B, q, q) of the profiled criterion with respect to Delta."""
    return d.trace - nu * d.quadratic


def delta_hessian(d: Derivatives, nu: int) -> Array:
    """Second derivatives (B, q, q, q, q) of the profiled criterion with respect to Delta."""
    outer = np.einsum("bij,bkl->bijkl", d.quadratic, d.quadratic)
    return np.asarray(-d.trace2 + 2.0 * nu * d.quadratic2 - nu * outer)


def theta_derivatives(theta: Array, gradient: Array, hessian: Array) -> tuple[Array, Array]:
    """Chain rule from Delta to theta: gradient (B, d) and Hessian (B, d, d), d = q(q+1)/2.

    ``d Delta / d Lambda_ij = e_i lambda_j' + lambda_j e_i'`` with lambda_j the j-th column of
    Lambda.
    """
    q = gradient.shape[-1]
    factor = theta_to_factor(theta, q)
    column, row = triangle(q)
    first = 2.0 * np.einsum("bia,baj->bij", gradient, factor)[:, row, column]
    full = 4.0 * np.einsum("biakc,baj,bcl->bijkl", hessian, factor, factor)
    second = full[:, row, column][:, :, row, column]
    second = second + 2.0 * gradient[:, row][:, :, row] * (column[:, None] == column[None, :])
    return first, np.asarray(second)

r"""Denominator degrees of freedom by Satterthwaite and by Kenward and Roger, from per-group
products.

All is computed in the basis where :math:`X'V^{-1}X` is the identity and :math:`\sigma = 1`. For a
contrast ``L beta`` the covariance matrix is then ``C C'`` with C = L in that basis (k by p), and
the derivatives of the criterion that the fit itself used (`_profile.Derivatives`) give the rest.

Satterthwaite's degrees of freedom are :math:`2 f^2 / (g'Ag)` with f the variance of the contrast, g
its gradient and A the covariance of the variance parameters, here theta and sigma, A being twice
the inverse Hessian of the criterion. A singular fit needs no special case: where a diagonal entry
of Lambda is zero, f does not depend on it to first order.

Kenward and Roger work with the variances themselves, in which V is linear. Any basis of the space
of V's serves; with V itself in place of the residual's identity matrix, :math:`P_V = -\Phi^{-1}`
and :math:`Q_{rV} = -P_r`, so that its terms drop out of the bias correction and no higher power of
:math:`V^{-1}` is needed.

References
----------
Kenward MG, Roger JH (1997). Small sample inference for fixed effects from restricted maximum
likelihood. Biometrics 53, 983-997.

Halekoh U, Højsgaard S (2014). A Kenward-Roger approximation and parametric bootstrap methods for
tests in linear mixed models. J Stat Softw 59(9). doi:10.18637/jss.v059.i09

Kuznetsova A, Brockhoff PB, Christensen RHB (2017). lmerTest package: tests in linear mixed effects
models. J Stat Softw 82(13). doi:10.18637/jss.v082.i13
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine import (
    Derivatives,
    LMMResults,
    criterion,
    derivatives,
    group_products,
    symmetric_basis,
    theta_derivatives,
)

#: Eigenvalues of a scaled information matrix below this carry no information (lmerTest's
#: tolerance).
NO_INFORMATION = 1e-8


@dataclass(frozen=True)
class VarianceInformation:
    """What both methods need from a fit, with sigma = 1 and X'V^-1X the identity.

    Attributes
    ----------
    d : Derivatives
        Of the criterion, at the fit.
    r2 : float
        Residual sum of squares over sigma^2; n - p (REML) or n (ML) at a fit's own optimum.
    whitened : list of ndarray
        Whitened rows, block by block.
    inverse_root : ndarray (1, p + 1, p + 1)
        Inverse Cholesky factor of ``[X y]'V^-1[X y]``.
    """

    d: Derivatives
    r2: float
    whitened: list[Array]
    inverse_root: Array


def variance_information(fit: LMMResults) -> VarianceInformation:
    """Derivatives of the criterion at a fit's estimates."""
    at, whitened = criterion(fit.theta_scaled[None], fit.rows, fit.reml)
    d = derivatives(at, whitened, fit.rows, fit.reml)
    inverse_root = np.linalg.inv(at.root).astype(float)
    return VarianceInformation(d, float(at.r2[0]) / fit.sigma2_scaled, whitened, inverse_root)


def in_basis(fit: LMMResults, L: Array) -> Array:
    """Contrasts L (k, p) in the basis where ``X'V^-1X`` is the identity: ``cov(L beta) = sigma^2 C
    C'``."""
    p = fit.cross.p
    root = fit.at.root.reshape(p + 1, p + 1)[:p, :p]
    return np.asarray(np.linalg.solve(root, (L @ fit.cross.scaling.x_map).T).T)


def satterthwaite(fit: LMMResults, L: Array, info: VarianceInformation | None = None) -> Array:
    """Satterthwaite's degrees of freedom (k,) for each row of L (k, p), as lmerTest defines
    them."""
    info = info or variance_information(fit)
    d, nu, q = info.d, fit.nobs - (fit.cross.p if fit.reml else 0), fit.cross.q
    gradient = d.trace - info.r2 * d.quadratic
    first, second = theta_derivatives(
        fit.theta_scaled[None], gradient, -d.trace2 + 2.0 * info.r2 * d.quadratic2
    )
    mixed, _ = theta_derivatives(
        fit.theta_scaled[None], 2.0 * info.r2 * d.quadratic, 0.0 * d.trace2
    )
    size = first.shape[1]
    hessian = np.empty((size + 1, size + 1))
    hessian[:size, :size] = second[0]
    hessian[:size, size] = hessian[size, :size] = mixed[0]
    hessian[size, size] = 6.0 * info.r2 - 2.0 * nu
    covariance = 2.0 * positive_inverse(hessian)
    C = in_basis(fit, L)
    variance = np.sum(C**2, axis=1)
    change = -np.einsum("kp,kr,pirj->kij", C, C, d.x_products[0])
    change = -0.5 * (change + change.swapaxes(1, 2))
    theta = np.broadcast_to(fit.theta_scaled, (len(C), size))
    slope, _ = theta_derivatives(theta, change, np.zeros((len(C), q, q, q, q)))
    slope = np.column_stack([slope, 2.0 * variance])
    return np.asarray(2.0 * variance**2 / np.einsum("ka,ab,kb->k", slope, covariance, slope))


def positive_inverse(matrix: Array) -> Array:
    """Inverse of a symmetric matrix on the space of its positive eigenvalues."""
    scale = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    good = values > NO_INFORMATION * values[-1]
    vectors = vectors[:, good] / scale[:, None]
    return np.asarray((vectors / values[good]) @ vectors.T)


@dataclass(frozen=True)
class KenwardRoger:
    """The pieces of the Kenward-Roger approximation for one fit.

    Attributes
    ----------
    adjusted : ndarray (p, p)
        Small-sample covariance of the fixed effects in the chosen basis, over sigma^2.
    P : ndarray (m, p, p)
        ``-P_r`` of each variance parameter; the last one is V itself.
    W : ndarray (m, m)
        Covariance of the variance parameters (inverse expected information).
    """

    adjusted: Array
    P: Array
    W: Array


def kenward_roger(fit: LMMResults, info: VarianceInformation | None = None) -> KenwardRoger:
    """Adjusted covariance and the pieces for degrees of freedom.

    Raises
    ------
    ValueError
        A maximum-likelihood fit: the approximation is derived for REML.
    """
    if not fit.reml:
        raise ValueError(
            "Kenward-Roger needs a REML fit; refit with reml=True, or ask for df='satterthwaite'."
        )
    info = info or variance_information(fit)
    q, p, nu = fit.cross.q, fit.cross.p, fit.nobs - fit.cross.p
    basis = symmetric_basis(q)
    d = info.d
    m = len(basis) + 1
    information = np.empty((m, m))
    information[:-1, :-1] = np.einsum("rij,ijkl,skl->rs", basis, d.trace2[0], basis)
    information[:-1, -1] = information[-1, :-1] = np.einsum("rij,ij->r", basis, d.trace[0])
    information[-1, -1] = nu
    W = 2.0 * positive_inverse(information)
    P = np.concatenate([np.einsum("rij,pisj->rps", basis, d.x_products[0]), np.eye(p)[None]])
    Q = np.zeros((m - 1, m - 1, p, p))
    for block in info.whitened:
        ZVZ, a = group_products(info.inverse_root, block, q)
        Ea = np.einsum("rij,pjg->rpig", basis, a[0, :p])
        bEa = np.einsum("ijg,rpjg->rpig", ZVZ[0], Ea)
        flat, other = Ea.reshape((m - 1) * p, -1), bEa.reshape((m - 1) * p, -1)
        Q += (flat @ other.T).reshape(m - 1, p, m - 1, p).swapaxes(1, 2)
    bias = np.einsum("rs,rspt->pt", W[:-1, :-1], Q - np.einsum("rpt,stu->rspu", P[:-1], P[:-1]))
    return KenwardRoger(np.eye(p) + bias + bias.T, P, W)


def kenward_roger_f(pieces: KenwardRoger, C: Array) -> tuple[float, float]:
    """Degrees of freedom and scale of the F statistic for the contrasts C (k, p), in the same
    basis.

    Follows section 4 of Halekoh and Højsgaard (2014), with pbkrtest's treatment of 0/0.
    """
    k = len(C)
    projector = C.T @ np.linalg.solve(C @ C.T, C)
    u = np.einsum("ab,rbc->rac", projector, pieces.P)
    traces = np.einsum("raa->r", u)
    A1 = float(traces @ pieces.W @ traces)
    A2 = float(np.sum(pieces.W * np.einsum("rab,sba->rs", u, u)))
    B = (A1 + 6.0 * A2) / (2.0 * k)
    g = ((k + 1.0) * A1 - (k + 4.0) * A2) / ((k + 2.0) * A2)
    below = 3.0 * k + 2.0 * (1.0 - g)
    V0, V1, V2 = 1.0 + g / below * B, 1.0 - (k - g) / below * B, 1.0 - (k + 2.0 - g) / below * B
    V0 = 0.0 if abs(V0) < 1e-10 else V0
    shrink = 1.0 - A2 / k
    ratio = 1.0 if abs(shrink) < 1e-14 and abs(V1) < 1e-14 else shrink / V1
    # df -> 4 where V2 vanishes: written so that it does not divide by it
    df = 4.0 + (k + 2.0) * V2 / (ratio**2 * V0 - V2)
    scale = 1.0 if abs(df - 2.0) < 1e-2 else df * shrink / (df - 2.0)
    return df, scale

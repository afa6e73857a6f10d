"""Leave one group out: exact refits from cross products, a group's own taken away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, progress_bar
from pylmm_helpers.engine import (
    Criterion,
    GroupRows,
    LMMResults,
    criterion,
    minimise,
    optimise,
    scaled_rows,
    settle,
    theta_to_factor,
    triangular,
    way_down,
)

from .leave_out_batch import Refits, refit_all

#: Smallest eigenvalue of the predictors' correlation matrix below which they are collinear.
COLLINEAR = 1e-10


def leave_one_group_out(res: LMMResults) -> pd.DataFrame:
    """Fit without each group in turn; see `pylmm_helpers.influence`."""
    rows = res.rows
    least = res.cross.q * (res.cross.q + 1) // 2
    if res.ngroups - 1 < max(2, least):
        raise ValueError(
            f"column {res.groups!r} has {res.ngroups} groups; leaving one out needs at least "
            f"{max(2, least) + 1} for this model"
        )
    within = within_by_group(res)
    problems = unusable(res, within)
    usable = np.array([not problem for problem in problems])
    with progress_bar("leaving out each group") as show:
        found = refit_all(res, within, usable, show)
        left = np.flatnonzero(usable & np.isnan(found.sigma2))
        for k, g in enumerate(left):
            rest = without_group(rows, within[g], int(g), int(res.cross.sizes[g]))
            theta, at = refit(res.theta_scaled, rest, res.reml)
            found.factor[g] = theta_to_factor(theta, rows.q)
            found.beta[g], found.phi[g] = at.beta()[0], at.unscaled_cov()[0]
            found.sigma2[g] = at.r2[0] / (rest.nobs - (rest.p if res.reml else 0))
            show(100.0 * (k + 1) / len(left))
    return assemble(res, found, problems)


def assemble(res: LMMResults, found: Refits, problems: list[str]) -> pd.DataFrame:
    """The table of `influence` from the refits; rows with a problem have infinite distances."""
    scaling, q, p = res.cross.scaling, res.cross.q, res.cross.p
    terms, fixed = list(res.cross.z_names), list(res.cross.x_names)
    bad = np.array([bool(problem) for problem in problems])
    # in the scaled columns: with a predictor far from 0, the covariance in its units is singular
    phi = res.sigma2_scaled * res.at.unscaled_cov()[0]
    shift = res.beta_scaled - found.beta
    cooks = np.einsum("gi,ij,gj->g", shift, np.linalg.inv(phi), shift) / p
    phi_g = np.where(bad[:, None, None], np.eye(p), found.sigma2[:, None, None] * found.phi)
    covratio = np.exp(np.linalg.slogdet(phi_g)[1] - np.linalg.slogdet(phi)[1])
    start = np.where(bad[:, None, None], np.eye(q), found.factor)
    factor = triangular(scaling.z_map @ start)
    # in the scaled columns, so that no unit of a predictor weighs more than another
    size = np.linalg.norm(triangular(start) - res.factor_scaled, axis=(1, 2))
    own = float(np.linalg.norm(res.factor_scaled))
    change = size / own if own else np.where(size > 0.0, np.inf, 0.0)
    sigma2 = found.sigma2 * scaling.y_scale**2
    G = sigma2[:, None, None] * factor @ factor.swapaxes(1, 2)
    G[:, ~res.identification.known] = np.nan
    if not res.identified:
        change = np.full(len(change), np.nan)
    columns: dict[str, Any] = {
        "n": res.cross.sizes,
        "cooks_distance": np.where(bad, np.inf, cooks),
        "covratio": np.where(bad, np.inf, covratio),
        "change_theta": np.where(bad, np.nan, change),
    }
    columns |= {f"var[{term}]": G[:, j, j] for j, term in enumerate(terms)}
    for j, first in enumerate(terms):
        for i in range(j + 1, q):
            columns[f"cov[{first}, {terms[i]}]"] = G[:, i, j]
    columns["residual_variance"] = sigma2
    beta = scaling.beta(found.beta)
    columns |= {f"beta[{name}]": beta[:, j] for j, name in enumerate(fixed)}
    columns["note"] = problems
    return pd.DataFrame(columns, index=pd.Index(res.group_labels, name=res.groups))


def within_by_group(res: LMMResults) -> Array:
    """`GroupRows.within` split by group (G, p + 1, p + 1); reads the rows once."""
    design, scaling = res._rows_of, res.cross.scaling
    Z, R = scaled_rows(design, scaling)
    codes, q = design.codes, Z.shape[1]

    def by_group(left: Array, right: Array) -> Array:
        """Cross products (G, a, b) of the rows of each group."""
        out = np.empty((res.ngroups, left.shape[1], right.shape[1]))
        for i in range(left.shape[1]):
            for j in range(right.shape[1]):
                out[:, i, j] = np.bincount(codes, left[:, i] * right[:, j], res.ngroups)
        return out

    inverse = np.linalg.pinv(by_group(Z, Z), rcond=1e-10, hermitian=True)
    # twice: what rounding leaves the first time is gone after the second
    for _ in range(2):
        effects = inverse @ by_group(Z, R)
        for j in range(q):
            R = R - Z[:, [j]] * effects[codes, j]
    return by_group(R, R)


def without_group(rows: GroupRows, own: Array, g: int, size: int) -> GroupRows:
    """The sufficient statistics of all groups but g; `own` is its part of the pooled products."""
    keep = np.delete(np.arange(rows.Z.shape[-1]), g)
    return GroupRows(rows.Z[..., keep], rows.R[..., keep], rows.within - own, rows.nobs - size)


def unusable(res: LMMResults, within: Array) -> list[str]:
    """Say of each group why the model can't be fitted without it; empty where it can."""
    rows, p, names = res.rows, res.cross.p, list(res.cross.x_names)
    nobs = res.nobs - res.cross.sizes
    few = nobs <= max(p, (res.ngroups - 1) * rows.q)
    own = np.einsum("irg,jrg->gij", rows.R[0, :p], rows.R[0, :p], optimize=True)
    products = rows.within[0, :p, :p] + own.sum(axis=0) - own - within[:, :p, :p]
    # scaled columns: a diagonal entry is the rows' number times a variance near one
    diagonal = np.diagonal(products, axis1=1, axis2=2)
    size = np.sqrt(np.maximum(diagonal, COLLINEAR * nobs[:, None]))
    values, vectors = np.linalg.eigh(products / (size[:, :, None] * size[:, None, :]))
    problems = [""] * res.ngroups
    for g in np.flatnonzero(values[:, 0] <= COLLINEAR):
        involved = [n for n, v in zip(names, vectors[g, :, 0], strict=True) if abs(v) > 1e-3]
        involved = [n for n in involved if n != "Intercept"] or involved
        problems[g] = (
            f"the coefficient of {' / '.join(involved)} can't be estimated without this group"
        )
    for g in np.flatnonzero(few):
        problems[g] = "too few rows are left without this group"
    return problems


def refit(start: Array, rows: GroupRows, reml: bool) -> tuple[Array, Criterion]:
    """Find theta (d,) from a good start; from many where that ends at a false boundary."""
    search = minimise(start[None], rows, reml)
    if search.converged[0]:
        theta, at = settle(search.theta, rows, reml)
        if way_down(theta, rows, reml) is None:
            return theta[0], at
    found = optimise(rows, reml)[0]
    return found, criterion(found[None], rows, reml)[0]

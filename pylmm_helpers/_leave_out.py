"""Leave one group out: exact refits from cross products, a group's own taken away."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pylmm_helpers._crossprod import Array, GroupRows
from pylmm_helpers._newton import minimise, optimise, settle, way_down
from pylmm_helpers._profile import Criterion, criterion, theta_to_factor
from pylmm_helpers._results import LMMResults
from pylmm_helpers._scaled_rows import scaled_rows

#: Smallest eigenvalue of the predictors' correlation matrix below which they are collinear.
COLLINEAR = 1e-10


def leave_one_group_out(res: LMMResults) -> pd.DataFrame:
    """Fit without each group in turn; see `pylmm_helpers.diagnostics.influence`."""
    rows, scaling = res.rows, res.cross.scaling
    terms, fixed = list(res.cov_re.index), list(res.fe_params.index)
    least = res.cross.q * (res.cross.q + 1) // 2
    if res.ngroups - 1 < max(2, least):
        raise ValueError(
            f"column {res.groups!r} has {res.ngroups} groups; leaving one out needs at least "
            f"{max(2, least) + 1} for this model"
        )
    within = within_by_group(res)
    # in the scaled columns: with a predictor far from 0, the covariance in its units is singular
    phi = res.sigma2_scaled * res.at.unscaled_cov()[0]
    precision = np.linalg.inv(phi)
    log_det = np.linalg.slogdet(phi)[1]
    records = []
    for g in range(res.ngroups):
        left = without_group(rows, within[g], g, int(res.cross.sizes[g]))
        record: dict[str, object] = {"n": int(res.cross.sizes[g])}
        problem = unusable(left, fixed)
        if problem:
            record |= {"cooks_distance": np.inf, "covratio": np.inf, "note": problem}
            records.append(record)
            continue
        theta, at = refit(res.theta_scaled, left, res.reml)
        sigma2 = float(at.r2[0]) / (left.nobs - (left.p if res.reml else 0))
        beta_g = scaling.beta(at.beta()[0])
        phi_g = sigma2 * at.unscaled_cov()[0]
        factor_scaled = theta_to_factor(theta, rows.q)
        factor = scaling.factor(factor_scaled)
        G = sigma2 * scaling.y_scale**2 * factor @ factor.T
        shift = res.beta_scaled - at.beta()[0]
        change, own = (
            np.linalg.norm(factor_scaled - res.factor_scaled),
            np.linalg.norm(res.factor_scaled),
        )
        record |= {
            "cooks_distance": float(shift @ precision @ shift) / len(shift),
            "covratio": float(np.exp(np.linalg.slogdet(phi_g)[1] - log_det)),
            "change_theta": float(change / own) if own else float(np.inf if change else 0.0),
            "note": "",
        }
        for j, term in enumerate(terms):
            record[f"var[{term}]"] = G[j, j]
        for j, first in enumerate(terms):
            for i in range(j + 1, len(terms)):
                record[f"cov[{first}, {terms[i]}]"] = G[i, j]
        record["residual_variance"] = sigma2 * scaling.y_scale**2
        record |= {f"beta[{name}]": value for name, value in zip(fixed, beta_g, strict=True)}
        records.append(record)
    columns = [c for c in max(records, key=len) if c != "note"] + ["note"]
    index = pd.Index(res.group_labels, name=res.groups)
    return pd.DataFrame(records, index=index, columns=columns)


def within_by_group(res: LMMResults) -> Array:
    """`GroupRows.within` split by group (G, p + 1, p + 1); reads the rows once."""
    design, scaling = res._rows_of, res.cross.scaling
    Z, R = scaled_rows(design, scaling)
    order = np.argsort(design.codes, kind="stable")
    ends = np.cumsum(res.cross.sizes)
    result = np.empty((res.ngroups, R.shape[1], R.shape[1]))
    for g, (start, end) in enumerate(zip(ends - res.cross.sizes, ends, strict=True)):
        mine = order[start:end]
        basis, size, _ = np.linalg.svd(Z[mine], full_matrices=False)
        basis = basis[:, size > 1e-10 * size[0]] if size[0] > 0 else basis[:, :0]
        rest = R[mine] - basis @ (basis.T @ R[mine])
        result[g] = rest.T @ rest
    return result


def without_group(rows: GroupRows, own: Array, g: int, size: int) -> GroupRows:
    """The sufficient statistics of all groups but g; `own` is its part of the pooled products."""
    keep = np.delete(np.arange(rows.Z.shape[-1]), g)
    return GroupRows(rows.Z[..., keep], rows.R[..., keep], rows.within - own, rows.nobs - size)


def unusable(rows: GroupRows, names: list[str]) -> str:
    """Say why the model can't be fitted to what is left, or give an empty string."""
    p, q = rows.p, rows.q
    if rows.nobs <= max(p, (rows.Z.shape[-1]) * q):
        return "too few rows are left without this group"
    flat = rows.R[0, :p].reshape(p, -1)
    products = rows.within[0, :p, :p] + flat @ flat.T
    # scaled columns: a diagonal entry is the rows' number times a variance near one
    size = np.sqrt(np.maximum(np.diag(products), COLLINEAR * rows.nobs))
    values, vectors = np.linalg.eigh(products / np.outer(size, size))
    if values[0] > COLLINEAR:
        return ""
    involved = [n for n, v in zip(names, vectors[:, 0], strict=True) if abs(v) > 1e-3]
    involved = [n for n in involved if n != "Intercept"] or involved
    return f"the coefficient of {' / '.join(involved)} can't be estimated without this group"


def refit(start: Array, rows: GroupRows, reml: bool) -> tuple[Array, Criterion]:
    """Find theta (d,) from a good start; from many where that ends at a false boundary."""
    search = minimise(start[None], rows, reml)
    if search.converged[0]:
        theta, at = settle(search.theta, rows, reml)
        if way_down(theta, rows, reml) is None:
            return theta[0], at
    found = optimise(rows, reml)[0]
    return found, criterion(found[None], rows, reml)[0]

"""Leave out one level of any grouping factor: exact refits from sums, the level's own taken
away."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array, progress_bar
from pylmm_helpers.engine.several import (
    Factor,
    Point,
    Refit,
    SeveralResults,
    Sums,
    Without,
    beside_boundary,
    by_level,
    finding_on_identification,
    is_worth_while,
    lambdas_of,
    minimise,
    only_level,
    optimise,
    packed,
    refit_all,
    settle,
    upright,
    way_down,
)
from pylmm_helpers.inference.several import Refits

from .prediction import a_factor

#: Smallest eigenvalue of the predictors' correlation matrix below which they are collinear.
COLLINEAR = 1e-10


def leave_one_level_out(fit: SeveralResults, group: Any) -> pd.DataFrame:
    """Fit without each level of a factor in turn; see `pylmm_helpers.influence`."""
    if group is None and len(fit.group_names) > 1:
        raise ValueError(
            "this fit has several grouping factors; say whose levels are left out: group="
            f"{' or '.join(repr(g) for g in fit.group_names)}."
        )
    name = a_factor(fit, group or fit.group_names[0])
    factor = fit.design.factors[name]
    least = max(2, *(w * (w + 1) // 2 for w in factor.widths))
    if factor.levels - 1 < least:
        raise ValueError(
            f"the factor {name!r} has {factor.levels} levels; leaving one out needs at least "
            f"{least + 1} for this model."
        )
    columns = Refits(fit)
    R = np.vstack([columns.X, columns.row(fit.y)])
    fixed, random = without_predictors(fit, factor, columns.X), without_groups(fit, factor)
    without = Without(fit.sums, columns.Z, R, factor)
    points: list[Point | Refit | None] = [None] * factor.levels
    usable = np.array([not (a or b) for a, b in zip(fixed, random, strict=True)])
    together: dict[int, Refit] = {}
    doubtful = set(range(factor.levels))
    if is_worth_while(fit.sums):
        levels = np.flatnonzero(usable)
        together, doubtful = refit_all(fit.at.theta, without, levels, fit.reml)
    with progress_bar(f"leaving out each level of {name}") as show:
        for g in np.flatnonzero(usable):
            points[g] = together.get(int(g))
            if points[g] is None:
                sums = without.sums(int(g))
                if g in doubtful:
                    random[g] = finding_on_identification(sums, fit.design, fit.reml)
                at = None if random[g] else refit(fit.at.theta, sums, fit.reml)
                if at is not None and not np.isfinite(at.value):
                    at, random[g] = None, "no residual variation is left without this group"
                points[g] = at
            show(100.0 * (g + 1) / factor.levels)
    return assemble(fit, name, points, fixed, random)


def refit(start: Array, sums: Sums, reml: bool) -> Point:
    """The best fit, sought from a good start; from many where that ends at a false boundary."""
    found = minimise(start, sums, reml)
    if found.converged:
        theta = found.at.theta
        if not beside_boundary(theta, sums) and np.array_equal(theta, upright(theta, sums)):
            return found.at
        at = settle(found).at
        if way_down(at) is None:
            return at
    return optimise(sums, reml).at


def assemble(
    fit: SeveralResults,
    group: str,
    points: Sequence[Point | Refit | None],
    fixed: list[str],
    random: list[str],
) -> pd.DataFrame:
    """The table of `influence` from the refits."""
    p, scaling, levels = fit.sums.p, fit.scalings[0], len(points)
    beta, log_det = np.full((levels, p), np.nan), np.full(levels, np.nan)
    sigma2, change = np.full(levels, np.nan), np.full(levels, np.nan)
    factors: dict[str, Array] = {
        name: np.full((levels, len(z), len(z)), np.nan) for name, z in fit.z_names.items()
    }
    own = np.sqrt(sum(np.sum(L**2) for L in fit.lambdas.values()))
    for g, at in enumerate(points):
        if at is None:
            continue
        root = at.root[:p, :p]
        beta[g] = np.linalg.solve(root.T, at.root[p, :p])
        sigma2[g] = at.r2 / at.nu
        log_det[g] = p * np.log(sigma2[g]) - 2.0 * np.log(np.diag(root)).sum()
        found = lambdas_of(at.theta, fit.sums)
        for name, blocks in factors.items():
            blocks[g] = found[fit.number[name]]
        size = np.sqrt(sum(np.sum((factors[n][g] - L) ** 2) for n, L in fit.lambdas.items()))
        change[g] = size / own if own else (np.inf if size > 0.0 else 0.0)
    # in the scaled columns: with a predictor far from 0, the covariance in its units is singular
    shift = (fit.beta_scaled - beta) @ fit.at.root[:p, :p]
    cooks = np.sum(shift**2, axis=1) / (fit.sigma2_scaled * p)
    whole = p * np.log(fit.sigma2_scaled) - 2.0 * np.log(np.diag(fit.at.root)[:p]).sum()
    alone = np.array([bool(problem) for problem in fixed])
    columns: dict[str, Any] = {
        "n": fit.sizes_by_group[group],
        "cooks_distance": np.where(alone, np.inf, cooks),
        "covratio": np.where(alone, np.inf, np.exp(log_det - whole)),
        "change_theta": change,
    }
    variance = sigma2 * scaling.y_scale**2
    for name, blocks in factors.items():
        root = fit.z_map[name] @ blocks
        G = variance[:, None, None] * root @ root.swapaxes(1, 2)
        columns |= variance_columns(fit, name, G)
    columns["residual_variance"] = variance
    values = scaling.beta(beta)
    columns |= {f"beta[{name}]": values[:, j] for j, name in enumerate(fit.cross.x_names)}
    columns["note"] = [a or b for a, b in zip(fixed, random, strict=True)]
    labels = fit.labels_by_group[group]
    index = labels if isinstance(labels, pd.MultiIndex) else pd.Index(labels, name=group)
    return pd.DataFrame(columns, index=index)


def variance_columns(fit: SeveralResults, name: str, G: Array) -> dict[str, Array]:
    """Variances and covariances of one factor, named with it if there are others."""
    terms, of = fit.z_names[name], f" | {name}" if len(fit.group_names) > 1 else ""
    free = list(zip(*fit.design.factors[name].free, strict=True))
    found = {f"var[{term}{of}]": G[:, j, j] for j, term in enumerate(terms)}
    return found | {f"cov[{terms[j]}, {terms[i]}{of}]": G[:, i, j] for i, j in free if i != j}


def without_predictors(fit: SeveralResults, factor: Factor, X: Array) -> list[str]:
    """Say of each level which coefficient can't be estimated without it; empty where all can."""
    names, sizes = fit.cross.x_names, fit.sizes_by_group[factor.name]
    own = np.moveaxis(by_level(factor, X, X), -1, 0)
    products, left = X @ X.T - own, fit.nobs - sizes
    # a diagonal entry of scaled columns is the rows' number times a variance near one
    mean = np.diag(X @ X.T) / fit.nobs
    size = np.sqrt(
        np.maximum(np.diagonal(products, axis1=1, axis2=2), COLLINEAR * left[:, None] * mean)
    )
    size = np.maximum(size, 1e-150)
    values, vectors = np.linalg.eigh(products / (size[:, :, None] * size[:, None, :]))
    problems = [""] * factor.levels
    for g in np.flatnonzero(values[:, 0] <= COLLINEAR):
        involved = [n for n, v in zip(names, vectors[g, :, 0], strict=True) if abs(v) > 1e-3]
        involved = [n for n in involved if n != "Intercept"] or involved
        problems[g] = (
            f"the coefficient of {' / '.join(involved)} can't be estimated without this group"
        )
    return problems


def lost(codes: NDArray[np.intp], levels: int, factor: Factor) -> NDArray[np.intp]:
    """How many levels of a grouping go with each level of a factor."""
    only = only_level(codes, levels, factor.codes)
    return np.bincount(only[only >= 0], minlength=factor.levels)


def without_groups(fit: SeveralResults, factor: Factor) -> list[str]:
    """Say of each level why the random terms can't be fitted without it; empty where they can."""
    left = fit.nobs - fit.sizes_by_group[factor.name]
    problems = [""] * factor.levels
    factors = list(fit.design.factors.values())
    levels = [f.levels - lost(f.codes, f.levels, factor) for f in factors]
    for f, count in zip(factors, levels, strict=True):
        least = max(2, *(w * (w + 1) // 2 for w in f.widths))
        for g in np.flatnonzero(count < least):
            problems[g] = f"too few levels of '{f.name}' are left without this group"
        for g in np.flatnonzero(left <= np.maximum(fit.sums.p, count * max(f.widths))):
            problems[g] = (
                "too few rows are left without this group to tell the effects of "
                f"'{f.name}' from the residuals"
            )
    for (a, in_a), (b, in_b) in combinations(zip(factors, levels, strict=True), 2):
        codes = packed(a.codes * b.levels + b.codes)
        cells = int(codes.max()) + 1
        count = cells - lost(codes, cells, factor)
        for g in np.flatnonzero((count == in_a) & (count == in_b)):
            problems[g] = (
                f"without this group '{a.name}' and '{b.name}' group the rows in the same way"
            )
    return problems

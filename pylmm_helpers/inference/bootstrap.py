"""Parametric bootstrap, all replicates fitted at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, a_generator, a_level, whole
from pylmm_helpers.engine import (
    GroupRows,
    LMMResults,
    Optimum,
    as_pipe_table,
    as_results,
    criterion,
    factor_to_theta,
    identified_parameters,
    minimise,
    narrowed,
    parameter_names,
    parameters,
    simulated_rows,
    triangular,
)
from pylmm_helpers.engine.several import SeveralResults

from .lrt import lrt
from .nesting import Comparison, compare
from .several import bootstrap as several
from .several.parameters import parameters as several_parameters

#: Numbers held at a time; more replicates are done in turns.
BATCH = 4_000_000


@dataclass(frozen=True, eq=False)
class BootstrapTest:
    """Bootstrap likelihood ratio test.

    Attributes
    ----------
    table : DataFrame (one row)
        statistic, p_value, mc_error (its simulation standard error), p_value_lrt (the asymptotic
        one; NaN where it isn't known), replicates.
    statistics : ndarray (replicates,)
        The statistic under the reduced model.
    """

    table: pd.DataFrame
    statistics: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", whole(self.table))

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_markdown_(self) -> str:
        return as_pipe_table(self.table.reset_index())


@dataclass(frozen=True, eq=False)
class BootstrapIntervals:
    """Bootstrap distribution of the estimates.

    Attributes
    ----------
    table : DataFrame
        estimate, bias, std_error, ci_low and ci_high (percentiles) for each parameter; NaN for what
        the data can't tell apart.
    draws : DataFrame (replicates rows)
        The estimates, one column per parameter.
    """

    table: pd.DataFrame
    draws: pd.DataFrame

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", whole(self.table))

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_markdown_(self) -> str:
        return as_pipe_table(self.table.reset_index())


def parametric_bootstrap(
    fit: Any,
    reduced: Any = None,
    replicates: int = 1000,
    level: float = 0.95,
    rng: int | np.random.Generator = 20150601,
) -> BootstrapTest | BootstrapIntervals:
    """Simulate from a fitted model and refit, to test a reduced model or to get intervals.

    Parameters
    ----------
    fit : LMMResults or statsmodels MixedLMResults
        A fitted linear mixed model; the larger one of a test.
    reduced : fitted model or "ols", optional
        With it: test of `reduced` within `fit` by the likelihood ratio, simulated under `reduced`.
        Without: percentile intervals for every parameter, simulated under `fit`.
    replicates : int
        Number of simulated data sets.
    level : float
        Confidence level of the intervals.
    rng : int or numpy Generator
        Seed (the default repeats) or generator.

    Returns
    -------
    BootstrapTest or BootstrapIntervals
        The test, with the simulated statistics; or the intervals, as a DataFrame in `table`.

    Notes
    -----
    Percentiles of a variance between few groups lie too low, as its estimates scatter to both sides
    of an estimate that is itself often too low; `profile_ci` of a REML fit keeps its coverage.

    Raises
    ------
    ValueError
        What `lrt` refuses, replicates or level out of range, and an rng that is no seed.

    References
    ----------
    Halekoh & Højsgaard (2014), doi:10.18637/jss.v059.i09, section 5: p = (1 + #{T* >=
    T}) / (1 + replicates).
    """
    if not isinstance(replicates, int | np.integer) or replicates < 1:
        raise ValueError(f"replicates must be a whole number of at least 1, not {replicates!r}.")
    a_level(level)
    generator = a_generator(rng, "rng")
    structures = any(getattr(f, "structure", None) is not None for f in (fit, reduced))
    if structures and reduced is None:
        draws = several.structure_draws(fit, int(replicates), generator)
        return intervals_of(draws, several.own_values(fit).to_numpy(), level)
    if structures or isinstance(fit, SeveralResults) or isinstance(reduced, SeveralResults):
        return bootstrap_of_several(fit, reduced, int(replicates), level, generator)
    if reduced is None:
        return bootstrap_intervals(as_results(fit), int(replicates), level, generator)
    return bootstrap_test(compare(fit, reduced), int(replicates), generator, fit, reduced)


def bootstrap_test(
    models: Comparison, replicates: int, rng: np.random.Generator, fit: Any, reduced: Any
) -> BootstrapTest:
    """Distribution of the likelihood ratio statistic under the reduced model."""
    full, x_basis, z_basis = models.full, models.x_basis, models.z_basis
    beta, sigma2, root = null_estimates(models)
    start = near(root, full)
    parts = []
    for size in batches(full, replicates):
        rows = simulated_rows(full, beta, sigma2, root, size, rng)
        wide = refit(rows, start, full.reml)
        narrow_rows = narrowed(rows, x_basis, z_basis)
        if models.random_kept == 0:
            narrow = without_z(narrow_rows, full.reml)
        else:
            narrow = refit(narrow_rows, near(z_basis.T @ root, full), full.reml).value
        parts.append(np.maximum(narrow - wide.value, 0.0))
    known = models.random_dropped <= (2 if full.identified else 1)
    asymptotic = float(lrt(fit, reduced)["p_value"].iloc[0]) if known else float("nan")
    return test_of(np.concatenate(parts), models.statistic, asymptotic)


def bootstrap_of_several(
    fit: Any, reduced: Any, replicates: int, level: float, rng: np.random.Generator
) -> BootstrapTest | BootstrapIntervals:
    """The same where a model has several random terms, one replicate after the other."""
    if reduced is None:
        draws = several.draws(fit, replicates, rng)
        return intervals_of(draws, several_parameters(fit, fit.at), level)
    if isinstance(reduced, str) or not hasattr(reduced, "cov_re_by_group"):
        raise ValueError(
            "the bootstrap of a model with several random terms takes a fit made by fit_lmm as the "
            "reduced model; drop the terms one at a time."
        )
    statistic, asymptotic = several.statistic_and_p(fit, reduced, lrt)
    null = several.null_statistics(fit, reduced, replicates, rng)
    return test_of(null, statistic, asymptotic)


def test_of(null: Array, statistic: float, asymptotic: float) -> BootstrapTest:
    """The test from the statistics under the reduced model."""
    replicates = len(null)
    p_value = (1.0 + np.sum(null >= statistic - 1e-9)) / (1.0 + replicates)
    table = pd.DataFrame(
        {
            "statistic": [statistic],
            "p_value": [p_value],
            "mc_error": [float(np.sqrt(p_value * (1.0 - p_value) / replicates))],
            "p_value_lrt": [asymptotic],
            "replicates": [replicates],
        },
        index=pd.Index(["parametric bootstrap"], name="test"),
    )
    return BootstrapTest(table, null)


def null_estimates(models: Comparison) -> tuple[Array, float, Array]:
    """Fixed effects (p,), sigma^2 and a factor (q, q) of the reduced model, in the full model's
    scaled columns."""
    full, q = models.full, models.full.cross.q
    if models.reduced is not None:
        small = models.reduced
        beta = full.cross.scaling.scaled_beta(models.x_map @ small.fe_params.to_numpy())
        to_scaled = np.linalg.solve(full.cross.scaling.z_map, models.z_map)
        root = np.pad(to_scaled @ small.factor, ((0, 0), (0, q - models.random_kept)))
        return beta, small.scale / full.cross.scaling.y_scale**2, triangular(root)
    products, basis = full.cross.RtR, models.x_basis
    p = full.cross.p
    X = basis.T @ products[:p, :p] @ basis
    inner = np.linalg.solve(X, basis.T @ products[:p, p])
    rss = float(products[p, p] - inner @ basis.T @ products[:p, p])
    nu = full.nobs - (len(inner) if full.reml else 0)
    return basis @ inner, rss / nu, np.zeros((q, q))


def near(root: Array, fit: LMMResults) -> Array:
    """A theta (d,) near the truth of the simulation from which every variance can grow or
    vanish."""
    typical = np.trace(fit.cross.ZtZ.sum(axis=-1)) / (fit.cross.q * fit.ngroups)
    delta = root @ root.T
    return factor_to_theta(np.linalg.cholesky(delta + 0.3 / max(typical, 1.0) * np.eye(len(delta))))


def batches(full: LMMResults, replicates: int) -> list[int]:
    """Sizes of the turns in which the replicates are done."""
    each = full.ngroups * full.cross.q * (full.cross.q + full.cross.p + 1)
    size = int(np.clip(BATCH // max(each, 1), 1, replicates))
    return [min(size, replicates - done) for done in range(0, replicates, size)]


def without_z(rows: GroupRows, reml: bool) -> Array:
    """Criterion (B,) of ordinary regression on the same responses."""
    flat = rows.R.reshape(len(rows.R), rows.p + 1, -1)
    root = np.linalg.cholesky(rows.within + flat @ flat.swapaxes(1, 2))
    p, nu = rows.p, rows.nobs - (rows.p if reml else 0)
    value = nu * (1.0 + np.log(2.0 * np.pi * root[:, p, p] ** 2 / nu))
    if reml:
        value = value + 2.0 * np.log(np.diagonal(root[:, :p, :p], axis1=1, axis2=2)).sum(axis=1)
    return np.asarray(value)


def refit(rows: GroupRows, start: Array, reml: bool) -> Optimum:
    """Fit every replicate from two starts and keep the better; the zero model too, where it is
    better still."""
    B = len(rows.R)
    searches = [minimise(np.tile(scale * start, (B, 1)), rows, reml) for scale in (1.0, 3.0)]
    zero = np.zeros((B, len(start)))
    at_zero, _ = criterion(zero, rows, reml)
    values = np.array([*(s.value for s in searches), at_zero.value])
    best = values.argmin(axis=0)
    thetas = np.array([*(s.theta for s in searches), zero])
    pick = np.arange(B)
    return Optimum(thetas[best, pick], values[best, pick], searches[0].converged, searches[0].steps)


def bootstrap_intervals(
    fit: LMMResults, replicates: int, level: float, rng: np.random.Generator
) -> BootstrapIntervals:
    """Percentile intervals of all parameters."""
    parts = []
    for size in batches(fit, replicates):
        rows = simulated_rows(fit, fit.beta_scaled, fit.sigma2_scaled, fit.factor_scaled, size, rng)
        found = refit(rows, near(fit.factor_scaled, fit), fit.reml)
        at, _ = criterion(found.theta, rows, fit.reml)
        parts.append(
            parameters(
                fit, found.theta, at.beta(), at.r2 / (fit.nobs - (fit.cross.p if fit.reml else 0))
            )
        )
    names = parameter_names(fit)
    unknown = ~identified_parameters(fit)
    draws = pd.DataFrame(np.concatenate(parts), columns=names)
    draws.loc[:, unknown] = np.nan
    own = parameters(
        fit, fit.theta_scaled[None], fit.beta_scaled[None], np.array([fit.sigma2_scaled])
    )[0]
    own[unknown] = np.nan
    return intervals_of(draws, own, level)


def intervals_of(draws: pd.DataFrame, own: Array, level: float) -> BootstrapIntervals:
    """Percentile intervals from draws, beside a fit's own estimates."""
    tail = 0.5 * (1.0 - level)
    table = pd.DataFrame(
        {
            "estimate": own,
            "bias": draws.mean().to_numpy() - own,
            "std_error": draws.std().to_numpy(),
            "ci_low": draws.quantile(tail).to_numpy(),
            "ci_high": draws.quantile(1.0 - tail).to_numpy(),
        },
        index=pd.Index(draws.columns, name="parameter"),
    )
    return BootstrapIntervals(table, draws)

"""Profile likelihood intervals for every parameter, as lme4's ``confint(method = "profile")``.

One parameter is held at a value and the deviance minimised over all others; the interval holds the
values whose deviance exceeds the minimum by no more than a chi-squared quantile. lme4 interpolates
the profile between some points; here the ends are found exactly.

References
----------
Bates D et al. (2015), doi:10.18637/jss.v067.i01, section 5.1.

Venzon DJ, Moolgavkar SH (1988). A method for computing profile-likelihood-based confidence
intervals. Appl Stat 37, 87-94.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize
from scipy.special import ndtri

from pylmm_helpers._adapter import as_results
from pylmm_helpers._constraints import Constraint, correlation_constraint, sd_constraint
from pylmm_helpers._crossprod import Array, GroupRows
from pylmm_helpers._newton import minimise, optimise
from pylmm_helpers._parameters import parameter_names, parameters, parameters_of
from pylmm_helpers._profile import (
    criterion,
    derivatives,
    theta_derivatives,
    triangle,
)
from pylmm_helpers._results import LMMResults

#: How far the search for an end of an interval goes, in Wald standard errors or powers of e.
FARTHEST = 60


def profile_ci(fit: Any, level: float = 0.95, parameters: list[str] | None = None) -> pd.DataFrame:
    """Profile likelihood confidence intervals.

    Parameters
    ----------
    fit : LMMResults or statsmodels MixedLMResults
        The profile is that of the maximum likelihood, as in lme4, for a REML fit too.
    level : float
        Confidence level.
    parameters : list of str, optional
        Some of the names that the full table has; all by default.

    Returns
    -------
    DataFrame
        estimate (of the fit itself), ci_low, ci_high and lme4_name (".sig01", ...), indexed by
        parameter: standard deviations and correlations of the random effects, "sigma" (all in units
        of the response or none), then the fixed effects. A standard deviation whose profile never
        rises enough ends at 0, a correlation at -1 or 1.

    Raises
    ------
    ValueError
        Unknown parameters, or a level outside (0, 1).
    """
    res = as_results(fit)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1 (such as 0.95), not {level!r}.")
    names = parameter_names(res)
    wanted = names if parameters is None else list(parameters)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ValueError(f"there is no parameter {', '.join(unknown)}; the parameters are {names}.")
    profile = Profile(res)
    cut = float(ndtri(0.5 + level / 2.0))
    own = parameters_of(res)
    rows = [
        (own[names.index(name)], *profile.interval(name, cut), profile.lme4_name(name))
        for name in wanted
    ]
    return pd.DataFrame(
        rows,
        columns=["estimate", "ci_low", "ci_high", "lme4_name"],
        index=pd.Index(wanted, name="parameter"),
    )


def profile_zeta(fit: Any, parameter: str, values: Any) -> pd.Series:
    """Signed root of the profile deviance at given values of a parameter.

    zeta is a straight line where the normal approximation holds; its values are standard normal
    quantiles.

    Parameters
    ----------
    fit : LMMResults or statsmodels MixedLMResults
    parameter : str
        A name from `profile_ci`.
    values : array (k,)
        Values of the parameter, in its units.

    Returns
    -------
    Series (k,)
        zeta, indexed by the values.
    """
    profile = Profile(as_results(fit))
    if parameter not in profile.names:
        raise ValueError(f"there is no parameter {parameter}; the parameters are {profile.names}.")
    points = np.asarray(values, dtype=float)
    zeta = [profile.zeta(parameter, float(v)) for v in points]
    return pd.Series(zeta, index=pd.Index(points, name=parameter), name="zeta")


class Profile:
    """The deviance minimised over all parameters but one; maximum likelihood, in scaled columns."""

    def __init__(self, res: LMMResults) -> None:
        self.res = res
        self.rows = res.rows
        self.names = parameter_names(res)
        self.q, self.n = res.cross.q, res.nobs
        theta, at, _ = optimise(self.rows, reml=False)
        self.theta, self.best = theta, float(at.value[0])
        sigma2 = at.r2 / self.n
        self.point = np.append(theta, 0.5 * np.log(sigma2))
        self.estimates = parameters(res, theta[None], at.beta(), sigma2)[0]
        scaled = float(sigma2[0]) * at.unscaled_cov()[0]
        self.errors = np.sqrt(np.diag(res.cross.scaling.cov_beta(scaled)))

    def lme4_name(self, name: str) -> str:
        """What lme4's confint() calls the parameter."""
        k, variances = self.names.index(name), len(self.theta)
        if k < variances:
            return f".sig{k + 1:02d}"
        return ".sigma" if k == variances else ("(Intercept)" if name == "Intercept" else name)

    def zeta(self, name: str, value: float) -> float:
        """Signed root of the rise in deviance with the parameter at `value`."""
        k = self.names.index(name)
        rise = self.deviance(k, value) - self.best
        return float(np.sign(value - self.estimates[k]) * np.sqrt(max(rise, 0.0)))

    def deviance(self, k: int, value: float) -> float:
        """Deviance minimised over all but the k-th parameter (profiled scale of
        `Criterion.value`)."""
        variances = len(self.theta)
        if k > variances:
            return self.with_fixed_effect(k - variances - 1, value)
        if k == variances:
            target = np.log(value / self.res.cross.scaling.y_scale)
            unit = np.eye(variances + 1)[-1]
            return self.constrained(Constraint(lambda x: float(x[-1] - target), lambda x: unit))
        column, row = triangle(self.q)
        i, j = int(row[k]), int(column[k])
        if i == j:
            held = sd_constraint(self.res, i, value)
            return self.constrained(held, grow=True)
        return self.constrained(correlation_constraint(self.res, i, j, value))

    def with_fixed_effect(self, j: int, value: float) -> float:
        """Move ``x_j * value`` to the response and fit the other columns."""
        scaling, p = self.res.cross.scaling, self.res.cross.p
        direction = scaling.x_map[j]  # beta_j = y_scale * direction @ beta_scaled + shift
        goal = (value - scaling.y_shift * scaling.constant[j]) / scaling.y_scale
        goal -= float(direction @ scaling.offset)
        offset = goal * direction / (direction @ direction)
        null = np.linalg.svd(direction[None])[2][1:].T
        change = np.zeros((p + 1, p))
        change[:p, : p - 1] = null
        change[:p, -1], change[p, -1] = -offset, 1.0
        R = np.einsum("bcrg,cd->bdrg", self.rows.R, change)
        rows = GroupRows(self.rows.Z, R, change.T @ self.rows.within @ change, self.n)
        starts = np.array([self.theta + 0.0, np.where(self.theta == 0.0, 0.1, 1.5 * self.theta)])
        return float(minimise(starts, rows, False).value.min())

    def constrained(self, held: Constraint, grow: bool = False) -> float:
        """Minimum of the deviance subject to the constraint, by sequential quadratic
        programming."""
        start = self.point.copy()
        if grow:  # begin on the constraint: stretch or shrink the random term
            gap = held.value(start)
            start[:-1] *= np.exp(-gap) if abs(gap) < 50.0 else 1.0
        starts, nothing = [start], np.abs(start[:-1]) < 1e-3
        if nothing.any():  # the gradient vanishes at zero: begin beside it as well
            starts.append(np.append(np.where(nothing, 0.05, start[:-1]), start[-1]))
        best = np.inf
        for start in starts:
            found = minimize(
                self.value_and_slope, start, jac=True, method="SLSQP",
                constraints=[{"type": "eq", "fun": held.value, "jac": held.slope}],
                options={"ftol": 1e-11, "maxiter": 300},
            )  # fmt: skip
            if abs(held.value(found.x)) < 1e-7:
                best = min(best, float(found.fun) + self.best)
        return best

    def value_and_slope(self, x: Array) -> tuple[float, Array]:
        """Deviance above its minimum, and gradient, as functions of (theta, log sigma)."""
        theta, log_sigma = x[None, :-1], float(np.clip(x[-1], -300, 300))
        at, whitened = criterion(theta, self.rows, False)
        d = derivatives(at, whitened, self.rows, False)
        ratio = float(at.r2[0]) * np.exp(-2.0 * log_sigma)
        log_det = float(at.value[0]) - self.n * (
            1.0 + np.log(2.0 * np.pi * float(at.r2[0]) / self.n)
        )
        value = log_det + self.n * (np.log(2.0 * np.pi) + 2.0 * log_sigma) + ratio
        slope, _ = theta_derivatives(theta, d.trace - ratio * d.quadratic, np.zeros_like(d.trace2))
        return value - self.best, np.append(slope[0], 2.0 * (self.n - ratio))

    def interval(self, name: str, cut: float) -> tuple[float, float]:
        """Both ends of the interval."""
        return self.end(name, -cut), self.end(name, cut)

    def end(self, name: str, cut: float) -> float:
        """Value of the parameter at which zeta equals `cut`, or the limit of its range."""
        k = self.names.index(name)
        variances = len(self.theta)
        here, sign = float(self.estimates[k]), np.sign(cut)
        if k > variances:
            return self.search(
                name, cut, here, lambda t: here + sign * t * self.errors[k - variances - 1], 1.0
            )
        if name.startswith("cor("):
            middle = np.arctanh(np.clip(here, -0.999999, 0.999999))
            limit = float(sign)
            if abs(here) > 0.999999 and np.sign(here) == sign:
                return limit
            if abs(self.zeta(name, sign * 0.9999999)) < abs(cut):
                return limit
            return self.search(name, cut, here, lambda t: float(np.tanh(middle + sign * t)), 0.5)
        size = here if here > 1e-6 * self.res.cross.scaling.y_scale else 0.0
        if (
            k < variances
            and sign < 0
            and (size == 0.0 or abs(self.zeta(name, 1e-4 * size)) < abs(cut))
        ):
            return 0.0
        if size == 0.0:
            step = float(self.estimates[variances]) / np.sqrt(self.n / self.res.ngroups)
            return self.search(name, cut, 0.0, lambda t: step * t, 1.0)
        return self.search(name, cut, here, lambda t: size * float(np.exp(sign * t)), 0.2)

    def search(
        self, name: str, cut: float, here: float, value: Callable[[float], float], step: float
    ) -> float:
        """Root of zeta - cut along a path that starts at the estimate."""
        low, high = 1e-6 * step, step
        target = abs(cut)
        while abs(self.zeta(name, value(high))) < target:
            low, high = high, 1.6 * high
            if high > FARTHEST:
                return float("inf") if cut > 0 else float("-inf")
        root = brentq(
            lambda t: abs(self.zeta(name, value(t))) - target,
            low,
            high,
            xtol=1e-7 * max(high, 1e-3),
        )
        return value(float(root))

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
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize
from scipy.special import ndtri

from pylmm_helpers._adapter import as_results
from pylmm_helpers._arguments import a_level, shown
from pylmm_helpers._constraints import Held, held_correlation, held_sd
from pylmm_helpers._crossprod import Array, GroupRows
from pylmm_helpers._newton import optimise
from pylmm_helpers._parameters import parameter_names, parameters, parameters_of
from pylmm_helpers._profile import factor_to_theta, theta_to_factor, triangle
from pylmm_helpers._results import LMMResults
from pylmm_helpers._rspelling import r_term
from pylmm_helpers._shown import shown_whole

#: How far the search for an end of an interval goes, in Wald standard errors or powers of e.
FARTHEST = 60
#: Relative standard deviations of the random terms from which a constrained search starts as well.
SIZES = (0.2, 1.0, 4.0)
#: How near zeta at an end must come to its quantile.
ENOUGH = 1e-5


@shown_whole
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

    Notes
    -----
    lme4 1.1-31 gives other ends in two cases. For fixed effects of a weighted fit its profile is
    not that of the model: fits with the effect held as an offset confirm the ends found here. And
    where an optimiser or the interpolation of lme4 fails on a singular fit, its end of a standard
    deviation may come too early; its own deviance function confirms the later one.
    """
    res = as_results(fit)
    a_level(level)
    names = parameter_names(res)
    if parameters is not None and not isinstance(parameters, (list, tuple, pd.Index)):
        raise ValueError(f"parameters is {shown(parameters)}; give a list of some of {names}.")
    wanted = names if parameters is None else [str(name) for name in parameters]
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
        self.level = np.append(np.zeros(len(theta)), 0.5 * np.log(sigma2))
        self.point = np.append(theta, 0.5 * np.log(sigma2))
        self.last: dict[int, Array] = {}  # where the search of each parameter ended last
        self.estimates = parameters(res, theta[None], at.beta(), sigma2)[0]
        scaled = float(sigma2[0]) * at.unscaled_cov()[0]
        self.errors = np.sqrt(np.diag(res.cross.scaling.cov_beta(scaled)))

    def lme4_name(self, name: str) -> str:
        """What lme4's confint() calls the parameter."""
        k, variances = self.names.index(name), len(self.theta)
        if k < variances:
            return f".sig{k + 1:02d}"
        return ".sigma" if k == variances else r_term(name)

    def zeta(self, name: str, value: float, thorough: bool = True) -> float:
        """Signed root of the rise in deviance with the parameter at `value`."""
        k = self.names.index(name)
        rise = self.deviance(k, value, thorough) - self.best
        return float(np.sign(value - self.estimates[k]) * np.sqrt(max(rise, 0.0)))

    def deviance(self, k: int, value: float, thorough: bool = True) -> float:
        """Deviance minimised over all but the k-th parameter (profiled scale of
        `Criterion.value`); from one start, or thoroughly from several."""
        variances = len(self.theta)
        if k > variances:
            return self.with_fixed_effect(k - variances - 1, value)
        return self.constrained(k, self.held_at(k, value), thorough)

    def held_at(self, k: int, value: float) -> Held:
        """The models whose k-th variance parameter has the given value."""
        log_sigma, scaling = float(self.point[-1]), self.res.cross.scaling
        if k == len(self.theta):
            return Held(self.rows, self.point, log_sigma=float(np.log(value / scaling.y_scale)))
        column, row = triangle(self.q)
        i, j = int(column[k]), int(row[k])
        factor = theta_to_factor(self.theta, self.q)
        if i == j:
            size = scaling.y_scale * float(np.linalg.norm(scaling.z_map[i]))
            found = held_sd(self.res, self.rows, factor, log_sigma, i)
            return replace(found, first=value / size)
        return replace(held_correlation(self.res, self.rows, factor, log_sigma, i, j), cor=value)

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
        return float(optimise(rows, reml=False)[1].value[0])

    def constrained(self, k: int, held: Held, thorough: bool) -> float:
        """Minimum of the deviance over the free parameters of `held`."""
        starts = [held.start(), *([self.last[k]] if k in self.last else [])]
        if thorough:
            # there may be several valleys, and the gradient vanishes at zero: begin elsewhere too
            unit = np.append(factor_to_theta(np.eye(self.q)), 0.0)
            others = [replace(held, point=size * unit + self.level) for size in SIZES]
            starts += [other.start() for other in others]
        best = np.inf
        for start in starts:
            # BFGS itself: the limited-memory one of SciPy calls LAPACK at every step, and on a busy
            # machine waits for its threads ten times as long as all else takes
            found = minimize(
                held.unbounded, held.to_unbounded(start), jac=True, method="BFGS",
                options={"gtol": 1e-6, "maxiter": 500},
            )  # fmt: skip
            if found.fun < best:
                best, self.last[k] = float(found.fun), held.from_unbounded(found.x)
        return best

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
                name, cut, lambda t: here + sign * t * self.errors[k - variances - 1], 1.0
            )
        if name.startswith("cor("):
            middle = np.arctanh(np.clip(here, -0.999999, 0.999999))
            limit = float(sign)
            if abs(here) > 0.999999 and np.sign(here) == sign:
                return limit
            if abs(self.zeta(name, sign * 0.9999999)) < abs(cut):
                return limit
            return self.search(name, cut, lambda t: float(np.tanh(middle + sign * t)), 0.5)
        size = here if here > 1e-6 * self.res.cross.scaling.y_scale else 0.0
        if (
            k < variances
            and sign < 0
            and (size == 0.0 or abs(self.zeta(name, 1e-4 * size)) < abs(cut))
        ):
            return 0.0
        if size == 0.0:
            step = float(self.estimates[variances]) / np.sqrt(self.n / self.res.ngroups)
            return self.search(name, cut, lambda t: step * t, 1.0)
        return self.search(name, cut, lambda t: size * float(np.exp(sign * t)), 0.2)

    def search(self, name: str, cut: float, value: Callable[[float], float], step: float) -> float:
        """Value of the parameter where zeta is `cut`, on a path that starts at the estimate."""
        root = self.root(name, abs(cut), value, step, thorough=False)
        if np.isnan(root) or (
            np.isfinite(root) and abs(abs(self.zeta(name, value(root))) - abs(cut)) > ENOUGH
        ):
            root = self.root(name, abs(cut), value, step, thorough=True)  # it had lost its valley
        return value(root) if np.isfinite(root) else float(np.sign(cut) * np.inf)

    def root(
        self, name: str, target: float, value: Callable[[float], float], step: float, thorough: bool
    ) -> float:
        """How far along the path zeta reaches `target`; infinite if it doesn't, NaN if lost."""
        self.last.pop(self.names.index(name), None)

        def excess(t: float) -> float:
            return abs(self.zeta(name, value(t), thorough)) - target

        low, high = 1e-6 * step, step
        while excess(high) < 0.0:
            low, high = high, 1.6 * high
            if high > FARTHEST:
                return float("inf")
        if excess(low) > 0.0:
            return float("nan")
        return float(brentq(excess, low, high, xtol=1e-7 * max(high, 1e-3)))

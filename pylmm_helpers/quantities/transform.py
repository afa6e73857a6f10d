"""Box-Cox transformation of the response of a mixed model, by maximum likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2

from pylmm_helpers.common import Array, a_number, counted, numbers, whole
from pylmm_helpers.engine import (
    LMMResults,
    any_results,
    cross_products,
    optimise,
    reduce_rows,
)
from pylmm_helpers.engine.several import SeveralResults

from .back import marginal_mean
from .group_level import check_level
from .several.transform import Likelihood as SeveralLikelihood

__all__ = ["BoxCox", "boxcox_lmm"]

#: Beyond these no power is a sensible scale, and powers of ordinary data overflow.
WIDEST = (-10.0, 10.0)


@dataclass(frozen=True)
class BoxCox:
    r"""Profile likelihood of the power lambda.

    Attributes
    ----------
    estimate : float
        Lambda with the largest likelihood.
    ci_low, ci_high : float
        Limits of the profile likelihood interval.
    level : float
        Its confidence level.
    profile : DataFrame
        Columns `lambda_`, `llf` (log-likelihood of the observed response, Jacobian included) and
        `drop`, twice the difference from the largest.
    geometric_mean : float
        Of the response, in its units.
    endog_name : str
        The response.
    """

    estimate: float
    ci_low: float
    ci_high: float
    level: float
    profile: pd.DataFrame
    geometric_mean: float
    endog_name: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "profile", whole(self.profile))

    @property
    def suggestion(self) -> float:
        """Simplest of 1, 0, 1/2, -1, 1/3, -1/2, 2 in the interval; else the rounded estimate."""
        for simple in (1.0, 0.0, 0.5, -1.0, 1.0 / 3.0, -0.5, 2.0):
            if self.ci_low <= simple <= self.ci_high:
                return simple
        return round(self.estimate, 1)

    def transform(self, y: ArrayLike, lambda_: float | None = None) -> Array:
        """Give ``(y**lambda_ - 1) / lambda_``, or log y at 0; `suggestion` is the default."""
        values = numbers(y, repr(self.endog_name))
        if np.any(~np.isfinite(values)) or np.any(values <= 0):
            raise ValueError(f"{self.endog_name!r} must be finite and above 0 to be transformed")
        power = self.suggestion if lambda_ is None else a_number(lambda_, "lambda_")
        logs = np.log(values)
        return np.asarray(logs if power == 0.0 else np.expm1(power * logs) / power)

    def inverse(self, z: ArrayLike, lambda_: float | None = None) -> Array:
        """Bring transformed values back to the response's scale; a mean comes back as a median."""
        values = numbers(z, "z")
        if not np.all(np.isfinite(values)):
            raise ValueError("z must be finite to be brought back")
        power = self.suggestion if lambda_ is None else a_number(lambda_, "lambda_")
        if power == 0.0:
            return np.asarray(np.exp(values))
        inside = power * values
        if np.any(inside <= -1.0):
            raise ValueError(
                f"some values can't come from lambda = {power:g}: 1 + lambda z must be above 0"
            )
        return np.asarray(np.exp(np.log1p(inside) / power))

    def mean(
        self,
        fit: Any,
        new_data: Any = None,
        lambda_: float | None = None,
        confidence: float = 0.95,
        weight: float | None = None,
    ) -> pd.DataFrame:
        r"""Mean response of all groups, with its interval, from a model of transformed values.

        Parameters
        ----------
        fit : MixedLMResults, LMMResults or SeveralResults
            REML fit of ``transform(y, lambda_)``, on the same rows.
        new_data : DataFrame or dict, optional
            Predictors; the rows of the fit, if left out.
        lambda_ : float, optional
            The power of the fit's response; `suggestion`, if left out.
        confidence : float
            Coverage.
        weight : float, optional
            For a fit with weights: that of the rows meant.

        Returns
        -------
        DataFrame
            `mean`, `ci_low`, `ci_high`, in units of the response.

        Raises
        ------
        ValueError
            If the fit's response isn't that of `lambda_`, the fit is by ML, or no mean exists.

        Notes
        -----
        Averaged over groups and observations, as :math:`e^{x'b + (z'Gz + \sigma^2)/2}` for the
        logarithm (module `back`). The interval takes the estimated variances into account, by Cox's
        method for the logarithm (Zhou & Gao 1997, Stat. Med. 16, 783-790); lambda counts as known.
        """
        power = self.suggestion if lambda_ is None else a_number(lambda_, "lambda_")
        own = self.endog_name, self.geometric_mean
        return whole(marginal_mean(fit, own, power, new_data, check_level(confidence), weight))

    def __repr__(self) -> str:
        return (
            f"Box-Cox lambda for {self.endog_name}: {self.estimate:.3f}, {100 * self.level:g}% CI "
            f"{self.ci_low:.3f} to {self.ci_high:.3f}; suggested {self.suggestion:g}"
            + self._caution()
        )

    def _caution(self) -> str:
        """Say when the data leave open whether to transform at all."""
        words = " (the interval holds 0 and 1: too little data to choose a scale by it)"
        return words if self.ci_low <= 0.0 and self.ci_high >= 1.0 else ""


def boxcox_lmm(fit: Any, lambdas: ArrayLike | None = None, level: float = 0.95) -> BoxCox:
    r"""Profile likelihood of the Box-Cox power of a mixed model's response.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        A fitted model of the untransformed response, with an intercept. REML or ML: the profile is
        by ML always.
    lambdas : array_like, optional
        Powers at which the profile is tabulated; -2 to 2 in steps of 0.1, widened to hold the
        interval, unless given.
    level : float
        Confidence level.

    Returns
    -------
    BoxCox
        Estimate, interval, profile; `transform`, `inverse` and `mean`.

    Notes
    -----
    The response enters as :math:`(y^\lambda - 1) / (\lambda\dot y^{\lambda - 1})` with :math:`\dot
    y` its geometric mean (:math:`\dot y\log y` at 0). Dividing by :math:`\dot y^{\lambda-1}` takes
    the Jacobian of the transformation into account, so that log-likelihoods of all powers are those
    of the same, observed response. REML criteria are not likelihoods of the response and don't
    compare.

    The interval holds all powers that a likelihood ratio test with 1 df does not reject. Fixed and
    random effects and both variances are estimated anew at each power (Gurka et al. 2006).

    Raises
    ------
    ValueError
        If the response is not above 0 throughout, is transformed in the formula already, if the
        model has no intercept or the fit has no rows, or if the likelihood has no maximum between
        -10 and 10.

    References
    ----------
    Box & Cox (1964), J. R. Statist. Soc. B 26, 211-252 (doi:10.1111/j.2517-6161.1964.tb00553.x).
    Gurka, Edwards, Muller & Kupper (2006), J. R. Statist. Soc. A 169, 273-288
    (doi:10.1111/j.1467-985X.2005.00391.x).
    """
    res = any_results(fit)
    cutoff = float(chi2.ppf(check_level(level), 1))
    log_ratio, geometric_mean = _prepared(res)
    likelihood = _likelihood(res, log_ratio, geometric_mean)
    best = minimize_scalar(
        lambda power: -likelihood(power), bounds=WIDEST, method="bounded", options={"xatol": 1e-8}
    )
    estimate, top = float(best.x), -float(best.fun)
    coarse = np.linspace(-2.0, 2.0, 9)
    started = coarse[int(np.argmax([likelihood(power) for power in coarse]))]
    # a second search from around the best of a coarse grid guards against a second maximum
    again = minimize_scalar(
        lambda power: -likelihood(power),
        bounds=(started - 0.75, started + 0.75),
        method="bounded",
        options={"xatol": 1e-8},
    )
    if -float(again.fun) > top:
        estimate, top = float(again.x), -float(again.fun)
    if estimate - WIDEST[0] < 1e-3 or WIDEST[1] - estimate < 1e-3:
        raise ValueError(
            f"the likelihood of {res.endog_name!r} still rises at lambda = {estimate:.0f}: either "
            "it varies too little beside its mean for powers to differ, or no power makes it "
            "normal. Look at its distribution first"
        )

    def excess(power: float) -> float:
        return 2.0 * (top - likelihood(power)) - cutoff

    low, high = (_end(excess, estimate, sign) for sign in (-1.0, 1.0))
    if lambdas is None:
        # an end of the interval may be infinite
        first = np.floor(10 * min(-2.0, max(low, WIDEST[0]) - 0.2))
        last = np.ceil(10 * max(2.0, min(high, WIDEST[1]) + 0.2))
        points = np.arange(first, last + 1) / 10
    else:
        points = np.atleast_1d(numbers(lambdas, "lambdas"))
        if points.ndim != 1 or not len(points) or not np.all(np.isfinite(points)):
            raise ValueError("lambdas must be a flat list of finite numbers")
    llf = np.array([likelihood(float(power)) for power in points])
    profile = pd.DataFrame({"lambda_": points, "llf": llf, "drop": 2.0 * (top - llf)})
    return BoxCox(estimate, low, high, float(level), profile, geometric_mean, res.endog_name)


def _prepared(res: Any) -> tuple[Array, float]:
    """Logarithm of the response over its geometric mean (n,), and that mean."""
    y = res.y
    if not res.cross.scaling.constant.any():
        raise ValueError(
            "the model has no intercept, so its fit depends on the unit of the response; add the "
            "intercept"
        )
    if res._rows_of.offset is not None:
        raise ValueError(
            "the model has an offset(...), which is known in the response's own unit only; leave "
            "it out, or transform the response less the offset"
        )
    if res.endog_name not in res.frame.columns:
        raise ValueError(
            f"the response {res.endog_name!r} is computed in the formula; fit the model with the "
            "untransformed column"
        )
    bad = int(np.sum(y <= 0))
    if bad:
        raise ValueError(
            f"column {res.endog_name!r} has {counted(bad, 'value')} of 0 or below "
            f"(smallest {y.min():g}); Box-Cox needs values above 0. Add a constant that has a "
            "meaning (such as half the detection limit), or choose another model"
        )
    logs = np.log(y)
    middle = float(logs.mean())
    return logs - middle, float(np.exp(middle))


def _likelihood(res: Any, log_ratio: Array, geometric_mean: float) -> Callable[[float], float]:
    """The ML log-likelihood of the observed response as a function of lambda."""
    design = res._rows_of
    several = SeveralLikelihood(res) if isinstance(res, SeveralResults) else None
    cache: dict[float, float] = {}

    def value(power: float) -> float:
        if power not in cache:
            # y over its geometric mean: no overflow, and the intercept takes up the shift
            z = log_ratio if abs(power) < 1e-12 else np.expm1(power * log_ratio) / power
            if several is not None:
                cache[power] = several(geometric_mean * z)
                return cache[power]
            changed = replace(design, y=geometric_mean * z)
            rows, cross = reduce_rows(cross_products(changed), changed)
            theta, at, converged = optimise(rows, reml=False)
            fitted = LMMResults(cross, rows, theta, at, converged, False, changed)
            cache[power] = fitted.llf
        return cache[power]

    return value


def _end(excess: Callable[[float], float], estimate: float, sign: float) -> float:
    """Power on one side of the estimate at which the likelihood has fallen enough."""
    step = 0.1
    near, far = estimate, estimate + sign * step
    while excess(far) < 0.0:
        step *= 1.6
        near, far = far, far + sign * step
        if abs(far) > 30.0:
            return sign * np.inf
    return float(brentq(excess, near, far, xtol=1e-8))

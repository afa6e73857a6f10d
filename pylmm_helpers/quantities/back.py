r"""The mean on the response's own scale, from a model of its Box-Cox transform.

With z = g(y) normal about eta with the total variance v, the mean of y is

.. math:: m(\eta, v) = E\, g^{-1}(\eta + \sqrt v\, N), \quad N \sim N(0, 1),

:math:`e^{\eta + v/2}` for the logarithm, else by Gauss-Hermite quadrature. It rises with eta, so
limits of eta become limits of the mean. v is estimated as well, and independently of eta: to first
order an error of v moves the mean as an error of :math:`r = m_v / m_\eta` times its size in eta
does, and the limits belong to :math:`\operatorname{SE}^2 = \operatorname{SE}(\eta)^2 + r^2
\operatorname{Var}(\hat v)`. For the logarithm r is 1/2, which is Cox's method (Zhou & Gao 1997,
Statistics in Medicine 16, 783-790).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from pylmm_helpers.common import Array
from pylmm_helpers.engine import any_results
from pylmm_helpers.engine.several import SeveralResults
from pylmm_helpers.formula import as_new_frame, model_columns
from pylmm_helpers.inference import total_variance_spread

from .prediction import predict
from .several.prediction import rows_of

#: The last of these nodes lies 7.6 SD out, where a normal variable has 1e-14 of its weight.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(20)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
#: Share of a normal distribution that may lie below the smallest transformed value.
OUTSIDE = 0.01


def mean_of(eta: Array, v: Array, power: float) -> Array:
    """m(eta, v), elementwise (n,)."""
    if power == 0.0:
        return np.asarray(np.exp(eta + v / 2.0))
    if power == 1.0:  # the response itself, less 1: nothing is cut off, as in `predict`
        return np.asarray(eta + 1.0)
    inside = power * (eta[:, None] + np.sqrt(v)[:, None] * NODES) + 1.0
    if power < 0.0 and (inside <= 0.0).any():
        raise ValueError(
            f"with lambda = {power:g} the mean doesn't exist: the normal distribution on the "
            f"transformed scale reaches {-1.0 / power:g}, which stands for an infinite response. "
            "Give the median, by inverse(), or choose a lambda_ of 0 or above"
        )
    # what lies below the smallest value that the transformation gives stands for a response of 0
    root = np.maximum(inside, 0.0) ** (1.0 / power)
    return np.asarray(root @ WEIGHTS)


def check_inside(eta: Array, v: Array, power: float) -> None:
    """Refuse a positive power whose normal distribution goes far below what a response can give."""
    if power <= 0.0 or power == 1.0:
        return
    share = float(np.max(norm.cdf((-1.0 / power - eta) / np.sqrt(v))))
    if share > OUTSIDE:
        raise ValueError(
            f"with lambda = {power:g}, {100 * share:.2g}% of the normal distribution on the "
            "transformed scale lies below what any response above 0 gives; choose a smaller "
            "lambda_, such as 0"
        )


def slope_ratio(eta: Array, v: Array, power: float) -> Array:
    """r = m_v / m_eta (n,): half the mean of the second derivative over that of the first."""
    if power in (0.0, 1.0):
        return np.full(len(eta), 0.5 * (1.0 - power))
    # differences, since near a response of 0 the second derivative may be infinite
    up, wide = 1e-4 * np.sqrt(v), 1e-4 * v
    by_eta = (mean_of(eta + up, v, power) - mean_of(eta - up, v, power)) / (2.0 * up)
    by_v = (mean_of(eta, v + wide, power) - mean_of(eta, v - wide, power)) / (2.0 * wide)
    return np.asarray(by_v / by_eta)


def check_scale(res: Any, name: str, geometric_mean: float, power: float) -> None:
    """Refuse a fit whose response isn't the named one, transformed by this power."""
    if res._rows_of.offset is not None:
        raise ValueError("the fit has an offset(...), on the transformed scale only; leave it out")
    y = np.asarray(res.y)
    inside = power * y + 1.0
    logs = np.log(np.maximum(inside, 1e-300)) / power if power else y
    # sums of rounded logarithms; another power, unit or set of rows is further off
    away = abs(float(np.mean(logs)) - np.log(geometric_mean)) > 1e-9 * np.abs(logs).max()
    if (inside <= 0.0).any() or away:
        raise ValueError(
            f"the fit's response, {res.endog_name!r}, isn't {name!r} transformed by "
            f"lambda = {power:g}; add transform({name}, {power:g}) to the data as a column, and "
            "fit that on the same rows"
        )


def marginal_mean(
    fit: Any,
    own: tuple[str, float],
    power: float,
    new_data: Any,
    confidence: float,
    weight: float | None,
) -> pd.DataFrame:
    """Means and their intervals for rows of `new_data`, averaged over groups; `own` is the name and
    the geometric mean of the response."""
    res = any_results(fit)
    check_scale(res, *own, power)
    frame = None if new_data is None else as_new_frame(new_data)
    at_mean = predict(res, frame, interval="confidence", confidence=confidence)
    of_one = predict(res, frame, interval="prediction", df=np.inf, weight=weight)
    eta, variance = at_mean["prediction"].to_numpy(), at_mean["std_error"].to_numpy() ** 2
    # what a new observation of a new group has beyond the uncertainty of x'b: z'Gz + sigma^2
    total = of_one["std_error"].to_numpy() ** 2 - variance
    check_inside(eta, total, power)
    ratio = slope_ratio(eta, total, power)
    error = np.sqrt(variance + ratio**2 * total_variance_spread(res, columns_of(res, frame), total))
    reach = norm.ppf(0.5 + confidence / 2.0) * error
    return pd.DataFrame(
        {
            "mean": mean_of(eta, total, power),
            "ci_low": mean_of(eta - reach, total, power),
            "ci_high": mean_of(eta + reach, total, power),
        },
        index=at_mean.index,
    )


def columns_of(res: Any, frame: pd.DataFrame | None) -> dict[str, Array]:
    """Columns of each factor's random effects, for new rows or the fit's own."""
    if isinstance(res, SeveralResults):
        return rows_of(res, frame, []).Z
    return {res.groups: res.Z if frame is None else model_columns(res._rows_of, frame, "random")}

"""Figures of the model: residuals, and profiles of the likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.stats import chi2, norm

from pylmm_helpers.common import Array, a_name
from pylmm_helpers.engine import any_results
from pylmm_helpers.inference import profile_ci
from pylmm_helpers.inference import profile_zeta as zeta_at
from pylmm_helpers.quantities import BoxCox, check_level, residuals

from .factor import factor_of
from .parts import (
    BAND,
    BLUE,
    INK,
    SOFT,
    VERMILLION,
    axes_or_new,
    chosen_term,
    effect_name,
    values_of,
)
from .qq import level_residuals

#: With fewer different values than this, a trend is the mean at each.
FEW_VALUES = 8


def residual_fitted(
    fit: Any,
    x: str | None = None,
    ax: Any = None,
    group: str | None = None,
    term: str | None = None,
) -> Any:
    """Standardised residuals, of rows or of a factor's levels, against fitted values or a column of
    the data.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        A fitted linear mixed model.
    x : str, optional
        Numeric column of the data for the horizontal axis, or ``"fitted_marginal"`` for X beta; the
        conditional fitted values without it.
    ax : matplotlib Axes, optional
        Where to draw.
    group : str, optional
        A grouping factor, such as ``"herd"``: its standardised BLUPs then stand against the mean of
        x, or of X beta, over the rows of each level. Without it, the conditional residuals of the
        rows.
    term : str, optional
        With `group`: the random effect to show, the first unless named.

    Returns
    -------
    Axes
        With a smooth trend (lowess; where x has few different values, the mean at each), which is
        flat at 0 if nothing is wrong with the mean, and lines at -2 and 2, beyond which about 5% of
        the points belong.

    Notes
    -----
    Against conditional fitted values the trend may rise a little although nothing is wrong: a
    shrunken BLUP leaves part of its group's deviation in the residuals, with the same sign. Against
    the marginal ones it doesn't.
    """
    res = any_results(fit)
    if term is not None and group is None:
        raise ValueError("term= is for the BLUPs of a factor; say which factor: group=...")
    table = residuals(res)
    marginal = isinstance(x, str) and x == "fitted_marginal"
    if x is None or marginal:
        fixed_part = marginal or group is not None
        across = table["fitted_marginal" if fixed_part else "fitted"].to_numpy()
        label = "marginal fitted value" if fixed_part else "fitted value"
    else:
        across, label = values_of(res, x), x
    if group is None:
        y, what = table["conditional_std"].to_numpy(), "standardised residual"
    else:
        factor = factor_of(res, group)
        name = chosen_term(factor, term)
        y, what = level_residuals(factor, name).to_numpy(), effect_name(factor, name)
        across = np.bincount(factor.codes, weights=across) / factor.sizes
        label, what = f"{label}, mean of each {factor.groups}", f"standardised {what}"
    ax = axes_or_new(ax)
    ax.scatter(
        across, y, s=12 if len(y) <= 2000 else 5, color=BLUE, alpha=0.45, rasterized=len(y) > 5000
    )
    for line in (-2.0, 2.0):
        ax.axhline(line, color=SOFT, linewidth=0.9, linestyle=(0, (5, 4)))
    ax.axhline(0.0, color=INK, linewidth=0.9)
    ax.plot(*trend(across, y), color=VERMILLION, linewidth=1.8, label="smooth trend")
    ax.set(xlabel=label, ylabel=what)
    ax.legend(loc="upper right")
    return ax


def trend(x: Array, y: Array) -> tuple[Array, Array]:
    """Smooth trend of y along x; with few different values of x, or most of x equal, means."""
    from statsmodels.nonparametric.smoothers_lowess import lowess

    places, number = np.unique(x, return_inverse=True)
    if len(places) >= FEW_VALUES and np.bincount(number).max() < 0.5 * len(x):
        # from 0 to 1: statsmodels judges a window's spread by an absolute number
        least, width = float(x.min()), float(np.ptp(x))
        smooth = lowess(y, (x - least) / width, frac=0.6, delta=0.01)
        return least + width * smooth[:, 0], smooth[:, 1]
    if len(places) >= FEW_VALUES:
        # most of a window at one value leaves a local line without a slope: means of ten classes
        number = np.searchsorted(np.unique(np.quantile(x, np.linspace(0.1, 0.9, 9))), x)
        number = np.unique(number, return_inverse=True)[1]
    size = np.bincount(number)
    return np.bincount(number, weights=x) / size, np.bincount(number, weights=y) / size


def boxcox(result: BoxCox, ax: Any = None) -> Any:
    """Profile log-likelihood of the Box-Cox power, with its interval.

    Parameters
    ----------
    result : BoxCox
        From `boxcox_lmm`.
    ax : matplotlib Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The shaded strip is the interval: the powers whose log-likelihood lies above the dashed
        line.
    """
    if not isinstance(result, BoxCox):
        raise ValueError(f"give the result of boxcox_lmm(fit), not a {type(result).__name__}")
    table = result.profile.sort_values("lambda_")
    x, y = table["lambda_"].to_numpy(), table["llf"].to_numpy()
    ax = axes_or_new(ax)
    finite = np.isfinite([result.ci_low, result.ci_high])
    ends = np.where(finite, [result.ci_low, result.ci_high], [x[0], x[-1]])
    ax.axvspan(*ends, color=BAND, linewidth=0, label=f"{100 * result.level:g}% interval")
    smooth = np.linspace(x[0], x[-1], 401)
    curve = CubicSpline(x, y)(smooth) if len(x) > 3 else np.interp(smooth, x, y)
    ax.plot(smooth, curve, color=BLUE)
    top = float((table["llf"] + table["drop"] / 2.0).iloc[0])
    ax.axhline(
        top - float(chi2.ppf(result.level, 1)) / 2.0,
        color=SOFT,
        linewidth=0.9,
        linestyle=(0, (5, 4)),
    )
    ax.plot(
        [result.estimate],
        [top],
        "o",
        color=VERMILLION,
        label=f"estimate {result.estimate:.2f}".replace("-", "\N{MINUS SIGN}"),
    )
    ax.set(xlabel="Box-Cox power \N{GREEK SMALL LETTER LAMDA}", ylabel="log-likelihood (ML)")
    ax.legend(loc="best")
    return ax


def profile_zeta(
    fit: Any, parameter: str, level: float = 0.95, ax: Any = None, method: str | None = None
) -> Any:
    """Signed root of the profile deviance (zeta) of a parameter.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or MixedLMResults
        A fitted linear mixed model.
    parameter : str
        A name from the index of `profile_ci(fit)`.
    level : float
        Confidence level of the interval shown.
    ax : matplotlib Axes, optional
        Where to draw.
    method : {"reml", "ml"}, optional
        Whose profile, as in `profile_ci`; by default what the fit itself has minimised, and always
        the likelihood's for a fixed effect.

    Returns
    -------
    Axes
        A straight line would mean that normal (Wald) limits are right; a curve, that they are not.
        The interval's ends are where the curve crosses the dashed lines.
    """
    res = any_results(fit)
    a_name(parameter, "parameter", "one parameter in the index of profile_ci(fit)")
    level = check_level(level)
    row = profile_ci(res, level=level, parameters=[parameter], method=method).loc[parameter]
    if row["method"] == "not identified":
        raise ValueError(f"{parameter} has no profile. {res.identification.finding}")
    quantile = float(norm.ppf(0.5 + level / 2.0))
    low, high, middle = float(row["ci_low"]), float(row["ci_high"]), float(row["estimate"])
    reach = 0.35 * (high - low) if np.isfinite(high - low) else abs(middle)
    bounded = parameter not in list(res.fe_params.index)
    first = low - reach
    last = high + reach
    if bounded:
        edge = -1.0 if parameter.startswith("cor(") else 0.0
        first = max(first, edge + 1e-3 * (high - edge))
        last = min(last, 0.999) if parameter.startswith("cor(") else last
    values = np.linspace(first, last, 25)
    zeta = zeta_at(res, parameter, values, method)
    ax = axes_or_new(ax)
    ax.axvspan(low, high, color=BAND, linewidth=0, label=f"{100 * level:g}% profile interval")
    for line in (-quantile, quantile):
        ax.axhline(line, color=SOFT, linewidth=0.9, linestyle=(0, (5, 4)))
    ax.axhline(0.0, color=INK, linewidth=0.9)
    ax.plot(values, zeta.to_numpy(), color=BLUE)
    # the slope at the estimate: what the curve would be, were the estimate exactly normal
    slope = np.gradient(zeta.to_numpy(), values)
    root = float(np.interp(0.0, zeta.to_numpy(), values))
    tangent = float(np.interp(root, values, slope)) * (values - root)
    shown = np.abs(tangent) <= 1.6 * quantile
    ax.plot(
        values[shown], tangent[shown], color=VERMILLION, linewidth=1.0, label="normal approximation"
    )
    ax.set(
        xlabel=parameter,
        ylabel="\N{GREEK SMALL LETTER ZETA}, signed root of the rise in "
        + ("REML criterion" if row["method"] == "REML" else "deviance"),
    )
    ax.legend(loc="upper left")
    return ax

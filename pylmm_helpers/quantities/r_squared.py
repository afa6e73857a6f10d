"""How much of the variance a model explains: R squared of mixed models, and intraclass correlations
beside the variance of the fixed part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, shown, shown_whole
from pylmm_helpers.engine import LMMResults, SeveralResults, any_results, null_fit
from pylmm_helpers.formula import Design, parse

from .group_level import mean_outer_z, mean_ratio
from .several.variance import ratios

#: A variance below this share of the total is zero but for rounding.
NOTHING = 1e-12

BELOW_ZERO = (
    "below zero: the predictors leave more variance at this level than the model without them "
    "shows; this happens where they vary within groups alone, whose variation the null model takes "
    "from the variance between them"
)


@shown_whole
def r_squared(fit: Any, by_level: bool = False) -> pd.DataFrame:
    r"""Share of the variance that a mixed model explains, marginal and conditional, or level by
    level.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or statsmodels MixedLMResults
        A fitted linear mixed model.
    by_level : bool
        Give what the predictors explain at each level, beside the model without predictors.

    Returns
    -------
    DataFrame
        Four rows: `marginal R2` (what the fixed effects explain), `conditional R2` (fixed and
        random effects), `adjusted ICC` (the random effects' share of what the fixed effects leave)
        and `unadjusted ICC` (their share of all). Columns: `share`; `variance`, whose share it is,
        and `of`, of how much, in squared units of the response. ``attrs["note"]`` says when a
        variance of the fit is estimated as zero.

        With `by_level` a row for each grouping factor and one for Residual: `null_variance` and
        `variance` (without and with the predictors; squared units of the response), `explained`
        (``1 - variance / null_variance``) and `note`, which says where this isn't a share: it falls
        below zero when the predictors leave more variance at a level than was seen without them
        (``attrs["note"]`` says so), and can't be had where there was none.

    Raises
    ------
    ValueError
        For fits with weights (each row then has a residual variance of its own) or an offset (which
        is neither explained nor left over); with `by_level` also for fits without rows or
        intercept.

    Notes
    -----
    With :math:`\sigma^2_f` the variance of :math:`x'\hat\beta` over the rows (divisor n - 1),
    :math:`\sigma^2_u` the random effects' variance :math:`z'Gz` averaged over the rows (Johnson
    2014) and summed over the factors, and :math:`\sigma^2` the residual variance,

    .. math::

        R^2_m = \frac{\sigma^2_f}{\sigma^2_f + \sigma^2_u + \sigma^2}, \quad
        R^2_c = \frac{\sigma^2_f + \sigma^2_u}{\sigma^2_f + \sigma^2_u + \sigma^2}, \quad
        ICC_{adj} = \frac{\sigma^2_u}{\sigma^2_u + \sigma^2}, \quad
        ICC_{unadj} = \frac{\sigma^2_u}{\sigma^2_f + \sigma^2_u + \sigma^2}.

    R's performance 0.10.2 (``r2_nakagawa``, ``icc``) gives the same, but in four cases: it gives no
    conditional R2 where a variance is estimated as zero; it counts only the first of a factor's
    terms, as in ``(x || g)``, and no slope without a fixed effect of the same name; and with slopes
    its shares by level are of the intercepts' variance, which depends on where x is zero, here of
    the average over the rows.

    References
    ----------
    Nakagawa, Johnson & Schielzeth (2017), J R Soc Interface 14, 20170213
    (doi:10.1098/rsif.2017.0213). Johnson (2014), Methods Ecol Evol 5, 944-946
    (doi:10.1111/2041-210X.12225). By level: Raudenbush & Bryk (2002), Hierarchical Linear Models,
    ch. 4; on shares below zero Snijders & Bosker (1994), Sociol Methods Res 22, 342-363
    (doi:10.1177/0049124194022003004).

    Examples
    --------
    >>> r_squared(fit).loc["marginal R2", "share"]  # doctest: +SKIP
    """
    res = any_results(fit)
    if not isinstance(by_level, (bool, np.bool_)):
        raise ValueError(f"by_level is {shown(by_level)}; give True or False")
    if res.cross.mean_weight is not None:
        raise ValueError(
            "R squared is not defined for a fit with weights: each row has a residual variance of "
            "its own, so there is no one total. Fit without weights, or see "
            "variance_components(fit, weight=...)"
        )
    if has_offset(res):
        raise ValueError(
            "R squared is not defined for a fit with an offset, which is neither explained nor "
            "left over; subtract it from the response in the data, and fit that"
        )
    return levels(res) if by_level else shares(res)


def has_offset(res: LMMResults | SeveralResults) -> bool:
    """Whether something adds to the fitted values with a known slope."""
    first: Any = res.cross if isinstance(res, LMMResults) else res.design.first
    if isinstance(res.design, Design) or isinstance(first, Design):
        return res._rows_of.offset is not None
    return bool(parse(first.formula).offset)  # the products of a formula


def shares(res: Any) -> pd.DataFrame:
    """Marginal and conditional R squared, adjusted and unadjusted ICC."""
    fixed, random = fixed_variance(res), float(sum(random_variances(res).values()))
    left = random + float(res.scale)
    total = fixed + left
    rows = {
        "marginal R2": (fixed, total),
        "conditional R2": (fixed + random, total),
        "adjusted ICC": (random, left),
        "unadjusted ICC": (random, total),
    }
    table = pd.DataFrame(
        [(part / whole, part, whole) for part, whole in rows.values()],
        index=pd.Index(list(rows), name="share of variance"),
        columns=["share", "variance", "of"],
    )
    if res.singular:
        table.attrs["note"] = (
            "a variance of this fit is estimated as zero, or a correlation as one: the shares are "
            "those of the estimates, which R's performance leaves out"
        )
    return table


def levels(res: Any) -> pd.DataFrame:
    """Variances at each level with and without the predictors."""
    null = null_fit(res)
    before = random_variances(null) | {"Residual": float(null.scale)}
    after = random_variances(res) | {"Residual": float(res.scale)}
    nothing = NOTHING * sum(before.values())
    rows = []
    for level, variance in after.items():
        was = before[level]
        explained = 1.0 - variance / was if was > nothing else np.nan
        note = "below zero" if explained < 0.0 else ""
        note = "no null variance" if was <= nothing else note
        rows.append((was, variance, explained, note))
    columns = ["null_variance", "variance", "explained", "note"]
    table = pd.DataFrame(rows, index=pd.Index(list(after), name="level"), columns=columns)
    if (table["note"] == "below zero").any():
        table.attrs["note"] = BELOW_ZERO
    return table


def random_variances(res: LMMResults | SeveralResults) -> dict[str, float]:
    """What each factor adds to the variance of a row, averaged over the rows."""
    sigma2 = float(res.scale)
    if isinstance(res, LMMResults):
        return {str(res.groups): sigma2 * mean_ratio(res, mean_outer_z(res))}
    return {name: sigma2 * ratio for name, ratio in ratios(res, 1.0).items()}


def fixed_variance(res: LMMResults | SeveralResults) -> float:
    """Variance of ``x'b`` over the rows, from the products, which are of centred columns."""
    scaling, beta = res.cross.scaling, res.beta_scaled
    if not np.any(scaling.constant):  # the products don't hold the mean
        return float(np.var(scaling.fixed(res.X, beta), ddof=1))
    p, n = res.cross.p, res.nobs
    products: Array = res.cross.RtR if isinstance(res, LMMResults) else res.sums.RR
    XtX = products[:p, :p]
    b, ones = beta + scaling.offset, np.linalg.solve(scaling.x_map, scaling.constant)
    b = b - float(ones @ XtX @ b) / n * ones
    return float(scaling.y_scale**2 * (b @ XtX @ b) / (n - 1))

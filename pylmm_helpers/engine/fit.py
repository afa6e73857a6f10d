"""Linear mixed models by maximum or restricted maximum likelihood.

The path of a fit with one grouping factor, each step in a module of its own that can be read alone
(models with several random terms have a folder of their own, `pylmm_helpers.engine.several`):

1. `formula.design` checks the data and lays out the columns of X, Z and y (formulaic reads the
   formula);
2. `scaling` centres and scales them, `products` multiplies them group by group and reduces each
   group to as many pseudo-rows as there are random terms: from here on the rows are not needed any
   more, and a million of them cost no more than the number of groups;
3. `criterion` gives the criterion that is left when the fixed effects and the residual variance are
   profiled out, with its first and second derivatives;
4. `search` finds its minimum and makes sure that it is one;
5. `LMMResults` (`results`) turns the minimum into estimates in the units of the data.

References
----------
Bates D, Mächler M, Bolker B, Walker S (2015). Fitting linear mixed-effects models using lme4.
J Stat Softw 67(1). doi:10.18637/jss.v067.i01

Laird NM, Ware JH (1982). Random-effects models for longitudinal data. Biometrics 38, 963-974.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from formulaic.utils.context import capture_context
from numpy.typing import ArrayLike

from pylmm_helpers.common import counted, shown
from pylmm_helpers.formula import (
    Design,
    build_design,
    check_own_rows,
    check_size,
    has_bars,
    in_order,
    read_request,
)

from .identified import check_identified
from .products import CrossProducts
from .reduce import no_residual, reduce_products
from .refits import refit_all
from .results import LMMResults
from .scaling import cross_products, reduce_rows
from .search import optimise
from .several.cells import SeveralProducts, fit_cells
from .several.fit import check_bars_alone, fit_bars, refit_bars
from .several.results import SeveralResults
from .structured import fit_structured

__all__ = ["LMMResults", "fit_lmm", "refit"]

#: Share of the response left by the fixed effects, below which its products have lost half their
#: digits.
ALMOST_NOTHING = 1e-7


def fit_lmm(
    formula: str | CrossProducts | SeveralProducts,
    data: Any = None,
    groups: str | None = None,
    re_formula: str = "1",
    reml: bool = True,
    weights: Any = None,
    missing: str = "raise",
    correlation: str | None = None,
    variances: str | None = None,
) -> LMMResults | SeveralResults:
    """Fit a linear mixed model with one grouping factor or several.

    Parameters
    ----------
    formula : str, CrossProducts or SeveralProducts
        Response and fixed effects, such as ``"milk_kg ~ parity"`` or ``"np.log(cost) ~
        C(severity)"``. The left-hand side is arithmetic (``post - pre``), as in lme4;
        ``offset(x)`` on the right adds x with a known slope of one. A column of true and false is
        the numbers 1 and 0 (R makes two categories of it); write ``C(x)`` for categories. For
        several random terms lme4's spelling: ``"y ~ x + (1 + x | herd) + (1 | herd:cow)"``;
        ``(1 | a/b)`` stands for ``(1 | a) + (1 | a:b)``, and ``(x || g)`` for effects without
        covariance. Or what `cross_products` made of data too large for memory; then only `reml` is
        left to choose. A formula is code that is run: never take one from strangers.
    data : DataFrame
        One row per observation; pandas, or Polars with pandas at hand.
    groups : str, optional
        Column that names each row's group, when the formula has no random terms in it.
    re_formula : str
        Terms whose coefficients vary between groups: ``"1"`` for a random intercept, ``"1 + x"``
        for a random intercept and slope with their covariance.
    reml : bool
        Restricted maximum likelihood (default) or maximum likelihood.
    weights : str or array (n,), optional
        Prior weights w: the residual variance of a row is sigma^2 / w, as in lme4. A Series is
        matched with the rows by its index.
    missing : {"raise", "drop"}
        What to do about rows with a missing value in a column of the model; dropped rows are
        counted in ``result.n_dropped``.
    correlation : str, optional
        Correlation of the residuals within each group (of the finest grouping factor):
        ``"ar1(week)"`` for whole steps of the column week, gaps counted, ``phi ** steps``;
        ``"car1(day)"`` for times of any kind, ``phi ** distance`` with phi between 0 and 1. Dates
        count in days. Rows of a group must have different times.
    variances : str, optional
        Column of classes, each with its own residual SD; ``result.variance_ratios`` are those SD
        over the first class's, whose SD is the root of ``result.scale``. Weights combine with it
        as in nlme's ``varComb``: the residual SD of a row is that of its class over the root of
        its weight.

    Returns
    -------
    LMMResults
        Or, for several random terms, `SeveralResults`, whose attributes of a single factor are
        dicts by factor.

    Raises
    ------
    ValueError
        For every input from which no honest estimate can come: unknown, missing, infinite, constant
        or collinear columns, text instead of numbers, a term that one row alone doesn't determine
        (``x - x.mean()``: predictions could not repeat it), a single group, too few rows or
        groups, a constant response, a response without residual variation; times that are missing,
        repeated within a group or not numbers (for "ar1" whole ones), groups of one row only, a
        class of rows with one row, phi at its bound or not to be told from the random effects. The
        message names the column and the remedy.

    Notes
    -----
    Differences from statsmodels 0.15 (`MixedLM`), each with a test that pins it:

    - ``bse_fe`` is the root of the diagonal of sigma^2 (X'V^-1X)^-1, as in lme4; statsmodels
      inverts the Hessian of fixed effects and variance parameters together, which gives other
      values (by up to a fifth) in small unbalanced data.
    - A variance estimated as zero is an ordinary result here (`singular` is True); statsmodels may
      raise ``LinAlgError``.
    - `aic` and `bic` exist for REML fits too, counted as lme4 counts them.

    With `correlation` or `variances` the residuals of rows i and j of a group, at times s and t,
    have the covariance :math:`\\sigma^2 r_i r_j \\phi^{|s - t|}`, r the SD ratios of their classes.
    The rows are whitened for given phi and ratios, and these are searched outside. nlme's ``lme``
    with ``corAR1``, ``corCAR1`` and ``varIdent`` is the reference; for ``"ar1"`` with even steps
    only, where it stays at its start of 0, the positive phi is given.

    References
    ----------
    The criterion is that of Bates et al. (2015), doi:10.18637/jss.v067.i01, equations 34 (ML) and
    42 (REML); correlation and variances are those of Pinheiro JC, Bates DM (2000), Mixed-effects
    models in S and S-PLUS, Springer, ch. 5.
    """
    if not isinstance(reml, (bool, np.bool_)):
        raise ValueError(f"reml is {shown(reml)}; give True for REML or False for ML.")
    if isinstance(formula, CrossProducts | SeveralProducts):
        residual = (correlation, variances)
        given = any(value is not None for value in (data, groups, weights, *residual))
        if given or (re_formula, missing) != ("1", "raise"):
            raise ValueError(
                "data, groups, re_formula, weights and missing are part of the cross products "
                "already; give fit_lmm the products and reml= only, and the others to "
                "cross_products."
            )
        if isinstance(formula, SeveralProducts):
            return fit_cells(formula, reml)
        return fit_products(formula, reml)
    if data is None:
        raise ValueError("data is missing: give the data frame that holds the formula's columns.")
    context = capture_context(1)
    request = read_request(correlation, variances)
    if has_bars(formula):
        check_bars_alone(groups, re_formula)
        return fit_bars(formula, data, reml, weights, missing, context, fit_design, request)
    if groups is None:
        raise ValueError(
            "groups is missing: give the name of the column that holds each row's group."
        )
    design = build_design(formula, data, groups, re_formula, weights, missing, context, request)
    check_own_rows(design)
    return fit_design(design, reml)


def refit(fit: LMMResults | SeveralResults, y: ArrayLike) -> Any:
    """Fit the model of an earlier fit to another response, or to many.

    For simulations: formula and columns are not read again, so a small model takes half the time.
    Many responses are fitted together, which with one grouping factor takes a third of that.

    Parameters
    ----------
    fit : LMMResults or SeveralResults
        A fit made by `fit_lmm`.
    y : array_like (n,) or (n, B)
        The new response, one value for each row that `fit` used, in its order (a Series or
        DataFrame: with its index) and on the scale of its left-hand side (after a transformation
        such as ``np.log``); or B responses, a column each.

    Returns
    -------
    LMMResults or SeveralResults, or a list of them
        By the same method (ML or REML), with the same weights. Its `frame` is that of `fit`, with
        the old response. For a matrix a list with the fit of each column.

    Raises
    ------
    ValueError
        When `fit` has no rows or is not from this package, for a response of another length or
        with missing, infinite or non-numeric values, and for all that `fit_lmm` refuses.

    References
    ----------
    The counterpart of lme4's `refit`.
    """
    if not isinstance(fit, LMMResults | SeveralResults):
        raise ValueError(
            f"refit takes a fit made by fit_lmm, not {type(fit).__name__}; fit the model with "
            "fit_lmm first."
        )
    design = fit._rows_of
    name = design.y_name
    y = in_order(y, design.frame.index, f"the new response '{name}'")
    try:
        values = np.array(y, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the new response '{name}' is not numeric.") from error
    if values.shape[:1] != design.y.shape or values.ndim > 2:
        raise ValueError(
            f"the new response '{name}' has shape {values.shape}, the fit {len(design.y)} rows: "
            "give one value for each row, or a column for each response."
        )
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"the new response '{name}' has {counted(bad, 'missing or infinite value')}: a refit "
            "can't drop rows, so fit the model anew with fit_lmm."
        )
    if values.size:
        check_size(values, name)
    if values.ndim == 2:
        if isinstance(fit, SeveralResults) or design.structure is not None:
            return [refit(fit, column) for column in values.T]
        return refit_all(
            fit, values, lambda one: fit_plain(one, fit.reml), almost_nothing=ALMOST_NOTHING
        )
    if isinstance(fit, SeveralResults):
        return refit_bars(fit, values)
    return fit_design(replace(design, y=values), fit.reml)


def fit_products(cross: CrossProducts, reml: bool) -> LMMResults:
    """The fit of cross products whose rows are out of reach."""
    rows, cross = reduce_products(cross)
    check_identified(rows, cross, reml)
    theta, at, converged = optimise(rows, reml)
    if not np.isfinite(at.value[0]):
        raise no_residual(cross)
    return LMMResults(cross, rows, theta, at, converged, reml)


def fit_design(design: Design, reml: bool) -> LMMResults:
    """The fit of a model whose columns are laid out and checked."""
    if design.structure is not None:
        fit: LMMResults = fit_structured(design, reml, fit_plain)
        return fit
    return fit_plain(design, reml)


def fit_plain(design: Design, reml: bool, cross: CrossProducts | None = None) -> LMMResults:
    """The fit of a model whose residuals have no structure, or one with its parameters given;
    `cross` are its products where they are known."""
    cross = cross_products(design) if cross is None else cross
    rows, cross = reduce_rows(cross, design)
    check_identified(rows, cross, reml)
    theta, at, converged = optimise(rows, reml)
    if np.isfinite(at.value[0]) and at.unexplained()[0] < ALMOST_NOTHING:
        # the digits of the residual are lost beside those of y: fit what the fixed effects leave of
        # it
        cross = cross_products(design, (cross.scaling, at.beta()[0]))
        rows, cross = reduce_rows(cross, design)
        theta, at, converged = optimise(rows, reml)
    if not np.isfinite(at.value[0]):
        raise no_residual(cross)
    return LMMResults(cross, rows, theta, at, converged, reml, design)

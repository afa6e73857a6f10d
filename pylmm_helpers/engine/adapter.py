"""One entry for every helper: this package's own results, or a fitted statsmodels MixedLM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design, bare_terms, group_codes

from .criterion import criterion, factor_to_theta
from .products import CrossProducts, GroupRows
from .results import LMMResults
from .scaling import cross_products, reduce_rows
from .several.results import SeveralResults

#: Helpers that take a fit with several random terms.
TAKES_SEVERAL = (
    "coef_table",
    "contrast",
    "marginal_means",
    "compare_groups",
    "variance_components",
    "icc",
    "r_squared",
    "blups",
    "predict",
    "lrt",
    "information_criteria",
    "refit",
    "simulate",
    "simulate_power",
    "parametric_bootstrap",
    "profile_ci",
    "residuals",
    "check_singular",
    "check_convergence",
    "report",
    "crosscheck",
    "plots.qq",
    "plots.caterpillar",
    "plots.shrinkage",
    "plots.spaghetti",
    "plots.residual_fitted",
    "influence",
    "shrinkage_factor",
    "design_effect",
    "variance_function",
    "contextual_effect",
    "boxcox_lmm",
)


#: Helpers that take a fit with correlated residuals or unequal variances.
TAKES_STRUCTURE = (
    "coef_table",
    "contrast",
    "marginal_means",
    "compare_groups",
    "blups",
    "shrinkage_factor",
    "predict",
    "lrt",
    "information_criteria",
    "refit",
    "simulate",
    "simulate_power",
    "parametric_bootstrap",
    "residuals",
    "check_singular",
    "check_convergence",
    "report",
    "plots.residual_autocorrelation",
)


def no_structure(fit: Any) -> None:
    """Refuse a fit with correlated residuals or unequal variances, for helpers whose formulas take
    residuals to be independent and of one variance."""
    structure = getattr(fit, "structure", None)
    if isinstance(fit, LMMResults | SeveralResults) and structure is not None:
        raise ValueError(
            f"this helper doesn't take a fit with {structure.request.words}: it counts on "
            "independent residuals of one variance. Those that do take it are "
            f"{', '.join(TAKES_STRUCTURE)}; fit the model without it for this one."
        )


def any_results(fit: Any, structures: bool = False) -> Any:
    """`as_results` for helpers that take a fit with several random terms too."""
    if isinstance(fit, SeveralResults):
        if not structures:
            no_structure(fit)
        return fit
    return as_results(fit, structures)


def as_results(fit: Any, structures: bool = False) -> LMMResults:
    """Results in this package's form, whichever engine made the fit.

    Parameters
    ----------
    fit : LMMResults or statsmodels MixedLMResults
        A statsmodels fit is taken at statsmodels' own estimates: fixed effects, residual variance
        and random-effects covariance stay as they are, and everything else (standard errors
        included) follows from them by lme4's definitions.
    structures : bool
        Whether the helper takes correlated residuals and unequal variances into account.

    Returns
    -------
    LMMResults

    Raises
    ------
    ValueError
        Anything else; a statsmodels fit with variance-component formulas, penalties or parameters
        held fixed (``free=``), or with a residual variance of zero.
    """
    if isinstance(fit, LMMResults):
        if not structures:
            no_structure(fit)
        return fit
    if isinstance(fit, SeveralResults):
        raise ValueError(
            "this helper doesn't take a fit with several random terms, "
            f"{fit.formula!r}, yet; those that do are {', '.join(TAKES_SEVERAL)}."
        )
    model = getattr(fit, "model", None)
    if type(model).__name__ != "MixedLM" or not hasattr(fit, "cov_re"):
        raise ValueError(
            "expected a fit from pylmm_helpers.fit_lmm(...) or a fitted statsmodels MixedLM "
            f"(smf.mixedlm(...).fit()), not {type(fit).__name__}."
        )
    return from_statsmodels(fit)


def from_statsmodels(fit: Any) -> LMMResults:
    """`as_results` for a statsmodels MixedLMResults."""
    model = fit.model
    if getattr(model, "k_vc", 0) or getattr(model, "k_re", 0) == 0:
        raise ValueError(
            "this statsmodels fit uses vc_formula; the helpers know one grouping factor with "
            "random coefficients. Fit it with groups= and re_formula= only."
        )
    # fit_regularized() gives results without an attribute `reml`
    penalties = (model.fe_pen, model.re_pen, getattr(fit, "cov_pen", None))
    if not hasattr(fit, "reml") or any(penalty is not None for penalty in penalties):
        raise ValueError(
            "this statsmodels fit is penalised; the helpers know (restricted) maximum likelihood "
            "only. Fit it with .fit()."
        )
    free = getattr(fit, "freepat", None)
    if free is not None and not (np.all(free.fe_params) and np.all(free.cov_re)):
        raise ValueError(
            "this statsmodels fit holds parameters fixed (free=), such as a covariance of zero; "
            "the helpers estimate, count and test them all. Fit it without free=."
        )
    scale = float(fit.scale)
    covariance = np.atleast_2d(np.asarray(fit.cov_re, dtype=float))
    if not (scale > 0 and np.isfinite(scale) and np.isfinite(covariance).all()):
        raise ValueError(
            f"this statsmodels fit failed (residual variance {scale:g}); fit the model with "
            "fit_lmm."
        )
    design = design_of(fit)
    cross = cross_products(design)
    rows, cross = reduce_rows(cross, design)
    values, vectors = np.linalg.eigh(covariance / scale)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))
    theta = factor_to_theta(cross.scaling.scaled_factor(factor))
    scaling = cross.scaling
    beta = scaling.scaled_beta(np.asarray(fit.fe_params, dtype=float))
    fixed = (beta, scale / scaling.y_scale**2)
    return results_at(theta, cross, rows, bool(fit.reml), design, fixed, bool(fit.converged))


def results_at(
    theta_scaled: Array,
    cross: CrossProducts,
    rows: GroupRows,
    reml: bool,
    design: Design | None,
    fixed: tuple[Array, float] | None = None,
    converged: bool = True,
) -> LMMResults:
    """Results at a given theta (d,) instead of the optimum; `fixed` keeps another engine's beta and
    sigma^2."""
    at, _ = criterion(theta_scaled[None], rows, reml)
    return LMMResults(cross, rows, theta_scaled, at, converged, reml, design, fixed)


def design_of(fit: Any) -> Design:
    """The columns of a statsmodels MixedLM, named as the formulas would name them."""
    model = fit.model
    y = np.ascontiguousarray(model.endog, dtype=float)
    x_names = tuple(str(name) for name in model.exog_names)
    columns = [np.ascontiguousarray(c, dtype=float) for c in np.asarray(model.exog).T]
    columns = [constant_as_view(c) for c in columns]
    frame = frame_of(model, len(y))
    raw_names = [str(name) for name in getattr(model.data, "exog_re_names", range(model.k_re))]
    group_name = name_of_groups(model, frame, raw_names)
    if group_name not in frame:
        frame = frame.assign(**{group_name: np.asarray(model.groups)})
    z_columns, z_names = [], []
    for name, values in zip(raw_names, np.asarray(model.exog_re, dtype=float).T, strict=True):
        z_columns.append(constant_as_view(np.ascontiguousarray(values)))
        z_names.append("Intercept" if np.all(values == 1.0) else name)
    shared = dict(zip(x_names, columns, strict=True))
    z_columns = [
        shared.get(name, c) if np.array_equal(shared.get(name, ()), c) else c
        for name, c in zip(z_names, z_columns, strict=True)
    ]
    codes, labels = group_codes(pd.Series(np.asarray(model.groups)), group_name)
    formula = getattr(model, "formula", None) or f"{model.endog_names} ~ {' + '.join(x_names)}"
    re_formula = bare_terms("1" if name == "Intercept" else name for name in z_names)
    if "Intercept" not in z_names:
        re_formula = "0 + " + re_formula
    return Design(
        formula, re_formula, str(model.endog_names), x_names, tuple(z_names), group_name,
        columns, z_columns, y,
        codes, labels, None, frame, has_formula=hasattr(model, "formula"),
    )  # fmt: skip


def constant_as_view(column: Array) -> Array:
    """A column of ones as a broadcast view, which the scaling step knows for the intercept."""
    return np.broadcast_to(1.0, len(column)) if np.all(column == 1.0) else column


def frame_of(model: Any, n: int) -> pd.DataFrame:
    """The rows that statsmodels used; without a formula, a frame made from its matrices."""
    frame = getattr(model.data, "frame", None)
    if frame is not None and len(frame) != n:
        missing = getattr(model.data, "missing_row_idx", None)
        # by position: labels of the index may repeat, as they do after pd.concat
        frame = (
            frame.iloc[np.setdiff1d(np.arange(len(frame)), missing)]
            if missing is not None and len(missing)
            else None
        )
    if frame is None or len(frame) != n:
        frame = pd.DataFrame(np.asarray(model.exog), columns=list(model.exog_names))
        frame[str(model.endog_names)] = np.asarray(model.endog)
    return frame


def name_of_groups(model: Any, frame: pd.DataFrame, re_names: list[str]) -> str:
    """The grouping column's name, which statsmodels keeps only by accident; "Group" where it can't
    be told."""
    values = np.asarray(model.groups)
    for name in [*(n for n in re_names if n in frame), *frame.columns]:
        column = np.asarray(frame[name])
        if column.dtype.kind in "OUSifub" and np.array_equal(column, values):
            return str(name)
    # with missing="drop" the column is gone, but the random intercept has its name
    for name, effect in zip(re_names, np.asarray(model.exog_re, dtype=float).T, strict=True):
        if np.all(effect == 1.0) and hasattr(model, "formula") and name not in frame:
            return name
    return "Group"

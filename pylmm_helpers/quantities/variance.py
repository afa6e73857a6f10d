"""Variance components, intraclass correlation, ANOVA estimators and the design effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pylmm_helpers.common import a_mapping, a_name, a_number, numbers, one_of, shown_whole
from pylmm_helpers.engine import any_results, as_results, no_structure
from pylmm_helpers.engine.several import SeveralResults

from .anova import anova_components, one_way_parts
from .design_effect import design_effect
from .group_level import check_level, is_random_intercept, mean_outer_z, mean_ratio, weight_of
from .icc_interval import RatioProfile, delta_interval, f_interval, profile_interval
from .several import level_shares
from .several import variance as quantities

__all__ = ["anova_components", "design_effect", "icc", "variance_components", "variance_function"]

ICC_METHODS = ("profile", "delta", "f")


@shown_whole
def variance_components(fit: Any, weight: float | None = None) -> pd.DataFrame:
    r"""Variances and standard deviations of the random effects and of the residual.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    weight : float, optional
        For a fit with weights: the weight of the row whose residual variance, sigma^2 / weight, and
        total are meant. Without it such a fit has neither total nor shares, and Residual is
        sigma^2, the residual variance of a row of weight 1, as in lme4.

    Returns
    -------
    DataFrame
        Index `component`: the random-effect terms, ``cov(a, b)`` for each pair of them, Residual,
        Total. Columns: `group` (the grouping column, empty for the rows that belong to no group);
        `variance` (units of the response, squared; in a ``cov`` row the covariance); `sd` (units of
        the response). A random-intercept model adds `share` of the total variance, where the
        intercept's share is the ICC. A model with slopes adds `correlation`, filled in the ``cov``
        rows, which in turn have no `sd`.

    Notes
    -----
    With random slopes the variance between groups depends on the predictors, :math:`z'Gz`. Total is
    then the average of :math:`z'Gz + \sigma^2` over the rows (Johnson 2014,
    doi:10.1111/2041-210X.12225); see `variance_function` for the variance at chosen values.

    Raises
    ------
    ValueError
        For a weight that is not above 0, or one for a fit without weights.

    Examples
    --------
    >>> variance_components(fit).loc["Intercept", "variance"]  # doctest: +SKIP
    """
    if isinstance(fit, SeveralResults):
        no_structure(fit)
        return quantities.variance_components(fit, weight)
    res = as_results(fit)
    terms = [str(t) for t in res.cov_re.index]
    G = res.cov_re.to_numpy(dtype=float)
    whole = res.cross.mean_weight is None or weight is not None
    at = weight_of(res, weight, "the total") if whole else 1.0
    sigma2 = float(res.scale) / at
    total = sigma2 * (1.0 + mean_ratio(res, mean_outer_z(res, at))) if whole else np.nan
    name = str(res.groups)
    rows: list[tuple[str, str, float, float, float]] = []
    for i, term in enumerate(terms):
        rows.append((term, name, G[i, i], np.sqrt(G[i, i]), np.nan))
    for j in range(len(terms)):
        for i in range(j + 1, len(terms)):
            size = np.sqrt(G[i, i] * G[j, j])
            correlation = G[i, j] / size if size > 0.0 else np.nan
            rows.append((f"cov({terms[j]}, {terms[i]})", name, G[i, j], np.nan, correlation))
    rows.append(("Residual", "", sigma2, np.sqrt(sigma2), np.nan))
    if whole:
        rows.append(("Total", "", total, np.sqrt(total), np.nan))
    columns = ["component", "group", "variance", "sd", "correlation"]
    frame = pd.DataFrame(rows, columns=columns).set_index("component")
    if len(terms) == 1:
        frame = frame.drop(columns="correlation")
    if whole and is_random_intercept(res):
        frame["share"] = frame["variance"] / total
    return frame


@shown_whole
def variance_function(
    fit: Any,
    term: str,
    values: ArrayLike,
    other: Mapping[str, float] | None = None,
    weight: float | None = None,
) -> pd.DataFrame:
    """Variance between groups, and ICC, as a function of a predictor that has a random slope.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    term : str
        A random-effect term, as in ``fit.cov_re.index``.
    values : array_like (k,)
        Values of the term.
    other : mapping, optional
        Values of further random-effect terms (0 unless given; the intercept is 1).
    weight : float, optional
        For a fit with weights: the weight of the row whose residual variance, sigma^2 / weight, is
        meant.

    Returns
    -------
    DataFrame
        One row for each value: the term's own column, `between` (``z'Gz``), `residual`, `total`
        (all in squared units of the response), `sd_between` and `icc`.
        With several grouping factors one row for each value and factor: also `group` and `share`,
        the factor's own part of the total; `between` and `sd_between` are the factor's, and `icc`
        is the correlation of two rows with that value that share one of its levels and those that
        it is nested in.

    Raises
    ------
    ValueError
        If the term has no random effect in this model, or for a fit with weights and no `weight`.

    References
    ----------
    Goldstein, Browne & Rasbash (2002), Understanding Statistics 1, 223-231 (variance partition
    coefficient).
    """
    a_name(term, "term", "a random slope")
    a_mapping(other, "other", "a dict of further terms and their values")
    x = np.atleast_1d(numbers(values, f"values of {term!r}"))
    if x.ndim != 1 or not np.all(np.isfinite(x)):
        raise ValueError(f"values of {term!r} must be a flat list of finite numbers")
    if isinstance(fit, SeveralResults):
        return level_shares.variance_function(any_results(fit), term, x, other or {}, weight)
    res = as_results(fit)
    terms = [str(t) for t in res.cov_re.index]
    unknown = [t for t in [term, *(other or {})] if t not in terms or t == "Intercept"]
    if unknown:
        slopes = [t for t in terms if t != "Intercept"]
        raise ValueError(
            f"{unknown[0]!r} has no random slope in this model; random slopes: {slopes or 'none'}"
        )
    z = np.zeros((len(x), len(terms)))
    for j, name in enumerate(terms):
        z[:, j] = 1.0 if name == "Intercept" else a_number((other or {}).get(name, 0.0), name)
    z[:, terms.index(term)] = x
    sigma2 = float(res.scale) / weight_of(res, weight, "the total variance")
    # in scaled columns: far from 0, z'Gz would be a difference of large numbers
    columns = res.cross.scaling.z(z) if "Intercept" in terms else z @ res.cross.scaling.z_map
    between = float(res.scale) * np.sum((columns @ res.factor_scaled) ** 2, axis=1)
    return pd.DataFrame(
        {
            term: x,
            "between": between,
            "residual": sigma2,
            "total": between + sigma2,
            "sd_between": np.sqrt(between),
            "icc": between / (between + sigma2),
        }
    )


@shown_whole
def icc(fit: Any, method: str = "profile", level: float = 0.95, weight: float | None = None) -> Any:
    r"""Intraclass correlation: the share of the variance that lies between groups, with an
    interval.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model. With predictors the ICC is conditional on them (of what they
        leave unexplained). With random slopes it is the average over the rows (Johnson 2014,
        doi:10.1111/2041-210X.12225).
    method : {"profile", "delta", "f"}
        How the interval is found:

        - ``profile``: all values that a likelihood ratio test (chi-squared, 1 df) does not reject.
          The ICC is :math:`\theta^2 / (1 + \theta^2)`, a monotone function of the one parameter
          that the criterion is profiled over, so the interval needs no standard error, stays
          between 0 and 1, includes 0 where the data do not exclude it, and takes unequal group
          sizes as they are. The default.
        - ``delta``: normal interval for logit ICC. Close to ``profile`` far from 0, not defined at
          0.
        - ``f``: Searle's interval from the one-way analysis of variance, exact for groups of equal
          size and approximate otherwise (n0 in place of the size, as Donner & Wells 1986); only for
          a model without predictors, and around the ANOVA estimate, which may be negative.
    level : float
        Confidence level.
    weight : float, optional
        For a fit with weights: the weight of the rows whose correlation is meant. Their residual
        variance is sigma^2 / weight, so that rows of another weight have another ICC.

    Returns
    -------
    Series
        `estimate`, `ci_low`, `ci_high`, `level`, `sigma2_g` (average variance between groups),
        `sigma2` (residual variance); its name says which method gave the interval. For several
        random terms a DataFrame with a row for each factor: `correlation_of` says of which rows,
        such as "two rows of one herd"; they share one of its levels and those that it is nested in
        (of two rows of a cow: the shares of cow and herd), and no other; then the estimate, its
        interval (``profile`` or ``delta``), and the factor's own `share`.

    Raises
    ------
    ValueError
        For a fit with weights and no `weight`, an unknown method, ``delta`` at an estimate of 0, or
        ``f`` for a model with predictors, slopes or weights.

    References
    ----------
    Searle, Casella & McCulloch (1992), Variance Components, sections 3.6 and 6.3
    (doi:10.1002/9780470316856). Donner & Wells (1986), Biometrics 42, 401-412
    (doi:10.2307/2531060).
    """
    if isinstance(fit, SeveralResults):
        no_structure(fit)
        return quantities.icc(fit, method, level, weight)
    res = as_results(fit)
    level = check_level(level)
    one_of(method, ICC_METHODS, "method")
    at = weight_of(res, weight, "the intraclass correlation")
    outer = mean_outer_z(res, at)
    sigma2 = float(res.scale) / at
    if method == "f":
        if (
            res.cross.mean_weight is not None
            or not is_random_intercept(res)
            or list(res.fe_params.index) != ["Intercept"]
            or res.design is None
        ):
            raise ValueError(
                "method='f' is for a random intercept without predictors or weights, fitted from "
                "rows; use 'profile'"
            )
        parts = one_way_parts(res.y - res.offset, np.ones((res.nobs, 1)), res.codes)
        low, high = f_interval(
            parts.f_statistic, parts.df_between, parts.df_within, parts.n0, level
        )
        estimate, sigma2_g, sigma2 = parts.icc, parts.sigma2_g, parts.sigma2
    else:
        sigma2_g = sigma2 * mean_ratio(res, outer)
        profile = RatioProfile(res, outer)
        ends = (
            profile_interval(profile, level)
            if method == "profile"
            else delta_interval(profile, level)
        )
        low, high = (1.0 if np.isinf(t) else t / (1.0 + t) for t in ends)
        estimate = sigma2_g / (sigma2_g + sigma2)
    return pd.Series(
        {
            "estimate": estimate,
            "ci_low": low,
            "ci_high": high,
            "level": level,
            "sigma2_g": sigma2_g,
            "sigma2": sigma2,
        },
        name=f"ICC ({method})",
    )

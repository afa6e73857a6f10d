"""Variance components, intraclass correlation, ANOVA estimators and the design effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pylmm_helpers._adapter import as_results
from pylmm_helpers._anova import anova_components, one_way_parts
from pylmm_helpers._arguments import a_mapping, a_name, a_number, numbers, one_of
from pylmm_helpers._group_level import check_level, is_random_intercept, mean_outer_z, mean_ratio
from pylmm_helpers._icc import RatioProfile, delta_interval, f_interval, profile_interval
from pylmm_helpers._shown import shown_whole
from pylmm_helpers.several import quantities
from pylmm_helpers.several.results import SeveralResults

__all__ = ["anova_components", "design_effect", "icc", "variance_components", "variance_function"]

ICC_METHODS = ("profile", "delta", "f")


@shown_whole
def variance_components(fit: Any) -> pd.DataFrame:
    r"""Variances and standard deviations of the random effects and of the residual.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.

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

    Examples
    --------
    >>> variance_components(fit).loc["Intercept", "variance"]  # doctest: +SKIP
    """
    if isinstance(fit, SeveralResults):
        return quantities.variance_components(fit)
    res = as_results(fit)
    terms = [str(t) for t in res.cov_re.index]
    G = res.cov_re.to_numpy(dtype=float)
    sigma2 = float(res.scale)
    total = sigma2 * (1.0 + mean_ratio(res, mean_outer_z(res)))
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
    rows.append(("Total", "", total, np.sqrt(total), np.nan))
    columns = ["component", "group", "variance", "sd", "correlation"]
    frame = pd.DataFrame(rows, columns=columns).set_index("component")
    if len(terms) == 1:
        frame = frame.drop(columns="correlation")
    if is_random_intercept(res):
        frame["share"] = frame["variance"] / total
    return frame


@shown_whole
def variance_function(
    fit: Any, term: str, values: ArrayLike, other: Mapping[str, float] | None = None
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

    Returns
    -------
    DataFrame
        One row for each value: the term's own column, `between` (``z'Gz``), `residual`, `total`
        (all in squared units of the response), `sd_between` and `icc`.

    Raises
    ------
    ValueError
        If the term has no random effect in this model.

    References
    ----------
    Goldstein, Browne & Rasbash (2002), Understanding Statistics 1, 223-231 (variance partition
    coefficient).
    """
    res = as_results(fit)
    a_name(term, "term", "a random slope")
    a_mapping(other, "other", "a dict of further terms and their values")
    terms = [str(t) for t in res.cov_re.index]
    unknown = [t for t in [term, *(other or {})] if t not in terms or t == "Intercept"]
    if unknown:
        slopes = [t for t in terms if t != "Intercept"]
        raise ValueError(
            f"{unknown[0]!r} has no random slope in this model; random slopes: {slopes or 'none'}"
        )
    x = np.atleast_1d(numbers(values, f"values of {term!r}"))
    if x.ndim != 1 or not np.all(np.isfinite(x)):
        raise ValueError(f"values of {term!r} must be a flat list of finite numbers")
    z = np.zeros((len(x), len(terms)))
    for j, name in enumerate(terms):
        z[:, j] = 1.0 if name == "Intercept" else a_number((other or {}).get(name, 0.0), name)
    z[:, terms.index(term)] = x
    sigma2 = float(res.scale)
    between = sigma2 * np.sum((z @ res.factor) ** 2, axis=1)
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
def icc(fit: Any, method: str = "profile", level: float = 0.95) -> Any:
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

    Returns
    -------
    Series
        `estimate`, `ci_low`, `ci_high`, `level`, `sigma2_g` (average variance between groups),
        `sigma2` (residual variance); its name says which method gave the interval. For several
        random terms a DataFrame with a row for each factor: the correlation of two rows that share
        one of its levels and those that it is nested in (of two rows of a cow: the shares of cow
        and herd), with its interval (``profile`` or ``delta``), and the factor's own `share`.

    Raises
    ------
    ValueError
        For an unknown method, ``delta`` at an estimate of 0, or ``f`` for a model with predictors
        or slopes.

    References
    ----------
    Searle, Casella & McCulloch (1992), Variance Components, sections 3.6 and 6.3
    (doi:10.1002/9780470316856). Donner & Wells (1986), Biometrics 42, 401-412
    (doi:10.2307/2531060).
    """
    if isinstance(fit, SeveralResults):
        return quantities.icc(fit, method, level)
    res = as_results(fit)
    level = check_level(level)
    one_of(method, ICC_METHODS, "method")
    weight = mean_outer_z(res)
    sigma2 = float(res.scale)
    if method == "f":
        if (
            not is_random_intercept(res)
            or list(res.fe_params.index) != ["Intercept"]
            or res.design is None
        ):
            raise ValueError(
                "method='f' is for a random intercept without predictors, fitted from rows; use "
                "'profile'"
            )
        parts = one_way_parts(res.y - res.offset, np.ones((res.nobs, 1)), res.codes)
        low, high = f_interval(
            parts.f_statistic, parts.df_between, parts.df_within, parts.n0, level
        )
        estimate, sigma2_g, sigma2 = parts.icc, parts.sigma2_g, parts.sigma2
    else:
        sigma2_g = sigma2 * mean_ratio(res, weight)
        profile = RatioProfile(res, weight)
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


@shown_whole
def design_effect(
    fit_or_icc: Any, sizes: int | Sequence[int] | ArrayLike | None = None
) -> pd.Series:
    r"""Design effect and effective sample size of clustered data.

    The variance of the plain mean, relative to independent observations, is
    :math:`1 + (\tilde m - 1)\rho` with :math:`\tilde m = \sum m_j^2 / \sum m_j` (Kish 1965, section
    5.4). For equal sizes this is the familiar :math:`1 + (m - 1)\rho`. A mixed model weights groups
    better; its estimate of the mean is worth :math:`\sum m_j / (1 + (m_j - 1)\rho)` independent
    observations.

    Parameters
    ----------
    fit_or_icc : fit or float
        A fitted random-intercept model (ICC and sizes are taken from it), or the ICC itself.
    sizes : int or array_like, optional
        Group sizes; one number for a common size. Needed with a plain ICC.

    Returns
    -------
    Series
        `icc`, `groups`, `n`, `mean_size`, `size_cv` (coefficient of variation of the sizes),
        `design_effect`, `effective_n` (n / design effect, for the plain mean), `effective_n_model`
        (for the mixed model's mean). With a single common size and no number of groups, `groups` is
        1 and n counts one group.

    Raises
    ------
    ValueError
        For an ICC outside [0, 1], sizes that are not whole numbers of at least 1, or a model with
        random slopes (its design effect depends on the predictors).
    """
    if isinstance(fit_or_icc, (int, float, np.floating, np.integer)) and not isinstance(
        fit_or_icc, bool
    ):
        rho = float(fit_or_icc)
        if sizes is None:
            raise ValueError(
                "sizes is missing; give the group sizes beside the ICC, such as sizes=20"
            )
    else:
        res = as_results(fit_or_icc)
        if not is_random_intercept(res):
            raise ValueError(
                "the design effect needs one ICC; fit a random-intercept model or give the ICC as "
                "a number"
            )
        sigma2_g = float(res.cov_re.to_numpy(dtype=float)[0, 0])
        rho = sigma2_g / (sigma2_g + float(res.scale))
        sizes = res.cross.sizes if sizes is None else sizes
    if not 0.0 <= rho <= 1.0:
        raise ValueError(f"the ICC is {rho!r}; it must lie between 0 and 1")
    m = np.atleast_1d(numbers(sizes, "sizes")).ravel()
    if m.size == 0 or not np.all(np.isfinite(m)) or np.any(m < 1) or np.any(m != np.round(m)):
        raise ValueError("sizes must be whole numbers of at least 1, one for each group")
    n = float(m.sum())
    deff = 1.0 + (float(np.sum(m**2)) / n - 1.0) * rho
    return pd.Series(
        {
            "icc": rho,
            "groups": float(m.size),
            "n": n,
            "mean_size": n / m.size,
            "size_cv": float(m.std() / m.mean()),
            "design_effect": deff,
            "effective_n": n / deff,
            "effective_n_model": float(np.sum(m / (1.0 + (m - 1.0) * rho))),
        },
        name="design effect",
    )

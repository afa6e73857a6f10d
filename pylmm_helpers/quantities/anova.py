"""Variance components by analysis of variance, after predictors if there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import f as f_distribution

from pylmm_helpers.common import Array, counted, numbers, shown_whole
from pylmm_helpers.engine import CONSTANT
from pylmm_helpers.formula import (
    as_frame,
    group_codes,
    in_order,
    require_column,
    response_and_columns,
)

from .nested_anova import are_stages, nested_components, stages

#: Singular values below this share of the largest are rounding noise.
RANK_TOLERANCE = 1e-9


@dataclass(frozen=True)
class AnovaParts:
    """Sums of squares, their df, and n0, the coefficient of sigma2_g in E(MS between)."""

    ss_between: float
    ss_within: float
    df_between: int
    df_within: int
    n0: float

    @property
    def ms_between(self) -> float:
        """Mean square between groups."""
        return self.ss_between / self.df_between

    @property
    def ms_within(self) -> float:
        """Mean square within groups."""
        return self.ss_within / self.df_within

    @property
    def f_statistic(self) -> float:
        """Ratio of the mean squares."""
        return self.ms_between / self.ms_within

    @property
    def sigma2(self) -> float:
        """Residual variance."""
        return self.ms_within

    @property
    def sigma2_g(self) -> float:
        """Variance between groups; may be negative."""
        return (self.ms_between - self.ms_within) / self.n0

    @property
    def icc(self) -> float:
        """ANOVA estimate of the intraclass correlation."""
        return self.sigma2_g / (self.sigma2_g + self.sigma2)


@shown_whole
def anova_components(
    formula: str | ArrayLike,
    data: pd.DataFrame | None = None,
    groups: str | Sequence[str] | ArrayLike | None = None,
) -> pd.DataFrame:
    r"""Variance components from an analysis of variance, unbalanced groups included.

    The mean squares are set equal to their expectations,
    :math:`E(MS_B) = \sigma^2 + n_0 \sigma_g^2` and :math:`E(MS_W) = \sigma^2`, with
    :math:`n_0 = (N - \sum n_j^2 / N) / (G - 1)` in place of the common group size. With predictors
    this becomes Henderson's method 3: sums of squares are taken after the predictors, and n0 is the
    trace of :math:`Z'M_XZ` divided by the degrees of freedom.

    Parameters
    ----------
    formula : str or array_like (n,)
        A formula such as ``"milk_kg ~ 1"``, or the response itself.
    data : DataFrame, optional
        Data for the formula.
    groups : str, list of str or array_like (n,)
        Column of `data`, or the group of each row. A Series is matched by its index to the data,
        or to a response that is a Series too. For a balanced nested design a list of columns from
        top to bottom, such as ``["batch", "cask"]``; labels of casks count within their batch.

    Returns
    -------
    DataFrame
        Rows `between` and `within`. Columns: `df`, `sum_sq`, `mean_sq`, `n0` (coefficient of
        sigma2_g in the expected mean square), `variance` (sigma2_g and sigma2; the first may be
        negative), `sd` (0 for a negative variance), `f`, `p_value` (test of sigma2_g = 0, exact for
        normal data) and `note`, which says so when the estimate is negative.

        For a list of columns a row for each (``batch``, ``batch:cask``) and `within`; `rows` (of
        each level), `expected_mean_sq` in words and `tested_against`, the row whose mean square is
        the denominator of F, stand in place of `n0`.

    Raises
    ------
    ValueError
        For unknown columns, missing or infinite values, fewer than two groups, or no group with two
        rows; for a nested design that is not balanced, or has predictors.

    References
    ----------
    Searle, Casella & McCulloch (1992), Variance Components, sections 3.6 and 5.5
    (doi:10.1002/9780470316856).
    """
    if are_stages(groups, data):
        names = list(groups)  # type: ignore[arg-type]
        if len(names) > 1:
            return nested_table(formula, data, [str(name) for name in names])
        groups = names[0]
    parts = one_way_parts(*anova_input(formula, data, groups))
    negative = parts.sigma2_g < 0.0
    note = (
        "negative estimate: groups differ less than chance alone would make them; report it and "
        "use 0, "
        "or fit by REML, which stays at or above 0"
        if negative
        else ""
    )
    p_value = float(f_distribution.sf(parts.f_statistic, parts.df_between, parts.df_within))
    return pd.DataFrame(
        {
            "df": [parts.df_between, parts.df_within],
            "sum_sq": [parts.ss_between, parts.ss_within],
            "mean_sq": [parts.ms_between, parts.ms_within],
            "n0": [parts.n0, 0.0],
            "variance": [parts.sigma2_g, parts.sigma2],
            "sd": [np.sqrt(max(parts.sigma2_g, 0.0)), np.sqrt(parts.sigma2)],
            "f": [parts.f_statistic, np.nan],
            "p_value": [p_value, np.nan],
            "note": [note, ""],
        },
        index=pd.Index(["between", "within"], name="source"),
    )


def nested_table(formula: Any, data: Any, groups: list[str]) -> pd.DataFrame:
    """`anova_components` for a balanced nested design."""
    codes = stages(data, groups)
    y, X, _ = anova_input(formula, data, codes[0])
    remedy = f"fit_lmm('y ~ 1 + (1 | {'/'.join(groups)})', data)"
    if isinstance(formula, str):
        remedy = remedy.replace("y ~ 1", formula)
    if X.shape[1] != 1 or not spans_constant(X):
        raise ValueError(
            "the analysis of variance of a nested design takes no predictors, only 'response ~ 1'; "
            f"fit {remedy} by REML instead"
        )
    return nested_components(y, codes, groups, remedy)


def _basis(X: Array) -> Array:
    """Orthonormal basis of the column space."""
    if X.shape[1] == 0:
        return X
    scaled = X / np.maximum(np.linalg.norm(X, axis=0), 1e-300)
    u, s, _ = np.linalg.svd(scaled, full_matrices=False)
    return np.asarray(u[:, s > RANK_TOLERANCE * max(s[0], RANK_TOLERANCE)])


def spans_constant(X: Array) -> bool:
    """Whether a column is constant, or some columns of zeros and ones add up to one."""
    if np.any((np.ptp(X, axis=0) == 0.0) & (X[0] != 0.0)):
        return True
    indicators = np.all((X == 0.0) | (X == 1.0), axis=0)
    return bool(np.all(X[:, indicators].sum(axis=1) == 1.0))


def _within(values: Array, codes: NDArray[np.intp], sizes: Array) -> Array:
    """Deviations from the group means; columns of (n, k)."""
    means = np.column_stack([np.bincount(codes, weights=v) for v in values.T]) / sizes[:, None]
    return np.asarray(values - means[codes])


def one_way_parts(y: Array, X: Array, codes: NDArray[np.intp]) -> AnovaParts:
    """Henderson's method 3 for one grouping factor: y (n,), X (n, p), codes (n,)."""
    sizes = np.bincount(codes).astype(float)
    n, groups = len(y), len(sizes)
    if groups < 2:
        raise ValueError("there is only one group; variance between groups needs at least two")
    centred = X - X.mean(axis=0)
    with_constant = spans_constant(X)
    overall = _basis(X)
    if with_constant:  # far from 0 a column is nearly the constant: what counts is what varies
        varying = centred[:, np.ptp(X, axis=0) > CONSTANT * np.abs(X).max(axis=0)]
        overall = np.column_stack([np.full(n, n**-0.5), _basis(varying)])
    # deviations that are rounding noise beside the column itself carry no information within groups
    deviations = _within(centred, codes, sizes)
    spread = np.maximum(np.linalg.norm(centred, axis=0), 1e-300)
    inside = _basis(deviations[:, np.linalg.norm(deviations, axis=0) > RANK_TOLERANCE * spread])
    away = y - y.mean()
    y_within = _within(away[:, None], codes, sizes)[:, 0]
    y = away if with_constant else y
    residual = y - overall @ (overall.T @ y)
    residual_within = y_within - inside @ (inside.T @ y_within)
    ss_within = float(residual_within @ residual_within)
    df_within = n - groups - inside.shape[1]
    df_between = groups + inside.shape[1] - overall.shape[1]
    if df_within < 1:
        raise ValueError(
            "no row is left to estimate the variance within groups; give groups of two rows or more"
        )
    if df_between < 1:
        raise ValueError(
            "the predictors leave no difference between groups; drop predictors that vary only by "
            "group"
        )
    if ss_within <= 1e-24 * max(float(away @ away), 1e-300):
        raise ValueError(
            "the response does not vary within groups; there is no residual variance to compare "
            "with"
        )
    sums = np.column_stack([np.bincount(codes, weights=v) for v in overall.T])
    trace = n - float(np.sum(sums**2))
    ss_between = float(residual @ residual) - ss_within
    return AnovaParts(ss_between, ss_within, df_between, df_within, trace / df_between)


def anova_input(
    formula: Any, data: pd.DataFrame | None, groups: Any
) -> tuple[Array, Array, NDArray[np.intp]]:
    """Response (n,), predictors (n, p), group codes (n,), from a formula or from arrays."""
    if groups is None:
        raise ValueError(
            "groups is missing; give the name of the grouping column, or the group of each row"
        )
    if data is not None:
        data = as_frame(data)
    if isinstance(groups, str):
        if data is None:
            raise ValueError(
                f"groups is the name {groups!r}, but there is no data; give data as well"
            )
        require_column(data, groups)
        labels, group_name = data[groups], groups
    else:
        rows = formula if data is None else data
        if isinstance(rows, pd.Series | pd.DataFrame):
            groups = in_order(groups, rows.index, "groups")
        labels, group_name = labels_of(groups), "groups"
    if labels.isna().any():
        raise ValueError(
            f"column {group_name!r} has {counted(int(labels.isna().sum()), 'missing value')}; "
            "drop those rows first"
        )
    if labels.empty:
        raise ValueError(f"column {group_name!r} has no rows; give at least two groups")
    codes = group_codes(labels, group_name)[0]
    if isinstance(formula, str):
        y, X, y_name = _from_formula(formula, data)
    else:
        if data is not None:
            formula = in_order(formula, data.index, "the response")
        y, y_name = numbers(formula, "the response").ravel(), "y"
        X = np.ones((len(y), 1))
    if len(y) != len(codes):
        raise ValueError(
            f"{y_name!r} has {len(y)} rows and {group_name!r} has {len(codes)}; they must be the "
            "same rows"
        )
    if not np.all(np.isfinite(y)):
        raise ValueError(
            f"column {y_name!r} has missing or infinite values; drop or repair those rows first"
        )
    return y, X, codes


def labels_of(groups: Any) -> pd.Series:
    """The group of each row, from any flat list of labels."""
    try:
        return pd.Series(np.asarray(groups).ravel())
    except ValueError as error:  # lists of several lengths
        raise ValueError("groups must be a column's name, or one label for each row") from error


def _from_formula(formula: str, data: pd.DataFrame | None) -> tuple[Array, Array, str]:
    """Response and predictors as `fit_lmm` reads them."""
    if data is None:
        raise ValueError(f"formula {formula!r} needs data; give the DataFrame with its columns")
    if isinstance(formula, str) and "~" not in formula:
        raise ValueError(f"{formula!r} is not a formula; write it as 'response ~ 1'")
    return response_and_columns(formula, data)

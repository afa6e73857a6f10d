"""Marginal means of a fitted model, and their comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, a_level, one_of, shown, shown_whole
from pylmm_helpers.engine import any_results
from pylmm_helpers.formula import Design
from pylmm_helpers.inference import single_contrasts

from .grid import Grid, categories_of, frequencies, reference_grid
from .multiplicity import ADJUSTMENTS, adjusted

WEIGHTS = ("equal", "proportional")


@shown_whole
def marginal_means(
    fit: Any,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    pairs: bool = False,
    adjust: str | None = None,
    df: str = "kenward-roger",
    level: float = 0.95,
    weights: str = "equal",
) -> pd.DataFrame:
    """Means of the response by categories of the model, all else held equal, or their differences.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or statsmodels MixedLMResults
        A fitted linear mixed model.
    specs : str or list of str
        Columns whose categories, or whose combinations of categories, get a mean each. A column of
        numbers needs its values in `at`.
    by : str or list of str, optional
        Further columns within whose categories the means are taken and compared.
    at : mapping, optional
        Values at which columns are held. By default numbers are at their mean over the rows of the
        fit, and categories that are neither in `specs` nor in `by` are averaged over.
    pairs : bool
        Give the differences of all pairs in place of the means.
    adjust : {"tukey", "holm", "sidak", "bonferroni", "none"}, optional
        How p-values and limits take account of the number of comparisons: within each category of
        `by`, by default Tukey's way for pairs and not at all for means (for which Tukey's way isn't
        made).
    df : {"kenward-roger", "satterthwaite", "wald", "cr2"}
        As in `coef_table`.
    level : float
        Confidence level.
    weights : {"equal", "proportional"}
        Whether categories that are averaged over count alike, or by their number of rows.

    Returns
    -------
    DataFrame
        estimate, std_error, df, ci_low, ci_high in units of the left-hand side of the formula; for
        pairs also statistic (t) and the adjusted p_value. Indexed by the columns of `by` and
        `specs`, or of `by` and the pair ("mixed - pasture").

    Raises
    ------
    ValueError
        For columns that the fixed part doesn't use, numbers without values, unknown categories and
        options.

    Notes
    -----
    A mean is a linear combination of the fixed effects: its row of X is the average of rows of the
    reference grid (Searle, Speed & Milliken 1980). Random effects are at their mean, zero. A
    response that the formula transforms is not transformed back.

    With covariates whose mean differs between the categories, or with an interaction that is
    averaged over, the mean answers a question about a population that nobody may have seen; hold
    them at values that matter with `at`, or keep the categories apart with `by`.

    References
    ----------
    Searle SR, Speed FM, Milliken GA (1980). Population marginal means in the linear model.
    Am Stat 34, 216-221. doi:10.1080/00031305.1980.10483031. R's emmeans gives the same.
    """
    res = any_results(fit, structures=True)
    a_level(level)
    one_of(weights, WEIGHTS, "weights")
    one_of(adjust, (None, *ADJUSTMENTS), "adjust")
    if not isinstance(pairs, bool):
        raise ValueError(f"pairs is {shown(pairs)}; give True or False")
    design = res._rows_of
    inner, outer = columns_of(specs, "specs"), columns_of(by, "by")
    if not inner:
        raise ValueError("specs is empty; name the columns whose means are wanted")
    twice = sorted(set(inner) & set(outer))
    if twice:
        raise ValueError(f"{twice[0]!r} stands in specs and in by; name it once")
    grid = reference_grid(design, at)
    for name in [*outer, *inner]:
        check_spec(name, design, grid)
    keys, L, offset = mean_rows(design, grid, [*outer, *inner], weights)
    method = adjust or ("tukey" if pairs else "none")
    if method == "tukey" and not pairs:
        raise ValueError(
            "adjust='tukey' is made for pairs of means; for the means themselves take 'sidak', "
            "'bonferroni' or 'none'"
        )
    families = groups_of(keys, len(outer))
    if pairs:
        keys, L, offset, families = differences(keys, L, offset, families, len(outer))
    table = with_limits(res, L, offset, families, method, df, level, pairs)
    names = [*outer, "pair"] if pairs else [*outer, *inner]
    index = [[key[k] for key in keys] for k in range(len(names))]
    table.index = (
        pd.Index(index[0], name=names[0])
        if len(names) == 1
        else pd.MultiIndex.from_arrays(index, names=names)
    )
    table.attrs["df_method"], table.attrs["adjust"] = df, method
    return table


def columns_of(value: Any, name: str) -> list[str]:
    """Names as a list, each once."""
    if value is None:
        return []
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list | tuple | pd.Index) or not all(isinstance(v, str) for v in found):
        raise ValueError(f"{name} is {shown(value)}; give a column's name or a list of names")
    return list(dict.fromkeys(found))


def check_spec(name: str, design: Design, grid: Grid) -> None:
    """Refuse a column that has no categories here."""
    if name in grid.factors:
        return
    if name in grid.frame.columns and categories_of(design, name) is None:
        raise ValueError(
            f"{name!r} is a column of numbers; give the values to take the means at, as in "
            f"at={{{name!r}: [...]}}, or write C({name}) in the formula if they are categories"
        )
    raise ValueError(
        f"the fixed part of {design.formula!r} has no column {name!r}; those with categories are "
        f"{list(grid.factors)}"
    )


def mean_rows(
    design: Design, grid: Grid, names: list[str], weights: str
) -> tuple[list[tuple[Any, ...]], Array, Array]:
    """For each combination of the columns `names` its key, its row (p,) of coefficients and its
    offset: averages over the rest of the grid."""
    rest = [n for n in grid.factors if n not in names]
    size = np.ones(len(grid.frame))
    if weights == "proportional":
        size = frequencies(design, grid, rest)
    keys: dict[tuple[Any, ...], list[int]] = {}
    for row, key in enumerate(zip(*(grid.frame[n] for n in names), strict=True)):
        keys.setdefault(key, []).append(row)
    order = sorted(
        keys, key=lambda key: [grid.factors[n].index(v) for n, v in zip(names, key, strict=True)]
    )
    rows, offsets = [], []
    for key in order:
        share = size[keys[key]] / size[keys[key]].sum()
        rows.append(share @ grid.X[keys[key]])
        offsets.append(float(share @ grid.offset[keys[key]]))
    return order, np.array(rows), np.array(offsets)


def groups_of(keys: list[tuple[Any, ...]], outer: int) -> list[list[int]]:
    """Positions of the keys that share the columns of `by`."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for position, key in enumerate(keys):
        found.setdefault(key[:outer], []).append(position)
    return list(found.values())


def differences(
    keys: list[tuple[Any, ...]], L: Array, offset: Array, families: list[list[int]], outer: int
) -> tuple[list[tuple[Any, ...]], Array, Array, list[list[int]]]:
    """All pairs within each family: keys, rows, offsets, and the families of pairs."""
    pairs = [list(combinations(family, 2)) for family in families]
    if not all(pairs):
        raise ValueError("there is one mean only, so no pair; name a column with two categories")
    first = np.array([a for family in pairs for a, _ in family])
    second = np.array([b for family in pairs for _, b in family])
    words = [" ".join(str(v) for v in key[outer:]) for key in keys]
    names = [
        (*keys[a][:outer], f"{words[a]} - {words[b]}") for a, b in zip(first, second, strict=True)
    ]
    starts = np.cumsum([0, *(len(family) for family in pairs)])
    own = [list(range(a, b)) for a, b in pairwise(starts)]
    return names, L[first] - L[second], offset[first] - offset[second], own


def with_limits(
    res: Any,
    L: Array,
    offset: Array,
    families: list[list[int]],
    adjust: str,
    df: str,
    level: float,
    pairs: bool,
) -> pd.DataFrame:
    """Estimates, errors, degrees of freedom and limits of the rows; for pairs with tests."""
    moved = np.any(np.abs(L) > 1e-12 * max(float(np.abs(L).max()), 1.0), axis=1)
    if not moved.all():
        raise ValueError(
            "two of the means are the same combination of the fixed effects, so there is nothing "
            "to compare; name a column that stands in the formula on its own"
        )
    table = single_contrasts(res, L, np.zeros(len(L)), df, level)
    estimate = table["estimate"].to_numpy() + offset
    error, degrees = table["std_error"].to_numpy(), table["df"].to_numpy()
    p, far = np.empty(len(L)), np.empty(len(L))
    for own in families:
        means = (1 + int(np.sqrt(1 + 8 * len(own)))) // 2 if pairs else len(own)
        p[own], far[own] = adjusted(estimate[own] / error[own], degrees[own], adjust, means, level)
    found = {"estimate": estimate, "std_error": error, "df": degrees}
    if pairs:
        found |= {"statistic": estimate / error, "p_value": p}
    return pd.DataFrame(
        found | {"ci_low": estimate - far * error, "ci_high": estimate + far * error}
    )

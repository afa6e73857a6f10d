"""The reference grid: a row for every combination of the model's categories, numbers at their
means or at chosen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, a_mapping, shown
from pylmm_helpers.formula import Design, Names, model_columns, names_in

#: More rows than this would be a mistake, or a wait.
LARGEST_GRID = 100_000


@dataclass(frozen=True)
class Grid:
    """Rows of a reference grid.

    Attributes
    ----------
    frame : DataFrame (k, columns)
        The columns that the fixed part uses.
    X : ndarray (k, p)
    offset : ndarray (k,)
    factors : dict
        Column to its values in the grid, those with more than one and those that were asked for.
    """

    frame: pd.DataFrame
    X: Array
    offset: Array
    factors: dict[str, list[Any]]


def categories_of(design: Design, name: str) -> list[Any] | None:
    """The categories of a column of the fixed part, in their order; None for numbers."""
    kind = design.kinds[name]
    levels = kind.levels
    if levels is None and name in fixed_names(design).coded:
        levels = kind.known  # elsewhere, in the random part, it is a number
    if levels is not None:
        values = list(levels.levels)
        if isinstance(design.frame[name].dtype, pd.CategoricalDtype):
            return values
        return sorted(values)
    return [False, True] if pd.api.types.is_bool_dtype(kind.kind) else None


def fixed_names(design: Design) -> Names:
    """What the fixed part and the offset name."""
    terms = [*design.terms["fixed"], *design.terms["offset"]]
    return names_in(terms, design.frame, design.tools)


def reference_grid(design: Design, at: Mapping[str, Any] | None) -> Grid:
    """The grid of a fit's fixed part.

    Raises
    ------
    ValueError
        For a column in `at` that the model doesn't use or that holds another category, and where a
        number also stands in ``C(...)``, so that its mean is no category.
    """
    a_mapping(at, "at", "a dict of columns and the values to take")
    names = fixed_names(design)
    used = [name for name in names.used if name in design.frame.columns]
    unknown = [name for name in at or {} if name not in used]
    if unknown:
        raise ValueError(
            f"at names {unknown[0]!r}, which the fixed part of {design.formula!r} doesn't use; its "
            f"columns are {used}"
        )
    values: dict[str, list[Any]] = {}
    for name in used:
        categories = categories_of(design, name)
        if at and name in at:
            values[name] = chosen(at[name], name)
        elif categories is not None:
            values[name] = categories
        elif name in names.also_coded:
            raise ValueError(
                f"column {name!r} stands in the model as a number and in C(...) as categories, and "
                f"its mean is none of them; give its values, as in at={{{name!r}: [...]}}"
            )
        else:
            values[name] = [float(np.mean(np.asarray(design.frame[name], dtype=float)))]
    size = int(np.prod([len(v) for v in values.values()])) if values else 1
    if size > LARGEST_GRID:
        raise ValueError(
            f"the categories of {list(values)} have {size} combinations; hold some of them at one "
            "value with at="
        )
    rows = list(product(*values.values()))
    columns = dict(zip(values, zip(*rows, strict=True), strict=True)) if values else {}
    frame = pd.DataFrame({name: list(column) for name, column in columns.items()})
    if not values:
        frame = pd.DataFrame(index=[0])
    for name in values:  # a category that the fit doesn't know is refused by its own column
        design.kinds[name].again(frame[name])
    known = model_columns(design, frame, "offset").sum(axis=1) if used else np.zeros(len(frame))
    X = model_columns(design, frame, "fixed")
    kept = {
        n: v for n, v in values.items() if len(v) > 1 or categories_of(design, n) or n in (at or {})
    }
    return Grid(frame, X, known, kept)


def chosen(values: Any, name: str) -> list[Any]:
    """The values of a column that were asked for, each once."""
    if isinstance(values, str | bytes) or not pd.api.types.is_list_like(values):
        values = [values]
    found = list(dict.fromkeys(values))
    if not found:
        raise ValueError(f"at[{name!r}] is {shown(values)}; give at least one value")
    return found


def frequencies(design: Design, grid: Grid, over: list[str]) -> Array:
    """Rows of the fit (k,) that have a grid row's combination of the columns `over`."""
    if not over:
        return np.ones(len(grid.frame))
    codes = np.zeros(len(design.frame), dtype=np.intp)
    wanted = np.zeros(len(grid.frame), dtype=np.intp)
    for name in over:
        categories = grid.factors[name]
        kind = design.kinds[name]
        own = pd.Series(np.asarray(kind.again(design.frame[name])))
        positions = pd.Index(categories).get_indexer(pd.Index(own))
        codes = np.where((positions < 0) | (codes < 0), -1, codes * len(categories) + positions)
        there = pd.Index(categories).get_indexer(pd.Index(grid.frame[name]))
        wanted = wanted * len(categories) + there
    counts = np.bincount(codes[codes >= 0], minlength=int(wanted.max()) + 1)
    return np.asarray(counts[wanted], dtype=float)

"""From a formula and a data frame to the columns of the model, with every check on the input.

Each refusal is a ValueError that names the column and says what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from .cells import check_cells, check_levels
from .columns import (
    as_frame,
    check_size,
    group_codes,
    handle_missing,
    numbers_as_text,
    plain_values,
    require_column,
)
from .evaluate import model_matrix, names_in
from .foreign import places, truths_as_factors
from .levels import Kind, kind_in_fit
from .parse import Parsed, parse, parse_random
from .structure import Structure, StructureRequest, read_structure
from .weights import read_weights

#: The three parts of a model that are computed for new rows too.
PARTS = ("fixed", "random", "offset")


@dataclass(frozen=True)
class Design:
    """The model's columns, row by row.

    Attributes
    ----------
    x_columns, z_columns : list of ndarray (n,)
        Fixed and random part; a term that stands in both is the same array in both.
    y : ndarray (n,)
    codes : ndarray (n,)
        Group number of each row; `group_labels[codes]` are the labels.
    weights : ndarray (n,) or None
    frame : DataFrame
        The rows used, all columns of the data.
    tools : mapping
        Functions and constants of the caller's program that the formulas use.
    dropped : int
        Rows left out because a value was missing.
    offset : ndarray (n,) or None
        What adds to the linear predictor with a known slope of one.
    recipes : mapping or None
        For each part, what formulaic (ModelSpec) needs to compute its columns from other rows, None
        where they are columns of the data; None if the fit is another program's.
    structure : Structure or None, of the residuals
    """

    formula: str
    re_formula: str
    y_name: str
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]
    group_name: str
    x_columns: list[Array]
    z_columns: list[Array]
    y: Array
    codes: NDArray[np.intp]
    group_labels: pd.Index
    weights: Array | None
    frame: pd.DataFrame
    dropped: int = 0
    tools: Mapping[str, Any] | None = None
    offset: Array | None = None
    recipes: Mapping[str, Any] | None = None
    has_formula: bool = True  # else `formula` only lists the columns
    structure: Structure | None = None

    @cached_property
    def terms(self) -> dict[str, Any]:
        """formulaic's terms of each part."""
        parsed = parse(self.formula)
        random = parse_random(self.re_formula)
        return dict(zip(PARTS, (parsed.rhs, random, parsed.offset), strict=True))

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """What each column that the parts use held in the fit."""
        every = [term for part in self.terms.values() for term in part]
        names = names_in(every, self.frame, self.tools)
        return {
            name: kind_in_fit(self.frame[name], name, names.coded, names.also_coded)
            for name in names.used
            if name in self.frame
        }

    def recipe(self, part: str) -> Any:
        """What computes the columns of a part from other rows; None for columns as they stand."""
        return self.foreign[part][0] if self.recipes is None else self.recipes[part]

    @cached_property
    def foreign(self) -> dict[str, tuple[Any, list[int]]]:
        """Each part's recipe for another program's fit, and where its columns stand among those."""
        found: dict[str, tuple[Any, list[int]]] = {}
        own = [(self.x_columns, self.x_names), (self.z_columns, self.z_names), ([], ())]
        for (part, terms), (theirs, names) in zip(self.terms.items(), own, strict=True):
            values = self.factors({name: k.values for name, k in self.kinds.items()}, part)
            columns, _, recipe = materialise(terms, values, self.tools, len(self.y))
            found[part] = recipe, places(theirs, names, columns, " + ".join(map(str, terms)))
        return found

    def factors(self, values: Mapping[str, Any], part: str) -> Mapping[str, Any]:
        """Checked columns as the fit's program takes them."""
        return values if self.recipes else truths_as_factors(self.terms[part], values, self.frame)

    @cached_property
    def target(self) -> Array:
        """The response (n,) less what is known of it."""
        return self.y if self.offset is None else self.y - self.offset

    @cached_property
    def X(self) -> Array:
        """Fixed-effect matrix (n, p)."""
        return np.column_stack(self.x_columns)

    @cached_property
    def Z(self) -> Array:
        """Random-effect columns (n, q); each row belongs to its own group's effects."""
        return np.column_stack(self.z_columns)


def build_design(
    formula: str,
    data: Any,
    groups: str,
    re_formula: str,
    weights: Any,
    missing: str,
    context: Mapping[str, Any] | None,
    request: StructureRequest | None = None,
) -> Design:
    """Check the input and lay out the columns; see `pylmm_helpers.fit_lmm` for the
    arguments."""
    frame, fixed, random = as_frame(data), parse(formula), parse_random(re_formula)
    check_choices(groups, missing, frame)
    check_any(len(frame))
    every = [*fixed.lhs, *fixed.rhs, *fixed.offset, *random]
    used, tools, coded, _ = names_in(every, frame, context)
    needed = [*used, groups, *([] if request is None else request.columns)]
    for name in needed:
        require_column(frame, name)
    weight_values = read_weights(weights, frame)
    frame, weight_values, dropped = handle_missing(frame, needed, weight_values, missing)
    numbers_as_text([name for name in used if name not in coded], frame)
    values = {name: plain_values(frame[name], name) for name in used}
    (codes, labels), n = group_codes(frame[groups], groups), len(frame)
    y_columns, y_names, _ = materialise(fixed.lhs, values, tools, n)
    x_columns, x_names, x_recipe = materialise(fixed.rhs, values, tools, n)
    z_columns, z_names, z_recipe = materialise(random, values, tools, n)
    known, _, known_recipe = materialise(fixed.offset, values, tools, n)
    shared = dict(zip(x_names, x_columns, strict=True))
    z_columns = [shared.get(name, column) for name, column in zip(z_names, z_columns, strict=True)]
    check_names(formula, y_names, x_names, z_names)
    check_offset(fixed, known)
    for terms in (fixed.rhs, random):
        check_cells(terms, values, tools)
    frame = frame.copy(deep=False)  # a column that the caller replaces later is not the fit's
    recipes = dict(zip(PARTS, (x_recipe, z_recipe, known_recipe), strict=True))
    return Design(
        formula, re_formula, y_names[0], tuple(x_names), tuple(z_names), groups,
        x_columns, z_columns,
        y_columns[0], codes, labels, weight_values, frame, dropped, tools,
        sum(known[1:], known[0]) if known else None, recipes,
        structure=None if request is None else read_structure(request, frame, codes, groups),
    )  # fmt: skip


def response_and_columns(formula: str, data: Any) -> tuple[Array, Array, str]:
    """Response (n,), fixed-effect matrix (n, p) and the response's name, by the same checks."""
    frame, fixed = as_frame(data), parse(formula)
    check_any(len(frame))
    used, tools, coded, _ = names_in([*fixed.lhs, *fixed.rhs, *fixed.offset], frame, None)
    for name in used:
        require_column(frame, name)
    handle_missing(frame, used, None, "raise")
    numbers_as_text([name for name in used if name not in coded], frame)
    values = {name: plain_values(frame[name], name) for name in used}
    (y, y_names, _), (x, x_names, _), (known, _, _) = (
        materialise(terms, values, tools, len(frame))
        for terms in (fixed.lhs, fixed.rhs, fixed.offset)
    )
    check_names(formula, y_names, x_names, ["1"])
    check_offset(fixed, known)
    return y[0] - sum(known), np.column_stack(x), y_names[0]


def check_choices(groups: Any, missing: Any, frame: pd.DataFrame) -> None:
    """Refuse a grouping that is no column name, and an unknown way with missing values."""
    if isinstance(groups, (list, tuple, set)) and len(groups) == 1:
        raise ValueError(f"groups={groups!r} is a {type(groups).__name__}; give the name alone, "
                         f"groups={next(iter(groups))!r}.")  # fmt: skip
    joined = isinstance(groups, str) and groups not in frame.columns
    if isinstance(groups, (list, tuple, set)) or (joined and re.search(r"\w\s*[+/*:|]", groups)):
        raise ValueError(
            f"groups={groups!r} names more than one grouping factor, and groups= has one. Write "
            "the random terms in the formula, as in 'y ~ x + (1 | a) + (1 | b)' or '(1 | a/b)'. "
            "statsmodels' mixedlm takes them as vc_formula, lme4 through lmer('...')."
        )
    if not isinstance(groups, str):
        raise ValueError(f"groups must be the name of one column, not {type(groups).__name__}.")
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing must be 'raise' or 'drop', not {missing!r}.")


def check_any(n: int) -> None:
    """Refuse data without rows."""
    if n == 0:
        raise ValueError("data has no rows; check the filter that made it.")


def check_names(formula: str, y: list[str], x: list[str], z: list[str]) -> None:
    """Refuse a formula without exactly one response, without fixed or without random terms."""
    if len(y) != 1:
        raise ValueError(
            f"the response must be one numeric column, but {formula!r} gives {len(y)} "
            f"({', '.join(y[:4])}). Text and categories can't be a response here; "
            "convert numbers stored as text with pd.to_numeric."
        )
    for names in (x, z):
        twice = next((name for k, name in enumerate(names) if name in names[:k]), None)
        if twice is not None:
            raise ValueError(
                f"two terms of {formula!r} give columns of the same name, {twice!r}; rename the "
                "column of the data."
            )
    if not x:
        raise ValueError(f"{formula!r} has no fixed effect at all; keep at least the intercept.")
    if not z:
        raise ValueError(
            "re_formula has no term; a model without random effects is an ordinary regression."
        )


def check_offset(parsed: Parsed, columns: Sized) -> None:
    """Refuse an offset that is not numeric."""
    if len(columns) != len(parsed.offset):
        raise ValueError(
            f"offset({' + '.join(str(term) for term in parsed.offset)}) must be numbers; convert "
            "text with pd.to_numeric, and leave categories to the other terms."
        )


def materialise(
    terms: Any, values: Mapping[str, Any], context: Mapping[str, Any] | None, n: int
) -> tuple[list[Array], list[str], Any]:
    """Columns and their names for one side of a formula, from checked columns of the data, and the
    recipe for other rows (None if the terms are columns as they stand)."""
    plain = plain_terms(terms, values, n)
    if plain is not None:
        return *plain, None
    matrix = model_matrix(terms, pd.DataFrame(dict(values), copy=False), context)
    check_levels(matrix.model_spec)
    return *columns_of(matrix, n), matrix.model_spec


def columns_of(matrix: Any, n: int) -> tuple[list[Array], list[str]]:
    """Columns and names of formulaic's matrix; refuses what is not numeric."""
    columns, names = [], [str(name) for name in matrix.columns]
    for position, name in enumerate(names):
        column = matrix.iloc[:, position].to_numpy()
        if name == "Intercept":
            columns.append(np.broadcast_to(1.0, n))
            continue
        if not pd.api.types.is_numeric_dtype(column.dtype) or np.iscomplexobj(column):
            raise ValueError(
                f"term '{name}' is not numeric; use a numeric column or C(...) for categories."
            )
        column = np.ascontiguousarray(column, dtype=float)
        if column.shape != (n,):
            raise ValueError(f"term '{name}' has {len(column)} values for {n} rows; make it a "
                             "column of the data first.")  # fmt: skip
        check_size(column, name)
        columns.append(column)
    return columns, names


def plain_terms(
    terms: Any, values: Mapping[str, Any], n: int
) -> tuple[list[Array], list[str]] | None:
    """The same for terms that are numeric columns as they stand, without a detour; else None."""
    columns, names = [], []
    for term in terms:
        name = str(term)
        if name == "1":
            columns.append(np.broadcast_to(1.0, n))
            names.append("Intercept")
        elif isinstance(values.get(name), np.ndarray):
            columns.append(np.ascontiguousarray(values[name], dtype=float))
            names.append(name)
        else:
            return None
    return columns, names

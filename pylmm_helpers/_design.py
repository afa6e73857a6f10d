"""From a formula and a data frame to the columns of the model, with every check on the input.

Each refusal is a ValueError that names the column and says what to do about it.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from formulaic.errors import FormulaicError
from formulaic.parser.types import Factor, Term
from numpy.typing import NDArray

from pylmm_helpers._columns import (
    as_frame,
    check_size,
    group_codes,
    handle_missing,
    names_in,
    numbers_as_text,
    plain_values,
    read_weights,
    require_column,
)
from pylmm_helpers._crossprod import Array

_NAME = r"[A-Za-z_]\w*"
#: A sum of columns with an intercept, and a column as response where there is one.
PLAIN_SUM = re.compile(
    rf"(?:\s*{_NAME}\s*~)?\s*(?:1|{_NAME})(?:\s*\+\s*(?:1|{_NAME}))*\s*", re.ASCII
)
RESERVED = frozenset(keyword.kwlist)


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

    @cached_property
    def x_spec(self) -> Any:
        """Recipe (formulaic.ModelSpec) for the columns of X from new data:
        `get_model_matrix(new)`."""
        return self._spec(parse(self.formula).rhs)

    @cached_property
    def z_spec(self) -> Any:
        """Recipe (formulaic.ModelSpec) for the columns of Z from new data."""
        return self._spec(parse_random(self.re_formula))

    def _spec(self, terms: Any) -> Any:
        """Recipe for the columns of some terms, from the values that the fit itself has used."""
        names = [name for name in names_in(terms, self.frame, self.tools)[0] if name in self.frame]
        plain = {name: plain_values(self.frame[name], name) for name in names}
        return model_matrix(terms, self.frame[names].assign(**plain), self.tools).model_spec

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
) -> Design:
    """Check the input and lay out the columns; see `pylmm_helpers.lmm.fit_lmm` for the
    arguments."""
    frame = as_frame(data)
    fixed, random = parse(formula), parse_random(re_formula)
    check_choices(groups, missing, frame.columns)
    check_any(len(frame))
    used, tools = names_in([*fixed.lhs, *fixed.rhs, *random], frame, context)
    for name in [*used, groups]:
        require_column(frame, name)
    weight_values = read_weights(weights, frame)
    frame, weight_values, dropped = handle_missing(frame, [*used, groups], weight_values, missing)
    numbers_as_text(fixed, frame)
    values = {name: plain_values(frame[name], name) for name in used}
    codes, labels = group_codes(frame[groups], groups)
    terms: dict[str, Any] = {str(name): column for name, column in frame.items()} | values
    y_columns, y_names = materialise(fixed.lhs, terms, tools)
    x_columns, x_names = materialise(fixed.rhs, terms, tools)
    z_columns, z_names = materialise(random, terms, tools)
    shared = dict(zip(x_names, x_columns, strict=True))
    z_columns = [shared.get(name, column) for name, column in zip(z_names, z_columns, strict=True)]
    check_names(formula, y_names, x_names, z_names)
    return Design(
        formula, re_formula, y_names[0], tuple(x_names), tuple(z_names), groups,
        x_columns, z_columns,
        y_columns[0], codes, labels, weight_values, frame, dropped, tools,
    )  # fmt: skip


def check_choices(groups: Any, missing: Any, columns: Iterable[str]) -> None:
    """Refuse a grouping that is no column name, and an unknown way with missing values."""
    joined = isinstance(groups, str) and groups not in columns
    if isinstance(groups, (list, tuple, set)) or (joined and re.search(r"\w\s*[+/*:|]", groups)):
        raise ValueError(
            f"groups={groups!r} names more than one grouping factor, and this estimator has one. "
            "For crossed or nested factors use statsmodels' mixedlm with vc_formula, or lme4 "
            "through lmer('y ~ x + (1 | a) + (1 | b)')."
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
    if not x:
        raise ValueError(f"{formula!r} has no fixed effect at all; keep at least the intercept.")
    if not z:
        raise ValueError(
            "re_formula has no term; a model without random effects is an ordinary regression."
        )


def parse(formula: str) -> Any:
    """A two-sided formulaic formula with one right-hand side."""
    if not isinstance(formula, str):
        raise ValueError(f"formula must be text such as 'y ~ x', not {type(formula).__name__}.")
    if "|" in formula:
        raise ValueError(
            f"{formula!r} contains '|'. Name the grouping column in groups= and the random terms "
            "in re_formula=, not in the formula."
        )
    parsed = parse_text(formula)
    if not (hasattr(parsed, "lhs") and hasattr(parsed, "rhs")):
        raise ValueError(f"{formula!r} has no response; write it as 'response ~ predictors'.")
    return parsed


def parse_random(re_formula: str) -> Any:
    """The right-hand side that gives the columns of Z."""
    if not isinstance(re_formula, str):
        raise ValueError(
            f"re_formula must be text such as '1' or '1 + x', not {type(re_formula).__name__}."
        )
    if "|" in re_formula:
        raise ValueError(
            f"re_formula {re_formula!r} contains '|'; give the terms only and the column in "
            "groups=."
        )
    parsed = parse_text(re_formula)
    if hasattr(parsed, "lhs") or not isinstance(parsed, formulaic.SimpleFormula):
        raise ValueError(f"re_formula {re_formula!r} must be one-sided, such as '1' or '1 + x'.")
    return parsed


def parse_text(text: str) -> Any:
    """Parse with formulaic; its own errors become ValueErrors that show the formula."""
    plain = plain_sum(text)
    if plain is not None:
        return plain
    try:
        return formulaic.Formula(text)
    except FormulaicError as error:
        raise ValueError(
            f"the formula {text!r} can't be read: {str(error).splitlines()[0]}"
        ) from error


def plain_sum(text: str) -> Any:
    """The formula of a sum of columns such as ``y ~ x + z``, without formulaic's parser, which
    takes longer than a small fit; else None."""
    if not PLAIN_SUM.fullmatch(text):
        return None
    left, _, right = text.rpartition("~")
    names = dict.fromkeys(["1", *re.findall(r"\w+", right)])
    if not RESERVED.isdisjoint([*names, left.strip()]):
        return None
    rhs = formulaic.SimpleFormula([Term([factor(name)]) for name in names])
    if not left:
        return rhs
    lhs = formulaic.SimpleFormula([Term([factor(left.strip())])])
    return formulaic.StructuredFormula(lhs=lhs, rhs=rhs)


def factor(name: str) -> Factor:
    """A column, or the constant."""
    return Factor(name, eval_method="literal" if name == "1" else "lookup")


def materialise(
    terms: Any, values: Mapping[str, Any], context: Mapping[str, Any] | None
) -> tuple[list[Array], list[str]]:
    """Columns and their names for one side of a formula, from checked columns of the data."""
    plain = plain_terms(terms, values)
    if plain is not None:
        return plain
    matrix = model_matrix(terms, pd.DataFrame(dict(values), copy=False), context)
    columns, names = [], [str(name) for name in matrix.columns]
    for position, name in enumerate(names):
        column = matrix.iloc[:, position].to_numpy()
        if name == "Intercept":
            columns.append(np.broadcast_to(1.0, len(column)))
            continue
        if not pd.api.types.is_numeric_dtype(column.dtype) or np.iscomplexobj(column):
            raise ValueError(
                f"term '{name}' is not numeric; use a numeric column or C(...) for categories."
            )
        column = np.ascontiguousarray(column, dtype=float)
        check_size(column, name)
        columns.append(column)
    return columns, names


def plain_terms(terms: Any, values: Mapping[str, Any]) -> tuple[list[Array], list[str]] | None:
    """The same for terms that are numeric columns as they stand, without a detour; else None."""
    length = len(next(iter(values.values())))
    columns, names = [], []
    for term in terms:
        name = str(term)
        if name == "1":
            columns.append(np.broadcast_to(1.0, length))
            names.append("Intercept")
        elif isinstance(values.get(name), np.ndarray):
            columns.append(np.ascontiguousarray(values[name], dtype=float))
            names.append(name)
        else:
            return None
    return columns, names


def model_matrix(terms: Any, frame: pd.DataFrame, context: Mapping[str, Any] | None) -> Any:
    """formulaic's model matrix, with its errors turned into ValueErrors."""
    try:
        with np.errstate(all="ignore"):  # what comes out undefined is refused by name
            return formulaic.model_matrix(terms, frame, na_action="ignore", context=context)
    except FormulaicError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the terms '{terms}' can't be computed: {reason}") from error

"""A formula's terms as expressions of Ibis, named and coded as formulaic names and codes them.

formulaic reads the formula on a tiny frame that holds every category of every categorical column.
What it says about the columns (names, contrasts, products) is then built from expressions on the
real table.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import mul, sub
from typing import Any, TypeGuard

import numpy as np
import pandas as pd

from pylmm_helpers.formula import (
    check_levels,
    check_names,
    check_offset,
    model_matrix,
    names_in,
    no_scalars,
    numbers_as_text,
    refuse_type,
)

from .arithmetic import BINARY, COMPARE, FUNCTIONS, UntranslatableError, number

REMEDY = (
    "add it to the table as a column first (in SQL, Ibis or the data frame) and use that column's "
    "name in the formula"
)


@dataclass(frozen=True)
class Terms:
    """The words of a model and its columns as expressions of Ibis (float64).

    ``indicator`` in `x` and `z` tells columns that hold zeros and ones by construction.
    """

    formula: str
    re_formula: str
    group_columns: tuple[str, ...]
    y_name: str
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]
    y: Any
    x: tuple[Any, ...]
    z: tuple[Any, ...]

    @property
    def group_name(self) -> str:
        """The grouping factor: its columns joined by colons."""
        return ":".join(self.group_columns)


def category_columns(parsed: Any, table: Any, categories: Mapping[str, Any]) -> list[str]:
    """Columns that enter as categories: text, pandas categories and what stands in ``C(...)``."""
    schema, found = table.schema(), set()
    for factor in (factor for term in parsed for factor in term.factors):
        if factor.eval_method.value == "literal":
            continue
        tree, columns = syntax(factor)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                name = columns.get(node.id, node.id)
                if name in schema and (schema[name].is_string() or name in categories):
                    found.add(name)
            elif is_coded(node) and isinstance(node.args[0], ast.Name):
                found.add(columns.get(node.args[0].id, node.args[0].id))
    return sorted(found & set(schema))


def is_coded(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether a node is ``C(...)`` with something in it."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "C"
        and bool(node.args)
    )


def syntax(factor: Any) -> tuple[ast.expr, dict[str, str]]:
    """Python's syntax tree of a factor, and the columns behind stand-ins for names in backticks."""
    text = factor.expr
    if factor.eval_method.value == "lookup":
        return ast.Name(text.strip("`")), {}
    quoted = dict.fromkeys(re.findall(r"`([^`]*)`", text))
    stand_ins = {f"_quoted_{k}": name for k, name in enumerate(quoted)}
    for stand_in, name in stand_ins.items():
        text = text.replace(f"`{name}`", stand_in)
    return ast.parse(text.strip(), mode="eval").body, stand_ins


def tiny_frame(
    table: Any, used: list[str], levels: Mapping[str, list[Any]], categories: Mapping[str, Any]
) -> pd.DataFrame:
    """A few rows of the used columns, in which every category occurs."""
    schema, size = table.schema(), max(2, *(len(found) for found in levels.values()), 2)
    columns: dict[str, Any] = {}
    for name in used:
        kind = schema[name]
        if not (kind.is_numeric() or kind.is_boolean() or kind.is_string()):
            if kind.is_array():
                raise no_scalars(name, "list")
            refuse_type(name, kind.to_pandas())
        if name in levels:
            values = [levels[name][k % len(levels[name])] for k in range(size)]
            if name in categories:
                columns[name] = pd.Categorical(values, categories=levels[name])
            else:
                columns[name] = pd.Series(values)
        elif kind.is_boolean():
            columns[name] = np.arange(size) % 2 == 0
        else:
            whole = np.arange(1, size + 1)
            columns[name] = whole if kind.is_integer() else whole.astype(float)
    return pd.DataFrame(columns, index=range(size))


def translate(
    formula: str, re_formula: str, fixed: Any, random: Any, groups: tuple[str, ...], table: Any,
    tiny: pd.DataFrame, tools: Mapping[str, Any],
) -> Terms:  # fmt: skip
    """Names and expressions of all columns of the model."""
    every = (fixed.lhs, fixed.rhs, random, fixed.offset)
    used, _, coded, _ = names_in([term for terms in every for term in terms], tiny, tools)
    numbers_as_text([name for name in used if name not in coded], tiny)
    y, x, z, known = (side_columns(terms, table, tiny, tools) for terms in every)
    check_names(formula, list(y), list(x), list(z))
    check_offset(fixed, known)
    (y_name, y_column), = y.items()  # fmt: skip
    y_column = reduce(sub, known.values(), y_column)
    return Terms(
        formula, re_formula, groups, y_name, tuple(x), tuple(z), y_column,
        tuple(x.values()), tuple(z.values()),
    )  # fmt: skip


def side_columns(
    terms: Any, table: Any, tiny: pd.DataFrame, tools: Mapping[str, Any]
) -> dict[str, Any]:
    """Expression of each column of one side of the formula, by formulaic's name."""
    if not len(terms):
        return {}
    spec = model_matrix(terms, tiny, tools).model_spec
    check_levels(spec)
    contrasts = {str(factor): state for factor, state in spec.factor_contrasts.items()}
    found: dict[str, Any] = {}
    for structure in spec.structure:
        for part in structure.scoped_terms:
            pieces = [
                factor_columns(scoped, contrasts, table, tools, str(structure.term))
                for scoped in part.factors
            ]
            for backwards in itertools.product(*(piece.items() for piece in reversed(pieces))):
                product = backwards[::-1]
                values = [value for _, value in product]
                if part.scale != 1 or not values:
                    values.insert(0, number(float(part.scale)))
                name = ":".join(name for name, _ in product) or "Intercept"
                found[name] = reduce(mul, values)
    if sorted(found) != sorted(spec.column_names):
        odd = sorted(set(spec.column_names) ^ set(found))
        raise ValueError(f"term '{odd[0]}' can't be translated into a query; {REMEDY}.")
    return {name: found[name] for name in spec.column_names}


def factor_columns(
    scoped: Any, contrasts: Mapping[str, Any], table: Any, tools: Mapping[str, Any], term: str
) -> dict[str, Any]:
    """Coded columns of one factor of a term, by name."""
    text = scoped.factor.expr
    tree, names = syntax(scoped.factor.factor)

    def column(name: str) -> Any:
        name = names.get(name, name)
        if name in table.columns:
            return table[name]
        if name in tools and np.isscalar(tools[name]):
            return number(float(tools[name]))
        raise UntranslatableError(name)

    try:
        state = contrasts.get(text)
        if state is None:
            return {text: expression(tree, column).cast("float64")}
        if is_coded(tree):
            tree = tree.args[0]
        if not isinstance(tree, ast.Name):
            raise UntranslatableError(text)
        return coded_columns(text, state, scoped.reduced, column(tree.id))
    except (UntranslatableError, TypeError, AttributeError) as error:
        part = f" because of '{error}'" if isinstance(error, UntranslatableError) else ""
        raise ValueError(
            f"term '{term}' can't be translated into a query{part}; {REMEDY}."
        ) from None


def coded_columns(text: str, state: Any, reduced: bool, base: Any) -> dict[str, Any]:
    """The contrasts of a categorical column: for treatment coding, zeros and ones."""
    levels = list(state.levels)
    coding = state.contrasts.get_coding_matrix(levels, reduced_rank=reduced)
    pattern = state.contrasts.get_factor_format(levels, reduced_rank=reduced)
    columns = {}
    for field in coding.columns:
        values = coding[field].to_numpy()
        parts = [
            (base == literal(level)).cast("float64") * (1.0 if value == 1 else float(value))
            if value != 1
            else (base == literal(level)).cast("float64")
            for level, value in zip(levels, values, strict=True)
            if value != 0
        ]
        columns[pattern.format(name=text, field=field)] = sum(parts[1:], parts[0])
    return columns


def literal(level: Any) -> Any:
    """A category as a plain Python value."""
    return level.item() if isinstance(level, np.generic) else level


def expression(node: ast.AST, column: Callable[[str], Any]) -> Any:
    """Ibis expression of a Python expression; names the part for which there is none."""
    if isinstance(node, ast.Name):
        value = column(node.id)
        return value.cast("float64") if value.type().is_numeric() else value
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
        text = isinstance(node.value, (str, bool))
        return node.value if text else number(float(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd, ast.Invert)):
        value = expression(node.operand, column)
        if isinstance(node.op, ast.Invert):
            return ~value
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        left, right = expression(node.left, column), expression(node.right, column)
        exponent = node.right.value if isinstance(node.right, ast.Constant) else None
        return BINARY[type(node.op)](left, right, exponent)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARE:
        left, right = expression(node.left, column), expression(node.comparators[0], column)
        return COMPARE[type(node.ops[0])](left, right)
    if isinstance(node, ast.Call) and not node.keywords:
        name = ast.unparse(node.func).removeprefix("np.").removeprefix("numpy.")
        if name in FUNCTIONS:
            return FUNCTIONS[name](*(expression(argument, column) for argument in node.args))
    raise UntranslatableError(ast.unparse(node))

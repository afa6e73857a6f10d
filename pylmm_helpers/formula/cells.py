"""Categories that say nothing: with one level only, or crossed where a combination never occurs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import reduce
from operator import mul
from typing import Any

import numpy as np
import pandas as pd

from .evaluate import QUOTED, Reading, is_number


def check_levels(recipe: Any) -> None:
    """Refuse a categorical factor with one level."""
    for factor, state in recipe.factor_contrasts.items():
        if len(state.levels) < 2:
            level = next(iter(state.levels), None)
            raise ValueError(
                f"'{factor}' has one level only ('{level}') in the rows used: like a constant, it "
                "tells no rows apart; drop it from the formula."
            )


def check_cells(terms: Any, values: Mapping[str, Any], tools: Mapping[str, Any]) -> None:
    """Refuse an interaction of categories of which some combination has no row."""
    for term in terms:
        names = crossed(term, values, tools)
        if len(names) < 2:
            continue
        found = [pd.factorize(np.asarray(values[name], dtype=object)) for name in names]
        shape = tuple(len(levels) for _, levels in found)
        cells = reduce(lambda code, next_: code * len(next_[1]) + next_[0], found[1:], found[0][0])
        occur = np.unique(cells)
        if len(occur) == reduce(mul, shape):
            continue
        empty = int(np.setdiff1d(np.arange(reduce(mul, shape)), occur)[0])
        place = np.unravel_index(empty, shape)
        cell = " and ".join(
            f"{name} = {levels[k]}"
            for name, (_, levels), k in zip(names, found, place, strict=True)
        )
        joined = " + ' ' + ".join(f"data['{name}'].astype(str)" for name in names)
        raise ValueError(
            f"the interaction '{term}' can't be estimated: no row has {cell}. Make one column of "
            f"the cells that occur, data['cell'] = {joined}, and write cell in place of "
            f"{'*'.join(names)} (its differences are between cells), or leave the interaction out: "
            f"{' + '.join(names)}."
        )


def crossed(term: Any, values: Mapping[str, Any], tools: Mapping[str, Any]) -> list[str]:
    """The categorical columns of a term."""
    names = [category(factor, values, tools) for factor in term.factors]
    return [name for name in dict.fromkeys(names) if name is not None]


def category(factor: Any, values: Mapping[str, Any], tools: Mapping[str, Any]) -> str | None:
    """The column of a factor that is categorical as it stands, or by ``C(...)`` around it."""
    if factor.eval_method.value == "lookup":
        column = values.get(factor.expr)
        held = isinstance(column, pd.Series) and not is_number(column)
        return factor.expr if held else None
    if factor.eval_method.value != "python" or not factor.expr.startswith("C("):
        return None
    reading = Reading(factor.expr, values, tools)
    call = ast.parse(QUOTED.sub(reading.stand_in, factor.expr), mode="eval").body
    if isinstance(call, ast.Call) and isinstance(call.args[0], ast.Name):
        return reading.columns.get(call.args[0].id, call.args[0].id)
    return None

"""What R gets for a model: the formula in its spelling, and the columns the model uses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import one_of, plain
from pylmm_helpers.formula import (
    Spelling,
    Word,
    as_frame,
    check_scalars,
    column_names,
    in_r,
    read_weights,
    refuse_type,
    require_column,
    syntactic,
    unquoted,
)

from .formula import MixedFormula, coded

#: The column of a model frame that holds the prior weights.
WEIGHTS = "(weights)"


def used_columns(parsed: MixedFormula, data: pd.DataFrame) -> list[str]:
    """Columns of `data` that the formula uses, in the order of `data`.

    Raises
    ------
    ValueError
        Naming a variable of the formula that is no column of `data`, or stands there twice.
    """
    known = set(data.columns)
    wanted = set(parsed.group_columns)
    for line in (parsed.left, parsed.right, *(term.words for term in parsed.random)):
        wanted |= set(column_names(list(line), known.__contains__))
    if "." in wanted - known:
        raise ValueError(f"formula {parsed.text!r}: write the columns that '.' stands for.")
    unknown = sorted(wanted - known)
    if unknown:
        raise ValueError(
            f"formula {parsed.text!r} uses {', '.join(map(repr, unknown))}, which the data do not "
            f"have. Columns: {', '.join(map(str, data.columns))}."
        )
    for name in wanted:
        require_column(data, name)
    return [str(c) for c in data.columns if c in wanted]


def safe_names(columns: list[str]) -> dict[str, str]:
    """Names that R takes without backticks, one for each column; most stay as they are."""
    found: dict[str, str] = {}
    for column in columns:
        name = column if syntactic(column) else "v_" + re.sub(r"[^A-Za-z0-9]+", "_", column)
        while name in found.values() or (name != column and name in columns):
            name += "_"
        found[column] = name
    return found


def to_r(parsed: MixedFormula, frame: pd.DataFrame) -> str:
    """The formula for R, with the columns' safe names and the codings of categories as numbers.

    Raises
    ------
    ValueError
        Naming what has no counterpart in R.
    """
    names = safe_names([str(c) for c in frame.columns])

    def coding(column: list[Word], wanted: list[Word]) -> str:
        return _coded(column, wanted, frame, names)

    spelling = Spelling(lambda name: names.get(name, name), coding, names.__contains__)
    try:
        left, right = (in_r(list(side), spelling) for side in (parsed.left, parsed.right))
        random = [
            f"({in_r(list(term.words), spelling)} {'||' if term.diagonal else '|'} "
            + "".join(
                f"{sign}{names[column]}"
                for sign, column in zip(("", *term.signs), term.columns, strict=True)
            )
            + ")"
            for term in parsed.random
        ]
    except ValueError as error:
        raise ValueError(f"formula {parsed.text!r}: {error}") from error
    # R finds splines without attaching it
    return re.sub(
        r"(?<![\w.])(bs|ns)\(", r"splines::\1(", " + ".join([f"{left} ~ {right}", *random])
    )


def _coded(
    column: list[Word], coding: list[Word], frame: pd.DataFrame, names: dict[str, str]
) -> str:
    """A category with formulaic's coding, handed to R as the matrix of its numbers."""
    name = unquoted(column[0].text) if column[0].kind == "quoted" else column[0].text
    if len(column) != 1 or name not in frame:
        raise ValueError("C(..., coding) takes one column; make the expression a column first.")
    levels = levels_in_order(frame[name])
    rows = pd.DataFrame({"level": pd.Categorical(levels, categories=levels)})
    try:
        matrix = np.asarray(_model_matrix(f"1 + C(level, {coded(coding)})", rows), dtype=float)
    except Exception as error:  # formulaic has many errors; all mean a coding it can't do
        said = plain(str(error)).splitlines()[0]
        raise ValueError(
            f"the coding {coded(coding)} of column {name!r} can't be read ({said}); make it a "
            "pandas category whose first level is the reference."
        ) from error
    numbers = ", ".join(repr(float(v)) for v in matrix[:, 1:].T.ravel())
    return f"C(factor({names[name]}), matrix(c({numbers}), {len(levels)}))"


def _model_matrix(terms: str, frame: pd.DataFrame) -> pd.DataFrame:
    from formulaic import model_matrix

    return pd.DataFrame(model_matrix(terms, frame, context={}))


def levels_in_order(values: pd.Series) -> list[Any]:
    """Levels in pandas' category order, or sorted as formulaic sorts them."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return list(values.cat.categories)
    try:
        return sorted(values.unique())
    except TypeError:  # labels of mixed type have no order
        return sorted(values.unique(), key=str)


def model_frame(
    parsed: MixedFormula, data: pd.DataFrame, missing: str = "raise", weights: Any = None
) -> pd.DataFrame:
    """The rows and columns the model uses, categories without unused levels, weights last.

    Raises
    ------
    ValueError
        For missing or infinite values (naming the column), unless `missing="drop"` drops rows
        with missing ones.
    """
    one_of(missing, ("raise", "drop"), "missing")
    data = as_frame(data)
    frame = data[used_columns(parsed, data)]
    prior = read_weights(weights, data)
    if prior is not None:
        frame = frame.assign(**{WEIGHTS: prior})
    gaps = frame.isna().sum()
    if gaps.any() and missing == "raise":
        named = ", ".join(f"{c} ({k})" for c, k in gaps[gaps > 0].items())
        raise ValueError(f"missing values in {named}: use missing='drop' or fill them first.")
    frame = frame.dropna().reset_index(drop=True)
    if frame.empty:
        raise ValueError("no complete row is left for the model: check the columns for gaps.")
    for column in frame.columns:
        values = frame[column]
        check_scalars(values, column)
        if isinstance(values.dtype, pd.CategoricalDtype):
            frame[column] = values.cat.remove_unused_categories()
        elif pd.api.types.is_numeric_dtype(values) and not np.isfinite(values.astype(float)).all():
            raise ValueError(f"column {column!r} has an infinite value: correct or drop that row.")
    return frame


def r_frame(parsed: MixedFormula, frame: pd.DataFrame) -> pd.DataFrame:
    """`model_frame` as R gets it: float64 columns and unordered factors of strings.

    Levels keep pandas' category order, or are sorted as formulaic sorts them, so that both
    languages take the same reference level; ordered categories are coded as formulaic codes them,
    like any other. Integer grouping columns become factors.
    """
    grouping = set(parsed.group_columns)
    out = {}
    for column in frame.columns:
        values = frame[column]
        numeric = pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)
        if numeric and column not in grouping:
            out[column] = values.astype(float)
            continue
        kind = values.dtype
        if column not in grouping and getattr(kind, "kind", "O") in "mMc":
            refuse_type(column, kind)
        levels = levels_in_order(values)
        codes = pd.Categorical(values, categories=levels, ordered=False)
        out[column] = pd.Series(codes, index=values.index).cat.rename_categories(
            [str(level) for level in levels]
        )
    return pd.DataFrame(out)


def levels_of(frame: pd.DataFrame, group: str) -> dict[str, Any]:
    """R's level names of one grouping column, each with the value pandas has for it."""
    return {str(v): v for v in frame[group].unique()} if group in frame else {}

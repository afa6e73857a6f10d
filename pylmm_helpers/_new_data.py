"""Columns of X and Z, and group numbers, for rows that were not in the fit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from formulaic.errors import DataMismatchWarning, FormulaicError
from numpy.typing import NDArray

from pylmm_helpers._arguments import counted
from pylmm_helpers._columns import names_in, plain_text
from pylmm_helpers._crossprod import Array
from pylmm_helpers._design import Design, parse, parse_random
from pylmm_helpers._results import LMMResults


def as_new_frame(new_data: Any) -> pd.DataFrame:
    """Read new rows from a DataFrame or from a mapping of columns (single values are repeated)."""
    if isinstance(new_data, pd.DataFrame):
        frame = new_data
    elif isinstance(new_data, Mapping):
        lengths = {len(v) for v in new_data.values() if np.ndim(v) == 1}
        frame = pd.DataFrame(dict(new_data), index=None if lengths else [0])
    else:
        raise ValueError(
            f"new_data is a {type(new_data).__name__}; give a DataFrame or a dict of columns"
        )
    if frame.empty:
        raise ValueError("new_data has no rows; give at least one")
    return frame


def model_columns(res: LMMResults, frame: pd.DataFrame, part: str) -> Array:
    """Columns (k, p) of X (part="fixed") or (k, q) of Z (part="random") for the rows of `frame`."""
    design = res._rows_of
    fixed = part == "fixed"
    formula = design.formula if fixed else design.re_formula
    names = design.x_names if fixed else design.z_names
    terms = parse(formula).rhs if fixed else parse_random(formula)
    used = [n for n in names_in(terms, frame, design.tools)[0] if n in design.frame.columns]
    for name in used:
        check_column(name, frame, design)
    frame = pd.DataFrame({n: plain_text(frame[n]) for n in used}, index=frame.index)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DataMismatchWarning)
            spec = design.x_spec if fixed else design.z_spec
            matrix = spec.get_model_matrix(frame, na_action="raise", context=design.tools)
    except DataMismatchWarning as problem:
        raise ValueError(
            f"new_data has a category that the model of {formula!r} was not fitted with: "
            f"{unseen_category(terms, frame, design)}"
        ) from problem
    except (FormulaicError, ValueError) as problem:
        raise ValueError(
            f"the terms of {formula!r} can't be computed for new_data: "
            f"{str(problem).splitlines()[0]}"
        ) from problem
    if {str(c) for c in matrix.columns} != set(names):
        raise ValueError(
            f"the terms of {formula!r} can't be rebuilt for new data as this fit coded them "
            f"({', '.join(names)}); fit the model with fit_lmm"
        )
    values = np.asarray(matrix[list(names)], dtype=float)
    if not np.isfinite(values).all():
        bad = names[int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])]
        raise ValueError(f"term {bad!r} is infinite or undefined for some rows of new_data")
    return values


def check_column(name: str, frame: pd.DataFrame, design: Design) -> None:
    """Refuse a predictor that new_data lacks, or that has gaps or text for numbers there."""
    if name not in frame.columns:
        raise ValueError(f"new_data has no column {name!r}, a predictor of the model; add it")
    refuse_copies(name, frame)
    gaps = int(frame[name].isna().sum())
    if gaps:
        raise ValueError(
            f"column {name!r} of new_data has {counted(gaps, 'missing value')}; fill or drop "
            "those rows"
        )
    if is_number(design.frame[name]) and not is_number(frame[name]):
        raise ValueError(
            f"column {name!r} of new_data has type {frame[name].dtype}, but the fit had numbers; "
            "convert it with pd.to_numeric"
        )


def is_number(column: pd.Series) -> bool:
    """Whether a column holds real numbers or truth values."""
    kind = column.dtype
    return bool(pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind))


def refuse_copies(name: str, frame: pd.DataFrame) -> None:
    """Refuse a column name that stands twice."""
    if int((frame.columns == name).sum()) > 1:
        raise ValueError(f"column {name!r} stands twice in new_data; rename or drop the copies")


def unseen_category(terms: Any, frame: pd.DataFrame, design: Design) -> str:
    """Name the column and the values that the fit has not seen."""
    for name in sorted(terms.required_variables):
        if name in frame.columns and name in design.frame.columns:
            new = sorted(set(map(str, frame[name])) - set(map(str, design.frame[name])))
            kind = design.frame[name].dtype
            if new and not pd.api.types.is_float_dtype(kind):
                return f"column {name!r} holds {', '.join(map(repr, new[:5]))}; drop those rows"
    return "compare its categories with the data of the fit"


def group_numbers(res: LMMResults, frame: pd.DataFrame) -> NDArray[np.intp]:
    """Number (k,) of each row's group in the fit; -1 for groups that the fit has not seen."""
    name = res.groups
    if name not in frame.columns:
        raise ValueError(
            f"new_data has no column {name!r}; add the group of each row, or predict with "
            "level='population'"
        )
    refuse_copies(name, frame)
    gaps = int(frame[name].isna().sum())
    if gaps:
        raise ValueError(
            f"column {name!r} of new_data has {counted(gaps, 'missing value')}; give new groups "
            "a label of their own"
        )
    return np.asarray(res.group_labels.get_indexer(pd.Index(frame[name])), dtype=np.intp)

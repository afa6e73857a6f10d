"""From a formula and a data frame to the columns of the model, with every check on the input.

Each refusal is a ValueError that names the column and says what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import formulaic
import numpy as np
import pandas as pd
from formulaic.errors import FormulaicError
from numpy.typing import NDArray

from pylmm_helpers._crossprod import Array

#: Squares of larger (or smaller) numbers overflow (or vanish) in double precision.
LARGEST, SMALLEST = 1e140, 1e-140


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
    x_spec, z_spec : formulaic.ModelSpec or None
        Make the same columns from new data.
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
    x_spec: Any = None
    z_spec: Any = None
    dropped: int = 0

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
    if not isinstance(groups, str):
        raise ValueError(f"groups must be the name of one column, not {type(groups).__name__}.")
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing must be 'raise' or 'drop', not {missing!r}.")
    if frame.empty:
        raise ValueError("data has no rows; check the filter that made it.")
    used = sorted(set(fixed.required_variables) | set(random.required_variables))
    for name in [*used, groups]:
        require_column(frame, name)
    weight_values = read_weights(weights, frame)
    frame, weight_values, dropped = handle_missing(frame, [*used, groups], weight_values, missing)
    numbers_as_text(fixed, frame)
    frame_for_terms = pd.DataFrame(
        {name: plain_values(frame[name], name) for name in used}, copy=False
    )
    frame_for_terms.index = frame.index
    codes, labels = group_codes(frame[groups], groups)
    y_columns, y_names, _ = materialise(fixed.lhs, frame_for_terms, context)
    if len(y_names) != 1:
        raise ValueError(
            f"the response must be one numeric column, but {formula!r} gives {len(y_names)} "
            f"({', '.join(y_names[:4])}). Text and categories can't be a response here; "
            "convert numbers stored as text with pd.to_numeric."
        )
    x_columns, x_names, x_spec = materialise(fixed.rhs, frame_for_terms, context)
    z_columns, z_names, z_spec = materialise(random, frame_for_terms, context)
    shared = dict(zip(x_names, x_columns, strict=True))
    z_columns = [shared.get(name, column) for name, column in zip(z_names, z_columns, strict=True)]
    if not x_columns:
        raise ValueError(f"{formula!r} has no fixed effect at all; keep at least the intercept.")
    if not z_columns:
        raise ValueError(
            "re_formula has no term; a model without random effects is an ordinary regression."
        )
    return Design(
        formula, re_formula, y_names[0], tuple(x_names), tuple(z_names), groups, x_columns, z_columns,
        y_columns[0], codes, labels, weight_values, frame, x_spec, z_spec, dropped,
    )  # fmt: skip


def as_frame(data: Any) -> pd.DataFrame:
    """A pandas DataFrame from pandas, or from Polars and other tables that pandas can read."""
    if isinstance(data, pd.DataFrame):
        frame = data
    elif hasattr(data, "to_pandas"):
        frame = data.to_pandas()
    elif hasattr(data, "__dataframe__"):
        frame = pd.api.interchange.from_dataframe(data)
    else:
        raise ValueError(
            f"data must be a pandas (or Polars) DataFrame, not {type(data).__name__}; wrap it in pd.DataFrame(...)."
        )
    return frame


def parse(formula: str) -> Any:
    """A two-sided formulaic formula with one right-hand side."""
    if not isinstance(formula, str):
        raise ValueError(f"formula must be text such as 'y ~ x', not {type(formula).__name__}.")
    if "|" in formula:
        raise ValueError(
            f"{formula!r} contains '|'. Name the grouping column in groups= and the random terms in "
            "re_formula=, not in the formula."
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
            f"re_formula {re_formula!r} contains '|'; give the terms only and the column in groups=."
        )
    parsed = parse_text(re_formula)
    if hasattr(parsed, "lhs") or not isinstance(parsed, formulaic.SimpleFormula):
        raise ValueError(f"re_formula {re_formula!r} must be one-sided, such as '1' or '1 + x'.")
    return parsed


def parse_text(text: str) -> Any:
    """Parse with formulaic; its own errors become ValueErrors that show the formula."""
    try:
        return formulaic.Formula(text)
    except FormulaicError as error:
        raise ValueError(
            f"the formula {text!r} can't be read: {str(error).splitlines()[0]}"
        ) from error


def require_column(frame: pd.DataFrame, name: str) -> None:
    """Refuse unknown and repeated column names."""
    found = int((frame.columns == name).sum())
    if found > 1:
        raise ValueError(
            f"column '{name}' stands {found} times in the data; rename or drop the copies."
        )
    if found == 0:
        close = difflib.get_close_matches(name, [str(c) for c in frame.columns], n=3)
        hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
        known = ", ".join(str(c) for c in frame.columns[:12])
        raise ValueError(f"there is no column '{name}' in the data.{hint} Columns: {known}.")


def read_weights(weights: Any, frame: pd.DataFrame) -> Array | None:
    """Prior weights as floats, whether given as a column name or as one value per row."""
    if weights is None:
        return None
    label = "weights"
    if isinstance(weights, str):
        require_column(frame, weights)
        label, weights = f"weights column '{weights}'", frame[weights]
    try:
        values = np.asarray(weights, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label} must be numbers; convert them with pd.to_numeric.") from error
    if values.shape != (len(frame),):
        raise ValueError(
            f"{label} must have one value per row ({len(frame)}), not shape {values.shape}."
        )
    bad = ~(np.isnan(values) | ((values > 0) & np.isfinite(values)))
    if bad.any():
        raise ValueError(
            f"{label} must be positive and finite, but {bad.sum()} are not; leave rows of zero weight out of the data."
        )
    return values


def handle_missing(
    frame: pd.DataFrame, names: list[str], weights: Array | None, missing: str
) -> tuple[pd.DataFrame, Array | None, int]:
    """Refuse or drop rows with a missing value in a used column; refuse infinite values."""
    lacking = {name: np.asarray(frame[name].isna()) for name in dict.fromkeys(names)}
    if weights is not None:
        lacking["weights"] = np.isnan(weights)
    counts = {name: int(flags.sum()) for name, flags in lacking.items()}
    dropped = 0
    if any(counts.values()):
        listing = ", ".join(f"'{name}' ({count})" for name, count in counts.items() if count)
        if missing == "raise":
            raise ValueError(
                f"missing values in column {listing}. Pass missing='drop' to leave those rows out (they are "
                "counted), or fill them before fitting."
            )
        keep = ~np.logical_or.reduce(list(lacking.values()))
        dropped = int((~keep).sum())
        if not keep.any():
            raise ValueError(
                f"no complete row is left after dropping missing values in column {listing}."
            )
        frame, weights = frame.loc[keep], None if weights is None else weights[keep]
    return frame, weights, dropped


def plain_values(column: pd.Series, name: str) -> Any:
    """The column as floats, or as it is when it holds categories; dates, complex numbers and the
    like are refused."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return column.cat.remove_unused_categories()
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_string_dtype(kind):
        return column
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        values = column.to_numpy(dtype=float)
        check_size(values, name)
        return values
    raise ValueError(
        f"column '{name}' has type {kind}, which can't enter a model; turn it into numbers "
        "(for a date: the days since a fixed day) or categories."
    )


def check_size(values: Array, name: str) -> None:
    """Refuse infinite values and magnitudes whose squares don't fit a double."""
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"column '{name}' holds {count} infinite or undefined value(s). Correct them, or set them to NaN and pass "
            "missing='drop'. A logarithm needs positive values in the units of the data."
        )
    largest = max(abs(low), abs(high))
    if largest > LARGEST or 0 < largest < SMALLEST:
        raise ValueError(
            f"the values of column '{name}' (up to {largest:.3g}) can't be squared; change the unit."
        )


def numbers_as_text(fixed: Any, frame: pd.DataFrame) -> None:
    """Refuse a text column of numbers used as it is: a category for each number is never what was
    meant."""
    for term in [*fixed.lhs, *fixed.rhs]:
        for factor in term.factors:
            if factor.expr not in frame or not pd.api.types.is_string_dtype(
                frame[factor.expr].dtype
            ):
                continue
            if isinstance(frame[factor.expr].dtype, pd.CategoricalDtype):
                continue
            distinct = pd.Series(pd.unique(frame[factor.expr]))
            if pd.to_numeric(distinct, errors="coerce").notna().all():
                raise ValueError(
                    f"column '{factor.expr}' holds numbers stored as text; convert it with pd.to_numeric, "
                    f"or write C({factor.expr}) if each value is a category."
                )


def group_codes(column: pd.Series, name: str) -> tuple[NDArray[np.intp], pd.Index]:
    """Number the groups 0 to G - 1 in the order of their labels (of the categories, if there are
    any)."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        codes, labels = column.cat.codes.to_numpy(dtype=np.intp), pd.Index(column.cat.categories)
    else:
        codes, labels = integer_codes(column)
        if labels is None:
            try:
                codes, labels = pd.factorize(column, sort=True)
            except TypeError:  # labels of mixed type have no order
                codes, labels = pd.factorize(column)
    if len(labels) < 2:
        raise ValueError(
            f"column '{name}' has only one group ('{labels[0]}'); a variance between groups needs at least two. "
            "Use ordinary regression, or check that groups= names the right column."
        )
    return codes, pd.Index(labels, name=name)


def integer_codes(column: pd.Series) -> tuple[Any, pd.Index | None]:
    """Codes of integer labels by counting, many times faster than hashing; (None, None) if that
    doesn't suit."""
    if not pd.api.types.is_integer_dtype(column.dtype) or pd.api.types.is_extension_array_dtype(
        column.dtype
    ):
        return None, None
    values = column.to_numpy()
    low, high = int(values.min()), int(values.max())
    if high - low > 4 * len(values) + 1000:
        return None, None
    values = values.astype(np.intp, copy=False)
    offset = values - low if low else values
    present = np.zeros(high - low + 1, dtype=bool)
    present[offset] = True
    labels = np.flatnonzero(present)
    if len(labels) != len(present):
        number = np.cumsum(present) - 1
        offset = number[offset]
    return offset, pd.Index(labels + low, dtype=column.dtype)


def materialise(
    terms: Any, frame: pd.DataFrame, context: Mapping[str, Any] | None
) -> tuple[list[Array], list[str], Any]:
    """Columns, their names and the recipe (ModelSpec) of one side of a formula."""
    if [str(term) for term in terms] == ["1"]:
        spec = formulaic.ModelSpec(terms)
        return [np.broadcast_to(1.0, len(frame))], ["Intercept"], spec
    try:
        with np.errstate(all="ignore"):  # what comes out undefined is refused by name below
            matrix = formulaic.model_matrix(terms, frame, na_action="ignore", context=context)
    except FormulaicError as error:
        raise ValueError(
            f"the terms '{terms}' can't be computed: {str(error).splitlines()[0]}"
        ) from error
    columns, names = [], [str(name) for name in matrix.columns]
    for position, name in enumerate(names):
        values = matrix.iloc[:, position].to_numpy()
        if name == "Intercept":
            columns.append(np.broadcast_to(1.0, len(frame)))
            continue
        if not pd.api.types.is_numeric_dtype(values.dtype) or np.iscomplexobj(values):
            raise ValueError(
                f"term '{name}' is not numeric; use a numeric column or C(...) for categories."
            )
        values = np.ascontiguousarray(values, dtype=float)
        check_size(values, name)
        columns.append(values)
    return columns, names, matrix.model_spec

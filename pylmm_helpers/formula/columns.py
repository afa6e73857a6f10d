"""Checks on single columns of the data: each refusal names the column and says what to do about
it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array, counted

#: Squares of larger (or smaller) numbers overflow (or vanish) in double precision.
LARGEST, SMALLEST = 1e140, 1e-140
#: With more different texts than this, a few among numbers are gaps or typing errors.
MANY = 20


def as_frame(data: Any) -> pd.DataFrame:
    """A pandas DataFrame from pandas, or from Polars and other tables that pandas can read."""
    frame = data.to_pandas() if hasattr(data, "to_pandas") else data
    if not isinstance(frame, pd.DataFrame) and hasattr(data, "__dataframe__"):
        frame = pd.api.interchange.from_dataframe(data)
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(
            f"data must be a pandas (or Polars) DataFrame, not {type(data).__name__}; wrap it in "
            "pd.DataFrame(...)."
        )
    if isinstance(frame.columns, pd.MultiIndex):
        raise ValueError(
            "the columns of the data have names of several levels; join them first: data.columns = "
            "['_'.join(map(str, names)) for names in data.columns]."
        )
    return frame


def require_column(frame: pd.DataFrame, name: str) -> None:
    """Refuse unknown and repeated column names."""
    found = int((frame.columns == name).sum())
    if found > 1:
        raise ValueError(
            f"column '{name}' stands {found} times in the data; rename or drop the copies."
        )
    if found == 0 and name in map(str, frame.columns):
        raise ValueError(
            f"the data have a column {name}, but its name is no text; write data.columns = "
            "data.columns.astype(str) first."
        )
    if found == 0 and name in frame.index.names:
        raise ValueError(
            f"'{name}' is in the index of the data, not a column; give data.reset_index()."
        )
    if found == 0:
        close = difflib.get_close_matches(name, [str(c) for c in frame.columns], n=3)
        hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
        known = ", ".join(str(c) for c in frame.columns[:12])
        raise ValueError(f"there is no column '{name}' in the data.{hint} Columns: {known}.")


def in_order(values: Any, index: pd.Index, label: str) -> Any:
    """A Series or DataFrame in the order of the rows' index; refuses one of other rows."""
    if not isinstance(values, pd.Series | pd.DataFrame) or values.index.equals(index):
        return values
    if len(values) == len(index) and index.is_unique and values.index.is_unique:
        positions = values.index.get_indexer(index)
        if (positions >= 0).all():
            return values.iloc[positions]
    raise ValueError(
        f"{label} is a {type(values).__name__} of {len(values)} values whose index is not that of "
        f"the {len(index)} rows, so it is not clear which value belongs to which row; give it the "
        "data's index, or its values alone (.to_numpy()) if they stand in the order of the rows."
    )


def handle_missing(
    frame: pd.DataFrame, names: list[str], weights: Array | None, missing: str
) -> tuple[pd.DataFrame, Array | None, int]:
    """Refuse or drop rows with a missing value in a used column; refuse infinite values."""
    lacking = {name: is_missing(frame[name]) for name in dict.fromkeys(names)}
    if weights is not None:
        lacking["weights"] = np.isnan(weights)
    counts = {name: int(flags.sum()) for name, flags in lacking.items()}
    if not any(counts.values()):
        return frame, weights, 0
    keep = ~np.logical_or.reduce(list(lacking.values()))
    check_missing(counts, missing, int(keep.sum()))
    return frame.loc[keep], None if weights is None else weights[keep], int((~keep).sum())


def check_missing(counts: Mapping[str, int], missing: str, complete: int) -> None:
    """Refuse missing values, counted by column, unless told to drop them and some rows are left."""
    listing = ", ".join(f"'{name}' ({count})" for name, count in counts.items() if count)
    if listing and missing == "raise":
        raise ValueError(
            f"missing values in column {listing}. Pass missing='drop' to leave those rows out "
            "(they are counted), or fill them before fitting."
        )
    if listing and not complete:
        raise ValueError(
            f"no complete row is left after dropping missing values in column {listing}."
        )


def is_missing(column: pd.Series) -> NDArray[np.bool_]:
    """Which values are missing; for plain numbers without the detour through pandas."""
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind == "f":
        return np.isnan(column.to_numpy())
    if isinstance(kind, np.dtype) and kind.kind in "iub":
        return np.zeros(len(column), dtype=bool)
    return np.asarray(column.isna())


def plain_values(column: pd.Series, name: str) -> Any:
    """The column as floats, or as it is when it holds categories; dates, complex numbers and the
    like are refused."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        if pd.api.types.is_extension_array_dtype(column.cat.categories.dtype):
            # contrasts of pandas' own text or numbers are no plain numbers
            column = column.cat.rename_categories(list(column.cat.categories))
        return column
    if pd.api.types.is_string_dtype(kind):
        distinct_texts(column, name)
        return plain_text(column)
    if pd.api.types.is_bool_dtype(kind):
        return column
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        # whole numbers stay whole: C(x) names its categories after them
        whole = pd.api.types.is_integer_dtype(kind) and float(column.max()) < 2**63
        values = column.to_numpy(dtype=np.int64 if whole else float)
        check_size(values, name)
        return values
    refuse_type(name, kind)


def plain_text(column: pd.Series) -> pd.Series:
    """The column, with text of a type of its own (pandas' or Arrow's) as Python strings, the only
    ones that formulaic takes for categories."""
    kind = column.dtype
    text = pd.api.types.is_extension_array_dtype(kind) and pd.api.types.is_string_dtype(kind)
    return column.astype(object) if text and not isinstance(kind, pd.CategoricalDtype) else column


def distinct_texts(column: pd.Series, name: str) -> pd.Series:
    """The different values of a column of text; refuses lists, arrays and the like."""
    check_scalars(column, name)
    return pd.Series(pd.unique(plain_text(column)), dtype=object)


def check_scalars(column: pd.Series, name: str, labels: bool = False) -> None:
    """Refuse a column that holds lists, sets, arrays and the like, whichever row they stand in; as
    labels, tuples and what else can be told apart by value are fine."""
    kind = column.dtype
    values = kind.categories if isinstance(kind, pd.CategoricalDtype) else column
    if pd.api.types.is_object_dtype(values.dtype) or isinstance(values.dtype, pd.ArrowDtype):
        for value in values:
            if pd.api.types.is_list_like(value) and not (labels and can_be_a_label(value)):
                raise no_scalars(name, type(value).__name__)


def can_be_a_label(value: Any) -> bool:
    """Whether a value can be looked up."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def no_scalars(name: str, kind: str) -> ValueError:
    """The error for a column of lists, arrays and the like."""
    return ValueError(
        f"column '{name}' holds values of type {kind}, which can't enter a model; give it one "
        "number or one text for each row."
    )


def refuse_type(name: str, kind: Any) -> NoReturn:
    """Refuse dates, complex numbers and the like."""
    raise ValueError(
        f"column '{name}' has type {kind}, which can't enter a model; turn it into numbers "
        "(for a date: the days since a fixed day) or categories."
    )


def check_size(values: NDArray[Any], name: str) -> None:
    """Refuse infinite values and magnitudes whose squares don't fit a double."""
    low, high = float(values.min()), float(values.max())
    finite = bool(np.isfinite(low) and np.isfinite(high))
    check_range(low, high, 0 if finite else int((~np.isfinite(values)).sum()), name)


def check_range(low: float, high: float, infinite: int, name: str) -> None:
    """The same from a column's least and largest value and the count of infinite ones."""
    if infinite:
        raise ValueError(
            f"column '{name}' holds {counted(infinite, 'infinite or undefined value')}. Correct "
            "the data, or set it to NaN there and pass missing='drop'. A logarithm needs positive "
            "values in the units of the data."
        )
    largest = max(abs(low), abs(high))
    if largest > LARGEST or 0 < largest < SMALLEST:
        raise ValueError(
            f"the values of column '{name}' (up to {largest:.3g}) can't be squared; change the "
            "unit."
        )


def numbers_as_text(names: Iterable[str], frame: pd.DataFrame) -> None:
    """Refuse a text column of numbers used as it is: a category for each number is never what was
    meant."""
    for name in names:
        kind = frame[name].dtype
        if not pd.api.types.is_string_dtype(kind) or isinstance(kind, pd.CategoricalDtype):
            continue
        distinct = distinct_texts(frame[name], name)
        good = pd.to_numeric(distinct, errors="coerce").notna()
        good |= distinct.map(lambda value: isinstance(value, Number)).astype(bool)
        comma = distinct.astype(str).str.fullmatch(r"\s*[+-]?(\d[\d.' ]*)?,\d+\s*")
        stray = distinct[~(good | comma)]
        if len(stray) and (len(distinct) <= MANY or len(stray) > len(distinct) / 10):
            continue
        if comma.any():
            raise ValueError(
                f"column '{name}' holds numbers written with a comma "
                f"('{distinct[comma].iloc[0]}'); "
                "read the file with decimal=',' (thousands=',' where the comma divides thousands), "
                f"or convert it: pd.to_numeric(data['{name}'].str.replace(',', '.')). Write "
                f"C({name}) if each value is a category."
            )
        odd = f" beside {', '.join(map(repr, stray[:3]))}" if len(stray) else ""
        raise ValueError(
            f"column '{name}' holds numbers stored as text or objects{odd}; convert it with "
            f"pd.to_numeric or .astype(float), or write C({name}) if each value is a category."
        )


def group_codes(column: pd.Series, name: str) -> tuple[NDArray[np.intp], pd.Index]:
    """Number the groups 0 to G - 1 in the order of their labels (of the categories, if there are
    any)."""
    check_scalars(column, name, labels=True)
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
            f"column '{name}' has only one group ('{labels[0]}'); a variance between groups needs "
            "at least two. Use ordinary regression, or check that groups= names the right column."
        )
    return np.asarray(codes, dtype=np.intp), pd.Index(labels, name=name)


def integer_codes(column: pd.Series) -> tuple[Any, pd.Index | None]:
    """Codes of integer labels by counting, many times faster than hashing; (None, None) if that
    doesn't suit."""
    if not pd.api.types.is_integer_dtype(column.dtype) or pd.api.types.is_extension_array_dtype(
        column.dtype
    ):
        return None, None
    values = column.to_numpy()
    low, high = int(values.min()), int(values.max())
    if high - low > 4 * len(values) + 1000 or high > np.iinfo(np.intp).max:
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

"""Prior weights, read from a column of the data or from one value per row."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array

from .columns import in_order, require_column


def read_weights(weights: Any, frame: pd.DataFrame) -> Array | None:
    """Prior weights as floats, whether given as a column name or as one value per row."""
    if weights is None:
        return None
    label = "weights"
    if isinstance(weights, str):
        require_column(frame, weights)
        label, weights = f"weights column '{weights}'", frame[weights]
    weights = in_order(weights, frame.index, label)
    typed = isinstance(weights, pd.Series | pd.Index | pd.api.extensions.ExtensionArray)
    try:
        weights = weights if typed else np.asarray(weights)
    except (TypeError, ValueError) as error:  # lists of several lengths
        raise ValueError(f"{label} must be numbers, one for each row.") from error
    if weights.shape != (len(frame),):
        raise ValueError(
            f"{label} must have one value per row ({len(frame)}), not shape {weights.shape}."
        )
    values = real_numbers(pd.Series(weights), label)
    bad = ~(np.isnan(values) | ((values > 0) & np.isfinite(values)))
    check_weights(int(bad.sum()), label)
    return values


def real_numbers(column: pd.Series, label: str) -> Array:
    """The column as floats with NaN for gaps; refuses what could only be converted to numbers:
    text, categories, dates, durations and complex numbers."""
    kind = column.dtype
    if pd.api.types.is_object_dtype(kind):
        held = column[column.notna()]
        other = [
            v for v in held if isinstance(v, np.timedelta64) or not isinstance(v, Real | Decimal)
        ]
        good, what = not other, f"values of type {type(other[0]).__name__}" if other else ""
    else:
        good = pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)
        what = f"type {kind}"
    if not good and (what.endswith("type str") or pd.api.types.is_string_dtype(column)):
        raise ValueError(f"{label} must be numbers; convert them with pd.to_numeric.")
    if not good:
        raise ValueError(
            f"{label} must be numbers, not {what}; convert them with pd.to_numeric (a category "
            "with .astype(str) first, a duration by dividing it by pd.Timedelta(days=1))."
        )
    return column.to_numpy(dtype=float, na_value=np.nan)


def check_weights(bad: int, label: str) -> None:
    """Refuse weights of which some are not positive and finite."""
    if bad:
        are = "is" if bad == 1 else "are"
        raise ValueError(
            f"{label} must be positive and finite, but {bad} {are} not; leave rows of zero weight "
            "out of the data."
        )

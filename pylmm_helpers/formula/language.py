"""The words of a formula: functions, codings and modules, and numbers as arithmetic takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from formulaic.transforms import TRANSFORMS

from .respell import R_WORDS


def logarithm(x: Any, base: float | None = None) -> Any:
    """Natural logarithm, or to another base, as in R."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


def as_texts(value: Any, index: pd.Index | None = None) -> Any:
    """Text that an expression has made an array of, such as ``np.where(x > 0, "hi", "lo")``, in the
    form that formulaic takes for categories."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "UO":
        return value
    if pd.api.types.infer_dtype(value) not in ("string", "empty"):
        return value
    return pd.Series(value.astype(object), index=index, dtype=object)


def coded(data: Any, contrasts: Any = None, **options: Any) -> Any:
    """Categories; a coding may be given by its class, as statsmodels and patsy allow."""
    data = as_texts(data)
    return TRANSFORMS["C"](data, contrasts() if callable(contrasts) else contrasts, **options)


def arithmetic(value: Any) -> Any:
    """Whole numbers and truth values as floats: in 64 bits the first overflow, and the sum of two
    truth values is their "or"."""
    kind = getattr(value, "dtype", None)
    whole = isinstance(kind, np.dtype) and kind.kind in "iub"
    return value.astype(float) if whole else value


#: The functions, codings and modules that a formula knows.
LANGUAGE: dict[str, Any] = {
    **{name: value for name, value in TRANSFORMS.items() if name not in R_WORDS},
    **{name: getattr(np, name) for name in ("sqrt", "log1p", "expm1")},
    "C": coded,
    "log": logarithm,
    "numpy": np,
}

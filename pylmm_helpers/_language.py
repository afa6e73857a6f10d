"""The words of a formula: functions, codings and modules, and numbers as arithmetic takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from formulaic.transforms import TRANSFORMS

from pylmm_helpers._r_words import R_WORDS


def logarithm(x: Any, base: float | None = None) -> Any:
    """Natural logarithm, or to another base, as in R."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


def coded(data: Any, contrasts: Any = None, **options: Any) -> Any:
    """Categories; a coding may be given by its class, as statsmodels and patsy allow."""
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

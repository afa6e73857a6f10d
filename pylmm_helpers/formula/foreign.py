"""The columns of another program's fit, found again among those that its formula gives here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from formulaic.parser.types import Term

from pylmm_helpers.common import Array

from .evaluate import names_in

#: Rounding that the other program's way through the arithmetic may leave, beside the largest value.
FOREIGN = 1e-8
#: The category at the end of a column's name, as in ``b[T.True]`` or ``k[a]:x``.
_CATEGORY = re.compile(r"(?<=[\w)`])\[[^\[\]]*\](?=:|$)")


class RebuiltError(ValueError):
    """Terms that can't be rebuilt for any rows, however many are given."""


def bare_terms(names: Iterable[str]) -> str:
    """The terms that give columns of these names, joined by +."""
    return " + ".join(dict.fromkeys(_CATEGORY.sub("", name) for name in names))


def truths_as_factors(terms: Any, values: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, Any]:
    """Columns of true and false as the two categories that statsmodels makes of them, save for
    those that stand in an expression, where they count as numbers."""
    factors = [factor for term in terms for factor in term.factors]
    plain = {factor.expr for factor in factors if factor.eval_method.value == "lookup"}
    computed = [Term([factor]) for factor in factors if factor.eval_method.value == "python"]
    used = set(names_in(computed, frame, None).used)
    return {
        name: value.astype(pd.CategoricalDtype([False, True]))
        if name in plain - used and isinstance(value, pd.Series) and value.dtype == bool
        else value
        for name, value in values.items()
    }


def places(
    own: Sequence[Array], names: Sequence[str], found: Sequence[Array], formula: str
) -> list[int]:
    """Positions of the fit's columns among those found; matched by their values, because another
    program names and orders them otherwise."""
    order = []
    for column, name in zip(own, names, strict=True):
        room = FOREIGN * float(np.abs(column).max())
        same = [k for k, other in enumerate(found) if np.abs(other - column).max() <= room]
        if not same:
            raise RebuiltError(
                f"column {name!r} of this fit is not among those that {formula!r} gives here, so "
                "it can't be rebuilt for new data; fit the model with fit_lmm"
            )
        order.append(same[0])
    return order

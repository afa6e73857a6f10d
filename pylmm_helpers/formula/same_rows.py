"""The same rows in another order, put into one."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .design import Design


def row_order(first: pd.Index | None, second: pd.Index | None) -> NDArray[np.intp] | None:
    """Positions (n,) of the first rows among the second, told by their index; None where they stand
    in one order already, or where the index doesn't name each row once."""
    if first is None or second is None or len(first) != len(second) or first.equals(second):
        return None
    if not (first.is_unique and second.is_unique and first.nlevels == second.nlevels):
        return None
    found = second.get_indexer(first)
    return None if (found < 0).any() else np.asarray(found, dtype=np.intp)


def in_order_of(first: Any, second: Any) -> Any:
    """The second fit with its rows in the order of the first, for comparisons alone: what was
    computed row by row before is not put into order."""
    order = order_of(first, second)
    if order is None:
        return second
    design = second.design
    if isinstance(design, Design):
        moved: Any = reordered(design, order)
    else:
        moved = replace(design, parts=tuple(reordered(part, order) for part in design.parts))
    result = copy.copy(second)
    for name in ("X", "Z", "y"):
        vars(result).pop(name, None)
    object.__setattr__(result, "design", moved)
    return result


def order_of(first: Any, second: Any) -> NDArray[np.intp] | None:
    """`row_order` of two fits; None for a fit without rows."""
    if first.design is None or second.design is None:
        return None
    return row_order(first.frame.index, second.frame.index)


def reordered(design: Design, order: NDArray[np.intp]) -> Design:
    """A design with its rows in another order."""
    weights, offset, structure = design.weights, design.offset, design.structure
    return replace(
        design,
        x_columns=[column[order] for column in design.x_columns],
        z_columns=[column[order] for column in design.z_columns],
        y=design.y[order],
        codes=design.codes[order],
        weights=None if weights is None else weights[order],
        offset=None if offset is None else offset[order],
        frame=design.frame.iloc[order],
        structure=None if structure is None else structure.reordered(order),
    )

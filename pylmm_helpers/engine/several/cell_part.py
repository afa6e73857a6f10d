"""What a fit from sums by cell knows of its model, and what it has to refuse."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.formula import Design

#: What a design says of itself only where it has rows.
OF_ROWS = {field.name for field in fields(Design)} | {n for n in dir(Design) if n[0] != "_"}
NO_ROWS = "this fit was made from cross products: it has no rows; fit the data frame to get them."


@dataclass(frozen=True)
class CellPart:
    """What is known of a random term and of the fixed part when the rows are out of reach.

    Asked for what only rows can tell, it says so.

    Attributes
    ----------
    codes : ndarray (c,)
        Level of each cell.
    sizes : ndarray (c,)
        Rows of each cell.
    n, dropped : int
        Rows used, and incomplete rows left out.
    mean_weight : float or None
    sum_log_weights : float
    formula, re_formula, y_name, x_names, z_names, group_name, group_labels
        As in `Design`.
    """

    formula: str
    re_formula: str
    y_name: str
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]
    group_name: str
    group_labels: pd.Index
    codes: NDArray[np.intp]
    sizes: NDArray[np.int64]
    n: int
    dropped: int
    mean_weight: float | None
    sum_log_weights: float

    def __getattr__(self, name: str) -> Any:
        if name in OF_ROWS:
            raise ValueError(NO_ROWS)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

"""The two rows that a comparison of groups is about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.formula import as_new_frame, model_columns


def two_rows(new_data: Any, effects: list[str]) -> pd.DataFrame | None:
    """The predictors of both groups, from one row for both or one for each; None if the groups
    differ by their intercepts and no predictors are named."""
    if new_data is None:
        if any(name != "Intercept" for name in effects):
            raise ValueError(
                f"groups differ by {', '.join(effects)}, so their difference depends on the "
                "predictors; give the row at which to compare them as new_data"
            )
        return None
    frame = as_new_frame(new_data)
    if len(frame) > 2:
        raise ValueError(
            f"new_data has {len(frame)} rows; give one for both groups, or one for each"
        )
    frame = frame.iloc[[0, 0]] if len(frame) == 1 else frame
    return frame.reset_index(drop=True)


def fixed_difference(res: Any, frame: pd.DataFrame | None) -> tuple[float, Array]:
    """What the fixed part adds to the difference, and the difference (p,) of the scaled rows."""
    if frame is None:
        return 0.0, np.zeros(res.cross.p)
    scaling, design = res.cross.scaling, res._rows_of
    known = model_columns(design, frame, "offset").sum(axis=1)
    scaled = scaling.x(model_columns(design, frame, "fixed"))
    x = scaled[0] - scaled[1]
    slope = scaling.y_scale * (res.beta_scaled + scaling.offset)
    return float(x @ slope + known[0] - known[1]), x


def check_known(numbers: NDArray[np.intp], labels: list[Any], factor: str) -> None:
    """Refuse groups that the fit hasn't seen, and one group twice."""
    for number, label in zip(numbers, labels, strict=True):
        if number < 0:
            raise ValueError(f"{label!r} is no level of {factor!r} in the fit")
    if numbers[0] == numbers[1]:
        raise ValueError(f"{labels[0]!r} stands on both sides; name two groups")

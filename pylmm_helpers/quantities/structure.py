"""What quantities need to know of correlated residuals and unequal variances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.engine import structure_information
from pylmm_helpers.formula import Levels, refuse_levels, require_column

from .checks import GAP, Check


def residual_sd(res: Any) -> Array:
    """Residual SD of each row (n,) of a fit over sigma: the ratio of its level over the root of its
    weight."""
    weights = res._rows_of.weights
    sd = np.ones(res.nobs) if weights is None else 1.0 / np.sqrt(weights)
    return sd if res.structure is None else np.asarray(sd * res.structure.row_ratios())


def new_ratios(res: Any, frame: pd.DataFrame) -> Array:
    """SD ratio (k,) of new rows, by their level of ``variances=``; refuses levels that the fit
    hasn't seen."""
    found = res.structure
    if found is None or found.levels is None or found.ratios is None:
        return np.ones(len(frame))
    name = found.request.variances
    try:
        require_column(frame, name)
    except ValueError as error:
        raise ValueError(
            f"new_data has no column {name!r}, which says the residual variance of a row "
            "(variances=); add it, or ask for interval='confidence'."
        ) from error
    levels = Levels(found.levels)
    place, unseen, ambiguous = levels.positions(frame[name])
    refuse_levels(name, unseen, ambiguous, levels.levels)
    if (place < 0).any():
        raise ValueError(f"column {name!r} of new_data has missing values; fill them.")
    return np.asarray(found.ratios[place])


def check_new_observations(res: Any, known: bool) -> None:
    """Refuse the spread of a new observation in a known group whose residuals are correlated."""
    if known and res.structure is not None and res.structure.phi is not None:
        raise ValueError(
            "a prediction interval for a known group isn't given with "
            f"{res.structure.request.words}: the new residual is correlated with the group's "
            "observed ones, which predictions here don't use. Ask for "
            "interval='confidence', or for level='population'."
        )


def structure_check(res: Any, found: Check) -> Check:
    """A check of convergence with the parameters of the residuals' structure included."""
    if res.structure is None:
        return found
    info = structure_information(res)
    values = np.linalg.eigvalsh(info.hessian)
    fall = 0.5 * float(info.gradient @ np.linalg.pinv(info.hessian) @ info.gradient)
    more = {"possible fall along phi and ratios": fall, "their smallest curvature": values[0]}
    details = pd.concat([found.details, pd.DataFrame({"value": more})])
    if not found or (abs(fall) <= GAP and values[0] > 0.0):
        return Check(found.ok, found.finding, found.next_steps, details)
    return Check(
        False,
        f"The fit is not at the minimum along the parameters of {res.structure.request.words}: the "
        f"criterion can still fall by {fall:.3g}.",
        ("Leave one of the structures out, and compare the fits with `lrt()`.",),
        details,
    )

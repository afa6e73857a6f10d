"""A fit's model without its predictors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pylmm_helpers.formula import Design

from .fit import fit_design
from .results import LMMResults
from .several.fit import fit_design as fit_several
from .several.results import SeveralResults


def null_fit(fit: LMMResults | SeveralResults) -> LMMResults | SeveralResults:
    """The model with an intercept for its fixed part and the same random part, by the same method
    (ML or REML), fitted to the same rows.

    Raises
    ------
    ValueError
        A fit without rows, or without an intercept, in which this model isn't contained.
    """
    constant = fit.cross.scaling.constant
    if not np.any(constant):
        raise ValueError(
            f"the fixed part of {fit.formula!r} has no intercept, so that the model without "
            "predictors isn't part of it; fit the model with an intercept."
        )
    first = fit._rows_of  # refuses a fit without rows
    if isinstance(fit, LMMResults):
        return fit_design(without_predictors(first), fit.reml)
    parts = tuple(without_predictors(p) for p in fit.design.parts if isinstance(p, Design))
    return fit_several(replace(fit.design, parts=parts), fit.reml)


def without_predictors(design: Design) -> Design:
    """The columns of a model with those of its fixed part replaced by one of ones."""
    ones = np.broadcast_to(1.0, design.y.shape)
    for name, column in zip(design.z_names, design.z_columns, strict=True):
        ones = column if name == "Intercept" else ones  # one array for a term of both parts
    formula = f"{design.y_name} ~ 1"
    return replace(design, formula=formula, x_names=("Intercept",), x_columns=[ones], recipes=None)

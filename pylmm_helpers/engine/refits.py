"""One model fitted to many responses: the searches run together, since X and Z are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design

from .identified import check_identified
from .products import CrossProducts, GroupRows
from .results import LMMResults
from .scaling import cross_products, reduce_rows
from .search import optimise_all

#: Numbers held at a time; more responses are fitted in turns.
BATCH = 1_000_000


def refit_all(
    fit: LMMResults, Y: Array, alone: Callable[[Design], LMMResults], almost_nothing: float
) -> list[LMMResults]:
    """The fits of the columns of Y (n, B); `alone` makes one where the search for all doesn't
    serve."""
    design, first = fit._rows_of, fit.rows
    each = first.Z.shape[-1] * first.q * (first.q + first.p + 1)
    size = max(1, BATCH // each)
    found: list[LMMResults] = []
    for start in range(0, Y.shape[1], size):
        designs = [replace(design, y=y.copy()) for y in Y[:, start : start + size].T]
        ready = [reduced(one, fit.reml) for one in designs]
        optima = optimise_all([rows for rows, _ in ready], fit.reml)
        for one, (rows, cross), (theta, at, converged) in zip(designs, ready, optima, strict=True):
            # no digits left, or no residual: the fit of one response knows what to do
            if not at.unexplained()[0] >= almost_nothing or not np.isfinite(at.value[0]):
                found.append(alone(one))
            else:
                found.append(LMMResults(cross, rows, theta, at, converged, fit.reml, one))
    return found


def reduced(design: Design, reml: bool) -> tuple[GroupRows, CrossProducts]:
    """Pseudo-rows and products of a design, after the checks of a fit."""
    rows, cross = reduce_rows(cross_products(design), design)
    check_identified(rows, cross, reml)
    return rows, cross

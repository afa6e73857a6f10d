"""The fit of a model with one grouping factor whose residuals are correlated or of unequal
variance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design, Structure

from .criterion import factor_to_theta, theta_to_factor
from .reduce import reduce_products
from .rows import within_of
from .scaling import WhitenedRows, prepare
from .search import minimise, optimise
from .structure_search import search

#: Variances of the random effects start no nearer to zero than this, where the slope vanishes.
LEAST = 0.05


class OneFactor:
    """A model with one grouping factor, for the search over the parameters of its structure."""

    def __init__(self, design: Design, reml: bool) -> None:
        self.reml = reml
        self.rows = WhitenedRows(prepare(design))

    def value(self, structure: Structure, near: Array | None) -> tuple[float, Array]:
        """The criterion for given phi and ratios, and theta (d,)."""
        cross = self.rows.cross(structure)
        rows, cross = reduce_products(cross, lambda c: within_of(c, *self.rows.split(structure)))
        if near is None:
            theta, at, _ = optimise(rows, self.reml)
        else:
            found = minimise(away(near, rows.q)[None], rows, self.reml)
            return float(found.value[0]) - cross.sum_log_weights, found.theta[0]
        return float(at.value[0]) - cross.sum_log_weights, theta


def away(theta: Array, q: int) -> Array:
    """A theta (d,) beside one on the boundary, from which every variance can grow."""
    factor = theta_to_factor(theta, q).copy()
    size = np.maximum(np.abs(np.diag(factor)), LEAST)
    factor[np.arange(q), np.arange(q)] = size
    return factor_to_theta(factor)


def level_ratios(structure: Structure, residuals: Array) -> Array | None:
    """SD ratios (levels,) to start from: those of a plain fit's residuals."""
    if structure.level_codes is None:
        return None
    count = np.bincount(structure.level_codes)
    sd = np.sqrt(np.bincount(structure.level_codes, residuals**2) / count)
    sd = np.maximum(sd, 1e-3 * sd.max())
    return np.asarray(np.clip(sd / sd[0], 1e-2, 1e2))


def fit_structured(design: Design, reml: bool, plain: Callable[[Design, bool], Any]) -> Any:
    """Search the structure's parameters, then fit the model at their values by `plain`."""
    structure = design.structure
    assert structure is not None
    simple = plain(replace(design, structure=None), reml)
    problem = OneFactor(design, reml)
    near, ratios = simple.theta_scaled, level_ratios(structure, simple.resid.to_numpy())
    for _ in range(3):
        found, value = search(problem, structure, ratios, near)
        fit = plain(replace(design, structure=found), reml)
        # the search goes from valley to valley of theta; the fit looks at all of them
        if float(fit.at.value[0]) - fit.cross.sum_log_weights > value - 1e-6:
            break
        near, ratios = fit.theta_scaled, found.ratios
    return fit

"""The fit of a model with several random terms whose residuals are correlated or of unequal
variance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure

from ..structure_search import search, search_near
from ..structured import LEAST, level_ratios
from ..whitening import whitening
from .criterion import evaluate, lambdas_of, theta_of
from .design import SeveralDesign, with_values
from .search import minimise
from .sums import Sums


class SeveralTerms:
    """A model with several random terms, for the search over the parameters of its structure."""

    def __init__(
        self, design: SeveralDesign, reml: bool, scale: Callable[[SeveralDesign], Any]
    ) -> None:
        self.design, self.reml, self.scale = design, reml, scale

    @property
    def nobs(self) -> int:
        """Rows."""
        return len(self.design.first.y)

    def value_at(self, structure: Structure, theta: Array) -> float:
        """The criterion for given phi, ratios and theta (d,)."""
        sums = self.scale(with_values(self.design, structure)).sums
        return float(evaluate(theta, sums, self.reml).value) + whitening(structure).log_det

    def value(self, structure: Structure, near: Array) -> tuple[float, Array]:
        """The criterion for given phi and ratios, and theta (d,)."""
        sums = self.scale(with_values(self.design, structure)).sums
        found = minimise(away(near, sums), sums, self.reml)
        return float(found.at.value) + whitening(structure).log_det, found.at.theta

    def sample(self) -> None:
        """No part of the rows: levels of crossed factors would lose their partners."""
        return None


def away(theta: Array, sums: Sums) -> Array:
    """A theta (d,) beside one on the boundary, from which every variance can grow."""
    lambdas = [L.copy() for L in lambdas_of(theta, sums)]
    for L in lambdas:
        k = np.arange(len(L))
        L[k, k] = np.maximum(np.abs(L[k, k]), LEAST)
    return theta_of(lambdas, sums)


def fit_structured(
    design: SeveralDesign,
    reml: bool,
    plain: Callable[[SeveralDesign, bool], Any],
    scale: Callable[[SeveralDesign], Any],
) -> Any:
    """Search the structure's parameters, then fit the model at their values by `plain`."""
    structure = design.first.structure
    assert structure is not None
    simple = plain(with_values(design, None), reml)
    problem = SeveralTerms(design, reml, scale)
    near, ratios = simple.at.theta, level_ratios(structure, simple.resid.to_numpy())
    for _ in range(3):
        found, value = search(problem, structure, ratios, near)
        fit = plain(with_values(design, found), reml)
        # the search goes from valley to valley of theta; the fit looks at all of them
        if float(fit.at.value) + whitening(found).log_det > value - 1e-6:
            break
        near, ratios = fit.at.theta, found.ratios
    return fit


def refit_near(
    design: SeveralDesign,
    reml: bool,
    fit: Any,
    plain: Callable[[SeveralDesign, bool], Any],
    scale: Callable[[SeveralDesign], Any],
) -> Any:
    """The model of an earlier fit for the response in `design`, searched from that fit's estimates;
    phi may end at its bound."""
    problem = SeveralTerms(design, reml, scale)
    found, _ = search_near(problem, fit.structure, fit.at.theta)
    return plain(with_values(design, found), reml)

"""The fit of a model with several random terms whose residuals are correlated or of unequal
variance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design, Structure

from ..structure_search import search, search_near
from ..structured import LEAST, level_ratios
from ..whitening import whitening
from .criterion import evaluate, lambdas_of, theta_of
from .design import SeveralDesign, with_values
from .search import minimise
from .sums import Sums, build_sums, parent_levels

#: Levels of the outermost factor of which the neighbourhood of the minimum is searched first, in
#: data of at least so many rows, and the seed that picks them.
SAMPLE_LEVELS, SAMPLE_ROWS, SAMPLE_SEED = 40, 20_000, 20000310


#: Scaled rows of each random term and of [X y], from a design.
Parts = Callable[[SeveralDesign], tuple[list[Array], Array, Any]]


class SeveralTerms:
    """A model with several random terms, for the search over the parameters of its structure."""

    def __init__(self, design: SeveralDesign, reml: bool, parts: Parts) -> None:
        structure = design.first.structure
        assert structure is not None
        self.design, self.reml, self.parts, self.structure = design, reml, parts, structure
        Z, R, _ = parts(with_values(design, None))
        stacked = [np.vstack([Z[k] for k in own]) for own in design.by_factor.values()]
        self.ends = np.cumsum([len(rows) for rows in stacked])
        order = structure.order
        self.rows = np.vstack([*stacked, R])[:, order]
        self.factors = [replace(f, codes=f.codes[order]) for f in design.factors.values()]

    @property
    def nobs(self) -> int:
        """Rows."""
        return len(self.design.first.y)

    def sums(self, structure: Structure) -> tuple[Sums, float]:
        """The products of these rows under a structure's values, and ``log |R|``."""
        found = whitening(self.structure.at(structure.phi, structure.ratios))
        *columns, R = np.split(found.apply(self.rows), self.ends)
        return build_sums(self.factors, columns, R), found.log_det

    def value_at(self, structure: Structure, theta: Array) -> float:
        """The criterion for given phi, ratios and theta (d,)."""
        sums, log_det = self.sums(structure)
        return float(evaluate(theta, sums, self.reml).value) + log_det

    def value(self, structure: Structure, near: Array) -> tuple[float, Array]:
        """The criterion for given phi and ratios, and theta (d,)."""
        sums, log_det = self.sums(structure)
        found = minimise(away(near, sums), sums, self.reml)
        return float(found.at.value) + log_det, found.at.theta

    def sample(self) -> SeveralTerms | None:
        """The same model for some levels of the outermost of nested factors, if it has many; levels
        of crossed factors would lose their partners."""
        factors = list(self.design.factors.values())
        outer = factors[-1]
        chain = all(parent_levels(a, b) is not None for a, b in pairwise(factors))
        if not chain or outer.levels < 4 * SAMPLE_LEVELS or self.nobs < SAMPLE_ROWS:
            return None
        rng = np.random.default_rng(SAMPLE_SEED)
        keep = np.isin(outer.codes, rng.choice(outer.levels, SAMPLE_LEVELS, replace=False))
        parts = tuple(rows_of(part, keep) for part in self.design.with_rows)
        return SeveralTerms(replace(self.design, parts=parts), self.reml, self.parts)


def rows_of(part: Design, keep: NDArray[np.bool_]) -> Design:
    """A design of some rows, its levels numbered anew."""
    n, (levels, codes) = int(keep.sum()), np.unique(part.codes[keep], return_inverse=True)

    def column(values: Array) -> Array:
        # the column of ones is known by its strides
        return np.broadcast_to(1.0, n) if values.strides == (0,) else values[keep]

    assert part.structure is not None
    return replace(
        part,
        x_columns=[column(values) for values in part.x_columns],
        z_columns=[column(values) for values in part.z_columns],
        y=part.y[keep],
        codes=np.asarray(codes, dtype=np.intp),
        group_labels=part.group_labels[levels],
        weights=None if part.weights is None else part.weights[keep],
        offset=None if part.offset is None else part.offset[keep],
        structure=part.structure.of_rows(keep),
    )


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
    parts: Parts,
) -> Any:
    """Search the structure's parameters, then fit the model at their values by `plain`."""
    structure = design.first.structure
    assert structure is not None
    simple = plain(with_values(design, None), reml)
    problem = SeveralTerms(design, reml, parts)
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
    parts: Parts,
) -> Any:
    """The model of an earlier fit for the response in `design`, searched from that fit's estimates;
    phi may end at its bound."""
    problem = SeveralTerms(design, reml, parts)
    found, _ = search_near(problem, fit.structure, fit.at.theta)
    return plain(with_values(design, found), reml)

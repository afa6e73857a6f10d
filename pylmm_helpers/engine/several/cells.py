"""Sums by cell in place of rows: what a database adds up for each combination of all factors'
levels comes in, the fit without rows goes out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Bar

from ..layout import Model
from ..products import Scaling
from .cell_part import CellPart
from .criterion import Point, evaluate, theta_of
from .design import SeveralDesign, check_levels, check_partitions, combined
from .fit import ALMOST_NOTHING, NO_RESIDUAL, no_residual
from .identified import check_identified
from .labels import labels_used_twice
from .results import SeveralResults
from .search import minimise, optimise, starts
from .sums import Sums, add_up


@dataclass(frozen=True)
class SeveralProducts:
    """Sufficient statistics of a model with several random terms, in scaled columns.

    What `cross_products` gives for a formula with bars, and `fit_lmm` takes in place of data.

    Attributes
    ----------
    design : SeveralDesign
        The model's words, and the levels of each cell.
    scalings : tuple of Scaling
        The way back to the units of the data, one for each random term.
    by_cell : ndarray (k, m, c)
        Products of the random terms' distinct columns with all m distinct columns (the response is
        the last), summed within each of the c cells.
    total : ndarray (m, m)
        Products of all distinct columns over all rows.
    z_index : tuple of tuple of int
        For each random term, where its columns stand among the distinct ones.
    x_index : tuple of int
        Where those of the fixed effects stand.
    z_place : dict of int
        Where a distinct column stands in the first axis of `by_cell`.
    y_largest : float
        Largest magnitude of the response, in the units of the data.
    """

    design: SeveralDesign
    scalings: tuple[Scaling, ...]
    by_cell: Array
    total: Array
    z_index: tuple[tuple[int, ...], ...]
    x_index: tuple[int, ...]
    z_place: Mapping[int, int]
    y_largest: float

    @property
    def nobs(self) -> int:
        """Rows."""
        return self.design.nrows

    @property
    def ncells(self) -> int:
        """Combinations of the factors' levels that occur."""
        return int(self.by_cell.shape[-1])

    @property
    def n_dropped(self) -> int:
        """Incomplete rows left out."""
        return self.design.first.dropped

    def __repr__(self) -> str:
        groups = " and ".join(self.design.by_factor)
        return (
            f"<SeveralProducts: {self.design.first.y_name} by {groups}, n = {self.nobs} in "
            f"{self.ncells} cells>"
        )

    def sums(self, design: SeveralDesign | None = None) -> Sums:
        """The products by level and pair of levels, as the engine takes them; for another grouping
        of the cells where one is given."""
        design = self.design if design is None else design
        r = [*self.x_index, self.by_cell.shape[1] - 1]
        Z = [[c for k in own for c in self.z_index[k]] for own in design.by_factor.values()]
        RR = self.total[np.ix_(r, r)]

        def product(z: int, column: int) -> Array:
            return self.by_cell[self.z_place[z], column]

        return add_up(list(design.factors.values()), Z, r, RR, self.nobs, product)


def cell_design(
    formula: str,
    bars: Sequence[Bar],
    models: Sequence[Model],
    coded: Mapping[str, tuple[NDArray[np.intp], pd.Index]],
    sizes: NDArray[np.int64],
    dropped: int,
    weights: tuple[float | None, float],
) -> SeveralDesign:
    """The design of a model whose rows are out of reach, with the checks on its factors.

    Parameters
    ----------
    formula : str
        As it was given.
    bars, models : sequence
        The random terms, and the words of each with the fixed part.
    coded : dict
        Code of each cell (c,) and labels of every grouping column.
    sizes : ndarray (c,)
        Rows of each cell.
    dropped : int
        Incomplete rows left out.
    weights : (float or None, float)
        Mean of the prior weights and sum of their logarithms.
    """
    levels: dict[frozenset[str], tuple[NDArray[np.intp], pd.Index]] = {}
    names: dict[frozenset[str], str] = {}
    parts, n = [], int(sizes.sum())
    for bar, model in zip(bars, models, strict=True):
        key = frozenset(bar.columns)
        if key not in levels:
            levels[key], names[key] = combined(bar, coded), bar.factor
        codes, labels = levels[key]
        check_levels(bar, len(labels), len(model.z_names), n)
        parts.append(
            CellPart(
                model.formula,
                bar.terms,
                model.y_name,
                model.x_names,
                model.z_names,
                names[key],
                labels,
                codes,
                sizes,
                n,
                dropped,
                *weights,
            )
        )
    design = SeveralDesign(formula, tuple(bars), tuple(parts))
    check_partitions(design)
    return design


def at_unit_variances(products: SeveralProducts) -> Point:
    """The likelihood where every relative covariance is the identity."""
    sums = products.sums()
    return evaluate(theta_of([np.eye(f.q) for f in sums.factors], sums), sums, False)


def almost_nothing(at: Point) -> bool:
    """Whether so little of the response is left that its products have lost half their digits."""
    return bool(at.r2 < ALMOST_NOTHING * float(np.sum(at.root[-1] ** 2)))


def fit_cells(products: SeveralProducts, reml: bool) -> SeveralResults:
    """The fit of sums by cell whose rows are out of reach."""
    sums, design = products.sums(), products.design
    # what is left of y may be nothing but the rounding of its values
    spread = products.scalings[0].y_scale * float(np.sqrt(sums.RR[-1, -1] / sums.n))
    if spread <= 8.0 * np.finfo(float).eps * products.y_largest:
        raise no_residual(design)
    check_identified(sums, design, reml)
    found = optimise(sums, reml)
    at = found.at
    # without a second pass, what is left at such a share is the products' rounding
    rounding = almost_nothing(at) and not np.any(products.scalings[0].offset)
    if rounding or not np.isfinite(at.value) or np.abs(at.theta).max() > NO_RESIDUAL:
        raise no_residual(design)
    fit = SeveralResults(design, sums, products.scalings, at, found.converged, reml)
    if np.any(products.scalings[0].offset):
        return fit  # as for rows in memory

    def nested(other: SeveralDesign) -> float:
        renamed = products.sums(other)
        return minimise(starts(renamed)[0], renamed, reml).at.value

    remarks = labels_used_twice(design, at.value, nested)
    for remark in remarks:
        warnings.warn(remark, UserWarning, stacklevel=3)
    return replace(fit, remarks=tuple(remarks))

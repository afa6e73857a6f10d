"""Centre and scale the columns of a design and form their products."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design, Structure

from .layout import Layout, assemble, check_counts, constant_of, lay_out
from .products import CrossProducts, GroupRows, Scaling
from .reduce import reduce_products
from .rows import column_products, matrix_products, what_is_left, within_products
from .whitening import Whitening, whitening


@dataclass(frozen=True)
class RowMoments:
    """What the layout has to know of a column (n,), each figure worked out when it is asked for."""

    column: Array

    @property
    def intercept(self) -> bool:
        """Whether it is the column of ones."""
        return self.column.strides == (0,)

    @cached_property
    def indicator(self) -> bool:
        """Whether all its values are 0 or 1."""
        c = self.column
        return c[0] in (0.0, 1.0) and bool(np.all((c == 0) | (c == 1)))

    @cached_property
    def mean(self) -> float:
        """Mean."""
        return float(self.column.mean())

    @cached_property
    def spread(self) -> float:
        """Standard deviation, with divisor n."""
        return float(self.column.std())

    @cached_property
    def rms(self) -> float:
        """Root of the mean square."""
        return float(np.sqrt(np.mean(self.column**2)))

    @cached_property
    def largest(self) -> float:
        """Largest magnitude."""
        return float(np.abs(self.column).max())


@dataclass(frozen=True)
class Prepared:
    """The columns of a design, checked, with what is to be taken from each and what it is divided
    by.

    Attributes
    ----------
    design : Design
    layout : Layout
    columns : list of ndarray (n,)
        Distinct columns, the response last.
    shifts, scales : ndarray
        One for each of `columns`.
    weights : ndarray (n,) or None
        Prior weights over their mean.
    mean_weight : float or None
    fit_scale : (float, ndarray (p,)) or None
        Unit of the response and offset, where an earlier fit was taken from it.
    y_largest : float
    """

    design: Design
    layout: Layout
    columns: list[Array]
    shifts: Array
    scales: Array
    weights: Array | None
    mean_weight: float | None
    fit_scale: tuple[float, Array] | None
    y_largest: float

    def assembled(self, total: Array, by_group: Array, log_det: float = 0.0) -> CrossProducts:
        """Sufficient statistics from the products; `log_det` is that of the residuals' R."""
        design, weights = self.design, self.design.weights
        sum_log = 0.0 if weights is None else float(np.log(weights).sum())
        return assemble(
            design, self.layout, total, by_group,
            np.bincount(design.codes, minlength=len(design.group_labels)), design.group_labels,
            fitted=self.fit_scale,
            sum_log_weights=sum_log - log_det,
            mean_weight=self.mean_weight,
            y_largest=self.y_largest,
            n_dropped=design.dropped,
        )  # fmt: skip


def prepare(design: Design, fitted: tuple[Scaling, Array] | None = None) -> Prepared:
    """Checks and scales of a design's columns; see `cross_products`."""
    check_counts(len(design.y), len(design.group_labels), design)
    x_moments = [RowMoments(column) for column in design.x_columns]
    z_moments = [RowMoments(column) for column in design.z_columns]
    y_moments = RowMoments(design.target)
    layout = lay_out(
        design, x_moments, z_moments, y_moments,
        constant_of(x_moments, lambda k: add_up(design.x_columns, k)),
        constant_of(z_moments, lambda k: add_up(design.z_columns, k)),
    )  # fmt: skip
    parts = {"x": design.x_columns, "z": design.z_columns}
    columns = [parts[part][position] for part, position in layout.columns]
    y, y_shift, y_spread = design.target, layout.y_shift, layout.y_scale
    weights, mean_weight = design.weights, None
    if weights is not None:
        mean_weight = float(weights.mean())
        weights = weights / mean_weight
    fit_scale = None
    if fitted is not None:
        y, y_scale, offset = what_is_left(design, *fitted)
        # the scaled fixed effects hold the root of the mean weight, which `assemble` puts in itself
        fit_scale = (y_scale, offset / np.sqrt(mean_weight or 1.0))
        y_shift, y_spread = 0.0, 1.0
    return Prepared(
        design, layout, [*columns, y], np.array([*layout.shifts, y_shift]),
        np.array([*layout.scales, y_spread]), weights, mean_weight, fit_scale, y_moments.largest,
    )  # fmt: skip


def cross_products(design: Design, fitted: tuple[Scaling, Array] | None = None) -> CrossProducts:
    """The sufficient statistics of a design, after all checks on its columns.

    With the scaling and the scaled fixed effects of an earlier fit, the response is what that fit
    leaves of it. A design whose residuals are correlated or of unequal variance gives the products
    of whitened rows.

    Raises
    ------
    ValueError
        Too few groups or rows for the random effects; a constant, empty or collinear column; a
        constant response, or one that the predictors or the groups fix exactly.
    """
    ready = prepare(design, fitted)
    if design.structure is not None:
        return WhitenedRows(ready).cross(design.structure)
    total, by_group = column_products(
        ready.columns, ready.shifts, ready.scales, ready.layout.z_index, design.codes,
        len(design.group_labels), ready.weights,
    )  # fmt: skip
    return ready.assembled(total, by_group)


class WhitenedRows:
    """The scaled rows of a design in the order of its structure, ready to be whitened."""

    def __init__(self, ready: Prepared) -> None:
        structure = ready.design.structure
        assert structure is not None
        self.ready, self.structure, order = ready, structure, structure.order
        self.rows = np.empty((len(ready.columns), len(order)))
        for k, column in enumerate(ready.columns):
            np.subtract(column[order], ready.shifts[k], out=self.rows[k])
            self.rows[k] /= ready.scales[k]
        if ready.weights is not None:
            self.rows *= np.sqrt(ready.weights[order])
        self.codes = ready.design.codes[order]
        self.ngroups = len(ready.design.group_labels)

    def split(self, structure: Structure) -> tuple[NDArray[np.intp], Array, Array]:
        """Group of each row, whitened Z (n, q) and ``[X y]`` (n, p + 1), in the structure's
        order."""
        white, layout = self.whitening(structure).apply(self.rows), self.ready.layout
        return self.codes, white[layout.z_index].T, white[[*layout.x_index, -1]].T.copy()

    def whitening(self, structure: Structure) -> Whitening:
        """The whitening of these rows by a structure's values."""
        return whitening(self.structure.at(structure.phi, structure.ratios))

    def products(self, structure: Structure) -> tuple[Array, Array, float]:
        """Products (m, m) and (q, m, G) of whitened rows, and ``log |R|``."""
        found = self.whitening(structure)
        z_index = self.ready.layout.z_index
        white = found.apply(self.rows)
        return *matrix_products(white, z_index, self.codes, self.ngroups), found.log_det

    def cross(self, structure: Structure) -> CrossProducts:
        """The sufficient statistics under a structure's values."""
        return self.ready.assembled(*self.products(structure))

    def part(self, keep: NDArray[np.bool_], number: NDArray[np.intp], ngroups: int) -> WhitenedRows:
        """The rows of some whole groups: `keep` (n,) in the structure's order, `number` the new
        number of each group."""
        there = copy(self)
        there.structure = self.structure.part(keep)
        there.rows, there.codes = self.rows[:, keep], number[self.codes[keep]]
        there.ngroups = ngroups
        return there


def add_up(columns: list[Array], chosen: list[int]) -> bool:
    """Whether the chosen columns add up to one in every row."""
    return bool(np.all(sum(columns[k] for k in chosen) == 1))


def reduce_rows(cross: CrossProducts, design: Design) -> tuple[GroupRows, CrossProducts]:
    """Pseudo-rows of the groups; the rows are read once more where digits would be lost."""
    return reduce_products(cross, lambda products: within_products(products, design))

"""Centre and scale the columns of a design and form their products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design

from .layout import assemble, check_counts, constant_of, lay_out
from .products import CrossProducts, GroupRows, Scaling
from .reduce import reduce_products
from .rows import column_products, what_is_left, within_products


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


def cross_products(design: Design, fitted: tuple[Scaling, Array] | None = None) -> CrossProducts:
    """The sufficient statistics of a design, after all checks on its columns.

    With the scaling and the scaled fixed effects of an earlier fit, the response is what that fit
    leaves of it.

    Raises
    ------
    ValueError
        Too few groups or rows for the random effects; a constant, empty or collinear column; a
        constant response, or one that the predictors or the groups fix exactly.
    """
    ngroups = len(design.group_labels)
    check_counts(len(design.y), ngroups, design)
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
    total, by_group = column_products(
        [*columns, y], np.array([*layout.shifts, y_shift]), np.array([*layout.scales, y_spread]),
        layout.z_index, design.codes, ngroups, weights,
    )  # fmt: skip
    return assemble(
        design, layout, total, by_group, np.bincount(design.codes, minlength=ngroups),
        design.group_labels,
        fitted=fit_scale,
        sum_log_weights=0.0 if design.weights is None else float(np.log(design.weights).sum()),
        mean_weight=mean_weight,
        y_largest=y_moments.largest,
        n_dropped=design.dropped,
    )  # fmt: skip


def add_up(columns: list[Array], chosen: list[int]) -> bool:
    """Whether the chosen columns add up to one in every row."""
    return bool(np.all(sum(columns[k] for k in chosen) == 1))


def reduce_rows(cross: CrossProducts, design: Design) -> tuple[GroupRows, CrossProducts]:
    """Pseudo-rows of the groups; the rows are read once more where digits would be lost."""
    return reduce_products(cross, lambda products: within_products(products, design))

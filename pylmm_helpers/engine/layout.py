"""How the columns of a model are centred and scaled, and which are refused: by their moments, which
come from rows in memory or from a query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from .products import CrossProducts, Scaling

#: A spread below this share of the size of the values is rounding, not variation.
CONSTANT = 1e-12
#: Share of a column that the others leave unexplained, below which it counts as their combination.
COLLINEAR = 1e-10


class Moments(Protocol):
    """A column's figures: ``intercept`` for the column of ones, ``indicator`` for zeros and ones,
    ``spread`` for the standard deviation, ``rms`` for the root of the mean square, ``largest`` for
    the largest magnitude."""

    @property
    def intercept(self) -> bool: ...
    @property
    def indicator(self) -> bool: ...
    @property
    def mean(self) -> float: ...
    @property
    def spread(self) -> float: ...
    @property
    def rms(self) -> float: ...
    @property
    def largest(self) -> float: ...


class Model(Protocol):
    """The words of a model: its formulas and the names of its parts."""

    @property
    def formula(self) -> str: ...
    @property
    def re_formula(self) -> str: ...
    @property
    def y_name(self) -> str: ...
    @property
    def x_names(self) -> tuple[str, ...]: ...
    @property
    def z_names(self) -> tuple[str, ...]: ...
    @property
    def group_name(self) -> str: ...


@dataclass(frozen=True)
class Layout:
    """The distinct columns to multiply, the response last.

    Attributes
    ----------
    columns : list of (part, position)
        Column ``position`` of part "x" or "z"; it enters as ``(column - shift) / scale``.
    shifts, scales : list of float
        One for each of `columns`.
    x_index, z_index : list of int
        Where the columns of X and Z stand in `columns`.
    ones_x, ones_z : ndarray or None
        Weights with which the columns of X (of Z) add up to one, where they do.
    y_shift, y_scale : float
    """

    columns: list[tuple[str, int]]
    shifts: list[float]
    scales: list[float]
    x_index: list[int]
    z_index: list[int]
    ones_x: Array | None
    ones_z: Array | None
    y_shift: float
    y_scale: float


def lay_out(
    model: Model,
    x: Sequence[Moments],
    z: Sequence[Moments],
    y: Moments,
    ones_x: Array | None,
    ones_z: Array | None,
) -> Layout:
    """Shift and scale of every distinct column; refuses columns without variation."""
    columns: list[tuple[str, int]] = []
    shifts: list[float] = []
    scales: list[float] = []
    known: dict[tuple[str, bool], int] = {}

    def register(part: str, name: str, column: Moments, ones: Array | None, position: int) -> int:
        centred = ones is not None and not ones[position]
        if (name, centred) not in known:
            shift, scale = location_and_scale(name, column, centred)
            known[name, centred] = len(columns)
            columns.append((part, position))
            shifts.append(shift)
            scales.append(scale)
        return known[name, centred]

    z_index = [
        register("z", name, column, ones_z, k)
        for k, (name, column) in enumerate(zip(model.z_names, z, strict=True))
    ]
    x_index = [
        register("x", name, column, ones_x, k)
        for k, (name, column) in enumerate(zip(model.x_names, x, strict=True))
    ]
    y_shift, y_scale = response_scale(model.y_name, y, centred=ones_x is not None)
    return Layout(columns, shifts, scales, x_index, z_index, ones_x, ones_z, y_shift, y_scale)


def assemble(
    model: Model,
    layout: Layout,
    total: Array,
    by_group: Array,
    sizes: NDArray[np.int64],
    group_labels: pd.Index,
    *,
    fitted: tuple[float, Array] | None,
    sum_log_weights: float,
    mean_weight: float | None,
    y_largest: float,
    n_dropped: int,
) -> CrossProducts:
    """Sufficient statistics from the products of a layout's columns over all rows (m + 1, m + 1)
    and, for the columns of Z, within groups (q, m + 1, G), under weights of mean one; refuses
    collinear columns.

    With the unit of the response and the offset (p,) of an earlier fit, the response is what that
    fit leaves.
    """
    x_index, z_index, r_index = layout.x_index, layout.z_index, [*layout.x_index, len(total) - 1]
    shifts, scales = np.array(layout.shifts), np.array(layout.scales)
    ones = np.zeros(len(x_index)) if layout.ones_x is None else layout.ones_x
    y_scale, offset = fitted if fitted is not None else (layout.y_scale, np.zeros(len(x_index)))
    root = 1.0 if mean_weight is None else float(np.sqrt(mean_weight))
    scaling = Scaling(
        affine_map(layout.ones_x, shifts[x_index], scales[x_index] * root),
        affine_map(layout.ones_z, shifts[z_index], scales[z_index] * root),
        ones, layout.y_shift, y_scale * root, offset, shifts[x_index], shifts[z_index],
    )  # fmt: skip
    # a column with a large mean carries rounding errors that can pass for information
    noise = (8.0 * np.finfo(float).eps * shifts / scales) ** 2
    for index, labels, what, where in (
        (x_index, model.x_names, "predictor", "from the formula"),
        (z_index, model.z_names, "random-effect term", "from re_formula"),
    ):
        least = max(COLLINEAR, float(noise[index].max()))
        check_collinear(total[np.ix_(index, index)], labels, what, where, least)
    return CrossProducts(
        by_group[:, z_index], by_group[:, r_index], total[np.ix_(r_index, r_index)], sizes,
        scaling, model.x_names, model.z_names, model.y_name, model.group_name, group_labels,
        sum_log_weights, mean_weight,
        formula=model.formula, re_formula=model.re_formula,
        y_largest=y_largest * root, n_dropped=n_dropped,
    )  # fmt: skip


def check_counts(n: int, ngroups: int, model: Model) -> None:
    """Refuse data too small for the model, with lme4's rules for what can't be told apart."""
    p, q = len(model.x_names), len(model.z_names)
    parameters = q * (q + 1) // 2
    if ngroups < parameters:
        raise ValueError(
            f"{ngroups} groups in column '{model.group_name}' can't carry the {parameters} "
            f"variance parameters of re_formula {model.re_formula!r}; use fewer random terms."
        )
    if n <= ngroups * q:
        raise ValueError(
            f"{n} rows for {ngroups * q} random effects ({ngroups} groups in column "
            f"'{model.group_name}', {q} each): the random effects can't be told from the "
            "residuals. Use fewer random terms, ordinary regression if there is one row a group, "
            "or check that groups= names the right column."
        )
    if n <= p:
        raise ValueError(
            f"{n} rows can't carry the {p} fixed effects of {model.formula!r}; use fewer "
            "predictors."
        )


def constant_of(moments: Sequence[Moments], add_up: Callable[[list[int]], bool]) -> Array | None:
    """Weights (m,) with which the columns add up to one: the intercept, or a full set of 0/1
    columns; else None. `add_up` says whether the columns at some positions add up to one."""
    for position, column in enumerate(moments):
        if column.intercept:
            return np.eye(len(moments))[position]
    indicators = [k for k, column in enumerate(moments) if column.indicator]
    if indicators and add_up(indicators):
        weights = np.zeros(len(moments))
        weights[indicators] = 1.0
        return weights
    return None


def location_and_scale(name: str, column: Moments, centred: bool) -> tuple[float, float]:
    """What to subtract from a column and what to divide it by; refuses columns without
    variation."""
    if column.intercept:
        return 0.0, 1.0
    if centred:
        if column.spread <= CONSTANT * column.largest:
            raise ValueError(
                f"predictor '{name}' is constant ({column.mean:.6g} in every row), like the "
                "intercept; drop it from the formula."
            )
        return column.mean, column.spread
    if column.rms == 0.0:
        raise ValueError(
            f"term '{name}' is zero in every row; drop it, or remove the unused category."
        )
    return 0.0, column.rms


def response_scale(name: str, y: Moments, centred: bool) -> tuple[float, float]:
    """Shift and scale of the response; refuses a constant one."""
    if y.spread <= CONSTANT * y.largest:
        raise ValueError(
            f"response '{name}' is constant ({y.mean:.6g} in every row): there is no "
            "variance to explain. Check the column and its unit."
        )
    return (y.mean, y.spread) if centred else (0.0, y.rms)


def affine_map(ones: Array | None, shifts: Array, scales: Array) -> Array:
    """Matrix M with ``scaled columns = columns @ M``."""
    matrix = np.diag(1.0 / scales)
    if ones is not None:
        matrix -= np.outer(ones, shifts / scales)
    return matrix


def collinear_remedy(name: str, others: list[str], where: str) -> str:
    """What to do about a column that others make up: a column of a basis can't be dropped."""
    term = name.rpartition(")[")[0]
    if term.startswith(("cr(", "cc(", "cs(", "bs(")) and any(o.startswith(term) for o in others):
        fixed = f"{term}, constraints='center')"
        centred = "" if term.startswith("bs(") else f"write {fixed}, or "
        return (
            f"the columns of {term}) and the others hold the same constant: {centred}leave the "
            "intercept out (0 + ...), or the term."
        )
    return f"drop one of them {where}, or centre predictors with a large mean."


def check_collinear(
    products: Array, names: tuple[str, ...], what: str, where: str, least: float
) -> None:
    """Refuse columns of which the columns before them leave less than the share `least`, by
    name."""
    root = np.sqrt(np.diag(products))
    correlation = products / np.outer(root, root)
    basis: list[int] = []
    for k in range(len(names)):
        if basis:
            weights = np.linalg.solve(correlation[np.ix_(basis, basis)], correlation[basis, k])
            left = 1.0 - weights @ correlation[basis, k]
            if left < least:
                others = [names[b] for b, w in zip(basis, weights, strict=True) if abs(w) > 1e-6]
                raise ValueError(
                    f"{what} '{names[k]}' is a linear combination of "
                    f"{', '.join(repr(o) for o in others[:6])} (collinear to ten digits); "
                    f"{collinear_remedy(names[k], others, where)}"
                )
        basis.append(k)

"""Sums for several random terms: one ``GROUP BY`` of all grouping columns together.

Every level of every factor is made up of whole cells, the combinations of all grouping columns that
occur. What the engine needs, products by level and by pair of levels, are sums of the cells' sums;
the memory for them is set by the number of cells and not by that of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.engine import (
    Layout,
    SeveralProducts,
    almost_nothing,
    assemble,
    at_unit_variances,
    cell_design,
    constant_of,
    lay_out,
)
from pylmm_helpers.formula import Bar, check_double, model_matrix

from .arithmetic import number
from .moments import FirstPass, adds_up, first_pass, is_constant
from .queries import ScaledTable, check_unchanged, codes_of, scaled
from .source import Source
from .terms import Terms

#: Rows of the made-up data on which the columns of double bars are looked at.
SKETCH_ROWS = 200


@dataclass(frozen=True)
class Places:
    """Where the columns of all terms stand among the distinct ones.

    Attributes
    ----------
    columns : list of expressions
        Distinct scaled columns, the response last; None is the constant.
    layouts : list of Layout
        One for each random term.
    own : list of list of int
        Where the columns of each layout stand, the response last.
    """

    columns: list[Any]
    layouts: list[Layout]
    own: list[list[int]]

    @property
    def z_index(self) -> tuple[tuple[int, ...], ...]:
        """For each random term, where its columns stand."""
        return tuple(
            tuple(own[k] for k in layout.z_index)
            for layout, own in zip(self.layouts, self.own, strict=True)
        )

    @property
    def x_index(self) -> list[int]:
        """Where the columns of the fixed effects stand."""
        return [self.own[0][k] for k in self.layouts[0].x_index]


def collect_several(
    source: Source,
    table: Any,
    used: list[str],
    formula: str,
    bars: Sequence[Bar],
    terms: list[Terms],
    weights: str | None,
    missing: str,
) -> SeveralProducts:
    """Ask for moments, then for products by cell of the rows that are kept, and check both."""
    first = first_pass(source, source.table, used, weights, terms, missing)
    places = place_columns(source, table, terms, first)
    weight = None
    if weights is not None and first.mean_weight is not None:
        weight = table[weights].cast("float64") / number(first.mean_weight)
    groups = list(dict.fromkeys(name for bar in bars for name in bar.columns))
    z_index = sorted({place for own in places.z_index for place in own})
    rows = ScaledTable(
        source, table, places.columns, z_index, places.x_index,
        [table[name] for name in groups], weight,
    )  # fmt: skip

    def summed(rows: ScaledTable, fitted: tuple[float, Array] | None) -> SeveralProducts:
        return by_cell(rows, groups, places, formula, bars, terms, first, fitted)

    products = summed(rows, None)
    at = at_unit_variances(products)
    if not (np.isfinite(at.value) and almost_nothing(at)):
        return products
    # the digits of the residual are lost beside those of y: products of what a fit leaves of it
    p = len(places.x_index)
    beta = np.asarray(np.linalg.solve(at.root[:p, :p].T, at.root[p, :p]), dtype=float)
    rows, beta, spread = rows.less_fit(beta, float(np.sqrt(at.r2 / first.complete)))
    return summed(rows, (places.layouts[0].y_scale * spread, beta / spread))


def place_columns(source: Source, table: Any, terms: list[Terms], first: FirstPass) -> Places:
    """Centre and scale the columns of every term, and find those that several terms share."""
    p, y = len(terms[0].x), first.moments[0]
    x_moments, rest = first.moments[1 : p + 1], first.moments[p + 1 :]
    ones_x = constant_of(x_moments, lambda k: adds_up(source, table, terms[0].x, k))
    known: dict[tuple[str, float, float], int] = {}
    columns: list[Any] = []
    layouts, own = [], []
    for part in terms:
        z_moments, rest = rest[: len(part.z)], rest[len(part.z) :]
        ones_z = constant_of(z_moments, partial(adds_up, source, table, part.z))
        layout = lay_out(part, x_moments, z_moments, y, ones_x, ones_z)
        here = []
        for (side, position), shift, scale in zip(
            layout.columns, layout.shifts, layout.scales, strict=True
        ):
            name = (part.x_names if side == "x" else part.z_names)[position]
            if (name, shift, scale) not in known:
                known[name, shift, scale] = len(columns)
                column = (part.x if side == "x" else part.z)[position]
                columns.append(None if is_constant(column) else scaled(column, shift, scale))
            here.append(known[name, shift, scale])
        layouts.append(layout)
        own.append(here)
    response = scaled(terms[0].y, layouts[0].y_shift, layouts[0].y_scale)
    return Places([*columns, response], layouts, [[*here, len(columns)] for here in own])


def by_cell(
    rows: ScaledTable,
    groups: list[str],
    places: Places,
    formula: str,
    bars: Sequence[Bar],
    terms: list[Terms],
    first: FirstPass,
    fitted: tuple[float, Array] | None,
) -> SeveralProducts:
    """The products with the cells in the order of their labels."""
    found = rows.products()
    check_unchanged(first.complete, int(found.sizes.sum()))
    coded: dict[str, tuple[NDArray[np.intp], pd.Index]] = {
        name: codes_of(found.labels[f"label{k}"], rows.source, name)
        for k, name in enumerate(groups)
    }
    # the order in which a database gives its groups changes from run to run
    order = np.lexsort([codes for codes, _ in reversed(list(coded.values()))])
    coded = {name: (codes[order], labels) for name, (codes, labels) in coded.items()}
    sizes, p = found.sizes[order], len(places.x_index)
    design = cell_design(
        formula, bars, terms, coded, sizes, first.rows - first.complete,
        (first.mean_weight, first.sum_log_weights),
    )  # fmt: skip
    if first.complete <= p:
        raise ValueError(
            f"{first.complete} rows can't carry the {p} fixed effects of {terms[0].formula!r}; "
            "use fewer predictors."
        )
    scalings = []
    for part, layout, own, labels in zip(
        terms, places.layouts, places.own, design.parts, strict=True
    ):
        total = found.total[np.ix_(own, own)]
        cross = assemble(
            part, layout, total, np.zeros((len(part.z), len(total), 0)),
            np.zeros(0, dtype=np.int64), labels.group_labels,
            fitted=fitted, sum_log_weights=0.0, mean_weight=first.mean_weight, y_largest=0.0,
            n_dropped=0,
        )  # fmt: skip
        scalings.append(cross.scaling)
    root = 1.0 if first.mean_weight is None else float(np.sqrt(first.mean_weight))
    return SeveralProducts(
        design, tuple(scalings), found.by_group[..., order], found.total, places.z_index,
        tuple(places.x_index), {place: k for k, place in enumerate(rows.z_index)},
        first.moments[0].largest * root,
    )  # fmt: skip


def check_double_bars(
    bars: Sequence[Bar],
    random: Sequence[Any],
    tiny: pd.DataFrame,
    coded: Sequence[str],
    tools: Mapping[str, Any],
) -> None:
    """Refuse true and false under a double bar, and effects there whose columns overlap.

    Whether columns overlap is a matter of the terms and not of the rows, so made-up rows do in
    which every category occurs and nothing else is by design.
    """
    if not any(bar.double for bar in bars):
        return
    rng = np.random.default_rng(0)
    n = SKETCH_ROWS + 20 * len(tiny)
    frame = tiny.iloc[np.concatenate([np.arange(len(tiny)), np.zeros(n, dtype=int)])]
    frame = frame.reset_index(drop=True)
    for name in frame.columns:
        if name not in coded and not pd.api.types.is_bool_dtype(tiny[name]):
            frame[name] = 1.0 + rng.random(len(frame))
        else:
            other = tiny[name].iloc[rng.integers(0, len(tiny), n)]
            frame[name] = pd.concat([tiny[name], other], ignore_index=True)
    sketches = []
    for terms in random:
        matrix = model_matrix(terms, frame, tools)
        names = tuple(matrix.model_spec.column_names)
        Z = np.asarray(matrix, dtype=float)
        sketches.append(SimpleNamespace(terms={"random": terms}, frame=frame, Z=Z, z_names=names))
    check_double(bars, sketches)

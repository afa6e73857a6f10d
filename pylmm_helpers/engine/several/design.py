"""From a formula with several random terms and a data frame to the columns of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.formula import (
    PARTS,
    Bar,
    Design,
    Structure,
    StructureRequest,
    as_frame,
    check_any,
    check_cells,
    check_choices,
    check_names,
    check_offset,
    group_codes,
    handle_missing,
    materialise,
    names_in,
    numbers_as_text,
    parse,
    parse_random,
    plain_values,
    read_structure,
    read_weights,
    require_column,
    take_apart,
)

from .cell_part import NO_ROWS, CellPart
from .sums import Factor, parent_levels


@dataclass(frozen=True)
class SeveralDesign:
    """The model's columns, row by row.

    Attributes
    ----------
    formula : str
        As it was given.
    bars : tuple of Bar
        The random terms, in the order of the formula.
    parts : tuple of Design or CellPart
        One for each random term; they share the fixed part and the rows.
    """

    formula: str
    bars: tuple[Bar, ...]
    parts: tuple[Design | CellPart, ...]

    @property
    def first(self) -> Design | CellPart:
        """A design with the fixed part and the rows."""
        return self.parts[0]

    @property
    def with_rows(self) -> tuple[Design, ...]:
        """The parts as designs with rows; refused without them."""
        if not self.has_rows:
            raise ValueError(NO_ROWS)
        return cast("tuple[Design, ...]", self.parts)

    @property
    def has_rows(self) -> bool:
        """Whether the rows are at hand, not only their sums by cell."""
        return isinstance(self.first, Design)

    @property
    def nrows(self) -> int:
        """Rows."""
        return self.first.n if isinstance(self.first, CellPart) else len(self.first.codes)

    @property
    def sizes(self) -> NDArray[np.int64] | None:
        """Rows behind each of the codes; None where every code is a row."""
        return self.first.sizes if isinstance(self.first, CellPart) else None

    @property
    def mean_weight(self) -> float | None:
        """Mean of the prior weights; None without."""
        if isinstance(self.first, CellPart):
            return self.first.mean_weight
        return None if self.first.weights is None else float(self.first.weights.mean())

    @property
    def sum_log_weights(self) -> float:
        """Sum of the logarithms of the prior weights; 0 without."""
        if isinstance(self.first, CellPart):
            return self.first.sum_log_weights
        return 0.0 if self.first.weights is None else float(np.log(self.first.weights).sum())

    @cached_property
    def by_factor(self) -> dict[str, tuple[int, ...]]:
        """Positions of each factor's terms in the formula; factors with most levels first."""
        found: dict[str, list[int]] = {}
        for position in self.order:
            found.setdefault(self.parts[position].group_name, []).append(position)
        return {name: tuple(sorted(positions)) for name, positions in found.items()}

    @cached_property
    def order(self) -> list[int]:
        """Positions of the terms in the order in which lme4 puts their parameters: as they stand,
        or, where a later one has more levels, by falling number of levels with ties reversed."""
        levels = np.array([len(part.group_labels) for part in self.parts])
        if np.any(np.diff(levels) > 0):
            return [int(k) for k in np.argsort(levels, kind="stable")[::-1]]
        return list(range(len(levels)))

    @cached_property
    def factors(self) -> dict[str, Factor]:
        """The grouping factors with the widths of their terms."""
        return {
            name: Factor(
                name,
                self.parts[own[0]].codes,
                len(self.parts[own[0]].group_labels),
                tuple(len(self.parts[k].z_names) for k in own),
            )
            for name, own in self.by_factor.items()
        }


def build(
    formula: str,
    data: Any,
    weights: Any,
    missing: str,
    context: Mapping[str, Any] | None,
    request: StructureRequest | None = None,
) -> SeveralDesign:
    """Check the input and lay out the columns; see `pylmm_helpers.fit_lmm`."""
    text, bars = take_apart(formula)
    frame = as_frame(data)
    fixed = parse(text)
    random = [parse_random(bar.terms) for bar in bars]
    group_columns = list(dict.fromkeys(name for bar in bars for name in bar.columns))
    check_choices(group_columns[0], missing, frame)
    check_any(len(frame))
    every = [*fixed.lhs, *fixed.rhs, *fixed.offset, *(term for terms in random for term in terms)]
    used, tools, as_categories, _ = names_in(every, frame, context)
    needed = [*used, *group_columns, *([] if request is None else request.columns)]
    for name in needed:
        require_column(frame, name)
    weight_values = read_weights(weights, frame)
    frame, weight_values, dropped = handle_missing(frame, needed, weight_values, missing)
    numbers_as_text([name for name in used if name not in as_categories], frame)
    values, n = {name: plain_values(frame[name], name) for name in used}, len(frame)
    y_columns, y_names, _ = materialise(fixed.lhs, values, tools, n)
    x_columns, x_names, x_recipe = materialise(fixed.rhs, values, tools, n)
    known, _, known_recipe = materialise(fixed.offset, values, tools, n)
    check_offset(fixed, known)
    check_cells(fixed.rhs, values, tools)
    shared = dict(zip(x_names, x_columns, strict=True))
    frame = frame.copy(deep=False)  # a column that the caller replaces later is not the fit's
    coded = {name: group_codes(frame[name], name) for name in group_columns}
    levels: dict[frozenset[str], tuple[NDArray[np.intp], pd.Index]] = {}
    names: dict[frozenset[str], str] = {}
    parts = []
    for bar, terms in zip(bars, random, strict=True):
        key = frozenset(bar.columns)
        if key not in levels:
            levels[key], names[key] = combined(bar, coded), bar.factor
        codes, labels = levels[key]
        z_columns, z_names, z_recipe = materialise(terms, values, tools, n)
        z_columns = [shared.get(n, c) for n, c in zip(z_names, z_columns, strict=True)]
        if not z_names:
            raise ValueError(f"the random term {bar} has no effect; leave it out.")
        check_names(text, y_names, x_names, z_names)
        check_cells(terms, values, tools)
        check_levels(bar, len(labels), len(z_names), len(codes))
        part = Design(
            text, bar.terms, y_names[0], tuple(x_names), tuple(z_names), names[key],
            x_columns, z_columns, y_columns[0], codes, labels, weight_values, frame, dropped, tools,
            sum(known[1:], known[0]) if known else None,
            dict(zip(PARTS, (x_recipe, z_recipe, known_recipe), strict=True)),
        )  # fmt: skip
        parts.append(part)
    design = SeveralDesign(formula, tuple(bars), tuple(parts))
    check_partitions(design)
    return design if request is None else with_structure(design, request)


def with_structure(design: SeveralDesign, request: StructureRequest) -> SeveralDesign:
    """The design with what its rows say about a structure of the residuals, within the levels of
    the finest factor."""
    finest, *others = design.factors.values()
    crossed = [f.name for f in others if parent_levels(finest, f) is None]
    if crossed and request.kind is not None:
        raise ValueError(
            f"{request.words} needs a finest grouping factor, within whose levels the residuals "
            f"are correlated, but '{finest.name}' crosses '{crossed[0]}'. Leave one of the terms "
            "out, or nest one factor in the other."
        )
    frame = design.first.frame
    structure = read_structure(request, frame, finest.codes, finest.name)
    return with_values(design, structure)


def with_values(design: SeveralDesign, structure: Structure | None) -> SeveralDesign:
    """The design with another structure, or with values of its parameters."""
    parts = tuple(replace(part, structure=structure) for part in design.with_rows)
    return replace(design, parts=parts)


def combined(
    bar: Bar, coded: Mapping[str, tuple[NDArray[np.intp], pd.Index]]
) -> tuple[NDArray[np.intp], pd.Index]:
    """Level number of each row and the labels of the levels, for a factor that combines columns."""
    codes, labels = coded[bar.columns[0]]
    if len(bar.columns) == 1:
        return codes, labels
    each = [codes]
    for name in bar.columns[1:]:
        other, more = coded[name]
        each.append(other)
        codes = packed(codes * len(more) + other)
    first = np.zeros(int(codes.max()) + 1, dtype=np.intp)
    first[codes] = np.arange(len(codes))
    levels: list[Any] = [coded[name][1] for name in bar.columns]
    numbers: list[Any] = [own[first] for own in each]
    index = pd.MultiIndex(levels=levels, codes=numbers, names=list(bar.columns))
    return codes, index


def packed(keys: NDArray[np.intp]) -> NDArray[np.intp]:
    """The keys numbered 0, 1, ... in their order, without gaps."""
    largest = int(keys.max())
    if largest > 8 * len(keys) + 1000:
        return np.asarray(np.unique(keys, return_inverse=True)[1], dtype=np.intp)
    present = np.zeros(largest + 1, dtype=bool)
    present[keys] = True
    return np.asarray((np.cumsum(present) - 1)[keys], dtype=np.intp)


def check_levels(bar: Bar, levels: int, q: int, n: int) -> None:
    """Refuse a term with as many random effects as rows, or with too few levels."""
    if levels < 2:
        raise ValueError(
            f"the factor '{bar.factor}' of {bar} has a single level; a variance between its levels "
            "needs at least two. Leave the term out."
        )
    if levels * q >= n:
        what = f"{levels} levels" if q == 1 else f"{levels} levels and {q} effects for each"
        raise ValueError(
            f"the factor '{bar.factor}' of {bar} has {what}, but there are {n} rows: its effects "
            "can't be told from the residuals. Leave the term out, or give it fewer effects."
        )
    if levels < q * (q + 1) // 2:
        raise ValueError(
            f"the {levels} levels of '{bar.factor}' can't carry the {q * (q + 1) // 2} variance "
            f"parameters of {bar}; use fewer random effects, or (... || {bar.factor})."
        )


def check_partitions(design: SeveralDesign) -> None:
    """Refuse two factors that group the rows in the same way."""
    place = {name: own[0] for name, own in design.by_factor.items()}
    for a, b in combinations(design.factors.values(), 2):
        if a.levels == b.levels and parent_levels(a, b) is not None:
            # the combination goes, or the later of the two
            outer, inner = sorted((a, b), key=lambda f: (f.name.count(":"), place[f.name]))
            raise ValueError(
                f"the factors '{outer.name}' and '{inner.name}' group the rows in the same way, so "
                f"their variances can't be told apart; leave the term of '{inner.name}' out."
            )


def with_response(design: SeveralDesign, y: Array) -> SeveralDesign:
    """The same model with another response."""
    return replace(design, parts=tuple(replace(part, y=y) for part in design.with_rows))

"""Labels that are used twice: whether factors taken as crossed look nested.

``(1 | batch) + (1 | cask)`` says that cask "a" of one batch is the same cask as "a" of another.
When each batch has casks of its own, that is another model, and nothing in the labels tells the two
apart. The data may: the labels then start anew in each batch, and with the same number of
parameters the nested reading fits far better. Both together are pointed out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd

from pylmm_helpers.formula import Bar

from .design import SeveralDesign, packed
from .sums import Factor, parent_levels

#: Rows that a cell of two factors must have on average before the data can tell.
ROWS_PER_CELL = 1.2
#: How much lower the criterion of the nested reading must lie, 150 to 1 in likelihood.
FAR_BETTER = 10.0
#: Share of the outer levels in which the inner labels must start anew.
MOSTLY = 0.8
#: Most cells that are fitted as a factor of their own.
MOST_CELLS = 20_000


def labels_used_twice(
    design: SeveralDesign, criterion: float, fitted: Callable[[SeveralDesign], float]
) -> list[str]:
    """A warning for each factor whose labels seem to start anew within another one's levels.

    Parameters
    ----------
    design : SeveralDesign
    criterion : float
        The fit's own criterion.
    fitted : callable
        The criterion of another design, on the same scale.
    """
    factors, found = design.factors, []
    labels = {part.group_name: part.group_labels for part in design.parts}
    for outer, inner in permutations(factors, 2):
        a, b = factors[outer], factors[inner]
        if ":" in outer + inner or not crossed(a, b):
            continue
        if not start_anew(a, b, labels[inner]):
            continue
        if any(inner in bar.columns and len(bar.columns) > 1 for bar in design.bars):
            continue  # it is the outer factor of another one
        codes = packed(a.codes * b.levels + b.codes)
        cells = int(codes.max()) + 1
        if cells * ROWS_PER_CELL > design.nrows or cells > MOST_CELLS:
            continue
        nested = fitted(renamed(design, inner, f"{outer}:{inner}", codes, cells))
        if nested < criterion - FAR_BETTER:
            found.append((nested, outer, inner))
    if not found:
        return []
    nested, outer, inner = min(found)
    return [
        f"'{outer}' and '{inner}' are taken as crossed: the same label of '{inner}' in two levels "
        f"of '{outer}' counts as the same one. Read as nested, (1 | {outer}/{inner}), the model "
        f"fits far better (criterion lower by {criterion - nested:.1f}). If each '{outer}' has its "
        f"own, write that or give them unique labels; if not, add (1 | {outer}:{inner})."
    ]


def start_anew(outer: Factor, inner: Factor, labels: pd.Index) -> bool:
    """Whether the labels within most outer levels are the first ones of all.

    Numbers that are text stand as 1, 10, 2, and count as numbers here.
    """
    if outer.levels * inner.levels > MOST_CELLS * 100:
        return False
    cell = np.zeros((outer.levels, inner.levels), dtype=bool)
    cell[outer.codes, inner.codes] = True
    by_number = [re.sub(r"\d+", lambda digits: digits[0].zfill(20), str(x)) for x in labels]
    numbered = cell[:, np.argsort(by_number, kind="stable")]
    return first_ones(cell) or first_ones(numbered)


def first_ones(cell: np.ndarray) -> bool:
    """Whether the true cells of most rows come before the others."""
    last = cell.shape[1] - cell[:, ::-1].argmax(axis=1)
    return bool(np.mean(last == cell.sum(axis=1)) >= MOSTLY)


def crossed(a: Factor, b: Factor) -> bool:
    """Whether neither factor is nested in the other."""
    return parent_levels(a, b) is None and parent_levels(b, a) is None


def renamed(
    design: SeveralDesign, old: str, new: str, codes: np.ndarray, levels: int
) -> SeveralDesign:
    """The design with one factor's terms moved to another grouping."""
    labels = pd.RangeIndex(levels)
    parts = tuple(
        replace(part, group_name=new, codes=codes, group_labels=labels)
        if part.group_name == old
        else part
        for part in design.parts
    )
    bars = tuple(
        Bar(bar.terms, tuple(new.split(":"))) if bar.factor == old else bar for bar in design.bars
    )
    return replace(design, bars=bars, parts=parts)

"""The first query: range and moments of every column, with the checks on them.

Sums of squares of columns with a large mean would lose the digits that matter, so the first query
subtracts a rough centre (the mean of a few rows); the next one, for the products, subtracts the
mean itself and divides by the spread, as is done with rows in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pylmm_helpers.formula import check_any, check_missing, check_range, check_weights

from .arithmetic import number
from .source import Source
from .terms import Terms

LARGEST = 1.7976931348623157e308
SAMPLE_ROWS = 1_000
#: Share of a sum of squares that must be variation, not distance of the mean from the centre.
ENOUGH = 1e-4


@dataclass(frozen=True)
class Figures:
    """Moments of one column; see `pylmm_helpers.engine.layout.Moments`."""

    mean: float
    spread: float
    largest: float
    indicator: bool
    intercept: bool = False

    @property
    def rms(self) -> float:
        """Root of the mean square."""
        return short(float(np.hypot(self.mean, self.spread)))


@dataclass(frozen=True)
class FirstPass:
    """What the first query found; moments by the expression's place in ``[y, *x, *z]``, z
    term by term."""

    moments: list[Figures]
    rows: int
    complete: int
    sum_log_weights: float
    mean_weight: float | None


def lacking(column: Any) -> Any:
    """Where a column of the table is missing."""
    return column.isnull() | column.isnan() if column.type().is_floating() else column.isnull()


def complete_rows(table: Any, names: list[str]) -> Any:
    """Where no column of the model is missing."""
    flags = [lacking(table[name]) for name in names]
    return ~flags[0] if len(flags) == 1 else ~any_of(flags)


def any_of(flags: list[Any]) -> Any:
    """Disjunction of conditions."""
    found = flags[0]
    for flag in flags[1:]:
        found = found | flag
    return found


def undefined(value: Any) -> Any:
    """Where a number is infinite or NaN: databases count NaN as larger than all others."""
    return ~(value.abs() <= number(LARGEST))


def short(value: float) -> float:
    """The value in fifteen digits, which every database reads as the same number."""
    return float(f"{value:.15g}")


def is_constant(expression: Any) -> bool:
    """Whether an expression is a literal: the intercept."""
    return type(expression.op()).__name__ == "Literal"


def first_pass(
    source: Source, table: Any, used: list[str], weights: str | None, parts: list[Terms],
    missing: str,
) -> FirstPass:  # fmt: skip
    """Count, range and moments of every column of some random terms, which share the fixed part,
    with the checks on them."""
    terms = parts[0]
    columns = [terms.y, *terms.x, *(column for part in parts for column in part.z)]
    names = [terms.y_name, *terms.x_names, *(name for part in parts for name in part.z_names)]
    groups = [name for part in parts for name in part.group_columns]
    distinct = dict(zip(names, columns, strict=True))
    distinct = {name: column for name, column in distinct.items() if not is_constant(column)}
    raw = {
        name: table[name].cast("float64")
        for name in used
        if table.schema()[name].is_numeric() and name not in distinct
    }
    needed = [*dict.fromkeys([*used, *groups, *([weights] if weights else [])])]
    keep = complete_rows(table, needed)
    only = {"where": keep} if missing == "drop" else {}
    wanted = {"rows": table.count(), "complete": keep.sum()}
    wanted |= {f"missing {name}": lacking(table[name]).sum() for name in needed}
    for name, column in {**raw, **distinct}.items():
        wanted[f"undefined {name}"] = undefined(column).sum(**only)
        wanted[f"low {name}"], wanted[f"high {name}"] = column.min(**only), column.max(**only)
    if weights:
        weight = table[weights].cast("float64")
        good = (weight > 0) & (weight <= number(LARGEST))
        wanted["bad weights"] = (~good & ~lacking(table[weights])).sum(**only)
        wanted["log weights"] = weight.ln().sum(where=good & keep)
        wanted["sum of weights"] = weight.sum(where=good & keep)
    bare = {name for name, ones in indicator_candidates(parts)}
    for name in bare:
        column = distinct[name]
        wanted[f"other {name}"] = ((column != 0) & (column != 1)).sum(**only)
    centres = rough_centres(source, table, distinct)
    moments: dict[str, tuple[float, float]] = {}
    row: Any = None
    for _ in range(2):
        for name, centre in centres.items():
            away = distinct[name] - number(centre)
            wanted[f"sum {name}"] = away.sum(**only)
            wanted[f"square {name}"] = (away * away).sum(**only)
        found = source.run(table.aggregate(**wanted), "looking at the columns").iloc[0]
        row = found if row is None else row
        check_counts_of(row, needed, [*raw, *distinct], weights, missing)
        n = int(row["complete"] if missing == "drop" else row["rows"])
        wanted, again = {}, {}
        for name, centre in centres.items():
            shift = float(found[f"sum {name}"]) / n
            square = max(float(found[f"square {name}"]) / n, shift**2)
            moments[name] = (centre + shift, np.sqrt(square - shift**2))
            same = float(row[f"low {name}"]) == float(row[f"high {name}"])
            if same:
                moments[name] = (float(row[f"low {name}"]), 0.0)
            elif square - shift**2 < ENOUGH * square:
                again[name] = short(centre + shift)
        centres = again
        if not centres:
            break

    def figures(name: str) -> Figures:
        if name not in distinct:
            return Figures(1.0, 0.0, 1.0, True, intercept=True)
        mean, spread = moments[name]
        low, high = float(row[f"low {name}"]), float(row[f"high {name}"])
        indicator = name in bare and not int(row[f"other {name}"])
        return Figures(short(mean), short(spread), max(abs(low), abs(high)), indicator)

    logs = float(row["log weights"]) if weights else 0.0
    mean_weight = short(float(row["sum of weights"]) / n) if weights else None
    return FirstPass([figures(name) for name in names], int(row["rows"]), n, logs, mean_weight)


def indicator_candidates(parts: list[Terms]) -> set[tuple[str, bool]]:
    """Columns of a part without intercept, which may be a full set of zeros and ones."""
    found = set()
    sides = [(parts[0].x_names, parts[0].x), *((part.z_names, part.z) for part in parts)]
    for names, columns in sides:
        if not any(is_constant(column) for column in columns):
            found |= {(name, True) for name in names}
    return found


def rough_centres(source: Source, table: Any, columns: dict[str, Any]) -> dict[str, float]:
    """Mean of each column over some rows, zero where they tell nothing."""
    if not columns:
        return {}
    named = {f"c{k}": column for k, column in enumerate(columns.values())}
    sample = source.run(table.select(**named).limit(SAMPLE_ROWS), "looking at some rows")
    values = sample.to_numpy(dtype=float, na_value=np.nan)
    centres = {}
    for k, name in enumerate(columns):
        finite = values[:, k][np.isfinite(values[:, k])]
        centres[name] = short(float(finite.mean())) if len(finite) else 0.0
    return centres


def check_counts_of(
    row: Any, needed: list[str], numeric: list[str], weights: str | None, missing: str
) -> None:
    """Refuse what the first pass found wrong, in the order in which rows in memory are checked."""
    check_any(int(row["rows"]))
    if weights:
        check_weights(int(row["bad weights"] or 0), f"weights column '{weights}'")
    counts = {name: int(row[f"missing {name}"]) for name in needed}
    check_missing(counts, missing, int(row["complete"]))
    for name in numeric:
        infinite = int(row[f"undefined {name}"])
        low, high = (0.0, 0.0) if infinite else (float(row[f"{e} {name}"]) for e in ("low", "high"))
        check_range(low, high, infinite, name)


def adds_up(source: Source, table: Any, columns: tuple[Any, ...], chosen: list[int]) -> bool:
    """Whether the chosen columns add up to one in every row."""
    total = sum((columns[k] for k in chosen[1:]), columns[chosen[0]])
    found = source.run(table.aggregate(off=(total != 1).sum()), "looking at the categories")
    return int(found["off"].iloc[0]) == 0

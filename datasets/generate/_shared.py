"""Declarations of a data set and the one way of writing it: seed, check, round, encode.

Everything that the csv file and the codebook must agree on is declared once, here as
`Column`, `Truth` and `DataSet`, so that neither can drift from the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Level = str | int
Table = Mapping[str, Sequence[object] | np.ndarray]


@dataclass(frozen=True)
class Column:
    """One column: what it means, in which unit, how it is written and what is allowed.

    `decimals` is the number of decimals in the file. `levels` lists the allowed values in
    codebook order, so the first one is the reference category. `missing` says why cells may
    be empty; an empty text means that none may be.
    """

    name: str
    type: str
    title: str
    unit: str = ""
    decimals: int = 0
    levels: tuple[Level, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Truth:
    """One model that holds for the data, in lme4's notation, with its true parameters.

    `fixed` has the term names that formulaic gives. `random` has sigma2_g and sigma2 for a
    random intercept, sigma2_u0, sigma2_u1, sigma_u01 and sigma2 for a random slope, and
    sigma2_herd and the like for several grouping factors.
    """

    model: str
    fixed: Mapping[str, float]
    random: Mapping[str, float]
    note: str


@dataclass(frozen=True)
class DataSet:
    """A generated data set: declarations, seed, and the function that draws the rows.

    The seed is chosen, so that a worked example need not explain away bad luck: it is the smallest
    from 1 upwards for which the REML estimates of the first truth's variance parameters lie
    within 0.3 standard errors, and all estimates of all truths within 0.8. Estimates in these
    files therefore lie closer to the truth than a fresh sample's would. `test_days`, with its
    eleven fixed effects and six variance parameters, has a wider rule, which its module states.
    """

    name: str
    title: str
    description: str
    seed: int
    key: str
    columns: tuple[Column, ...]
    truths: tuple[Truth, ...]
    simulate: Callable[[np.random.Generator], Table]


def random_stream(seed: int) -> np.random.Generator:
    """Return the generator that every data set draws from (PCG64, named so it can't change)."""
    return np.random.Generator(np.random.PCG64(seed))


def labels(prefix: str, count: int, width: int) -> list[str]:
    """Return identifiers such as H01, H02, ... of a fixed width."""
    return [f"{prefix}{number:0{width}d}" for number in range(1, count + 1)]


def members(groups: Sequence[str], sizes: np.ndarray, width: int) -> tuple[list[str], list[str]]:
    """Return, row by row, the group label and an identifier unique in the whole file."""
    group_of_row: list[str] = []
    member: list[str] = []
    for group, size in zip(groups, sizes, strict=True):
        group_of_row += [group] * int(size)
        member += labels(f"{group}-", int(size), width)
    return group_of_row, member


def whole(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Round to whole numbers and hold them inside the range that the codebook allows."""
    rounded: np.ndarray = np.clip(np.rint(values), low, high).astype(int)
    return rounded


def csv_bytes(dataset: DataSet, seed: int | None = None) -> bytes:
    """Draw a data set and encode it, the same bytes on every machine.

    Parameters
    ----------
    dataset
        What to draw.
    seed
        Another seed than the declared one, to study the generator itself.

    Raises
    ------
    ValueError
        If a drawn value breaks the codebook's own constraints.
    """
    table = dataset.simulate(random_stream(dataset.seed if seed is None else seed))
    names = [column.name for column in dataset.columns]
    if list(table) != names:
        raise ValueError(f"{dataset.name}: drew the columns {list(table)}, declared are {names}")
    cells = [[_cell(column, value) for value in table[column.name]] for column in dataset.columns]
    lines = [",".join(names), *(",".join(row) for row in zip(*cells, strict=True))]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _cell(column: Column, value: object) -> str:
    """Write one value with a fixed format, after checking it against the codebook."""
    if isinstance(value, str):
        if column.levels and value not in column.levels:
            raise ValueError(f"{column.name}: {value!r} is not one of {column.levels}")
        return value
    number = float(value)  # type: ignore[arg-type]
    if math.isnan(number):
        if not column.missing:
            raise ValueError(f"{column.name}: a value is missing, but the codebook allows none")
        return ""
    too_low = column.minimum is not None and number < column.minimum
    too_high = column.maximum is not None and number > column.maximum
    if too_low or too_high or (column.levels and number not in column.levels):
        raise ValueError(f"{column.name}: {number} is outside what the codebook allows")
    text = f"{number:.{column.decimals}f}"
    # A small negative number rounds to "-0.0", which is not a way to write zero.
    return text.removeprefix("-") if float(text) == 0 else text

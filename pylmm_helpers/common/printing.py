"""Tables that print whole: every column in a terminal of 80 columns, rounded for reading.

Only what is printed differs from pandas: the object keeps the full numbers, and whatever is made of
it (a copy, a part, a file, a pickle) is plain pandas.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
import re
import shutil
import textwrap
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd

P = ParamSpec("P")
T = TypeVar("T")

P_VALUE = re.compile(r"\bp\b|\bp_|(\b|_)p_?value")
#: Digits that the smallest number of a column keeps, and the most that any number shows.
SMALL, MOST = 3, 9
#: A number below this share of its column's largest is taken for rounding: it claims no decimals.
NOISE = 1e-6


class ShownFrame(pd.DataFrame):
    """A DataFrame that prints all of its columns, rounded for reading."""

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __reduce__(self) -> Any:
        return copy.copy, (self.copy(),)

    def __repr__(self) -> str:
        return printed(*excerpt(self))

    def _repr_html_(self) -> str:
        text, footer = excerpt(self)
        with pd.option_context("display.max_columns", None, "display.max_colwidth", None):
            return str(text._repr_html_()) + footer  # type: ignore[operator]


class ShownSeries(pd.Series):
    """A Series that prints rounded for reading."""

    @property
    def _constructor(self) -> Any:
        return pd.Series

    @property
    def _constructor_expanddim(self) -> Any:
        return pd.DataFrame

    def __reduce__(self) -> Any:
        return copy.copy, (self.copy(),)

    def __repr__(self) -> str:
        # each value is a quantity of its own kind, with decimals of its own
        text, footer = excerpt(self.to_frame(""), alike=False)
        lines = printed(text, footer).split("\n")
        return "\n".join(line for line in lines if line.strip())


def whole(value: Any) -> Any:
    """A pandas object as one that prints whole; anything else as it is."""
    kinds = ((pd.DataFrame, ShownFrame), (pd.Series, ShownSeries))
    for plain, kind in kinds:
        if isinstance(value, plain):
            result = kind(value)
            result.attrs = value.attrs
            return result
    return value


def shown_whole(function: Callable[P, T]) -> Callable[P, T]:
    """Let the table that a function returns print whole."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        result: T = whole(function(*args, **kwargs))
        return result

    return wrapped


def rounded(frame: pd.DataFrame, alike: bool = True) -> pd.DataFrame:
    """The cells as text for reading; alike, the numbers of a column have the same decimals."""
    columns = [
        _column(list(frame.iloc[:, k]), str(name), frame.index, alike)
        for k, name in enumerate(frame.columns)
    ]
    cells = np.array(columns, dtype=object).reshape(len(frame.columns), len(frame)).T
    return pd.DataFrame(cells, index=frame.index, columns=frame.columns)


def _column(values: list[Any], name: str, index: pd.Index, alike: bool) -> list[str]:
    """One column as text; in one of several kinds of value each number has its own decimals."""
    alike = alike and all(isinstance(v, float) for v in values)
    places = decimals(np.array(values)) if alike else None
    labels = [name] * len(values) if alike else [f"{name} {label}" for label in index]
    return [
        _cell(v, places, bool(P_VALUE.search(label)))
        for v, label in zip(values, labels, strict=True)
    ]


def _cell(value: Any, places: int | None, probability: bool) -> str:
    if isinstance(value, (bool, np.bool_, Integral)) or not isinstance(value, Real):
        return "NaN" if value is pd.NA or value is pd.NaT else str(value)
    number = float(value)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else str(number)
    if probability:
        return "<0.001" if 0.0 <= number < 0.001 else f"{number:.3f}"
    if places is None:
        places = decimals(np.array([number]))
    if places < 0 or 0.0 < abs(number) < 0.5 * 10.0**-places:
        return f"{number:.3g}" if number == 0.0 else f"{number:.2e}"
    return f"{number:.{places}f}"


def decimals(values: np.ndarray) -> int:
    """Decimals for a column of numbers; -1 where only powers of ten will do."""
    size = np.abs(values[np.isfinite(values) & (values != 0.0)])
    if not size.size:
        return 1
    top = math.floor(math.log10(size.max()))
    low = math.floor(math.log10(size[size >= NOISE * size.max()].min()))
    if top < -4 or top >= MOST:
        return -1
    if np.all(size == np.round(size)):
        return 0
    return min(max(SMALL - 1 - low, 2), max(MOST - 1 - top, 0), MOST - 3)


def excerpt(frame: pd.DataFrame, alike: bool = True) -> tuple[pd.DataFrame, str]:
    """The cells as text and what to say below them: of many rows the first and the last, as in
    pandas."""
    n, most = len(frame), pd.get_option("display.max_rows")
    if not most or n <= most:
        return rounded(frame, alike), ""
    half = max(1, (pd.get_option("display.min_rows") or most) // 2)
    text = _labelled(rounded(frame.iloc[[*range(half), *range(n - half, n)]], alike))
    gap = pd.DataFrame([[".."] * frame.shape[1]], [".."], frame.columns)
    text = pd.concat([text.iloc[:half], gap, text.iloc[half:]])
    return text.rename_axis(_title(frame.index)), f"\n\n[{n} rows x {frame.shape[1]} columns]"


def printed(text: pd.DataFrame, footer: str = "") -> str:
    """Text cells as lines no wider than the terminal: long cells wrapped, blocks of columns one
    below the other."""
    width = int(pd.get_option("display.width") or shutil.get_terminal_size().columns)
    return str(_wrapped(text, width).to_string(line_width=width)) + footer


def _title(index: pd.Index) -> str | None:
    """One header for the labels of all levels."""
    return ", ".join(str(name) for name in index.names if name is not None) or None


def _labelled(text: pd.DataFrame) -> pd.DataFrame:
    """Rows with labels of one level, as text."""
    several = isinstance(text.index, pd.MultiIndex)
    labels = [", ".join(map(str, at)) if several else str(at) for at in text.index]
    return text.set_axis(pd.Index(labels, dtype=object, name=_title(text.index)), axis=0)


def _wrapped(text: pd.DataFrame, width: int) -> pd.DataFrame:
    """Labels and cells that are too wide for a line go on in rows of their own."""
    plain = _labelled(text)
    title = max([len(str(name)) for name in plain.columns], default=0)
    most = max(20, min(width // 2, width - title - 6))
    labels = max([len(line) for line in [*plain.index, plain.index.name or ""]], default=0)
    room = max(20, width - min(labels, most) - 6)
    if labels <= most and not any(len(cell) > room for cell in plain.to_numpy().ravel()):
        return text
    rows = []
    for label, cells in zip(plain.index, plain.to_numpy(), strict=True):
        parts = [textwrap.wrap(label, most), *(textwrap.wrap(cell, room) for cell in cells)]
        rows += list(itertools.zip_longest(*parts, fillvalue="")) or [("",) * len(parts)]
    index = pd.Index([row[0] for row in rows], dtype=object, name=plain.index.name)
    return pd.DataFrame([row[1:] for row in rows], index, text.columns)

"""The one way tables are shown: Markdown that HTML and PDF both set properly."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import pandas as pd

from pylmm_helpers.common import MISSING, a_mapping, layout, printed, shown

_SPECIAL = re.compile(r"([\\|\[\]*~^<])")
_ESCAPED = re.compile(r"\\([\\|\[\]*~^<])")


@dataclass(frozen=True)
class Table:
    """A table ready to show.

    Notebooks and the book call ``_repr_markdown_``, terminals get lines of their own width.

    Attributes
    ----------
    markdown : str
        The table as Markdown.
    frame : DataFrame
        What it was made of.
    text : str
        Its lines in a terminal.
    """

    markdown: str
    frame: pd.DataFrame
    text: str = ""

    def _repr_markdown_(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return self.text or self.markdown


def table(
    data: pd.DataFrame | pd.Series | Mapping[str, Any],
    digits: int | Mapping[str, int] = 2,
    units: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    index: bool | str = True,
) -> Table:
    """Lay out a frame as a Markdown table.

    Parameters
    ----------
    data : DataFrame, Series or mapping
        What to show. A Series or mapping becomes a two-column table.
    digits : int or mapping
        Decimals of real numbers, for all columns or by column name. Integers keep none.
    units : mapping, optional
        Column name to unit; the header then reads ``name (unit)``.
    names : mapping, optional
        Column name to the words of its header.
    index : bool or str
        Whether to show the index; a string is its header.

    Returns
    -------
    Table
        Numbers stand right-aligned, words left-aligned.

    Raises
    ------
    ValueError
        If ``units``, ``names`` or ``digits`` name a column that isn't there.
    """
    frame = _as_frame(data)
    a_mapping(units, "units", "a dict of column names and their units")
    a_mapping(names, "names", "a dict of column names and their headers")
    for places in digits.values() if isinstance(digits, Mapping) else [digits]:
        if type(places) is not int or places < 0:
            raise ValueError(f"digits is {shown(places)}; give a whole number of decimals")
    for option, given in (("units", units), ("names", names), ("digits", digits)):
        unknown = set(given) - set(frame.columns) if isinstance(given, Mapping) else set()
        if unknown:
            raise ValueError(
                f"{option} names {sorted(map(str, unknown))}, which the table lacks; "
                f"its columns are {list(map(str, frame.columns))}"
            )
    columns: list[tuple[str, list[str], bool]] = []
    if index is not False:
        title = index if isinstance(index, str) else str(frame.index.name or "")
        columns.append((title, [_words(v) for v in frame.index], False))
    for position, name in enumerate(frame.columns):
        places = digits.get(name, 2) if isinstance(digits, Mapping) else digits
        title = str((names or {}).get(name, name))
        if units and name in units:
            title = f"{title} ({units[name]})"
        values = list(frame.iloc[:, position])
        columns.append((title, [_cell(v, places) for v in values], _numeric(values)))
    return Table(layout(columns), frame, _as_text(columns))


def _as_text(columns: list[tuple[str, list[str], bool]]) -> str:
    """The same cells for a terminal: Markdown's escapes undone, words on the left."""
    parts = []
    for title, cells, right in columns:
        plain = [_ESCAPED.sub(r"\1", cell) for cell in cells]
        size = max(map(len, [title, *plain]))
        parts.append(pd.Series(plain if right else [c.ljust(size) for c in plain], name=title))
    frame = pd.concat(parts, axis=1) if parts else pd.DataFrame()
    return printed(frame.set_axis([""] * len(frame), axis=0))


def _as_frame(data: pd.DataFrame | pd.Series | Mapping[str, Any]) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, pd.Series):
        return data.to_frame(name=data.name if data.name is not None else "value")
    if not isinstance(data, Mapping):
        raise ValueError(f"data is {shown(data)}; give a DataFrame, a Series or a dict")
    return pd.Series(dict(data), dtype=object, name="value").to_frame()


def _numeric(values: list[Any]) -> bool:
    present = [v for v in values if v is not None and not _is_missing(v)]
    return bool(present) and all(isinstance(v, Real) and not isinstance(v, bool) for v in present)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, Real) and math.isnan(float(value)))


def _cell(value: Any, digits: int) -> str:
    if _is_missing(value):
        return MISSING
    if isinstance(value, bool) or not isinstance(value, Real):
        return _words(value)
    if isinstance(value, Integral):
        return f"{int(value):,}"
    number = float(value)
    if math.isinf(number):
        return "∞" if number > 0 else "\u2212∞"
    if number and abs(number) < 0.5 * 10.0**-digits:
        return f"{number:.1e}".replace("-", "\u2212")
    text = f"{number or 0.0:,.{digits}f}".replace("-", "\u2212")
    return text


def _words(value: Any) -> str:
    """Text with Markdown's characters made literal, code spans left as they are."""
    parts = str(value).replace("\n", " ").split("`")
    if len(parts) % 2 == 0:
        return _SPECIAL.sub(r"\\\1", str(value))
    return "`".join(part if k % 2 else _SPECIAL.sub(r"\\\1", part) for k, part in enumerate(parts))

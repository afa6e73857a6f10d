"""What the columns of a fit held, and the same values found again in other data.

A trip through CSV, Parquet or another library changes the type of a column, not what its values
mean: 1, 1.0, "1" and True may be one level. They are matched by value, and refused where two levels
of the fit would answer to one value.
"""

from __future__ import annotations

import numbers
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .columns import check_scalars, plain_text, plain_values
from .evaluate import is_number

#: Digits that survive the writing and reading of any table.
DIGITS = 15


class UnseenError(Exception):
    """A value that is none of the fit's levels."""


class AmbiguousError(Exception):
    """A value that could be two of the fit's levels."""


def kind_of(value: Any) -> str:
    """Whether a value is text, a number (or true or false), or something else."""
    if isinstance(value, str):
        return "text"
    number = isinstance(value, (numbers.Number, np.number, np.bool_))
    return "number" if number or type(value).__name__ == "Decimal" else "other"


def meaning(value: Any) -> str:
    """What a value means, whatever its type: numbers by value, also when they are text."""
    if kind_of(value) == "text":
        if value.strip().lower() in ("true", "false"):
            return "1" if value.strip().lower() == "true" else "0"
        try:
            value = float(value)
        except ValueError:
            return str(value)
    elif kind_of(value) == "other":
        return str(value).removesuffix(" 00:00:00")  # a day, as CSV writes it
    try:
        return f"{float(value) + 0.0:.{DIGITS}g}"  # -0 is 0
    except (TypeError, ValueError):
        return str(value)


class Levels:
    """Finds values among levels: the very value first, then the same meaning in another type.

    Where levels of two types mean the same, such as 0 and "0", neither is found: a file doesn't
    keep them apart.
    """

    def __init__(self, levels: Iterable[Any]):
        self.levels = list(levels)
        self.exact = {(kind_of(level), level): k for k, level in enumerate(self.levels)}
        kinds = {kind_of(level) for level in self.levels}
        self.texts, self.mixed = kinds == {"text"}, len(kinds) > 1
        self.by_meaning: dict[str, list[int]] | None = None

    def position(self, value: Any) -> int:
        """Where the value stands among the levels; raises UnseenError or AmbiguousError."""
        kind = kind_of(value)
        try:
            found = self.exact.get((kind, value))
        except TypeError:  # lists and the like
            found = None
        if found is not None and not self.of_two_types(value):
            return found
        if kind == "text" and self.texts:
            raise UnseenError
        same = self.alike(value)
        if len(same) > 1:
            raise AmbiguousError
        if not same:
            raise UnseenError
        return same[0]

    def alike(self, value: Any) -> list[int]:
        """Positions of the levels that mean the same as the value."""
        if self.by_meaning is None:
            self.by_meaning = {}
            for k, level in enumerate(self.levels):
                self.by_meaning.setdefault(meaning(level), []).append(k)
        return self.by_meaning.get(meaning(value), [])

    def of_two_types(self, value: Any) -> bool:
        """Whether levels of several types mean the same as the value."""
        return self.mixed and len({kind_of(self.levels[k]) for k in self.alike(value)}) > 1

    def positions(self, column: pd.Series) -> tuple[NDArray[np.intp], list[Any], list[Any]]:
        """Positions (n,) of a column's values, -1 where there is none; the unseen values, and the
        ambiguous ones."""
        check_scalars(column, str(column.name), labels=True)
        codes, values = pd.factorize(underlying(column))
        found = np.full(len(values) + 1, -1, dtype=np.intp)
        unseen, ambiguous = [], []
        for k, value in enumerate(values):
            try:
                found[k] = self.position(value)
            except UnseenError:
                unseen.append(value)
            except AmbiguousError:
                ambiguous.append(value)
        return found[codes], unseen, ambiguous


def underlying(column: pd.Series) -> pd.Series:
    """The values of a column without a type of its own (categories, nullable, Arrow)."""
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return column.astype(object)
    return column.astype(object) if pd.api.types.is_extension_array_dtype(kind) else column


def refuse_levels(name: str, unseen: list[Any], ambiguous: list[Any], levels: list[Any]) -> None:
    """Refuse values that are no level of the fit, or could be two of them."""
    if ambiguous:
        raise ValueError(
            f"column {name!r} of new_data holds {listed(ambiguous)}, which could be more than one "
            f"of the fit's levels ({listed(levels)}); give the column the type that it had in the "
            "fit."
        )
    if unseen:
        raise ValueError(
            f"column {name!r} of new_data holds {listed(unseen)}, a category that the model was "
            f"not fitted with (it knows {listed(levels)}); drop those rows."
        )


def refuse_alike(name: str, levels: Levels) -> None:
    """Refuse levels of a fit of which two, of different types, mean the same."""
    for level in levels.levels:
        if levels.of_two_types(level):
            same = [levels.levels[k] for k in levels.alike(level)]
            raise ValueError(
                f"column {name!r} holds {listed(same)} as different categories, but new data or a "
                "file would not keep them apart; rename one, or give all one type: "
                f"data[{name!r}].astype(str)."
            )


def listed(values: list[Any]) -> str:
    """The first few values."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    return ", ".join(map(repr, plain[:6])) + (", ..." if len(plain) > 6 else "")


@dataclass(frozen=True)
class Kind:
    """What a column held in the fit.

    Attributes
    ----------
    name : str
    values : array or Series (n,)
        As they entered the fit.
    levels : Levels or None
        The different values of a column of text or categories, or of one that stands in ``C(...)``
        only; None for numbers.
    kind : dtype
        Of the column as given.
    known : Levels or None
        The values of numbers that stand in ``C(...)`` too.
    """

    name: str
    values: Any
    levels: Levels | None
    kind: Any
    known: Levels | None = None

    def again(self, column: pd.Series) -> Any:
        """A column of new rows as the fit would have held it."""
        return self.numbers(column) if self.levels is None else self.categories(column)

    def categories(self, column: pd.Series) -> pd.Series:
        """Levels of the fit."""
        assert self.levels is not None
        found, unseen, ambiguous = self.levels.positions(column)
        refuse_levels(self.name, unseen, ambiguous, self.levels.levels)
        if isinstance(self.values, pd.Series):
            kind = self.values.dtype
            if isinstance(kind, pd.CategoricalDtype):
                return pd.Series(
                    pd.Categorical.from_codes(found.tolist(), dtype=kind), index=column.index
                )
        else:
            kind = self.values.dtype
        values = pd.Series(self.levels.levels, dtype=kind).iloc[found]
        return values.set_axis(column.index)

    def numbers(self, column: pd.Series) -> Any:
        """Numbers of the fit's precision; whole ones where the fit had whole ones."""
        if not is_number(column):
            column = self.from_objects(column)
        if self.known is not None:
            refuse_levels(self.name, *self.known.positions(column)[1:], self.known.levels)
        values = column.to_numpy(dtype=float)
        if not np.isfinite(values).all():
            raise ValueError(
                f"column {self.name!r} of new_data holds an infinite value; correct it."
            )
        if pd.api.types.is_bool_dtype(self.kind):
            others = [value for value in np.unique(values) if value not in (0.0, 1.0)]
            refuse_levels(self.name, others, [], [False, True])
            return pd.Series(values.astype(bool), index=column.index)
        if pd.api.types.is_integer_dtype(self.kind):
            if pd.api.types.is_integer_dtype(column.dtype):
                return column.to_numpy(dtype=np.int64)
            whole = bool(np.all(values == np.round(values))) and bool(np.all(abs(values) < 2**53))
            return values.astype(np.int64) if whole else values
        narrow = str(self.kind).lower().startswith(("float32", "float16", "float[", "halffloat"))
        if narrow:  # text of a short float reads as a longer one
            short = np.float16 if "16" in str(self.kind) or "half" in str(self.kind) else np.float32
            values = values.astype(short).astype(float)
        return values

    def from_objects(self, column: pd.Series) -> pd.Series:
        """Numbers that are held as objects, and true and false as text; refuses other text."""
        values = underlying(column)
        if pd.api.types.is_bool_dtype(self.kind):
            found, unseen, _ = Levels([False, True]).positions(column)
            if not unseen:
                return pd.Series(found.astype(bool), index=column.index)
        if not isinstance(column.dtype, pd.CategoricalDtype) and all(
            kind_of(value) == "number" and not isinstance(value, complex) for value in values
        ):
            return values.astype(float)
        raise ValueError(
            f"column {self.name!r} of new_data has type {column.dtype}, but the fit had numbers; "
            "convert it with pd.to_numeric"
        )


def kind_in_fit(
    column: pd.Series, name: str, coded: Container[str], also_coded: Container[str]
) -> Kind:
    """What a column held, from the rows of the fit."""
    check_scalars(column, name)
    values = plain_values(column, name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = Levels(values.cat.categories)
    elif pd.api.types.is_string_dtype(column.dtype) or name in coded:
        levels = levels_of(values)
    else:
        known = levels_of(values) if name in also_coded else None
        return Kind(name, values, None, column.dtype, known)
    refuse_alike(name, levels)
    return Kind(name, values, levels, column.dtype)


def levels_of(values: Any) -> Levels:
    """The different values of a column as it entered the fit."""
    if isinstance(values, pd.Series):
        return Levels(pd.unique(underlying(plain_text(values))))
    return Levels(np.unique(values))

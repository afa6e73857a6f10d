"""Checks on the arguments of the helpers, other than data: options, names, numbers and Axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .array import Array


def shown(value: Any) -> str:
    """What was given, in a few words."""
    plain = value is None or isinstance(value, (str, bool, int, float))
    return repr(value) if plain else f"a {type(value).__name__}"


def plain(text: str) -> str:
    """A message without the escape codes that colour a terminal."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def counted(number: int, singular: str) -> str:
    """A number and its noun: 1 value, 2 values."""
    return f"{number} {singular}" if number == 1 else f"{number} {singular}s"


def one_of(value: Any, choices: Sequence[str | None], name: str) -> None:
    """Refuse what is none of the choices."""
    if not (value is None or isinstance(value, str)) or value not in choices:
        words = [repr(c) for c in choices]
        raise ValueError(f"{name} is {shown(value)}; choose {', '.join(words[:-1])} or {words[-1]}")


def a_name(value: Any, name: str, what: str) -> None:
    """Refuse what is no text, where `what` is to be named."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}; give the name of {what} as text")


def numbers(value: Any, name: str) -> Array:
    """Floats of any shape; refuses what is not numeric. NaN and infinity pass."""
    try:
        if np.iscomplexobj(value):
            raise TypeError("complex")
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers; convert them with pd.to_numeric") from error


def a_number(value: Any, name: str) -> float:
    """One finite number."""
    found = numbers(value, name)
    if found.ndim or not np.isfinite(found):
        raise ValueError(f"{name} is {shown(value)}; give one finite number")
    return float(found)


def a_generator(value: Any, name: str) -> np.random.Generator:
    """A generator from a seed or a generator; refuses what is neither."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError("bool")
        return np.random.default_rng(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is {shown(value)}; give a whole number of at least 0 as seed, or a generator "
            "(np.random.default_rng(1))"
        ) from error


def a_mapping(value: Any, name: str, what: str) -> None:
    """Refuse what is neither None nor a mapping."""
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{name} is {shown(value)}; give {what}")


def a_level(value: Any) -> None:
    """Refuse what is no confidence level."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise ValueError(f"level is {shown(value)}; give a number between 0 and 1, such as 0.95.")
    if not 0.0 < value < 1.0:
        raise ValueError(f"level must lie between 0 and 1 (such as 0.95), not {value!r}.")

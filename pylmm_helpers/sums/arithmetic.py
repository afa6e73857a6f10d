"""The arithmetic of formulas in Ibis.

What NumPy answers with NaN or infinity, a database may answer with an error or a missing value;
here it is NaN everywhere, to be counted and refused by name. Only `number` needs Ibis at import.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

LARGEST_EXPONENT = 709.0


class UntranslatableError(Exception):
    """A part of a term for which there is no expression."""


def number(value: float) -> Any:
    """A constant of type float64."""
    import ibis

    return ibis.literal(value, type="float64")


def where(condition: Any, value: Any) -> Any:
    """The value where the condition holds, elsewhere NaN."""
    import ibis

    return ibis.ifelse(condition, value, number(math.nan))


def real(value: Any) -> Any:
    """Numbers as they are, true and false as one and zero."""
    kind = None if isinstance(value, str) else value.type()
    if kind is None or not (kind.is_numeric() or kind.is_boolean()):
        raise UntranslatableError("arithmetic with text")
    return value if kind.is_floating() else value.cast("float64")


def divide(left: Any, right: Any, exponent: Any = None) -> Any:
    left, right = real(left), real(right)
    return where(right != 0, left / right)


def power(left: Any, right: Any, exponent: Any = None) -> Any:
    """Small whole exponents as products, as exact as NumPy's; undefined powers are NaN."""
    left, right = real(left), real(right)
    if isinstance(exponent, (int, float)) and exponent in range(1, 9):
        product = left
        for _ in range(int(exponent) - 1):
            product = product * left
        return product
    whole = right == right.floor().cast("float64")
    return where((left > 0) | ((left == 0) & (right >= 0)) | ((left < 0) & whole), left**right)


def plain(operation: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """An operation on numbers that is defined everywhere."""
    return lambda left, right, exponent=None: operation(real(left), real(right))


def logical(operation: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """And, or."""

    def both(left: Any, right: Any, exponent: Any = None) -> Any:
        if not (left.type().is_boolean() and right.type().is_boolean()):
            raise UntranslatableError("& or | between numbers")
        return operation(left, right)

    return both


def logarithm(of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A logarithm: NaN where the value is not positive."""
    return lambda value: where(real(value) > 0, of(real(value)))


def exponential(value: Any) -> Any:
    return where(real(value) < LARGEST_EXPONENT, real(value).exp())


def extreme(name: str) -> Callable[[Any, Any], Any]:
    """The larger or smaller of two values."""

    def of_two(left: Any, right: Any) -> Any:
        import ibis

        return getattr(ibis, name)(real(left), real(right))

    return of_two


BINARY: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: plain(operator.add),
    ast.Sub: plain(operator.sub),
    ast.Mult: plain(operator.mul),
    ast.Div: divide,
    ast.Pow: power,
    ast.BitAnd: logical(operator.and_),
    ast.BitOr: logical(operator.or_),
}

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "I": lambda value: value,
    "log": logarithm(lambda value: value.ln()),
    "log2": logarithm(lambda value: value.log2()),
    "log10": logarithm(lambda value: value.log10()),
    "exp": exponential,
    "sqrt": lambda value: where(real(value) >= 0, real(value).sqrt()),
    "square": lambda value: real(value) * real(value),
    "abs": lambda value: real(value).abs(),
    "absolute": lambda value: real(value).abs(),
    "floor": lambda value: real(value).floor().cast("float64"),
    "ceil": lambda value: real(value).ceil().cast("float64"),
    "sin": lambda value: real(value).sin(),
    "cos": lambda value: real(value).cos(),
    "tan": lambda value: real(value).tan(),
    "power": lambda left, right: power(left, right),
    "minimum": extreme("least"),
    "maximum": extreme("greatest"),
}

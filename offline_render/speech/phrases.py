"""The phrases of `reading`: how a fraction, a power or a matrix is put into words."""

from __future__ import annotations

import re
from collections.abc import Callable

from . import words


def join(parts: list[str]) -> str:
    """Set the parts in one line; a pause attaches to the word before it, once."""
    text = re.sub(r"\s+", " ", " ".join(parts))
    return re.sub(r"(?:\s*([,.;]))+", r"\1", text).strip(" ,;.")


def is_compound(reading: str) -> bool:
    """Tell whether a listener needs to hear where this reading ends."""
    return words.COMPOUND.search(reading) is not None


def of(arguments: list[str], paired: bool = False) -> str:
    """Read the arguments of a function, with parentheses only where the ear needs them."""
    if paired and len(arguments) > 1:
        return f"of {' and '.join(arguments)}"
    if len(arguments) == 1 and not is_compound(arguments[0]):
        return f"of {arguments[0]}"
    return f"of open parenthesis {', '.join(arguments)} close parenthesis"


def fraction(top: str, bottom: str) -> str:
    """Read a fraction, naming its two parts when either is long."""
    top, bottom = join([top]), join([bottom])
    if top.isdigit() and bottom.isdigit():
        return words.FRACTIONS.get(f"{top}/{bottom}", f"{top} over {bottom}")
    if is_compound(top) or is_compound(bottom):
        return f"the fraction with numerator {top} and denominator {bottom}, end fraction,"
    return f"the fraction {top} over {bottom}"


def root(degree: str, body: str) -> str:
    """Read a root of any order."""
    name = {"": "square root", "3": "cube root"}.get(degree, f"root of order {degree}")
    return f"the {name} of {body}" + (", end root," if is_compound(body) else "")


def prime(base: str, in_script: bool) -> str:
    """Read a prime: it transposes a matrix, marks another index, differentiates a function."""
    return "prime" if in_script or base.split(" sub ")[0] in ("f", "h", "L", "ell") else "transpose"


def power(base: str, script: str, in_script: bool) -> str:
    """Read what stands above `base`."""
    if script == "prime":
        return prime(base, in_script)
    if (known := script.replace(" ", "-")) in words.POWERS:
        return words.POWERS[known]
    label = re.fullmatch(r"open parenthesis (.*) close parenthesis", script)
    if label or (re.fullmatch(r"[A-Za-z]{2,}", script) and script not in words.GREEK):
        return f"superscript {label.group(1) if label else script}"
    script = re.sub(r"\b1 over 2\b", "one half", script)
    simple = re.fullmatch(r"(minus )?(\S+|one half)", script)
    return f"to the power {script}" + ("" if simple else " end power")


def below(base: str, script: str) -> str:
    """Read what stands below `base`; two digits on a Greek letter are two indices."""
    if re.fullmatch(r"\d\d", script) and base in words.GREEK and base != "chi":
        script = " ".join(script)
    return f"sub {script}" + (" end sub" if is_compound(script) else "")


def between_bars(bar: str, body: str) -> str:
    """Read a norm, a determinant (of a product of capital letters) or an absolute value."""
    if bar in (r"\|", r"\lVert", r"\Vert"):
        return f"the norm of {body}, end norm,"
    if words.MATRIX_PRODUCT.fullmatch(body):
        return f"the determinant of {body}" + (", end determinant," if " " in body else "")
    return f"the absolute value of {body}" + (", end absolute value," if is_compound(body) else "")


def accent(body: str, mark: str) -> str:
    """Read a hat, a bar or another accent."""
    return f"{body}, all with a {mark}," if is_compound(body) else f"{body} {mark}"


def limits(lower: str, upper: str, preposition: str) -> str:
    """Read the limits of a sum, a product, an integral or a maximum."""
    if lower and upper:
        return f" from {lower} to {upper}"
    return f" {preposition} {lower or upper}" if lower or upper else ""


def normal(dimension: str, arguments: list[str] | None) -> str:
    """Read a normal distribution: two arguments are its mean and variance."""
    name = "a normal distribution" + (f" in {dimension} dimensions" if dimension else "")
    if arguments is None:
        return name
    if len(arguments) != 2:
        return f"{name} {of(arguments)}"
    spread = "covariance matrix" if dimension or "matrix" in arguments[1] else "variance"
    return f"{name} with mean {arguments[0]} and {spread} {arguments[1]}"


def _condition(reading: str) -> str:
    return reading if reading.startswith(("if", "when", "for", "otherwise")) else f"when {reading}"


def rows(kind: str, cells: list[list[str]]) -> str:
    """Read an environment: lines in turn, cases, or a matrix row by row."""
    if kind in words.LINES:
        return "; ".join(" ".join(row) for row in cells)
    if kind == "cases":
        cases = (", ".join([value, *map(_condition, when)]) for value, *when in cells)
        return f"either {'; or '.join(cases)}; end cases,"
    what = "determinant" if kind in ("vmatrix", "Vmatrix") else "matrix"
    lines = "; ".join(f"row {i}: {', '.join(row)}" for i, row in enumerate(cells, 1))
    return f"the {what} of {len(cells)} row{'s' * (len(cells) != 1)}: {lines}; end {what},"


TWO_ARGUMENTS: dict[str, Callable[[str, str], str]] = {
    **dict.fromkeys((r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"), fraction),
    r"\binom": lambda n, k: f"{n} choose {k}",
    r"\overset": lambda mark, base: f"{base}, with {mark} above,",
    r"\stackrel": lambda mark, base: f"{base}, with {mark} above,",
    r"\underset": lambda mark, base: f"{base}, with {mark} below,",
}

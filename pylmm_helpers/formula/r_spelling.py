"""Formulas in R's spelling, and the terms of a model as lme4 names them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .words import (
    CLOSE,
    CONSTANTS,
    FACTOR,
    OPEN,
    Word,
    closing,
    constant,
    is_sign,
    names_argument,
    split,
    unquoted,
    words,
)

_SIGNS = {"**": "^", "//": "%/%", "%": "%%"}
_COMPARISONS = {"<", ">", "<=", ">=", "==", "!="}
_TIGHT = {"^", ":", "/"}
_PYTHON_WORDS = {"lambda", "if", "else", "for", "in", "and", "or", "not", "is"}
#: Functions that mean the same in R, by every name they have here.
SAME = {
    name: name
    for name in (
        "I", "log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs", "sin", "cos", "tan",
        "sinh", "cosh", "tanh", "floor", "ceiling", "round", "sign", "mean", "median", "min",
        "max", "pmin", "pmax", "ifelse", "offset", "ns", "c", "sum", "as.numeric", "as.integer",
        "cut", "relevel", "rev",
    )
} | {
    f"np.{name}": name
    for name in (
        "log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs", "sin", "cos", "tan",
        "sinh", "cosh", "tanh", "floor", "round", "sign", "mean", "median", "min", "max", "sum",
    )
} | {"np.ceil": "ceiling", "np.absolute": "abs", "np.minimum": "pmin", "np.maximum": "pmax",
     "np.where": "ifelse"}  # fmt: skip
#: Arguments of the functions that both languages have, and R's names for them.
_ARGUMENTS = {
    "poly": {"degree": "degree", "raw": "raw"},
    "scale": {"center": "center", "scale": "scale"},
    "bs": {"df": "df", "degree": "degree", "knots": "knots", "include_intercept": "intercept",
           "intercept": "intercept"},
    "center": {},
}  # fmt: skip
_CODINGS = {"Treatment": "treatment", "Sum": "sum", "Helmert": "helmert", "Diff": "diff",
            "Poly": "poly"}  # fmt: skip


@dataclass(frozen=True)
class Spelling:
    """How names are to be spelt.

    Attributes
    ----------
    column : callable
        The spelling of a column.
    coding : callable
        The R call for a category with a coding of its own, from the words of the column and of the
        coding.
    is_column : callable
        Whether a name that could be a constant is a column.
    """

    column: Callable[[str], str]
    coding: Callable[[list[Word], list[Word]], str]
    is_column: Callable[[str], bool] = lambda name: False


def in_r(line: list[Word], spelling: Spelling) -> str:
    """A formula, or a part of one, in R's spelling and with R's spacing.

    Raises
    ------
    ValueError
        Naming a function, argument or word that has no counterpart in R.
    """
    out: list[str] = []
    k = 0
    while k < len(line):
        word = line[k]
        if word.kind == "name" and is_sign(line, k + 1, "("):
            end = closing(line, k + 1)
            out.append(_call(word.text, line[k + 2 : end], spelling))
            k = end
        elif word.kind == "name":
            if word.text in _PYTHON_WORDS and not spelling.is_column(word.text):
                raise ValueError(f"{word.text!r} has no counterpart in R; {COMPUTE}")
            plain = constant(word, spelling.is_column)
            out.append(CONSTANTS[word.text] if plain else spelling.column(word.text))
        elif word.kind == "quoted":
            out.append(spelling.column(word.text[1:-1]))
        elif word.kind == "text":
            out.append('"' + unquoted(word.text).replace("\\", "\\\\").replace('"', '\\"') + '"')
        elif is_sign(line, k, "{"):  # formulaic's brackets around arithmetic
            end = closing(line, k)
            out.append(f"I({in_r(line[k + 1 : end], spelling)})")
            k = end
        elif is_sign(line, k, "["):
            raise ValueError(f"'[' has no counterpart in R here; {COMPUTE}")
        elif is_sign(line, k, "%in%"):  # formulaic adds the main effect, R does not
            raise ValueError("'%in%' is another model in R; write the terms with ':'.")
        else:
            out.append(_spaced(line, k))
        k += 1
    return "".join(out).strip()


COMPUTE = "make it a column of the data first and use that."


def _spaced(line: list[Word], k: int) -> str:
    """A sign or a number with the spaces that R puts around it."""
    word = line[k]
    sign = _SIGNS.get(word.text, word.text)
    if word.kind == "number" or sign in _TIGHT or sign in OPEN or sign in CLOSE or sign == "!":
        return sign
    if sign == ",":
        return ", "
    unary = k == 0 or (line[k - 1].kind == "sign" and line[k - 1].text not in CLOSE)
    return sign if unary and sign in ("-", "+") else f" {sign} "


def _call(name: str, inside: list[Word], spelling: Spelling) -> str:
    """A function call in R's spelling."""
    arguments = [piece for _, piece in split(inside, {","})]
    if name == "Q":
        if len(inside) != 1 or inside[0].kind != "text":
            raise ValueError("Q(...) takes one column name in quotes.")
        return spelling.column(unquoted(inside[0].text))
    if name in FACTOR:
        if not arguments:
            raise ValueError(f"{name}() needs a column.")
        if len(arguments) > 1:
            if name != "C":
                raise ValueError(
                    f"{name}(...) with more than a column can't be translated; make the column a "
                    "pandas category with its levels in the wanted order."
                )
            return spelling.coding(arguments[0], inside[len(arguments[0]) + 1 :])
        return f"factor({in_r(arguments[0], spelling)})"
    if name in _ARGUMENTS:
        return _transform(name, arguments, spelling)
    if name not in SAME:
        raise ValueError(
            f"the function {name!r} has no counterpart in R that is known here; {COMPUTE}"
        )
    return f"{SAME[name]}({', '.join(in_r(a, spelling) for a in arguments)})"


def _transform(name: str, arguments: list[list[Word]], spelling: Spelling) -> str:
    """`poly`, `scale`, `center` or `bs`, whose arguments differ."""
    known, given = _ARGUMENTS[name], []
    for argument in arguments:
        if not names_argument(argument, 0):
            given.append(in_r(argument, spelling))
            continue
        key, value = argument[0].text, in_r(argument[2:], spelling)
        if name == "scale" and key == "ddof" and value == "1":
            continue  # R's own
        if key not in known:
            raise ValueError(f"the argument {key!r} of {name}() has no counterpart in R; {COMPUTE}")
        given.append(f"{known[key]} = {value}")
    if name == "center":
        return f"scale({', '.join([*given, 'scale = FALSE'])})"
    return f"{name}({', '.join(given)})"


def syntactic(name: str) -> bool:
    """Whether R takes a name as it is."""
    return bool(re.fullmatch(r"(?:[A-Za-z]|\.(?!\d))[A-Za-z0-9._]*", name)) and name not in RESERVED


def ticked(name: str) -> str:
    """A column's name as R prints it."""
    return name if syntactic(name) else f"`{name}`"


RESERVED = {"if", "else", "repeat", "while", "function", "for", "next", "break", "in", "TRUE",
            "FALSE", "NULL", "Inf", "NaN", "NA", "T", "F"}  # fmt: skip


def _named_coding(column: list[Word], coding: list[Word]) -> str:
    """The coding of a category by its name; treatment coding goes without saying, as in R."""
    name = _CODINGS.get(coding[0].text, coding[0].text.removeprefix("contr."))
    inner = f"factor({in_r(column, NAMES)})"
    return inner if name == "treatment" else f"C({inner}, contr.{name})"


NAMES = Spelling(ticked, _named_coding)


def r_term(name: str) -> str:
    """What lme4 calls a term of the model: ``C(k)[T.1]`` is ``factor(k)1``.

    Also the key that tells whether two terms are the same, however they are spelt. A name that
    can't be read stays as it is.
    """
    if name == "Intercept":
        return "(Intercept)"
    return ":".join(_r_factor(piece) for piece in r_factors(name))


def r_factors(name: str) -> list[str]:
    """The factors of an interaction: cut at colons outside brackets and quotes."""
    pieces, start, depth, quote = [], 0, 0, ""
    for k, character in enumerate(name):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        else:
            depth += (character in OPEN) - (character in CLOSE)
            if character == ":" and depth == 0:
                pieces.append(name[start:k])
                start = k + 1
    return [*pieces, name[start:]]


def _r_factor(name: str) -> str:
    """One factor of an interaction: its expression and, after it, the level or column."""
    of, level, depth = name, "", 0
    for k, character in enumerate(name if name.endswith("]") else ""):
        if character == "[" and depth == 0 and k:
            of, level = name[:k], re.sub(r"^[A-Z]\.", "", name[k + 1 : -1])
            break
        depth += (character in OPEN) - (character in CLOSE)
    if re.fullmatch(r"-?\d+\.0", level):
        level = level[:-2]
    level = {"True": "TRUE", "False": "FALSE"}.get(level, level)
    try:
        line = words(of)
        called = line[0].text if len(line) > 1 and is_sign(line, 1, "(") else ""
        # formulaic counts raw powers from 0
        if called == "poly" and level.isdigit() and any(w.text == "raw" for w in line):
            level = str(int(level) + 1)
        # a comparison is true or false, which R makes a category of
        if called == "I" and any(w.text in _COMPARISONS for w in line if w.kind == "sign"):
            level = "TRUE"
        single = len(line) == 1 or called or is_sign(line, 0, "{")
        text = in_r(line, NAMES)
    except ValueError:
        single, text = False, of
    if not single:  # a column whose name is no word, which formulaic prints without backticks
        text = ticked(of)
    return text + level

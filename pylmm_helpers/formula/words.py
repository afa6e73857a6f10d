"""Formulas as words: what formulaic and lme4 both read, and each one's spelling of it.

A formula is cut into words once; columns, functions and arguments are told apart by their place,
so that a dotted name, a blank in backticks or an argument's name is never taken for another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_WORDS = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<quoted>`[^`]*`)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>(?:[^\W\d]|\.(?!\d))[\w.]*)
    |(?P<sign>\*\*|%in%|%%|%/%|//|<=|>=|==|!=|\|\||[-+*/^%:~(){}\[\],=<>&|!])
    |(?P<space>\s+)""",
    re.VERBOSE,
)
OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
#: Functions that make a category of a column.
FACTOR = {"C", "factor", "as.factor"}
#: Constants, and R's names for them.
CONSTANTS = {"True": "TRUE", "False": "FALSE", "None": "NULL", "TRUE": "TRUE", "FALSE": "FALSE",
              "T": "TRUE", "F": "FALSE", "NULL": "NULL", "pi": "pi", "np.pi": "pi"}  # fmt: skip


@dataclass(frozen=True)
class Word:
    """A piece of a formula; `kind` is text, quoted, number, name or sign."""

    kind: str
    text: str


def words(formula: str) -> list[Word]:
    """Cut a formula into words.

    Raises
    ------
    ValueError
        At a character that no formula has, and for brackets that do not balance.
    """
    found: list[Word] = []
    position = 0
    while position < len(formula):
        match = _WORDS.match(formula, position)
        if match is None:
            raise ValueError(f"formula {formula!r}: can't read {formula[position]!r}.")
        if match.lastgroup != "space":
            found.append(Word(str(match.lastgroup), match[0]))
        position = match.end()
    waiting: list[str] = []
    for word in found:
        if word.kind == "sign" and word.text in OPEN:
            waiting.append(OPEN[word.text])
        elif word.kind == "sign" and word.text in CLOSE and (
            not waiting or waiting.pop() != word.text
        ):  # fmt: skip
            waiting = ["unbalanced"]
            break
    if waiting:
        raise ValueError(f"formula {formula!r}: the brackets do not balance.")
    return found


def split(line: list[Word], signs: set[str]) -> list[tuple[str, list[Word]]]:
    """Cut at signs outside brackets: [(sign before, words), ...], empty pieces left out."""
    pieces: list[tuple[str, list[Word]]] = [("", [])]
    depth = 0
    for word in line:
        sign = word.text if word.kind == "sign" else ""
        depth += (sign in OPEN) - (sign in CLOSE)
        if depth == 0 and sign in signs:
            pieces.append((sign, []))
        else:
            pieces[-1][1].append(word)
    return [(sign, piece) for sign, piece in pieces if piece]


def closing(line: list[Word], start: int) -> int:
    """Position of the bracket that closes the one at `start`."""
    depth = 0
    for k in range(start, len(line)):
        sign = line[k].text if line[k].kind == "sign" else ""
        depth += (sign in OPEN) - (sign in CLOSE)
        if depth == 0:
            return k
    raise ValueError("the brackets do not balance.")


def is_sign(line: list[Word], k: int, *signs: str) -> bool:
    """Whether the word at position k is one of the signs."""
    return 0 <= k < len(line) and line[k].kind == "sign" and line[k].text in signs


def column_names(line: list[Word], is_column: Callable[[str], bool]) -> Iterator[str]:
    """Columns that a formula uses: names that are no function, argument or constant."""
    k, depth = 0, 0
    while k < len(line):
        word = line[k]
        depth += is_sign(line, k, *OPEN) - is_sign(line, k, *CLOSE)
        if word.kind == "quoted":
            yield word.text[1:-1]
        elif word.kind == "name" and is_sign(line, k + 1, "("):
            end = closing(line, k + 1)
            inside = line[k + 2 : end]
            if word.text == "Q" and len(inside) == 1 and inside[0].kind == "text":
                yield unquoted(inside[0].text)
            elif word.text in FACTOR:  # the rest is the coding
                pieces = split(inside, {","})
                yield from column_names(pieces[0][1] if pieces else [], is_column)
            else:
                yield from column_names(inside, is_column)
            k = end
        elif word.kind == "name" and not (names_argument(line, k) or constant(word, is_column)):
            yield word.text
        k += 1


def names_argument(line: list[Word], k: int) -> bool:
    """Whether the name at position k names an argument, as `degree` in ``degree=2``."""
    return is_sign(line, k + 1, "=") and (k == 0 or is_sign(line, k - 1, ",", "("))


def constant(word: Word, is_column: Callable[[str], bool]) -> bool:
    """Whether a name is a constant of the language."""
    return word.text in CONSTANTS and not is_column(word.text)


def unquoted(text: str) -> str:
    """The characters of a quoted text."""
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def cut(line: list[Word], sign: str) -> list[list[Word]]:
    """The words before the first such sign outside brackets and, where it stands, those after."""
    pieces = split(line, {sign})
    if len(pieces) < 2:
        return [line]
    first = pieces[0][1]
    return [first, line[len(first) + 1 :]]

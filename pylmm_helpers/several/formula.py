"""lme4's spelling of random terms, ``(1 + x | herd) + (1 | herd:cow)``, taken out of a formula."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pylmm_helpers._design import parse_random

_NAME = re.compile(r"(?:(?:as\.)?factor|C)\(\s*([^()]+?)\s*\)|`([^`]+)`|([^\W\d][\w.]*)")
_QUOTED = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"")
_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True)
class Bar:
    """One random term: the formula of its columns, and the columns whose combinations are its
    groups."""

    terms: str
    columns: tuple[str, ...]

    @property
    def factor(self) -> str:
        """Name of the grouping factor."""
        return ":".join(self.columns)

    def __str__(self) -> str:
        return f"({self.terms} | {self.factor})"


def has_bars(formula: Any) -> bool:
    """Whether a formula has random terms in it."""
    return isinstance(formula, str) and "|" in _QUOTED.sub("", formula)


def take_apart(formula: str) -> tuple[str, list[Bar]]:
    """The fixed part of a formula and its random terms.

    Raises
    ------
    ValueError
        For a formula without response or with unbalanced brackets, a term that is subtracted or
        stands inside another, a grouping that is no combination of columns, and for an effect that
        two terms have.
    """
    example = "write it as 'y ~ x + (1 + x | herd) + (1 | herd:cow)'"
    if formula.count("~") != 1:
        raise ValueError(f"the formula {formula!r} has no response or two of them; {example}.")
    left, right = formula.split("~")
    fixed, bars = "", []
    for sign, piece in pieces(right, "+-", formula):
        bar = split_bar(piece, formula) if "|" in _QUOTED.sub("", piece) else None
        if bar is None:
            fixed += f" {sign or '+'} {piece}"
        elif sign == "-":
            raise ValueError(
                f"the formula {formula!r} takes the random term {piece} away; leave it out instead."
            )
        else:
            bars.extend(expanded(*bar, piece))
    fixed = fixed.strip().removeprefix("+").strip() or "1"
    if fixed.startswith("-"):
        fixed = f"1 {fixed}"
    check_repeats(bars)
    return f"{left.strip()} ~ {fixed}", bars


def pieces(text: str, separators: str, formula: str) -> list[tuple[str, str]]:
    """The text split at separators outside brackets and quotes, each piece with the sign before
    it."""
    found: list[tuple[str, str]] = []
    depth, quote, sign, start = 0, "", "", 0
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"`":
            quote = letter
        elif letter in _OPEN:
            depth += 1
        elif letter in _CLOSE:
            depth -= 1
        elif depth == 0 and letter in separators:
            found.append((sign, text[start:position].strip()))
            sign, start = letter, position + 1
        if depth < 0:
            break
    if depth or quote:
        raise ValueError(f"the brackets or quotes of the formula {formula!r} don't balance.")
    found.append((sign, text[start:].strip()))
    return [(sign, piece) for sign, piece in found if piece]


def split_bar(piece: str, formula: str) -> tuple[str, str, bool]:
    """Terms, grouping and whether the bar is double, of ``(terms | grouping)``."""
    inside = piece[1:-1] if piece.startswith("(") and piece.endswith(")") else ""
    found = pieces(inside, "|", formula) if inside.count("(") == inside.count(")") else []
    double = "||" in inside
    if len(found) != 2 or inside.count("|") != 1 + double:
        raise ValueError(
            f"{piece!r} in the formula {formula!r} is no random term; write it as (1 | group), "
            "brackets included, and join terms by +."
        )
    return found[0][1], found[1][1], double


def expanded(terms: str, grouping: str, double: bool, piece: str) -> list[Bar]:
    """The random terms that one pair of brackets stands for: ``a/b`` is ``a`` and ``a:b``, and a
    double bar makes a term of each effect."""
    effects = [terms]
    if double:
        effects = []
        for term in parse_random(terms):
            effects.append("1" if str(term) == "1" else f"0 + {term}")
    columns: list[str] = []
    groupings = []
    for level in grouping.split("/"):
        names = [column_name(part, piece) for part in level.split(":")]
        columns = [*columns, *(name for name in names if name not in columns)]
        groupings.append(tuple(columns))
    return [Bar(effect, group) for group in groupings for effect in effects]


def column_name(text: str, piece: str) -> str:
    """The column that a part of a grouping names."""
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"the grouping {text.strip()!r} of the random term {piece} is no column; give columns "
            "joined by : or /, and make others first, as in data['group'] = ..."
        )
    return next(name for name in found.groups() if name is not None)


def check_repeats(bars: list[Bar]) -> None:
    """Refuse an effect that two terms of the same factor have."""
    seen: dict[tuple[frozenset[str], str], Bar] = {}
    for bar in bars:
        for term in parse_random(bar.terms):
            key = (frozenset(bar.columns), str(term))
            if key in seen:
                what = "intercept" if str(term) == "1" else f"slope of {term}"
                raise ValueError(
                    f"the random {what} of '{bar.factor}' stands in {seen[key]} and in {bar}; "
                    "leave it out of one of them, as in (0 + x | group)."
                )
            seen[key] = bar

"""lme4's spelling of random terms, ``(1 + x | herd) + (1 | herd:cow)``, taken out of a formula."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .parse import check_bars, parse_random
from .respell import respell, split

_NAME = re.compile(
    r"(?:(?:as\.)?factor|C)\(\s*(?:`([^`]+)`|([^()`]+?))\s*\)|`([^`]+)`|([^\W\d][\w.]*)"
)
_QUOTED = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True)
class Bar:
    """One random term: the formula of its columns, and the columns whose combinations are its
    groups; `double` is the text of the double bar that it came from."""

    terms: str
    columns: tuple[str, ...]
    double: str = ""

    @property
    def factor(self) -> str:
        """Name of the grouping factor."""
        return ":".join(self.columns)

    def __str__(self) -> str:
        return f"({self.terms} | {self.factor})"


def has_bars(formula: Any) -> bool:
    """Whether a formula has random terms in it."""
    if not isinstance(formula, str) or "|" not in _QUOTED.sub("", formula):
        return False
    return "~" not in formula or bool(take_apart(formula)[1])


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
    sides = [side for _, side in split(formula, "~", formula)]
    if len(sides) != 2 or not sides[0].strip():
        raise ValueError(f"the formula {formula!r} has no response or two of them; {example}.")
    left, right = sides
    fixed, bars = "", []
    for sign, piece in pieces(right, "+-", formula):
        bar = split_bar(piece, formula) if is_bar(piece, formula) else None
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
    found = [(sign, piece.strip()) for sign, piece in split(text, separators, formula)]
    return [(sign, piece) for sign, piece in found if piece]


def is_bar(piece: str, formula: str) -> bool:
    """Whether a piece has a bar that is lme4's; inside the brackets of a function it is
    Python's."""
    if "|" not in _QUOTED.sub("", piece):
        return False
    try:
        check_bars(piece, formula, "")
    except ValueError:
        return True
    return False


def split_bar(piece: str, formula: str) -> tuple[str, str, bool]:
    """Terms, grouping and whether the bar is double, of ``(terms | grouping)``."""
    inside = respell(piece)[1:-1] if piece.startswith("(") and piece.endswith(")") else ""
    bare = _QUOTED.sub("", inside)
    found = pieces(inside, "|", formula) if bare.count("(") == bare.count(")") else []
    double = "||" in bare
    if len(found) != 2 or bare.count("|") != 1 + double:
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
            effects.append("1" if str(term) == "1" else f"0 + {spelt(term)}")
    columns: list[str] = []
    groupings = []
    for _, level in split(grouping, "/", piece):
        names = [column_name(part, piece) for _, part in split(level, ":", piece)]
        columns = [*columns, *(name for name in names if name not in columns)]
        groupings.append(tuple(columns))
    whole = piece if double else ""
    return [Bar(effect, group, whole) for group in groupings for effect in effects]


def spelt(term: Any) -> str:
    """A term as a formula has it: names that are more than words in backticks."""
    return ":".join(
        f"`{factor.expr}`"
        if factor.eval_method.value == "lookup" and not factor.expr.isidentifier()
        else factor.expr
        for factor in term.factors
    )


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
    factors: dict[str, set[str]] = {}
    for bar in bars:
        if factors.setdefault(bar.factor, set(bar.columns)) != set(bar.columns):
            raise ValueError(
                f"'{bar.factor}' is a column's name and the name of the combination "
                f"{bar.factor}, both in one formula; rename the column."
            )
        for term in parse_random(bar.terms):
            key = (frozenset(bar.columns), str(term))
            if key in seen:
                what = "intercept" if str(term) == "1" else f"slope of {term}"
                raise ValueError(
                    f"the random {what} of '{bar.factor}' stands in {seen[key]} and in {bar}; "
                    "leave it out of one of them, as in (0 + x | group)."
                )
            seen[key] = bar

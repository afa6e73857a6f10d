"""The text of a formula before it is parsed: R's and patsy's spellings (which mean the same here,
and what to write for the others), brackets, and names in backticks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NoReturn

#: What is spelt otherwise in R, and what has to be left alone (quoted text and names).
SPELLINGS = re.compile(
    r"""(?<![\w.])Q\(\s*(?P<q>["'])(?P<name>[^"'`]+)(?P=q)\s*\)
    |(?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<factor>(?<![\w.])(?:as\.)?factor(?=\s*\())
    |(?P<truth>(?<![\w.])(?:TRUE|FALSE)(?![\w.(]))
    |(?P<r>%%|%/%|%in%|%\*%|(?<![\w.)\]`])\.(?![\w.])|(?<![\w.])as\.\w+(?=\s*\())""",
    re.VERBOSE,
)
#: R's words that have no counterpart of the same meaning, and what to write here.
R_WORDS = {
    "%in%": "write a:b for nesting, or np.isin(x, [1, 2]) for membership",
    "%%": "write np.mod(x, 2) for the remainder",
    "%/%": "write np.floor_divide(x, 2) for whole division",
    "%*%": "make the product a column of the data first",
    ".": "name the predictors one by one, joined by +",
    "ns": "write cr(x, df=3, constraints='center'): the same curves as ns(x, 3), other columns",
    "relevel": "write C(x, Treatment('level'))",
    "ordered": "make the column an ordered category, or write C(x, Poly)",
    "ifelse": "write np.where(condition, a, b)",
    "cut": "make the classes a column of the data first, with pd.cut",
    "interaction": "write a:b, or a*b with the main effects",
    "dummy": "write I(x == 'level') for a column of zeros and ones",
    "cbind": "give one response; fit each outcome by itself",
    "c": "write a list, such as ['a', 'b']",
    "Q": "write the name in quotes, Q('age years'), or in backticks",
    "lag": "make it a column of the data first, with data.groupby(...)['x'].shift()",
    "pmax": "write np.maximum(a, b)",
    "pmin": "write np.minimum(a, b)",
    "s": "write cr(x, df=5, constraints='center') for a smooth curve",
    "lo": "write cr(x, df=5, constraints='center') for a smooth curve",
    "rcs": "write cr(x, df=3, constraints='center') for a smooth curve",
    "is.na": "make it a column of the data first, with data['x'].isna()",
    "as.numeric": "convert the column with pd.to_numeric first",
    "as.integer": "convert the column with pd.to_numeric first",
    "as.character": "write C(x) for categories",
    "as.ordered": "make the column an ordered category, or write C(x, Poly)",
}


def respell(text: str) -> str:
    """The formula with R's and patsy's spellings in the words of this one."""

    def word(found: re.Match[str]) -> str:
        if found["name"]:
            return f"`{found['name']}`"
        if found["factor"]:
            return "C"
        if found["truth"]:
            return found["truth"].capitalize()
        if found["r"]:
            refuse_word(found["r"], text)
        return found[0]

    return SPELLINGS.sub(word, " ".join(text.splitlines()))


def refuse_word(word: str, formula: str) -> NoReturn:
    """Refuse a word of R's, with what to write here."""
    remedy = R_WORDS.get(word, "make it a column of the data first")
    raise ValueError(f"{formula!r} holds R's '{word}', which is not known here; {remedy}.")


def split(text: str, separators: str, formula: str) -> Iterator[tuple[str, str]]:
    """Split outside of brackets and quotes: (separator before the piece, piece)."""
    depth, sign, start = 0, "", 0
    for found in re.finditer(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|.", text, re.DOTALL):
        mark = found[0]
        depth += (mark in "([{") - (mark in ")]}")
        if depth < 0:
            break
        if depth == 0 and mark in separators:
            yield sign, text[start : found.start()]
            sign, start = mark, found.end()
    if depth:
        raise ValueError(f"the formula {formula!r} can't be read: its brackets do not balance.")
    yield sign, text[start:]


def hide(text: str, formula: str) -> tuple[str, Callable[[str], str]]:
    """The text with stand-ins for names in backticks, which formulaic mistakes for other words
    where they are Python's too; and what puts the names back."""
    names: list[str] = []

    def stand_in(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        if found[1].isdigit():
            refuse_number(found[1], formula)
        names.append(found[1])
        return f"_column_{len(names) - 1}_"

    hidden = re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`([^`]+)`", stand_in, text)

    def put_back(code: str) -> str:
        return re.sub(r"_column_(\d+)_", lambda found: f"`{names[int(found[1])]}`", code)

    return hidden, put_back


def refuse_number(name: str, formula: str) -> NoReturn:
    """Refuse a column whose name is a number."""
    raise ValueError(
        f"in {formula!r}, a column named '{name}' can't be told from the number; rename it first, "
        f"as in data.set_axis([f'x{{name}}' for name in data.columns], axis=1)."
    )

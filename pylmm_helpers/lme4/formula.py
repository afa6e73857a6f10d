"""An lme4 formula taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pylmm_helpers.formula import FACTOR, Word, closing, cut, is_sign, split, unquoted, words


@dataclass(frozen=True)
class RandomTerm:
    """One `(expr | group)` of an lme4 formula, `expr` in formulaic's spelling; `diagonal` for the
    double bar, `columns` for the grouping columns and `signs` for what stands between them."""

    expr: str
    group: str
    diagonal: bool
    columns: tuple[str, ...]
    signs: tuple[str, ...]
    words: tuple[Word, ...]

    def __str__(self) -> str:
        return f"({self.expr} {'||' if self.diagonal else '|'} {self.group})"


@dataclass(frozen=True)
class MixedFormula:
    """An lme4 formula taken apart; `response` and `fixed` in formulaic's spelling."""

    text: str
    response: str
    fixed: str
    random: tuple[RandomTerm, ...]
    left: tuple[Word, ...]
    right: tuple[Word, ...]

    @property
    def group_columns(self) -> list[str]:
        """Columns that serve as grouping factors, in order of appearance."""
        return list(dict.fromkeys(name for term in self.random for name in term.columns))

    @property
    def single(self) -> RandomTerm | None:
        """The random term when there is only one, of one grouping column."""
        simple = len(self.random) == 1 and not self.random[0].diagonal
        return self.random[0] if simple and len(self.group_columns) == 1 else None

    @property
    def fixed_terms(self) -> list[str]:
        """The terms of the fixed part one by one, in formulaic's spelling."""
        return [to_python(piece) for _, piece in split(list(self.right), {"+", "-"})]


_PYTHON_CONSTANTS = {"TRUE": "True", "FALSE": "False", "NULL": "None"}


def to_python(line: list[Word]) -> str:
    """R's spelling of a part of a formula in formulaic's."""
    out, k = [], 0
    while k < len(line):
        word, text = line[k], line[k].text
        if word.kind == "name" and is_sign(line, k + 1, "(") and text in FACTOR:
            end = closing(line, k + 1)
            column, *coding = cut(line[k + 2 : end], ",")
            out.append(f"C({to_python(column)}{''.join(f', {coded(c)}' for c in coding)})")
            k = end + 1
            continue
        if word.kind == "name" and not is_sign(line, k + 1, "("):
            dotted = "." in text and not text.startswith("np.")
            text = f"`{text}`" if dotted else _PYTHON_CONSTANTS.get(text, text)
        text = "**" if text == "^" else text
        spaced = word.kind == "sign" and text in ("+", "-", "*", "/", "%in%", "==")
        out.append(f" {text} " if spaced else ", " if text == "," else text)
        k += 1
    return re.sub(r"^\s*([-+])\s+", r"\1", "".join(out)).strip()


def coded(coding: list[Word]) -> str:
    """The coding of a category as formulaic reads it: a bare name is that coding by default."""
    text = "".join(word.text for word in coding)
    return f"{text}()" if len(coding) == 1 and coding[0].kind == "name" else text


def parse(formula: str) -> MixedFormula:
    """Take an lme4 formula apart.

    Raises
    ------
    ValueError
        Without `~`, with unbalanced brackets, without a `(... | group)` term, or with a grouping
        that is no column.
    """
    if not isinstance(formula, str) or "~" not in formula:
        raise ValueError(f"formula {formula!r}: write 'response ~ predictors + (1 | group)'.")
    sides = split(words(formula), {"~"})
    if len(sides) != 2 or sides[0][0] or formula.count("~") != 1:
        raise ValueError(f"formula {formula!r}: write 'response ~ predictors + (1 | group)'.")
    left, right = sides[0][1], sides[1][1]
    fixed: list[Word] = []
    random = []
    for sign, piece in split(right, {"+", "-"}):
        whole = is_sign(piece, 0, "(") and is_sign(piece, len(piece) - 1, ")")
        bars = split(piece[1:-1], {"|", "||"}) if whole else []
        if len(bars) == 2:
            random.append(_random_term(formula, bars[0][1], bars[1][1], bars[1][0] == "||"))
        else:
            plus = [Word("sign", sign or "+")] if fixed or sign == "-" else []
            fixed += [*plus, *piece]
    if not random:
        raise ValueError(f"formula {formula!r} has no random effect: add one, as in (1 | group).")
    fixed = fixed or [Word("number", "1")]
    return MixedFormula(
        formula, to_python(left), to_python(fixed), tuple(random), tuple(left), tuple(fixed)
    )


def _random_term(formula: str, expr: list[Word], group: list[Word], diagonal: bool) -> RandomTerm:
    """A random term; its grouping is a column, or several with ':' or '/' between them."""
    pieces = split(group, {":", "/"})
    columns = []
    for _, piece in pieces:
        called = len(piece) == 4 and piece[0].kind == "name" and is_sign(piece, 1, "(")
        inner = piece[2] if called and piece[0].text in {*FACTOR, "Q"} else piece[0]
        if (len(piece) != 1 and inner is piece[0]) or inner.kind not in ("name", "quoted", "text"):
            raise ValueError(
                f"formula {formula!r}: the grouping after '|' is a column, or several with ':' or "
                "'/' between them; make it a column of the data first."
            )
        columns.append(inner.text if inner.kind == "name" else unquoted(inner.text))
    signs = tuple(sign for sign, _ in pieces[1:])
    name = "".join(f"{s}{c}" for s, c in zip(("", *signs), columns, strict=True))
    return RandomTerm(to_python(expr), name, diagonal, tuple(columns), signs, tuple(expr))

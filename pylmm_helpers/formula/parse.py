"""From the text of a formula to its parts: response, predictors and known part (``offset``).

Every helper that takes a formula reads it here. formulaic parses the right-hand side. What it would
read otherwise than R users mean is put into its words first (`factor`, `Q`, `TRUE`, arithmetic on
the left), or refused with what to write instead.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import formulaic
from formulaic.parser.algos.sanitize_tokens import sanitize_python_code
from formulaic.parser.algos.tokenize import tokenize
from formulaic.parser.types import Factor, Term, Token

from .respell import hide, respell, split

_NAME = r"[A-Za-z_]\w*"
#: A sum of columns with an intercept, and a column as response where there is one.
PLAIN_SUM = re.compile(
    rf"(?:\s*{_NAME}\s*~)?\s*(?:1|{_NAME})(?:\s*\+\s*(?:1|{_NAME}))*\s*", re.ASCII
)
RESERVED = frozenset(keyword.kwlist)
#: One column: a name, dots allowed as in R, or anything in backticks.
COLUMN = re.compile(r"`([^`]+)`|([^\W\d][\w.]*)")
BAR = "Name the grouping column in groups= and the random terms in re_formula=, not in the formula."
UNCORRELATED = (
    "Random effects without correlations (||) stand in the formula of fit_lmm, as in "
    "'y ~ x + (x || g)', without groups= and re_formula=."
)
POWER = "'^' is no power of numbers in Python: write ** (or != for 'either, not both')"


@dataclass(frozen=True)
class Parsed:
    """A formula taken apart: terms (formulaic's) of the response, of the predictors, and of what is
    known to add to the linear predictor with a slope of one."""

    lhs: Any
    rhs: Any
    offset: Any


def parse(formula: Any) -> Parsed:
    """A two-sided formula."""
    if not isinstance(formula, str):
        raise ValueError(f"formula must be text such as 'y ~ x', not {type(formula).__name__}.")
    nothing = formulaic.SimpleFormula([])
    plain = plain_sum(formula)
    if plain is not None:
        if not hasattr(plain, "lhs"):
            raise ValueError(f"{formula!r} has no response; write it as 'response ~ predictors'.")
        return Parsed(plain.lhs, plain.rhs, nothing)
    text = respell(formula)
    sides = [piece for _, piece in split(text, "~", formula)]
    if len(sides) < 2 or not sides[0].strip():
        raise ValueError(f"{formula!r} has no response; write it as 'response ~ predictors'.")
    if len(sides) > 2:
        raise ValueError(f"{formula!r} holds '~' more than once; write 'response ~ predictors'.")
    check_bars(sides[1], formula, BAR)
    rest, known = take_offsets(sides[1], formula)
    check_bars(sides[0], formula, BAR)
    response = formulaic.SimpleFormula([Term([number(sides[0], formula)])])
    offset = formulaic.SimpleFormula([Term([number(part, formula)]) for part in known])
    return Parsed(response, right_side(rest, formula), offset)


def parse_random(re_formula: Any) -> Any:
    """The terms that give the columns of Z."""
    if not isinstance(re_formula, str):
        raise ValueError(
            f"re_formula must be text such as '1' or '1 + x', not {type(re_formula).__name__}."
        )
    plain = plain_sum(re_formula)
    if plain is None:
        text = respell(re_formula)
        if len(list(split(text, "~", re_formula))) == 1:
            only = "Give the terms only, such as '1 + x', and the column in groups=."
            check_bars(text, re_formula, only)
            rest, known = take_offsets(text, re_formula)
            if known:
                raise ValueError(
                    f"re_formula {re_formula!r} holds offset(...), a part that doesn't vary "
                    "between groups; write it in the formula."
                )
            return right_side(rest, re_formula)
    if plain is None or hasattr(plain, "lhs"):
        raise ValueError(f"re_formula {re_formula!r} must be one-sided, such as '1' or '1 + x'.")
    return plain


def take_offsets(text: str, formula: str) -> tuple[str, list[str]]:
    """The right-hand side without its ``offset(...)``, and what stands in them."""
    word = r"(?<![\w.])offset\s*\("
    if not re.search(word, text):
        return text, []
    rest, known = "", []
    for sign, piece in split(text, "+-", formula):
        whole = re.fullmatch(rf"\s*{word}(.*)\)\s*", piece, re.DOTALL)
        if whole and sign != "-" and not any(m in ")" for m, _ in depths(whole[1])):
            known.append(whole[1])
        elif re.search(word, re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'", "", piece)):
            raise ValueError(
                f"in {formula!r}, offset(...) must stand by itself, joined to the other terms by +."
            )
        else:
            rest += sign + piece
    return rest.strip() or "1", known


def depths(text: str) -> Iterator[tuple[str, int]]:
    """Brackets that close what the text has not opened, with their positions."""
    depth = 0
    for position, mark in enumerate(re.sub(r"\"[^\"]*\"|'[^']*'|`[^`]*`", "", text)):
        depth += (mark == "(") - (mark == ")")
        if depth < 0:
            yield mark, position


def expression(code: str, put_back: Callable[[str], str]) -> Factor:
    """A column, or arithmetic that Python can read."""
    whole = put_back(code)
    column = COLUMN.fullmatch(whole)
    if column:
        return Factor(column[1] or column[2], eval_method="lookup")
    return Factor(whole, eval_method="python")


def number(text: str, formula: str) -> Factor:
    """A column, or arithmetic on columns, as it stands on the left and in ``offset(...)``."""
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    hidden, put_back = hide(text, formula)
    if COLUMN.fullmatch(hidden):
        return expression(hidden, put_back)
    try:
        code = sanitize_python_code(hidden)
        if isinstance(ast.parse(code, mode="eval").body, ast.Tuple):
            raise SyntaxError("a comma")
    except Exception as error:
        raise unreadable(formula, f"'{text}' is no arithmetic on columns", text) from error
    check_code(code, formula)
    return expression(code, put_back)


def right_side(text: str, formula: str) -> Any:
    """formulaic's terms; its errors become ValueErrors that show the formula."""
    plain = plain_sum(text)
    if plain is not None and not hasattr(plain, "lhs"):
        return plain
    hidden, put_back = hide(text, formula)
    try:
        tokens = list(tokenize(hidden))
        odd = odd_operators(tokens, put_back)
        parsed = None if odd else formulaic.Formula(hidden)
    except Exception as error:
        raise unreadable(formula, put_back(plain_words(error)), text) from error
    if odd:
        raise ValueError(f"in {formula!r}, {odd}.")
    if not tokens:
        raise ValueError(f"{formula!r} ends too early; write 1 for an intercept alone.")
    if not isinstance(parsed, formulaic.SimpleFormula):
        raise unreadable(formula, "it has more than one part", text)
    check_minus(hidden, formula, put_back)
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        term = token.kind in (Token.Kind.NAME, Token.Kind.PYTHON)
        if term and after is not None and after.token in ("^", "**"):
            name = put_back(token.token)
            raise ValueError(
                f"in {formula!r}, {name}{after.token}... crosses a term with itself and leaves it "
                f"as it is; write I({name}**2) for the square."
            )
    return formulaic.SimpleFormula(
        [Term([final(factor, formula, put_back) for factor in term.factors]) for term in parsed]
    )


def final(factor: Factor, formula: str, put_back: Callable[[str], str]) -> Factor:
    """A factor as formulaic has read it, with its names put back."""
    if factor.eval_method.value == "literal":
        return factor
    if factor.eval_method.value == "lookup":
        return Factor(put_back(factor.expr).strip("`"), eval_method="lookup")
    check_code(factor.expr, formula)
    return expression(factor.expr, put_back)


def odd_operators(tokens: list[Token], put_back: Callable[[str], str]) -> str:
    """What is wrong with numbers beside ``*``, ``/`` and ``:``, and with operators that follow each
    other: formulaic reads some of them, and drops or rescales a term."""
    for left, sign, right in zip(tokens, tokens[1:], tokens[2:], strict=False):
        numbers = Token.Kind.VALUE in (left.kind, right.kind)
        if sign.kind is Token.Kind.OPERATOR and sign.token in ("*", "/", ":") and numbers:
            shown = put_back(left.token + sign.token.replace(":", "*") + right.token)
            return (
                f"'{sign.token}' beside a number joins terms and is no arithmetic; write I({shown})"
            )
    for token in tokens:
        signs = set(token.token)
        if token.kind is Token.Kind.OPERATOR and signs & set("+-") and signs & set("*/:^"):
            return f"the signs {token.token} follow each other, which can't be read"
    return ""


def check_minus(text: str, formula: str, put_back: Callable[[str], str]) -> None:
    """Refuse to take away a term that is not there: arithmetic was meant."""
    before = ""
    for sign, piece in split(text, "+-", formula):
        if sign == "-" and before.strip(" +-") and not re.fullmatch(r"\s*[01]?\s*", piece):
            there, taken = (
                {frozenset(factor.expr for factor in term.factors) for term in formulaic.Formula(t)}
                for t in (before.rstrip(" +-"), piece)
            )
            if not taken - {frozenset("1")} <= there:
                gone = put_back(piece.rstrip())
                last = put_back(before.split("+")[-1].strip())
                raise ValueError(
                    f"in {formula!r}, '-{gone}' takes away a term that is not there; for "
                    f"arithmetic write I({last} -{gone})."
                )
        before += sign + piece


def check_bars(text: str, formula: str, remedy: str) -> None:
    """Refuse lme4's bars; inside the brackets of a function they are Python's."""
    try:
        tokens = list(tokenize(text))
    except Exception as error:
        raise unreadable(formula, plain_words(error), text) from error
    bars = [t.token for t in tokens if t.kind is Token.Kind.OPERATOR and "|" in t.token]
    if any("||" in bar for bar in bars):
        raise ValueError(f"{formula!r} contains '||'. {UNCORRELATED}")
    if bars:
        raise ValueError(f"{formula!r} contains '|'. {remedy}")


def check_code(code: str, formula: str) -> None:
    """Refuse ``^`` in arithmetic, where Python would combine bits."""
    if any(isinstance(node, ast.BitXor) for node in ast.walk(ast.parse(code.strip(), mode="eval"))):
        raise ValueError(f"in {formula!r}, '{code}' can't be computed: {POWER}.")


def unreadable(formula: str, reason: str, text: str) -> ValueError:
    """The error for what can't be parsed."""
    unquoted = re.sub(r"\"[^\"]*\"|'[^']*'|`[^`]*`", "", text)
    blank = re.search(r"([^\W\d]\w*) +([^\W\d]\w*)", unquoted)
    hint = f" A name with a blank needs backticks: `{blank[0]}`." if blank else ""
    if "invalid syntax" in reason:
        hint += " An expression of Python's stands in I(...)."
    if "^" in unquoted:
        hint = f" Inside brackets, {POWER}."
    return ValueError(f"the formula {formula!r} can't be read: {reason.rstrip('.')}.{hint}")


def plain_words(error: BaseException) -> str:
    """First line of an error, without codes for colours on a terminal."""
    lines = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def plain_sum(text: str) -> Any:
    """The formula of a sum of columns such as ``y ~ x + z``, without formulaic's parser, which
    takes longer than a small fit; else None."""
    if not PLAIN_SUM.fullmatch(text):
        return None
    left, _, right = text.rpartition("~")
    names = dict.fromkeys(["1", *re.findall(r"\w+", right)])
    if not RESERVED.isdisjoint([*names, left.strip()]):
        return None
    rhs = formulaic.SimpleFormula([Term([factor(name)]) for name in names])
    if not left:
        return rhs
    lhs = formulaic.SimpleFormula([Term([factor(left.strip())])])
    return formulaic.StructuredFormula(lhs=lhs, rhs=rhs)


def factor(name: str) -> Factor:
    """A column, or the constant."""
    return Factor(name, eval_method="literal" if name == "1" else "lookup")

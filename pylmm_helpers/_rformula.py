"""An lme4 formula taken apart, and the data as R gets them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers._arguments import one_of
from pylmm_helpers._columns import as_frame


@dataclass(frozen=True)
class RandomTerm:
    """One `(expr | group)` of an lme4 formula; `diagonal` for the double bar."""

    expr: str
    group: str
    diagonal: bool = False


@dataclass(frozen=True)
class MixedFormula:
    """An lme4 formula taken apart; `response` and `fixed` in formulaic's spelling."""

    text: str
    response: str
    fixed: str
    random: tuple[RandomTerm, ...]

    @property
    def group_columns(self) -> list[str]:
        """Columns that serve as grouping factors, in order of appearance."""
        names = [c for t in self.random for c in re.split(r"[:/]", t.group)]
        return list(dict.fromkeys(names))

    @property
    def single(self) -> RandomTerm | None:
        """The random term when there is only one, unnested: what `fit_lmm` can fit."""
        simple = len(self.random) == 1 and not self.random[0].diagonal
        return self.random[0] if simple and len(self.group_columns) == 1 else None


def _top_level(text: str, separators: str) -> list[tuple[str, str]]:
    """Split at separators outside brackets: [(separator before, piece), ...]."""
    pieces: list[tuple[str, str]] = []
    depth, sign, start = 0, "", 0
    for i, ch in enumerate(text):
        depth += (ch in "([") - (ch in ")]")
        if depth == 0 and ch in separators:
            pieces.append((sign, text[start:i].strip()))
            sign, start = ch, i + 1
    pieces.append((sign, text[start:].strip()))
    return [(s, p) for s, p in pieces if p]


def to_python(text: str) -> str:
    """R spelling of a formula part to formulaic's."""
    return re.sub(r"\b(?:as\.)?factor\(", "C(", text).replace("^", "**")


def to_r(text: str) -> str:
    """Formulaic's spelling of a formula to R's."""
    if re.search(r"\bC\([^()]*,", text):
        raise ValueError(
            f"formula {text!r}: contrasts inside C(...) have no R counterpart here; make the "
            "column a pandas category whose first level is the reference and use its plain name."
        )
    text = re.sub(r"\bC\(", "factor(", text)
    return re.sub(r"\bnp\.(log|exp|sqrt|log10|log2|log1p|abs)\(", r"\1(", text)


def parse(formula: str) -> MixedFormula:
    """Take an lme4 formula apart.

    Raises
    ------
    ValueError
        Without `~`, with unbalanced brackets, or without a `(... | group)` term.
    """
    if not isinstance(formula, str) or formula.count("~") != 1:
        raise ValueError(f"formula {formula!r}: write 'response ~ predictors + (1 | group)'.")
    if formula.count("(") != formula.count(")"):
        raise ValueError(f"formula {formula!r}: the brackets do not balance.")
    left, right = (part.strip() for part in formula.split("~"))
    fixed, random = "", []
    for sign, piece in _top_level(right, "+-"):
        inner = piece[1:-1] if piece.startswith("(") and piece.endswith(")") else ""
        bars = _top_level(inner, "|")
        if inner and len(bars) == 2:
            random.append(RandomTerm(to_python(bars[0][1]), bars[1][1].replace(" ", ""),
                                     "||" in inner))  # fmt: skip
        else:
            fixed += f" {sign or '+'} {piece}"
    if not random:
        raise ValueError(f"formula {formula!r} has no random effect: add one, as in (1 | group).")
    fixed = fixed.strip().removeprefix("+").strip() or "1"
    return MixedFormula(formula, to_python(left), to_python(fixed), tuple(random))


def used_columns(parsed: MixedFormula, data: pd.DataFrame) -> list[str]:
    """Columns of `data` that the formula uses, in the order of `data`.

    Raises
    ------
    ValueError
        Naming a variable of the formula that is no column of `data`.
    """
    from formulaic import Formula

    wanted = set(parsed.group_columns)
    for part in (parsed.response, parsed.fixed, *(t.expr for t in parsed.random)):
        try:
            wanted |= {str(v) for v in Formula(part).required_variables}
        except Exception as error:  # formulaic has many parser errors; all mean a bad formula
            raise ValueError(f"formula {parsed.text!r}: cannot read {part!r}: {error}") from error
    unknown = sorted(wanted - set(data.columns))
    if unknown:
        raise ValueError(
            f"formula {parsed.text!r} uses {', '.join(map(repr, unknown))}, which the data do not "
            f"have. Columns: {', '.join(map(str, data.columns))}."
        )
    return [str(c) for c in data.columns if c in wanted]


def model_frame(parsed: MixedFormula, data: pd.DataFrame, missing: str = "raise") -> pd.DataFrame:
    """The rows and columns the model uses, categories without unused levels.

    Raises
    ------
    ValueError
        For missing or infinite values (naming the column), unless `missing="drop"` drops rows
        with missing ones.
    """
    one_of(missing, ("raise", "drop"), "missing")
    data = as_frame(data)
    frame = data[used_columns(parsed, data)]
    gaps = frame.isna().sum()
    if gaps.any() and missing == "raise":
        named = ", ".join(f"{c} ({k})" for c, k in gaps[gaps > 0].items())
        raise ValueError(f"missing values in {named}: use missing='drop' or fill them first.")
    frame = frame.dropna().reset_index(drop=True)
    if frame.empty:
        raise ValueError("no complete row is left for the model: check the columns for gaps.")
    for column in frame.columns:
        values = frame[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            frame[column] = values.cat.remove_unused_categories()
        elif pd.api.types.is_numeric_dtype(values) and not np.isfinite(values.astype(float)).all():
            raise ValueError(f"column {column!r} has an infinite value: correct or drop that row.")
    return frame


def r_frame(parsed: MixedFormula, frame: pd.DataFrame) -> pd.DataFrame:
    """`model_frame` as R gets it: float64 columns and unordered factors of strings.

    Levels keep pandas' category order, or are sorted as formulaic sorts them, so that both
    languages take the same reference level. Integer grouping columns become factors.
    """
    grouping = set(parsed.group_columns)
    out = {}
    for column in frame.columns:
        values = frame[column]
        numeric = pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)
        if numeric and column not in grouping:
            out[column] = values.astype(float)
            continue
        if isinstance(values.dtype, pd.CategoricalDtype):
            levels = list(values.cat.categories)
        else:
            levels = sorted(values.unique())
        factor = pd.Series(pd.Categorical(values, categories=levels), index=values.index)
        out[column] = factor.cat.rename_categories([str(level) for level in levels])
    return pd.DataFrame(out)


def levels_of(frame: pd.DataFrame, group: str) -> dict[str, Any]:
    """R's level names of one grouping column, each with the value pandas has for it."""
    return {str(v): v for v in frame[group].unique()} if group in frame else {}

"""Double bars beside categories: what ``(k || g)`` can't mean is refused with what to write."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from itertools import permutations
from typing import Any, Protocol

import numpy as np
import pandas as pd

from .bars import Bar, spelt
from .evaluate import QUOTED

#: Share of the largest singular value of scaled columns below which they depend on each other.
DEPENDENT = 1e-9


class Columns(Protocol):
    """What is asked of a random term: its terms, columns and rows."""

    @property
    def terms(self) -> Any: ...
    @property
    def frame(self) -> pd.DataFrame: ...
    @property
    def Z(self) -> Any: ...
    @property
    def z_names(self) -> tuple[str, ...]: ...


def check_double(bars: Sequence[Bar], parts: Sequence[Columns]) -> None:
    """Refuse true and false under a double bar, and effects there whose columns overlap."""
    doubles = [(bar, part) for bar, part in zip(bars, parts, strict=True) if bar.double]
    for bar, part in doubles:
        for term in part.terms["random"]:
            for factor in term.factors:
                if is_truth(factor, part.frame):
                    refuse_truth(factor, bar)
    for (bar, part), (other, beside) in permutations(doubles, 2):
        if bar.double != other.double or bar.columns != other.columns or part.Z.shape[1] < 2:
            continue
        both = np.hstack([part.Z, beside.Z])
        root = np.asarray(np.linalg.qr(both / np.linalg.norm(both, axis=0), mode="r"))
        if np.linalg.matrix_rank(root, tol=DEPENDENT) < root.shape[1]:
            k, rest = name_of(part), name_of(beside)
            raise ValueError(
                f"in {bar.double}, {k} stands for categories, and their columns "
                f"({', '.join(part.z_names[:3])}) hold that of {rest} too, so the variances can't "
                f"be told apart. Write ({bar.terms} | {bar.factor}), without a random effect of "
                f"{rest}: an effect for each category, with their covariances."
            )


def name_of(part: Columns) -> str:
    """The effect of a term made by a double bar."""
    names = [str(term) for term in part.terms["random"]]
    return "the intercept" if names == ["1"] else " + ".join(names)


def is_truth(factor: Any, frame: pd.DataFrame) -> bool:
    """Whether a factor is a column of true and false, or a comparison."""
    if factor.eval_method.value == "lookup":
        return factor.expr in frame and pd.api.types.is_bool_dtype(frame[factor.expr])
    if factor.eval_method.value != "python":
        return False
    node = ast.parse(QUOTED.sub("_", factor.expr).strip(), mode="eval").body
    while isinstance(node, ast.Call) and ast.unparse(node.func) == "I" and node.args:
        node = node.args[0]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        return True
    return isinstance(node, ast.Compare) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert)
    )


def refuse_truth(factor: Any, bar: Bar) -> None:
    """Refuse true and false, of which lme4 makes two effects there."""
    name = spelt(type("Only", (), {"factors": [factor]}))
    raise ValueError(
        f"in {bar.double}, {name} is true or false. lme4 makes an effect of each there; write "
        f"(0 + C({name}) | {bar.factor}) for that, or make it a number, such as data['number'] = "
        f"({name}).astype(int), for the difference alone."
    )

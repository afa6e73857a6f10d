r"""Analysis of variance of balanced nested designs: batches, casks within batches, rows within
casks.

With :math:`r_k` rows for each level of stage k, sums of squares of the levels' means around those
of the stage above are independent, and
:math:`E(MS_k) = \sigma^2 + \sum_{j \ge k} r_j \sigma_j^2` over the stages from k downwards, so that
:math:`(MS_k - MS_{k+1}) / r_k` estimates :math:`\sigma_k^2` and :math:`MS_k / MS_{k+1}` tests it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from pylmm_helpers.common import Array, counted
from pylmm_helpers.formula import as_frame, group_codes, require_column

NEGATIVE = (
    "negative estimate: its levels differ less than chance and the stage below would make them; "
    "report it and use 0, or fit by REML, which stays at or above 0"
)


def are_stages(groups: Any, data: Any) -> bool:
    """Whether `groups` names several grouping columns rather than the group of each row."""
    if data is None or not isinstance(groups, list | tuple) or not groups:
        return False
    if not all(isinstance(name, str) for name in groups):
        return False
    frame = as_frame(data)
    return all(name in frame.columns for name in groups) or len(groups) != len(frame)


def stages(data: Any, groups: Sequence[str]) -> list[NDArray[np.intp]]:
    """Level of each row (n,) at each stage, from top to bottom; a stage's labels count within
    those of the stages above."""
    frame, found = as_frame(data), []
    if len(set(groups)) < len(groups):
        raise ValueError(f"a column stands twice in groups, {list(groups)}; name each once")
    codes: NDArray[np.intp] = np.zeros(len(frame), dtype=np.intp)
    for name in groups:
        require_column(frame, name)
        gaps = int(frame[name].isna().sum())
        if gaps:
            raise ValueError(
                f"column {name!r} has {counted(gaps, 'missing value')}; drop those rows first"
            )
        own, labels = group_codes(frame[name], name)
        codes = np.unique(codes * len(labels) + own, return_inverse=True)[1].astype(np.intp)
        found.append(codes)
    return found


def nested_components(
    y: Array, codes: list[NDArray[np.intp]], groups: Sequence[str], remedy: str
) -> pd.DataFrame:
    """The table of `anova_components` for stages that are nested in each other."""
    names = [":".join(groups[: k + 1]) for k in range(len(groups))]
    rows = rows_of_levels(codes, names, remedy)
    n = len(y)
    levels = np.array([1, *(n // r for r in rows), n])
    df = np.diff(levels)
    for k, name in enumerate(names):
        if df[k] < 1:
            upper = f"level of {names[k - 1]!r}" if k else "data set"
            raise ValueError(
                f"each {upper} has a single level of {name!r}, so their variances can't be told "
                f"apart; leave {groups[k]!r} out of groups"
            )
    if df[-1] < 1:
        raise ValueError(
            f"each level of {names[-1]!r} has a single row, so no row is left to estimate the "
            f"variance within; leave {groups[-1]!r} out of groups"
        )
    centred = y - y.mean()
    means = [np.zeros(n)]
    for k, own in enumerate(codes):
        means.append((np.bincount(own, centred) / rows[k])[own])
    means.append(centred)
    ss = np.array([np.sum((b - a) ** 2) for a, b in pairwise(means)])
    if ss[-1] <= 1e-24 * max(float(centred @ centred), 1e-300):
        raise ValueError(
            f"the response does not vary within the levels of {names[-1]!r}; there is no residual "
            "variance to compare with"
        )
    ms = ss / df
    variance = np.append((ms[:-1] - ms[1:]) / rows, ms[-1])
    tests = ms[:-1] / ms[1:]
    return pd.DataFrame(
        {
            "df": df,
            "sum_sq": ss,
            "mean_sq": ms,
            "expected_mean_sq": expected(rows, names),
            "rows": [*rows, 1],
            "variance": variance,
            "sd": np.sqrt(np.maximum(variance, 0.0)),
            "f": [*tests, np.nan],
            "tested_against": [*names[1:], "within", ""],
            "p_value": [*f_distribution.sf(tests, df[:-1], df[1:]), np.nan],
            "note": [NEGATIVE if v < 0.0 else "" for v in variance],
        },
        index=pd.Index([*names, "within"], name="source"),
    )


def expected(rows: list[int], names: list[str]) -> list[str]:
    """Expected mean squares in words, from top to bottom."""
    terms = [f"{r} var({name})" for r, name in zip(rows, names, strict=True)]
    return [" + ".join(["var(within)", *reversed(terms[k:])]) for k in range(len(terms) + 1)]


def rows_of_levels(codes: list[NDArray[np.intp]], names: list[str], remedy: str) -> list[int]:
    """Rows of each level of every stage; refuses unequal numbers."""
    found = []
    for k, own in enumerate(codes):
        sizes = np.bincount(own)
        above = codes[k - 1] if k else np.zeros(len(own), dtype=np.intp)
        parent = np.zeros(len(sizes), dtype=np.intp)
        parent[own] = above
        children = np.bincount(parent)
        for what, counts in ((f"levels of {names[k]!r}", children), ("rows", sizes)):
            if counts.min() < counts.max():
                whose = names[k] if what == "rows" else names[k - 1]
                raise ValueError(
                    f"the design is not balanced: levels of {whose!r} have {counts.min()} to "
                    f"{counts.max()} {what}. Mean squares then have no simple expectation; fit "
                    f"{remedy} by REML instead, and take variance_components(fit)"
                )
        found.append(int(sizes[0]))
    return found

"""The sentences of a report on variances and what rows share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from pylmm_helpers.engine import SeveralResults
from pylmm_helpers.inference import profile_ci
from pylmm_helpers.quantities import icc, weight_of

from .numbers import decimals, three
from .terms import factor_in_words, together
from .words import Words, squared

#: In place of a variance that the data can't tell from others.
UNKNOWN = "not estimable"


def factor_words(words: Words, several: bool) -> str:
    """The grouping factor of a term in words."""
    names = words.res.fit.group_names if several else ()
    return factor_in_words(str(words.res.groups), names, words.name)


def has_intervals(res: Any) -> bool:
    """Whether variances of this fit have profile intervals."""
    return res.structure is None


def variance_intervals(
    res: Any, every: Sequence[Words], level: float
) -> dict[str, tuple[float, float]]:
    """Profile intervals of the variances by the name of their root, "sigma" among them; none where
    `profile_ci` doesn't take the fit, or an end isn't known."""
    if not has_intervals(res):
        return {}
    names = [sd_name(res, words, str(term)) for words in every for term in words.res.cov_re.index]
    table = profile_ci(res, level=level, parameters=[*names, "sigma"])
    ends = table[["ci_low", "ci_high"]].to_numpy(dtype=float) ** 2
    return {
        str(name): (float(low), float(high))
        for name, (low, high) in zip(table.index, ends, strict=True)
        if np.isfinite([low, high]).all()
    }


def sd_name(res: Any, words: Words, term: str) -> str:
    """What `profile_ci` calls the standard deviation of a random effect."""
    return f"sd({term} | {words.res.groups})" if isinstance(res, SeveralResults) else f"sd({term})"


def variance(value: float, unit: str, ends: tuple[float, float] | None, level: float) -> str:
    """A variance with its root, its interval and their units."""
    if np.isnan(value):
        return UNKNOWN
    square, plain = (f" {u}" if u else "" for u in (squared(unit), unit))
    interval = ""
    if ends is not None:
        low, high = ends
        interval = f"; {100 * level:g}% CI of the variance {three(low)} to {three(high)}"
    return f"{three(value)}{square} (SD {three(np.sqrt(value))}{plain}{interval})"


def where_zero(words: Words) -> tuple[str, float | None, str]:
    """For a term with slopes: the place that its intercept's variance belongs to; and where that
    isn't the mean of the predictors, the variance there and its place."""
    terms = [str(t) for t in words.res.cov_re.index]
    slopes = [t for t in terms if t != "Intercept"]
    names = [words.term(t) for t in slopes]
    place = f"where {' and '.join(names)} {'= 0' if len(names) == 1 else 'are 0'}"
    design = words.res.design
    if design is None or not all(t in design.frame.columns for t in slopes):
        return place, None, ""
    columns = [np.asarray(design.z_columns[list(design.z_names).index(t)]) for t in slopes]
    if any(words.is_difference(t) for t in slopes):
        return place, None, ""
    means = [float(c.mean()) for c in columns]
    if all(abs(m) <= 1e-8 * float(c.std()) for m, c in zip(means, columns, strict=True)):
        return f"{place}, {'its mean' if len(names) == 1 else 'their means'},", None, ""
    z = np.array([1.0 if t == "Intercept" else means[slopes.index(t)] for t in terms])
    G = words.res.cov_re.to_numpy(dtype=float)
    at = ", ".join(f"{n} = {three(m)}" for n, m in zip(names, means, strict=True))
    return place, float(z @ G @ z), f"At the mean, {at}"


def variances(res: Any, every: Sequence[Words], level: float) -> str:
    """Variances and correlations of all random terms, and the residual's."""
    several = isinstance(res, SeveralResults)
    ends = variance_intervals(res, every, level)
    parts, more = [], []
    for words in every:
        factor, terms = factor_words(words, several), [str(t) for t in words.res.cov_re.index]
        G = words.res.cov_re.to_numpy(dtype=float)
        for k, term in enumerate(terms):
            what = f"variance of the {words.effect(term)}"
            what += f" between {factor} levels" if several else ""
            if term == "Intercept":
                plain = f"between-{factor} variance"
                plain = f"variance between levels of {factor}" if " " in factor else plain
                what = plain
                all_terms = slopes_beside(every, words)
                if all_terms is not None:
                    place, there, at = where_zero(all_terms)
                    what += f" {place}"
                    if there is not None and np.isfinite(there):
                        size = variance(there, words.unit, None, level)
                        more.append(f" {at}, the {plain} was {size}.")
            size = variance(
                G[k, k], words.unit_of(term), ends.get(sd_name(res, words, term)), level
            )
            parts.append(f"the {what} was {size}")
    weighted = res.cross.mean_weight is not None
    known = several or res.identification.residual
    residual = (
        variance(float(res.scale), every[0].unit, ends.get("sigma"), level) if known else UNKNOWN
    )
    which = "residual variance of weight 1" if weighted else "residual variance"
    text = f"T{', '.join(parts)[1:]}, and the {which} was {residual}.{''.join(more)}"
    return text + "".join(correlations(words) for words in every)


def slopes_beside(every: Sequence[Words], words: Words) -> Words | None:
    """The term itself if it has slopes, or the factor's effects together if another term has."""
    if len(words.res.cov_re.index) > 1:
        return words
    beside = [w for w in every if w.res.groups == words.res.groups and w is not words]
    return replace(words, res=together([words.res, *(w.res for w in beside)])) if beside else None


def correlations(words: Words) -> str:
    """A sentence for each correlation of a term."""
    terms = [str(t) for t in words.res.cov_re.index]
    names = [words.effect(t) for t in terms]
    G = words.res.cov_re.to_numpy(dtype=float)
    text = ""
    for j, i in combinations(range(len(terms)), 2):
        if (size := np.sqrt(G[i, i] * G[j, j])) > 0 and np.isfinite(G[i, j]):
            share = decimals(G[i, j] / size, 2)
            text += f" The correlation of {names[j]} and {names[i]} was {share}."
    return text


def shared(res: Any, every: Sequence[Words], level: float, weight: float | None) -> str:
    """The intraclass correlation, of rows that share each factor; nothing where rows differ in it:
    with slopes, with a structure of the residuals, and with weights of which none is named."""
    weighted = res.cross.mean_weight is not None
    at = weight_of(res, weight, "the intraclass correlation") if weight is not None else 1.0
    intercepts = all(list(words.res.cov_re.index) == ["Intercept"] for words in every)
    if not intercepts or res.structure is not None or (weighted and weight is None):
        return ""
    found = icc(res, level=level, weight=weight)
    given = "" if list(res.fe_params.index) == ["Intercept"] else ", given the predictors,"
    rows = f" of rows of weight {at:g}" if weighted else ""
    kind = f"{100 * level:g}% profile likelihood CI"

    def size(row: Any) -> str:
        low, high = (decimals(row[end], 2) for end in ("ci_low", "ci_high"))
        return f"{decimals(row['estimate'], 2)} ({kind} {low} to {high})"

    if not isinstance(res, SeveralResults):
        factor = factor_words(every[0], False)
        rows = rows.replace("of rows", "of two rows") or " of two rows"
        return f" The intraclass correlation{rows} of the same {factor}{given} was {size(found)}."
    named = {words.res.groups: factor_words(words, True) for words in every}
    parts = [f"{size(found.loc[g])} for rows of the same {name}" for g, name in named.items()]
    rows = rows.replace("of rows", "of two rows") or " of two rows"
    return (
        f" The intraclass correlation{rows} that share no other level{given} was "
        f"{', '.join(parts[:-1])} and {parts[-1]}."
    )

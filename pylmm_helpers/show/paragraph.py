"""The paragraph of methods and results that a paper needs, written from the fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import one_of
from pylmm_helpers.engine import LMMResults, SeveralResults, any_results
from pylmm_helpers.inference import coef_table
from pylmm_helpers.quantities import check_level

from .numbers import decimals, places, three
from .spread import factor_words, has_intervals, shared, variances
from .structure import structure_methods, structure_results
from .terms import terms_of
from .words import Words, words_for

__all__ = ["Report", "report"]

DF_WORDS = {
    "kenward-roger": "Kenward and Roger's standard errors and degrees of freedom",
    "satterthwaite": "Satterthwaite's degrees of freedom",
    "wald": "the normal approximation (Wald)",
}
#: No-break space: a test stays on one line. Only tests have it, so that italics find them by it.
NB = "\N{NO-BREAK SPACE}"


class Report(str):
    """The text of a report; notebooks and the book set it as paragraphs."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        # a term such as I(x**2) or x[T.b] is text, not markup
        text = re.sub(r"([*\[\]])", r"\\\1", str(self))
        return re.sub(rf"\b([tzp])((?:\([\d.]+\))?{NB}[=<]{NB})", r"*\1*\2", text)

    def __repr__(self) -> str:
        return str(self)


def report(
    fit: Any,
    df: str | None = None,
    unit: str = "",
    level: float = 0.95,
    labels: Mapping[str, str] | None = None,
    per: Mapping[str, str] | None = None,
    weight: float | None = None,
) -> Report:
    """Write the methods-and-results paragraphs of a fitted model.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        A fitted linear mixed model.
    df : {"kenward-roger", "satterthwaite", "wald"}, optional
        Method for the fixed effects; Kenward-Roger for REML fits and Satterthwaite for ML fits and
        for fits with correlated residuals or variances that differ, unless chosen.
    unit : str
        Unit of the response, such as ``"kg"``. The coefficient of a category, or of a column of 0
        and 1, is a difference and has this unit; any other is in "kg per unit", or see `per`.
    level : float
        Confidence level.
    labels : mapping of str to str, optional
        Words for columns (response, groups, predictors) and terms, such as
        ``{"milk_kg": "milk solids", "I(parity**2)": "parity squared"}``. A name without a label
        stands as it is.
    per : mapping of str to str, optional
        Units of predictors, by column or term: with ``{"parity": "lactation"}`` the coefficient is
        in "kg per lactation". An interaction takes the units of its parts.
    weight : float, optional
        For a fit with weights: the weight of the rows whose ICC is reported. Without it there is
        none, because rows of different weights have different ones.

    Returns
    -------
    Report
        A string of two paragraphs; shown as Markdown, it has t, z and p in italics. Methods:
        estimation, model with every random term, numbers of rows and of each factor's levels,
        weights, how tests were made, software. Results: variances with standard deviations and
        profile intervals (see `profile_ci`); in a model with slopes, where the intercept's variance
        belongs, and the variance at the mean; the ICC with a profile likelihood interval (random
        intercepts only, and residuals that are independent and alike), and which rows it is about;
        what `correlation` and `variances` gave; fixed effects with intervals and tests. A
        singular fit, one that did not converge and rows that were dropped are said. Estimates are
        rounded to the second digit of their standard error.

    Raises
    ------
    ValueError
        For an unknown method, Kenward-Roger with a maximum-likelihood fit, or a label or unit of
        something that the model and its data lack.
    """
    res = any_results(fit, structures=True)
    one_of(df, (None, *DF_WORDS), "df")
    every = words_for(terms_of(res), unit, labels, per)
    plain = res.reml and res.structure is None
    method = df or ("kenward-roger" if plain else "satterthwaite")
    table = coef_table(res, df=method, level=check_level(level))
    parts = [
        _methods(fit, res, every, method, level), _results(res, every, table, level, weight)
    ]  # fmt: skip
    return Report("\n\n".join(parts))


def _methods(fit: Any, res: Any, every: Sequence[Words], method: str, level: float) -> str:
    estimation = "restricted maximum likelihood (REML)" if res.reml else "maximum likelihood (ML)"
    words = every[0]
    text = (
        f"We fitted a linear mixed model for {words.name(res.endog_name)} by {estimation}, with "
        f"{words.fixed()}{_random(res, every)}."
    )
    if res.cross.mean_weight is not None:
        text += (
            " Rows have prior weights (mean "
            f"{three(res.cross.mean_weight)}): the residual variance of a row is the residual "
            "variance of weight 1 over its weight."
        )
    text += structure_methods(res, words)
    if res.n_dropped:
        rows = "row" if res.n_dropped == 1 else "rows"
        text += f" {res.n_dropped:,} {rows} with missing values were left out."
    text += (
        f" Tests and {100 * level:g}% confidence intervals (CI) of fixed effects use "
        f"{DF_WORDS[method]}"
    )
    if has_intervals(res):
        text += f"; those of variances profile the {'REML criterion' if res.reml else 'likelihood'}"
    return f"{text}. {_software(fit)}"


def _random(res: Any, every: Sequence[Words]) -> str:
    """Random terms, rows and levels."""
    if not isinstance(res, SeveralResults):
        words = every[0]
        return (
            f" and {words.random()} for each {words.name(res.groups)}, to {res.nobs:,} "
            f"observations in {res.ngroups:,} groups ({_spread(res.cross.sizes)})"
        )
    parts, levels = [], []
    for group in dict.fromkeys(words.res.groups for words in every):
        own = [words for words in every if words.res.groups == group]
        name = factor_words(own[0], True)
        apart = ", uncorrelated," if len(own) > 1 else ""
        parts.append(f"{' and '.join(w.random() for w in own)}{apart} for each {name}")
        sizes = _spread(res.sizes_by_group[group])
        levels.append(f"{res.ngroups_by_group[group]:,} levels of {name} ({sizes})")
    return (
        f", {', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}, to {res.nobs:,} "
        f"observations of {', '.join(levels[:-1])}{' and ' if levels[:-1] else ''}{levels[-1]}"
    )


def _spread(sizes: Any) -> str:
    least, most = sizes.min(), sizes.max()
    if least == most:
        return f"{least} each"
    return f"{least} to {most} each, median {np.median(sizes):g}"


def _results(
    res: Any, every: Sequence[Words], table: pd.DataFrame, level: float, weight: float | None
) -> str:
    text = variances(res, every, level) + structure_results(res, every[0])
    text += shared(res, every, level, weight)
    if isinstance(res, LMMResults) and not res.identified:
        text += f" {res.identification.finding}".replace("`", "")
    elif res.singular:
        text += " The fit is singular: a variance is estimated as 0 or a correlation as 1 in size."
    if not res.converged:
        text += " The fit did not converge; do not report these estimates before that is settled."
    words = every[0]
    items = [
        f"{words.term(str(n))} {_effect(row, words.unit_of(str(n)), level)}"
        for n, row in table.iterrows()
    ]
    return f"{text} Fixed effects: {'; '.join(items)}."


def _effect(row: pd.Series, unit: str, level: float) -> str:
    digits = places(float(row["std_error"]))
    numbers = [decimals(float(row[c]), digits) for c in ("estimate", "ci_low", "ci_high")]
    interval = f"{f'{numbers[0]} {unit}'.strip()} ({100 * level:g}% CI {numbers[1]} to {numbers[2]}"
    if row.name == "Intercept":  # nobody asks whether the mean is 0
        return interval + ")"
    letter = "z" if np.isinf(row["df"]) else f"t({row['df']:.1f})"
    p = f"<{NB}0.001" if row["p_value"] < 0.001 else f"={NB}{row['p_value']:.3f}"
    return f"{interval}; {letter}{NB}={NB}{decimals(float(row['statistic']), 2)}, p{NB}{p})"


def _software(fit: Any) -> str:
    own = f"pylmm_helpers {_version('pylmm_helpers')}"
    if isinstance(fit, LMMResults | SeveralResults):
        return f"The model was fitted with {own} in Python."
    engine = f"statsmodels {_version('statsmodels')}"
    return f"The model was fitted with {engine} in Python; tests are by {own}."


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path, not installed
        from pylmm_helpers import __version__

        return __version__

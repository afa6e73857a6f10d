"""The paragraph of methods and results that a paper needs, written from the fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import one_of
from pylmm_helpers.engine import LMMResults, as_results
from pylmm_helpers.inference import coef_table
from pylmm_helpers.quantities import (
    check_level,
    icc,
    is_random_intercept,
    variance_components,
    weight_of,
)

from .words import Words, squared, words_for

__all__ = ["Report", "report"]

DF_WORDS = {
    "kenward-roger": "Kenward and Roger's standard errors and degrees of freedom",
    "satterthwaite": "Satterthwaite's degrees of freedom",
    "wald": "the normal approximation (Wald)",
}
MINUS = "\N{MINUS SIGN}"
#: In place of a variance that the data can't tell from others.
UNKNOWN = "not estimable"
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
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    df : {"kenward-roger", "satterthwaite", "wald"}, optional
        Method for the fixed effects; Kenward-Roger for REML fits and Satterthwaite for ML fits
        unless chosen.
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
        estimation, model, numbers of rows and groups, how tests were made, software. Results:
        variances with standard deviations, ICC with a profile likelihood interval (random intercept
        only), fixed effects with intervals and tests. A singular fit, one that did not converge and
        rows that were dropped are said. Estimates are rounded to the second digit of their standard
        error.

    Raises
    ------
    ValueError
        For an unknown method, Kenward-Roger with a maximum-likelihood fit, or a label or unit of
        something that the model and its data lack.
    """
    res = as_results(fit)
    one_of(df, (None, *DF_WORDS), "df")
    words = words_for(res, unit, labels, per)
    method = df or ("kenward-roger" if res.reml else "satterthwaite")
    table = coef_table(res, df=method, level=check_level(level))
    parts = [_methods(fit, words, method, level), _results(words, table, level, weight)]
    return Report("\n\n".join(parts))


def _methods(fit: Any, words: Words, method: str, level: float) -> str:
    res = words.res
    estimation = "restricted maximum likelihood (REML)" if res.reml else "maximum likelihood (ML)"
    sizes = res.cross.sizes
    least, most = sizes.min(), sizes.max()
    spread = (
        f"{least} each" if least == most else f"{least} to {most} each, median {np.median(sizes):g}"
    )
    text = (
        f"We fitted a linear mixed model for {words.name(res.endog_name)} by {estimation}, with "
        f"{words.fixed()} and {words.random()} for each {words.name(res.groups)}, to "
        f"{res.nobs:,} observations in {res.ngroups:,} groups ({spread})."
    )
    if res.cross.mean_weight is not None:
        text += (
            " Rows have prior weights (mean "
            f"{_three(res.cross.mean_weight)}): the residual variance of a row is the residual "
            "variance of weight 1 over its weight."
        )
    if res.n_dropped:
        rows = "row" if res.n_dropped == 1 else "rows"
        text += f" {res.n_dropped:,} {rows} with missing values were left out."
    return (
        f"{text} Tests and {100 * level:g}% confidence intervals (CI) of fixed effects use "
        f"{DF_WORDS[method]}. {_software(fit)}"
    )


def _results(words: Words, table: pd.DataFrame, level: float, weight: float | None) -> str:
    res = words.res
    terms = [str(t) for t in res.cov_re.index]
    components = variance_components(res)
    # by position: a slope may be called Residual or Total, but belongs to the groups
    own, rest = components[components["group"] != ""], components[components["group"] == ""]
    sizes = dict(zip(terms, zip(own["variance"], own["sd"], strict=True), strict=False))
    parts = []
    for term in terms:
        what = (
            f"between-{words.name(res.groups)} variance"
            if terms == ["Intercept"]
            else f"between-{words.name(res.groups)} variance of the intercept"
            if term == "Intercept"
            else f"variance of the {words.effect(term)}"
        )
        size = _variance(*sizes[term], words.unit_of(term))
        parts.append(f"the {what} was {UNKNOWN if np.isnan(sizes[term][0]) else size}")
    residual = UNKNOWN
    if res.identification.residual:
        residual = _variance(rest["variance"].iloc[0], rest["sd"].iloc[0], words.unit)
    weighted = res.cross.mean_weight is not None
    which = "residual variance of weight 1" if weighted else "residual variance"
    text = f"T{', '.join(parts)[1:]}, and the {which} was {residual}."
    names = [words.effect(t) for t in terms]
    G = res.cov_re.to_numpy(dtype=float)
    for j, i in combinations(range(len(terms)), 2):
        if (size := np.sqrt(G[i, i] * G[j, j])) > 0 and np.isfinite(G[i, j]):
            text += (
                f" The correlation of {names[j]} and {names[i]} was {_decimals(G[i, j] / size, 2)}."
            )
    at = weight_of(res, weight, "the intraclass correlation") if weight is not None else 1.0
    if is_random_intercept(res) and (weight is not None or not weighted):
        share = icc(res, level=level, weight=weight)
        given = "" if list(res.fe_params.index) == ["Intercept"] else ", given the predictors,"
        rows = f" of rows of weight {at:g}" if weighted else ""
        text += (
            f" The intraclass correlation{rows}{given} was {_decimals(share['estimate'], 2)} "
            f"({100 * level:g}% profile "
            f"likelihood CI {_decimals(share['ci_low'], 2)} to {_decimals(share['ci_high'], 2)})."
        )
    if not res.identified:
        text += f" {res.identification.finding}".replace("`", "")
    elif res.singular:
        text += " The fit is singular: a variance is estimated as 0 or a correlation as 1 in size."
    if not res.converged:
        text += " The fit did not converge; do not report these estimates before that is settled."
    items = [
        f"{words.term(str(n))} {_effect(row, words.unit_of(str(n)), level)}"
        for n, row in table.iterrows()
    ]
    return f"{text} Fixed effects: {'; '.join(items)}."


def _variance(variance: float, sd: float, unit: str) -> str:
    """A variance and its root, with their units."""
    square, plain = (f" {u}" if u else "" for u in (squared(unit), unit))
    return f"{_three(variance)}{square} (SD {_three(sd)}{plain})"


def _effect(row: pd.Series, unit: str, level: float) -> str:
    places = _places(float(row["std_error"]))
    numbers = [_decimals(float(row[c]), places) for c in ("estimate", "ci_low", "ci_high")]
    interval = f"{f'{numbers[0]} {unit}'.strip()} ({100 * level:g}% CI {numbers[1]} to {numbers[2]}"
    if row.name == "Intercept":  # nobody asks whether the mean is 0
        return interval + ")"
    letter = "z" if np.isinf(row["df"]) else f"t({row['df']:.1f})"
    p = f"<{NB}0.001" if row["p_value"] < 0.001 else f"={NB}{row['p_value']:.3f}"
    return f"{interval}; {letter}{NB}={NB}{_decimals(float(row['statistic']), 2)}, p{NB}{p})"


def _software(fit: Any) -> str:
    own = f"pylmm_helpers {_version('pylmm_helpers')}"
    if isinstance(fit, LMMResults):
        return f"The model was fitted with {own} in Python."
    engine = f"statsmodels {_version('statsmodels')}"
    return f"The model was fitted with {engine} in Python; tests are by {own}."


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path, not installed
        from pylmm_helpers import __version__

        return __version__


def _places(se: float) -> int:
    """Decimals that show two digits of a standard error."""
    return int(np.clip(1 - np.floor(np.log10(se)), 0, 12)) if se > 0 else 2


def _decimals(value: float, places: int) -> str:
    text = f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def _three(value: float) -> str:
    """Three significant digits, whole numbers in full."""
    if value == 0.0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2e}".replace("-", MINUS)
    return _decimals(value, int(max(0, 2 - np.floor(np.log10(abs(value))))))

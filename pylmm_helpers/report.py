"""The paragraph of methods and results that a paper needs, written from the fit."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers._adapter import as_results
from pylmm_helpers._arguments import one_of, shown
from pylmm_helpers._group_level import check_level, is_random_intercept
from pylmm_helpers._results import LMMResults
from pylmm_helpers.inference import coef_table
from pylmm_helpers.variance import icc, variance_components

__all__ = ["Report", "report"]

DF_WORDS = {
    "kenward-roger": "Kenward and Roger's standard errors and degrees of freedom",
    "satterthwaite": "Satterthwaite's degrees of freedom",
    "wald": "the normal approximation (Wald)",
}
MINUS = "\N{MINUS SIGN}"


class Report(str):
    """The text of a report; notebooks and the book set it as paragraphs."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        # a term such as I(x**2) or x[T.b] is text, not markup
        return re.sub(r"([*\[\]])", r"\\\1", str(self))

    def __repr__(self) -> str:
        return str(self)


def report(fit: Any, df: str | None = None, unit: str = "", level: float = 0.95) -> Report:
    """Write the methods-and-results paragraphs of a fitted model.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    df : {"kenward-roger", "satterthwaite", "wald"}, optional
        Method for the fixed effects; Kenward-Roger for REML fits and Satterthwaite for ML fits
        unless chosen.
    unit : str
        Unit of the response, such as ``"kg"``.
    level : float
        Confidence level.

    Returns
    -------
    Report
        A string of two paragraphs. Methods: estimation, model, numbers of rows and groups, how
        tests were made, software. Results: variances with standard deviations, ICC with a profile
        likelihood interval (random intercept only), fixed effects with intervals and tests. A
        singular fit, one that did not converge and rows that were dropped are said. Estimates are
        rounded to the second digit of their standard error.

    Raises
    ------
    ValueError
        For an unknown method, or Kenward-Roger with a maximum-likelihood fit.
    """
    res = as_results(fit)
    one_of(df, (None, *DF_WORDS), "df")
    if not isinstance(unit, str):
        raise ValueError(f"unit is {shown(unit)}; give the unit of the response as text, or ''")
    method = df or ("kenward-roger" if res.reml else "satterthwaite")
    table = coef_table(res, df=method, level=check_level(level))
    parts = [_methods(fit, res, method, level), _results(res, table, unit.strip(), level)]
    return Report("\n\n".join(parts))


def _methods(fit: Any, res: LMMResults, method: str, level: float) -> str:
    estimation = "restricted maximum likelihood (REML)" if res.reml else "maximum likelihood (ML)"
    fixed = _fixed_words(res)
    sizes = res.cross.sizes
    least, most = sizes.min(), sizes.max()
    spread = (
        f"{least} each" if least == most else f"{least} to {most} each, median {np.median(sizes):g}"
    )
    text = (
        f"We fitted a linear mixed model for {res.endog_name} by {estimation}, with {fixed} and "
        f"{_random_words(res)} for each {res.groups}, to {res.nobs:,} observations in "
        f"{res.ngroups:,} groups "
        f"({spread})."
    )
    if res.n_dropped:
        rows = "row" if res.n_dropped == 1 else "rows"
        text += f" {res.n_dropped:,} {rows} with missing values were left out."
    return (
        f"{text} Tests and {100 * level:g}% confidence intervals (CI) of fixed effects use "
        f"{DF_WORDS[method]}. {_software(fit)}"
    )


def _results(res: LMMResults, table: pd.DataFrame, unit: str, level: float) -> str:
    squared = f" {unit}²" if unit else ""
    plain = f" {unit}" if unit else ""
    parts = variance_components(res)
    terms = [str(t) for t in res.cov_re.index]
    sizes = {str(k): v for k, v in parts[["variance", "sd"]].to_dict("index").items()}
    sentences = []
    for term in terms:
        what = (
            f"between-{res.groups} variance"
            if term == "Intercept"
            else f"variance of the slope of {term}"
        )
        row = sizes[term]
        mine, own = (squared, plain) if term == "Intercept" else ("", "")
        sentences.append(
            f"The {what} was {_three(row['variance'])}{mine} (SD {_three(row['sd'])}{own})"
        )
    residual = sizes["Residual"]
    last = (
        f"the residual variance was {_three(residual['variance'])}{squared} "
        f"(SD {_three(residual['sd'])}{plain})"
    )
    text = (
        ", ".join([sentences[0]] + [s[0].lower() + s[1:] for s in sentences[1:]]) + f", and {last}."
    )
    words = ["intercept" if t == "Intercept" else f"slope of {t}" for t in terms]
    G = res.cov_re.to_numpy(dtype=float)
    for j, i in combinations(range(len(terms)), 2):
        if (size := np.sqrt(G[i, i] * G[j, j])) > 0:
            text += (
                f" The correlation of {words[j]} and {words[i]} was {_decimals(G[i, j] / size, 2)}."
            )
    if is_random_intercept(res):
        share = icc(res, level=level)
        given = "" if list(res.fe_params.index) == ["Intercept"] else ", given the predictors,"
        text += (
            f" The intraclass correlation{given} was {_decimals(share['estimate'], 2)} "
            f"({100 * level:g}% profile "
            f"likelihood CI {_decimals(share['ci_low'], 2)} to {_decimals(share['ci_high'], 2)})."
        )
    if res.singular:
        text += " The fit is singular: a variance is estimated as 0 or a correlation as 1 in size."
    if not res.converged:
        text += " The fit did not converge; do not report these estimates before that is settled."
    items = [
        f"{_term_words(res, str(n))} {_effect(row, plain, level)}" for n, row in table.iterrows()
    ]
    return f"{text} Fixed effects: {'; '.join(items)}."


def _effect(row: pd.Series, unit: str, level: float) -> str:
    places = _places(float(row["std_error"]))
    numbers = [_decimals(float(row[c]), places) for c in ("estimate", "ci_low", "ci_high")]
    interval = f"{numbers[0]}{unit} ({100 * level:g}% CI {numbers[1]} to {numbers[2]}"
    if row.name == "Intercept":  # nobody asks whether the mean is 0
        return interval + ")"
    letter = "z" if np.isinf(row["df"]) else f"t({_decimals(float(row['df']), 1)})"
    p = "p < 0.001" if row["p_value"] < 0.001 else f"p = {row['p_value']:.3f}"
    return f"{interval}; {letter} = {_decimals(float(row['statistic']), 2)}, {p})"


def _fixed_words(res: LMMResults) -> str:
    if res.design is None:
        right = " + ".join(n for n in res.fe_params.index if n != "Intercept")
    else:
        right = res.formula.split("~", 1)[1].strip()
    terms = [t.strip() for t in right.split("+") if t.strip() not in ("", "1")]
    names = [re.sub(r"\bC\((\w+)\)", r"\1", t) for t in terms]
    if not names:
        return "no predictors"
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return f"fixed effects of {listed}"


def _random_words(res: LMMResults) -> str:
    slopes = [str(t) for t in res.cov_re.index if t != "Intercept"]
    intercept = "Intercept" in res.cov_re.index
    if not slopes:
        return "a random intercept"
    listed = " and ".join(slopes)
    if not intercept:
        return f"a random slope of {listed}"
    return f"a random intercept and a random slope of {listed}, correlated,"


def _term_words(res: LMMResults, name: str) -> str:
    """Write ``feeding[T.mixed]`` as "feeding mixed (against confined)"."""
    return " × ".join(_factor_words(res, part) for part in name.split(":"))


def _factor_words(res: LMMResults, part: str) -> str:
    if part == "Intercept":
        return "intercept"
    found = re.fullmatch(r"(?:C\()?(\w+)(?:\))?\[T\.(.+)\]", part)
    if found is None or res.design is None or found[1] not in res.frame.columns:
        return part
    column, category = found[1], found[2]
    pattern = re.compile(rf"(?:C\()?{re.escape(column)}(?:\))?\[T\.(.+)\]")
    shown = {m[1] for n in res.fe_params.index if (m := pattern.fullmatch(str(n)))}
    rest = sorted(set(res.frame[column].astype(str)) - shown)
    return f"{column} {category} (against {rest[0]})" if len(rest) == 1 else f"{column} {category}"


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

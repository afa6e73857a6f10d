"""The fit that `crosscheck` was given, this package's fit of the same model, and their data."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.formula import NAMES, in_r, r_factors, r_term, words

from . import formula as _rformula
from . import frame as _rframe


@dataclass(frozen=True)
class OwnFit:
    """A fit to be checked: this package's, statsmodels' (converted and raw), and their data."""

    engine: Any
    statsmodels: Any
    raw: Any
    data: pd.DataFrame
    reml: bool


def same_term(name: str) -> str:
    """Spelling-independent key of a term: lme4's name of it, the order of an interaction aside."""
    plain = re.sub(r"^I\((.*)\)$", r"\1", r_term(name))
    return ":".join(sorted(r_factors(plain)))


def _same_response(one: str, other: str) -> bool:
    """Whether two responses are the same; arithmetic is compared without its spaces and I()."""
    if same_term(one) == same_term(other):
        return True
    try:
        keys = [in_r(words(name), NAMES) for name in (one, other)]
    except ValueError:
        return False
    bare = [re.sub(r"^I\((.*)\)$", r"\1", key) for key in keys]
    return bare[0] == bare[1] and not bare[0].isidentifier()


def aligned(values: pd.Series, reference: pd.Series, who: str) -> pd.Series:
    """`values` in the order of `reference`, matched by term."""
    keys = {same_term(str(name)): name for name in values.index}
    wanted = {same_term(str(name)): name for name in reference.index}
    if keys.keys() != wanted.keys():
        raise ValueError(
            f"{who} has the terms {', '.join(map(str, values.index))}, the lme4 formula gives "
            f"{', '.join(map(str, reference.index))}: both must be the same model."
        )
    return pd.Series([values[keys[k]] for k in wanted], index=reference.index, dtype=float)


def describe_fit(fit: Any, parsed: _rformula.MixedFormula, data: pd.DataFrame | None) -> OwnFit:
    """The fit, its data, and the engine's fit of the same model.

    Raises
    ------
    ValueError
        When `fit` is neither kind of result, keeps no data, or has another response or number of
        rows than the formula gives.
    """
    from pylmm_helpers.engine import LMMResults, SeveralResults, fit_lmm

    ours = isinstance(fit, LMMResults | SeveralResults)
    structure = getattr(fit, "structure", None) if ours else None
    if structure is not None:
        raise ValueError(
            f"lme4 has no counterpart of {structure.request.words}, so crosscheck can't compare "
            "this fit; nlme has one: lme(..., correlation = corAR1(...), weights = varIdent(...))."
        )
    if isinstance(fit, LMMResults | SeveralResults):
        own = OwnFit(fit, None, None, fit.frame if data is None else data, bool(fit.reml))
        response, rows = fit.endog_name, int(fit.nobs)
    elif hasattr(getattr(fit, "model", None), "group_labels"):
        from pylmm_helpers.engine import as_results

        converted = as_results(fit) if parsed.single else None
        frame = _statsmodels_frame(fit, parsed) if data is None else data
        own = OwnFit(None, converted, fit, frame, fit.method == "REML")
        response, rows = str(fit.model.endog_names), int(fit.model.n_totobs)
    else:
        raise ValueError(
            f"crosscheck takes a fit of fit_lmm or a fitted MixedLM (statsmodels), not "
            f"{type(fit).__name__}."
        )
    if not _same_response(response, parsed.response):
        raise ValueError(
            f"the fit has the response {response!r}, the formula {parsed.text!r} another."
        )
    complete = _rframe.model_frame(parsed, own.data, "drop")
    design = getattr(fit, "design", None)
    weights = getattr(getattr(design, "first", design), "weights", None)
    if weights is not None and len(complete) == rows:
        complete = complete.assign(**{_rframe.WEIGHTS: np.asarray(weights, dtype=float)})
        own = replace(own, data=complete)
    if len(complete) != rows:
        raise ValueError(
            f"the fit used {rows} rows, the formula {parsed.text!r} gives {len(complete)} complete "
            "ones: pass the data of the fit as data=..."
        )
    if isinstance(fit, LMMResults) and not parsed.single:
        raise ValueError(
            f"the fit has one random term, by {fit.groups!r}, the formula {parsed.text!r} others: "
            "both must be the same model."
        )
    if own.engine is None and parsed.single:
        term = parsed.single
        text = f"{parsed.response} ~ {parsed.fixed}"
        engine = fit_lmm(text, complete, groups=term.group, re_formula=term.expr, reml=own.reml)
        own = replace(own, engine=engine)
    elif own.engine is None:
        text = f"{parsed.response} ~ {parsed.fixed} + " + " + ".join(map(str, parsed.random))
        own = replace(own, engine=fit_lmm(text, complete, reml=own.reml))
    return own


def _statsmodels_frame(fit: Any, parsed: _rformula.MixedFormula) -> pd.DataFrame:
    """The data a statsmodels fit keeps, with its groups (which `missing="drop"` leaves out)."""
    frame = getattr(fit.model.data, "frame", None)
    if frame is None:
        raise ValueError("the fit was made from arrays: pass its DataFrame as data=...")
    column = parsed.group_columns[0]
    if column not in frame and len(frame) == len(fit.model.groups):
        frame = frame.assign(**{column: np.asarray(fit.model.groups)})
    return pd.DataFrame(frame)

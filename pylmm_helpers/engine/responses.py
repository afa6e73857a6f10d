"""Responses simulated from a fit, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, a_generator, shown

from .adapter import any_results
from .several import SeveralResults, Term, random_terms
from .structure_results import correlated_noise


def simulate(fit: Any, n: int = 1, rng: int | np.random.Generator = 20150601) -> pd.DataFrame:
    """Simulate responses from a fitted model: new groups, new rows, the predictors as they are.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or statsmodels MixedLMResults
        Its estimates are taken as the truth. A fit with weights, with correlated residuals or with
        unequal variances has residuals of its own kind.
    n : int
        Number of responses.
    rng : int or numpy Generator
        Seed (the default repeats) or generator. The first responses are the same whatever `n` is.

    Returns
    -------
    DataFrame (rows of the fit, n)
        One column for each response, named 0 to n - 1, on the scale of the formula's left-hand
        side; rows and index are those of ``fit.frame``, so that a column can be put into the data
        (``data.assign(y=simulate(fit)[0])``) or given to `refit`.

    Raises
    ------
    ValueError
        For what is no fit, a fit without rows (from `cross_products`), an n that is no whole
        number of at least 1, and an rng that is no seed.

    Notes
    -----
    A response is X beta + Z u + e with u and e drawn from the normal distributions that the fit
    estimates, as R's ``simulate`` for lme4 does by default. Uncertainty of the estimates is not
    part of it.

    Examples
    --------
    >>> from pylmm_helpers import fit_lmm, load, refit, simulate
    >>> fit = fit_lmm("Reaction ~ Days", load("sleepstudy"), groups="Subject")
    >>> simulate(fit, 3, rng=1).shape
    (180, 3)
    >>> refit(fit, simulate(fit)[0]).nobs
    180
    """
    res = any_results(fit, structures=True)
    if isinstance(n, (bool, np.bool_)) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n is {shown(n)}; give the number of responses, at least 1")
    generator = a_generator(rng, "rng")
    index = res._rows_of.frame.index
    values = np.column_stack([response(res, generator) for _ in range(int(n))])
    return pd.DataFrame(values, index=index)


def response(fit: Any, rng: np.random.Generator) -> Array:
    """A response (n,) drawn from a fitted model with one random term or several."""
    several = isinstance(fit, SeveralResults)
    scaling = fit.scalings[0] if several else fit.cross.scaling
    y = scaling.fixed(fit.X, fit.beta_scaled) + scaling.y_shift + fit.offset
    for term in random_terms(fit):
        y = y + effects(term, term, np.sqrt(fit.sigma2_scaled), rng)
    noise = correlated_noise(fit, rng.standard_normal(len(y)), row_weights(fit))
    return np.asarray(y + noise)


def effects(true: Term, rows: Term, sigma: float, rng: np.random.Generator) -> Array:
    """What random effects, drawn as the term `true` says, give for the rows (n,) of another term
    with the same columns, or of itself.

    They are drawn for the scaled columns: far from zero, intercept and slope in the units of the
    data would be large numbers that cancel.
    """
    draws = rng.standard_normal((rows.levels, len(true.factor)))
    return true.scaling.random(rows.Z, (sigma * draws @ true.factor_scaled.T)[rows.codes])


def row_weights(fit: Any) -> Array:
    """Prior weights (n,) of a fit; ones if it has none."""
    design = getattr(fit.design, "first", fit.design)
    given = None if design is None else design.weights
    return np.ones(fit.nobs) if given is None else given

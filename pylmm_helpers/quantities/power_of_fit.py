"""Power of a study like one that was fitted, with as many groups or with more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import (
    Array,
    a_generator,
    a_name,
    a_number,
    one_of,
    progress_bar,
    shown_whole,
)
from pylmm_helpers.engine import any_results, correlated_noise, effects, fit_lmm, row_weights
from pylmm_helpers.engine.several import SeveralResults, random_terms
from pylmm_helpers.inference import coef_table

from .planning_input import a_share, counts
from .power_simulation import TESTS, found_share, p_value_of, replicate_count


@shown_whole
def simulate_power(
    fit: Any,
    term: str,
    effect: float | None = None,
    groups: Any = None,
    *,
    group: str | None = None,
    test: str = "kenward-roger",
    alpha: float = 0.05,
    replicates: int = 500,
    rng: int | np.random.Generator = 20150601,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Power to find an effect in new studies like the one that was fitted, by simulation.

    For any design that `fit_lmm` can fit: unequal groups, several predictors, random slopes,
    nested and crossed factors.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or statsmodels MixedLMResults
        A pilot study, or a made-up one with the design that is planned. Its estimates are the
        truth of the simulation.
    term : str
        The coefficient that is tested, as in the index of `coef_table`.
    effect : float, optional
        Its true value; by default the estimate, which a pilot study makes too large where it was
        chosen for being significant. Rather give the smallest effect that matters.
    groups : int or list of int, optional
        Numbers of groups. The fit's groups are taken in random order, again and again, each with
        all of its rows. By default the study has the fit's own rows.
    group : str, optional
        Column whose levels are the groups to be multiplied, for a fit with several grouping
        factors; the one with the fewest levels by default. Levels of others that lie within one
        group come with it; those that cross it (days, say) stay as many as they are.
    test : {"kenward-roger", "satterthwaite", "wald"}
        As in `coef_table`.
    alpha : float
        Level of the test.
    replicates : int
        Simulated studies for each number of groups.
    rng : int or numpy Generator
        Seed (the default repeats) or generator.
    progress : bool, optional
        Whether to show a progress bar; by default where somebody is looking.

    Returns
    -------
    DataFrame
        One row for each number of groups: groups, rows, effect, power, mc_error, replicates and
        no_test as in `power`.

    Raises
    ------
    ValueError
        An unknown term or test, an effect of 0, more groups for a fit with weights, correlated
        residuals or unequal variances, and what `coef_table` refuses.

    Examples
    --------
    >>> from pylmm_helpers import fit_lmm, load, simulate_power
    >>> fit = fit_lmm("Reaction ~ Days", load("sleepstudy"), "Subject", "1 + Days")
    >>> table = simulate_power(fit, "Days", effect=4, groups=[10, 18], replicates=50, rng=1)
    >>> bool(table["power"].is_monotonic_increasing)
    True
    """
    res = any_results(fit, structures=True)
    a_name(term, "term", "a coefficient")
    names = [str(name) for name in res.fe_params.index]
    if term not in names:
        raise ValueError(f"the fit has no coefficient {term!r}; its coefficients are {names}")
    estimate = float(res.fe_params[term])
    size = estimate if effect is None else a_number(effect, "effect")
    if size == 0.0:
        raise ValueError("effect is 0; give the effect that the study is to find")
    one_of(test, TESTS[:3], "test")
    coef_table(res, df=test)  # refuses what no replicate could do
    level, number = a_share(alpha, "alpha"), replicate_count(replicates)
    generator = a_generator(rng, "rng")
    column = multiplied(res, group)
    wanted = [None] if groups is None else counts(groups, "groups", 2)
    if groups is not None and (res._rows_of.weights is not None or res.structure is not None):
        raise ValueError(
            "groups= makes new rows, for which a fit with weights, correlated residuals or unequal "
            "variances has none; leave groups out, or fit a made-up study with as many groups"
        )
    rows: list[dict[str, Any]] = []
    with progress_bar("Simulating studies", progress) as show:
        for done, many in enumerate(wanted):
            base = res if many is None else larger(res, column, many, generator)
            draw = drawer(res, base, names.index(term), size - estimate)
            tester = p_value_of(base, term, test)
            p = np.empty(number)
            for k in range(number):
                p[k] = tester(draw(generator))
                show(100.0 * (done + (k + 1) / number) / len(wanted))
            own = {"groups": int(base.frame[column].nunique()), "rows": base.nobs, "effect": size}
            rows.append(own | found_share(p, level))
    return pd.DataFrame(rows)


def multiplied(fit: Any, group: str | None) -> str:
    """The column whose levels are a study's groups."""
    if not isinstance(fit, SeveralResults):
        if group not in (None, str(fit.groups)):
            raise ValueError(f"group is {group!r}; the groups of this fit are {str(fit.groups)!r}")
        return str(fit.groups)
    columns = dict.fromkeys(name for bar in fit.design.bars for name in bar.columns)
    if group is None:
        return min(columns, key=lambda name: fit.frame[name].nunique())
    a_name(group, "group", "a grouping column")
    if group not in columns:
        raise ValueError(f"group is {group!r}; the grouping columns are {list(columns)}")
    return group


def larger(fit: Any, column: str, groups: int, rng: np.random.Generator) -> Any:
    """The fit of a study with so many groups, made of the fit's groups with their rows."""
    frame = fit.frame
    codes, labels = pd.factorize(frame[column])
    order = rng.permutation(len(labels))
    taken = [order[k % len(order)] for k in range(groups)]
    members = [np.flatnonzero(codes == g) for g in taken]
    rows = frame.iloc[np.concatenate(members)].reset_index(drop=True)
    new = np.repeat(np.arange(groups), [len(m) for m in members])
    several = isinstance(fit, SeveralResults)
    others = {n for bar in fit.design.bars for n in bar.columns} - {column} if several else set()
    for name in sorted(others):
        if frame.groupby(name, observed=True)[column].nunique().max() == 1:
            rows[name] = [f"{g}/{label}" for g, label in zip(new, rows[name], strict=True)]
    rows[column] = new
    design = fit._rows_of
    if several:
        made = fit_lmm(fit.formula, rows, reml=fit.reml)
    else:
        made = fit_lmm(design.formula, rows, column, design.re_formula, fit.reml)
    if list(made.fe_params.index) != list(fit.fe_params.index):
        raise ValueError(
            f"{groups} groups of {column!r} don't have every category that the fit has; take more "
            "groups"
        )
    return made


def drawer(
    fit: Any, base: Any, position: int, more: float
) -> Callable[[np.random.Generator], Array]:
    """A function that draws responses (n,) for the rows of `base` with the estimates of `fit`, the
    coefficient at `position` larger by `more`."""
    scaling = fit.scalings[0] if isinstance(fit, SeveralResults) else fit.cross.scaling
    mean = scaling.fixed(base.X, fit.beta_scaled) + scaling.y_shift + base.offset
    mean = mean + more * (base.X[:, position] - scaling.x_shift[position])
    pairs = list(zip(random_terms(fit), random_terms(base), strict=True))
    weights = row_weights(base)

    def draw(rng: np.random.Generator) -> Array:
        y = mean
        for true, own in pairs:
            y = y + effects(true, own, np.sqrt(fit.sigma2_scaled), rng)
        return np.asarray(y + correlated_noise(fit, rng.standard_normal(len(y)), weights))

    return draw

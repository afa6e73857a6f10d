r"""BLUPs and predictions from a fit with several random terms.

With w a row's columns for the levels that it belongs to,
:math:`H = \Delta - \Delta Z'V^{-1}Z\Delta` and :math:`B = \Delta Z'V^{-1}X`, the error of a
prediction x'b + w'u has the variance
:math:`\sigma^2 w'Hw + (x - B'w)'\Phi(x - B'w)`, a quadratic form in the inverse of Henderson's
mixed-model equations (Henderson 1975, doi:10.2307/2529430).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from pylmm_helpers.common import a_level, a_name, counted, shown, whole
from pylmm_helpers.engine.several import SeveralResults
from pylmm_helpers.formula import label_positions, model_columns, refuse_copies

from ..reach import reach
from ..structure import check_new_observations, new_ratios
from .errors import Rows, error_variance, phi, prior_variance


def blups(
    fit: SeveralResults, term: str | None, group: str | None, level: float
) -> pd.DataFrame | dict[str, pd.DataFrame]:
    """`pylmm_helpers.blups` for one factor, or a dict for all of them."""
    a_level(level)
    if group is None and len(fit.group_names) > 1:
        chosen = [g for g in fit.group_names if term is None or term in fit.z_names[g]]
        if not chosen:
            raise ValueError(f"{term!r} is not a random effect of this model: {fit.z_names}")
        return {name: whole(blups_of(fit, name, term, level)) for name in chosen}
    return blups_of(fit, a_factor(fit, group or fit.group_names[0]), term, level)


def blups_of(fit: SeveralResults, group: str, term: str | None, level: float) -> pd.DataFrame:
    """The table of one factor's random effects."""
    terms, effects = fit.z_names[group], fit.random_effects_by_group[group]
    if term is not None:
        a_name(term, "term", "a random effect")
        if term not in terms:
            raise ValueError(
                f"{term!r} is not a random effect of '{group}'; its random effects: "
                f"{', '.join(terms)}"
            )
    conditional = np.diagonal(fit.random_effects_var_by_group[group], axis1=1, axis2=2)
    z_map, p = fit.z_map[group], fit.sums.p
    link = np.einsum("ij,jcg->gic", z_map, fit.coefficients[group][:, :p])
    prediction = conditional + np.einsum("gic,cd,gid->gi", link, phi(fit), link)
    prior = np.diag(fit.cov_re_by_group[group].to_numpy())
    kept = 1.0 - np.divide(conditional, prior, out=np.ones_like(conditional), where=prior > 0)
    quantile = float(norm.ppf(0.5 + level / 2.0))
    frames = {}
    for j, name in enumerate(terms):
        estimate = effects.iloc[:, j].to_numpy()
        sd = np.sqrt(np.maximum(prediction[:, j], 0.0))
        frames[name] = pd.DataFrame(
            {
                "n": fit.sizes_by_group[group],
                "estimate": estimate,
                "prediction_sd": sd,
                "conditional_sd": np.sqrt(np.maximum(conditional[:, j], 0.0)),
                "shrinkage": np.clip(kept[:, j], 0.0, 1.0),
                "ci_low": estimate - quantile * sd,
                "ci_high": estimate + quantile * sd,
            },
            index=effects.index,
        )
    return frames[term] if term is not None else by_terms(frames)


def by_terms(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A factor's tables, one for each effect, level by level."""
    if len(frames) == 1:
        return next(iter(frames.values()))
    table = pd.concat(frames, names=["term"])
    order = [*range(1, table.index.nlevels), 0]
    table = table.reorder_levels(order)
    return table.sort_index(level=list(range(len(order) - 1)), sort_remaining=False)


def a_factor(fit: SeveralResults, name: Any) -> str:
    """The factor's name as the fit has it; its columns may stand in another order."""
    if isinstance(name, str):
        for own in fit.group_names:
            if set(name.split(":")) == set(own.split(":")):
                return own
    raise ValueError(
        f"{shown(name)} is no grouping factor of this model; choose "
        f"{' or '.join(repr(g) for g in fit.group_names)}."
    )


def chosen_factors(fit: SeveralResults, level: Any) -> list[str]:
    """The factors whose levels count as known."""
    if isinstance(level, str) and level in ("population", "group"):
        return fit.group_names if level == "group" else []
    names = level if isinstance(level, Sequence) and not isinstance(level, str) else [level]
    try:
        return [a_factor(fit, name) for name in names]
    except ValueError as error:
        raise ValueError(
            f"level is {shown(level)}; give 'population', 'group' for all grouping factors, or one "
            f"or some of {', '.join(repr(g) for g in fit.group_names)}."
        ) from error


def rows_of(fit: SeveralResults, frame: pd.DataFrame | None, known: list[str]) -> Rows:
    """The columns of new rows, or of the fit's own."""
    parts = fit.design.with_rows
    if frame is None:
        Z = {
            name: np.column_stack([c for k in own for c in parts[k].z_columns])
            for name, own in fit.design.by_factor.items()
        }
        numbers = {name: fit.design.factors[name].codes for name in known}
        return Rows(fit.frame.index, fit.X, fit.offset, Z, numbers)
    X = model_columns(parts[0], frame, "fixed")
    offset = model_columns(parts[0], frame, "offset").sum(axis=1)
    Z = {
        name: np.hstack([model_columns(parts[k], frame, "random") for k in own])
        for name, own in fit.design.by_factor.items()
    }
    numbers = {name: level_numbers(fit, frame, name) for name in known}
    return Rows(frame.index, X, offset, Z, numbers)


def level_numbers(fit: SeveralResults, frame: pd.DataFrame, factor: str) -> NDArray[np.intp]:
    """Number (k,) of each row's level of a factor in the fit; -1 for levels that it has not
    seen."""
    labels = fit.labels_by_group[factor]
    columns = [str(n) for n in labels.names] if isinstance(labels, pd.MultiIndex) else [factor]
    for name in columns:
        if name in frame.index.names and name not in frame.columns:
            raise ValueError(f"{name!r} is in the index of new_data; give new_data.reset_index()")
        if name not in frame.columns:
            raise ValueError(
                f"new_data has no column {name!r}, which the factor '{factor}' needs; add it, or "
                "name the known factors in level=, as in level='population'."
            )
        refuse_copies(name, frame)
        gaps = int(frame[name].isna().sum())
        if gaps:
            raise ValueError(
                f"column {name!r} of new_data has {counted(gaps, 'missing value')}; give new "
                "groups a label of their own"
            )
    if not isinstance(labels, pd.MultiIndex):
        return label_positions(labels, frame[factor])
    each = [label_positions(labels.levels[k], frame[name]) for k, name in enumerate(columns)]
    wanted, own = np.zeros(len(frame), dtype=np.int64), np.zeros(len(labels), dtype=np.int64)
    for k, found in enumerate(each):
        size = len(labels.levels[k])
        wanted, own = wanted * size + found, own * size + np.asarray(labels.codes[k])
    order = np.argsort(own)
    place = np.minimum(np.searchsorted(own[order], wanted), len(own) - 1)
    seen = (own[order][place] == wanted) & np.all([found >= 0 for found in each], axis=0)
    return np.where(seen, order[place], -1).astype(np.intp)


def predict(
    fit: SeveralResults,
    frame: pd.DataFrame | None,
    level: Any,
    interval: str | None,
    coverage: float,
    df: float | None,
) -> pd.DataFrame:
    """`pylmm_helpers.predict`: levels of the factors in `level` known, all others averaged over."""
    known = chosen_factors(fit, level)
    rows = rows_of(fit, frame, known)
    scaling = fit.scalings[0]
    values = scaling.fixed(rows.X, fit.beta_scaled)
    for name in known:
        q = rows.Z[name].shape[1]
        effects = np.vstack([fit.effects_scaled[name], np.zeros(q)])[rows.numbers[name]]
        values = values + scaling.y_scale * np.sum(
            fit.scaled_z(name, rows.Z[name]) * effects, axis=1
        )
    values = values + scaling.y_shift + rows.offset
    result = pd.DataFrame({"prediction": values}, index=rows.index)
    if interval is not None:
        variance = error_variance(fit, rows)
        if interval == "prediction":
            seen = [bool((rows.numbers[name] >= 0).any()) for name in known]
            check_new_observations(fit, any(seen))
            ratios = new_ratios(fit, fit.frame if frame is None else frame)
            variance = variance + fit.scale * ratios**2
            for name in set(fit.group_names) - set(known):
                variance = variance + prior_variance(fit, name, rows.Z[name])
        new = {name: rows.numbers[name] < 0 for name in known}
        if interval == "prediction":
            averaged = set(fit.group_names) - set(known)
            new |= dict.fromkeys(averaged, np.ones(len(values), dtype=bool))
        levels = {name: (which, fit.ngroups_by_group[name]) for name, which in new.items()}
        quantile = reach(coverage, df, len(values), levels)
        se = np.sqrt(variance)
        result["std_error"] = se
        result["ci_low"], result["ci_high"] = values - quantile * se, values + quantile * se
    for name in known:
        result[f"known_{name}"] = rows.numbers[name] >= 0
    return result

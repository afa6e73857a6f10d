"""The random part of a model with several random terms, factor by factor, beside lme4's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.inference import coef_table

from .own import OwnFit, aligned, same_term
from .results import LmerFit

Row = tuple[str, str, float, float, float, float]
#: What lmerTest and pbkrtest give, and this package's name of the method.
METHODS = {"satterthwaite": "Satterthwaite", "kenward_roger": "Kenward-Roger"}
#: Why a singular fit has no rows of degrees of freedom.
NO_DF = (
    "Degrees of freedom are not compared: at the edge of its range a variance has no derivative on "
    "both sides, which lmerTest takes numerically."
)


def factor_rows(own: OwnFit, lme4: LmerFit) -> list[Row]:
    """Variances, covariances, theta, modes and their conditional SD, and degrees of freedom."""
    names = {group: None if own.engine is None else group_of(own.engine, group, lme4)
             for group in lme4.cov_re_by_group}  # fmt: skip
    rows: list[Row] = []
    for group, name in names.items():
        rows += covariance_rows(own, lme4, group, name)
    if own.engine is None:
        return rows
    rows += theta_rows(own.engine, lme4)
    for group, name in names.items():
        rows += mode_rows(own.engine, lme4, group, str(name))
    return rows + df_rows(own, lme4)


def group_of(fit: Any, group: str, lme4: LmerFit) -> str:
    """The fit's name of one of lme4's factors: ``cask:batch`` is "batch:cask"."""
    parts = set(group.split(":"))
    found = [name for name in fit.group_names if set(name.split(":")) == parts]
    if len(found) != 1 or len(fit.group_names) != len(lme4.cov_re_by_group):
        raise ValueError(
            f"the fit has the grouping factors {', '.join(fit.group_names)}, the lme4 formula "
            f"gives {', '.join(lme4.cov_re_by_group)}: both must be the same model."
        )
    return str(found[0])


def floored_sd(
    fit: Any, name: str, order: NDArray[np.intp], variances: Array, scale: float
) -> Array:
    """SD (q,) of a factor's effects by lme4; the scale of what the residual leaves visible where
    that is larger."""
    columns = [c for k in fit.design.by_factor[name] for c in fit.design.parts[k].z_columns]
    size = np.array([np.sqrt(np.mean(np.square(columns[k]))) for k in order])
    return np.asarray(np.maximum(np.sqrt(variances), 0.1 * np.sqrt(scale) / size))


def order_of(fit: Any, name: str, terms: list[str]) -> NDArray[np.intp]:
    """Where each of lme4's effects of a factor stands among the fit's."""
    own = fit.z_names[name]
    positions = pd.Series(range(len(own)), index=own)
    found = aligned(positions, pd.Series(0, index=terms), f"the random part of {name!r}")
    return found.to_numpy(dtype=np.intp)


def covariance_rows(own: OwnFit, lme4: LmerFit, group: str, name: str | None) -> list[Row]:
    """Variances and covariances of one factor."""
    cov = lme4.cov_re_by_group[group]
    theirs, terms = cov.to_numpy(dtype=float), [str(t) for t in cov.index]
    of_sm = np.full_like(theirs, np.nan) if own.raw is None else component(own.raw, group, lme4)
    if name is None:
        mine = np.full_like(theirs, np.nan)
        sd = np.sqrt(np.maximum(np.diag(theirs), 0.01 * lme4.scale))
    else:
        order = order_of(own.engine, name, terms)
        mine = own.engine.cov_re_by_group[name].to_numpy()[np.ix_(order, order)]
        sd = floored_sd(own.engine, name, order, np.diag(theirs), lme4.scale)
    rows: list[Row] = []
    for j in range(len(terms)):
        for i in range(j, len(terms)):
            if i == j:
                kind, text = "variance", f"variance of {name or group}"
                text += "" if terms == ["Intercept"] else f", `{terms[i]}`"
            elif theirs[i, j] == 0.0 and mine[i, j] == 0.0:
                continue  # the terms of a double bar have none
            else:
                kind = "covariance"
                text = f"covariance of {name or group}, `{terms[j]}`, `{terms[i]}`"
            numbers = (float(m[i, j]) for m in (mine, of_sm, theirs))
            rows.append((text, kind, float(sd[i] * sd[j]), *numbers))  # type: ignore[arg-type]
    return rows


def component(raw: Any, group: str, lme4: LmerFit) -> Array:
    """Variance (1, 1) of one factor, from statsmodels' variance components."""
    if lme4.cov_re_by_group[group].shape != (1, 1):
        raise ValueError(
            f"{lme4.formula}: statsmodels' variance components are compared for random intercepts "
            "only; give the fit of fit_lmm."
        )
    names = list(getattr(raw.model.exog_vc, "names", []))
    found = dict(zip(names, map(float, raw.vcomp), strict=True))
    if raw.cov_re.shape == (1, 1):
        found.setdefault(str(raw.cov_re.index[0]), float(raw.cov_re.iloc[0, 0]))
        found.setdefault("Group", float(raw.cov_re.iloc[0, 0]))
    key = next((k for k in (group, group.split(":")[0]) if k in found), None)
    if key is None:
        raise ValueError(
            f"statsmodels' variance components are {', '.join(found)}: name the one of "
            f"{group!r} in vc_formula by its column."
        )
    return np.array([[found[key]]])


def theta_rows(fit: Any, lme4: LmerFit) -> list[Row]:
    """Relative covariance factors, in lme4's order of the terms."""
    if len(fit.theta) != len(lme4.theta):
        raise ValueError(
            f"the fit has {len(fit.theta)} parameters of covariance, the lme4 formula gives "
            f"{len(lme4.theta)}: both must be the same model."
        )
    rows: list[Row] = []
    for k in fit.design.order:
        part = fit.design.parts[k]
        terms, columns = list(part.z_names), part.z_columns
        diagonal = np.diag(fit.cov_re_by_group[part.group_name].loc[terms, terms])
        for j in range(len(terms)):
            for i in range(j, len(terms)):
                at = len(rows)
                size = np.sqrt(np.mean(np.square(columns[i])))
                unit = float(max(np.sqrt(diagonal[i] / fit.scale), 0.1 / size))
                text = f"theta of {part.group_name}"
                text += "" if terms == ["Intercept"] else f", `{terms[i]}`"
                text += f", `{terms[j]}`" if i != j else ""
                rows.append(
                    (text, "theta", unit, float(fit.theta[at]), np.nan, float(lme4.theta[at]))
                )
    return rows


def mode_rows(fit: Any, lme4: LmerFit, group: str, name: str) -> list[Row]:
    """The level whose mode, and the one whose conditional SD, is furthest from lme4's."""
    theirs = lme4.random_effects_by_group[group]
    terms = [str(t) for t in theirs.columns]
    order = order_of(fit, name, terms)
    labels = fit.labels_by_group[name]
    keys, words = in_words(labels, group.split(":")), in_words(labels, name.split(":"))
    # a level that one side lacks stays without a number, and fails
    place = pd.Series(range(len(keys)), index=keys).reindex([str(k) for k in theirs.index])
    found = place.notna().to_numpy()
    at = place.fillna(0).to_numpy(dtype=np.intp)
    modes = fit.random_effects_by_group[name].to_numpy()[np.ix_(at, order)]
    own_var = np.diagonal(fit.random_effects_var_by_group[name], axis1=1, axis2=2)
    r_var = np.diagonal(lme4.random_effects_var_by_group[group], axis1=1, axis2=2)
    pairs = {
        "mode": (modes, theirs.to_numpy()),
        "conditional SD": (np.sqrt(own_var[np.ix_(at, order)]), np.sqrt(r_var)),
    }
    variances = lme4.cov_re_by_group[group].loc[terms, terms].to_numpy()
    sd = floored_sd(fit, name, order, np.diag(variances), lme4.scale)
    rows: list[Row] = []
    for i, term in enumerate(terms):
        for what, (mine, lme4s) in pairs.items():
            values = np.where(found, mine[:, i], np.nan)
            gap = np.abs(values - lme4s[:, i])
            worst = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
            of = f"{name} {words[at[worst]]}"
            of = of if term == "Intercept" else f"`{term}`, {of}"
            text = f"{what} of {of} (worst of {len(theirs)})"
            kind = "conditional mode" if what == "mode" else what
            numbers = (float(values[worst]), np.nan, float(lme4s[worst, i]))
            rows.append((text, kind, float(sd[i]), *numbers))
    return rows


def in_words(labels: pd.Index, columns: list[str]) -> list[str]:
    """Labels of levels as text, those of several columns in the order given."""
    if not isinstance(labels, pd.MultiIndex):
        return [str(label) for label in labels]
    each = [labels.get_level_values(name).map(str) for name in columns]
    return [":".join(parts) for parts in zip(*each, strict=True)]


def df_rows(own: OwnFit, lme4: LmerFit) -> list[Row]:
    """Degrees of freedom of the fixed effects, and the standard errors of Kenward and Roger."""
    if lme4.singular:
        return []
    keys = {same_term(str(term)): term for term in own.engine.fe_params.index}
    rows: list[Row] = []
    for column, values in lme4.df.items():
        table = coef_table(own.engine, df=str(column).replace("_", "-"))
        for term, value in values.items():
            mine = table.loc[keys[same_term(str(term))]]
            method = METHODS[str(column)]
            if method == "Kenward-Roger" and lme4.bse_kr is not None:
                error = float(lme4.bse_kr.loc[str(term)])
                rows.append((f"Kenward-Roger SE of `{term}`", "standard error", error,
                             float(mine["std_error"]), np.nan, error))  # fmt: skip
            rows.append((f"{method} df of `{term}`", "degrees of freedom", float(value),
                         float(mine["df"]), np.nan, float(value)))  # fmt: skip
    return rows

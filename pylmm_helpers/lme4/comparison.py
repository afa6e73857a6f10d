"""The comparison behind `crosscheck`: what is compared, on which scale, to which tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.engine import SeveralResults

from . import formula as _rformula
from . import frame as _rframe
from .agreement import Agreement
from .by_factor import NO_DF, Row, factor_rows
from .own import OwnFit, aligned
from .results import LmerFit
from .tolerances import TOLERANCES

#: What a statsmodels fit with variance components gives for the comparison.
OF_COMPONENTS = ("fixed effect", "variance", "residual variance", "criterion")


def compare(
    own: OwnFit, lme4: LmerFit, parsed: _rformula.MixedFormula, statsmodels_differs: str = ""
) -> Agreement:
    """The agreement of both engines with lme4; its record lacks only label, formula and data."""
    rows = _fixed_rows(own, lme4)
    one = parsed.single and not isinstance(own.engine, SeveralResults)
    rows += _random_rows(own, lme4) if one else factor_rows(own, lme4)
    rows.append(("residual variance", "residual variance", lme4.scale,
                 _of(own.engine, "scale"), _of(own.raw, "scale"), lme4.scale))  # fmt: skip
    name = "REML criterion" if own.reml else "ML deviance"
    sm_criterion = np.nan if own.raw is None else -2.0 * float(own.raw.llf)
    rows.append((name, "criterion", 1.0, _of(own.engine, "criterion"), sm_criterion,
                 lme4.criterion))  # fmt: skip
    columns = ["quantity", "kind", "unit", "engine", "statsmodels", "lme4"]
    table = pd.DataFrame(rows, columns=columns).set_index("quantity")
    took_part = [w for w, r in (("engine", own.engine), ("statsmodels", own.raw)) if r is not None]
    outside = {}
    for who in ("engine", "statsmodels"):
        table[f"diff_{who}"] = (table[who] - table["lme4"]).abs() / table["unit"]
        tolerance = pd.Series([getattr(TOLERANCES[k], who) for k in table["kind"]], table.index)
        table[f"tol_{who}"] = tolerance if who in took_part else np.nan
        # so written, a difference that is not a number is outside too
        outside[who] = ~(table[f"diff_{who}"] <= tolerance)
        if who == "statsmodels" and own.raw is not None and own.statsmodels is None:
            given = table["kind"].isin(OF_COMPONENTS)
            outside[who] &= given
            table[f"tol_{who}"] = table[f"tol_{who}"].where(given)
    table["verdict"] = [
        ", ".join(w for w in took_part if outside[w].iloc[i]) + " differs"
        if any(outside[w].iloc[i] for w in took_part)
        else "agrees"
        for i in range(len(table))
    ]
    excused = bool(statsmodels_differs) and "statsmodels" in took_part
    if excused and not outside["statsmodels"].any():
        raise ValueError("statsmodels agrees with lme4 here: remove statsmodels_differs=...")
    counted = [w for w in took_part if not (excused and w == "statsmodels")]
    agrees = not any(bool(outside[w].any()) for w in counted)
    errors = _standard_errors(own, lme4)
    notes = _notes(lme4, own, statsmodels_differs)
    standing = (*_on_errors(errors), lme4.provenance())
    verdict = "differs" if not agrees else "statsmodels differs" if excused else "agrees"
    record = {**_record(table, lme4), "verdict": verdict, "reason": statsmodels_differs}
    return Agreement(table, errors, record, notes, standing)


def _of(result: Any, name: str) -> float:
    return np.nan if result is None else float(getattr(result, name))


def _fixed_rows(own: OwnFit, lme4: LmerFit) -> list[Row]:
    """Estimates in standard errors, and standard errors relative to lme4's."""
    nothing = pd.Series(np.nan, index=lme4.fe_params.index)

    def column(result: Any, name: str, who: str) -> pd.Series:
        return nothing if result is None else aligned(getattr(result, name), lme4.fe_params, who)

    estimates = (column(own.engine, "fe_params", "the engine"),
                 column(own.raw, "fe_params", "the statsmodels fit"))  # fmt: skip
    errors = (column(own.engine, "bse_fe", "the engine"),
              column(own.statsmodels, "bse_fe", "the statsmodels fit"))  # fmt: skip
    rows: list[Row] = []
    for term in map(str, lme4.fe_params.index):
        value = lme4.fe_params[term]
        unit, (e, s) = float(lme4.bse_fe[term]), (x[term] for x in estimates)
        rows.append((f"`{term}`", "fixed effect", unit, e, s, float(value)))
    for term in map(str, lme4.bse_fe.index):
        value = lme4.bse_fe[term]
        e, s = (x[term] for x in errors)
        if not (np.isnan(e) and np.isnan(s)):
            rows.append((f"SE of `{term}`", "standard error", float(value), e, s, float(value)))
    return rows


def _random_rows(own: OwnFit, lme4: LmerFit) -> list[Row]:
    """Variances, covariances, ICC, theta and the worst conditional mode, one grouping factor."""
    cov, names = lme4.cov_re, list(lme4.cov_re.index)
    q = len(names)
    # a variance far below what the residual leaves visible is compared on that scale, not its own
    size = np.sqrt((np.asarray(own.engine.Z, dtype=float) ** 2).mean(axis=0))
    floor = 0.1 * np.sqrt(lme4.scale) / size
    sd = np.maximum(np.sqrt(np.diag(cov)), floor)
    results = [own.engine, own.statsmodels]
    covs = [None if r is None else _square(r.cov_re, names) for r in results]

    def pick(values: list[Any], *at: int) -> tuple[float, float]:
        e, s = (np.nan if v is None else float(np.asarray(v)[at]) for v in values)
        return e, s

    rows: list[Row] = []
    pairs = [(i, j) for j in range(q) for i in range(j, q)]
    for i, j in pairs:
        kind = "variance" if i == j else "covariance"
        text = f"variance of `{names[i]}`" if i == j else f"covariance, `{names[j]}`, `{names[i]}`"
        rows.append((text, kind, sd[i] * sd[j], *pick(covs, i, j), float(np.asarray(cov)[i, j])))
    # with weights the residual variance is that of a row of weight 1: no row need have it
    if names == ["Intercept"] and _rframe.WEIGHTS not in own.data:
        iccs = [
            None if r is None or c is None else c[0, 0] / (c[0, 0] + r.scale)
            for r, c in zip(results, covs, strict=True)
        ]
        rows.append(("ICC", "ICC", 1.0, *pick(iccs), lme4.icc))
    thetas = [None if r is None else r.theta for r in results]
    for k, (i, j) in enumerate(pairs):
        text = f"theta, `{names[i]}`" + (f", `{names[j]}`" if i != j else "")
        unit = sd[i] / np.sqrt(lme4.scale)
        rows.append((text, "theta", unit, *pick(thetas, k), float(lme4.theta[k])))
    for i, name in enumerate(names):
        rows.append(_worst_mode(own, lme4, i, name, float(sd[i])))
    return rows


def _square(cov: pd.DataFrame, names: list[str]) -> np.ndarray:
    positions = pd.Series(range(len(cov)), index=cov.index)
    at = aligned(positions, pd.Series(0, index=names), "the random part").astype(int).to_numpy()
    return np.asarray(cov, dtype=float)[np.ix_(at, at)]


def _worst_mode(own: OwnFit, lme4: LmerFit, i: int, name: str, unit: float) -> Row:
    """The group whose conditional mode is furthest from lme4's."""
    theirs = lme4.random_effects.iloc[:, i]
    label = {str(k): k for k in theirs.index}
    values = []
    for result in (own.engine, own.statsmodels):
        if result is None:
            values.append(pd.Series(np.nan, index=theirs.index))
            continue
        modes = result.random_effects.iloc[:, i]
        modes = modes.set_axis([label.get(str(k), k) for k in modes.index])
        values.append(modes.reindex(theirs.index))
    worst = pd.concat([(v - theirs).abs() for v in values], axis=1).max(axis=1).idxmax()
    e, s = (float(v[worst]) for v in values)
    text = f"mode of `{name}`, {theirs.index.name} {worst} (worst of {len(theirs)})"
    return text, "conditional mode", unit, e, s, float(theirs[worst])


def _standard_errors(own: OwnFit, lme4: LmerFit) -> pd.DataFrame:
    """lme4's standard errors beside the engine's and both of statsmodels'."""
    columns = {"lme4": lme4.bse_fe}
    sources = {"engine": own.engine, "statsmodels_phi": own.statsmodels, "statsmodels_own": own.raw}
    for name, result in sources.items():
        if result is not None:
            columns[name] = aligned(result.bse_fe, lme4.bse_fe, name)
    return pd.DataFrame(columns)


def _record(table: pd.DataFrame, lme4: LmerFit) -> dict[str, Any]:
    """Largest differences and verdict, JSON-ready."""
    record: dict[str, Any] = {
        "n": lme4.n,
        "ngroups": "; ".join(str(k) for k in lme4.group_counts.values()),
        "reml": lme4.reml,
    }
    for who in ("engine", "statsmodels"):
        differences = table[f"diff_{who}"].dropna()
        record[f"max_diff_{who}"] = float(differences.max()) if len(differences) else None
        # as a share of its own tolerance: the quantity that came closest to failing
        share = (table[f"diff_{who}"] / table[f"tol_{who}"]).dropna()
        record[f"closest_{who}"] = str(share.idxmax()) if len(share) else None
    kinds = dict.fromkeys(table["kind"])
    record["tolerances"] = {
        k: {"engine": TOLERANCES[k].engine, "statsmodels": TOLERANCES[k].statsmodels} for k in kinds
    }
    record["source"] = lme4.source
    record["versions"] = lme4.versions
    return record


def _notes(lme4: LmerFit, own: OwnFit, reason: str) -> tuple[str, ...]:
    """What is to be said of this model."""
    notes = [f"Why statsmodels differs: {reason}"] if reason else []
    excess = lme4.criterion - (lme4.criterion if own.engine is None else own.engine.criterion)
    if excess > TOLERANCES["criterion"].engine:
        notes.append(
            f"lme4's criterion is {excess:.2g} above the engine's, so lme4 is not at the optimum: "
            "centre and scale the predictors, or look at the random effects this model asks for."
        )
    if own.raw is not None and not own.raw.converged:
        notes.append("statsmodels says that its optimiser did not converge.")
    if lme4.singular:
        notes.append("lme4 calls this fit singular: a variance is zero or a correlation is ±1.")
        if isinstance(own.engine, SeveralResults):
            notes.append(NO_DF)
    return (*notes, *lme4.said())


def _on_errors(errors: pd.DataFrame) -> list[str]:
    """How statsmodels' own standard errors are defined, and how far they are from lme4's."""
    if "statsmodels_own" not in errors:
        return []
    gap = (errors["statsmodels_own"] / errors["lme4"] - 1.0).abs()
    worst = errors.loc[gap.idxmax(), "statsmodels_own"]
    far = f"up to {100 * gap.max():.2g}% from lme4's (`{gap.idxmax()}`: {worst:.6g})"
    if "statsmodels_phi" not in errors:
        return [
            "Standard errors are not compared: `bse_fe` of statsmodels inverts the Hessian of "
            f"all parameters; here it is {far}."
        ]
    return [
        "The statsmodels standard errors above are computed at its estimates as lme4 does, "
        r"from the inverse of $\mathbf{X}^\top \mathbf{V}^{-1} \mathbf{X}$. "
        "Its own `bse_fe` inverts the Hessian of all parameters and is another quantity; "
        f"here it is {far}."
    ]

"""The truths of test_days beside what a fit gives, and their sampling errors from theory."""

from __future__ import annotations

import numpy as np
import pandas as pd

from datasets.generate import test_days
from datasets.generate._shared import Truth
from pylmm_helpers import fit_lmm
from pylmm_helpers.engine import LMMResults

LEVELS = ("region", "herd", "cow", "lactation")


def with_means(data: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that the milk model has beside the file's: cells and its two means."""
    cells = np.log(data["scc"]) - test_days.CELLS_MEAN
    frame = data.assign(cells=cells)
    return frame.assign(
        cells_lactation=frame.groupby("lactation", observed=True)["cells"].transform("mean"),
        cells_herd=frame.groupby("herd", observed=True)["cells"].transform("mean"),
    )


def fit_milk(data: pd.DataFrame) -> LMMResults:
    """Fit the model that drew the milk, by REML."""
    fixed = test_days.MILK_MODEL.partition(" + (1 |")[0]
    nested = " + (1 | region/herd/cow/lactation)"
    return fit_lmm(fixed + nested, with_means(data), correlation="car1(dim)")


def fit_scores(data: pd.DataFrame) -> LMMResults:
    """Fit the model that drew the body condition scores, by REML."""
    return fit_lmm(test_days.SCORE_MODEL, data)


def variances(fit: LMMResults) -> dict[str, float]:
    """Return the variances under the truth's names."""
    by_level = {
        "sigma2_" + name.rpartition(":")[2]: float(cov.iloc[0, 0])
        for name, cov in fit.cov_re_by_group.items()
    }
    return by_level | {"sigma2": float(fit.scale)}


def milk_errors(truth: Truth, data: pd.DataFrame) -> dict[str, float]:
    """Return standard errors of the variances and of phi at the truth, region by region.

    They are those of the inverse expected information, 1/2 tr(V^-1 G_r V^-1 G_s), with G_r the
    derivative of V (Searle, Casella & McCulloch, Variance Components, 1992, section 6.3).
    """
    names = [f"sigma2_{level}" for level in LEVELS] + ["sigma2", "phi"]
    true = truth.random
    information = np.zeros((len(names), len(names)))
    for _, rows in data.groupby("region", observed=True):
        same = [_same(rows[level]) for level in LEVELS]
        apart = np.abs(np.subtract.outer(rows["dim"].to_numpy(), rows["dim"].to_numpy()))
        serial = same[-1] * true["phi"] ** apart
        slope = same[-1] * true["sigma2"] * apart * true["phi"] ** np.maximum(apart - 1, 0)
        parts = [*same, serial, slope]
        v = sum(true[name] * part for name, part in zip(names[:-1], parts[:-1], strict=True))
        information += _information(v, parts)
    return _errors(names, information)


def score_errors(truth: Truth, data: pd.DataFrame) -> dict[str, float]:
    """Return standard errors of the variances of the scores at the truth."""
    names = ["sigma2_herd", "sigma2_cow", "sigma2_technician", "sigma2"]
    parts = [_same(data[name.removeprefix("sigma2_")]) for name in names[:-1]]
    parts.append(np.eye(len(data)))
    v = sum(truth.random[name] * part for name, part in zip(names, parts, strict=True))
    return _errors(names, _information(v, parts))


def _same(labels: pd.Series) -> np.ndarray:
    codes = pd.factorize(labels)[0]
    same: np.ndarray = np.equal.outer(codes, codes).astype(float)
    return same


def _information(v: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    slopes = [np.linalg.solve(v, part) for part in parts]
    return 0.5 * np.array([[np.sum(g * h.T) for h in slopes] for g in slopes])


def _errors(names: list[str], information: np.ndarray) -> dict[str, float]:
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    return dict(zip(names, map(float, errors), strict=True))

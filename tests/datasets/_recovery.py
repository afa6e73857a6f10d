"""What a fit of a declared truth gives, and how far sampling alone may move it from the truth."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import formulaic
import numpy as np
import pandas as pd
import statsmodels.formula.api as smf


@dataclass(frozen=True)
class Model:
    """A truth's model, taken apart: fixed formula, random-effect formula, grouping column."""

    fixed: str
    random: str
    group: str


def parse(model: str) -> Model:
    """Split lme4's notation "y ~ x + (1 + x | g)"."""
    found = re.fullmatch(r"(.+) \+ \((.+) \| (\w+)\)", model)
    assert found is not None, f"{model} is not 'y ~ ... + (... | group)'"
    return Model(*found.groups())


def complete_rows(model: str, data: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without missing values in the model's own columns."""
    used = [column for column in data if column in re.findall(r"\w+", model)]
    return data[used].dropna().reset_index(drop=True)


def covariance(random: dict[str, float]) -> np.ndarray:
    """Return the covariance matrix of the random effects from a truth's entries."""
    if "sigma2_g" in random:
        return np.array([[random["sigma2_g"]]])
    u01 = random["sigma_u01"]
    return np.array([[random["sigma2_u0"], u01], [u01, random["sigma2_u1"]]])


def fit_reml(model: str, data: pd.DataFrame) -> dict[str, float]:
    """Fit by REML with statsmodels and return the estimates under the truth's names."""
    parts = parse(model)
    complete = complete_rows(model, data)
    with warnings.catch_warnings():
        # A convergence warning would mean that the estimates below are not REML estimates.
        warnings.simplefilter("error")
        fit = smf.mixedlm(parts.fixed, complete, groups=parts.group, re_formula=parts.random).fit(
            reml=True, method=["bfgs"]
        )
    assert fit.converged
    cov_re = fit.cov_re.to_numpy()
    estimates = {str(term): float(value) for term, value in fit.fe_params.items()}
    if cov_re.shape == (1, 1):
        estimates["sigma2_g"] = float(cov_re[0, 0])
    else:
        estimates["sigma2_u0"], estimates["sigma2_u1"] = map(float, np.diag(cov_re))
        estimates["sigma_u01"] = float(cov_re[0, 1])
    estimates["sigma2"] = float(fit.scale)
    return estimates


def sampling_error(model: str, random: dict[str, float], data: pd.DataFrame) -> dict[str, float]:
    """Return the theoretical standard errors at the truth, for this file's design.

    Fixed effects: the square roots of the diagonal of (X'V^-1 X)^-1. Variance parameters: those
    of the inverse expected information, with elements 1/2 sum tr(V^-1 G_r V^-1 G_s) over groups,
    G_r the derivative of V (Searle, Casella & McCulloch, Variance Components, 1992, section 6.3).
    """
    parts = parse(model)
    frame = complete_rows(model, data)
    x = formulaic.model_matrix(parts.fixed.split("~")[1], frame)
    z = formulaic.model_matrix(parts.random, frame).to_numpy(float)
    names = ["sigma2_g"] if z.shape[1] == 1 else ["sigma2_u0", "sigma2_u1", "sigma_u01"]
    pairs = [(0, 0)] if z.shape[1] == 1 else [(0, 0), (1, 1), (0, 1)]
    cov_re, sigma2 = covariance(random), random["sigma2"]

    information_beta = np.zeros((x.shape[1], x.shape[1]))
    information = np.zeros((len(names) + 1, len(names) + 1))
    for rows in frame.groupby(parts.group).indices.values():
        x_j, z_j = x.to_numpy(float)[rows], z[rows]
        v_inverse = np.linalg.inv(z_j @ cov_re @ z_j.T + sigma2 * np.eye(len(rows)))
        information_beta += x_j.T @ v_inverse @ x_j
        slopes = []
        for a, b in pairs:
            outer = np.outer(z_j[:, a], z_j[:, b])
            slopes.append(v_inverse @ (outer if a == b else outer + outer.T))
        slopes.append(v_inverse)
        information += 0.5 * np.array([[np.sum(g * h.T) for h in slopes] for g in slopes])
    se_beta = np.sqrt(np.diag(np.linalg.inv(information_beta)))
    se_random = np.sqrt(np.diag(np.linalg.inv(information)))
    errors = {str(term): float(se) for term, se in zip(x.columns, se_beta, strict=True)}
    return errors | dict(zip([*names, "sigma2"], map(float, se_random), strict=True))

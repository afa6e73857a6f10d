"""Parametric bootstrap of models with several random terms: responses are simulated row by row, and
each refit changes only the products that the response is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.engine import parameter_names as one_factor_names
from pylmm_helpers.engine import (
    parameters_of,
    refit,
    refit_from,
    response,
    row_weights,
)
from pylmm_helpers.engine.several import (
    Point,
    SeveralResults,
    Sums,
    by_level,
    minimise,
    starts,
)
from pylmm_helpers.formula import order_of

from .lrt import SeveralDifferencesError
from .parameters import parameter_names, parameters


class Refits:
    """The model of a fit for other responses."""

    def __init__(self, fit: Any) -> None:
        self.fit = fit
        scaling, first = fit.scalings[0], fit.design.first
        self.root = np.sqrt(row_weights(fit))
        self.X = (scaling.x(first.X) * self.root[:, None]).T
        self.Z = []
        for factor in fit.sums.factors:
            own = fit.design.by_factor[factor.name]
            columns = np.column_stack([c for k in own for c in fit.design.parts[k].z_columns])
            self.Z.append((fit.scaled_z(factor.name, columns) * self.root[:, None]).T)
        # from the estimates, where every variance can grow, and from lme4's start
        away = fit.at.theta + 0.1 * (starts(fit.sums)[0] > 0.0)
        self.starts = [away, starts(fit.sums)[0]]

    def row(self, y: Array) -> Array:
        """A response (n,) scaled and weighted as the fit's own."""
        scaling = self.fit.scalings[0]
        target = y - self.fit.offset
        scaled = (target - scaling.y_shift) / scaling.y_scale * self.root
        return np.asarray(scaled - scaling.offset @ self.X)

    def sums(self, y: Array) -> Sums:
        """The fit's products with another response (n,)."""
        old, row = self.fit.sums, self.row(y)
        p = old.p
        blocks = [by_level(f, Z, row[None]) for f, Z in zip(old.factors, self.Z, strict=True)]
        ZR = [np.concatenate([a[:, :p], b], axis=1) for a, b in zip(old.ZR, blocks, strict=False)]
        DR = old.DR.copy()
        if old.N:
            DR[:, p] = np.concatenate([b[:, 0].T.ravel() for b in blocks[old.m :]])
        RR = old.RR.copy()
        RR[:p, p] = RR[p, :p] = self.X @ row
        RR[p, p] = row @ row
        return replace(old, ZR=ZR, DR=DR, RR=RR)

    def point(self, y: Array) -> Point:
        """The best fit of another response."""
        sums = self.sums(y)
        found = [minimise(start, sums, self.fit.reml).at for start in self.starts]
        return min(found, key=lambda at: at.value)

    def criterion(self, y: Array) -> float:
        """The criterion of another response, in the units of the data."""
        return self.fit.criterion + self.point(y).value - self.fit.at.value


def criterion_of(fit: Any) -> Callable[[Array], float]:
    """The criterion of a fit's model as a function of the response."""
    if fit.structure is not None:
        return lambda y: float(refit_from(fit, y).criterion)
    if isinstance(fit, SeveralResults):
        return Refits(fit).criterion
    return lambda y: float(refit(fit, y).criterion)


def null_statistics(full: Any, reduced: Any, replicates: int, rng: np.random.Generator) -> Array:
    """Likelihood ratio statistics (replicates,) of responses simulated under the reduced model."""
    wide, narrow = criterion_of(full), criterion_of(reduced)
    found = np.empty(replicates)
    order = order_of(full, reduced)
    for k in range(replicates):
        y = response(reduced, rng)
        found[k] = max(narrow(y) - wide(y if order is None else y[order]), 0.0)
    return found


def statistic_and_p(full: Any, reduced: Any, test: Callable[..., Any]) -> tuple[float, float]:
    """The likelihood ratio statistic and its asymptotic p-value by `test`, NaN where that isn't
    known; refuses what can't be compared."""
    try:
        found = test(full, reduced).iloc[0]
    except SeveralDifferencesError:
        return max(float(reduced.criterion - full.criterion), 0.0), float("nan")
    return float(found["statistic"]), float(found["p_value"])


def own_values(fit: Any) -> pd.Series:
    """All parameters of a fit by name, those of its residuals' structure too."""
    if isinstance(fit, SeveralResults):
        found = pd.Series(parameters(fit, fit.at), parameter_names(fit))
    else:
        found = pd.Series(parameters_of(fit), one_factor_names(fit))
    structure = fit.structure
    more = {}
    if structure is not None and structure.phi is not None:
        more["phi"] = structure.phi
    if structure is not None and structure.ratios is not None:
        labels = [f"ratio({structure.request.variances} {level})" for level in structure.levels]
        more |= dict(zip(labels[1:], structure.ratios[1:], strict=True))
    return pd.concat([found, pd.Series(more, dtype=float)])


def structure_draws(fit: Any, replicates: int, rng: np.random.Generator) -> pd.DataFrame:
    """Estimates of all parameters of a fit with a structure, from responses simulated under it."""
    found = [own_values(refit_from(fit, response(fit, rng))) for _ in range(replicates)]
    return pd.DataFrame(found).reset_index(drop=True)


def draws(fit: SeveralResults, replicates: int, rng: np.random.Generator) -> pd.DataFrame:
    """Estimates of all parameters from responses simulated under the fit."""
    refits = Refits(fit)
    found = [parameters(fit, refits.point(response(fit, rng))) for _ in range(replicates)]
    return pd.DataFrame(np.array(found), columns=parameter_names(fit))

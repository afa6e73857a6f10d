"""What a fit with several random terms gives, in the units of the data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array

from ..criterion import factor_to_theta
from ..results import SINGULAR
from ..summary import Summary
from .blocks import Inverse, conditional_blocks, whole_inverse
from .criterion import by_factor, lambdas_of
from .fixed import FixedResults
from .solve import backward
from .summary import summarise

#: Names of one factor's quantities, and the dicts that hold them for several.
PLAIN = {
    "cov_re": "cov_re_by_group",
    "random_effects": "random_effects_by_group",
    "random_effects_var": "random_effects_var_by_group",
    "ngroups": "ngroups_by_group",
    "group_labels": "labels_by_group",
}


@dataclass(frozen=True, eq=False)
class SeveralResults(FixedResults):
    """A fitted linear mixed model with several random terms, as `fit_lmm` gives it for a formula
    such as ``y ~ x + (1 | herd) + (1 | herd:cow)``.

    Everything is in the units of the data. The attributes of `LMMResults` that belong to one
    grouping factor are here dicts from the factor ("herd", "herd:cow") to what the plain name gives
    for one; a plain name gives its value where there is a single factor, and otherwise refuses.

    Attributes
    ----------
    fe_params, bse_fe, cov_fe, scale, criterion, llf, aic, bic : Series, DataFrame or float
        As in `LMMResults`.
    theta : ndarray (d,)
        Relative covariance factors as lme4 orders them: term by term, those with most levels first.
    cov_re_by_group : dict of DataFrame (q, q)
        Covariance matrix of each factor's random effects; zeros between its terms.
    random_effects_by_group : dict of DataFrame (L, q)
        Predicted random effects (BLUPs). A factor of several columns has them as index levels.
    random_effects_var_by_group : dict of ndarray (L, q, q)
        Their covariance given the data, variance parameters and fixed effects taken as known.
    ngroups_by_group : dict of int
        Levels of each factor.
    fittedvalues, resid : Series (n,)
        Conditional fitted values X beta + Z u, and what they leave of the response.
    nobs, df_resid, n_params, n_dropped : int
        Rows used, n - p, parameters (those of the residuals counted), rows dropped as incomplete.
    converged, singular, reml : bool
        As in `LMMResults`.
    """

    @property
    def group_names(self) -> list[str]:
        """Names of the grouping factors, those with most levels first."""
        return list(self.design.by_factor)

    @cached_property
    def number(self) -> dict[str, int]:
        """Where each factor stands in the order of elimination."""
        return {factor.name: k for k, factor in enumerate(self.sums.factors)}

    @cached_property
    def z_names(self) -> dict[str, list[str]]:
        """Names of each factor's random effects."""
        parts = self.design.parts
        return {
            g: [z for k in own for z in parts[k].z_names]
            for g, own in self.design.by_factor.items()
        }

    @cached_property
    def z_map(self) -> dict[str, Array]:
        """For each factor the matrix (q, q) from the columns of the data to the scaled ones."""
        found = {}
        for name, own in self.design.by_factor.items():
            q = len(self.z_names[name])
            matrix, start = np.zeros((q, q)), 0
            for k in own:
                part = self.scalings[k].z_map
                stop = start + len(part)
                matrix[start:stop, start:stop] = part
                start = stop
            found[name] = matrix
        return found

    def scaled_z(self, name: str, Z: Array) -> Array:
        """Scaled rows of a factor's columns Z (n, q)."""
        found, start = [], 0
        for k in self.design.by_factor[name]:
            stop = start + len(self.scalings[k].z_map)
            found.append(self.scalings[k].z(Z[:, start:stop]))
            start = stop
        return np.hstack(found)

    @cached_property
    def lambdas(self) -> dict[str, Array]:
        """Each factor's relative covariance factor (q, q) in scaled columns."""
        found = lambdas_of(self.at.theta, self.sums)
        return {name: found[self.number[name]] for name in self.group_names}

    @cached_property
    def theta(self) -> Array:
        """Relative covariance factors, entry by entry in lme4's order."""
        blocks = {}
        for name, own in self.design.by_factor.items():
            start = 0
            for k in own:
                stop = start + len(self.scalings[k].z_map)
                block = self.lambdas[name][start:stop, start:stop]
                blocks[k] = factor_to_theta(self.scalings[k].factor(block))
                start = stop
        return np.concatenate([blocks[k] for k in self.design.order])

    @cached_property
    def singular(self) -> bool:
        """Whether some term's covariance has lost rank: a variance of zero or a correlation of
        one."""
        return any(np.diag(L).min() < SINGULAR for L in self.lambdas.values())

    @cached_property
    def cov_re_by_group(self) -> dict[str, pd.DataFrame]:
        """Covariance matrix of each factor's random effects."""
        found = {}
        for name, names in self.z_names.items():
            root = self.z_map[name] @ self.lambdas[name]
            found[name] = pd.DataFrame(self.scale * root @ root.T, index=names, columns=names)
        return found

    @property
    def ngroups_by_group(self) -> dict[str, int]:
        """Levels of each factor."""
        return {name: self.design.factors[name].levels for name in self.group_names}

    @cached_property
    def labels_by_group(self) -> dict[str, pd.Index]:
        """Labels of each factor's levels."""
        parts, by_factor = self.design.parts, self.design.by_factor
        return {name: parts[own[0]].group_labels for name, own in by_factor.items()}

    @cached_property
    def sizes_by_group(self) -> dict[str, np.ndarray]:
        """Rows of each level."""
        return {
            name: np.bincount(factor.codes, self.design.sizes, factor.levels).astype(np.int64)
            for name, factor in self.design.factors.items()
        }

    @cached_property
    def coefficients(self) -> dict[str, Array]:
        """``Delta Z'V^-1 [X y]`` (q, p + 1, L) of each factor, in scaled columns."""
        _, effects = backward(self.at.f, self.at.left, self.at.half)
        blocks = by_factor(effects, self.sums)
        return {name: blocks[self.number[name]] for name in self.group_names}

    @cached_property
    def effects_scaled(self) -> dict[str, Array]:
        """Random effects (L, q) of each factor, in scaled columns."""
        weights = np.append(-self.beta_scaled, 1.0)
        return {
            name: np.einsum("icg,c->gi", blocks, weights)
            for name, blocks in self.coefficients.items()
        }

    @cached_property
    def random_effects_by_group(self) -> dict[str, pd.DataFrame]:
        """Predicted random effects (BLUPs), levels by effects."""
        found = {}
        for name, scaled in self.effects_scaled.items():
            values = self.scalings[0].y_scale * scaled @ self.z_map[name].T
            labels = self.labels_by_group[name]
            if not isinstance(labels, pd.MultiIndex):
                labels = pd.Index(labels, name=name)
            found[name] = pd.DataFrame(values, index=labels, columns=self.z_names[name])
        return found

    @cached_property
    def inverse(self) -> Inverse:
        """Blocks of the random effects' covariance given the data, over sigma^2."""
        return whole_inverse(self.at.f)

    @cached_property
    def random_effects_var_by_group(self) -> dict[str, Array]:
        """Conditional covariance matrices (L, q, q) of each factor's random effects."""
        blocks = conditional_blocks(self.at.f, self.inverse)
        return {
            name: np.asarray(
                self.scale
                * self.z_map[name]
                @ np.moveaxis(blocks[self.number[name]], -1, 0)
                @ self.z_map[name].T
            )
            for name in self.group_names
        }

    @cached_property
    def _fitted(self) -> Array:
        """X beta + Z u (n,) less the response's shift, from scaled columns, which keep the digits
        that a large mean would take."""
        values = self.scalings[0].fixed(self.X, self.beta_scaled)
        for name, own in self.design.by_factor.items():
            effects, start = self.effects_scaled[name], 0
            for position in own:
                part = self.design.parts[position]
                stop = start + len(part.z_names)
                values = values + self.scalings[position].random(
                    part.Z, effects[part.codes, start:stop]
                )
                start = stop
        return values

    @cached_property
    def fittedvalues(self) -> pd.Series:
        """Conditional fitted values X beta + Z u, and the offset."""
        values = self._fitted + self.scalings[0].y_shift + self.offset
        return pd.Series(values, index=self.frame.index, name="fitted")

    @cached_property
    def resid(self) -> pd.Series:
        """Response less conditional fitted values."""
        values = self._rows_of.target - self.scalings[0].y_shift - self._fitted
        return pd.Series(values, index=self.frame.index, name="resid")

    def __getattr__(self, name: str) -> Any:
        # the plain names of one factor: the only one's value, or a refusal that names the dict
        by_group = PLAIN.get(name)
        if by_group is None:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        if len(self.group_names) > 1:
            names = [repr(group) for group in self.group_names]
            raise ValueError(
                f"this fit has several grouping factors ({', '.join(names)}), so it has no single "
                f"{name}; take {by_group}[{names[0]}]."
            )
        return getattr(self, by_group)[self.group_names[0]]

    def summary(self) -> Summary:
        """Fixed and random effects as text (`print`) and as tables in a notebook."""
        return summarise(self)

    def __repr__(self) -> str:
        method = "REML" if self.reml else "ML"
        groups = " and ".join(self.group_names)
        return f"<SeveralResults: {self.endog_name} by {groups}, {method}, n = {self.nobs}>"

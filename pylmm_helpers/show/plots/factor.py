"""One grouping factor of a fit, as the figures of groups need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.engine import SeveralResults, any_results
from pylmm_helpers.formula import Design


@dataclass(frozen=True)
class OneFactor:
    """A factor's random effects and rows, whatever other factors the fit has.

    Attributes
    ----------
    fit : LMMResults or SeveralResults
        The whole fit.
    groups : str
        The factor's name.
    cov_re, random_effects : DataFrame (q, q) and (G, q)
        Covariance and BLUPs of its effects.
    codes : ndarray (n,)
        Level number of each row.
    designs : tuple of Design
        Its terms; each has the fixed part and the rows too.
    """

    fit: Any
    groups: str
    cov_re: pd.DataFrame
    random_effects: pd.DataFrame
    codes: NDArray[np.intp]
    designs: tuple[Design, ...]

    @property
    def terms(self) -> list[str]:
        """Names of the random effects."""
        return [str(term) for term in self.cov_re.index]

    @property
    def ngroups(self) -> int:
        """Number of levels."""
        return len(self.random_effects)

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Rows of each level (G,)."""
        return np.bincount(self.codes, minlength=self.ngroups)

    @property
    def weights(self) -> Array | None:
        """Prior weights (n,) of the rows."""
        return self.designs[0].weights

    def scaled_z(self, Z: Array) -> Array:
        """Scaled rows of the factor's columns Z (n, q)."""
        if isinstance(self.fit, SeveralResults):
            return self.fit.scaled_z(self.groups, Z)
        return self.fit.cross.scaling.z(Z)

    @property
    def z_map(self) -> Array:
        """The matrix (q, q) from scaled effects to those of the data."""
        if isinstance(self.fit, SeveralResults):
            return self.fit.z_map[self.groups]
        return self.fit.cross.scaling.z_map

    @property
    def Z(self) -> Array:
        """The factor's columns (n, q)."""
        return np.column_stack([c for design in self.designs for c in design.z_columns])

    @property
    def effects_scaled(self) -> Array:
        """BLUPs (G, q) of the scaled columns, in units of the response."""
        fit = self.fit
        if isinstance(fit, SeveralResults):
            weights = np.append(-fit.beta_scaled, 1.0)
            scaled = np.einsum("icg,c->gi", fit.coefficients[self.groups], weights)
            return np.asarray(fit.scalings[0].y_scale * scaled)
        return np.asarray(fit.cross.scaling.y_scale * fit.effects_scaled)

    def rest(self) -> Array:
        """What the fixed effects and all other factors leave of the response (n,)."""
        fit = self.fit
        if isinstance(fit, SeveralResults):
            own = np.sum(self.scaled_z(self.Z) * self.effects_scaled[self.codes], axis=1)
            return fit.resid.to_numpy() + own
        scaling, target = fit.cross.scaling, fit._rows_of.target
        return target - scaling.y_shift - scaling.fixed(fit.X, fit.beta_scaled)

    def population(self, X: Array) -> Array:
        """Fixed part of rows X (k, p)."""
        scaling = self.fit.cross.scaling
        return np.asarray(scaling.fixed(X, self.fit.beta_scaled) + scaling.y_shift)

    def words(self) -> list[str]:
        """Labels of the levels as text; those of several columns joined by colons."""
        return words_of(self.random_effects.index)


def words_of(labels: pd.Index) -> list[str]:
    """Labels of levels as text."""
    if isinstance(labels, pd.MultiIndex):
        return [":".join(map(str, label)) for label in labels]
    return [str(label) for label in labels]


def factor_of(fit: Any, group: str | None) -> OneFactor:
    """The factor that a figure is about.

    Raises
    ------
    ValueError
        When the fit has several factors and none is named, or no factor of that name; it names
        those that there are.
    """
    res = any_results(fit)
    if not isinstance(res, SeveralResults):
        if group not in (None, res.groups):
            raise ValueError(f"group is {group!r}; the only grouping factor is {res.groups!r}.")
        return OneFactor(
            res, str(res.groups), res.cov_re, res.random_effects, res.codes, (res._rows_of,)
        )
    names = res.group_names
    listed = " or ".join(f"group={name!r}" for name in names)
    if group is None and len(names) > 1:
        raise ValueError(f"this fit has several grouping factors; say which is meant: {listed}.")
    # the columns of a factor may be given in another order
    chosen = names[0] if group is None else next(
        (name for name in names
         if isinstance(group, str) and set(group.split(":")) == set(name.split(":"))), None,
    )  # fmt: skip
    if chosen is None:
        raise ValueError(f"group is {group!r}, which is no grouping factor of this fit: {listed}.")
    return OneFactor(
        res, chosen, res.cov_re_by_group[chosen], res.random_effects_by_group[chosen],
        res.design.factors[chosen].codes,
        tuple(res.design.with_rows[k] for k in res.design.by_factor[chosen]),
    )  # fmt: skip

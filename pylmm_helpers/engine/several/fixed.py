"""What a fit with several random terms says of its fixed part, its likelihood and its rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design

from ..products import Scaling
from ..structure_results import StructureResults
from .cell_part import NO_ROWS
from .criterion import Point
from .design import SeveralDesign
from .sums import Sums


@dataclass(frozen=True)
class FixedPart:
    """What helpers for the fixed effects ask of a fit's cross products: their number, names and
    scaling."""

    p: int
    x_names: tuple[str, ...]
    y_name: str
    scaling: Scaling
    mean_weight: float | None


@dataclass(frozen=True, eq=False)
class FixedResults(StructureResults):
    """The part of `SeveralResults` that has nothing to do with single factors."""

    design: SeveralDesign
    sums: Sums
    scalings: tuple[Scaling, ...]
    at: Point
    converged: bool
    reml: bool
    remarks: tuple[str, ...] = ()

    @cached_property
    def cross(self) -> FixedPart:
        """Number, names and scaling of the fixed effects."""
        first = self.design.first
        mean_weight = self.design.mean_weight
        return FixedPart(self.sums.p, first.x_names, first.y_name, self.scalings[0], mean_weight)

    @property
    def beta_scaled(self) -> Array:
        """Fixed effects (p,) in scaled columns."""
        p, root = self.sums.p, self.at.root
        return np.asarray(np.linalg.solve(root[:p, :p].T, root[p, :p]))

    @property
    def sigma2_scaled(self) -> float:
        """Residual variance in squared units of the scaled response."""
        return self.at.r2 / self.at.nu

    @cached_property
    def scale(self) -> float:
        """Residual variance sigma^2."""
        return float(self.sigma2_scaled * self.scalings[0].y_scale ** 2)

    @cached_property
    def fe_params(self) -> pd.Series:
        """Fixed effects."""
        values = self.scalings[0].beta(self.beta_scaled)
        return pd.Series(values, index=list(self.cross.x_names), name="estimate")

    @cached_property
    def cov_fe(self) -> pd.DataFrame:
        """Covariance matrix of the fixed effects."""
        p, names = self.sums.p, list(self.cross.x_names)
        inverse = np.linalg.inv(self.at.root[:p, :p])
        values = self.scalings[0].cov_beta(self.sigma2_scaled * inverse.T @ inverse)
        return pd.DataFrame(values, index=names, columns=names)

    @property
    def bse_fe(self) -> pd.Series:
        """Standard errors of the fixed effects."""
        return pd.Series(np.sqrt(np.diag(self.cov_fe)), index=self.cov_fe.index, name="std_error")

    @cached_property
    def criterion(self) -> float:
        """lme4's deviance or REML criterion, in the units of the data."""
        scaling = self.scalings[0]
        value = self.at.value + 2.0 * self.at.nu * np.log(scaling.y_scale)
        value += self.log_det - self.design.sum_log_weights
        if self.reml:
            value -= 2.0 * float(np.linalg.slogdet(scaling.x_map)[1])
        return float(value)

    @property
    def llf(self) -> float:
        """(Restricted) log-likelihood."""
        return -0.5 * self.criterion

    @property
    def n_params(self) -> int:
        """Fixed effects, variance parameters, sigma and those of the residuals' structure."""
        return self.sums.p + len(self.at.theta) + 1 + self.structure_params

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return self.criterion + 2.0 * self.n_params

    @property
    def bic(self) -> float:
        """Bayesian (Schwarz) criterion."""
        return self.criterion + float(np.log(self.nobs)) * self.n_params

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self.sums.n

    @property
    def df_resid(self) -> int:
        """Rows less fixed effects."""
        return self.nobs - self.sums.p

    @property
    def n_dropped(self) -> int:
        """Incomplete rows that ``missing="drop"`` left out."""
        return self.design.first.dropped

    @property
    def _rows_of(self) -> Design:
        if not isinstance(self.design.first, Design):
            raise ValueError(NO_ROWS)
        return self.design.first

    @property
    def X(self) -> Array:
        """Fixed-effect matrix (n, p)."""
        return self._rows_of.X

    @property
    def y(self) -> Array:
        """Response (n,)."""
        return self._rows_of.y

    @property
    def offset(self) -> Array:
        """What adds to the fitted values with a known slope of one (n,); zero without
        ``offset(...)``."""
        known = self._rows_of.offset
        return np.broadcast_to(0.0, self.nobs) if known is None else known

    @property
    def frame(self) -> pd.DataFrame:
        """The rows used, all columns of the data."""
        return self._rows_of.frame

    @property
    def endog_name(self) -> str:
        """The response as the formula spells it."""
        return self.design.first.y_name

    @property
    def formula(self) -> str:
        """The formula, random terms included."""
        return self.design.formula

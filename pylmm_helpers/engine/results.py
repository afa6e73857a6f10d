"""What a fit gives: estimates in the units of the data, likelihoods, random effects, fitted
values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design

from .by_group import ByGroup
from .criterion import Criterion, criterion, factor_to_theta, theta_to_factor
from .fitted_rows import FittedRows
from .identified import Identification, identification
from .products import CrossProducts, GroupRows
from .structure_results import StructureResults
from .summary import Summary, summarise

#: A diagonal entry of the relative factor below this is a zero variance. lme4 draws the same line,
#: but for the columns as given, so that its verdict depends on their units; here it is drawn for
#: columns scaled to unit spread.
SINGULAR = 1e-4


@dataclass(frozen=True, eq=False)
class LMMResults(ByGroup, FittedRows, StructureResults):
    """A fitted linear mixed model.

    Built by `fit_lmm`, or by ``as_results`` from a statsmodels fit. Everything is in the units of
    the data; the fields of the dataclass itself are in centred and scaled columns and are meant for
    the other helpers.

    Attributes
    ----------
    fe_params, bse_fe : Series (p,)
        Fixed effects and their standard errors (sigma^2 (X'V^-1X)^-1), indexed by term.
    cov_fe : DataFrame (p, p)
        Covariance matrix of the fixed effects.
    cov_re : DataFrame (q, q)
        Covariance matrix of the random effects (squared units of the response); NaN where the data
        can't tell its elements apart, see `unidentified`.
    scale : float
        Residual variance sigma^2.
    theta : ndarray (q(q+1)/2,)
        Relative covariance factor as lme4 orders it: lower triangle, column by column.
    criterion : float
        lme4's deviance (ML) or REML criterion; ``llf`` is -1/2 of it.
    aic, bic : float
        With p + q(q+1)/2 + 1 parameters (less those that are not identified), and log(n) for BIC,
        as lme4 counts.
    random_effects : DataFrame (G, q)
        Predicted random effects (BLUPs).
    random_effects_var : ndarray (G, q, q)
        Their covariance given the data, variance parameters and fixed effects taken as known
        (lme4's condVar).
    fittedvalues, resid : Series (n,)
        Conditional fitted values X beta + Z u (and the offset), and what they leave of the
        response.
    nobs, ngroups, df_resid, n_dropped : int
        Rows used, groups, n - p, rows dropped as incomplete.
    phi : float
        Correlation of residuals one unit of time apart (``correlation=``).
    variance_ratios : Series
        Residual SD of each level over that of the first, which `scale` belongs to
        (``variances=``); nlme prints them with the level as reference that its rows show first.
    converged, singular, reml : bool
        Gradient and boundary conditions of a minimum hold; some variance is zero or some
        correlation is one (in columns scaled to unit spread, where lme4 takes them as they come);
        REML.
    identified, unidentified : bool, tuple of str
        Whether all variances and covariances can be told apart, and the names of those that can't,
        such as "cov(Intercept, arm)" where arm has one value in each group.
    """

    cross: CrossProducts
    rows: GroupRows
    theta_scaled: Array
    at: Criterion
    converged: bool
    reml: bool
    design: Design | None = None
    fixed: tuple[Array, float] | None = None

    @cached_property
    def beta_scaled(self) -> Array:
        """Fixed effects (p,) in scaled columns."""
        return self.at.beta()[0] if self.fixed is None else self.fixed[0]

    @cached_property
    def sigma2_scaled(self) -> float:
        """Residual variance in squared units of the scaled response."""
        nu = self.nobs - (self.cross.p if self.reml else 0)
        return float(self.at.r2[0] / nu) if self.fixed is None else self.fixed[1]

    @cached_property
    def factor_scaled(self) -> Array:
        """Relative covariance factor Lambda (q, q) for scaled columns."""
        return theta_to_factor(self.theta_scaled, self.cross.q)

    @cached_property
    def factor(self) -> Array:
        """Relative covariance factor Lambda (q, q), lower triangular: cov_re = scale * Lambda
        Lambda'."""
        return self.cross.scaling.factor(self.factor_scaled)

    @property
    def theta(self) -> Array:
        """Free entries of `factor`, column by column."""
        return factor_to_theta(self.factor)

    @cached_property
    def scale(self) -> float:
        """Residual variance sigma^2."""
        return self.sigma2_scaled * self.cross.scaling.y_scale**2

    @cached_property
    def fe_params(self) -> pd.Series:
        """Fixed effects."""
        return pd.Series(
            self.cross.scaling.beta(self.beta_scaled),
            index=list(self.cross.x_names),
            name="estimate",
        )

    @cached_property
    def cov_fe(self) -> pd.DataFrame:
        """Covariance matrix of the fixed effects."""
        values = self.cross.scaling.cov_beta(self.sigma2_scaled * self.at.unscaled_cov()[0])
        return pd.DataFrame(
            values, index=list(self.cross.x_names), columns=list(self.cross.x_names)
        )

    @property
    def bse_fe(self) -> pd.Series:
        """Standard errors of the fixed effects."""
        return pd.Series(np.sqrt(np.diag(self.cov_fe)), index=self.cov_fe.index, name="std_error")

    @cached_property
    def cov_re(self) -> pd.DataFrame:
        """Covariance matrix of the random effects; NaN where it is not identified."""
        names = list(self.cross.z_names)
        values = np.where(self.identification.known, self.covariance, np.nan)
        return pd.DataFrame(values, index=names, columns=names)

    @cached_property
    def covariance(self) -> Array:
        """Covariance (q, q) of the random effects that the search ended with: one of several
        equally good ones where it is not identified."""
        return np.asarray(self.scale * self.factor @ self.factor.T)

    @cached_property
    def identification(self) -> Identification:
        """What the data can't tell apart."""
        return identification(self.rows, self.cross, self.reml)

    @property
    def identified(self) -> bool:
        """Whether every variance and covariance can be told from the others."""
        return self.identification.complete

    @property
    def unidentified(self) -> tuple[str, ...]:
        """Names of the variances and covariances that can't be estimated."""
        return self.identification.names

    @cached_property
    def criterion(self) -> float:
        """lme4's deviance or REML criterion, in the units of the data."""
        scaling, nu = self.cross.scaling, self.nobs - (self.cross.p if self.reml else 0)
        value = (
            float(self.at.value[0])
            + 2.0 * nu * np.log(scaling.y_scale)
            - self.cross.sum_log_weights
        )
        if self.reml:
            value -= 2.0 * float(np.linalg.slogdet(scaling.x_map)[1])
        return float(value)

    @property
    def llf(self) -> float:
        """(Restricted) log-likelihood."""
        return -0.5 * self.criterion

    @property
    def n_params(self) -> int:
        """Fixed effects, variance parameters, sigma and those of the residuals' structure, less
        what is not identified."""
        lost = len(self.identification.directions)
        return self.cross.p + len(self.theta_scaled) + 1 + self.structure_params - lost

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
        return self.cross.nobs

    @property
    def ngroups(self) -> int:
        """Groups."""
        return self.cross.ngroups

    @property
    def df_resid(self) -> int:
        """Rows less fixed effects."""
        return self.nobs - self.cross.p

    @property
    def n_dropped(self) -> int:
        """Incomplete rows that ``missing="drop"`` left out."""
        return self.cross.n_dropped

    @cached_property
    def singular(self) -> bool:
        """Whether the random-effects covariance has lost rank: a zero variance or a correlation of
        one."""
        return bool(np.diag(self.factor_scaled).min() < SINGULAR)

    @cached_property
    def effects_scaled(self) -> Array:
        """Predicted random effects (G, q) of the scaled columns."""
        _, whitened = criterion(self.theta_scaled[None], self.rows, self.reml)
        q = self.cross.q
        weights = np.append(-self.beta_scaled, 1.0)
        score = np.concatenate(
            [
                np.einsum("irg,crg,c->gi", w[0, :q], w[0, q:], weights, optimize=True)
                for w in whitened
            ]
        )
        return np.asarray(score @ self.factor_scaled @ self.factor_scaled.T)

    @cached_property
    def random_effects(self) -> pd.DataFrame:
        """Predicted random effects (BLUPs), groups by terms."""
        scaling = self.cross.scaling
        values = scaling.y_scale * self.effects_scaled @ scaling.z_map.T
        labels = pd.Index(self.cross.group_labels, name=self.cross.group_name)
        return pd.DataFrame(values, index=labels, columns=list(self.cross.z_names))

    @cached_property
    def random_effects_var(self) -> Array:
        """Conditional covariance matrices of the random effects (G, q, q): sigma^2 L (I + L'Z'Z
        L)^-1 L'."""
        L, scaling = self.factor_scaled, self.cross.scaling
        inner = np.eye(self.cross.q) + L.T @ np.moveaxis(self.cross.ZtZ, -1, 0) @ L
        to_data = scaling.z_map @ L
        return np.asarray(self.scale * to_data @ np.linalg.inv(inner) @ to_data.T)

    @cached_property
    def _fitted(self) -> Array:
        """Conditional fitted values (n,) less the response's shift and the offset."""
        scaling = self.cross.scaling
        own = scaling.random(self.Z, self.effects_scaled[self.codes])
        return scaling.fixed(self.X, self.beta_scaled) + own

    @cached_property
    def fittedvalues(self) -> pd.Series:
        """Conditional fitted values X beta + Z u, and the offset."""
        values = self._fitted + self.cross.scaling.y_shift + self.offset
        return pd.Series(values, index=self.frame.index, name="fitted")

    @cached_property
    def resid(self) -> pd.Series:
        """Response less conditional fitted values."""
        values = self._rows_of.target - self.cross.scaling.y_shift - self._fitted
        return pd.Series(values, index=self.frame.index, name="resid")

    def summary(self) -> Summary:
        """Fixed and random effects as text (`print`) and as tables in a notebook."""
        return summarise(self)

    def __repr__(self) -> str:
        method = "REML" if self.reml else "ML"
        return f"<LMMResults: {self.endog_name} by {self.groups}, {method}, n = {self.nobs}>"

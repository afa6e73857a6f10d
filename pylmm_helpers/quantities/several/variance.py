r"""Variance components and intraclass correlations of a fit with several random terms.

With :math:`t_k` the variance that factor k adds to a row, over sigma^2 and averaged over the rows
(:math:`\theta_k^2` for a random intercept), two rows that share a level of some factors, and no
more, have the correlation :math:`\sum_{shared} t_k / (1 + \sum t_k)`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import chi2, norm

from pylmm_helpers.common import Array, a_level, one_of
from pylmm_helpers.engine.several import (
    SeveralResults,
    chain_rule,
    delta_gradient,
    delta_hessian,
    evaluate,
    first_derivatives,
    lambdas_of,
    parent_levels,
    theta_hessian,
)
from pylmm_helpers.inference import positive_inverse
from pylmm_helpers.inference.several import second_derivatives

from ..group_level import weight_of

#: Criterion by which an end of an interval may miss its level.
MISS = 1e-4
#: A share below this is none.
NOTHING = 1e-9


def mean_outer(fit: SeveralResults, weight: float) -> dict[str, Array]:
    """Average (q, q) of ``z z'`` over the rows for each factor, in scaled columns, for rows of a
    given weight."""
    found = {}
    if not fit.design.has_rows and fit.design.mean_weight is None:
        # without weights the sums hold the average
        for k, factor in enumerate(fit.sums.factors):
            found[factor.name] = weight * outer_sum(fit, k) / fit.nobs
        return {name: found[name] for name in fit.group_names}
    for name, own in fit.design.by_factor.items():
        columns = [c for k in own for c in fit.design.parts[k].z_columns]
        z = fit.scaled_z(name, np.column_stack(columns))
        found[name] = weight * z.T @ z / len(z)
    return found


def outer_sum(fit: SeveralResults, k: int) -> Array:
    """Sum (q, q) over the rows of ``z z'`` for the factor at place k of the elimination."""
    sums = fit.sums
    if k < sums.m:
        return np.asarray(sums.ZZ[k, k].sum(axis=-1))
    factor, own = sums.dense[k - sums.m]
    blocks = sums.DD[own, own].reshape(factor.levels, factor.q, factor.levels, factor.q)
    return np.asarray(np.einsum("gigj->ij", blocks))


def ratios(fit: SeveralResults, weight: float) -> dict[str, float]:
    """The variance that each factor adds to a row, averaged over the rows, over sigma^2."""
    weights = mean_outer(fit, weight)
    return {g: float(np.sum((weights[g] @ L) * L)) for g, L in fit.lambdas.items()}


def intercepts_only(fit: SeveralResults) -> bool:
    """Whether every random effect is an intercept."""
    return all(names == ["Intercept"] for names in fit.z_names.values())


def variance_components(fit: SeveralResults, weight: float | None) -> pd.DataFrame:
    """`pylmm_helpers.variance_components`, factor by factor."""
    rows: list[tuple[str, str, float, float, float]] = []
    for group, covariance in fit.cov_re_by_group.items():
        G, names = covariance.to_numpy(), list(covariance.index)
        sd = np.sqrt(np.diag(G))
        rows += [(names[i], group, G[i, i], sd[i], np.nan) for i in range(len(names))]
        factor = fit.design.factors[group]
        for i, j in zip(*factor.free, strict=True):
            if i != j:
                size = sd[i] * sd[j]
                correlation = G[i, j] / size if size > 0.0 else np.nan
                rows.append((f"cov({names[j]}, {names[i]})", group, G[i, j], np.nan, correlation))
    whole = fit.cross.mean_weight is None or weight is not None
    at = weight_of(fit, weight, "the total") if whole else 1.0  # type: ignore[arg-type]
    sigma2 = fit.scale / at
    rows.append(("Residual", "", sigma2, np.sqrt(sigma2), np.nan))
    if whole:
        total = sigma2 * (1.0 + sum(ratios(fit, at).values()))
        rows.append(("Total", "", total, np.sqrt(total), np.nan))
    columns = ["component", "group", "variance", "sd", "correlation"]
    frame = pd.DataFrame(rows, columns=columns).set_index("component")
    if frame["correlation"].isna().all():
        frame = frame.drop(columns="correlation")
    if whole and intercepts_only(fit):
        frame["share"] = frame["variance"] / total
    return frame


def shared_factors(fit: SeveralResults) -> dict[str, list[str]]:
    """For each factor those of which two rows share a level when they share one of it: itself and
    all that it is nested in."""
    factors = fit.design.factors
    return {
        name: [
            g
            for g in fit.group_names
            if g == name
            or (factors[g].levels < own.levels and parent_levels(own, factors[g]) is not None)
        ]
        for name, own in factors.items()
    }


def icc(fit: SeveralResults, method: str, level: float, weight: float | None) -> pd.DataFrame:
    """`pylmm_helpers.icc`: a row for each factor."""
    a_level(level)
    one_of(method, ("profile", "delta"), "method")
    at = weight_of(fit, weight, "the intraclass correlation")  # type: ignore[arg-type]
    t = ratios(fit, at)
    total = 1.0 + sum(t.values())
    second = curvature(fit, method == "delta")
    rows = []
    for name, shared in shared_factors(fit).items():
        share = Share(fit, shared, second, at)
        low, high = share.profile(level) if method == "profile" else share.delta(level)
        estimate = sum(t[g] for g in shared) / total
        rows.append((f"two rows of one {name}", estimate, low, high, t[name] / total))
    index = pd.Index(fit.group_names, name="rows that share")
    columns = ["correlation_of", "estimate", "ci_low", "ci_high", "share"]
    table = pd.DataFrame(rows, index=index, columns=columns)
    table.attrs["method"], table.attrs["level"] = method, level
    return table


class Share:
    """The share of some factors in the variance, as a function of theta."""

    def __init__(
        self, fit: SeveralResults, shared: list[str], curvature: Array, weight: float
    ) -> None:
        self.fit, self.curvature = fit, curvature
        weights = mean_outer(fit, weight)
        self.every = [weights[factor.name] for factor in fit.sums.factors]
        self.part = [
            w * (f.name in shared) for w, f in zip(self.every, fit.sums.factors, strict=True)
        ]
        # theta is searched in coordinates in which the criterion is nearly a sphere
        values, vectors = np.linalg.eigh(curvature)
        self.turn = vectors / np.sqrt(np.maximum(values, 1e-8 * values[-1]))
        self.seen: dict[bytes, tuple[float, Array]] = {}

    def theta(self, x: Array) -> Array:
        """Theta (d,) from the coordinates of the search."""
        return np.asarray(self.fit.at.theta + self.turn @ x)

    def value(self, theta: Array) -> tuple[float, Array]:
        """The share and its gradient (d,)."""
        sums = self.fit.sums
        lambdas = lambdas_of(theta, sums)
        total, own = (
            sum(float(np.sum((w @ L) * L)) for w, L in zip(forms, lambdas, strict=True))
            for forms in (self.every, self.part)
        )
        slope = chain_rule(sums, theta, self.part)
        slope = slope - chain_rule(sums, theta, self.every) * own / (1.0 + total)
        return own / (1.0 + total), slope / (1.0 + total)

    def rise(self, x: Array) -> tuple[float, Array]:
        """The rise of the criterion above its minimum, and its gradient (d,) in x."""
        key = x.tobytes()
        if key not in self.seen:
            fit = self.fit
            at = evaluate(self.theta(x), fit.sums, fit.reml)
            if not np.isfinite(at.value):
                return 1e6, np.zeros(len(x))
            slope = chain_rule(fit.sums, at.theta, delta_gradient(at, first_derivatives(at)))
            self.seen = {key: (at.value - fit.at.value, slope @ self.turn)}
        return self.seen[key]

    def delta(self, level: float) -> tuple[float, float]:
        """Normal interval for the logit of the share."""
        estimate, slope = self.value(self.fit.at.theta)
        if estimate <= 0.0:
            raise ValueError(
                "the estimated correlation is 0, where the delta method has no standard error; use "
                "method='profile'"
            )
        variance = 2.0 * float(slope @ positive_inverse(self.curvature) @ slope)
        half = float(norm.ppf(0.5 + level / 2.0)) * np.sqrt(variance)
        half /= estimate * (1.0 - estimate)
        return float(expit(logit(estimate) - half)), float(expit(logit(estimate) + half))

    def profile(self, level: float) -> tuple[float, float]:
        """The least and the largest share among all theta that a likelihood ratio test does not
        reject."""
        cutoff = float(chi2.ppf(level, 1))
        return self.extreme(cutoff, 1.0), self.extreme(cutoff, -1.0)

    def starts(self, cutoff: float, sign: float) -> list[Array]:
        """Where a search for the least (sign 1) or largest (sign -1) share begins: where it would
        end if the criterion were a sphere; and beside zero variances, where its slope vanishes."""
        theta = self.fit.at.theta
        slope = self.value(theta)[1] @ self.turn
        length = float(np.sqrt(slope @ slope))
        found = [-sign * np.sqrt(2.0 * cutoff) * slope / length] if length > 0.0 else []
        zero = np.abs(theta) < 1e-3
        if zero.any() or not found:
            away = np.where(zero, np.sqrt(cutoff) * np.linalg.norm(self.turn, axis=1), 0.0)
            found.append(np.linalg.solve(self.turn, away))
        return found

    def extreme(self, cutoff: float, sign: float) -> float:
        """The least (sign 1) or the largest (sign -1) share where the criterion has risen by at
        most `cutoff`."""

        def share(x: Array) -> tuple[float, Array]:
            value, slope = self.value(self.theta(x))
            return sign * value, sign * slope @ self.turn

        ends = []
        for start in self.starts(cutoff, sign):
            found = minimize(
                share, start, jac=True, method="SLSQP",
                constraints={
                    "type": "ineq",
                    "fun": lambda x: cutoff - self.rise(x)[0],
                    "jac": lambda x: -self.rise(x)[1],
                },
                options={"maxiter": 200, "ftol": 1e-9},
            )  # fmt: skip
            if self.rise(found.x)[0] <= cutoff + MISS:
                ends.append(float(found.fun))
        if not ends:
            raise ValueError(
                "an end of the interval was not found: the criterion is too flat; use "
                "method='delta'"
            )
        end = sign * min(ends)
        return 0.0 if end < NOTHING else end


def curvature(fit: SeveralResults, exact: bool) -> Array:
    """Second derivatives (d, d) of the criterion in theta at the fit; with the average information
    in a large model unless `exact`."""
    at = fit.at
    first = first_derivatives(at)
    if exact:
        whole = second_derivatives(at, first)
        return np.asarray(
            whole[:-1, :-1] - np.outer(whole[:-1, -1], whole[-1, :-1]) / whole[-1, -1]
        )
    return theta_hessian(fit.sums, at.theta, delta_hessian(at, first), delta_gradient(at, first))

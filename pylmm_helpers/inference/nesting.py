"""Which models may be compared: same rows, same response, nested, and by which criterion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine import LMMResults, as_results, row_weights
from pylmm_helpers.formula import in_order_of, row_order

#: Share of a column that another model's columns may leave unexplained and still count as nested.
NESTED = 1e-8


@dataclass(frozen=True)
class Comparison:
    """Two nested models on the same rows.

    Attributes
    ----------
    full : LMMResults
    reduced : LMMResults or None
        None stands for ordinary regression, without random effects.
    x_map : ndarray (p, p0)
        ``X_reduced = X_full @ x_map``.
    z_map : ndarray (q, q0)
        ``Z_reduced = Z_full @ z_map``.
    reduced_criterion : float
        Deviance or REML criterion of the reduced model.
    """

    full: LMMResults
    reduced: LMMResults | None
    x_map: Array
    z_map: Array
    reduced_criterion: float

    @property
    def statistic(self) -> float:
        """Likelihood ratio statistic."""
        return max(0.0, self.reduced_criterion - self.full.criterion)

    @property
    def x_basis(self) -> Array:
        """The reduced fixed effects as columns (p, p0) in the full model's scaled columns.

        Any basis of their space serves, save for REML, where the fixed effects are the same anyway.
        """
        if self.fixed_dropped == 0:
            return np.eye(len(self.x_map))
        return np.asarray(
            np.linalg.qr(np.linalg.solve(self.full.cross.scaling.x_map, self.x_map))[0]
        )

    @property
    def z_basis(self) -> Array:
        """The reduced random terms as columns (q, q0) in the full model's scaled columns."""
        if self.random_dropped == 0:
            return np.eye(len(self.z_map))
        return np.asarray(
            np.linalg.qr(np.linalg.solve(self.full.cross.scaling.z_map, self.z_map))[0]
        )

    @property
    def fixed_dropped(self) -> int:
        """Fixed effects that the reduced model lacks."""
        return int(self.x_map.shape[0] - self.x_map.shape[1])

    @property
    def random_kept(self) -> int:
        """Random terms q0 of the reduced model."""
        return int(self.z_map.shape[1])

    @property
    def random_dropped(self) -> int:
        """Random terms that the reduced model lacks."""
        return int(self.z_map.shape[0] - self.z_map.shape[1])


def compare(full: Any, reduced: Any) -> Comparison:
    """Check that two models may be compared by their likelihoods.

    Raises
    ------
    ValueError
        With the reason: different rows, response, weights, grouping or criterion; REML with
        different fixed effects; not nested; the same model; the wrong order; a full model that fits
        worse.
    """
    big = as_results(full)
    if is_ordinary(reduced):
        comparison = without_random_effects(big, reduced)
    else:
        small = in_order_of(big, as_results(reduced))
        same_data(big, small)
        if different_groups(big, small):
            raise ValueError(
                f"the models have different groups ('{big.groups}' and '{small.groups}'): they "
                "are not nested."
            )
        x_map, z_map = nesting(big, small)
        comparison = Comparison(big, small, x_map, z_map, small.criterion)
    if comparison.fixed_dropped == 0 and comparison.random_dropped == 0:
        raise ValueError(
            "the models have the same fixed and random effects; there is nothing to test."
        )
    if comparison.reduced_criterion < big.criterion - 1e-5 * max(1.0, abs(big.criterion) * 1e-6):
        raise ValueError(
            "the reduced model fits better than the full one that contains it: the full model's "
            "optimiser stopped too early. Fit it with fit_lmm, or check its convergence."
        )
    return comparison


def is_ordinary(reduced: Any) -> bool:
    """Whether the reduced model is an ordinary regression: "ols", or statsmodels OLS results."""
    if isinstance(reduced, str):
        if reduced != "ols":
            raise ValueError(
                f"reduced must be a fitted model or 'ols' (no random effects), not {reduced!r}."
            )
        return True
    return type(getattr(reduced, "model", None)).__name__ == "OLS"


def without_random_effects(big: LMMResults, reduced: Any) -> Comparison:
    """Compare with ordinary regression, by the full model's own criterion."""
    x_map = np.eye(big.cross.p)
    if not isinstance(reduced, str):
        y = np.asarray(reduced.model.endog, dtype=float)
        columns, names = np.asarray(reduced.model.exog, dtype=float), list(reduced.model.exog_names)
        order = row_order(big._rows_of.frame.index, reduced.model.data.row_labels)
        if order is not None:
            y, columns = y[order], columns[order]
        if len(y) != big.nobs or not same_response(y, big._rows_of.target):
            raise ValueError(
                "the models were fitted to different rows or responses; fit both to the same "
                "complete rows."
            )
        if big.design is not None and big.design.weights is not None:
            raise ValueError(
                "the mixed model has weights and the regression has none; fit it without weights."
            )
        x_map = span_map(big, columns, names, "fixed")
        check_reml(big, columns, names)
    comparison = Comparison(big, None, x_map, np.zeros((big.cross.q, 0)), np.nan)
    basis = comparison.x_basis
    transform = np.zeros((big.cross.p + 1, basis.shape[1] + 1))
    transform[:-1, :-1], transform[-1, -1] = basis, 1.0
    value = ordinary_criterion(transform.T @ big.cross.RtR @ transform, big.nobs, big.reml)
    units = big.criterion - float(big.at.value[0])
    return replace(comparison, reduced_criterion=value + units)


def ordinary_criterion(products: Array, n: int, reml: bool) -> float:
    """Deviance or REML criterion of ordinary regression from ``[X y]'[X y]``."""
    p = len(products) - 1
    root = np.linalg.cholesky(products)
    nu = n - p if reml else n
    value = nu * (1.0 + np.log(2.0 * np.pi * root[p, p] ** 2 / nu))
    if reml:
        value += 2.0 * np.log(np.diag(root)[:p]).sum()
    return float(value)


def same_data(first: LMMResults, second: LMMResults) -> None:
    """Refuse models of different rows, responses or weights."""
    if first.nobs != second.nobs:
        raise ValueError(
            f"the models were fitted to different rows ({first.nobs} and {second.nobs}); drop "
            "incomplete rows first, so that both use the same."
        )
    if not same_response(first.y, second.y):
        raise ValueError(
            f"the responses differ ('{first.endog_name}' and '{second.endog_name}', or other "
            "rows); likelihoods of different responses can't be compared."
        )
    if not same_response(first.offset, second.offset):
        raise ValueError("the models have different offsets; fit both with the same offset(...).")
    weights = [row_weights(fit) for fit in (first, second)]
    if not np.allclose(weights[0], weights[1], rtol=1e-9, atol=0.0):
        raise ValueError("the models have different weights; fit both with the same.")
    if first.reml != second.reml:
        raise ValueError(
            "one model was fitted by REML and the other by ML; fit both by the same method."
        )


def same_response(first: Array, second: Array) -> bool:
    """Whether two responses are equal but for rounding, which is judged by their spread too: far
    from zero a small part of a value may be all its variation."""
    rounding = 8.0 * np.finfo(float).eps * float(np.abs(first).max())
    return bool(np.abs(first - second).max() <= 1e-12 * np.ptp(first) + rounding)


def different_groups(first: LMMResults, second: LMMResults) -> bool:
    """Whether two fits group the same rows differently, whatever the labels."""
    pairs = np.unique(first.codes * second.ngroups + second.codes)
    return not len(pairs) == first.ngroups == second.ngroups


def nesting(big: LMMResults, small: LMMResults) -> tuple[Array, Array]:
    """The maps that make the reduced model's columns from the full model's."""
    if small.cross.p > big.cross.p or small.cross.q > big.cross.q:
        raise ValueError(
            "the second model has terms that the first lacks; give the full model first."
        )
    x_map = span_map(big, small.X, list(small.cross.x_names), "fixed")
    check_reml(big, small.X, list(small.cross.x_names))
    return x_map, span_map(big, small.Z, list(small.cross.z_names), "random")


def check_reml(big: LMMResults, part: Array, reduced_names: list[str]) -> None:
    """REML criteria are comparable only for identical fixed effects."""
    if big.reml and not same_fixed(big, part):
        full_names = list(big.cross.x_names)
        raise ValueError(
            f"REML criteria of models with different fixed effects ({', '.join(full_names)} "
            f"against {', '.join(reduced_names)}) can't be compared: each is the likelihood of "
            "other error contrasts. Refit both with reml=False."
        )


def same_fixed(fit: LMMResults, X: Array) -> bool:
    """Whether a matrix (n, p0) is the fit's own X; in scaled columns, so that no unit counts."""
    if X.shape != fit.X.shape:
        return False
    scaling = fit.cross.scaling
    return bool(
        np.abs(scaling.x(X) - scaling.x(fit.X)).max() < 1e-7 * np.abs(scaling.x(fit.X)).max()
    )


def span_map(big: LMMResults, part: Array, names: list[str], kind: str) -> Array:
    """C with ``part = X @ C`` (or ``Z @ C``) for the columns of a fit; ValueError if there is none.

    Worked out in the fit's scaled columns, in which a large mean or an odd unit takes no digits.
    """
    scaling = big.cross.scaling
    full, scaled, to_data = (
        (big.X, scaling.x(big.X), scaling.x_map)
        if kind == "fixed"
        else (big.Z, scaling.z(big.Z), scaling.z_map)
    )
    ones = np.linalg.lstsq(scaled, np.ones(len(full)), rcond=None)[0]
    constant = np.abs(scaled @ ones - 1.0).max() < NESTED
    middle = part.mean(axis=0) if constant else np.zeros(part.shape[1])
    away = part - middle
    size = np.maximum(np.sqrt(np.mean(away**2, axis=0)), 1e-300)
    coefficients = np.linalg.lstsq(scaled, away / size, rcond=None)[0]
    left = np.sqrt(np.mean((away - scaled @ coefficients * size) ** 2, axis=0))
    # a constant column is nothing but rounding once its mean is gone
    outside = left > NESTED * size + 8.0 * np.finfo(float).eps * np.abs(middle)
    if outside.any():
        missing = ", ".join(repr(n) for n, flag in zip(names, outside, strict=True) if flag)
        raise ValueError(
            f"the models are not nested: the {kind} effects of the full model don't contain "
            f"{missing}. Compare them by information_criteria, or fit a model that contains both."
        )
    result = to_data @ (
        np.where(np.abs(coefficients) < 1e-10, 0.0, coefficients) * size + np.outer(ones, middle)
    )
    for j, column in enumerate(part.T):  # a column that both have, to the last digit
        same = [k for k, own in enumerate(full.T) if np.array_equal(own, column)]
        if same:
            result[:, j] = np.eye(full.shape[1])[same[0]]
    return np.asarray(result)

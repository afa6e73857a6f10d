"""The algebra of several grouping factors against the same quantities from n by n matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from pylmm_helpers.engine.several import information
from pylmm_helpers.engine.several.blocks import conditional_blocks, whole_inverse
from pylmm_helpers.engine.several.criterion import (
    average_information,
    chain_rule,
    evaluate,
    first_derivatives,
    lambdas_of,
    theta_hessian,
)
from pylmm_helpers.engine.several.information import expected_form, second_traces, x_forms
from pylmm_helpers.engine.several.pairs import pairs_of
from pylmm_helpers.engine.several.search import delta_gradient, delta_hessian
from pylmm_helpers.engine.several.sums import Factor, Sums, build_sums
from pylmm_helpers.inference.several.ddf import differences

N = 90
RNG = np.random.default_rng(3)


def numbered(codes: np.ndarray) -> np.ndarray:
    return np.unique(codes, return_inverse=True)[1]


_cow = RNG.integers(0, 20, N)
GROUPS = {
    "cow": numbered(_cow),
    "herd": numbered(_cow // 4),
    "region": numbered(_cow // 8),
    "day": RNG.integers(0, 7, N),
    "tester": RNG.integers(0, 4, N),
}
#: Factors with the widths of their terms: chains, crossings, both, independent terms.
MODELS = {
    "one factor, two terms": {"cow": (2, 1)},
    "two levels": {"cow": (1,), "herd": (1,)},
    "three levels": {"cow": (2,), "herd": (1,), "region": (2,)},
    "crossed": {"cow": (1,), "day": (1,)},
    "crossed with slopes": {"cow": (2,), "day": (1, 1), "tester": (2,)},
    "nested and crossed": {"cow": (1,), "herd": (2,), "day": (1,)},
    "everything": {"cow": (2,), "herd": (2,), "region": (1, 1), "day": (2,), "tester": (1,)},
}


@dataclass
class Dense:
    """A model with its matrices."""

    sums: Sums
    theta: np.ndarray
    Z: list[np.ndarray]
    X: np.ndarray
    y: np.ndarray

    def changes(self) -> list[np.ndarray]:
        """dV for each entry of Delta."""
        found = []
        for factor, z in zip(self.sums.factors, self.Z, strict=True):
            same = factor.codes[:, None] == factor.codes
            found += [same * (z.T @ E @ z) for E in factor.basis]
        return found

    @property
    def V(self) -> np.ndarray:
        V = np.eye(N)
        lambdas = lambdas_of(self.theta, self.sums)
        for factor, z, L in zip(self.sums.factors, self.Z, lambdas, strict=True):
            V += (factor.codes[:, None] == factor.codes) * (z.T @ L @ L.T @ z)
        return V

    def projection(self, reml: bool = True) -> np.ndarray:
        inverse = np.linalg.inv(self.V)
        if not reml:
            return inverse
        half = inverse @ self.X
        return inverse - half @ np.linalg.solve(self.X.T @ half, half.T)


def dense(name: str, on_boundary: bool = False) -> Dense:
    rng = np.random.default_rng(len(name))
    factors, Z = [], {}
    for group, widths in MODELS[name].items():
        codes = GROUPS[group]
        factors.append(Factor(group, codes, int(codes.max()) + 1, widths))
        Z[group] = np.vstack([np.ones(N), *rng.normal(size=(sum(widths) - 1, N))])
    R = np.vstack([np.ones(N), rng.normal(size=(2, N))])
    sums = build_sums(factors, [Z[f.name] for f in factors], R)
    theta = rng.normal(size=sums.slices[-1].stop)
    if on_boundary:
        theta[rng.random(len(theta)) < 0.4] = 0.0
        theta[-1] = 0.0
    return Dense(sums, theta, [Z[f.name] for f in sums.factors], R[:-1].T, R[-1])


both = pytest.mark.parametrize("on_boundary", [False, True])
every_model = pytest.mark.parametrize("name", list(MODELS))


@every_model
@both
@pytest.mark.parametrize("reml", [True, False])
def test_criterion_and_first_derivatives(name: str, on_boundary: bool, reml: bool) -> None:
    m = dense(name, on_boundary)
    at = evaluate(m.theta, m.sums, reml)
    first = first_derivatives(at)
    P, Q = m.projection(), m.projection(reml)
    r2 = float(m.y @ P @ m.y)
    expected = np.linalg.slogdet(m.V)[1] + at.nu * (1 + np.log(2 * np.pi * r2 / at.nu))
    if reml:
        expected += np.linalg.slogdet(m.X.T @ np.linalg.solve(m.V, m.X))[1]
    assert at.value == pytest.approx(expected, abs=1e-10)
    k = 0
    for factor, trace, quadratic in zip(m.sums.factors, first.trace, first.quadratic, strict=True):
        for E in factor.basis:
            G = m.changes()[k]
            k += 1
            assert np.sum(trace * E) == pytest.approx(np.sum(Q * G), rel=1e-8, abs=1e-9)
            assert np.sum(quadratic * E) == pytest.approx(m.y @ P @ G @ P @ m.y / r2, abs=1e-12)


@every_model
@both
def test_second_order_quantities(name: str, on_boundary: bool) -> None:
    m = dense(name, on_boundary)
    at = evaluate(m.theta, m.sums, True)
    first = first_derivatives(at)
    P, inverse, G = m.projection(), np.linalg.inv(m.V), m.changes()
    change = np.column_stack([g @ P @ m.y for g in G])
    np.testing.assert_allclose(
        average_information(at, first), change.T @ P @ change / at.r2, atol=1e-11
    )
    for form, matrix in ((second_traces(at), inverse), (expected_form(at, first), P)):
        expected = np.array([[np.sum((matrix @ g) * (matrix @ h).T) for h in G] for g in G])
        np.testing.assert_allclose(form, expected, atol=1e-10 * np.abs(expected).max())
    forms = x_forms(at, first)
    root = np.linalg.inv(np.linalg.cholesky(m.X.T @ inverse @ m.X))
    half = inverse @ m.X @ root.T
    np.testing.assert_allclose(forms.P, [half.T @ g @ half for g in G], atol=1e-11)
    expected_q = np.array([[half.T @ g @ inverse @ h @ half for h in G] for g in G])
    np.testing.assert_allclose(forms.Q, expected_q, atol=1e-10)


@every_model
def test_hessian_is_the_gradients_derivative(name: str) -> None:
    m = dense(name)
    at = evaluate(m.theta, m.sums, True)
    first = first_derivatives(at)
    exact = theta_hessian(m.sums, m.theta, delta_hessian(at, first), delta_gradient(at, first))
    # what stands in for it where too many levels hang together
    np.testing.assert_allclose(differences(at), exact, atol=1e-7 * np.abs(exact).max())
    step = 1e-6
    numerical = [
        (
            evaluate(m.theta + step * unit, m.sums, True).value
            - evaluate(m.theta - step * unit, m.sums, True).value
        )
        / (2 * step)
        for unit in np.eye(len(m.theta))
    ]
    gradient = chain_rule(m.sums, m.theta, delta_gradient(at, first))
    np.testing.assert_allclose(gradient, numerical, atol=1e-6)


@every_model
@both
def test_covariance_given_the_data(name: str, on_boundary: bool) -> None:
    m = dense(name, on_boundary)
    at = evaluate(m.theta, m.sums, True)
    lambdas, inverse = lambdas_of(m.theta, m.sums), np.linalg.inv(m.V)
    found = conditional_blocks(at.f, whole_inverse(at.f))
    for factor, z, L, blocks in zip(m.sums.factors, m.Z, lambdas, found, strict=True):
        delta = L @ L.T
        for level in range(factor.levels):
            own = z * (factor.codes == level)
            expected = delta - delta @ own @ inverse @ own.T @ delta
            np.testing.assert_allclose(blocks[..., level], expected, atol=1e-10)


@pytest.mark.parametrize("name", ["crossed with slopes", "everything"])
def test_without_stored_pairs_the_result_is_the_same(name: str) -> None:
    m = dense(name)
    assert m.sums.pairs is not None
    bare = replace(m.sums, pairs=None)
    with_pairs, without = (first_derivatives(evaluate(m.theta, s, True)) for s in (m.sums, bare))
    for a, b in zip(with_pairs.trace, without.trace, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_pairs_are_not_stored_beyond_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    m = dense("crossed")
    monkeypatch.setattr("pylmm_helpers.engine.several.pairs.MOST_PAIRS", 3)
    assert pairs_of(m.sums.cells[0], 1) is None


def test_chains_are_found_and_the_smallest_dense_part_is_left() -> None:
    sums = dense("everything").sums
    assert [f.name for f in sums.factors] == ["cow", "herd", "region", "day", "tester"]
    assert (sums.m, sums.N) == (3, 2 * 7 + 4)


def test_components_of_nested_levels_are_the_top_levels() -> None:
    m = dense("three levels")
    found = list(information.components(m.sums))
    regions = int(GROUPS["region"].max()) + 1
    assert sum(len(batch.index) for batch, _ in found) == regions

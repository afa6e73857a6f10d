"""Two groups compared: the inverse of Henderson's equations, written out, gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from recorded import read

from pylmm_helpers import compare_groups, fit_lmm, load, predict
from pylmm_helpers.engine.several.design import build
from pylmm_helpers.engine.several.fit import fit_design


def henderson(
    X: np.ndarray, Z: np.ndarray, y: np.ndarray, G: np.ndarray, sigma2: float
) -> tuple[np.ndarray, np.ndarray]:
    """Solution (b, u) of the mixed-model equations, and the covariance of its errors."""
    W = np.hstack([X, Z])
    C = W.T @ W / sigma2
    C[X.shape[1] :, X.shape[1] :] += np.linalg.inv(G)
    inverse = np.linalg.inv(C)
    return inverse @ W.T @ y / sigma2, inverse


def of_slopes(fit: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z, G and labels of a fit with one factor, effects group by group."""
    q, codes = len(fit.cov_re), fit.codes
    Z = np.zeros((fit.nobs, q * fit.ngroups))
    for k in range(q):
        Z[np.arange(fit.nobs), codes * q + k] = fit.Z[:, k]
    return Z, np.kron(np.eye(fit.ngroups), fit.cov_re.to_numpy()), np.asarray(fit.group_labels)


@pytest.mark.parametrize(("a", "b"), [(308, 309), (337, 372)])
def test_one_factor_with_slopes(a: int, b: int) -> None:
    fit = fit_lmm("Reaction ~ Days", read("sleepstudy"), "Subject", "Days")
    Z, G, labels = of_slopes(fit)
    solution, inverse = henderson(fit.X, Z, fit.y, G, fit.scale)
    i, j = (int(np.flatnonzero(labels == g)[0]) for g in (a, b))
    w = np.zeros(len(solution))
    w[2 + 2 * i : 4 + 2 * i], w[2 + 2 * j : 4 + 2 * j] = [1.0, 5.0], [-1.0, -5.0]
    row = compare_groups(fit, a, b, {"Days": 5.0}).iloc[0]
    # the dense inverse keeps some nine digits
    assert row["estimate"] == pytest.approx(w @ solution, rel=1e-7)
    assert row["std_error"] == pytest.approx(np.sqrt(w @ inverse @ w), rel=1e-7)
    w[1], w[2 + 2 * j + 1] = 3.0, -2.0  # day 5 of the first, day 2 of the second
    apart = compare_groups(fit, a, b, {"Days": [5.0, 2.0]}).iloc[0]
    assert apart["estimate"] == pytest.approx(w @ solution, rel=1e-7)
    assert apart["std_error"] == pytest.approx(np.sqrt(w @ inverse @ w), rel=1e-7)


def test_the_estimate_is_the_difference_of_the_predictions() -> None:
    data = load("hospital_costs")
    fit = fit_lmm("recovery ~ severity + age", data, "hospital", missing="drop")
    first, second = fit.group_labels[[0, 20]]
    row = {"severity": 2, "age": 50}
    rows = {k: [v, v] for k, v in row.items()} | {"hospital": [first, second]}
    both = predict(fit, rows, "group")
    found = compare_groups(fit, first, second).iloc[0]
    apart = both["prediction"].iloc[0] - both["prediction"].iloc[1]
    assert found["estimate"] == pytest.approx(apart)
    assert compare_groups(fit, first, second, row).iloc[0]["std_error"] == pytest.approx(
        found["std_error"]
    )
    # not the root of the summed variances: the fixed part's error is in both predictions
    each = predict(fit, rows, "group", "confidence")["std_error"]
    assert found["std_error"] < np.sqrt((each**2).sum())


@pytest.mark.parametrize(
    ("formula", "data", "group", "a", "b"),
    [
        ("strength ~ 1 + (1 | batch/cask)", "pastes", "batch:cask", ("A", "a"), ("C", "b")),
        ("strength ~ 1 + (1 | batch/cask)", "pastes", "batch:cask", ("A", "a"), ("A", "b")),
        ("strength ~ 1 + (1 | batch/cask)", "pastes", "batch", "A", "J"),
        ("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin", "sample", "A", "F"),
    ],
)
def test_several_factors(formula: str, data: str, group: str, a: Any, b: Any) -> None:
    frame = read(data)
    fit = fit_lmm(formula, frame)
    Z, G, start = [], [], {}
    total = 1
    for name, factor in fit.design.factors.items():
        Z.append(np.eye(factor.levels)[factor.codes])
        G.append(np.full(factor.levels, float(fit.cov_re_by_group[name].iloc[0, 0])))
        start[name], total = total, total + factor.levels
    solution, inverse = henderson(fit.X, np.hstack(Z), fit.y, np.diag(np.concatenate(G)), fit.scale)
    w = np.zeros(total)
    for label, sign in ((a, 1.0), (b, -1.0)):
        w[start[group] + list(fit.labels_by_group[group]).index(label)] += sign
        if group == "batch:cask":
            w[start["batch"] + list(fit.labels_by_group["batch"]).index(label[0])] += sign
    row = compare_groups(fit, a, b, group=group).iloc[0]
    assert row["estimate"] == pytest.approx(w @ solution, rel=1e-6, abs=1e-9)
    assert row["std_error"] == pytest.approx(np.sqrt(w @ inverse @ w), rel=1e-6)


def test_one_factor_in_bars_gives_the_same() -> None:
    data = read("sleepstudy")
    one = fit_lmm("Reaction ~ Days", data, "Subject", "Days")
    formula = "Reaction ~ Days + (1 + Days | Subject)"
    many = fit_design(build(formula, data, None, "raise", None), True)
    np.testing.assert_allclose(
        compare_groups(one, 308, 335, {"Days": 4}, df=16),
        compare_groups(many, 308, 335, {"Days": 4}, df=16),
        rtol=1e-6,
    )


def test_intervals_hold_the_true_difference() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    groups = np.repeat(np.arange(30), 4)
    for _ in range(300):
        u = rng.normal(0.0, 1.0, 30)
        frame = pd.DataFrame({"g": groups, "y": u[groups] + rng.normal(0.0, 1.5, len(groups))})
        found = compare_groups(fit_lmm("y ~ 1", frame, "g"), 3, 17).iloc[0]
        inside += found["ci_low"] <= u[3] - u[17] <= found["ci_high"]
    # 95% less a little for variances taken as known; three Monte-Carlo errors are 3.8%
    assert 0.90 < inside / 300 < 0.985


@pytest.mark.parametrize(
    ("first", "second", "options", "words"),
    [
        (308, 308, {"new_data": {"Days": 1}}, "both sides"),
        (308, 999, {"new_data": {"Days": 1}}, "999 is no level of 'Subject'"),
        (308, 309, {}, "depends on the predictors"),
        (308, 309, {"new_data": {"Days": [1, 2, 3]}}, "3 rows"),
        (308, 309, {"new_data": {"Days": 1}, "group": "herd"}, "grouping factor is 'Subject'"),
        (308, 309, {"new_data": {"Days": 1}, "df": 0.0}, "above 0"),
        (308, 309, {"new_data": {"Days": 1}, "level": 95}, "level"),
    ],
)
def test_what_can_not_be_compared_is_named(
    first: Any, second: Any, options: dict[str, Any], words: str
) -> None:
    fit = fit_lmm("Reaction ~ Days", read("sleepstudy"), "Subject", "Days")
    with pytest.raises(ValueError, match=words):
        compare_groups(fit, first, second, **options)


def test_several_factors_have_to_be_named() -> None:
    fit = fit_lmm("strength ~ 1 + (1 | batch/cask)", read("pastes"))
    with pytest.raises(ValueError, match=r"'batch:cask'.*group="):
        compare_groups(fit, "A", "B")
    with pytest.raises(ValueError, match="a tuple of batch, cask"):
        compare_groups(fit, "a", "b", group="batch:cask")

"""Leaving out each group: many refits at once are the refits one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pylmm_helpers import LMMResults, fit_lmm, influence
from pylmm_helpers.common import progress
from pylmm_helpers.quantities import leave_out
from pylmm_helpers.quantities.leave_out_batch import Refits


def frame(groups: int, between: float, seed: int = 1, outlier: float = 0.0) -> pd.DataFrame:
    """Unequal groups, a slope that varies, and a first group that may lie far out."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), rng.integers(2, 9, groups))
    x = rng.normal(size=len(g))
    u = between * rng.normal(size=(2, groups)) * [[1.0], [0.5]]
    u[0, 0] += outlier
    y = u[0, g] + u[1, g] * x + x + rng.normal(size=len(g))
    w = rng.choice([0.5, 1.0, 2.0], len(g))
    return pd.DataFrame({"g": g, "x": x, "z": rng.normal(size=groups)[g], "w": w, "y": y})


def one_by_one(fit: LMMResults, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    def nothing(res: LMMResults, *rest: Any) -> Refits:
        return Refits.empty(res.ngroups, res.cross.q, res.cross.p)

    with monkeypatch.context() as patch:
        patch.setattr(leave_out, "refit_all", nothing)
        return influence(fit)


def done_together(fit: LMMResults) -> int:
    every = np.ones(fit.ngroups, dtype=bool)
    own = leave_out.within_by_group(fit)
    found = leave_out.refit_all(fit, own, every, lambda share: None)
    return int(np.isfinite(found.sigma2).sum())


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    ("groups", "random", "between", "outlier", "weights"),
    [
        (80, "1", 1.0, 0.0, None),
        (80, "1", 1.0, 30.0, None),
        (80, "1", 0.0, 0.0, "w"),
        (200, "0 + x", 1.0, 0.0, None),
        (800, "1 + x", 1.0, 0.0, "w"),
        (800, "1 + x", 1.0, 30.0, None),
    ],
)
def test_refits_done_together_are_those_done_one_by_one(
    groups: int,
    random: str,
    between: float,
    outlier: float,
    weights: str | None,
    reml: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = frame(groups, between, outlier=outlier)
    fit = fit_lmm("y ~ x + z", data, "g", random, reml=reml, weights=weights)
    assert done_together(fit) > 0.9 * groups
    together, alone = influence(fit), one_by_one(fit, monkeypatch)
    assert list(together) == list(alone)
    for column in alone.columns.drop("note"):
        expected = alone[column].to_numpy(dtype=float)
        # distances and changes are differences, small beside what they are differences of
        scale = max(float(np.median(np.abs(expected))), 1e-3)
        gap = np.abs(together[column].to_numpy(dtype=float) - expected)
        assert (gap <= 1e-6 * np.maximum(np.abs(expected), scale)).all(), column


def test_a_variance_of_zero_is_left_as_it_is_or_wakes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some groups hold the variance at zero: without them it is above, and both ways say so."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(100), 4)
    y = rng.normal(size=400)
    fits = [fit_lmm("y ~ 1", pd.DataFrame({"g": g, "y": y + s}), "g")
            for s in (0.0, 0.25 * np.sin(g))]  # fmt: skip
    for fit in fits:
        together, alone = influence(fit), one_by_one(fit, monkeypatch)
        np.testing.assert_allclose(together["var[Intercept]"], alone["var[Intercept]"], atol=1e-8)


def test_a_bar_is_shown_where_somebody_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = fit_lmm("y ~ x", frame(60, 1.0), "g")
    influence(fit)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(progress, "interactive", lambda: True)
    influence(fit)
    assert "leaving out each group" in capsys.readouterr().err
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    influence(fit)
    assert capsys.readouterr().err == ""

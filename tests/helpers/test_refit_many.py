"""Many responses fitted together give the fits of each alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pylmm_helpers import fit_lmm, load, refit, simulate

#: A random intercept, a slope, weights, ML, and two factors.
MODELS = {
    "intercept": {"groups": "Subject"},
    "slope": {"groups": "Subject", "re_formula": "1 + Days"},
    "ml": {"groups": "Subject", "reml": False},
    "weights": {"groups": "Subject", "weights": "w"},
}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    frame = load("sleepstudy")
    return frame.assign(w=1.0 + np.arange(len(frame)) % 3)


@pytest.mark.parametrize("name", MODELS)
def test_a_matrix_gives_the_fit_of_each_column(rows: pd.DataFrame, name: str) -> None:
    fit = fit_lmm("Reaction ~ Days", rows, **MODELS[name])
    drawn = simulate(fit, 12, rng=3)
    drawn[12] = np.random.default_rng(4).normal(300, 30, len(rows))  # a variance of zero
    many = refit(fit, drawn)
    for one, column in zip(many, drawn, strict=True):
        alone = refit(fit, drawn[column])
        assert one.criterion == pytest.approx(alone.criterion, rel=1e-10)
        assert one.singular == alone.singular and one.converged == alone.converged
        np.testing.assert_allclose(one.fe_params, alone.fe_params, rtol=1e-7)
        np.testing.assert_allclose(one.cov_re, alone.cov_re, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(one.resid.index, alone.resid.index)
        np.testing.assert_allclose(one.resid, alone.resid, atol=1e-4)


def test_more_responses_than_fit_into_a_turn(
    rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = fit_lmm("Reaction ~ Days", rows, groups="Subject")
    drawn = simulate(fit, 5, rng=5)
    whole = [one.criterion for one in refit(fit, drawn)]
    monkeypatch.setattr("pylmm_helpers.engine.refits.BATCH", 120)
    assert [one.criterion for one in refit(fit, drawn)] == pytest.approx(whole, rel=1e-12)
    assert refit(fit, np.empty((len(rows), 0))) == []


def test_rows_are_put_in_order_and_strange_columns_are_refused_or_fitted(
    rows: pd.DataFrame,
) -> None:
    fit = fit_lmm("Reaction ~ Days", rows, groups="Subject")
    drawn = simulate(fit, 2, rng=6)
    turned = refit(fit, drawn.iloc[::-1])
    assert turned[1].criterion == pytest.approx(refit(fit, drawn[1]).criterion)
    nearly = pd.DataFrame({"a": drawn[0], "b": 1e5 * rows["Days"] + 0.1 * drawn[1]})
    for one, column in zip(refit(fit, nearly), nearly, strict=True):
        alone = refit(fit, nearly[column])
        assert one.fe_params["Days"] == pytest.approx(alone.fe_params["Days"], rel=1e-10)
        assert one.scale == pytest.approx(alone.scale, rel=1e-6)
    for wrong in (np.zeros((3, 2)), np.zeros((len(rows), 2, 2))):
        with pytest.raises(ValueError, match="one value for each row"):
            refit(fit, wrong)


def test_several_factors_are_fitted_one_after_the_other(rows: pd.DataFrame) -> None:
    fit = fit_lmm("Reaction ~ 1 + (1 | Subject) + (1 | Days)", rows)
    drawn = simulate(fit, 2, rng=7)
    assert [one.criterion for one in refit(fit, drawn)] == pytest.approx(
        [refit(fit, drawn[k]).criterion for k in drawn]
    )

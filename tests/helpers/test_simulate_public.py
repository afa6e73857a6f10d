"""Responses simulated from a fit: their moments are the fit's, and nothing of the fit is lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import pylmm_helpers as ph

#: duckdb announces the next release's names to Ibis
pytestmark = pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def herds() -> pd.DataFrame:
    """Rows in cows in herds, with weights, weeks and an offset."""
    rng = np.random.default_rng(4)
    herd = np.repeat(np.arange(8), 12)
    cow = np.tile(np.repeat(np.arange(3), 4), 8)
    week = np.tile(np.arange(4), 24)
    u, v = 3.0 * rng.normal(size=8), 2.0 * rng.normal(size=24)
    y = 50.0 + 1.5 * week + u[herd] + v[3 * herd + cow] + rng.normal(size=96)
    weight = rng.integers(1, 5, 96).astype(float)
    return pd.DataFrame({"y": y, "week": week, "herd": herd, "cow": cow, "w": weight})


def covariance(fit: object, data: pd.DataFrame) -> np.ndarray:
    """V (n, n) of a fit with a random intercept of herds, and one of cows, from its estimates."""
    same = np.equal.outer(data["herd"].to_numpy(), data["herd"].to_numpy())
    V = fit.cov_re_by_group["herd"].iloc[0, 0] * same
    if "herd:cow" in fit.cov_re_by_group:
        cell = (3 * data["herd"] + data["cow"]).to_numpy()
        V = V + fit.cov_re_by_group["herd:cow"].iloc[0, 0] * np.equal.outer(cell, cell)
    return V


def whitened(draws: pd.DataFrame, mean: np.ndarray, V: np.ndarray) -> np.ndarray:
    return np.linalg.solve(np.linalg.cholesky(V), draws.to_numpy() - mean[:, None])


def check_standard(z: np.ndarray) -> None:
    """z (n, draws) is white noise: mean, squares and products of neighbours, each to five standard
    errors of so many normal numbers."""
    number = z.size
    assert abs(z.mean()) < 5 / np.sqrt(number)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / number)
    assert abs((z[1:] * z[:-1]).mean()) < 5 / np.sqrt(number)
    # by row too: 96 rows, so six standard errors
    assert np.abs((z**2).mean(axis=1) - 1).max() < 6 * np.sqrt(2 / z.shape[1])


@pytest.mark.parametrize(
    "formula", ["y ~ week + (1 | herd)", "y ~ week + (1 | herd) + (1 | herd:cow)"]
)
@pytest.mark.parametrize("weights", [None, "w"])
def test_draws_have_the_mean_and_covariance_of_the_fit(herds, formula, weights):
    fit = ph.fit_lmm(formula, herds, weights=weights)
    draws = ph.simulate(fit, 400, rng=1)
    noise = fit.scale / (herds["w"] if weights else pd.Series(1.0, herds.index))
    mean = fit.fe_params["Intercept"] + fit.fe_params["week"] * herds["week"]
    check_standard(
        whitened(draws, mean.to_numpy(), covariance(fit, herds) + np.diag(noise.to_numpy()))
    )


def test_slopes_are_drawn_with_their_covariance():
    data = ph.load("sleepstudy")
    fit = ph.fit_lmm("Reaction ~ Days", data, "Subject", "1 + Days")
    Z = np.column_stack([np.ones(len(data)), data["Days"]])
    same = np.equal.outer(data["Subject"].to_numpy(), data["Subject"].to_numpy())
    V = same * (Z @ fit.cov_re.to_numpy() @ Z.T) + fit.scale * np.eye(len(data))
    mean = Z @ fit.fe_params.to_numpy()
    check_standard(whitened(ph.simulate(fit, 400, rng=2), mean, V))


def test_correlated_residuals_stay_correlated(herds):
    data = herds.assign(own=3 * herds["herd"] + herds["cow"])
    fit = ph.fit_lmm("y ~ week", data, "own", correlation="ar1(week)")
    gap = np.abs(np.subtract.outer(data["week"].to_numpy(), data["week"].to_numpy()))
    same = np.equal.outer(data["own"].to_numpy(), data["own"].to_numpy())
    V = same * (fit.cov_re.iloc[0, 0] + fit.scale * fit.phi**gap)
    mean = fit.fe_params["Intercept"] + fit.fe_params["week"] * data["week"]
    check_standard(whitened(ph.simulate(fit, 400, rng=3), mean.to_numpy(), V))


def test_rows_index_and_seed(herds):
    data = herds.set_index(pd.Index([f"row {k}" for k in range(len(herds))]))
    fit = ph.fit_lmm("np.log(y) ~ week + (1 | herd)", data)
    found = ph.simulate(fit, 3, rng=5)
    assert list(found.columns) == [0, 1, 2] and found.index.equals(data.index)
    assert found.mean().max() < np.log(herds["y"].max())  # on the scale of the left-hand side
    pd.testing.assert_frame_equal(found, ph.simulate(fit, 3, np.random.default_rng(5)))
    pd.testing.assert_frame_equal(found[[0]], ph.simulate(fit, 1, rng=5))
    assert not np.allclose(found, ph.simulate(fit, 3, rng=6))
    pd.testing.assert_frame_equal(ph.simulate(fit), ph.simulate(fit))
    assert ph.refit(fit, found[1]).nobs == len(data)


def test_an_offset_and_dropped_rows_are_kept(herds):
    data = herds.assign(o=1000.0 * np.arange(96), y=herds["y"] + 1000.0 * np.arange(96))
    data.loc[7, "y"] = np.nan
    fit = ph.fit_lmm("y ~ week + offset(o) + (1 | herd)", data, missing="drop")
    found = ph.simulate(fit, 2)
    assert list(found.index) == [k for k in range(96) if k != 7]
    assert np.abs(found.sub(data["o"].drop(7), axis=0) - 50).max().max() < 30


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "3", None])
def test_a_number_that_is_none_is_refused(herds, n):
    with pytest.raises(ValueError, match=r"n is .*at least 1"):
        ph.simulate(ph.fit_lmm("y ~ week", herds, "herd"), n)


def test_what_has_no_rows_or_is_no_fit_is_refused(herds):
    sums = ph.cross_products(herds, "y ~ week", groups="herd")
    with pytest.raises(ValueError, match="rows"):
        ph.simulate(ph.fit_lmm(sums))
    with pytest.raises(ValueError, match="expected a fit"):
        ph.simulate(herds)
    with pytest.raises(ValueError, match="seed"):
        ph.simulate(ph.fit_lmm("y ~ week", herds, "herd"), 1, rng="one")

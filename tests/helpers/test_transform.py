"""Box-Cox: profile, estimate and interval against a loop of lme4 fits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.quantities.transform import boxcox_lmm

ROOT = Path(__file__).parents[2]
R = json.loads((Path(__file__).parent / "reference" / "helpers.json").read_text())["boxcox"]


@pytest.fixture(scope="module")
def costs():
    return pd.read_csv(ROOT / "datasets" / "hospital_costs.csv").dropna()


@pytest.fixture(scope="module")
def result(costs):
    return boxcox_lmm(fit_lmm("cost ~ severity + age", costs, "hospital"), lambdas=R["lambda"])


def test_log_likelihoods_are_lme4s(result):
    assert np.allclose(result.profile["llf"], R["llf"], rtol=0, atol=1e-5)


def test_estimate_and_interval_are_those_of_lme4s_profile(result):
    assert result.estimate == pytest.approx(R["estimate"], abs=1e-5)
    assert result.ci_low == pytest.approx(R["low"], abs=1e-5)
    assert result.ci_high == pytest.approx(R["high"], abs=1e-5)


def test_the_jacobian_makes_powers_comparable(result, costs):
    # at 1 it is the model as it stands, at 0 the one for log y less sum of log y
    table = result.profile.set_index("lambda_")["llf"]
    plain = fit_lmm("cost ~ severity + age", costs, "hospital", reml=False)
    logs = fit_lmm("np.log(cost) ~ severity + age", costs, "hospital", reml=False)
    assert table[1.0] == pytest.approx(plain.llf, abs=1e-6)
    assert table[0.0] == pytest.approx(logs.llf - np.log(costs["cost"]).sum(), abs=1e-6)


def test_a_logarithm_is_suggested_for_log_normal_costs(result):
    assert result.ci_low < 0 < result.ci_high and result.suggestion == 0.0
    assert "too little" not in repr(result)
    wide = replace(result, ci_high=1.1)
    assert "the interval holds 0 and 1" in repr(wide)


def test_the_unit_of_the_response_does_not_matter(costs, result):
    cents = costs.assign(cost=costs["cost"] * 1e6)
    other = boxcox_lmm(fit_lmm("cost ~ severity + age", cents, "hospital"), lambdas=[0.0])
    assert other.estimate == pytest.approx(result.estimate, abs=1e-5)
    assert other.geometric_mean == pytest.approx(1e6 * result.geometric_mean)


@pytest.mark.parametrize("power", [0.5, 1.0, -1.0])
def test_a_known_power_is_found(power):
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(40), 15)
    z = 10.0 + 0.5 * rng.normal(size=40)[g] + rng.normal(size=len(g))
    z = z if power > 0 else z / 20.0
    y = (power * z + 1.0) ** (1.0 / power) if power > 0 else 1.0 / z
    found = boxcox_lmm(fit_lmm("y ~ 1", pd.DataFrame({"g": g, "y": y}), "g"), lambdas=[1.0])
    assert found.ci_low < power < found.ci_high


@pytest.mark.parametrize("power", [0.0, 0.5, -1.0, 1.0])
def test_back_transformation_undoes_the_transformation(result, power):
    y = np.array([0.5, 1.0, 20.0, 4000.0])
    assert np.allclose(result.inverse(result.transform(y, power), power), y)


def test_what_no_response_gives_is_not_transformed_back(result):
    with pytest.raises(ValueError, match="above 0"):
        result.inverse([5.0], -1.0)
    with pytest.raises(ValueError, match="'cost'"):
        result.transform([0.0])


def test_a_response_of_zero_is_refused_by_name(costs):
    frame = costs.assign(cost=costs["cost"].where(costs.index != costs.index[3], 0.0))
    with pytest.raises(ValueError, match="'cost' has 1 value of 0 or below"):
        boxcox_lmm(fit_lmm("cost ~ severity", frame, "hospital"))


def test_a_response_transformed_already_is_refused(costs):
    with pytest.raises(ValueError, match="untransformed"):
        boxcox_lmm(fit_lmm("np.log(cost) ~ severity", costs, "hospital"))


def test_a_model_without_intercept_is_refused(costs):
    with pytest.raises(ValueError, match="intercept"):
        boxcox_lmm(fit_lmm("cost ~ 0 + age", costs, "hospital"))


def test_the_default_grid_holds_the_interval(costs):
    found = boxcox_lmm(fit_lmm("cost ~ 1", costs, "hospital"))
    powers = found.profile["lambda_"]
    assert powers.min() <= min(-2.0, found.ci_low) and powers.max() >= max(2.0, found.ci_high)
    assert (found.profile["drop"] >= -1e-6).all()

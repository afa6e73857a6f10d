"""Box-Cox: profile, estimate and interval against a loop of lme4 fits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from pylmm_helpers.engine import refit
from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.quantities import predict
from pylmm_helpers.quantities.back import check_inside, mean_of, slope_ratio
from pylmm_helpers.quantities.transform import BoxCox, boxcox_lmm

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


def squares(frame: pd.DataFrame, y: str, levels: list[list[str]]) -> list[tuple[float, int]]:
    """Mean squares of a balanced nested design and their degrees of freedom, from the top down."""
    above, found, groups = pd.Series(frame[y].mean(), frame.index), [], 1
    for columns in levels:
        here = frame.groupby(columns)[y].transform("mean")
        number = frame.groupby(columns).ngroups
        found.append((float(((here - above) ** 2).sum()) / (number - groups), number - groups))
        above, groups = here, number
    rest = len(frame) - groups
    return [*found, (float(((frame[y] - above) ** 2).sum()) / rest, rest)]


@pytest.mark.parametrize(
    ("name", "formula", "levels", "shares"),
    [
        ("dyestuff", "z ~ 1 + (1 | batch)", [["batch"]], [1 / 5, 1 - 1 / 5]),
        (
            "pastes", "z ~ 1 + (1 | batch/cask)", [["batch"], ["batch", "cask"]],
            [1 / 6, 1 / 2 - 1 / 6, 1 - 1 / 2],
        ),
    ],
)  # fmt: skip
def test_the_mean_of_a_balanced_design_is_coxs_by_mean_squares(name, formula, levels, shares):
    """In a balanced nested design the total variance is a weighted sum of independent mean squares,
    whose variances are 2 MS^2 / df."""
    frame = pd.read_csv(ROOT / "datasets" / "published" / f"{name}.csv")
    frame.columns = [c.lower() for c in frame.columns]
    y = {"dyestuff": "yield", "pastes": "strength"}[name]
    frame["y"] = np.exp(frame[y] / frame[y].std())
    frame["z"] = np.log(frame["y"])
    box = boxcox_lmm(fit_lmm(formula.replace("z", "y"), frame), [0.0])
    found = box.mean(fit_lmm(formula, frame), frame.head(1), lambda_=0.0).iloc[0]
    ms = squares(frame, "z", levels)
    v = sum(c * s for c, (s, _) in zip(shares, ms, strict=True))
    of_v = sum(2 * (c * s) ** 2 / df for c, (s, df) in zip(shares, ms, strict=True))
    middle = frame["z"].mean() + v / 2
    reach = norm.ppf(0.975) * np.sqrt(ms[0][0] / len(frame) + of_v / 4)
    # the estimates are found by a search that ends within 1e-6 of them
    assert np.log(found["mean"]) == pytest.approx(middle, rel=1e-5)
    assert np.log(found["ci_low"]) == pytest.approx(middle - reach, rel=1e-5)
    assert np.log(found["ci_high"]) == pytest.approx(middle + reach, rel=1e-5)


@pytest.mark.parametrize("power", [0.0, 1e-5, 1 / 3, 0.5, 2.0, -0.5])
def test_the_mean_is_the_average_of_back_transformed_draws(result, power):
    eta, v = np.array([3.0 if power >= 0 else 0.5]), np.array([0.2 if power >= 0 else 0.01])
    # the middle of 200,000 equal shares of the distribution: nearest to the mean of all draws
    z = eta + np.sqrt(v) * norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    assert mean_of(eta, v, power)[0] == pytest.approx(result.inverse(z, power).mean(), rel=2e-5)
    step = 1e-3
    by_v = (mean_of(eta, v * (1 + step), power) - mean_of(eta, v * (1 - step), power)) / v
    by_eta = mean_of(eta + step, v, power) - mean_of(eta - step, v, power)
    assert slope_ratio(eta, v, power)[0] == pytest.approx(float((by_v / by_eta)[0]), rel=1e-4)


def test_a_power_of_one_has_the_mean_and_limits_of_predict(costs, result):
    lifted = costs.assign(z=costs["cost"] - 1.0)
    fit, new = fit_lmm("z ~ severity + age", lifted, "hospital"), {"severity": [3], "age": [60]}
    found = result.mean(fit, new, lambda_=1.0).iloc[0]
    plain = predict(fit, new, interval="confidence").iloc[0] + 1.0
    # a line: the variance doesn't move its mean
    assert found["mean"] == pytest.approx(plain["prediction"], rel=1e-9)
    assert found["ci_low"] == pytest.approx(plain["ci_low"], rel=1e-7)
    assert found["ci_high"] == pytest.approx(plain["ci_high"], rel=1e-7)


def test_the_interval_of_the_mean_covers_it_and_one_with_known_variances_does_not():
    """25 groups of 8, variances 1 and 0.5: the interval covers about 93 %, with the variances taken
    as known about 87 %. 600 studies have a binomial SD of 1.4 points at most."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(25), 8)
    truth, held, known = np.exp(1.0 + 1.5 / 2), 0, 0
    fit = fit_lmm("z ~ 1", pd.DataFrame({"z": rng.normal(size=200), "g": g}), "g")
    for _ in range(600):
        z = 1.0 + rng.normal(size=25)[g] + np.sqrt(0.5) * rng.normal(size=200)
        fit = refit(fit, z)
        box = BoxCox(0.0, -0.1, 0.1, 0.95, pd.DataFrame(), float(np.exp(z.mean())), "y")
        row = box.mean(fit, {"g": [0]}).iloc[0]
        held += int(row["ci_low"] < truth < row["ci_high"])
        half = norm.ppf(0.975) * fit.bse_fe.iloc[0]
        known += int(abs(np.log(row["mean"] / truth)) < half)
    assert held / 600 > 0.90 > known / 600


def test_a_fit_on_another_scale_has_no_mean_of_this_response(costs, result):
    new = {"severity": [3], "age": [60]}
    formula = "z ~ severity + age"
    logs = costs.assign(z=np.log(costs["cost"]))
    fit = fit_lmm(formula, logs, "hospital")
    assert result.mean(fit, new)["mean"].iloc[0] > 0
    for column in (np.log10(costs["cost"]), np.sqrt(costs["cost"]), costs["cost"]):
        other = fit_lmm(formula, costs.assign(z=column), "hospital")
        with pytest.raises(ValueError, match=r"isn't 'cost' transformed by lambda = 0"):
            result.mean(other, new)
    with pytest.raises(ValueError, match=r"isn't 'cost' transformed by lambda = 0.5"):
        result.mean(fit, new, lambda_=0.5)
    fewer = fit_lmm(formula, logs.iloc[10:], "hospital")
    with pytest.raises(ValueError, match="same rows"):
        result.mean(fewer, new)
    with pytest.raises(ValueError, match="reml=True"):
        result.mean(fit_lmm(formula, logs, "hospital", reml=False), new)
    with pytest.raises(ValueError, match=r"offset"):
        result.mean(fit_lmm("z ~ severity + offset(age)", logs, "hospital"), new)


def test_a_mean_that_does_not_exist_is_refused():
    eta, v = np.array([1.0]), np.array([0.5])
    with pytest.raises(ValueError, match="the mean doesn't exist"):
        mean_of(eta, v, -1.0)
    check_inside(eta, v, -1.0)
    check_inside(np.array([1.0]), np.array([0.5]), 0.5)  # -2 is more than 4 SD away
    with pytest.raises(ValueError, match="smaller lambda_"):
        check_inside(np.array([-1.0]), np.array([0.5]), 0.5)

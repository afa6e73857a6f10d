"""Group-mean centring and the contextual effect, against lmerTest and in all three forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.inference.coefficients import coef_table
from pylmm_helpers.quantities.contextual import center_within, contextual_effect

ROOT = Path(__file__).parents[2]
R = json.loads((Path(__file__).parent / "reference" / "helpers.json").read_text())["contextual"]


@pytest.fixture(scope="module")
def health():
    raw = pd.read_csv(ROOT / "datasets" / "neighbourhood_health.csv")
    return center_within(raw, "income", "neighbourhood")


def effect(frame, first, second, **options):
    fit = fit_lmm(f"health ~ {first} + {second} + age", frame, "neighbourhood")
    return contextual_effect(fit, first, second, **options)


def test_deviations_have_mean_zero_in_every_group_and_add_up(health):
    assert np.allclose(health.groupby("neighbourhood")["income_within"].mean(), 0, atol=1e-10)
    assert np.allclose(health["income_within"] + health["income_mean"], health["income"])


def test_the_data_given_are_left_alone():
    frame = pd.DataFrame({"g": [1, 1, 2, 2], "x": [1.0, 2.0, 3.0, 5.0]})
    center_within(frame, "x", "g")
    assert list(frame.columns) == ["g", "x"]


def test_a_huge_mean_keeps_the_digits_of_the_deviations():
    frame = pd.DataFrame({"g": [1, 1, 2, 2], "x": np.array([1.0, 2.0, 3.0, 5.0]) + 2.0**40})
    made = center_within(frame, "x", "g")
    assert list(made["x_within"]) == [-0.5, 0.5, -1.0, 1.0]


def test_within_between_and_contextual_effects_are_lmertests(health):
    table = effect(health, "income_within", "income_mean", df="satterthwaite")
    for name, expected in R.items():
        assert table.loc[name, "estimate"] == pytest.approx(expected["estimate"], rel=1e-6)
        assert table.loc[name, "std_error"] == pytest.approx(expected["std_error"], rel=1e-6)
        assert table.loc[name, "df"] == pytest.approx(expected["df"], rel=1e-3)


def test_all_three_parameterisations_tell_the_same(health):
    one = effect(health, "income_within", "income_mean")
    for first, second in [("income", "income_mean"), ("income_within", "income")]:
        other = effect(health, first, second)
        assert np.allclose(one.drop(columns="p_value"), other.drop(columns="p_value"), rtol=1e-6)


def test_the_order_of_the_two_terms_does_not_matter(health):
    one = effect(health, "income", "income_mean")
    two = effect(health, "income_mean", "income")
    assert np.allclose(one, two, rtol=1e-8)


def test_the_contextual_row_is_mundlaks_coefficient(health):
    fit = fit_lmm("health ~ income + income_mean", health, "neighbourhood")
    table = contextual_effect(fit, "income", "income_mean")
    direct = coef_table(fit).loc["income_mean"]
    assert np.allclose(table.loc["contextual"], direct)


def test_it_recovers_the_stated_truth_of_the_data(health):
    table = effect(health, "income_within", "income_mean")
    truth = {"within": 0.12, "between": 0.45, "contextual": 0.33}
    for name, value in truth.items():
        assert abs(table.loc[name, "estimate"] - value) < 3 * table.loc[name, "std_error"]


def test_a_grand_mean_centred_group_mean_is_recognised(health):
    frame = health.assign(m=health["income_mean"] - health["income_mean"].mean())
    one = effect(frame, "income_within", "income_mean")
    two = effect(frame, "income_within", "m")
    assert np.allclose(one, two, rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("income", "wealth", "no term 'wealth'"),
        ("income", "income", "same term"),
        ("income", "age", "one predictor"),
        ("income_mean", "age", "one predictor"),
    ],
)
def test_terms_that_are_no_pair_are_refused(health, first, second, message):
    fit = fit_lmm("health ~ income + income_mean + age", health, "neighbourhood")
    with pytest.raises(ValueError, match=message):
        contextual_effect(fit, first, second)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"g": [1, 1, 2, 2], "x": [1.0, None, 2.0, 3.0]}, "missing"),
        ({"g": [1, 1, 2, None], "x": [1.0, 2.0, 2.0, 3.0]}, "'g'"),
        ({"g": [1, 1, 2, 2], "x": [1.0, 1.0, 2.0, 2.0]}, "constant within"),
        ({"g": [1, 1, 2, 2], "x": [1.0, 3.0, 0.0, 4.0]}, "same mean"),
        ({"g": [1, 1, 2, 2], "x": list("abcd")}, "not numeric"),
        ({"g": [1, 1, 2, 2], "x": [1.0, np.inf, 2.0, 3.0]}, "infinite"),
        ({"g": [1, 1, 2, 2], "z": [1.0, 2.0, 2.0, 3.0]}, "'x'"),
        ({"g": [1, 1, 2, 2], "x": [1.0, 2.0, 2.0, 4.0], "x_mean": [0, 0, 0, 1]}, "'x_mean'"),
    ],
)
def test_columns_that_cannot_be_split_are_named(frame, message):
    with pytest.raises(ValueError, match=message):
        center_within(pd.DataFrame(frame), "x", "g")


def test_centring_twice_gives_the_same(health):
    pd.testing.assert_frame_equal(center_within(health, "income", "neighbourhood"), health)

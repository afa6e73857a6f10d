"""Chapter 8 run cell by cell: what it says about BLUPs, shrinkage and league tables holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter
from scipy import stats

from pylmm_helpers import fit_lmm, refit, shrinkage_factor


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("08-prediction")


def test_the_raw_extremes_are_small_hospitals(page: dict[str, Any]) -> None:
    sizes = page["m"][page["raw_mean"].sort_values().index]
    assert sizes.iloc[-1] == 3
    assert (sizes.iloc[:4] == 3).sum() == 2


def test_blups_by_precision_and_by_matrices_are_the_helpers(page: dict[str, Any]) -> None:
    estimate = page["u"]["estimate"]
    np.testing.assert_allclose(page["u_hand"], estimate, atol=1e-9)
    np.testing.assert_allclose(page["u_matrix"], estimate, atol=1e-9)
    np.testing.assert_allclose(page["sd_hand"], page["u"]["conditional_sd"], rtol=1e-9)


def test_no_other_share_of_the_departure_has_a_smaller_error() -> None:
    share = np.linspace(0, 1, 1001)
    for m in (3, 4, 100):
        error = (1 - share) ** 2 * 5 + share**2 * 20 / m
        assert share[error.argmin()] == pytest.approx(shrinkage_factor(5, 20, m), abs=1e-3)


def test_costs_shrink_as_recovery_does(page: dict[str, Any]) -> None:
    sizes, kept = page["sizes"]["shrinkage"], page["kept"]
    assert kept[3] == pytest.approx(sizes["3"], abs=0.03)
    assert kept[100] == pytest.approx(sizes["100"], abs=0.01)


def test_the_factors_of_the_lesson() -> None:
    factors = [round(float(shrinkage_factor(5, 20, m)), 2) for m in (100, 4, 3)]
    assert factors == [0.96, 0.50, 0.43]


def test_the_leader_by_raw_mean_falls_behind_two_large_hospitals(page: dict[str, Any]) -> None:
    u, top = page["u"], page["top"]
    assert u.loc[top, "n"] == 3 and u.loc[page["leader"], "n"] == 100
    assert page["place"] == 3
    assert u.loc[top, "ci_low"] < 0 < u.loc[top, "ci_high"]
    small = u[u["n"] == 3]
    assert ((small["ci_low"] < 0) & (small["ci_high"] > 0)).all()
    assert page["sizes"].loc["3", "shrinkage"] < 0.5 < 0.9 < page["sizes"].loc["100", "shrinkage"]


def test_intervals_widen_with_what_is_unknown(page: dict[str, Any]) -> None:
    mean = page["of_mean"]["ci_high"] - page["of_mean"]["ci_low"]
    patient = page["of_patient"]["ci_high"] - page["of_patient"]["ci_low"]
    assert mean.is_monotonic_increasing and patient.is_monotonic_increasing
    assert (patient > mean).all()
    new = page["of_mean"]["prediction"].iloc[2]
    assert new == pytest.approx(page["beta_0"])


def test_intervals_hold_the_truth_nearly_as_often_as_they_say(page: dict[str, Any]) -> None:
    assert page["covered"] == pytest.approx([95, 95], abs=4)
    assert (page["covered_error"] < 1).all()


def test_shrinkage_wins_except_where_the_variance_is_badly_estimated(page: dict[str, Any]) -> None:
    mse = page["mse"]
    assert (mse["BLUP"] < mse["raw"]).all()
    best = mse[["raw", "overall", "BLUP"]].idxmin(axis=1)
    assert best.iloc[0] == "overall" and (best.iloc[1:] == "BLUP").all()
    assert (mse["BLUP"] > mse["theory"] - 4 * mse["MC BLUP"]).all()
    expected = 25 * (1 - mse["ICC"]) / mse["members"]
    assert ((mse["raw"] - expected).abs() < 4 * mse["MC raw"]).all()


def test_shrinkage_loses_for_a_truly_extreme_group(page: dict[str, Any]) -> None:
    at_break = np.interp(page["even"], page["departure"], page["given"])
    assert at_break == pytest.approx(20 / 3, rel=1e-2)
    assert 4 < page["even"] < 4.5


def test_groups_that_differ_in_kind_are_pulled_to_the_wrong_mean(page: dict[str, Any]) -> None:
    assert page["too_high"][0] > 0.8
    assert abs(page["too_high"][1]) < 4 * page["too_high_error"][1] + 0.02


def test_ranks_are_uncertain_as_the_text_says(page: dict[str, Any]) -> None:
    assert page["span_small"] > 15 > page["span_middle"] > 5
    league, top = page["league"], page["top"]
    assert league.loc[page["first"], "top five"] > 95
    assert league["patients"].iloc[[0, -1]].eq(100).all(), "large hospitals at both ends"
    assert (league["high"] - league["low"]).iloc[[0, -1]].max() <= 4
    assert league.loc[top, "top five"] > 50 and league.loc[top, "high"] > 12, "likely, not sure"
    assert 0 < (page["moved"] > 0).sum() < 25


def test_an_error_in_the_overall_mean_moves_few_ranks(page: dict[str, Any]) -> None:
    u, rng = page["u"], np.random.default_rng(26)
    m = u["n"].to_numpy()
    weight = 1 / (page["sigma2_g"] + page["sigma2"] / m)
    share, error = u["shrinkage"].to_numpy(), 1 / np.sqrt(weight.sum())
    normal = rng.normal(size=(100_000, len(u)))
    draws = u["estimate"].to_numpy() + u["conditional_sd"].to_numpy() * normal
    moved = draws - share * error * rng.normal(size=(len(draws), 1))
    top = [100 * ((-d).argsort(axis=1).argsort(axis=1) < 5).mean(axis=0) for d in (draws, moved)]
    assert 0 < np.abs(top[0] - top[1]).max() < 2
    small, large = 1 - share[m == 3], 1 - share[m == 100]
    assert small.min() > 0.5 > 0.1 > large.max()


def test_small_hospitals_have_a_say_beyond_their_patients(page: dict[str, Any]) -> None:
    patients = 100 * page["m"][page["m"] == 3].sum() / page["m"].sum()
    assert page["say_small"] > 5 * patients
    by_weight = (page["say"] * page["raw_mean"]).sum() / page["say"].sum()
    assert by_weight == pytest.approx(page["beta_0"], rel=1e-9)


def test_a_new_hospital_needs_the_t_distribution(page: dict[str, Any]) -> None:
    """Mean of a new hospital by z and by t with G - 2 degrees of freedom, from ten hospitals."""
    rng, code = np.random.default_rng(27), np.repeat(np.arange(10), 30)
    data = page["pd"].DataFrame({"y": rng.random(300), "g": code})
    start, studies, held = fit_lmm("y ~ 1", data, groups="g"), 600, []
    for _ in range(studies):
        u = rng.normal(0, np.sqrt(5), 11)
        fit = refit(start, 70 + u[code] + rng.normal(0, np.sqrt(20), 300))
        reach = np.sqrt(fit.bse_fe.iloc[0] ** 2 + fit.cov_re.iloc[0, 0])
        miss = abs(70 + u[10] - fit.fe_params.iloc[0]) / reach
        held.append([miss < stats.norm.ppf(0.975), miss < stats.t.ppf(0.975, 8)])
    by_z, by_t = np.mean(held, axis=0)
    error = np.sqrt(0.95 * 0.05 / studies)
    assert by_z < 0.95 - 3 * error and abs(by_t - 0.95) < 4 * error


def test_the_last_of_one_year_improves_by_luck_as_the_blup_foresaw(page: dict[str, Any]) -> None:
    first, blup, second = page["year"]
    assert first < second < 0
    assert blup == pytest.approx(second, abs=5 * page["year_error"][2])
    assert page["small_last"] > 40  # one hospital in five is small

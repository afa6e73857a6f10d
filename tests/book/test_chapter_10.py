"""Chapter 10 run cell by cell: the profile with its Jacobian, REML's failure, the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("10-box-cox")


def test_the_profile_by_hand_is_the_helpers(page: dict[str, Any]) -> None:
    box = page["box"]
    by_hand = [page["lam_hat"], *page["limits"]]
    np.testing.assert_allclose(by_hand, [box.estimate, box.ci_low, box.ci_high], atol=1e-5)
    assert box.ci_low < 0 < box.ci_high < 0.5 and box.suggestion == 0


def test_a_linear_model_of_cost_breaks_its_assumptions(page: dict[str, Any]) -> None:
    assert page["mildest"]["ci_low"].iloc[0] < 0
    table = page["before_after"]
    assert table.loc["euro", "patients"] > 1 > 0.3 > abs(table.loc["log euro", "patients"])
    assert table.loc["euro", "funnel"] > 0.15 and abs(table.loc["log euro", "funnel"]) < 0.05
    assert table.loc["log euro", "hospitals"] < table.loc["euro", "hospitals"] < 0
    assert abs(page["without_c18"]) < 0.7


def test_without_the_jacobian_the_unit_chooses_the_power(page: dict[str, Any]) -> None:
    table = page["jacobian"].set_index("lambda")
    assert table["of z, euro"].idxmax() == -0.5 and table["of z, millions"].idxmax() == 1.0
    assert table["of y, euro"].idxmax() == table["of y, millions"].idxmax() == 0.0
    shift = table["of y, millions"] - table["of y, euro"]
    assert np.ptp(shift) < 1e-3


def test_reml_with_the_jacobian_depends_on_the_unit(page: dict[str, Any]) -> None:
    table = page["by_unit"].set_index(["data", "method", "scaled by"])
    spread = table.max(axis=1) - table.min(axis=1)
    # minimize_scalar's default xatol is 1e-5
    assert spread.drop([("all", "REML", "Jacobian"), ("small", "REML", "Jacobian")]).max() < 1e-3
    assert spread["all", "REML", "Jacobian"] > 0.02
    assert table.loc[("small", "REML", "Jacobian")].min() > 2.4
    ml, gm = table.loc[("all", "ML", "Jacobian")], table.loc[("all", "ML", "geometric mean")]
    np.testing.assert_allclose(ml, gm, atol=1e-3)


def test_the_interval_covers_in_small_studies(page: dict[str, Any]) -> None:
    # 250 replicates: Monte-Carlo error of 1.4 points at 95%
    assert np.all((page["hit"] > 0.89) & (page["hit"] < 0.99))
    assert page["coverage"]["SD"].min() > 0.2


def test_c18_is_the_cheapest_and_pushes_others_out_of_the_band(page: dict[str, Any]) -> None:
    from pylmm_helpers import residuals

    u = residuals(page["fit_log"], level="group")
    assert u["residual"].idxmin() == "C18"
    assert 0.4 < np.exp(u["residual"].min()) < 0.6
    assert len(page["outside"]) > 1 and "C18" not in page["outside"]
    assert (u.loc[page["outside"], "standardised"].between(-0.5, 0)).all(), "on the inner side"


def test_means_need_half_of_both_variances(page: dict[str, Any]) -> None:
    share = page["share"]
    assert share["no correction"] < 0.93 < share["half of the within"] < 0.99
    assert abs(share["half of both"] - 1) < 0.015
    # 4,000 hospitals: about 0.4% Monte-Carlo error
    assert page["draws"].mean() == pytest.approx(page["mean_formula"], rel=0.02)
    assert np.median(page["draws"]) == pytest.approx(page["median_formula"], rel=0.02)
    assert page["by_quantiles"] == pytest.approx(page["mean_formula"], rel=1e-3)
    assert page["smeared"] == pytest.approx(page["mean_formula"], rel=0.02)


def test_the_mean_of_a_known_hospital_averages_over_what_is_unknown_of_it(
    page: dict[str, Any],
) -> None:
    known, rng = page["known"], np.random.default_rng(10)
    assert known["n"].tolist() == [3, 98, 0]
    assert known.loc["new", "mean"] == pytest.approx(page["mean_formula"])
    for name in ("C08", "C13"):
        # statsmodels' own conditional variance
        own = page["fit_log"].random_effects_cov[name].iloc[0, 0]
        assert known.loc[name, "variance"] == pytest.approx(own, rel=1e-9)
        sd = np.sqrt(page["sigma2"] + own)
        draws = np.exp(rng.normal(page["mu"] + known.loc[name, "estimate"], sd, 400_000))
        # Monte-Carlo error below 0.1%
        assert draws.mean() == pytest.approx(known.loc[name, "mean"], rel=0.004)


def test_other_remedies_and_edges(page: dict[str, Any]) -> None:
    assert page["gamma_ratio"][0] == pytest.approx(
        page["ratio"].loc["severity", "estimate"], rel=0.01
    )
    both = page["both"]
    assert both.loc["cost (mean)", "ci_low"] < 0 < both.loc["log cost (median)", "ci_low"]
    wide, box = page["wide"], page["box"]
    assert wide.ci_high - wide.ci_low > 5 * (box.ci_high - box.ci_low)


def test_not_a_few_dear_stays_make_the_icc_small(page: dict[str, Any]) -> None:
    """ "the ICC has risen"; "a few very dear stays are not the reason"."""
    euro, log = page["before_after"].loc[["euro", "log euro"], "ICC"]
    assert log > euro + 0.03
    assert abs(page["icc_without_dearest"] - euro) < 0.5 * (log - euro)

"""Chapter 9 run cell by cell: residuals by hand, four violations and what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter

from pylmm_helpers import blups, refit, residuals


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("09-diagnostics")


def test_residuals_by_hand_are_the_helpers(page: dict[str, Any]) -> None:
    fit = page["fit_good"]
    cows, herds = residuals(fit), residuals(fit, level="group")
    np.testing.assert_allclose(page["r"], cows["marginal"], atol=1e-9)
    np.testing.assert_allclose(page["e"], cows["conditional"], atol=1e-9)
    np.testing.assert_allclose(page["u_hat"], herds["residual"], atol=1e-9)
    for raw, variance, standard in [
        ("r", "var_r", cows["marginal_std"]),
        ("u_hat", "var_u", herds["standardised"]),
        ("e", "var_e", cows["conditional_std"]),
    ]:
        np.testing.assert_allclose(page[raw] / np.sqrt(page[variance]), standard, atol=1e-9)


def test_the_sound_model_looks_sound(page: dict[str, Any]) -> None:
    assert page["outside"].sum() == 0
    # of 20,000 samples: 5% is what a simultaneous band promises
    assert page["left"]["simultaneous"] == pytest.approx(5, abs=0.7)
    assert page["left"]["pointwise"] > 30 and page["left"]["raw"] < 1, "almost anything"
    spread = page["spread"](page["fit_good"])["SD"]
    assert spread.between(0.9, 1.1).all()


def test_leaving_a_herd_out_by_hand_is_influence(page: dict[str, Any]) -> None:
    top = page["top"]
    assert page["D_top"] == pytest.approx(page["left_out"].loc[top, "cooks_distance"], rel=1e-3)
    changed = page["left_out"].loc[top, "beta[feeding[T.confined]]"]
    share = abs(changed - page["confined"]["estimate"]) / page["confined"]["std_error"]
    assert 0.4 < share < 0.6  # "about half its standard error"


def test_residuals_tilt_by_shrinkage_alone(page: dict[str, Any]) -> None:
    assert page["gap"] < 1e-9
    assert page["slope_full"] > 0.03 and abs(page["slope_marginal"]) < 1e-6


def test_correlations_with_predictors_in_the_model_are_zero(page: dict[str, Any]) -> None:
    assert np.abs(page["corr_cows"]).max() < 1e-9
    assert np.abs(page["feeding_sums"]).max() < 1e-9
    assert page["corr_curved"] < 1e-9
    assert page["gap_late"] < -10


def test_shrinkage_hides_the_shape_of_the_herds(page: dict[str, Any]) -> None:
    share = [float(cell.split()[0]) for cell in page["masking"]["exponential"]]
    # 4,000 studies: Monte-Carlo error below 0.8 points
    assert np.all(np.diff(share) > 0) and share[0] < 16 and share[-1] > 80
    normal = [float(cell.split()[0]) for cell in page["masking"]["normal"]]
    assert normal == pytest.approx([5.0] * 5, abs=1.2)
    u = blups(page["fits"]["skewed"])["estimate"]
    assert ((u - u.mean()) ** 3).mean() > 0
    assert 0 < page["bow_out"] < 5, "a few leave the band, as the text of the figure says"


def test_weights_recover_three_standard_deviations(page: dict[str, Any]) -> None:
    np.testing.assert_allclose(page["sd_hat"], [16, 26, 36], rtol=0.12)
    assert page["drop"] > 50
    assert (page["se"].loc[["parity", "dtfs"], "ratio"] < 0.95).all()
    assert page["se"].loc["feeding[T.confined]", "ratio"] > page["se"].loc["parity", "ratio"]
    sd = page["spread"](page["fits"]["unequal"])["SD"]
    assert sd["pasture"] < 0.75 < 1.15 < sd["confined"]
    by_rows = page["fit_scaled"].criterion - np.log(page["w"]).sum()
    assert by_rows == pytest.approx(page["fit_weighted"].criterion, abs=1e-6)


def test_one_herd_hides_the_effect_of_feeding(page: dict[str, Any]) -> None:
    values = page["cook"]["outlying"]
    assert values.idxmax() == "H30" and values.max() > 3 * page["cook"]["milk_kg"].max()
    sound, outlying, without = (fit.cov_re.iloc[0, 0] for fit in page["three"].values())
    assert outlying > 2 * sound and without < 1.3 * sound
    table = page["counts"]
    assert table.loc["H30", "marginal"] > 0.5 * table.loc["H30", "cows"]
    assert table.loc["H30", "conditional"] < 0.2 * table.loc["H30", "cows"]


def test_one_cow_can_carry_her_herd_to_the_top(page: dict[str, Any]) -> None:
    assert page["slip"].loc["after", "rank"] == page["G"]
    assert page["slip"].loc["after", "herd mates"] < 0 < page["slip"].loc["before", "herd mates"]


def test_the_line_misses_what_square_and_steps_find(page: dict[str, Any]) -> None:
    answers = page["answers"].astype(float)
    assert answers.loc["line", "ci_low"] < 0 < answers.loc["line", "ci_high"]
    assert answers.loc["squared", "ci_high"] < 0 and answers.loc["categories", "ci_high"] < 0
    aic = page["aic"]
    assert aic[1] < aic[0] - 10 and aic[2] < aic[0] - 10


def test_what_the_violations_cost(page: dict[str, Any]) -> None:
    run = page["runs"].groupby("data", sort=False)
    confined, parity = run["confined estimate"].mean() - 20, run["parity estimate"].mean() - 6
    between = run["between"]
    # 250 replicates: Monte-Carlo errors of 0.34 kg, 0.03 kg per parity and 2 to 5 kg squared
    fine = ["sound", "skewed", "unequal", "weighted", "left out"]
    assert confined[fine].abs().max() < 1.4 and parity[fine].abs().max() < 0.12
    assert confined["outlying"] < -4
    assert parity["curved"] < -0.1 and abs(parity["squared"]) < 0.12
    assert between.std()["skewed"] > 1.4 * between.std()["sound"]
    assert between.mean()["outlying"] > 1.7 * between.mean()["sound"]
    held = run.apply(
        lambda d: ((d["confined low"] <= 20) & (d["confined high"] >= 20)).mean(),
        include_groups=False,
    )
    assert held.between(0.9, 0.995).all()


def test_influence_belongs_to_a_coefficient(page: dict[str, Any]) -> None:
    """ "confined feeding does not hang on one herd; mixed feeding does"."""
    assert page["hanging"]["confined"] == 0 and page["lower"]["confined"].min() > 0
    assert page["hanging"]["mixed"] >= 1
    assert page["lower"].shape == (page["G"], 2)


def test_a_scale_error_shows_in_the_herds_own_residuals(page: dict[str, Any]) -> None:
    """ "a larger share than in the other herds"."""
    counts = page["counts"]
    share = counts["conditional"] / counts["cows"]
    assert share["H30"] > 2 * share["other herds"]


@pytest.mark.parametrize("spline", ["bs(dtfs, df=4)", 'cr(dtfs, df=4, constraints="center")'])
def test_the_splines_of_the_text_run_and_bend(page: dict[str, Any], spline: str) -> None:
    fit = page["fit_lmm"](f"curved ~ parity + {spline} + feeding", page["dairy"], groups="herd",
                          reml=False)  # fmt: skip
    line = page["fit_lmm"]("curved ~ parity + dtfs + feeding", page["dairy"], "herd", reml=False)
    assert fit.converged and line.criterion - fit.criterion > 10


def test_the_spline_without_the_constraint_is_refused(page: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cr"):
        page["fit_lmm"]("curved ~ cr(dtfs, df=4)", page["dairy"], groups="herd")


def test_unequal_spread_spoils_intervals_within_one_kind(page: dict[str, Any]) -> None:
    """ "It fails where an effect belongs to one kind of cow"; "Weights repair that"."""
    one, three = page["held"]["one"], page["held"]["three"]
    # 250 replicates: Monte-Carlo error 1.4 points at 95 %
    assert one[0] > 98.5 and one[2] < 91 and np.all((three > 91) & (three < 99))


def test_blups_show_the_short_side_of_skewed_herds_and_not_the_long_one(
    page: dict[str, Any],
) -> None:
    """ "the lower end comes out nearly right, the long upper tail too short"."""
    rng, ends = np.random.default_rng(5), []
    for _ in range(60):
        found = blups(refit(page["fits"]["skewed"], page["draw"](rng)["skewed"]))
        if (found["shrinkage"] > 0).all():
            scaled = found["estimate"] / np.sqrt(found["shrinkage"])
            ends.append([*found["estimate"].quantile([0.025, 0.975]), scaled.quantile(0.975)])
    # exponential herds with variance 150 and mean 0
    lower, upper = (np.sqrt(150) * (-np.log(1 - at) - 1) for at in (0.025, 0.975))
    low, high, scaled_high = np.median(ends, axis=0)
    normal = 1.96 * np.sqrt(150)
    assert abs(low - lower) < 0.4 * abs(-normal - lower)
    assert high < scaled_high < 0.9 * upper

"""Residuals and influence against lme4 and dense matrices; checks that find what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.quantities.diagnostics import (
    check_convergence,
    check_singular,
    influence,
    residuals,
)
from pylmm_helpers.quantities.prediction import blups

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
R = json.loads((HERE / "reference" / "helpers.json").read_text())


def data(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "datasets" / f"{name}.csv")


FITS = {
    "sleepstudy": lambda: fit_lmm(
        "Reaction ~ Days", data("published/sleepstudy"), "Subject", "1 + Days"
    ),
    "dairy": lambda: fit_lmm("milk_kg ~ parity + feeding", data("dairy_herds"), "herd"),
    "weighted": lambda: fit_lmm(
        "y ~ x + z", pd.read_csv(HERE / "data" / "unbalanced.csv"), "g", weights="w"
    ),
}


@pytest.fixture(scope="module", params=list(FITS))
def case(request):
    return FITS[request.param](), R["prediction"][request.param]


@pytest.fixture(scope="module")
def sleepstudy():
    return FITS["sleepstudy"]()


def test_standardised_residuals_divide_by_their_own_sd(case):
    fit, expected = case
    table = residuals(fit).iloc[:60]
    assert np.allclose(table["conditional_std"], expected["conditional_std"], rtol=1e-5, atol=1e-6)
    assert np.allclose(table["marginal_std"], expected["marginal_std"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("category", [False, True])
@pytest.mark.parametrize("kind", ["mixed", "pairs", "dates", "numbers"])
def test_groups_may_have_labels_of_any_kind(kind, category):
    frame = data("published/sleepstudy")
    number = frame["Subject"].astype(str).str[-3:].astype(int)
    labels = {
        "mixed": [int(v) if v % 2 else f"{v}b" for v in number],
        "pairs": [(int(v), "b") for v in number],
        "dates": pd.Timestamp("2020-01-01") + pd.to_timedelta(number, "D"),
        "numbers": number / 2,
    }[kind]
    label = pd.Series(labels, index=frame.index)
    label = label.astype(object) if kind in ("mixed", "pairs") else label
    named = frame.assign(Subject=label.astype("category") if category else label)
    fit, plain = (fit_lmm("Reaction ~ Days", f, "Subject", "1 + Days") for f in (named, frame))
    for helper in (blups, lambda fit: residuals(fit, "group")):
        found, expected = helper(fit), helper(plain)
        known = dict(zip(label, frame["Subject"], strict=True))
        order = [(known[at[:-1] if kind == "pairs" and len(at) > 2 else at[0]], at[-1])
                 for at in found.index]  # fmt: skip
        assert list(found.index.get_level_values(-1)[:2]) == ["Intercept", "Days"]
        assert np.allclose(found, expected.loc[order], rtol=1e-9)
    assert len(influence(fit)) == 18 and repr(found)


def test_group_residuals_are_blups_over_their_own_sd(case):
    fit, expected = case
    table = residuals(fit, "group")
    assert np.allclose(table["standardised"], expected["group_std"], rtol=1e-5, atol=1e-6)


def test_residuals_and_fitted_values_add_up_to_the_response(case):
    fit = case[0]
    table = residuals(fit)
    assert np.allclose(table["marginal"] + table["fitted_marginal"], fit.y)
    assert np.allclose(table["conditional"] + table["fitted"], fit.y)
    assert table.index.equals(fit.frame.index)
    assert not table.isna().any().any()


def test_a_singular_fit_standardises_without_dividing_by_zero():
    table = residuals(fit_lmm("Yield ~ 1", data("published/dyestuff2"), "Batch"), "group")
    assert (table["standardised"] == 0).all()


def test_unknown_level_is_refused(sleepstudy):
    with pytest.raises(ValueError, match="observation"):
        residuals(sleepstudy, "row")


@pytest.mark.parametrize("name", ["sleepstudy", "dairy"])
def test_leaving_a_group_out_gives_what_lme4_gives_for_the_other_groups(name):
    fit = FITS[name]()
    table = influence(fit)
    terms = list(fit.cov_re.index)
    betas = [f"beta[{t}]" for t in fit.fe_params.index]
    order = [t.replace("[T.", "").replace("]", "") for t in fit.fe_params.index]
    r_order = {
        "sleepstudy": ["Intercept", "Days"],
        "dairy": ["Intercept", "parity", "feedingmixed", "feedingpasture"],
    }[name]
    position = [r_order.index(t) for t in order]
    for label, expected in R["influence"][name].items():
        row = table.loc[int(label) if name == "sleepstudy" else label]
        beta = np.atleast_1d(expected["beta"])[position]
        # lme4's optimiser stops at about 1e-5 in theta
        assert np.allclose(row[betas].astype(float), beta, rtol=1e-4, atol=1e-4)
        assert row["cooks_distance"] == pytest.approx(expected["cooks"], rel=2e-3, abs=1e-6)
        assert row["covratio"] == pytest.approx(expected["covratio"], rel=2e-3)
        assert row["residual_variance"] == pytest.approx(expected["residual"], rel=1e-4)
        variances = np.atleast_1d(expected["cov_re"])[:: len(terms) + 1]
        mine = row[[f"var[{t}]" for t in terms]].astype(float)
        assert np.allclose(mine, variances, rtol=2e-3)


def test_leaving_out_is_a_refit_exactly(case):
    fit = case[0]
    table = influence(fit)
    label = fit.group_labels[3]
    rest = fit.frame[fit.frame[fit.groups] != label]
    again = fit_lmm(fit.formula, rest, fit.groups, fit.re_formula,
                    weights="w" if "w" in rest.columns else None)  # fmt: skip
    row = table.loc[label]
    for term, value in again.fe_params.items():
        assert row[f"beta[{term}]"] == pytest.approx(value, rel=1e-6, abs=1e-8)
    for term in again.cov_re.index:
        assert row[f"var[{term}]"] == pytest.approx(
            again.cov_re.loc[term, term], rel=1e-5, abs=1e-7
        )
    assert row["residual_variance"] == pytest.approx(again.scale, rel=1e-7)
    shift = (fit.fe_params - again.fe_params).to_numpy()
    cooks = shift @ np.linalg.solve(fit.cov_fe.to_numpy(), shift) / len(shift)
    assert row["cooks_distance"] == pytest.approx(cooks, rel=1e-5)


def test_a_planted_outlying_group_is_the_most_influential():
    frame = data("dairy_herds")
    frame.loc[frame["herd"] == "H07", "milk_kg"] += 120.0
    table = influence(fit_lmm("milk_kg ~ parity", frame, "herd"))
    assert table["cooks_distance"].idxmax() == "H07"
    assert table["var[Intercept]"].idxmin() == "H07"
    assert table.loc["H07", "covratio"] < 1


def test_a_coefficient_that_rests_on_one_group_is_infinitely_influenced_by_it():
    frame = data("dairy_herds")
    frame["odd"] = (frame["herd"] == "H07").astype(float)
    table = influence(fit_lmm("milk_kg ~ odd", frame, "herd"))
    assert np.isinf(table.loc["H07", "cooks_distance"])
    assert "odd" in table.loc["H07", "note"]
    assert np.isfinite(table.drop("H07")["cooks_distance"]).all()
    assert table.drop("H07")["note"].eq("").all()


def test_predictors_with_a_huge_mean_keep_their_digits():
    frame = data("published/sleepstudy").assign(when=lambda d: d["Days"] + 1e6)
    plain = influence(fit_lmm("Reaction ~ Days", frame, "Subject"))
    shifted = influence(fit_lmm("Reaction ~ when", frame, "Subject"))
    assert np.allclose(plain["cooks_distance"], shifted["cooks_distance"], rtol=1e-5)
    assert np.allclose(plain["beta[Days]"], shifted["beta[when]"], rtol=1e-7)


def test_too_few_groups_to_leave_one_out_are_named():
    frame = data("published/dyestuff")
    fit = fit_lmm("Yield ~ 1", frame[frame["Batch"].isin(["A", "B"])], "Batch")
    with pytest.raises(ValueError, match="Batch"):
        influence(fit)


def test_a_sound_fit_passes_both_checks(sleepstudy):
    for check in (check_singular(sleepstudy), check_convergence(sleepstudy)):
        assert check and check.next_steps == ()


def test_a_zero_variance_is_found_and_the_next_step_named():
    fit = fit_lmm("Yield ~ 1", data("published/dyestuff2"), "Batch")
    check = check_singular(fit)
    assert not check
    assert "Batch" in check.finding and "icc(fit)" in str(check)
    assert check_convergence(fit)


def test_a_perfect_correlation_is_found_and_the_term_named():
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(12), 8)
    for _ in range(60):
        u, x = rng.normal(size=12), rng.normal(size=96)
        y = u[g] + 0.5 * u[g] * x + rng.normal(size=96)
        fit = fit_lmm("y ~ x", pd.DataFrame({"g": g, "x": x, "y": y}), "g", "1 + x")
        if fit.singular:
            break
    check = check_singular(fit)
    assert fit.singular and not check
    assert "+1" in check.finding and "Leave `x` out of `re_formula`" in check.next_steps[0]
    assert check.details["share"].iloc[-1] < 1e-6


def test_a_zero_slope_variance_is_named_rather_than_a_correlation():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(20), 6)
    for _ in range(60):
        x = rng.normal(size=120)
        y = rng.normal(size=20)[g] + rng.normal(size=120)
        fit = fit_lmm("y ~ x", pd.DataFrame({"g": g, "x": x, "y": y}), "g", "0 + x")
        if fit.singular:
            break
    assert "slope of `x`" in check_singular(fit).finding


def test_a_fit_stopped_too_early_is_found():
    frame = data("published/sleepstudy")
    with pytest.warns(ConvergenceWarning):
        fit = smf.mixedlm("Reaction ~ Days", frame, groups="Subject", re_formula="Days").fit(
            method="lbfgs", maxiter=1
        )
    check = check_convergence(fit)
    assert not check
    assert "with `fit_lmm`" in check.next_steps[0]
    # so that the quotes stay straight when the page is set
    assert "`method=['bfgs', 'lbfgs', 'powell']`" in check._repr_markdown_()
    assert (
        check.details.loc["criterion", "value"]
        > check.details.loc["lowest criterion found", "value"]
    )


def test_statsmodels_estimates_at_the_minimum_pass():
    fit = smf.mixedlm("milk_kg ~ parity", data("dairy_herds"), groups="herd").fit()
    assert check_convergence(fit)
    assert check_singular(fit)


def test_a_check_reads_as_text_and_as_markdown():
    check = check_singular(fit_lmm("Yield ~ 1", data("published/dyestuff2"), "Batch"))
    assert "\n1. " in check._repr_markdown_()
    assert str(check).startswith(check.finding)


def test_influence_keeps_its_digits_with_a_predictor_far_from_zero():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"g": np.repeat(range(9), 5), "x": rng.normal(size=45).round(2)})
    frame["y"] = frame["x"] + rng.normal(size=9)[frame["g"]] + rng.normal(size=45)
    near = influence(fit_lmm("y ~ x", frame, "g"))
    far = influence(fit_lmm("y ~ x", frame.assign(x=frame["x"] + 1e9), "g"))
    for name in ("cooks_distance", "covratio"):
        assert np.allclose(far[name], near[name], rtol=1e-5)

"""Variances that the data can't tell apart are named, not printed, and not counted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from recorded import CASES, fitted, read

import pylmm_helpers as ph
from pylmm_helpers import fit_lmm, lrt, plots, profile_ci
from pylmm_helpers.engine.adapter import results_at
from pylmm_helpers.engine.criterion import factor_to_theta


def design(groups: int = 24, each: int = 6, seed: int = 3) -> pd.DataFrame:
    """Rows in groups of three kinds; x varies within them."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), each)
    kind = np.arange(groups) % 3
    u = rng.normal(size=groups) * np.array([1.0, 2.0, 3.0])[kind]
    x, t = rng.normal(size=(2, len(g)))
    frame = pd.DataFrame({"g": g, "x": x, "t": t, "kind": np.array(list("abc"))[kind][g]})
    frame["half"] = 1.0 * (g % 2)
    frame["dose"] = np.where(g % 2, 7.5, 1e6)
    frame["size"] = rng.normal(size=groups)[g]
    frame["three"] = 1.0 * (g % 3)
    frame["seldom"] = np.where(g == 0, 1.0, 0.0)
    frame["y"] = 1.0 + x + u[g] + 0.8 * rng.normal(size=groups)[g] * x + rng.normal(size=len(g))
    return frame


#: Random part; names that are not identified; how many dimensions are lost.
LOST = {
    "two values": ("1 + half", {"cov(Intercept, half)", "var(half)"}, 1),
    "two large values": (
        "1 + dose", {"var(Intercept)", "cov(Intercept, dose)", "var(dose)"}, 1,
    ),
    "three levels": (
        "1 + kind",
        {"cov(Intercept, kind[T.b])", "cov(Intercept, kind[T.c])", "var(kind[T.b])",
         "var(kind[T.c])", "cov(kind[T.b], kind[T.c])"},
        3,
    ),
    "beside a slope": ("1 + x + half", {"cov(Intercept, half)", "var(half)"}, 1),
    "cell means": ("0 + kind", {"cov(kind[a], kind[b])", "cov(kind[a], kind[c])",
                                "cov(kind[b], kind[c])"}, 3),
}  # fmt: skip
SOUND = ["1", "1 + x", "0 + x", "1 + x + t", "1 + size", "1 + three"]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("random", SOUND)
def test_what_is_identified_is_left_alone(random: str, reml: bool) -> None:
    fit = fit_lmm("y ~ x", design(), "g", random, reml=reml)
    assert fit.identified and fit.unidentified == ()
    assert np.isfinite(fit.cov_re.to_numpy()).all()


@pytest.mark.parametrize("name", CASES)
def test_every_recorded_fit_is_identified_singular_or_not(name: str) -> None:
    assert fitted(name).identified


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("case", LOST)
def test_what_the_data_cannot_tell_apart_is_named_and_not_printed(case: str, reml: bool) -> None:
    random, names, lost = LOST[case]
    fit = fit_lmm("y ~ x", design(), "g", random, reml=reml)
    assert set(fit.unidentified) == names
    assert not fit.identified
    q = len(fit.cov_re)
    assert fit.n_params == 2 + q * (q + 1) // 2 + 1 - lost
    terms = list(fit.cov_re)
    for j, i in zip(*np.triu_indices(q), strict=True):
        label = f"var({terms[i]})" if i == j else f"cov({terms[j]}, {terms[i]})"
        assert np.isnan(fit.cov_re.to_numpy()[i, j]) == (label in fit.unidentified)
    for check in (ph.check_singular(fit), ph.check_convergence(fit)):
        assert not check.ok and "can't be estimated" in check.finding and check.next_steps
    assert "can't be estimated" in str(fit.summary())
    assert "can't be estimated" in ph.report(fit)
    assert "nan" not in (str(fit.summary()) + ph.report(fit)).lower()


@pytest.mark.parametrize("case", LOST)
def test_the_criterion_is_level_along_the_lost_directions(case: str) -> None:
    """The definition: other covariances of the same kind give the very same criterion."""
    fit = fit_lmm("y ~ x", design(), "g", LOST[case][0])
    delta = fit.factor_scaled @ fit.factor_scaled.T + np.eye(fit.cross.q)
    base = results_at(
        factor_to_theta(np.linalg.cholesky(delta)), fit.cross, fit.rows, True, None
    ).criterion
    for step in fit.identification.directions:
        moved = np.linalg.cholesky(delta + 0.1 * step / np.linalg.norm(step))
        there = results_at(factor_to_theta(moved), fit.cross, fit.rows, True, None).criterion
        assert there == pytest.approx(base, abs=1e-8)


def test_two_kinds_of_group_agree_with_lme4() -> None:
    """lme4 with a dummy for each arm: 11.4375 (new) and 1.4726 (old), residual 1.1030."""
    data = read("between_slope")
    fit = fit_lmm("y ~ t + arm", data, "id", "1 + arm")
    assert fit.cov_re.iloc[0, 0] == pytest.approx(11.4375, abs=1e-3)
    assert fit.scale == pytest.approx(1.1030, abs=1e-4)
    row = lrt(fit, fit_lmm("y ~ t + arm", data, "id")).iloc[0]
    assert (row["df"], row["reference"]) == (1, "chi2(1)")
    assert row["p_value"] == pytest.approx(0.0025, abs=5e-5)
    dummies = data.assign(new=1.0 * (data["arm"] == "new"), old=1.0 * (data["arm"] == "old"))
    other = fit_lmm("y ~ t + arm", dummies, "id", "0 + new + old")
    assert other.unidentified == ("cov(new, old)",)
    assert np.diag(other.cov_re) == pytest.approx([11.4375, 1.4726], abs=1e-3)
    assert other.n_params == fit.n_params
    for df in ("kenward-roger", "satterthwaite"):
        pd.testing.assert_frame_equal(ph.coef_table(fit, df), ph.coef_table(other, df), rtol=1e-5)
    assert profile_ci(other).loc["sd(new)", "ci_low"] == pytest.approx(
        profile_ci(fit).loc["sd(Intercept)", "ci_low"], rel=1e-5
    )


def test_tables_say_what_is_not_identified() -> None:
    fit = fit_lmm("y ~ x", design(), "g", "1 + half")
    table = profile_ci(fit)
    unknown = ["cor(Intercept, half)", "sd(half)"]
    assert (table.loc[unknown, "method"] == "not identified").all()
    assert table.loc[unknown, ["estimate", "ci_low", "ci_high"]].isna().all(axis=None)
    rest = table.drop(unknown)
    assert rest[["estimate", "ci_low", "ci_high"]].notna().all(axis=None)
    boot = ph.parametric_bootstrap(fit, replicates=20).table
    assert boot.loc[unknown].isna().all(axis=None) and boot.drop(unknown).notna().all(axis=None)
    for call in (
        lambda: plots.profile_zeta(fit, "sd(half)"),
        lambda: ph.blups(fit),
        lambda: ph.residuals(fit, "group"),
    ):
        with pytest.raises(ValueError, match=r"`half` is constant within the groups of `g`"):
            call()


def test_lrt_counts_differences_of_rank() -> None:
    data = design()
    fits = [fit_lmm("y ~ x", data, "g", random) for random in ("1", "1 + x", "1 + x + half")]
    dfs = [lrt(b, a)["df"].iloc[0] for a, b in pairwise(fits)]
    assert dfs == [2, fits[2].n_params - fits[1].n_params]
    three = fit_lmm("y ~ x", data, "g", "1 + kind")
    with pytest.raises(ValueError, match="parametric_bootstrap"):
        lrt(three, fits[0])
    boot = ph.parametric_bootstrap(three, fits[0], replicates=200)
    assert np.isnan(boot.table["p_value_lrt"].iloc[0])
    # two more variances are identified: chi2(2) has mean 2, with standard error 0.14 here
    assert boot.statistics.mean() == pytest.approx(2.0, abs=0.6)


def test_the_unit_of_a_predictor_does_not_decide() -> None:
    data = design()
    fit = fit_lmm("y ~ x", data, "g", "1 + half")
    same = fit_lmm("y ~ x", data.assign(half=1e5 * data["half"]), "g", "1 + half")
    assert same.criterion == pytest.approx(fit.criterion, abs=1e-7)
    assert (same.n_params, same.unidentified) == (fit.n_params, fit.unidentified)

"""Degrees of freedom, tests and intervals against lmerTest, pbkrtest and lme4's profile."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recorded import CASES, HERE, fitted, with_key
from scipy import stats

from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.inference.coefficients import coef_table, contrast
from pylmm_helpers.inference.profile import profile_ci

#: Written by record_profile.R.
BRUTE_FORCE = json.loads((HERE / "reference" / "profile.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("name", with_key("satterthwaite"))
def test_satterthwaite_df_are_lmertests(name: str) -> None:
    table = coef_table(fitted(name), df="satterthwaite")
    np.testing.assert_allclose(table["df"], CASES[name]["satterthwaite"], rtol=1e-5)


@pytest.mark.parametrize("name", with_key("kr_df"))
def test_kenward_roger_df_and_errors_are_pbkrtests(name: str) -> None:
    table = coef_table(fitted(name), df="kenward-roger")
    np.testing.assert_allclose(table["df"], CASES[name]["kr_df"], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"], CASES[name]["kr_se"], rtol=1e-6)


@pytest.mark.parametrize("name", with_key("joint_satterthwaite"))
def test_joint_satterthwaite_f_is_lmertests(name: str) -> None:
    fit, expected = fitted(name), CASES[name]["joint_satterthwaite"]
    row = contrast(fit, np.eye(fit.cross.p)[1:], df="satterthwaite").iloc[0]
    assert row["statistic"] == pytest.approx(expected["f"], rel=1e-6)
    assert row["df_den"] == pytest.approx(expected["df"], rel=1e-5)
    assert row["p_value"] == pytest.approx(expected["p"], rel=1e-4)


@pytest.mark.parametrize("name", with_key("joint_kr"))
def test_joint_kenward_roger_f_is_pbkrtests(name: str) -> None:
    fit, expected = fitted(name), CASES[name]["joint_kr"]
    row = contrast(fit, np.eye(fit.cross.p)[1:], df="kenward-roger").iloc[0]
    assert row["statistic"] == pytest.approx(expected["f"], rel=1e-6)
    assert row["df_den"] == pytest.approx(expected["df"], rel=1e-6)
    assert row["f_scale"] == pytest.approx(expected["scale"], rel=1e-6)
    assert row["p_value"] == pytest.approx(expected["p"], rel=1e-5)


@pytest.mark.parametrize("name", with_key("profile"))
def test_profile_intervals_are_lme4s(name: str) -> None:
    table = profile_ci(fitted(name), method="ml")
    assert set(table["method"]) == {"ML"}
    expected = np.asarray(CASES[name]["profile"], dtype=float)
    width = (table["ci_high"] - table["ci_low"]).to_numpy()[:, None]
    assert (np.abs(table[["ci_low", "ci_high"]] - expected) <= 1e-3 * width).all(axis=None)
    assert list(table["lme4_name"]) == CASES[name]["profile_names"]


@pytest.mark.parametrize("case", BRUTE_FORCE, ids=[case["id"] for case in BRUTE_FORCE])
def test_reml_profile_ends_where_brute_force_on_lme4s_criterion_ends(case: dict[str, Any]) -> None:
    table = profile_ci(fitted(case["id"]))
    table = table[table["method"] == "REML"]
    expected = np.array(list(case["ends"].values()), dtype=float)
    width = expected[:, 1] - expected[:, 0]
    # optim() leaves 1e-9 of the width; rounding in the criterion does no better
    gap = np.abs(table[["ci_low", "ci_high"]].to_numpy(dtype=float) - expected)
    assert (gap <= 1e-7 * width[:, None]).all()


def test_values_of_the_specification() -> None:
    fit = fitted("u3")
    satterthwaite, kr = coef_table(fit, df="satterthwaite"), coef_table(fit)
    np.testing.assert_allclose(
        satterthwaite["df"], [2.637665150, 19.881053531, 3.044460989], rtol=1e-6
    )
    np.testing.assert_allclose(
        satterthwaite["std_error"], [0.4826887622, 0.2276560441, 0.7063385538], rtol=1e-8
    )
    np.testing.assert_allclose(kr["df"], [3.393627647, 20.154638658, 3.892298794], rtol=1e-8)
    np.testing.assert_allclose(
        kr["std_error"], [0.5002123401, 0.2421543117, 0.7309782400], rtol=1e-8
    )
    joint = contrast(fit, ["x", "z"]).iloc[0]
    assert joint[["statistic", "df_den", "f_scale"]].tolist() == pytest.approx(
        [21.04660963, 7.04574384, 0.9304942664], rel=1e-8
    )
    joint = contrast(fit, "x = 0, z = 0", df="satterthwaite").iloc[0]
    assert joint[["statistic", "df_den"]].tolist() == pytest.approx(
        [24.0697309, 4.143036346], rel=1e-7
    )
    one_less = fitted("u3-x")
    np.testing.assert_allclose(
        coef_table(one_less, "satterthwaite")["df"], [4.461401457, 21.218575886], rtol=1e-7
    )
    np.testing.assert_allclose(coef_table(one_less)["df"], [4.630896376, 21.253234293], rtol=1e-8)
    np.testing.assert_allclose(coef_table(fitted("sleepstudy-slope"))["df"], [17, 17], rtol=1e-9)


def test_interval_and_p_value_follow_from_t() -> None:
    table = coef_table(fitted("u3"), df="satterthwaite", level=0.9)
    half = stats.t.ppf(0.95, table["df"]) * table["std_error"]
    np.testing.assert_allclose(table["ci_high"] - table["estimate"], half, rtol=1e-9)
    p = 2 * stats.t.sf(np.abs(table["statistic"]), table["df"])
    np.testing.assert_allclose(table["p_value"], p, rtol=1e-9)
    assert list(table.columns) == [
        "estimate", "std_error", "df", "statistic", "p_value", "ci_low", "ci_high",
    ]  # fmt: skip


def test_wald_is_the_normal_approximation() -> None:
    table = coef_table(fitted("u3"), df="wald")
    assert np.isinf(table["df"]).all()
    z = table["estimate"] / fitted("u3").bse_fe
    np.testing.assert_allclose(table["p_value"], 2 * stats.norm.sf(np.abs(z)), rtol=1e-10)
    joint = contrast(fitted("u3"), ["x", "z"], df="wald").iloc[0]
    assert joint["p_value"] == pytest.approx(stats.chi2.sf(2 * joint["statistic"], 2), rel=1e-9)


def test_kenward_roger_refuses_maximum_likelihood() -> None:
    with pytest.raises(ValueError, match="reml=True"):
        coef_table(fitted("u3-ml"))


def test_one_contrast_reads_the_same_however_it_is_written() -> None:
    fit = fitted("u3")
    ways = ["x - z", {"x": 1, "z": -1}, [0, 1, -1], np.array([[0.0, 1.0, -1.0]])]
    tables = [contrast(fit, way).to_numpy() for way in ways]
    for table in tables[1:]:
        np.testing.assert_allclose(table, tables[0])
    shifted = contrast(fit, "x - z = 0.5").iloc[0]
    assert shifted["statistic"] * shifted["std_error"] == pytest.approx(shifted["estimate"] - 0.5)


def test_repeated_rows_do_not_change_a_joint_test() -> None:
    fit = fitted("u3")
    np.testing.assert_allclose(
        contrast(fit, ["x", "z", "x + z"]).to_numpy(float),
        contrast(fit, ["x", "z"]).to_numpy(float),
    )
    with pytest.raises(ValueError, match="contradicts"):
        contrast(fit, ["x", "z", "x + z = 3"])


@pytest.mark.parametrize(
    "bad, words",
    [
        ("treatment", "can't be read"),
        ({"treatment": 1}, "no term treatment"),
        ([1.0, 0.0], "3 coefficients"),
        ([0.0, 0.0, 0.0], "other than zero"),
        ("x = z = 0", "two equals signs"),
        (object(), "a contrast is"),
    ],
)
def test_bad_contrasts_are_refused(bad: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        contrast(fitted("u3"), bad)


def test_unknown_method_level_and_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="kenward-roger"):
        coef_table(fitted("u3"), df="between-within")
    with pytest.raises(ValueError, match="between 0 and 1"):
        coef_table(fitted("u3"), level=95)
    with pytest.raises(ValueError, match="fit_lmm"):
        coef_table("not a fit")


def test_degrees_of_freedom_do_not_depend_on_units_or_origin() -> None:
    from recorded import read

    from pylmm_helpers.engine.fit import fit_lmm

    data = read("unbalanced")
    moved = data.assign(x=1e6 + 1000 * data["x"], y=1e-6 * data["y"] + 3)
    plain = coef_table(fit_lmm("y ~ x + z", data, "g", "1 + x")).loc[["x", "z"]]
    other = coef_table(fit_lmm("y ~ x + z", moved, "g", "1 + x")).loc[["x", "z"]]
    np.testing.assert_allclose(other[["df", "statistic"]], plain[["df", "statistic"]], rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_kenward_roger_has_a_limit_where_its_formula_divides_by_zero(seed: int) -> None:
    """Six balanced groups in two arms: the df are exactly four, as between groups they must be."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(6), 20)
    y = rng.normal(0.0, 2.0, 6)[g] + rng.normal(size=120)
    data = pd.DataFrame({"y": y, "x": (g % 2).astype(float), "g": g})
    assert coef_table(fit_lmm("y ~ x", data, "g"))["df"].tolist() == pytest.approx([4.0, 4.0])

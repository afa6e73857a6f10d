"""Nested, crossed and several random terms against lme4, lmerTest and pbkrtest."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recorded import HERE, ROOT
from test_reference_helpers_live import r_is_ready

from pylmm_helpers import coef_table, contrast, fit_lmm
from pylmm_helpers.engine.several.results import SeveralResults

RECORDED = json.loads((HERE / "reference" / "several.json").read_text(encoding="utf-8"))["cases"]
CASES = {case["id"]: case for case in RECORDED}
every_case = pytest.mark.parametrize("name", list(CASES))


def read(name: str) -> pd.DataFrame:
    published = ROOT / "datasets" / "published" / f"{name}.csv"
    here = HERE / "data" / f"several_{name}.csv"
    # the book's part of InstEval is another than the one recorded here
    return pd.read_csv(here if here.exists() else published)


@cache
def fitted(name: str) -> SeveralResults:
    case = CASES[name]
    fit = fit_lmm(case["formula"], read(case["data"]), reml=case["reml"], weights=case["weights"])
    assert isinstance(fit, SeveralResults)
    return fit


def with_key(key: str) -> Any:
    return pytest.mark.parametrize("name", [n for n, case in CASES.items() if key in case])


@every_case
def test_criterion_is_lme4s_minimum(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    assert fit.criterion == pytest.approx(case["criterion"], abs=2e-8)
    assert fit.criterion <= case["criterion"] + 1e-9
    assert [fit.aic, fit.bic] == pytest.approx([case["aic"], case["bic"]], abs=2e-8)
    assert fit.converged
    assert fit.singular == case["singular"]


@every_case
def test_estimates(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    size = np.abs(case["theta"]).max()
    # lme4 stops where the criterion is flat to its last digits: theta to half of them
    np.testing.assert_allclose(fit.theta, np.atleast_1d(case["theta"]), atol=1e-5 * size)
    assert np.sqrt(fit.scale) == pytest.approx(case["sigma"], rel=2e-6)
    np.testing.assert_allclose(fit.fe_params, np.atleast_1d(case["beta"]), rtol=2e-6, atol=1e-8)
    covariance = np.atleast_2d(case["vcov"])
    np.testing.assert_allclose(fit.cov_fe, covariance, atol=5e-6 * np.abs(covariance).max())


@every_case
def test_random_effects_and_fitted_values(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    np.testing.assert_allclose(fit.fittedvalues, case["fitted"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fit.resid, fit.y - case["fitted"], atol=1e-5)
    assert len(case["ranef"]) == len(fit.random_effects_by_group) == len(fit.ngroups_by_group)
    for r_name, expected in case["ranef"].items():
        columns = r_name.replace("(", "").replace(")", "").split(":")
        group = next(g for g in fit.group_names if set(g.split(":")) == set(columns))
        effects = fit.random_effects_by_group[group]
        values = np.asarray(expected["values"], dtype=float).reshape(len(expected["labels"]), -1)
        labels = pd.DataFrame([str(label).split(":") for label in expected["labels"]])
        labels.columns = columns
        own = effects.index.to_frame(index=False).astype(str)
        own.columns = group.split(":")
        order = [
            int(np.flatnonzero((labels[own.columns] == row).all(axis=1))[0])
            for row in own.to_numpy()
        ]
        # lme4 puts the terms of one factor in another order than the formula
        terms = [t.replace("(Intercept)", "Intercept") for t in np.atleast_1d(expected["terms"])]
        values = values[:, [terms.index(t) for t in effects.columns]]
        size = np.abs(values).max()
        np.testing.assert_allclose(effects, values[order], atol=5e-6 * size + 1e-7)
        condvar = case["condvar"].get(r_name)
        if condvar:
            q = effects.shape[1]
            expected_var = np.moveaxis(np.asarray(condvar, dtype=float).reshape(q, q, -1), -1, 0)
            np.testing.assert_allclose(
                fit.random_effects_var_by_group[group],
                expected_var[order],
                atol=1e-5 * expected_var.max() + 1e-9,
            )


@every_case
def test_satterthwaite(name: str) -> None:
    case = CASES[name]
    table = coef_table(fitted(name), df="satterthwaite")
    # lmerTest's second derivatives are numerical: they lose digits where the fit is singular
    np.testing.assert_allclose(table["df"], np.atleast_1d(case["satterthwaite"]), rtol=1e-4)


@with_key("kr_df")
def test_kenward_roger(name: str) -> None:
    case = CASES[name]
    table = coef_table(fitted(name), df="kenward-roger")
    np.testing.assert_allclose(table["std_error"], np.atleast_1d(case["kr_se"]), rtol=1e-5)
    np.testing.assert_allclose(table["df"], np.atleast_1d(case["kr_df"]), rtol=1e-4)


@with_key("joint_satterthwaite")
def test_joint_satterthwaite(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    found = contrast(fit, np.eye(len(fit.fe_params))[1:], df="satterthwaite").iloc[0]
    expected = case["joint_satterthwaite"]
    assert found["statistic"] == pytest.approx(expected["f"], rel=2e-5)
    assert found["df_den"] == pytest.approx(expected["df"], rel=1e-4)


@with_key("joint_kr")
def test_joint_kenward_roger(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    found = contrast(fit, np.eye(len(fit.fe_params))[1:], df="kenward-roger").iloc[0]
    expected = case["joint_kr"]
    assert found["statistic"] == pytest.approx(expected["f"], rel=2e-5)
    assert found["df_den"] == pytest.approx(expected["df"], rel=1e-4)
    assert found["f_scale"] == pytest.approx(expected["scale"], rel=1e-5)


def test_r_gives_the_recorded_values_again(tmp_path: Path) -> None:
    if not r_is_ready():
        pytest.skip("needs Rscript with lme4, lmerTest and pbkrtest")
    made, chosen = tmp_path / "several.json", ["pastes", "herds-slope", "raters"]
    script = ["Rscript", "--vanilla", "tests/helpers/record_several.R", str(made), *chosen]
    subprocess.run(script, cwd=ROOT, check=True, capture_output=True)
    for today in json.loads(made.read_text(encoding="utf-8"))["cases"]:
        recorded = CASES[today["id"]]
        for key in ("criterion", "theta", "sigma", "beta", "vcov", "satterthwaite", "kr_df"):
            # other versions of R and lme4 stop their searches a little elsewhere
            np.testing.assert_allclose(today[key], recorded[key], rtol=1e-4, atol=1e-5)


def test_published_values_of_the_specification() -> None:
    penicillin, pastes = fitted("penicillin"), fitted("pastes")
    assert penicillin.criterion == pytest.approx(330.86058899, abs=1e-7)
    np.testing.assert_allclose(penicillin.theta, [1.53967752, 3.51241507], rtol=2e-7)
    assert pastes.criterion == pytest.approx(246.99074585, abs=1e-7)
    np.testing.assert_allclose(pastes.theta, [3.52690184, 1.56346049], rtol=2e-7)
    assert coef_table(pastes)["df"].iloc[0] == pytest.approx(9.0, rel=1e-9)

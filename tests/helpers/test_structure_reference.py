"""Correlated residuals and unequal variances against nlme."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recorded import HERE, ROOT

from pylmm_helpers import fit_lmm, residuals

RECORDED = json.loads((HERE / "reference" / "structures.json").read_text(encoding="utf-8"))["cases"]
CASES = {case["id"]: case for case in RECORDED}
every_case = pytest.mark.parametrize("name", list(CASES))


def read(name: str) -> pd.DataFrame:
    published = ROOT / "datasets" / "published" / f"{name}.csv"
    here = HERE / "data" / f"structure_{name}.csv"
    data = pd.read_csv(published if published.exists() else here)
    return data.assign(visit=(data["age"] - 6) // 2) if name == "orthodont" else data


def asked_for(case: dict[str, Any]) -> dict[str, Any]:
    keys = ("reml", "weights", "correlation", "variances")
    return {key: case[key] for key in keys if case.get(key) is not None}


@cache
def fitted(name: str) -> Any:
    case = CASES[name]
    return fit_lmm(case["formula"], read(case["data"]), **asked_for(case))


def with_key(key: str) -> Any:
    return pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.get(key)])


@every_case
def test_likelihood_is_nlmes_maximum(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    # twice nlme's own stopping rule; ours may be the higher one, and is never lower
    assert fit.llf == pytest.approx(case["loglik"], abs=1e-6)
    assert fit.llf >= case["loglik"] - 1e-8
    assert fit.n_params == case["n_params"]
    assert fit.aic == pytest.approx(2 * case["n_params"] - 2 * case["loglik"], abs=2e-6)
    assert fit.converged


@every_case
def test_fixed_effects_and_their_errors(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    # nlme ends its search where the criterion is flat: half of its digits
    np.testing.assert_allclose(fit.fe_params, case["beta"], rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(fit.bse_fe, case["se"], rtol=2e-5)


@with_key("phi")
def test_phi(name: str) -> None:
    assert fitted(name).phi == pytest.approx(CASES[name]["phi"], rel=5e-5)


@with_key("ratios")
def test_ratios_and_sigma_are_those_of_nlme_for_another_reference(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    theirs = pd.Series(case["ratios"], dtype=float)
    first = fit.variance_ratios.index[0]
    expected = theirs[fit.variance_ratios.index] / theirs[first]
    np.testing.assert_allclose(fit.variance_ratios, expected, rtol=5e-5)
    assert np.sqrt(fit.scale) == pytest.approx(case["sigma"] * theirs[first], rel=5e-5)


@every_case
def test_covariances_of_the_random_effects(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    ours = list(fit.cov_re_by_group.values())
    theirs = [np.atleast_2d(c) for c in case["cov_re"]]
    # the factor with most levels stands first here, the outer one there
    for own, other in zip(ours, reversed(theirs), strict=True):
        np.testing.assert_allclose(own, other, rtol=2e-3, atol=2e-5 * np.abs(other).max())


@every_case
def test_fitted_values_and_normalized_residuals(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    rows = fit.frame
    if case.get("correlation"):  # recorded in the order of time
        time = case["correlation"].partition("(")[2].rstrip(")")
        groups = re.findall(r"\w+", case["formula"].rpartition("|")[2])
        rows = rows.sort_values([*groups, time])
    rows = rows.index[: len(case["fitted"])]
    size = np.std(fit.resid)
    np.testing.assert_allclose(fit.fittedvalues[rows], case["fitted"], atol=5e-5 * size)
    ours = residuals(fit, kind="normalized")["normalized"]
    np.testing.assert_allclose(ours[rows], case["normalized"], atol=2e-4)


@every_case
def test_a_plain_fit_is_never_passed_for_one_with_a_structure(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    plain = fit_lmm(case["formula"], read(case["data"]), reml=case["reml"], weights=case["weights"])
    assert plain.structure is None and fit.structure is not None
    assert fit.criterion < plain.criterion
    assert fit.n_params > plain.n_params


def test_nlme_gives_the_recorded_values_again(tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("needs Rscript with nlme and jsonlite")
    wanted = 'all(sapply(c("nlme", "jsonlite"), requireNamespace, quietly = TRUE))'
    test = ["Rscript", "--vanilla", "-e", f"quit(status = !{wanted})"]
    if subprocess.run(test, capture_output=True, check=False).returncode:
        pytest.skip("needs nlme and jsonlite")
    made, names = tmp_path / "again.json", ["orthodont-both", "weeks", "days", "herds"]
    script = ["Rscript", "--vanilla", "tests/helpers/record_structures.R", str(made), *names]
    subprocess.run(script, cwd=ROOT, check=True, capture_output=True)
    for case in json.loads(made.read_text(encoding="utf-8"))["cases"]:
        old = CASES[case["id"]]
        assert case["loglik"] == pytest.approx(old["loglik"], abs=1e-7)
        np.testing.assert_allclose(case["se"], old["se"], rtol=1e-5)
        assert case["phi"] == pytest.approx(old["phi"], rel=1e-4)

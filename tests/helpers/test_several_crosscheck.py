"""crosscheck() of fits with several random terms: every level is compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_several_reference import CASES, read

from pylmm_helpers import crosscheck, fit_lmm, lmer, load
from pylmm_helpers.engine.several.criterion import evaluate
from pylmm_helpers.lme4.agreement import AgreementError

NESTED, CROSSED = "strength ~ 1 + (1 | batch/cask)", "diameter ~ 1 + (1 | plate) + (1 | sample)"
#: Nested three deep, crossed, a double bar, slopes, weights at a zero variance.
LIVE = (
    "schools", "penicillin-ml", "herds-uncorrelated", "herds-day-weights", "raters-slopes",
)  # fmt: skip


@pytest.fixture(autouse=True)
def away_from_the_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_r(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLMM_NO_R", "1")


def test_every_level_is_compared(without_r: None) -> None:
    found = crosscheck(fit_lmm(NESTED, load("pastes")), NESTED, "classic-pastes").table
    assert set(found["kind"]) == {
        "fixed effect", "standard error", "variance", "theta", "conditional mode",
        "conditional SD", "degrees of freedom", "residual variance", "criterion",
    }  # fmt: skip
    for name in ("batch:cask", "batch"):
        rows = [str(row) for row in found.index if f"{name} " in f"{row} "]
        assert len(rows) == 4, rows
    assert found.loc["Kenward-Roger df of `Intercept`", "engine"] == pytest.approx(9.0)
    assert found["engine"].notna().all()
    found = crosscheck(fit_lmm(CROSSED, load("penicillin")), CROSSED, "classic-penicillin")
    assert found.agrees and found.record["ngroups"] == "24; 6"


def test_a_fit_away_from_the_minimum_is_told(without_r: None) -> None:
    fit = fit_lmm(CROSSED, load("penicillin"))
    away = replace(fit, at=evaluate(1.01 * fit.at.theta, fit.sums, fit.reml))
    with pytest.raises(AgreementError) as caught:
        crosscheck(away, CROSSED, "classic-penicillin")
    table = caught.value.agreement.table
    off = set(table.loc[table["verdict"] != "agrees", "kind"])
    assert {"variance", "theta", "conditional mode", "conditional SD", "standard error"} <= off


def test_another_model_is_refused(without_r: None) -> None:
    pastes, pen = load("pastes"), load("penicillin")
    with pytest.raises(ValueError, match="one random term, by 'sample'"):
        crosscheck(fit_lmm("strength ~ 1", pastes, "sample"), NESTED, "classic-pastes")
    with pytest.raises(ValueError, match="both must be the same model"):
        crosscheck(
            fit_lmm("strength ~ 1 + (1 | batch) + (1 | sample)", pastes), NESTED, "classic-pastes"
        )
    with pytest.raises(ValueError, match="classic-penicillin"):
        lmer(CROSSED, pen.head(100), name="classic-penicillin")


@pytest.mark.parametrize("name", LIVE)
def test_with_r_every_case_agrees(with_r: None, name: str) -> None:
    case = CASES[name]
    fit = fit_lmm(case["formula"], read(case["data"]), reml=case["reml"], weights=case["weights"])
    agreement: Any = crosscheck(fit, case["formula"], f"live-{name}")
    kinds = set(agreement.table["kind"])
    assert ("degrees of freedom" in kinds) == (not case["singular"])
    assert any("not compared" in note for note in agreement.notes) == case["singular"]
    assert np.isfinite(agreement.table["diff_engine"]).all()

"""Appendix F: the seeds are chosen as it says, so that estimates lie near their truths."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from cells import CHAPTERS
from said import stands

from pylmm_helpers import fit_lmm, load

PACKAGE = json.loads((CHAPTERS.parent / "datasets" / "datapackage.json").read_text("utf-8"))
MODELS = [(r["name"], truth) for r in PACKAGE["resources"] for truth in r.get("truth") or []]
STRICT = [(name, truth) for name, truth in MODELS if name != "test_days"]
WIDER = [truth for name, truth in MODELS if name == "test_days"]


@pytest.mark.parametrize(("name", "truth"), STRICT, ids=lambda v: v if isinstance(v, str) else "")
def test_every_fixed_effect_lies_within_its_share_of_a_standard_error(
    name: str, truth: dict[str, Any]
) -> None:
    assert stands("F-codebook", "every estimate lies within $0.8$ standard errors of its truth")
    data = load(name)
    if "mean_income" in truth["model"]:
        mean = data.groupby("neighbourhood", observed=True)["income"].transform("mean")
        data["mean_income"] = mean
    fit = fit_lmm(truth["model"], data, missing="drop")
    stated = np.array([truth["fixed"][term] for term in fit.fe_params.index])
    assert len(stated) == len(truth["fixed"])
    assert ((fit.fe_params - stated).abs() <= 0.8 * fit.bse_fe).all()


@pytest.mark.parametrize("truth", WIDER, ids=["milk", "scores"])
def test_the_wider_rule_of_the_test_days_holds(truth: dict[str, Any]) -> None:
    # Variances and the correlation are held to it by tests/datasets/test_test_days.py.
    assert stands("F-codebook", "variances and correlation within one standard error, effects")
    data = load("test_days")
    data["cells"] = np.log(data["scc"]) - 4.3
    for level in ("lactation", "herd"):
        data[f"cells_{level}"] = data.groupby(level, observed=True)["cells"].transform("mean")
    serial = "car1(dim)" if "phi" in truth["random"] else None
    fit = fit_lmm(truth["model"], data, correlation=serial)
    stated = np.array([truth["fixed"][term] for term in fit.fe_params.index])
    assert len(stated) == len(truth["fixed"])
    assert ((fit.fe_params - stated).abs() <= 2 * fit.bse_fe).all()

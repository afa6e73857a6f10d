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


@pytest.mark.parametrize(("name", "truth"), MODELS, ids=lambda v: v if isinstance(v, str) else "")
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

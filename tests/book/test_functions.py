"""The page of functions: every public name once, in one short call, and what it says of figures."""

from __future__ import annotations

import ast
import re
from typing import Any

import numpy as np
import pytest
from cells import CHAPTERS, run_chapter

import pylmm_helpers as ph
from offline_render.book import Cell, split
from pylmm_helpers import plots

PATH = CHAPTERS / "I-functions.qmd"
TEXT = PATH.read_text(encoding="utf-8")
CELLS = [part for part in split(PATH) if isinstance(part, Cell)]
#: What calls give back, and what reports on a whole book: named in words.
NAMED = {"BoxCox", "Check", "LMMResults", "SeveralResults", "Table", "agreement_records",
         "agreement_summary", "plots"}  # fmt: skip


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    # DuckDB and Ibis warn about one another
    return run_chapter("I-functions", warnings_are="default")


def calls() -> list[str]:
    """Dotted names that the cells call."""
    found = []
    for cell in CELLS:
        for node in ast.walk(ast.parse(cell.code)):
            if isinstance(node, ast.Call):
                found.append(ast.unparse(node.func).removeprefix("ph."))
    return found


def test_every_public_function_is_called_and_named() -> None:
    public = set(ph.__all__) - NAMED | {f"plots.{name}" for name in plots.__all__}
    assert public - set(calls()) == set()
    named = set(re.findall(r"`([\w.]+)(?:\(\))?`", TEXT))
    assert public | NAMED - {"plots"} <= named


def test_an_entry_is_one_call_of_at_most_three_lines() -> None:
    for cell in CELLS:
        if cell.label != "setup":
            lines = [line for line in cell.code.strip().split("\n") if line.strip()]
            assert len(lines) <= 3, cell.label


def test_the_figures_show_what_their_alternative_text_says(page: dict[str, Any]) -> None:
    slopes, fit, box = page["slopes"], page["fit"], page["box"]
    days = ph.blups(slopes, "Days").sort_values("estimate")
    outside = (days["ci_low"] > 0) | (days["ci_high"] < 0)
    assert list(np.flatnonzero(outside)) == [0, 1, 2, 15, 16, 17]
    assert (slopes.fe_params["Days"] + days["estimate"] > 0).mean() > 0.8
    assert 0 < box.estimate < 0.1
    profile = box.profile.sort_values("lambda_")["llf"].to_numpy()
    top = int(profile.argmax())
    assert (np.diff(profile[: top + 1]) > 0).all() and (np.diff(profile[top:]) < 0).all()
    rest = ph.residuals(fit)["conditional_std"]
    assert (rest.abs() < 2).mean() > 0.9
    herds = ph.residuals(fit, "group")["standardised"].sort_values().to_numpy()
    band = plots.qq_band(len(herds))
    assert ((band["low"] < herds) & (herds < band["high"])).all()
    curve = ph.profile_ci(fit, parameters=["sd(Intercept)"]).iloc[0]
    assert curve["ci_high"] - curve["estimate"] > curve["estimate"] - curve["ci_low"]
    bars = plots.residual_autocorrelation(page["serial"])
    heights = [p.get_height() for p in bars.patches]
    if not heights:  # drawn as lines
        heights = [s[:, 1][np.abs(s[:, 1]).argmax()] for c in bars.collections
                   for s in c.get_segments()]  # fmt: skip
    assert 0.4 < heights[0] < 0.6 and min(heights[5:10]) < -0.1 and heights[-1] > 0
    powers = page["powers"]["power"].to_numpy()
    gains = np.diff(powers)
    assert (gains > 0).all() and (np.diff(gains) < 0).all() and powers[0] < 0.8 < powers[-1]

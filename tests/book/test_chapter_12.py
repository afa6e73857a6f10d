"""Chapter 12 run cell by cell, R included where there is one: the published values come out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from cells import CHAPTERS, run_chapter


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("12-classics")


def test_the_published_values_come_out(page: dict[str, Any]) -> None:
    hits, compared = page["hits"], page["compared"]
    missed = compared.loc[~hits["engine"], ["data", "method", "quantity"]].to_numpy().tolist()
    assert missed == [["rail", "ML", "se"]]  # nlme's own definition
    assert hits["engine"].equals(hits["lme4"])
    assert hits["statsmodels"].sum() < len(hits) - 3
    # where statsmodels misses, four digits are still right, but for the variance of zero
    off = compared[~hits["statsmodels"] & hits["engine"] & (compared["data"] != "dyestuff2")]
    np.testing.assert_allclose(off["statsmodels"], off["published"].astype(float), rtol=2e-4)


def test_nlme_adjusts_by_degrees_of_freedom(page: dict[str, Any]) -> None:
    assert page["adjusted"] == pytest.approx(9.554026, abs=1e-6)


def test_balanced_reml_is_anova_unless_negative(page: dict[str, Any]) -> None:
    for name, y, g in [("dyestuff", "Yield", "Batch"), ("rail", "travel", "Rail")]:
        fit = page["engine"][name, "REML"]
        estimates = [fit.cov_re.iloc[0, 0], fit.scale]
        np.testing.assert_allclose(page["by_hand"](name, y, g), estimates, rtol=1e-6)
    assert page["by_hand"]("dyestuff2", "Yield", "Batch")[0] < 0
    assert page["engine"]["dyestuff2", "REML"].cov_re.iloc[0, 0] == 0


def test_statsmodels_warns_about_the_zero_alone_and_stops_early_far_from_the_data(
    page: dict[str, Any],
) -> None:
    assert {name for (name, _), said in page["said"].items() if said} == {"dyestuff2"}
    assert -2 * page["early"].llf - page["sex_engine"].criterion > 1 and page["caught"]
    assert -2 * page["centred"].llf == pytest.approx(page["sex_engine"].criterion, abs=1e-4)
    assert page["at_birth"].criterion == pytest.approx(page["at_11"].criterion, abs=1e-8)


def test_every_published_file_is_fitted_and_named_with_its_source(page: dict[str, Any]) -> None:
    root = CHAPTERS.parent
    files = {path.stem for path in (root / "datasets" / "published").glob("*.csv")}
    assert files == set(page["data"])
    text = (CHAPTERS / "12-classics.qmd").read_text(encoding="utf-8")
    table = text[: text.index("{#tbl-cla-sources}")]
    assert all(re.search(rf"^\| `{name}` \|.*@\w+\d{{4}}", table, re.M) for name in files)
    assert "GPL, version 2 or later" in table


def test_standard_errors_agree_in_balanced_data(page: dict[str, Any]) -> None:
    assert (page["hessian"] - 1).abs().max().max() < 2e-4


def test_nested_and_crossed_factors_agree(page: dict[str, Any]) -> None:
    nested = page["nested"]
    for program in ("engine", "lme4", "statsmodels"):
        np.testing.assert_allclose(nested.loc[program], nested.iloc[0], rtol=3e-4)
    # lme4's optimiser stops a few 1e-6 from the minimum
    np.testing.assert_allclose(nested.loc["engine"], nested.loc["lme4"], rtol=1e-5)
    assert (
        nested.loc["engine, casks", "SE of the mean"] < 0.95 * nested.loc["lme4", "SE of the mean"]
    )
    batches = nested.loc["engine, batches", "SE of the mean"]
    assert batches == pytest.approx(nested.loc["lme4", "SE of the mean"], rel=1e-4)
    crossed = page["crossed"]
    published = crossed.iloc[0]
    for method in ("ML", "REML"):
        one, two, three = (
            crossed.loc[f"{method}, {name}"] for name in ("engine", "lme4", "statsmodels")
        )
        np.testing.assert_allclose(one, two, rtol=1e-5)
        np.testing.assert_allclose(three, two, rtol=1e-4)
    np.testing.assert_allclose(crossed.loc["ML, engine"], published, rtol=1e-5)
    right = crossed.loc["REML, lme4", "SE of the mean"]
    assert page["plate_only"].bse_fe.iloc[0] < right / 4

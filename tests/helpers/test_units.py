"""Weights say which row is meant, and thresholds know the units of what they judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symmetries import Made, in_units, made

import pylmm_helpers as ph

pytestmark = pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def data() -> Made:
    return made()


NEW = {"x": [1.0], "z": [0.0]}
#: What depends on the weight of the row meant, from the fit and maybe a weight.
OF_A_ROW: dict[str, Callable[..., Any]] = {
    "icc": lambda m, name, **w: ph.icc(m.fit(name), **w)["estimate"],
    "design_effect": lambda m, name, **w: ph.design_effect(m.fit(name), **w)["design_effect"],
    "predict": lambda m, name, **w: ph.predict(m.fit(name), NEW, interval="prediction", **w),
    "variance_function": lambda m, name, **w: ph.variance_function(
        m.fit({"weighted": "weighted slope", "intercept": "slope"}[name]), "x", [1.0], **w
    ),
}


@pytest.mark.parametrize("helper", OF_A_ROW)
def test_what_depends_on_a_rows_weight_asks_for_it(helper: str, data: Made) -> None:
    call, mean = OF_A_ROW[helper], data.pandas()["w"].mean()
    with pytest.raises(ValueError, match=rf"the fit has weights.*weight={mean:.4g}"):
        call(data, "weighted")
    for bad in (0.0, -1.0, np.nan, "w", [1.0, 2.0], object()):
        with pytest.raises(ValueError, match=r"weight (is|must)"):
            call(data, "weighted", weight=bad)
    with pytest.raises(ValueError, match="no weights; leave weight= out"):
        call(data, "intercept", weight=1.0)
    call(data, "intercept")


def test_components_of_a_fit_with_weights_have_no_total_without_a_weight(data: Made) -> None:
    fit = data.fit("weighted")
    table = ph.variance_components(fit)
    assert list(table.index) == ["Intercept", "Residual"] and "share" not in table
    assert table.loc["Residual", "variance"] == fit.scale  # lme4's sigma^2
    at = ph.variance_components(fit, weight=4.0)
    assert at.loc["Residual", "variance"] == pytest.approx(fit.scale / 4.0, rel=1e-12)
    assert at.loc["Intercept", "share"] == pytest.approx(ph.icc(fit, weight=4.0)["estimate"])
    with pytest.raises(ValueError, match="no weights"):
        ph.variance_components(data.fit("plain"), weight=1.0)


WEIGHTED = made().fit("weighted")


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_an_icc_is_the_correlation_of_two_rows_of_that_weight(one: float, two: float) -> None:
    fit = WEIGHTED
    first, second = ph.icc(fit, weight=one), ph.icc(fit, weight=two)
    tau2 = float(fit.cov_re.iloc[0, 0])
    V = tau2 * np.ones((2, 2)) + fit.scale / one * np.eye(2)
    assert first["estimate"] == pytest.approx(V[0, 1] / V[0, 0], rel=1e-9)
    for end in ("ci_low", "ci_high"):  # sigma^2 over another weight moves the odds, nothing else
        odds = [icc[end] / (1.0 - icc[end]) for icc in (first, second)]
        assert odds[0] / odds[1] == pytest.approx(one / two, rel=1e-5)  # ends are bisected


def test_a_prediction_interval_of_the_fits_own_rows_takes_their_weights(data: Made) -> None:
    fit, w = data.fit("weighted"), data.pandas()["w"].to_numpy()
    mean = ph.predict(fit, level="group", interval="confidence")["std_error"]
    row = ph.predict(fit, level="group", interval="prediction")["std_error"]
    assert np.allclose(row**2 - mean**2, fit.scale / w, rtol=1e-9)


def test_products_with_weights_say_the_same_as_rows(data: Made) -> None:
    frame, fit = data.pandas(), data.fit("weighted")
    lean = ph.fit_lmm(ph.cross_products(frame, "y ~ x + z", "g", weights="w"))
    assert lean.cross.mean_weight == pytest.approx(frame["w"].mean(), rel=1e-14)
    pd.testing.assert_series_equal(ph.icc(lean, weight=2.0), ph.icc(fit, weight=2.0), rtol=1e-6)
    slopes = ph.fit_lmm(ph.cross_products(frame, "y ~ x + z", "g", "1 + x", weights="w"))
    with pytest.raises(ValueError, match="fit the data frame"):
        ph.icc(slopes, weight=2.0)


def test_summary_and_report_say_that_a_fit_has_weights(data: Made) -> None:
    fit = data.fit("weighted")
    said = str(fit.summary())
    assert "residual, weight 1" in said
    assert "over its weight (mean weight" in " ".join(said.split())
    text = str(ph.report(fit))
    assert "prior weights" in text and "residual variance of weight 1" in text
    assert "intraclass" not in text
    assert "intraclass correlation of two rows of weight 2" in str(ph.report(fit, weight=2.0))
    plain = data.fit("intercept")
    assert "weight" not in str(ph.report(plain)) + str(plain.summary())


def test_an_interval_from_the_analysis_of_variance_knows_no_weights(data: Made) -> None:
    fit = ph.fit_lmm("y ~ 1", data.pandas(), "g", weights="w")
    with pytest.raises(ValueError, match="without predictors or weights"):
        ph.icc(fit, "f", weight=1.0)


def test_small_weights_that_differ_are_not_the_same(data: Made) -> None:
    frame = data.pandas().assign(
        small=lambda d: d["w"] * 1e-9, other=lambda d: 1.1 * d["small"] + 1e-10
    )
    full = ph.fit_lmm("y ~ x + z", frame, "g", "1 + x", weights="small")
    with pytest.raises(ValueError, match="different weights"):
        ph.lrt(full, ph.fit_lmm("y ~ x + z", frame, "g", weights="other"))


@pytest.mark.parametrize("shift", [0.0, 1e9])
def test_responses_that_differ_a_little_are_not_the_same(shift: float, data: Made) -> None:
    frame = data.pandas().assign(y=lambda d: d["y"] + shift)
    full = ph.fit_lmm("y ~ x + z", frame, "g", "1 + x")
    other = frame.assign(y=frame["y"] + 1e-4 * frame["e"])
    with pytest.raises(ValueError, match="responses differ"):
        ph.lrt(full, ph.fit_lmm("y ~ x + z", other, "g"))
    assert ph.lrt(full, ph.fit_lmm("y ~ x + z", frame, "g"))["df"].iloc[0] == 2


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_a_column_with_other_values_is_not_overwritten(unit: float, data: Made) -> None:
    frame = data.pandas().assign(x=lambda d: d["x"] * unit)
    once = ph.center_within(frame, "x", "g")
    assert ph.center_within(once, "x", "g").equals(once)
    with pytest.raises(ValueError, match="other values"):
        ph.center_within(once.assign(x_mean=once["x_mean"] + 0.01 * unit), "x", "g")


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_a_contradiction_is_seen_in_any_unit(unit: float, data: Made) -> None:
    fit = ph.fit_lmm("y ~ x + z", data.pandas().assign(y=lambda d: d["y"] * unit), "g")
    both = ["x", {"x": 2.0}]
    assert ph.contrast(fit, both, rhs=[0.1 * unit, 0.2 * unit])["df_num"].iloc[0] == 1
    with pytest.raises(ValueError, match="contradicts"):
        ph.contrast(fit, both, rhs=[0.1 * unit, 0.3 * unit])


@pytest.mark.parametrize("formula", ["e ~ 0 + x", "y ~ 0 + k", "y ~ x", "y ~ 0 + x + z"])
def test_hendersons_sums_of_squares_are_those_of_two_regressions(formula: str, data: Made) -> None:
    frame = data.pandas()
    fit = ph.fit_lmm(formula, frame, "g")
    groups = np.eye(12)[fit.codes]

    def left(X: Any) -> float:
        return float(np.sum((fit.y - X @ np.linalg.lstsq(X, fit.y, rcond=None)[0]) ** 2))

    both = np.column_stack([fit.X, groups])
    found = ph.anova_components(formula, frame, "g")["sum_sq"]
    assert found["within"] == pytest.approx(left(both), rel=1e-9)
    assert found["between"] == pytest.approx(left(fit.X) - left(both), rel=1e-8)


def test_influence_is_exact_where_the_predictors_explain_almost_all(data: Made) -> None:
    frame = data.pandas().assign(y=lambda d: 1e5 * d["x"] + d["y"])
    table = ph.influence(ph.fit_lmm("y ~ x", frame, "g", weights="w"))
    for g in (0, 5):
        alone = ph.fit_lmm("y ~ x", frame[frame["g"] != g], "g", weights="w")
        row = table.loc[g]
        assert row["residual_variance"] == pytest.approx(alone.scale, rel=1e-5)
        # y has lost 5 of its digits beside 1e5 x, and variances the digits of their squares
        assert row["var[Intercept]"] == pytest.approx(alone.cov_re.iloc[0, 0], rel=1e-5)


@pytest.mark.parametrize("shift", [2e5, 2e6, 1.7e9])
def test_a_correlation_that_the_origin_makes_has_no_interval_to_search(shift: float) -> None:
    fit = in_units(x=(shift, 1.0)).fit("slope")
    row = ph.profile_ci(fit, parameters=["cor(Intercept, x)"]).iloc[0]
    # lines that are seen 1e5 spreads from the origin cross it in their slopes' order
    assert row[["ci_low", "estimate", "ci_high"]].to_list() == pytest.approx([-1.0] * 3, abs=1e-9)
    assert row["ci_low"] <= row["estimate"] <= row["ci_high"]

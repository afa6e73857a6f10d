"""Arguments of the wrong kind: each helper says which argument it is and what to give instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import pylmm_helpers as ph
from pylmm_helpers import plots

JUNK = [-1, np.nan, True, "kenward", ["a"], {"a": "b"}, np.array(["a"]), object(), 1j, b"x", pd.NA]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"g": np.repeat(range(8), 5), "x": rng.normal(size=40)})
    table["y"] = 50 + table["x"] + rng.normal(size=8)[table["g"]] + rng.normal(size=40)
    return ph.center_within(table, "x", "g")


@pytest.fixture(scope="module")
def fits(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        "intercept": ph.fit_lmm("y ~ x", frame, "g"),
        "slope": ph.fit_lmm("y ~ x", frame, "g", "1 + x"),
        "contextual": ph.fit_lmm("y ~ x_within + x_mean", frame, "g"),
        "powers": ph.boxcox_lmm(ph.fit_lmm("y ~ x", frame, "g"), lambdas=[0, 1]),
    }


CALLS: dict[str, Callable[[dict[str, Any], pd.DataFrame, Any], Any]] = {
    "term": lambda f, d, v: ph.variance_function(f["slope"], v, [1]),
    "other": lambda f, d, v: ph.variance_function(f["slope"], "x", [1], v),
    "method": lambda f, d, v: ph.icc(f["intercept"], v),
    "level": lambda f, d, v: ph.icc(f["intercept"], level=v),
    "data": lambda f, d, v: ph.anova_components("y ~ 1", v, "g"),
    "within": lambda f, d, v: ph.contextual_effect(f["contextual"], v, "x_mean"),
    "between": lambda f, d, v: ph.contextual_effect(f["contextual"], "x_within", v),
    "df": lambda f, d, v: ph.contextual_effect(f["contextual"], "x_within", "x_mean", v),
    "level of the contextual effect": lambda f, d, v: ph.contextual_effect(
        f["contextual"], "x_within", "x_mean", level=v
    ),
    "column": lambda f, d, v: ph.center_within(d, v, "g"),
    "groups": lambda f, d, v: ph.center_within(d, "x", v),
    "random effect": lambda f, d, v: ph.blups(f["intercept"], v),
    "new_data": lambda f, d, v: ph.predict(f["intercept"], v),
    "level of predict": lambda f, d, v: ph.predict(f["intercept"], d, v),
    "interval": lambda f, d, v: ph.predict(f["intercept"], d, interval=v),
    "df of predict": lambda f, d, v: ph.predict(f["intercept"], d, df=v),
    "level of residuals": lambda f, d, v: ph.residuals(f["intercept"], v),
    "df of the report": lambda f, d, v: ph.report(f["intercept"], v),
    "data set": lambda f, d, v: ph.load(v),
    "table": lambda f, d, v: ph.table(v) if not isinstance(v, dict) else ph.table(d, digits=v),
    "digits": lambda f, d, v: ph.table(d, digits=v if v is not True else "2"),
    "units": lambda f, d, v: ph.table(d, units=v),
    "ax": lambda f, d, v: plots.caterpillar(f["intercept"], ax=v),
    "ax of boxcox": lambda f, d, v: plots.boxcox(f["powers"], ax=v),
    "band": lambda f, d, v: plots.qq(f["intercept"], band=v),
    "x": lambda f, d, v: plots.spaghetti(f["intercept"], v),
    "parameter": lambda f, d, v: plots.profile_zeta(f["intercept"], v),
    "level of zeta": lambda f, d, v: plots.profile_zeta(f["intercept"], "x", level=v),
}


@pytest.mark.parametrize("call", list(CALLS))
def test_an_argument_of_the_wrong_kind_is_named(
    call: str, fits: dict[str, Any], frame: pd.DataFrame
) -> None:
    for value in JUNK:
        with pytest.raises(ValueError, match=r"\w+") as caught:
            CALLS[call](fits, frame, value)
        message = str(caught.value)
        assert "truth value" not in message, message
        assert "could not convert" not in message, message
    plt.close("all")


NUMBERS: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "values of": lambda f, v: ph.variance_function(f["slope"], "x", v),
    "sizes": lambda f, v: ph.design_effect(0.1, v),
    "m must": lambda f, v: ph.shrinkage_factor(1, 2, v),
    "sigma2_g": lambda f, v: ph.shrinkage_factor(v, 2, 3),
    "lambdas": lambda f, v: ph.boxcox_lmm(f["intercept"], v),
    "lambda_": lambda f, v: f["powers"].transform([1.0], v),
    "z must": lambda f, v: f["powers"].inverse(v),
    "'y' must": lambda f, v: f["powers"].transform(v),
    "the response must": lambda f, v: ph.anova_components(v, groups=[1, 1, 2, 2]),
}


@pytest.mark.parametrize("words", list(NUMBERS))
def test_what_is_no_number_is_refused_by_name(words: str, fits: dict[str, Any]) -> None:
    for value in (["a"], {"a": 1}, object(), 1j, b"x", pd.NA):
        with pytest.raises(ValueError, match=words):
            NUMBERS[words](fits, value)


def test_a_seed_is_a_whole_number_or_a_generator(fits: dict[str, Any]) -> None:
    for value in [*JUNK, 1.5, [1, "a"], -7]:
        with pytest.raises(ValueError, match=r"rng is .*default_rng"):
            ph.parametric_bootstrap(fits["intercept"], replicates=2, rng=value)
    one, two = (
        ph.parametric_bootstrap(fits["intercept"], replicates=2, rng=rng).draws
        for rng in (np.int64(3), np.random.default_rng(3))
    )
    pd.testing.assert_frame_equal(one, two)


def test_a_contrast_is_compared_with_finite_numbers(fits: dict[str, Any]) -> None:
    for value in (np.nan, np.inf, -np.inf, [np.nan], np.array([np.inf]), None):
        with pytest.raises(ValueError, match="rhs"):
            ph.contrast(fits["intercept"], "x", rhs=value)
    with pytest.raises(ValueError, match="rhs"):
        ph.contrast(fits["intercept"], ["x", "Intercept"], rhs=[1.0, np.nan])


@pytest.mark.parametrize(
    "helper",
    [ph.variance_components, ph.icc, ph.blups, ph.predict, ph.residuals, ph.influence, ph.report,
     ph.check_singular, ph.check_convergence, ph.boxcox_lmm, ph.design_effect, plots.qq,
     plots.caterpillar, plots.shrinkage, plots.residual_fitted],
)  # fmt: skip
def test_what_is_no_mixed_model_is_refused(helper: Any, frame: pd.DataFrame) -> None:
    for other in (None, "fit", frame, smf.ols("y ~ x", frame).fit(), smf.mixedlm):
        with pytest.raises(ValueError, match="expected a fit"):
            helper(other)


def test_polars_frames_do_where_data_are_taken(frame: pd.DataFrame) -> None:
    polars = pytest.importorskip("polars")
    plain = frame[["y", "x", "g"]]
    table = polars.from_pandas(plain)
    pd.testing.assert_frame_equal(
        ph.anova_components("y ~ x", table, "g"), ph.anova_components("y ~ x", plain, "g")
    )
    pd.testing.assert_frame_equal(
        ph.center_within(table, "x", "g"), ph.center_within(plain, "x", "g")
    )


def test_a_comparison_with_lme4_names_arguments_of_the_wrong_kind(
    fits: dict[str, Any], frame: pd.DataFrame
) -> None:
    formula = "y ~ x + (1 | g)"
    with pytest.raises(ValueError, match="label is 0"):
        ph.crosscheck(fits["intercept"], formula, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="data must be a pandas"):
        ph.lmer(formula, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name is 0"):
        ph.lmer(formula, frame, name=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="missing is 'omit'"):
        ph.lmer(formula, frame, missing="omit")


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda fit: ph.coef_table(fit, level="x"), "level is 'x'"),
        (lambda fit: ph.coef_table(fit, level=True), "level is True"),
        (lambda fit: ph.profile_ci(fit, level=None), "level is None"),
        (lambda fit: ph.profile_ci(fit, parameters="x"), "parameters is 'x'"),
        (lambda fit: ph.profile_ci(fit, parameters=[3]), "no parameter 3"),
        (lambda fit: ph.parametric_bootstrap(fit, level="a"), "level is 'a'"),
        (lambda fit: ph.predict(fit, level=2), "level"),
        (lambda fit: ph.contrast(fit, {"x": "a"}), "coefficient of 'x' must be numbers"),
        (lambda fit: ph.contrast(fit, "x", rhs="a"), "rhs must be numbers"),
    ],
)
def test_inference_names_arguments_of_the_wrong_kind(
    call: Any, words: str, fits: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=words):
        call(fits["intercept"])


def test_reml_is_true_or_false(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="reml is 'ML'"):
        ph.fit_lmm("y ~ x", frame, "g", reml="ML")  # type: ignore[arg-type]

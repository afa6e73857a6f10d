"""The estimator against lme4, on published data and on data made to be awkward."""

from __future__ import annotations

import pickle

import formulaic
import numpy as np
import pytest
from recorded import CASES, fitted, read, recorded, standard_errors

from pylmm_helpers.engine.fit import fit_lmm, refit
from pylmm_helpers.engine.products import group_rows
from pylmm_helpers.engine.results import LMMResults
from pylmm_helpers.engine.search import optimise
from pylmm_helpers.formula.parse import plain_sum
from pylmm_helpers.inference.coefficients import coef_table

every_case = pytest.mark.parametrize("name", list(CASES))


@every_case
def test_criterion_is_lme4s_minimum(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    assert fit.criterion == pytest.approx(case["criterion"], abs=1e-9, rel=1e-12)
    assert fit.llf == pytest.approx(case["llf"], rel=1e-12)
    assert fit.converged


@every_case
def test_information_criteria_are_counted_as_lme4_counts(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    assert [fit.aic, fit.bic] == pytest.approx([case["aic"], case["bic"]], rel=1e-11)


@every_case
def test_fixed_effects_and_standard_errors(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    np.testing.assert_allclose(fit.fe_params, case["beta"], rtol=3e-7, atol=1e-9)
    np.testing.assert_allclose(fit.bse_fe, standard_errors(case), rtol=1e-6)
    np.testing.assert_allclose(fit.cov_fe, np.atleast_2d(case["vcov"]), rtol=3e-6, atol=1e-10)


@every_case
def test_variance_parameters(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    size = np.abs(case["theta"]).max() + 1e-3
    np.testing.assert_allclose(fit.theta, case["theta"], atol=1e-5 * size + 1e-7)
    assert np.sqrt(fit.scale) == pytest.approx(case["sigma"], rel=1e-6)
    expected = np.atleast_2d(case["cov_re"])
    np.testing.assert_allclose(fit.cov_re, expected, atol=2e-6 * (np.abs(expected).max() + 1e-3))
    assert fit.singular == case["singular"]


@every_case
def test_random_effects_and_their_conditional_variances(name: str) -> None:
    case, fit = CASES[name], fitted(name)
    q = fit.cross.q
    expected = np.asarray(case["ranef"], dtype=float)
    np.testing.assert_allclose(
        fit.random_effects, expected, atol=2e-6 * np.abs(expected).max() + 1e-7
    )
    variances = np.moveaxis(np.asarray(case["condvar"], dtype=float).reshape(q, q, -1), -1, 0)
    np.testing.assert_allclose(
        fit.random_effects_var, variances, atol=2e-6 * variances.max() + 1e-9
    )


def test_published_values_of_the_specification() -> None:
    fit = fitted("sleepstudy-slope")
    assert fit.criterion == pytest.approx(1743.62827196, abs=1e-7)
    np.testing.assert_allclose(fit.theta, [0.96673279, 0.01516906, 0.23090960], atol=3e-7)
    np.testing.assert_allclose(fit.fe_params, [251.4051048485, 10.4672859596], rtol=1e-11)
    np.testing.assert_allclose(fit.bse_fe, [6.824555776, 1.545788932], rtol=1e-6)


def test_small_unbalanced_values_of_the_specification() -> None:
    fit, ml = fitted("u3"), fitted("u3-ml")
    assert fit.criterion == pytest.approx(72.4746061076, abs=1e-9)
    assert fit.theta[0] == pytest.approx(0.6049542894, rel=1e-7)
    assert fit.cov_re.iloc[0, 0] == pytest.approx(0.3933509762, rel=1e-7)
    assert fit.scale == pytest.approx(1.0748184466, rel=1e-8)
    blups = [0.4444277226, -0.5259093033, -0.2852916803, -0.0055306908, 0.5314399941, -0.1591360423]
    np.testing.assert_allclose(fit.random_effects["Intercept"], blups, atol=3e-8)
    assert ml.singular
    assert ml.theta[0] == 0.0
    assert ml.llf == pytest.approx(-35.6019942716, abs=1e-9)


def test_rows_and_terms_keep_their_labels() -> None:
    data = read("sleepstudy").set_index(np.arange(1000, 1180))
    fit = fit_lmm("Reaction ~ Days", data, "Subject", "1 + Days")
    assert list(fit.fe_params.index) == ["Intercept", "Days"]
    assert list(fit.cov_re.index) == ["Intercept", "Days"]
    assert list(fit.random_effects.index) == sorted(data["Subject"].unique())
    assert fit.random_effects.index.name == "Subject"
    assert (fit.resid.index == data.index).all()
    np.testing.assert_allclose(fit.fittedvalues + fit.resid, data["Reaction"])
    assert (fit.nobs, fit.ngroups, fit.df_resid) == (180, 18, 178)


def test_summary_prints_and_shows_as_markdown() -> None:
    summary = fitted("sleepstudy-slope").summary()
    assert "1743.6283" in str(summary)
    assert "| Days | 10.4673 |" in summary._repr_markdown_()
    assert not hasattr(summary, "_repr_html_")
    assert "Singular fit" in str(fitted("nothing-varies").summary())


def test_recorded_versions_are_named() -> None:
    assert set(recorded()["versions"]) == {"R", "lme4", "lmerTest", "pbkrtest"}


def test_a_fit_can_be_pickled() -> None:
    data = read("u3")
    fit = fit_lmm("np.log(y) ~ x", data, "g")
    again = pickle.loads(pickle.dumps(fit))
    assert again.criterion == fit.criterion
    np.testing.assert_array_equal(again.resid, fit.resid)


def test_a_fit_needs_only_its_cross_products() -> None:
    """The way that data too large for memory will take."""
    fit = fitted("unbalanced-slope")
    rows = group_rows(fit.cross)
    theta, at, converged = optimise(rows, reml=True)
    lean = LMMResults(fit.cross, rows, theta, at, converged, True)
    assert lean.criterion == pytest.approx(fit.criterion, abs=1e-9)
    np.testing.assert_allclose(lean.fe_params, fit.fe_params, rtol=1e-9)
    np.testing.assert_allclose(lean.random_effects, fit.random_effects, atol=1e-7)
    np.testing.assert_allclose(coef_table(lean), coef_table(fit), rtol=1e-6)
    with pytest.raises(ValueError, match="cross products"):
        lean.resid  # noqa: B018


@pytest.mark.parametrize("reml", [True, False])
def test_refit_is_a_fit_to_the_new_response(reml: bool) -> None:
    data = read("u3").assign(w=lambda d: 1.0 + (d["x"] > 0))
    fit = fit_lmm("y ~ x + C(z > 0)", data, "g", reml=reml, weights="w")
    new = np.random.default_rng(3).normal(50.0, 4.0, len(data))
    again = refit(fit, new)
    afresh = fit_lmm("y ~ x + C(z > 0)", data.assign(y=new), "g", reml=reml, weights="w")
    assert again.criterion == pytest.approx(afresh.criterion, abs=1e-9)
    np.testing.assert_allclose(again.fe_params, afresh.fe_params, rtol=1e-10)
    np.testing.assert_allclose(again.resid, afresh.resid, atol=1e-8)
    assert fit.y[0] == data["y"].iloc[0]  # the first fit keeps its response


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (np.ones(5), "shape"),
        (["a"] * 24, "not numeric"),
        ([np.nan] + [1.0] * 23, "missing or infinite"),
        (np.ones(24), "constant"),
    ],
)
def test_refit_refuses_a_response_that_does_not_fit(new: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        refit(fitted("u3"), new)  # type: ignore[arg-type]


def test_refit_takes_fits_of_this_package_only() -> None:
    with pytest.raises(ValueError, match="fit_lmm"):
        refit("a fit", [1.0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["y ~ x", "y~1", "y ~ z + x + 1 + x", "1", "1 + x", "x", " y ~ a+b ", "y ~ 1 + 1"]
)
def test_sums_of_columns_are_read_as_formulaic_reads_them(text: str) -> None:
    assert plain_sum(text) == formulaic.Formula(text)


@pytest.mark.parametrize("text", ["y ~ 0 + x", "y ~ x:z", "y ~ x - 1", "in ~ x", "y ~ `a b`", "2"])
def test_other_formulas_are_left_to_formulaic(text: str) -> None:
    assert plain_sum(text) is None

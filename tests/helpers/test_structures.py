"""Correlated residuals and unequal variances: against dense matrices, under changes of the times,
through every helper, and what is refused."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from test_structure_reference import fitted, read

import pylmm_helpers as ph
from pylmm_helpers import (
    check_convergence,
    coef_table,
    contrast,
    fit_lmm,
    information_criteria,
    lrt,
    parametric_bootstrap,
    plots,
    predict,
    refit,
    residuals,
)
from pylmm_helpers.engine import SeveralResults, at_structure, coordinates
from pylmm_helpers.engine.adapter import TAKES_STRUCTURE
from pylmm_helpers.engine.whitening import coloured_rows, whitened_rows, whitening


@pytest.fixture(scope="module")
def weeks() -> pd.DataFrame:
    return read("weeks")


@pytest.fixture(scope="module")
def classes() -> pd.DataFrame:
    return read("classes")


# ---- algebra


def relative_covariance(fit: Any) -> np.ndarray:
    """R (n, n) of the residuals, element by element from the definition."""
    request, frame = fit.structure.request, fit.frame
    n = len(frame)
    R = np.eye(n)
    if request.kind:
        t = frame[request.time].to_numpy(dtype=float)
        group = np.zeros(n, dtype=int)
        for name in fit.structure.group_name.split(":"):
            group = group * 1000 + pd.factorize(frame[name])[0]
        gap = np.abs(t[:, None] - t[None])
        R = np.where(group[:, None] == group[None], np.sign(fit.phi) ** np.round(gap), 0.0)
        R = R * np.abs(fit.phi) ** gap
    if request.variances:
        sd = frame[request.variances].map(fit.variance_ratios).to_numpy(dtype=float)
        R = R * np.outer(sd, sd)
    return R


@pytest.mark.parametrize(
    "name", ["weeks", "weeks-negative", "days", "classes-both", "slopes", "herds-ml", "herds"]
)
def test_criterion_is_that_of_the_dense_covariance(name: str) -> None:
    fit = fitted(name)
    V = fit.scale * relative_covariance(fit)
    for term, G in fit.cov_re_by_group.items():
        if isinstance(fit, SeveralResults):
            factor = fit.design.factors[term]
            codes, Z = factor.codes, fit.design.parts[fit.design.by_factor[term][0]].Z
        else:
            codes, Z = fit.codes, fit.Z
        V += np.where(codes[:, None] == codes[None], Z @ G.to_numpy() @ Z.T, 0.0)
    X, y = fit.X, fit.y
    inverse = np.linalg.inv(V)
    information = X.T @ inverse @ X
    beta = np.linalg.solve(information, X.T @ inverse @ y)
    r = y - X @ beta
    n, p = X.shape
    value = np.linalg.slogdet(V)[1] + r @ inverse @ r
    value += (n - p if fit.reml else n) * np.log(2.0 * np.pi)
    if fit.reml:
        value += np.linalg.slogdet(information)[1]
    assert fit.criterion == pytest.approx(value, abs=1e-7)
    np.testing.assert_allclose(fit.fe_params, beta, rtol=1e-7)
    np.testing.assert_allclose(fit.cov_fe, np.linalg.inv(information), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", ["weeks-negative", "days", "classes-both", "herds-ml"])
def test_whitening_is_a_root_of_the_inverse(name: str) -> None:
    fit = fitted(name)
    R, structure = relative_covariance(fit), fit.structure
    W = whitened_rows(structure, np.eye(len(R))).T
    np.testing.assert_allclose(W @ R @ W.T, np.eye(len(R)), atol=1e-9)
    assert whitening(structure).log_det == pytest.approx(np.linalg.slogdet(R)[1], abs=1e-8)
    noise = np.random.default_rng(1).normal(size=(2, len(R)))
    np.testing.assert_allclose(
        whitened_rows(structure, coloured_rows(structure, noise)), noise, atol=1e-10
    )


# ---- degrees of freedom


def brute_satterthwaite(fit: Any, L: np.ndarray) -> float:
    """2 v^2 / (g'Ag) from one numerical Hessian of the criterion in all variance parameters."""
    X, y, codes = fit.X, fit.y, fit.codes
    where = coordinates(fit.structure)
    k = where.size
    start = np.concatenate(
        [where.point(fit.structure), [np.log(fit.cov_re.iloc[0, 0]), np.log(fit.scale)]]
    )

    def parts(v: np.ndarray) -> tuple[float, float]:
        structure = where.at(v[:k])
        # the whitened identity is the root of R^-1
        W = whitened_rows(structure, np.eye(len(y))).T
        R = np.linalg.inv(W.T @ W)
        V = np.exp(v[-1]) * R + np.exp(v[-2]) * (codes[:, None] == codes[None])
        inverse = np.linalg.inv(V)
        information = X.T @ inverse @ X
        r = y - X @ np.linalg.solve(information, X.T @ inverse @ y)
        value = np.linalg.slogdet(V)[1] + r @ inverse @ r + np.linalg.slogdet(information)[1]
        return float(value), float(L @ np.linalg.solve(information, L))

    h, m = 1e-3, len(start)
    hessian = np.empty((m, m))
    eye = h * np.eye(m)
    for i in range(m):
        for j in range(m):
            signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
            values = [a * b * parts(start + a * eye[i] + b * eye[j])[0] for a, b in signs]
            hessian[i, j] = sum(values) / (4.0 * h**2)
    slope = [(parts(start + e)[1] - parts(start - e)[1]) / (2.0 * h) for e in eye]
    variance = parts(start)[1]
    return 2.0 * variance**2 / float(slope @ (2.0 * np.linalg.inv(hessian)) @ slope)


@pytest.mark.parametrize("name", ["weeks", "classes-both", "orthodont", "orthodont-both"])
def test_satterthwaite_counts_phi_and_the_ratios(name: str) -> None:
    fit = fitted(name)
    table = coef_table(fit, df="satterthwaite")
    for k in range(min(2, len(table))):
        expected = brute_satterthwaite(fit, np.eye(len(table))[k])
        # differences of fourth order against those of second
        assert table["df"].iloc[k] == pytest.approx(expected, rel=2e-3)


def test_satterthwaite_without_the_structure_is_what_it_was(weeks: pd.DataFrame) -> None:
    from pylmm_helpers.engine import LMMResults
    from pylmm_helpers.inference import ddf, structure_ddf

    plain = fit_lmm("y ~ x + z", weeks, "g")
    L = np.eye(3)
    degrees = ddf.satterthwaite(plain, L)
    assert isinstance(plain, LMMResults)
    np.testing.assert_array_equal(structure_ddf.with_structure(plain, L, degrees), degrees)
    # phi held at 0 is the same model, engine and all
    zero = fitted("weeks").structure.at(0.0, None)
    held = at_structure(fitted("weeks"), zero)
    np.testing.assert_allclose(ddf.satterthwaite(held, L), degrees, rtol=1e-6)
    assert held.criterion == pytest.approx(plain.criterion, abs=1e-8)


def test_degrees_of_freedom_hold_their_level_in_simulations() -> None:
    """t with these df under a true null: the share of p-values below 5 % is within three standard
    errors, where normal quantiles reject too often."""
    rng = np.random.default_rng(7)
    g, t = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    z = np.repeat(rng.permutation(np.arange(8) % 2), 6)
    below, wald, replicates = 0, 0, 150
    for _ in range(replicates):
        e = rng.normal(size=(8, 6))
        for k in range(1, 6):
            e[:, k] = 0.5 * e[:, k - 1] + np.sqrt(0.75) * e[:, k]
        y = rng.normal(size=8)[g] + e.ravel()
        frame = pd.DataFrame({"y": y, "z": z, "g": g, "t": t})
        try:
            fit = fit_lmm("y ~ z", frame, "g", correlation="ar1(t)")
        except ValueError:  # phi at a bound
            replicates -= 1
            continue
        below += coef_table(fit, df="satterthwaite").loc["z", "p_value"] < 0.05
        wald += coef_table(fit, df="wald").loc["z", "p_value"] < 0.05
    assert replicates > 100
    assert below / replicates < 0.05 + 3.0 * np.sqrt(0.05 * 0.95 / replicates)
    assert wald > below


def test_kenward_roger_is_refused_with_the_reason(weeks: pd.DataFrame) -> None:
    for ask in (lambda: coef_table(fitted("weeks")), lambda: contrast(fitted("herds"), "x")):
        with pytest.raises(ValueError, match=r"linear in their parameters.*satterthwaite"):
            ask()


# ---- changes of the times


def same_fit(a: Any, b: Any, phi: float | None = None) -> None:
    assert b.criterion == pytest.approx(a.criterion, abs=1e-7)
    np.testing.assert_allclose(b.fe_params, a.fe_params, rtol=1e-6)
    np.testing.assert_allclose(b.bse_fe, a.bse_fe, rtol=1e-6)
    assert b.phi == pytest.approx(a.phi if phi is None else phi, rel=2e-6)


def test_times_may_be_shifted_and_rows_permuted_and_groups_relabelled(weeks: pd.DataFrame) -> None:
    fit = fitted("weeks")
    options = {"groups": "g", "correlation": "ar1(week)"}
    formula = "y ~ x + z"
    same_fit(fit, fit_lmm(formula, weeks.assign(week=weeks["week"] + 10_000), **options))
    same_fit(fit, fit_lmm(formula, weeks.assign(week=-weeks["week"]), **options))
    same_fit(fit, fit_lmm(formula, weeks.sample(frac=1.0, random_state=2), **options))
    same_fit(fit, fit_lmm(formula, weeks.assign(g=[f"h{99 - g}" for g in weeks["g"]]), **options))
    apart = fit_lmm(formula, weeks.assign(week=3 * weeks["week"]), **options)
    same_fit(fit, apart, fit.phi ** (1 / 3))
    typed = weeks.assign(week=weeks["week"].astype("Int64"))
    same_fit(fit, fit_lmm(formula, typed, **options))


@pytest.mark.parametrize("scale", [7.0, 1 / 24])
def test_the_unit_of_time_turns_phi_into_a_power(scale: float) -> None:
    fit, days = fitted("days"), read("days")
    moved = days.assign(day=days["day"] * scale + 5.0)
    other = fit_lmm("y ~ x + (1 | g)", moved, correlation="car1(day)", variances="s")
    same_fit(fit, other, fit.phi ** (1.0 / scale))
    np.testing.assert_allclose(other.variance_ratios, fit.variance_ratios, rtol=1e-5)


def test_the_unit_of_the_response_moves_nothing_but_its_own(classes: pd.DataFrame) -> None:
    fit = fitted("classes-both")
    options = {"correlation": "ar1(t)", "variances": "class"}
    other = fit_lmm("y ~ x + (1 | g)", classes.assign(y=1e6 + 1e-3 * classes["y"]), **options)
    assert other.phi == pytest.approx(fit.phi, rel=1e-5)
    np.testing.assert_allclose(other.variance_ratios, fit.variance_ratios, rtol=1e-5)
    assert other.scale == pytest.approx(1e-6 * fit.scale, rel=1e-5)


def test_another_first_class_turns_the_ratios_round(classes: pd.DataFrame) -> None:
    fit = fitted("classes")
    column = pd.Categorical(classes["class"], ["c", "a", "b"])
    other = fit_lmm("y ~ x + (1 | g)", classes.assign(**{"class": column}), variances="class")
    assert list(other.variance_ratios.index) == ["c", "a", "b"]
    assert other.criterion == pytest.approx(fit.criterion, abs=1e-7)
    sd = np.sqrt(fit.scale) * fit.variance_ratios
    turned = np.sqrt(other.scale) * other.variance_ratios
    np.testing.assert_allclose(turned[sd.index].to_numpy(), sd, rtol=1e-5)


def test_dates_count_in_days() -> None:
    days = read("days").assign(day=lambda d: d["day"].round())
    days = days.drop_duplicates(["g", "day"])
    dated = days.assign(day=pd.Timestamp("2024-02-27") + pd.to_timedelta(days["day"], unit="D"))
    options = {"correlation": "car1(day)", "variances": "s"}
    fit = fit_lmm("y ~ x + (1 | g)", days, **options)
    other = fit_lmm("y ~ x + (1 | g)", dated, **options)
    same_fit(fit, other)
    assert "days" in str(other.summary()) and "days" not in fit.structure.unit


def test_even_steps_leave_the_sign_of_phi_open_and_take_the_positive_one() -> None:
    visits = fitted("orthodont-both")
    data = read("orthodont")
    options = {"correlation": "ar1(age)", "variances": "Sex"}
    ages = fit_lmm("distance ~ age * Sex + (1 | Subject)", data, **options)
    assert ages.phi == pytest.approx(np.sqrt(visits.phi), rel=1e-5)
    assert ages.criterion == pytest.approx(visits.criterion, abs=1e-7)
    assert "sign of phi can't be told" in str(ages.summary())


# ---- helpers


def test_likelihood_ratios_count_the_structures_parameters(weeks: pd.DataFrame) -> None:
    data = read("orthodont")
    formula = "distance ~ age * Sex + (1 | Subject)"
    plain = fit_lmm(formula, data)
    both, sex = fitted("orthodont-both"), fitted("orthodont")
    ar1 = fit_lmm(formula, data, correlation="ar1(visit)")
    for big, small, df in ((both, plain, 2), (both, sex, 1), (both, ar1, 1), (sex, plain, 1)):
        row = lrt(big, small).iloc[0]
        assert row["statistic"] == pytest.approx(small.criterion - big.criterion)
        assert (row["df"], row["reference"]) == (df, f"chi2({df})")
    car1, none = fitted("weeks-car1"), fit_lmm("y ~ x + z", weeks, "g")
    assert lrt(car1, none)["reference"].iloc[0] == "0.5 chi2(0) + 0.5 chi2(1)"
    assert lrt(fitted("weeks"), none)["reference"].iloc[0] == "chi2(1)"
    small = fit_lmm("y ~ x", weeks, "g", correlation="ar1(week)", reml=False)
    assert lrt(fitted("weeks-ml"), small)["df"].iloc[0] == 1
    shuffled = fit_lmm("y ~ x + z", weeks.sample(frac=1.0, random_state=1), "g")
    assert lrt(fitted("weeks"), shuffled)["statistic"].iloc[0] == pytest.approx(
        none.criterion - fitted("weeks").criterion, abs=1e-6
    )


def test_likelihood_ratios_across_random_terms() -> None:
    herds = read("herds")
    full = fitted("herds")
    one = fit_lmm("y ~ x + (1 | herd:cow)", herds, correlation="ar1(week)")
    row = lrt(full, one).iloc[0]
    assert (row["df"], row["reference"]) == (1, "0.5 chi2(0) + 0.5 chi2(1)")
    plain = fit_lmm("y ~ x + (1 | herd/cow)", herds)
    assert lrt(full, plain)["df"].iloc[0] == 1
    slopes = read("slopes")
    intercept = fit_lmm("y ~ t + z", slopes, "g", correlation="ar1(t)")
    assert lrt(fitted("slopes"), intercept)["reference"].iloc[0] == "0.5 chi2(1) + 0.5 chi2(2)"


@pytest.mark.parametrize(
    "full, reduced, match",
    [
        ("weeks", "weeks-car1", "not nested.*information_criteria"),
        ("orthodont", "orthodont-both", "not nested"),
        ("weeks", "weeks", "nothing to test"),
    ],
)
def test_structures_that_are_not_nested(full: str, reduced: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        lrt(fitted(full), fitted(reduced))


def test_both_a_structure_and_a_random_effect_are_too_much() -> None:
    plain = fit_lmm("y ~ x + (1 | herd:cow)", read("herds"))
    with pytest.raises(ValueError, match="one after the other"):
        lrt(fitted("herds"), plain)
    with pytest.raises(ValueError, match="give the full model first"):
        lrt(fit_lmm("y ~ x + z", read("weeks"), "g"), fitted("weeks"))
    with pytest.raises(ValueError, match="ordinary regression"):
        lrt(fitted("weeks"), "ols")


def test_information_criteria_name_the_structures(weeks: pd.DataFrame) -> None:
    none = fit_lmm("y ~ x + z", weeks, "g")
    table = information_criteria(none, fitted("weeks"), fitted("weeks-car1"))
    assert list(table["n_params"]) == [5, 6, 6]
    assert 'correlation="ar1(week)"' in table.index[1]


def test_refit_gives_the_fit_again_and_simulated_responses_give_the_truth() -> None:
    fit = fitted("weeks")
    again = refit(fit, fit.y)
    assert again.phi == pytest.approx(fit.phi, abs=1e-9)
    found = parametric_bootstrap(fitted("classes-both"), replicates=20, rng=4)
    draws = found.draws
    assert {"phi", "ratio(class b)", "ratio(class c)", "sd(Intercept)"} <= set(draws)
    error = draws.std() / np.sqrt(len(draws))
    # the estimates are nearly unbiased at this size: four standard errors of the mean
    assert (found.table["bias"].abs() < 4.5 * error).all()


def test_bootstrap_tests_a_structure() -> None:
    data = read("orthodont")
    plain = fit_lmm("distance ~ age * Sex + (1 | Subject)", data)
    found = parametric_bootstrap(fitted("orthodont"), plain, replicates=19, rng=3)
    assert found.table["p_value"].iloc[0] == pytest.approx(1 / 20)  # the ratio is plainly not one
    # under the null the statistic is chi-squared with one df, whose mean is one
    assert 0.2 < found.statistics.mean() < 2.5


def test_predictions_take_the_row_s_variance(classes: pd.DataFrame) -> None:
    fit = fitted("classes")
    new = pd.DataFrame({"x": [2.0, 2.0, 2.0], "class": ["a", "b", "c"], "g": [1, 1, 999]})
    mean = predict(fit, new, interval="confidence")["std_error"].to_numpy()
    one = predict(fit, new, interval="prediction")["std_error"].to_numpy()
    added = one**2 - mean**2 - fit.cov_re.iloc[0, 0]
    np.testing.assert_allclose(added, fit.scale * fit.variance_ratios**2, rtol=1e-6)
    assert predict(fit, new, level="group", interval="prediction").shape[0] == 3
    with pytest.raises(ValueError, match=r"'class'.*residual variance"):
        predict(fit, new.drop(columns="class"), interval="prediction")
    with pytest.raises(ValueError, match="not fitted with"):
        predict(fit, new.assign(**{"class": "d"}), interval="prediction")
    with pytest.raises(ValueError, match="known group"):
        predict(fitted("classes-both"), new, level="group", interval="prediction")


def test_standardised_residuals_have_variance_one() -> None:
    for name in ("classes-both", "herds-ml"):
        fit = fitted(name)
        V = fit.scale * relative_covariance(fit)
        table = residuals(fit)
        R = V.copy()
        for term, G in fit.cov_re_by_group.items():
            codes = fit.codes if name == "classes-both" else fit.design.factors[term].codes
            V += np.where(codes[:, None] == codes[None], float(G.iloc[0, 0]), 0.0)
        inverse = np.linalg.inv(V)
        X = fit.X
        P = inverse - inverse @ X @ np.linalg.inv(X.T @ inverse @ X) @ X.T @ inverse
        sd = np.sqrt(np.diag(R @ P @ R))
        np.testing.assert_allclose(table["conditional_std"], table["conditional"] / sd, rtol=1e-6)
        sd = np.sqrt(np.diag(V @ P @ V))
        np.testing.assert_allclose(table["marginal_std"], table["marginal"] / sd, rtol=1e-6)


def test_convergence_is_judged_along_phi_too() -> None:
    fit = fitted("weeks")
    assert check_convergence(fit) and check_convergence(fitted("herds"))
    off = at_structure(fit, fit.structure.at(fit.phi + 0.1, None))
    found = check_convergence(off)
    assert not found and "ar1(week)" in found.finding


def structured_calls() -> dict[str, Any]:
    """Helpers that count on independent residuals of one variance."""
    return {
        "variance_components": ph.variance_components,
        "icc": ph.icc,
        "r_squared": ph.r_squared,
        "variance_function": lambda f: ph.variance_function(f, "x", [0.0]),
        "design_effect": ph.design_effect,
        "influence": ph.influence,
        "profile_ci": ph.profile_ci,
        "contextual_effect": lambda f: ph.contextual_effect(f, "x", "z"),
        "boxcox_lmm": ph.boxcox_lmm,
        "plots.qq": plots.qq,
        "plots.residual_fitted": plots.residual_fitted,
        "plots.caterpillar": plots.caterpillar,
        "plots.shrinkage": plots.shrinkage,
        "plots.spaghetti": lambda f: plots.spaghetti(f, "x"),
        "plots.profile_zeta": lambda f: plots.profile_zeta(f, "x"),
        "crosscheck": lambda f: ph.crosscheck(f, "y ~ x + z + (1 | g)", "structure-refused"),
    }


@pytest.mark.parametrize("helper", list(structured_calls()))
def test_helpers_that_count_on_independent_residuals_refuse(helper: str) -> None:
    with pytest.raises(ValueError, match=r"ar1\(week\)"):
        structured_calls()[helper](fitted("weeks"))


@pytest.mark.parametrize("helper", ["variance_components", "icc"])
def test_so_they_do_with_several_terms(helper: str) -> None:
    with pytest.raises(ValueError, match=r"ar1\(week\)"):
        getattr(ph, helper)(fitted("herds"))


def test_the_report_says_what_the_residuals_are_like() -> None:
    data = read("orthodont")
    fit = fit_lmm("distance ~ age * Sex", data, "Subject", correlation="car1(age)", variances="Sex")
    text = str(ph.report(fit, unit="mm"))
    assert (
        "Residuals of the same Subject were correlated by an autoregression in continuous age"
        in text
    )
    assert "The residual variance was estimated for each Sex" in text
    assert f"one unit of age apart was {fit.phi:.2f}." in text
    ratio = float(fit.variance_ratios["Male"])
    assert f"that of Sex Female; it was {ratio:.2f} times as large for Sex Male" in text
    assert "Satterthwaite's degrees of freedom" in text
    assert "intraclass" not in text and "CI of the variance" not in text


def test_every_helper_is_known_to_take_structures_or_to_refuse_them() -> None:
    takes = set(TAKES_STRUCTURE) | set(structured_calls())
    no_fit = {
        "anova_components", "center_within", "cross_products", "describe", "load", "fit_lmm",
        "lmer", "agreement_records", "agreement_summary", "tolerance_table", "table", "Table",
        "BoxCox", "Check", "LMMResults", "SeveralResults", "plots",
        "power", "sample_size",
    }  # fmt: skip
    figures = {f"plots.{name}" for name in plots.__all__}
    no_figure = {"plots.power", "plots.boxcox", "plots.qq_band", "plots.use_style"}
    assert set(ph.__all__) - no_fit | figures - no_figure == takes


def test_summaries_show_phi_and_the_ratios() -> None:
    text = str(fitted("classes-both").summary())
    assert "phi of ar1(t)" in text and "class c" in text
    assert f"{fitted('classes-both').phi:.4f}" in text
    assert "phi of ar1(week)" in str(fitted("herds").summary())
    assert "herd:cow" in fitted("herds").structure.group_name
    plain = fit_lmm("y ~ x", read("classes"), "g")
    for ask in (lambda: plain.phi, lambda: plain.variance_ratios):
        with pytest.raises(ValueError, match="this fit has no"):
            ask()


def test_the_plot_shows_autocorrelation_with_the_fitted_curve() -> None:
    fit = fitted("weeks")
    _, ax = plt.subplots()
    plots.residual_autocorrelation(fit, ax=ax)
    curve = ax.get_lines()[-1]
    np.testing.assert_allclose(curve.get_ydata(), fit.phi ** curve.get_xdata())
    bars = ax.collections[0].get_segments()
    values = residuals(fit)["conditional"] / np.sqrt(fit.scale)
    data = fit.frame.assign(r=values)
    pairs = data.merge(data, on="g").query("week_y - week_x == 1")
    lag_one = (pairs["r_x"] * pairs["r_y"]).mean() / (values**2).mean()
    assert bars[0][1][1] == pytest.approx(lag_one)
    _, ax = plt.subplots()
    plots.residual_autocorrelation(fitted("days"), ax=ax)
    assert ax.get_ylabel().startswith("semivariogram")
    with pytest.raises(ValueError, match="knows no times"):
        plots.residual_autocorrelation(fit_lmm("y ~ x", read("weeks"), "g"))
    plt.close("all")


# ---- input


@pytest.mark.parametrize(
    "options, match",
    [
        ({"correlation": "ar2(week)"}, "ar2.*not known"),
        ({"correlation": "week"}, r'"ar1\(week\)"'),
        ({"correlation": "ar1()"}, "names no column"),
        ({"correlation": 3}, "must be text"),
        ({"correlation": "ar1(weak)"}, "no column 'weak'.*week"),
        ({"variances": "sexx"}, "no column 'sexx'"),
        ({"variances": ["s"]}, "name of one column"),
        ({"correlation": "ar1(day)"}, "aren't whole numbers.*car1"),
        ({"correlation": "ar1(text)"}, "'text'.*pd.to_numeric"),
        ({"correlation": "car1(flag)"}, "'flag'.*bool"),
        ({"correlation": "car1(endless)"}, "'endless' of correlation= has infinite"),
        ({"correlation": "ar1(twice)"}, "time .* of column 'twice' stands more than once"),
        ({"correlation": "ar1(gone)"}, "missing values in column 'gone'"),
        ({"variances": "one"}, "'one'.*single level"),
        ({"variances": "rare"}, "level 'b' of column 'rare'.*single row"),
        ({"variances": "x"}, "single row"),
    ],
)
def test_bad_structures_are_refused_by_name(
    weeks: pd.DataFrame, options: dict[str, Any], match: str
) -> None:
    n = len(weeks)
    data = weeks.assign(
        day=weeks["week"] + 0.5,
        text=weeks["week"].astype(str),
        flag=weeks["week"] > 3,
        endless=np.where(np.arange(n) == 3, np.inf, weeks["week"]),
        twice=weeks["week"] // 2,
        gone=np.where(np.arange(n) == 3, np.nan, weeks["week"]),
        one="a",
        rare=np.where(np.arange(n) == 5, "b", "a"),
    )
    with pytest.raises(ValueError, match=match):
        fit_lmm("y ~ x + z", data, "g", **options)


def test_missing_times_can_be_dropped(weeks: pd.DataFrame) -> None:
    data = weeks.assign(week=np.where(np.arange(len(weeks)) == 3, np.nan, weeks["week"]))
    fit = fit_lmm("y ~ x + z", data, "g", correlation="ar1(week)", missing="drop")
    rest = weeks[np.arange(len(weeks)) != 3]
    same_fit(fit, fit_lmm("y ~ x + z", rest, "g", correlation="ar1(week)"))
    assert fit.n_dropped == 1


def test_groups_of_one_row_are_refused(weeks: pd.DataFrame) -> None:
    data = weeks.assign(row=np.arange(len(weeks)), block=np.arange(len(weeks)) % 7)
    with pytest.raises(ValueError, match=r"single row|as many|can't be told"):
        fit_lmm("y ~ x + (1 | block) + (1 | row)", data, correlation="ar1(week)")


def test_crossed_factors_have_no_finest_group(weeks: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="crosses"):
        fit_lmm("y ~ x + (1 | g) + (1 | week)", weeks, correlation="ar1(week)")
    fit = fit_lmm("y ~ x + (1 | g) + (1 | week)", weeks, variances="z")
    assert fit.variance_ratios.shape == (2,)


def test_two_rows_a_group_leave_phi_unidentified() -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(np.arange(40), 2), "t": np.tile([1, 2], 40)})
    data["y"] = rng.normal(size=40)[data["g"]] + rng.normal(size=80)
    with pytest.raises(ValueError, match=r"phi of .*ar1\(t\).* can't be told"):
        fit_lmm("y ~ 1", data, "g", correlation="ar1(t)")


def test_phi_at_its_bounds_is_refused_with_what_it_means() -> None:
    rng = np.random.default_rng(2)
    g, t = np.repeat(np.arange(30), 8), np.tile(np.arange(8), 30)
    e = rng.normal(size=(30, 8))
    for k in range(1, 8):
        e[:, k] = -0.6 * e[:, k - 1] + 0.8 * e[:, k]
    data = pd.DataFrame({"g": g, "t": t, "y": rng.normal(size=30)[g] + e.ravel()})
    with pytest.raises(ValueError, match=r"bound 0.*no more alike"):
        fit_lmm("y ~ 1", data, "g", correlation="car1(t)")
    assert fit_lmm("y ~ 1", data, "g", correlation="ar1(t)").phi < -0.4
    rng = np.random.default_rng(3)
    steps = np.cumsum(rng.normal(size=(30, 8)), axis=1)
    # a random walk from far-flung starts has no range at all
    walk = pd.DataFrame({"g": g, "t": t, "y": 1e4 * rng.normal(size=30)[g] + steps.ravel()})
    with pytest.raises(ValueError, match=r"bound 1.*random intercept"):
        fit_lmm("y ~ 1", walk, "g", correlation="ar1(t)")


@pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning")
def test_products_take_no_structure(weeks: pd.DataFrame) -> None:
    sums = ph.cross_products(weeks, "y ~ x", groups="g", progress=False)
    with pytest.raises(ValueError, match="products"):
        fit_lmm(sums, correlation="ar1(week)")


def test_slope_of_the_criterion_vanishes_at_the_fit() -> None:
    fit = fitted("classes-both")
    where = coordinates(fit.structure)

    def value(u: np.ndarray) -> float:
        return float(at_structure(fit, where.at(u)).criterion)

    slope = approx_fprime(where.point(fit.structure), value, 1e-4)
    # one-sided differences see the curvature
    assert np.abs(slope).max() < 0.05

"""What the helpers say of fits with several random terms: against matrices, against one factor's
engine, and unchanged where nothing changed."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_several_reference import fitted, read

import pylmm_helpers
from pylmm_helpers import (
    blups,
    check_convergence,
    check_singular,
    coef_table,
    contrast,
    fit_lmm,
    icc,
    information_criteria,
    lrt,
    parametric_bootstrap,
    predict,
    refit,
    residuals,
    variance_components,
)
from pylmm_helpers.engine import response
from pylmm_helpers.engine.adapter import TAKES_SEVERAL
from pylmm_helpers.engine.several import fit as engine
from pylmm_helpers.engine.several.criterion import evaluate
from pylmm_helpers.engine.several.design import build
from pylmm_helpers.engine.several.results import SeveralResults
from pylmm_helpers.inference.several.bootstrap import Refits

FORMULA = "y ~ x + z + (x | herd) + (1 | herd:cow) + (1 | day)"


@pytest.fixture(scope="module")
def herds() -> pd.DataFrame:
    return read("herds")


@pytest.fixture(scope="module")
def fit(herds: pd.DataFrame) -> SeveralResults:
    return fit_lmm(FORMULA, herds)


@pytest.fixture(scope="module")
def matrices(fit: SeveralResults) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z (n, m), G (m, m) and the joint error covariance of (beta, u) from Henderson's equations."""
    Z, G = [], []
    for name in fit.group_names:
        factor = fit.design.factors[name]
        for level in range(factor.levels):
            for k in fit.design.by_factor[name]:
                Z += [(factor.codes == level) * c for c in fit.design.parts[k].z_columns]
            G.append(fit.cov_re_by_group[name].to_numpy())
    total = np.zeros((len(Z), len(Z)))
    start = 0
    for block in G:
        total[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    W = np.column_stack([fit.X, *Z])
    p = fit.X.shape[1]
    equations = W.T @ W / fit.scale
    equations[p:, p:] += np.linalg.inv(total)
    return np.array(Z).T, total, np.linalg.inv(equations)


def test_blups_and_their_errors(fit: SeveralResults, matrices: Any) -> None:
    Z, _, errors = matrices
    p = fit.X.shape[1]
    solution = errors @ np.column_stack([fit.X, Z]).T @ fit.y / fit.scale
    sd = np.sqrt(np.diag(errors))[p:]
    start = 0
    for name, table in blups(fit).items():
        q, levels = len(fit.z_names[name]), fit.ngroups_by_group[name]
        own = slice(start, start + q * levels)
        start = own.stop
        effects = fit.random_effects_by_group[name].to_numpy()
        np.testing.assert_allclose(effects.ravel(), solution[p:][own], atol=1e-8)
        np.testing.assert_allclose(table["prediction_sd"], sd[own], rtol=1e-7)
        one = blups(fit, fit.z_names[name][0], group=name)
        np.testing.assert_array_equal(one["estimate"], effects[:, 0])
        assert one["n"].sum() == fit.nobs


def test_predictions_and_their_errors(
    fit: SeveralResults, matrices: Any, herds: pd.DataFrame
) -> None:
    Z, G, errors = matrices
    W = np.column_stack([fit.X, Z])
    found = predict(fit, herds, level="group", interval="confidence")
    np.testing.assert_allclose(found["prediction"], fit.fittedvalues, rtol=1e-9)
    variance = np.einsum("ni,ij,nj->n", W, errors, W)
    np.testing.assert_allclose(found["std_error"], np.sqrt(variance), rtol=1e-7)
    pd.testing.assert_frame_equal(
        found, predict(fit, level="group", interval="confidence"), check_exact=False
    )
    # nothing known: the whole prior variance for a new row of new groups
    found = predict(fit, herds, interval="prediction")
    p = fit.X.shape[1]
    variance = np.einsum("ni,ij,nj->n", fit.X, errors[:p, :p], fit.X)
    variance += np.einsum("ni,ij,nj->n", Z, G, Z) + fit.scale
    np.testing.assert_allclose(found["std_error"], np.sqrt(variance), rtol=1e-7)


def test_residuals_have_their_own_standard_deviations(fit: SeveralResults, matrices: Any) -> None:
    Z, G, errors = matrices
    p = fit.X.shape[1]
    V = Z @ G @ Z.T + fit.scale * np.eye(fit.nobs)
    half = np.linalg.solve(V, fit.X)
    P = np.linalg.inv(V) - half @ np.linalg.solve(fit.X.T @ half, half.T)
    found = residuals(fit)
    conditional = fit.scale**2 * np.diag(P)  # of y - Xb - Zu = sigma^2 P y
    np.testing.assert_allclose(found["conditional"], fit.scale * P @ fit.y, atol=1e-8)
    np.testing.assert_allclose(
        found["conditional_std"], found["conditional"] / np.sqrt(conditional), rtol=1e-6
    )
    marginal = np.diag(V - fit.X @ errors[:p, :p] @ fit.X.T)
    np.testing.assert_allclose(
        found["marginal_std"], found["marginal"] / np.sqrt(marginal), rtol=1e-6
    )
    spread = np.sqrt(np.diag(G @ Z.T @ P @ Z @ G))
    start = 0
    for name in fit.group_names:
        table = residuals(fit, level=name)
        stop = start + len(table)
        np.testing.assert_allclose(table["sd"], spread[start:stop], rtol=1e-6)
        start = stop
    with pytest.raises(ValueError, match="'herd:cow' or 'herd' or 'day'"):
        residuals(fit, level="group")


def test_levels_that_never_met_are_predicted_too(herds: pd.DataFrame) -> None:
    d = herds.assign(id=herds["herd"] * 100 + herds["cow"])
    fit = fit_lmm("y ~ x + (1 | herd) + (1 | id) + (1 | day)", d)
    moved = d.head(4).assign(herd=[5, 6, 5, 1])
    found = predict(fit, moved, level="group", interval="confidence")
    rows = [np.r_[1.0, x] for x in moved["x"]]
    # by Henderson's equations, with the row's columns of Z
    Z, G = [], []
    for name in ("herd", "id", "day"):
        Z.append((d[name].to_numpy()[:, None] == fit.labels_by_group[name].to_numpy()) * 1.0)
        G += [fit.cov_re_by_group[name].iloc[0, 0]] * Z[-1].shape[1]
    W = np.column_stack([fit.X, *Z])
    equations = W.T @ W / fit.scale + np.diag(np.r_[0.0, 0.0, 1.0 / np.array(G)])
    new = np.column_stack(
        [rows]
        + [
            (moved[name].to_numpy()[:, None] == fit.labels_by_group[name].to_numpy()) * 1.0
            for name in ("herd", "id", "day")
        ]
    )
    solution = np.linalg.solve(equations, W.T @ fit.y / fit.scale)
    np.testing.assert_allclose(found["prediction"], new @ solution, rtol=1e-8)
    variance = np.einsum("ni,in->n", new, np.linalg.solve(equations, new.T))
    np.testing.assert_allclose(found["std_error"], np.sqrt(variance), rtol=1e-7)


def test_labels_of_another_type_are_the_same_groups(
    fit: SeveralResults, herds: pd.DataFrame
) -> None:
    text = herds.astype({"herd": str, "cow": float})
    pd.testing.assert_frame_equal(predict(fit, text, "group"), predict(fit, herds, "group"))


def test_any_subset_of_levels_may_be_known(
    fit: SeveralResults, matrices: Any, herds: pd.DataFrame
) -> None:
    Z, _, errors = matrices
    p, columns = fit.X.shape[1], []
    for name in fit.group_names:
        columns += [name] * (len(fit.z_names[name]) * fit.ngroups_by_group[name])
    keep = np.array([name in ("herd", "day") for name in columns])
    W = np.column_stack([fit.X, Z * keep])
    solution = errors @ np.column_stack([fit.X, Z]).T @ fit.y / fit.scale
    found = predict(fit, herds, level=["day", "herd"], interval="confidence")
    np.testing.assert_allclose(found["prediction"], W @ solution, atol=1e-7)
    variance = np.einsum("ni,ij,nj->n", W, errors, W)
    np.testing.assert_allclose(found["std_error"], np.sqrt(variance), rtol=1e-7)
    assert list(found.columns[-2:]) == ["known_day", "known_herd"]
    # a new cow of a known herd: its variance is added, the herd's is kept
    new = herds.head(3).assign(cow=[99, 98, 97])
    there = predict(fit, new, level="group", interval="confidence")
    assert p and not there["known_herd:cow"].any() and there["known_herd"].all()
    cow = fit.cov_re_by_group["herd:cow"].iloc[0, 0]
    np.testing.assert_allclose(
        there["std_error"] ** 2, found["std_error"][:3] ** 2 + cow, rtol=1e-7
    )


def test_unknown_factors_and_levels_are_named(fit: SeveralResults, herds: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="'herd:cow', 'herd', 'day'"):
        predict(fit, herds, level="farm")
    with pytest.raises(ValueError, match=r"no column 'cow'.*level="):
        predict(fit, herds.drop(columns="cow"), level="group")
    predict(fit, herds.drop(columns="cow"), level="herd")
    with pytest.raises(ValueError, match="'farm' is no grouping factor"):
        blups(fit, group="farm")


def test_shares_of_nested_and_crossed_factors() -> None:
    nested, crossed = fitted("schools"), fitted("penicillin")
    variances = {g: G.iloc[0, 0] for g, G in nested.cov_re_by_group.items()}
    total = sum(variances.values()) + nested.scale
    found = icc(nested)
    upwards = ["school", "school:class", "school:class:pupil"]
    for k, name in enumerate(upwards):
        own = sum(variances[g] for g in upwards[: k + 1]) / total
        assert found.loc[name, "estimate"] == pytest.approx(own)
        assert found.loc[name, "ci_low"] < own < found.loc[name, "ci_high"]
    table = variance_components(crossed)
    shares = icc(crossed, method="delta")
    for name in ("plate", "sample"):
        own = table.loc[table["group"] == name, "share"].iloc[0]
        assert shares.loc[name, "estimate"] == pytest.approx(own)
        assert shares.loc[name, "ci_low"] < own < shares.loc[name, "ci_high"]
    assert table.loc["Total", "variance"] == pytest.approx(table["variance"].iloc[:-1].sum())


@pytest.mark.parametrize("random", ["1", "1 + Days"])
@pytest.mark.parametrize("reml", [True, False])
def test_one_factor_gives_what_its_own_engine_gives(random: str, reml: bool) -> None:
    d = read("sleepstudy").iloc[3:]
    one = fit_lmm("Reaction ~ Days", d, "Subject", random, reml=reml)
    formula = f"Reaction ~ Days + ({random} | Subject)"
    same = engine.fit_design(build(formula, d, None, "raise", None), reml)
    assert same.criterion == pytest.approx(one.criterion, abs=1e-8)
    np.testing.assert_allclose(same.theta, one.theta, rtol=1e-6)
    np.testing.assert_allclose(same.random_effects, one.random_effects, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(same.random_effects_var, one.random_effects_var, rtol=1e-6)
    for df in ("satterthwaite", "kenward-roger") if reml else ("satterthwaite",):
        pd.testing.assert_frame_equal(
            coef_table(same, df), coef_table(one, df), rtol=1e-6, check_index_type=False
        )
    pd.testing.assert_frame_equal(blups(same), blups(one), rtol=1e-6)
    pd.testing.assert_frame_equal(
        predict(same, d, level="group", interval="prediction").iloc[:, :4],
        predict(one, d, level="group", interval="prediction").iloc[:, :4],
        rtol=1e-7,
    )
    mine, theirs = variance_components(same), variance_components(one)
    pd.testing.assert_frame_equal(mine, theirs[mine.columns], rtol=1e-6)
    ends = icc(same).loc["Subject", ["estimate", "ci_low", "ci_high"]]
    np.testing.assert_allclose(
        ends.astype(float), icc(one)[["estimate", "ci_low", "ci_high"]].astype(float), rtol=2e-4
    )


def test_likelihood_ratios_know_their_mixtures(herds: pd.DataFrame) -> None:
    def of(random: str, fixed: str = "x + z", reml: bool = True) -> Any:
        return fit_lmm(f"y ~ {fixed} + {random}", herds, reml=reml)

    full = of("(1|herd) + (1|herd:cow) + (1|day)")
    found = lrt(full, of("(1|herd/cow)")).iloc[0]
    assert found["reference"] == "0.5 chi2(0) + 0.5 chi2(1)"
    assert found["p_value"] == pytest.approx(found["p_value_naive"] / 2)
    slopes = of("(x|herd) + (1|herd:cow)")
    assert "0.5 chi2(1) + 0.5 chi2(2)" in lrt(slopes, of("(1|herd/cow)"))["reference"].iloc[0]
    assert lrt(slopes, of("(x||herd) + (1|herd:cow)"))["reference"].iloc[0] == "chi2(1)"
    both = lrt(slopes, of("(1|herd:cow)")).iloc[0]
    assert both["df"] == 3 and both["p_value"] < both["p_value_naive"]
    assert lrt(of("(1|herd:cow)"), "ols")["df"].iloc[0] == 1
    fewer = lrt(of("(1|herd/cow)", reml=False), of("(1|herd/cow)", "x", False)).iloc[0]
    assert fewer["reference"] == "chi2(1)"
    for first, second, words in (
        (full, of("(1|herd)"), "one at a time"),
        (of("(1|herd)"), full, "full model first"),
        (full, "ols", "one at a time"),
        (full, full, "nothing to test"),
        (of("(1|herd/cow)"), of("(1|herd/cow)", "x"), "reml=False"),
    ):
        with pytest.raises(ValueError, match=words):
            lrt(first, second)
    table = information_criteria(full, of("(1|herd)"))
    assert list(table["n_params"]) == [7, 5]


def test_the_covariance_of_two_new_effects_is_weighted_as_with_one_factor() -> None:
    d = read("sleepstudy")
    full = fit_lmm("Reaction ~ Days + (Days | Subject)", d)
    expected = lrt(full, "ols").iloc[0]
    # an inert second factor changes nothing
    d["g"] = np.tile(np.arange(3), 60)
    with_other = fit_lmm("Reaction ~ Days + (Days | Subject) + (1 | g)", d)
    assert with_other.cov_re_by_group["g"].iloc[0, 0] == 0.0
    found = lrt(with_other, fit_lmm("Reaction ~ Days + (1 | g)", d)).iloc[0]
    assert found["statistic"] == pytest.approx(expected["statistic"], abs=1e-6)

    def weights(row: Any) -> list[float]:
        return [float(part.split()[0]) for part in row["reference"].split(" + ")]

    np.testing.assert_allclose(weights(found), weights(expected), atol=0.02)


def test_checks_say_what_is_zero_and_whether_the_minimum_is_one(fit: SeveralResults) -> None:
    assert check_singular(fit) and check_convergence(fit)
    singular = fitted("herds-day-weights")
    found = check_singular(singular)
    assert not found and "variance of `x` between the levels of `day`" in found.finding
    assert check_convergence(singular) and "boundary" in check_convergence(singular).finding
    away = replace(fit, at=evaluate(1.2 * fit.at.theta, fit.sums, fit.reml))
    assert "can still fall" in check_convergence(away).finding


def test_quantities_of_weighted_fits_ask_for_the_weight(herds: pd.DataFrame) -> None:
    fit = fit_lmm("y ~ x + (1 | herd/cow)", herds, weights="w")
    assert "Total" not in variance_components(fit).index
    with pytest.raises(ValueError, match="weight="):
        icc(fit)
    table, shares = variance_components(fit, weight=2.0), icc(fit, weight=2.0)
    assert table.loc["Residual", "variance"] == pytest.approx(fit.scale / 2.0)
    own = table.loc[table["group"] == "herd", "share"].iloc[0]
    assert shares.loc["herd", "estimate"] == pytest.approx(own)
    # a row of weight 2 is known twice as well; a residual over its own SD has none
    found = residuals(fit)
    X, root = fit.X, np.sqrt(herds["w"].to_numpy())
    Z = [
        (fit.design.factors[g].codes[:, None] == np.arange(fit.ngroups_by_group[g])) * 1.0
        for g in fit.group_names
    ]
    V = np.diag(fit.scale / root**2)
    for g, z in zip(fit.group_names, Z, strict=True):
        V += fit.cov_re_by_group[g].iloc[0, 0] * z @ z.T
    half = np.linalg.solve(V, X)
    P = np.linalg.inv(V) - half @ np.linalg.solve(X.T @ half, half.T)
    sd = fit.scale * np.sqrt(np.diag(P)) / root**2
    np.testing.assert_allclose(found["conditional_std"], found["conditional"] / sd, rtol=1e-6)
    marginal = np.sqrt(np.diag(V - X @ np.linalg.inv(X.T @ half) @ X.T))
    np.testing.assert_allclose(found["marginal_std"], found["marginal"] / marginal, rtol=1e-6)


def test_the_bootstrap_refits_the_same_model(herds: pd.DataFrame) -> None:
    fit = fit_lmm(FORMULA, herds, weights="w")
    refits = Refits(fit)
    other = 1.3 * fit.y + fit.X[:, 1] ** 2
    assert refits.criterion(other) == pytest.approx(refit(fit, other).criterion, abs=1e-7)
    assert refits.criterion(fit.y) == pytest.approx(fit.criterion, abs=1e-8)
    draws = np.array([response(fit, np.random.default_rng(k)) for k in range(400)])
    np.testing.assert_allclose(draws.mean(axis=0), fit.X @ fit.fe_params, atol=0.4)
    expected = fit.scale / herds["w"].to_numpy()
    for group in fit.group_names:
        columns = [c for k in fit.design.by_factor[group] for c in fit.design.parts[k].z_columns]
        z = np.column_stack(columns)
        expected = expected + np.einsum("ni,ij,nj->n", z, fit.cov_re_by_group[group], z)
    assert np.mean(draws.var(axis=0) / expected) == pytest.approx(1.0, abs=0.03)


def test_bootstrap_of_a_variance_and_of_more_than_one() -> None:
    d = read("pastes")
    full = fit_lmm("strength ~ (1 | batch/cask)", d)
    small = fit_lmm("strength ~ (1 | batch:cask)", d)
    found = parametric_bootstrap(full, small, replicates=100)
    assert found.table["p_value_lrt"].iloc[0] == pytest.approx(lrt(full, small)["p_value"].iloc[0])
    # half of the null distribution lies at zero, to three standard errors of 100 replicates
    assert abs(np.mean(found.statistics > 1e-6) - 0.5) < 0.2
    herds = read("herds")
    two = parametric_bootstrap(
        fit_lmm("y ~ x + (1 | herd/cow) + (1 | day)", herds), fit_lmm("y ~ x", herds, "herd"), 5
    )
    assert np.isnan(two.table["p_value_lrt"].iloc[0]) and two.table["p_value"].iloc[0] < 0.2
    table = parametric_bootstrap(full, replicates=30).table
    assert list(table.index[:2]) == ["sd(Intercept | batch:cask)", "sd(Intercept | batch)"]
    assert table.loc["Intercept", "estimate"] == pytest.approx(full.fe_params["Intercept"])
    with pytest.raises(ValueError, match="one at a time"):
        parametric_bootstrap(full, "ols", replicates=5)


CHANGES: dict[str, Any] = {
    "rows permuted": lambda d: d.sample(frac=1.0, random_state=1),
    "other index": lambda d: d.set_index(np.arange(len(d)) * 7 + 3),
    "groups relabelled": lambda d: d.assign(
        herd="h" + d["herd"].astype(str), cow=d["cow"] * 10.5, day=pd.Categorical(d["day"])
    ),
    "x shifted": lambda d: d.assign(x=d["x"] + 1e4),
    "x scaled": lambda d: d.assign(x=d["x"] * 1e-5),
    "y shifted": lambda d: d.assign(y=d["y"] + 1e5),
    "y scaled": lambda d: d.assign(y=d["y"] * 1e6),
    "weights scaled": lambda d: d.assign(w=d["w"] * 100.0),
}


@pytest.mark.parametrize("name", list(CHANGES))
@pytest.mark.parametrize("weights", [None, "w"])
def test_what_must_not_change_does_not(herds: pd.DataFrame, name: str, weights: str) -> None:
    fits = [fit_lmm(FORMULA, d, weights=weights) for d in (herds, CHANGES[name](herds))]
    tables = [coef_table(fit, df="satterthwaite").loc[["x", "z"]] for fit in fits]
    np.testing.assert_allclose(tables[0]["statistic"], tables[1]["statistic"], rtol=1e-6)
    np.testing.assert_allclose(tables[0]["df"], tables[1]["df"], rtol=1e-5)
    errors = [coef_table(fit).loc[["x", "z"], "df"] for fit in fits]
    np.testing.assert_allclose(*errors, rtol=1e-5)
    residuals = [fit.resid.sort_values().to_numpy() / np.sqrt(fit.scale) for fit in fits]
    factor = 0.1 if name == "weights scaled" and weights else 1.0
    np.testing.assert_allclose(residuals[0], residuals[1] / factor, rtol=1e-5, atol=1e-6)


def test_refits_and_pickles_are_the_same_model(fit: SeveralResults) -> None:
    again = refit(fit, 3.0 * fit.y)
    assert again.scale == pytest.approx(9.0 * fit.scale, rel=1e-7)
    back = pickle.loads(pickle.dumps(fit))
    pd.testing.assert_frame_equal(coef_table(back), coef_table(fit))
    assert "SeveralResults: y by herd:cow and herd and day" in repr(back)


def test_satterthwaite_goes_on_where_kenward_roger_is_refused(
    fit: SeveralResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = coef_table(fit, df="satterthwaite")
    fresh = engine.fit_design(fit.design, True)
    monkeypatch.setattr("pylmm_helpers.engine.several.information.LARGEST_COMPONENT", 10)
    monkeypatch.setattr("pylmm_helpers.engine.several.search.SMALL", 0)
    fresh = engine.fit_design(fit.design, True)
    assert fresh.criterion == pytest.approx(fit.criterion, abs=1e-8)
    with pytest.raises(ValueError, match="df='satterthwaite'"):
        coef_table(fresh, df="kenward-roger")
    found = coef_table(fresh, df="satterthwaite")
    np.testing.assert_allclose(found["df"], exact["df"], rtol=1e-5)
    with pytest.raises(ValueError, match="reml=True"):
        contrast(refit(fitted("penicillin-ml"), fitted("penicillin-ml").y), "Intercept")


def test_every_helper_takes_such_a_fit_or_refuses_it_by_name(fit: SeveralResults) -> None:
    more = {
        "lrt": ["ols"],
        "parametric_bootstrap": ["ols"],
        "contrast": ["x"],
        "refit": [fit.y],
        "influence": ["day"],
        "variance_function": ["x", [0.0, 1.0]],
        "contextual_effect": ["x", "z"],
        "marginal_means": ["x"],
        "compare_groups": [1, 2],
        "simulate_power": ["no such term"],
    }
    refused = set()
    for name in pylmm_helpers.__all__:
        helper = getattr(pylmm_helpers, name)
        parameters = list(inspect.signature(helper).parameters) if callable(helper) else []
        if not parameters or parameters[0] not in ("fit", "fits", "full", "fit_or_icc"):
            continue
        if name == "crosscheck":  # needs R or a record: test_several_crosscheck.py
            continue
        outcome = outcome_of(helper, fit, *more.get(name, []))
        if outcome == "refused":
            refused.add(name)
        assert (outcome == "taken") == (name in TAKES_SEVERAL), (name, outcome)


def outcome_of(helper: Any, *arguments: Any) -> str:
    """Whether a helper takes a fit, refuses it by name, or asks for more first."""
    try:
        helper(*arguments)
    except ValueError as error:
        # what it says of this fit's own terms is an answer
        return "refused" if "doesn't take a fit with several" in str(error) else "taken"
    except TypeError as error:
        return "asks for more" if "argument" in str(error) else "broken"
    return "taken"

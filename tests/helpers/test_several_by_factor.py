"""Helpers that go by grouping factor: influence, shares, contextual effects, nested analyses of
variance and powers of the response; against R, against matrices and against one factor's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recorded import HERE
from test_several_reference import fitted, read

from pylmm_helpers import (
    anova_components,
    blups,
    boxcox_lmm,
    center_within,
    coef_table,
    contextual_effect,
    design_effect,
    fit_lmm,
    icc,
    influence,
    shrinkage_factor,
    variance_function,
)
from pylmm_helpers.engine.several import (
    Without,
    build_sums,
    delta_gradient,
    evaluate,
    first_derivatives,
    minimise,
    refit_all,
    vector_of,
)
from pylmm_helpers.engine.several.design import build
from pylmm_helpers.engine.several.fit import fit_design
from pylmm_helpers.inference.several import Refits

R = json.loads((HERE / "reference" / "several_influence.json").read_text(encoding="utf-8"))


def one_by_bars(formula: str, data: pd.DataFrame, reml: bool = True, weights: Any = None) -> Any:
    """A model of one factor, fitted by the engine for several."""
    return fit_design(build(formula, data, weights, "raise", None), reml)


# ---- influence


def label_of(row: Any) -> str:
    return ":".join(map(str, row)) if isinstance(row, tuple) else str(row)


@pytest.mark.parametrize("case", R["influence"], ids=lambda c: f"{c['data']} by {c['by']}")
def test_refits_without_a_level_are_lme4s(case: dict[str, Any]) -> None:
    fit = fit_lmm(case["formula"], read(case["data"]), reml=case["reml"], weights=case["weights"])
    table = influence(fit, case["by"])
    table.index = pd.Index([label_of(row) for row in table.index])
    whole, Phi = np.atleast_1d(case["beta"]), np.atleast_2d(case["vcov"])
    for refit in case["refits"]:
        row = table.loc[refit["level"]]
        beta = np.atleast_1d(refit["beta"])
        # lme4's optimisers stop where the criterion is flat to its last digits
        np.testing.assert_allclose(row.filter(like="beta[").astype(float), beta, rtol=1e-5)
        assert row["residual_variance"] == pytest.approx(refit["sigma"] ** 2, rel=1e-5)
        shift = whole - beta
        cooks = shift @ np.linalg.solve(Phi, shift) / len(beta)
        assert row["cooks_distance"] == pytest.approx(cooks, rel=1e-4, abs=1e-8)
        ratio = np.exp(refit["log_det"] - np.linalg.slogdet(Phi)[1])
        assert row["covratio"] == pytest.approx(ratio, rel=2e-5)
        for name, covariance in refit["variances"].items():
            group = next(g for g in fit.group_names if set(g.split(":")) == set(name.split(":")))
            terms, G = fit.z_names[group], np.atleast_2d(covariance)
            for i, term in enumerate(terms):
                assert row[f"var[{term} | {group}]"] == pytest.approx(G[i, i], rel=1e-4, abs=1e-7)
            if len(terms) == 2:
                assert row[f"cov[Intercept, x | {group}]"] == pytest.approx(G[0, 1], abs=1e-5)


def without(data: pd.DataFrame, by: str, label: Any) -> pd.DataFrame:
    values = label if isinstance(label, tuple) else (label,)
    same = [data[c] == v for c, v in zip(by.split(":"), values, strict=True)]
    return data[~np.logical_and.reduce(same)]


@pytest.mark.parametrize(
    "name, by",
    [
        ("herds-day-slope", "herd"),
        ("herds-day-slope", "day"),
        ("herds-day-weights", "herd:cow"),
        ("schools", "school:class"),
        ("raters-slopes", "item"),
        ("insteval", "dept:service"),
    ],
)
def test_each_refit_is_the_fit_of_the_rows_that_are_left(name: str, by: str) -> None:
    case, fit = CASES_OF[name], fitted(name)
    data, table = read(case["data"]), influence(fit, by)
    assert table["n"].sum() == len(data)
    for label in table.index[:: max(1, len(table) // 4)]:
        rest = fit_lmm(
            case["formula"], without(data, by, label), reml=case["reml"], weights=case["weights"]
        )
        row = table.loc[label] if not isinstance(label, tuple) else table.loc[[label]].iloc[0]
        np.testing.assert_allclose(
            row.filter(like="beta[").astype(float), rest.fe_params, rtol=1e-6, atol=1e-8
        )
        assert row["residual_variance"] == pytest.approx(rest.scale, rel=1e-6)
        for group, G in rest.cov_re_by_group.items():
            for term in G.index:
                # near zero a variance is flat in the criterion
                found = row[f"var[{term} | {group}]"]
                assert found == pytest.approx(G.loc[term, term], rel=1e-5, abs=1e-6)


CASES_OF = {
    case["id"]: case
    for case in json.loads((HERE / "reference" / "several.json").read_text())["cases"]
}


@pytest.mark.parametrize("terms", ["1", "1 + Days"])
@pytest.mark.parametrize("reml", [True, False])
def test_influence_of_one_factor_is_that_of_its_own_engine(terms: str, reml: bool) -> None:
    data = read("sleepstudy").iloc[3:]
    formula = f"Reaction ~ Days + ({terms} | Subject)"
    several, one = one_by_bars(formula, data, reml), fit_lmm(formula, data, reml=reml)
    found, expected = influence(several), influence(one, "Subject")
    assert list(found.columns) == list(expected.columns)
    # both searches stop at a promised fall of 1e-10 of the criterion
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name, by",
    [
        ("herds-day-slope", "herd"),
        ("penicillin-ml", "plate"),
        ("insteval", "d"),
        ("pastes", "batch"),
    ],
)
def test_refits_done_together_are_those_done_one_by_one(
    name: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = fitted(name)
    levels = fit.ngroups_by_group[by]
    # insteval is larger than what is done together outside this test: a second a level
    few = np.arange(0, levels, max(1, levels // (2 if name == "insteval" else 12)))
    columns = Refits(fit)
    R = np.vstack([columns.X, columns.row(fit.y)])
    without = Without(fit.sums, columns.Z, R, fit.design.factors[by])
    monkeypatch.setattr("pylmm_helpers.engine.several.together.BATCH", 20_000)
    found, doubtful = refit_all(fit.at.theta, without, few, fit.reml)
    assert not doubtful and (len(found) > len(few) / 2 or fit.singular)
    for g, own in found.items():
        at = minimise(fit.at.theta, without.sums(g), fit.reml).at
        assert own.r2 == pytest.approx(at.r2, rel=1e-6) and own.nu == at.nu
        # the last step promised 1e-10 of the criterion: theta to its root
        np.testing.assert_allclose(own.theta, at.theta, atol=2e-5)
        again = evaluate(own.theta, without.sums(g), fit.reml)
        np.testing.assert_allclose(own.root, again.root, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("by", ["s", "d", "dept:service"])
def test_sums_without_a_level_are_those_of_the_rows_that_are_left(by: str) -> None:
    fit = fitted("insteval")
    columns, factor = Refits(fit), fit.design.factors[by]
    R = np.vstack([columns.X, columns.row(fit.y)])
    without, theta = Without(fit.sums, columns.Z, R, factor), 1.1 * fit.at.theta + 0.1
    for g in (0, factor.levels // 2):
        keep = factor.codes != g
        rest = [replace(f, codes=f.codes[keep]) for f in fit.sums.factors]
        sums = build_sums(rest, [Z[:, keep] for Z in columns.Z], R[:, keep])
        order = {f.name: k for k, f in enumerate(fit.sums.factors)}
        other = np.concatenate([theta[fit.sums.slices[order[f.name]]] for f in sums.factors])
        mine, theirs = evaluate(theta, without.sums(g), True), evaluate(other, sums, True)
        assert mine.value == pytest.approx(theirs.value, rel=1e-12)
        both = (mine, theirs)
        forms = [vector_of(at.f.sums, delta_gradient(at, first_derivatives(at))) for at in both]
        by_name = [
            dict(zip([f.name for f in at.f.sums.factors], form, strict=True))
            for at, form in zip(both, forms, strict=True)
        ]
        for name, slope in by_name[0].items():
            assert slope == pytest.approx(by_name[1][name], rel=1e-9, abs=1e-7)


def test_what_rests_on_one_level_is_said() -> None:
    data = read("herds")
    data["only"] = (data["herd"] == 4) * (data["x"] > 0.3) * 1.0
    fit = fit_lmm("y ~ x + only + (1 | herd/cow)", data)
    found = influence(fit, "herd").loc[4]
    assert np.isinf(found["cooks_distance"]) and np.isinf(found["covratio"])
    assert found["note"].startswith("the coefficient of only can't be estimated")
    assert (influence(fit, "herd").drop(index=4)["note"] == "").all()
    # only herd 1 has cows with more than one row: without it cows are rows
    single = data.drop_duplicates(["herd", "cow"])
    single = pd.concat([single, data[data["herd"] == 1]]).reset_index(drop=True)
    table = influence(fit_lmm("y ~ 1 + (1 | herd/cow)", single), "herd")
    assert "too few rows" in table.loc[1, "note"] and np.isnan(table.loc[1, "cooks_distance"])
    assert table.drop(index=1).notna().all(axis=None)


def test_two_factors_that_become_one_without_a_level_are_said() -> None:
    rng = np.random.default_rng(1)
    herd = np.repeat([1, 1, 2, 3, 4, 5, 6], 6)
    cow = np.repeat(np.arange(7), 6)
    data = pd.DataFrame({"herd": herd, "cow": cow, "y": rng.normal(size=42) + cow % 3})
    table = influence(fit_lmm("y ~ 1 + (1 | herd) + (1 | cow)", data), "herd")
    assert "group the rows in the same way" in table.loc[1, "note"]
    assert np.isnan(table.loc[1, "beta[Intercept]"]) and (table["note"] != "").sum() == 1


def test_the_factor_to_leave_out_must_be_named() -> None:
    fit = fitted("penicillin")
    with pytest.raises(ValueError, match=r"group='plate' or 'sample'"):
        influence(fit)
    with pytest.raises(ValueError, match="'batch' is no grouping factor"):
        influence(fit, "batch")
    one = fit_lmm("Reaction ~ Days", read("sleepstudy"), "Subject")
    with pytest.raises(ValueError, match="the only grouping factor is 'Subject'"):
        influence(one, "Days")
    data = read("penicillin")
    two = fit_lmm(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", data[data["sample"].isin(["A", "B"])]
    )
    with pytest.raises(ValueError, match="has 2 levels; leaving one out needs at least 3"):
        influence(two, "sample")


def test_a_hundred_levels_take_less_than_a_second() -> None:
    rng = np.random.default_rng(5)
    herd, cow = np.repeat(np.arange(100), 40), np.repeat(np.arange(1000), 4)
    x = rng.normal(size=4000)
    y = x + rng.normal(size=100)[herd] + rng.normal(size=1000)[cow] + rng.normal(size=4000)
    data = pd.DataFrame({"herd": herd, "cow": cow, "x": x, "y": y})
    fit = fit_lmm("y ~ x + (1 | herd/cow)", data)
    start = time.process_time()
    table = influence(fit, "herd")
    assert time.process_time() - start < 3.0  # about 0.5 s; a busy machine counts waits for memory
    assert (table["note"] == "").all() and table.notna().all(axis=None)
    rest = fit_lmm("y ~ x + (1 | herd/cow)", data[herd != 42])
    assert table.loc[42, "beta[x]"] == pytest.approx(rest.fe_params["x"], rel=1e-7)
    cow_variance = rest.cov_re_by_group["herd:cow"].iloc[0, 0]
    assert table.loc[42, "var[Intercept | herd:cow]"] == pytest.approx(cow_variance, rel=1e-5)


def test_influence_with_an_offset_and_with_a_response_that_the_predictors_nearly_explain() -> None:
    data = read("herds")
    data["o"] = 3.0 * np.sin(np.arange(len(data)))
    data["far"] = 1e5 * data["x"] + data["y"]
    for formula in ("y ~ x + offset(o) + (1 | herd/cow)", "far ~ x + (1 | herd/cow)"):
        table = influence(fit_lmm(formula, data), "herd")
        for herd in (2, 9):
            rest = fit_lmm(formula, data[data["herd"] != herd])
            row = table.loc[herd]
            assert row["beta[x]"] == pytest.approx(rest.fe_params["x"], rel=1e-8)
            assert row["residual_variance"] == pytest.approx(rest.scale, rel=1e-4)


# ---- shares


def test_shrinkage_of_a_fit_is_the_formula_for_one_factor_and_the_reliability_for_several() -> None:
    data = read("sleepstudy").iloc[4:]
    one = fit_lmm("Reaction ~ Days", data, "Subject")
    expected = shrinkage_factor(one.cov_re.iloc[0, 0], one.scale, one.cross.sizes)
    np.testing.assert_allclose(shrinkage_factor(one), expected, rtol=1e-10)
    bars = one_by_bars("Reaction ~ Days + (1 | Subject)", data)
    np.testing.assert_allclose(shrinkage_factor(bars), expected, rtol=1e-5)
    fit = fitted("herds-day")
    V, Z = dense(fit)
    every = shrinkage_factor(fit)
    for group in fit.group_names:
        variance = fit.cov_re_by_group[group].iloc[0, 0]
        # cov(y, u) V^-1 cov(y, u) over var(u)
        own = variance * np.einsum("nl,nl->l", Z[group], np.linalg.solve(V, Z[group]))
        np.testing.assert_allclose(shrinkage_factor(fit, group=group), own, rtol=1e-8)
        np.testing.assert_allclose(every[group], own, rtol=1e-8)
        np.testing.assert_array_equal(every[group], blups(fit)[group]["shrinkage"])
    with pytest.raises(ValueError, match="a fit has its own"):
        shrinkage_factor(fit, 2.0, 3.0)
    with pytest.raises(ValueError, match="give sigma2_g, sigma2 and m"):
        shrinkage_factor(2.0)


def dense(fit: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """V (n, n) of a fit with random intercepts, and Z (n, L) of each factor."""
    Z, V = {}, fit.scale * np.eye(fit.nobs)
    for group, factor in fit.design.factors.items():
        Z[group] = (factor.codes[:, None] == np.arange(factor.levels)) * 1.0
        V += fit.cov_re_by_group[group].iloc[0, 0] * Z[group] @ Z[group].T
    return V, Z


@pytest.mark.parametrize("name", ["pastes", "penicillin", "herds-day", "schools"])
def test_the_design_effect_is_the_variance_of_the_mean_over_that_of_independent_rows(
    name: str,
) -> None:
    fit = fitted(name)
    V, _ = dense(fit)
    n, total = fit.nobs, V[0, 0]
    table = design_effect(fit)
    last = table.loc["all factors"]
    assert last["design_effect"] == pytest.approx(V.sum() / n**2 / (total / n))
    assert last["effective_n"] == pytest.approx(n / last["design_effect"])
    information = np.ones(n) @ np.linalg.solve(V, np.ones(n))
    assert last["effective_n_model"] == pytest.approx(total * information)
    parts = table.drop(index="all factors")
    assert parts["added"].sum() == pytest.approx(last["design_effect"] - 1.0)
    np.testing.assert_allclose(parts["share"], icc(fit, method="delta")["share"], rtol=1e-9)


def test_the_design_effect_of_one_factor_and_what_it_refuses() -> None:
    data = read("sleepstudy").iloc[4:]
    one = design_effect(fit_lmm("Reaction ~ 1", data, "Subject"))
    found = design_effect(one_by_bars("Reaction ~ 1 + (1 | Subject)", data)).loc["all factors"]
    for key in ("design_effect", "n", "effective_n", "effective_n_model"):
        assert found[key] == pytest.approx(one[key], rel=1e-6)
    with pytest.raises(ValueError, match="random slopes"):
        design_effect(fitted("herds-slope"))
    with pytest.raises(ValueError, match="leave it out"):
        design_effect(fitted("pastes"), sizes=4)
    weighted = fitted("herds-weights")
    with pytest.raises(ValueError, match="weight="):
        design_effect(weighted)
    shares = icc(weighted, method="delta", weight=2.0)["share"]
    found = design_effect(weighted, weight=2.0)["share"].iloc[:-1]
    np.testing.assert_allclose(found, shares, rtol=1e-9)


def test_the_variance_function_is_a_quadratic_form_by_factor() -> None:
    fit = fitted("herds-day-slope")
    values = [-1.0, 0.0, 2.5]
    table = variance_function(fit, "x", values)
    assert list(table["group"]) == fit.group_names * 3
    G = fit.cov_re_by_group["herd"].to_numpy()
    for x in values:
        own = table[table["x"] == x].set_index("group")
        z = np.array([1.0, x])
        assert own.loc["herd", "between"] == pytest.approx(z @ G @ z)
        cow = fit.cov_re_by_group["herd:cow"].iloc[0, 0]
        assert own.loc["herd:cow", "between"] == pytest.approx(cow)
        total = own["between"].sum() + fit.scale
        np.testing.assert_allclose(own["total"], total)
        assert own.loc["herd:cow", "icc"] == pytest.approx((cow + z @ G @ z) / total)
        assert own.loc["day", "icc"] == pytest.approx(own.loc["day", "share"])
    with pytest.raises(ValueError, match="'z' has no random slope"):
        variance_function(fit, "z", values)
    # no intercept in the slope's own term
    apart = fitted("herds-uncorrelated")
    found = variance_function(apart, "x", [2.0]).set_index("group").loc["herd", "between"]
    expected = np.array([1.0, 4.0]) @ np.diag(apart.cov_re_by_group["herd"])
    assert found == pytest.approx(expected)


def test_the_variance_function_of_one_factor_is_that_of_its_own_engine() -> None:
    data = read("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    found = variance_function(one_by_bars(formula, data), "Days", [0, 5, 9])
    expected = variance_function(fit_lmm(formula, data), "Days", [0, 5, 9])
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)


# ---- contextual effects


@pytest.fixture(scope="module")
def split() -> pd.DataFrame:
    """Herds with x split into its parts within cows, between cows of a herd, and between herds."""
    made = center_within(read("herds"), "x", ["herd", "cow"])
    return center_within(made, "x_mean", "herd")


def test_several_columns_are_one_key(split: pd.DataFrame) -> None:
    joined = split.assign(key=split["herd"].astype(str) + "-" + split["cow"].astype(str))
    one = center_within(joined.drop(columns=["x_within", "x_mean"]), "x", "key")
    np.testing.assert_allclose(one["x_within"], split["x_within"], atol=1e-12)
    parts = split["x_within"] + split["x_mean_within"] + split["x_mean_mean"]
    np.testing.assert_allclose(parts, split["x"], atol=1e-12)
    with pytest.raises(ValueError, match="empty list"):
        center_within(split, "x", [])
    with pytest.raises(ValueError, match="'herd:cow'"):
        center_within(split, "x_mean", ["herd", "cow"])
    with pytest.raises(ValueError, match="cows"):
        center_within(split, "x", ["herd", "cows"])


def test_contextual_effects_of_both_levels(split: pd.DataFrame) -> None:
    fit = fit_lmm("y ~ x_within + x_mean_within + x_mean_mean + (1 | herd/cow)", split)
    table = coef_table(fit)
    for group, first, second in (
        ("herd:cow", "x_within", "x_mean_within"),
        ("herd", "x_mean_within", "x_mean_mean"),
    ):
        found = contextual_effect(fit, first, second, group=group)
        for row, term in (("within", first), ("between", second)):
            np.testing.assert_allclose(
                found.loc[row].astype(float), table.loc[term].astype(float), rtol=1e-8
            )
        difference = table.loc[second, "estimate"] - table.loc[first, "estimate"]
        assert found.loc["contextual", "estimate"] == pytest.approx(difference)
    # Mundlak's form at both levels at once is the same model
    mundlak = fit_lmm("y ~ x + x_mean + x_mean_mean + (1 | herd/cow)", split)
    for group, term in (("herd:cow", "x_mean"), ("herd", "x_mean_mean")):
        pair = (
            ("x_within", "x_mean_within") if group != "herd" else ("x_mean_within", "x_mean_mean")
        )
        found = contextual_effect(fit, *pair, group=group).loc["contextual"]
        np.testing.assert_allclose(
            found.astype(float), coef_table(mundlak).loc[term].astype(float), rtol=1e-6
        )
    with pytest.raises(ValueError, match="group='herd:cow' or 'herd'"):
        contextual_effect(fit, "x_within", "x_mean_within")
    with pytest.raises(ValueError, match="varies within groups"):
        contextual_effect(fit, "x_mean_within", "x_mean_mean", group="herd:cow")


def test_contextual_effects_of_one_factor_are_those_of_its_own_engine() -> None:
    data = center_within(read("herds"), "x", "herd")
    formula = "y ~ x + x_mean + (1 | herd)"
    one = contextual_effect(fit_lmm(formula, data), "x", "x_mean", group="herd")
    found = contextual_effect(one_by_bars(formula, data), "x", "x_mean")
    pd.testing.assert_frame_equal(found, one, rtol=1e-6)
    with pytest.raises(ValueError, match="the only grouping factor is 'herd'"):
        contextual_effect(fit_lmm(formula, data), "x", "x_mean", group="cow")


# ---- analysis of variance


@pytest.mark.parametrize("case", R["anova"], ids=lambda c: c["data"])
def test_mean_squares_of_nested_designs_are_rs(case: dict[str, Any]) -> None:
    name = case["data"]
    y, groups = {
        "pastes": ("strength", ["batch", "cask"]),
        "stages": ("y", ["lab", "plate", "well"]),
    }[name]
    found = anova_components(f"{y} ~ 1", read(name), groups)
    assert list(found.index) == [":".join(groups[: k + 1]) for k in range(len(groups))] + ["within"]
    for column in ("df", "sum_sq", "mean_sq"):
        np.testing.assert_allclose(found[column], case[column], rtol=1e-10)
    fit = fit_lmm(f"{y} ~ 1 + (1 | {'/'.join(groups)})", read(name))
    # balanced, and no estimate below zero: REML gives the same
    for group, G in fit.cov_re_by_group.items():
        assert found.loc[group, "variance"] == pytest.approx(G.iloc[0, 0], rel=1e-5)
    assert found.loc["within", "variance"] == pytest.approx(fit.scale, rel=1e-6)


def test_pastes_has_the_published_components() -> None:
    """Davies & Goldsmith (1972): batches 1.66, casks 8.43, analyses 0.68."""
    found = anova_components("strength ~ 1", read("pastes"), ["batch", "cask"])
    assert list(found["variance"].round(2)) == [1.66, 8.43, 0.68]
    assert list(found["rows"]) == [6, 2, 1]
    assert found.loc["batch", "expected_mean_sq"] == (
        "var(within) + 2 var(batch:cask) + 6 var(batch)"
    )
    assert found.loc["batch", "tested_against"] == "batch:cask"
    assert found.loc["batch", "f"] == pytest.approx(27.489 / 17.545, rel=1e-4)
    assert found.loc["batch:cask", "f"] == pytest.approx(17.545 / 0.678, rel=1e-4)


def test_a_negative_estimate_of_a_stage_is_shown() -> None:
    data = read("stages")
    # the same labs' means for all plates: plates differ less than wells make them
    data["y"] -= data.groupby(["lab", "plate"])["y"].transform("mean")
    data["y"] += data["lab"]
    found = anova_components("y ~ 1", data, ["lab", "plate", "well"])
    row, below = found.loc["lab:plate"], found.loc["lab:plate:well"]
    assert row["variance"] == pytest.approx(-below["mean_sq"] / 6) and row["sd"] == 0.0
    assert row["note"].startswith("negative estimate")
    assert (found["note"] != "").sum() == 1


def test_one_column_in_a_list_is_that_column() -> None:
    data = read("pastes")
    one = anova_components("strength ~ 1", data, "batch")
    pd.testing.assert_frame_equal(anova_components("strength ~ 1", data, ["batch"]), one)


@pytest.mark.parametrize(
    "change, arguments, words",
    [
        (lambda d: d.iloc[1:], {}, r"not balanced.*fit_lmm\('strength ~ 1 \+ \(1 \| batch/cask\)'"),
        (lambda d: d.drop_duplicates(["batch", "cask"]), {}, "leave 'cask' out"),
        (lambda d: d.assign(cask=d["batch"]), {}, "single level of 'batch:cask'"),
        (lambda d: d, {"groups": ["batch", "casks"]}, "casks"),
        (lambda d: d, {"groups": ["batch", "batch"]}, "twice"),
        (lambda d: d.assign(x=np.arange(60.0)), {"formula": "strength ~ x"}, "no predictors"),
        (lambda d: d.assign(strength=1.0), {}, "does not vary"),
    ],
)
def test_nested_analyses_name_what_is_wrong(
    change: Callable[[pd.DataFrame], pd.DataFrame], arguments: dict[str, Any], words: str
) -> None:
    given = {"formula": "strength ~ 1", "groups": ["batch", "cask"]} | arguments
    with pytest.raises(ValueError, match=words):
        anova_components(given["formula"], change(read("pastes")), given["groups"])


# ---- powers


@pytest.mark.parametrize("case", R["boxcox"], ids=lambda c: c["data"])
def test_likelihoods_of_powers_are_lme4s(case: dict[str, Any]) -> None:
    fit = fit_lmm(case["formula"], read(case["data"]))
    found = boxcox_lmm(fit, lambdas=case["lambdas"])
    np.testing.assert_allclose(found.profile["llf"], case["llf"], atol=1e-7)
    ml = boxcox_lmm(fit_lmm(case["formula"], read(case["data"]), reml=False), case["lambdas"])
    assert ml.estimate == pytest.approx(found.estimate, abs=1e-5)


def test_powers_of_one_factor_and_of_weighted_rows() -> None:
    data = read("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    one, found = boxcox_lmm(fit_lmm(formula, data)), boxcox_lmm(one_by_bars(formula, data))
    np.testing.assert_allclose(found.profile["llf"], one.profile["llf"], atol=1e-7)
    ends = [(b.estimate, b.ci_low, b.ci_high) for b in (one, found)]
    # bisected where the likelihood is flat: half of its digits
    np.testing.assert_allclose(*ends, atol=1e-5)
    herds = read("herds").assign(y=lambda d: d["y"] - d["y"].min() + 1.0)
    formula = "y ~ x + (1 | herd/cow)"
    weighted = fit_lmm(formula, herds, weights="w")
    at = boxcox_lmm(weighted, lambdas=[0.5, 1.0]).profile.set_index("lambda_")["llf"]
    assert at[1.0] == pytest.approx(
        fit_lmm("y ~ x + (1 | herd/cow)", herds, weights="w", reml=False).llf
    )
    root = herds.assign(y=2.0 * np.sqrt(herds["y"]))
    other = fit_lmm(formula, root, weights="w", reml=False).llf
    assert at[0.5] == pytest.approx(other - 0.5 * np.log(herds["y"]).sum())
    with pytest.raises(ValueError, match="0 or below"):
        boxcox_lmm(fitted("herds-day"))


# ---- what must not change

CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "rows permuted": lambda d: d.sample(frac=1.0, random_state=1),
    "other index": lambda d: d.set_index(np.arange(len(d)) * 7 + 3),
    "groups relabelled": lambda d: d.assign(
        herd="h" + (20 - d["herd"]).astype(str), cow=-d["cow"] * 10.5, day=pd.Categorical(d["day"])
    ),
    "y scaled": lambda d: d.assign(y=d["y"] * 1e6),
}


@cache
def answers(name: str) -> dict[str, Any]:
    """What the helpers say of the herds after a change; "" is none."""
    data = read("herds")
    data = data.assign(y=data["y"] - data["y"].min() + 1.0)
    data = CHANGES[name](data) if name else data
    fit = fit_lmm("y ~ x + z + (x | herd) + (1 | herd:cow) + (1 | day)", data)
    plain = fit_lmm("y ~ x + z + (1 | herd/cow) + (1 | day)", data)
    return {
        "influence": [influence(plain, by).sort_values("cooks_distance") for by in ("day", "herd")],
        "kept": np.sort(shrinkage_factor(plain, group="herd:cow")),
        "effect": design_effect(plain).loc["all factors", "design_effect"],
        "function": variance_function(fit, "x", [0.0, 1.0])["share"],
        "power": boxcox_lmm(plain, lambdas=[1.0]).estimate,
    }


@pytest.mark.parametrize("name", list(CHANGES))
def test_order_labels_and_units_change_nothing(name: str) -> None:
    one, other = answers(""), answers(name)
    for tables in zip(one["influence"], other["influence"], strict=True):
        for column in ("n", "cooks_distance", "covratio"):
            np.testing.assert_allclose(*[t[column] for t in tables], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(one["kept"], other["kept"], rtol=1e-5)
    assert one["effect"] == pytest.approx(other["effect"], rel=1e-6)
    np.testing.assert_allclose(one["function"], other["function"], rtol=1e-5)
    assert one["power"] == pytest.approx(other["power"], abs=1e-4)


def test_fits_with_correlated_residuals_are_refused() -> None:
    data = read("herds")
    data["time"] = data.groupby(["herd", "cow"]).cumcount()
    kept = data[data.groupby(["herd", "cow"])["x"].transform("size") > 1]
    fit = fit_lmm("y ~ x + (x | herd) + (1 | herd:cow)", kept, correlation="ar1(time)")
    for helper in (
        lambda: influence(fit, "herd"),
        lambda: design_effect(fit),
        lambda: variance_function(fit, "x", [0.0]),
        lambda: boxcox_lmm(fit),
    ):
        with pytest.raises(ValueError, match="doesn't take a fit with"):
            helper()

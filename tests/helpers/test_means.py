"""Marginal means and comparisons against R's emmeans (record_means.R), and what must not happen."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recorded import HERE, ROOT

from pylmm_helpers import contrast, fit_lmm, load, marginal_means
from pylmm_helpers.quantities.multiplicity import adjusted

CASES = json.loads((HERE / "reference" / "means.json").read_text(encoding="utf-8"))["cases"]
IDS = [case["id"] for case in CASES]


def fitted(case: dict[str, Any]) -> Any:
    places = [ROOT / "datasets", HERE / "data"]
    data = next(p / f"{case['data']}.csv" for p in places if (p / f"{case['data']}.csv").exists())
    return fit_lmm(case["formula"].replace("factor(", "C("), pd.read_csv(data))


def called(case: dict[str, Any], **more: Any) -> pd.DataFrame:
    return marginal_means(
        fitted(case), case["specs"], by=case["by"] or None, at=case["at"] or None, df=case["df"],
        weights=case["weights"], **more,
    )  # fmt: skip


def labels(case: dict[str, Any], table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Keys of our rows as text."""
    return [
        tuple(str(v) for v in (key if isinstance(key, tuple) else (key,))) for key in table.index
    ]


def listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_means_are_those_of_emmeans(case: dict[str, Any]) -> None:
    ours = called(case)
    columns = [*listed(case["by"]), *listed(case["specs"])]
    theirs = {tuple(str(row[c]) for c in columns): row for row in case["means"]}
    assert sorted(labels(case, ours)) == sorted(theirs)
    for key, (_, row) in zip(labels(case, ours), ours.iterrows(), strict=True):
        want = theirs[key]
        # both optimisers stop within 1e-7 of the variances, which shows in the fifth digit of df
        assert row["estimate"] == pytest.approx(want["emmean"], rel=1e-6)
        assert row["std_error"] == pytest.approx(want["SE"], rel=1e-5)
        assert row["df"] == pytest.approx(want["df"], rel=1e-4)
        assert row["ci_low"] == pytest.approx(want["lower.CL"], rel=1e-5)
        assert row["ci_high"] == pytest.approx(want["upper.CL"], rel=1e-5)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_comparisons_are_those_of_emmeans(case: dict[str, Any]) -> None:
    ours = called(case, pairs=True, adjust=case["adjust"])
    by = listed(case["by"])
    found = {
        (*key[:-1], *sides(key[-1])): row
        for key, (_, row) in zip(labels(case, ours), ours.iterrows(), strict=True)
    }
    assert len(found) == len(case["tests"])
    for test, limit in zip(case["tests"], case["limits"], strict=True):
        words = [w.removeprefix("treatment") for w in sides(test["contrast"])]
        first, second = (plain(case, w) for w in words)
        outer = [str(test[c]) for c in by]
        sign = 1.0 if (*outer, first, second) in found else -1.0
        row = found[(*outer, first, second) if sign > 0 else (*outer, second, first)]
        assert sign * row["estimate"] == pytest.approx(test["estimate"], rel=1e-5, abs=1e-7)
        assert row["std_error"] == pytest.approx(test["SE"], rel=1e-5)
        assert row["df"] == pytest.approx(test["df"], rel=1e-4)
        # R's ptukey is good to about 1e-7, and to 1e-4 of a small tail
        assert row["p_value"] == pytest.approx(test["p.value"], rel=3e-4, abs=1e-7)
        ends = sorted([sign * row["ci_low"], sign * row["ci_high"]])
        assert ends == pytest.approx([limit["lower.CL"], limit["upper.CL"]], rel=1e-4, abs=1e-4)


def sides(words: str) -> tuple[str, str]:
    first, second = words.split(" - ")
    return first.strip("()"), second.strip("()")


def plain(case: dict[str, Any], words: str) -> str:
    return words.replace("treatment", "")


def test_the_numbers_of_the_handbook() -> None:
    fit = fit_lmm("milk_kg ~ parity + feeding", load("dairy_herds"), "herd")
    means = marginal_means(fit, "feeding")["estimate"]
    assert means.round().to_dict() == {"pasture": 170.0, "mixed": 180.0, "confined": 193.0}
    pair = marginal_means(fit, "feeding", pairs=True).loc["mixed - confined"]
    assert pair["estimate"] == pytest.approx(-12.89, abs=5e-3)
    assert pair["std_error"] == pytest.approx(4.49, abs=5e-3)
    assert pair["df"] == pytest.approx(44.2, abs=0.05)
    assert pair["p_value"] == pytest.approx(0.0170, abs=5e-5)


@pytest.fixture(scope="module")
def dairy() -> Any:
    return fit_lmm("milk_kg ~ parity + feeding", load("dairy_herds"), "herd")


def test_a_pair_is_the_contrast_of_the_coefficients(dairy: Any) -> None:
    pair = marginal_means(dairy, "feeding", pairs=True, adjust="none").loc["pasture - mixed"]
    name = next(n for n in dairy.fe_params.index if "mixed" in n)
    alone = contrast(dairy, {name: -1.0}).iloc[0]
    for column in ("estimate", "std_error", "df", "statistic", "p_value", "ci_low", "ci_high"):
        assert pair[column] == pytest.approx(alone[column], rel=1e-10)


def test_the_coding_of_categories_does_not_matter(dairy: Any) -> None:
    data = load("dairy_herds")
    data["feeding"] = pd.Categorical(data["feeding"].astype(str), ["confined", "pasture", "mixed"])
    again = marginal_means(fit_lmm("milk_kg ~ feeding + parity", data, "herd"), "feeding")
    sums = fit_lmm("milk_kg ~ C(feeding, contr.sum) + parity", data, "herd")
    for table in (again, marginal_means(sums, "feeding")):
        np.testing.assert_allclose(
            table.loc[["pasture", "mixed", "confined"]],
            marginal_means(dairy, "feeding").loc[["pasture", "mixed", "confined"]],
            rtol=1e-6,
        )


def test_true_and_false_are_categories() -> None:
    data = load("bp_trial")
    data["treated"] = data["treatment"].astype(int).astype(bool)
    data["arm"] = data["treated"].map({True: "yes", False: "no"})
    formula = "bp_reduction ~ {} + baseline_sbp"
    one = marginal_means(fit_lmm(formula.format("treated"), data, "hospital"), "treated")
    two = marginal_means(fit_lmm(formula.format("arm"), data, "hospital"), "arm")
    np.testing.assert_allclose(one, two, rtol=1e-7)
    assert list(one.index) == [False, True]


def test_values_of_a_number_can_be_chosen(dairy: Any) -> None:
    table = marginal_means(dairy, "parity", at={"parity": [1, 4]})
    step = table["estimate"].diff().iloc[1]
    assert step == pytest.approx(3.0 * dairy.fe_params["parity"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"specs": "parity"}, "'parity' is a column of numbers.*at="),
        ({"specs": "region"}, "no column 'region'.*feeding"),
        ({"specs": "feeding", "by": "feeding"}, "in specs and in by"),
        ({"specs": []}, "specs is empty"),
        ({"specs": 3}, "specs is 3"),
        ({"specs": "feeding", "at": {"herd_size": 100}}, "at names 'herd_size'"),
        ({"specs": "feeding", "at": {"feeding": ["hay"]}}, "'hay'"),
        ({"specs": "feeding", "adjust": "tukey"}, "made for pairs"),
        ({"specs": "feeding", "adjust": "scheffe"}, "adjust"),
        ({"specs": "feeding", "weights": "cells"}, "weights"),
        ({"specs": "feeding", "df": "residual"}, "df must be one of"),
        ({"specs": "feeding", "pairs": "yes"}, "pairs is 'yes'"),
        ({"specs": "feeding", "pairs": True, "at": {"feeding": "mixed"}}, "one mean only"),
    ],
)
def test_what_can_not_be_answered_is_named(dairy: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        marginal_means(dairy, **options)


@pytest.mark.parametrize("adjust", ["tukey", "holm", "sidak", "bonferroni"])
def test_adjusted_tests_and_limits_agree_and_are_never_bolder(adjust: str) -> None:
    rng = np.random.default_rng(1)
    t, df = rng.normal(0.0, 2.5, 6), rng.uniform(3.0, 60.0, 6)
    p, far = adjusted(t, df, adjust, 4, 0.95)
    alone, near = adjusted(t, df, "none", 4, 0.95)
    assert (p >= alone).all() and (far > near).all()
    if adjust != "holm":  # whose limits are Bonferroni's
        np.testing.assert_array_equal(p < 0.05, np.abs(t) > far)


def test_many_comparisons_have_the_limits_of_single_ones() -> None:
    rng = np.random.default_rng(2)
    df = rng.uniform(4.0, 200.0, 21)
    _, far = adjusted(np.ones(21), df, "tukey", 7, 0.95)
    for k in (0, 10, 20):
        _, alone = adjusted(np.ones(2), df[[k, k]], "tukey", 7, 0.95)
        # interpolated in 1/df
        assert far[k] == pytest.approx(alone[0], rel=1e-7)


def test_families_are_the_categories_of_by() -> None:
    data = load("bp_trial")
    fit = fit_lmm("bp_reduction ~ hospital_type * sex + age", data, "hospital")
    table = marginal_means(fit, "hospital_type", by="sex", pairs=True)
    each = [
        marginal_means(fit, "hospital_type", at={"sex": value}, pairs=True)
        for value in table.index.unique("sex")
    ]
    np.testing.assert_allclose(table, pd.concat(each), rtol=1e-9)

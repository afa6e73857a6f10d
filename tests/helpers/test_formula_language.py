"""A formula means here what it means in R, or is refused with what to write."""

from __future__ import annotations

import json
import shutil
import subprocess
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pylmm_helpers
from pylmm_helpers import (
    anova_components,
    boxcox_lmm,
    contextual_effect,
    contrast,
    cross_products,
    fit_lmm,
    load,
    lrt,
    predict,
    refit,
)
from pylmm_helpers.formula.new_data import model_columns

# Ibis calls a method of DuckDB that the newest DuckDB renames
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CASES = json.loads((HERE / "reference" / "formulas.json").read_text(encoding="utf-8"))["cases"]
NEW = pd.DataFrame(
    {"Days": [9, 2], "u": [3, 8], "w": [2, 4], "k": [1, 2], "t": ["b", "c"],
     "flag": [False, True], "Subject": [308, 372]}
)  # fmt: skip


def sleep() -> pd.DataFrame:
    """The sleepstudy with the columns that record_formulas.R makes."""
    d = pd.DataFrame(load("sleepstudy"))
    d["Subject"] = d["Subject"].astype(str).astype(int)
    days, subject = d["Days"].astype(int), d["Subject"]
    d["Days"] = days
    d["k"] = days % 3
    d["t"] = d["k"].map({0: "a", 1: "b", 2: "c"})
    d["u"] = (7 * days + subject) % 10 + 1
    d["w"] = (3 * subject + days) % 5 + 1
    d["flag"] = d["u"] > 5
    return d


def refusal(formula: str, data: pd.DataFrame | None = None, **arguments: Any) -> str:
    """The words of a refusal; a ValueError itself, without codes for a terminal."""
    data = sleep() if data is None else data
    with pytest.raises(ValueError) as caught:
        fit_lmm(formula, data, **{"groups": "Subject", **arguments})
    assert type(caught.value) is ValueError
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) > 30
    return str(caught.value)


# --- what works, and means the same ---------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=[case["formula"] for case in CASES])
def test_a_formula_means_what_it_means_in_lme4(case: dict[str, Any]) -> None:
    fit = fit_lmm(case["formula"], sleep(), "Subject", reml=False)
    # lme4 stops its search where the criterion is flat: 1e-6 of a deviance of 2,000
    assert fit.criterion == pytest.approx(case["deviance"], rel=1e-9, abs=2e-6)
    rows = fit.fittedvalues.iloc[[0, 49, 179]]
    np.testing.assert_allclose(rows, case["fitted"], rtol=1e-5)
    population, group = predict(fit, NEW), predict(fit, NEW, level="group")
    np.testing.assert_allclose(population["prediction"], case["population"], rtol=1e-5)
    np.testing.assert_allclose(group["prediction"], case["group"], rtol=1e-5)
    if "cr(" not in case["formula"]:  # the same curves from other columns
        size = np.abs(case["beta"]).max()
        np.testing.assert_allclose(
            fit.fe_params, np.ravel(case["beta"]), rtol=1e-5, atol=1e-6 * size
        )
    np.testing.assert_allclose(fit.fittedvalues + fit.resid, fit.y, rtol=1e-12)
    again = refit(fit, fit.y)
    assert again.criterion == pytest.approx(fit.criterion, rel=1e-12)
    np.testing.assert_allclose(again.fittedvalues, fit.fittedvalues, rtol=1e-10)


NO_QUERY = ("scale", "center", "poly", "bs(", "cr(", "10)", ", 2)", "log1p")
QUERIES = [case for case in CASES if not any(word in case["formula"] for word in NO_QUERY)]


@pytest.mark.parametrize("case", QUERIES, ids=[case["formula"] for case in QUERIES])
def test_the_same_formula_on_a_table_of_any_size(case: dict[str, Any]) -> None:
    products = cross_products(sleep(), case["formula"], "Subject", progress=False)
    fit = fit_lmm(products, reml=False)
    assert fit.criterion == pytest.approx(case["deviance"], rel=1e-9, abs=2e-6)
    own = fit_lmm(case["formula"], sleep(), "Subject", reml=False)
    assert list(fit.fe_params.index) == list(own.fe_params.index)
    np.testing.assert_allclose(fit.fe_params, own.fe_params, rtol=1e-7)
    assert fit.endog_name == own.endog_name


def test_r_gives_the_recorded_values_again(tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("needs Rscript")
    made = tmp_path / "formulas.json"
    run = subprocess.run(
        ["Rscript", "--vanilla", "tests/helpers/record_formulas.R", str(made)],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if run.returncode and "there is no package" in run.stderr:
        pytest.skip("needs lme4 and jsonlite in R")
    assert run.returncode == 0, run.stderr
    for old, new in zip(CASES, json.loads(made.read_text())["cases"], strict=True):
        assert old["formula"] == new["formula"]
        assert new["deviance"] == pytest.approx(old["deviance"], rel=1e-7)
        assert new["fitted"] == pytest.approx(old["fitted"], rel=1e-4)


def test_a_formula_may_run_over_lines() -> None:
    long = """
        log(Reaction)
          - log(u) ~ Days +
          factor(k)
          + offset(log(w))
    """
    short = "log(Reaction) - log(u) ~ Days + factor(k) + offset(log(w))"
    assert fit_lmm(long, sleep(), "Subject").criterion == unhidden(short).criterion


# --- what is refused, and with which words --------------------------------------------------------

REFUSED = {
    "Reaction ~ I(u^2)": r"\*\*",
    "Reaction ~ I((u + 1)^2)": r"\*\*",
    "Reaction ~ np.log(u^2)": r"\*\*",
    "Reaction ~ {u^2}": r"\*\*",
    "Reaction ~ scale(I(u^2))": r"\*\*",
    "Reaction^2 ~ Days": r"\*\*",
    "log(Reaction^2) ~ Days": r"\*\*",
    "Reaction ~ offset(u^2)": r"\*\*",
    "Reaction ~ u^2": r"I\(u\*\*2\)",
    "Reaction ~ u + u**2": r"I\(u\*\*2\)",
    "Reaction ~ .": "one by one",
    "Reaction ~ . - Days": "one by one",
    "Reaction ~ Days || Subject": r"\(1 \| group\)|x \|\| g",
    "Reaction ~ (Days || Subject)": "groups= and re_formula=",
    "Reaction ~ Days + (1 | Subject)": "groups=",
    "Reaction ~ k %in% t": "a:b",
    "Reaction ~ u %% 2": "np.mod",
    "Reaction ~ u %/% 2": "floor_divide",
    "Reaction ~ ns(Days, 3)": r"cr\(",
    "Reaction ~ as.numeric(Days)": "to_numeric",
    "Reaction ~ relevel(t, ref='b')": "Treatment",
    "Reaction ~ ordered(k)": "ordered category",
    "Reaction ~ ifelse(u > 5, 1, 0)": "np.where",
    "Reaction ~ cut(u, 3)": "pd.cut",
    "Reaction ~ interaction(t, flag)": "a:b",
    "Reaction ~ dummy(t, 'a')": "==",
    "cbind(Reaction, u) ~ Days": "one response",
    "Reaction ~ lag(u)": "groupby",
    "Reaction ~ C(k, Dummy)": "Treatment, Sum",
    "Reaction ~ C(k, [1, 2])": "coding",
    "Reaction ~ C(t, levels=['a', 'b'])": "'c'",
    "Reaction ~ u * offset(w)": "by itself",
    "Reaction ~ Days - offset(w)": "by itself",
    "Reaction ~ (Days + offset(w))": "by itself",
    "Reaction ~ offset(t)": "must be numbers",
    "Reaction ~ offset()": "no arithmetic",
    "Reaction ~ offset(u, w)": "no arithmetic",
    "Reaction ~ Days - np.mean(Days)": r"I\(Days - np.mean",
    "Reaction ~ Days - w": r"I\(Days - w\)",
    "Reaction ~ days awake": "`days awake`",
    "Reaction ~ Q(Days)": "quotes",
    "Reaction ~": "ends too early",
    "~ Days": "no response",
    "Reaction": "no response",
    "Reaction ~ Days ~ u": "more than once",
    "Reaction ~ (Days": "balance",
    "Reaction, u ~ Days": "no arithmetic",
    "Reaction:u ~ Days": "no arithmetic",
    "5 ~ Days": "constant",
    "t ~ Days": "one numeric column",
    "Reaction ~ cr(Days, df=4)": "constraints='center'",
    "Reaction ~ `1`": "rename",
    "`0` ~ Days": "rename",
}  # fmt: skip


@pytest.mark.parametrize("formula", list(REFUSED))
def test_what_has_no_counterpart_says_what_to_write(formula: str) -> None:
    text = refusal(formula)
    assert pd.Series([text]).str.contains(REFUSED[formula]).all(), text


@pytest.mark.parametrize("formula", [f for f in REFUSED if "cr(" not in f and "5 ~" not in f])
def test_a_query_refuses_the_same_formulas(formula: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[formula] + "|add it to the table"):
        cross_products(sleep(), formula, "Subject", progress=False)


@pytest.mark.parametrize(
    ("random", "words"),
    [("1 + Days || Subject", r"x \|\| g"), ("1 | Subject", "groups="),
     ("Days^2", r"I\(Days\*\*2\)"), ("I(Days^2)", r"\*\*"),
     ("1 + offset(u)", "write it in the formula"), (".", "one by one"),
     ("", "too early"), ("0", "no term"), ("Days ~ 1", "one-sided"), ("Days - u", "not there")],
)  # fmt: skip
def test_the_random_part_is_read_by_the_same_rules(random: str, words: str) -> None:
    text = refusal("Reaction ~ Days", re_formula=random)
    assert pd.Series([text]).str.contains(words).all(), text


PIECES = st.sampled_from(
    ["Reaction", "Days", "u", "t", "k", "flag", "w", "1", "0", "2", "-1", "~", "+", "-", "*", ":",
     "/", "^", "**", "|", "||", "%in%", "(", ")", "[", "]", "{", "}", ",", ".", "..", "`", "'", '"',
     "C(", "I(", "np.log(", "log(", "offset(", "Q('", "poly(", "scale(", "factor(", "as.factor(",
     "bs(", "cr(", "np", "np.", "x y", "lambda", "if", "None", "=", "==", "<", ">", "$", "@", "#",
     "\\", "\n", " ", "Treatment", "TRUE", "df=3", "é", "\u200b", ";", "!", "?", "df", "~~", "1e9"]
)  # fmt: skip


@settings(
    max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.lists(PIECES, min_size=0, max_size=9), st.booleans())
def test_any_text_gives_an_answer_or_a_value_error(pieces: list[str], random: bool) -> None:
    text = "".join(pieces)
    formula, varying = ("Reaction ~ Days", text) if random else (f"Reaction ~ Days + {text}", "1")
    data = sleep().iloc[:60]
    for attempt in (formula, text) if not random else (formula,):
        fit, error = tried(attempt, data, varying)
        if fit is None:
            assert type(error) is ValueError
            assert "\x1b" not in str(error)
            assert len(str(error)) > 20
        else:
            assert np.isfinite(fit.criterion)
            predict(fit, data.iloc[:2])


def tried(formula: str, data: pd.DataFrame, random: str) -> tuple[Any, ValueError | None]:
    """A fit, or the reason why there is none."""
    try:
        return fit_lmm(formula, data, "Subject", random), None
    except ValueError as error:
        return None, error


# --- names: the language is never hidden ----------------------------------------------------------


def test_no_variable_of_the_caller_hides_the_language() -> None:
    from math import exp, log
    from math import sqrt as np  # noqa: F401  # even this

    from numpy import poly

    C, scale, center, factor, I, bs, Treatment, Sum, offset = (5.0,) * 9  # noqa: E741
    wanted = {
        "log(Reaction) ~ log(u) + exp(Days / 9)": "np.log(Reaction) ~ np.log(u) + np.exp(Days / 9)",
        "Reaction ~ C(k, Treatment) + scale(u)": "Reaction ~ factor(k) + scale(u)",
        "Reaction ~ poly(Days, 2) + center(u)": "Reaction ~ poly(Days, 2) + center(u)",
        "Reaction ~ C(k, Sum) + I(u**2) + offset(w)": "Reaction ~ C(k, Sum()) + {u**2} + offset(w)",
        "Reaction ~ bs(Days, df=4)": "Reaction ~ bs(Days, df=4)",
    }
    assert callable(log) and callable(exp) and callable(poly) and {C, scale, center, factor, I, bs}
    assert {Treatment, Sum, offset} == {5.0}
    for formula, same in wanted.items():
        fit = fit_lmm(formula, sleep(), "Subject")
        assert fit.criterion == pytest.approx(unhidden(same).criterion, rel=1e-12)
        predict(fit, sleep().iloc[:3])


def unhidden(formula: str) -> Any:
    """A fit from a place without such variables."""
    return fit_lmm(formula, sleep(), "Subject")


@pytest.mark.parametrize(
    "name", ["C", "log", "scale", "center", "poly", "I", "np", "Treatment", "offset", "factor",
             "abs", "Q", "bs", "contr", "Subject_2", "a b", "rt.ms", "class", "é", "x-1", "a:b",
             "C(u)", "lambda", "1st"]
)  # fmt: skip
def test_a_column_of_any_name_is_a_column(name: str) -> None:
    renamed = sleep().rename(columns={"u": name})
    plain = fit_lmm("Reaction ~ u + C(k) + np.log(u + 1) + abs(Days - 3)", sleep(), "Subject")
    plain_name = name.isidentifier() and name not in ("class", "lambda")
    spellings = [f"`{name}`", f"Q('{name}')", *([name] if plain_name or name == "rt.ms" else [])]
    for spelt in spellings:
        formula = f"Reaction ~ {spelt} + C(k) + np.log({spelt} + 1) + abs(Days - 3)"
        fit = fit_lmm(formula, renamed, "Subject")
        np.testing.assert_allclose(fit.fe_params, plain.fe_params, rtol=1e-9)
        own = fit_lmm(f"{spelt} - 1 ~ Days", renamed, "Subject", missing="drop")
        np.testing.assert_allclose(own.y, sleep()["u"] - 1)
        rows = renamed.iloc[[3, 5]]
        np.testing.assert_array_equal(model_columns(fit.design, rows, "fixed"), fit.X[[3, 5]])
    gaps = renamed.astype({name: float})
    gaps.loc[[2, 7], name] = np.nan
    dropped = fit_lmm(f"Reaction ~ Q('{name}')", gaps, "Subject", missing="drop")
    assert (dropped.n_dropped, dropped.nobs) == (2, 178)


def test_columns_called_like_the_codings_and_functions_are_both() -> None:
    d = sleep().assign(C=sleep()["k"], scale=sleep()["w"], Treatment=sleep()["flag"].astype(str))
    fit = fit_lmm(
        "Reaction ~ C + C(C) - C + scale(scale) + C(Treatment, Treatment('True'))", d, "Subject"
    )
    same = fit_lmm("Reaction ~ C(k) + scale(w) + C(flag, Treatment(True))", sleep(), "Subject")
    assert fit.criterion == pytest.approx(same.criterion, rel=1e-10)


@pytest.mark.parametrize(
    ("change", "formula", "groups", "words"),
    [
        (lambda d: d.set_index("Subject"), "Reaction ~ Days", "Subject", r"reset_index\(\)"),
        (lambda d: d.set_index("Days"), "Reaction ~ Days", "Subject", r"reset_index\(\)"),
        (lambda d: d.rename(columns={"Subject": 7}), "Reaction ~ Days", "7", "astype"),
        (lambda d: d.set_axis(range(d.shape[1]), axis=1), "`0` ~ `1`", "2", "rename"),
        (lambda d: d.set_axis(pd.MultiIndex.from_product([["a"], d.columns]), axis=1),
         "Reaction ~ Days", "Subject", "'_'.join"),
        (lambda d: d, "Reaction ~ Days", ["Subject"], "groups='Subject'"),
        (lambda d: d, "Reaction ~ Days", ("Subject", "k"), "more than one"),
    ],
)  # fmt: skip
def test_where_a_column_is_looked_for_is_said(change, formula, groups, words) -> None:
    text = refusal(formula, change(sleep()), groups=groups)
    assert pd.Series([text]).str.contains(words).all(), text
    with pytest.raises(ValueError, match=words):
        cross_products(change(sleep()), formula, groups, progress=False)


# --- predictors that can't be meant ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", [object, "category", "string", "string[pyarrow]"])
@pytest.mark.parametrize("right", ["arm + Days", "C(arm)", "0 + arm", "arm * Days"])
def test_one_level_is_refused(dtype: Any, right: str) -> None:
    d = sleep().assign(arm=pd.Series(["x"] * 180, dtype=dtype))
    assert "'x'" in refusal(f"Reaction ~ {right}", d)
    number = sleep().assign(arm=3)
    assert "one level" in refusal("Reaction ~ C(arm) + Days", number)


@pytest.mark.parametrize(
    "values",
    [
        lambda v: f"{v:.1f}".replace(".", ","),
        lambda v: f"{v:.1f}",
        lambda v: f" {v:.0f},5 ",
        lambda v: "n/a" if v > 400 else f"{v:.2f}",
    ],
)
@pytest.mark.parametrize(
    "formula",
    ["Reaction ~ s", "s ~ Days", "Reaction ~ np.log(s)", "Reaction ~ I(s)", "Reaction ~ I(s * 2)",
     "Reaction ~ Days * s", "Reaction ~ offset(s)"],
)  # fmt: skip
def test_numbers_as_text_are_refused_wherever_they_stand(values: Any, formula: str) -> None:
    d = sleep().assign(s=sleep()["Reaction"].map(values))
    text = refusal(formula, d)
    assert "'s'" in text and "pd.to_numeric" in text


@pytest.mark.parametrize("number", [int, float, Fraction, Decimal, np.int64, np.float32])
def test_numbers_held_as_objects_are_refused(number: Any) -> None:
    values = [number(int(v)) for v in sleep()["u"]]
    text = refusal("Reaction ~ s", sleep().assign(s=pd.Series(values, dtype=object)))
    assert "'s'" in text
    assert "pd.to_numeric" in text


def test_text_that_holds_few_numbers_stays_text() -> None:
    d = sleep().assign(parity=sleep()["k"].map({0: "1", 1: "2", 2: "3+"}))
    assert len(fit_lmm("Reaction ~ parity", d, "Subject").fe_params) == 3


def test_an_empty_cell_is_named_with_a_remedy_that_works() -> None:
    rng = np.random.default_rng(101)
    rows = [(a, b, r) for a in "abc" for b in "ABC" for r in range(10)]
    z = pd.DataFrame(rows, columns=["f1", "f2", "g"])
    z["y"] = rng.normal(size=90)
    z["n"] = z["f2"].map({"A": 0, "B": 1, "C": 2})
    z = z[~((z["f1"] == "a") & (z["f2"] == "A"))]
    for formula in ("y ~ f1*f2", "y ~ f1:f2 - 1", "y ~ f1/f2", "y ~ C(f1)*C(f2)", "y ~ f1*C(n)"):
        text = refusal(formula, z, groups="g")
        assert "f1 = a" in text and ("= A" in text or "n = 0" in text)
        with pytest.raises(ValueError, match="f1 = a"):
            cross_products(z, formula, "g", progress=False)
    # the remedy, as the message spells it
    data = z
    cell = data.assign(cell=data["f1"].astype(str) + " " + data["f2"].astype(str))
    # lme4 on f1:f2, which drops the column of the empty cell
    assert fit_lmm("y ~ cell", cell, "g").criterion == pytest.approx(239.2374, abs=5e-5)
    assert "f1 = a" in refusal("y ~ f1 + f2", z, groups="g", re_formula="0 + f1:f2")


# --- what other helpers do with the same words ----------------------------------------------------


def test_an_offset_is_known_to_every_helper() -> None:
    d = sleep()
    fit = fit_lmm("Reaction ~ Days + offset(20 * u)", d, "Subject")
    less = fit_lmm("Reaction - 20 * u ~ Days", d, "Subject")
    for name in ("criterion", "scale", "aic"):
        assert getattr(fit, name) == pytest.approx(getattr(less, name), rel=1e-12)
    np.testing.assert_allclose(fit.resid, less.resid, atol=1e-9)
    np.testing.assert_allclose(fit.fittedvalues, less.fittedvalues + 20 * d["u"], rtol=1e-12)
    np.testing.assert_array_equal(fit.y, d["Reaction"])
    interval = predict(fit, NEW, level="group", interval="prediction")
    np.testing.assert_allclose(
        interval["std_error"], predict(less, NEW, "group", "prediction")["std_error"]
    )
    other = refit(fit, fit.y + d["u"])
    np.testing.assert_allclose(
        other.fe_params, fit_lmm("Reaction - 19 * u ~ Days", d, "Subject").fe_params, rtol=1e-9
    )
    left_out = pylmm_helpers.influence(fit)
    np.testing.assert_allclose(
        left_out.select_dtypes("number"),
        pylmm_helpers.influence(less).select_dtypes("number"),
        rtol=1e-6,
        atol=1e-9,
    )
    slopes = fit_lmm("Reaction ~ Days + offset(20 * u)", d, "Subject", "1 + Days")
    larger = fit_lmm("Reaction - 20 * u ~ Days", d, "Subject", "1 + Days")
    assert lrt(slopes, fit)["statistic"].iloc[0] == pytest.approx(
        lrt(larger, less)["statistic"].iloc[0], rel=1e-8
    )
    with pytest.raises(ValueError, match="offset"):
        lrt(slopes, fit_lmm("Reaction ~ Days", d, "Subject"))
    with pytest.raises(ValueError, match="offset"):
        boxcox_lmm(fit)
    with pytest.raises(ValueError, match="no column 'u'"):
        predict(fit, NEW.drop(columns="u"))


def test_weights_and_responses_are_matched_by_index_or_refused() -> None:
    d = sleep().set_index(pd.Index([f"r{k}" for k in range(180)]))
    w = pd.Series(np.linspace(1, 3, 180), index=d.index)
    fit = fit_lmm("Reaction ~ Days", d, "Subject", weights=w)
    shuffled = w.sample(frac=1, random_state=1)
    assert fit_lmm("Reaction ~ Days", d, "Subject", weights=shuffled).criterion == fit.criterion
    assert fit_lmm("Reaction ~ Days", d, "Subject", weights=w.to_numpy()).criterion == fit.criterion
    new = d["Reaction"] + np.arange(180)
    again = refit(fit, new)
    assert refit(fit, new.sample(frac=1, random_state=2)).criterion == again.criterion
    for wrong in (w.reset_index(drop=True), w.iloc[:-1], pd.concat([w.iloc[1:], w.iloc[1:2]])):
        assert "index" in refusal("Reaction ~ Days", d, weights=wrong)
    for wrong in (new.reset_index(drop=True), new.iloc[:-1]):
        with pytest.raises(ValueError, match="index"):
            refit(fit, wrong)
    twice = pd.concat([d, d.iloc[:5]])
    same = pd.Series(np.linspace(1, 2, 185), index=twice.index)
    assert fit_lmm("Reaction ~ Days", twice, "Subject", weights=same).nobs == 185
    assert "index" in refusal("Reaction ~ Days", twice, weights=same.iloc[::-1])


def test_a_contextual_effect_survives_rows_dropped_after_centring() -> None:
    d = sleep().assign(x=np.random.default_rng(0).normal(0, 1, 180) + sleep()["Subject"] % 5)
    centred = pylmm_helpers.center_within(d, "x", "Subject")
    centred.loc[[3, 50, 51], "Reaction"] = np.nan
    for formula, within, between in (
        ("Reaction ~ x_within + x_mean", "x_within", "x_mean"),
        ("Reaction ~ x + x_mean", "x", "x_mean"),
        ("Reaction ~ x_within + x", "x_within", "x"),
    ):
        fit = fit_lmm(formula, centred, "Subject", missing="drop")
        table = contextual_effect(fit, within, between)["estimate"]
        plain = fit_lmm(
            "Reaction ~ x_within + x_mean", centred, "Subject", missing="drop"
        ).fe_params
        assert table["within"] == pytest.approx(plain["x_within"], rel=1e-6)
        assert table["between"] == pytest.approx(plain["x_mean"], rel=1e-6)
    # columns of nothing but their own are still told apart
    other = centred.assign(z=np.random.default_rng(1).normal(size=180))
    fit = fit_lmm("Reaction ~ z + x_mean", other, "Subject", missing="drop")
    with pytest.raises(ValueError, match="not made from one predictor"):
        contextual_effect(fit, "z", "x_mean")


@pytest.mark.parametrize("random", [None, "1", "1 + Days"])
def test_a_statsmodels_fit_with_dropped_rows_keeps_its_groups(random: str | None) -> None:
    d = sleep()
    d.loc[5, "Reaction"] = np.nan
    fit = smf.mixedlm(
        "Reaction ~ Days", d, groups="Subject", re_formula=random, missing="drop"
    ).fit()
    own = fit_lmm("Reaction ~ Days", d, "Subject", random or "1", missing="drop")
    for rows in (d.iloc[:4], d.iloc[:4].astype({"Subject": str})):
        # statsmodels stops its search at other digits of the variances
        np.testing.assert_allclose(
            predict(fit, rows, level="group")["prediction"],
            predict(own, rows, level="group")["prediction"], rtol=1e-3,
        )  # fmt: skip


def test_a_statsmodels_formula_with_a_mean_in_it_is_refused() -> None:
    fit = smf.mixedlm("Reaction ~ I(Days - np.mean(Days))", sleep(), groups="Subject").fit()
    with pytest.raises(ValueError, match=r"center\(x\)"):
        predict(fit, {"Days": [9]})
    quoted = smf.mixedlm(
        "Reaction ~ Q('days awake')",
        sleep().rename(columns={"Days": "days awake"}),
        groups="Subject",
    ).fit()
    plain = smf.mixedlm("Reaction ~ Days", sleep(), groups="Subject").fit()
    np.testing.assert_allclose(
        predict(quoted, {"days awake": [9]})["prediction"],
        predict(plain, {"Days": [9]})["prediction"],
    )


def test_messages_hold_no_codes_for_a_terminal() -> None:
    fit = fit_lmm("Reaction ~ C(k)*Days", sleep(), "Subject")
    for call in (
        lambda: contrast(fit, "C(k)[T.1] + C(k)[T.1]:Days"),
        lambda: anova_components("Reaction ~ k k", groups="Subject", data=sleep()),
        lambda: fit_lmm("Reaction ~ k k", sleep(), "Subject"),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert "\x1b" not in str(caught.value) and "⧛" not in str(caught.value)


@pytest.mark.parametrize(
    ("formula", "remedy"),
    [
        ("reaction ~ 1/days", r"I\(1/days\)"),
        ("reaction ~ days/2", r"I\(days/2\)"),
        ("reaction ~ 2*days", r"I\(2\*days\)"),
        ("reaction ~ 2:days", r"I\(2\*days\)"),
        ("reaction ~ -*days", "follow each other"),
        ("reaction ~ days + - * w", "follow each other"),
    ],
)
def test_operators_that_lose_or_rescale_a_term_are_refused(formula: str, remedy: str) -> None:
    days = np.tile(np.arange(1.0, 11.0), 6)
    data = pd.DataFrame(
        {"days": days, "w": days**2, "reaction": np.sin(days * 7.0), "g": np.repeat(range(6), 10)}
    )
    with pytest.raises(ValueError, match=remedy):
        fit_lmm(formula, data, groups="g")


def whole_and_true() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    d = pd.DataFrame({"g": np.repeat(range(12), 8), "x": rng.normal(size=96)})
    d["ms"] = 1_600_000_000_000 + rng.integers(0, 10**11, 96)
    d["z"], d["a"], d["b"] = rng.integers(0, 5, 96), rng.random(96) > 0.5, rng.random(96) > 0.4
    return d.assign(y=d["x"] + rng.normal(size=12)[d["g"]] + rng.normal(size=96))


@pytest.mark.parametrize(
    "formula",
    ["y ~ I(ms**2)", "y ~ ms:z", "ms*ms ~ x", "y ~ I((z + 1)**-1)", "y ~ I(a + b)", "y ~ I(a - b)",
     "a + b ~ x", "y ~ I(-a)", "y ~ I((x > 0) + (z > 2))", "y ~ x + offset(ms*ms/1e24)"],
)  # fmt: skip
def test_whole_numbers_and_truth_values_count_as_numbers_in_arithmetic(formula: str) -> None:
    d = whole_and_true()
    floats = d.assign(**{c: d[c].astype(float) for c in ("ms", "z", "a", "b")})
    ours, theirs = fit_lmm(formula, d, groups="g"), fit_lmm(formula, floats, groups="g")
    np.testing.assert_allclose(ours.fe_params, theirs.fe_params, rtol=1e-12)
    np.testing.assert_allclose(ours.criterion, theirs.criterion, rtol=1e-12)


def test_unsigned_numbers_beyond_63_bits_keep_their_sign() -> None:
    d = whole_and_true()
    d["u"] = np.random.default_rng(4).integers(0, 2**64, 96, dtype=np.uint64)
    fits = [fit_lmm("y ~ u", d.assign(u=d["u"].astype(kind)), groups="g") for kind in (float, "u8")]
    np.testing.assert_allclose(fits[0].fe_params, fits[1].fe_params, rtol=1e-12)


@pytest.mark.parametrize("term", ["x.cummax()", "np.maximum.accumulate(x)", "z.cummin()"])
def test_what_runs_along_the_rows_is_refused(term: str) -> None:
    with pytest.raises(ValueError, match="column of the data first"):
        fit_lmm(f"y ~ {term}", whole_and_true(), groups="g")


def test_a_column_with_the_name_of_the_intercept_is_refused() -> None:
    d = whole_and_true().rename(columns={"x": "Intercept"})
    for formula, varying in [("y ~ Intercept + z", "1"), ("y ~ z", "1 + Intercept")]:
        with pytest.raises(ValueError, match="'Intercept'; rename"):
            fit_lmm(formula, d, groups="g", re_formula=varying)


@pytest.mark.parametrize(
    "term",
    ["np.where(Days > 4, 'hi', 'lo')", "np.array(half)", "np.char.upper(np.array(half, dtype=str))",
     "half.str.upper()"],
)  # fmt: skip
@pytest.mark.parametrize("right", ["{}", "C({})", "C({}, Sum)", "{} * Days", "C({}):Days"])
def test_text_that_an_expression_makes_is_a_category(term: str, right: str) -> None:
    d = sleep().assign(half=lambda rows: np.where(rows["Days"] > 4, "hi", "lo"))
    right = right.format(term)
    fit = fit_lmm(f"Reaction ~ {right}", d, "Subject")
    plain = fit_lmm(f"Reaction ~ {right.replace(term, 'half')}", d, "Subject")
    np.testing.assert_allclose(fit.fe_params.abs(), plain.fe_params.abs(), rtol=1e-9)
    mixed = d.sample(frac=1, random_state=1)
    for rows in (mixed, mixed.set_axis([0] * len(d))):  # the index is no matter
        again = fit_lmm(f"Reaction ~ {right}", rows, "Subject")
        np.testing.assert_allclose(again.fe_params, fit.fe_params, rtol=1e-9)
    for k in (0, 7):
        one, whole = predict(fit, d.iloc[[k]]), predict(fit)
        assert one["prediction"].iloc[0] == pytest.approx(whole["prediction"].iloc[k], rel=1e-12)

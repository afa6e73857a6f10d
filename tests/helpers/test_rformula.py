"""One formula in two languages: what is translated agrees with lme4, what can't be is named."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from formulaic import model_matrix
from hypothesis import given
from hypothesis import strategies as st

from pylmm_helpers import (
    anova_components,
    coef_table,
    contrast,
    crosscheck,
    fit_lmm,
    lmer,
    load,
    profile_ci,
)
from pylmm_helpers.formula.r_spelling import r_term
from pylmm_helpers.formula.words import words
from pylmm_helpers.lme4.formula import parse
from pylmm_helpers.lme4.frame import r_frame, safe_names, to_r
from pylmm_helpers.lme4.own import _same_response


@pytest.fixture(autouse=True)
def away_from_the_book(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def frame() -> pd.DataFrame:
    sleep = load("sleepstudy")
    rng = np.random.default_rng(8)
    k = sleep["Days"].astype(int) % 3
    text = k.map({0: "a", 1: "b", 2: "c"})
    return pd.DataFrame({
        "y": sleep["Reaction"], "days": sleep["Days"].astype(int), "k": k, "t": text,
        "g": sleep["Subject"].astype(str).astype(int), "days awake": sleep["Days"],
        "rt.ms": sleep["Reaction"], "if": sleep["Days"], "größe": sleep["Days"],
        "a:b/c": sleep["Days"], "T": sleep["Days"] * 1.0, "the group": sleep["Subject"],
        "o": pd.Categorical(text, ["b", "c", "a"], ordered=True),
        "told": sleep["Days"].astype(int) % 2 == 0, "w": rng.uniform(0.5, 3.0, 180),
        "mixed": [v if v % 2 else f"{v}b" for v in sleep["Subject"].astype(str).astype(int)],
    })  # fmt: skip


# as fit_lmm has it, and as lme4 has it
SAME = [
    ("poly(days, 2)", "poly(days, 2)"),
    ("poly(days, degree=2, raw=True)", "poly(days, degree = 2, raw = TRUE)"),
    ("scale(days)", "scale(days)"),
    ("scale(days, scale=False)", "scale(days, scale = FALSE)"),
    ("scale(days, center=False)", "scale(days, center = FALSE)"),
    ("center(days)", "center(days)"),
    ("center(days)", "scale(days, scale = FALSE)"),
    ("bs(days, df=4)", "bs(days, df = 4)"),
    ("bs(days, df=5, degree=2)", "bs(days, df = 5, degree = 2)"),
    ("`days awake`", "`days awake`"),
    ("Q('days awake')", "`days awake`"),
    ("Q('days awake')", 'Q("days awake")'),
    ("log(`rt.ms`)", "log(rt.ms)"),
    ("`if`", "`if`"),
    ("größe", "größe"),
    ("`a:b/c`", "`a:b/c`"),
    ("T", "T"),
    ("o", "o"),
    ("o * days", "o * days"),
    ("0 + o", "0 + o"),
    ("C(k, Treatment(1))", "C(k, Treatment(1))"),
    ("C(k)", "C(k, Treatment)"),
    ("C(t, Treatment('b'))", "C(t, Treatment('b'))"),
    ("C(t, Treatment(reference='c')) * days", "C(t, contr.treatment(base = 'c')) * days"),
    ("C(t, Sum)", "C(t, Sum)"),
    ("C(t, Sum)", "C(t, contr.sum)"),
    ("C(t, contr.helmert)", "C(t, contr.helmert)"),
    ("C(t, Diff)", "C(t, Diff)"),
    ("C(t, Poly)", "C(t, Poly)"),
    ("C(o, Sum) : days", "C(o, Sum):days"),
    ("0 + C(t, Sum)", "0 + C(t, Sum)"),
    ("C(k)", "as.factor(k)"),
    ("told * t", "told*t"),
    ("C(told)", "factor(told)"),
    ("{days + 1}", "{days + 1}"),
    ("I(days > 4)", "I(days > 4)"),
    ("I(days // 2)", "I(days %/% 2)"),
    ("I(days % 3)", "I(days %% 3)"),
    ("(days + t) ** 2", "(days + t)^2"),
    ("np.sqrt(days) - 1", "sqrt(days) - 1"),
    ("I((days - 4) ** 2 / 3)", "I((days - 4)^2 / 3)"),
]


@pytest.mark.parametrize("ours, theirs", SAME)
def test_what_is_translated_is_the_same_model_for_lme4(with_r, ours, theirs):
    fit = fit_lmm(f"y ~ {ours}", frame(), groups="g")
    found = crosscheck(fit, f"y ~ {theirs} + (1 | g)", "words")
    assert found.agrees and found.record["max_diff_engine"] < 1e-6


@pytest.mark.parametrize(
    "response, theirs", [("scale(y)", "scale(y)"), ("np.log(y)", "log(y)"), ("rt.ms", "rt.ms")]
)
@pytest.mark.parametrize("group", ["g", "the group"])
def test_response_and_group_may_have_any_name(with_r, response, theirs, group):
    fit = fit_lmm(f"{response} ~ days", frame(), groups=group, re_formula="1 + days")
    assert crosscheck(fit, f"{theirs} ~ days + (days | `{group}`)", "words").agrees


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("factor", [1.0, 1e-4, 1e6])
def test_a_weighted_fit_is_compared_with_a_weighted_lmer(with_r, factor, reml):
    data = frame()
    data["w"] *= factor
    data.loc[[3, 50], "days"] = np.nan
    fit = fit_lmm(
        "y ~ days", data, groups="g", re_formula="1 + days", weights="w", missing="drop", reml=reml
    )
    found = crosscheck(fit, "y ~ days + (days | g)", "weights")
    assert found.agrees and found.record["n"] == 178
    again = crosscheck(fit, "y ~ days + (days | g)", "weights", data=data)
    assert again.record["max_diff_engine"] == found.record["max_diff_engine"]
    plain = lmer("y ~ days + (days | g)", data, missing="drop", reml=reml)
    weighted = lmer("y ~ days + (days | g)", data, missing="drop", reml=reml, weights="w")
    assert abs(plain.fe_params["days"] - weighted.fe_params["days"]) > 0.01
    assert "kenward_roger" not in weighted.df  # pbkrtest leaves weights out of account
    by_row = lmer("y ~ days + (days | g)", data, missing="drop", reml=reml, weights=data["w"])
    assert by_row.criterion == weighted.criterion
    null = lmer("y ~ 1 + (1 | g)", data, missing="drop", weights="w")
    with pytest.raises(ValueError, match="weights"):
        _ = null.icc


def test_a_weighted_random_intercept_agrees_without_an_icc(with_r):
    found = crosscheck(
        fit_lmm("y ~ days", frame(), groups="g", weights="w"), "y ~ days + (1 | g)", "weights"
    )
    assert found.agrees and "ICC" not in found.table.index


def test_a_weighted_model_is_recorded_with_its_weights(with_r, tmp_path, monkeypatch):
    monkeypatch.setenv("PYLMM_REFERENCE_DIR", str(tmp_path))
    monkeypatch.setenv("PYLMM_RECORD", "1")
    live = lmer("y ~ days + (1 | g)", frame(), weights="w")
    monkeypatch.delenv("PYLMM_RECORD")
    monkeypatch.setenv("PYLMM_NO_R", "1")
    assert lmer("y ~ days + (1 | g)", frame(), weights="w").criterion == live.criterion
    with pytest.raises(ValueError, match="other data"):
        lmer("y ~ days + (1 | g)", frame())
    with pytest.raises(ValueError, match="other data"):
        lmer("y ~ days + (1 | g)", frame(), weights=frame()["w"] * 2.0)


def test_a_change_score_is_what_lme4_makes_of_it(with_r):
    rng = np.random.default_rng(3)
    clinic = np.repeat(range(10), 8)
    data = pd.DataFrame({"clinic": clinic, "treat": rng.integers(0, 2, 80) * 1.0})
    data["pre"] = rng.normal(140, 9, 80) + rng.normal(size=10)[clinic] * 4
    data["post"] = data["pre"] - 7 * data["treat"] + rng.normal(size=80) * 5
    theirs = lmer("post - pre ~ treat + (1 | clinic)", data)
    ours = lmer("change ~ treat + (1 | clinic)", data.assign(change=data["post"] - data["pre"]))
    assert theirs.criterion == pytest.approx(ours.criterion, abs=1e-9)
    assert lmer("post ^ 2 ~ treat + (1 | clinic)", data).criterion == pytest.approx(
        lmer("s ~ treat + (1 | clinic)", data.assign(s=data["post"] ** 2)).criterion, abs=1e-7
    )


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("post - pre", "post-pre", True), ("I(post - pre)", "post - pre", True),
        ("y ** 2", "y^2", True), ("np.log(y) / 2", "log(y)/2", True), ("a b", "`a b`", True),
        ("rt.ms", "`rt.ms`", True), ("Q('a b')", "`a b`", True), ("y", "log(y)", False),
        ("post - pre", "pre - post", False), ("ab", "a b", False), ("post", "post - pre", False),
        ("a b", "ab", False),
    ],
)  # fmt: skip
def test_the_response_is_compared_whatever_its_spelling(one, other, same):
    assert _same_response(one, other) is _same_response(other, one) is same


@pytest.mark.parametrize("formula", ["y ~ Q('days awake')", "y ~ o", "y ~ C(k, Treatment(1))"])
def test_a_fit_of_statsmodels_is_compared_too(with_r, formula):
    fit = smf.mixedlm(formula, frame(), groups="g").fit()
    found = crosscheck(fit, f"{formula} + (1 | g)", "words")
    assert found.agrees and found.table["statsmodels"].notna().any()


REFUSED = [
    ("y ~ cr(days, df=3) - 1 + (1 | g)", "'cr'"),
    ("y ~ mystery(days) + (1 | g)", "'mystery'"),
    ("y ~ np.power(days, 2) + (1 | g)", "'np.power'"),
    ("y ~ days.rank() + (1 | g)", "'days.rank'"),
    ("y ~ lag(days) + (1 | g)", "'lag'"),
    ("y ~ standardize(days) + (1 | g)", "'standardize'"),
    ("y ~ scale(days, ddof=0) + (1 | g)", "'ddof'"),
    ("y ~ poly(days, 2, simple=True) + (1 | g)", "'simple'"),
    ("y ~ factor(k, levels=c(2, 1, 0)) + (1 | g)", "factor"),
    ("y ~ C(k, Nonsense) + (1 | g)", "Nonsense.*'k'"),
    ("y ~ C(k + 1, Sum) + (1 | g)", "one column"),
    ("y ~ days[0] + (1 | g)", r"'\['"),
    ("y ~ I(lambda d: d) + (1 | g)", "lambda"),
    ("y ~ I(days if told else 0) + (1 | g)", "'else'"),
    ("y ~ days %in% t + (1 | g)", "%in%"),
    ("y ~ . + (1 | g)", r"'\.'"),
    ("y ~ days $ 2 + (1 | g)", r"'\$'"),
    ("y ~ days + (1 | interaction(g, t))", "grouping"),
    ("y ~ days + (1 | g + t)", "grouping"),
    ("y ~ Dayz + (1 | g)", "'Dayz'"),
    ("y ~ days + (1 | `no group`)", "'no group'"),
    ("y ~ (days + (1 | g)", "brackets"),
    ("y ~ days] + (1 | g)", "brackets"),
    ("~ days + (1 | g)", "response"),
    ("y ~ x ~ (1 | g)", "response"),
    ("y ~ Q(days) + (1 | g)", "Q"),
]


@pytest.mark.parametrize("formula, says", REFUSED)
def test_what_can_t_be_translated_is_refused_by_name_before_r_is_asked(formula, says, monkeypatch):
    crosscheck_module = import_module("pylmm_helpers.lme4.check")
    monkeypatch.setattr(crosscheck_module, "_pymer4", lambda: pytest.fail("R was asked"))
    with pytest.raises(ValueError, match=says) as caught:
        lmer(formula, frame())
    assert "\x1b" not in str(caught.value)


def test_dates_are_refused_and_labels_of_mixed_type_are_not(with_r):
    data = frame().assign(when=pd.Timestamp("2020-01-01") + pd.to_timedelta(frame()["days"], "D"))
    with pytest.raises(ValueError, match="'when'"):
        lmer("y ~ when + (1 | g)", data)
    fit, plain = (lmer(f"y ~ days + (1 | {g})", data) for g in ("mixed", "g"))
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-8)
    assert set(fit.random_effects.index) == set(data["mixed"])


NAMED = [
    "C(k)", "t", "days:t", "told + t", "np.log(y)", "I(days ** 2)", "poly(days, 2)", "o*days",
    "poly(days, 2, raw=True)", "center(days)", "scale(days)", "`days awake`", "rt.ms", "`if`",
    "Q('days awake')", "I((days - 4) / 2)", "I(days > 4)", "0 + t", "C(k):days", "I(days * 2 - 1)",
]  # fmt: skip


@pytest.mark.parametrize("terms", NAMED)
def test_terms_are_named_as_r_names_them(with_r, terms):
    from rpy2 import robjects
    from rpy2.robjects import pandas2ri

    data = frame().drop(columns=["größe", "mixed"])
    parsed = parse(f"y ~ {terms} + (1 | g)")
    sent = r_frame(parsed, data)
    if terms == "told + t":
        sent["told"] = data["told"]
    with (robjects.default_converter + pandas2ri.converter).context():
        robjects.globalenv["d"] = sent
    robjects.r["names<-"]
    names = ", ".join('"' + name.replace('"', '\\"') + '"' for name in sent.columns)
    right = to_r(parsed, data).split("~")[1].rsplit(" + (1", 1)[0]
    for column, safe in safe_names(list(data.columns)).items():
        if safe != column:
            right = right.replace(safe, f"`{column}`")
    theirs = list(robjects.r(f"names(d) <- c({names}); colnames(model.matrix(~ {right}, d))"))
    ours = [r_term(str(name)) for name in model_matrix(terms, data).columns]
    if "told" in terms:
        ours = [name.replace("told", "toldTRUE") for name in ours]
    assert sorted(":".join(sorted(n.split(":"))) for n in ours) == sorted(
        ":".join(sorted(n.split(":"))) for n in theirs
    )


def test_profile_intervals_have_lme4_s_names():
    fit = fit_lmm("y ~ C(k) + t:days", frame(), groups="g")
    found = profile_ci(fit, parameters=[*fit.fe_params.index[:3], "sigma"])["lme4_name"]
    assert list(found) == ["(Intercept)", "factor(k)1", "factor(k)2", ".sigma"]


@given(st.lists(st.text("ab. _:`é1-", min_size=1, max_size=6), unique=True, min_size=1, max_size=5))
def test_every_column_gets_a_name_of_its_own_that_r_takes(columns):
    found = safe_names(columns)
    assert len(set(found.values())) == len(columns) and list(found) == columns
    assert all(name.replace(".", "_").isidentifier() and name.isascii() for name in found.values())


@given(st.text("yxg ~+-*/^:|()'`\"[]{},=.<>0123", max_size=24))
def test_any_text_is_a_formula_or_a_value_error(text):
    data = pd.DataFrame({"y": [1.0, 2.0], "x": [0.0, 1.0], "g": ["a", "b"]})
    said = ""
    try:
        to_r(parse(text), data)
        words(text)
    except ValueError as error:
        said = str(error)
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "ask",
    [
        lambda fit: contrast(fit, "C(k)[T.1] + C(k)[T.1]:days"),
        lambda fit: contrast(fit, "days days"),
        lambda fit: anova_components("y ~ C(k", frame(), groups="g"),
        lambda fit: anova_components("y ~ k $ t", frame(), groups="g"),
        lambda fit: lmer("y ~ C(k + (1 | g)", frame()),
        lambda fit: fit_lmm("y ~ C(k", frame(), groups="g"),
        lambda fit: fit_lmm("y ~ k $ t", frame(), groups="g", re_formula="1 + ("),
    ],
)
def test_messages_have_no_codes_that_colour_a_terminal(ask):
    fit = fit_lmm("y ~ C(k) * days", frame(), groups="g")
    with pytest.raises(ValueError) as caught:
        ask(fit)
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)
    assert len(coef_table(fit)) == 6

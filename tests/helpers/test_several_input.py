"""Formulas with several random terms: what is read, and what is refused with its remedy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_several_reference import read

from pylmm_helpers import fit_lmm, predict
from pylmm_helpers.engine.results import LMMResults
from pylmm_helpers.engine.several import sums
from pylmm_helpers.engine.several.results import SeveralResults
from pylmm_helpers.formula.bars import take_apart


@pytest.fixture(scope="module")
def herds() -> pd.DataFrame:
    d = read("herds")
    d["row"] = np.arange(len(d))
    d["farm"] = "farm " + d["herd"].astype(str)
    d["id"] = d["herd"] * 100 + d["cow"]
    return d


@pytest.mark.parametrize(
    "formula, fixed, terms",
    [
        ("y ~ x + (1 | a) + (1 | b)", "y ~ x", ["(1 | a)", "(1 | b)"]),
        ("y ~ (1|a/b)", "y ~ 1", ["(1 | a)", "(1 | a:b)"]),
        ("y ~ (1|a/b/c)", "y ~ 1", ["(1 | a)", "(1 | a:b)", "(1 | a:b:c)"]),
        ("y ~ 0 + x + (x || a)", "y ~ 0 + x", ["(1 | a)", "(0 + x | a)"]),
        ("y ~ (0 + x || a) + x", "y ~ x", ["(0 + x | a)"]),
        ("y ~ (1|a) - 1 + x", "y ~ 1 - 1 + x", ["(1 | a)"]),
        ("log(y) ~ np.log(x) + (1 | factor(a):b)", "log(y) ~ np.log(x)", ["(1 | a:b)"]),
        ("y ~ C(x, Treatment('p|q')) + (1 | `a b`)", "y ~ C(x, Treatment('p|q'))", ["(1 | a b)"]),
        ("y ~ (x + z | a) + (1 | b:a)", "y ~ 1", ["(x + z | a)", "(1 | b:a)"]),
    ],
)
def test_formulas_are_taken_apart(formula: str, fixed: str, terms: list[str]) -> None:
    found, bars = take_apart(formula)
    assert [str(bar) for bar in bars] == terms
    assert found == fixed


BAD: dict[str, tuple[str, str]] = {
    "as many levels as rows": ("y ~ x + (1|herd) + (1|row)", r"\(1 \| row\).*250 levels"),
    "two names of one grouping": ("y ~ (1|herd) + (1|farm)", "'herd' and 'farm' .* same way"),
    "a nested label that is unique": ("y ~ (1|id) + (1|herd:id)", "same way.*'herd:id' out"),
    "an effect twice": ("y ~ (1|herd) + (x|herd)", "intercept of 'herd' stands in"),
    "a slope twice": ("y ~ (0+x|herd) + (x|herd)", "slope of x of 'herd'"),
    "no brackets": ("y ~ x + 1|herd", "brackets included"),
    "inside a product": ("y ~ x * (1|herd)", r"join terms by \+"),
    "taken away": ("y ~ x - (1|herd)", "leave it out"),
    "unknown grouping": ("y ~ (1|herds) + (1|day)", "no column 'herds'.*'herd'"),
    "unknown slope": ("y ~ (q|herd) + (1|day)", "no column 'q'"),
    "grouping by a sum": ("y ~ (1|herd + day)", "joined by : or /"),
    "grouping by a function": ("y ~ (1|log(herd)) + (1|day)", "joined by : or /"),
    "unbalanced": ("y ~ x + (1|herd", "brackets do not balance"),
    "no response": ("y + (1|herd)", "no response"),
    "no effect": ("y ~ (0|herd) + (1|day)", "no effect"),
    "too many parameters": ("y ~ (1|herd) + (x*z|day)", "can't carry the 10"),
    "groups in the fixed part": ("y ~ C(herd) + (1|herd) + (1|day)", "levels of 'herd'"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_formulas_are_named_with_their_remedy(name: str, herds: pd.DataFrame) -> None:
    formula, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        fit_lmm(formula, herds)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ x + (z|herd) + (1|id)", "variance of z between the levels of 'herd' apart"),
        ("y ~ x + (0 + C(z)|herd) + (1|id)", r"determine the covariance of C\(z\)\[0\] and"),
    ],
)
def test_variances_that_nothing_tells_apart_are_named(
    herds: pd.DataFrame, formula: str, words: str, reml: bool
) -> None:
    # z has one value in each herd, and two in all
    with pytest.raises(ValueError, match=words):
        fit_lmm(formula, herds, reml=reml)


@pytest.mark.parametrize("size", [1e2, 1e3, 1e4])
def test_a_dominant_variance_leaves_the_residual_its_digits(
    herds: pd.DataFrame, size: float
) -> None:
    herds = herds.assign(g=np.arange(len(herds)) % 5)
    levels = np.random.default_rng(1).normal(size=2000)
    plain = fit_lmm("y ~ x + C(id) + (1|g)", herds)  # what is left when the levels are taken out
    shifted = herds.assign(y=herds["y"] + size * levels[herds["id"]])
    fit = fit_lmm("y ~ x + (1|id) + (1|g)", shifted)
    assert fit.converged
    assert np.sqrt(fit.scale) == pytest.approx(np.sqrt(plain.scale), rel=3.0 / size)
    assert fit.fe_params["x"] == pytest.approx(plain.fe_params["x"], rel=30.0 / size)


@pytest.mark.parametrize("more", [{"groups": "herd"}, {"re_formula": "1 + x"}])
def test_bars_and_groups_together_are_refused(herds: pd.DataFrame, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="groups= and re_formula="):
        fit_lmm("y ~ x + (1 | herd) + (1 | day)", herds, **more)


def test_missing_levels_are_refused_or_dropped_and_counted(herds: pd.DataFrame) -> None:
    gaps = herds.astype({"day": object}).copy()
    gaps.loc[[3, 8], "day"] = None
    gaps.loc[5, "x"] = np.nan
    with pytest.raises(ValueError, match=r"'x' \(1\), 'day' \(2\)"):
        fit_lmm("y ~ x + (1 | herd) + (1 | day)", gaps)
    fit = fit_lmm("y ~ x + (1 | herd) + (1 | day)", gaps, missing="drop")
    assert (fit.n_dropped, fit.nobs) == (3, 247)
    assert "3 incomplete rows" in str(fit.summary())


@pytest.mark.parametrize("source", ["x", "id"])
def test_responses_without_residual_are_refused(herds: pd.DataFrame, source: str) -> None:
    exact = herds.assign(y=3.0 + 2.0 * herds[source])
    with pytest.raises(ValueError, match="no residual variation"):
        fit_lmm("y ~ x + (1 | herd) + (1 | id)", exact)


def test_a_dense_part_too_large_is_refused_with_its_memory(
    herds: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "LARGEST_DENSE", 8)
    with pytest.raises(ValueError, match=r"'day' \(9 levels\).*GB.*lmer"):
        fit_lmm("y ~ x + (1 | id) + (1 | day)", herds)
    fit_lmm("y ~ x + (1 | id) + (1 | herd)", herds)  # nested factors need none


def test_a_single_term_is_the_model_of_one_factor(herds: pd.DataFrame) -> None:
    fit = fit_lmm("y ~ x + (1 + x | herd)", herds)
    assert isinstance(fit, LMMResults)
    by_groups = fit_lmm("y ~ x", herds, "herd", "1 + x")
    assert fit.criterion == by_groups.criterion
    assert list(fit.cov_re_by_group) == ["herd"]
    pd.testing.assert_frame_equal(fit.cov_re_by_group["herd"], fit.cov_re)
    pd.testing.assert_frame_equal(fit.random_effects_by_group["herd"], fit.random_effects)
    np.testing.assert_array_equal(fit.random_effects_var_by_group["herd"], fit.random_effects_var)
    assert fit.ngroups_by_group == {"herd": fit.ngroups}


def test_plain_names_refuse_several_factors_and_name_the_dicts(herds: pd.DataFrame) -> None:
    fit = fit_lmm("y ~ x + (1 | herd) + (1 | day)", herds)
    for name in ("cov_re", "random_effects", "random_effects_var", "ngroups"):
        with pytest.raises(ValueError, match=rf"{name}_by_group\['herd'\]"):
            getattr(fit, name)
        assert list(getattr(fit, f"{name}_by_group")) == ["herd", "day"]
    with pytest.raises(AttributeError):
        fit.no_such_thing  # noqa: B018
    alone = fit_lmm("y ~ x + (1 | herd:cow)", herds)
    assert isinstance(alone, SeveralResults)
    pd.testing.assert_frame_equal(alone.cov_re, alone.cov_re_by_group["herd:cow"])


def test_labels_used_twice_are_pointed_out(herds: pd.DataFrame) -> None:
    with pytest.warns(UserWarning, match=r"\(1 \| herd/cow\).*unique labels"):
        fit = fit_lmm("y ~ x + (1 | herd) + (1 | cow)", herds)
    assert "(1 | herd/cow)" in str(fit.summary())
    with pytest.warns(UserWarning, match=r"\(1 \| batch/cask\)"):
        fit_lmm("strength ~ (1 | cask) + (1 | batch)", read("pastes"))


def test_numbers_that_are_text_are_used_twice_all_the_same() -> None:
    """Text stands as 1, 10, 11, 2: a herd of five cows hasn't the first five labels in order."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(5, 14, 12)
    herd = np.repeat(np.arange(12), sizes)
    cow = np.concatenate([np.arange(1, size + 1) for size in sizes])
    own = rng.normal(0, 3, len(cow))
    data = pd.DataFrame({"herd": np.repeat(herd, 4), "cow": np.repeat(cow, 4).astype(str)})
    data["y"] = np.repeat(own, 4) + rng.normal(size=len(data))
    for cows in (data["cow"], data["cow"].astype(int)):
        with pytest.warns(UserWarning, match=r"\(1 \| herd/cow\)"):
            fit_lmm("y ~ 1 + (1 | herd) + (1 | cow)", data.assign(cow=cows))


@pytest.mark.parametrize(
    "formula, name",
    [
        ("y ~ x + (1 | herd) + (1 | cow) + (1 | herd:cow)", "herds"),
        ("y ~ x + (1 | herd) + (1 | day)", "herds"),
        ("diameter ~ (1 | plate) + (1 | sample)", "penicillin"),
        ("strength ~ (1 | batch/cask)", "pastes"),
    ],
)
def test_what_is_meant_is_not_pointed_out(formula: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_lmm(formula, read(name))


ODD = ["a:b", "x|g", "p||q", "p/q", "a~b", "(c", "c)", "m + n", "1 - k", "it's"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "formula",
    [
        "y ~ X + (1 | G)",
        "y ~ X + (1 + X | G)",
        "y ~ X + (X || G)",
        "y ~ X + (1 | D/G)",
        "y ~ X + (1 | D) + (1 | D:G)",
        "y ~ X + (1 | factor(G))",
    ],
)
def test_a_name_in_backticks_is_one_name(formula: str, odd: str, herds: pd.DataFrame) -> None:
    names = {"X": "x", "G": "cow" if ":" in formula or "/" in formula else "herd", "D": "herd"}
    plain, quoted, renamed = formula, formula, {}
    for letter, name in names.items():
        new = f"{odd} {letter}"
        plain, quoted = plain.replace(letter, name), quoted.replace(letter, f"`{new}`")
        if letter in formula:
            renamed[name] = new
    d = herds.rename(columns=renamed)
    fit, same = fit_lmm(quoted, d), fit_lmm(plain, herds)
    assert fit.criterion == same.criterion
    np.testing.assert_array_equal(
        predict(fit, d.iloc[:3], level="group")["prediction"],
        predict(same, herds.iloc[:3], level="group")["prediction"],
    )


def test_a_column_named_like_a_combination_is_refused_beside_it(herds: pd.DataFrame) -> None:
    d = herds.assign(**{"herd:cow": herds["day"]})
    with pytest.raises(ValueError, match=r"'herd:cow' is a column's name and .* rename"):
        fit_lmm("y ~ x + (1 | `herd:cow`) + (1 | herd:cow)", d)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ("k", r"k stands for categories.*\(0 \+ k \| herd\), without .* the intercept"),
        ("f", r"\(0 \+ f \| herd\)"),
        ("C(b)", r"\(0 \+ C\(b\) \| herd\)"),
        ("k + x", r"\(0 \+ k \| herd\)"),
        ("k + f", r"\(0 \+ k \| herd\)"),
        ("0 + k + f", r"\(0 \+ k \| herd\), without .* f:"),
        ("x + x:k", r"\(0 \+ x:k \| herd\), without .* x:"),
        ("b", r"b is true or false.*\(0 \+ C\(b\) \| herd\)"),
        ("0 + b", r"b is true or false.*\(0 \+ C\(b\) \| herd\)"),
        ("b:x", r"b is true or false"),
        ("I(x > 0)", r"I\(x > 0\) is true or false"),
        ("`b c`", r"`b c` is true or false"),
    ],
)
@pytest.mark.parametrize("more", ["", " + (1 | day)"])
def test_categories_under_a_double_bar_say_what_to_write(
    herds: pd.DataFrame, terms: str, words: str, more: str
) -> None:
    rows = np.arange(len(herds))
    flag = rows % 7 < 3
    d = herds.assign(
        k=np.array(["a", "b", "c"])[rows % 3],
        f=np.where(rows % 2, "u", "v"),
        b=flag,
        number=flag + 0,
    ).assign(**{"b c": flag})
    with pytest.raises(ValueError, match=words):
        fit_lmm(f"y ~ x + ({terms} || herd){more}", d)
    fit_lmm(f"y ~ x + (0 + number || herd){more}", d)

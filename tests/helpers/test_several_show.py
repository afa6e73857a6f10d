"""Figures, reports and words for fits with several random terms; one factor given either way shows
the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from test_several_reference import read

mpl.use("Agg")
import matplotlib.pyplot as plt

from pylmm_helpers import blups, fit_lmm, icc, load, plots, report, residuals
from pylmm_helpers.engine.several import fit as engine
from pylmm_helpers.engine.several.design import build
from pylmm_helpers.engine.several.results import SeveralResults
from pylmm_helpers.show.terms import factor_in_words

FORMULA = "y ~ x + z + (x | herd) + (1 | herd:cow) + (1 | day)"


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def herds() -> pd.DataFrame:
    return read("herds")


@pytest.fixture(scope="module")
def fit(herds: pd.DataFrame) -> SeveralResults:
    return fit_lmm(FORMULA, herds)


@pytest.fixture(scope="module")
def penicillin() -> SeveralResults:
    return fit_lmm("diameter ~ 1 + (1 | plate) + (1 | sample)", load("penicillin"))


DRAWN: dict[str, Any] = {
    "qq": lambda f, **k: plots.qq(f, **k),
    "caterpillar": lambda f, **k: plots.caterpillar(f, **k),
    "shrinkage": lambda f, **k: plots.shrinkage(f, **k),
    "shrinkage of slopes": lambda f, **k: plots.shrinkage(f, "Days", **k),
    "spaghetti": lambda f, **k: plots.spaghetti(f, "Days", **k),
    "levels": lambda f, **k: plots.residual_fitted(f, term="Days", **k),
    "levels on x": lambda f, **k: plots.residual_fitted(f, "Days", **k),
}


def coordinates(ax: Any) -> dict[str, Any]:
    """All points and lines of a figure, and its words."""
    lines = [np.asarray(line.get_xydata(), dtype=float) for line in ax.lines]
    points = [np.asarray(c.get_offsets(), dtype=float) for c in ax.collections]
    ticks = [t.get_text() for t in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    legend = ax.get_legend_handles_labels()[1]
    words = [ax.get_xlabel(), ax.get_ylabel(), *ticks, *legend]
    return {"drawn": [*lines, *points], "words": words}


@pytest.mark.parametrize("name", list(DRAWN))
def test_one_factor_is_drawn_alike_however_it_was_given(name: str) -> None:
    d = read("sleepstudy").iloc[3:]
    one = fit_lmm("Reaction ~ Days", d, "Subject", "1 + Days")
    same = engine.fit_design(
        build("Reaction ~ Days + (1 + Days | Subject)", d, None, "raise", None), True
    )
    first, second, unnamed = (
        coordinates(DRAWN[name](f, **given))
        for f, given in (
            (one, {"group": "Subject"}), (same, {"group": "Subject"}),
            (same, {} if "levels" not in name else {"group": "Subject"}),
        )
    )  # fmt: skip
    assert first["words"] == second["words"] == unnamed["words"]
    for mine, theirs in zip(first["drawn"], second["drawn"], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("x", [None, "fitted_marginal", "Days"])
def test_rows_are_drawn_alike_too(x: str | None) -> None:
    d = read("sleepstudy")
    one = fit_lmm("Reaction ~ Days", d, "Subject")
    same = engine.fit_design(build("Reaction ~ Days + (1 | Subject)", d, None, "raise", None), True)
    for draw in (
        lambda f: plots.residual_fitted(f, x),
        lambda f: plots.qq(f, "observation"),
    ):
        first, second = (coordinates(draw(f)) for f in (one, same))
        assert first["words"] == second["words"]
        for mine, theirs in zip(first["drawn"], second["drawn"], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def test_a_report_of_one_factor_says_the_same_numbers() -> None:
    d = read("sleepstudy")
    one = fit_lmm("Reaction ~ Days", d, "Subject", "1 + Days")
    same = engine.fit_design(
        build("Reaction ~ Days + (1 + Days | Subject)", d, None, "raise", None), True
    )
    mine, theirs = (report(f, unit="ms").split("Fixed effects: ")[1] for f in (same, one))
    assert mine == theirs
    for sentence in (
        "where Days = 0 was 612 ms² (SD 24.7 ms",
        "At the mean, Days = 4.50, the between-Subject variance was 1,409 ms² (SD 37.5 ms).",
        "The correlation of intercept and slope of Days was 0.07.",
    ):
        assert sentence in report(same, unit="ms") and sentence in report(one, unit="ms")


@pytest.mark.parametrize(
    "draw",
    [
        plots.qq, plots.caterpillar, plots.shrinkage, lambda f, **k: plots.spaghetti(f, "x", **k),
    ],
)  # fmt: skip
def test_the_factor_must_be_named_where_there_are_several(fit: SeveralResults, draw: Any) -> None:
    named = "group='herd:cow' or group='herd' or group='day'"
    with pytest.raises(ValueError, match=named):
        draw(fit)
    with pytest.raises(ValueError, match=f"'farm', which is no grouping factor.*{named}"):
        draw(fit, group="farm")
    with pytest.raises(ValueError, match="the only grouping factor is 'herd'"):
        draw(fit_lmm("y ~ x", read("herds"), "herd"), group="cow")
    assert draw(fit, group="cow:herd").has_data()  # in any order of its columns


def test_what_only_a_factor_has_is_refused_for_rows(fit: SeveralResults) -> None:
    with pytest.raises(ValueError, match="group= is for the BLUPs"):
        plots.qq(fit, "observation", group="herd")
    with pytest.raises(ValueError, match="say which factor"):
        plots.residual_fitted(fit, term="x")
    with pytest.raises(ValueError, match="'x' is not a random effect of 'day'"):
        plots.caterpillar(fit, "x", group="day")


def test_figures_show_the_effects_of_their_factor(fit: SeveralResults) -> None:
    table = blups(fit, "x", group="herd").sort_values("estimate")
    ax = plots.caterpillar(fit, "x", group="herd")
    assert [t.get_text() for t in ax.get_yticklabels()] == [str(v) for v in table.index]
    nested = plots.caterpillar(
        fit_lmm("strength ~ (1 | batch/cask)", load("pastes")), group="batch:cask"
    )
    assert {t.get_text() for t in nested.get_yticklabels()} >= {"A:a", "J:c"}
    ax = plots.qq(fit, group="day")
    shown = np.concatenate([c.get_offsets()[:, 1] for c in ax.collections[1:]])
    np.testing.assert_allclose(np.sort(shown), np.sort(residuals(fit, "day")["standardised"]))
    ax = plots.residual_fitted(fit, "x", group="herd", term="x")
    across, up = np.asarray(ax.collections[0].get_offsets()).T
    np.testing.assert_allclose(across, fit.frame.groupby("herd")["x"].mean())
    np.testing.assert_allclose(up, residuals(fit, "herd").xs("x", level="term")["standardised"])


def test_raw_departures_are_shrunken_by_the_levels_own_factor(penicillin: SeveralResults) -> None:
    ax = plots.shrinkage(penicillin, group="plate")
    raw = np.asarray(ax.collections[0].get_offsets())[:, 0]
    best = penicillin.random_effects_by_group["plate"].iloc[:, 0]
    ratio = penicillin.scale / penicillin.cov_re_by_group["plate"].iloc[0, 0]
    np.testing.assert_allclose(best, raw * 6.0 / (6.0 + ratio), rtol=1e-8)


def test_lines_are_those_of_one_factor(fit: SeveralResults) -> None:
    line = plots.spaghetti(fit, "x", group="herd", shrink=False).lines[0]
    intercept, slope = fit.random_effects_by_group["herd"].iloc[0]
    typical = fit.frame["z"].mode().iloc[0] if fit.frame["z"].nunique() < 10 else None
    z = fit.frame["z"].median() if typical is None else typical
    b = fit.fe_params
    expected = b["Intercept"] + z * b["z"] + intercept + (b["x"] + slope) * line.get_xdata()
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-8)


def test_many_levels_are_drawn_without_the_few_that_are_all_noise() -> None:
    rng = np.random.default_rng(3)
    cow = rng.integers(0, 600, 2400)
    d = pd.DataFrame({"cow": cow, "day": rng.integers(0, 20, 2400), "x": rng.normal(size=2400)})
    d["y"] = d["x"] + rng.normal(size=600)[cow] + 0.5 * rng.normal(size=600)[cow] * d["x"]
    d["y"] += rng.normal(size=2400)
    big = fit_lmm("y ~ x + (x | cow) + (1 | day)", d)
    ax = plots.shrinkage(big, group="cow")
    raw, label = np.asarray(ax.collections[1].get_offsets()), ax.get_legend_handles_labels()[1][0]
    assert "beyond the figure" in label
    span = np.quantile(raw, 0.75, axis=0) - np.quantile(raw, 0.25, axis=0)
    assert (np.abs(raw) < 6.0 * span).all() and len(raw) > 400
    plots.spaghetti(big, "x", group="cow").figure.canvas.draw()
    assert len(plots.caterpillar(big, group="cow").texts) == 2


def test_rows_in_another_order_and_units_draw_the_same_picture(
    herds: pd.DataFrame, fit: SeveralResults
) -> None:
    other = herds.sample(frac=1.0, random_state=2).set_index(np.arange(len(herds)) * 3 + 1)
    moved = fit_lmm(FORMULA, other.assign(y=100.0 * other["y"] + 7.0, x=0.1 * other["x"] - 3.0))
    for group in ("herd:cow", "day"):
        pair = [coordinates(plots.qq(f, group=group)) for f in (fit, moved)]
        assert pair[0]["words"][:2] == pair[1]["words"][:2]
        for mine, theirs in zip(*(p["drawn"] for p in pair), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_reports_name_terms_levels_and_what_rows_share(
    fit: SeveralResults, penicillin: SeveralResults
) -> None:
    text = report(fit, unit="kg", labels={"herd": "farm"})
    for words in (
        "a random intercept and a random slope of x, correlated, for each farm",
        "a random intercept for each cow within farm and a random intercept for each day",
        "12 levels of farm (13 to 31 each", "58 levels of cow within farm", "9 levels of day",
        "between-farm variance where x = 0 was", "variance of the slope of x between farm levels",
        "variance between levels of cow within farm was 0.694 kg²", "Kenward and Roger",
    ):  # fmt: skip
        assert words in text, words
    assert "between-farm variance was 0.203" not in text and "intraclass" not in text
    text = report(penicillin)
    shares = icc(penicillin)
    assert "of two rows that share no other level was" in text
    for group in ("plate", "sample"):
        row = shares.loc[group]
        size = f"{row['estimate']:.2f} (95% profile likelihood CI {row['ci_low']:.2f} to"
        assert f"{size} {row['ci_high']:.2f}) for rows of the same {group}" in text
    assert list(shares["correlation_of"]) == ["two rows of one plate", "two rows of one sample"]
    with pytest.raises(ValueError, match="'farm', which is no column or term"):
        report(penicillin, labels={"farm": "herd"})


def test_reports_of_weights_and_of_apart_effects(herds: pd.DataFrame) -> None:
    fit = fit_lmm("y ~ x + (x || herd) + (1 | herd:cow)", herds, weights="w")
    text = report(fit)
    assert "a random slope of x, uncorrelated, for each herd" in text
    assert f"prior weights (mean {herds['w'].mean():.2f})" in text
    assert "residual variance of weight 1 was" in text
    assert "between-herd variance where x = 0 was" in text
    G, mean = fit.cov_re_by_group["herd"].to_numpy(), herds["x"].mean()
    there = G[0, 0] + mean**2 * G[1, 1]
    assert f"At the mean, x = {mean:.3f}, the between-herd variance was {there:.3f}" in text
    nested = fit_lmm("y ~ x + (1 | herd/cow)", herds, weights="w")
    assert "intraclass" not in report(nested)
    assert "correlation of two rows of weight 2 that share" in report(nested, weight=2.0)


@pytest.mark.parametrize(
    ("name", "factors", "words"),
    [
        ("herd", ["herd"], "herd"),
        ("herd:cow", ["herd:cow", "herd"], "cow within herd"),
        ("a:b:c", ["a:b:c", "a:b", "a"], "c within b within a"),
        ("dept:service", ["s", "dept:service"], "combination of dept and service"),
    ],
)
def test_factors_are_put_in_words(name: str, factors: list[str], words: str) -> None:
    assert factor_in_words(name, factors, lambda column: column) == words


def test_a_summary_says_between_which_levels_a_predictor_varies(
    herds: pd.DataFrame, fit: SeveralResults
) -> None:
    fixed = fit.summary().fixed.set_index("term")["varies"]
    assert dict(fixed) == {"Intercept": "", "x": "within all", "z": "between herd"}
    own = herds.assign(age=herds.groupby(["herd", "cow"])["x"].transform("first"))
    table = fit_lmm("y ~ age + (1 | herd/cow)", own).summary().fixed.set_index("term")
    assert table.loc["age", "varies"] == "between herd:cow"
    # constant within plates and within samples alike: neither is meant more than the other
    both = load("penicillin").assign(u=0.0)
    both["u"] = (both["plate"] == "a").astype(float)
    table = fit_lmm("diameter ~ u + (1 | plate) + (1 | sample)", both).summary().fixed
    assert table["varies"].tolist() == ["", "between plate"]

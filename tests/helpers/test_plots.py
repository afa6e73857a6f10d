"""Plots draw what the helpers give, on the Axes handed to them, in a reproducible style."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from pylmm_helpers import plots
from pylmm_helpers.engine.fit import fit_lmm, refit
from pylmm_helpers.quantities import power
from pylmm_helpers.quantities.diagnostics import residuals
from pylmm_helpers.quantities.prediction import blups
from pylmm_helpers.quantities.transform import boxcox_lmm
from pylmm_helpers.show.plots.parts import size_ticks
from pylmm_helpers.show.plots.qq import qq_points

ROOT = Path(__file__).parents[2]


def data(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "datasets" / f"{name}.csv")


@pytest.fixture(scope="module")
def dairy():
    return fit_lmm("milk_kg ~ parity + feeding", data("dairy_herds"), "herd")


@pytest.fixture(scope="module")
def sleepstudy():
    return fit_lmm("Reaction ~ Days", data("published/sleepstudy"), "Subject", "1 + Days")


@pytest.fixture(scope="module")
def powers():
    costs = data("hospital_costs").dropna()
    return boxcox_lmm(fit_lmm("cost ~ severity", costs, "hospital"), np.linspace(-0.5, 0.5, 9))


@pytest.fixture(autouse=True)
def clean():
    with mpl.rc_context():
        yield
    plt.close("all")


DRAWN = {
    "qq": lambda d, s, p, **k: plots.qq(d, **k),
    "qq of rows": lambda d, s, p, **k: plots.qq(d, "observation", **k),
    "caterpillar": lambda d, s, p, **k: plots.caterpillar(s, "Days", **k),
    "residuals": lambda d, s, p, **k: plots.residual_fitted(d, **k),
    "residuals on x": lambda d, s, p, **k: plots.residual_fitted(d, "parity", **k),
    "shrinkage": lambda d, s, p, **k: plots.shrinkage(d, **k),
    "shrinkage in the plane": lambda d, s, p, **k: plots.shrinkage(s, **k),
    "spaghetti": lambda d, s, p, **k: plots.spaghetti(s, "Days", **k),
    "boxcox": lambda d, s, p, **k: plots.boxcox(p, **k),
    "zeta": lambda d, s, p, **k: plots.profile_zeta(d, "sd(Intercept)", **k),
    "power": lambda d, s, p, **k: plots.power(power(0.4, [10, 30], [5, 12], icc=0.1), **k),
}


@pytest.mark.parametrize("name", list(DRAWN))
def test_draws_on_the_axes_it_is_given_and_labels_both(name, dairy, sleepstudy, powers):
    _, (left, right) = plt.subplots(1, 2)
    returned = DRAWN[name](dairy, sleepstudy, powers, ax=right)
    assert returned is right
    assert not left.has_data() and right.has_data()
    assert right.get_xlabel() and (right.get_ylabel() or len(right.get_yticks()) == 2)


@pytest.mark.parametrize("name", list(DRAWN))
def test_makes_a_figure_when_given_none_and_draws_without_warnings(
    name, dairy, sleepstudy, powers, recwarn
):
    plots.use_style()
    ax = DRAWN[name](dairy, sleepstudy, powers)
    ax.figure.canvas.draw()
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]
    assert tuple(ax.figure.get_size_inches()) == (6.5, 4.0)


def test_qq_points_are_the_sorted_standardised_blups(dairy):
    ax = plots.qq(dairy)
    shown = np.concatenate([c.get_offsets()[:, 1] for c in ax.collections[1:]])
    assert np.allclose(np.sort(shown), np.sort(residuals(dairy, "group")["standardised"]))


def test_qq_names_a_group_that_lies_outside():
    frame = data("dairy_herds")
    frame.loc[frame["herd"] == "H07", "milk_kg"] += 150.0
    ax = plots.qq(fit_lmm("milk_kg ~ 1", frame, "herd"))
    assert "H07" in [t.get_text() for t in ax.texts]


@pytest.mark.parametrize("n", [3, 10, 50, 399, 400, 1500])
def test_a_simultaneous_band_holds_whole_standardised_samples_95_times_in_100(n):
    band = plots.qq_band(n)
    samples = np.random.default_rng(99).normal(size=(4000, n))
    samples -= samples.mean(axis=1, keepdims=True)
    samples = np.sort(samples / samples.std(axis=1, keepdims=True), axis=1)
    low, high = band["low"].to_numpy(), band["high"].to_numpy()
    inside = np.mean(np.all((samples >= low) & (samples <= high), axis=1))
    # band and check are both simulated: standard errors 0.007 (with 1,000 samples) and 0.003
    assert inside == pytest.approx(0.95, abs=0.02)
    each = plots.qq_band(n, band="pointwise")
    low, high = each["low"].to_numpy(), each["high"].to_numpy()
    share = np.mean((samples >= low) & (samples <= high))
    assert share == pytest.approx(0.95, abs=0.01 if n > 3 else 0.04)  # three have one free value


def test_a_raw_band_is_for_values_as_they_are_and_too_wide_for_standardised_ones():
    raw, own = plots.qq_band(50, band="raw"), plots.qq_band(50)
    samples = np.sort(np.random.default_rng(99).normal(size=(4000, 50)), axis=1)
    low, high = raw["low"].to_numpy(), raw["high"].to_numpy()
    inside = np.mean(np.all((samples >= low) & (samples <= high), axis=1))
    assert inside == pytest.approx(0.95, abs=0.015)
    assert (own["high"] - own["low"] < raw["high"] - raw["low"]).all()


@pytest.mark.parametrize("reml, fixed", [(False, "1"), (True, "x + a")])
def test_sound_groups_leave_the_band_of_their_plot_5_times_in_100(reml, fixed):
    """Unequal groups, predictors of both levels: simulated and fitted anew each time."""
    rng = np.random.default_rng(12)
    sizes = rng.integers(3, 15, 25)
    g = np.repeat(np.arange(25), sizes)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=len(g)), "a": rng.normal(size=25)[g]})
    frame["y"] = rng.normal(size=len(g))
    first = fit_lmm(f"y ~ {fixed}", frame, "g", reml=reml)
    left = []
    for _ in range(300):
        fit = refit(first, 1.5 * rng.normal(size=25)[g] + rng.normal(size=len(g)))
        values, _, low, high = qq_points(fit, "Intercept", 0.95, "simultaneous")
        left.append(((values < low) | (values > high)).any())
    # standard error of 300 draws 0.013
    assert np.mean(left) == pytest.approx(0.05, abs=0.035)


@pytest.mark.parametrize("n", [0, -3, 2.5, "x", True, None])
def test_a_band_needs_a_number_of_values(n):
    with pytest.raises(ValueError, match="number of values"):
        plots.qq_band(n)


def test_qq_of_a_singular_fit_says_why_there_is_nothing_to_show():
    with pytest.raises(ValueError, match="check_singular"):
        plots.qq(fit_lmm("Yield ~ 1", data("published/dyestuff2"), "Batch"))


def test_caterpillar_shows_every_group_in_order_and_colours_those_apart_from_zero(sleepstudy):
    table = blups(sleepstudy, "Days").sort_values("estimate")
    ax = plots.caterpillar(sleepstudy, "Days")
    assert [t.get_text() for t in ax.get_yticklabels()] == [str(g) for g in table.index]
    apart = int(((table["ci_low"] > 0) | (table["ci_high"] < 0)).sum())
    assert [len(c.get_offsets()) for c in ax.collections[1::2]] == [len(table) - apart, apart]


def test_arrows_lead_from_own_estimates_to_blups(sleepstudy):
    ax = plots.shrinkage(sleepstudy)
    own, best = (np.asarray(c.get_offsets()) for c in ax.collections[:2])
    assert np.allclose(best, sleepstudy.random_effects)
    # balanced data without predictors between groups: own estimates are each group's regression
    frame = data("published/sleepstudy")
    first = frame[frame["Subject"] == frame["Subject"].min()]
    slope, intercept = np.polyfit(first["Days"], first["Reaction"], 1)
    expected = np.array([intercept, slope]) - sleepstudy.fe_params.to_numpy()
    assert np.allclose(own[0], expected)


def test_axes_of_the_shrinkage_plot_say_what_they_show(dairy, sleepstudy):
    ax = plots.shrinkage(dairy)
    ends = [t.get_text().replace("\n", " ") for t in ax.get_yticklabels()]
    assert ends == ["raw departure of the group", "BLUP (shrunken departure)"]
    assert ax.get_xlabel() == "departure from the average herd"
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "observations in the group"
    assert [t.get_text() for t in bar.get_yticklabels()] == ["8", "20", "60"]
    plane = plots.shrinkage(sleepstudy).get_legend_handles_labels()[1]
    assert plane == ends
    ax = plots.shrinkage(sleepstudy, "Days")
    assert ax.get_xlabel() == "departure from the average Subject in the slope of Days"


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [(3, 100, [3, 5, 10, 20, 50, 100]), (1, 2, [1, 2]), (2, 5000, [2, 10, 50, 200, 1000, 5000])],
)
def test_ticks_of_group_sizes_are_round_between_the_ends(least, most, ticks):
    assert size_ticks(least, most) == ticks


def test_fitted_values_are_named_in_words(dairy):
    assert plots.residual_fitted(dairy).get_xlabel() == "fitted value"
    marginal = plots.residual_fitted(dairy, x="fitted_marginal")
    assert marginal.get_xlabel() == "marginal fitted value"


def test_spaghetti_lines_are_the_models_group_lines(sleepstudy):
    ax = plots.spaghetti(sleepstudy, "Days", shrink=False)
    line = ax.lines[0]
    intercept, slope = (
        sleepstudy.fe_params.to_numpy() + sleepstudy.random_effects.iloc[0].to_numpy()
    )
    assert np.allclose(line.get_ydata(), intercept + slope * line.get_xdata())


def test_the_dashed_line_of_boxcox_cuts_the_curve_at_the_interval(powers):
    ax = plots.boxcox(powers)
    curve = ax.lines[0].get_xydata()
    height = ax.lines[1].get_ydata()[0]
    above = curve[curve[:, 1] >= height, 0]
    assert above.min() == pytest.approx(powers.ci_low, abs=0.01)
    assert above.max() == pytest.approx(powers.ci_high, abs=0.01)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda f: plots.qq(f, term="Days"), "Days"),
        (lambda f: plots.qq(f, band="wide"), "pointwise"),
        (lambda f: plots.spaghetti(f, "herd"), "numeric"),
        (lambda f: plots.residual_fitted(f, "feeding"), "numeric"),
        (lambda f: plots.boxcox(f), "boxcox_lmm"),
        (lambda f: plots.profile_zeta(f, "parities"), "parities"),
    ],
)
def test_wrong_requests_are_named(dairy, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(dairy)


def test_svg_files_are_the_same_byte_for_byte(dairy, tmp_path):
    plots.use_style()
    for name in ("one", "two"):
        ax = plots.caterpillar(dairy)
        ax.figure.savefig(tmp_path / f"{name}.svg", metadata={"Date": None})
    first, second = ((tmp_path / f"{name}.svg").read_bytes() for name in ("one", "two"))
    assert first == second
    assert b"<text" not in first  # outlines: no font is needed to read it


def test_colours_of_the_style_stand_out_from_white_and_from_each_other():
    plots.use_style()

    def luminance(colour):
        c = np.array(mpl.colors.to_rgb(colour))
        c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(c @ [0.2126, 0.7152, 0.0722])

    colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    assert len(set(colours)) == len(colours) >= 6
    for colour in colours[:3]:  # lines and points that carry meaning: WCAG asks for 3 to 1
        assert 1.05 / (luminance(colour) + 0.05) >= 3.0
    for part in ("text.color", "axes.labelcolor", "xtick.labelcolor"):
        assert 1.05 / (luminance(mpl.rcParams[part]) + 0.05) >= 7.0


def test_nothing_is_styled_unless_asked():
    before = dict(mpl.rcParams)
    import importlib

    importlib.reload(plots)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("kind", ["few", "spike", "constant"])
def test_a_trend_is_drawn_where_a_local_line_has_no_slope(kind):
    rng = np.random.default_rng(8)
    x = {"few": rng.integers(0, 3, 60), "spike": np.where(rng.random(60) < 0.7, 0, rng.random(60)),
         "constant": np.ones(60)}[kind]  # fmt: skip
    frame = pd.DataFrame({"g": np.repeat(range(10), 6), "x": x, "y": rng.normal(size=60)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = plots.residual_fitted(fit_lmm("y ~ 1", frame, "g"), x="x")
    (line,) = [one for one in ax.lines if one.get_label() == "smooth trend"]
    assert np.isfinite(line.get_xydata()).all()
    assert np.all(np.diff(line.get_xdata()) > 0)


def test_columns_that_the_model_leaves_out_may_hold_anything():
    rng = np.random.default_rng(9)
    frame = pd.DataFrame({"g": np.repeat(range(10), 6), "x": rng.normal(size=60)})
    frame["y"] = frame["x"] + rng.normal(size=60)
    plain = plots.spaghetti(fit_lmm("y ~ x", frame, "g"), "x").lines[-1].get_ydata()
    odd = frame.assign(pair=[(1, 2)] * 60, when=pd.Timestamp("2020-01-01"), wave=1j)
    odd = pd.concat([odd, odd[["when"]]], axis=1)
    fit = fit_lmm("y ~ x", odd, "g")
    assert np.allclose(plots.spaghetti(fit, "x").lines[-1].get_ydata(), plain)
    holes = fit_lmm("y ~ 1", odd.assign(x=odd["x"].where(odd.index > 0, np.inf)), "g")
    for draw in (plots.spaghetti, plots.residual_fitted):
        with pytest.raises(ValueError, match="'wave'; give a numeric column"):
            draw(fit, "wave")
        with pytest.raises(ValueError, match="'x' has 1 missing or infinite"):
            draw(holes, "x")

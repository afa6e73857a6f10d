"""Drawings of estimation, tests, prediction and checks."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patches import FancyBboxPatch
from pens import BLUE, GREEN, INK, RED, SOFT, arrow, canvas, drawing, say
from scipy import stats


@drawing("estimation")
def estimation() -> Any:
    figure, axes = canvas(height=2.5, columns=2)
    v = np.linspace(0.25, 3.4, 200)
    for ss, df, color, name, side in ((6.0, 8.0, RED, "ML", -1), (6.0, 5.0, BLUE, "REML", 1)):
        height = -0.5 * (df * np.log(v) + ss / v)
        height -= height.max()
        axes[0].plot(v, height, color=color, lw=2)
        top = ss / df
        axes[0].plot([top, top], [-3.2, 0], color=color, lw=1, ls=":")
        say(
            axes[0],
            top + side * 0.12,
            0.3,
            name,
            color,
            weight="semibold",
            ha="right" if side < 0 else "left",
        )
    axes[0].plot([0.2, 3.5], [-3.2, -3.2], color=INK, lw=1)
    say(axes[0], 1.85, -3.65, "variance", fontsize=9.5)
    axes[0].set(ylim=(-4, 0.7))
    rng = np.random.default_rng(4)
    y = rng.normal(0, 1, 7) + 0.5
    axes[1].plot([-0.4, 6.4], [0, 0], color=SOFT, lw=1.2, ls="--")
    axes[1].plot([-0.4, 6.4], [y.mean()] * 2, color=INK, lw=1.8)
    for k, value in enumerate(y):
        axes[1].plot([k, k], [y.mean(), value], color=RED, lw=1.3)
        axes[1].plot([k], [value], "o", color=BLUE, ms=6)
    say(axes[1], 6.55, y.mean(), "fitted mean", ha="left", fontsize=9.5)
    say(axes[1], 6.55, 0, "true mean", SOFT, ha="left", fontsize=9.5)
    say(
        axes[1],
        3.0,
        -2.0,
        "distances from the fitted mean are too short:\nREML counts what the mean has used up",
        fontsize=9,
    )
    axes[1].set(xlim=(-0.6, 8.8), ylim=(-2.5, 2.5))
    return figure


@drawing("inference")
def inference() -> Any:
    figure, axes = canvas(height=2.5, columns=2)
    x = np.linspace(-4.5, 4.5, 300)
    axes[0].plot(x, stats.t(4).pdf(x), color=RED, lw=2)
    axes[0].plot(x, stats.norm.pdf(x), color=BLUE, lw=2)
    tail = x[x > 2]
    axes[0].fill_between(tail, stats.t(4).pdf(tail), color=RED, alpha=0.25, lw=0)
    axes[0].plot([-4.5, 4.5], [0, 0], color=INK, lw=1)
    say(axes[0], 0.75, 0.38, "many herds", BLUE, ha="left", fontsize=9.5)
    say(axes[0], 2.3, 0.1, "few herds:\nlonger tails", RED, ha="left", fontsize=9.5)
    say(axes[0], 0, -0.06, "test of a fixed effect", fontsize=9.5)
    axes[0].set(ylim=(-0.09, 0.43))
    c = np.linspace(0.12, 6, 200)
    axes[1].plot(c, 0.5 * stats.chi2(1).pdf(c), color=BLUE, lw=2)
    axes[1].plot([0, 0], [0, 0.5], color=RED, lw=5, solid_capstyle="butt")
    axes[1].plot([0, 6], [0, 0], color=INK, lw=1)
    say(axes[1], 0.25, 0.55, "half of the time exactly zero", RED, ha="left", fontsize=9.5)
    say(axes[1], 1.6, 0.2, r"the other half: $\chi^2_1$", BLUE, ha="left", fontsize=9.5)
    say(axes[1], 3, -0.085, "test of a variance, which can't be below zero", fontsize=9.5)
    axes[1].set(xlim=(-0.2, 6.2), ylim=(-0.12, 0.62))
    return figure


@drawing("few-clusters")
def few_clusters() -> Any:
    figure, axes = canvas(height=2.6, columns=2)
    sizes = np.array([3, 6, 11, 18, 34])
    places = np.arange(5)
    height = np.array([1.5, 0.7, 1.9, 0.4, 1.1])
    axes[0].scatter(places, height, s=22 * sizes, color=BLUE, alpha=0.85, lw=0)
    axes[0].plot([-0.6, 4.6], [-0.35, -0.35], color=INK, lw=1)
    say(axes[0], 2.0, -0.7, "five herds, from small to large", fontsize=9.5)
    say(axes[0], -0.75, 1.1, "mean of its cows", fontsize=9.5, rotation=90)
    axes[0].set(xlim=(-1.0, 4.9), ylim=(-0.95, 2.4))
    rows = [("each herd once", np.ones(5), BLUE),
            ("in between:\nGEE, mixed model", sizes / (1 + 0.12 * (sizes - 1)), GREEN),
            ("each cow once", sizes, RED)]  # fmt: skip
    for (words, weight, color), base in zip(rows, (2.3, 1.15, 0.0), strict=True):
        axes[1].bar(places, 2.1 * weight / weight.sum(), 0.62, bottom=base, color=color)
        axes[1].plot([-0.5, 4.5], [base, base], color=INK, lw=1)
        say(axes[1], 4.75, base + 0.3, words, color, ha="left", fontsize=9.5)
    say(axes[1], 2.0, -0.3, "weights of the same five herds", fontsize=9.5)
    axes[1].set(xlim=(-0.6, 8.6), ylim=(-0.5, 3.3))
    return figure


@drawing("prediction")
def prediction() -> Any:
    figure, ax = canvas(height=2.5)
    raw = np.array([-2.9, -0.6, 0.35, 1.1, 2.6])
    sizes = np.array([3, 60, 5, 100, 5])
    kept = sizes / (sizes + 4.0)
    for value, n, share in zip(raw, sizes, kept, strict=True):
        color = RED if n < 10 else BLUE
        arrow(ax, (value, 1.0), (value * share, 0.0), color)
        ax.plot([value], [1.0], "o", color=color, ms=3.5 + 0.9 * np.sqrt(n))
        ax.plot([value * share], [0.0], "o", color=color, ms=5)
    ax.plot([0, 0], [-0.25, 1.25], color=INK, lw=1.2, ls="--")
    say(ax, 0, 1.42, "average hospital", fontsize=9.5)
    say(ax, -3.2, 1.0, "its patients' mean", ha="right", fontsize=9.5)
    say(ax, -3.2, 0.0, "its prediction", ha="right", fontsize=9.5)
    say(ax, 2.9, 0.75, "few patients: believe less,\nmove far", RED, ha="left", fontsize=9.5)
    say(ax, 2.9, 0.2, "many patients: hardly move", BLUE, ha="left", fontsize=9.5)
    ax.set(xlim=(-5.0, 5.6), ylim=(-0.35, 1.6))
    return figure


@drawing("diagnostics")
def diagnostics() -> Any:
    figure, ax = canvas(height=2.9)
    steps = [
        ("marginal residual", r"$y_{ij} - \hat{\mu}_{ij}$", "all that the fixed effects leave"),
        ("random effect of the herd", r"$\hat{u}_j$", "look here first: is a herd unusual?"),
        ("conditional residual", r"$\hat{\varepsilon}_{ij}$",
         "then here: is a cow unusual in its herd?"),
    ]  # fmt: skip
    places = zip(steps, (2.4, 1.2, 0.0), (INK, BLUE, RED), strict=True)
    for (name, symbol, words), y, color in places:
        ax.add_patch(FancyBboxPatch((0.1, y - 0.3), 3.3, 0.6, fc="white", ec=color, lw=1.3,
                                    boxstyle="round,pad=0.02,rounding_size=0.12"))  # fmt: skip
        say(ax, 1.75, y, name, color, weight="semibold")
        say(ax, 3.75, y, symbol, color, fontsize=13, ha="left")
        say(ax, 5.6, y, words, fontsize=9.5, ha="left")
    arrow(ax, (1.0, 2.08), (1.0, 1.54), SOFT)
    arrow(ax, (0.45, 2.08), (0.45, 0.34), SOFT)
    say(ax, 1.2, 1.8, "the herd's share", SOFT, fontsize=8.5, ha="left")
    say(ax, 0.62, 0.6, "the rest", SOFT, fontsize=8.5, ha="left")
    ax.set(xlim=(0, 9.6), ylim=(-0.45, 2.85))
    return figure


@drawing("failed-fits")
def failed_fits() -> Any:
    figure, axes = canvas(height=2.4, columns=3)
    v = np.linspace(0.0, 3.0, 200)
    cases = [
        ("a good fit", (v - 1.3) ** 2, 1.3, "lowest point inside"),
        ("a singular fit", (v + 0.7) ** 2 - 0.49, 0.0,
         "lowest point at the wall:\na variance of zero"),
        ("a failed search", 0.06 * (v - 2.2) ** 2, 0.7, "too flat to find it:\nstopped on the way"),
    ]  # fmt: skip
    for ax, (title, height, stop, words) in zip(axes, cases, strict=True):
        ax.fill_between([-0.45, 0], -0.6, 3.2, color="#D0D0D0", lw=0)
        ax.plot([0, 0], [-0.6, 3.2], color=INK, lw=1.2)
        shown = height < 3.1
        ax.plot(v[shown], height[shown], color=BLUE, lw=2)
        ax.plot([stop], [np.interp(stop, v, height)], "o", color=RED, ms=8, clip_on=False, zorder=5)
        ax.set_title(title, loc="center", fontsize=10.5)
        say(ax, 1.5, -0.75, words, fontsize=9, va="top")
        ax.set(xlim=(-0.5, 3.1), ylim=(-1.9, 3.3))
    return figure


@drawing("box-cox")
def box_cox() -> Any:
    figure, axes = canvas(height=2.4, columns=2)
    x = np.linspace(0.02, 7, 300)
    axes[0].fill_between(x, stats.lognorm(0.7, scale=1.6).pdf(x), color=RED, alpha=0.3, lw=0)
    axes[0].plot(x, stats.lognorm(0.7, scale=1.6).pdf(x), color=RED, lw=2)
    z = np.linspace(-3, 3, 300)
    axes[1].fill_between(z, stats.norm.pdf(z), color=BLUE, alpha=0.3, lw=0)
    axes[1].plot(z, stats.norm.pdf(z), color=BLUE, lw=2)
    for ax, title in zip(
        axes, ("euros, as they are paid", "euros, on a scale that fits the model"), strict=True
    ):
        ax.plot(ax.get_xlim(), [0, 0], color=INK, lw=1)
        ax.set_ylim(-0.02, 0.56)
        ax.set_title(title, loc="center", fontsize=10.5)
    say(axes[0], 5.2, 0.34, r"$\dfrac{y^\lambda - 1}{\lambda}$" + "   \u2192", fontsize=14)
    say(axes[0], 5.2, 0.2, "which λ do the data ask for?", fontsize=9.5)
    return figure


@drawing("planning")
def planning() -> Any:
    figure, ax = canvas(height=2.9)
    cows = np.linspace(0.6, 10.0, 200)
    for ceiling, color, name, rows in ((1.5, RED, "few herds", 1), (3.4, BLUE, "more herds", 2)):
        top = 0.75 if rows == 1 else 2.55
        ax.plot(cows, ceiling * cows / (cows + 1.6), color=color, lw=2.2)
        ax.plot([0.6, 10.0], [ceiling] * 2, color=color, lw=1.2, ls="--")
        say(ax, 10.2, ceiling, "their ceiling", color, ha="left", fontsize=9.5)
        say(ax, -1.75, top + 0.6, name, color, weight="semibold", fontsize=9.5)
        for k in range(3 * rows):
            corner = (-2.75 + 0.75 * (k % 3), top - 0.52 * (k // 3))
            ax.add_patch(FancyBboxPatch(corner, 0.5, 0.3, fc="white", ec=color, lw=1.2,
                                        boxstyle="round,pad=0.02,rounding_size=0.06"))  # fmt: skip
            for dot in (0.12, 0.25, 0.38):
                ax.plot([corner[0] + dot], [corner[1] + 0.15], "o", color=color, ms=2)
    start = (2.6, 1.5 * 2.6 / 4.2)
    arrow(ax, (start[0] + 0.1, start[1] - 0.28), (7.6, 1.5 * 7.6 / 9.2 - 0.28), RED)
    say(ax, 5.6, 0.4, "more cows from the same herds", RED, fontsize=9.5)
    arrow(ax, (2.6, start[1] + 0.12), (2.6, 3.4 * 2.6 / 4.2 - 0.1), BLUE)
    say(ax, 2.85, 1.68, "more herds", BLUE, ha="left", fontsize=9.5)
    ax.plot([0.6, 10.0], [0, 0], color=INK, lw=1)
    ax.plot([0.6, 0.6], [0, 3.7], color=INK, lw=1)
    say(ax, 5.3, -0.3, "cows from each herd", fontsize=9.5)
    say(ax, 0.75, 3.75, "what the study is worth", ha="left", fontsize=9.5)
    ax.set(xlim=(-3.0, 12.4), ylim=(-0.5, 3.95))
    return figure

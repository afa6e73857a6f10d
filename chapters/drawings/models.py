"""Drawings of data and models."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patches import Ellipse, FancyBboxPatch
from pens import BLUE, GREEN, HERDS, INK, RED, SOFT, arrow, canvas, drawing, say


@drawing("cover")
def cover() -> Any:
    figure, ax = canvas(height=1.5)
    ends = [(86, 70), (78, 42), (68, 58), (62, 24), (50, 36), (40, 8), (30, 20)]
    for k, (start, end) in enumerate(ends):
        ax.plot([0, 1], [-start, -end], color=HERDS[k % 3], lw=1.4, alpha=0.55)
    ax.plot([0, 1], [-59, -37], color="#0B5C7A", lw=3.5)
    ax.set(xlim=(0, 1), ylim=(-90, -4))
    return figure


@drawing("whole-game")
def whole_game() -> Any:
    figure, ax = canvas(height=2.3)
    rng = np.random.default_rng(1)
    titles = ["a question", "cows in herds", "a model", "a sentence to report"]
    for k, title in enumerate(titles):
        box = "round,pad=0.02,rounding_size=0.12"
        ax.add_patch(FancyBboxPatch((k * 2.6, 0), 2.0, 1.5, boxstyle=box, fc="white", ec=SOFT))
        say(ax, k * 2.6 + 1, 1.78, title, weight="semibold")
        if k:
            arrow(ax, (k * 2.6 - 0.5, 0.75), (k * 2.6 - 0.1, 0.75), SOFT)
    say(ax, 1, 0.75, "Does feeding\nchange the milk?")
    for k, color in enumerate(HERDS):
        x = 3.0 + 0.6 * k
        ax.add_patch(Ellipse((x, 0.72), 0.52, 1.15, fc="none", ec=color, lw=1))
        ax.plot(x + rng.uniform(-0.11, 0.11, 6), 0.72 + np.linspace(-0.36, 0.36, 6), "o",
                color=color, ms=3.6)  # fmt: skip
    for k, color in enumerate(HERDS):
        x = np.array([5.4, 7.0])
        ax.plot(x, 0.35 + 0.3 * k + np.array([0, 0.3]), color=color)
    ax.plot([5.4, 7.0], [0.65, 0.95], color=INK, lw=2.4)
    ax.plot([8.1, 9.5], [0.95, 0.95], color=INK, lw=1.2)
    ax.plot([8.8], [0.95], "o", color=INK, ms=6)
    ax.plot([8.25, 8.25], [0.7, 1.2], color=SOFT, lw=1, ls=":")
    say(ax, 8.8, 0.42, "estimate, interval,\nhow much herds differ", fontsize=9)
    ax.set(xlim=(-0.1, 9.95), ylim=(-0.1, 1.95))
    return figure


@drawing("clustered-data")
def clustered_data() -> Any:
    figure, ax = canvas(height=2.6)
    rng = np.random.default_rng(3)
    for k, (color, level) in enumerate(zip(HERDS, (0.35, -0.45, 0.05), strict=True)):
        x0 = 2.0 * k
        ax.add_patch(FancyBboxPatch((x0, -1.1), 1.6, 2.2, fc="none", ec=color, lw=1.3,
                                    boxstyle="round,pad=0.02,rounding_size=0.2"))  # fmt: skip
        say(ax, x0 + 0.8, 1.36, f"herd {k + 1}", color, weight="semibold")
        ax.plot([x0 + 0.15, x0 + 1.45], [level, level], color=color, lw=2)
        x = x0 + np.linspace(0.25, 1.35, 7)
        ax.plot(x, level + rng.normal(0, 0.27, 7), "o", color=color, ms=5, alpha=0.85)
    ax.axhline(0, color=SOFT, lw=1, ls="--", xmax=0.62)
    say(ax, 7.9, 0.55, "21 cows,\nbut 3 herds", weight="semibold")
    say(
        ax,
        7.9,
        -0.45,
        "cows of one herd share\nwhat their herd has:\ntwo of them tell less\nthan two strangers",
        fontsize=9,
    )
    ax.set(xlim=(-0.1, 9.6), ylim=(-1.25, 1.55))
    return figure


@drawing("random-intercept")
def random_intercept() -> Any:
    figure, ax = canvas(height=2.8)
    cows = [[0.25, -0.35, 0.1, 0.5], [0.3, -0.4, -0.1, 0.15], [-0.45, 0.35, 0.05, -0.15]]
    for k, (color, u, errors) in enumerate(zip(HERDS, (0.75, -0.7, 0.15), cows, strict=True)):
        x = 2.6 * k + np.array([0.3, 0.8, 1.3, 1.8])
        ax.plot([2.6 * k + 0.1, 2.6 * k + 2.05], [u, u], color=color, lw=2)
        ax.plot(x, u + np.array(errors), "o", color=color, ms=6)
        say(ax, 2.6 * k + 1.05, -1.45, f"herd {k + 1}", color, weight="semibold")
    ax.plot([0, 7.5], [0, 0], color=INK, lw=1.6)
    say(ax, 7.95, 0, r"$\beta_0$", fontsize=13)
    arrow(ax, (1.05, 0), (1.05, 0.75), BLUE)
    say(ax, 1.28, 0.37, r"$u_1$", BLUE, fontsize=13)
    arrow(ax, (1.8, 0.75), (1.8, 1.25), INK)
    say(ax, 2.12, 1.05, r"$\varepsilon_{41}$", fontsize=13)
    arrow(ax, (2.9, -0.7), (2.9, -0.4), INK)
    arrow(ax, (3.65, 0), (3.65, -0.7), RED)
    say(ax, 3.9, -0.36, r"$u_2$", RED, fontsize=13)
    say(ax, 9.45, 0.85, r"$y_{ij} = \beta_0 + u_j + \varepsilon_{ij}$", fontsize=13)
    say(
        ax,
        9.45,
        0.1,
        "the mean of all,\nwhat the herd adds,\nwhat is the cow's own",
        fontsize=9.5,
        va="top",
    )
    ax.set(xlim=(-0.1, 10.9), ylim=(-1.65, 1.5))
    return figure


@drawing("random-slopes")
def random_slopes() -> Any:
    figure, axes = canvas(height=2.5, columns=3)
    x = np.array([0.0, 1.0])
    base = np.array([-0.8, -0.4, 0.0, 0.4, 0.8])
    slopes = {
        "one slope for all": np.zeros(5),
        "slopes differ, and fan out": 0.9 * base,
        "slopes differ, and cross": -1.5 * base,
    }
    for ax, (title, own) in zip(axes, slopes.items(), strict=True):
        for k, (level, slope) in enumerate(zip(base, own, strict=True)):
            ax.plot(x, level + (0.9 + slope) * x, color=[BLUE, RED, SOFT, GREEN, BLUE][k], lw=1.5)
        ax.plot(x, 0.9 * x, color=INK, lw=2.6, ls="--")
        for at in (0.0, 1.0):
            ends = base + (0.9 + own) * at
            side = -0.07 if at == 0 else 1.07
            ax.plot([side, side], [ends.min(), ends.max()], color=INK, lw=3, solid_capstyle="butt")
        ax.set_title(title, loc="center", fontsize=10.5)
        ax.set(xlim=(-0.2, 1.2), ylim=(-1.1, 2.7))
        say(ax, 0.5, -1.0, r"$x$", fontsize=11)
    return figure


@drawing("contextual-effects")
def contextual_effects() -> Any:
    figure, ax = canvas(height=3.2)
    within, between = 0.15, 0.55

    def line(x: float) -> float:
        return between * (x - 1.4)

    for k, (color, centre) in enumerate(zip(HERDS, (1.4, 3.4, 5.4), strict=True)):
        ends = np.array([-0.9, 0.9])
        ax.plot(centre + ends, line(centre) + within * ends, color=color, lw=2)
        ax.plot([centre], [line(centre)], "o", color=color, ms=9)
        say(ax, centre - 0.1, line(centre) + 0.42, f"place {k + 1}", color, ha="right", fontsize=9)
    ax.plot([0.4, 6.7], [line(0.4), line(6.7)], color=INK, lw=1.3, ls="--")
    left, right, low = 3.4, 5.4, line(3.4)
    step = low + within * (right - left)
    ax.plot([left, right], [low, low], color=SOFT, lw=1)
    ax.plot([left, right], [low, step], color=RED, lw=1.2, ls=":")
    arrow(ax, (right, low), (right, step), RED)
    arrow(ax, (right, step), (right, line(right)), BLUE)
    say(ax, 4.45, low - 0.2, "a larger x", SOFT, fontsize=9)
    say(ax, right + 0.15, low + 0.1, "of a person in the same place", RED, ha="left", fontsize=9.5)
    say(ax, right + 0.15, low + 0.6, "and of the place as well:", BLUE, ha="left", fontsize=9.5)
    say(ax, right + 0.15, low + 0.36, r"contextual effect $\beta_B - \beta_W$", BLUE, ha="left")
    say(ax, 6.85, line(6.7), r"between places, slope $\beta_B$", ha="left", fontsize=9.5)
    say(ax, 2.5, -0.1, r"within a place, slope $\beta_W$", BLUE, ha="left", fontsize=9.5)
    ax.set(xlim=(0.2, 9.6), ylim=(-0.6, 3.1))
    return figure


@drawing("repeated-measures")
def repeated_measures() -> Any:
    figure, axes = canvas(height=2.3, columns=2)
    weeks = np.arange(6)
    thickness = {"a random intercept": np.full(5, 2.0), "what time does": 5.4 * 0.55 ** weeks[:5]}
    for ax, (title, width) in zip(axes, thickness.items(), strict=True):
        for k in weeks[1:]:
            turn = np.linspace(0, np.pi, 60)
            x, y = k / 2 * (1 - np.cos(turn)), 0.28 * k * np.sin(turn)
            ax.plot(x, 0.12 + y, color=BLUE, lw=width[k - 1], solid_capstyle="butt", zorder=1)
        ax.plot(weeks, np.zeros(6), "o", color=INK, ms=8, zorder=2)
        for k in weeks:
            say(ax, k, -0.28, f"week {k + 1}", SOFT, fontsize=8)
        say(ax, 2.5, 1.85, title, weight="semibold")
        ax.set(xlim=(-0.5, 5.5), ylim=(-0.45, 2.0))
    return figure


@drawing("levels")
def levels() -> Any:
    figure, ax = canvas(height=3.3)
    heights = {"herd": 3.0, "cow": 2.1, "lactation": 1.2, "test day": 0.3}
    for name, y in heights.items():
        say(ax, -0.25, y, name, ha="right", weight="semibold")
    technicians = {2.6: "technician 1", 6.2: "technician 2"}
    for k, (color, lactations) in enumerate(zip(HERDS, ([2, 1], [1, 2], [1, 1]), strict=True)):
        top = 3.0 * k + 1.35
        for cow, count in enumerate(lactations):
            middle = 3.0 * k + (0.75 if cow == 0 else 2.0)
            ax.plot([top, middle], [3.0, 2.1], color=color, lw=1.4)
            for n in range(count):
                x = middle if count == 1 else middle + (-0.38 if n == 0 else 0.38)
                ax.plot([middle, x], [2.1, 1.2], color=color, lw=1.4)
                for day in (-0.15, 0.15):
                    ax.plot([x, x + day], [1.2, 0.3], color=color, lw=1)
                    who = 2.6 if day < 0 else 6.2
                    ax.plot([x + day, who], [0.3, -0.75], color=SOFT, lw=0.6, zorder=0)
                    ax.plot([x + day], [0.3], "o", color=color, ms=5)
                ax.plot([x], [1.2], "s", color=color, ms=6)
            ax.plot([middle], [2.1], "o", color=color, ms=9)
        ax.plot([top], [3.0], "o", color=color, ms=13)
    for x, words in technicians.items():
        ax.plot([x], [-0.75], "D", color=INK, ms=8)
        say(ax, x, -1.08, words, fontsize=9.5)
    say(ax, 9.1, 2.1, "nested:\none parent\nabove each", ha="left", fontsize=9.5)
    say(ax, 9.1, -0.6, "crossed:\nlines from\nevery herd", ha="left", fontsize=9.5)
    ax.set(xlim=(-1.5, 10.6), ylim=(-1.3, 3.3))
    return figure

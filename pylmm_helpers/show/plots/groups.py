"""Figures of the groups: are they normal, who is where, how far did shrinkage move them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.quantities import blups

from .factor import OneFactor, factor_of, words_of
from .parts import (
    BLUE,
    INK,
    MANY,
    SOFT,
    VERMILLION,
    arrows,
    axes_or_new,
    chosen_term,
    effect_name,
    extent,
    in_view,
    own_effects,
    size_colours,
    size_ticks,
    typical_columns,
)

#: The two ends of an arrow.
RAW, SHRUNKEN = "raw departure of the group", "BLUP (shrunken departure)"
#: More groups than this and their labels no longer fit beside a figure of the book's height.
LABELLED_GROUPS = 30


def caterpillar(
    fit: Any,
    term: str | None = None,
    level: float = 0.95,
    ax: Any = None,
    group: str | None = None,
) -> Any:
    """Caterpillar plot: BLUPs in order, with intervals from their prediction SD.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        A fitted linear mixed model.
    term : str, optional
        Random effect to show; the first unless named.
    level : float
        Confidence level of each interval (not of comparisons between groups).
    ax : matplotlib Axes, optional
        Where to draw.
    group : str, optional
        The grouping factor, such as ``"herd:cow"``; needed when the fit has several.

    Returns
    -------
    Axes
        Groups whose interval excludes 0 are coloured. All groups are named up to 30 of them, beyond
        that the one at either end.
    """
    factor = factor_of(fit, group)
    name = chosen_term(factor, term)
    table = blups(factor.fit, name, level, group=factor.groups).sort_values("estimate")
    labels = words_of(table.index)
    position = np.arange(1, len(table) + 1)
    apart = ((table["ci_low"] > 0) | (table["ci_high"] < 0)).to_numpy()
    ax = axes_or_new(ax)
    width = float(np.clip(100.0 / len(table), 0.7, 2.0))
    for mask, colour, label in ((~apart, SOFT, "includes 0"), (apart, BLUE, "excludes 0")):
        if mask.any():
            part = table[mask]
            ax.hlines(
                position[mask],
                part["ci_low"],
                part["ci_high"],
                color=colour,
                linewidth=width,
                label=label,
            )
            ax.scatter(part["estimate"], position[mask], s=12 * width, color=colour, zorder=3)
    ax.axvline(0.0, color=INK, linewidth=0.9)
    if len(table) <= LABELLED_GROUPS:
        ax.set_yticks(position, labels)
        ax.set_ylabel(factor.groups)
    else:
        ax.set_ylabel(f"{factor.groups}, by rank")
        ax.margins(x=0.05 if len(table) <= MANY else 0.1)
        for k in (0, -1):
            # beside so many that they fill the figure, outside of them
            right = (k < 0) == (len(table) <= MANY)
            ax.annotate(
                labels[k],
                (table["ci_low"].iloc[k] if right else table["ci_high"].iloc[k], position[k]),
                xytext=(-4 if right else 4, 0), textcoords="offset points",
                ha="right" if right else "left", va="center", fontsize=7.5,
            )  # fmt: skip
    ax.grid(axis="y", visible=False)
    ax.set_ylim(0.0, len(table) + 1.0)
    ax.set_xlabel(f"{effect_name(factor, name)}, with {100 * level:g}% interval")
    ax.legend(title="interval", loc="lower right")
    return ax


def shrinkage(fit: Any, term: str | None = None, ax: Any = None, group: str | None = None) -> Any:
    """Arrows from each group's raw departure to its BLUP.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        A fitted linear mixed model.
    term : str, optional
        With one random effect, or one named: the group's raw departure, by its own rows alone
        (above), and the BLUP (below) on one axis. With two random effects and none named: both
        departures as a point in the plane.
    ax : matplotlib Axes, optional
        Where to draw.
    group : str, optional
        The grouping factor, such as ``"herd:cow"``; needed when the fit has several.

    Returns
    -------
    Axes
        Small groups move further; a group that can't be estimated by itself is left out, and among
        more than 200 those whose own estimate is nearly nothing but noise (counted there). With
        several factors the raw departure is that from the fixed effects and the BLUPs of the
        others, so that a random intercept with n rows keeps n / (n + sigma^2 / sigma_g^2) of it.
    """
    factor = factor_of(fit, group)
    own, whole = own_effects(factor)
    if not whole.any():
        raise ValueError(
            f"no group of {factor.groups!r} has rows enough for an estimate of its own; "
            "draw caterpillar instead"
        )
    best, terms = factor.random_effects.to_numpy(), factor.terms
    ax = axes_or_new(ax)
    beyond = whole & ~in_view(own, whole)
    whole = whole & ~beyond
    left_out = f" ({beyond.sum()} beyond the figure)" if beyond.any() else ""
    if len(terms) >= 2 and term is None:
        arrows(ax, own[whole][:, :2], best[whole][:, :2], [SOFT] * int(whole.sum()))
        ax.scatter(*own[whole][:, :2].T, s=16, color=SOFT, label=RAW + left_out, zorder=3)
        ax.scatter(*best[whole][:, :2].T, s=16, color=BLUE, label=SHRUNKEN, zorder=4)
        ax.axhline(0.0, color=INK, linewidth=0.9)
        ax.axvline(0.0, color=INK, linewidth=0.9)
        ax.set(xlabel=effect_name(factor, terms[0]), ylabel=effect_name(factor, terms[1]))
        ax.legend(loc="best")
        return ax
    name = chosen_term(factor, term)
    j = terms.index(name)
    start, end = own[whole][:, j], best[whole][:, j]
    sizes = factor.sizes[whole].astype(float)
    colours, scale = size_colours(sizes)
    ones = np.ones(len(start))
    arrows(ax, np.column_stack([start, ones]), np.column_stack([end, 0.0 * ones]), colours)
    ax.scatter(start, np.ones(len(start)), s=20, c=colours, zorder=3)
    ax.axvline(0.0, color=INK, linewidth=0.9)
    # two lines each: in one, they would take a third of a figure's width
    ax.set_yticks([1.0, 0.0], [RAW.replace(" of", "\nof"), SHRUNKEN.replace(" (", "\n(")])
    ax.set_ylim(-0.12, 1.12)
    ax.grid(axis="y", visible=False)
    of_slope = "" if name == "Intercept" else f" in the slope of {name}"
    ax.set_xlabel(f"departure from the average {factor.groups}{of_slope}{left_out}")
    if scale is not None:
        bar = ax.figure.colorbar(scale, ax=ax, pad=0.02, aspect=28)
        bar.set_label("observations in the group")
        bar.ax.minorticks_off()
        ticks = size_ticks(int(sizes.min()), int(sizes.max()))
        bar.set_ticks(ticks, labels=[str(t) for t in ticks])
        bar.outline.set_visible(False)
    return ax


def spaghetti(
    fit: Any, x: str, shrink: bool = True, ax: Any = None, group: str | None = None
) -> Any:
    """Each group's line from the model, with arrows from its own estimate to the model's.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        A fitted linear mixed model.
    x : str
        Numeric column of the data for the horizontal axis. Other predictors are held at their
        median or most common value.
    shrink : bool
        Draw the arrows, in a margin on the right: from where the group's own (unshrunken) line ends
        to where the model's line ends.
    ax : matplotlib Axes, optional
        Where to draw.
    group : str, optional
        The grouping factor, such as ``"herd:cow"``; needed when the fit has several.

    Returns
    -------
    Axes
        Group lines span the values of x in their group; the thick line is the population's. With
        several factors the lines are those of one, all others at their average.
    """
    factor = factor_of(fit, group)
    low, high = extent(factor, x)
    least, width = float(low.min()), float(high.max() - low.min())
    along = np.linspace(0.0, width, 61)  # from 0, so that points far from 0 are not rounded
    span = least + along
    X, Z, known = typical_columns(factor, x, span)
    population = factor.population(X) + known
    columns, effects = factor.scaled_z(Z), factor.effects_scaled
    ax = axes_or_new(ax)
    faint = float(np.clip(12.0 / factor.ngroups, 0.25, 0.7))
    faint = faint if factor.ngroups <= MANY else max(0.25 * MANY / factor.ngroups, 0.04)
    for g in range(factor.ngroups):
        inside = (
            np.abs(along - (low[g] + high[g] - 2.0 * least) / 2.0)
            <= (high[g] - low[g] + 1e-9 * width) / 2.0
        )
        line = population + columns @ effects[g]
        ax.plot(span[inside], line[inside], color=BLUE, linewidth=0.9, alpha=faint)
    ax.plot(span, population, color=INK, linewidth=2.2, label="population")
    ax.plot([], [], color=BLUE, linewidth=0.9, alpha=0.8, label=f"{factor.groups} (BLUP)")
    if shrink:
        draw_margin(ax, factor, span, population, Z[-1])
    ax.set(xlabel=x, ylabel=factor.fit.endog_name)
    ax.legend(loc="best", ncols=2)
    return ax


def draw_margin(ax: Any, factor: OneFactor, span: Array, population: Array, z: Array) -> None:
    """Arrows right of the lines, from each group's own value at the last x to the model's."""
    own, whole = own_effects(factor)
    whole = whole & in_view(own, whole)
    if not whole.any():
        return
    own, best = own[whole] @ z, factor.random_effects.to_numpy()[whole] @ z
    order = np.argsort(best)
    width = span[-1] - span[0]
    # every group at the same x would hide all arrows but one, so they share out a margin
    place = span[-1] + (0.05 + 0.20 * np.linspace(0.0, 1.0, len(order))) * width
    start, end = population[-1] + own[order], population[-1] + best[order]
    colours = [VERMILLION] * len(order)
    arrows(ax, np.column_stack([place, start]), np.column_stack([place, end]), colours)
    ax.scatter(place, start, s=7, color=SOFT, zorder=3, label="own estimate")
    ax.plot([], [], color=VERMILLION, linewidth=1.0, marker=">", markersize=4, label="shrinkage")
    level = [population[-1]] * 2
    ax.plot([span[-1], place[-1]], level, color=INK, linewidth=0.9, linestyle=(0, (2, 3)))
    ax.axvline(span[-1] + 0.025 * width, color=SOFT, linewidth=0.8)
    # the margin is no continuation of the x axis
    ax.set_xticks([t for t in ax.get_xticks() if span[0] <= t <= span[-1]])

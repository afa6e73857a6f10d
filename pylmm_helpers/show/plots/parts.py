"""Colours, axes and bands that the plots share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array, a_name, counted, shown
from pylmm_helpers.formula import PARTS, is_number, model_columns

from .factor import OneFactor

BLUE, VERMILLION, INK, SOFT, BAND = "#0072B2", "#D55E00", "#333333", "#9A9A9A", "#D9E6F2"
#: From few rows to many.
SIZES = [VERMILLION, "#8A3A6B", "#0B2A5B"]
#: More levels than this are drawn faint, and without heads of arrows.
MANY = 200


def axes_or_new(ax: Any) -> Any:
    """Give back the Axes, or a new figure's when there is none."""
    if ax is not None:
        if not hasattr(ax, "transData"):
            raise ValueError(
                f"ax is {shown(ax)}; give one matplotlib Axes, such as the second value of "
                "plt.subplots()"
            )
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots()[1]


def own_effects(factor: OneFactor) -> tuple[Array, NDArray[np.bool_]]:
    """Unshrunken least-squares deviation of each level (G, q) from what the fixed effects and the
    BLUPs of other factors say, and which levels have one (G,)."""
    weights = factor.weights
    root = np.ones(len(factor.codes)) if weights is None else np.sqrt(weights)
    rest = factor.rest() * root
    Z = factor.scaled_z(factor.Z) * root[:, None]
    G, q = factor.random_effects.shape
    own = np.zeros((G, q))
    whole = np.zeros(G, dtype=bool)
    order = np.argsort(factor.codes, kind="stable")
    ends = np.cumsum(factor.sizes)
    for g, (start, end) in enumerate(zip(ends - factor.sizes, ends, strict=True)):
        mine = order[start:end]
        own[g], _, rank, _ = np.linalg.lstsq(Z[mine], rest[mine], rcond=1e-8)
        whole[g] = rank == q
    return own @ factor.z_map.T, whole


def in_view(own: Array, whole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which levels (G,) a figure can show. Of a few all; of many not those whose own estimate is so
    far out, for want of rows, that the others would be one point."""
    if whole.sum() <= MANY:
        return whole
    low, middle, high = np.quantile(own[whole], [0.25, 0.5, 0.75], axis=0)
    return np.asarray(np.all(np.abs(own - middle) <= 4.0 * (high - low), axis=1))


def typical_columns(factor: OneFactor, x: str, values: Array) -> tuple[Array, Array, Array]:
    """X (k, p), Z (k, q) and offset (k,) along x, all other predictors at their median or most
    common value."""
    values_of(factor.fit, x)
    first = factor.designs[0]
    used = [name for name in first.kinds if name != x]
    rows = pd.DataFrame({x: values})
    for name in used:
        column = factor.fit.frame[name]
        number = is_number(column) and not pd.api.types.is_bool_dtype(column)
        few = pd.api.types.is_integer_dtype(column) and column.nunique() < 10
        typical = float(column.median()) if number and not few else column.mode().iloc[0]
        rows[name] = pd.Series([typical] * len(rows), dtype=None if number else column.dtype)
    fixed, random, offset = PARTS
    X, known = (model_columns(first, rows, part) for part in (fixed, offset))
    Z = np.hstack([model_columns(design, rows, random) for design in factor.designs])
    return X, Z, known.sum(axis=1)


def values_of(res: Any, x: str) -> Array:
    """A numeric column (n,) of the fit's data, for the horizontal axis."""
    frame = res.frame
    a_name(x, "x", "a numeric column of the data")
    if int((frame.columns == x).sum()) != 1 or not is_number(frame[x]):
        raise ValueError(f"x is {x!r}; give a numeric column of the data, whose name stands once")
    values = np.asarray(frame[x].to_numpy(dtype=float, na_value=np.nan))
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(
            f"column {x!r} has {counted(bad, 'missing or infinite value')}; choose another x"
        )
    return values


def chosen_term(factor: OneFactor, term: str | None) -> str:
    """Check the random-effect term; the first one unless another is named."""
    terms = factor.terms
    if term is None:
        return terms[0]
    a_name(term, "term", "a random effect")
    if term not in terms:
        raise ValueError(
            f"{term!r} is not a random effect of {factor.groups!r} in this model; random effects: "
            f"{', '.join(terms)}"
        )
    return term


def effect_name(factor: OneFactor, term: str) -> str:
    """Words for an axis: what the random effect of this term is."""
    of_slope = "" if term == "Intercept" else f" on slope of {term}"
    return f"{factor.groups} effect{of_slope}"


def extent(factor: OneFactor, x: str) -> tuple[Array, Array]:
    """Smallest and largest value (G,) of a column in each group."""
    by_group = pd.Series(values_of(factor.fit, x)).groupby(factor.codes)
    return np.asarray(by_group.min(), dtype=float), np.asarray(by_group.max(), dtype=float)


def arrows(ax: Any, start: Array, end: Array, colours: Any) -> None:
    """Thin arrows between points (k, 2), plain lines where there are too many to have heads; the
    axes are widened to hold them."""
    ax.update_datalim(np.vstack([start, end]))
    ax.autoscale_view()
    if len(start) > MANY:
        from matplotlib.collections import LineCollection

        pairs = list(np.stack([start, end], axis=1))
        faint = float(np.clip(100.0 / len(start), 0.1, 0.6))
        ax.add_collection(
            LineCollection(pairs, colors=colours, linewidths=0.7, alpha=faint, zorder=1)
        )
        return
    style = {
        "arrowstyle": "-|>,head_width=0.1,head_length=0.22",
        "linewidth": 0.9,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    for a, b, colour in zip(start, end, colours, strict=True):
        ax.annotate("", tuple(b), tuple(a), arrowprops={**style, "color": colour})


def size_ticks(least: int, most: int) -> list[int]:
    """The least and the largest size, and round ones between, apart on a logarithmic axis."""
    chosen, gap = [least], 0.12 * np.log(most / least)
    for size in (f * 10**k for k in range(len(str(most))) for f in (1, 2, 5)):
        if np.log(size / chosen[-1]) >= gap and np.log(most / size) >= gap:
            chosen.append(size)
    return [*chosen, most]


def size_map() -> Any:
    """A scale whose ends keep a contrast of 3 with the page, also where a dark one inverts it."""
    import matplotlib as mpl

    return mpl.colors.LinearSegmentedColormap.from_list("sizes", SIZES)


def size_colours(sizes: Array) -> tuple[Array, Any]:
    """Colours, darker for larger groups, and the scale for a colour bar (None if all are equal)."""
    import matplotlib as mpl

    shades = size_map()
    if sizes.min() == sizes.max():
        return shades(np.full(len(sizes), 0.6)), None
    scale = mpl.cm.ScalarMappable(mpl.colors.LogNorm(sizes.min(), sizes.max()), shades)
    return np.asarray(scale.to_rgba(sizes)), scale

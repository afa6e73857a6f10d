"""From cross products to pseudo-rows of the groups, with what has to be refused on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pylmm_helpers.common import Array

from .products import CrossProducts, GroupRows, group_rows

#: Share of a response's variation within groups below which the predictors count as reproducing it.
EXACT = 1e-12


def reduce_products(
    cross: CrossProducts, again: Callable[[CrossProducts], Array] | None = None
) -> tuple[GroupRows, CrossProducts]:
    """Pseudo-rows of the groups, with the variation within groups computed without loss of digits.

    Taking the groups' share from the total leaves only rounding noise when almost all variation is
    between groups; then `again` reads the rows once more, where it is given. A response with no
    variation of its own within groups is refused.
    """
    rows = group_rows(cross)
    spread = np.diag(rows.within[0]) / np.diag(cross.RtR)
    # below 1e-14 a column simply does not vary within groups
    if again is not None and (
        np.any((spread > 1e-14) & (spread < 1e-7))
        or residual_share(rows.within[0], cross.RtR) < 1e-9
    ):
        cross = replace(cross, RtR_within=again(cross))
        rows = group_rows(cross)
    rounding = 4.0 * np.finfo(float).eps * cross.y_largest / cross.scaling.y_scale
    share, p = residual_share(rows.within[0], cross.RtR), cross.p
    own = float(rows.within[0, p, p] / cross.RtR[p, p])
    if share <= max(rounding**2, 1e-28, EXACT * own):
        raise no_residual(cross)
    return rows, cross


def no_residual(cross: CrossProducts) -> ValueError:
    """The refusal of a response that the model reproduces exactly."""
    return ValueError(
        f"response '{cross.y_name}' has no residual variation: within the groups of "
        f"'{cross.group_name}' the model reproduces it exactly. If it is measured once per "
        "group, analyse one row per group by ordinary regression; if it was computed from "
        "the predictors, drop those."
    )


def residual_share(within: Array, total: Array) -> float:
    """Share of the response's sum of squares that neither X nor the groups' own regressions on Z
    explain."""
    p = len(within) - 1
    size = np.sqrt(np.maximum(np.diag(within)[:p], 1e-300))
    usable = np.diag(within)[:p] > 1e-12 * np.diag(total)[:p]
    X = within[:p, :p][np.ix_(usable, usable)] / np.outer(size[usable], size[usable])
    Xy = within[:p, p][usable] / size[usable]
    coefficients = np.linalg.lstsq(X, Xy, rcond=1e-12)[0]
    return float((within[p, p] - coefficients @ Xy) / total[p, p])

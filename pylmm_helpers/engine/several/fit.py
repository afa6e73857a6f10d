"""The path of a fit with several random terms: scale the columns, form their products, search,
report."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import (
    Design,
    StructureRequest,
    build_design,
    check_double,
    check_own_rows,
    take_apart,
)

from ..layout import Layout, assemble, constant_of, lay_out
from ..products import Scaling
from ..rows import what_is_left
from ..scaling import RowMoments, add_up
from ..whitening import whitened_rows
from .design import SeveralDesign, build, with_response, with_values
from .identified import check_identified
from .labels import labels_used_twice
from .results import SeveralResults
from .search import minimise, optimise, starts
from .structured import fit_structured
from .sums import Sums, build_sums

#: Share of the response left by the fixed effects, below which its products have lost half their
#: digits.
ALMOST_NOTHING = 1e-7
#: Units in the last place of the largest response that a fitted value may be off.
ROUNDING = 64.0
#: Beyond a relative standard deviation this large too few digits are left for the residual.
NO_RESIDUAL = 1e5


@dataclass(frozen=True)
class Scaled:
    """The products of a model with the way back to the units of the data.

    Attributes
    ----------
    sums : Sums
    scalings : tuple of Scaling
        One for each random term, in the order of the formula; the fixed part is the same in all.
    """

    sums: Sums
    scalings: tuple[Scaling, ...]


def check_bars_alone(groups: Any, re_formula: Any) -> None:
    """Refuse a second way of naming random terms beside those in the formula."""
    if groups is not None or re_formula != "1":
        raise ValueError(
            "the formula has its random terms in it, so groups= and re_formula= can't be given "
            "too; put all terms into the formula, as in 'y ~ x + (1 + x | herd)', or none."
        )


def fit_bars(
    formula: str,
    data: Any,
    reml: bool,
    weights: Any,
    missing: str,
    context: Mapping[str, Any] | None,
    one_factor: Callable[[Design, bool], Any],
    request: StructureRequest | None = None,
) -> Any:
    """Fit a model whose random terms stand in its formula; see `pylmm_helpers.fit_lmm`.

    A single term with a single grouping column is the model of one factor, which `one_factor` fits.
    """
    fixed, bars = take_apart(formula)
    if len(bars) == 1 and len(bars[0].columns) == 1:
        design = build_design(
            fixed, data, bars[0].columns[0], bars[0].terms, weights, missing, context, request
        )
        check_double(bars, [design])
        check_own_rows(design)
        return one_factor(design, reml)
    several = build(formula, data, weights, missing, context, request)
    check_double(bars, several.with_rows)
    for part in several.with_rows:
        check_own_rows(part)
    fit = fit_design(several, reml)
    if np.any(fit.scalings[0].offset):
        return fit  # another reading of the labels would be fitted to another response

    def nested(design: SeveralDesign) -> float:
        sums = scale(design).sums
        return minimise(starts(sums)[0], sums, reml).at.value

    # labels are compared by the model without a structure of its residuals
    plain = with_values(fit.design, None)
    value = fit.at.value if request is None else fit_plain(plain, reml).at.value
    remarks = labels_used_twice(plain, value, nested)
    for remark in remarks:
        warnings.warn(remark, UserWarning, stacklevel=3)
    return replace(fit, remarks=tuple(remarks))


def refit_bars(fit: SeveralResults, y: Array) -> SeveralResults:
    """The model of an earlier fit for another response (n,)."""
    return fit_design(with_response(fit.design, y), fit.reml)


def fit_design(design: SeveralDesign, reml: bool) -> SeveralResults:
    """The fit of a model whose columns are laid out and checked."""
    if design.first.structure is not None:
        fit: SeveralResults = fit_structured(design, reml, fit_plain, scaled_parts)
        return fit
    return fit_plain(design, reml)


def fit_plain(design: SeveralDesign, reml: bool) -> SeveralResults:
    """The fit of a model whose residuals have no structure, or one with its parameters given."""
    scaled = scale(design)
    check_identified(scaled.sums, design, reml)
    found = optimise(scaled.sums, reml)
    at, p = found.at, scaled.sums.p
    if np.isfinite(at.value) and at.r2 < ALMOST_NOTHING * float(np.sum(at.root[-1] ** 2)):
        # the digits of the residual are lost beside those of y: fit what the fixed effects leave
        beta = np.asarray(np.linalg.solve(at.root[:p, :p].T, at.root[p, :p]), dtype=float)
        scaled = scale(design, (scaled.scalings[0], beta))
        # what is left of y may be nothing but the rounding of its values
        unit = ROUNDING * np.finfo(float).eps * float(np.abs(design.with_rows[0].y).max())
        if scaled.scalings[0].y_scale <= unit:
            raise no_residual(design)
        found = optimise(scaled.sums, reml)
        at = found.at
    if not np.isfinite(at.value) or np.abs(at.theta).max() > NO_RESIDUAL:
        raise no_residual(design)
    return SeveralResults(design, scaled.sums, scaled.scalings, at, found.converged, reml)


def no_residual(design: SeveralDesign) -> ValueError:
    """The refusal of a response that the model reproduces exactly."""
    return ValueError(
        f"response '{design.first.y_name}' has no residual variation: the predictors and the "
        f"levels of {', '.join(repr(name) for name in design.factors)} reproduce it exactly. If it "
        "is measured once per level, leave that factor out and analyse one row per level; if it "
        "was computed from the predictors, drop those."
    )


def scale(design: SeveralDesign, fitted: tuple[Scaling, Array] | None = None) -> Scaled:
    """Centre and scale all columns, check them and form their products."""
    Z, R, scalings = scaled_parts(design, fitted)
    columns = [np.vstack([Z[k] for k in own]) for own in design.by_factor.values()]
    return Scaled(build_sums(list(design.factors.values()), columns, R), scalings)


def scaled_parts(
    design: SeveralDesign, fitted: tuple[Scaling, Array] | None = None
) -> tuple[list[Array], Array, tuple[Scaling, ...]]:
    """Scaled rows Z (q, n) of each random term and R (p + 1, n), after all checks, and the way
    back."""
    first = design.with_rows[0]
    y_moments = RowMoments(first.target)
    x_moments = [RowMoments(column) for column in first.x_columns]
    ones_x = constant_of(x_moments, partial(add_up, first.x_columns))
    # weights enter by their ratio to their mean, whose root becomes part of all scales
    mean_weight, root = None, None
    if first.weights is not None:
        mean_weight = float(first.weights.mean())
        root = np.sqrt(first.weights / mean_weight)
    Z, scalings, R = [], [], np.zeros((0, 0))
    for part in design.with_rows:
        z_moments = [RowMoments(column) for column in part.z_columns]
        ones_z = constant_of(z_moments, partial(add_up, part.z_columns))
        layout = lay_out(part, x_moments, z_moments, y_moments, ones_x, ones_z)
        rows, fit_scale = scaled_columns(part, layout, root, fitted)
        total = rows @ rows.T
        cross = assemble(
            part, layout, total, np.zeros((len(part.z_names), len(total), 0)),
            np.zeros(0, dtype=np.int64), part.group_labels,
            fitted=fit_scale, sum_log_weights=0.0, mean_weight=mean_weight, y_largest=0.0,
            n_dropped=0,
        )  # fmt: skip
        Z.append(rows[layout.z_index])
        R = rows[[*layout.x_index, len(rows) - 1]]
        scalings.append(cross.scaling)
    if R.shape[1] <= len(R) - 1:
        raise ValueError(
            f"{R.shape[1]} rows can't carry the {len(R) - 1} fixed effects of {first.formula!r}; "
            "use fewer predictors."
        )
    return Z, R, tuple(scalings)


def scaled_columns(
    part: Design, layout: Layout, root: Array | None, fitted: tuple[Scaling, Array] | None
) -> tuple[Array, tuple[float, Array] | None]:
    """The layout's columns and the response as rows (m + 1, n), scaled and weighted, and how the
    response was scaled where an earlier fit is taken from it."""
    sources = {"x": part.x_columns, "z": part.z_columns}
    rows = np.empty((len(layout.columns) + 1, len(part.target)))
    for k, (source, position) in enumerate(layout.columns):
        np.subtract(sources[source][position], layout.shifts[k], out=rows[k])
        rows[k] /= layout.scales[k]
    fit_scale = None
    if fitted is None:
        rows[-1] = (part.target - layout.y_shift) / layout.y_scale
    else:
        rows[-1], y_scale, offset = what_is_left(part, *fitted)
        mean = 1.0 if part.weights is None else float(part.weights.mean())
        fit_scale = (y_scale, offset / np.sqrt(mean))
    if root is not None:
        rows *= root
    if part.structure is not None:
        rows = whitened_rows(part.structure, rows)
    return rows, fit_scale

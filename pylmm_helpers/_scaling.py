"""Centre and scale the columns of a design, refuse columns that carry no information, and form the
products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pylmm_helpers._crossprod import (
    Array,
    CrossProducts,
    GroupRows,
    Scaling,
    column_products,
    group_rows,
)
from pylmm_helpers._design import Design
from pylmm_helpers._scaled_rows import scaled_rows, what_is_left

#: A spread below this share of the size of the values is rounding, not variation.
CONSTANT = 1e-12
#: Share of a column that the others leave unexplained, below which it counts as their combination.
COLLINEAR = 1e-10
#: Share of a response's variation within groups below which the predictors count as reproducing it.
EXACT = 1e-12


def cross_products(design: Design, fitted: tuple[Scaling, Array] | None = None) -> CrossProducts:
    """The sufficient statistics of a design, after all checks on its columns.

    With the scaling and the scaled fixed effects of an earlier fit, the response is what that fit
    leaves of it.

    Raises
    ------
    ValueError
        Too few groups or rows for the random effects; a constant, empty or collinear column; a
        constant response, or one that the predictors or the groups fix exactly.
    """
    n, p, q, ngroups = (
        len(design.y),
        len(design.x_names),
        len(design.z_names),
        len(design.group_labels),
    )
    check_counts(n, p, q, ngroups, design)
    ones_x, ones_z = constant_of(design.x_columns), constant_of(design.z_columns)
    names: list[str] = []
    columns: list[Array] = []
    shifts: list[float] = []
    scales: list[float] = []
    known: dict[tuple[str, bool], int] = {}

    def register(name: str, column: Array, ones: Array | None, position: int) -> int:
        centred = ones is not None and not ones[position]
        if (name, centred) not in known:
            shift, scale = location_and_scale(name, column, centred)
            known[name, centred] = len(columns)
            names.append(name)
            columns.append(column)
            shifts.append(shift)
            scales.append(scale)
        return known[name, centred]

    z_index = [
        register(v, c, ones_z, k)
        for k, (v, c) in enumerate(zip(design.z_names, design.z_columns, strict=True))
    ]
    x_index = [
        register(v, c, ones_x, k)
        for k, (v, c) in enumerate(zip(design.x_names, design.x_columns, strict=True))
    ]
    y_shift, y_scale = response_scale(design, centred=ones_x is not None)
    y, y_location, y_spread, offset = design.y, y_shift, y_scale, np.zeros(p)
    if fitted is not None:
        y, y_scale, offset = what_is_left(design, *fitted)
        y_location, y_spread = 0.0, 1.0
    total, by_group = column_products(
        [*columns, y], np.array([*shifts, y_location]), np.array([*scales, y_spread]), z_index,
        design.codes, ngroups, design.weights,
    )  # fmt: skip
    r_index = [*x_index, len(columns)]
    scaling = Scaling(
        affine_map(ones_x, [shifts[k] for k in x_index], [scales[k] for k in x_index]),
        affine_map(ones_z, [shifts[k] for k in z_index], [scales[k] for k in z_index]),
        ones_x if ones_x is not None else np.zeros(p),
        y_shift,
        y_scale,
        offset,
    )
    # a column with a large mean carries rounding errors that can pass for information
    noise = (8.0 * np.finfo(float).eps * np.array(shifts) / np.array(scales)) ** 2
    for index, labels, what, where in (
        (x_index, design.x_names, "predictor", "from the formula"),
        (z_index, design.z_names, "random-effect term", "from re_formula"),
    ):
        least = max(COLLINEAR, float(noise[index].max()))
        check_collinear(total[np.ix_(index, index)], labels, what, where, least)
    cross = CrossProducts(
        by_group[:, z_index],
        by_group[:, r_index],
        total[np.ix_(r_index, r_index)],
        np.bincount(design.codes, minlength=ngroups),
        scaling,
        design.x_names,
        design.z_names,
        design.y_name,
        design.group_name,
        design.group_labels,
        0.0 if design.weights is None else float(np.log(design.weights).sum()),
    )
    return cross


def check_counts(n: int, p: int, q: int, ngroups: int, design: Design) -> None:
    """Refuse data too small for the model, with lme4's rules for what can't be told apart."""
    parameters = q * (q + 1) // 2
    if ngroups < parameters:
        raise ValueError(
            f"{ngroups} groups in column '{design.group_name}' can't carry the {parameters} "
            f"variance parameters of re_formula {design.re_formula!r}; use fewer random terms."
        )
    if n <= ngroups * q:
        raise ValueError(
            f"{n} rows for {ngroups * q} random effects ({ngroups} groups in column "
            f"'{design.group_name}', {q} each): the random effects can't be told from the "
            "residuals. Use fewer random terms, ordinary regression if there is one row a group, "
            "or check that groups= names the right column."
        )
    if n <= p:
        raise ValueError(
            f"{n} rows can't carry the {p} fixed effects of {design.formula!r}; use fewer "
            "predictors."
        )


def constant_of(columns: list[Array]) -> Array | None:
    """Weights (m,) with which the columns add up to one: the intercept, or a full set of 0/1
    columns; else None."""
    for position, column in enumerate(columns):
        if column.strides == (0,):
            return np.eye(len(columns))[position]
    indicators = [
        k for k, c in enumerate(columns) if c[0] in (0.0, 1.0) and bool(np.all((c == 0) | (c == 1)))
    ]
    if indicators and bool(np.all(sum(columns[k] for k in indicators) == 1)):
        weights = np.zeros(len(columns))
        weights[indicators] = 1.0
        return weights
    return None


def location_and_scale(name: str, column: Array, centred: bool) -> tuple[float, float]:
    """What to subtract from a column and what to divide it by; refuses columns without
    variation."""
    if column.strides == (0,):
        return 0.0, 1.0
    mean = float(column.mean())
    if centred:
        spread = float(column.std())
        if spread <= CONSTANT * float(np.abs(column).max()):
            raise ValueError(
                f"predictor '{name}' is constant ({mean:.6g} in every row), like the intercept; "
                "drop it from the formula."
            )
        return mean, spread
    size = float(np.sqrt(np.mean(column**2)))
    if size == 0.0:
        raise ValueError(
            f"term '{name}' is zero in every row; drop it, or remove the unused category."
        )
    return 0.0, size


def response_scale(design: Design, centred: bool) -> tuple[float, float]:
    """Shift and scale of the response; refuses a constant one."""
    y = design.y
    mean, spread = float(y.mean()), float(y.std())
    if spread <= CONSTANT * float(np.abs(y).max()):
        raise ValueError(
            f"response '{design.y_name}' is constant ({mean:.6g} in every row): there is no "
            "variance to explain. Check the column and its unit."
        )
    return (mean, spread) if centred else (0.0, float(np.sqrt(np.mean(y**2))))


def affine_map(ones: Array | None, shifts: list[float], scales: list[float]) -> Array:
    """Matrix M with ``scaled columns = columns @ M``."""
    scale = np.array(scales)
    matrix = np.diag(1.0 / scale)
    if ones is not None:
        matrix -= np.outer(ones, np.array(shifts) / scale)
    return matrix


def check_collinear(
    products: Array, names: tuple[str, ...], what: str, where: str, least: float
) -> None:
    """Refuse columns of which the columns before them leave less than the share `least`, by
    name."""
    root = np.sqrt(np.diag(products))
    correlation = products / np.outer(root, root)
    basis: list[int] = []
    for k in range(len(names)):
        if basis:
            weights = np.linalg.solve(correlation[np.ix_(basis, basis)], correlation[basis, k])
            left = 1.0 - weights @ correlation[basis, k]
            if left < least:
                others = [names[b] for b, w in zip(basis, weights, strict=True) if abs(w) > 1e-6]
                raise ValueError(
                    f"{what} '{names[k]}' is a linear combination of "
                    f"{', '.join(repr(o) for o in others[:6])} (collinear to ten digits); drop "
                    f"one of them {where}, or centre predictors with a large mean."
                )
        basis.append(k)


def reduce_rows(cross: CrossProducts, design: Design) -> tuple[GroupRows, CrossProducts]:
    """Pseudo-rows of the groups, with the variation within groups computed without loss of digits.

    Taking the groups' share from the total leaves only rounding noise when almost all variation is
    between groups; then the rows are read once more. A response with no variation of its own within
    groups is refused.
    """
    rows = group_rows(cross)
    spread = np.diag(rows.within[0]) / np.diag(cross.RtR)
    # below 1e-14 a column simply does not vary within groups
    if (
        np.any((spread > 1e-14) & (spread < 1e-7))
        or residual_share(rows.within[0], cross.RtR) < 1e-9
    ):
        cross = replace(cross, RtR_within=within_products(cross, design))
        rows = group_rows(cross)
    rounding = 4.0 * np.finfo(float).eps * float(np.abs(design.y).max()) / cross.scaling.y_scale
    share, p = residual_share(rows.within[0], cross.RtR), cross.p
    own = float(rows.within[0, p, p] / cross.RtR[p, p])
    if share <= max(rounding**2, 1e-28, EXACT * own):
        raise no_residual(design)
    return rows, cross


def no_residual(design: Design) -> ValueError:
    """The refusal of a response that the model reproduces exactly."""
    return ValueError(
        f"response '{design.y_name}' has no residual variation: within the groups of "
        f"'{design.group_name}' the model reproduces it exactly. If it is measured once per "
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


def within_products(cross: CrossProducts, design: Design) -> Array:
    """``[X y]`` cross products of what is left of the rows after each group's own regression on
    Z."""
    q = cross.q
    Z, R = scaled_rows(design, cross.scaling)
    inverses = np.linalg.pinv(np.moveaxis(cross.ZtZ, -1, 0), rcond=1e-12, hermitian=True)
    for _ in range(2):  # the second pass removes the rounding of the first
        ZtR = np.array(
            [
                [
                    np.bincount(design.codes, Z[:, i] * R[:, c], cross.ngroups)
                    for c in range(R.shape[1])
                ]
                for i in range(q)
            ]
        )
        coefficients = inverses @ np.moveaxis(ZtR, -1, 0)
        for i in range(q):
            R -= Z[:, i, None] * coefficients[design.codes, i]
    return np.asarray(R.T @ R)

"""A standard deviation or correlation of random effects held at a value, as a function of theta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pylmm_helpers._crossprod import Array
from pylmm_helpers._profile import theta_to_factor, triangle
from pylmm_helpers._results import LMMResults


@dataclass(frozen=True)
class Constraint:
    """A function of (theta, log sigma) that is held fixed: value and gradient."""

    value: Callable[[Array], float]
    slope: Callable[[Array], Array]


def sd_constraint(res: LMMResults, i: int, value: float) -> Constraint:
    """Standard deviation of random term i held at `value`: on the log scale, with its gradient."""
    z_map, q = res.cross.scaling.z_map, res.cross.q
    goal = float(np.log(value / res.cross.scaling.y_scale))
    column, line = triangle(q)

    def length(x: Array) -> tuple[float, Array]:
        row = z_map[i] @ theta_to_factor(x[:-1], q)
        return max(float(np.sqrt(row @ row)), 1e-100), row

    def distance(x: Array) -> float:
        return float(np.log(length(x)[0]) + x[-1] - goal)

    def slope(x: Array) -> Array:
        size, row = length(x)
        return np.append(z_map[i, line] * row[column] / size**2, 1.0)

    return Constraint(distance, slope)


def correlation_constraint(res: LMMResults, i: int, j: int, value: float) -> Constraint:
    """Correlation of random terms i and j held at `value`, with its gradient."""
    z_map, q = res.cross.scaling.z_map, res.cross.q
    column, line = triangle(q)

    def parts(x: Array) -> tuple[Array, Array, float, float]:
        factor = theta_to_factor(x[:-1], q)
        a, b = z_map[i] @ factor, z_map[j] @ factor
        return a, b, max(float(a @ a), 1e-200), max(float(b @ b), 1e-200)

    def distance(x: Array) -> float:
        a, b, aa, bb = parts(x)
        return float(a @ b) / float(np.sqrt(aa * bb)) - value

    def slope(x: Array) -> Array:
        a, b, aa, bb = parts(x)
        size = float(np.sqrt(aa * bb))
        cor = float(a @ b) / size
        da, db = b / size - cor * a / aa, a / size - cor * b / bb
        return np.append(z_map[i, line] * da[column] + z_map[j, line] * db[column], 0.0)

    return Constraint(distance, slope)

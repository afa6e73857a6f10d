"""The rows as the cross products see them: scaled, centred, weighted."""

from __future__ import annotations

import numpy as np

from pylmm_helpers._crossprod import Array, Scaling
from pylmm_helpers._design import Design


def scaled_x(design: Design, scaling: Scaling) -> Array:
    """Scaled fixed-effect columns (n, p), centred one by one: ``X @ x_map`` would round."""
    X = np.column_stack(design.x_columns) * np.diag(scaling.x_map)
    if scaling.constant.any():
        for k in np.flatnonzero(scaling.constant == 0.0):
            column = design.x_columns[k]
            X[:, k] = (column - column.mean()) * scaling.x_map[k, k]
    return X


def scaled_rows(design: Design, scaling: Scaling) -> tuple[Array, Array]:
    """Scaled Z (n, q) and ``[X y]`` (n, p + 1), times the root of the weights: the rows whose
    cross products a fit uses."""
    X = scaled_x(design, scaling)
    y = (design.y - scaling.y_shift) / scaling.y_scale - X @ scaling.offset
    Z, R = np.column_stack(design.z_columns) @ scaling.z_map, np.column_stack([X, y])
    if design.weights is None:
        return Z, R
    root = np.sqrt(design.weights)[:, None]
    return Z * root, R * root


def what_is_left(design: Design, scaling: Scaling, beta: Array) -> tuple[Array, float, Array]:
    """Scaled residuals (n,) of a fit, their unit in the data's, and the fit as an offset (p,)."""
    total = beta + scaling.offset
    left = (design.y - scaling.y_shift) / scaling.y_scale - scaled_x(design, scaling) @ total
    spread = float(np.sqrt(np.mean(left**2)))
    return left / spread, scaling.y_scale * spread, total / spread

"""Read contrasts from text, mappings or arrays, and drop the rows that repeat others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, a_number, numbers
from pylmm_helpers.formula import plain_words


def independent_rows(L: Array, rhs: Array, C: Array) -> tuple[Array, Array]:
    """Rows of L (k, p) that don't follow from the rows before them; C is L in the basis where
    ``X'V^-1X`` is the identity."""
    C = C / np.linalg.norm(C, axis=1, keepdims=True)
    keep: list[int] = []
    for k in range(len(C)):
        if keep:
            weights, *_ = np.linalg.lstsq(C[keep].T, C[k], rcond=None)
            if np.linalg.norm(C[k] - weights @ C[keep]) < 1e-9:
                exact, *_ = np.linalg.lstsq(L[keep].T, L[k], rcond=None)
                if abs(exact @ rhs[keep] - rhs[k]) > 1e-9 * (
                    np.abs(exact @ np.diag(rhs[keep])).sum() + abs(rhs[k])
                ):
                    raise ValueError(f"row {k + 1} of the contrast contradicts the rows before it.")
                continue
        keep.append(k)
    return L[keep], rhs[keep]


def read_contrast(L: Any, rhs: Any, res: Any) -> tuple[Array, Array, list[str]]:
    """Rows (k, p), hypothesised values (k,) and a label for each row."""
    names = list(res.cross.x_names)
    specs = list(L) if isinstance(L, list | tuple) and L and not np.isscalar(L[0]) else [L]
    if isinstance(L, list | tuple) and L and isinstance(L[0], str):
        specs = list(L)
    rows: list[Array] = []
    values: list[float] = []
    labels: list[str] = []
    for spec in specs:
        some, wanted, text = read_rows(spec, names)
        rows.extend(some)
        values.extend(wanted)
        labels.extend(text)
    matrix = np.array(rows, dtype=float)
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise ValueError(
            f"each row of the contrast needs {len(names)} coefficients, one for each of {names}."
        )
    if not np.isfinite(matrix).all() or not np.all(np.abs(matrix).sum(axis=1) > 0):
        raise ValueError(
            "each row of the contrast needs at least one finite coefficient other than zero."
        )
    right = numbers(rhs, "rhs")
    if right.ndim > 1 or (right.ndim == 1 and len(right) != len(matrix)):
        raise ValueError(f"rhs must be one number, or one for each of the {len(matrix)} rows.")
    wanted_values = np.asarray(values) + np.broadcast_to(right, len(matrix))
    if not np.isfinite(wanted_values).all():
        raise ValueError("rhs is not finite; give the value that each contrast is compared with.")
    return matrix, wanted_values, labels


def read_rows(spec: Any, names: list[str]) -> tuple[list[Array], list[float], list[str]]:
    """Rows from one text, mapping or array."""
    if isinstance(spec, str):
        if spec in names:
            return [np.eye(len(names))[names.index(spec)]], [0.0], [spec]
        if any(part.count("=") > 1 for part in spec.split(",")):
            raise ValueError(f"the contrast {spec!r} has two equals signs; write 'x = 0, z = 0'.")
        from formulaic.utils.constraints import LinearConstraints

        try:
            found = LinearConstraints.from_spec(spec, variable_names=names)
        except Exception as error:  # formulaic has no common base class for these
            raise ValueError(
                f"the contrast {spec!r} can't be read: {plain_words(error).rstrip('.')}. Terms are "
                f"{names}; put names with special characters in backticks, or use a mapping."
            ) from error
        matrix = np.atleast_2d(np.asarray(found.constraint_matrix, dtype=float))
        labels = [spec] if len(matrix) == 1 else [f"{spec} ({k + 1})" for k in range(len(matrix))]
        return list(matrix), [float(v) for v in np.atleast_1d(found.constraint_values)], labels
    if isinstance(spec, Mapping | pd.Series):
        unknown = [str(term) for term in dict(spec) if term not in names]
        if unknown:
            raise ValueError(f"the model has no term {', '.join(unknown)}; its terms are {names}.")
        row = np.array(
            [a_number(spec.get(name, 0.0), f"the coefficient of {name!r}") for name in names]
        )
        return [row], [0.0], [" + ".join(f"{v:g}*{t}" for t, v in spec.items())]
    try:
        matrix = np.atleast_2d(np.asarray(spec, dtype=float))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "a contrast is text, a mapping from terms to coefficients, or an array."
        ) from error
    return list(matrix), [0.0] * len(matrix), [f"contrast {k + 1}" for k in range(len(matrix))]

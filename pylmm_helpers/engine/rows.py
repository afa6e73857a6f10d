"""The rows as the cross products see them: scaled, centred, weighted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design

from .products import CrossProducts, Scaling
from .whitening import whitened_rows

#: Rows handled at a time: large enough to keep NumPy busy, small enough to stay in the processor's
#: cache.
CHUNK_ROWS = 32_768


def column_products(
    columns: Sequence[Array],
    shifts: Array,
    scales: Array,
    z_index: Sequence[int],
    codes: NDArray[np.intp],
    ngroups: int,
    weights: Array | None = None,
) -> tuple[Array, Array]:
    """Products of scaled columns over all rows (m, m), and with the Z columns by group (q, m, G).

    Parameters
    ----------
    columns : sequence of m arrays (n,)
        Distinct columns of the model; column k enters as ``(column - shifts[k]) / scales[k]``.
    z_index : sequence of q int
        Which of the columns belong to Z.
    codes : ndarray (n,)
        Group number of each row, 0 to ngroups - 1. Rows sorted by group take a faster way.
    weights : ndarray (n,), optional
        Prior weights: every product is multiplied by them.
    """
    n, m, q = len(codes), len(columns), len(z_index)
    in_order = bool(np.all(codes[1:] >= codes[:-1]))
    # bincount touches every group each time it is called, so it gets more rows at a time
    chunk = CHUNK_ROWS if in_order else max(CHUNK_ROWS, ngroups)
    total = np.zeros((m, m))
    by_group = np.zeros((q, m, ngroups))
    block = np.empty((m, min(chunk, n)))
    for start in range(0, n, chunk):
        rows = slice(start, min(start + chunk, n))
        here = codes[rows]
        values = block[:, : len(here)]
        for k, column in enumerate(columns):
            np.subtract(column[rows], shifts[k], out=values[k])
            values[k] /= scales[k]
        if weights is not None:
            values *= np.sqrt(weights[rows])
        total += values @ values.T
        if in_order:
            firsts = np.flatnonzero(np.r_[True, here[1:] != here[:-1]])
            present = (
                slice(here[0], here[-1] + 1)
                if len(firsts) == here[-1] - here[0] + 1
                else here[firsts]
            )
            for i, z in enumerate(z_index):
                by_group[i, :, present] += np.add.reduceat(values[z] * values, firsts, axis=1)
        else:
            for i, z in enumerate(z_index):
                for k in range(m):
                    by_group[i, k] += np.bincount(
                        here, weights=values[z] * values[k], minlength=ngroups
                    )
    return total, by_group


def matrix_products(
    rows: Array, z_index: Sequence[int], codes: NDArray[np.intp], ngroups: int
) -> tuple[Array, Array]:
    """`column_products` of rows (m, n) that are scaled and sorted by group already."""
    firsts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    by_group = np.empty((len(z_index), len(rows), ngroups))
    for i, z in enumerate(z_index):
        by_group[i] = np.add.reduceat(rows[z] * rows, firsts, axis=1)
    return np.asarray(rows @ rows.T), by_group


def scaled_rows(design: Design, scaling: Scaling) -> tuple[Array, Array]:
    """Scaled Z (n, q) and ``[X y]`` (n, p + 1), times the root of the weights and whitened: the
    rows whose cross products a fit uses."""
    X = scaling.x(np.column_stack(design.x_columns))
    y = (design.target - scaling.y_shift) / scaling.y_scale - X @ scaling.offset
    Z, R = scaling.z(np.column_stack(design.z_columns)), np.column_stack([X, y])
    if design.weights is not None:
        root = np.sqrt(design.weights)[:, None]
        Z, R = Z * root, R * root
    if design.structure is not None:
        Z, R = (whitened_rows(design.structure, part.T).T for part in (Z, R))
    return Z, R


def what_is_left(design: Design, scaling: Scaling, beta: Array) -> tuple[Array, float, Array]:
    """Scaled residuals (n,) of a fit, their unit in the data's, and the fit as an offset (p,)."""
    total = beta + scaling.offset
    X = scaling.x(np.column_stack(design.x_columns))
    left = (design.target - scaling.y_shift) / scaling.y_scale - X @ total
    spread = float(np.sqrt(np.mean(left**2)))
    return left / spread, scaling.y_scale * spread, total / spread


def within_products(cross: CrossProducts, design: Design) -> Array:
    """``[X y]`` cross products of what is left of the rows after each group's own regression on
    Z."""
    return within_of(cross, design.codes, *scaled_rows(design, cross.scaling))


def within_of(cross: CrossProducts, codes: NDArray[np.intp], Z: Array, R: Array) -> Array:
    """The same from scaled rows Z (n, q) and R (n, p + 1); R is changed."""
    q = cross.q
    inverses = group_inverses(cross)
    for _ in range(2):  # the second pass removes the rounding of the first
        ZtR = np.array(
            [
                [np.bincount(codes, Z[:, i] * R[:, c], cross.ngroups) for c in range(R.shape[1])]
                for i in range(q)
            ]
        )
        coefficients = inverses @ np.moveaxis(ZtR, -1, 0)
        for i in range(q):
            R -= Z[:, i, None] * coefficients[codes, i]
    return np.asarray(R.T @ R)


def group_inverses(cross: CrossProducts) -> Array:
    """Inverse (G, q, q) of each group's ``Z'Z``; of a singular one, the pseudo-inverse."""
    return np.asarray(np.linalg.pinv(np.moveaxis(cross.ZtZ, -1, 0), rcond=1e-12, hermitian=True))

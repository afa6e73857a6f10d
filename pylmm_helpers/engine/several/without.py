"""The sums of a model without the rows of one level: its own products are taken away, rows of other
levels are not read again.

All levels keep their places. A level that has lost all of its rows has products of zero, adds
nothing to log|V| and has no part in ``V^-1``, so the criterion is that of the smaller model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pylmm_helpers.common import Array

from .pairs import ChangedPairs, Pairs
from .solve import level_rows
from .sums import Factor, Sums, by_level, cell_products


def only_level(codes: NDArray[np.intp], levels: int, of: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each level (L,) in `codes` the one level in `of` that has all of its rows, else -1."""
    found = np.full(levels, -1, dtype=np.intp)
    found[codes] = of
    found[codes[found[codes] != of]] = -1
    return found


class Without:
    """The sums of a fit with any one level of a factor left out.

    Parameters
    ----------
    sums : Sums
        Of all rows.
    Z : sequence of ndarray (q_k, n)
        Scaled columns of the factors, in the order of elimination.
    R : ndarray (p + 1, n)
        Scaled columns ``[X y]``.
    factor : Factor
        The one whose levels are left out.
    """

    def __init__(self, sums: Sums, Z: Sequence[Array], R: Array, factor: Factor) -> None:
        order = np.argsort(factor.codes, kind="stable")
        self.whole = sums
        self.ends = np.cumsum([0, *np.bincount(factor.codes, minlength=factor.levels)])
        self.Z = [z[:, order] for z in Z]
        self.R = R[:, order]
        self.codes = [f.codes[order] for f in sums.factors]
        self.only = [only_level(f.codes, f.levels, factor.codes) for f in sums.factors]

    def sums(self, level: int) -> Sums:
        """The products of all rows but those of a level."""
        whole, m = self.whole, self.whole.m
        rows = slice(int(self.ends[level]), int(self.ends[level + 1]))
        own = [
            replace(f, codes=codes[rows])
            for f, codes in zip(whole.factors, self.codes, strict=True)
        ]
        Z, R = [z[:, rows] for z in self.Z], self.R[:, rows]
        # what is gone is zero, not a rounding of it
        gone = [np.flatnonzero(only == level) for only in self.only]

        def less(total: Array, k: int, columns: Array) -> Array:
            left = total - by_level(own[k], Z[k], columns)
            left[..., gone[k]] = 0.0
            return left

        ZZ = {(k, j): less(total, k, Z[j]) for (k, j), total in whole.ZZ.items()}
        ZR = [less(total, k, R) for k, total in enumerate(whole.ZR)]
        DD, DR, pairs = whole.DD, whole.DR, None
        cells: list[sparse.csr_array] = []
        if whole.N:
            DD, DR = self.dense_part(own, Z, R, gone)
            for k in range(m):
                found = [cell_products(own[k], own[j], Z[k], Z[j]) for j in range(m, len(own))]
                taken = sparse.hstack(found, format="csr")
                left = (whole.cells[k] - taken).tocsr()
                left.sort_indices()
                cells.append(left)
                if k == 0 and isinstance(whole.pairs, Pairs):
                    touched = np.unique(own[k].codes)
                    effects = (touched[:, None] * own[k].q + np.arange(own[k].q)).ravel()
                    both = (whole.cells[k][effects] + left[effects]).tocsr()
                    pairs = ChangedPairs(whole.pairs, touched, taken[effects], both)
        return Sums(
            whole.factors, whole.parents, ZZ, ZR, cells, DD, DR, whole.RR - R @ R.T,
            whole.n - R.shape[1], pairs,
        )  # fmt: skip

    def dense_part(
        self, own: list[Factor], Z: list[Array], R: Array, gone: list[NDArray[np.intp]]
    ) -> tuple[Array, Array]:
        """Products of the dense part's columns without those of a level's rows."""
        whole, m = self.whole, self.whole.m
        DD, DR = whole.DD.copy(), whole.DR.copy()
        for a, (factor, place) in enumerate(whole.dense, start=m):
            DR[place] -= level_rows(by_level(own[a], Z[a], R))
            for b, (_, other) in enumerate(whole.dense, start=m):
                if b >= a:
                    block = cell_products(own[a], own[b], Z[a], Z[b]).tocoo()
                    row, column = place.start + block.row, other.start + block.col
                    DD[row, column] -= block.data
                    if b > a:
                        DD[column, row] -= block.data
            empty = (place.start + gone[a][:, None] * factor.q + np.arange(factor.q)).ravel()
            DD[empty], DR[empty] = 0.0, 0.0
            DD[:, empty] = 0.0
        return DD, DR

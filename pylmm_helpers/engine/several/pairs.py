"""The part of the dense matrix that the first factor of the chain takes away, as a linear map.

``C'MC`` with block-diagonal M is a sum over levels, and linear in M. Written as one sparse matrix
between the blocks of M and the entries of the product, it is computed for every new M without
looking for the pairs again; the transposed map gives ``<H, C'MC>`` for the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pylmm_helpers.common import Array

#: Beyond this number of pairs the map is not stored, and the product is formed anew each time.
MOST_PAIRS = 30_000_000


@dataclass(frozen=True)
class Pairs:
    """The map from the blocks of M to the lower triangle of an N by N matrix.

    Attributes
    ----------
    coefficients : sparse array (L q(q + 1)/2, N^2)
        A row for each lower-triangular entry of each block of M, all levels of an entry together;
        a column for each entry of the flat matrix.
    size : int
        N.
    """

    coefficients: sparse.csr_array
    size: int

    def product(self, M: Array) -> Array:
        """``C'MC`` (N, N) for blocks M (q, q, L)."""
        lower = (self.coefficients.T @ blocks_as_vector(M)).reshape(self.size, self.size)
        mirror(lower)
        return lower

    def inner(self, H: Array, M: Array) -> float:
        """``<H, C'MC>`` for symmetric H (N, N)."""
        H = 2.0 * H
        H[np.diag_indices_from(H)] *= 0.5
        return float(blocks_as_vector(M) @ (self.coefficients @ H.ravel()))


@dataclass(frozen=True)
class ChangedPairs:
    """The map for cells B - E, where `base` has that for B, and E is zero but in a few.

    ``B'MB - (B - E)'M(B - E)`` is the symmetric part of ``E'M(2B - E)``, which E keeps small.

    Attributes
    ----------
    base : Pairs
        Of the cells B.
    levels : ndarray (k,)
        The levels that differ.
    taken, both : sparse array (k q, N)
        Their rows of E and of 2B - E.
    """

    base: Pairs
    levels: NDArray[np.intp]
    taken: sparse.csr_array
    both: sparse.csr_array

    def difference(self, M: Array) -> sparse.coo_array:
        """``E'M(2B - E)`` (N, N)."""
        own = np.ascontiguousarray(np.moveaxis(M[..., self.levels], -1, 0))
        blocks = (own, np.arange(len(own)), np.arange(len(own) + 1))
        size = self.taken.shape[0]
        middle = sparse.bsr_array(blocks, shape=(size, size)).tocsr()
        return ((self.taken.T @ middle).tocsr() @ self.both).tocoo()

    def product(self, M: Array) -> Array:
        """``C'MC`` (N, N) for blocks M (q, q, L)."""
        found, less = self.base.product(M), self.difference(M)
        found[less.row, less.col] -= 0.5 * less.data
        found[less.col, less.row] -= 0.5 * less.data
        return found

    def inner(self, H: Array, M: Array) -> float:
        """``<H, C'MC>`` for symmetric H (N, N)."""
        less = self.difference(M)
        return self.base.inner(H, M) - float(H[less.row, less.col] @ less.data)


def mirror(lower: Array) -> None:
    """Fill the upper triangle of a matrix from its lower one, block by block."""
    for start in range(0, len(lower), 256):
        stop = start + 256
        lower[start:stop, stop:] = lower[stop:, start:stop].T
        corner = lower[start:stop, start:stop]
        row, column = np.triu_indices(len(corner), 1)
        corner[row, column] = corner[column, row]


def blocks_as_vector(M: Array) -> Array:
    """Lower triangles of symmetric blocks (q, q, L), one entry of the triangle after the other."""
    row, column = np.tril_indices(len(M))
    return np.ascontiguousarray(M[row, column]).ravel()


def pairs_of(cells: sparse.csr_array, q: int) -> Pairs | None:
    """The map for C (L q, N), its column numbers in order; None where it would be too large."""
    size = cells.shape[1]
    counts = np.diff(cells.indptr).reshape(-1, q).astype(np.intp)
    starts = cells.indptr[:-1].reshape(-1, q).astype(np.intp)
    triangle = list(zip(*np.tril_indices(q), strict=True))
    if sum(int((counts[:, i] * counts[:, j]).sum()) for i, j in triangle) > MOST_PAIRS:
        return None
    of_column = cells.indices.astype(np.int32 if size**2 < 2**31 else np.int64)
    places, values, numbers = [], [], []
    for i, j in triangle:
        # every entry of row i meets those of row j; of a row with itself half the pairs are enough
        entries = runs(starts[:, i], counts[:, i])
        position = entries - np.repeat(starts[:, i], counts[:, i])
        partners = position + 1 if i == j else np.repeat(counts[:, j], counts[:, i])
        second = runs(np.repeat(starts[:, j], counts[:, i]), partners)
        first = np.repeat(entries, partners)
        a, b = of_column[first], of_column[second]
        value = cells.data[first] * cells.data[second]
        if i != j:
            # the blocks (i, j) and (j, i) of M both reach an entry; on the diagonal they coincide
            value[a == b] *= 2.0
            a, b = np.maximum(a, b), np.minimum(a, b)
        a *= size
        a += b
        places.append(a)
        values.append(value)
        own, other = counts[:, i], counts[:, j]
        numbers.append(own * (own + 1) // 2 if i == j else own * other)
    indptr = np.cumsum(np.concatenate([[0], *numbers]))
    shape = (len(indptr) - 1, size * size)
    parts = (np.concatenate(values), np.concatenate(places), indptr.astype(of_column.dtype))
    return Pairs(sparse.csr_array(parts, shape=shape), size)


def runs(starts: NDArray[np.intp], counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """The numbers start, start + 1, ... of each run, one run after the other."""
    ends = np.cumsum(counts)
    if not len(ends) or not ends[-1]:
        return np.zeros(0, dtype=np.intp)
    return np.arange(ends[-1]) + np.repeat(starts - ends + counts, counts)

"""The products that a model with several grouping factors is made of, and the order in which its
factors are eliminated.

With R = [X y], all that the rows say is in Z_k'Z_l (a number for every cell in which two levels
meet), Z_k'R and R'R. Factors that are nested in each other form a chain: what is left after one
of them is eliminated is still block-diagonal in the next, so the whole chain costs its number of
levels. The factors outside the chain make up the dense part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pylmm_helpers.common import Array

from .pairs import ChangedPairs, Pairs, pairs_of

#: Most columns the dense part may have: three square matrices of this size take 2.4 gigabytes.
LARGEST_DENSE = 10_000


@dataclass(frozen=True)
class Factor:
    """A grouping factor with its random terms.

    Attributes
    ----------
    name : str
        Its columns joined by colons.
    codes : ndarray (n,)
        Level of each row, or of each cell of a database, 0 to ``levels - 1``.
    levels : int
        Number of levels L.
    widths : tuple of int
        Columns of each of its terms; terms are independent of each other.
    """

    name: str
    codes: NDArray[np.intp]
    levels: int
    widths: tuple[int, ...]

    @property
    def q(self) -> int:
        """Columns of all its terms."""
        return sum(self.widths)

    @property
    def size(self) -> int:
        """Number of its random effects."""
        return self.levels * self.q

    @cached_property
    def free(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the entries of Lambda (q, q) that are parameters, term by term, down
        the columns."""
        rows, columns, start = [], [], 0
        for width in self.widths:
            column, row = np.triu_indices(width)
            rows.append(row + start)
            columns.append(column + start)
            start += width
        return np.concatenate(rows), np.concatenate(columns)

    @cached_property
    def basis(self) -> Array:
        """Symmetric matrices (d, q, q) with ones at each free entry and its mirror image."""
        row, column = self.free
        basis = np.zeros((len(row), self.q, self.q))
        basis[np.arange(len(row)), row, column] = 1.0
        basis[np.arange(len(row)), column, row] = 1.0
        return basis


@dataclass(frozen=True)
class Sums:
    """Sufficient statistics in scaled columns; ``r = p + 1`` columns R = [X y].

    Attributes
    ----------
    factors : tuple of Factor
        In the order of elimination: first the chain, then the dense part.
    parents : dict (k, l) -> ndarray (L_k,)
        Level of chain factor l to which each level of chain factor k belongs, k < l.
    ZZ : dict (k, l) -> ndarray (q_k, q_l, L_k)
        Products of chain factors' columns, level by level, k <= l.
    ZR : list of ndarray (q_k, r, L_k)
        Products of a chain factor's columns with R.
    cells : list of sparse arrays (L_k q_k, N)
        Products of a chain factor's columns with those of the dense part.
    DD, DR : ndarray (N, N), (N, r)
        Products of the dense part's columns with each other and with R.
    RR : ndarray (r, r)
    n : int
        Rows.
    pairs : Pairs, ChangedPairs or None
        The first factor's part in the dense matrix as a linear map.
    memory : dict
        What others have worked out from the sums alone and want to keep.
    """

    factors: tuple[Factor, ...]
    parents: dict[tuple[int, int], NDArray[np.intp]]
    ZZ: dict[tuple[int, int], Array]
    ZR: list[Array]
    cells: list[sparse.csr_array]
    DD: Array
    DR: Array
    RR: Array
    n: int
    pairs: Pairs | ChangedPairs | None
    memory: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def m(self) -> int:
        """Factors in the chain."""
        return len(self.ZR)

    @property
    def p(self) -> int:
        """Fixed effects."""
        return len(self.RR) - 1

    @property
    def N(self) -> int:
        """Columns of the dense part."""
        return len(self.DD)

    @cached_property
    def dense(self) -> list[tuple[Factor, slice]]:
        """Factors of the dense part with their columns."""
        found, start = [], 0
        for factor in self.factors[self.m :]:
            found.append((factor, slice(start, start + factor.size)))
            start += factor.size
        return found

    @cached_property
    def slices(self) -> list[slice]:
        """Where each factor's parameters stand in theta."""
        ends = np.cumsum([0, *(len(f.free[0]) for f in self.factors)])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]


def parent_levels(child: Factor, parent: Factor) -> NDArray[np.intp] | None:
    """The parent's level (L,) of each level of the child; None if one of them has several."""
    found = np.zeros(child.levels, dtype=np.intp)
    found[child.codes] = parent.codes
    return found if np.array_equal(found[child.codes], parent.codes) else None


def elimination_order(factors: Sequence[Factor]) -> tuple[list[int], int]:
    """Positions of the factors in the order of elimination, and how many of them form the chain.

    Of all chains, the one that leaves the smallest dense part, then the one that starts with most
    levels.
    """
    every = range(len(factors))
    inside = {
        (a, b): parent_levels(factors[a], factors[b]) is not None
        for a in every
        for b in every
        if a != b and factors[a].levels >= factors[b].levels
    }

    def chain_from(first: int) -> list[int]:
        chain = [first]
        while True:
            above = [b for b in every if b not in chain and inside.get((chain[-1], b), False)]
            if not above:
                return chain
            chain.append(max(above, key=lambda b: factors[b].levels))

    def cost(chain: list[int]) -> tuple[int, int]:
        left = sum(factors[b].size for b in every if b not in chain)
        return left, -factors[chain[0]].levels

    chain = min((chain_from(first) for first in every), key=cost)
    rest = sorted((b for b in every if b not in chain), key=lambda b: -factors[b].levels)
    return chain + rest, len(chain)


def check_dense(factors: Sequence[Factor]) -> None:
    """Refuse a dense part that would need too much memory."""
    size = sum(factor.size for factor in factors)
    if size > LARGEST_DENSE:
        names = " and ".join(f"'{f.name}' ({f.levels} levels)" for f in factors)
        raise ValueError(
            f"the factor {names} crosses the others, and its {size} random effects would need "
            f"{24e-9 * size**2:.1f} GB of memory (at most {LARGEST_DENSE} effects are taken). "
            "Leave its random term out, give it fewer levels or fewer random slopes, or fit the "
            "model by lme4 through lmer()."
        )


def build_sums(factors: Sequence[Factor], Z: Sequence[Array], R: Array) -> Sums:
    """All products of some factors' scaled columns Z_k (q_k, n) and of R (r, n)."""
    return add_up(factors, Z, R, R @ R.T, R.shape[1], np.multiply)


def add_up(
    factors: Sequence[Factor],
    Z: Sequence[Any],
    R: Any,
    RR: Array,
    n: int,
    product: Callable[[Any, Any], Array],
) -> Sums:
    """`build_sums` of columns in any form of which `product` gives the products: those of each row,
    or, where a database has added them up, of each cell; with R'R and the number of rows."""
    order, m = elimination_order(factors)
    factors, Z = tuple(factors[k] for k in order), [Z[k] for k in order]
    check_dense(factors[m:])
    parents, ZZ = {}, {}
    for k in range(m):
        for later in range(k, m):
            if later > k:
                parent = parent_levels(factors[k], factors[later])
                assert parent is not None
                parents[k, later] = parent
            ZZ[k, later] = by_level(factors[k], Z[k], Z[later], product)
    ZR = [by_level(factors[k], Z[k], R, product) for k in range(m)]
    rest = range(m, len(factors))
    if not rest:
        none = np.zeros((0, 0))
        return Sums(factors, parents, ZZ, ZR, [], none, np.zeros((0, len(R))), RR, n, None)
    starts = np.cumsum([0, *(factors[k].size for k in rest)])
    size = int(starts[-1])
    cells = []
    for k in range(m):
        found = [cell_products(factors[k], factors[j], Z[k], Z[j], product) for j in rest]
        cells.append(sparse.hstack(found, format="csr"))
    DD = np.zeros((size, size))
    DR = np.zeros((size, len(R)))
    for i, a in zip(starts, rest, strict=False):
        own = slice(i, i + factors[a].size)
        by_row = by_level(factors[a], Z[a], R, product)
        DR[own] = by_row.transpose(2, 0, 1).reshape(-1, len(R))
        for j, b in zip(starts, rest, strict=False):
            if b >= a:
                block = cell_products(factors[a], factors[b], Z[a], Z[b], product).toarray()
                DD[own, j : j + factors[b].size] = block
                DD[j : j + factors[b].size, own] = block.T
    return Sums(
        factors, parents, ZZ, ZR, cells, DD, DR, RR, n, pairs_of(cells[0], factors[0].q)
    )  # fmt: skip


def by_level(
    factor: Factor, Z: Any, columns: Any, product: Callable[[Any, Any], Array] = np.multiply
) -> Array:
    """Products (q, m, L) of Z (q, n) and columns (m, n) over the rows of each level."""
    found = np.empty((len(Z), len(columns), factor.levels))
    for i, z in enumerate(Z):
        for j, column in enumerate(columns):
            found[i, j] = np.bincount(factor.codes, product(z, column), factor.levels)
    return found


def cell_products(
    a: Factor, b: Factor, Za: Any, Zb: Any, product: Callable[[Any, Any], Array] = np.multiply
) -> sparse.csr_array:
    """Z_a'Z_b (L_a q_a, L_b q_b), a row or column for each level and term."""
    rows, columns, values = [], [], []
    for i, z in enumerate(Za):
        for j, other in enumerate(Zb):
            rows.append(a.codes * a.q + i)
            columns.append(b.codes * b.q + j)
            values.append(product(z, other))
    found = sparse.coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(a.size, b.size),
    )
    return found.tocsr()

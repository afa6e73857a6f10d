r"""Second-order quantities for several grouping factors: the expected information on the variances
and what Kenward and Roger need of the fixed effects.

:math:`\operatorname{tr}(V^{-1} G_r V^{-1} G_s)` takes all pairs of levels that have to do with each
other, :math:`Z_k'V^{-1}Z_l`. Levels that no chain of rows connects don't: the levels split into
connected components (the top levels of nested factors; mostly a single one for crossed factors),
which are worked out one after the other as dense matrices, those of about the same size together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse.csgraph import connected_components

from pylmm_helpers.common import Array

from .criterion import Point, Slopes, directions, solved, sum_products
from .small import transposed
from .solve import block_diagonal, link
from .sums import Sums

#: Most random effects in one connected component, and most entries of all components' matrices.
LARGEST_COMPONENT, MOST_ENTRIES = 6_000, 400_000_000
#: Up to this many random effects the components' products are kept for later calls.
KEPT = 1_000
#: Entries of the matrices worked on at a time.
BATCH_ENTRIES = 4_000_000


class TooLargeError(ValueError):
    """The levels that hang together are too many for exact second-order quantities."""


@dataclass(frozen=True)
class Batch:
    """Some connected components, padded to the same number of levels of each factor.

    Attributes
    ----------
    index : ndarray (c, s)
        Position of each component's random effects among all of them; -1 for padding.
    slices : list of slice
        Where the effects of each factor stand in s.
    """

    index: NDArray[np.intp]
    slices: list[slice]


@dataclass(frozen=True)
class XForms:
    """With the scores ``a_c = Z'V^-1 x_c`` in the basis where ``X'V^-1X`` is the identity: ``P``
    (d, p, p), ``X'V^-1 G_r V^-1 X``, and ``Q`` (d, d, p, p), ``X'V^-1 G_r V^-1 G_s V^-1 X``."""

    P: Array
    Q: Array


def all_products(sums: Sums) -> sparse.csr_array:
    """``Z'Z`` of all factors as one sparse matrix."""
    count = len(sums.factors)
    parts: list[list[sparse.sparray | None]] = [
        [None] * (sums.m + bool(sums.N)) for _ in range(count)
    ]
    parts = parts[: sums.m + bool(sums.N)]
    for k in range(sums.m):
        for j in range(k, sums.m):
            block = sums.ZZ[k, j]
            if j == k:
                parts[k][k] = block_diagonal(block)
                continue
            up = link(transposed(block), sums.parents[k, j], sums.factors[j].levels)
            parts[j][k], parts[k][j] = up, up.T
        if sums.N:
            parts[k][sums.m], parts[sums.m][k] = sums.cells[k], sums.cells[k].T
    if sums.N:
        parts[sums.m][sums.m] = sparse.csr_array(sums.DD)
    return sparse.block_array(parts, format="csr")


def batches(sums: Sums, products: sparse.csr_array) -> Iterator[Batch]:
    """The connected components, some of about the same size at a time."""
    count, label = connected_components(products, directed=False)
    ends = np.cumsum([0, *(f.size for f in sums.factors)])
    starts = ends[:-1]
    # a level's own columns may be zero in some rows: they still belong together
    of_level = [
        np.maximum.reduceat(label[a : a + f.size], np.arange(0, f.size, f.q))
        for f, a in zip(sums.factors, starts, strict=True)
    ]
    counts = np.array([np.bincount(of, minlength=count) for of in of_level])
    size = np.array([f.q for f in sums.factors]) @ counts
    if size.max() > LARGEST_COMPONENT or float(np.sum(size.astype(float) ** 2)) > MOST_ENTRIES:
        raise TooLargeError(
            f"{int(size.max())} random effects hang together, more than can be worked out exactly "
            f"(at most {LARGEST_COMPONENT})"
        )
    order = np.argsort(size, kind="stable")
    order = order[size[order] > 0]
    sorted_levels = [np.argsort(of, kind="stable") for of in of_level]
    firsts = [np.cumsum([0, *n[:-1]]) for n in counts]
    begin = 0
    while begin < len(order):
        stop = begin + 1
        while (
            stop < len(order)
            and size[order[stop]] <= 1.3 * size[order[begin]] + 4
            and (stop - begin + 1) * int(size[order[stop]]) ** 2 <= BATCH_ENTRIES
        ):
            stop += 1
        chosen = order[begin:stop]
        begin = stop
        index, slices, width = [], [], 0
        for k, factor in enumerate(sums.factors):
            longest = int(counts[k][chosen].max())
            place = firsts[k][chosen][:, None] + np.arange(longest)
            inside = np.arange(longest) < counts[k][chosen][:, None]
            level = sorted_levels[k][np.where(inside, place, 0)]
            effects = starts[k] + level[..., None] * factor.q + np.arange(factor.q)
            effects = np.where(inside[..., None], effects, -1).reshape(len(chosen), -1)
            index.append(effects)
            slices.append(slice(width, width + longest * factor.q))
            width += longest * factor.q
        yield Batch(np.hstack(index), slices)


def components(sums: Sums) -> Iterable[tuple[Batch, Array]]:
    """Batches of connected components and their ``Z'Z``; kept where they are small."""
    if "components" in sums.memory:
        return sums.memory["components"]
    products = all_products(sums)
    found = ((batch, dense_batch(products, batch)) for batch in batches(sums, products))
    if sum(factor.size for factor in sums.factors) > KEPT:
        return found
    sums.memory["components"] = list(found)
    return sums.memory["components"]


def dense_batch(products: sparse.csr_array, batch: Batch) -> Array:
    """``Z'Z`` (c, s, s) of the components, zeros where padded."""
    total = products.shape[0]
    if len(batch.index) == 1:
        own = batch.index[0]
        return products[own][:, own].toarray()[None]
    place = np.full(total, -1, dtype=np.intp)
    which = np.zeros(total, dtype=np.intp)
    component, position = np.nonzero(batch.index >= 0)
    effects = batch.index[component, position]
    place[effects], which[effects] = position, component
    part = products[np.sort(effects)].tocoo()
    row = np.sort(effects)[part.row]
    found = np.zeros((*batch.index.shape, batch.index.shape[1]))
    found[which[row], place[row], place[part.col]] = part.data
    return found


def whitened_products(A: Array, lambdas: list[Array], batch: Batch) -> Array:
    """``Z'V^-1 Z`` (c, s, s) from ``Z'Z``."""
    scaled = A.copy()
    for L, own in zip(lambdas, batch.slices, strict=True):
        part = scaled[:, own].reshape(len(A), -1, len(L), A.shape[2])
        scaled[:, own] = np.matmul(L.T, part).reshape(len(A), -1, A.shape[2])
    inner = scaled.copy()
    for L, own in zip(lambdas, batch.slices, strict=True):
        part = inner[..., own].reshape(*A.shape[:2], -1, len(L))
        inner[..., own] = (part @ L).reshape(*A.shape[:2], -1)
    every = np.arange(A.shape[1])
    inner[:, every, every] += 1.0
    if len(A) == 1:
        root = cholesky(inner[0], lower=True, overwrite_a=True, check_finite=False)
        half = solve_triangular(root, scaled[0], lower=True, overwrite_b=True, check_finite=False)
        return (A[0] - half.T @ half)[None]
    half = np.linalg.solve(np.linalg.cholesky(inner), scaled)
    return np.asarray(A - half.swapaxes(1, 2) @ half)


def second_traces(at: Point) -> Array:
    """``tr(V^-1 G_r V^-1 G_s)`` (d, d).

    Raises
    ------
    TooLargeError
        When too many levels hang together.
    """
    sums = at.f.sums
    found = np.zeros((len(at.theta), len(at.theta)))
    for batch, A in components(sums):
        W = whitened_products(A, at.f.lambdas, batch)
        for k, (a, own) in enumerate(zip(sums.factors, batch.slices, strict=True)):
            for j, (b, other) in enumerate(zip(sums.factors, batch.slices, strict=True)):
                if j < k:
                    continue
                block = W[:, own, other]
                form = np.zeros((a.q, a.q, b.q, b.q))
                part = [
                    [np.ascontiguousarray(block[:, i :: a.q, h :: b.q]).ravel() for h in range(b.q)]
                    for i in range(a.q)
                ]
                for i, h, i2, h2 in np.ndindex(a.q, b.q, a.q, b.q):
                    # tr(E W F W'): E over (i2, i), F over (h, h2)
                    form[i2, i, h, h2] = part[i][h] @ part[i2][h2]
                value = np.einsum("rij,ijkl,skl->rs", a.basis, form, b.basis, optimize=True)
                rows, columns = sums.slices[k], sums.slices[j]
                found[rows, columns] += value
                if j > k:
                    found[columns, rows] += value.T
    return found


def x_forms(at: Point, first: Slopes) -> XForms:
    """What the fixed effects have to do with changes of the variances; see `XForms`."""
    p, factors, d = at.f.sums.p, at.f.sums.factors, len(at.theta)
    each = [directions(factors, first.scores, c) for c in range(p)]
    W = [np.concatenate([w[k] for w in each], axis=1) for k in range(len(factors))]
    _, products = solved(at, W, p * d)
    Q = products.reshape(p, d, p, d).transpose(1, 3, 0, 2)
    X = [a[:, :p] for a in first.scores]
    P = sum_products(X, W).reshape(p, p, d).transpose(2, 0, 1)
    return XForms(P, Q)


def expected_form(at: Point, first: Slopes, forms: XForms | None = None) -> Array:
    """``tr(P G_r P G_s)`` (d, d), twice the expected information; with ML, V^-1 in place of P."""
    found = second_traces(at)
    if not at.reml:
        return found
    forms = forms or x_forms(at, first)
    found = found - 2.0 * np.einsum("rscc->rs", forms.Q)
    return np.asarray(found + np.einsum("rcd,sdc->rs", forms.P, forms.P))

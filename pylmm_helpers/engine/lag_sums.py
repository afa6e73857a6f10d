"""Products of whitened rows from sums that don't depend on phi or the ratios.

Rows that follow their predecessor after the same gap, and have the same variance levels as others
do, are whitened by the same two factors a and b. Their products are therefore ``a^2 A + ab B + b^2
C`` with sums A, B and C over those rows: once the sums of every such class are known, other values
of the parameters cost no pass over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure

from .whitening import step_correlations

#: Sums are used while there are fewer of them than this many times the rows of a group.
WORTH = 4.0


@dataclass(frozen=True)
class LagSums:
    """Sums by class of rows.

    Attributes
    ----------
    gaps : ndarray (C,)
        Gap of each class; infinite for the first rows of groups.
    own, before : ndarray (C,) of int
        Variance level of the row and of the row before it.
    counts : ndarray (C,)
        Rows of each class.
    total : ndarray (3, C, m, m)
        Products A, B and C over the rows of a class.
    by_group : ndarray (3, C, q, m, G)
        The same of the columns of Z with all columns, by group.
    """

    gaps: Array
    own: NDArray[np.intp]
    before: NDArray[np.intp]
    counts: Array
    total: Array
    by_group: Array

    def products(self, structure: Structure) -> tuple[Array, Array, float]:
        """Products (m, m) and (q, m, G) under a structure's values, and ``log |R|``."""
        rho, left = step_correlations(self.gaps, structure.phi or 0.0)
        ratios = np.ones(1) if structure.ratios is None else structure.ratios
        a = 1.0 / (np.sqrt(left) * ratios[self.own])
        b = -rho / (np.sqrt(left) * ratios[self.before])
        factors = np.array([a * a, a * b, b * b])
        total = np.einsum("kc,kcij->ij", factors, self.total)
        flat = self.by_group.reshape(factors.size, -1)
        by_group = (factors.ravel() @ flat).reshape(self.by_group.shape[2:])
        log_det = float(self.counts @ (np.log(left) + 2.0 * np.log(ratios[self.own])))
        return total, by_group, log_det


def classes_of(structure: Structure) -> tuple[Array, NDArray[np.intp]] | None:
    """Gap, own and former level of every class (C, 3), and the class of each row (n,) in the
    structure's order; None if there are many."""
    n = len(structure.order)
    levels = np.zeros(n) if structure.level_codes is None else structure.level_codes
    own = levels[structure.order].astype(float)
    before = np.r_[0.0, own[:-1]]
    gaps = np.full(n, np.inf) if structure.gaps is None else structure.gaps
    distinct, number = distinct_values(gaps)
    if len(distinct) > 50:
        return None
    before[~np.isfinite(gaps)] = 0.0
    width = int(own.max()) + 1
    keys = ((number * width + own) * width + before).astype(np.intp)
    present = np.flatnonzero(np.bincount(keys))
    place = np.zeros(int(keys.max()) + 1, dtype=np.intp)
    place[present] = np.arange(len(present))
    code = place[keys]
    found = np.column_stack(
        [distinct[present // width**2], present // width % width, present % width]
    )
    return found, code


def distinct_values(gaps: Array) -> tuple[Array, NDArray[np.intp]]:
    """The different gaps, and which of them each row has (n,); whole ones without sorting."""
    first = ~np.isfinite(gaps)
    plain = np.where(first, 0.0, gaps)
    if plain.max() < 1000.0 and bool(np.all(plain == np.round(plain))):
        # no gap is 0: that number is free for the first rows
        steps = plain.astype(np.intp)
        found = np.flatnonzero(np.bincount(steps))
        place = np.zeros(int(found[-1]) + 1, dtype=np.intp)
        place[found] = np.arange(len(found))
        return np.where(found == 0, np.inf, found.astype(float)), place[steps]
    distinct, number = np.unique(gaps, return_inverse=True)
    return distinct, np.asarray(number, dtype=np.intp)


def lag_sums(
    structure: Structure,
    rows: Array,
    z_index: Sequence[int],
    codes: NDArray[np.intp],
    ngroups: int,
    classes: tuple[Array, NDArray[np.intp]] | None,
) -> LagSums | None:
    """The sums of scaled rows (m, n), sorted by group and time; None where a pass over the rows
    costs less.

    Parameters
    ----------
    codes : ndarray (n,)
        Group of each row.
    classes : tuple or None
        What `classes_of` gave for these rows.
    """
    if classes is None or 3 * len(classes[0]) > WORTH * len(codes) / ngroups + 12:
        return None
    kinds, code = classes
    m, q, C = len(rows), len(z_index), len(kinds)
    total, by_group = np.zeros((3, C, m, m)), np.zeros((3, C, q, m, ngroups))
    for c in range(C):
        at = np.flatnonzero(code == c)
        where, v = codes[at], rows[:, at]

        def sums(z: Array, columns: Array, where: NDArray[np.intp] = where) -> Array:
            return np.array([np.bincount(where, z * column, ngroups) for column in columns])

        total[0, c] = v @ v.T
        for i, z in enumerate(z_index):
            by_group[0, c, i] = sums(v[z], v)
        if not np.isfinite(kinds[c, 0]):
            continue
        w = rows[:, at - 1]
        mixed = v @ w.T
        total[1, c], total[2, c] = mixed + mixed.T, w @ w.T
        for i, z in enumerate(z_index):
            by_group[1, c, i] = sums(v[z], w) + sums(w[z], v)
            by_group[2, c, i] = sums(w[z], w)
    levels = kinds[:, 1:].astype(np.intp)
    counts = np.bincount(code, minlength=C).astype(float)
    return LagSums(kinds[:, 0], levels[:, 0], levels[:, 1], counts, total, by_group)

r"""Residual correlation and unequal variances taken out of the rows.

With residuals of covariance :math:`\sigma^2 R`, every product of columns that the criterion is made
of is one of whitened columns, for ``a'R^-1 b = (Wa)'(Wb)`` with ``W'W = R^-1``. The correlation
``phi ** |s - t|`` is that of a Markov chain, so W has two entries a row: a row at time t, following
one of its group at time s, becomes

.. math:: (y_t / r_t - \rho\, y_s / r_s) / \sqrt{1 - \rho^2}, \qquad \rho = \phi^{t - s},

with r the SD ratios, and ``log |R| = sum log(1 - rho^2) + 2 sum log r`` adds to the criterion
(Pinheiro & Bates 2000, equations 5.2, 5.11 and 5.29).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure


@dataclass(frozen=True)
class Whitening:
    """The two entries of each row of W, for rows in the structure's order.

    Attributes
    ----------
    own, before : ndarray (n,)
        Factors of the row itself and of the row before it (0 for the first of a group).
    log_det : float
        ``log |R|``.
    """

    own: Array
    before: Array
    log_det: float

    def apply(self, rows: Array) -> Array:
        """Whitened rows (m, n), from rows in the structure's order."""
        found = rows * self.own
        found[:, 1:] += self.before[1:] * rows[:, :-1]
        return np.asarray(found)


def whitening(structure: Structure) -> Whitening:
    """The whitening of a structure with values for its parameters."""
    n, log_det = len(structure.order), 0.0
    inverse = np.ones(n)
    if structure.ratios is not None and structure.sorted_codes is not None:
        inverse = (1.0 / structure.ratios)[structure.sorted_codes]
        log_det = 2.0 * float(np.asarray(structure.level_sizes) @ np.log(structure.ratios))
    if structure.gaps is None or structure.phi is None:
        return Whitening(inverse, np.zeros(n), log_det)
    rho, left = step_correlations(structure.gaps, structure.phi)
    root = 1.0 / np.sqrt(left)
    before = np.zeros(n)
    before[1:] = -rho[1:] * root[1:] * inverse[:-1]
    return Whitening(root * inverse, before, log_det + float(np.log(left).sum()))


def step_correlations(gaps: Array, phi: float) -> tuple[Array, Array]:
    """Correlation rho (n,) with the row before, and 1 - rho^2 without loss of digits; gaps are
    infinite where there is no such row."""
    if phi == 0.0:
        return np.zeros(len(gaps)), np.ones(len(gaps))
    log = np.log(abs(phi)) * gaps
    less = np.expm1(log)
    rho, left = 1.0 + less, -less * (2.0 + less)
    if phi < 0.0:
        odd = np.where(np.isfinite(gaps), gaps, 0.0) % 2.0 != 0.0
        rho[odd] *= -1.0
    return rho, left


def whitened_rows(structure: Structure, rows: Array) -> Array:
    """Whitened rows (m, n), in the order of the data."""
    found = np.empty(rows.shape)
    found[:, structure.order] = whitening(structure).apply(rows[:, structure.order])
    return found


def coloured_rows(structure: Structure, white: Array) -> Array:
    """The inverse of `whitened_rows`: independent values (m, n) of variance one get covariance
    R."""
    w, order = whitening(structure), structure.order
    found = white[:, order] / w.own
    # the recursion runs down each group: one step for all groups at once
    place = np.arange(len(order))
    first = w.before == 0.0
    rank = place - np.maximum.accumulate(np.where(first, place, 0))
    for step in range(1, int(rank.max(initial=0)) + 1):
        rows = np.flatnonzero(rank == step)
        found[:, rows] -= w.before[rows] / w.own[rows] * found[:, rows - 1]
    out = np.empty(white.shape)
    out[:, order] = found
    return out

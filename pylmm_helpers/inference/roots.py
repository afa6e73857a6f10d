"""Where many increasing functions of one number cross zero, all at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

#: A function this near to zero has its root there.
NEAR = 1e-8
MAX_ROUNDS = 100

Function = Callable[[NDArray[np.intp], Array], Array]


def grow(
    f: Function, index: NDArray[np.intp], at_zero: Array, step: Array, farthest: float
) -> tuple[Array, Array, Array, Array]:
    """Intervals from 0 or beyond in which ``f(index, t)`` changes its sign, by growing steps.

    Returns low, high, and f at both, each (m,); an infinite high where f stays below zero.
    """
    low, high = np.zeros(len(index)), step.astype(float).copy()
    f_low, f_high = at_zero.copy(), np.full(len(index), -1.0)
    active = np.arange(len(index))
    while len(active):
        f_high[active] = f(index[active], high[active])
        active = active[f_high[active] < 0.0]
        low[active], f_low[active] = high[active], f_high[active]
        high[active] *= 1.6
        over = active[high[active] > farthest]
        high[over] = np.inf
        active = active[high[active] <= farthest]
    return low, high, f_low, f_high


def roots(
    f: Function, index: NDArray[np.intp], low: Array, high: Array, f_low: Array, f_high: Array
) -> Array:
    """Roots (m,) of ``f(index, t)`` between low (f below zero) and high (f above).

    False position with Anderson and Björck's weights (1973, BIT 13, 253-264); where that is slow,
    every third step halves the interval.
    """
    low, high, f_low, f_high = (v.astype(float).copy() for v in (low, high, f_low, f_high))
    best = np.where(f_high <= NEAR, high, 0.5 * (low + high))
    active = np.flatnonzero((f_high > NEAR) & np.isfinite(high))
    side = np.zeros(len(index))
    for k in range(MAX_ROUNDS):
        if not len(active):
            break
        a, b, fa, fb = low[active], high[active], f_low[active], f_high[active]
        with np.errstate(invalid="ignore"):  # no line leads to an infinite end: it is halved
            middle = (a * fb - b * fa) / (fb - fa)
        halve = ~((middle > a) & (middle < b)) | (k % 3 == 2)
        middle = np.where(halve, 0.5 * (a + b), middle)
        value = f(index[active], middle)
        best[active] = middle
        up = value >= 0.0
        # the end that stays twice in a row counts for less from now on
        old, stays = np.where(up, fb, fa), np.where(up, fa, fb)
        with np.errstate(invalid="ignore"):
            weight = 1.0 - value / old
        weight = np.where(weight > 0.0, weight, 0.5)
        again = side[active] == np.where(up, 1.0, -1.0)
        stays = np.where(again, weight * stays, stays)
        side[active] = np.where(up, 1.0, -1.0)
        low[active], high[active] = np.where(up, a, middle), np.where(up, middle, b)
        f_low[active], f_high[active] = np.where(up, stays, value), np.where(up, value, stays)
        tiny = high[active] - low[active] <= 1e-13 * np.abs(high[active])
        active = active[~((np.abs(value) <= NEAR) | tiny)]
    return best

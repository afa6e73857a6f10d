"""Phi and the SD ratios as points of the whole space, in which they are searched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import gcd

import numpy as np
from scipy.special import expit, logit

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure

#: The correlation over one step may come this near to one (to zero, where it is positive).
NEAR_ONE, NEAR_ZERO = 1e-7, 1e-9


@dataclass(frozen=True)
class Coordinates:
    """Parameters of a structure as points of the whole space.

    Attributes
    ----------
    structure : Structure
    step : float
        Time over which the first coordinate gives the correlation: the greatest common step of
        "ar1", the median one of "car1".
    """

    structure: Structure
    step: float

    @property
    def correlated(self) -> bool:
        """Whether the first coordinate is a correlation."""
        return self.structure.gaps is not None

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.structure.n_params

    def of_correlation(self, c: float) -> float:
        """The coordinate of a correlation over one step."""
        return float(logit(c) if self.structure.positive else np.arctanh(c))

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the first coordinate."""
        high = self.of_correlation(1.0 - NEAR_ONE)
        low = self.of_correlation(NEAR_ZERO) if self.structure.positive else -high
        return low, high

    def at(self, u: Array) -> Structure:
        """The structure at a point (k,)."""
        phi, rest = None, u
        if self.correlated:
            c = float(expit(u[0]) if self.structure.positive else np.tanh(u[0]))
            phi, rest = float(np.sign(c) * abs(c) ** (1.0 / self.step)), u[1:]
        ratios = None if self.structure.levels is None else np.exp(np.append(0.0, rest))
        return self.structure.at(phi, ratios)

    def point(self, structure: Structure) -> Array:
        """The point (k,) of a structure with values."""
        found = []
        if structure.phi is not None:
            c = np.sign(structure.phi) * abs(structure.phi) ** self.step
            found.append(self.of_correlation(float(c)))
        if structure.ratios is not None:
            found += list(np.log(structure.ratios[1:]))
        return np.array(found)


def coordinates(structure: Structure) -> Coordinates:
    """The coordinates in which a structure is searched."""
    if structure.gaps is None:
        return Coordinates(structure, 1.0)
    steps = structure.gaps[np.isfinite(structure.gaps)]
    if structure.request.kind == "ar1":
        distinct = np.unique(steps)
        return Coordinates(structure, float(reduce(gcd, (int(s) for s in distinct))))
    return Coordinates(structure, float(np.median(steps)))

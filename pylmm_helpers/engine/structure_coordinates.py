"""Phi and the SD ratios as points of the whole space, in which they are searched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from math import gcd

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure

#: Correlations over one step from which a search of either sign starts.
SIGNED_GRID = (-0.6, -0.2, 0.2, 0.5, 0.8, 0.95)
#: Points from which a search of positive correlations starts.
POINTS = 7
#: A correlation may come this near to one, or to zero over the shortest step.
NEAR_ONE, NEAR_ZERO = 1e-7, 1e-9


@dataclass(frozen=True)
class Coordinates:
    """Parameters of a structure as points of the whole space.

    The first coordinate is atanh of the correlation over one step where it may have either sign;
    where it is positive, ``exp(-step / tau)``, it is the logarithm of the range tau over the step:
    irregular times can have ranges far below a typical step.

    Attributes
    ----------
    structure : Structure
    step : float
        The greatest common step of "ar1", the median one of "car1".
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

    @cached_property
    def steps(self) -> Array:
        """Gaps between rows of a group, in units of the step."""
        assert self.structure.gaps is not None
        return np.asarray(self.structure.gaps[np.isfinite(self.structure.gaps)] / self.step)

    def of_correlation(self, c: float) -> float:
        """The coordinate of a correlation over one step."""
        return float(-np.log(-np.log(c)) if self.structure.positive else np.arctanh(c))

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The range of the first coordinate."""
        high = self.of_correlation(1.0 - NEAR_ONE)
        if not self.structure.positive:
            return -high, high
        return float(np.log(self.steps.min() / -np.log(NEAR_ZERO))), high

    @cached_property
    def grid(self) -> list[float]:
        """First coordinates from which the search starts."""
        if not self.structure.positive:
            return [self.of_correlation(c) for c in SIGNED_GRID]
        short, long = np.quantile(self.steps, [0.05, 0.95])
        return [float(u) for u in np.linspace(np.log(short / 3.5), np.log(50.0 * long), POINTS)]

    def at(self, u: Array) -> Structure:
        """The structure at a point (k,)."""
        phi, rest = None, u
        if self.correlated:
            rest = u[1:]
            if self.structure.positive:
                phi = float(np.exp(-np.exp(-u[0]) / self.step))
            else:
                c = float(np.tanh(u[0]))
                phi = float(np.sign(c) * abs(c) ** (1.0 / self.step))
        ratios = None if self.structure.levels is None else np.exp(np.append(0.0, rest))
        return self.structure.at(phi, ratios)

    def point(self, structure: Structure) -> Array:
        """The point (k,) of a structure with values."""
        found: list[float] = []
        if structure.phi is not None:
            if self.structure.positive:
                low, high = self.limits
                log = -np.log(max(structure.phi, 1e-300)) * self.step
                found.append(float(np.clip(-np.log(max(log, 1e-300)), low, high)))
            else:
                c = float(np.sign(structure.phi) * abs(structure.phi) ** self.step)
                found.append(self.of_correlation(c))
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

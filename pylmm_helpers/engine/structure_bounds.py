"""What is refused at the end of the search for phi and the SD ratios, and what it means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure

from .structure_coordinates import Coordinates

#: Criteria that differ by less are the same.
SAME = 1e-7
#: The logarithm of a ratio beyond this: a level without residual variation.
LARGEST_LOG = 9.0


def check_ratios(structure: Structure, logs: Array) -> None:
    """Refuse a level without residual variation."""
    if len(logs) == 0 or np.abs(logs).max() <= LARGEST_LOG:
        return
    k = int(np.abs(logs).argmax())
    assert structure.levels is not None
    which = structure.levels[k + 1] if logs[k] < 0 else structure.levels[0]
    raise ValueError(
        f"the residual SD of level {which!r} of column '{structure.request.variances}' is "
        "estimated as zero beside the others: its rows leave no residual variation. Join the "
        "level with another, or leave variances= out."
    )


def check_bounds(f: Callable[[Array], float], u: Array, value: float, where: Coordinates) -> None:
    """Refuse a correlation at its bound, with what that means."""
    structure, request = where.structure, where.structure.request
    for bound, name in zip(where.limits, ("low", "high"), strict=True):
        edge = np.append(bound, u[1:])
        if f(edge) > value + SAME:
            continue
        if name == "high":
            raise ValueError(
                f"phi of {request.words} is estimated at its bound 1: rows of a group of "
                f"'{structure.group_name}' stay alike however far apart they are, as a random "
                "intercept makes them. The data can't tell the two apart; leave correlation= out, "
                "or give the groups a slope over time."
            )
        if structure.positive:
            even = " (or that has an odd step)" if structure.even_steps else ""
            raise ValueError(
                f"phi of {request.words} is estimated at its bound 0: beside the random effects, "
                "rows near in time are no more alike than others. Leave correlation= out; a "
                f'negative correlation takes correlation="ar1(...)" of whole times{even}.'
            )
        raise ValueError(
            f"phi of {request.words} is estimated at its bound -1: rows of a group alternate from "
            "one step to the next exactly. Check the times, or leave correlation= out."
        )


def not_identified(structure: Structure) -> ValueError:
    """The refusal of a correlation that leaves no trace in the criterion."""
    return ValueError(
        f"phi of {structure.request.words} can't be told from the random effects of "
        f"'{structure.group_name}': the criterion is the same for every phi, as with two rows in "
        "each group. Leave correlation= out, or the random effects of that factor where other "
        "factors remain."
    )

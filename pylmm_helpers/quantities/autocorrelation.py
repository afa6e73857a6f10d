"""How alike the residuals of a group are, by the time between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.engine.several import SeveralResults
from pylmm_helpers.formula import Structure, StructureRequest, read_structure, require_column

from .structure import residual_sd

#: Pairs of rows further apart than this many rows of their group are left out.
MOST_ROWS = 60
#: Classes of distances of irregular times.
CLASSES = 15
#: A class with fewer pairs says nothing.
FEWEST_PAIRS = 5


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows of a group: their standardised residuals and the time between them.

    Attributes
    ----------
    first, second, distance : ndarray (m,)
    mean_square : float
        Of the standardised residuals of all rows.
    """

    first: Array
    second: Array
    distance: Array
    mean_square: float


def times_of(res: Any, time: str | None) -> Structure:
    """The order of a fit's rows in time: its own structure, or one read from a column."""
    own = res.structure
    if own is not None and own.gaps is not None and time in (None, own.request.time):
        found: Structure = own
        return found
    if time is None:
        raise ValueError(
            "the fit has no correlation=, so it knows no times; name their column: "
            'residual_autocorrelation(fit, time="week").'
        )
    if not isinstance(time, str):
        raise ValueError(f"time must be the name of a column, not {type(time).__name__}.")
    require_column(res.frame, time)
    missing = int(res.frame[time].isna().sum())
    if missing:
        raise ValueError(f"column '{time}' has {missing} missing times; drop those rows.")
    if isinstance(res, SeveralResults):
        finest = next(iter(res.design.factors.values()))
        codes, name = finest.codes, finest.name
    else:
        codes, name = res.codes, res.groups
    return read_structure(StructureRequest("car1", time, None), res.frame, codes, name)


def pairs_of(res: Any, structure: Structure) -> Pairs:
    """All pairs of rows of a group, with conditional residuals over their SD (nlme's "pearson")."""
    assert structure.gaps is not None
    values = res.resid.to_numpy() / (np.sqrt(res.scale) * residual_sd(res))
    values = values[structure.order]
    firsts = ~np.isfinite(structure.gaps)
    group = np.cumsum(firsts)
    times = np.cumsum(np.where(firsts, 0.0, structure.gaps))
    one, two, distance = [], [], []
    for step in range(1, MOST_ROWS + 1):
        at = np.flatnonzero(group[step:] == group[:-step])
        if len(at) == 0:
            break
        one.append(values[at])
        two.append(values[at + step])
        distance.append(times[at + step] - times[at])
    joined = [np.concatenate(parts) for parts in (one, two, distance)]
    return Pairs(joined[0], joined[1], joined[2], float(np.mean(values**2)))


def by_lag(pairs: Pairs, max_lag: int | None) -> pd.DataFrame:
    """Autocorrelation by whole lags: mean product of the pairs over the mean square of all rows
    (nlme's ``ACF``)."""
    lag = np.round(pairs.distance).astype(int)
    count = np.bincount(lag)
    total = np.bincount(lag, pairs.first * pairs.second)
    keep = np.flatnonzero(count >= FEWEST_PAIRS)
    keep = keep[keep <= (max_lag or keep.max(initial=0))]
    value = total[keep] / count[keep] / pairs.mean_square
    return pd.DataFrame({"lag": keep, "autocorrelation": value, "pairs": count[keep]})


def by_distance(pairs: Pairs, max_lag: float | None) -> pd.DataFrame:
    """Semivariogram by classes of distances with equal numbers of pairs: half the mean squared
    difference over the mean square of all rows (nlme's ``Variogram``, collapsed to classes)."""
    keep = slice(None) if max_lag is None else pairs.distance <= max_lag
    distance = pairs.distance[keep]
    if len(distance) < FEWEST_PAIRS:
        raise ValueError(
            f"only {len(distance)} pairs of rows of a group are that near; raise max_lag."
        )
    classes = int(np.clip(len(distance) // FEWEST_PAIRS, 1, CLASSES))
    edges = np.unique(np.quantile(distance, np.linspace(0.0, 1.0, classes + 1)))
    number = np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, max(len(edges) - 2, 0))
    half = 0.5 * (pairs.first[keep] - pairs.second[keep]) ** 2
    count = np.bincount(number)
    full = count > 0
    return pd.DataFrame(
        {
            "lag": (np.bincount(number, distance)[full] / count[full]),
            "semivariogram": np.bincount(number, half)[full] / count[full] / pairs.mean_square,
            "pairs": count[full],
        }
    )

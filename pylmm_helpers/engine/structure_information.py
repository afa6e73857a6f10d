"""How the criterion and the fixed effects' covariance change with phi and the SD ratios."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Structure

from .fit import fit_plain
from .results import LMMResults
from .several.design import with_response, with_values
from .several.fit import fit_plain as fit_plain_several
from .several.fit import scaled_parts
from .several.structured import refit_near as refit_near_several
from .structure_coordinates import coordinates
from .structured import refit_near

#: Step of the differences: error of the method and rounding are both some millionths.
STEP = 5e-3


@dataclass(frozen=True)
class StructureInformation:
    """Derivatives by the coordinates of the structure (see `structure_search.Coordinates`), all
    other parameters at their best for each value.

    Attributes
    ----------
    gradient : ndarray (k,)
        First derivatives of the criterion; zero but for the end of the search.
    hessian : ndarray (k, k)
        Second derivatives of the criterion.
    cov_fe : ndarray (k, p, p)
        First derivatives of the fixed effects' covariance, in units of the data.
    """

    gradient: Array
    hessian: Array
    cov_fe: Array


def at_structure(fit: Any, structure: Structure) -> Any:
    """The fit of the same model with phi and the ratios held at given values."""
    if isinstance(fit, LMMResults):
        assert fit.design is not None
        return fit_plain(replace(fit.design, structure=structure), fit.reml)
    return fit_plain_several(with_values(fit.design, structure), fit.reml)


def refit_from(fit: Any, y: Array) -> Any:
    """The model of a fit with a structure for another response (n,), searched from its estimates.
    In a simulation: phi may end at its bound, and then stays there without a word."""
    if isinstance(fit, LMMResults):
        assert fit.design is not None
        return refit_near(replace(fit.design, y=y), fit.reml, fit, fit_plain)
    design = with_response(fit.design, y)
    return refit_near_several(design, fit.reml, fit, fit_plain_several, scaled_parts)


def structure_information(fit: Any) -> StructureInformation:
    """Differences of exact fits around a fit with a structure; worked out once for each fit."""
    known: StructureInformation | None = fit.__dict__.get("_structure_information")
    if known is not None:
        return known
    where = coordinates(fit.structure)
    u, k = where.point(fit.structure), where.size

    def there(move: Array) -> Any:
        return at_structure(fit, where.at(u + move))

    eye = STEP * np.eye(k)
    up, down = [there(e) for e in eye], [there(-e) for e in eye]
    here = there(np.zeros(k)).criterion
    high = np.array([f.criterion for f in up])
    low = np.array([f.criterion for f in down])
    hessian = np.diag((high - 2.0 * here + low) / STEP**2)
    for i in range(k):
        for j in range(i):
            both = there(eye[i] + eye[j]).criterion + there(-eye[i] - eye[j]).criterion
            mixed = both - high[i] - low[i] - high[j] - low[j] + 2.0 * here
            hessian[i, j] = hessian[j, i] = mixed / (2.0 * STEP**2)
    change = [
        (a.cov_fe.to_numpy() - b.cov_fe.to_numpy()) / (2.0 * STEP)
        for a, b in zip(up, down, strict=True)
    ]
    found = StructureInformation((high - low) / (2.0 * STEP), hessian, np.array(change))
    fit.__dict__["_structure_information"] = found
    return found

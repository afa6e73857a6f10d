"""The random terms of a fit, whether it has one or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from ..products import Scaling
from .results import SeveralResults


@dataclass(frozen=True)
class Term:
    """A random term of a fit: its grouping, its columns (n, q) and their relative factor (q, q),
    for the columns of the data and for scaled ones."""

    name: str
    z_names: list[str]
    codes: NDArray[np.intp]
    levels: int
    Z: Array
    factor: Array
    scaling: Scaling
    factor_scaled: Array

    def __str__(self) -> str:
        return f"({' + '.join(self.z_names)} | {self.name})"

    @property
    def parameters(self) -> int:
        """Variances and covariances."""
        return len(self.z_names) * (len(self.z_names) + 1) // 2


def random_terms(fit: Any) -> list[Term]:
    """The random terms of a fit with one grouping factor or several, in the order of the
    formula."""
    if not isinstance(fit, SeveralResults):
        names = [str(name) for name in fit.cov_re.index]
        scaling, own = fit.cross.scaling, fit.factor_scaled
        return [Term(fit.groups, names, fit.codes, fit.ngroups, fit.Z, fit.factor, scaling, own)]
    found: dict[int, Term] = {}
    for name, own in fit.design.by_factor.items():
        start = 0
        for k in own:
            part, stop = fit.design.parts[k], start + len(fit.design.parts[k].z_names)
            own_scaled = fit.lambdas[name][start:stop, start:stop]
            block = fit.scalings[k].factor(own_scaled)
            start = stop
            levels = len(part.group_labels)
            found[k] = Term(
                name, list(part.z_names), part.codes, levels, part.Z, block, fit.scalings[k],
                own_scaled,
            )  # fmt: skip
    return [found[k] for k in sorted(found)]

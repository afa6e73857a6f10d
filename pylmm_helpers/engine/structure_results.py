"""What a fit says of the correlation and the variances of its residuals."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design, Structure

from .whitening import coloured_rows, whitened_rows, whitening


class StructureResults:
    """Correlation and variances of the residuals, for the results of one factor and of several."""

    design: Any

    @property
    def structure(self) -> Structure | None:
        """The residuals' structure with its estimates; None for independent residuals of equal
        variance."""
        first = getattr(self.design, "first", self.design)
        return first.structure if isinstance(first, Design) else None

    @property
    def phi(self) -> float:
        """Correlation of two residuals of a group that are one unit of time apart."""
        if self.structure is None or self.structure.phi is None:
            raise ValueError(
                'this fit has no phi: its residuals are uncorrelated. Fit it with correlation="ar1('
                'week)" or "car1(day)" to get one.'
            )
        return self.structure.phi

    @cached_property
    def variance_ratios(self) -> pd.Series:
        """Residual SD of each level of ``variances=`` over that of the first level, whose SD is
        the root of `scale`."""
        found = self.structure
        if found is None or found.ratios is None or found.levels is None:
            raise ValueError(
                "this fit has no ratios of SD: its residuals have one variance. Fit it with "
                "variances=, naming a column of classes, to get them."
            )
        name = found.request.variances
        return pd.Series(found.ratios, index=pd.Index(found.levels, name=name), name="sd_ratio")

    @property
    def log_det(self) -> float:
        """``log |R|`` of the residuals' covariance sigma^2 R; weights aside."""
        return 0.0 if self.structure is None else whitening(self.structure).log_det

    @property
    def structure_params(self) -> int:
        """Parameters of the residuals' structure."""
        return 0 if self.structure is None else self.structure.n_params


def standardised(fit: Any, residuals: Array, weights: Array | None) -> Array:
    """Residuals (n,) that are uncorrelated and of variance one where the fit is right: nlme's
    "normalized" ones."""
    scaled = residuals / np.sqrt(fit.scale)
    if weights is not None:
        scaled = scaled * np.sqrt(weights)
    if fit.structure is None:
        return np.asarray(scaled)
    return whitened_rows(fit.structure, scaled[None])[0]


def correlated_noise(fit: Any, noise: Array, weights: Array | None) -> Array:
    """Residuals (n,) with the fit's correlation and variances, from standard normal noise."""
    if fit.structure is not None:
        noise = coloured_rows(fit.structure, noise[None])[0]
    if weights is not None:
        noise = noise / np.sqrt(weights)
    return np.asarray(np.sqrt(fit.scale) * noise)


def structure_rows(fit: StructureResults) -> list[tuple[str, str, float]]:
    """Lines of a summary: what, of which, value."""
    found = fit.structure
    if found is None:
        return []
    rows = []
    if found.phi is not None:
        unit = f" in {found.unit}" if found.unit else ""
        rows.append(("correlation", f"phi of {found.request.kind}({found.request.time}){unit}",
                     found.phi))  # fmt: skip
    if found.ratios is not None:
        for label, ratio in fit.variance_ratios.items():
            rows.append(("SD ratio", f"{found.request.variances} {label}", float(ratio)))
    return rows


def structure_note(fit: StructureResults) -> str:
    """What the structure means for the numbers of a summary; empty without one."""
    found = fit.structure
    if found is None:
        return ""
    parts = []
    if found.phi is not None:
        steps = {"ar1": "whole steps", "car1": "continuous time"}[str(found.request.kind)]
        sign = " (all steps are even: the sign of phi can't be told)" if found.even_steps else ""
        where = f"within '{found.group_name}'"
        parts.append(
            f"residuals {where} that are d apart in '{found.request.time}' ({steps}"
            f"{', ' + found.unit if found.unit else ''}) have the correlation phi^d{sign}"
        )
    if found.ratios is not None:
        assert found.levels is not None
        parts.append(
            f"the residual variance above is that of {found.request.variances} = "
            f"{found.levels[0]}, and SD ratios multiply its root"
        )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."

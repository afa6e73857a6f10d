"""Figures: fits, or what helpers found in them, and an Axes come in; the Axes, drawn, goes out.

Nothing is fitted here, and nothing is styled unless `use_style` was called.
"""

from __future__ import annotations

from .autocorrelation import residual_autocorrelation
from .band import qq_band
from .groups import caterpillar, shrinkage, spaghetti
from .model import boxcox, profile_zeta, residual_fitted
from .planning import power
from .qq import qq
from .style import use_style

__all__ = [
    "boxcox",
    "caterpillar",
    "power",
    "profile_zeta",
    "qq",
    "qq_band",
    "residual_autocorrelation",
    "residual_fitted",
    "shrinkage",
    "spaghetti",
    "use_style",
]

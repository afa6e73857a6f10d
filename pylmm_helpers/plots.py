"""The address of the first edition: see `pylmm_helpers.show.plots`."""

from .show.plots import (
    boxcox,
    caterpillar,
    power,
    profile_zeta,
    qq,
    qq_band,
    residual_autocorrelation,
    residual_fitted,
    shrinkage,
    spaghetti,
    use_style,
)

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

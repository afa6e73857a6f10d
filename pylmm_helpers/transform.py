"""The address of the first edition: see `pylmm_helpers.quantities`."""

from .quantities import BoxCox, boxcox_lmm

__all__ = ["BoxCox", "boxcox_lmm"]

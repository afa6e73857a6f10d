"""The address of the first edition: see `pylmm_helpers.quantities`."""

from .quantities import blups, predict, shrinkage_factor

__all__ = ["blups", "predict", "shrinkage_factor"]

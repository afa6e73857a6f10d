"""The address of the first edition: see `pylmm_helpers.quantities`."""

from .quantities import Check, check_convergence, check_singular, influence, residuals

__all__ = ["Check", "check_convergence", "check_singular", "influence", "residuals"]

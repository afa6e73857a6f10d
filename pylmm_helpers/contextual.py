"""The address of the first edition: see `pylmm_helpers.quantities`."""

from .quantities import center_within, contextual_effect

__all__ = ["center_within", "contextual_effect"]

"""The address of the first edition: see `pylmm_helpers.data`."""

from .data import describe, load

__all__ = ["describe", "load"]

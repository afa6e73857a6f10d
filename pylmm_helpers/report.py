"""The address of the first edition: see `pylmm_helpers.show`."""

from .show import report

__all__ = ["report"]

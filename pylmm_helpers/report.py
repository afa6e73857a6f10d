"""The address of the first edition: see `pylmm_helpers.show`."""

from .show.report import report

__all__ = ["report"]

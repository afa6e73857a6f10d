"""The address of the first edition: see `pylmm_helpers.engine`."""

from .engine import LMMResults, fit_lmm, refit

__all__ = ["LMMResults", "fit_lmm", "refit"]

"""The address of the first edition: see `pylmm_helpers.sums`."""

from .sums import cross_products

__all__ = ["cross_products"]

"""Rows out of reach: frames, files and databases come in, the sums from which the engine fits a
model go out."""

from __future__ import annotations

from .products import cross_products

__all__ = ["cross_products"]

"""The handbook's data: a name comes in, a typed table and its codebook go out."""

from __future__ import annotations

from .datasets import data_package, describe, load

__all__ = ["data_package", "describe", "load"]

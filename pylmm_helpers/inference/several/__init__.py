"""Tests for fits with several random terms: such fits come in; degrees of freedom, likelihood ratio
tests and bootstrap replicates go out."""

from __future__ import annotations

from .bootstrap import Refits
from .ddf import second_derivatives

__all__ = ["Refits", "second_derivatives"]

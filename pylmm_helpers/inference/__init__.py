"""Tests and intervals: fits come in; tests with their degrees of freedom, comparisons and intervals
go out."""

from __future__ import annotations

from .bootstrap import parametric_bootstrap
from .coefficients import coef_table, contrast, single_contrasts
from .ddf import positive_inverse
from .lrt import information_criteria, lrt
from .profile import profile_ci, profile_zeta
from .student import t_below, t_quantile
from .total_variance import total_variance_spread

__all__ = [
    "coef_table",
    "contrast",
    "information_criteria",
    "lrt",
    "parametric_bootstrap",
    "positive_inverse",
    "profile_ci",
    "profile_zeta",
    "single_contrasts",
    "t_below",
    "t_quantile",
    "total_variance_spread",
]

"""Models with several random terms: a formula with bars and a table come in, a fit with its
estimates by grouping factor goes out."""

from __future__ import annotations

from .blocks import dense_rows
from .cells import SeveralProducts, almost_nothing, at_unit_variances, cell_design, fit_cells
from .criterion import (
    Point,
    Slopes,
    average_information,
    chain_rule,
    evaluate,
    first_derivatives,
    lambdas_of,
    solved,
    theta_hessian,
    theta_of,
)
from .fit import check_bars_alone
from .information import TooLargeError, expected_form, x_forms
from .results import SeveralResults
from .search import delta_gradient, delta_hessian, minimise, starts, terms_of, vector_of, way_down
from .sums import Sums, by_level, parent_levels

__all__ = [
    "Point",
    "SeveralProducts",
    "SeveralResults",
    "Slopes",
    "Sums",
    "TooLargeError",
    "almost_nothing",
    "at_unit_variances",
    "average_information",
    "by_level",
    "cell_design",
    "chain_rule",
    "check_bars_alone",
    "delta_gradient",
    "delta_hessian",
    "dense_rows",
    "evaluate",
    "expected_form",
    "first_derivatives",
    "fit_cells",
    "lambdas_of",
    "minimise",
    "parent_levels",
    "solved",
    "starts",
    "terms_of",
    "theta_hessian",
    "theta_of",
    "vector_of",
    "way_down",
    "x_forms",
]

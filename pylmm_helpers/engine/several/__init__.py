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
from .design import packed
from .fit import check_bars_alone
from .held import HeldTerm, off_zero
from .identified import finding_on_identification
from .information import TooLargeError, expected_form, x_forms
from .results import SeveralResults
from .search import (
    delta_gradient,
    delta_hessian,
    is_small,
    minimise,
    optimise,
    settle,
    starts,
    terms_of,
    vector_of,
    way_down,
)
from .sums import Factor, Sums, build_sums, by_level, parent_levels
from .terms import Term, random_terms
from .together import Refit, beside_boundary, is_worth_while, refit_all, upright
from .without import Without, only_level

__all__ = [
    "Factor",
    "HeldTerm",
    "Point",
    "Refit",
    "SeveralProducts",
    "SeveralResults",
    "Slopes",
    "Sums",
    "Term",
    "TooLargeError",
    "Without",
    "almost_nothing",
    "at_unit_variances",
    "average_information",
    "beside_boundary",
    "build_sums",
    "by_level",
    "cell_design",
    "chain_rule",
    "check_bars_alone",
    "delta_gradient",
    "delta_hessian",
    "dense_rows",
    "evaluate",
    "expected_form",
    "finding_on_identification",
    "first_derivatives",
    "fit_cells",
    "is_small",
    "is_worth_while",
    "lambdas_of",
    "minimise",
    "off_zero",
    "only_level",
    "optimise",
    "packed",
    "parent_levels",
    "random_terms",
    "refit_all",
    "settle",
    "solved",
    "starts",
    "terms_of",
    "theta_hessian",
    "theta_of",
    "upright",
    "vector_of",
    "way_down",
    "x_forms",
]

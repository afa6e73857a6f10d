"""Columns to estimates: the columns of a model, or the sums of their products, come in; its fit by
(restricted) maximum likelihood goes out."""

from __future__ import annotations

from .adapter import TAKES_SEVERAL, any_results, as_results, frame_of, no_structure
from .boundary import settle, way_down
from .constraints import Family, HeldModels, Index, family
from .criterion import (
    Criterion,
    Derivatives,
    criterion,
    delta_gradient,
    delta_hessian,
    derivatives,
    factor_to_theta,
    group_products,
    symmetric_basis,
    theta_derivatives,
    theta_to_factor,
    triangle,
    triangular,
    whiten,
)
from .fit import ALMOST_NOTHING, fit_lmm, refit
from .identified import listed
from .layout import CONSTANT, Layout, assemble, check_counts, constant_of, lay_out
from .null_model import null_fit
from .parameters import identified_parameters, parameter_names, parameters, parameters_of
from .products import CrossProducts, GroupRows, Scaling
from .reduce import reduce_products
from .responses import effects, response, row_weights, simulate
from .results import LMMResults
from .rows import group_inverses, scaled_rows
from .scaling import cross_products, reduce_rows
from .search import Optimum, minimise, optimise
from .several import (
    SeveralProducts,
    SeveralResults,
    almost_nothing,
    at_unit_variances,
    cell_design,
    check_bars_alone,
)
from .simulated_rows import narrowed, simulated_rows
from .structure_coordinates import coordinates
from .structure_information import at_structure, refit_from, structure_information
from .structure_results import correlated_noise, standardised
from .summary import as_pipe_table

__all__ = [
    "ALMOST_NOTHING",
    "CONSTANT",
    "TAKES_SEVERAL",
    "Criterion",
    "CrossProducts",
    "Derivatives",
    "Family",
    "GroupRows",
    "HeldModels",
    "Index",
    "LMMResults",
    "Layout",
    "Optimum",
    "Scaling",
    "SeveralProducts",
    "SeveralResults",
    "almost_nothing",
    "any_results",
    "as_pipe_table",
    "as_results",
    "assemble",
    "at_structure",
    "at_unit_variances",
    "cell_design",
    "check_bars_alone",
    "check_counts",
    "constant_of",
    "coordinates",
    "correlated_noise",
    "criterion",
    "cross_products",
    "delta_gradient",
    "delta_hessian",
    "derivatives",
    "effects",
    "factor_to_theta",
    "family",
    "fit_lmm",
    "frame_of",
    "group_inverses",
    "group_products",
    "identified_parameters",
    "lay_out",
    "listed",
    "minimise",
    "narrowed",
    "no_structure",
    "null_fit",
    "optimise",
    "parameter_names",
    "parameters",
    "parameters_of",
    "reduce_products",
    "reduce_rows",
    "refit",
    "refit_from",
    "response",
    "row_weights",
    "scaled_rows",
    "settle",
    "simulate",
    "simulated_rows",
    "standardised",
    "structure_information",
    "symmetric_basis",
    "theta_derivatives",
    "theta_to_factor",
    "triangle",
    "triangular",
    "way_down",
    "whiten",
]

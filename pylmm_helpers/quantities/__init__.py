"""What a fit says: a fit comes in; shares of variance, means and effects of groups, predictions,
residuals, checks and transformations go out."""

from __future__ import annotations

from .anova import anova_components
from .autocorrelation import by_distance, by_lag, pairs_of, times_of
from .checks import Check
from .compare import compare_groups
from .contextual import center_within, contextual_effect
from .design_effect import design_effect
from .diagnostics import check_convergence, check_singular, influence, residuals
from .group_level import check_level, is_random_intercept, weight_of
from .means import marginal_means
from .planning import power, sample_size
from .power_of_fit import simulate_power
from .prediction import blups, predict
from .r_squared import r_squared
from .shrinkage import shrinkage_factor
from .transform import BoxCox, boxcox_lmm
from .variance import icc, variance_components, variance_function

__all__ = [
    "BoxCox",
    "Check",
    "anova_components",
    "blups",
    "boxcox_lmm",
    "by_distance",
    "by_lag",
    "center_within",
    "check_convergence",
    "check_level",
    "check_singular",
    "compare_groups",
    "contextual_effect",
    "design_effect",
    "icc",
    "influence",
    "is_random_intercept",
    "marginal_means",
    "pairs_of",
    "power",
    "predict",
    "r_squared",
    "residuals",
    "sample_size",
    "shrinkage_factor",
    "simulate_power",
    "times_of",
    "variance_components",
    "variance_function",
    "weight_of",
]

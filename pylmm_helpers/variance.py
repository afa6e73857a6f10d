"""The address of the first edition: see `pylmm_helpers.quantities`."""

from .quantities import anova_components, design_effect, icc, variance_components, variance_function

__all__ = ["anova_components", "design_effect", "icc", "variance_components", "variance_function"]

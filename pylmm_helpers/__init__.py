"""Helpers that give statsmodels' mixed models what lme4, lmerTest and pbkrtest users have.

Every public name is imported from its module at first use, so that ``import pylmm_helpers``
stays quick and needs neither R nor matplotlib.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_PUBLIC = {
    "datasets": ["load", "describe"],
    "tables": ["table", "Table"],
    "lmm": ["fit_lmm", "refit", "LMMResults"],
    "variance": [
        "variance_components", "variance_function", "icc", "anova_components", "design_effect",
    ],
    "inference": [
        "coef_table", "contrast", "lrt", "parametric_bootstrap", "profile_ci",
        "information_criteria",
    ],
    "contextual": ["center_within", "contextual_effect"],
    "prediction": ["blups", "shrinkage_factor", "predict"],
    "diagnostics": ["residuals", "influence", "check_singular", "check_convergence", "Check"],
    "transform": ["boxcox_lmm", "BoxCox"],
    "compute": ["cross_products"],
    "crosscheck": ["lmer", "crosscheck", "agreement_records", "tolerance_table"],
    "report": ["report"],
}  # fmt: skip
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted([*_HOME, "plots"])
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module(".plots", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Lets a function keep its name where its module has the same (report, crosscheck)."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing a submodule puts it here under its name, and would hide the function.
        if isinstance(value, ModuleType) and _HOME.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

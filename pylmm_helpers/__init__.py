"""Helpers that give statsmodels' mixed models what lme4, lmerTest and pbkrtest users have.

Every public name is imported from its room at first use, so that ``import pylmm_helpers`` stays
quick and needs neither R nor matplotlib. The rooms, each of which imports from those after it only:
`show`, `lme4`, `quantities`, `inference`, `sums`, `engine`, `formula`, `data`, `common`. The first
sentence of each says what comes in and what goes out.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_PUBLIC = {
    "data": ["load", "describe"],
    "engine": ["fit_lmm", "refit", "simulate", "LMMResults", "SeveralResults"],
    "sums": ["cross_products"],
    "inference": [
        "coef_table", "contrast", "lrt", "parametric_bootstrap", "profile_ci",
        "information_criteria",
    ],
    "quantities": [
        "variance_components", "variance_function", "icc", "anova_components", "design_effect",
        "center_within", "contextual_effect", "blups", "shrinkage_factor", "predict",
        "marginal_means", "compare_groups", "r_squared", "residuals", "influence", "check_singular",
        "check_convergence", "Check", "boxcox_lmm", "BoxCox",
        "sample_size", "power", "simulate_power",
    ],
    "lme4": ["lmer", "crosscheck", "agreement_summary", "agreement_records", "tolerance_table"],
    "show": ["table", "Table", "report"],
}  # fmt: skip
_HOME = {name: room for room, names in _PUBLIC.items() for name in names}

__all__ = sorted([*_HOME, "plots"])
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module(".show.plots", __name__)
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
        if isinstance(value, ModuleType) and name in _HOME:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

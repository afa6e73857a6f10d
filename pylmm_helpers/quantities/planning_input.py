"""What is said of a planned study, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import a_number, one_of, shown

from .planning_formulas import LEVELS, Plan

#: Above this the formula for unequal sizes, which knows their variance only, is no longer good.
MOST_CV = 1.0


@dataclass(frozen=True)
class Costs:
    """Costs of a group and of each unit in it."""

    group: float
    unit: float

    def of(self, groups: int, size: int) -> float:
        """Cost of a study."""
        return groups * (self.group + size * self.unit)


def plan_of(
    effect: float,
    level: str,
    icc: float | None,
    sd: float | None,
    sigma2_g: float | None,
    sigma2: float | None,
    sigma2_sub: float | None,
    sigma2_slope: float,
    repeats: int,
    cv: float,
    allocation: float,
    predictor_sd: float | None,
    alpha: float,
) -> Plan:
    """The arguments, checked."""
    size = a_number(effect, "effect")
    if size == 0.0:
        raise ValueError("effect is 0; give the effect that the study is to find")
    one_of(level, LEVELS, "level")
    rows = a_count(repeats, "repeats", 1)
    three = sigma2_sub is not None
    if rows > 1 and not three:
        raise ValueError(
            f"repeats is {rows}, so there are three levels; give sigma2_sub, the variance between "
            "the subgroups of a group"
        )
    if level == "subgroup" and not three:
        raise ValueError(
            "level='subgroup' is for three levels, with sigma2_sub and repeats; a predictor that "
            "varies within groups of two levels has level='row'"
        )
    if three and level == "row" and rows < 2:
        raise ValueError(
            "repeats is 1, so rows and subgroups are the same: take level='subgroup', or say how "
            "many rows a subgroup has"
        )
    between, within = variances(icc, sd, sigma2_g, sigma2, three)
    slope = a_variance(sigma2_slope, "sigma2_slope")
    if level == "group" and slope > 0.0:
        raise ValueError(
            "sigma2_slope is the variance of an effect between groups; a predictor of groups has "
            "one value in each, so its effect can't vary between them: leave sigma2_slope out"
        )
    variation = a_number(cv, "cv")
    if not 0.0 <= variation <= MOST_CV:
        raise ValueError(
            f"cv is {cv!r}; the SD of the sizes over their mean lies between 0 and {MOST_CV:g} "
            "here: beyond, simulate from a fit with simulate_power()"
        )
    if predictor_sd is not None and not a_number(predictor_sd, "predictor_sd") > 0.0:
        raise ValueError(f"predictor_sd is {predictor_sd!r}; it must be above 0")
    return Plan(
        size, level, between, 0.0 if sigma2_sub is None else a_variance(sigma2_sub, "sigma2_sub"),
        within, slope, rows, variation, a_share(allocation, "allocation"),
        None if predictor_sd is None else float(predictor_sd), a_share(alpha, "alpha"),
    )  # fmt: skip


def variances(
    icc: float | None, sd: float | None, sigma2_g: float | None, sigma2: float | None, three: bool
) -> tuple[float, float]:
    """Variances between groups and between rows, from either way to say them."""
    if icc is None:
        if sd is not None or sigma2_g is None or sigma2 is None:
            raise ValueError(
                "the variances are open: give icc (and sd), or sigma2_g and sigma2 without sd"
            )
        within = a_variance(sigma2, "sigma2")
        if within == 0.0:
            raise ValueError("sigma2 is 0; the variance between rows must be above 0")
        return a_variance(sigma2_g, "sigma2_g"), within
    if sigma2_g is not None or sigma2 is not None:
        raise ValueError("icc and variances are both given; leave one of them out")
    if three:
        raise ValueError("one ICC doesn't say three variances; give sigma2_g, sigma2_sub, sigma2")
    share = a_number(icc, "icc")
    if not 0.0 <= share < 1.0:
        raise ValueError(f"icc is {icc!r}; it must be at least 0 and below 1")
    spread = 1.0 if sd is None else a_number(sd, "sd")
    if not spread > 0.0:
        raise ValueError(f"sd is {sd!r}; the total standard deviation must be above 0")
    return share * spread**2, (1.0 - share) * spread**2


def a_variance(value: Any, name: str) -> float:
    """A number of at least 0."""
    found = a_number(value, name)
    if found < 0.0:
        raise ValueError(f"{name} is {value!r}; a variance can't be below 0")
    return found


def a_share(value: Any, name: str) -> float:
    """A number between 0 and 1."""
    found = a_number(value, name)
    if not 0.0 < found < 1.0:
        raise ValueError(f"{name} is {value!r}; give a number between 0 and 1")
    return found


def a_count(value: Any, name: str, least: int) -> int:
    """A whole number of at least `least`."""
    whole = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not whole or not np.isfinite(value) or value != round(value) or value < least:
        raise ValueError(f"{name} is {shown(value)}; give a whole number of at least {least}")
    return int(value)


def counts(value: Any, name: str, least: int) -> list[int]:
    """One whole number or several."""
    several = isinstance(value, list | tuple | range | np.ndarray | pd.Series | pd.Index)
    found = [a_count(v, name, least) for v in (value if several else [value])]
    if not found:
        raise ValueError(f"{name} is empty; give at least one number")
    return found


def costs_of(group: float | None, unit: float | None) -> Costs | None:
    """Both costs, or none."""
    if group is None and unit is None:
        return None
    if group is None or unit is None:
        raise ValueError("one cost alone says nothing; give cost_group and cost_unit")
    costs = Costs(a_number(group, "cost_group"), a_number(unit, "cost_unit"))
    if not (costs.group > 0.0 and costs.unit > 0.0):
        raise ValueError("cost_group and cost_unit must be above 0")
    return costs


def fewest_groups(plan: Plan) -> int:
    """Groups without which there is nothing to test."""
    return 3 if plan.level == "group" else 2


def fewest_rows(plan: Plan) -> int:
    """Units without which the predictor can't vary in a group."""
    if plan.level == "group" or (plan.level == "row" and plan.repeats > 1):
        return 1
    return 2

"""The smallest study that has a wanted power, and the cheapest."""

from __future__ import annotations

import numpy as np

from .planning_formulas import Plan, smallest
from .planning_input import Costs, fewest_groups, fewest_rows

#: More groups, or more subgroups in a group, than anybody has.
MOST = 10**9


def groups_for(plan: Plan, size: int, wanted: float) -> int:
    """Smallest number of groups of a size that has the wanted power."""
    found = smallest(lambda g: plan.power(g, size) >= wanted, fewest_groups(plan), MOST)
    if found is None:
        raise ValueError(
            f"an effect of {plan.effect:g} takes more than {MOST:g} groups of {size}; is it in the "
            "units of the SD or variances?"
        )
    return found


def size_for(plan: Plan, groups: int, wanted: float) -> int:
    """Smallest size of the given groups that has the wanted power."""
    size = None
    if plan.most_power(groups) > wanted:
        size = smallest(lambda m: plan.power(groups, m) >= wanted, fewest_rows(plan), MOST)
    if size is None:
        enough = smallest(lambda g: plan.most_power(g) > wanted, fewest_groups(plan), MOST)
        raise ValueError(
            f"{groups} groups don't reach a power of {wanted:g} however large they are: it stays "
            f"below {plan.most_power(groups):.3f}, as the groups themselves differ; "
            + (f"at least {enough} groups are needed" if enough else "no number of groups does")
        )
    return size


def cheapest(plan: Plan, costs: Costs, wanted: float) -> tuple[int, int]:
    """Groups and size of the cheapest study."""
    best = plan.best_size(costs.group, costs.unit)
    if not np.isfinite(best):
        raise ValueError(
            "there is no cheapest size of a group: with no variance between groups in the effect, "
            "the fewer and larger the groups, the cheaper; give cluster_size or groups"
        )
    sizes = {max(int(f(best)), fewest_rows(plan)) for f in (np.floor, np.ceil)}
    designs = [(groups_for(plan, size, wanted), size) for size in sorted(sizes)]
    return min(designs, key=lambda design: costs.of(*design))

"""How many groups and rows a study needs, and what power it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import one_of, shown_whole

from .planning_formulas import Plan
from .planning_input import (
    a_count,
    a_share,
    costs_of,
    counts,
    fewest_groups,
    fewest_rows,
    plan_of,
)
from .planning_solutions import cheapest, groups_for, size_for
from .power_simulation import TESTS, simulated_table

METHODS = ("formula", "simulation")


@shown_whole
def sample_size(
    effect: float,
    level: str = "group",
    *,
    icc: float | None = None,
    sd: float | None = None,
    sigma2_g: float | None = None,
    sigma2: float | None = None,
    sigma2_sub: float | None = None,
    sigma2_slope: float = 0.0,
    cluster_size: int | None = None,
    groups: int | None = None,
    repeats: int = 1,
    cv: float = 0.0,
    allocation: float = 0.5,
    predictor_sd: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    cost_group: float | None = None,
    cost_unit: float | None = None,
) -> pd.DataFrame:
    r"""Groups (or rows in each) that a study needs to find an effect, by formula.

    Parameters
    ----------
    effect : float
        The effect to find: the difference of two arms, or with `predictor_sd` the slope per unit of
        a numeric predictor; in the units of the response, or in SD where `sd` is left out.
    level : {"group", "subgroup", "row"}
        Where the predictor varies: between groups (herds), between rows of a group (cows), or in
        three levels between subgroups (cows, "subgroup") or the rows of each (test days, "row").
        Below its own level it is constant, and above it balanced: each group has the same mean.
    icc, sd : float, optional
        Intraclass correlation and total SD (1 unless given). Or give variances:
    sigma2_g, sigma2, sigma2_sub : float, optional
        Variances between groups, between rows, and in three levels between the subgroups of a
        group.
    sigma2_slope : float
        Variance of the effect between groups, for a predictor that varies within them.
    cluster_size : int, optional
        Rows in a group, in three levels subgroups in a group; the mean where `cv` is not 0. Given
        this, the number of groups is found.
    groups : int, optional
        Given this instead, the `cluster_size` is found.
    repeats : int
        Rows in each subgroup; above 1 in three levels only.
    cv : float
        Coefficient of variation of the groups' sizes (their SD over their mean), at most 1.
    allocation : float
        Share of the first arm.
    predictor_sd : float, optional
        SD of a numeric predictor at its level: between groups, or within each of them.
    power, alpha : float
        Wanted power, and level of the two-sided test.
    cost_group, cost_unit : float, optional
        Costs of a group and of each row (in three levels subgroup) in it. With neither
        `cluster_size` nor `groups` the cheapest size is taken.

    Returns
    -------
    DataFrame (one row)
        groups, cluster_size, repeats (in three levels), rows, effect, std_error (of its estimate),
        design_effect (its variance over that from as many independent rows), df, power (that is
        reached), and cost.

    Raises
    ------
    ValueError
        An effect of 0, variances below 0, an ICC outside [0, 1), too much or too little given, and
        power that no number of rows in the given groups reaches; the message says how many groups
        are needed.

    Notes
    -----
    The estimate has the variance (predictor of variance v, G groups of m rows)

    - :math:`(\sigma_g^2 + \sigma^2/m) / (G v)` for a predictor of groups, t-test on G - 2 df; for
      an ICC :math:`\rho` this is the design effect :math:`1 + (m - 1)\rho` (Donner & Klar 2000);
    - :math:`(\sigma_{slope}^2 + \sigma^2/(m v)) / G` for a predictor of rows, on G - 1 df with a
      slope that varies and Gm - G - 1 without.

    In three levels :math:`\sigma^2` gives way to what the subgroups' means vary by,
    :math:`\sigma_{sub}^2 + \sigma^2/k`, for predictors of groups and subgroups. Sizes of variation
    cv divide the information by :math:`1 - cv^2\lambda(1-\lambda)`, :math:`\lambda` the share of
    the first part of the variance (van Breukelen et al. 2007): what a mixed model loses. An
    analysis that weights all rows alike loses more, :math:`1 + ((cv^2 + 1) m - 1)\rho`
    (Eldridge et al. 2006). The cheapest size is :math:`\sqrt{c_g/c_u}` times the root of the ratio
    of the two parts at m = 1 (Raudenbush 1997), rounded to the cheaper side.

    The variances are taken as known; in truth they are guesses, so see how the answer moves with
    them. For other designs see `simulate_power`.

    References
    ----------
    Donner A, Klar N (2000). Design and Analysis of Cluster Randomization Trials in Health Research.
    Arnold, ch. 5. Eldridge SM, Ashby D, Kerry S (2006), doi:10.1093/ije/dyl129. Raudenbush SW
    (1997), doi:10.1037/1082-989X.2.2.173. van Breukelen GJP, Candel MJJM, Berger MPF (2007),
    Statistics in Medicine 26, 2589-2603.

    Examples
    --------
    >>> int(sample_size(1.0, icc=0.1, sd=5**0.5, cluster_size=10)["groups"].iloc[0])
    32
    >>> int(sample_size(0.3, "row", icc=0.1, groups=20)["cluster_size"].iloc[0])
    16
    """
    plan = plan_of(effect, level, icc, sd, sigma2_g, sigma2, sigma2_sub, sigma2_slope,
                   repeats, cv, allocation, predictor_sd, alpha)  # fmt: skip
    wanted = a_share(power, "power")
    if not wanted > plan.alpha:
        raise ValueError(f"power is {power!r}, but even a true effect of 0 is found with {alpha}")
    costs = costs_of(cost_group, cost_unit)
    if groups is not None and cluster_size is not None:
        raise ValueError("groups and cluster_size are both given; use power() for what they reach")
    if groups is not None:
        number = a_count(groups, "groups", fewest_groups(plan))
        size = size_for(plan, number, wanted)
    elif cluster_size is not None:
        size = a_count(cluster_size, "cluster_size", fewest_rows(plan))
        number = groups_for(plan, size, wanted)
    elif costs is not None:
        number, size = cheapest(plan, costs, wanted)
    else:
        raise ValueError(
            "the design is open: give cluster_size, groups, or cost_group and cost_unit"
        )
    table = design_table(plan, [(number, size)])
    if costs is not None:
        table["cost"] = [costs.of(number, size)]
    table.attrs["level"] = level
    return table


@shown_whole
def power(
    effect: float,
    groups: Any,
    cluster_size: Any,
    level: str = "group",
    *,
    icc: float | None = None,
    sd: float | None = None,
    sigma2_g: float | None = None,
    sigma2: float | None = None,
    sigma2_sub: float | None = None,
    sigma2_slope: float = 0.0,
    repeats: int = 1,
    cv: float = 0.0,
    allocation: float = 0.5,
    predictor_sd: float | None = None,
    alpha: float = 0.05,
    method: str = "formula",
    test: str = "kenward-roger",
    replicates: int = 500,
    rng: int | np.random.Generator = 20150601,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Power of studies with given numbers of groups and rows, by formula or by simulation.

    Parameters
    ----------
    effect : float
        As in `sample_size`.
    groups, cluster_size : int or list of int
        Numbers of groups and of rows (in three levels subgroups) in each; every combination gets a
        row.
    level : {"group", "subgroup", "row"}
        As in `sample_size`.
    icc, sd, sigma2_g, sigma2, sigma2_sub, sigma2_slope : float, optional
        As in `sample_size`.
    repeats : int
        As in `sample_size`.
    cv, allocation, predictor_sd, alpha : float
        As in `sample_size`.
    method : {"formula", "simulation"}
        The formula of `sample_size`, or studies that are simulated, fitted with `fit_lmm` and
        tested. Sizes of groups with `cv` are then quantiles of a gamma distribution.
    test : {"kenward-roger", "satterthwaite", "wald", "lrt"}
        Test of the simulated studies: as in `coef_table`, or the likelihood ratio of ML fits.
    replicates : int
        Simulated studies for each design.
    rng : int or numpy Generator
        Seed (the default repeats) or generator.
    progress : bool, optional
        Whether to show a progress bar; by default where somebody is looking.

    Returns
    -------
    DataFrame
        groups, cluster_size, repeats (in three levels), rows, effect, and power; by formula also
        std_error, design_effect and df as in `sample_size`; by simulation mc_error (standard error
        of the power), replicates, and no_test (studies whose test had no degrees of freedom; they
        count as not significant). `plots.power` draws it.

    Raises
    ------
    ValueError
        As `sample_size`; an unknown method or test; replicates below 1.

    Notes
    -----
    Simulation finds a little less than the formula where a study is so small that a variance which
    isn't 0 is often estimated as 0.

    ``mc_error`` is sqrt(q (1 - q) / replicates), q = (s + 1) / (replicates + 2) for s significant
    studies, so that it isn't 0 where all or none are.

    Examples
    --------
    >>> table = power(1.0, [20, 32, 40], 10, icc=0.1, sd=5**0.5)
    >>> table["power"].round(3).tolist()
    [0.584, 0.802, 0.885]
    """
    plan = plan_of(effect, level, icc, sd, sigma2_g, sigma2, sigma2_sub, sigma2_slope,
                   repeats, cv, allocation, predictor_sd, alpha)  # fmt: skip
    one_of(method, METHODS, "method")
    one_of(test, TESTS, "test")
    numbers = counts(groups, "groups", fewest_groups(plan))
    sizes = counts(cluster_size, "cluster_size", fewest_rows(plan))
    designs = [(number, size) for size in sizes for number in numbers]
    if method == "formula":
        for number, size in designs:
            if plan.df(number, size) < 1.0:
                raise ValueError(
                    f"{number} groups of {size} leave no degrees of freedom for a predictor of "
                    f"level {level!r}; take more"
                )
        table = design_table(plan, designs)
    else:
        table = simulated_table(plan, designs, test, replicates, rng, progress)
    table.attrs["level"] = level
    return table


def design_table(plan: Plan, designs: list[tuple[int, int]]) -> pd.DataFrame:
    """What the formulas say of each design."""
    rows: list[dict[str, Any]] = []
    for groups, size in designs:
        own: dict[str, Any] = {"groups": groups, "cluster_size": size}
        if plan.repeats > 1:
            own["repeats"] = plan.repeats
        own |= {
            "rows": groups * size * plan.repeats,
            "effect": plan.effect,
            "std_error": float(np.sqrt(plan.variance(groups, size))),
            "design_effect": plan.design_effect(groups, size),
            "df": plan.df(groups, size),
            "power": plan.power(groups, size),
        }
        rows.append(own)
    return pd.DataFrame(rows)

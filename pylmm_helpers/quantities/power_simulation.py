"""Power by simulation: studies are drawn, fitted and tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pylmm_helpers.common import Array, a_generator, progress_bar, shown
from pylmm_helpers.engine import fit_lmm, refit
from pylmm_helpers.inference import coef_table, lrt

from .planning_formulas import Plan

TESTS = ("kenward-roger", "satterthwaite", "wald", "lrt")


def simulated_table(
    plan: Plan,
    designs: list[tuple[int, int]],
    test: str,
    replicates: int,
    rng: int | np.random.Generator,
    progress: bool | None,
) -> pd.DataFrame:
    """Power of each design, found by simulation."""
    number = replicate_count(replicates)
    generator = a_generator(rng, "rng")
    rows: list[dict[str, Any]] = []
    with progress_bar("Simulating studies", progress) as show:
        for done, (groups, size) in enumerate(designs):
            frame = study(plan, groups, size, generator)
            model = random_part(plan, frame)
            first = frame.assign(y=drawn(plan, frame, generator))
            tester = test_of(fitter(model, first), "y ~ x", "y ~ 1", "x", test)
            p = np.empty(number)
            for k in range(number):
                p[k] = tester(drawn(plan, frame, generator))
                show(100.0 * (done + (k + 1) / number) / len(designs))
            own: dict[str, Any] = {"groups": groups, "cluster_size": size}
            if plan.repeats > 1:
                own["repeats"] = plan.repeats
            own |= {"rows": len(frame), "effect": plan.effect}
            rows.append(own | found_share(p, plan.alpha))
    return pd.DataFrame(rows)


def fitter(model: str, data: pd.DataFrame) -> Callable[[str, bool], Any]:
    """The fit of a fixed part with the random terms `model`, by REML or ML."""
    return lambda fixed, reml: fit_lmm(fixed + model, data, reml=reml)


def replicate_count(value: Any) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"replicates is {shown(value)}; give a whole number of at least 1")
    return int(value)


def found_share(p: Array, alpha: float) -> dict[str, Any]:
    """Power and its Monte-Carlo error from p-values (replicates,), NaN for no test."""
    significant, number = int((p < alpha).sum()), len(p)
    # away from 0 and 1, where the share itself would have no error
    inner = (significant + 1.0) / (number + 2.0)
    return {
        "power": significant / number,
        "mc_error": float(np.sqrt(inner * (1.0 - inner) / number)),
        "replicates": number,
        "no_test": int(np.isnan(p).sum()),
    }


def test_of(
    fitted: Callable[[str, bool], Any], full: str, reduced: str, term: str, test: str
) -> Callable[[Array], float]:
    """The p-value of a term as a function of the response (n,); NaN where it has no test.

    `fitted` gives the fit of a formula by REML or ML; its columns serve for every response.
    """
    if test == "lrt":
        wide, narrow = fitted(full, False), fitted(reduced, False)
        return lambda y: float(lrt(refit(wide, y), refit(narrow, y))["p_value"].to_numpy()[0])
    model = fitted(full, True)

    return p_value_of(model, term, test)


def p_value_of(model: Any, term: str, test: str) -> Callable[[Array], float]:
    """The p-value of a coefficient as a function of the response (n,); NaN where it has no test."""

    def p_value(y: Array) -> float:
        fit = refit(model, y)
        try:
            return float(coef_table(fit, df=test)["p_value"].to_numpy()[place])
        except ValueError as error:
            if "degrees of freedom" in str(error):
                return float("nan")
            raise

    place = list(model.fe_params.index).index(term)
    return p_value


def random_part(plan: Plan, frame: pd.DataFrame) -> str:
    """The random terms of a planned study's model."""
    slope = "1 + x" if plan.sigma2_slope > 0.0 else "1"
    sub = " + (1 | group:subgroup)" if plan.repeats > 1 else ""
    if len(frame) == frame["group"].nunique():
        raise ValueError(
            "with one row in each group there is no variance between rows to tell from the one "
            "between groups; simulate with at least two, or use method='formula'"
        )
    return f" + ({slope} | group){sub}"


def study(plan: Plan, groups: int, size: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of a planned study: columns group, subgroup and the predictor x, which is centred, so
    that the variance between groups is the one at its mean."""
    sizes = unequal(groups, size, plan)
    group = np.repeat(np.arange(groups), sizes)
    within = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    if plan.level == "group":
        own = predictor(plan, np.zeros(groups, dtype=int))
        if plan.predictor_sd is not None:
            own = rng.permutation(own)  # x must not grow with the sizes
        x = own[group]
    elif plan.level == "subgroup" or plan.repeats == 1:
        x = predictor(plan, group)
    else:
        x = np.zeros(len(group))
    frame = pd.DataFrame({"group": group, "subgroup": within, "x": x})
    if plan.repeats > 1:
        frame = frame.loc[frame.index.repeat(plan.repeats)].reset_index(drop=True)
        if plan.level == "row":
            frame["x"] = predictor(plan, np.repeat(np.arange(len(group)), plan.repeats))
    return frame


def unequal(groups: int, size: int, plan: Plan) -> Any:
    """Sizes (G,) of the groups in order: quantiles of a gamma distribution with the plan's cv."""
    if plan.cv == 0.0:
        return np.full(groups, size)
    shape = 1.0 / plan.cv**2
    at = stats.gamma.ppf((np.arange(groups) + 0.5) / groups, shape, scale=size / shape)
    # a mean below the stated one would be a smaller study
    return np.maximum(np.round(at * size / at.mean()), 1 if plan.level == "group" else 2).astype(
        int
    )


def predictor(plan: Plan, within: Any) -> Array:
    """A centred predictor for units that lie in the blocks `within` (n,), in order: two arms that
    take turns, or normal scores in each block."""
    n = len(within)
    if plan.predictor_sd is None:
        share = plan.allocation
        turns = np.floor(np.arange(n + 1) * share + 0.5)
        return np.asarray(np.diff(turns) - share)
    x = np.zeros(n)
    for block in np.unique(within):
        own = np.flatnonzero(within == block)
        scores = stats.norm.ppf((np.arange(len(own)) + 0.5) / len(own))
        if len(own) > 1:
            x[own] = plan.predictor_sd * scores / scores.std()
    return x


def drawn(plan: Plan, frame: pd.DataFrame, rng: np.random.Generator) -> Array:
    """A response (n,) of a planned study."""
    group, x = frame["group"].to_numpy(), frame["x"].to_numpy()
    groups = group.max() + 1
    start = np.sqrt(plan.sigma2_g) * rng.standard_normal(groups)
    slope = plan.effect + np.sqrt(plan.sigma2_slope) * rng.standard_normal(groups)
    y = start[group] + slope[group] * x
    if plan.repeats > 1:
        cells = np.arange(len(frame)) // plan.repeats
        y = y + np.sqrt(plan.sigma2_sub) * rng.standard_normal(cells[-1] + 1)[cells]
        return np.asarray(y + np.sqrt(plan.sigma2) * rng.standard_normal(len(y)))
    return np.asarray(y + np.sqrt(plan.sigma2 + plan.sigma2_sub) * rng.standard_normal(len(y)))

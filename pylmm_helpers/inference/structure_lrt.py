"""Likelihood ratio tests where a model has correlated residuals or unequal variances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.engine import as_results
from pylmm_helpers.engine.several import SeveralResults, random_terms
from pylmm_helpers.formula import Structure, in_order_of

from .mixture import chi2_tail, describe, mixture_tail
from .nesting import check_reml, is_ordinary, same_data, span_map
from .several.lrt import (
    Difference,
    SeveralDifferencesError,
    difference,
    rows_of,
)


@dataclass(frozen=True)
class StructureDifference:
    """What the full model's structure has more: parameters, and whether one of them is at its
    bound in the reduced model (phi of "car1", which is positive, at zero)."""

    df: int
    bounded: bool


def lrt(full: Any, reduced: Any) -> pd.DataFrame:
    """`pylmm_helpers.lrt` where a model has a structure of its residuals."""
    big = results_of(full)
    if is_ordinary(reduced):
        raise ValueError(
            f"the full model has {big.structure.request.words}, ordinary regression has neither "
            "random effects nor that; test one at a time: fit_lmm(...) without it as the reduced "
            "model."
        )
    small = in_order_of(big, results_of(reduced))
    same_data(rows_of(big), rows_of(small))
    names = list(big.cross.x_names), list(small.cross.x_names)
    if len(names[0]) < len(names[1]):
        raise ValueError(
            "the second model has terms that the first lacks; give the full model first."
        )
    x_map = span_map(big, small.X, names[1], "fixed")
    check_reml(big, small.X, names[1])
    structure = structure_difference(big.structure, small.structure)
    change = difference(random_terms(big), random_terms(small))
    fixed = int(x_map.shape[0] - x_map.shape[1])
    degrees, weights = reference(structure, change, fixed)
    if small.criterion < big.criterion - 1e-5 * max(1.0, abs(big.criterion) * 1e-6):
        raise ValueError(
            "the reduced model fits better than the full one that contains it: the full model's "
            "search stopped too early. Check its convergence."
        )
    statistic = max(0.0, float(small.criterion - big.criterion))
    df = structure.df + change.df + fixed
    return pd.DataFrame(
        {
            "statistic": [statistic],
            "df": [df],
            "p_value": [mixture_tail(statistic, degrees, weights)],
            "p_value_naive": [chi2_tail(statistic, df)],
            "reference": [describe(degrees, weights)],
            "method": ["REML" if big.reml else "ML"],
        },
        index=pd.Index(["likelihood ratio"], name="test"),
    )


def results_of(fit: Any) -> Any:
    """A fit in this package's form, with one random term or several."""
    return fit if isinstance(fit, SeveralResults) else as_results(fit, structures=True)


def reference(
    structure: StructureDifference, change: Difference, fixed: int
) -> tuple[list[int], list[float]]:
    """Degrees of freedom and weights of the chi-squared mixture under the reduced model."""
    if structure.df == 0 and change.term < 0 and fixed == 0:
        raise ValueError(
            "the models have the same fixed and random effects and the same structure of the "
            "residuals; there is nothing to test."
        )
    if change.dropped > 1 or (change.dropped == 1 and structure.df):
        raise SeveralDifferencesError(
            "the models differ by a random effect and by the structure of their residuals, or by "
            "more than one random effect: the mixture of chi-squared distributions is known for "
            "one at a time. Test one after the other, or use parametric_bootstrap(full, reduced)."
        )
    df = structure.df + change.df + fixed
    if change.dropped == 1 or structure.bounded:
        # of the new parameters one is at its bound: a variance, or phi of "car1"
        return [df - 1, df], [0.5, 0.5]
    return [df], [1.0]


def structure_difference(full: Structure | None, reduced: Structure | None) -> StructureDifference:
    """What the full model's structure has more; refuses structures that are not nested."""
    if reduced is None:
        if full is None:
            return StructureDifference(0, False)
        new_phi = full.gaps is not None
        return StructureDifference(full.n_params, new_phi and full.positive)
    if full is None:
        raise ValueError(
            f"the reduced model has {reduced.request.words}, the full one hasn't; give the full "
            "model first."
        )
    df, bounded = 0, False
    if reduced.gaps is not None:
        if full.gaps is None or not same_correlation(full, reduced):
            raise ValueError(
                f"the models are not nested: {full.request.words} does not contain "
                f"{reduced.request.words}. Compare them by information_criteria."
            )
    elif full.gaps is not None:
        df, bounded = 1, full.positive
    df += more_levels(full, reduced)
    return StructureDifference(df, bounded)


def same_correlation(full: Structure, reduced: Structure) -> bool:
    """Whether two structures give the same correlations for every phi."""
    assert full.gaps is not None and reduced.gaps is not None
    return (
        full.request.kind == reduced.request.kind
        and bool(np.array_equal(row_gaps(full), row_gaps(reduced)))
        and bool(np.array_equal(rows_before(full), rows_before(reduced)))
    )


def row_gaps(structure: Structure) -> Any:
    """The gap before each row (n,), in the order of the data."""
    assert structure.gaps is not None
    found = np.empty(len(structure.gaps))
    found[structure.order] = structure.gaps
    return found


def rows_before(structure: Structure) -> Any:
    """The row before each row (n,) in its group, in the order of the data; -1 for none."""
    assert structure.gaps is not None
    found = np.full(len(structure.gaps), -1)
    inside = np.flatnonzero(np.isfinite(structure.gaps))
    found[structure.order[inside]] = structure.order[inside - 1]
    return found


def more_levels(full: Structure, reduced: Structure) -> int:
    """Ratios that the full structure has more; refuses levels that are not nested."""
    if reduced.level_codes is None or reduced.levels is None:
        return 0 if full.levels is None else len(full.levels) - 1
    if full.level_codes is not None and full.levels is not None:
        pairs = np.unique(full.level_codes * len(reduced.levels) + reduced.level_codes)
        if len(pairs) == len(full.levels):
            return len(full.levels) - len(reduced.levels)
    raise ValueError(
        f"the models are not nested: {full.request.words} does not contain the levels of "
        f"{reduced.request.words}. Compare them by information_criteria."
    )

r"""Design effect and variance function of a fit with several random terms.

With :math:`\rho_k` the share of factor k in the variance of a row and :math:`n_{kj}` the rows of
its level j, the plain mean of n rows has the variance
:math:`\sigma_T^2 \{1 + \sum_k (\tilde m_k - 1)\rho_k\} / n`, where
:math:`\tilde m_k = \sum_j n_{kj}^2 / n`: rows that share a level of factor k have the covariance
:math:`\sigma_k^2`, whether the factors are nested or crossed. For one factor it is Kish's formula.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array, a_number
from pylmm_helpers.engine.several import SeveralResults, build_sums, evaluate

from ..group_level import weight_of
from .variance import intercepts_only, shared_factors


def design_effect(fit: SeveralResults, weight: float | None) -> pd.DataFrame:
    """`pylmm_helpers.design_effect`: a row for each factor and one for all together."""
    if not intercepts_only(fit):
        raise ValueError(
            "the design effect needs one share for each factor, but this model has random slopes, "
            "whose share depends on the predictor; fit random intercepts only, or see "
            "variance_function."
        )
    sigma2 = fit.scale / weight_of(fit, weight, "the design effect")  # type: ignore[arg-type]
    variances = {g: float(G.to_numpy()[0, 0]) for g, G in fit.cov_re_by_group.items()}
    total, n = sigma2 + sum(variances.values()), float(fit.nobs)
    rows: list[tuple[float, float, float, float, float]] = []
    for name, variance in variances.items():
        sizes = fit.sizes_by_group[name].astype(float)
        share = variance / total
        added = (float(np.sum(sizes**2)) / n - 1.0) * share
        rows.append((share, len(sizes), n / len(sizes), sizes.std() / sizes.mean(), added))
    every = float(sum(row[-1] for row in rows))
    rows.append((1.0 - sigma2 / total, np.nan, np.nan, np.nan, every))
    index = pd.Index([*variances, "all factors"], name="group")
    columns = ["share", "levels", "mean_size", "size_cv", "added"]
    table = pd.DataFrame(rows, index=index, columns=columns)
    nothing = [np.nan] * len(variances)
    table["design_effect"] = [*nothing, 1.0 + every]
    table["n"] = [*nothing, n]
    table["effective_n"] = [*nothing, n / (1.0 + every)]
    table["effective_n_model"] = [*nothing, total / sigma2 * information_of_mean(fit, sigma2)]
    return table


def information_of_mean(fit: SeveralResults, sigma2: float) -> float:
    """``1'V^-1 1`` for rows of residual variance `sigma2`, V over that variance."""
    factors = [replace(f, widths=(1,)) for f in fit.design.factors.values()]
    ones = np.ones((1, fit.nobs))
    sums = build_sums(factors, [ones] * len(factors), ones)
    ratios = [fit.cov_re_by_group[f.name].to_numpy()[0, 0] / sigma2 for f in sums.factors]
    return evaluate(np.sqrt(ratios), sums, reml=False).r2


def variance_function(
    fit: SeveralResults,
    term: str,
    x: Array,
    other: Mapping[str, float],
    weight: float | None,
) -> pd.DataFrame:
    """`pylmm_helpers.variance_function`: a row for each value (k,) and factor."""
    slopes = {t for names in fit.z_names.values() for t in names if t != "Intercept"}
    for name in (term, *other):
        if name not in slopes:
            raise ValueError(
                f"{name!r} has no random slope in this model; random slopes: "
                f"{sorted(slopes) or 'none'}"
            )
    sigma2 = fit.scale / weight_of(fit, weight, "the total variance")  # type: ignore[arg-type]
    given = {"Intercept": 1.0, **{t: a_number(value, t) for t, value in other.items()}}
    own = {}
    for group, positions in fit.design.by_factor.items():
        between, start = np.zeros(len(x)), 0
        for k in positions:
            names = fit.design.parts[k].z_names
            z = np.column_stack(
                [x if t == term else np.full(len(x), given.get(t, 0.0)) for t in names]
            )
            scaling, stop = fit.scalings[k], start + len(names)
            # in scaled columns: far from 0, z'Gz would be a difference of large numbers
            scaled = scaling.z(z) if "Intercept" in names else z @ scaling.z_map
            between += np.sum((scaled @ fit.lambdas[group][start:stop, start:stop]) ** 2, axis=1)
            start = stop
        own[group] = fit.scale * between
    total = sum(own.values()) + sigma2
    if len(own) == 1:
        own_part = next(iter(own.values()))
        columns = {term: x, "between": own_part, "residual": sigma2, "total": total}
        return pd.DataFrame(columns | {"sd_between": np.sqrt(own_part), "icc": own_part / total})
    shared = shared_factors(fit)
    frames = [
        pd.DataFrame(
            {
                term: x,
                "group": group,
                "between": between,
                "residual": sigma2,
                "total": total,
                "sd_between": np.sqrt(between),
                "share": between / total,
                "icc": sum(own[g] for g in shared[group]) / total,
            }
        )
        for group, between in own.items()
    ]
    return pd.concat(frames).sort_index(kind="stable").reset_index(drop=True)

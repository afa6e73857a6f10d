"""Two groups compared: the difference of their predictions, with its standard error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from pylmm_helpers.common import a_level, a_number, shown, shown_whole
from pylmm_helpers.engine import LMMResults, SeveralResults, any_results
from pylmm_helpers.formula import label_positions, model_columns

from .group_level import group_level
from .several.compare import difference_of_levels
from .sides import check_known, fixed_difference, two_rows


@shown_whole
def compare_groups(
    fit: Any,
    first: Any,
    second: Any,
    new_data: Any = None,
    group: str | None = None,
    level: float = 0.95,
    df: float | None = None,
) -> pd.DataFrame:
    r"""The difference between two groups, as predicted, with its standard error.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or statsmodels MixedLMResults
        A fitted linear mixed model.
    first, second : label
        Two groups of the fit; tuples for a factor of several columns, as in ``("H01", "H01-02")``.
    new_data : DataFrame or dict, optional
        Predictors at which they are compared: one row for both, or one for each. May be left out
        where groups differ by their random intercepts only; their own predictors are then taken as
        equal.
    group : str, optional
        The grouping factor, where the fit has several. A factor that is nested in others is
        compared with theirs: two cows of two herds differ by their herds too.
    level : float
        Confidence level.
    df : float, optional
        Degrees of freedom for Student's t; the normal distribution without.

    Returns
    -------
    DataFrame (one row)
        estimate (first less second, units of the response), std_error, ci_low, ci_high; indexed by
        "first - second".

    Raises
    ------
    ValueError
        For a group that the fit hasn't seen, the same group twice, a missing column, or random
        slopes without `new_data`.

    Notes
    -----
    With x and z the rows of both groups, the error of the difference has the variance

    .. math::

        z_a'C_a z_a + z_b'C_b z_b + d'\Phi d, \quad
        d = x_a - x_b - B_a'z_a + B_b'z_b

    (blocks of the inverse of Henderson's mixed-model equations, as in `predict`). It isn't the sum
    of the variances of both predictions, whose fixed parts have their error in common. Variance
    parameters are taken as known.

    Predictions are shrunken, so a difference is on average smaller than the true one, and the
    interval holds for two groups that were chosen before the data were seen. The largest of many
    differences is another matter.

    References
    ----------
    Henderson (1975), doi:10.2307/2529430.
    """
    res = any_results(fit, structures=True)
    quantile = quantile_of(level, df)
    if isinstance(res, SeveralResults):
        estimate, variance = difference_of_levels(res, first, second, new_data, group)
    else:
        if group is not None and group != res.groups:
            raise ValueError(
                f"group is {shown(group)}; the fit's grouping factor is {res.groups!r}"
            )
        estimate, variance = difference_of_groups(res, first, second, new_data)
    error = float(np.sqrt(max(variance, 0.0)))
    return pd.DataFrame(
        {
            "estimate": [estimate],
            "std_error": [error],
            "ci_low": [estimate - quantile * error],
            "ci_high": [estimate + quantile * error],
        },
        index=pd.Index([f"{label_of(first)} - {label_of(second)}"], name="groups"),
    )


def quantile_of(level: float, df: float | None) -> float:
    """How many standard errors the limits are away."""
    a_level(level)
    if df is None:
        return float(norm.ppf(0.5 + level / 2.0))
    value = a_number(df, "df")
    if value <= 0.0:
        raise ValueError(f"df is {value:g}; give degrees of freedom above 0, or None")
    return float(t.ppf(0.5 + level / 2.0, value))


def label_of(label: Any) -> str:
    """A group's label as text; the columns of a nested one joined by colons."""
    return ":".join(map(str, label)) if isinstance(label, tuple) else str(label)


def difference_of_groups(
    res: LMMResults, first: Any, second: Any, new_data: Any
) -> tuple[float, float]:
    """The difference of two groups of a single factor, and its variance."""
    numbers = label_positions(res.group_labels, pd.Series([first, second], name=res.groups))
    check_known(numbers, [first, second], res.groups)
    scaling, design = res.cross.scaling, res._rows_of
    frame = two_rows(new_data, list(res.cov_re.index))
    fixed, x = fixed_difference(res, frame)
    z = scaling.z(np.ones((2, 1)) if frame is None else model_columns(design, frame, "random"))
    blocks = group_level(res)
    effects = scaling.y_scale * np.sum(z * res.effects_scaled[numbers], axis=1)
    link = np.einsum("nq,nqp->np", z, blocks.link[numbers])
    d = x - link[0] + link[1]
    own = np.einsum("nq,nqr,nr->n", z, blocks.conditional[numbers], z)
    return fixed + float(effects[0] - effects[1]), float(own.sum() + d @ blocks.phi @ d)

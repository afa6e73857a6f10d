"""Within and between effects of a predictor, and their difference, the contextual effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array, a_name, counted, one_of, shown_whole
from pylmm_helpers.engine import any_results
from pylmm_helpers.engine.several import SeveralResults
from pylmm_helpers.formula import as_frame, check_scalars, require_column
from pylmm_helpers.inference import contrast

from .group_level import check_level
from .several.prediction import a_factor

__all__ = ["center_within", "contextual_effect"]

#: Deviations this small beside the column's spread are rounding.
ROUNDING = 1e-9
#: Group means from a census may differ from those of the sample, but not by more than this.
SAME_PREDICTOR = 0.5


def center_within(data: pd.DataFrame, column: str, groups: str | Sequence[str]) -> pd.DataFrame:
    r"""Split a predictor into group means and deviations from them.

    Parameters
    ----------
    data : DataFrame
        One row for each observation; it is not changed.
    column : str
        Numeric predictor that varies within groups and between them.
    groups : str or list of str
        Grouping column; or several, whose combinations are the groups, as in ``["herd", "cow"]``
        for cows whose labels start anew in each herd.

    Returns
    -------
    DataFrame
        A copy of `data` with the columns ``<column>_within`` (:math:`x_{ij} - \bar x_j`) and
        ``<column>_mean`` (:math:`\bar x_j`), in the units of `column`.

    Raises
    ------
    ValueError
        For an unknown column, missing or infinite values (a group's mean would rest on other rows
        than the model), text instead of numbers, a column that is constant in each group (there is
        no within effect) or has the same mean in each (no between effect), or when a new column's
        name is taken by something else.

    References
    ----------
    Enders & Tofighi (2007), Psychological Methods 12, 121-138 (doi:10.1037/1082-989X.12.2.121).
    """
    data = as_frame(data)
    keys = [groups] if isinstance(groups, str) or not isinstance(groups, Sequence) else list(groups)
    if not keys:
        raise ValueError("groups is an empty list; give one or several grouping columns")
    for role, name in (("column", column), *(("groups", key) for key in keys)):
        a_name(name, role, "one column")
        require_column(data, name)
        check_scalars(data[name], name, labels=role == "groups")
        gaps = int(data[name].isna().sum())
        if gaps:
            raise ValueError(
                f"column {name!r} has {counted(gaps, 'missing value')}; drop those rows before you "
                "centre, so that group means and model use the same rows"
            )
    if not pd.api.types.is_numeric_dtype(data[column]) or pd.api.types.is_complex_dtype(
        data[column]
    ):
        raise ValueError(
            f"column {column!r} is not numeric; convert it with pd.to_numeric, or code it 0 and 1"
        )
    values = data[column].astype(float)
    if data.empty or not np.isfinite(values).all():
        raise ValueError(f"column {column!r} has no rows or infinite values; repair it first")
    # centring first keeps the digits of a predictor with a large mean
    middle = float(values.mean())
    offset = values - middle
    means = offset.groupby([data[key] for key in keys], observed=True).transform("mean")
    within = offset - means
    spread = float(offset.abs().max())
    name = ":".join(keys)
    if float(within.abs().max()) <= ROUNDING * spread or spread == 0.0:
        raise ValueError(
            f"column {column!r} is constant within every group of {name!r}: it has no within "
            "effect; use it as a group-level predictor as it is"
        )
    if float(means.abs().max()) <= ROUNDING * spread:
        raise ValueError(
            f"column {column!r} has the same mean in every group of {name!r} (was it centred "
            "before?): it has no between effect; give the original column"
        )
    same = 1e-6 * spread + 8.0 * np.finfo(float).eps * abs(middle)
    new = {f"{column}_within": within, f"{column}_mean": means + middle}
    for name, made in new.items():
        if name in data.columns and not np.allclose(
            pd.to_numeric(data[name], errors="coerce"), made, rtol=0.0, atol=same
        ):
            raise ValueError(
                f"the data already have a column {name!r} with other values; rename it first"
            )
    return data.assign(**new)


@shown_whole
def contextual_effect(
    fit: Any,
    within: str,
    between: str,
    df: str | None = None,
    level: float = 0.95,
    group: str | None = None,
) -> pd.DataFrame:
    r"""Within effect, between effect and contextual effect from any of three parameterisations.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A model that contains both terms.
    within, between : str
        Two terms of the model, made from one predictor x:

        - deviations from the group mean, and the group mean: coefficients are :math:`\beta_W` and
          :math:`\beta_B`;
        - x itself, and the group mean: :math:`\beta_W` and :math:`\beta_B - \beta_W` (Mundlak's
          form);
        - deviations from the group mean, and x itself: :math:`\beta_W - \beta_B` and
          :math:`\beta_B`.

        Which it is, is told from the columns themselves.
    df : {"kenward-roger", "satterthwaite", "wald"}, optional
        Kenward-Roger for REML fits and Satterthwaite for ML fits unless chosen.
    level : float
        Confidence level.
    group : str, optional
        The factor within and between whose levels is meant, such as ``"herd"``; needed when the
        model has several.

    Returns
    -------
    DataFrame
        Rows `within` (:math:`\beta_W`), `between` (:math:`\beta_B`) and `contextual`
        (:math:`\beta_B - \beta_W`); columns as in `coef_table`, in the units of the response per
        unit of x.

    Notes
    -----
    With cows in herds a predictor has three parts: a row's deviation from its cow's mean, the cow
    mean's deviation from the herd's, and the herd mean. Put all three into the model; the pair
    (first, second) with ``group="herd:cow"`` gives the contextual effect of the cow, (second,
    third) with ``group="herd"`` that of the herd.

    All three forms are one model, so they give the same table if the model has no random slope of x
    and no interaction with it. A group mean over few rows that stands for many more members is
    measured with error, which draws :math:`\beta_B` towards :math:`\beta_W` (Lüdtke et al. 2008,
    doi:10.1037/a0012869). Error in x itself draws :math:`\beta_W` towards 0 and so makes a
    contextual effect (Woodhouse et al. 1996, doi:10.2307/2983168).

    Raises
    ------
    ValueError
        If a term is not in the model, none of the two varies within groups, or the pair fits none
        of the three forms; if `group` is missing though there are several factors, or is none of
        them.

    References
    ----------
    Mundlak (1978), Econometrica 46, 69-85 (doi:10.2307/1913646). Snijders & Bosker (2012),
    Multilevel Analysis, 2nd ed., section 4.6.
    """
    res = any_results(fit)
    grouping = _grouping(res, group)
    one_of(df, (None, "kenward-roger", "satterthwaite", "wald"), "df")
    level = check_level(level)
    names = list(res.fe_params.index)
    for role, term in (("within", within), ("between", between)):
        a_name(term, role, "a term of the model")
        if term not in names:
            raise ValueError(
                f"the model has no term {term!r}; its terms are {', '.join(map(str, names))}"
            )
    if within == between:
        raise ValueError(
            "within and between are the same term; name the two terms made from one predictor"
        )
    position = [names.index(within), names.index(between)]
    in_within, in_between = _parts(res, position, (within, between), grouping)
    rows = np.zeros((3, len(names)))
    rows[0, position] = in_within
    rows[1, position] = in_between
    rows[2] = rows[1] - rows[0]
    method = df or ("kenward-roger" if res.reml else "satterthwaite")
    table = pd.concat([contrast(res, row, df=method, level=level) for row in rows])
    table.index = pd.Index(["within", "between", "contextual"], name="effect")
    table.attrs["df_method"] = method
    return table


def _grouping(res: Any, group: str | None) -> tuple[NDArray[np.intp], int]:
    """Level of each row (n,) and number of levels of the factor that is meant."""
    if isinstance(res, SeveralResults):
        if group is None and len(res.group_names) > 1:
            raise ValueError(
                "this fit has several grouping factors; say within and between whose levels: group="
                f"{' or '.join(repr(g) for g in res.group_names)}."
            )
        factor = res.design.factors[a_factor(res, group or res.group_names[0])]
        return factor.codes, factor.levels
    if group not in (None, res.groups):
        raise ValueError(f"group is {group!r}; the only grouping factor is {res.groups!r}")
    return res.codes, res.ngroups


def deviations_with_gaps(res: Any, raw: Array, means: Array, spread: float) -> bool:
    """Whether the first of two columns (n, 2) holds deviations from group means over more rows than
    the model's: most of its means (G,) are zero, and a column of the data is its sum or difference
    with the other one, as `center_within` leaves it."""
    if np.mean(np.abs(means) <= ROUNDING * spread) <= 0.5:
        return False
    numbers = res.frame.select_dtypes("number").to_numpy(dtype=float, na_value=np.nan)
    made = np.column_stack([raw[:, 1] + raw[:, 0], raw[:, 1] - raw[:, 0]])
    off = np.abs(numbers[:, :, None] - made[:, None, :]).max(axis=0)
    return bool(np.any(off <= ROUNDING * np.abs(made).max()))


def _parts(
    res: Any, position: list[int], terms: tuple[str, str], grouping: tuple[NDArray[np.intp], int]
) -> tuple[Array, Array]:
    """Share (0 or 1) of each term in the within part and in the between part of the predictor."""
    raw = res.X[:, position]
    rounding = 8.0 * np.finfo(float).eps * np.abs(raw).max(axis=0)
    columns = raw - raw.mean(axis=0)
    codes, levels = grouping
    sizes = np.bincount(codes, minlength=levels)[:, None]
    means = np.column_stack([np.bincount(codes, c, levels) for c in columns.T]) / sizes
    inside = columns - means[codes]
    spread = np.abs(columns).max(axis=0)
    # less than a millionth of the spread is rounding, not variation
    noise = 1e-6 * spread + rounding
    has_within = np.abs(inside).max(axis=0) > noise
    has_between = np.abs(means).max(axis=0) > noise
    # deviations have a mean of zero in each group, but not in one of which rows were dropped since
    has_between[0] &= not deviations_with_gaps(res, raw, means[:, 0] + raw[:, 0].mean(), spread[0])
    if not has_within.any():
        raise ValueError(
            f"neither {terms[0]!r} nor {terms[1]!r} varies within groups; one must hold the rows' "
            "own values"
        )
    if not has_between.any():
        raise ValueError(
            f"neither {terms[0]!r} nor {terms[1]!r} varies between groups; add the group mean to "
            "the model"
        )
    if has_within.all():
        gap = np.abs(inside[:, 0] - inside[:, 1]).max()
        if gap > float(noise.max()):
            raise ValueError(
                f"{terms[0]!r} and {terms[1]!r} are not made from one predictor in the same units"
            )
    if has_within.all() and has_between.all():
        raise ValueError(
            f"{terms[0]!r} and {terms[1]!r} both vary within and between groups; one must be the "
            "group mean, or the deviations from it"
        )
    if has_between.all() and levels > 2:
        alike = float(np.asarray(np.corrcoef(means.T))[0, 1])
        if alike < SAME_PREDICTOR:
            raise ValueError(
                f"the group means of {terms[0]!r} and {terms[1]!r} have a correlation of "
                f"{alike:.2f} only: "
                "they are not made from one predictor; use center_within, on the rows that enter "
                "the model"
            )
    return has_within.astype(float), has_between.astype(float)

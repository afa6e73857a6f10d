"""Predicted random effects (BLUPs), and predictions for known and new groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from pylmm_helpers.common import a_name, one_of, shown_whole
from pylmm_helpers.engine import as_results
from pylmm_helpers.engine.several import SeveralResults
from pylmm_helpers.formula import PARTS, as_new_frame, check_own_rows, group_numbers, model_columns

from .group_level import check_level, group_by_group, group_level, weight_of
from .reach import check_df, reach
from .several import prediction as several
from .structure import check_new_observations, new_ratios

__all__ = ["blups", "predict"]


@shown_whole
def blups(fit: Any, term: str | None = None, level: float = 0.95, group: str | None = None) -> Any:
    r"""Best linear unbiased predictors of the random effects, with their uncertainty and shrinkage.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    term : str, optional
        One random-effect term, as in ``fit.cov_re.index``. Without it, all terms.
    level : float
        Confidence level of the intervals.
    group : str, optional
        One grouping factor of several, such as ``"herd:cow"``.

    Returns
    -------
    DataFrame, or dict of DataFrame
        With several grouping factors and none chosen, a dict from factor to its table.
        One row for each group, indexed by its label; with several terms and none chosen, indexed by
        group and term. Columns: `n` (rows of the group); `estimate` (units of the response, per
        unit of the term); `prediction_sd`, the SD of estimate minus true effect; `conditional_sd`,
        the same with the fixed effects taken as known (lme4's ``condVar``); `shrinkage`, between 0
        and 1; `ci_low`, `ci_high`, normal limits from `prediction_sd`.

    Notes
    -----
    `prediction_sd` comes from the inverse of Henderson's mixed-model equations, so it includes the
    uncertainty of the fixed effects, which `conditional_sd` leaves out. Both take the variances as
    known. `shrinkage` is :math:`1 - c_{jj} / g_{jj}`, conditional over prior variance (the
    reliability of the estimate); for a random intercept it is `shrinkage_factor`, the weight that
    the group's own mean gets.

    Raises
    ------
    ValueError
        If `term` is not a random effect of the model.

    References
    ----------
    Henderson (1975), Biometrics 31, 423-447 (doi:10.2307/2529430). Robinson (1991), Statistical
    Science 6, 15-32 (doi:10.1214/ss/1177011926).
    """
    if isinstance(fit, SeveralResults):
        return several.blups(fit, term, group, level)
    res = as_results(fit, structures=True)
    if group not in (None, res.groups):
        raise ValueError(f"group is {group!r}; the only grouping factor is '{res.groups}'")
    quantile = float(norm.ppf(0.5 + check_level(level) / 2.0))
    if not res.identified:
        raise ValueError(
            f"{res.identification.finding} So the groups have no BLUPs of their own terms; predict "
            "their values by predict(fit, level='group')."
        )
    effects = res.random_effects
    terms = [str(c) for c in effects.columns]
    if term is not None:
        a_name(term, "term", "a random effect")
    if term is not None and term not in terms:
        raise ValueError(
            f"{term!r} is not a random effect of this model; random effects: {', '.join(terms)}"
        )
    blocks = group_level(res)
    conditional = np.diagonal(blocks.conditional_covariance(), axis1=1, axis2=2)
    prediction = np.diagonal(blocks.prediction_covariance(), axis1=1, axis2=2)
    prior = np.diag(res.cov_re.to_numpy(dtype=float))
    kept = 1.0 - np.divide(conditional, prior, out=np.ones_like(conditional), where=prior > 0)
    frames = []
    for j, name in enumerate(terms):
        estimate, sd = effects.iloc[:, j].to_numpy(), np.sqrt(np.maximum(prediction[:, j], 0.0))
        frames.append(
            pd.DataFrame(
                {
                    "n": res.cross.sizes,
                    "estimate": estimate,
                    "prediction_sd": sd,
                    "conditional_sd": np.sqrt(np.maximum(conditional[:, j], 0.0)),
                    "shrinkage": np.clip(kept[:, j], 0.0, 1.0),
                    "ci_low": estimate - quantile * sd,
                    "ci_high": estimate + quantile * sd,
                },
                index=pd.Index(effects.index, name=res.groups),
            )
        )
        if term == name or len(terms) == 1:
            return frames[-1]
    return group_by_group(frames, terms)


@shown_whole
def predict(
    fit: Any,
    new_data: Any = None,
    level: str | Sequence[str] = "population",
    interval: str | None = None,
    confidence: float = 0.95,
    df: float | None = None,
    weight: float | None = None,
) -> pd.DataFrame:
    r"""Predictions for the average group or for particular groups, also groups that were not in the
    data.

    The fit's formula is code that is run: never take one from strangers.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    new_data : DataFrame (pandas or Polars) or dict, optional
        Predictors, and for ``level="group"`` the grouping column. The rows of the fit, if left out.
        Categories and group labels are matched by value: "1", 1 and 1.0 are one level. Text columns
        that the fit had as numbers are refused.
    level : {"population", "group"}
        ``population``: fixed effects only, the average over groups. ``group``: BLUPs added; a group
        that the fit has not seen gets the population's prediction and the uncertainty of a group
        about which nothing is known. With several grouping factors ``group`` takes all of them as
        known; the name of one, or a list of names, those only.
    interval : {None, "confidence", "prediction"}
        ``confidence``: for the mean (of the population, or of that group). ``prediction``: for one
        new observation (with ``level="population"``, of a new group).
    confidence : float
        Coverage of the interval.
    df : float, optional
        Degrees of freedom of Student's t for all rows; ``float("inf")`` gives the normal
        distribution. Without it, known groups and the population's mean get the normal, and new
        groups Student's t with two degrees of freedom less than there are groups in the fit.
    weight : float, optional
        For prediction intervals of a fit with weights: the weight of the new observation. For the
        rows of the fit itself (no `new_data`) their own weights, if left out.

    Returns
    -------
    DataFrame
        Index of `new_data`; column `prediction` (units of the response). With an interval also
        `std_error` (of the mean, or for ``prediction`` of the new observation), `ci_low`,
        `ci_high`. With ``level="group"`` also `known_group`; with several factors `known_herd` and
        so on for those in `level`.

    Notes
    -----
    Variance of the prediction's error, for a row with predictors x and random-effect columns z:

    - ``"population"``: :math:`x'\Phi x`;
    - ``"group"``, a known one: :math:`z'C_gz + (x - B_g'z)'\Phi(x - B_g'z)`;
    - ``"group"``, a new one: :math:`z'Gz + x'\Phi x`.

    For ``prediction`` add :math:`\sigma^2` (over the weight), and for the population
    :math:`z'Gz` too. The second is the quadratic form of (x, z) in the inverse of Henderson's
    mixed-model equations: errors in the fixed effects and in the BLUPs are correlated, and adding
    their variances as if they were not would be wrong. Variances are taken as known, as everywhere
    in BLUP theory.

    A new group's error is mostly z'u, whose variance is estimated from the G groups of the fit: the
    normal would be too narrow, and t with G - 2 degrees of freedom allows for it roughly (Higgins
    et al. 2009). That concerns the third variance, and ``prediction`` for the population. With
    several factors, G is the smallest number of levels among those whose level is new.

    With ``correlation=`` the prediction is still x'b + z'u, as nlme gives it: the observed
    residuals of a known group do not move it, though they say something about rows near in time.
    Prediction intervals are therefore refused for known groups then. With ``variances=`` the
    sigma^2 of a new observation is that of its level, so the column has to be in `new_data`.

    Raises
    ------
    ValueError
        For an unknown level or interval, a missing column, missing values, a category that the fit
        has not seen, a value that could be two of its levels, prediction intervals of new rows of
        a fit with weights without `weight`, or an interval for a new group when the fit has only
        two, unless `df` is given.

    References
    ----------
    Henderson (1975), Biometrics 31, 423-447 (doi:10.2307/2529430). Higgins, Thompson &
    Spiegelhalter (2009), J. R. Statist. Soc. A 172, 137-159 (doi:10.1111/j.1467-985X.2008.00552.x).
    """
    one_of(interval, (None, "confidence", "prediction"), "interval")
    coverage = 0.5 + check_level(confidence) / 2.0
    df = check_df(df)
    if isinstance(fit, SeveralResults):
        frame = None if new_data is None else as_new_frame(new_data)
        return several.predict(fit, frame, level, interval, coverage, df)
    res = as_results(fit, structures=True)
    one_of(level, ("population", "group"), "level")
    frame = res.frame if new_data is None else as_new_frame(new_data)
    if new_data is None:
        X, Z, known = res.X, res.Z, res.offset
    else:
        if res._rows_of.recipes is None:
            check_own_rows(res._rows_of)
        X, Z, offsets = (model_columns(res._rows_of, frame, part) for part in PARTS)
        known = offsets.sum(axis=1)
    scaling = res.cross.scaling
    values = scaling.fixed(X, res.beta_scaled) + scaling.y_shift + known
    numbers = np.full(len(frame), -1)
    if level == "group":
        numbers = res.codes
        if new_data is not None:
            numbers = group_numbers(res.groups, res.group_labels, frame)
        effects = np.vstack([res.effects_scaled, np.zeros(res.cross.q)])
        values = values + scaling.random(Z, effects[numbers])
    result = pd.DataFrame({"prediction": values}, index=frame.index)
    if interval is not None:
        blocks = group_level(res)
        if level == "population" and interval == "confidence":
            variance = blocks.fixed_variance(X)
        else:
            variance = blocks.group_variance(X, Z, numbers)
        if interval == "prediction":
            check_new_observations(res, level == "group" and bool((numbers >= 0).any()))
            own = weight is None and new_data is None and res._rows_of.weights is not None
            at = res._rows_of.weights if own else weight_of(res, weight, "a prediction interval")
            ratios = new_ratios(res, frame)
            variance = variance + res.scale * ratios**2 / np.asarray(at)
        se = np.sqrt(variance)
        # of a new group z'u counts as a whole; the population's mean has none
        new = (numbers < 0) & (level == "group" or interval == "prediction")
        quantile = reach(coverage, df, len(frame), {res.groups: (new, res.ngroups)})
        result["std_error"] = se
        result["ci_low"], result["ci_high"] = values - quantile * se, values + quantile * se
    if level == "group":
        result["known_group"] = numbers >= 0
    return result

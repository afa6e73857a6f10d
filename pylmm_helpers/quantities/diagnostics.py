"""Residuals at each level, influence of single groups, and checks that say what to do next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import one_of, shown_whole
from pylmm_helpers.engine import any_results, as_results, standardised
from pylmm_helpers.engine.several import SeveralResults

from .checks import Check, convergence_check, singularity_check
from .group_level import group_by_group, group_level
from .leave_out import leave_one_group_out
from .several import checks as several_checks
from .several import residuals as several
from .several.leave_out import leave_one_level_out
from .structure import residual_sd, structure_check

__all__ = ["Check", "check_convergence", "check_singular", "influence", "residuals"]


@shown_whole
def residuals(fit: Any, level: str = "observation", kind: str | None = None) -> pd.DataFrame:
    r"""Residuals of one level of the hierarchy, raw and standardised.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.
    level : {"observation", "group"}
        Rows of the data, or groups; with several grouping factors the name of one, such as
        ``"herd:cow"``. Look at the highest level first: a problem there shows up below it too.
        `plots.qq(fit, group=...)` and `plots.residual_fitted(fit, group=...)` draw them.
    kind : {None, "normalized"}
        With "normalized", for rows: conditional residuals over sigma, with the correlation and the
        unequal variances of the fit taken out (nlme's ``type = "normalized"``). If the model holds
        they are about uncorrelated and of variance 1, whatever `correlation` and `variances` it
        has; look at them where there is a structure.

    Returns
    -------
    DataFrame
        For observations, indexed as the data, in the units of the response: `group`;
        `fitted_marginal` (X beta) and `marginal` (response less that); `fitted` (X beta + Z u) and
        `conditional` (response less that); and `marginal_std`, `conditional_std`, each divided by
        its own standard deviation, so that all have variance 1 if the model holds.

        For groups, indexed by label (and term, if there are several): `n`, `residual` (the BLUP),
        `sd` (its own standard deviation over repeated samples, not that of its error) and
        `standardised`. BLUPs of small groups are shrunken more, hence spread less; only the
        standardised ones can be compared or put in one QQ plot.

        For "normalized" a single column, `normalized`, indexed as the data.

    Notes
    -----
    With x, z divided by the root of the prior variance of the row,

    .. math::

        \operatorname{var}(y - X\hat\beta) = \sigma^2 + z'Gz - x'\Phi x, \quad
        \operatorname{var}(y - X\hat\beta - Z\hat u) = \sigma^2 - z'C_gz - (x - B_g'z)'\Phi(x -
        B_g'z), \quad \operatorname{var}(\hat u_g) = G - C_g - B_g\Phi B_g',

    with C and B as in `predict`. Dividing by sigma alone would leave out that the fit follows each
    row a little.

    Raises
    ------
    ValueError
        For an unknown level.

    References
    ----------
    Nobre & Singer (2007), Biometrical Journal 49, 863-875 (doi:10.1002/bimj.200610341). Haslett &
    Haslett (2007), International Statistical Review 75, 1-24
    (doi:10.1111/j.1751-5823.2006.00001.x).
    """
    one_of(kind, (None, "normalized"), "kind")
    if kind is not None:
        return normalized(any_results(fit, structures=True), level)
    if isinstance(fit, SeveralResults):
        return several.residuals(fit, level)
    res = as_results(fit, structures=True)
    one_of(level, ("observation", "group"), "level")
    if level == "group":
        return _group_residuals(res)
    blocks = group_level(res)
    # the residual SD of a row is sigma over this root
    root = 1.0 / residual_sd(res)
    sigma2 = res.scale
    prior, fixed_part = blocks.prior_variance(res.Z), blocks.fixed_variance(res.X)
    var_marginal = sigma2 + root**2 * (prior - fixed_part)
    var_conditional = sigma2 - root**2 * blocks.group_variance(res.X, res.Z, res.codes)
    scaling = res.cross.scaling
    fixed = scaling.fixed(res.X, res.beta_scaled)
    marginal = res._rows_of.target - scaling.y_shift - fixed
    conditional = res.resid.to_numpy()
    return pd.DataFrame(
        {
            "group": np.asarray(res.group_labels)[res.codes],
            "fitted_marginal": fixed + scaling.y_shift + res.offset,
            "marginal": marginal,
            "fitted": res.fittedvalues.to_numpy(),
            "conditional": conditional,
            "marginal_std": _over_sd(marginal * root, var_marginal, sigma2),
            "conditional_std": _over_sd(conditional * root, var_conditional, sigma2),
        },
        index=res.frame.index,
    )


def normalized(res: Any, level: str) -> pd.DataFrame:
    """Residuals of rows with the fit's correlation and variances taken out."""
    if level != "observation":
        raise ValueError("kind='normalized' is for rows: leave level= out.")
    values = standardised(res, res.resid.to_numpy(), res._rows_of.weights)
    return pd.DataFrame({"normalized": values}, index=res.frame.index)


def _over_sd(values: Any, variance: Any, unit: float) -> Any:
    """Values over their standard deviation; 0 where the fit leaves a value no freedom at all."""
    free = variance > 1e-10 * unit
    return np.where(free, values / np.sqrt(np.where(free, variance, 1.0)), 0.0)


def _group_residuals(res: Any) -> pd.DataFrame:
    if not res.identified:
        raise ValueError(
            f"{res.identification.finding} So the groups have no BLUPs of their own terms; see "
            "check_singular(fit)."
        )
    effects, prior = res.random_effects, res.covariance
    spread = np.diagonal(prior - group_level(res).prediction_covariance(), axis1=1, axis2=2)
    frames = []
    for j in range(effects.shape[1]):
        values = effects.iloc[:, j].to_numpy()
        frames.append(
            pd.DataFrame(
                {
                    "n": res.cross.sizes,
                    "residual": values,
                    "sd": np.sqrt(np.maximum(spread[:, j], 0.0)),
                    "standardised": _over_sd(values, spread[:, j], max(prior[j, j], 1e-300)),
                },
                index=pd.Index(effects.index, name=res.groups),
            )
        )
    if len(frames) == 1:
        return frames[0]
    return group_by_group(frames, [str(c) for c in effects.columns])


@shown_whole
def influence(fit: Any, group: str | None = None) -> pd.DataFrame:
    r"""What changes when each group in turn is left out and the model fitted anew.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        A fitted linear mixed model, with its rows.
    group : str, optional
        The factor whose levels are left out, such as ``"herd"``; needed when the model has several.
        Leaving a herd out leaves its cows out too; levels of a crossed factor stay, with the rows
        that they have in other groups.

    Returns
    -------
    DataFrame
        Indexed by group. `n`; `cooks_distance`, :math:`(b - b_{(g)})'\Phi^{-1}(b - b_{(g)})/p`;
        `covratio`, :math:`|\Phi_{(g)}| / |\Phi|` (below 1: without the group the fixed effects are
        estimated more precisely); `change_theta`, the length of the change of theta relative to its
        own, for columns scaled to unit spread; then, as they come out without the group,
        `var[term]` and `cov[a, b]` of the random effects (``var[term | herd]`` and so on, if there
        are several factors), `residual_variance`, and `beta[term]`.
        Where a coefficient rests on one group alone, that group's distance and covratio are
        infinite and `note` says so. With several random terms a row is NaN, and `note` says why,
        where these can't be told apart without the group.

    Notes
    -----
    Each refit is exact. Rows are read once, to form each group's cross products; leaving a group
    out then means leaving out its products. With one or two random terms, the refits near the full
    fit are done together; with several random terms they are done one after the other, each from
    the full fit's theta. What is not identified (see `LMMResults.unidentified`) is NaN. Cook's
    distance divides by p, as Christensen, Pearson & Johnson (1992) do; lme4's ``cooks.distance`` of
    grouped deletions divides by p n / (n - p), where n counts the groups.

    Raises
    ------
    ValueError
        If `group` is no grouping factor of the model, or missing when there are several; if too few
        levels would be left.

    References
    ----------
    Christensen, Pearson & Johnson (1992), Technometrics 34, 38-45 (doi:10.2307/1269550). Demidenko
    & Stukel (2005), Statistics in Medicine 24, 893-909 (doi:10.1002/sim.1974).
    """
    res = any_results(fit)
    if isinstance(res, SeveralResults):
        return leave_one_level_out(res, group)
    if group not in (None, res.groups):
        raise ValueError(f"group is {group!r}; the only grouping factor is {res.groups!r}")
    return leave_one_group_out(res)


def check_singular(fit: Any) -> Check:
    """Tell whether a random-effects variance is zero, or a correlation one.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.

    Returns
    -------
    Check
        True in a condition if all is well; `finding`, `next_steps`, and `details`: the principal
        directions of the random effects with the share of variance that each carries.

    References
    ----------
    Bates, Kliegl, Vasishth & Baayen (2015), Parsimonious mixed models (arXiv:1506.04967).
    """
    if isinstance(fit, SeveralResults):
        return several_checks.singularity_check(fit)
    return singularity_check(as_results(fit, structures=True))


def check_convergence(fit: Any) -> Check:
    """Tell whether the fit is at the minimum of its criterion.

    The gradient and the curvature at the estimates are worked out, and the minimum is sought anew
    from several starting points. Estimates of statsmodels are judged by the same criterion.

    Parameters
    ----------
    fit : MixedLMResults or LMMResults
        A fitted linear mixed model.

    Returns
    -------
    Check
        True in a condition if all is well; `finding`, `next_steps`, and `details` (criterion at the
        estimates and at the best point found, the largest scaled gradient, the smallest eigenvalue
        of the scaled curvature).
    """
    if isinstance(fit, SeveralResults):
        return structure_check(fit, several_checks.convergence_check(fit))
    res = as_results(fit, structures=True)
    return structure_check(res, convergence_check(res))

"""Tests and intervals for a fitted mixed model: coefficients, contrasts, model comparison.

statsmodels offers Wald z-tests only. Here every test of fixed effects has degrees of freedom by
Satterthwaite (as lmerTest) or Kenward-Roger (as pbkrtest), and tests of variances know that zero is
on the boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array, a_level, shown_whole
from pylmm_helpers.engine import LMMResults, any_results

from . import ddf as one_factor_ddf
from .contrasts import independent_rows, read_contrast
from .ddf import in_basis, kenward_roger_f
from .robust import robust_joint, robust_single
from .several import ddf as several_ddf
from .structure_ddf import with_structure
from .student import f_table, t_table
from .working import kind_of, working

#: Degrees of freedom up to this are 0 but for rounding.
NO_DF = 1e-6
METHODS = ("kenward-roger", "satterthwaite", "wald", "cr2")


@shown_whole
def coef_table(
    fit: Any, df: str = "kenward-roger", level: float = 0.95, cluster: Any = None
) -> pd.DataFrame:
    """Fixed effects with standard errors, degrees of freedom, tests and confidence intervals.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or statsmodels MixedLMResults
        A fitted linear mixed model. With ``df="cr2"`` also an OLS fit of statsmodels, or a GEE fit
        with a Gaussian response and independent or exchangeable rows.
    df : {"kenward-roger", "satterthwaite", "wald", "cr2"}
        Kenward-Roger (REML fits only) also enlarges the standard errors; "wald" is the normal
        approximation (df infinite) that statsmodels prints, with lme4's standard errors; "cr2"
        gives cluster-robust standard errors, right in large samples whatever the variances and
        correlations within clusters are, corrected for few clusters, with Satterthwaite's df for
        them.
    level : float
        Confidence level.
    cluster : str or sequence (n,), optional
        For "cr2" only: the column of the clusters, or a label for each row. By default the grouping
        factor of a mixed model (the one that contains all others) and the groups of a GEE fit; an
        OLS fit needs it.

    Returns
    -------
    DataFrame (p rows)
        Columns estimate, std_error, df, statistic (t, or z for "wald"), p_value, ci_low, ci_high;
        indexed by term; in the units of the response per unit of the predictor.
        ``attrs["df_method"]`` names the method; for "cr2" ``attrs["clusters"]`` counts the
        clusters, and ``attrs["note"]`` says where they are too few.

    Raises
    ------
    ValueError
        Unknown method or level; Kenward-Roger for a maximum-likelihood fit; a term for which the
        method gives no degrees of freedom, as can happen with a handful of rows. For "cr2": fits
        with weights, one cluster only, clusters that share levels of a random effect (crossed
        factors), a term that a single cluster determines.

    Notes
    -----
    Two cases in which R gives other values, and why these stand:

    - Weighted fits: pbkrtest 0.5.2 leaves prior weights out of V. Given the same model without
      weights, all columns multiplied by the root of the weight, it gives the values found here.
    - Satterthwaite where x lies far from zero or the likelihood is flat along some direction:
      lmerTest's numerical second derivatives lose their digits, mostly on singular fits (12% of the
      df in the worst of 412 random data sets); those here are analytic, and equal to derivatives
      taken with 50 digits.

    References
    ----------
    Kenward & Roger (1997) Biometrics 53, 983-997; Kuznetsova et al. (2017),
    doi:10.18637/jss.v082.i13. CR2: Bell & McCaffrey (2002) Survey Methodology 28(2), 169-181;
    Pustejovsky & Tipton (2018), doi:10.1080/07350015.2016.1247004; R's clubSandwich gives the same.
    """
    res = read_fit(fit, df, cluster)
    table = single_contrasts(res, np.eye(res.cross.p), np.zeros(res.cross.p), df, level)
    table.index = pd.Index(res.cross.x_names, name="term")
    table.attrs["df_method"] = df
    return table


@shown_whole
def contrast(
    fit: Any,
    L: Any,
    rhs: float | Sequence[float] = 0.0,
    df: str = "kenward-roger",
    level: float = 0.95,
    cluster: Any = None,
) -> pd.DataFrame:
    """Test linear combinations of the fixed effects: one with a t-test, several jointly with an
    F-test.

    Parameters
    ----------
    fit : LMMResults, SeveralResults or statsmodels MixedLMResults
        A fitted linear mixed model. With ``df="cr2"`` also OLS and GEE fits of statsmodels, as in
        `coef_table`.
    L : str, mapping, array or list of these
        Text as in ``"x - z"``, ``"x = 1"`` or ``"x = 0, z = 0"``; ``{"x": 1, "z": -1}``; a row of p
        coefficients; or a (k, p) array. A list of texts or mappings gives one row each, tested
        together.
    rhs : float or sequence
        Hypothesised value of each row (0).
    df : {"kenward-roger", "satterthwaite", "wald", "cr2"}
        As in `coef_table`.
    level : float
        Confidence level (one row only).
    cluster : str or sequence (n,), optional
        For "cr2", as in `coef_table`.

    Returns
    -------
    DataFrame (one row)
        For a single combination the columns of `coef_table`. For several, statistic (F), df_num,
        df_den, p_value and f_scale, the factor by which Kenward and Roger, and the approximate
        Hotelling test of "cr2", scale F (1 for the other methods).

    Raises
    ------
    ValueError
        Unknown terms, a shape that doesn't fit, a combination without any coefficient, rows that
        contradict each other, an unknown method, or a test for which the method gives no
        denominator degrees of freedom, as Kenward and Roger's may with a handful of rows.

    Notes
    -----
    lmerTest leaves out of a joint Satterthwaite test every combination whose variance is below
    1.5e-8 of the largest, so that its numerator df depend on the units of the predictors. Here the
    df are the number of independent rows, whatever the units, as in pbkrtest. The denominator df of
    Satterthwaite depend on the units a little, in both: they come from the principal axes of the
    covariance of ``L beta``.

    References
    ----------
    Halekoh & Højsgaard (2014), doi:10.18637/jss.v059.i09, for Kenward-Roger; Kuznetsova
    et al. (2017), doi:10.18637/jss.v082.i13, for Satterthwaite with several rows; Pustejovsky &
    Tipton (2018), doi:10.1080/07350015.2016.1247004, for CR2 (AHT; clubSandwich's "HTZ").
    """
    res = read_fit(fit, df, cluster)
    rows, values, labels = read_contrast(L, rhs, res)
    if len(rows) == 1:
        table = single_contrasts(res, rows, values, df, level)
        table.index = pd.Index(labels, name="contrast")
    else:
        table = joint_contrast(res, rows, values, df)
        table.index = pd.Index([", ".join(labels)], name="contrast")
    table.attrs["df_method"] = df
    return table


def read_fit(fit: Any, df: str, cluster: Any) -> Any:
    """A fit as the methods take it: for "cr2" its rows, clusters and working covariance."""
    check_method(df, 0.95)
    if df == "cr2":
        return working(fit, cluster)
    if cluster is not None:
        raise ValueError(
            f"cluster= is for df='cr2'; df={df!r} takes the model's own covariance. Leave cluster "
            "out, or ask for df='cr2'."
        )
    if kind_of(fit):
        raise ValueError(
            f"for an {kind_of(fit)} fit there are cluster-robust errors only: ask for df='cr2'"
            f"{' and name the clusters (cluster=)' if kind_of(fit) == 'OLS' else ''}."
        )
    return any_results(fit, structures=True)


def single_contrasts(res: Any, L: Array, rhs: Array, df: str, level: float) -> pd.DataFrame:
    """t-tests of each row of L (k, p)."""
    check_method(df, level)
    if df == "cr2":
        return robust_single(res, L, rhs, level)
    check_kenward_roger(res, df)
    C = in_basis(res, L)
    sigma2 = res.scale
    variance = sigma2 * np.sum(C**2, axis=1)
    if df == "wald":
        degrees = np.full(len(L), np.inf)
    else:
        methods = methods_for(res)
        info = methods.variance_information(res)
        if df == "satterthwaite":
            degrees = with_structure(res, L, methods.satterthwaite(res, L, info))
        else:
            pieces = methods.kenward_roger(res, info)
            variance = sigma2 * np.einsum("ka,ab,kb->k", C, pieces.adjusted, C)
            degrees = np.array([kenward_roger_f(pieces, row[None])[0] for row in C])
    check_defined(res, L, df, (degrees > NO_DF) & (variance > 0.0))
    estimate = L @ res.fe_params.to_numpy()
    return t_table(estimate, rhs, np.sqrt(variance), degrees, level)


def joint_contrast(res: Any, L: Array, rhs: Array, df: str) -> pd.DataFrame:
    """F-test that ``L beta = rhs`` for all rows at once; rows that repeat others are left out."""
    check_method(df, 0.95)
    if df == "cr2":
        return robust_joint(res, L, rhs)
    check_kenward_roger(res, df)
    L, rhs = independent_rows(L, rhs, in_basis(res, L))
    k, C = len(L), in_basis(res, L)
    distance = L @ res.fe_params.to_numpy() - rhs
    covariance = res.scale * C @ C.T
    scale, denominator = 1.0, np.inf
    if df == "kenward-roger":
        pieces = methods_for(res).kenward_roger(res)
        covariance = res.scale * C @ pieces.adjusted @ C.T
        denominator, scale = kenward_roger_f(pieces, C)
    elif df == "satterthwaite":
        # uncorrelated combinations, largest variance first, each with its own degrees of freedom
        _, vectors = np.linalg.eigh(covariance)
        turned = vectors.T @ L
        each = with_structure(res, turned, methods_for(res).satterthwaite(res, turned))
        denominator = pooled_df(each)
    size2 = np.diag(covariance)
    sound = denominator > NO_DF and np.isfinite(scale) and scale > 0.0
    check_defined(res, L, df, (size2 > 0.0) & sound)
    size = np.sqrt(size2)
    standard = distance / size
    f = scale * float(standard @ np.linalg.solve(covariance / np.outer(size, size), standard)) / k
    return f_table(f, k, denominator, scale)


def methods_for(res: Any) -> Any:
    """The module whose functions give degrees of freedom for a fit with one random term or
    several."""
    return one_factor_ddf if isinstance(res, LMMResults) else several_ddf


def pooled_df(each: Array) -> float:
    """Denominator df of F from those of its uncorrelated parts (Fai & Cornelius 1996), as in
    lmerTest."""
    if len(each) == 1 or np.all(np.isinf(each)) or np.all(np.ptp(each) < 1e-8):
        return float(each.mean())
    if np.any(each <= 2.0):
        return 2.0
    expected = float(np.sum(1.0 / (1.0 - 2.0 / each)))
    return 2.0 * expected / (expected - len(each))


def check_defined(res: LMMResults, L: Array, df: str, sound: NDArray[np.bool_]) -> None:
    """Refuse tests whose variance or degrees of freedom don't exist; NaN counts as none."""
    if np.all(sound):
        return
    names = list(res.cross.x_names)
    involved = [n for n, used in zip(names, np.any(L[~sound] != 0.0, axis=0), strict=True) if used]
    several = " joint" if len(L) > 1 and not sound.any() else ""
    other = "satterthwaite" if df == "kenward-roger" else "wald"
    method = {"kenward-roger": "Kenward and Roger's"}.get(df, "Satterthwaite's")
    raise ValueError(
        f"{method} approximation gives no variance or no degrees of freedom for the{several} test "
        f"of {', '.join(involved)}: {res.nobs} rows in {res.ngroups} groups hold too little about "
        f"the variances. Ask for df='{other}', or fit fewer terms."
    )


def check_method(df: str, level: float) -> None:
    """Refuse unknown methods and levels."""
    if df not in METHODS:
        raise ValueError(f"df must be one of {', '.join(map(repr, METHODS))}, not {df!r}.")
    a_level(level)


def check_kenward_roger(res: Any, df: str) -> None:
    """Refuse Kenward-Roger where the covariance of y is not linear in its parameters."""
    if df == "kenward-roger" and res.structure is not None:
        raise ValueError(
            f"Kenward-Roger is not defined for {res.structure.request.words}: its correction "
            "is derived for covariances that are linear in their parameters, and phi or a ratio of "
            "SD is not. Ask for df='satterthwaite', which takes these parameters into account."
        )

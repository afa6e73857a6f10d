"""How far each kind of quantity may be from lme4's, and why not less."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pylmm_helpers.common import shown_whole


@dataclass(frozen=True)
class Tolerance:
    """How far a quantity may be from lme4's, and why.

    Attributes
    ----------
    unit : str
        What the difference is divided by.
    engine, statsmodels : float
        Largest accepted difference of this package's estimator, and of statsmodels.
    reason : str
        Why not less.
    """

    unit: str
    engine: float
    statsmodels: float
    reason: str


_FLAT = (
    "the criterion is flat at its optimum, most of all with a slope whose x is not centred: lme4's "
    "optimiser leaves up to 7e-5 there, 2e-6 elsewhere"
)
_SM = "statsmodels stops earlier, at a gradient of 1e-5"
_AT_ZERO = "the SD taken as a tenth of the residual SD at least, so that zero keeps a scale"
TOLERANCES: dict[str, Tolerance] = {
    "fixed effect": Tolerance(
        "lme4's standard error", 1e-4, 2e-3, f"it follows the variances, weakly; {_SM}"
    ),
    "standard error": Tolerance(
        "lme4's value", 1e-4, 2e-3, f"it has half the relative error of the variances; {_SM}"
    ),
    "variance": Tolerance(f"lme4's value, {_AT_ZERO}", 2e-4, 1e-2, f"{_FLAT}; {_SM}"),
    "covariance": Tolerance(
        f"the product of both SDs, {_AT_ZERO}", 2e-4, 1e-2, f"as for the variances: {_FLAT}; {_SM}"
    ),
    "residual variance": Tolerance(
        "lme4's value", 1e-5, 1e-3, f"every row estimates it, so the optimum is sharper; {_SM}"
    ),
    "ICC": Tolerance("1", 1e-5, 1e-3, f"a ratio of two variances, with no slope; {_SM}"),
    "theta": Tolerance(
        f"SD of the term over the residual SD, {_AT_ZERO}",
        1e-3,
        5e-2,
        "it is a root: where a variance, or one less the squared correlation, is zero, an error of "
        "1e-6 in it is one of 1e-3 "
        "here; the variances beside it are held to less",
    ),
    "criterion": Tolerance(
        "1",
        1e-6,
        1e-4,
        "an optimiser settles it first, so only rounding is left: 4e-11 seen with 1,800 rows, 3e-8 "
        f"with a million; {_SM}",
    ),
    "conditional mode": Tolerance(
        f"SD of the term, {_AT_ZERO}", 2e-4, 1e-2, f"it follows the variances; {_SM}"
    ),
    "conditional SD": Tolerance(
        f"SD of the term, {_AT_ZERO}", 2e-4, 1e-2, f"it follows the variances; {_SM}"
    ),
    "degrees of freedom": Tolerance(
        "lme4's value",
        1e-3,
        1e-2,
        "lmerTest differentiates numerically, and pbkrtest's follow the variances",
    ),
}


@shown_whole
def tolerance_table() -> pd.DataFrame:
    """Tolerances of the comparisons with lme4, each with its reason.

    Returns
    -------
    DataFrame
        One row for each kind of quantity: the tolerance, what a difference is divided by, and why
        it may be so large.
    """
    return pd.DataFrame({kind: vars(t) for kind, t in TOLERANCES.items()}).T.rename_axis("quantity")

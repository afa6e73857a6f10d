"""How far each kind of quantity may be from lme4's, and why not less."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


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
    "the criterion is flat at its optimum: an error of 1e-10 there moves a variance by about 1e-6; "
    "largest seen with the tight lme4 control 2e-6"
)
_STATSMODELS = "statsmodels stops earlier, at a gradient of 1e-5"
_AT_ZERO = "a tenth of the residual SD at least, so that a variance near zero keeps a scale"
TOLERANCES: dict[str, Tolerance] = {
    "fixed effect": Tolerance("lme4's standard error", 1e-5, 2e-3,
        f"it follows the variances, to which it is insensitive; {_STATSMODELS}"),
    "standard error": Tolerance("lme4's value", 1e-5, 2e-3,
        f"half the relative error of the variances; {_STATSMODELS}"),
    "variance": Tolerance(f"lme4's value ({_AT_ZERO})", 2e-5, 1e-2, f"{_FLAT}; {_STATSMODELS}"),
    "covariance": Tolerance(f"the product of both SDs ({_AT_ZERO})", 2e-5, 1e-2,
        f"as for the variances; {_STATSMODELS}"),
    "residual variance": Tolerance("lme4's value", 5e-6, 1e-3,
        f"many rows estimate it, so it is steeper than the others; {_STATSMODELS}"),
    "ICC": Tolerance("1", 5e-6, 1e-3, f"a ratio of the variances; {_STATSMODELS}"),
    "theta": Tolerance(f"SD of the term over the residual SD ({_AT_ZERO})", 2e-5, 5e-2,
        "lme4's optimiser works in it; at a boundary the root magnifies what statsmodels leaves of "
        "a variance that should be zero"),
    "criterion": Tolerance("1", 1e-6, 1e-4,
        "an optimiser settles it first: rounding is left, 4e-11 seen with 1,800 rows, 3e-8 with "
        f"a million; {_STATSMODELS}"),
    "conditional mode": Tolerance(f"SD of the term ({_AT_ZERO})", 2e-5, 1e-2,
        f"it follows the variances; {_STATSMODELS}"),
}  # fmt: skip


def tolerance_table() -> pd.DataFrame:
    """`TOLERANCES` as a DataFrame: one row per kind of quantity, with unit and reason."""
    return pd.DataFrame({kind: vars(t) for kind, t in TOLERANCES.items()}).T.rename_axis("quantity")

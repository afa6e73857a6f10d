"""Student's t and Fisher's F with degrees of freedom that may be infinite, and tables of tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import fdtrc, gammaincc, ndtr, ndtri, stdtr, stdtrit

from pylmm_helpers.common import Array


def t_table(
    estimate: Array, rhs: Array, error: Array, degrees: Array, level: float
) -> pd.DataFrame:
    """t-tests that estimates (k,) are `rhs`, with confidence limits."""
    statistic = (estimate - rhs) / error
    half = t_quantile(0.5 + level / 2.0, degrees) * error
    return pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": error,
            "df": degrees,
            "statistic": statistic,
            "p_value": 2.0 * t_below(-np.abs(statistic), degrees),
            "ci_low": estimate - half,
            "ci_high": estimate + half,
        }
    )


def f_table(f: float, k: int, denominator: float, scale: float) -> pd.DataFrame:
    """An F-test of k rows."""
    p_value = gammaincc(k / 2.0, k * f / 2.0) if np.isinf(denominator) else fdtrc(k, denominator, f)
    return pd.DataFrame(
        {
            "statistic": [f],
            "df_num": [k],
            "df_den": [denominator],
            "p_value": [p_value],
            "f_scale": [scale],
        }
    )


def t_below(t: Array, df: Array) -> Array:
    """Lower tail of Student's t; df may be infinite."""
    return np.where(np.isinf(df), ndtr(t), stdtr(np.where(np.isinf(df), 1.0, df), t))


def t_quantile(p: float, df: Array) -> Array:
    """Quantile of Student's t; df may be infinite."""
    return np.where(np.isinf(df), ndtri(p), stdtrit(np.where(np.isinf(df), 1.0, df), p))

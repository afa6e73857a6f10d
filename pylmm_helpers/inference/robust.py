"""Tests with cluster-robust errors: one row with t, several together with the approximate Hotelling
test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array

from .contrasts import independent_rows
from .cr2 import cr2, hotelling, satterthwaite_cr2
from .student import f_table, t_table
from .working import Working, working

#: Below this many degrees of freedom the t approximation is poor in the tails (Pustejovsky & Tipton
#: 2018, section 4).
FEW_DF = 4.0


def robust_single(fit: Any, L: Array, rhs: Array, level: float) -> pd.DataFrame:
    """t-tests of each row of L (k, p) with CR2 errors and Satterthwaite's df."""
    model = fit if isinstance(fit, Working) else working(fit)
    parts = cr2(model)
    variance, degrees = satterthwaite_cr2(parts, parts.basis(L))
    if not np.all((degrees > 0.0) & (variance > 0.0)):
        raise nothing_said(model, L[~((degrees > 0.0) & (variance > 0.0))])
    table = t_table(L @ model.beta, rhs, np.sqrt(variance), degrees, level)
    table.attrs["clusters"] = model.number
    note = too_few(model, degrees)
    if note:
        table.attrs["note"] = note
    return table


def robust_joint(fit: Any, L: Array, rhs: Array) -> pd.DataFrame:
    """Approximate Hotelling test (AHT) of all rows at once: with eta degrees of freedom,
    ``(eta - k + 1) / (eta k)`` times the Wald statistic is F on k and eta - k + 1."""
    model = fit if isinstance(fit, Working) else working(fit)
    parts = cr2(model)
    L, rhs = independent_rows(L, rhs, parts.basis(L))
    C, k = parts.basis(L), len(L)
    eta = hotelling(parts, C)
    if eta <= 0.0:
        raise nothing_said(model, L)
    denominator = eta - k + 1.0
    if denominator <= 0.0:
        raise ValueError(
            f"the joint test of {k} rows with {model.number} clusters of {model.name!r} has no "
            f"degrees of freedom ({denominator:.2g}); test fewer rows together, or each alone."
        )
    covariance, distance = parts.covariance(C), L @ model.beta - rhs
    size = np.sqrt(np.diag(covariance))
    standard = distance / size
    wald = float(standard @ np.linalg.solve(covariance / np.outer(size, size), standard))
    scale = denominator / eta
    table = f_table(scale * wald / k, k, denominator, scale)
    table.attrs["clusters"] = model.number
    note = too_few(model, np.array([denominator]))
    if note:
        table.attrs["note"] = note
    return table


def nothing_said(model: Working, L: Array) -> ValueError:
    """The refusal of rows (k, p) that don't vary between clusters once X is taken out."""
    used = np.any(L != 0.0, axis=0)
    names = [name for name, one in zip(model.names, used, strict=True) if one]
    return ValueError(
        f"single clusters of {model.name!r} determine {', '.join(names)}, so that robust errors "
        "can't be had for it; test the other terms by contrast(), or take another df."
    )


def too_few(model: Working, degrees: Array) -> str:
    """What to say where the clusters are too few; empty where they suffice."""
    words = []
    if model.number < len(model.names):
        words.append(
            f"{model.number} clusters of {model.name!r} are fewer than the {len(model.names)} "
            "coefficients"
        )
    least = float(degrees.min())
    if least < FEW_DF:
        words.append(
            f"with {model.number} clusters the df fall to {least:.1f}, where intervals and "
            "p-values say little"
        )
    return "; ".join(words)

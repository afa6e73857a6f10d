"""Correlation and unequal variances of the residuals: what was asked for, and what the rows say
about it.

Within a group of the finest grouping factor the residuals of two rows at times s and t have the
correlation ``phi ** |s - t|`` (Pinheiro & Bates 2000, ch. 5.3.1): for "ar1" times are whole numbers
and phi may be negative, for "car1" times are any numbers and phi is positive. With `variances` the
residual SD of a row is sigma times the ratio of its level, the first level's being one (varIdent,
ch. 5.2.1).

Reference
---------
Pinheiro JC, Bates DM (2000). Mixed-effects models in S and S-PLUS. Springer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from .columns import check_scalars, group_codes

#: More levels than this are no classes of rows.
MOST_LEVELS = 50


@dataclass(frozen=True)
class StructureRequest:
    """What `correlation=` and `variances=` ask for: a kind ("ar1" or "car1") with its time column,
    a column of variance levels, or both."""

    kind: str | None
    time: str | None
    variances: str | None

    @property
    def columns(self) -> list[str]:
        """The columns it reads."""
        return [name for name in (self.time, self.variances) if name is not None]

    @property
    def words(self) -> str:
        """The arguments as they are written in a call."""
        parts = [] if self.kind is None else [f'correlation="{self.kind}({self.time})"']
        parts += [] if self.variances is None else [f'variances="{self.variances}"']
        return ", ".join(parts)


@dataclass(frozen=True)
class Structure:
    """Correlation and variances of the residuals, for the rows of a fit.

    Attributes
    ----------
    request : StructureRequest
    group_name : str
        The factor within whose levels the rows are correlated.
    order : ndarray (n,)
        Positions of the rows, sorted by group and within it by time.
    gaps : ndarray (n,) or None
        In that order: time since the row before; infinite for the first row of a group.
    level_codes : ndarray (n,) or None
        Variance level of each row, in the order of the data.
    levels : Index or None
        Labels of the variance levels; the first is the one whose ratio is one.
    unit : str
        Unit of time, where the column held dates: "days".
    phi : float or None
        Correlation of rows one unit of time apart; None before the fit or without correlation.
    ratios : ndarray or None
        Residual SD of each level over that of the first; None before the fit or without variances.
    """

    request: StructureRequest
    group_name: str
    order: NDArray[np.intp]
    gaps: Array | None
    level_codes: NDArray[np.intp] | None
    levels: pd.Index | None
    unit: str = ""
    phi: float | None = None
    ratios: Array | None = None

    @property
    def n_params(self) -> int:
        """Parameters of the structure: phi, and a ratio for every level but the first."""
        return (self.gaps is not None) + (0 if self.levels is None else len(self.levels) - 1)

    @cached_property
    def even_steps(self) -> bool:
        """Whether all steps are even numbers, so that the sign of phi leaves no trace."""
        if self.gaps is None:
            return False
        return bool(np.all(self.gaps[np.isfinite(self.gaps)] % 2.0 == 0.0))

    @property
    def positive(self) -> bool:
        """Whether phi is positive by definition, or can't be told from its opposite."""
        return self.request.kind == "car1" or self.even_steps

    def at(self, phi: float | None, ratios: Array | None) -> Structure:
        """The structure with values of its parameters; what its rows say is not worked out
        again."""
        found = replace(self, phi=phi, ratios=ratios)
        known = ("even_steps", "sorted_codes", "level_sizes")
        vars(found).update({name: vars(self)[name] for name in known if name in vars(self)})
        return found

    @cached_property
    def sorted_codes(self) -> NDArray[np.intp] | None:
        """Variance level of each row (n,), in the order of `order`."""
        return None if self.level_codes is None else self.level_codes[self.order]

    @cached_property
    def level_sizes(self) -> NDArray[np.intp] | None:
        """Rows of each variance level."""
        return None if self.level_codes is None else np.bincount(self.level_codes)

    def part(self, keep: NDArray[np.bool_]) -> Structure:
        """The structure of some whole groups, `keep` (n,) in the order of `order`; its rows are
        numbered in that order."""
        levels = None if self.level_codes is None else self.level_codes[self.order[keep]]
        gaps = None if self.gaps is None else self.gaps[keep]
        n = int(keep.sum())
        return replace(self, order=np.arange(n), gaps=gaps, level_codes=levels)

    def of_rows(self, keep: NDArray[np.bool_]) -> Structure:
        """The structure of some whole groups, `keep` (n,) in the order of the data, in which its
        rows stay."""
        place = np.cumsum(keep) - 1
        kept = keep[self.order]
        gaps = None if self.gaps is None else self.gaps[kept]
        levels = None if self.level_codes is None else self.level_codes[keep]
        return replace(self, order=place[self.order[kept]], gaps=gaps, level_codes=levels)

    def reordered(self, order: NDArray[np.intp]) -> Structure:
        """The structure of the same rows in another order: row i is the former row order[i]."""
        place = np.empty(len(order), dtype=np.intp)
        place[order] = np.arange(len(order))
        levels = None if self.level_codes is None else self.level_codes[order]
        return replace(self, order=place[self.order], level_codes=levels)

    def row_ratios(self) -> Array:
        """Residual SD of each row (n,) over that of the first level, in the order of the data."""
        if self.level_codes is None or self.ratios is None:
            return np.broadcast_to(1.0, len(self.order))
        return np.asarray(self.ratios[self.level_codes])


def read_request(correlation: Any, variances: Any) -> StructureRequest | None:
    """The arguments `correlation` and `variances` of `fit_lmm`; None if neither is given."""
    if correlation is None and variances is None:
        return None
    if variances is not None and not isinstance(variances, str):
        raise ValueError(
            f"variances must be the name of one column, not {type(variances).__name__}; it holds "
            "the classes of rows whose residual SD differ."
        )
    if correlation is None:
        return StructureRequest(None, None, variances)
    remedy = (
        'write correlation="ar1(week)" for whole steps of the column week, or "car1(day)" for '
        "times of any kind"
    )
    if not isinstance(correlation, str):
        raise ValueError(f"correlation must be text, not {type(correlation).__name__}: {remedy}.")
    found = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", correlation)
    if found is None or found[1].lower() not in ("ar1", "car1"):
        raise ValueError(f"correlation={correlation!r} is not known: {remedy}.")
    time = found[2].strip()
    if len(time) > 1 and time[0] == time[-1] == "`":
        time = time[1:-1]
    if not time:
        raise ValueError(f"correlation={correlation!r} names no column of times: {remedy}.")
    return StructureRequest(found[1].lower(), time, variances)


def read_structure(
    request: StructureRequest, frame: pd.DataFrame, codes: NDArray[np.intp], group_name: str
) -> Structure:
    """What the rows say about the structure asked for, after all checks.

    Parameters
    ----------
    codes : ndarray (n,)
        Level of the finest grouping factor for each row.

    Raises
    ------
    ValueError
        Times that are no numbers or dates, not whole for "ar1", repeated within a group; groups of
        one row only; variance levels of which there is one, or which have one row.
    """
    order, gaps, unit = np.argsort(codes, kind="stable"), None, ""
    if request.kind is not None and request.time is not None:
        times, unit = read_times(frame[request.time], request.time, request.kind)
        order = np.lexsort((times, codes))
        gaps = gaps_of(request, times[order], codes[order], group_name, frame, order)
    level_codes, levels = None, None
    if request.variances is not None:
        level_codes, levels = read_levels(frame[request.variances], request.variances)
    return Structure(request, group_name, order, gaps, level_codes, levels, unit)


def read_times(column: pd.Series, name: str, kind: str) -> tuple[Array, str]:
    """Times as floats, and their unit where the column held dates or durations (days)."""
    check_scalars(column, name)
    dtype = column.dtype
    day, unit = pd.Timedelta(days=1), ""
    if pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        column, unit = (column - column.min()) / day, "days"
    elif pd.api.types.is_bool_dtype(dtype) or not pd.api.types.is_numeric_dtype(dtype):
        raise ValueError(
            f"the times in column '{name}' of correlation= are of type {dtype}, not numbers; "
            "convert text with pd.to_numeric, or dates with pd.to_datetime (they count in days)."
        )
    elif pd.api.types.is_complex_dtype(dtype):
        raise ValueError(f"the times in column '{name}' of correlation= are complex numbers.")
    times = column.to_numpy(dtype=float)
    if not np.isfinite(times).all():
        raise ValueError(f"column '{name}' of correlation= has infinite times; correct them.")
    if kind == "ar1" and not np.all(times == np.round(times)):
        raise ValueError(
            f"the times in column '{name}' aren't whole numbers, and ar1 counts whole steps; use "
            f'correlation="car1({name})", or number the steps 1, 2, 3, ...'
        )
    return times, unit


def gaps_of(
    request: StructureRequest,
    times: Array,
    codes: NDArray[np.intp],
    group_name: str,
    frame: pd.DataFrame,
    order: NDArray[np.intp],
) -> Array:
    """Time since the row before (n,) for rows sorted by group and time; infinite at a group's first
    row."""
    gaps = np.full(len(times), np.inf)
    same = np.r_[False, codes[1:] == codes[:-1]]
    if not same.any():
        raise ValueError(
            f"every group of '{group_name}' has a single row, so {request.words} has no pair of "
            "rows to estimate a correlation from; leave correlation= out, or name a coarser group."
        )
    gaps[same] = np.diff(times)[same[1:]]
    repeated = np.flatnonzero(gaps == 0.0)
    if len(repeated):
        row = frame.iloc[order[repeated[0]]]
        where = ", ".join(f"{g} = {row[g]}" for g in group_name.split(":") if g in row.index)
        raise ValueError(
            f"time {row[request.time]} of column '{request.time}' stands more than once in a group "
            f"({where}), and {len(repeated)} such repeats in all: rows of a group must have "
            "different times. Average the repeats, number them, or use a finer group."
        )
    return gaps


def read_levels(column: pd.Series, name: str) -> tuple[NDArray[np.intp], pd.Index]:
    """Variance level of each row and the labels, in the order of the categories or sorted."""
    if column.nunique() < 2:
        raise ValueError(
            f"column '{name}' of variances= has a single level, so there is no ratio of SD to "
            "estimate; leave variances= out."
        )
    codes, levels = group_codes(column, name)
    sizes = np.bincount(codes, minlength=len(levels))
    if sizes.min() < 2:
        k = int(sizes.argmin())
        raise ValueError(
            f"level {levels[k]!r} of column '{name}' (variances=) has a single row, from which no "
            "SD can be estimated; join it with another level, or drop the row."
        )
    if len(levels) > MOST_LEVELS:
        raise ValueError(
            f"column '{name}' of variances= has {len(levels)} levels (at most {MOST_LEVELS} are "
            "taken): it must hold classes of rows, each with its own residual SD; cut numbers "
            "into classes with pd.cut."
        )
    return codes, levels

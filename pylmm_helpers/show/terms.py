"""The random terms of a fit one by one, each in the shape of a fit with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pylmm_helpers.engine import SeveralResults
from pylmm_helpers.formula import Design


@dataclass(frozen=True)
class OneTerm:
    """A random term of a fit with several: what words about it are made from."""

    fit: SeveralResults
    design: Design

    @property
    def groups(self) -> str:
        """Name of the grouping factor."""
        return str(self.design.group_name)

    @property
    def cov_re(self) -> pd.DataFrame:
        """Covariance matrix of the term's effects."""
        names = list(self.design.z_names)
        return self.fit.cov_re_by_group[self.groups].loc[names, names]

    @property
    def formula(self) -> str:
        """Response and fixed effects."""
        return str(self.design.formula)

    @property
    def fe_params(self) -> pd.Series:
        """Fixed effects."""
        return self.fit.fe_params

    @property
    def frame(self) -> pd.DataFrame:
        """The rows."""
        return self.fit.frame

    @property
    def endog_name(self) -> str:
        """The response."""
        return self.fit.endog_name


def terms_of(fit: Any) -> list[Any]:
    """The random terms in the order of the formula; a fit with one stands for itself."""
    if isinstance(fit, SeveralResults):
        return [OneTerm(fit, part) for part in fit.design.with_rows]
    return [fit]


def together(terms: Sequence[OneTerm]) -> OneTerm:
    """The terms of one factor as a single one."""
    designs = [term.design for term in terms]
    joined = replace(
        designs[0],
        z_names=tuple(name for design in designs for name in design.z_names),
        z_columns=[column for design in designs for column in design.z_columns],
    )
    return OneTerm(terms[0].fit, joined)


def factor_in_words(name: str, factors: Sequence[str], label: Any) -> str:
    """A grouping factor: "cow within herd" where herd is one too, else "combination of a and b".

    `label` gives the words of a column or factor; itself where there are none.
    """
    columns = name.split(":")
    if len(columns) == 1 or label(name) != name:
        return str(label(name))
    for k in range(len(columns) - 1, 0, -1):
        upper = ":".join(columns[:k])
        if upper in factors:
            own = " × ".join(label(column) for column in columns[k:])
            return f"{own} within {factor_in_words(upper, factors, label)}"
    *first, last = (label(column) for column in columns)
    return f"combination of {', '.join(first)} and {last}"

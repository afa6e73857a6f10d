"""Several comparisons with lme4 in one line, and their tables behind it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .agreement import PAIRS, Agreement, small_number

FOLD = "The comparisons, quantity by quantity"


@dataclass(frozen=True)
class AgreementSummary:
    """What several comparisons found; shows as one line, with the tables in a fold of the page.

    Attributes
    ----------
    agreements : tuple of Agreement
        The comparisons, in the order given.
    """

    agreements: tuple[Agreement, ...]

    @property
    def line(self) -> str:
        """How many models agree, and the largest difference in the units of `TOLERANCES`."""
        records = [a.record for a in self.agreements]
        excused = sum(r["verdict"] == "statsmodels differs" for r in records)
        whole = len(records) - excused
        words = [f"{whole} {'model agrees' if whole == 1 else 'models agree'} with lme4"]
        if excused:
            words.append(f"in {excused} more the engine does and statsmodels does not")
        largest = [
            f"{small_number(max(found))} ({name})"
            for name, column in (("engine", "engine"), ("statsmodels", "statsmodels"))
            if (found := _differences(records, f"max_diff_{column}", column == "statsmodels"))
        ]
        words.append(f"largest difference {', '.join(largest)}")
        return "; ".join(words) + "."

    def _titles(self) -> list[str]:
        return [
            f"`{r['formula']}` by {'REML' if r['reml'] else 'ML'}, {r['n']:,} rows"
            for r in (a.record for a in self.agreements)
        ]

    def _repr_markdown_(self) -> str:
        blocks = [self.line, f'::: {{.proof summary="{FOLD}"}}', PAIRS]
        for title, agreement in zip(self._titles(), self.agreements, strict=True):
            blocks += [f"**{title}**", agreement.as_markdown(standing=False)]
        return "\n\n".join([*blocks, ":::"]) + "\n"

    def __repr__(self) -> str:
        lines = [textwrap.fill(self.line, 79)]
        for title, agreement in zip(self._titles(), self.agreements, strict=True):
            closest = agreement.record["max_diff_engine"]
            lines += ["", *textwrap.wrap(title.replace("`", ""), 79)]
            shown = "not fitted" if closest is None else f"{closest:.0e}"
            lines.append(f"    {agreement.record['verdict']}; largest difference {shown}")
        return "\n".join(lines)


def _differences(records: list[dict[str, Any]], column: str, statsmodels: bool) -> list[float]:
    return [
        float(r[column])
        for r in records
        if not pd.isna(r[column]) and not (statsmodels and r["verdict"] == "statsmodels differs")
    ]


def agreement_summary(agreements: Iterable[Agreement]) -> AgreementSummary:
    """Put the comparisons of a chapter into one line.

    Parameters
    ----------
    agreements : iterable of Agreement
        What `crosscheck` gave.

    Returns
    -------
    AgreementSummary
        Shows as one line; on a page the tables stand in a fold behind it.

    Raises
    ------
    ValueError
        When there is none, or one of them is no result of `crosscheck`.
    """
    given = [agreements] if isinstance(agreements, Agreement) else list(agreements)
    wrong = next((a for a in given if not isinstance(a, Agreement)), None)
    if wrong is not None or not given:
        what = "nothing" if wrong is None else f"a {type(wrong).__name__}"
        raise ValueError(f"agreement_summary got {what}: give it what crosscheck(...) returned.")
    return AgreementSummary(tuple(given))

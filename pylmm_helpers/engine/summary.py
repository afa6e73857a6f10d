"""The summary of a fit: text for the console, Markdown tables for notebooks and the book."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import counted

from .structure_results import structure_note, structure_rows

#: A note longer than this goes on in the next line.
NOTE_WIDTH = 88


@dataclass(frozen=True)
class Summary:
    """Header, random and fixed effects of a fit; `print` it, or leave it as the last line of a
    notebook cell."""

    header: dict[str, str]
    random: pd.DataFrame
    fixed: pd.DataFrame
    notes: tuple[str, ...]

    def __str__(self) -> str:
        width = max(len(key) for key in self.header)
        lines = ["Linear mixed model"]
        lines += [f"  {key:<{width}}  {value}" for key, value in self.header.items()]
        lines += ["", "Random effects", _text(self.random), "", "Fixed effects", _text(self.fixed)]
        if self.notes:
            lines += ["", *(line for note in self.notes for line in wrap(note, NOTE_WIDTH))]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        header = pd.DataFrame({"": list(self.header), " ": list(self.header.values())})
        parts = [
            as_pipe_table(header),
            "**Random effects**",
            as_pipe_table(self.random),
            "**Fixed effects**",
            as_pipe_table(self.fixed),
        ]
        return "\n\n".join([*parts, *self.notes]) + "\n"


def summarise(fit: Any) -> Summary:
    """Collect what a reader of an `LMMResults` wants first; inference with proper degrees of
    freedom is `coef_table`'s."""
    header = {
        "Response": fit.endog_name,
        "Groups": f"{fit.groups} ({fit.ngroups} groups, {fit.nobs} rows)",
        "Method": "REML" if fit.reml else "ML",
        "REML criterion" if fit.reml else "Deviance": number(fit.criterion),
        "Converged": "yes" if fit.converged else "no",
    }
    residual = fit.scale if fit.identification.residual else np.nan
    structure = structure_rows(fit)
    variances = np.append(np.diag(fit.cov_re), residual)
    deviations = np.sqrt(variances)
    even = fit.cross.mean_weight is None
    random = pd.DataFrame(
        {
            "group": [fit.groups] * fit.cross.q + ["residual" if even else "residual, weight 1"],
            "term": [*fit.cov_re.index, ""],
            "variance": variances,
            "sd": deviations,
        }
    )
    sd = deviations[:-1]
    safe = np.where(sd > 0, sd, 1.0)
    correlation = np.where(
        np.nan_to_num(np.outer(sd, sd)) > 0, fit.cov_re.to_numpy() / np.outer(safe, safe), np.nan
    )
    for k in range(fit.cross.q - 1):
        label = "correlation" if fit.cross.q == 2 else f"corr. with {fit.cov_re.index[k]}"
        column = [
            "" if j <= k or np.isnan(correlation[j, k]) else f"{correlation[j, k]:.3f}"
            for j in range(len(sd))
        ]
        random[label] = [*column, ""]
    random = with_structure(random, structure)
    fixed = pd.DataFrame(
        {
            "term": fit.fe_params.index,
            "estimate": fit.fe_params.to_numpy(),
            "std_error": fit.bse_fe.to_numpy(),
            "t": fit.fe_params.to_numpy() / fit.bse_fe.to_numpy(),
        }
    )
    notes = []
    if not even:
        notes.append(
            "The fit has weights: the residual variance of a row is the one above over its weight "
            f"(mean weight {number(fit.cross.mean_weight)})."
        )
    if structure:
        notes.append(structure_note(fit))
    if not fit.identified:
        notes.append(fit.identification.finding)
    elif fit.singular:
        notes.append("Singular fit: a variance is estimated as zero, or a correlation as one.")
    if not fit.converged:
        notes.append("Not converged: the gradient does not vanish at the solution.")
    if fit.n_dropped:
        was = "was" if fit.n_dropped == 1 else "were"
        notes.append(f"{counted(fit.n_dropped, 'incomplete row')} {was} dropped.")
    return Summary(header, random, fixed, tuple(notes))


def with_structure(random: pd.DataFrame, rows: list[tuple[str, str, float]]) -> pd.DataFrame:
    """The table of random effects with the parameters of the residuals' structure below."""
    if not rows:
        return random
    columns = {c: [""] * len(rows) for c in random.columns}
    columns["group"], columns["term"] = [what for what, _, _ in rows], [term for _, term, _ in rows]
    above = random.assign(
        variance=[number(v) for v in random["variance"]],
        sd=[number(v) for v in random["sd"]],
        value="",
    )
    more = pd.DataFrame(columns).assign(value=[number(value) for _, _, value in rows])
    return pd.concat([above, more], ignore_index=True)


def number(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, float | np.floating):
        return str(value)
    if np.isnan(value):
        return "not identified"
    size = abs(float(value))
    return f"{value:.4g}" if 0 < size < 1e-3 or size >= 1e7 else f"{value:.4f}"


def _cells(table: pd.DataFrame) -> list[list[str]]:
    return [[number(v) for v in row] for row in table.itertuples(index=False)]


def _numeric(table: pd.DataFrame) -> list[bool]:
    return [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]


def _text(table: pd.DataFrame) -> str:
    rows = [[str(c) for c in table.columns], *_cells(table)]
    widths = [max(len(row[k]) for row in rows) for k in range(table.shape[1])]
    right = _numeric(table)
    lines = [
        "  ".join(
            c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)
        )
        for row in rows
    ]
    return "\n".join("  " + line.rstrip() for line in lines)


def as_pipe_table(table: pd.DataFrame) -> str:
    """A Markdown pipe table, numbers to the right."""
    rule = ["---:" if right else ":---" for right in _numeric(table)]
    rows = [[str(c) for c in table.columns], rule, *_cells(table)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)

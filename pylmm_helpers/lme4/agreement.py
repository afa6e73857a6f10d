"""The agreement table, its record for the build, and the collection of all records.

A build writes one record per `crosscheck()` call to .handbook/agreement/ of the project; the
cell that made it carries the same record in its output, whether or not it shows the table, so a
cached cell keeps it. The appendix "Agreement" collects the records of every label in the book.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import MISSING, layout, printed, shown_whole, whole

from .reference import project_folder, write_json

MIMETYPE = "application/vnd.pylmm-helpers.agreement+json"
_FOLDER = Path(".handbook") / "agreement"
PAIRS = "Pairs are the engine's and statsmodels' difference from lme4."


class AgreementError(ValueError):
    """An estimate is outside its tolerance; `.agreement` holds the whole table."""

    def __init__(self, message: str, agreement: Agreement) -> None:
        super().__init__(message)
        self.agreement = agreement


@dataclass(frozen=True)
class Agreement:
    """What `crosscheck` found.

    Attributes
    ----------
    table : DataFrame
        One row per quantity: engine, statsmodels, lme4, diff_engine, diff_statsmodels (scaled, see
        `TOLERANCES`), tol_engine, tol_statsmodels, kind, verdict.
    standard_errors : DataFrame
        Columns lme4, engine and, for a statsmodels fit, statsmodels_phi (from Phi at statsmodels'
        estimates) and statsmodels_own (`bse_fe`, defined otherwise).
    record : dict
        What the build keeps: label, formula, data, n, ngroups, differences, verdict, versions.
    notes : tuple of str
        Sentences on this model, printed under the table.
    standing : tuple of str
        Sentences that hold for every model: what statsmodels' standard errors are, and the
        versions. Printed under them.
    """

    table: pd.DataFrame
    standard_errors: pd.DataFrame
    record: dict[str, Any]
    notes: tuple[str, ...] = field(default=())
    standing: tuple[str, ...] = field(default=())

    @property
    def agrees(self) -> bool:
        """True when nothing is outside its tolerance but what was announced to be."""
        return bool(self.record["verdict"] != "differs")

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", whole(self.table))
        object.__setattr__(self, "standard_errors", whole(self.standard_errors))

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """What is shown of the table: header and rows as text."""
        engines = [c for c in ("engine", "statsmodels") if self.table[c].notna().any()]
        header = ["quantity", *engines, "lme4", "difference", "tolerance", "verdict"]
        rows = []
        for name, row in self.table.iterrows():
            pairs = [[row[f"{k}_{e}"] for e in engines] for k in ("diff", "tol")]
            cells = [_number(row[e]) for e in (*engines, "lme4")]
            cells += ["; ".join(small_number(v) for v in pair) for pair in pairs]
            rows.append([str(name), *cells, str(row["verdict"])])
        return header, rows

    def _below(self) -> tuple[str, ...]:
        """The sentences under a table that stands alone."""
        pairs = self.table[["engine", "statsmodels"]].notna().any().all()
        return (*((PAIRS,) if pairs else ()), *self.notes, *self.standing)

    def as_markdown(self, standing: bool = True) -> str:
        """The table with its sentences; without the standing ones where they are said once."""
        header, rows = self._cells()
        for row in rows:
            row[-1] = row[-1] if row[-1] == "agrees" else f"**{row[-1]}**"
        below = self._below() if standing else self.notes
        return "\n\n".join([pipe_table(header, rows), *below]) + "\n"

    def _repr_markdown_(self) -> str:
        return self.as_markdown()

    def __repr__(self) -> str:
        header, rows = self._cells()
        frame = pd.DataFrame(rows, columns=header).set_index("quantity")
        return "\n\n".join([printed(frame), *(textwrap.fill(n, 79) for n in self._below())])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/plain": repr(self),
            "text/markdown": self._repr_markdown_(),
            MIMETYPE: self.record,
        }


def _number(value: float) -> str:
    if np.isnan(value):
        return MISSING
    text = f"{value:#.7g}"
    text = text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    return text.replace("-", "\u2212")


def small_number(value: float) -> str:
    """One digit and a power of ten, as differences are shown."""
    text: str = MISSING if pd.isna(value) else "0" if value == 0 else f"{value:.0e}"
    return text.replace("-", "\u2212")


def pipe_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown pipe table: first column left, the rest right-aligned."""
    columns = [header, *rows]
    return layout([(t[0], list(t[1:]), i > 0) for i, t in enumerate(zip(*columns, strict=True))])


def save_record(agreement: Agreement) -> None:
    """Write the record of an agreement that holds; drop an older one when it does not."""
    project = project_folder()
    if project is None:
        return
    path = project / _FOLDER / f"{agreement.record['label']}.json"
    if agreement.agrees:
        write_json(path, agreement.record)
        _publish(agreement.record)
    else:
        path.unlink(missing_ok=True)


def _publish(record: dict[str, Any]) -> None:
    """Put the record among the outputs of the running cell, where there is a kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and hasattr(shell, "kernel"):
        from IPython.display import display

        display({MIMETYPE: record}, raw=True)


def python_cells(source: str) -> Iterator[tuple[int, str]]:
    """The executed ```{python} cells of a .qmd text: (line of the first code line, code)."""
    lines = source.splitlines()
    start: int | None = None
    fence = ""
    body: list[str] = []
    for number, line in enumerate(lines, 1):
        opening = re.match(r"\s*(`{3,})\s*\{python\b[^}]*\}\s*$", line)
        if start is None and opening:
            start, fence, body = number + 1, opening[1], []
        elif start is not None and line.strip() == fence:
            options = [b for b in body if b.lstrip().startswith("#|")]
            if not any(re.match(r"#\|\s*eval:\s*false\b", o.strip()) for o in options):
                yield start, "\n".join(body)
            start = None
        elif start is not None:
            body.append(line)


def chapter_files(project: Path) -> list[Path]:
    """The documents that _quarto.yml lists, in its order; without a list, all that are there.

    Names that begin with an underscore are templates.
    """
    found = [path for path, _ in _listed(project)] or [
        project / "index.qmd", *sorted((project / "chapters").glob("*.qmd")),
    ]  # fmt: skip
    return [path for path in found if path.is_file() and not path.name.startswith("_")]


def _listed(project: Path) -> list[tuple[Path, bool]]:
    """The documents in the order of _quarto.yml, and whether each is an appendix."""
    config = project / "_quarto.yml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    main, _, appendices = text.partition("\n  appendices:")
    pattern = re.compile(r"^\s*-\s+[\"']?([\w./-]+\.qmd)", flags=re.M)
    return [(project / name, False) for name in pattern.findall(main)] + [
        (project / name, True) for name in pattern.findall(appendices)
    ]


def chapter_numbers(project: Path) -> dict[str, str]:
    """What the book calls each document: "1", "2", ... or "A", "B", ...; "" without a number."""
    numbers, counts = {}, {False: 0, True: 0}
    for path, appendix in _listed(project):
        title = re.search(r"^# .*$", path.read_text(encoding="utf-8"), flags=re.M)
        if title and not re.search(r"\.unnumbered|\{-\}", title[0]):
            counts[appendix] += 1
            number = counts[appendix]
            numbers[path.name] = chr(ord("A") + number - 1) if appendix else str(number)
    return numbers


def chapter_labels(path: Path) -> list[str]:
    """Labels of the `crosscheck` calls in one chapter.

    Raises
    ------
    ValueError
        For a call whose label isn't a plain string: the build could not tell it was checked.
    """
    labels = []
    for line, code in python_cells(path.read_text(encoding="utf-8")):
        if "crosscheck" not in code:
            continue
        for node in ast.walk(ast.parse(code)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            if (called.id if isinstance(called, ast.Name) else called) != "crosscheck":
                continue
            given = [k.value for k in node.keywords if k.arg == "label"] or node.args[2:3]
            if not given or not isinstance(given[0], ast.Constant):
                raise ValueError(
                    f"{path.name}, line {line + node.lineno - 1}: give crosscheck a label that is "
                    'a plain string, as in label="dairy-null".'
                )
            labels.append(str(given[0].value))
    return labels


@shown_whole
def agreement_records(project: Path | str | None = None) -> pd.DataFrame:
    """Agreement of every model in the book, one row for each `crosscheck` label.

    Parameters
    ----------
    project : path, optional
        Folder with _quarto.yml; by default the one at or above the working directory.

    Returns
    -------
    DataFrame
        Index label, in the order of the chapters; columns number (the chapter's), chapter (its
        file), formula, data (None where the
        chapter makes the data), reml, n, ngroups, max_diff_engine, max_diff_statsmodels (scaled
        differences from lme4, NaN where that engine took no part), verdict, source, versions.

    Raises
    ------
    ValueError
        When a label occurs twice, or a chapter's label has no record (naming both).
    """
    home = project_folder() if project is None else Path(project)
    if home is None:
        raise ValueError("no _quarto.yml at or above this folder: pass project=... instead.")
    chapters: dict[str, str] = {}
    rows = []
    numbers = chapter_numbers(home)
    for path in chapter_files(home):
        for label in chapter_labels(path):
            if label in chapters:
                raise ValueError(
                    f"the label {label!r} is used twice, in {chapters[label]} and {path.name}: "
                    "give each crosscheck its own."
                )
            chapters[label] = path.name
            saved = home / _FOLDER / f"{label}.json"
            if not saved.is_file():
                raise ValueError(
                    f"{path.name}: crosscheck label {label!r} has no agreement record. Run that "
                    "chapter before this one."
                )
            try:
                record = json.loads(saved.read_text(encoding="utf-8"))
                versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(
                    f"{path.name}: the agreement record of {label!r} is damaged ({saved}). Run "
                    "that chapter again, which writes it anew."
                ) from error
            number = numbers.get(path.name, "")
            own = {"number": number, "chapter": path.stem, "versions": versions}
            rows.append({**record, **own})
    columns = ["number", "chapter", "formula", "data", "reml", "n", "ngroups", "max_diff_engine",
               "max_diff_statsmodels", "verdict", "source", "versions"]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["label", *columns]).set_index("label")
    differences = ["max_diff_engine", "max_diff_statsmodels"]
    return frame.astype(dict.fromkeys(differences, float))

"""Give Quarto's PDF the book's page design, its fonts and its formulas with their words."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat

from ..book import Project, write_whole
from ..render import (
    WIDE_TABLE,
    WORDY_COLUMN,
    Node,
    Pandoc,
    design,
    edition,
    formula_code,
    pdf_font_folder,
    quoted,
    typst_formulas,
)
from ..speech import read_tex

PAPER = "paper.json"
FONTS = "pdf-fonts"
CALLOUTS = ("note", "tip", "warning", "important", "caution")


def write_paper(project: Project, notebooks: Path, engine: Pandoc) -> Path:
    """Write what the extension's filter needs for paper, beside the executed notebooks.

    Parameters
    ----------
    project : Project
        The book.
    notebooks : Path
        Folder with the executed notebooks, which hold every formula of the book with its numbers.
    engine : Pandoc
        Reads and writes the formulas.

    Returns
    -------
    Path
        The file.
    """
    pdf_font_folder(project.work / FONTS)
    texts = []
    for chapter in project.chapters:
        place = (notebooks / chapter.source).with_suffix(".ipynb")
        if place.is_file():
            texts.append(words(nbformat.read(place, as_version=4)))
    said = f"#let hb-edition = {quoted(edition(project))}\n"
    told = {
        "header": design("look.typ") + said + design("quarto.typ"),
        "formulas": readable([engine.read(text) for text in texts], engine),
        "callouts": dict.fromkeys(CALLOUTS, True),
        "wide_table": WIDE_TABLE,
        "wordy_column": WORDY_COLUMN,
    }
    place = notebooks / PAPER
    write_whole(place, json.dumps(told, ensure_ascii=False).encode())
    return place


def words(book: nbformat.NotebookNode) -> str:
    """All Markdown of an executed notebook: prose, captions and what cells show."""
    parts = []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts += [
            line.partition("-cap:")[2].strip().strip("\"'")
            for line in cell.source.splitlines()
            if line.startswith("#|") and "-cap:" in line
        ]
        parts += ["".join(out.get("data", {}).get("text/markdown", "")) for out in cell.outputs]
    return "\n\n".join(parts)


def readable(trees: list[Node], engine: Pandoc) -> dict[str, dict[str, str]]:
    """Formulas by kind and TeX; one that can't be read aloud is left to the filter."""
    found: dict[str, dict[str, str]] = {"InlineMath": {}, "DisplayMath": {}}
    for (kind, tex), body in typst_formulas(trees, engine).items():
        try:
            read_tex(tex)
        except ValueError:
            continue
        found[kind][tex] = formula_code(kind, tex, body)
    return found

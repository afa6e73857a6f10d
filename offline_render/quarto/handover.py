"""Give Quarto the results of cells that have run, and its site the downloads.

Quarto executes a document anew for each format and each single-file render, and its own cache
leaves inline values out. So cells run here, once, and the extension's engine reads the executed
notebook of a document whenever Quarto asks for one.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from ..book import (
    Cell,
    Chapter,
    Part,
    Project,
    check_dialect,
    check_order,
    load_project,
    only_one,
    split,
    write_whole,
)
from ..live import add_live_code
from ..render import (
    SHEETS,
    Pandoc,
    numbered,
    offered,
    prose_with_values,
    write_beside,
    write_downloads,
)
from ..run import Reporter, Runner, inputs_digest, is_record_only, run_cells
from .pages import finish
from .paper import write_paper

NOTEBOOKS = "quarto"


def before_render(root: Path, wanted: Iterable[str] | None) -> list[Path]:
    """Run what has to run, and write an executed notebook for each document Quarto will render.

    Parameters
    ----------
    root : Path
        Folder with ``_quarto.yml``.
    wanted : iterable of str or None
        Documents that Quarto will render, relative to `root`; None means all.

    Returns
    -------
    list of Path
        The notebooks.

    Raises
    ------
    BuildError
        Names file and line of the fault.
    """
    project = load_project(root)
    with only_one(project):
        for chapter in project.chapters:
            check_dialect(chapter.path)
        sources = {c.source: split(c.path) for c in project.chapters}
        check_order(project, sources)
        outputs = run_cells(project, sources, Reporter(1), wanted=wanted)
        made = [
            write_notebook(project, chapter, sources[chapter.source], outputs[chapter.source])
            for chapter in project.chapters
            if chapter.source in outputs
        ]
        engine = Pandoc(project.work / "pandoc")
        write_paper(project, project.work / NOTEBOOKS, engine)
        if len(outputs) == len(project.chapters):
            write_beside(project, sources, outputs, engine, project.work / NOTEBOOKS)
        return made


def write_notebook(
    project: Project, chapter: Chapter, parts: list[Part], outputs: dict[int, list[Any]]
) -> Path:
    """The executed notebook of a document, with the digest of the text it was made from."""
    book = executed(parts, outputs)
    book.metadata["handbook"] = {"source": hashlib.sha256(chapter.path.read_bytes()).hexdigest()}
    place = (project.work / NOTEBOOKS / chapter.source).with_suffix(".ipynb")
    write_whole(place, nbformat.writes(book).encode())
    return place


def executed(parts: list[Part], outputs: dict[int, list[Any]]) -> nbformat.NotebookNode:
    """Prose with its inline values in place, and each cell with its options and results."""
    cells = []
    for index, part in enumerate(parts):
        found = outputs.get(index, [])
        if isinstance(part, Cell):
            cell = nbformat.v4.new_code_cell("\n".join([*part.option_lines, part.code]))
            shown = [out for out in found if not is_record_only(out)]
            cell["outputs"] = [nbformat.from_dict(out) for out in shown]
        else:
            cell = nbformat.v4.new_markdown_cell(prose_with_values(part, found))
        cell["id"] = f"part-{index}"
        cells.append(cell)
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    return book


def after_render(root: Path, rendered: Iterable[str], out: Path) -> list[Path]:
    """Finish the pages that Quarto wrote; write their notebooks and scripts, and the data.

    Parameters
    ----------
    root : Path
        Folder with ``_quarto.yml``.
    rendered : iterable of str
        Files that Quarto wrote, relative to `out`.
    out : Path
        The site.

    Returns
    -------
    list of Path
        The files written.
    """
    project = load_project(root)
    pages = set(rendered)
    with only_one(project):
        if not any(chapter.href in pages for chapter in project.chapters):
            return []
        sources = {c.source: split(c.path) for c in project.chapters}
        engine = Pandoc(project.work / "pandoc")
        documents, targets = numbered(project, sources, engine)
        finish(project, pages, targets, out)
        if said := add_live_code(project, sources, out, pages):
            print(said)
        runner, digest = Runner(project), inputs_digest(project)
        outputs: dict[str, dict[int, list[Any]]] = {}
        for chapter in project.chapters:
            parts = sources[chapter.source]
            if chapter.href not in pages or not offered(chapter, parts):
                continue
            kept = runner.kept(parts, digest)
            if kept is None:
                print(f"{chapter.source}: its cells haven't run, so no notebook and no script")
            else:
                outputs[chapter.source] = kept
        for name in (project.epub_name, *SHEETS):
            made = project.work / NOTEBOOKS / name
            if made.is_file():
                shutil.copyfile(made, out / name)
        if not outputs:
            return []
        chosen = [d for d in documents if d.chapter.source in outputs]
        return write_downloads(project, sources, outputs, chosen, targets, engine, out)

"""The order of a build, and the promise that ``_book/`` is replaced only by a whole one."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..book import (
    BuildError,
    Chapter,
    Part,
    Project,
    check_dialect,
    check_order,
    load_project,
    only_one,
    split,
)
from ..live import add_live_code
from ..run import Reporter, run_cells
from ..speech import read_tex
from . import crossref, epub, pdf, site, webpages
from .assemble import Assembled, assemble
from .crossref import Document, Target
from .downloads import offered, write_downloads
from .pandoc import Node, Pandoc, div, nodes
from .quizzes import write_quiz_sheets


def build(root: Path, use_cache: bool = True) -> Path:
    """Build the whole book with the embedded renderer.

    Parameters
    ----------
    root : Path
        Folder with ``_quarto.yml``.
    use_cache : bool
        Whether results of cells from earlier builds may serve.

    Returns
    -------
    Path
        The folder of the finished book.

    Raises
    ------
    BuildError
        Names file and line of the fault; the last good book stays in place.
    """
    project = load_project(root)
    with only_one(project):
        recover(project)
        reporter = Reporter(4)
        staging = project.work / "book"
        shutil.rmtree(staging, ignore_errors=True)
        with reporter.step(f"Read {len(project.chapters)} documents and check their dialect"):
            for chapter in project.chapters:
                check_dialect(chapter.path)
            sources = {c.source: split(c.path) for c in project.chapters}
            check_order(project, sources)
        with reporter.step("Run the code cells"):
            outputs = run_cells(project, sources, reporter, use_cache)
        with reporter.step("Number, link and cite"):
            engine = Pandoc(project.work / "pandoc")
            assembled = {
                c.source: assemble(c, sources[c.source], outputs[c.source])
                for c in project.chapters
            }
            documents, targets = link(project, assembled, engine)
            files = {c.source: images(c, assembled[c.source], documents) for c in project.chapters}
        lua = find_filter(project)
        with reporter.step("Write pages and PDF"):
            staging.mkdir(parents=True)
            with ThreadPoolExecutor(2) as pool:
                paper = pool.submit(
                    pdf.write_pdf,
                    project, documents, files, engine, lua, staging / project.pdf_name,
                )  # fmt: skip
                bodies = {
                    d.chapter.source: webpages.page_body(
                        project, d, engine, lua, offered(d.chapter, sources[d.chapter.source])
                    )
                    for d in documents
                }
                book = pool.submit(
                    epub.write_epub,
                    project, documents, files, engine, lua, staging / project.epub_name,
                )  # fmt: skip
                site.write_site(project, documents, bodies, files, staging, project.pdf_name)
                write_quiz_sheets(project, documents, files, engine, staging)
                write_downloads(project, sources, outputs, documents, targets, engine, staging)
                paper.result()
                book.result()
            if said := add_live_code(project, sources, staging):
                reporter.say(said)
            site.check_links(staging)
            install(project, staging)
        reporter.say(f"HTML: {project.output / 'index.html'}")
        reporter.say(f"PDF:  {project.output / project.pdf_name}")
    return project.output


def write_beside(
    project: Project,
    sources: dict[str, list[Part]],
    outputs: dict[str, dict[int, list[Any]]],
    engine: Pandoc,
    out: Path,
) -> list[Path]:
    """What stands beside the pages and needs results of all cells: the EPUB and the quiz sheets."""
    assembled = {
        c.source: assemble(c, sources[c.source], outputs[c.source]) for c in project.chapters
    }
    documents, _ = link(project, assembled, engine)
    files = {c.source: images(c, assembled[c.source], documents) for c in project.chapters}
    target = out / project.epub_name
    epub.write_epub(project, documents, files, engine, find_filter(project), target)
    return [target, *write_quiz_sheets(project, documents, files, engine, out)]


def link(
    project: Project, assembled: dict[str, Assembled], engine: Pandoc
) -> tuple[list[Document], dict[str, Target]]:
    """Parse, number, resolve and cite all documents; what references point at comes second."""
    with ThreadPoolExecutor() as pool:
        trees = list(
            pool.map(lambda c: engine.read(assembled[c.source].markdown), project.chapters)
        )
    for chapter, tree in zip(project.chapters, trees, strict=True):
        check_formulas(chapter, tree)
    targets: dict[str, Target] = {}
    documents = [
        crossref.number(c, tree, targets) for c, tree in zip(project.chapters, trees, strict=True)
    ]
    known = bibliography_keys(project, engine)
    for document in documents:
        crossref.resolve(document, targets, known)
    if any(document.cited for document in documents):
        cite(project, documents, engine)
    return documents, targets


def check_formulas(chapter: Chapter, tree: Node) -> None:
    """Every formula can be read aloud, or the build stops where it stands."""
    for node in nodes(tree["blocks"], "Math"):
        tex = node["c"][1]
        try:
            read_tex(tex)
        except ValueError as error:
            line = crossref.line_of(chapter.path, tex.strip().split("\n")[0])
            raise BuildError(str(error), chapter.path, line) from None


def bibliography_keys(project: Project, engine: Pandoc) -> set[str]:
    text = project.bibliography.read_text(encoding="utf-8")
    entries = json.loads(engine.run(text, "-f", "bibtex", "-t", "csljson"))
    return {entry["id"] for entry in entries}


def cite(project: Project, documents: list[Document], engine: Pandoc) -> None:
    """Let citeproc format every citation of the book in one go, and fill the reference list."""
    blocks = [div(f"hb-document-{k}", [], d.tree["blocks"]) for k, d in enumerate(documents)]
    tree = {**documents[0].tree, "meta": {}, "blocks": blocks}
    text = engine.run(
        json.dumps(tree), "-f", "json", "-t", "json", "--citeproc",
        "--bibliography", str(project.bibliography), "-M", "link-citations=true",
        depends=project.bibliography.read_text(encoding="utf-8"),
    )  # fmt: skip
    cited = json.loads(text)["blocks"]
    for document, block in zip(documents, cited, strict=True):
        document.tree["blocks"] = block["c"][1]


def images(chapter: Chapter, assembled: Assembled, documents: list[Document]) -> dict[str, bytes]:
    """All figure files of a chapter: those its cells drew and those it names in its folder."""
    files = dict(assembled.files)
    document = next(d for d in documents if d.chapter.source == chapter.source)
    for node in nodes(document.tree["blocks"], "Image"):
        name = node["c"][2][0]
        if name in files:
            continue
        path = chapter.path.parent / name
        if not path.is_file():
            raise BuildError(
                f"missing image {name}", chapter.path, crossref.line_of(chapter.path, name)
            )
        files[name] = path.read_bytes()
    return files


def find_filter(project: Project) -> Path | None:
    """The Lua filter of the book's own extension, the same file that Quarto runs."""
    found = project.root / "_extensions" / "handbook" / "handbook.lua"
    return found if found.exists() else None


def recover(project: Project) -> None:
    """If an earlier build died between the two renames, put its old book back."""
    old = project.work / "book.old"
    if old.exists() and not project.output.exists():
        old.rename(project.output)
    shutil.rmtree(old, ignore_errors=True)


def install(project: Project, staging: Path) -> None:
    """Swap the finished book in by renaming, so that a reader never meets half of it."""
    old = project.work / "book.old"
    if project.output.exists():
        project.output.rename(old)
    staging.rename(project.output)
    shutil.rmtree(old, ignore_errors=True)

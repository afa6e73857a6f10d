"""What a reader takes home: chapters as notebook and script, the data, the package, the sheet.

Both renderers end with this step: the embedded one calls it, Quarto through `post_render`.
Questions and answers stay on the pages; references, citations and inline values are spelt out.
"""

from __future__ import annotations

import io
import json
import tempfile
import tomllib
import zipfile
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from ..book import Cell, Chapter, Part, Project, compares, remembered
from .assemble import prose_with_values
from .crossref import Document, Target
from .pandoc import Pandoc
from .plain import plain_line, plain_markdown
from .scripts import as_script
from .sheet import write_sheet

DATA_ARCHIVE = "handbook-data.zip"
NOTEBOOK_ARCHIVE = "handbook-notebooks.zip"
NO_NAMES = "et al."
#: How labels of chunks begin that solve an exercise: a notebook folds them.
SOLVES = "exercise-"
INSTALL = (
    "This notebook belongs to *{title}*. It needs the book's package, a file that the book's first "
    'page offers: run `pip install "{wheel}[compute]" notebook` where you have saved it, and '
    "`jupyter notebook` to open this one. The comparisons with lme4 use recorded results; where R "
    'with lme4 is there, `"{wheel}[compute,lme4]"` makes them live.'
)


def has_code(parts: list[Part]) -> bool:
    """Whether a document has cells that a reader may want to run."""
    return any(isinstance(part, Cell) for part in parts)


def write_downloads(
    project: Project,
    sources: dict[str, list[Part]],
    outputs: dict[str, dict[int, list[Any]]],
    documents: list[Document],
    targets: dict[str, Target],
    engine: Pandoc,
    out: Path,
) -> list[Path]:
    """Write notebooks, scripts, the cheat sheet and the data archive into the finished site `out`.

    Returns
    -------
    list of Path
        The files written.
    """
    words = citations(project, engine)
    written = []
    for document in documents:
        chapter = document.chapter
        if not offered(chapter, sources[chapter.source]):
            continue
        book = chapter_notebook(
            project, chapter, sources[chapter.source], outputs[chapter.source], targets, words
        )
        place = out / chapter.href
        place.parent.mkdir(parents=True, exist_ok=True)
        notebook = jupytext.writes(book, fmt="ipynb")
        for suffix, text in ((".ipynb", notebook), (".py", as_script(book))):
            place.with_suffix(suffix).write_text(text, encoding="utf-8")
            written.append(place.with_suffix(suffix))
    archive = out / DATA_ARCHIVE
    archive.write_bytes(data_archive(project.root))
    notebooks = out / NOTEBOOK_ARCHIVE
    # those of all chapters, also when Quarto renders one of them again
    pages = [(out / c.href).with_suffix(end) for c in project.chapters for end in (".ipynb", ".py")]
    notebooks.write_bytes(packed({p.name: p.read_bytes() for p in pages if p.is_file()}))
    more = [*write_wheel(project, out), *write_sheet(project, out)]
    return [*written, archive, notebooks, *more]


def wheel_name(project: Project) -> str:
    """The file name of the package, from its name and version."""
    path = project.root / "pyproject.toml"
    if not path.is_file():
        return "."
    told = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return f"{told['name'].replace('-', '_')}-{told['version']}-py3-none-any.whl"


def write_wheel(project: Project, out: Path) -> list[Path]:
    """Build the package alone, as `pip install` takes it; nothing in a book without one."""
    if not (project.root / "pyproject.toml").is_file():
        return []
    package = project.root / "pylmm_helpers"
    told = [
        project.root / name for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore")
    ]
    inside = [path for path in sorted(package.rglob("*")) if "__pycache__" not in path.parts]
    inputs = [
        part
        for path in [*told, *inside]
        if path.is_file()
        for part in (str(path.relative_to(project.root)).encode(), path.read_bytes())
    ]

    def made() -> bytes:
        from hatchling.builders.wheel import WheelBuilder

        with tempfile.TemporaryDirectory(prefix="handbook-") as name:
            return Path(next(WheelBuilder(str(project.root)).build(directory=name))).read_bytes()

    target = out / wheel_name(project)
    tool = version("hatchling").encode()
    target.write_bytes(remembered(project.work / "made", "wheel", [tool, *inputs], made))
    return [target]


def offered(chapter: Chapter, parts: list[Part]) -> bool:
    """Numbered chapters with code, and appendices with models of their own.

    The others report on the book, and can't run without it.
    """
    own = not chapter.appendix or compares(chapter, parts)
    return bool(chapter.number) and own and has_code(parts)


def chapter_notebook(
    project: Project,
    chapter: Chapter,
    parts: list[Part],
    outputs: dict[int, list[Any]],
    targets: dict[str, Target],
    words: dict[str, tuple[str, str]],
) -> nbformat.NotebookNode:
    """One chapter as a notebook without results."""
    cells = []
    exercises = count(1)
    for index, part in enumerate(parts):
        if isinstance(part, Cell):
            if part.option("eval", True) and part.code.strip():
                cells.append(nbformat.v4.new_code_cell(part.code.strip("\n")))
                if part.label.startswith(SOLVES):
                    cells[-1].metadata["jupyter"] = {"source_hidden": True}
                caption = _caption(part, targets, words)
                if caption:
                    cells.append(nbformat.v4.new_markdown_cell(caption))
            continue
        prose = prose_with_values(part, outputs.get(index, []))
        text = plain_markdown(prose, targets, words, exercises)
        if text:
            cells.append(nbformat.v4.new_markdown_cell(text))
    install = nbformat.v4.new_markdown_cell(
        INSTALL.format(title=project.title, wheel=wheel_name(project))
    )
    cells.insert(1 if cells else 0, install)
    for position, cell in enumerate(cells):
        cell["id"] = f"cell-{position}"
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    book.metadata["language_info"] = {"name": "python"}
    return book


def _caption(cell: Cell, targets: dict[str, Target], words: dict[str, tuple[str, str]]) -> str:
    caption = cell.options.get("fig-cap") or cell.options.get("tbl-cap")
    if not caption:
        return ""
    target, text = targets.get(cell.label), plain_line(str(caption), targets, words)
    return f"*{target.words}: {text}*" if target else f"*{text}*"


def citations(project: Project, engine: Pandoc) -> dict[str, tuple[str, str]]:
    """Author and year of each entry of the bibliography."""
    text = project.bibliography.read_text(encoding="utf-8")
    found = {}
    for entry in json.loads(engine.run(text, "-f", "bibtex", "-t", "csljson")):
        names = [n.get("family", n.get("literal", "")) for n in entry.get("author", [])]
        who = f"{names[0]} {NO_NAMES}" if len(names) > 2 else " & ".join(names)
        year = entry.get("issued", {}).get("date-parts", [[""]])[0][0]
        found[entry["id"]] = (who, str(year))
    return found


def data_archive(root: Path) -> bytes:
    """All data sets, the codebook and the sources of the published ones, byte for byte the same."""
    folder = root / "datasets"
    files = [
        *sorted(folder.glob("*.csv")), folder / "datapackage.json",
        *sorted((folder / "published").glob("*.csv")), folder / "published" / "sources.json",
        root / "LICENSE-text",
    ]  # fmt: skip
    base = {path: folder if folder in path.parents else root for path in files if path.is_file()}
    return packed(
        {f"handbook-data/{p.relative_to(top)}": p.read_bytes() for p, top in base.items()}
    )


def packed(files: dict[str, bytes]) -> bytes:
    """An archive that is the same whenever its files are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()

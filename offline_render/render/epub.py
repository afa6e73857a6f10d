"""The EPUB: all documents as one EPUB 3, by pandoc, with the questions as on paper."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..book import BuildError, Chapter, Project, remembered
from . import pandoc
from .blocks import transform
from .crossref import Document, Heading
from .pandoc import Node, Pandoc
from .paper import edition
from .pdf import with_questions
from .webpages import HtmlWriter, readable

STYLE = Path(__file__).parent / "assets" / "epub.css"
COVER = Path("chapters") / "drawings" / "cover.svg"


class EpubWriter(HtmlWriter):
    """HTML for one document of many: identifiers are unique in the book, and nothing moves."""

    form = "epub"

    def fold(self, summary: str, body: list[Node]) -> list[Node]:
        return []  # as on paper: the code of figures stands in notebook and script

    def callout(
        self, kind: str, title: list[Node] | None, body: list[Node], collapse: str | None
    ) -> list[Node]:
        return super().callout(kind, title, body, None)

    def tabset(self, tabs: list[tuple[list[Node], list[Node]]]) -> list[Node]:
        out: list[Node] = []
        for title, body in tabs:
            out += [{"t": "Para", "c": [{"t": "Strong", "c": title}]}, *body]
        return out

    def image(self, node: Node, alt: str) -> Node:
        node = super().image(node, alt)["c"][1][0]
        node["c"][2][0] = f"{self.chapter.key}/{node['c'][2][0]}"
        return dict(node)

    def heading(self, block: Node, found: Heading | None) -> list[Node]:
        level, attr, inlines = block["c"]
        attr[0] = own(self.chapter, attr[0])
        number = f"{found.number} " if found and found.number else ""
        # pandoc declares no formulas for the list of contents
        words = pandoc.walk(inlines, _letters)
        return [{"t": "Header", "c": [level, attr, [*pandoc_words(number), *words]]}]

    def reference(self, source: str, node: Node) -> Node:
        return node

    def citation_link(self, node: Node) -> Node:
        return node

    def document_link(self, node: Node) -> Node:
        node = super().document_link(node)
        url, _, fragment = str(node["c"][2][0]).partition("#")
        if not fragment:
            page = (Path(self.chapter.href).parent / url).as_posix()
            target = next(c for c in self.project.chapters if same(c.href, page))
            fragment = start_of(target)
        node["c"][2][0] = f"#{fragment}"
        return node


def _letters(node: Node) -> Node | None:
    if node["t"] != "Math":
        return None
    return {"t": "Emph", "c": [pandoc.string(str(node["c"][1]).replace("\\", ""))]}


def pandoc_words(text: str) -> list[Node]:
    return [pandoc.string(text.strip()), {"t": "Space"}] if text.strip() else []


def same(href: str, page: str) -> bool:
    return Path("/", href).resolve() == Path("/", page).resolve()


def own(chapter: Chapter, identifier: str) -> str:
    """Headings without a name of their own are called the same in every chapter."""
    return identifier if identifier.startswith("sec-") else f"{chapter.key}--{identifier}"


def start_of(chapter: Chapter) -> str:
    return f"start-of-{chapter.key}"


def write_epub(
    project: Project,
    documents: list[Document],
    files: dict[str, dict[str, bytes]],
    engine: Pandoc,
    lua: Path | None,
    target: Path,
) -> None:
    """Write the book as EPUB 3 to ``target``.

    Raises
    ------
    BuildError
        With pandoc's words where it refuses the book.
    """
    printed = documents if lua is None else with_questions(documents, engine, lua, "epub3")
    blocks: list[Node] = []
    for document in printed:
        chapter = document.chapter
        title, *rest = transform(document, EpubWriter(project, chapter))
        # the title begins the file of the chapter, so the anchor stands after it
        blocks += [title, pandoc.div(start_of(chapter), [], []), *rest]
    blocks = pandoc.walk(pandoc.walk(blocks, readable), _within_the_book)
    tree = {**documents[0].tree, "meta": metadata(project), "blocks": blocks}
    pictures = {
        f"{document.chapter.key}/{path}": strict(data)
        for document in documents
        for path, data in files[document.chapter.source].items()
    }
    cover = project.root / COVER
    text = json.dumps(tree)

    def made() -> bytes:
        return packed(text, pictures, cover if cover.is_file() else None, engine)

    inputs = [
        engine.version.encode(), Path(__file__).read_bytes(), STYLE.read_bytes(), text.encode(),
        cover.read_bytes() if cover.is_file() else b"",
        *(part for path, data in pictures.items() for part in (path.encode(), data)),
    ]  # fmt: skip
    target.write_bytes(remembered(project.work / "made", "epub", inputs, made))


def strict(picture: bytes) -> bytes:
    """A drawing as EPUB asks for it: no declaration that calls for files from elsewhere, and an
    outline in each path, if the empty one of a blank."""
    picture = re.sub(rb"<!DOCTYPE[^>\[]*>", b"", picture, count=1)
    return re.sub(rb"<path (?![^>]*\bd=)", b'<path d="" ', picture)


def _within_the_book(node: Node) -> Node | None:
    """A file that stands beside the pages is not in the EPUB: its link becomes its words."""
    if node["t"] != "Link" or re.match(r"#|[a-z]+:", str(node["c"][2][0])):
        return None
    return {"t": "Span", "c": [["", [], []], node["c"][1]]}


def packed(text: str, pictures: dict[str, bytes], cover: Path | None, engine: Pandoc) -> bytes:
    """The EPUB of a document tree, by pandoc."""
    with tempfile.TemporaryDirectory(prefix="handbook-") as name:
        folder = Path(name)
        for path, data in pictures.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        options = [
            "-f", "json", "-t", "epub3", "--mathml", "--wrap=none", "--toc-depth=2",
            "--split-level=1", f"--css={STYLE}", "-o", str(folder / "book.epub"),
        ]  # fmt: skip
        if cover is not None:
            (folder / cover.name).write_bytes(strict(cover.read_bytes()))
            options.append(f"--epub-cover-image={cover.name}")
        done = subprocess.run(
            [pandoc.executable(), f"--data-dir={engine.home}", *options],
            input=text, capture_output=True, encoding="utf-8", cwd=folder,
            env={**engine.environment(""), "SOURCE_DATE_EPOCH": "0"},
        )  # fmt: skip
        if done.returncode or done.stderr.strip():
            raise BuildError(f"pandoc refuses the EPUB: {done.stderr.strip()[:2000]}")
        return (folder / "book.epub").read_bytes()


def metadata(project: Project) -> dict[str, Any]:
    told = {
        "title": project.title,
        "subtitle": project.subtitle,
        "author": project.author,
        "lang": str(project.config.get("lang", "en")),
        "rights": edition(project),
        # the same for each build of one edition
        "identifier": f"urn:handbook:{project.title.replace(' ', '-').lower()}",
    }
    return {key: {"t": "MetaInlines", "c": [pandoc.string(value)]} for key, value in told.items()}

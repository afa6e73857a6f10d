"""Numbers of chapters, sections, figures, tables and equations, and the links to them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..book import BuildError, Chapter, Part, Project
from . import pandoc
from .assemble import skeleton
from .pandoc import Node, Pandoc

NAMES = {"fig": "Figure", "tbl": "Table", "eq": "Equation"}
REFERENCE = re.compile(r"^(sec|fig|tbl|eq)-")
EQUATION_LABEL = re.compile(r"^\{#(eq-[A-Za-z0-9-]+)\}[.,;]?$")
SLUG = re.compile(r"[^a-z0-9]+")


@dataclass
class Target:
    """Something a reference can point at: its words ("Figure 2.1") and where it stands."""

    words: str
    number: str
    chapter: Chapter
    identifier: str


@dataclass
class Heading:
    """A heading for tables of contents."""

    level: int
    identifier: str
    number: str
    inlines: list[Node]


@dataclass
class Document:
    """A chapter's tree with everything numbered."""

    chapter: Chapter
    tree: Node
    headings: list[Heading] = field(default_factory=list)
    cited: set[str] = field(default_factory=set)

    @property
    def title(self) -> str:
        return pandoc.text_of(self.headings[0].inlines)


def number(chapter: Chapter, tree: Node, targets: dict[str, Target]) -> Document:
    """Give every labelled thing of one document its number; add it to ``targets``."""
    document = Document(chapter, tree)
    counts = {"fig": 0, "tbl": 0, "eq": 0}
    sections = [0] * 6

    def define(identifier: str, words: str, digits: str) -> None:
        if identifier in targets:
            other = targets[identifier].chapter.path
            raise BuildError(
                f"label {identifier!r} stands in {other} too; labels are unique",
                chapter.path,
                line_of(chapter.path, identifier),
            )
        targets[identifier] = Target(words, digits, chapter, identifier)

    def floating(identifier: str) -> str:
        kind = identifier.split("-")[0]
        counts[kind] += 1
        digits = f"{chapter.number}.{counts[kind]}" if chapter.number else str(counts[kind])
        define(identifier, f"{NAMES[kind]}\u00a0{digits}", digits)
        return digits

    def visit(blocks: list[Node], sectioning: bool = True) -> list[Node]:
        out: list[Node] = []
        for block in blocks:
            kind = block["t"]
            if kind == "Header" and sectioning:
                _heading(document, block, sections, define)
            elif kind == "Div":
                (identifier, classes, _), inner = block["c"][0], block["c"][1]
                if "hb-float" in classes:
                    block = _numbered(block, floating(identifier), identifier)
                else:
                    # Titles of tabs and callouts are no sections of the chapter.
                    titled = "panel-tabset" in classes or any(
                        c.startswith("callout-") for c in classes
                    )
                    block["c"][1] = visit(inner, sectioning and not titled)
            elif kind == "Para" and (equation := _equation(block)):
                inlines, label = equation
                digits = floating(label)
                block = pandoc.div(label, ["hb-equation"], [{"t": "Para", "c": inlines}], n=digits)
            elif kind == "Table" and block["c"][0][0].startswith("tbl-"):
                block = _written_table(block, floating)
            elif kind == "Para" and (figure := _written_figure(block, floating)):
                block = figure
            elif kind in ("BulletList", "OrderedList"):
                items = block["c"] if kind == "BulletList" else block["c"][1]
                items[:] = [visit(item, sectioning) for item in items]
            out.append(block)
        return out

    tree["blocks"] = visit(tree["blocks"])
    if not document.headings:
        raise BuildError("no `# Title` heading", chapter.path)
    return document


def numbered(
    project: Project, sources: dict[str, list[Part]], engine: Pandoc
) -> tuple[list[Document], dict[str, Target]]:
    """All numbers of the book; they follow from labels alone, so no cell need have run."""
    targets: dict[str, Target] = {}
    documents = []
    for chapter in project.chapters:
        tree = engine.read(skeleton(sources[chapter.source]).markdown)
        documents.append(number(chapter, tree, targets))
    return documents, targets


def _heading(document: Document, block: Node, sections: list[int], define: Any) -> None:
    chapter = document.chapter
    level, attr, inlines = block["c"]
    has_number = bool(chapter.number) and "unnumbered" not in attr[1]
    sections[level - 1] += 1
    sections[level:] = [0] * (len(sections) - level)
    digits = ""
    if has_number:
        digits = ".".join([chapter.number, *(str(n) for n in sections[1:level])])
    if not attr[0]:
        attr[0] = SLUG.sub("-", pandoc.text_of(inlines).lower()).strip("-")
    if "optional" in attr[1]:
        mark = {"t": "Span", "c": [["", ["hb-optional-mark"], []], [pandoc.string("(optional)")]]}
        inlines += [{"t": "Space"}, mark]
    if level == 1:
        word = "Appendix" if chapter.appendix else "Chapter"
        words = f"{word}\u00a0{digits}" if digits else pandoc.text_of(inlines)
    else:
        words = f"Section\u00a0{digits}" if digits else pandoc.text_of(inlines)
    if attr[0].startswith("sec-"):
        define(attr[0], words, digits or words)
    document.headings.append(Heading(level, attr[0], digits, inlines))


def _numbered(block: Node, digits: str, identifier: str) -> Node:
    attr, inner = block["c"]
    attr[2] = [*attr[2], ["n", digits], ["kind", identifier.split("-")[0]]]
    return {"t": "Div", "c": [attr, inner]}


def _equation(block: Node) -> tuple[list[Node], str] | None:
    inlines = block["c"]
    if not inlines or inlines[-1]["t"] != "Str":
        return None
    match = EQUATION_LABEL.match(inlines[-1]["c"])
    if not match or not any(n["t"] == "Math" for n in inlines):
        return None
    rest = inlines[:-1]
    while rest and rest[-1]["t"] in ("Space", "SoftBreak"):
        rest = rest[:-1]
    return rest, match.group(1)


def _written_table(block: Node, floating: Any) -> Node:
    identifier = block["c"][0][0]
    caption = block["c"][1][1]
    block["c"][0][0] = ""
    block["c"][1] = [None, []]
    blocks = [block, pandoc.div("", ["hb-caption"], caption)]
    return _numbered(pandoc.div(identifier, ["hb-float"], blocks), floating(identifier), identifier)


def _written_figure(block: Node, floating: Any) -> Node | None:
    if len(block["c"]) != 1 or block["c"][0]["t"] != "Image":
        return None
    image = block["c"][0]
    identifier = image["c"][0][0]
    if not identifier.startswith("fig-"):
        return None
    image["c"][0][0] = ""
    caption = [{"t": "Plain", "c": image["c"][1]}]
    image["c"][1] = []
    blocks = [block, pandoc.div("", ["hb-caption"], caption)]
    return _numbered(pandoc.div(identifier, ["hb-float"], blocks), floating(identifier), identifier)


def resolve(document: Document, targets: dict[str, Target], known: set[str]) -> None:
    """Turn references into links and check citations against the bibliography."""
    chapter = document.chapter

    def visit(node: Node) -> Any:
        if node["t"] != "Cite":
            return None
        citations = node["c"][0]
        references = [c for c in citations if REFERENCE.match(c["citationId"])]
        if not references:
            for citation in citations:
                key = citation["citationId"]
                if key not in known:
                    raise BuildError(
                        f"unknown citation @{key}; add it to the bibliography",
                        chapter.path,
                        line_of(chapter.path, "@" + key),
                    )
                document.cited.add(key)
            return None
        out: list[Node] = []
        for position, citation in enumerate(references):
            key = citation["citationId"]
            if key not in targets:
                raise BuildError(
                    f"dangling cross-reference @{key}; nothing carries the label {key}",
                    chapter.path,
                    line_of(chapter.path, "@" + key),
                )
            if position:
                out += [pandoc.string(","), {"t": "Space"}]
            out.append(_link(citation, targets[key]))
        return out

    document.tree["blocks"] = pandoc.walk(document.tree["blocks"], visit)


def _link(citation: Node, target: Target) -> Node:
    prefix = list(citation["citationPrefix"])
    bare = citation["citationMode"]["t"] == "SuppressAuthor"
    words = target.number if bare or prefix else target.words
    inlines = [*prefix, {"t": "Space"}] if prefix else []
    inlines.append(pandoc.string(words))
    attributes = [["href-chapter", target.chapter.source]]
    attr = ["", ["hb-ref"], attributes]
    return {"t": "Link", "c": [attr, inlines, ["#" + target.identifier, ""]]}


def line_of(path: Path, needle: str) -> int | None:
    """First line of ``path`` with ``needle`` as a whole word."""
    pattern = re.compile(re.escape(needle) + (r"(?![\w-])" if needle[-1:].isalnum() else ""))
    for count, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if pattern.search(line):
            return count
    return None

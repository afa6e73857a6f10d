"""The handbook's own blocks (floats, callouts, tab sets, folds), shared by both outputs.

``transform`` walks a numbered document and hands each such block to a ``Writer``; the HTML and
the Typst writer differ only in what they put around the content.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import unquote

from ..book import BuildError
from . import pandoc
from .crossref import NAMES, Document, Heading, line_of
from .pandoc import Node


class Writer(ABC):
    """What an output format makes of each block; every method returns pandoc nodes."""

    form: str

    @abstractmethod
    def float(
        self, identifier: str, words: str, body: list[Node], caption: list[Node]
    ) -> list[Node]: ...

    @abstractmethod
    def equation(self, identifier: str, number: str, inlines: list[Node]) -> list[Node]: ...

    @abstractmethod
    def callout(
        self, kind: str, title: list[Node] | None, body: list[Node], collapse: str | None
    ) -> list[Node]: ...

    @abstractmethod
    def tabset(self, tabs: list[tuple[list[Node], list[Node]]]) -> list[Node]: ...

    @abstractmethod
    def fold(self, summary: str, body: list[Node]) -> list[Node]: ...

    @abstractmethod
    def panels(self, columns: str, body: list[Node]) -> list[Node]: ...

    @abstractmethod
    def output(self, kind: str, body: list[Node]) -> list[Node]: ...

    @abstractmethod
    def margin(self, body: list[Node]) -> list[Node]: ...

    @abstractmethod
    def table(self, block: Node) -> list[Node]: ...

    @abstractmethod
    def image(self, node: Node, alt: str) -> Node: ...

    @abstractmethod
    def heading(self, block: Node, found: Heading | None) -> list[Node]: ...

    @abstractmethod
    def reference(self, source: str, node: Node) -> Node: ...

    @abstractmethod
    def citation_link(self, node: Node) -> Node: ...

    @abstractmethod
    def document_link(self, node: Node) -> Node: ...

    def math(self, node: Node) -> Node | None:
        """Formats whose pandoc output needs no help keep the formula as it is."""
        return None

    def unwanted(self, classes: list[str], attributes: dict[str, str]) -> bool:
        """Whether ``.content-visible``/``.content-hidden`` removes a block in this format."""
        mine = {"html": {"html"}, "typst": {"typst", "pdf"}, "epub": {"epub"}}[self.form]
        when = attributes.get("when-format")
        matches = when in mine if when else attributes.get("unless-format") not in mine
        return ("content-visible" in classes and not matches) or (
            "content-hidden" in classes and matches
        )


def transform(document: Document, writer: Writer) -> list[Node]:
    """Blocks of the document, written for one output format."""
    numbered = _mark_headings(copy.deepcopy(document.tree["blocks"]), document.headings)
    inlines = pandoc.walk(numbered, lambda node: _inline(document, writer, node))
    return _blocks(inlines, writer, document)


def _mark_headings(blocks: list[Node], headings: list[Heading]) -> list[Node]:
    """Tie each numbered header to its ``Heading`` by position; tab and callout titles have none."""
    position = 0

    def descend(items: list[Node]) -> None:
        nonlocal position
        for item in items:
            if item["t"] == "Header" and position < len(headings):
                level, attr, _ = item["c"]
                if (level, attr[0]) == (headings[position].level, headings[position].identifier):
                    attr[2] = [*attr[2], ["hb-heading", str(position)]]
                    position += 1
            elif item["t"] == "Div":
                descend(item["c"][1])

    descend(blocks)
    return blocks


def _inline(document: Document, writer: Writer, node: Node) -> Any:
    kind = node["t"]
    if kind == "Image":
        attributes = pandoc.attributes(node["c"][0])
        alt = attributes.get("fig-alt") or pandoc.text_of(node["c"][1])
        if not alt:
            path = node["c"][2][0]
            raise BuildError(
                f'image {path} has no alt text; write ![](…){{fig-alt="…"}}',
                document.chapter.path,
                line_of(document.chapter.path, path),
            )
        return writer.image(node, alt)
    if kind == "Math":
        return writer.math(node)
    if kind == "Link":
        attributes = pandoc.attributes(node["c"][0])
        url = node["c"][2][0]
        if "href-chapter" in attributes:
            node["c"][0][2] = [p for p in node["c"][0][2] if p[0] != "href-chapter"]
            return writer.reference(attributes["href-chapter"], node)
        if url.startswith("#ref-"):
            return writer.citation_link(node)
        if unquote(url).partition("#")[0].endswith(".qmd"):
            return writer.document_link(node)
        return node
    if kind == "Span" and "aside" in node["c"][0][1]:
        return {"t": "Note", "c": [{"t": "Para", "c": node["c"][1]}]}
    return None


def _blocks(blocks: list[Node], writer: Writer, document: Document) -> list[Node]:
    out: list[Node] = []
    for block in blocks:
        kind = block["t"]
        if kind == "Header":
            out += _header(block, writer, document)
        elif kind == "Table":
            out += writer.table(_automatic_widths(block))
        elif kind == "Div":
            out += _div(block, writer, document)
        elif kind in ("BulletList", "OrderedList"):
            items = block["c"] if kind == "BulletList" else block["c"][1]
            items[:] = [_blocks(item, writer, document) for item in items]
            out.append(block)
        elif kind == "BlockQuote":
            block["c"] = _blocks(block["c"], writer, document)
            out.append(block)
        elif kind == "DefinitionList":
            for _, definitions in block["c"]:
                definitions[:] = [_blocks(d, writer, document) for d in definitions]
            out.append(block)
        else:
            out.append(block)
    return out


def _header(block: Node, writer: Writer, document: Document) -> list[Node]:
    attr = block["c"][1]
    position = pandoc.attributes(attr).get("hb-heading")
    attr[2] = [p for p in attr[2] if p[0] != "hb-heading"]
    return writer.heading(block, document.headings[int(position)] if position else None)


def _automatic_widths(block: Node) -> Node:
    block["c"][2] = [[align, {"t": "ColWidthDefault"}] for align, _ in block["c"][2]]
    return block


def _div(block: Node, writer: Writer, document: Document) -> list[Node]:
    (identifier, classes, pairs), content = block["c"]
    attributes = dict(pairs)
    if writer.unwanted(classes, attributes):
        return []
    if "hb-float" in classes:
        kind = attributes["kind"]
        words = f"{NAMES[kind]}\u00a0{attributes['n']}"
        body = _blocks([b for b in content if not _has_class(b, "hb-caption")], writer, document)
        captions = [b for b in content if _has_class(b, "hb-caption")]
        return writer.float(identifier, words, body, captions[0]["c"][1] if captions else [])
    if "hb-equation" in classes:
        return writer.equation(identifier, attributes["n"], content[0]["c"])
    if "panel-tabset" in classes:
        return writer.tabset([(t, _blocks(b, writer, document)) for t, b in _tabs(content)])
    callout = next((c[8:] for c in classes if c.startswith("callout-")), None)
    if callout:
        title, rest = _callout_title(content, attributes)
        collapse = attributes.get("collapse")
        return writer.callout(callout, title, _blocks(rest, writer, document), collapse)
    inner = _blocks(content, writer, document)
    if "hb-fold" in classes:
        return writer.fold(attributes["summary"], inner)
    if "hb-panels" in classes:
        return writer.panels(attributes["columns"], inner)
    if "cell-output" in classes:
        return writer.output(" ".join(c for c in classes if c != "cell-output"), inner)
    if "column-margin" in classes:
        return writer.margin(inner)
    return [{"t": "Div", "c": [[identifier, classes, pairs], inner]}]


def _has_class(block: Node, name: str) -> bool:
    return block["t"] == "Div" and name in block["c"][0][1]


def _callout_title(
    content: list[Node], attributes: dict[str, str]
) -> tuple[list[Node] | None, list[Node]]:
    if "title" in attributes:
        return [pandoc.string(attributes["title"])], content
    if content and content[0]["t"] == "Header":
        return content[0]["c"][2], content[1:]
    return None, content


def _tabs(content: list[Node]) -> list[tuple[list[Node], list[Node]]]:
    tabs: list[tuple[list[Node], list[Node]]] = []
    for block in content:
        if block["t"] == "Header":
            tabs.append((block["c"][2], []))
        elif tabs:
            tabs[-1][1].append(block)
    return tabs

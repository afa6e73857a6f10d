"""Pages as lists of blocks with their words, so that those of two renderers can be compared."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser
from pathlib import Path

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
BLOCKS = {
    "p", "li", "dt", "dd", "th", "td", "figcaption", "pre", "legend", "summary", "label", "math",
    "section", "div", "figure", "table", "ul", "ol", "dl", "main", "header", "aside", "tr",
} | HEADINGS  # fmt: skip
# what a block is, whatever its element: titles of callouts are paragraphs in one renderer
NAMES = {
    "equation": "equation", "hb-equation": "equation", "callout-title": "title",
    "callout-title-container": "title", "code-fold": "title", "tab-title": "tab",
    "nav-link": "tab",
}  # fmt: skip
# Left out, each with its reason: (attribute, value)
LEFT_OUT = {
    ("id", "quarto-margin-sidebar"): "the page's contents, which the other one has beside main",
    ("id", "quarto-bibliography"): "Quarto lists the references of a chapter on its page",
    ("class", "quarto-title-meta"): "Quarto names the author on the home page",
    ("class", "subtitle"): "Quarto gives the subtitle on the home page",
    ("class", "quarto-page-breadcrumbs"): "the way to an appendix",
    ("class", "screen-reader-only"): "the kind of a callout, read aloud",
    ("class", "anchor"): "the sign that links to a section",
    ("class", "page-toc"): "the page's contents once more, for narrow screens",
    ("class", "cover"): "the book's title on the home page, which Quarto has in a block of its own",
    ("class", "turn"): "to the next chapter",
    ("class", "page-navigation"): "to the next chapter",
    ("class", "footnote-back"): "the way back from a footnote",
    ("class", "code-copy-button"): "a button",
}


class Page(HTMLParser):
    """Blocks of a page's main part: (what it is, its words)."""

    def __init__(self, path: Path, left_out: set[tuple[str, str]]) -> None:
        super().__init__(convert_charrefs=True)
        self.left_out = left_out | LEFT_OUT.keys()
        self.blocks: list[tuple[str, str]] = []
        self.open: list[tuple[str, str | None]] = []  # (tag, kind of block; None: not compared)
        self.words: list[str] = []
        self.kind = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        found = dict(attrs)
        marks = {("class", name) for name in (found.get("class") or "").split()}
        marks.add(("id", found.get("id") or ""))
        kind = self.open[-1][1] if self.open else None
        if tag == "main":
            kind = ""
        elif kind is not None:
            if tag in ("script", "style", "annotation") or marks & self.left_out:
                kind = None
            elif names := [NAMES[name] for _, name in marks if name in NAMES]:
                kind = names[0]
            elif tag in BLOCKS and tag != "math" and kind not in NAMES.values():
                kind = tag
        if tag in BLOCKS and tag != "math":
            self.end()
        self.open.append((tag, kind))

    def handle_endtag(self, tag: str) -> None:
        while self.open and any(name == tag for name, _ in self.open):
            if tag in BLOCKS and tag != "math":
                self.end()
            if self.open.pop()[0] == tag:
                return

    def handle_data(self, data: str) -> None:
        kind = self.open[-1][1] if self.open else None
        if kind is not None:
            self.kind = kind
            self.words.append(data)

    def end(self) -> None:
        """Finish a block."""
        text = "".join(self.words)
        lines = [line.rstrip() for line in text.split("\n")]
        text = "\n".join(lines).strip("\n") if self.kind == "pre" else " ".join(text.split())
        if text:
            self.blocks.append((self.kind, text))
        self.words, self.kind = [], ""


def blocks(path: Path, *left_out: tuple[str, str]) -> list[tuple[str, str]]:
    """Headings, paragraphs, captions, cells of tables, code and output of a page, in order.

    Titles of tabs come last: Quarto lists those of a set before its first tab. Letters count
    without their style: pandoc sets matrices upright since 3.8, sloping before.
    """
    found = [
        (k, unicodedata.normalize("NFKC", text)) for k, text in Page(path, set(left_out)).blocks
    ]
    return sorted(found, key=lambda block: block[0] == "tab")

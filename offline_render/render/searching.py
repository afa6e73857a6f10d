"""What the site's search reads: each section's words, and each term of the glossary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from . import pandoc
from .crossref import Document
from .pandoc import Node

INDEX = "search-index.js"
#: Blocks that answer no search: lists of what a chapter teaches, code, and what a page folds away.
UNSEARCHED = {
    "objectives", "needs", "hb-fold", "proof", "model-answer", "hint", "solution", "check",
    "cell-output",
}  # fmt: skip
ROUTINE = {"Objectives", "Check yourself"}
#: Sections that repeat, optional ones and appendices answer after those that explain.
ASIDE = {"Summary", "Common mistakes", "Exercises", "Agreement with lme4"}
GLOSSARY = "gls-"


def write_index(documents: list[Document], out: Path) -> None:
    """Write the index as a script: a page opened as a file may load one, but read no other file."""
    told = json.dumps(entries(documents), ensure_ascii=False, separators=(",", ":"))
    (out / INDEX).write_text(f"window.handbookIndex={told};\n", encoding="utf-8")


def entries(documents: list[Document]) -> list[dict[str, str]]:
    """One entry for a section, an aside or a term: kind, url, title, page and text."""
    out: list[dict[str, str]] = []
    for document in documents:
        page = f"{document.chapter.number} {document.title}".strip()
        numbers = {h.identifier: h.number for h in document.headings}
        current: dict[str, str] = {}
        for block in document.tree["blocks"]:
            if block["t"] == "Header":
                _, attr, inlines = block["c"]
                words = plain(inlines)
                aside = words in ASIDE or "optional" in attr[1] or document.chapter.appendix
                current = {
                    "kind": "aside" if aside else "section",
                    "url": f"{document.chapter.href}#{attr[0]}",
                    "title": f"{numbers.get(attr[0], '')} {words}".strip(),
                    "page": page,
                    "text": "",
                }
                if words not in ROUTINE:
                    out.append(current)
            elif block["t"] == "DefinitionList":
                out += terms(block, document.chapter.href, page)
            elif current:
                current["text"] = tidy(f"{current['text']} {words_of(block)}")
    return out


def terms(block: Node, href: str, page: str) -> list[dict[str, str]]:
    """The entries of a list of definitions whose terms carry an address."""
    out = []
    for term, definitions in block["c"]:
        named = [n for n in pandoc.nodes(term, "Span") if n["c"][0][0].startswith(GLOSSARY)]
        if named:
            out.append(
                {
                    "kind": "term",
                    "url": f"{href}#{named[0]['c'][0][0]}",
                    "title": plain(term),
                    "page": page,
                    "text": tidy(" ".join(words_of(b) for b in definitions)),
                }
            )
    return out


def plain(inlines: list[Node]) -> str:
    """Words of a heading, without the mark of an optional part."""
    return tidy(pandoc.text_of(inlines)).removesuffix(" (optional)")


def words_of(block: Any) -> str:
    """The words a reader sees in a block; numbers of tables and formulas aren't sought by words."""
    if isinstance(block, list):
        return " ".join(filter(None, map(words_of, block)))
    if not isinstance(block, dict):
        return ""
    kind, content = str(block["t"]), block.get("c") or []
    if kind in ("CodeBlock", "RawBlock"):
        return ""
    if kind in ("Para", "Plain"):
        return inline_words(content)
    if kind == "Div":
        classes = content[0][1]
        if UNSEARCHED & set(classes) or ["when-format", "typst"] in content[0][2]:
            return ""
        inner = content[1]
        if "exercise" in classes:
            return f"{dict(content[0][2]).get('title', '')}. {words_of(inner)}"
        if "quiz" in classes:
            inner = [b for b in inner if b["t"] != "BulletList"]
        return words_of(inner)
    if kind == "Table":
        cells = (inline_words(n["c"]) for n in pandoc.nodes(content, "Plain"))
        return " ".join(cell for cell in cells if re.search(r"[^\W\d_]{2}", cell))
    return words_of(content[1] if kind in ("OrderedList", "Header") else content)


def inline_words(inlines: list[Node]) -> str:
    return pandoc.text_of(pandoc.walk(inlines, _without_formula))


def _without_formula(node: Node) -> Node | None:
    return pandoc.string("") if node["t"] in ("Math", "RawInline") else None


def tidy(text: str) -> str:
    return " ".join(text.split())

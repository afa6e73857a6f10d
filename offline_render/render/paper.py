"""What paper asks for: widths of columns, sentences kept with what follows, an edition."""

from __future__ import annotations

import datetime

import yaml

from ..book import Project
from . import pandoc
from .pandoc import Node, raw

WIDE_TABLE = 90
WORDY_COLUMN = 26


def _formula_width(node: Node) -> Node | None:
    return pandoc.string("x" * 6) if node["t"] == "RawInline" else None


def column_widths(rows: list[Node]) -> str:
    """Typst column widths: by content, but wordy columns of a wide table share what is left."""
    lengths: list[int] = []
    for _, cells in rows:
        for k, cell in enumerate(cells):
            # A formula's code says nothing of its width.
            plain = pandoc.walk(cell[4], _formula_width)
            length = len(pandoc.text_of(plain))
            if k < len(lengths):
                lengths[k] = max(lengths[k], length)
            else:
                lengths.append(length)
    if sum(lengths) <= WIDE_TABLE:
        return str(len(lengths))
    widths = [f"{min(n, 200)}fr" if n > WORDY_COLUMN else "auto" for n in lengths]
    return f"({', '.join(widths)},)"


def _is_display(block: Node) -> bool:
    """Whether a block is a formula on a line of its own."""
    inlines = [block] if block["t"] == "RawBlock" else block["c"]
    texts = [str(n["c"][1]) for n in inlines if n["t"] in ("RawInline", "RawBlock")]
    return bool(texts) and texts[0].startswith("#math.equation(") and "block: true" in texts[0]


def leading(blocks: list[Node]) -> list[Node]:
    """Blocks in which a sentence stays with the formula or the code that it leads to."""
    out: list[Node] = []
    for block, after in zip(blocks, [*blocks[1:], {"t": "Null"}], strict=True):
        formula = after["t"] in ("RawBlock", "Para") and _is_display(after)
        code = after["t"] == "CodeBlock" and pandoc.text_of(block.get("c", "")).endswith(":")
        if block["t"] == "Para" and (formula or code) and not _is_display(block):
            start = raw("typst", "#block(sticky: true, above: 1.05em, below: 1.05em)[")
            out += [start, block, raw("typst", "]")]
        else:
            out.append(block)
    return out


def edition(project: Project) -> str:
    """Edition and licence for the cover, from the file that says how to cite the book."""
    path = project.root / "CITATION.cff"
    if not path.exists():
        return ""
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    version, date = told.get("version"), told.get("date-released")
    when = f", {date:%B %Y}" if isinstance(date, datetime.date) else ""
    return (
        f"Edition {version}{when}. Text: CC BY 4.0. Code: MIT. Generated data: CC0."
        if version
        else ""
    )

"""A chapter's Markdown as any notebook shows it.

Fenced blocks become what they say: titles in bold, exercises with their number, no questions;
labels, references and citations are spelt out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

from ..book import lines_of
from .crossref import Target

OPEN = re.compile(r"^(?P<colons>:{3,})\s*(?:\{(?P<attrs>[^}]*)\}|(?P<name>[A-Za-z][\w-]*))\s*$")
CLOSE = re.compile(r"^:{3,}\s*$")
TITLE = re.compile(r'title="([^"]*)"')
KIND = re.compile(r'kind="([^"]*)"')
#: What the parts of an exercise begin with; the kinds are worded as in exercises.lua.
KINDS = {"again": "do it again", "decide": "decide and defend", "mistake": "find the mistake"}
PARTS = {"hint": "*Hint.*", "solution": "**Solution.**"}
REFERENCE = re.compile(r"\[-@((?:sec|fig|tbl|eq)-[\w-]+)\]|(?<![\w\\])@((?:sec|fig|tbl|eq)-[\w-]+)")
CITATIONS = re.compile(r"\[([^\]\[]*@[^\]\[]*)\]")
CITATION = re.compile(r"-?@([A-Za-z][\w:-]*)")
LABEL = re.compile(r"\s*\{#(?P<id>[\w-]+)[^}]*\}")
FOOTNOTE = re.compile(r"\^\[([^\]]*)\]")
DOCUMENT_LINK = re.compile(r"\[([^\]]+)\]\([\w./-]+\.qmd(?:#[\w-]+)?\)")
LEFT_OUT = {"quiz", "reflection", "answer-key", "explorer", "check"}
SILENT = {"check"}  # the solution above it says its answer
QUESTIONS = "*The questions of this section are on the book's page.*"


def plain_markdown(
    text: str,
    targets: dict[str, Target],
    words: dict[str, tuple[str, str]],
    exercises: Iterator[int] | None = None,
) -> str:
    """Markdown that any notebook shows: no fenced blocks, labels, references or citations.

    `exercises` numbers those that begin in the text.
    """
    out = [
        line if in_code else plain_line(line, targets, words)
        for line, in_code in _without_blocks(text, exercises or count(1))
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def _without_blocks(text: str, exercises: Iterator[int]) -> Iterator[tuple[str, bool]]:
    """The lines inside fenced blocks, and which are code: no questions, titles in bold.

    The text may end blocks that began before a cell.
    """
    left_out: int | None = None
    depth = 0
    announced = False
    for line, in_code in lines_of(text):
        opened = None if in_code else OPEN.match(line)
        closed = None if in_code else CLOSE.match(line)
        if opened:
            depth += 1
            attrs = opened["attrs"] or "." + opened["name"]
            names = {word[1:] for word in attrs.split() if word.startswith(".")}
            if left_out is not None:
                continue
            if names & LEFT_OUT:
                left_out = depth
                if not announced and not names & SILENT:
                    yield QUESTIONS, False
                    announced = True
            elif said := _opening(attrs, names, exercises):
                yield said, False
                yield "", False
            continue
        if closed:
            if left_out == depth:
                left_out = None
            depth -= 1
            continue
        if left_out is None:
            yield line, in_code


def _opening(attrs: str, names: set[str], exercises: Iterator[int]) -> str:
    """What stands in a notebook where a block begins; empty for those that say nothing."""
    title, kind = TITLE.search(attrs), KIND.search(attrs)
    if "exercise" in names and title:
        what = f" ({KINDS.get(kind[1], kind[1])})" if kind else ""
        end = "" if title[1][-1:] in "?!." else "."
        return f"**Exercise {next(exercises)}{what}: {title[1]}{end}**"
    part = next((PARTS[name] for name in PARTS if name in names), "")
    return part or (f"**{title[1]}.**" if title else "")


def plain_line(line: str, targets: dict[str, Target], words: dict[str, tuple[str, str]]) -> str:
    label = LABEL.search(line)
    if label:
        identifier = label["id"]
        target = targets.get(identifier)
        line = LABEL.sub("", line)
        if line.startswith(": ") and target:
            line = f"*{target.words}: {line[2:]}*"
        if identifier.startswith("eq-") and target:
            line = f"{line}\n\n({target.number})"
    if line.startswith("#"):
        line = re.sub(r"\s*\{[^}]*\}\s*$", "", line)
    if line.startswith(": "):
        line = line[2:]  # the text of a definition
    line = FOOTNOTE.sub(r" (\1)", line)
    line = DOCUMENT_LINK.sub(r"\1", line)  # the other chapters are not beside a notebook

    def reference(match: re.Match[str]) -> str:
        found = targets.get(match[1] or match[2])
        return match[0] if found is None else found.number if match[1] else found.words

    def group(match: re.Match[str]) -> str:
        inside = CITATION.sub(lambda m: ", ".join(words.get(m[1], (m[1], ""))), match[1])
        return f"({inside})"

    def single(match: re.Match[str]) -> str:
        author, year = words.get(match[1], (match[0], ""))
        return f"{author} ({year})" if year else author

    line = REFERENCE.sub(reference, line)
    line = CITATIONS.sub(group, line)
    return re.sub(r"(?<![\w`./])@([A-Za-z][\w:-]*\d{4}\w?)", single, line)

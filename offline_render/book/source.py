"""A .qmd document split into prose and code cells, each with its line number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import BuildError

# a line with more backticks after its first ones holds code within a sentence
FENCE = re.compile(r"^\s*(?P<ticks>`{3,}|~{3,})\s*(?P<info>[^`]*?)\s*$")
INLINE = re.compile(r"`\{python\}\s+([^`]+?)\s*`")
OPTION = re.compile(r"^#\|\s?(.*)$")


@dataclass
class Prose:
    """Markdown between two cells; ``inline`` lists the (line, expression) pairs in it."""

    text: str
    line: int
    inline: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Cell:
    """One executable Python cell: its options, its code and the line the code starts on."""

    code: str
    options: dict[str, Any]
    line: int
    code_line: int
    number: int
    option_lines: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return str(self.options.get("label", f"cell-{self.number}"))

    def option(self, name: str, default: Any) -> Any:
        return self.options.get(name, default)


Part = Prose | Cell


def split(path: Path) -> list[Part]:
    """Split a .qmd file into its parts, in order.

    Raises
    ------
    BuildError
        For an unclosed fence, options that aren't YAML, or a front matter block (settings live
        in ``_quarto.yml`` so that both renderers read the same).
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    if lines and lines[0].strip() == "---":
        raise BuildError("front matter; put settings into _quarto.yml", path, 1)
    parts: list[Part] = []
    prose: list[str] = []
    prose_line = 1
    inline: list[tuple[int, str]] = []
    number = 0
    i = 0
    while i < len(lines):
        match = FENCE.match(lines[i])
        if not match:
            inline += [(i + 1, m.group(1)) for m in INLINE.finditer(lines[i])]
            prose.append(lines[i])
            i += 1
            continue
        end = _closing(lines, i, match, path)
        if match["info"].startswith("{python"):
            parts.append(Prose("\n".join(prose), prose_line, inline))
            number += 1
            parts.append(_cell(lines[i + 1 : end], i + 1, number, path))
            prose, inline, prose_line = [], [], end + 2
        else:
            prose += lines[i : end + 1]
        i = end + 1
    parts.append(Prose("\n".join(prose), prose_line, inline))
    return parts


def lines_of(text: str) -> Iterator[tuple[str, bool]]:
    """Each line of a Markdown text, and whether it belongs to a code block, its fences included."""
    ticks = ""
    for line in text.split("\n"):
        if ticks:
            yield line, True
            ticks = "" if _closes(line, ticks) else ticks
        else:
            opened = FENCE.match(line)
            ticks = opened["ticks"] if opened else ""
            yield line, bool(ticks)


def _closes(line: str, ticks: str) -> bool:
    stripped = line.strip()
    return set(stripped) == {ticks[0]} and len(stripped) >= len(ticks)


def _closing(lines: list[str], start: int, match: re.Match[str], path: Path) -> int:
    ticks = match["ticks"]
    for j in range(start + 1, len(lines)):
        if _closes(lines[j], ticks):
            return j
    raise BuildError(f"code fence {ticks} is never closed", path, start + 1)


def _cell(body: list[str], fence_line: int, number: int, path: Path) -> Cell:
    options: list[str] = []
    while len(options) < len(body) and (m := OPTION.match(body[len(options)])):
        options.append(m.group(1))
    try:
        parsed = yaml.safe_load("\n".join(options)) or {}
    except yaml.YAMLError as error:
        raise BuildError(f"cell options aren't YAML: {error}", path, fence_line) from error
    if not isinstance(parsed, dict):
        raise BuildError("cell options must be `#| name: value` lines", path, fence_line)
    code = "\n".join(body[len(options) :])
    code_line = fence_line + 1 + len(options)
    return Cell(code, parsed, fence_line, code_line, number, body[: len(options)])

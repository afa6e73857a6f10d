"""The exercises of a document, read from its source, for the tests of what a chapter must have."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from offline_render.book import lines_of

OPEN = re.compile(r"^:{3,}\s*\{(?P<attrs>[^}]*)\}\s*$")
CLOSE = re.compile(r"^:{3,}\s*$")


@dataclass
class Exercise:
    """One exercise: its attributes, and the source of its task, hint, solution and check."""

    identifier: str
    kind: str
    title: str
    parts: dict[str, str] = field(default_factory=dict)
    check_attributes: str = ""


def exercises(path: Path) -> list[Exercise]:
    """All exercises of a document, in order."""
    out: list[Exercise] = []
    open_blocks: list[str] = []
    for line, in_code in lines_of(path.read_text(encoding="utf-8")):
        opened = None if in_code else OPEN.match(line)
        if opened:
            attrs = opened["attrs"]
            name = (re.findall(r"\.([\w-]+)", re.sub(r'"[^"]*"', "", attrs)) or [""])[0]
            open_blocks.append(name)
            if name == "exercise":
                out.append(Exercise(_id(attrs), _value(attrs, "kind"), _value(attrs, "title")))
            elif name == "check" and "exercise" in open_blocks:
                out[-1].check_attributes = attrs
        elif not in_code and CLOSE.match(line):
            open_blocks.pop()
        elif "exercise" in open_blocks:
            part = open_blocks[-1] if open_blocks[-1] != "exercise" else "task"
            out[-1].parts[part] = out[-1].parts.get(part, "") + line + "\n"
    return out


def cells(solution: str) -> list[str]:
    """The chunks of a solution, with their options."""
    return re.findall(r"```\{python\}\n(.*?)```", solution, re.S)


def _id(attrs: str) -> str:
    found = re.search(r"#([\w-]+)", attrs)
    return found[1] if found else ""


def _value(attrs: str, name: str) -> str:
    found = re.search(rf'\b{name}="([^"]*)"', attrs)
    return found[1] if found else ""

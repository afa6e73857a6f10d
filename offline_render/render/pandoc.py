"""Calls of pandoc, remembered by content, and small tools for its JSON document tree."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pypandoc

from ..book import BuildError, cannot_write, keep, recall

Node = dict[str, Any]
READER = "markdown-implicit_figures"


@cache
def executable() -> str:
    """The pandoc inside the locked package, whatever else is on PATH.

    Raises
    ------
    BuildError
        If the package came without its program.
    """
    name = "pandoc.exe" if os.name == "nt" else "pandoc"
    program = Path(pypandoc.__file__).with_name("files") / name
    if not os.access(program, os.X_OK):
        raise BuildError(
            f"pandoc is missing ({program}); install the pypandoc_binary package, which brings it"
        )
    return str(program)


@cache
def version() -> str:
    done = subprocess.run(
        [executable(), "--version"], capture_output=True, encoding="utf-8", check=False
    )
    found = re.match(r"pandoc(?:\.exe)? ([\d.]+)", done.stdout)
    if found is None:
        raise BuildError(f"{executable()} does not run: {done.stderr.strip()}")
    return found[1]


class Pandoc:
    """Runs pandoc and remembers each answer under ``folder`` by the content that was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Threads share one engine: which pandoc serves is settled before they start.
        self.version = version()
        # An empty folder stands for the user's: no defaults, templates or init.lua of their own.
        self.home = folder.with_name("pandoc-home")
        try:
            for place in (folder, self.home):
                place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error

    def run(self, text: str, *options: str, depends: str = "", target: str = "") -> str:
        """Convert ``text``; ``depends`` joins the key, ``target`` names the final format."""
        key_text = "\0".join([self.version, *options, depends, target, text])
        kept = self.folder / hashlib.sha256(key_text.encode()).hexdigest()
        known = recall(kept)
        if known is not None:
            return known.decode()
        done = subprocess.run(
            [executable(), f"--data-dir={self.home}", *options],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=self.environment(target),
        )
        if done.returncode:
            raise BuildError(f"pandoc failed: {done.stderr.strip()}")
        # Labels that stand twice are found, with their place, when references are resolved.
        warnings = [w for w in done.stderr.strip().split("\n") if "Duplicate identifier" not in w]
        if any(warnings):
            raise BuildError("pandoc warns: " + "\n".join(warnings))
        keep(kept, done.stdout.encode())
        return done.stdout

    def environment(self, target: str) -> dict[str, str]:
        """All that pandoc gets of this machine's environment, and the format for the filter."""
        needed = ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH")
        passed = {name: os.environ[name] for name in needed if name in os.environ}
        home = dict.fromkeys(("HOME", "USERPROFILE", "APPDATA"), str(self.home))
        asked = {"HANDBOOK_FORMAT": target} if target else {}
        return {**passed, **home, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **asked}

    def read(self, markdown: str) -> Node:
        """Markdown to pandoc's document tree."""
        return dict(json.loads(self.run(markdown, "-f", READER, "-t", "json")))


def filter_text(lua: Path) -> str:
    """The filter's own text and that of the files beside it which it loads."""
    return "\0".join(path.read_text(encoding="utf-8") for path in sorted(lua.parent.glob("*.lua")))


def walk(node: Any, visit: Callable[[Node], Any]) -> Any:
    """Rebuild a tree bottom-up; ``visit`` returns a node, a list of nodes, or None to keep."""
    if isinstance(node, list):
        out: list[Any] = []
        for item in node:
            new = walk(item, visit)
            if isinstance(item, dict) and "t" in item and isinstance(new, list):
                out.extend(new)
            else:
                out.append(new)
        return out
    if isinstance(node, dict):
        rebuilt = {key: walk(value, visit) for key, value in node.items()}
        if "t" in rebuilt:
            new = visit(rebuilt)
            return rebuilt if new is None else new
        return rebuilt
    return node


def nodes(tree: Any, kind: str) -> Iterator[Node]:
    """All nodes of one kind, in document order."""
    if isinstance(tree, list):
        for item in tree:
            yield from nodes(item, kind)
    elif isinstance(tree, dict):
        if tree.get("t") == kind:
            yield tree
        for value in tree.values():
            yield from nodes(value, kind)


def text_of(tree: Any) -> str:
    """The plain text of inlines, as for a page title."""
    if isinstance(tree, list):
        return "".join(text_of(item) for item in tree)
    if isinstance(tree, dict):
        kind, content = tree.get("t"), tree.get("c", "")
        if kind == "Str":
            return str(content)
        if kind in ("Space", "SoftBreak", "LineBreak"):
            return " "
        if kind in ("Code", "Math", "RawInline"):
            return str(content[1])
        if kind == "Note":
            return ""
        if kind in ("Link", "Image", "Span", "Quoted", "Cite"):
            return text_of(content[1])
        return text_of(content)
    return ""


def string(text: str) -> Node:
    return {"t": "Str", "c": text}


def raw(form: str, text: str, inline: bool = False) -> Node:
    return {"t": "RawInline" if inline else "RawBlock", "c": [form, text]}


def div(identifier: str, classes: list[str], blocks: list[Node], **attributes: str) -> Node:
    return {"t": "Div", "c": [[identifier, classes, list(map(list, attributes.items()))], blocks]}


def attributes(attr: list[Any]) -> dict[str, str]:
    return dict(attr[2])

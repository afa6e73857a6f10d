"""Calls of pandoc, remembered by content, and small tools for its JSON document tree."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pypandoc

from .errors import BuildError

Node = dict[str, Any]
READER = "markdown-implicit_figures"


@cache
def executable() -> str:
    return str(pypandoc.get_pandoc_path())


@cache
def version() -> str:
    return str(pypandoc.get_pandoc_version())


class Pandoc:
    """Runs pandoc and remembers each answer under ``folder`` by the content that was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, text: str, *options: str, depends: str = "", target: str = "") -> str:
        """Convert ``text``; ``depends`` joins the key, ``target`` names the final format."""
        key_text = "\0".join([version(), *options, depends, target, text])
        key = hashlib.sha256(key_text.encode()).hexdigest()
        kept = self.folder / key
        if kept.exists():
            return kept.read_text(encoding="utf-8")
        done = subprocess.run(
            [executable(), *options],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, **({"HANDBOOK_FORMAT": target} if target else {})},
        )
        if done.returncode:
            raise BuildError(f"pandoc failed: {done.stderr.strip()}")
        # Labels that stand twice are found, with their place, when references are resolved.
        warnings = [w for w in done.stderr.strip().split("\n") if "Duplicate identifier" not in w]
        if any(warnings):
            raise BuildError("pandoc warns: " + "\n".join(warnings))
        part = kept.with_suffix(f".{id(done)}.part")
        part.write_text(done.stdout, encoding="utf-8")
        part.replace(kept)
        return done.stdout

    def read(self, markdown: str) -> Node:
        """Markdown to pandoc's document tree."""
        return dict(json.loads(self.run(markdown, "-f", READER, "-t", "json")))


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

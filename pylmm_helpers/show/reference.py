"""The reference of a public name, written from its docstring and its signature.

Docstrings keep numpydoc's sections. What is read here is a part of that form, the part that this
package uses; a section or a mark beyond it stays as it was written.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import dataclass
from types import ModuleType
from typing import Any

WIDTH = 79
FOLD = "Arguments, errors and notes"

_SECTION = re.compile(r"^([A-Z]\w+)\n-{3,}\n", re.M)
_ITEM = re.compile(r"^(?=\S)", re.M)
_MARK = re.compile(r":math:`([^`]+)`|``(.+?)``|`([^`]+)`|doi:(10\.\d{4,}/[^\s),;]*[^\s),;.:])")
_SPECIAL = re.compile(r"([\\^~<>\[\]$@#|]|\*(?!\w+\*)(?<!\w\*)|(?<=\s)_)")
#: A sentence ends before a capital, a sign of code or a bracket.
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`(\"])")


#: Methods that the other helpers call, in columns that no reader sees.
_FOR_HELPERS = {"scaled_z"}


@dataclass(frozen=True)
class Item:
    """One argument, result or error: what it is called, its type, and what is said of it.

    Attributes
    ----------
    names : tuple of str
        Arguments or attributes that share a description; empty for a result.
    kind : str
        Type, or class of the error.
    text : str
        The description, as it stands in the docstring.
    """

    names: tuple[str, ...]
    kind: str
    text: str


@dataclass(frozen=True)
class Entry:
    """What the docstring of a public name says, part by part; a page shows it as Markdown.

    Attributes
    ----------
    name : str
        As it is written in a call, such as ``"plots.qq"``.
    summary : str
        First paragraph.
    more : str
        What stands between summary and the first section.
    calls : tuple of str
        The signature, wrapped; for a class those of its methods.
    arguments, attributes, returns, raises : tuple of Item
        Items of these sections.
    notes, references : str
        The sections as they stand.
    """

    name: str
    summary: str
    more: str
    calls: tuple[str, ...]
    arguments: tuple[Item, ...]
    attributes: tuple[Item, ...]
    returns: tuple[Item, ...]
    raises: tuple[Item, ...]
    notes: str
    references: str

    def _repr_markdown_(self) -> str:
        return "\n\n".join([markdown(self.summary), self._page(), self._paper()]) + "\n"

    def _page(self) -> str:
        """All that the docstring says; what is looked up but not read through lies in a fold."""
        call = "\n".join(["```", *self.calls, "```"]) if self.calls else ""
        blocks = [call, _given(self.returns), _source(self.references)]
        fold = [
            _listed(self.attributes or self.arguments),
            _failing(self.raises),
            markdown(self.more),
            markdown(self.notes),
        ]
        lines = [b for b in fold if b]
        if fold[0] or fold[1]:
            title = "Attributes and notes" if self.attributes else FOLD
            lines = [_div(f'.proof summary="{title}"', lines)]
        blocks += lines
        return _div('.content-visible when-format="html"', [b for b in blocks if b])

    def _paper(self) -> str:
        """The call and the first sentences, in a row: paper has no folds, and less room."""
        title = "Attributes" if self.attributes else "Arguments"
        said = [
            f"{_names(i)}: {markdown(first(i.text))}" for i in self.attributes or self.arguments
        ]
        calls = [f"`{' '.join(call.split())}`" for call in self.calls]
        errors = ", ".join(f"`{i.kind}`" for i in self.raises)
        rest = [
            _given(tuple(Item(i.names, i.kind, first(i.text)) for i in self.returns)),
            f"**Raises** {errors}." if errors else "",
            _source(self.references),
        ]
        blocks = [
            " ".join([*calls, *([f"**{title}** {' '.join(said)}"] if said else [])]),
            " ".join(part for part in rest if part),
        ]
        return _div('.content-hidden when-format="html"', [b for b in blocks if b])

    def __repr__(self) -> str:
        return "\n".join([self.summary, *self.calls])


def entry(name: str) -> Entry:
    """The reference of a public name.

    Parameters
    ----------
    name : str
        As it is written in a call: ``"icc"``, ``"plots.qq"``.

    Returns
    -------
    Entry
        A page shows it as Markdown.

    Raises
    ------
    AttributeError
        For a name that the package doesn't have.
    """
    import pylmm_helpers

    thing: Any = pylmm_helpers
    for part in name.split("."):
        thing = getattr(thing, part)
    head, sections = sections_of(inspect.getdoc(thing) or "")
    summary, _, more = head.partition("\n\n")
    return Entry(
        name=name,
        summary=" ".join(summary.split()),
        more=more,
        calls=_calls(name, thing),
        arguments=items_of(sections.get("Parameters", "")),
        attributes=items_of(sections.get("Attributes", "")),
        returns=_results(sections.get("Returns", "")),
        raises=_results(sections.get("Raises", "")),
        notes=sections.get("Notes", ""),
        references=sections.get("References", ""),
    )


def room(name: str) -> str:
    """What comes into a room of the package and what goes out: the first sentence of its module."""
    from importlib import import_module

    module = import_module(f"pylmm_helpers.{name}")
    return " ".join((module.__doc__ or "").partition("\n\n")[0].split())


def sections_of(doc: str) -> tuple[str, dict[str, str]]:
    """A docstring's head, and its sections by title."""
    head, *rest = _SECTION.split(doc)
    return head.strip(), {t: b.strip("\n") for t, b in zip(rest[::2], rest[1::2], strict=True)}


def items_of(section: str) -> tuple[Item, ...]:
    """Items of a section of arguments: ``a, b : type`` and an indented description."""
    found = []
    for names, kind, text in _pieces(section):
        found.append(Item(tuple(n.strip() for n in names.split(",")), kind, text))
    return tuple(found)


def _results(section: str) -> tuple[Item, ...]:
    return tuple(Item((), f"{a} : {b}" if b else a, text) for a, b, text in _pieces(section))


def _pieces(section: str) -> list[tuple[str, str, str]]:
    found = []
    for piece in _ITEM.split(section):
        if piece.strip():
            title, _, text = piece.partition("\n")
            names, _, kind = title.partition(" : ")
            found.append((names.strip(), kind.strip(), textwrap.dedent(text).strip()))
    return found


def _calls(name: str, thing: Any) -> tuple[str, ...]:
    if isinstance(thing, ModuleType):
        return ()
    if inspect.isclass(thing):
        methods = [
            (n, m) for n, m in inspect.getmembers(thing, inspect.isfunction)
            if not n.startswith("_") and n in vars(thing) and n not in _FOR_HELPERS
        ]  # fmt: skip
        return tuple(call(f"{name}.{n}", m) for n, m in methods)
    return (call(name, thing),)


def call(name: str, function: Any) -> str:
    """The signature without types, which stand at the arguments, in lines of `WIDTH`."""
    parts, star = [], False
    for p in inspect.signature(function).parameters.values():
        if p.name == "self":
            continue
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        text = f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name
        star = star or p.kind is p.VAR_POSITIONAL
        parts.append(text if p.default is p.empty else f"{text}={p.default!r}")
    joined = ", ".join(part.replace(" ", "\0") for part in parts)
    indent = " " * (len(name) + 1)
    lines = textwrap.fill(
        f"{name}({joined})", WIDTH, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return lines.replace("\0", " ")


def first(text: str) -> str:
    """The first sentence; before a list it ends with a full stop."""
    sentence = _END.split(text.partition("\n\n")[0], maxsplit=1)[0].rstrip()
    return re.sub(r":$", ".", sentence)


def markdown(text: str) -> str:
    """A docstring's text as Markdown: paragraphs on one line, formulas and code marked."""
    blocks = re.split(r"\n\s*\n", text.strip())
    out, k = [], 0
    while k < len(blocks):
        block = blocks[k]
        if block.strip() == ".. math::" and k + 1 < len(blocks):
            out.append(f"$$\n{textwrap.dedent(blocks[k + 1]).strip()}\n$$")
            k += 1
        elif block.lstrip().startswith("- "):
            bullets = re.split(r"^- ", textwrap.dedent(block), flags=re.M)
            out.append("\n".join(f"- {_inline(b)}" for b in bullets if b.strip()))
        else:
            out.append(_inline(block))
        k += 1
    return "\n\n".join(out)


def _inline(text: str) -> str:
    parts, end = [], 0
    line = " ".join(text.split())
    for mark in _MARK.finditer(line):
        formula, code, name, doi = mark.groups()
        parts.append(_SPECIAL.sub(r"\\\1", line[end : mark.start()]))
        if formula:
            parts.append(f"${formula}$")
        elif doi:
            parts.append(f"[doi:{doi}](https://doi.org/{doi})")
        else:
            parts.append(f"`{code or name}`")
        end = mark.end()
    return "".join([*parts, _SPECIAL.sub(r"\\\1", line[end:])])


def _listed(items: tuple[Item, ...]) -> str:
    rows = []
    for item in items:
        kind = f" ({_inline(item.kind)})" if item.kind else ""
        said = textwrap.indent(markdown(item.text), "    ").strip() or "–"
        rows.append(f"{_names(item)}{kind}\n:   {said}")
    return "\n\n".join(rows)


def _names(item: Item) -> str:
    return ", ".join(f"`{name}`" for name in item.names)


def _given(items: tuple[Item, ...]) -> str:
    return "\n\n".join(f"**Returns** {_inline(i.kind)}. {markdown(i.text)}".strip() for i in items)


def _failing(items: tuple[Item, ...]) -> str:
    return "\n\n".join(f"**Raises** `{i.kind}`. {markdown(i.text)}".strip() for i in items)


def _source(text: str) -> str:
    return f"**Source** {markdown(text)}" if text else ""


def _div(attributes: str, blocks: list[str]) -> str:
    if not blocks:
        return ""
    inner = "\n\n".join(blocks)
    fence = ":" * (4 if ":::" in inner else 3)
    return f"{fence} {{{attributes}}}\n{inner}\n{fence}"

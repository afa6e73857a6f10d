"""Quiz sheets: the questions of each chapter to print and hand out, without and with their key.

They are made of the same documents as the pages and the PDF, so a question is written once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

import typst

from ..book import BuildError, Project, remembered
from . import fonts, pandoc
from .blocks import transform
from .crossref import Document
from .formulas import quoted
from .pandoc import Node, Pandoc, raw
from .paper import edition, leading
from .pdf import TypstWriter, design, typst_formulas

#: The two files, and the name under which each is kept: none of these may begin with the other.
SHEETS = {"quiz-sheets.pdf": "sheets-plain", "quiz-sheets-with-key.pdf": "sheets-key"}
CHECKED, BOXES = "☒", {"☐", "☒"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass
class Option:
    """An option of a question: whether it is right, its words, and why."""

    right: bool
    words: list[Node]
    why: list[Node]


@dataclass
class Question:
    """A question as a sheet prints it; one without options is a reflection."""

    words: list[Node] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    answer: list[Node] = field(default_factory=list)

    @property
    def right(self) -> list[str]:
        return [LETTERS[k] for k, option in enumerate(self.options) if option.right]


def write_quiz_sheets(
    project: Project,
    documents: list[Document],
    files: dict[str, dict[str, bytes]],
    engine: Pandoc,
    out: Path,
) -> list[Path]:
    """Write both files into `out`; nothing in a book without questions.

    Raises
    ------
    BuildError
        With Typst's message where it refuses a sheet.
    """
    asking = [document for document in documents if any(questions(document.tree["blocks"]))]
    if not asking:
        return []
    root = project.work / "sheets"
    pictures = _pictures(asking, files)
    for name, data in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder = fonts.pdf_font_folder(root / "fonts")
    written = []
    for name, kept in SHEETS.items():
        main = root / f"{kept}.typ"
        main.parent.mkdir(parents=True, exist_ok=True)
        main.write_text(source(project, asking, engine, key="key" in kept), encoding="utf-8")
        inputs = [
            version("typst").encode(), main.read_bytes(),
            *(path.read_bytes() for path in sorted(folder.iterdir())),
            *(part for path, data in pictures.items() for part in (path.encode(), data)),
        ]  # fmt: skip
        make = partial(_compiled, main, folder)
        data = remembered(project.work / "made", kept, inputs, make)
        (out / name).write_bytes(data)
        written.append(out / name)
    return written


def asked_in(document: Document) -> list[Question]:
    """The questions of a document, each with the figures that it speaks of."""
    figures = {
        node["c"][0][0]: node
        for node in pandoc.nodes(document.tree["blocks"], "Div")
        if _is(node, "hb-float") and node["c"][0][0].startswith("fig-")
    }
    asked = list(questions(document.tree["blocks"]))
    for question in asked:
        links = [node["c"][2][0][1:] for node in pandoc.nodes(question.words, "Link")]
        named = [figures[name] for name in dict.fromkeys(links) if name in figures]
        question.words = [*named, *question.words]
    return asked


def questions(blocks: list[Node]) -> Iterator[Question]:
    """The quizzes and reflections among some blocks, in order."""
    for block in blocks:
        if block["t"] != "Div":
            continue
        classes, inner = block["c"][0][1], block["c"][1]
        if "quiz" in classes:
            yield _quiz(inner)
        elif "reflection" in classes:
            yield _reflection(inner)
        else:
            yield from questions(inner)


def _quiz(blocks: list[Node]) -> Question:
    question = Question()
    for block in blocks:
        if block["t"] == "BulletList" and any(_box(item) for item in block["c"]):
            for item in block["c"]:
                words = [
                    n for n in item[0]["c"][1:] if n["t"] != "Space" or n is not item[0]["c"][1]
                ]
                question.options.append(Option(_box(item) == CHECKED, words, item[1:]))
        elif not _is(block, "hint"):
            question.words.append(block)
    return question


def _reflection(blocks: list[Node]) -> Question:
    answers = [block["c"][1] for block in blocks if _is(block, "model-answer")]
    words = [block for block in blocks if not _is(block, "model-answer")]
    return Question(words, [], [block for answer in answers for block in answer])


def _is(block: Node, name: str) -> bool:
    return block["t"] == "Div" and name in block["c"][0][1]


def _box(item: list[Node]) -> str:
    """The box that an option begins with, or an empty string."""
    first = item[0]["c"][0] if item and item[0]["t"] in ("Para", "Plain") else {}
    return str(first["c"]) if first.get("t") == "Str" and first["c"] in BOXES else ""


def _pictures(documents: list[Document], files: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    """Figures that stand in questions, by the path that the sheet names."""
    found = {}
    for document in documents:
        drawn = files[document.chapter.source]
        for question in asked_in(document):
            for node in pandoc.nodes(question.words, "Image"):
                path = node["c"][2][0]
                found[f"{document.chapter.key}/{path}"] = drawn[path]
    return found


def source(project: Project, documents: list[Document], engine: Pandoc, key: bool) -> str:
    """The sheets of all documents as one Typst text."""
    trees = [
        Document(d.chapter, {**d.tree, "blocks": pandoc.walk(_sheet(d, key), _words_of_link)})
        for d in documents
    ]
    known = typst_formulas([document.tree for document in trees], engine)
    blocks = [b for d in trees for b in transform(d, TypstWriter(d, known))]
    tree = {**documents[0].tree, "meta": {}, "blocks": leading(blocks)}
    form = "typst-citations-smart"
    body = engine.run(json.dumps(tree), "-f", "json", "-t", form, "--wrap=none")
    what = "Quiz sheets with key" if key else "Quiz sheets"
    settings = (
        f"#show: hb-sheets.with(title: {quoted(project.title)}, what: {quoted(what)}, "
        f"author: {quoted(project.author)}, edition: {quoted(edition(project))})\n\n"
    )
    return design("look.typ", "sheets.typ") + settings + body


def _sheet(document: Document, key: bool) -> list[Node]:
    """The sheet of one document: its questions and, if asked for, their key on pages of its own."""
    chapter = document.chapter
    word = "Appendix" if chapter.appendix else "Chapter"
    number = f"{word} {chapter.number}" if chapter.number else ""
    asked = asked_in(document)
    title = {"t": "Plain", "c": document.headings[0].inlines}
    out = [raw("typst", f"#hb-sheet({quoted(number)}, ["), title, raw("typst", "])")]
    names = _names(asked)
    for name, question in zip(names, asked, strict=True):
        out += [raw("typst", f"#hb-question({quoted(name)}, ["), *question.words]
        out.append(raw("typst", "], ("))
        for option in question.options:
            out += [raw("typst", "["), {"t": "Plain", "c": option.words}, raw("typst", "],")]
        several = "true" if len(question.right) > 1 else "false"
        out.append(raw("typst", f"), several: {several})"))
    if key:
        out.append(raw("typst", f"#hb-key({quoted(number)})"))
        for name, question in zip(names, asked, strict=True):
            out += _answers(name, question)
    return out


def _names(asked: list[Question]) -> list[str]:
    """Numbers as on the pages, where questions and reflections count apart."""
    counts = {"Question": 0, "Reflection": 0}
    names = []
    for question in asked:
        word = "Question" if question.options else "Reflection"
        counts[word] += 1
        names.append(f"{word} {counts[word]}")
    return names


def _answers(name: str, question: Question) -> list[Node]:
    out = [raw("typst", f"#hb-answer({quoted(name)}, {quoted(', '.join(question.right))}, (")]
    for option in question.options:
        out += [raw("typst", f"({str(option.right).lower()}, ["), *option.why, raw("typst", "]),")]
    return [*out, raw("typst", "), ["), *question.answer, raw("typst", "])")]


def _words_of_link(node: Node) -> Node | None:
    """A sheet stands alone: links into the book become their words."""
    if node["t"] != "Link" or "://" in node["c"][2][0]:
        return None
    return {"t": "Span", "c": [["", [], []], node["c"][1]]}


def _compiled(main: Path, folder: Path) -> bytes:
    try:
        return bytes(
            typst.compile(
                str(main),
                root=str(main.parent),
                font_paths=[str(folder)],
                ignore_system_fonts=True,
                pdf_standards=["ua-1"],
            )
        )
    except Exception as error:
        hints = "\n".join(getattr(error, "hints", []) or [])
        raise BuildError(f"Typst refuses the quiz sheets: {error}", main, None, hints) from None

"""The PDF: all documents as one Typst source, compiled to tagged PDF/UA-1."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import typst

from ..book import BuildError, Project, remembered
from . import fonts, pandoc
from .blocks import Writer, transform
from .crossref import Document, Heading
from .formulas import formula_code, print_tex, quoted, tidy_typst
from .pandoc import Node, Pandoc, raw
from .paper import column_widths, edition, leading

ASSETS = Path(__file__).parent / "assets"
MARK = "HBFORMULA"
#: Sections that every chapter has, and that say nothing in the contents; look.typ has them too.
ROUTINE = {
    "Objectives", "Python and R side by side", "Common mistakes", "Check yourself", "Exercises",
    "Summary", "Agreement with lme4",
}  # fmt: skip
ALIGN = {"AlignLeft": "left", "AlignRight": "right", "AlignCenter": "center"}


class TypstWriter(Writer):
    """Turns the handbook's own blocks into Typst."""

    form = "typst"

    def __init__(self, document: Document, formulas: dict[tuple[str, str], str]) -> None:
        self.document, self.formulas = document, formulas

    def wrap(self, start: str, blocks: list[Node], end: str = "]") -> list[Node]:
        return [raw("typst", start), *blocks, raw("typst", end)]

    def float(
        self, identifier: str, words: str, body: list[Node], caption: list[Node]
    ) -> list[Node]:
        name, number = words.split("\u00a0")
        kind = identifier.split("-")[0]
        start = f'#hb-float("{kind}", "{name}", "{number}", ['
        middle = raw("typst", "], [")
        return [
            raw("typst", start),
            *caption,
            middle,
            *body,
            raw("typst", f"]) <{identifier}>"),
        ]

    def equation(self, identifier: str, number: str, inlines: list[Node]) -> list[Node]:
        formula = next((n for n in inlines if n["t"] == "RawInline"), None)
        if formula is None:
            raise BuildError(f"equation {identifier} holds no formula", self.document.chapter.path)
        code = formula["c"][1].removeprefix("#").removesuffix(";")
        numbered = code.replace(
            "math.equation(", f'math.equation(numbering: _ => "({number})", ', 1
        )
        return [raw("typst", f"#{numbered} <{identifier}>")]

    def callout(
        self, kind: str, title: list[Node] | None, body: list[Node], collapse: str | None
    ) -> list[Node]:
        words = title or [pandoc.string(kind.capitalize())]
        return [
            raw("typst", f'#hb-callout("{kind}", ['),
            {"t": "Plain", "c": words},
            raw("typst", "], ["),
            *body,
            raw("typst", "])"),
        ]

    def tabset(self, tabs: list[tuple[list[Node], list[Node]]]) -> list[Node]:
        out: list[Node] = []
        for title, body in tabs:
            words = [{"t": "Plain", "c": [{"t": "Strong", "c": title}]}]
            out += [*self.wrap("#block(sticky: true)[", words), *body]
        return out

    def fold(self, summary: str, body: list[Node]) -> list[Node]:
        return []  # code that a page folds away stands in notebook and script

    def panels(self, columns: str, body: list[Node]) -> list[Node]:
        out = [raw("typst", f"#hb-panels({columns},")]
        out += [n for block in body for n in (raw("typst", "["), block, raw("typst", "],"))]
        return [*out, raw("typst", ")")]

    def output(self, kind: str, body: list[Node]) -> list[Node]:
        words = body and all(block["t"] in ("Para", "BulletList") for block in body)
        return self.wrap("#hb-said[" if words else "#hb-output[", body)

    def margin(self, body: list[Node]) -> list[Node]:
        return self.wrap("#hb-margin[", body)

    def table(self, block: Node) -> list[Node]:
        _, _, columns, head, bodies, _ = block["c"]
        aligns = ", ".join(ALIGN.get(align["t"], "left") for align, _ in columns)
        rows = head[1]
        widths = column_widths([*rows, *(row for body in bodies for row in body[3])])
        out = [raw("typst", f"#hb-table({widths}, ({aligns},),")]
        if rows:
            out += [raw("typst", "header: ("), *self._cells(rows), raw("typst", "),")]
        for body in bodies:
            out += self._cells(body[3])
        return [*out, raw("typst", ")")]

    def _cells(self, rows: list[Node]) -> list[Node]:
        out: list[Node] = []
        for _, cells in rows:
            for cell in cells:
                out += [raw("typst", "["), *cell[4], raw("typst", "],")]
        return out

    def image(self, node: Node, alt: str) -> Node:
        path = f"/{self.document.chapter.key}/{node['c'][2][0]}"
        return raw("typst", f"#hb-image({quoted(path)}, {quoted(alt)});", inline=True)

    def math(self, node: Node) -> Node:
        kind, tex = node["c"][0]["t"], node["c"][1]
        return raw("typst", formula_code(kind, tex, self.formulas[(kind, tex)]), inline=True)

    def heading(self, block: Node, found: Heading | None) -> list[Node]:
        level, attr, inlines = block["c"]
        number = found.number if found else ""
        label = attr[0]
        if label and not label.startswith("sec-"):
            label = f"{self.document.chapter.key}--{label}"
        name = "appendix" if self.document.chapter.appendix else "chapter"
        routine = level > 1 and pandoc.text_of(inlines) in ROUTINE
        # so the contents have two pages; the bookmarks have these sections too
        listed = ", listed: false" if routine or {"unlisted", "optional"} & set(attr[1]) else ""
        start = raw("typst", f'#hb-heading({level}, "{number}", "{name}"{listed})[', inline=True)
        end = raw("typst", f"] <{label}>" if label else "]", inline=True)
        return [{"t": "Para", "c": [start, *inlines, end]}]

    def reference(self, source: str, node: Node) -> Node:
        return node

    def citation_link(self, node: Node) -> Node:
        return node

    def document_link(self, node: Node) -> Node:
        fragment = node["c"][2][0].partition("#")[2]
        if fragment:
            node["c"][2][0] = "#" + fragment
            return node
        # In one document a link to another file can only lead to its words.
        return {"t": "Span", "c": [["", [], []], node["c"][1]]}


def typst_formulas(trees: list[Node], engine: Pandoc) -> dict[tuple[str, str], str]:
    """Every TeX formula of some documents as Typst mathematics, in one call of pandoc."""
    seen: dict[tuple[str, str], None] = {}
    for tree in trees:
        for node in pandoc.nodes(tree["blocks"], "Math"):
            seen[(node["c"][0]["t"], node["c"][1])] = None
    if not seen:
        return {}
    blocks: list[Node] = []
    for kind, tex in seen:
        blocks += [
            {"t": "Para", "c": [{"t": "Math", "c": [{"t": kind}, print_tex(tex)]}]},
            {"t": "Para", "c": [pandoc.string(MARK)]},
        ]
    tree = {"pandoc-api-version": trees[0]["pandoc-api-version"], "meta": {}, "blocks": blocks}
    text = engine.run(json.dumps(tree), "-f", "json", "-t", "typst-citations", "--wrap=none")
    parts = [part.strip() for part in text.split(MARK)][:-1]
    for (_, tex), part in zip(seen, parts, strict=True):
        if not part.startswith("$"):
            raise BuildError(f"pandoc can't write the formula {tex!r} as Typst")
    return {key: tidy_typst(part, key[1]) for key, part in zip(seen, parts, strict=True)}


def with_questions(
    documents: list[Document], engine: Pandoc, lua: Path, form: str = "typst"
) -> list[Document]:
    """Documents with their quizzes set for print; the answer key follows the last one."""
    blocks = [pandoc.div(f"hb-document-{k}", [], d.tree["blocks"]) for k, d in enumerate(documents)]
    text = engine.run(
        json.dumps({**documents[0].tree, "meta": {}, "blocks": blocks}),
        "-f", "json", "-t", "json", "--lua-filter", str(lua),
        depends=pandoc.filter_text(lua), target=form,
    )  # fmt: skip
    out = json.loads(text)["blocks"]
    count = len(documents)
    printed = [
        replace(d, tree={**d.tree, "blocks": block["c"][1]})
        for d, block in zip(documents, out[:count], strict=True)
    ]
    printed[-1].tree["blocks"] += out[count:]
    return printed


def typst_source(
    project: Project, documents: list[Document], engine: Pandoc, lua: Path | None
) -> str:
    """The whole book as one Typst text."""
    if lua is not None:
        documents = with_questions(documents, engine, lua)
    known = typst_formulas([document.tree for document in documents], engine)
    blocks: list[Node] = []
    part = None
    for document in documents:
        chapter = document.chapter
        before, part = part, "Appendices" if chapter.appendix else chapter.part
        if part != before:
            blocks.append(raw("typst", f"#metadata({quoted(part)}) <hb-part>"))
        blocks += transform(document, TypstWriter(document, known))
    tree = {**documents[0].tree, "meta": {}, "blocks": leading(blocks)}
    # -smart: pandoc's own quotation marks, since Typst takes the apostrophe of "lme4's" for a prime
    form = "typst-citations-smart"
    body = engine.run(json.dumps(tree), "-f", "json", "-t", form, "--wrap=none")
    settings = (
        f"#show: handbook.with(title: {quoted(project.title)}, "
        f"subtitle: {quoted(project.subtitle)}, author: {quoted(project.author)}, "
        f"edition: {quoted(edition(project))}, "
        f"lang: {quoted(str(project.config.get('lang', 'en'))[:2])})\n\n"
    )
    return design("look.typ", "book.typ") + settings + body


def design(*names: str) -> str:
    """Files of the page design as one text."""
    return "".join((ASSETS / name).read_text(encoding="utf-8") + "\n" for name in names)


def write_pdf(
    project: Project,
    documents: list[Document],
    files: dict[str, dict[str, bytes]],
    engine: Pandoc,
    lua: Path | None,
    target: Path,
) -> None:
    """Compile the book to ``target``.

    Raises
    ------
    BuildError
        With Typst's message where it refuses the document.
    """
    root = project.work / "pdf"
    root.mkdir(parents=True, exist_ok=True)
    for document in documents:
        for name, data in files[document.chapter.source].items():
            path = root / document.chapter.key / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    main = root / "book.typ"
    main.write_text(typst_source(project, documents, engine, lua), encoding="utf-8")
    fonts_folder = fonts.pdf_font_folder(project.work / "pdf-fonts")
    inputs = [
        version("typst").encode(), main.read_bytes(),
        *(path.read_bytes() for path in sorted(fonts_folder.iterdir())),
        *(
            part
            for document in documents
            for name, data in files[document.chapter.source].items()
            for part in (f"{document.chapter.key}/{name}".encode(), data)
        ),
    ]  # fmt: skip
    made = remembered(project.work / "made", "pdf", inputs, lambda: compiled(main, fonts_folder))
    target.write_bytes(made)


def compiled(main: Path, fonts_folder: Path) -> bytes:
    """The PDF of a Typst source whose pictures lie beside it."""
    try:
        return bytes(
            typst.compile(
                str(main),
                root=str(main.parent),
                font_paths=[str(fonts_folder)],
                # A font of the same name on this machine could be another cut or version.
                ignore_system_fonts=True,
                pdf_standards=["ua-1"],
            )
        )
    except Exception as error:
        hints = "\n".join(getattr(error, "hints", []) or [])
        trace = "\n".join(map(str, getattr(error, "trace", []) or []))
        where = _context(main, str(error) + trace)
        raise BuildError(
            f"Typst refuses the PDF: {error}", main, None, f"{hints}\n{trace}\n{where}"
        ) from None


def _context(main: Path, message: str) -> str:
    match = re.search(r"book\.typ:(\d+)", message)
    if not match:
        return ""
    line = int(match.group(1))
    lines = main.read_text(encoding="utf-8").splitlines()
    return "\n".join(lines[max(0, line - 4) : line + 3])

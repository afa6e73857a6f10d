"""The body of a page: a numbered document in HTML."""

from __future__ import annotations

import html
import json
import posixpath
import re
from pathlib import Path

from ..book import BuildError, Chapter, Project
from . import pandoc
from .blocks import Writer, transform
from .crossref import Document, Heading, line_of
from .formulas import readable_tex, tidy_mathml
from .pandoc import Node, Pandoc, raw

# each line of code that pandoc colours is a target of links that no page shows
CODE_LINE = re.compile(
    r'<span id="cb\d+-\d+"><a href="#cb\d+-\d+"[^>]*></a>(.*?)</span>(?=\n|</code>)'
)
#: Kinds of words in code, by the colour that the stylesheet gives them; others have none.
COLOURS = ("kw cf im", "st ss vs ch sc", "dv fl bn", "co do an", "fu bu", "va at cn pp")
KINDS = {kind: names.split()[0] for names in COLOURS for kind in names.split()}
WORD = re.compile(r'<span class="([a-z]{2})">([^<]*)</span>')
JOIN = re.compile(r'</span>(?=\s*<span)|<span class="[a-z]{2}">')
SAME_WORD = re.compile(r'(<span class="([a-z]{2})">[^<]*)((?:</span>\s*<span class="\2">[^<]*)+)')
FOLD = re.compile(
    r'(?P<kept><details class="(?:code-fold|hb-fold [^"]*|callout [^"]*)"(?! open)[^>]*>'
    r"\s*<summary[^>]*>.*?</summary>)"
    r"|(?P<other><details)|(?P<end></details>)",
    re.S,
)
UNCOLOURED = re.compile(r'<pre class="[a-z]+"><code>.*?</code></pre>', re.S)
CALLOUTS = {
    "note": "Note", "tip": "Tip", "warning": "Warning", "important": "Important",
    "caution": "Caution",
}  # fmt: skip


class HtmlWriter(Writer):
    """Turns the handbook's own blocks into HTML."""

    form = "html"

    def __init__(self, project: Project, chapter: Chapter) -> None:
        self.project, self.chapter = project, chapter
        self.pages = {c.source: c for c in project.chapters}

    def wrap(self, start: str, blocks: list[Node], end: str) -> list[Node]:
        return [raw("html", start), *blocks, raw("html", end)]

    def float(
        self, identifier: str, words: str, body: list[Node], caption: list[Node]
    ) -> list[Node]:
        kind = identifier.split("-")[0]
        title = raw("html", f'<span class="float-number">{words}:</span> ', inline=True)
        inlines = caption[0]["c"] if caption else []
        figcaption = [
            raw("html", "<figcaption>"),
            {"t": "Plain", "c": [title, *inlines]},
            *caption[1:],
            raw("html", "</figcaption>"),
        ]
        content = [*figcaption, *body] if kind == "tbl" else [*body, *figcaption]
        return self.wrap(f'<figure id="{identifier}" class="float {kind}">', content, "</figure>")

    def equation(self, identifier: str, number: str, inlines: list[Node]) -> list[Node]:
        label = f'<span class="equation-number">({number})</span></div>'
        start = f'<div class="equation" id="{identifier}">'
        return self.wrap(start, [{"t": "Plain", "c": inlines}], label)

    def callout(
        self, kind: str, title: list[Node] | None, body: list[Node], collapse: str | None
    ) -> list[Node]:
        words = {"t": "Plain", "c": title or [pandoc.string(CALLOUTS[kind])]}
        if collapse is not None:
            start = f'<details class="callout callout-{kind}"' + (
                " open>" if collapse == "false" else ">"
            )
            inner = self.wrap('<summary class="callout-title">', [words], "</summary>")
            return self.wrap(start, [*inner, *body], "</details>")
        inner = self.wrap('<p class="callout-title">', [words], "</p>")
        return self.wrap(
            f'<div class="callout callout-{kind}" role="note">', [*inner, *body], "</div>"
        )

    def tabset(self, tabs: list[tuple[list[Node], list[Node]]]) -> list[Node]:
        out = [raw("html", '<div class="tabset">')]
        for title, body in tabs:
            words = html.escape(pandoc.text_of(title), quote=True)
            out.append(raw("html", f'<div class="tab" data-title="{words}">'))
            inner = [{"t": "Plain", "c": title}]
            out += self.wrap('<p class="tab-title">', inner, "</p>")
            out += [*body, raw("html", "</div>")]
        return [*out, raw("html", "</div>")]

    def fold(self, summary: str, body: list[Node]) -> list[Node]:
        start = f'<details class="code-fold"><summary>{html.escape(summary)}</summary>'
        return self.wrap(start, body, "</details>")

    def panels(self, columns: str, body: list[Node]) -> list[Node]:
        return self.wrap(f'<div class="panels" style="--columns:{columns}">', body, "</div>")

    def output(self, kind: str, body: list[Node]) -> list[Node]:
        return self.wrap(f'<div class="cell-output {kind}">', body, "</div>")

    def margin(self, body: list[Node]) -> list[Node]:
        return self.wrap('<aside class="margin-note">', body, "</aside>")

    def table(self, block: Node) -> list[Node]:
        return self.wrap('<div class="table-wrap">', [block], "</div>")

    def image(self, node: Node, alt: str) -> Node:
        node["c"][1] = [pandoc.string(alt)] if alt else []
        node["c"][0][2] = [p for p in node["c"][0][2] if p[0] == "width"]
        return {"t": "Link", "c": [["", ["enlarge"], []], [node], [node["c"][2][0], ""]]}

    def heading(self, block: Node, found: Heading | None) -> list[Node]:
        level, attr, inlines = block["c"]
        if found and found.number:
            word = ""
            if found.level == 1:
                word = "Appendix " if self.chapter.appendix else "Chapter "
                word = f'<span class="number-word">{word}</span>'
            number = f'<span class="section-number">{word}{found.number}</span> '
            inlines = [raw("html", number, inline=True), *inlines]
        if level > 1 and found:
            anchor = f'<a class="anchor" href="#{attr[0]}" aria-label="Link to this section">#</a>'
            inlines = [*inlines, raw("html", anchor, inline=True)]
        return [{"t": "Header", "c": [level, attr, inlines]}]

    def reference(self, source: str, node: Node) -> Node:
        target = self.pages[source]
        if target.source != self.chapter.source:
            node["c"][2][0] = self.relative(target) + node["c"][2][0]
        return node

    def citation_link(self, node: Node) -> Node:
        page = next((c for c in self.project.chapters if c.key == "references"), None)
        if page and page.source != self.chapter.source:
            node["c"][2][0] = self.relative(page) + node["c"][2][0]
        return node

    def document_link(self, node: Node) -> Node:
        url, _, fragment = node["c"][2][0].partition("#")
        source = posixpath.normpath(posixpath.join(posixpath.dirname(self.chapter.source), url))
        if source not in self.pages:
            raise BuildError(
                f"link to {url}, which is not in the book",
                self.chapter.path,
                line_of(self.chapter.path, url),
            )
        node["c"][2][0] = self.relative(self.pages[source]) + (f"#{fragment}" if fragment else "")
        return node

    def relative(self, target: Chapter) -> str:
        return posixpath.relpath(target.href, posixpath.dirname(self.chapter.href) or ".")


def readable(node: Node) -> Node | None:
    if node["t"] != "Math":
        return None
    kind, tex = node["c"]
    return {"t": "Math", "c": [kind, readable_tex(tex)]}


def page_body(
    project: Project, document: Document, engine: Pandoc, lua: Path | None, download: bool = False
) -> str:
    """HTML of one document's content, with links to its notebook and script if it has them."""
    writer = HtmlWriter(project, document.chapter)
    blocks = pandoc.walk(transform(document, writer), readable)
    tree = dict(document.tree, blocks=blocks, meta={})
    options = ["-f", "json", "-t", "html5", "--mathml", "--wrap=none"]
    depends = ""
    if lua is not None:
        options += ["--lua-filter", str(lua)]
        if download:
            options += ["-M", f"handbook-download={document.chapter.key}"]
        depends = pandoc.filter_text(lua)
    try:
        body = tidy_mathml(engine.run(json.dumps(tree), *options, depends=depends))
    except BuildError as error:
        # the filter quotes the block that it refuses, but doesn't know its file
        raise BuildError(str(error), document.chapter.path) from None
    # pandoc frames only code whose language it can colour
    return kept_back(slim(UNCOLOURED.sub(r'<div class="sourceCode">\g<0></div>', body)))


def slim(body: str) -> str:
    """The body without elements that nobody sees: on a long page they are every third one."""

    def coloured(word: re.Match[str]) -> str:
        kind = KINDS.get(word[1])
        return f'<span class="{kind}">{word[2]}</span>' if kind else word[2]

    body = WORD.sub(coloured, CODE_LINE.sub(r"\1", body))
    return SAME_WORD.sub(lambda run: run[1] + JOIN.sub("", run[3]), body)


def kept_back(body: str) -> str:
    """The body in which what is folded becomes elements when it is opened first.

    Folds hold half of a long page. A browser that runs scripts leaves a `noscript` as text, which
    costs nothing, and page.html unfolds it; one that doesn't reads it as the page, once and whole.
    """
    out: list[str] = []
    last, depth = 0, 0
    for tag in FOLD.finditer(body):
        if depth == 0:
            if tag["kept"]:
                out += [body[last : tag.end()], "<noscript>"]
                last, depth = tag.end(), 1
        elif tag["end"]:
            depth -= 1
            if depth == 0:
                out += [body[last : tag.start()], "</noscript>"]
                last = tag.start()
        else:
            depth += 1
    return "".join([*out, body[last:]])

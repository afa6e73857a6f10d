"""The HTML site: numbered documents to pages, with navigation, fonts and search."""

from __future__ import annotations

import html
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jinja2

from ..book import BuildError, Chapter, Project
from . import fonts, pandoc
from .blocks import Writer, transform
from .crossref import Document, Heading, line_of
from .formulas import readable_tex, tidy_mathml
from .pandoc import Node, Pandoc, raw

ASSETS = Path(__file__).parent / "assets"
UNCOLOURED = re.compile(r'<pre class="[a-z]+"><code>.*?</code></pre>', re.S)
PICTURE = re.compile(r'<img src="([^"]+\.svg)"')
SIZE = re.compile(r'<svg[^>]*?\swidth="([\d.]+)pt"[^>]*?\sheight="([\d.]+)pt"')
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


def _readable(node: Node) -> Node | None:
    if node["t"] != "Math":
        return None
    kind, tex = node["c"]
    return {"t": "Math", "c": [kind, readable_tex(tex)]}


def page_body(
    project: Project, document: Document, engine: Pandoc, lua: Path | None, download: bool = False
) -> str:
    """HTML of one document's content, with links to its notebook and script if it has them."""
    writer = HtmlWriter(project, document.chapter)
    blocks = pandoc.walk(transform(document, writer), _readable)
    tree = dict(document.tree, blocks=blocks, meta={})
    options = ["-f", "json", "-t", "html5", "--mathml", "--wrap=none"]
    depends = ""
    if lua is not None:
        options += ["--lua-filter", str(lua)]
        if download:
            options += ["-M", f"handbook-download={document.chapter.key}"]
        depends = lua.read_text(encoding="utf-8")
    body = tidy_mathml(engine.run(json.dumps(tree), *options, depends=depends))
    # pandoc frames only code whose language it can colour
    return UNCOLOURED.sub(r'<div class="sourceCode">\g<0></div>', body)


def write_site(
    project: Project,
    documents: list[Document],
    bodies: dict[str, str],
    files: dict[str, dict[str, bytes]],
    out: Path,
    pdf: str,
) -> None:
    """Write all pages, figures and shared files into ``out``."""
    libs = out / "site_libs"
    libs.mkdir(parents=True)
    for name in ("style.css", "site.js", "preview.js"):
        shutil.copy(ASSETS / name, libs / name)
    extension = project.root / "_extensions" / "handbook"
    extras = sorted(extension.glob("*.css")) + sorted(extension.glob("*.js"))
    for path in extras:
        shutil.copy(path, libs / path.name)
    fonts.write_web_fonts(project.work / "fonts", libs)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("page.html")
    titles = {d.chapter.source: d.title for d in documents}
    for position, document in enumerate(documents):
        chapter = document.chapter
        page = template.render(
            project=project,
            chapter=chapter,
            title=document.title,
            titles=titles,
            body=sized(bodies[chapter.source], files[chapter.source]),
            toc=[h for h in document.headings if h.level in (2, 3)],
            text_of=pandoc.text_of,
            previous=documents[position - 1].chapter if position else None,
            next=documents[position + 1].chapter if position + 1 < len(documents) else None,
            extras=[p.name for p in extras],
            pdf=pdf,
            lang=project.config.get("lang", "en"),
            description=description(bodies[chapter.source], project.subtitle),
        )
        target = out / chapter.href
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")
        for name, data in files[chapter.source].items():
            figure = target.parent / name
            figure.parent.mkdir(parents=True, exist_ok=True)
            figure.write_bytes(data)


def sized(body: str, files: dict[str, bytes]) -> str:
    """The body with each picture's size, so that nothing moves when the picture arrives."""

    def with_size(match: re.Match[str]) -> str:
        data = files.get(html.unescape(match[1]), b"")
        found = SIZE.search(data[:2000].decode("utf-8", "replace"))
        if found is None:
            return match[0]
        pixels = [round(float(points) * 4 / 3) for points in found.groups()]
        return f'{match[0]} width="{pixels[0]}" height="{pixels[1]}"'

    return PICTURE.sub(with_size, body)


def description(body: str, fallback: str) -> str:
    """First paragraph of a page as plain text, for search engines and link previews."""
    match = re.search(r"<p>(.*?)</p>", body, re.S)
    text = html.unescape(re.sub(r"<[^>]+>", "", match.group(1))) if match else fallback
    return " ".join(text.split())[:200]


def index_site(out: Path) -> None:
    """Build the search index with the locked pagefind, without anybody's settings."""
    own = {n: v for n, v in os.environ.items() if not n.upper().startswith("PAGEFIND")}
    with tempfile.TemporaryDirectory(prefix="handbook-") as empty:
        done = subprocess.run(
            [sys.executable, "-m", "pagefind", "--site", str(out.resolve()), "--quiet"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            cwd=empty,  # a pagefind.yml in the working directory would be read
            env=own,
        )
    if done.returncode:
        raise BuildError(f"pagefind failed: {done.stderr.strip() or done.stdout.strip()}")


def check_links(out: Path) -> None:
    """Every link and image within the site leads somewhere."""
    identifiers: dict[Path, set[str]] = {}
    pages = {p: p.read_text(encoding="utf-8") for p in out.rglob("*.html")}
    for path, text in pages.items():
        identifiers[path] = set(re.findall(r'\sid="([^"]+)"', text))
    for path, text in pages.items():
        for url in re.findall(r'\s(?:href|src)="([^"]+)"', text):
            url = html.unescape(url)
            if re.match(r"[a-z]+:", url):
                continue
            name, _, fragment = url.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists() or (
                fragment and target in identifiers and fragment not in identifiers[target]
            ):
                raise BuildError(f"page {path.relative_to(out)} links to {url}, which isn't there")

"""The HTML site: bodies of pages to pages, with navigation, fonts and search."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import jinja2

from ..book import BuildError, Project
from . import fonts, pandoc
from .crossref import Document, Heading
from .paper import edition
from .searching import write_index

ASSETS = Path(__file__).parent / "assets"
PICTURE = re.compile(r'<img src="([^"]+\.svg)"')
SIZE = re.compile(r'<svg[^>]*?\swidth="([\d.]+)pt"[^>]*?\sheight="([\d.]+)pt"')
ABOUT = "licence-and-citation"


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
    for name in ("style.css", "site.js", "search.js", "preview.js"):
        shutil.copy(ASSETS / name, libs / name)
    extension = project.root / "_extensions" / "handbook"
    extras = sorted(extension.glob("*.css")) + sorted(extension.glob("*.js"))
    for path in extras:
        shutil.copy(path, libs / path.name)
    fonts.write_web_fonts(project.work / "fonts", libs)
    write_index(documents, out)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("page.html")
    titles = {d.chapter.source: d.title for d in documents}
    about = next((f"{d.chapter.href}#{ABOUT}" for d in documents if ABOUT in told(d)), "index.html")
    for position, document in enumerate(documents):
        chapter = document.chapter
        title_block, body = parted(sized(bodies[chapter.source], files[chapter.source]))
        page = template.render(
            project=project,
            chapter=chapter,
            title=document.title,
            titles=titles,
            title_block=title_block,
            body=body,
            toc=in_levels([h for h in document.headings if f'id="{h.identifier}"' in body]),
            edition=edition(project),
            about=about,
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


def told(document: Document) -> list[str]:
    return [heading.identifier for heading in document.headings]


def in_levels(headings: list[Heading]) -> list[tuple[Heading, list[Heading]]]:
    """Sections of a page, each with those below it."""
    out: list[tuple[Heading, list[Heading]]] = []
    for heading in headings:
        if heading.level == 2:
            out.append((heading, []))
        elif heading.level == 3 and out:
            out[-1][1].append(heading)
    return out


def parted(body: str) -> tuple[str, str]:
    """A page's title with what stands before its end, and the rest."""
    title, found, rest = body.partition("</h1>")
    return (title + found, rest) if found else ("", body)


def sized(body: str, files: dict[str, bytes]) -> str:
    """The body with each picture's size, so that nothing moves when the picture arrives.

    All but the first arrive when they are about to be seen.
    """
    seen = False

    def with_size(match: re.Match[str]) -> str:
        nonlocal seen
        later, seen = (' loading="lazy" decoding="async"' if seen else ""), True
        data = files.get(html.unescape(match[1]), b"")
        found = SIZE.search(data[:2000].decode("utf-8", "replace"))
        if found is None:
            return match[0] + later
        pixels = [round(float(points) * 4 / 3) for points in found.groups()]
        return f'{match[0]} width="{pixels[0]}" height="{pixels[1]}"{later}'

    return PICTURE.sub(with_size, body)


def description(body: str, fallback: str) -> str:
    """First paragraph of a page as plain text, for search engines and link previews."""
    match = re.search(r"<p>(.*?)</p>", body, re.S)
    text = html.unescape(re.sub(r"<[^>]+>", "", match.group(1))) if match else fallback
    return " ".join(text.split())[:200]


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

"""What Quarto leaves open on the pages it wrote: fonts, references, formulas, the search index."""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

from ..book import Chapter, Project, write_whole
from ..render import ASSETS, UNSEARCHED, Target, edition, tidy_mathml, write_web_fonts

FONTS = "site_libs/handbook-fonts"
SEARCH = "search.json"
SECTION_REFERENCE = re.compile(
    r'(<a href="([^"]+)" class="quarto-xref"><span>)(.*?)(</span>)', re.S
)
# Quarto sets the number of an equation as a part of its formula
EQUATION = re.compile(
    r'<span id="(?P<id>eq-[^"]+)">(?P<start><math display="block"(?:(?!</math>).)*?)'
    r'<mspace width="2\.0em"></mspace><mo[^>]*>\(</mo>(?P<number>(?:<m[ino]>[^<]*</m[ino]>)+)'
    r"<mo[^>]*>\)</mo>(?P<end></mrow><annotation.*?</math>)</span>",
    re.S,
)
TITLE = re.compile(
    r'(<h1 class="title"><span id="[^"]*" class="quarto-section-identifier">)(.*?)</h1>'
)
CHAPTER = re.compile(r'<span class="chapter-number">(\w+)</span>&nbsp; ')
APPENDIX = re.compile(r"^(Appendix \w+) — (.*)</span>$")
CAPTION = re.compile(r"(<figcaption[^>]*>\s*)((?:Figure|Table)&nbsp;[\w.]+:)")
TABLE = re.compile(r'(?<!<div class="hb-wide">)<table.*?</table>', re.S)
# without an end tag
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
UNSEEN = {"script", "style", "annotation", "title", "math", "pre"}
# marks of Quarto's own, and of the filter
UNSAID = UNSEARCHED | {"code-fold", "hb-downloads", "hb-equation-number", "screen-reader-only"}


def finish(project: Project, pages: Iterable[str], targets: dict[str, Target], out: Path) -> None:
    """Bring pages that Quarto wrote to where the embedded renderer's are.

    Parameters
    ----------
    project : Project
        The book.
    pages : iterable of str
        Pages that Quarto wrote, relative to `out`.
    targets : dict
        What references lead to, from `numbered`.
    out : Path
        The site.
    """
    chapters = {chapter.href: chapter for chapter in project.chapters}
    texts = {
        page: (out / page).read_text(encoding="utf-8")
        for page in pages
        if page in chapters and (out / page).is_file()
    }
    if not texts:
        return
    write_fonts(project, out)
    book = html.escape(f"{project.title}. {edition(project)}".strip())
    told = f'<meta name="handbook" content="{book}">'
    for page, text in texts.items():
        link = f'<link rel="stylesheet" href="{"../" * page.count("/")}{FONTS}/fonts.css">'
        if link in text:
            continue  # this page has been here
        new = dressed(tidy_mathml(beside_their_formulas(text)))
        new = new.replace("</head>", f"{link}\n{told}\n</head>", 1)
        if not chapters[page].number:
            new = numbered_references(chapters[page], new, targets)
        write_whole(out / page, new.encode())
        texts[page] = new
    index = out / SEARCH
    if index.is_file():
        entries = json.loads(index.read_text(encoding="utf-8"))
        pruned = json.dumps(searchable(entries, texts), indent=2, ensure_ascii=False)
        write_whole(index, pruned.encode())


def write_fonts(project: Project, out: Path) -> None:
    """The faces of the embedded renderer's pages, which Quarto's theme names."""
    folder = out / FONTS
    folder.mkdir(parents=True, exist_ok=True)
    write_web_fonts(project.work / "fonts", folder)
    style = (ASSETS / "style.css").read_text(encoding="utf-8")
    faces = [line for line in style.splitlines() if line.startswith("@font-face")]
    (folder / "fonts.css").write_text("\n".join(faces) + "\n", encoding="utf-8")


def dressed(text: str) -> str:
    """A page with the marks that the embedded renderer's stylesheet works with."""

    def title(match: re.Match[str]) -> str:
        words = CHAPTER.sub(r'<span class="chapter-number">Chapter \1</span> ', match[2])
        parts = (
            r'<span class="chapter-number">\1</span> <span class="chapter-title">\2</span></span>'
        )
        return f"{match[1]}{APPENDIX.sub(parts, words)}</h1>"

    text = TITLE.sub(title, text)
    text = CAPTION.sub(r'\1<span class="hb-float-number">\2</span>', text)
    return TABLE.sub(r'<div class="hb-wide">\g<0></div>', text)


def numbered_references(chapter: Chapter, text: str, targets: dict[str, Target]) -> str:
    """References by number on a page without one, where Quarto prints titles instead."""
    words = {}
    for identifier, target in targets.items():
        if identifier.startswith("sec-"):
            place = posixpath.relpath(target.chapter.href, posixpath.dirname(chapter.href) or ".")
            words[f"{place}#{identifier}"] = target.words
    # a chapter's own label is the page itself
    firsts = {place.partition("#")[0]: said for place, said in reversed(words.items())}

    def named(match: re.Match[str]) -> str:
        place = html.unescape(match[2]).removeprefix("./")
        said = words.get(place) or firsts.get(place)
        return match[0] if said is None else match[1] + html.escape(said) + match[4]

    return SECTION_REFERENCE.sub(named, text)


def beside_their_formulas(text: str) -> str:
    """A page whose equations have their numbers at the margin, out of the formula."""

    def moved(match: re.Match[str]) -> str:
        number = re.sub(r"<[^>]+>", "", match["number"])
        return (
            f'<span id="{match["id"]}" class="hb-equation">{match["start"]}{match["end"]}'
            f' <span class="hb-equation-number">({number})</span></span>'
        )

    return EQUATION.sub(moved, text)


def searchable(entries: list[dict[str, str]], pages: dict[str, str]) -> list[dict[str, str]]:
    """Quarto's search index with the words that the embedded renderer's has: no code, no answers.

    Parameters
    ----------
    entries : list of dict
        What ``search.json`` holds: one entry a page and one a section, by "href".
    pages : dict of str
        HTML of the pages that were written; entries of others have been here before.
    """
    words: dict[str, str] = {}
    for page, text in pages.items():
        reader = _Words(page)
        reader.feed(text)
        words |= {href: " ".join("".join(found).split()) for href, found in reader.words.items()}
    out = []
    for entry in entries:
        if entry["href"].partition("#")[0] in pages:
            text = words.get(entry["href"], "")
            if not text:
                continue
            # Quarto escapes the brackets of tags alone
            entry = {**entry, "text": text.replace("<", "&lt;").replace(">", "&gt;")}
        out.append(entry)
    return out


class _Words(HTMLParser):
    """The words of a page, by the entry of the search index that they belong to."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page = page
        self.words: dict[str, list[str]] = defaultdict(list)
        # open elements: (tag, entry that their words belong to, or None)
        self.open: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        found = dict(attrs)
        classes = (found.get("class") or "").split()
        entry = self.open[-1][1] if self.open else None
        if tag == "main":
            entry = self.page
        elif entry and tag == "section" and {"level2", "footnotes"} & set(classes):
            entry = f"{self.page}#{found.get('id')}"
        hidden = "data-search-ignore" in found or "hidden" in found or tag in UNSEEN
        hidden = hidden or bool(UNSAID & set(classes))
        if hidden or tag == "h2" or found.get("id") == "title-block-header":
            entry = None
        self.open.append((tag, entry))
        self._part()

    def handle_endtag(self, tag: str) -> None:
        while self.open and any(name == tag for name, _ in self.open):
            self._part()
            if self.open.pop()[0] == tag:
                return

    def handle_data(self, data: str) -> None:
        if self.open and (entry := self.open[-1][1]):
            self.words[entry].append(data)

    def _part(self) -> None:
        """A blank between the words of two blocks."""
        tag, entry = self.open[-1]
        if entry and tag in {"p", "li", "div", "td", "th", "dt", "dd", "pre", "figcaption", "h3"}:
            self.words[entry].append(" ")

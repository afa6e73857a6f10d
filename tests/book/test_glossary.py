"""Every bold term of the book stands in the glossary, and every entry is used where it says."""

from __future__ import annotations

import re
from pathlib import Path

from pypdf import PdfReader
from pypdf.generic import ArrayObject

from offline_render.book import Prose, load_project, split

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "chapters" / "E-glossary.qmd"
ENTRY = re.compile(r"^\[(?P<term>.+?)\]\{#(?P<id>gls-[\w-]+)\}\n: (?P<words>(?:.+\n?)+)", re.M)
LINK = re.compile(r"\[\*\*(?P<term>[^*]+)\*\*\]\([\w./-]*#(?P<id>gls-[\w-]+)\)")
HEADING = re.compile(r"^(?P<level>#+) .*\{#(?P<id>sec-[\w-]+)[^}\n]*\}$", re.M)
BOLD = re.compile(r"\*\*([^*\n]+)\*\*")


def entries() -> dict[str, re.Match[str]]:
    return {m["id"]: m for m in ENTRY.finditer(GLOSSARY.read_text(encoding="utf-8"))}


def prose(path: Path) -> str:
    """Text outside cells and code blocks."""
    text = "\n".join(part.text for part in split(path) if isinstance(part, Prose))
    text = re.sub(r"^ *(```+|~~~+).*?^ *\1", "", text, flags=re.S | re.M)
    return re.sub(r"`[^`\n]+`", "", text)


def chapters() -> list[Path]:
    """The documents that may define terms, in order: all but the home page and the glossary."""
    return [c.path for c in load_project(ROOT).chapters[1:] if c.path != GLOSSARY]


def sections() -> dict[str, str]:
    """The text below each heading that has an id, down to the next heading of its level."""
    found = {}
    for path in chapters():
        # a line of a cell that begins with "#" is no heading
        text = re.sub(r"^ *(```+|~~~+).*?^ *\1", "", path.read_text("utf-8"), flags=re.S | re.M)
        for match in HEADING.finditer(text):
            end = re.compile(rf"^#{{1,{len(match['level'])}}} ", re.M).search(text, match.end())
            found[match["id"]] = text[match.start() : end.start() if end else None]
    return found


def plain(words: str) -> str:
    """Letters only, so that hyphens, accents of code and ends of lines don't matter."""
    return re.sub(r"[^a-z]", "", words.lower())


def test_every_bold_term_leads_to_the_glossary() -> None:
    known = entries()
    for path in chapters():
        text = prose(path)
        linked = {m["term"] for m in LINK.finditer(text)}
        for match in LINK.finditer(text):
            assert match["id"] in known, f"{path.name}: {match['term']!r} is not in the glossary"
            entry = re.sub(r"\W", "", known[match["id"]]["term"].lower())
            assert entry == re.sub(r"\W", "", match["term"].lower()), path.name
        for bold in BOLD.findall(text):
            # a bold sentence, as in the list of mistakes, is no term; nor is what a line is about
            assert bold in linked or bold[-1] in ".?:", f"{path.name}: {bold!r} is no glossary link"


def test_every_entry_is_linked_once() -> None:
    linked: set[str] = set()
    for path in chapters():
        for match in LINK.finditer(prose(path)):
            assert match["id"] not in linked, f"{match['term']!r} is defined twice: {path.name}"
            linked.add(match["id"])
    assert set(entries()) == linked


def test_every_entry_leads_to_a_section_that_speaks_of_it() -> None:
    """Not to the top of a chapter, which a reader would have to search for the term."""
    texts = sections()
    for identifier, entry in entries().items():
        place = re.search(r"See (?:@(?P<sec>sec-[\w-]+)|the preface)\.", entry["words"])
        assert place, f"{identifier} names no place"
        if place["sec"] is None:
            continue
        assert place["sec"] in texts, f"{identifier} leads to {place['sec']}, which is nowhere"
        text = texts[place["sec"]]
        # "herds", and one word of a long name, are mentions too
        names = [
            w.rstrip("s") for w in re.split(r"[ ()]+", entry["term"]) if len(w) > 3 or w.isupper()
        ]
        assert any(plain(name) in plain(text) for name in names), (
            f"{place['sec']} doesn't speak of {entry['term']!r}"
        )
        assert not text.startswith("# "), f"{identifier} leads to the top of a chapter"


def test_entries_stand_in_the_order_of_the_alphabet() -> None:
    keys = [re.sub(r"[^a-z ]", "", entry["term"].lower()) for entry in entries().values()]
    assert keys == sorted(keys) and len(keys) > 80


def test_terms_lead_to_their_entry_on_pages_and_in_print(book: Path) -> None:
    page = (book / "chapters" / "03-random-intercept.html").read_text(encoding="utf-8")
    assert 'href="E-glossary.html#gls-shrinkage-factor"' in page
    reader = PdfReader(next(book.glob("Mixed-*.pdf")))
    numbers = {page.indirect_reference.idnum: n for n, page in enumerate(reader.pages)}
    starts = [
        reader.get_destination_page_number(item)
        for item in reader.outline
        if not isinstance(item, list) and re.search(r"Glossary|Codebook", item.title)
    ]
    led = 0
    for page in reader.pages[: starts[0]]:
        for annotation in page.get("/Annots", []):
            target = annotation.get_object().get("/Dest")
            target = target.get_object() if target is not None else None
            led += isinstance(target, ArrayObject) and (
                starts[0] <= numbers[target[0].idnum] < starts[1]
            )
    # a term that is broken over two lines has two annotations; the reference in the preface is one
    assert led >= len(entries())

"""The book's PDF: readable by people, machines and screen readers, and nothing cut off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pypdf import PdfReader
from pypdf.generic import IndirectObject

from offline_render.book import load_project

MARGIN = 60  # points; the page's own is 68, and punctuation may hang into it


@pytest.fixture(scope="module")
def reader(book: Path) -> PdfReader:
    return PdfReader(next(book.glob("*.pdf")))


def resolved(value: object) -> object:
    return value.get_object() if isinstance(value, IndirectObject) else value


def test_it_is_tagged_and_declares_pdf_ua(reader: PdfReader) -> None:
    root = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"].startswith("en")
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data()


def test_every_chapter_is_bookmarked(reader: PdfReader, root: Path, book: Path) -> None:
    titles = [item.title.strip() for item in reader.outline if not isinstance(item, list)]
    for chapter in load_project(root).chapters:
        first = chapter.path.read_text(encoding="utf-8").splitlines()[0]
        title = re.sub(r"\{.*\}", "", first.lstrip("# ")).strip()
        assert any(t.replace("\u2019", "'").endswith(title) for t in titles), title


def test_all_fonts_are_embedded(reader: PdfReader) -> None:
    seen = 0
    for page in reader.pages:
        fonts = resolved(resolved(page["/Resources"]).get("/Font", {}))  # type: ignore[attr-defined]
        for font in fonts.values():
            font = resolved(font)
            for descendant in font.get("/DescendantFonts", [font]):
                descendant = resolved(descendant)
                if font["/Subtype"] == "/Type3":
                    continue
                descriptor = resolved(descendant["/FontDescriptor"])
                assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor)
                seen += 1
    assert seen


def test_every_figure_and_table_of_the_pages_is_in_the_pdf(reader: PdfReader, book: Path) -> None:
    text = " ".join(" ".join(p.extract_text() for p in reader.pages).split())
    text = text.replace("\u00a0", " ")
    captions = 0
    for path in book.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        for label in re.findall(r'class="float-number">([^<]+):<', html):
            assert label.replace("\u00a0", " ") + ":" in text, label
            captions += 1
    assert captions >= 5


def test_every_page_has_text_and_none_is_cut_at_the_margin(reader: PdfReader) -> None:
    places: list[tuple[str, float]] = []

    def visit(text: str, cm: list, tm: list, font: object, size: float) -> None:
        if text.strip():
            places.append((text, tm[4] * cm[0] + cm[4]))

    for number, page in enumerate(reader.pages, 1):
        assert page.extract_text().strip(), f"page {number} is empty"
        places.clear()
        page.extract_text(visitor_text=visit)
        right = float(page.mediabox.right)
        outside = [text for text, x in places if not MARGIN < x < right - MARGIN]
        assert not outside, f"page {number}: {outside}"


def test_the_contents_are_short_and_leave_the_answers_out(reader: PdfReader) -> None:
    pages = [" ".join(page.extract_text().split()) for page in reader.pages[:6]]
    first, preface = (
        next(k for k, text in enumerate(pages) if text.startswith("Contents")),
        next(k for k, text in enumerate(pages) if "Cows of one herd" in text),
    )
    assert preface - first <= 3
    assert " ".join(pages[first:preface]).count("Data larger than memory") == 1

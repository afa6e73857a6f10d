"""The book's PDF: readable by people, machines and screen readers, and nothing cut off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typst
from pypdf import PageObject, PdfReader
from pypdf.generic import IndirectObject

from offline_render.book import load_project
from offline_render.render import fonts
from offline_render.render.pdf import design

MARGIN = 60  # points; the page's own is 68, and punctuation may hang into it


@pytest.fixture(scope="module")
def reader(book: Path) -> PdfReader:
    return PdfReader(next(book.glob("Mixed-*.pdf")))


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
        if path.stem == "I-functions":  # its examples are on the web alone
            continue
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
    first, home = (
        next(k for k, text in enumerate(pages) if text.startswith("Contents")),
        next(k for k, text in enumerate(pages) if "Cows share a herd" in text),
    )
    assert home - first <= 2
    assert " ".join(pages[first:home]).count("Data larger than memory") == 1


# fifteen chapters are 335 pages, the solutions of their exercises and the answers 30
PAGES = 370
FOOT = 65  # points of margin below, with the number of the page


def lowest(page: PageObject) -> float:
    """The height of a page's last line of text above its foot."""
    found = [float(page.mediabox.top)]

    def visit(text: str, cm: list, tm: list, font: object, size: float) -> None:
        if text.strip():
            found.append(tm[5] * cm[3] + cm[5])

    page.extract_text(visitor_text=visit)
    return min(y for y in found if y > FOOT)


def starts(reader: PdfReader) -> set[int]:
    """Where documents begin, by number from 0, and the end of the book."""
    tops = [item for item in reader.outline if not isinstance(item, list)]
    return {reader.get_destination_page_number(item) for item in tops} | {len(reader.pages)}


def test_the_book_has_no_more_pages_than_a_reader_carries(reader: PdfReader) -> None:
    assert len(reader.pages) <= PAGES


def test_only_the_end_of_a_document_leaves_half_a_page_blank(reader: PdfReader) -> None:
    begun = starts(reader)
    first = min(begun)
    blank = [
        number + 1
        for number, page in enumerate(reader.pages)
        if number >= first and number + 1 not in begun
        and lowest(page) > float(page.mediabox.top) / 2
    ]  # fmt: skip
    assert not blank


def test_sections_that_the_contents_leave_out_are_bookmarked(reader: PdfReader) -> None:
    below = [item.title for items in reader.outline if isinstance(items, list) for item in items
             if not isinstance(item, list)]  # fmt: skip
    assert any(re.fullmatch(r"[\d.]+ \s*Check yourself", title) for title in below)
    assert any("(optional)" in title for title in below)


@pytest.mark.parametrize(("rows", "times"), [(80, 1), (12, 0)])
def test_a_long_table_says_that_it_goes_on_and_a_short_one_stays_whole(
    tmp_path: Path, rows: int, times: int
) -> None:
    cells = "".join(f"[{k}], [value]," for k in range(rows))
    table = f"#hb-table(2, (left, left,), header: ([a], [b],), {cells})"
    source = tmp_path / "book.typ"
    body = f'#hb-heading(1, "", "chapter")[One]\n#v(60%)\n{table}\n'
    show = '#show: handbook.with(title: "T")\n'
    source.write_text(design("look.typ", "book.typ") + show + body, encoding="utf-8")
    data, told = typst.compile_with_warnings(
        str(source), root=str(tmp_path), ignore_system_fonts=True,
        font_paths=[str(fonts.pdf_font_folder(tmp_path / "fonts"))],
    )  # fmt: skip
    assert not told
    (tmp_path / "book.pdf").write_bytes(data)
    texts = [page.extract_text() for page in PdfReader(tmp_path / "book.pdf").pages]
    assert sum("continued" in text for text in texts) >= times
    assert max(text.count("value") for text in texts) >= min(rows, 12)
    assert times or not any("continued" in text for text in texts)

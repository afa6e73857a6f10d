"""What the post-render step makes of Quarto's pages, and the theme they share with the others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from minibook import write

from offline_render.quarto import after_render
from offline_render.quarto.pages import searchable

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "_extensions" / "handbook"
MATH = (
    '<math display="{}" xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow><mi>x</mi>'
    '<mtext>a&nbsp;b</mtext>{}</mrow><annotation encoding="application/x-tex">x_TEX</annotation>'
    "</semantics></math>"
)
# how Quarto 1.9.38 writes the number of an equation
NUMBER = (
    '<mspace width="2.0em"></mspace><mo stretchy="false" form="prefix">(</mo><mn>1.1</mn>'
    '<mo stretchy="false" form="postfix">)</mo>'
)
REFERENCE = '<a href="{}" class="quarto-xref"><span>{}</span></a>'
ANSWER = '<details class="hb-answer" data-search-ignore><p>The answer is B.</p></details>'


def page(title: str, body: str) -> str:
    return (
        "<!DOCTYPE html>\n<html><head>\n</head><body><nav>Elsewhere</nav>"
        f'<main class="content"><header id="title-block-header"><h1 class="title">{title}</h1>'
        f"</header>\n{body}</main></body></html>"
    )


INDEX = page("Small book", "<p>See " + REFERENCE.format(
    "chapters/one.html", "1&nbsp; First") + " and " + REFERENCE.format(
    "chapters/two.html#sec-later", "Later") + " and " + REFERENCE.format(
    "chapters/extra.html", "Appendix A — Extra") + ".</p>")  # fmt: skip
ONE = page(
    '<span id="sec-first" class="quarto-section-identifier"><span class="chapter-number">1</span>'
    '&nbsp; <span class="chapter-title">First</span></span>',
    "<p>Start " + REFERENCE.format("two.html#sec-later", "Section 2.1") + " of "
    + MATH.format("inline", "") + ".</p>"
    '<section id="part" class="level2"><h2>Part</h2><p><span id="eq-model">'
    + MATH.format("block", NUMBER) + "</span></p><table><tr><td>cell &lt;b&gt;</td></tr></table>"
    '<figure><figcaption class="x">\nTable&nbsp;1.1: Two rows.</figcaption></figure>'
    + ANSWER + '<section id="sub" class="level3"><h3>Sub</h3><p>Below.</p></section></section>',
)  # fmt: skip
EXTRA = page(
    '<span id="sec-extra" class="quarto-section-identifier">Appendix A — Extra</span>',
    "<p>Text.</p>" + ANSWER,
)
ENTRIES = [
    {"href": "index.html", "title": "t", "section": "", "text": "x"},
    {"href": "chapters/one.html", "title": "t", "section": "", "text": "old"},
    {"href": "chapters/one.html#part", "title": "t", "section": "Part", "text": "The answer is B."},
    {"href": "chapters/one.html#gone", "title": "t", "section": "Gone", "text": "The answer is B."},
    {"href": "chapters/two.html", "title": "t", "section": "", "text": "of another run"},
    {"href": "chapters/extra.html", "title": "t", "section": "", "text": "The answer is B."},
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(tmp_path_factory.mktemp("finished"))
    out = root / "_book"
    (out / "chapters").mkdir(parents=True)
    for name, text in {"index": INDEX, "chapters/one": ONE, "chapters/extra": EXTRA}.items():
        (out / f"{name}.html").write_text(text, encoding="utf-8")
    (out / "search.json").write_text(json.dumps(ENTRIES))
    pages = ["index.html", "chapters/one.html", "chapters/extra.html", "Small-book.pdf"]
    after_render(root, pages, out)
    once = {path.name: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    after_render(root, pages, out)  # as a preview does at each save
    assert once == {path.name: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    return out


def read(site: Path, name: str) -> str:
    return (site / f"{name}.html").read_text(encoding="utf-8")


def test_references_on_a_page_without_number_read_as_on_all_others(site: Path) -> None:
    """Quarto prints titles where a page has no section numbers ("Book structure")."""
    said = re.findall(r'class="quarto-xref"><span>(.*?)</span>', read(site, "index"))
    assert said == ["Chapter\u00a01", "Section\u00a02.1", "Appendix\u00a0A"]
    assert "<span>Section 2.1</span>" in read(site, "chapters/one")  # Quarto's own words stay


def test_an_equations_number_stands_beside_it_and_formulas_say_nothing_twice(site: Path) -> None:
    text = read(site, "chapters/one")
    assert '</math> <span class="hb-equation-number">(1.1)</span></span>' in text
    assert text.count("1.1") == 2 and "2.0em" not in text  # the equation's and the table's
    assert "annotation" not in text and text.count("</math>") == 2


def test_titles_captions_and_tables_get_the_marks_that_the_theme_names(site: Path) -> None:
    one, extra = read(site, "chapters/one"), read(site, "chapters/extra")
    theme = (EXTENSION / "theme.scss").read_text(encoding="utf-8")
    assert '<span class="chapter-number">Chapter 1</span> <span class="chapter-title">F' in one
    assert '<span class="chapter-number">Appendix A</span> <span class="chapter-title">Ex' in extra
    assert '<span class="hb-float-number">Table&nbsp;1.1:</span> Two rows.' in one
    assert one.count('<div class="hb-wide"><table>') == 1
    for name in ("chapter-number", "hb-float-number", "hb-wide", "hb-equation-number"):
        assert f".{name}" in theme


def test_the_search_index_holds_no_answer_and_no_formula_twice(site: Path) -> None:
    index = json.loads((site / "search.json").read_text(encoding="utf-8"))
    assert {entry["href"]: entry["text"] for entry in index} == {
        "index.html": "See Chapter 1 and Section 2.1 and Appendix A.",
        "chapters/one.html": "Start Section 2.1 of .",
        "chapters/one.html#part": "cell &lt;b&gt; Table 1.1: Two rows. Sub Below.",
        "chapters/two.html": "of another run",
        "chapters/extra.html": "Text.",
    }
    assert all({"title", "section"} <= set(entry) for entry in index)


def test_search_leaves_out_what_the_filter_marks_for_it() -> None:
    lua = (EXTENSION / "handbook.lua").read_text(encoding="utf-8")
    for kind in ("hb-answer", "hb-model"):
        assert re.search(rf'<details class="hb-fold {kind}" data-search-ignore>', lua)
    text = page("t", '<p>Seen.</p><div hidden>Unseen.</div><div data-search-ignore>'
                     '<p>No<br>ne.</p><img src="x"></div><p>Seen too.</p>')  # fmt: skip
    found = searchable([{"href": "p.html", "text": ""}], {"p.html": text})
    assert found == [{"href": "p.html", "text": "Seen. Seen too."}]


def colours(text: str) -> dict[str, str]:
    """Names and values of a block of custom properties or of SCSS variables."""
    pairs = re.findall(r"(?:--|\$)([a-z-]+):\s*([^;]+);", text)
    return {name: value for name, value in pairs if name != "hb-scheme"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_renderers_have_the_same_colours(scheme: str) -> None:
    style = (ROOT / "offline_render" / "render" / "assets" / "style.css").read_text(
        encoding="utf-8"
    )
    start = ":root {" if scheme == "light" else ':root[data-theme="dark"] {'
    block = style[style.index(start) :]
    embedded = colours(block[: block.index("}")])
    for name in ("serif", "sans", "mono", "code-paper"):  # letters; a colour by another's name
        embedded.pop(name, None)
    own = {name: value for name, value in embedded.items() if not name.startswith("hb-")}
    scss = (EXTENSION / f"{scheme}.scss").read_text(encoding="utf-8")
    assert colours(scss) == own and f"$hb-scheme: {scheme};" in scss


SHARED = {
    "h2": ("main.content h2", "h2", ["font-size", "margin"]),
    "h3": ("main.content h3", "h3", ["font-size", "margin"]),
    "h1": ("#title-block-header h1.title", "h1", ["font-size", "color"]),
    "text": ("main.content", "body", ["font"]),
    "cells": ("main.content table :is(th, td)", "th, td", ["padding", "border-bottom"]),
    "number": (".hb-float-number", ".float-number", ["font-weight", "color"]),
    "tables": ("main.content table", "table", ["margin"]),
    "measure": ("main.content", "main", ["--measure"]),
    "code": ("main.content div.sourceCode pre", "div.sourceCode pre", ["background", "padding"]),
    "formulas": ('math[display="block"]', 'math[display="block"]', ["background"]),
}


@pytest.mark.parametrize("theirs, ours, properties", SHARED.values(), ids=SHARED)
def test_both_renderers_have_the_same_sizes(theirs: str, ours: str, properties: list[str]) -> None:
    def rule(path: Path, selector: str) -> dict[str, str]:
        text = path.read_text(encoding="utf-8")
        found = re.findall(rf"^{re.escape(selector)} {{ (.*?) }}$", text, re.M)
        assert found, f"no rule {selector}"
        pairs = [part.partition(":") for part in ";".join(found).split(";") if part.strip()]
        return {name.strip(): value.strip() for name, _, value in pairs}

    theme = rule(EXTENSION / "theme.scss", theirs)
    style = rule(ROOT / "offline_render" / "render" / "assets" / "style.css", ours)
    letters = '"Book Serif", Georgia, Cambria, serif'
    for name in properties:
        assert theme[name] == style[name].replace("var(--serif)", letters), name

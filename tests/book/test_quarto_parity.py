"""What Quarto makes of the chapters: rules without it, and a comparison where it is on PATH.

Each rule names the page of Quarto's documentation that it follows from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
from pypdf import PdfReader

from offline_render.assemble import skeleton
from offline_render.pandoc import Pandoc, nodes
from offline_render.project import Chapter, load_project
from offline_render.quarto import find_quarto
from offline_render.source import split

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = load_project(ROOT).chapters
FILTER = ROOT / "_extensions" / "handbook" / "handbook.lua"
# the part of Quarto's Lua API that the filter calls
QUARTO = """
quarto = { doc = {
  input_file = "chapters/01-name.qmd",
  is_format = function(name) return FORMAT:match(name) ~= nil end,
  add_html_dependency = function() end,
} }
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Pandoc:
    return Pandoc(tmp_path_factory.mktemp("pandoc"))


@pytest.fixture(scope="module")
def as_in_quarto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension's filter, with the names that Quarto gives it."""
    path = tmp_path_factory.mktemp("filter") / "handbook.lua"
    path.write_text(QUARTO + FILTER.read_text(encoding="utf-8"), encoding="utf-8")
    return path


def written(engine: Pandoc, chapter: Chapter, form: str, lua: Path) -> str:
    text = skeleton(split(chapter.path)).markdown
    return engine.run(text, "-f", "markdown", "-t", form, "--mathml", "--lua-filter", str(lua))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.key)
def test_titles_of_tabs_are_too_low_to_be_sections(engine: Pandoc, chapter: Chapter) -> None:
    """Quarto, "Tabsets" and "Book structure": number-depth 3, so level 4 has no number."""
    tree = engine.read(chapter.path.read_text(encoding="utf-8"))
    for div in nodes(tree["blocks"], "Div"):
        if "panel-tabset" in div["c"][0][1]:
            assert min(header["c"][0] for header in nodes(div["c"][1], "Header")) >= 4


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.key)
def test_no_id_stands_twice_on_a_page(engine: Pandoc, as_in_quarto: Path, chapter: Chapter) -> None:
    """Quarto, "Cell options": a label becomes an id, beside those that pandoc gives to headings."""
    page = written(engine, chapter, "html", as_in_quarto)
    labels = [p.label for p in split(chapter.path) if hasattr(p, "options") and p.options]
    named = re.findall(r'\sid="([^"]+)"', page)
    found = Counter([*named, *(label for label in labels if not label.startswith(("fig", "tbl")))])
    assert [name for name, count in found.items() if count > 1] == []


def test_quarto_is_not_asked_to_find_downloads_among_its_inputs(
    engine: Pandoc, as_in_quarto: Path
) -> None:
    """Quarto, "Book structure": links to inputs are resolved; these files come after rendering."""
    chapter = next(c for c in CHAPTERS if c.key == "01-whole-game")
    with_code = skeleton(split(chapter.path)).markdown + "\n\n```{.python .cell-code}\n1\n```\n"
    options = ["-f", "markdown", "-t", "html", "--mathml", "--lua-filter", str(as_in_quarto)]
    page = engine.run(with_code, *options)
    assert page.count("download data-noresolveinput") == 2


def test_the_theme_fetches_no_font() -> None:
    """Quarto, "HTML theming": Bootswatch themes import web fonts unless the path is false."""
    config = load_project(ROOT).config["format"]["html"]
    theme = "_extensions/handbook/theme.scss"
    assert all(theme in layers for layers in config["theme"].values())
    assert "$web-font-path: false;" in (ROOT / theme).read_text(encoding="utf-8")
    assert config["respect-user-color-scheme"] is True


# --- with a real Quarto ------------------------------------------------------------------------

NUMBER = re.compile(r"\d+\.\d+")


def numbers(page: Path) -> Counter[str]:
    """All decimal numbers that a page shows, the reference list left out."""
    text = page.read_text(encoding="utf-8")
    text = text[text.index("<main") : text.index("</main>")]
    text = re.sub(r"<annotation.*?</annotation>", "", text, flags=re.S)
    # Quarto lists the references of a chapter on its page; footnotes may follow them
    text = re.sub(r'<section[^>]*id="quarto-bibliography".*?</section>', "", text, flags=re.S)
    text = re.sub(r'<div id="refs".*?(?=<section|$)', "", text, flags=re.S)
    return Counter(NUMBER.findall(unescape(re.sub(r"<[^>]+>", " ", text))))


@pytest.mark.skipif(find_quarto() is None, reason="no Quarto 1.9 or newer on PATH")
def test_a_real_quarto_renders_the_same_numbers(book: Path, root: Path, tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True,
        check=True,
    ).stdout.splitlines()  # fmt: skip
    copy = tmp_path / "clone"
    for name in listed:
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name)
    for kept in ("cells", "pandoc"):
        shutil.copytree(root / ".handbook" / kept, copy / ".handbook" / kept)
    quarto = find_quarto()
    done = subprocess.run(
        [str(quarto), "render"], cwd=copy, capture_output=True, text=True,
        env={**os.environ, "QUARTO_PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stderr + done.stdout
    assert not re.search(r"Unable to resolve|ERROR|couldn't recognize format", said)
    for page in [book / "index.html", *sorted((book / "chapters").glob("*.html"))]:
        if page.name != "references.html":
            assert numbers(copy / "_book" / page.relative_to(book)) == numbers(page), page.name
    (made,) = (copy / "_book").glob("*.pdf")
    (embedded,) = book.glob("*.pdf")
    pages = len(PdfReader(made).pages)
    assert abs(pages / len(PdfReader(embedded).pages) - 1) <= 0.05
    assert PdfReader(made).trailer["/Root"]["/Lang"] == "en-GB"
    search = json.loads((copy / "_book" / "search.json").read_text(encoding="utf-8"))
    assert len(search) > 100

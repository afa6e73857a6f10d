"""A small book with everything that keeps the lesson in front, by a real Quarto and by the embedded
renderer; `test_quarto_parity.py` compares the whole one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from minibook import write
from pages import blocks
from pypdf import PdfReader
from test_reading_path import CHAPTER

from offline_render.quarto import find_quarto
from offline_render.render import build

ROOT = Path(__file__).resolve().parents[2]
DRAWING = """
![A drawing.](drawings/whole-game.svg){#fig-idea fig-alt="Drawing of four boxes."}

## Herds differ"""
MORE = """
As in @fig-idea, @fig-line and [shrinkage](01-one.qmd#gls-shrinkage).

## Summary

::: {.summary}
All.
:::
"""
ONE = (
    CHAPTER.replace("one.qmd", "01-one.qmd").replace("## Herds differ", DRAWING.lstrip(), 1) + MORE
)
EXTRA = "# Extra {#sec-extra}\n\nText.\n\n::: {.book-index}\n:::\n"
BOOK = """\
  chapters:
    - index.qmd
    - part: "Models"
      chapters: [chapters/01-one.qmd]
    - part: "Tests"
      chapters: [chapters/two.qmd]
    - chapters/references.qmd
  appendices: [chapters/extra.qmd]

"""
# Quarto lists the references of a chapter on its page, and gives the title of the book on the first
LEFT_OUT = (("id", "refs"), ("id", "title-block-header"))

pytestmark = pytest.mark.skipif(find_quarto() is None, reason="no Quarto 1.9 or newer on PATH")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sites that Quarto and the embedded renderer made."""
    root = write(
        tmp_path_factory.mktemp("small"),
        one=ONE,
        two="# Second {#sec-second}\n\nText.\n",
        extra=EXTRA,
    )
    (root / "chapters/one.qmd").rename(root / "chapters/01-one.qmd")
    (root / "index.qmd").write_text("# Home {.unnumbered}\n\nSee @sec-derived and @sec-first.\n")
    for name in ("_extensions", "offline_render", "pylmm_helpers"):
        shutil.copytree(ROOT / name, root / name)
    (root / "chapters/drawings").mkdir()
    shutil.copy(ROOT / "chapters/drawings/whole-game.svg", root / "chapters/drawings")
    config = (ROOT / "_quarto.yml").read_text(encoding="utf-8")
    start, end = config.index("  chapters:\n"), config.index("quarto-required")
    (root / "_quarto.yml").write_text(config[:start] + BOOK + config[end:], encoding="utf-8")
    build(root)
    embedded = (root / "_book").rename(root / "_embedded")
    done = subprocess.run(
        [str(find_quarto()), "render"], cwd=root, capture_output=True, text=True,
        env={**os.environ, "QUARTO_PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ERROR" not in done.stderr + done.stdout
    return root / "_book", embedded


def paper(site: Path) -> list[str]:
    reader = PdfReader(next(site.glob("*.pdf")))
    return [" ".join(page.extract_text().split()) for page in reader.pages]


@pytest.mark.parametrize(
    "name", ["index", "chapters/01-one", "chapters/two", "chapters/references", "chapters/extra"]
)
def test_pages_say_the_same(books: tuple[Path, Path], name: str) -> None:
    less = LEFT_OUT[1:] if name == "index" else LEFT_OUT[: "references" not in name]
    theirs, ours = (blocks(site / f"{name}.html", *less) for site in books)
    assert theirs == ours


def test_pages_have_the_marks_that_the_theme_and_search_work_with(
    books: tuple[Path, Path],
) -> None:
    text = (books[0] / "chapters/01-one.html").read_text(encoding="utf-8")
    fold = re.search(r'<details class="hb-fold hb-proof".*?</details>', text, re.S)
    assert fold is not None and "secretvalue" in fold[0] and "data-search-ignore" in fold[0]
    assert re.search(r'<section id="sec-derived" class="[^"]*\boptional\b', text)
    assert re.search(r'<details class="code-fold">\s*<summary>Show the code', text)
    image = re.search(r'<img src="drawings/whole-game.svg"[^>]*>', text)
    assert image is not None and 'alt="Drawing of four boxes."' in image[0]
    search = json.loads((books[0] / "search.json").read_text(encoding="utf-8"))
    for word in ("secretvalue", "drawncode", "counted", "nobody should find"):
        assert word not in json.dumps(search)


def test_paper_has_parts_and_an_index_and_no_fold(books: tuple[Path, Path]) -> None:
    theirs, ours = (paper(site) for site in books)
    assert len(theirs) == len(ours)
    for found in (theirs, ours):
        [place] = [k for k, text in enumerate(found) if "Main words about feeding" in text]
        assert found[place].split("1 First")[0].strip().endswith("MODELS")
        assert not any("TESTS" in text for text in found if "Known, A." in text)
        everything = " ".join(found)
        for word in ("drawncode", "secretvalue", "Proof", "Show the code"):
            assert word not in everything
        assert "fit_lmm, 4" in everything and "Shrinkage, 4" in everything
        assert "shrinkage and fit_lmm." in everything  # no space after a mark of the index
        assert "A derivation (optional)" in everything and "APPENDICES" in everything


def test_downloads_are_the_same(books: tuple[Path, Path]) -> None:
    theirs, ours = (
        {p.relative_to(site).as_posix() for p in site.rglob("*")
         if p.suffix in (".epub", ".zip", ".ipynb", ".py", ".pdf", ".whl")}
        for site in books
    )  # fmt: skip
    assert theirs == ours and any(name.endswith(".epub") for name in ours)


def test_bookmarks_name_the_same_chapters_and_sections(books: tuple[Path, Path]) -> None:
    def titles(outline: list) -> list[str]:  # type: ignore[type-arg]
        return [t for o in outline for t in (titles(o) if isinstance(o, list) else [o.title])]

    theirs, ours = (titles(PdfReader(next(site.glob("*.pdf"))).outline) for site in books)
    assert [re.sub(r"^(\w+)\. ", r"\1 ", title) for title in theirs] == ours

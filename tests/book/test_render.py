"""The embedded renderer on a small book: numbers, links, caching, and every way to fail."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from minibook import ONE, TWO, write
from pypdf import PdfReader

from offline_render.book import BuildError, load_project
from offline_render.preview import stamps
from offline_render.render import build
from offline_render.run import inputs_digest


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("small"))
    build(folder)
    return folder


def page(folder: Path, name: str) -> str:
    return (folder / "_book" / "chapters" / f"{name}.html").read_text(encoding="utf-8")


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html)).replace("\u00a0", " ")


def test_figures_tables_equations_and_sections_are_numbered_by_chapter(small: Path) -> None:
    text = words(page(small, "one"))
    for expected in ("Figure 1.1: A line.", "Table 1.1: Two rows.", "(1.1)", "Section 2.1"):
        assert expected in text


def test_references_link_across_files_in_both_directions(small: Path) -> None:
    assert 'href="two.html#sec-later"' in page(small, "one")
    second = page(small, "two")
    assert 'href="one.html#fig-line"' in second
    assert re.search(r'href="one.html#tbl-small"[^>]*>1.1</a>', second)
    assert 'href="one.html#sec-first"' in second
    assert "Appendix\u00a0A" in second


def test_inline_values_stand_in_the_prose_with_their_characters_kept(small: Path) -> None:
    assert "Two and two make 4; stars stay: a*b*." in words(page(small, "one"))


def test_citations_lead_to_the_reference_list(small: Path) -> None:
    assert 'href="references.html#ref-known"' in page(small, "one")
    assert 'id="ref-known"' in page(small, "references")


def test_pdf_has_the_same_numbers_bookmarks_and_tags(small: Path) -> None:
    reader = PdfReader(next((small / "_book").glob("*.pdf")))
    text = " ".join(page.extract_text() for page in reader.pages).replace("\u00a0", " ")
    for expected in ("Figure 1.1: A line.", "Table 1.1: Two rows.", "(1.1)", "Section 2.1"):
        assert expected in " ".join(text.split())
    assert "Only on pages." not in text
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert len(reader.outline) >= 4


def test_things_inside_callouts_and_tabs_are_numbered_and_their_titles_are_not(
    tmp_path: Path,
) -> None:
    text = (
        "# Second {#sec-second}\n\n## Later {#sec-later}\n\nSee @tbl-in and @eq-in.\n\n"
        "::: {.callout-tip}\n## A title\n\n| a |\n|---|\n| 1 |\n\n: Inside. {#tbl-in}\n:::\n\n"
        "::: {.panel-tabset}\n#### One\n\n$$ x = 1 $$ {#eq-in}\n\n#### Two\n\nText.\n:::\n\n"
        "## Next {#sec-next}\n\nIn @sec-next.\n"
    )
    folder = write(tmp_path, two=text)
    build(folder)
    shown = words(page(folder, "two"))
    assert "See Table 2.1 and Equation 2.1." in shown
    assert "In Section 2.2." in shown


def test_only_pages_are_rebuilt_after_an_edit_of_prose(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(small, folder)
    before = (folder / "runs.txt").read_text()
    (folder / "chapters" / "one.qmd").write_text(ONE + "\nOne more sentence.\n", encoding="utf-8")
    build(folder)
    assert "One more sentence." in page(folder, "one")
    assert (folder / "runs.txt").read_text() == before


def test_cells_run_again_when_their_code_changes(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(small, folder)
    before = (folder / "runs.txt").read_text()
    changed = ONE.replace("[1, 2, 3]", "[1, 2, 4]")
    (folder / "chapters" / "one.qmd").write_text(changed, encoding="utf-8")
    build(folder)
    assert (folder / "runs.txt").read_text() == before + "run\n"


BAD_CELL = "\n```{python}\n#| label: breaks\nvalue = 1\nvalue / 0\n```\n"
FAILURES = {
    "failing cell": (BAD_CELL, r"one\.qmd:(\d+): cell 'breaks' failed with ZeroDivisionError"),
    "failing inline": ("\n`{python} nothing`\n", r"one\.qmd:(\d+): inline .* NameError"),
    "inline that shows numpy's type": (
        '\n`{python} __import__("numpy").arange(3).max()`\n',
        r"one\.qmd:(\d+): inline .* would show np\.int64\(2\): put int\(\)",
    ),
    "dangling reference": ("\nSee @fig-none.\n", r"one\.qmd:(\d+): dangling cross-reference"),
    "unknown citation": ("\nSee @nobody.\n", r"one\.qmd:(\d+): unknown citation @nobody"),
    "missing image": ('\n![](no.png){fig-alt="A."}\n', r"one\.qmd:(\d+): missing image no.png"),
    "image without alt": (
        "\n![](no.png)\n",
        r"one\.qmd:(\d+): (missing image|image no.png has no)",
    ),
    "link out of the book": ("\n[x](zero.qmd)\n", r"one\.qmd:(\d+): link to zero.qmd"),
    "raw HTML": ("\n<div>x</div>\n", r"one\.qmd:(\d+): raw HTML"),
    "shortcode": ("\n{{< video x >}}\n", r"one\.qmd:(\d+): shortcodes"),
    "unknown class": ("\n::: {.fancy}\nx\n:::\n", r"one\.qmd:(\d+): class '.fancy'"),
    "unknown option": ("\n```{python}\n#| cache: true\n1\n```\n", r"one\.qmd:(\d+): cell option"),
    "label that is no text": (
        "\n```{python}\n#| label: null\n1\n```\n",
        r"one\.qmd:(\d+): cell option 'label' is 'null'; Quarto takes text",
    ),
    "label that is a section's own id": (
        "\n## Two means, again\n\n```{python}\n#| label: two-means-again\n1\n```\n",
        r"one\.qmd:(\d+): label 'two-means-again' is also the id that the heading at line",
    ),
    "tab that would be a section": (
        "\n::: {.panel-tabset}\n## Python\n\nx\n:::\n",
        r"one\.qmd:(\d+): the title of a tab needs four signs",
    ),
    "figure without alt": (
        '\n```{python}\n#| label: fig-x\n#| fig-cap: "X"\n1\n```\n',
        r"one\.qmd:(\d+): figure cell 'fig-x' lacks #\| fig-alt",
    ),
    "unclosed fence": ("\n```{python}\n1\n", r"one\.qmd:(\d+): code fence"),
    "unreadable formula": ("\n$\\unknowncommand x$\n", r"one\.qmd:(\d+): .*unknowncommand"),
    "repeated label": ("\n## A {#sec-first}\n", r"label 'sec-first' stands in .* too"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_fault_stops_the_build_with_its_line_and_leaves_the_last_good_book(
    small: Path, tmp_path: Path, name: str
) -> None:
    addition, message = FAILURES[name]
    folder = tmp_path / "copy"
    shutil.copytree(small, folder)
    good = page(folder, "one")
    text = ONE + addition
    (folder / "chapters" / "one.qmd").write_text(text, encoding="utf-8")
    with pytest.raises(BuildError) as caught:
        build(folder)
    match = re.search(message, str(caught.value))
    assert match, str(caught.value)
    if match.groups() and match.group(1).isdigit():
        line = int(match.group(1))
        first = ONE.count("\n") + 2
        assert first <= line <= text.count("\n") + 1
    if name == "failing cell":
        assert text.split("\n")[line - 1] == "value / 0"
        assert "Traceback" in str(caught.value)
    assert page(folder, "one") == good
    assert list((folder / "_book").glob("*.pdf"))


def test_a_table_shown_as_html_only_is_refused_with_the_remedy(tmp_path: Path) -> None:
    cell = "\n```{python}\nimport pandas as pd\n\npd.DataFrame({'a': [1]})\n```\n"
    with pytest.raises(BuildError, match=r"wrap a DataFrame in table\(\.\.\.\)"):
        build(write(tmp_path, one=ONE + cell))


def test_a_book_lost_between_two_renames_is_put_back(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(small, folder)
    (folder / "_book").rename(folder / ".handbook" / "book.old")
    (folder / "chapters" / "two.qmd").write_text(TWO + "\nSee @fig-none.\n", encoding="utf-8")
    with pytest.raises(BuildError):
        build(folder)
    assert (folder / "_book" / "index.html").exists()


def test_pictures_open_in_full_and_take_their_room_before_they_arrive(book: Path) -> None:
    for page in sorted((book / "chapters").glob("*.html")):
        for tag in re.findall(r"<img [^>]*>", page.read_text(encoding="utf-8")):
            assert re.search(r'width="\d+" height="\d+"', tag), (page.name, tag[:120])
    text = (book / "chapters" / "01-whole-game.html").read_text(encoding="utf-8")
    assert re.search(r'<a href="([^"]+\.svg)" class="enlarge"><img\s+src="\1"', text)


def test_a_helper_in_a_folder_of_the_package_is_watched_and_runs_cells_anew(tmp_path: Path) -> None:
    root = write(tmp_path / "book")
    helper = root / "pylmm_helpers" / "engine" / "criterion.py"
    helper.parent.mkdir(parents=True)
    helper.write_text("one = 1\n")
    before = inputs_digest(load_project(root))
    assert str(helper) in stamps(root)
    helper.write_text("one = 2\n")
    assert inputs_digest(load_project(root)) != before

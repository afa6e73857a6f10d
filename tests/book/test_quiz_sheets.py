"""Quiz sheets: each question of the book to print, without its answer and with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from minibook import write
from pypdf import PdfReader

from offline_render.book import load_project, split
from offline_render.render import SHEETS, Pandoc, quizzes
from offline_render.render.building import bibliography_keys
from offline_render.render.crossref import Document, number, numbered, resolve

ROOT = Path(__file__).resolve().parents[2]
PLAIN, KEYED = SHEETS
QUIZ = """\
# First

::: {.quiz #quiz-icc}
What does $\\sigma_g^2$ measure, by @fig-line?

- [ ] The spread `within`

  That is $\\sigma^2$; see @sec-first.

- [x] The spread between

  It is.

::: {.hint}
Never printed.
:::
:::

::: {.callout-note}
::: {.quiz}
Which ones hold?

- [x] One

  Yes.

- [x] Two

  Yes too.

- [ ] Three

  No.
:::
:::

::: {.reflection}
Why?

::: {.model-answer}
Because.
:::
:::
"""
FIGURE = """
::::: {#fig-line .hb-float}
![](line.svg){fig-alt="A line."}

:::: {.hb-caption}
A drawn line.
::::
:::::
"""
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="90pt" height="30pt" viewBox="0 0 90 30">'
    b'<path d="M0 0 L90 30" stroke="black"/></svg>'
)


def documents(root: Path, markdown: str) -> tuple[list[Document], Pandoc]:
    """The small book's chapters, the first of them with questions."""
    project = load_project(root)
    engine = Pandoc(root / ".handbook" / "pandoc")
    texts = {"one": f"{markdown}\n{FIGURE}".replace("# First\n", "# First {#sec-first}\n", 1)}
    targets: dict = {}
    found = [
        number(c, engine.read(texts.get(c.key, f"# {c.key.title()}\n\nText.")), targets)
        for c in project.chapters
    ]
    for document in found:
        resolve(document, targets, set())
    return found, engine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(tmp_path_factory.mktemp("book"))
    found, engine = documents(root, QUIZ)
    files = {d.chapter.source: {"line.svg": SVG} for d in found}
    written = quizzes.write_quiz_sheets(load_project(root), found, files, engine, root)
    assert [path.name for path in written] == [PLAIN, KEYED]
    return root


def pages(path: Path) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in PdfReader(path).pages]


def test_a_sheet_has_questions_with_boxes_and_room_to_write_and_no_answer(made: Path) -> None:
    [text] = pages(made / PLAIN)
    assert "Name" in text and "Date" in text and "Chapter 1 First" in text
    assert re.search(r"Question 1 .*What does .* measure, by Figure.1\.1\?", text)
    assert "A The spread within B The spread between" in text
    assert text.count("Choose every option that is right.") == 1
    assert "Reflection 1 Why?" in text
    for answer in ("Right", "It is.", "Because", "Never printed"):
        assert answer not in text


def test_a_figure_that_a_question_speaks_of_stands_on_its_sheet(made: Path) -> None:
    assert "Figure 1.1: A drawn line." in pages(made / PLAIN)[0]
    assert (made / ".handbook" / "sheets" / "one" / "line.svg").is_file()


def test_the_key_follows_each_sheet_with_the_reason_for_every_option(made: Path) -> None:
    sheet, key = pages(made / KEYED)
    assert sheet.partition(", page")[0] == pages(made / PLAIN)[0].partition(", page")[0]
    assert "Key to chapter 1" in key and "Chapter 1, key, page 2" in key
    assert re.search(
        r"Question 1: B A Not right\. That is .* see Chapter.1\. B Right\. It is\.", key
    )
    assert "Question 2: A, B" in key
    assert "Reflection 1: a model answer Because." in key


def test_a_sheet_is_made_anew_only_when_its_questions_change(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("compiled")

    monkeypatch.setattr(quizzes, "_compiled", refuse)
    project = load_project(made)
    for text in (QUIZ, QUIZ.replace("It is.", "It was.")):
        found, engine = documents(made, text)
        files = {d.chapter.source: {"line.svg": SVG} for d in found}
        if text == QUIZ:
            assert quizzes.write_quiz_sheets(project, found, files, engine, made)
        else:
            with pytest.raises(AssertionError, match="compiled"):
                quizzes.write_quiz_sheets(project, found, files, engine, made)


def test_a_book_without_questions_has_no_sheets(tmp_path: Path) -> None:
    root = write(tmp_path)
    found, engine = documents(root, "# First\n\nText.")
    assert quizzes.write_quiz_sheets(load_project(root), found, {}, engine, tmp_path) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Document], list[str]]:
    """The real book's documents, without results, and the pages of its sheets with key."""
    project = load_project(ROOT)
    out = tmp_path_factory.mktemp("sheets")
    engine = Pandoc(out / "pandoc")
    sources = {c.source: split(c.path) for c in project.chapters}
    found, targets = numbered(project, sources, engine)
    known = bibliography_keys(project, engine)
    for document in found:
        resolve(document, targets, known)
    files: dict[str, dict[str, bytes]] = {c.source: {} for c in project.chapters}
    quizzes.write_quiz_sheets(project, found, files, engine, out)
    return found, pages(out / KEYED)


def test_every_question_of_the_book_is_on_a_sheet(
    whole: tuple[list[Document], list[str]],
) -> None:
    found, printed = whole
    text = " ".join(printed)
    for document in found:
        source = document.chapter.path.read_text(encoding="utf-8")
        asked = quizzes.asked_in(document)
        assert len(asked) == source.count("::: {.quiz") + source.count("::: {.reflection")
        for question in asked:
            assert not question.options or question.right
            assert all(option.why for option in question.options)
            assert question.options or question.answer
    count = sum(bool(q.options) for d in found for q in quizzes.asked_in(d))
    assert len(re.findall(r"Question \d+: [A-Z]", text)) == count > 60


def test_each_chapter_begins_a_run_of_pages(whole: tuple[list[Document], list[str]]) -> None:
    found, printed = whole
    asking = [d for d in found if quizzes.asked_in(d)]
    firsts = [text for text in printed if text.startswith("Name")]
    assert len(firsts) == len(asking)
    assert all(re.search(r", page 1$", text) for text in firsts)

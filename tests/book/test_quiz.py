"""The handbook filter, run by pandoc itself: what a reader gets on the page and in the PDF."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pypandoc
import pypdf
import pytest
import typst

EXTENSION = Path(__file__).parents[2] / "_extensions" / "handbook"

SINGLE = """
::: {.quiz #quiz-icc}
What is the ICC of a model with 200 between and 800 within?

- [ ] 0.25

  That is a ratio of variances.

- [x] 0.20

  Two hundred of a thousand.

::: {.hint}
Divide by the total.
:::
:::
"""
MULTIPLE = """
::: {.quiz}
Which assumptions does it make?

```python
fit = model.fit()
```

- [x] Normal random effects

  With mean zero.

- [x] Independent residuals

  Given the random effects.

- [ ] Equal herds

  Herds may differ in size.
:::
"""
REFLECTION = """
::: {.reflection}
Why treat herds as random?

::: {.model-answer}
Many herds cost one variance only.
:::
:::
"""
KEY = """
# Answers {.unnumbered}

::: {.answer-key}
:::
"""
FIRST = f"# The *first* chapter\n{SINGLE}{MULTIPLE}{REFLECTION}"
BOOK = f"{FIRST}\n# The second\n\n## Part\n{MULTIPLE}{KEY}"


def convert(source: str, to: str) -> subprocess.CompletedProcess[str]:
    """Convert as the embedded renderer does: to pandoc's JSON first, then through the filter."""
    pandoc = pypandoc.get_pandoc_path()
    tree = subprocess.run(
        [pandoc, "-f", "markdown", "-t", "json"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    return subprocess.run(
        [pandoc, "-f", "json", "-t", to, "--wrap=none", "--lua-filter", EXTENSION / "handbook.lua"],
        input=tree.stdout,
        capture_output=True,
        text=True,
        check=False,
    )


def converted(source: str, to: str = "html5") -> str:
    result = convert(source, to)
    assert result.returncode == 0, result.stderr
    return result.stdout


def words(html: str) -> str:
    """The text of a piece of HTML, on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


# -- HTML


def test_a_question_is_a_fieldset_with_its_legend() -> None:
    html = converted(SINGLE)
    legend = re.search(r"<fieldset>\s*<legend>(.*?)</legend>", html, re.S)
    assert legend
    assert (
        words(legend.group(1))
        == "Question 1 What is the ICC of a model with 200 between and 800 within?"
    )


@pytest.mark.parametrize(
    ("source", "kind", "count"), [(SINGLE, "radio", 2), (MULTIPLE, "checkbox", 3)]
)
def test_every_option_is_a_native_control_with_a_label(source: str, kind: str, count: int) -> None:
    html = converted(source)
    inputs = re.findall(r'<input type="(\w+)" id="([\w-]+)" name="([\w-]+)"', html)
    assert [found for found, _, _ in inputs] == [kind] * count
    assert {name for _, _, name in inputs} == {
        re.search(r'<div id="(quiz-\w+)" class="hb-quiz"', html).group(1)
    }
    assert re.findall(r'<label for="([\w-]+)"', html) == [identifier for _, identifier, _ in inputs]


def test_without_script_the_controls_are_shut_and_hidden_and_the_fold_has_every_reason() -> None:
    html = converted(SINGLE)
    assert all("hidden disabled" in tag for tag in re.findall(r"<input[^>]*>", html))
    assert '<div class="hb-actions" hidden>' in html
    fold = html[html.index('<details class="hb-fold hb-answer"') :]
    assert words(fold) == (
        "Answer and explanations Right answer: B "
        "✗ A is not right. That is a ratio of variances. ✓ B is right. Two hundred of a thousand."
    )


def test_the_answer_does_not_stand_before_the_fold() -> None:
    html = converted(SINGLE)
    assert "Two hundred" not in html[: html.index('<details class="hb-fold hb-answer"')]


def test_the_feedback_is_announced_and_the_hint_is_folded() -> None:
    html = converted(SINGLE)
    assert '<div class="hb-feedback" role="status" aria-live="polite"></div>' in html
    assert re.search(
        r"<details[^>]*hb-hint[^>]*><summary>Hint</summary>\s*<p>Divide by the total.</p>", html
    )


def test_what_belongs_to_a_question_beyond_its_words_is_described_to_the_fieldset() -> None:
    html = converted(MULTIPLE)
    described = re.search(r'<fieldset aria-describedby="([\w-]+)">', html)
    assert described
    assert f'<div id="{described.group(1)}" class="hb-more">' in html


def test_a_reflection_folds_its_model_answer() -> None:
    html = converted(REFLECTION)
    assert re.search(
        r"<details[^>]*hb-model[^>]*><summary>Model answer</summary>\s*<p>Many herds cost", html
    )


def test_the_answer_key_of_a_web_page_points_to_the_folds() -> None:
    html = converted(SINGLE + KEY)
    assert "stand right under it" in html
    assert "Not right." not in html[html.index("Answers") :]


def test_a_rewritten_question_gets_a_new_key_and_a_moved_one_keeps_its_own() -> None:
    def keys(source: str) -> list[str]:
        return re.findall(r'data-hb-key="([\w-]+)"', converted(source))

    assert keys(REFLECTION + SINGLE)[1] == keys(SINGLE)[0]
    assert keys(SINGLE.replace("0.25", "0.26")) != keys(SINGLE)
    assert len(set(keys(MULTIPLE + MULTIPLE))) == 2


def test_a_document_without_questions_passes_unchanged() -> None:
    source = "# A title\n\n- [ ] a plain task\n\n::: {.note}\nText.\n:::\n"
    plain = subprocess.run(
        [pypandoc.get_pandoc_path(), "-t", "html5", "--wrap=none"],
        input=source, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert converted(source) == plain.stdout


# -- print


def test_questions_are_numbered_within_their_chapter() -> None:
    plain = converted(BOOK, "plain")
    body = plain[: plain.rindex("Answers")]
    assert re.findall(r"(?:Question|Reflection) \d", body) == [
        "Question 1", "Question 2", "Reflection 1", "Question 1",
    ]  # fmt: skip


def test_no_answer_stands_beside_its_question_in_print() -> None:
    plain = converted(BOOK, "plain")
    body, key = plain[: plain.rindex("Answers")], plain[plain.rindex("Answers") :]
    for answer in ("Two hundred of a thousand", "That is a ratio", "cost one variance", "☒", "☐"):
        assert answer not in body
    for answer in ("Two hundred of a thousand", "That is a ratio", "cost one variance"):
        assert key.count(answer) == 1
    assert "The first chapter" in key and "The second" in key


@pytest.mark.parametrize(
    "in_quarto, embedded",
    [
        ("as in @sec-x of", "as in [Chapter 3](#sec-x){.hb-ref} of"),
        ("(see [-@tbl-x])", "(see [3.1](#tbl-x){.hb-ref})"),
        ("by $1{,}000$ or", r"by $1\text{,}000$ or"),
        ("of $|x|$ or", r"of $\left|x\right|$ or"),
    ],
)
def test_a_key_is_the_same_in_both_renderers(in_quarto: str, embedded: str) -> None:
    """The embedded renderer resolves references, and rewrites formulas, before the filter runs."""

    def keys(words: str) -> list[str]:
        source = SINGLE.replace("between and", words).replace("Two hundred", words)
        return re.findall(r'data-hb-key="([\w-]+)"', converted(source))

    assert keys(in_quarto) == keys(embedded) != keys("between and")


def test_headings_of_the_assessment_stand_in_the_contents_of_the_page() -> None:
    """Pandoc lists no heading that stands within a block."""
    page = converted(f"::: {{.assessment}}\n## One\n{SINGLE}\n## Two\n{MULTIPLE}{REFLECTION}:::\n")
    outside = re.split(r'<div class="hb-assessment">', page)
    assert len(outside) == 3  # what stands between two headings is one block
    assert outside[0].endswith("One</h2>\n") and outside[1].endswith("Two</h2>\n")
    assert "hb-reflection" in outside[2]


def test_the_key_is_appended_where_the_book_has_no_place_for_it() -> None:
    plain = converted(f"# One\n{SINGLE}", "plain")
    assert plain.index("Answer key") > plain.index("What is the ICC")
    assert "Question 1: B" in plain


@pytest.mark.parametrize("to", ["latex", "docx", "epub", "markdown"])
def test_other_formats_get_questions_and_key_too(to: str, tmp_path: Path) -> None:
    target = tmp_path / f"book.{to}"
    pypandoc.convert_text(
        BOOK, to, "markdown", outputfile=str(target), filters=[],
        extra_args=[f"--lua-filter={EXTENSION / 'handbook.lua'}"],
    )  # fmt: skip
    text = pypandoc.convert_file(str(target), "plain", format=to, extra_args=["--wrap=none"])
    assert "Question 2: A and B" in " ".join(text.split())


WRAPPER = """#set document(title: "Test", author: "Test")
#set text(lang: "en")
#set page(paper: "a5", numbering: "1")
#set heading(numbering: "1.1")
#show heading.where(level: 1): it => { pagebreak(weak: true); it }
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The text of each page of the PDF; typst refuses what breaks PDF/UA-1."""
    folder = tmp_path_factory.mktemp("pdf")
    source = folder / "book.typ"
    source.write_text(WRAPPER + converted(BOOK, "typst"), encoding="utf-8")
    typst.compile(source, output=folder / "book.pdf", pdf_standards=["ua-1"])
    reader = pypdf.PdfReader(folder / "book.pdf")
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def test_the_pdf_prints_lettered_options_and_the_page_of_the_answer(pages: list[str]) -> None:
    assert "A. 0.25 B. 0.20" in pages[0]
    key_page = next(i for i, text in enumerate(pages, 1) if "Two hundred of a thousand" in text)
    assert f"Hint. Divide by the total. Answer on page {key_page}" in pages[0]


def test_the_pdf_keeps_answers_for_the_last_pages(pages: list[str]) -> None:
    first_of_key = next(i for i, text in enumerate(pages) if "Answers" in text)
    assert not any(
        "Not right." in text or "cost one variance" in text for text in pages[:first_of_key]
    )
    key = " ".join(pages[first_of_key:])
    assert re.search(
        r"Question 1: B A\. Not right\. That is a ratio of variances\. B\. Right\.", key
    )


def test_headings_in_the_key_step_down_from_the_heading_above(pages: list[str]) -> None:
    deeper = converted(BOOK.replace("# Answers", "# Appendix\n\n## Answers"), "typst")
    assert "#heading(level: 3, outlined: false, numbering: none)[The second]" in deeper
    assert "#heading(level: 2, outlined: false, numbering: none)[The second]" in converted(
        BOOK, "typst"
    )


# -- malformed sources

OPTIONS = "- [ ] a\n\n  No.\n\n- [x] b\n\n  Yes."


def quiz(text: str) -> str:
    return f"::: {{.quiz}}\n{text}\n:::\n"


@pytest.mark.parametrize("to", ["html5", "typst"])
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (quiz("Which one is it?\n\n- [ ] a\n\n  No.\n\n- [ ] b\n\n  No."), "no option is right"),
        (quiz("Which one is it?"), "it needs two options or more"),
        (quiz("Which one is it?\n\n- [x] a\n\n  Yes."), "it needs two options or more"),
        (quiz("Which one is it?\n\n- [x] a\n- [ ] b"), "option A has no explanation"),
        (quiz("Which one is it?\n\n- [x] a\n\n  Yes.\n\n- b\n\n  No."), "option B has no box"),
        (quiz("Which one is it?\n\n- [x] a\n\n  Yes.\n\n- [ ]\n\n  No."), "option B has no"),
        (quiz(f"Which one is it?\n\n{OPTIONS}\n\nNot indented."), "text after the options. Indent"),
        (quiz(f"Which one is it?\n\n{OPTIONS}\n\n<!-- -->\n\n{OPTIONS}"), "Indent"),
        (quiz(OPTIONS), "it has no question"),
        ("::: {.reflection}\nWhich one is it?\n:::", "it has no model answer"),
        ("::: {.reflection}\n::: {.model-answer}\nThis.\n:::\n:::", "it has no question"),
        ("::: {.model-answer}\nThis.\n:::", "outside a reflection"),
        (SINGLE + SINGLE, "its id #quiz-icc is taken"),
        (f"{SINGLE}{KEY}{KEY}", "two .answer-key blocks"),
    ],
)  # fmt: skip
def test_a_malformed_question_stops_the_build_with_its_words_and_the_remedy(
    source: str, problem: str, to: str
) -> None:
    result = convert(source, to)
    assert result.returncode != 0
    assert problem in result.stderr
    if "Which one" in source:
        assert "“Which one is it?" in result.stderr


# -- Quarto


@pytest.mark.parametrize("source", [SINGLE + MULTIPLE, REFLECTION, "Text."])
def test_under_quarto_a_page_brings_each_script_and_style_once(source: str, tmp_path: Path) -> None:
    stand_in = tmp_path / "quarto.lua"
    stand_in.write_text(
        "quarto = { doc = { add_html_dependency = function(files)\n"
        "  local say = function(name) io.stderr:write('adds ', name, '\\n') end\n"
        "  for _, script in ipairs(files.scripts) do say(script.path) end\n"
        "  for _, style in ipairs(files.stylesheets) do say(style) end\n"
        f"end }} }}\ndofile({str(EXTENSION / 'handbook.lua')!r})\n",
        encoding="utf-8",
    )
    result = subprocess.run(
        [pypandoc.get_pandoc_path(), "-t", "html", "-L", stand_in],
        input=source, capture_output=True, text=True, check=True,
    )  # fmt: skip
    added = [line for line in result.stderr.splitlines() if line.startswith("adds")]
    files = {p.name for p in EXTENSION.iterdir() if p.suffix in (".js", ".css")}
    assert sorted(line.removeprefix("adds ") for line in added) == sorted(files)
    scripts = [line for line in added if line.endswith(".js")]
    # those that listen to what quiz.js says when it starts come before it
    assert scripts.index("adds quiz.js") == 2
    assert {"adds assessment.js", "adds exercise.js"} == set(scripts[:2])

"""Exercises, by the handbook's filter: what a reader gets on the page, on paper and at home."""

from __future__ import annotations

import re
import subprocess
from itertools import count
from pathlib import Path

import pypandoc
import pypdf
import pytest
import typst
from length import length
from minibook import write
from test_quiz import EXTENSION, REFLECTION, SINGLE, WRAPPER, convert, converted, words

from offline_render.book import BuildError, Cell, load_project, split
from offline_render.render import crossref, pandoc, webpages
from offline_render.render.assemble import assemble
from offline_render.render.downloads import chapter_notebook
from offline_render.render.plain import KINDS, plain_markdown
from offline_render.render.scripts import as_script
from offline_render.run import INLINE_MIME

NUMBER = """
::: {.exercise #exercise-cells kind="again" title="The same for R&D < somatic cells"}
Fit the model to somatic cells.

```python
outcome = "scc"
```

::: {.hint}
Take logarithms first.
:::

::: {.solution}
```{.python .cell-code}
print(own)
```

::: {#exercise-cells .cell-output}
```
printed
```
:::

Cows differ by that much.
:::

::: {.check within="0.05" unit="kg"}
How large is the variance? -1,203.31
:::
:::
"""
DECISION = """
::: {.exercise #exercise-model kind="decide" title="Which model"}
Choose a model and defend it.

::: {.solution}
The first, for a reason.
:::

::: {.check}
Which one do you report?

- [ ] the second
- [x] the `first`
:::
:::
"""
PLAIN = """
::: {.exercise #exercise-fault kind="mistake" title="A wrong test"}
Find the fault.

::: {.solution}
It has too many degrees of freedom.
:::
:::
"""
CHAPTER = f"# A chapter\n\n## Exercises\n{NUMBER}{DECISION}{PLAIN}"
BOOK = f"{CHAPTER}\n# Another\n{PLAIN.replace('-fault', '-other')}{SINGLE}"


# -- HTML


def test_an_exercise_says_its_number_its_kind_and_its_title() -> None:
    html = converted(CHAPTER)
    titles = re.findall(r'<h3 class="hb-title" id="([\w-]+)">(.*?)</h3>', html, re.S)
    assert [(name, words(text)) for name, text in titles] == [
        ("exercise-cells-title", "Exercise 1: do it again The same for R&amp;D &lt; somatic cells"),
        ("exercise-model-title", "Exercise 2: decide and defend Which model"),
        ("exercise-fault-title", "Exercise 3: find the mistake A wrong test"),
    ]
    for name, _ in titles:
        assert f'aria-labelledby="{name}"' in html


def test_hint_and_solution_are_folds_that_search_leaves_out_and_the_check_stands_between() -> None:
    html = converted(NUMBER)
    hint = html.index('<details class="hb-fold hb-hint" data-search-ignore>')
    check = html.index("<form")
    solution = html.index('<details class="hb-fold hb-solution" data-search-ignore>')
    assert html.index("Fit the model") < hint < check < solution
    assert "Take logarithms" not in html[:hint] and "printed" not in html[:solution]
    assert "data-search-ignore" in html[check : html.index(">", check)]


def test_the_number_is_an_attribute_and_no_word_of_the_page() -> None:
    html = converted(NUMBER)
    assert 'data-hb-answer="-1203.31" data-hb-within="0.05"' in html
    assert "1,203.31" not in words(html) and "1203" not in words(html)
    assert (
        '<label class="hb-question" for="exercise-cells-answer">How large is the variance?' in html
    )
    assert re.search(r'<input type="text" id="exercise-cells-answer" inputmode="decimal"', html)
    assert '<span class="hb-unit" id="exercise-cells-answer-unit">kg</span>' in html


def test_a_decision_is_a_fieldset_of_native_controls() -> None:
    html = converted(DECISION)
    assert (
        words(re.search(r"<legend.*?</legend>", html, re.S).group()) == "Which one do you report?"
    )
    inputs = re.findall(r'<input type="radio" id="([\w-]+)" name="([\w-]+)"', html)
    assert [name for _, name in inputs] == ["exercise-model-answer"] * 2
    assert re.findall(r'<label for="([\w-]+)"', html) == [identifier for identifier, _ in inputs]
    assert 'data-hb-answer="B"' in html


def test_a_decision_may_have_several_right_options_and_leave_the_question_to_the_task() -> None:
    html = converted(DECISION.replace("[ ]", "[x]").replace("Which one do you report?\n\n", ""))
    assert re.findall(r'<input type="(\w+)"', html) == ["checkbox"] * 2
    assert 'data-hb-answer="A,B"' in html and "Choose every option that is right." in html
    assert "Which do you choose?" in words(re.search(r"<legend.*?</legend>", html, re.S).group())
    assert "(answer: A and B)" in converted(DECISION.replace("[ ]", "[x]"), "plain")


def test_without_script_the_question_stays_and_the_controls_are_hidden() -> None:
    html = converted(NUMBER + DECISION)
    assert '<p class="hb-field" hidden>' in html
    assert all("hidden disabled" in tag for tag in re.findall(r'<input type="radio"[^>]*>', html))
    assert html.count('<div class="hb-actions" hidden>') == 2
    assert "<form" not in converted(PLAIN)


def test_no_id_stands_twice_though_a_chunk_is_called_as_its_exercise() -> None:
    ids = re.findall(r'\sid="([^"]+)"', converted(CHAPTER))
    assert len(ids) == len(set(ids))


def test_a_key_survives_another_answer_and_only_checks_have_one() -> None:
    def keys(source: str) -> list[str]:
        return re.findall(r'data-hb-key="([\w-]+)"', converted(source))

    assert keys(NUMBER) == keys(NUMBER.replace("1,203.31", "1,203.32"))
    assert keys(NUMBER) != keys(NUMBER.replace("-cells", "-others"))
    assert keys(PLAIN) == []


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("0.25", "0.25"), ("−3.1", "-3.1"), ("12,345", "12345"), ("1,234.5", "1234.5"), ("7", "7")],
)
def test_an_answer_is_kept_as_a_program_reads_it(typed: str, kept: str) -> None:
    assert f'data-hb-answer="{kept}"' in converted(NUMBER.replace("-1,203.31", typed))


def test_a_page_keeps_solutions_as_text_until_they_are_opened_and_counts_no_exercise() -> None:
    body = converted(f"# T\n\nFive words are read here.\n{NUMBER}")
    page = webpages.kept_back(f"<main>{body}</main>")
    assert re.search(r"<summary>Solution</summary><noscript>.*?</noscript></details>", page, re.S)
    assert length(page).main == 6


# -- print


def test_on_paper_the_task_stands_with_hint_and_question_and_the_solution_in_the_key() -> None:
    plain = " ".join(converted(BOOK, "plain").split())
    body, key = plain.split("Answer key")
    assert "Exercise 1, do it again. The same for R&D < somatic cells Fit the model" in body
    assert "Hint. Take logarithms first. Check. How large is the variance? Solution" in body
    assert "A. the second B. the first" in body
    for answer in ("printed", "1,203.31", "for a reason", "☒", "degrees of freedom"):
        assert answer not in body
    assert "Exercise 1: The same for R&D < somatic cells (answer: -1,203.31 kg)" in key
    assert "print(own) printed Cows differ by that much." in key
    assert "Exercise 2: Which model (answer: B) The first, for a reason." in key
    assert key.count("Exercise 1: A wrong test") == 1, "each chapter counts its own"


def test_the_pdf_says_on_which_page_a_solution_stands(tmp_path: Path) -> None:
    source = tmp_path / "book.typ"
    source.write_text(WRAPPER + converted(BOOK, "typst"), encoding="utf-8")
    typst.compile(source, output=tmp_path / "book.pdf", pdf_standards=["ua-1"])
    reader = pypdf.PdfReader(tmp_path / "book.pdf")
    pages = [" ".join(page.extract_text().split()) for page in reader.pages]
    place = next(i for i, text in enumerate(pages, 1) if "Cows differ" in text)
    assert f"Solution on page {place}" in pages[0]


@pytest.mark.parametrize("to", ["epub", "docx", "latex"])
def test_other_formats_get_tasks_and_solutions(to: str, tmp_path: Path) -> None:
    target = tmp_path / f"book.{to}"
    pypandoc.convert_text(
        BOOK, to, "markdown", outputfile=str(target),
        extra_args=[f"--lua-filter={EXTENSION / 'handbook.lua'}"],
    )  # fmt: skip
    text = " ".join(pypandoc.convert_file(str(target), "plain", format=to).split())
    assert text.index("Fit the model") < text.index("Cows differ by that much")


# -- at home


def test_a_notebook_says_what_each_part_is_and_leaves_the_check_out() -> None:
    before, _, after = NUMBER.partition("```{.python .cell-code}\nprint(own)\n```")
    numbers = count(2)
    shown = plain_markdown(before, {}, {}, numbers)
    assert shown.startswith("**Exercise 2 (do it again): The same for R&D < somatic cells.**")
    assert "*Hint.*\n\nTake logarithms first." in shown and shown.endswith("**Solution.**")
    rest = plain_markdown(f"{after}\n\nOn it goes.{REFLECTION}", {}, {}, numbers)
    assert "Cows differ by that much." in rest and "On it goes." in rest
    for leftover in (":::", "How large", "1,203", "Why treat"):
        assert leftover not in shown + rest
    assert next(numbers) == 3


def test_the_kinds_are_worded_alike_in_notebooks_and_on_pages() -> None:
    lua = (EXTENSION / "exercises.lua").read_text(encoding="utf-8")
    told = dict(
        re.findall(r'(\w+) = "([A-Z][a-z ]+)"', lua.partition("KINDS = {")[2].partition("}")[0])
    )
    assert {kind: said.lower() for kind, said in told.items()} == KINDS


SOURCE = """\
# First {#sec-first}

::: {.exercise #exercise-sum kind="again" title="Another sum"}
Add.

::: {.solution}
```{python}
#| label: exercise-sum
total = 2 + 2
print(total)
```

It is `{python} total`.
:::

::: {.check within="0"}
What is the sum? `{python} total`
:::
:::
"""


def page_of(root: Path) -> str:
    """The page of a small book's first chapter, its cells not run but answered."""
    project = load_project(root)
    chapter = next(c for c in project.chapters if c.key == "one")
    parts = split(chapter.path)
    printed = {"output_type": "stream", "name": "stdout", "text": "4\n"}
    outputs = {}
    for index, part in enumerate(parts):
        if isinstance(part, Cell):
            outputs[index] = [printed]
        else:
            answers = {str(k): {"data": {"text/plain": "4"}} for k in range(len(part.inline))}
            outputs[index] = [{"data": {INLINE_MIME: answers}}]
    engine = pandoc.Pandoc(root / ".handbook" / "pandoc")
    tree = engine.read(assemble(chapter, parts, outputs).markdown)
    document = crossref.number(chapter, tree, {})
    book = chapter_notebook(project, chapter, parts, outputs, {}, {})
    assert [cell.source for cell in book.cells if cell.cell_type == "code"] == [
        "total = 2 + 2\nprint(total)"
    ]
    assert [cell.metadata for cell in book.cells if cell.cell_type == "code"] == [
        {"jupyter": {"source_hidden": True}}
    ]
    assert "source_hidden" not in as_script(book)
    return webpages.page_body(project, document, engine, EXTENSION / "handbook.lua")


def test_an_inline_value_is_the_answer(tmp_path: Path) -> None:
    assert 'data-hb-answer="4" data-hb-within="0' in page_of(write(tmp_path, one=SOURCE))


def test_a_wrong_exercise_stops_the_build_and_names_the_file(tmp_path: Path) -> None:
    root = write(tmp_path, one=SOURCE.replace('kind="again"', 'kind="hard"'))
    with pytest.raises(BuildError, match=r"(?s)one\.qmd: .*“Another sum”: its kind is none of"):
        page_of(root)


# -- malformed sources


@pytest.mark.parametrize("to", ["html5", "typst"])
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (NUMBER.replace('kind="again"', 'kind="hard"'), "its kind is none of again"),
        (NUMBER.replace('kind="again" ', ""), "its kind is none of again"),
        (re.sub(r' title="[^"]*"', "", NUMBER), "it has no title. Write"),
        (re.sub(r"::: \{\.solution.*?much\.\n:::\n", "", NUMBER, flags=re.S), "it has no solution"),
        (NUMBER.replace("-1,203.31", "`x`"), "its check ends in no number. Let its last line"),
        (NUMBER.replace("-1,203.31", "many"), "its check ends in no number"),
        (NUMBER.replace("-1,203.31", "12%"), "its check ends in no number"),
        (NUMBER.replace(' within="0.05"', ""), "its check has no tolerance. Write"),
        (NUMBER.replace('"0.05"', '"small"'), "its check has no tolerance"),
        (NUMBER.replace("How large is the variance? ", ""), "its check has no question"),
        (PLAIN.replace("Find the fault.", ""), "it has no task"),
        (PLAIN.replace("freedom.\n:::", "freedom.\n:::\n\nMore."), "text after the .solution"),
        (DECISION.replace("[x]", "[ ]"), "no option of its check is right"),
        (DECISION.replace("- [ ] the second\n", ""), "its check needs two options"),
        (DECISION.replace("`first`\n", "`first`\n\n  Because.\n"), "has an explanation"),
        (NUMBER.replace(".hint}", ".check}"), "its check ends in no number"),
        (PLAIN.replace("Find", "::: {.solution}\nx\n:::\n\nFind"), "text after the .solution"),
        (PLAIN + PLAIN, "its id #exercise-fault is taken"),
        ("::: {.solution}\nAlone.\n:::\n", "it stands outside an exercise. Put it inside one."),
        ("::: {.check}\nAlone.\n:::\n", "it stands outside an exercise"),
    ],
)  # fmt: skip
def test_a_malformed_exercise_stops_the_build_with_its_words_and_the_remedy(
    source: str, problem: str, to: str
) -> None:
    result = convert(source, to)
    assert result.returncode != 0
    assert problem in result.stderr
    assert "“" in result.stderr


# -- Quarto


def test_quarto_gets_solutions_under_a_name_that_it_has_no_meaning_for(tmp_path: Path) -> None:
    """Quarto's theorems: a div of the class solution is a proof of its own numbering."""
    done = subprocess.run(
        [pypandoc.get_pandoc_path(), "-f", "markdown", "-t", "html5",
         "-L", EXTENSION / "before.lua", "-L", EXTENSION / "handbook.lua"],
        input=CHAPTER, capture_output=True, text=True, check=True,
    )  # fmt: skip
    without = subprocess.run(
        [pypandoc.get_pandoc_path(), "-f", "markdown", "-t", "html5",
         "-L", EXTENSION / "handbook.lua"],
        input=CHAPTER, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == without.stdout

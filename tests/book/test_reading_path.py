"""What keeps the lesson in front: parts, optional parts, folded proof and code, search."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from length import length
from minibook import CONFIG, write
from pypdf import PdfReader

from offline_render.book import BuildError, load_project
from offline_render.render import build

EXTRA = """\
# Extra {#sec-extra}

::: {.content-visible when-format="typst"}
## Index of terms {#sec-index}

::: {.book-index}
:::
:::
"""
EXTENSION = Path(__file__).parents[2] / "_extensions"
CHAPTER = """\
# First {#sec-first}

Opening words.

::: {.needs}
**Before you start:** nothing.
:::

## Objectives

::: {.objectives}
- do a thing that nobody should find
:::

## Herds differ {#sec-main}

Main words about feeding, [**shrinkage**](one.qmd#gls-shrinkage) and `fit_lmm`.

```{python}
#| label: fig-line
#| fig-cap: "A line."
#| fig-alt: "Line chart of one to three, rising."
#| code-fold: true
#| code-summary: "Show the code"
import matplotlib.pyplot as plt

fig, ax = plt.subplots()
ax.plot([1, 2, 3], label="drawncode");
```

```{python}
#| label: sums
print("counted", 1 + 1)
```

::: {.exercise #exercise-sum kind="again" title="Another sum"}
Add for yourself.

::: {.hint}
Count on.
:::

::: {.solution}
```{python}
#| label: exercise-sum
print("resolved", 2 + 2)
```

It is `{python} 2 + 2`, as in @fig-line.
:::

::: {.check within="0" unit="kg"}
What is the sum? `{python} 2 + 2`
:::
:::

[Shrinkage]{#gls-shrinkage}
:   A pull towards the mean.

## A derivation {#sec-derived .optional}

Only the curious read this derivation.

### Its second step

More of it.

## Agreement

Two models agree.

::: {.proof summary="The comparisons <all>"}
| quantity | value |
|:---|---:|
| `secretvalue` | 1 |
:::
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(tmp_path_factory.mktemp("path"), one=CHAPTER, two="# Second\n\nText.\n",
                 extra=EXTRA)  # fmt: skip
    shutil.copytree(EXTENSION, root / "_extensions")
    (root / "index.qmd").write_text("# Home {.unnumbered}\n\nSee @sec-derived.\n")
    parts = CONFIG.replace(
        "[index.qmd, chapters/one.qmd, chapters/two.qmd, chapters/references.qmd]",
        '[index.qmd, {part: "Models", chapters: [chapters/one.qmd]},'
        ' {part: "Tests", chapters: [chapters/two.qmd]}, chapters/references.qmd]',
    )
    (root / "_quarto.yml").write_text(parts, encoding="utf-8")
    build(root)
    return root


def page(root: Path, name: str = "chapters/one.html") -> str:
    return (root / "_book" / name).read_text(encoding="utf-8")


def paper(root: Path) -> str:
    reader = PdfReader(next((root / "_book").glob("*.pdf")))
    return " ".join(" ".join(p.extract_text() for p in reader.pages).split())


def test_chapters_are_numbered_through_the_parts_which_the_contents_name(small: Path) -> None:
    chapters = load_project(small).chapters
    assert [(c.number, c.part) for c in chapters] == [
        ("", ""), ("1", "Models"), ("2", "Tests"), ("", ""), ("A", ""),
    ]  # fmt: skip
    nav = re.search(r'<nav id="book-nav".*?</nav>', page(small), re.S)
    assert nav is not None
    assert re.findall(r'<li class="part">(.*?)</li>', nav[0]) == ["Models", "Tests", "Appendices"]
    found = paper(small)
    assert "MODELS" in found and "TESTS" in found and "APPENDICES" in found


def test_an_exercise_is_folded_on_the_page_and_solved_at_the_end_on_paper(small: Path) -> None:
    exercise = page(small).partition('id="exercise-sum"')[2].partition("</form>")
    assert "resolved" not in exercise[0] and 'data-hb-answer="4"' in exercise[0]
    fold = exercise[2].partition("</details>")[0]
    assert "resolved 4" in fold and "<noscript>" in fold
    assert page(small).count('id="exercise-sum"') == 1
    index = (small / "_book/search-index.js").read_text(encoding="utf-8")
    assert "Another sum. Add for yourself." in index
    assert (
        "Count on" not in index and "as in Figure" not in index and "What is the sum" not in index
    )
    task, found, key = paper(small).rpartition("Answer key")
    assert found and "Add for yourself." in task and "resolved" not in task
    assert "resolved 4 It is 4, as in Figure 1.1." in key
    cells = json.loads(page(small, "chapters/one.ipynb"))["cells"]
    words = ["".join(cell["source"]) for cell in cells]
    assert any("**Exercise 1 (do it again): Another sum.**" in text for text in words)
    assert not any("What is the sum?" in text or ":::" in text for text in words)


def test_a_part_that_is_no_title_with_chapters_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path)
    wrong = CONFIG.replace("chapters/two.qmd", "{part: Two}")
    (root / "_quarto.yml").write_text(wrong, encoding="utf-8")
    with pytest.raises(BuildError, match="neither a document nor"):
        load_project(root)


def test_an_optional_part_says_so_in_title_and_contents_and_can_be_counted_apart(
    small: Path,
) -> None:
    text = page(small)
    title = re.search(r'<h2[^>]*id="sec-derived".*?</h2>', text, re.S)
    assert title is not None and "(optional)" in title[0]
    assert "A derivation (optional)" in text  # in the contents
    section = re.search(r'<section class="optional">(.*?)</section>', text, re.S)
    assert section is not None
    assert "second step" in section[1] and "Two models agree" not in section[1]
    assert "A derivation (optional)" in paper(small)
    # a reference says the number, and no mark
    assert re.search(r">Section\s1\.3</a>", page(small, "index.html"))


def test_the_main_path_counts_neither_optional_parts_nor_folds(small: Path) -> None:
    found = length(page(small))
    text = "Only the curious read this derivation. Its second step More of it."
    assert found.shown - found.main > len(text.split())
    with_proof = length(page(small).replace("secretvalue", "many more words here"))
    assert with_proof.main == found.main and with_proof.shown == found.shown + 3


def test_proof_is_folded_on_pages_and_left_out_on_paper(small: Path) -> None:
    fold = re.search(r'<details class="hb-fold hb-proof".*?</details>', page(small), re.S)
    assert fold is not None and "secretvalue" in fold[0] and "&lt;all>" in fold[0]
    assert "secretvalue" not in paper(small) and "Two models agree" in paper(small)


def test_proof_without_a_summary_is_refused(tmp_path: Path) -> None:
    bad = CHAPTER.replace(' summary="The comparisons <all>"', "")
    root = write(tmp_path, one=bad, two="# Second\n", extra="# Extra {#sec-extra}\n")
    shutil.copytree(EXTENSION, root / "_extensions")
    with pytest.raises(BuildError, match="no summary"):
        build(root)


def test_code_of_a_figure_is_folded_on_pages_and_left_out_on_paper(small: Path) -> None:
    fold = re.search(r'<details class="code-fold">.*?</details>', page(small), re.S)
    assert fold is not None and "drawncode" in fold[0] and "Show the code" in fold[0]
    assert "drawncode" not in paper(small) and "counted" in paper(small)


def test_search_holds_sections_and_terms_but_no_code_objectives_or_proof(small: Path) -> None:
    script = (small / "_book/search-index.js").read_text(encoding="utf-8")
    index = json.loads(script.removeprefix("window.handbookIndex=").rstrip(";\n"))
    by_title = {entry["title"]: entry for entry in index}
    assert by_title["1.2 Herds differ"]["url"] == "chapters/one.html#sec-main"
    assert by_title["1.2 Herds differ"]["text"].startswith("Main words about feeding")
    assert by_title["Shrinkage"]["kind"] == "term"
    assert by_title["1.3 A derivation"]["page"] == "1 First"
    everything = json.dumps(index)
    for word in ("drawncode", "nobody should find", "secretvalue", "Objectives", "counted"):
        assert word not in everything


def test_bookmarks_have_a_space_after_their_number(small: Path) -> None:
    reader = PdfReader(next((small / "_book").glob("*.pdf")))

    def titles(outline: list) -> list[str]:  # type: ignore[type-arg]
        return [t for o in outline for t in (titles(o) if isinstance(o, list) else [o.title])]

    found = [title for title in titles(reader.outline) if re.match(r"\d", title)]
    assert found and all(re.match(r"[\d.]+ \S", title) for title in found)


def test_the_index_of_the_pdf_has_terms_and_functions_with_their_pages(small: Path) -> None:
    reader = PdfReader(next((small / "_book").glob("*.pdf")))
    pages = [" ".join(page.extract_text().split()) for page in reader.pages]
    [place] = [k for k, text in enumerate(pages) if "Main words about feeding" in text]
    number = reader.page_labels[place]
    [index] = [text for text in pages if f"fit_lmm, {number}" in text]
    assert f"Shrinkage, {number}" in index
    web = page(small, "chapters/extra.html")
    assert "hb-index" not in web and "Index of terms" not in web


def test_the_index_knows_every_function() -> None:
    import pylmm_helpers

    lua = (EXTENSION / "handbook" / "handbook.lua").read_text(encoding="utf-8")
    listed = lua.partition("for name in ([[")[2].partition("]]")[0].split()
    assert listed == sorted(pylmm_helpers.__all__)

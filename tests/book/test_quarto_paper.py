"""The PDF that Quarto makes, without Quarto: its filter for paper, pandoc, and Typst itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import typst
from minibook import write
from pypdf import PdfReader

from offline_render.book import Chapter, load_project, split
from offline_render.quarto import before_render
from offline_render.quarto.paper import readable, words
from offline_render.render import WORDY_COLUMN, Pandoc
from offline_render.render.assemble import skeleton
from offline_render.render.pandoc import nodes

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = load_project(ROOT).chapters
FILTER = ROOT / "_extensions" / "handbook" / "paper.lua"
# The part of Quarto's Lua API that the filter calls. Quarto hands tab sets and callouts over as
# nodes of its own; here they are read from the blocks that authors write.
QUARTO = """
local at = {} -- what Quarto says of the file that a block is from
quarto = {
  project = { directory = %s },
  doc = { include_text = function() end, file_metadata = function() return at end },
  utils = {
    as_blocks = function(it)
      return pandoc.utils.type(it) == "Block" and pandoc.Blocks({ it }) or pandoc.Blocks(it)
    end,
    file_metadata_filter = function()
      return { RawBlock = function(raw)
        local depth = raw.text:match("^depth (%%d)")
        if depth then at.file = { bookItemType = "chapter", bookItemDepth = tonumber(depth) } end
      end }
    end,
    combineFilters = function(list)
      return { traverse = "topdown", RawBlock = list[1].RawBlock, Header = list[2].Header }
    end,
  },
}
local passes = dofile(%s)
if #passes == 0 then return {} end
local function tabs(div)
  local found = {}
  for _, block in ipairs(div.content) do
    if block.t == "Header" then
      table.insert(found, { title = block.content, content = pandoc.Blocks({}) })
    else
      found[#found].content:insert(block)
    end
  end
  return { tabs = found }
end
table.insert(passes, 4, { Div = function(div)
  if div.classes:includes("panel-tabset") then return passes[3].Tabset(tabs(div)) end
  local kind = (div.classes[1] or ""):match("^callout%%-(.*)")
  if kind then
    local title = pandoc.Inlines(div.attributes.title or "")
    return passes[3].Callout({ type = kind, title = title, content = div.content, attr = div.attr })
  end
end })
return passes
"""
# What the template has that the handbook's design must overrule.
TEMPLATE = """
#let equation-numbering = n => numbering("(1.1)", counter(heading).get().first(), n)
#set document(title: "A book")
#set text(lang: "en")
#set heading(numbering: (..n) => numbering(if n.pos().len() == 1 { "1." } else { "1.1" }, ..n))
#set math.equation(numbering: "(1)")
#show heading.where(level: 1): it => { pagebreak(to: "odd"); it }
#set figure(numbering: n => numbering("1.1", counter(heading).get().first(), n))
#set page(numbering: "1", header: context [G. #query(heading).last().body])
#page(margin: 0cm, header: none)[]
#outline(depth: 2, indent: 0em)
#show: hb-in-orange-book

"""
TEXT = r"""
# Preface {.unnumbered}

```{=typst}
#figure(table([a]), caption: [Before], kind: "quarto-float-tbl", supplement: "Table") <tbl-none>
```

# First

```{=typst}
#figure(table([a]), caption: [One], kind: "quarto-float-tbl", supplement: "Table") <tbl-one>
#math.equation(block: true, numbering: equation-numbering, alt: "x", $ x $) <eq-one>
```

See `#ref(<eq-one>, supplement: [Equation])`{=typst}, `#ref(<tbl-one>)`{=typst},
`#ref(<tbl-none>)`{=typst} and `#ref(<first>, supplement: [Chapter])`{=typst}.

A formula $\beta_0$, and the code of lme4's model:

$$
x_1 = 2
$$

::: {.cell}
```python
print(1)
```

::: {.cell-output .cell-output-stdout}
```
said
```
:::
:::

::: {.panel-tabset}
#### Python

Py.

#### In R

Ar.
:::

::: {.callout-note title="A title"}
Inside $\sigma^2$.
:::

::: {.callout-tip}
No title.
:::

Term
:   What it means.

| quantity | engine | statsmodels |
|---|---:|---:|
| SE of feeding[T.confined] | 5.1623456 | 5.1623457 |
| $\sigma_g$ | 1.5 | 1.5 |
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Pandoc:
    return Pandoc(tmp_path_factory.mktemp("pandoc"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book whose pre-render step has run."""
    formulas = "$\\beta_0$ and $\\sigma^2$ and $\\sigma_g$ and\n\n$$\nx_1 = 2\n$$\n"
    formulas = f"# Second\n\n## Later {{#sec-later}}\n\n{formulas}"
    root = write(tmp_path_factory.mktemp("book"), two=formulas)
    before_render(root, None)
    return root


@pytest.fixture(scope="module")
def as_typst(
    tmp_path_factory: pytest.TempPathFactory, engine: Pandoc
) -> Callable[[str, Path], str]:
    """Markdown as Typst, as the filter has it in a project."""

    def run(markdown: str, root: Path) -> str:
        lua = tmp_path_factory.mktemp("filter") / "paper.lua"
        names = [json.dumps(path.as_posix()) for path in (root, FILTER)]
        lua.write_text(QUARTO % tuple(names), encoding="utf-8")
        form = ["-f", "markdown-implicit_figures", "-t", "typst-citations-smart", "--wrap=none"]
        return engine.run(markdown, *form, "--lua-filter", str(lua))

    return run


def kept(root: Path) -> dict[str, Any]:
    path = root / ".handbook" / "quarto" / "paper.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def compiled(root: Path, body: str) -> PdfReader:
    source = root / "paper.typ"
    source.write_text(kept(root)["header"] + TEMPLATE + body, encoding="utf-8")
    typst.compile(
        source, output=root / "paper.pdf", pdf_standards=["ua-1"], ignore_system_fonts=True,
        font_paths=[str(root / ".handbook" / "pdf-fonts")],
    )  # fmt: skip
    return PdfReader(root / "paper.pdf")


@pytest.fixture(scope="module")
def reader(project: Path, as_typst: Callable[[str, Path], str]) -> PdfReader:
    answers = (
        "= Second\n\n#figure(table([a]), caption: [Two], "
        'kind: "quarto-float-tbl", supplement: "Table")\n\n'
        "#heading(level: 1, numbering: none)[Answer key]\n\n" + "#lorem(900)\n\n" * 2
    )
    return compiled(project, as_typst(TEXT, project) + "\n" + answers)


def texts(reader: PdfReader) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def structure(node: Any) -> list[Any]:
    """Every element of the tree that a screen reader follows."""
    node = node.get_object()
    if isinstance(node, list):
        return [found for item in node for found in structure(item)]
    if not isinstance(node, dict):
        return []
    return [node, *(structure(node["/K"]) if "/K" in node else [])]


def test_it_is_pdf_ua_in_british_english(reader: PdfReader) -> None:
    root = reader.trailer["/Root"]
    assert root["/Lang"] == "en-GB"
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data()


def test_formulas_are_read_out_in_words(reader: PdfReader) -> None:
    elements = structure(reader.trailer["/Root"]["/StructTreeRoot"])
    said = [str(e["/Alt"]) for e in elements if e.get("/S") == "/Formula"]
    assert said == ["x", "beta sub 0", "x sub 1 equals 2", "sigma squared", "sigma sub g"]


def test_the_answer_key_has_no_letter_in_the_running_head(reader: PdfReader) -> None:
    found = texts(reader)
    assert any(text.startswith("A book Answer key ") for text in found)
    assert not any("G. Answer" in text for text in found)


def test_chapters_follow_each_other_without_empty_pages(reader: PdfReader) -> None:
    # a page that only fills up to an odd one has a running head and a number, about 16 characters
    assert all(len(text) > 20 for text in texts(reader)[1:])
    assert sum("Contents" in text for text in texts(reader)) == 1


def test_numbers_in_the_text_have_neither_brackets_nor_a_full_stop(reader: PdfReader) -> None:
    whole = " ".join(texts(reader)).replace("\u00a0", " ")
    assert "See Equation 1.1, Table 1.1, Table 1 and Chapter 1." in whole
    assert "(1.1)" in whole  # beside the equation itself


def test_tables_are_counted_within_their_chapter(reader: PdfReader) -> None:
    whole = " ".join(texts(reader)).replace("\u00a0", " ")
    assert all(name in whole for name in ("Table 1: Before", "Table 1.1: One", "Table 2.1: Two"))


def test_the_cover_has_picture_and_edition_and_no_page_number(project: Path) -> None:
    for cover in compiled(project, "= T\n").pages[:1]:
        assert cover.extract_text().strip() == ""
        assert cover.get_contents().get_data().count(b" l\n") >= 8  # lines of groups and of all
    assert '#let hb-edition = ""' in kept(project)["header"]


def test_tabs_callouts_and_output_have_the_books_look(
    project: Path, as_typst: Callable[[str, Path], str]
) -> None:
    code = as_typst(TEXT, project)
    assert re.findall(r"#block\(sticky: true\)\[\s*#strong\[(.*?)\]", code) == ["Python", "In R"]
    assert re.findall(r'#hb-callout\("(\w+)", \[\s*(.*?)\s*\]', code) == [
        ("note", "A title"), ("tip", "Tip"),
    ]  # fmt: skip
    assert re.search(r"#hb-output\[\s*```\s*said", code)
    # a sentence that leads to a formula stays with it
    assert re.search(r"above: 1.05em, below: 1.05em\)\[\s*A formula", code)


def test_columns_do_not_touch(reader: PdfReader) -> None:
    page = next(page for page in reader.pages if "SE of feeding" in page.extract_text())
    shown = page.extract_text(extraction_mode="layout")
    assert re.search(r"feeding\[T\.confined\]\s+5\.1623456\s+5\.1623457", shown)


def test_only_wordy_columns_of_wide_tables_share_the_width(
    project: Path, as_typst: Callable[[str, Path], str]
) -> None:
    wordy = ("word " * WORDY_COLUMN).strip()
    narrow = "| a | b |\n|---|---|\n| x | y |\n"
    wide = f"| a | b |\n|---|---|\n| x | {wordy} |\n"
    assert "#hb-table(2, (left, left,)," in as_typst(narrow, project)
    # pandoc's own shares, which follow from dashes, are gone
    assert "#hb-table(2, " in as_typst("| a | b |\n|--|" + "-" * 90 + "|\n| x | y |\n", project)
    assert "#hb-table((auto, 129fr,), (left, left,)," in as_typst(wide, project)


def test_a_formula_that_the_step_has_not_seen_is_read_as_it_is_typed(
    project: Path, as_typst: Callable[[str, Path], str]
) -> None:
    code = as_typst(r"New: $\gamma_{77}$ and $\text{a " "quoted" " word}$.", project)
    assert r'alt: "\\gamma_{77}"' in code
    compiled(project, "= T\n\n" + code)


def test_without_the_steps_file_the_document_stays_as_it_is(
    tmp_path: Path, engine: Pandoc, as_typst: Callable[[str, Path], str]
) -> None:
    form = ["-f", "markdown-implicit_figures", "-t", "typst-citations-smart", "--wrap=none"]
    assert as_typst(TEXT, tmp_path) == engine.run(TEXT, *form)
    place = tmp_path / ".handbook" / "quarto" / "paper.json"
    place.parent.mkdir(parents=True)
    place.write_text('{"header": "cut sho', encoding="utf-8")
    assert as_typst(TEXT + "\n", tmp_path) == engine.run(TEXT + "\n", *form)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.key)
def test_every_formula_of_the_book_has_words(
    engine: Pandoc, as_typst: Callable[[str, Path], str], tmp_path: Path, chapter: Chapter
) -> None:
    """No formula reaches the PDF as bare TeX: Typst would refuse the book, or read out its code."""
    text = skeleton(split(chapter.path)).markdown
    tree = engine.read(text)
    asked = {(n["c"][0]["t"], n["c"][1]) for n in nodes(tree["blocks"], "Math")}
    found = readable([tree], engine)
    assert {(kind, tex) for kind, codes in found.items() for tex in codes} == asked
    place = tmp_path / ".handbook" / "quarto" / "paper.json"
    place.parent.mkdir(parents=True)
    told = {"header": "", "formulas": found, "callouts": {}, "wide_table": 90, "wordy_column": 26}
    place.write_text(json.dumps(told), encoding="utf-8")
    code = as_typst(text, tmp_path)
    count = sum(1 for _ in nodes(engine.read(text)["blocks"], "Math"))
    assert len(re.findall(r'math\.equation\([^"]*?alt: "[^"]', code)) == count
    assert "panel-tabset" not in code


def test_labelled_equations_keep_number_label_and_words(
    project: Path, as_typst: Callable[[str, Path], str]
) -> None:
    """Quarto's crossref filter puts a labelled formula between two pieces of Typst."""
    start = "`#math.equation(block: true, numbering: equation-numbering, [ `{=typst}"
    code = as_typst(f"{start}$$\nx_1 = 2\n$$` ])<eq-one>`{{=typst}}", project)
    assert re.search(
        r"^#math\.equation\(numbering: equation-numbering, block: true, "
        r'alt: "x sub 1 equals 2", \$ .* \$\)<eq-one>$', code.strip()
    )  # fmt: skip


def test_words_of_a_notebook_hold_prose_captions_and_tables() -> None:
    code = nbformat.v4.new_code_cell('#| label: tbl-x\n#| tbl-cap: "Of $a$."\n1')
    data = {"text/markdown": "| $b$ |\n|---|\n| 1 |", "text/plain": "x"}
    code.outputs = [nbformat.v4.new_output("display_data", data)]
    stream = nbformat.v4.new_code_cell("print(1)")
    stream.outputs = [nbformat.v4.new_output("stream", text="$d$")]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("In $c$."), code, stream])
    assert set(re.findall(r"\$(\w)\$", words(book))) == {"a", "b", "c"}


def test_a_later_render_of_one_chapter_keeps_the_formulas_of_all(project: Path) -> None:
    whole = kept(project)
    before_render(project, ["chapters/extra.qmd"])
    assert kept(project) == whole
    assert "x_1 = 2" in "".join(whole["formulas"]["DisplayMath"])


def test_settings_for_paper_are_those_that_the_design_needs() -> None:
    paper = load_project(ROOT).config["format"]["typst"]
    assert paper["pdf-standard"] == "ua-1"
    assert paper["syntax-highlighting"] == "idiomatic"  # Typst's own code blocks carry the look
    assert paper["variant"] == "-smart"
    assert paper["font-paths"] == [".handbook/pdf-fonts"]


def test_parts_of_the_template_become_marks_and_a_chapter_without_one_ends_them(
    as_typst: Callable[[str, Path], str], project: Path
) -> None:
    def chapter(title: str, depth: int) -> str:
        return f"```{{=html}}\ndepth {depth}\n```\n\n# {title}\n\n"

    part = "```{=typst}\n#part[Models]\n```\n\n"
    body = as_typst(
        chapter("Home", 0) + part + chapter("First", 1) + chapter("Second", 1) + chapter("Last", 0),
        project,
    )
    found = re.findall(r'^#metadata\("(.*)"\) <hb-part>|^= (\w+)', body, re.M)
    assert ["".join(pair) for pair in found] == [
        "", "Home", "Models", "First", "Second", "", "Last",
    ]  # fmt: skip

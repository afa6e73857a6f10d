"""Formulas have the spaces that TeX would give them, on the page and on paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from offline_render.render import Pandoc, tidy_mathml
from offline_render.render.formulas import print_tex, readable_tex, tidy_typst


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Pandoc:
    return Pandoc(tmp_path_factory.mktemp("pandoc"))


def mathml(engine: Pandoc, tex: str, around: str = "{}") -> str:
    text = around.format(f"${readable_tex(tex)}$")
    return tidy_mathml(engine.run(text, "-f", "markdown", "-t", "html5", "--mathml"))


def typst(engine: Pandoc, tex: str) -> str:
    text = engine.run(f"${print_tex(tex)}$", "-f", "markdown", "-t", "typst", "--wrap=none")
    return tidy_typst(text.strip(), tex)


def test_a_function_has_thin_spaces_beside_letters_and_none_beside_brackets(engine: Pandoc) -> None:
    beside = mathml(engine, r"2 \log n")
    assert beside.count('<mspace width="0.167em"') == 2
    assert "mspace" not in mathml(engine, r"\log(2\pi)")
    assert "mspace" not in mathml(engine, r"1 + \log(2\pi)")
    assert mathml(engine, r"n \log(2\pi)").count("mspace") == 1
    assert mathml(engine, r"\log \operatorname{E}(y)").count("mspace") == 1


def test_bars_open_and_close(engine: Pandoc) -> None:
    tex = r"\log|\mathbf{V}| + \log|\mathbf{X}|"
    bars = re.findall(r'<mo[^>]*form="(\w+)"[^>]*>\|', mathml(engine, tex))
    assert bars == ["prefix", "postfix"] * 2
    assert typst(engine, tex).count("lr(|") == 2
    assert readable_tex("P(a | b)") == "P(a | b)"  # one bar has no other side


def test_a_comma_within_a_number_is_no_punctuation(engine: Pandoc) -> None:
    assert "<mo>,</mo>" not in mathml(engine, r"20{,}000")
    assert "<mo>,</mo>" in mathml(engine, r"(0, 100)")
    assert "\\," not in typst(engine, r"20{,}000")
    assert '"20,000"' in typst(engine, r"20{,}000")


def test_a_sign_at_the_start_of_a_cell_stands_between_two_sides(engine: Pandoc) -> None:
    tex = r"\begin{aligned} u &\sim N \\ & + b \end{aligned}"
    shown = mathml(engine, tex)
    assert '<mo form="infix">∼</mo>' in shown and '<mo form="infix">+</mo>' in shown
    assert 'form="infix"' not in mathml(engine, r"-b + c")
    assert '<mtable displaystyle="true">' in shown
    assert "displaystyle" not in mathml(engine, r"\begin{pmatrix} a & b \end{pmatrix}")
    assert '&  "" +' in typst(engine, tex) or '& "" +' in typst(engine, tex)


def test_sized_brackets_and_names_are_typst_s_own(engine: Pandoc) -> None:
    shown = typst(engine, r"\operatorname{Var}\bigl( -1.96 \bigr)")
    assert 'op("Var")' in shown and "#scale" not in shown


def test_punctuation_stays_with_its_formula(engine: Pandoc) -> None:
    assert '<span class="held"><math' in mathml(engine, "x", "Let {}.")
    assert re.search(
        r'<span class="held">\(<math.*</math>\),</span>', mathml(engine, "x", "so ({}),")
    )
    assert "held" not in mathml(engine, "x", "Let {} be.")


def test_the_copy_in_tex_goes_and_the_page_keeps_its_formulas(book: Path) -> None:
    pages = [p.read_text(encoding="utf-8") for p in sorted((book / "chapters").glob("*.html"))]
    assert sum(page.count("<math ") for page in pages) > 500
    assert not any("application/x-tex" in page or "ns0:" in page for page in pages)
    assert not re.search(r"<mn>\d+</mn><mo>,</mo><mn>000</mn>", "".join(pages))

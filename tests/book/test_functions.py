"""The reference of functions: an entry for every public name, whose words are its docstring's."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import numpy as np
import pytest
from cells import CHAPTERS, run_chapter

import pylmm_helpers as ph
from offline_render.book import Cell, split
from pylmm_helpers import plots
from pylmm_helpers.show.reference import WIDTH, Entry, entry, first, markdown, room

PATH = CHAPTERS / "I-functions.qmd"
TEXT = PATH.read_text(encoding="utf-8")
CELLS = [part for part in split(PATH) if isinstance(part, Cell)]
PUBLIC = [*ph.__all__, *(f"plots.{name}" for name in plots.__all__)]
ROOMS = ["data", "engine", "sums", "inference", "quantities", "show", "lme4"]
#: What calls give back, and what reports on a whole book: shown by other calls than their own.
SHOWN = {
    "BoxCox": "box.mean", "Check": "check_singular", "LMMResults": "fit_lmm", "Table": "table",
    "SeveralResults": "fit_lmm", "agreement_records": "entry", "plots": "plots.use_style",
}  # fmt: skip


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    # DuckDB and Ibis warn about one another
    return run_chapter("I-functions", warnings_are="default")


def calls() -> list[str]:
    """Dotted names that the cells call."""
    found = []
    for cell in CELLS:
        for node in ast.walk(ast.parse(cell.code)):
            if isinstance(node, ast.Call):
                found.append(ast.unparse(node.func).removeprefix("ph."))
    return found


def entries() -> dict[str, list[Cell]]:
    """Cells under each heading of the third level, by its words."""
    found: dict[str, list[Cell]] = {}
    name = ""
    for part in split(PATH):
        if isinstance(part, Cell):
            found.setdefault(name, []).append(part)
        else:
            for words in re.findall(r"^#{2,3} (.+?) \{#", part.text, re.M):
                name = words
    return found


def thing(name: str) -> Any:
    found: Any = ph
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_every_public_name_has_an_entry_with_an_example() -> None:
    assert set(calls()) >= {SHOWN.get(name, name) for name in PUBLIC}
    found = entries()
    assert set(PUBLIC) <= set(found)
    for name in PUBLIC:
        reference, *examples = found[name]
        assert reference.code.strip() == f'entry("{name}")'
        if name not in ("agreement_records", "plots"):
            assert examples, f"{name}: no example"
        # what compares with lme4 would count among the comparisons of the book
        asleep = [cell.label for cell in examples if cell.option("eval", True) is False]
        assert not asleep or name in ("crosscheck", "agreement_summary"), asleep


@pytest.mark.parametrize("name", PUBLIC)
def test_an_entry_says_what_it_is_how_it_is_called_and_what_comes_out(name: str) -> None:
    it, what = entry(name), thing(name)
    assert re.fullmatch(r"[^\n]+\.", it.summary) and len(it.summary) < 180
    documented = [n.lstrip("*") for item in it.arguments for n in item.names]
    if inspect.isclass(what):
        assert it.attributes
    elif inspect.isfunction(what):
        assert documented == sorted(documented, key=list(inspect.signature(what).parameters).index)
        assert set(documented) == set(inspect.signature(what).parameters)
        assert it.returns or inspect.signature(what).return_annotation == "None"
        assert it.calls[0].startswith(f"{name}(")
    for line in "\n".join(it.calls).split("\n"):
        assert len(line) <= WIDTH
    for item in it.arguments + it.attributes + it.returns + it.raises:
        assert item.kind and item.text, f"{name}: {item}"


def words_of(text: str) -> str:
    """Letters and digits alone: neither marks, lines nor addresses count."""
    bare = re.sub(r"\]\(https://doi\.org/[^)]+\)|:math:|\.\. math::", " ", text)
    return " ".join(re.findall(r"[^\W_]+", bare))


@pytest.mark.parametrize("name", PUBLIC)
def test_what_a_page_shows_of_a_docstring_is_its_own_text_and_all_of_it(name: str) -> None:
    it = entry(name)
    doc, page = words_of(inspect.getdoc(thing(name)) or ""), words_of(it._page() + it._paper())
    parts = [it.more, it.notes, it.references]
    parts += [i.text for i in it.arguments + it.attributes + it.returns + it.raises]
    for part in parts:
        assert words_of(part) in doc
        assert words_of(part) in page
    assert words_of(it.summary) in doc and words_of(it.summary) in words_of(it._repr_markdown_())
    for item in it.arguments:
        assert words_of(first(item.text)) in doc and words_of(first(item.text)) in page


def test_the_rooms_stand_in_their_order_with_their_first_sentences(page: dict[str, Any]) -> None:
    assert re.findall(r'^The room `(\w+)`: `\{python\} room\("(\w+)"\)`$', TEXT, re.M) == [
        (name, name) for name in ROOMS
    ]
    for name in ROOMS:
        assert re.fullmatch(r"[A-Z][^.]*\.", room(name))
    position = {name: TEXT.index(f"### {name} {{#") for name in PUBLIC}
    starts = [TEXT.index(f"The room `{name}`") for name in ROOMS]
    for name in PUBLIC:
        home = "show" if name.startswith("plots") else ph._HOME[name]
        assert sum(start < position[name] for start in starts) == ROOMS.index(home) + 1, name


def test_a_docstring_becomes_markdown_and_a_signature_fits_a_line() -> None:
    assert markdown("sigma^2 of ``y ~ x``, :math:`\\sigma^2`\nand `fit`") == (
        "sigma\\^2 of `y ~ x`, $\\sigma^2$ and `fit`"
    )
    assert markdown("One:\n\n- a\n  b;\n- c.\n\n.. math::\n\n    x") == (
        "One:\n\n- a b;\n- c.\n\n$$\nx\n$$"
    )
    assert markdown("(doi:10.2307/2529430).") == (
        "([doi:10.2307/2529430](https://doi.org/10.2307/2529430))."
    )
    assert first("One thing:\n\n- a\n- b") == "One thing."
    assert first("Of n rows. Two.") == "Of n rows."
    assert (
        entry("sample_size").calls[0].startswith("sample_size(effect, level='group', *, icc=None")
    )
    assert isinstance(entry("icc"), Entry) and "icc(fit" in repr(entry("icc"))


def test_an_entry_is_one_call_of_at_most_three_lines() -> None:
    for cell in CELLS:
        if cell.label != "setup":
            lines = [line for line in cell.code.strip().split("\n") if line.strip()]
            assert len(lines) <= 3, cell.label


def test_the_figures_show_what_their_alternative_text_says(page: dict[str, Any]) -> None:
    slopes, fit, box = page["slopes"], page["fit"], page["box"]
    days = ph.blups(slopes, "Days").sort_values("estimate")
    outside = (days["ci_low"] > 0) | (days["ci_high"] < 0)
    assert list(np.flatnonzero(outside)) == [0, 1, 2, 15, 16, 17]
    assert (slopes.fe_params["Days"] + days["estimate"] > 0).mean() > 0.8
    assert 0 < box.estimate < 0.1
    profile = box.profile.sort_values("lambda_")["llf"].to_numpy()
    top = int(profile.argmax())
    assert (np.diff(profile[: top + 1]) > 0).all() and (np.diff(profile[top:]) < 0).all()
    rest = ph.residuals(fit)["conditional_std"]
    assert (rest.abs() < 2).mean() > 0.9
    herds = ph.residuals(fit, "group")["standardised"].sort_values().to_numpy()
    band = plots.qq_band(len(herds))
    assert ((band["low"] < herds) & (herds < band["high"])).all()
    curve = ph.profile_ci(fit, parameters=["sd(Intercept)"]).iloc[0]
    assert curve["ci_high"] - curve["estimate"] > curve["estimate"] - curve["ci_low"]
    bars = plots.residual_autocorrelation(page["serial"])
    heights = [p.get_height() for p in bars.patches]
    if not heights:  # drawn as lines
        heights = [s[:, 1][np.abs(s[:, 1]).argmax()] for c in bars.collections
                   for s in c.get_segments()]  # fmt: skip
    assert 0.4 < heights[0] < 0.6 and min(heights[5:10]) < -0.1 and heights[-1] > 0
    powers = page["powers"]["power"].to_numpy()
    gains = np.diff(powers)
    assert (gains > 0).all() and (np.diff(gains) < 0).all() and powers[0] < 0.8 < powers[-1]

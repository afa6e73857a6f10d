"""The chart, its list and the cheat sheet: every leaf leads somewhere, and every call runs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from cells import CHAPTERS
from length import length
from pypdf import PdfReader

import pylmm_helpers
from offline_render.book import load_project
from offline_render.render.sheet import SHEET, write_sheet
from pylmm_helpers import center_within, fit_lmm

ROOT = CHAPTERS.parent
PAGE = (CHAPTERS / "choosing.qmd").read_text(encoding="utf-8")
SOURCE = (CHAPTERS / "cheat-sheet.typ").read_text(encoding="utf-8")
needs_r = pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")


class Call(NamedTuple):
    task: str
    python: str
    r: str


CALLS = [
    Call(*found)
    for found in re.findall(r"^  \(\[(.+?)\], `(.+?)`, (?:`(.+?)`|\[none\])\),$", SOURCE, re.M)
]


def rows(label: str) -> list[list[str]]:
    """Cells of a table of the page."""
    table = PAGE[: PAGE.index("{#" + label + "}")].rpartition("\n\n: ")[0].rpartition("\n\n")[2]
    # a bar within code parts no cells
    return [
        [cell.strip() for cell in re.findall(r"((?:`[^`]*`|[^|`])+)", line.strip("|"))]
        for line in table.splitlines()[2:]
    ]


class Entry(NamedTuple):
    letter: str
    words: str
    do: str
    fails: str
    recipe: str
    why: str


LEAVES = [
    Entry(*found)
    for found in re.findall(
        r"^([A-Z]), (.+)\n: (.+)\n  \*Fails when\* (.+)\n  \*Recipe:\* (.+); \*why:\* (.+)\.$",
        PAGE,
        re.M,
    )
]


def labels(pattern: str) -> set[str]:
    """Ids of sections or tables in the documents other than this one."""
    others = [p for p in CHAPTERS.glob("*.qmd") if p.name != "choosing.qmd"]
    text = "\n".join(p.read_text(encoding="utf-8") for p in others)
    return set(re.findall(r"\{#(" + pattern + r"-[\w-]+)", text))


@pytest.fixture(scope="module")
def chart() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(CHAPTERS / "drawings")
        import choosing
    return choosing


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    [path] = write_sheet(load_project(ROOT), tmp_path_factory.mktemp("site"))
    assert path.name == SHEET
    return PdfReader(path)


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    g, t = np.repeat(np.arange(12), 12), np.tile(np.arange(12), 12)
    x = rng.normal(size=144) + rng.normal(size=12)[g]
    noise = np.zeros(144)
    for row in range(144):
        noise[row] = (0.5 * noise[row - 1] if t[row] else 0) + rng.normal(0, 0.5)
    y = 10 + x * (1 + rng.normal(0, 0.5, 12)[g]) + rng.normal(0, 1, 12)[g] + noise
    return pd.DataFrame({
        "y": y, "x": x, "t": t, "g": [f"g{k}" for k in g], "r": [f"r{k % 6}" for k in t],
        "k": np.array(list("abc"))[rng.integers(0, 3, 144)],
        "a": [f"a{k}" for k in g], "b": [f"b{k // 3}" for k in t],
    })  # fmt: skip


def test_leaves_are_lettered_in_order_and_drawn(chart: ModuleType) -> None:
    letters = [leaf.letter for question in chart.CHART for leaf in question.leaves]
    assert letters == list(ascii_uppercase[: len(letters)])
    drawn = (CHAPTERS / "drawings" / "choosing.svg").read_text(encoding="utf-8")
    for question in chart.CHART:
        for leaf in question.leaves:
            assert f"<!-- {leaf.letter} -->" in drawn and f"<!-- {leaf.words} -->" in drawn
    alt = re.search(r'fig-alt="([^"]+)"', PAGE)
    assert alt is not None
    for question in chart.CHART:
        for leaf in question.leaves:
            assert f"{leaf.letter}, {leaf.words}" in alt[1], leaf.letter


def test_every_leaf_is_in_the_list_with_its_condition_and_on_the_sheet(chart: ModuleType) -> None:
    drawn = [(leaf.letter, leaf.words) for question in chart.CHART for leaf in question.leaves]
    assert [(leaf.letter, leaf.words) for leaf in LEAVES] == drawn
    assert re.findall(r'\.\.leaf\("(\w)", \[', SOURCE) == [letter for letter, _ in drawn]


def test_leaves_lead_to_recipes_and_sections_that_exist() -> None:
    sections, recipes = labels("sec"), set()
    for leaf in LEAVES:
        explained = re.findall(r"@(sec-[\w-]+)", leaf.why)
        assert explained and set(explained) <= sections, leaf.letter
        leads = re.findall(r"\]\(recipes\.qmd#(sec-rec-[\w-]+)\)", leaf.recipe)
        assert leads or (leaf.letter, leaf.recipe) == ("A", "none")
        recipes |= set(leads)
    recipes |= set(re.findall(r"recipes\.qmd#([\w-]+)", PAGE))
    assert recipes <= sections


def test_the_six_tables_of_choices_exist() -> None:
    found = [row[1].lstrip("@") for row in rows("tbl-cho-tables")]
    assert len(found) == 6 and set(found) <= labels("tbl")
    assert all(row[2] for row in rows("tbl-cho-tables"))


def test_functions_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`([a-z_]{2,})`", PAGE))
    assert named and named <= set(pylmm_helpers.__all__)
    assert "`smf.ols`" in PAGE and callable(smf.ols)


def test_the_page_is_short(book: Path) -> None:
    page = (book / "chapters" / "choosing.html").read_text(encoding="utf-8")
    assert 0 < length(page).shown <= 900


def test_the_sheet_has_two_tagged_pages(reader: PdfReader) -> None:
    assert len(reader.pages) == 2
    for page in reader.pages:
        assert [round(float(x)) for x in page.mediabox[2:]] == [595, 842]
    root: Any = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"].startswith("en")
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data()
    assert reader.metadata is not None
    assert reader.metadata.title == f"Cheat sheet: {load_project(ROOT).title}"


def test_the_sheet_shows_every_call_and_nothing_hangs_over_the_edge(reader: PdfReader) -> None:
    places: list[float] = []

    def visit(text: str, cm: list, tm: list, font: object, size: float) -> None:
        if text.strip():
            places.append(tm[4] * cm[0] + cm[4])

    text = "".join(page.extract_text(visitor_text=visit) for page in reader.pages)
    shown = re.sub(r"\s", "", text)
    for call in CALLS:
        for code in (call.python, call.r):
            assert re.sub(r"\s", "", code) in shown, code
    assert min(places) > 30 and max(places) < 565


def test_a_book_without_a_sheet_gets_none(tmp_path: Path) -> None:
    from minibook import write

    assert write_sheet(load_project(write(tmp_path)), tmp_path) == []


def test_every_row_of_calls_is_read() -> None:
    block = SOURCE.partition("#let calls = (")[2].partition("\n)\n")[0]
    assert len(CALLS) == sum(line.startswith("  ([") for line in block.splitlines()) > 30


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.task)
def test_functions_named_on_the_sheet_exist_in_python(call: Call) -> None:
    for node in ast.walk(ast.parse(call.python)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id in pylmm_helpers.__all__
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            home = smf if node.value.id == "smf" else getattr(pylmm_helpers, node.value.id)
            assert hasattr(home, node.attr)


@pytest.fixture(scope="module")
def names(data: pd.DataFrame) -> dict[str, Any]:
    """What the sheet says that its names stand for."""
    known = {name: getattr(pylmm_helpers, name) for name in pylmm_helpers.__all__}
    known["parametric_bootstrap"] = partial(known["parametric_bootstrap"], replicates=20)
    split = center_within(data, "x", "g")
    return known | {
        "smf": smf,
        "d": data,
        "fit": fit_lmm("y ~ x + (1 | g)", data),
        "slope": fit_lmm("y ~ x + (1 + x | g)", data),
        "full": fit_lmm("y ~ x + (1 | g)", data, reml=False),
        "small": fit_lmm("y ~ 1 + (1 | g)", data, reml=False),
        "split": fit_lmm("y ~ x_within + x_mean + (1 | g)", split),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.task)
def test_calls_of_the_sheet_run_in_python(
    call: Call, names: dict[str, Any], data: pd.DataFrame
) -> None:
    import matplotlib.pyplot as plt

    if call.python.startswith(("contrast", "marginal_means")):
        names = names | {"fit": fit_lmm("y ~ x + k + (1 | g)", data)}
    assert eval(call.python, dict(names)) is not None
    plt.close("all")


@needs_r
def test_calls_of_the_sheet_run_in_r(data: pd.DataFrame, tmp_path: Path) -> None:
    data.to_csv(tmp_path / "data.csv", index=False)
    lines = [
        "suppressMessages({library(lmerTest); library(nlme)})",
        'd <- read.csv("data.csv"); d$k <- factor(d$k)',
        "d$x_mean <- ave(d$x, d$g); d$x_within <- d$x - d$x_mean",
        "fit <- lmer(y ~ x + (1 | g), d)",
        "slope <- lmer(y ~ x + (1 + x | g), d)",
        "full <- lmer(y ~ x + (1 | g), d, REML = FALSE)",
        "small <- lmer(y ~ 1 + (1 | g), d, REML = FALSE)",
        "split <- lmer(y ~ x_within + x_mean + (1 | g), d)",
    ]
    calls = [call.r for call in CALLS if call.r]
    for code in calls:
        package, _, function = code.partition("(")[0].rpartition("::")
        if package:
            # the package may not be there, and its functions take long
            there = f'exists("{function}", asNamespace("{package}"))'
            lines.append(f'if (requireNamespace("{package}", quietly = TRUE)) stopifnot({there})')
        elif code.startswith("allFit"):
            lines.append('stopifnot(exists("allFit"))')  # tries optimisers of more packages
        else:
            lines.append(f"invisible({{ {code} }})")
    (tmp_path / "script.R").write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        ["Rscript", "--vanilla", "script.R"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    missing = re.search(r"there is no package called .(\w+).", done.stderr)
    if done.returncode != 0 and missing:
        pytest.skip(f"{missing[1]} is not installed")
    assert done.returncode == 0, done.stderr

"""Each chapter can be assigned whole: a short main path, and at its head what it asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cells import CHAPTERS
from length import MOST, Length, length

from offline_render.book import load_project

PROJECT = load_project(CHAPTERS.parent)
#: The chapters of the parts, and the appendices that are read as chapters are.
READ = [c for c in PROJECT.chapters if c.part and c.number]
#: What a new chapter is copied from keeps the order too.
ORDERED = [*(c.key for c in READ), "_template"]
LIKE_CHAPTERS = [c for c in PROJECT.chapters if c.key in ("G-classics", "H-large-data")]
ENDS = [
    "Python and R side by side", "Common mistakes", "Check yourself", "Exercises", "Summary",
]  # fmt: skip


def source(key: str) -> str:
    return (CHAPTERS / f"{key}.qmd").read_text(encoding="utf-8")


def headings(key: str) -> list[str]:
    text = re.sub(r"```.*?```", "", source(key), flags=re.S)
    return re.findall(r"^## (.+)$", text, flags=re.M)


def titles(key: str) -> list[str]:
    return [re.sub(r"\s*\{[^}]*\}$", "", h) for h in headings(key)]


@pytest.fixture(scope="module")
def lengths(book: Path) -> dict[str, Length]:
    return {
        c.key: length((book / c.href).read_text(encoding="utf-8")) for c in READ + LIKE_CHAPTERS
    }


@pytest.mark.parametrize("key", [c.key for c in READ + LIKE_CHAPTERS])
def test_the_main_path_has_at_most_five_thousand_built_words(
    lengths: dict[str, Length], key: str
) -> None:
    assert 0 < lengths[key].main <= MOST


@pytest.mark.parametrize("key", [c.key for c in READ + LIKE_CHAPTERS])
def test_the_stated_reading_time_is_that_of_the_built_page(
    lengths: dict[str, Length], key: str
) -> None:
    stated = re.search(r"\*\*Main path:\*\* (\d+) minutes", source(key))
    assert stated is not None, "the head says how long the main path takes"
    # a few words more or less may move the multiple of five minutes
    assert abs(int(stated[1]) - lengths[key].main / 200) <= 4


@pytest.mark.parametrize("key", ORDERED)
def test_a_drawing_opens_the_chapter_and_its_head_follows(key: str) -> None:
    beginning = source(key).partition("\n## ")[0]
    drawing = re.search(
        r"^!\[.+\]\(drawings/[\w-]+\.svg\)\{#fig-[\w-]+ fig-alt=\"", beginning, re.M
    )
    assert drawing is not None
    needs = beginning.index("::: {.needs}")
    assert drawing.start() < needs
    assert "**Before you start:**" in beginning[needs:]


@pytest.mark.parametrize("key", ORDERED)
def test_sections_come_in_the_order_of_the_contract(key: str) -> None:
    found = titles(key)
    places = [found.index(name) for name in ENDS]
    assert places == sorted(places)
    assert found[0] == "Objectives"
    optional = [k for k, h in enumerate(headings(key)) if ".optional" in h]
    assert all(k > places[-1] for k in optional), "optional parts stand after the summary"
    after = set(range(places[-1] + 1, len(found))) - set(optional)
    assert [found[k] for k in after] == ["Agreement with lme4"], "only proof follows unmarked"


@pytest.mark.parametrize("key", [*ORDERED, *(c.key for c in LIKE_CHAPTERS)])
def test_proof_is_one_line_and_every_comparison_is_in_it(key: str) -> None:
    text = source(key)
    assert text.count("agreement_summary(") == 1
    inside = text[text.index("agreement_summary(") :].partition("```")[0]
    checked = re.findall(r"^\s*(\w+) = crosscheck\(", text, flags=re.M)
    listed = re.findall(r"\w+", inside)
    assert [name for name in checked if name not in listed] == []
    assert len(checked) == len(set(checked)), "no comparison takes the place of another"
    alone = re.findall(r"^crosscheck\(", text, flags=re.M)
    assert alone == [], "a comparison shows its table in the fold only"


def test_no_document_but_the_last_appendix_tells_the_session() -> None:
    telling = [
        c.key for c in PROJECT.chapters if "Session information" in c.path.read_text("utf-8")
    ]
    assert telling == ["J-changes"]

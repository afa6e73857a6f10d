"""The page for teachers: plans that cover the book, with the minutes and the names of its parts."""

from __future__ import annotations

import re

import pytest
from cells import CHAPTERS
from exercises import exercises

from offline_render.book import load_project

PROJECT = load_project(CHAPTERS.parent)
READ = {c.key: c for c in PROJECT.chapters if c.part and c.number}
SOURCE = (CHAPTERS / "teaching.qmd").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.M)
LINK = re.compile(r"\[([^\]]+)\]\(([\w-]+)\.qmd#([\w-]+)\)")


def text(key: str) -> str:
    return (CHAPTERS / f"{key}.qmd").read_text(encoding="utf-8")


def plan(label: str) -> list[tuple[list[str], int, list[tuple[str, ...]], list[tuple[str, ...]]]]:
    """The sessions of a plan: chapters, minutes, exercises and questions."""
    before = SOURCE[: SOURCE.index(f"{{#{label}}}")]
    labels = {re.search(r"\{#(sec-[\w-]+)", text(key))[1]: key for key in READ}
    sessions = []
    for number, read, minutes, tasks, asked in ROW.findall(before.rpartition("\n## ")[2]):
        chapters = [labels[name] for name in re.findall(r"@(sec-[\w-]+)", read)]
        sessions.append((chapters, int(minutes), LINK.findall(tasks), LINK.findall(asked)))
        assert int(number) == len(sessions)
    return sessions


def minutes(key: str) -> int:
    stated = re.search(r"\*\*Main path:\*\* (\d+) minutes", text(key))
    assert stated is not None
    return int(stated[1])


PLANS = {"tbl-tea-ten": 10, "tbl-tea-five": 5}


@pytest.mark.parametrize("label", PLANS)
def test_a_plan_has_the_sessions_that_it_promises_and_their_minutes(label: str) -> None:
    sessions = plan(label)
    assert len(sessions) == PLANS[label]
    for chapters, stated, _, _ in sessions:
        assert stated == sum(map(minutes, chapters))
        assert 20 <= stated <= 60


@pytest.mark.parametrize("label", PLANS)
def test_chapters_come_once_and_what_a_session_does_is_in_them(label: str) -> None:
    sessions = plan(label)
    read = [key for chapters, *_ in sessions for key in chapters]
    assert len(read) == len(set(read))
    for chapters, _, tasks, asked in sessions:
        titles = {(key, e.identifier): e.title for key in chapters for e in exercises_of(key)}
        assert {key for _, key, _ in tasks} == set(chapters), "an exercise of each chapter"
        for words, key, name in tasks:
            assert titles[key, name] == words
        for _, key, name in asked:
            assert key in chapters
            assert re.search(rf"^::: \{{\.(quiz|reflection) #{name}\}}$", text(key), re.M)


def exercises_of(key: str) -> list:
    return exercises(CHAPTERS / f"{key}.qmd")


def test_the_long_plan_goes_through_the_whole_book_and_the_short_one_says_what_it_leaves() -> None:
    ten, five = ([key for c, *_ in plan(label) for key in c] for label in PLANS)
    assert set(ten) == set(READ)
    left = SOURCE.partition("Left out are")[2].partition("\n\n")[0]
    labels = set(re.findall(r"@(sec-[\w-]+)", left))
    missing = {re.search(r"\{#(sec-[\w-]+)", text(key))[1] for key in set(READ) - set(five)}
    assert labels == missing


def test_most_exercises_have_a_check_as_the_page_says() -> None:
    found = [e for key in READ for e in exercises_of(key)]
    assert sum("check" in e.parts for e in found) > 0.5 * len(found)
    assert "most have a check" in SOURCE


def test_home_page_and_readme_lead_teachers_here() -> None:
    home = (CHAPTERS.parent / "index.qmd").read_text(encoding="utf-8")
    assert "(chapters/teaching.qmd)" in home
    assert "quiz sheets" in (CHAPTERS.parent / "README.md").read_text(encoding="utf-8")

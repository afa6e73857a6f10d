"""The preface's objectives lead to where each is learnt and to a question that tests it."""

from __future__ import annotations

import re
from pathlib import Path

from offline_render.book import load_project

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVE = re.compile(r"^- (?P<text>.+)\n(?P<places>  \(.+\))$", re.M)
PLACE = re.compile(r"@(sec-[\w-]+), \[question\]\(([\w-]+\.qmd)#(quiz-[\w-]+)\)")


def test_each_objective_has_its_chapter_and_a_question_there() -> None:
    text = (ROOT / "chapters" / "preface.qmd").read_text(encoding="utf-8")
    listed = text.partition("::: {.objectives}")[2].partition("\n:::")[0]
    objectives = list(OBJECTIVE.finditer(listed))
    assert len(objectives) == len(re.findall(r"^- ", listed, re.M)) == 11
    for objective in objectives:
        places = PLACE.findall(objective["places"])
        assert places, objective["text"]
        for section, chapter, quiz in places:
            there = (ROOT / "chapters" / chapter).read_text(encoding="utf-8")
            assert f"{{#{section}}}" in there.splitlines()[0]
            assert f"::: {{.quiz #{quiz}}}" in there


def test_every_concept_group_has_three_questions_and_a_reflection() -> None:
    """The lesson has four sections; here each numbered chapter is a group of concepts."""
    for chapter in load_project(ROOT).chapters:
        if chapter.number and not chapter.appendix:
            text = chapter.path.read_text(encoding="utf-8")
            assert text.count("::: {.quiz ") >= 3, chapter.source
            assert text.count("::: {.reflection ") >= 1, chapter.source
            for quiz in re.findall(r"::: \{\.quiz .*?\n:::", text, re.S):
                options = re.findall(r"^- \[[ x]\] ", quiz, re.M)
                reasons = re.findall(r"^- \[[ x]\] .+\n\n  \S", quiz, re.M)
                assert len(options) == len(reasons) >= 3, quiz[:60]

"""The assessment asks each of the lesson's fifteen points, and its table says where."""

from __future__ import annotations

import re

import pytest
from cells import CHAPTERS

PAGE = (CHAPTERS / "A-assessment.qmd").read_text(encoding="utf-8")
QUIZ = re.compile(r"^::: \{\.quiz #(?P<id>quiz-as-[\w-]+)\}\n(?P<text>.*?)^:::$", re.S | re.M)
# The lesson's points by number: words of its question, and words of the option that is right.
POINTS = {
    1: ("assume", r"normal distribution with mean zero"),
    2: ("varies with a standard deviation", r"true means of clinics"),
    3: ("intraclass correlation", r"0\.20"),
    4: ("random slope", r"works better in some centres"),
    5: ("covariance", r"Estimate it; a negative one says"),
    6: ("contextual effect", r"slope between them differs from its slope within"),
    7: ("group-mean centring", r"mean of the observation's own group"),
    8: ("REML differ", r"degrees of freedom that the fixed effects use up"),
    9: ("likelihood", r"maximum likelihood; with C by REML"),
    10: ("Wald test", r"approximation for large samples"),
    11: ("BLUPs, go by other names", r"Empirical Bayes estimates, conditional modes"),
    12: ("pulled most strongly", r"small group in data with a low ICC"),
    13: ("residuals", r"One set for each level"),
    14: ("Box-Cox", r"not comparable when the response changes"),
    15: ("enter", r"As a fixed effect, as a random effect of the schools, or as both"),
}


def quizzes() -> list[re.Match[str]]:
    return list(QUIZ.finditer(PAGE))


def rows() -> list[list[str]]:
    table = PAGE[: PAGE.index("{#tbl-as-map}")].rpartition("|\n\n: ")[0].rpartition("\n\n")[2]
    return [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_table_has_the_fifteen_points_and_each_question_once() -> None:
    assert [int(row[0]) for row in rows()] == list(POINTS)
    places = [int(re.match(r"\[(\d+)\]", row[2])[1]) for row in rows()]  # type: ignore[index]
    assert sorted(places) == list(range(1, len(quizzes()) + 1))


@pytest.mark.parametrize("number", POINTS)
def test_a_point_is_asked_where_the_table_says(number: int) -> None:
    row = rows()[number - 1]
    place, target = re.fullmatch(r"\[(\d+)\]\(A-assessment\.qmd#([\w-]+)\)", row[2]).groups()  # type: ignore[union-attr]
    quiz = quizzes()[int(place) - 1]
    assert quiz["id"] == target
    asked, right = POINTS[number]
    question = quiz["text"].partition("\n- [")[0]
    assert asked.lower() in question.lower()
    answers = re.findall(r"^- \[x\] (.*)$", quiz["text"], re.M)
    assert len(answers) == 1 and re.search(right, answers[0])


@pytest.mark.parametrize("number", POINTS)
def test_the_sections_of_a_point_exist(number: int) -> None:
    # "They stay within" the numbered chapters
    first = CHAPTERS.glob("[01]*.qmd")
    headings = "\n".join(p.read_text(encoding="utf-8") for p in first)
    sections = re.findall(r"@(sec-[\w-]+)", rows()[number - 1][3])
    assert sections
    for section in sections:
        assert re.search(rf"^#+ .*\{{#{section}[ }}]", headings, re.M), section

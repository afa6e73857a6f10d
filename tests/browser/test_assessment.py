"""The assessment in a real browser: what is open, when it is done, and the summary to print."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By

PAGE = "chapters/A-assessment.html"
WORDS = "I would first decide which groups are random, then how effects vary. " * 4


@pytest.fixture
def page(browser: Any, serve: Callable[[Path], str], book: Path) -> Iterator[Any]:
    address = f"{serve(book)}/{PAGE}"
    browser.get(address)
    browser.execute_script("localStorage.clear()")
    browser.get(address)
    yield browser
    browser.execute_script("localStorage.clear()")


def press(page: Any, name: str) -> None:
    """Press a button wherever it stands on the long page."""
    page.execute_script("arguments[0].click()", page.find_element(By.CLASS_NAME, name))


def state(page: Any) -> str:
    return str(page.find_element(By.CLASS_NAME, "hb-state").text)


def choose(page: Any, right: bool) -> int:
    """Check every question with a right, or a wrong, option; the number of questions."""
    return int(
        page.execute_script(
            """
            const quizzes = document.querySelectorAll(".hb-quiz");
            for (const quiz of quizzes) {
              quiz.querySelector(`[data-hb-right="${arguments[0]}"] input`).click();
              quiz.querySelector(".hb-check").click();
            }
            return quizzes.length;
            """,
            str(right).lower(),
        )
    )


def test_fifteen_questions_with_four_options_and_one_right(page: Any) -> None:
    quizzes = page.find_elements(By.CLASS_NAME, "hb-quiz")
    assert len(quizzes) == 15
    for quiz in quizzes:
        assert len(quiz.find_elements(By.CLASS_NAME, "hb-option")) == 4
        assert len(quiz.find_elements(By.CSS_SELECTOR, '[data-hb-right="true"]')) == 1
        assert not quiz.find_element(By.CLASS_NAME, "hb-show").is_displayed()


def test_it_says_what_is_open_until_everything_is_done(page: Any) -> None:
    assert state(page) == "Still open: 15 questions and the reflection (30 words or more)."
    choose(page, right=False)
    assert "15 questions" in state(page)
    choose(page, right=True)
    assert state(page) == "Still open: the reflection (30 words or more)."
    page.find_element(By.CSS_SELECTOR, ".hb-reflection textarea").send_keys("Too short.")
    assert "the reflection" in state(page)
    assert not page.find_element(By.CLASS_NAME, "hb-print").is_displayed()


def test_the_end_survives_a_reload_and_gives_a_summary(page: Any) -> None:
    choose(page, right=True)
    page.find_element(By.CSS_SELECTOR, ".hb-reflection textarea").send_keys(WORDS)
    assert re.match(r"Done on \d+ \w+ \d{4}:", state(page))
    page.refresh()
    assert state(page).startswith("Done on")
    page.find_element(By.CSS_SELECTOR, ".hb-name input").send_keys("A. Reader")
    summary = page.find_element(By.CLASS_NAME, "hb-summary")
    assert "A. Reader, completed on" in summary.text
    assert re.match(r"Mixed Models for Continuous Data\. Edition \d", summary.text)
    assert "15 of 15 questions right" in summary.text
    assert len(summary.find_elements(By.TAG_NAME, "li")) == 15
    assert WORDS.strip() in summary.text
    press(page, "hb-reset-page")
    assert "15 questions" in state(page)


def test_the_summary_prints_alone(page: Any) -> None:
    choose(page, right=True)
    page.find_element(By.CSS_SELECTOR, ".hb-reflection textarea").send_keys(WORDS)
    page.execute_script("window.print = () => { window.printed = true; }")
    press(page, "hb-print")
    assert page.execute_script("return window.printed")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        visible = page.execute_script(
            "return [...document.querySelectorAll('main *')]"
            ".filter(e => e.checkVisibility({checkVisibilityCSS: true}) && !e.children.length)"
            ".every(e => e.closest('.hb-summary'))"
        )
        assert visible
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    assert not page.execute_script("return document.documentElement.matches('.hb-printing')")


def test_nothing_of_the_reader_leaves_the_browser(page: Any) -> None:
    choose(page, right=True)
    kept = page.execute_script("return Object.keys({...localStorage})")
    assert set(kept) <= {"handbook-quiz", "handbook-assessment-done"}
    sent = page.execute_script(
        "return performance.getEntriesByType('resource').filter("
        "e => ['xmlhttprequest', 'beacon', 'fetch'].includes(e.initiatorType)).length"
    )
    assert sent == 0

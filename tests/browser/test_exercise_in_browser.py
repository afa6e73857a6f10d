"""The check of an exercise in a real browser: by keyboard, kept there only, and accessible."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pypandoc
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_quiz_in_browser import EXTENSION, answer, press, seen, stored, tab_to

SOURCE = """
# A chapter

## Check yourself

::: {.quiz #quiz-icc}
Which one?

- [ ] 0.25

  No.

- [x] 0.20

  Yes.
:::

## Exercises

::: {.exercise #exercise-cells kind="again" title="The same for somatic cells"}
Fit the model to somatic cells.

::: {.hint}
Take logarithms first.
:::

::: {.solution}
The variance is printed here.
:::

::: {.check within="0.05" unit="kg"}
How large is the variance between cows? 1,203.31
:::
:::

::: {.exercise #exercise-model kind="decide" title="Which model"}
Choose.

::: {.solution}
The first, for a reason.
:::

::: {.check}
Which one do you report?

- [ ] the second
- [x] the first
:::
:::

::: {.exercise #exercise-fault kind="mistake" title="A wrong test"}
Find the fault.

::: {.solution}
Too many degrees of freedom.
:::
:::
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Exercises</title>
<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root {{ color-scheme: light dark; }}</style>
<link rel="stylesheet" href="quiz.css"><link rel="stylesheet" href="exercise.css"></head>
<body><main>{body}</main><script src="exercise.js"></script><script src="quiz.js"></script></body>
</html>
"""
BOTH = "{} of 1 questions and {} of 2 checks of exercises right on this page"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path], str]) -> str:
    folder = tmp_path_factory.mktemp("site")
    body = subprocess.run(
        [pypandoc.get_pandoc_path(), "-t", "html5", "-L", EXTENSION / "handbook.lua"],
        input=SOURCE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (folder / "index.html").write_text(PAGE.format(body=body), encoding="utf-8")
    for name in ("quiz.js", "quiz.css", "exercise.js", "exercise.css"):
        shutil.copy(EXTENSION / name, folder)
    return serve(folder)


@pytest.fixture
def page(browser: Any, site: str) -> Iterator[Any]:
    """A freshly loaded page in a browser that remembers nothing."""
    browser.get(f"{site}/index.html")
    browser.execute_script("localStorage.clear()")
    browser.get(f"{site}/index.html")
    yield browser
    browser.execute_script("localStorage.clear()")


FIELD = "#exercise-cells-answer"


def try_number(page: Any, number: str) -> str:
    """Type a number with the keyboard, check it, and give what the page says."""
    page.execute_script("document.activeElement.blur(); window.getSelection().removeAllRanges()")
    tab_to(page, FIELD)
    page.execute_script("document.activeElement.select()")
    press(page, *(number or Keys.DELETE), Keys.ENTER)
    return seen(page, "#exercise-cells .hb-feedback")


@pytest.mark.parametrize(
    "number", ["1203.31", "1203,31", "1,203.31", "1 203.3", "1203.36", "1203.26kg", "1.20331e3"]
)
def test_a_number_within_the_tolerance_is_right_however_it_is_typed(page: Any, number: str) -> None:
    assert try_number(page, number) == "✓ Right. The solution says why."
    assert seen(page, ".hb-count") == BOTH.format(0, 1)


def test_after_two_wrong_tries_the_hint_is_offered(page: Any) -> None:
    to_hint = "#exercise-cells .hb-to-hint"
    assert try_number(page, "1203.37") == "✗ Not yet. Try again."
    assert seen(page, to_hint) == ""
    assert try_number(page, "-1203.31") == "✗ Not yet. The hint may help; then try again."
    tab_to(page, to_hint)
    press(page, Keys.ENTER)
    assert seen(page, "#exercise-cells .hb-hint p") == "Take logarithms first."
    assert page.switch_to.active_element.text == "Hint"
    assert seen(page, "#exercise-cells .hb-solution p") == "", "and no more than the hint"


@pytest.mark.parametrize("typed", ["", "many", "1.2.3"])
def test_what_is_no_number_is_no_try(page: Any, typed: str) -> None:
    assert try_number(page, typed) == "Type a number first."
    assert stored(page) == {}


def test_a_decision_is_checked_by_keyboard(page: Any) -> None:
    answer(page, "exercise-model", "A")
    assert seen(page, "#exercise-model .hb-feedback") == "✗ Not yet. Try again."
    answer(page, "exercise-model", "B")
    assert seen(page, "#exercise-model .hb-feedback") == "✓ Right. The solution says why."
    assert seen(page, ".hb-count") == BOTH.format(0, 1)


def test_an_exercise_without_a_check_has_folds_alone(page: Any) -> None:
    exercise = page.find_element(By.ID, "exercise-fault")
    assert not exercise.find_elements(By.CSS_SELECTOR, "form, button")
    tab_to(page, "#exercise-fault summary")
    press(page, Keys.ENTER)
    assert seen(page, "#exercise-fault .hb-solution p") == "Too many degrees of freedom."


def test_answers_survive_a_reload_and_are_forgotten_on_reset(page: Any) -> None:
    try_number(page, "1203,3")
    answer(page, "exercise-model", "A")
    answer(page, "quiz-icc", "B")
    assert list(stored(page)) == ["handbook-quiz"]
    page.refresh()
    assert page.find_element(By.CSS_SELECTOR, FIELD).get_attribute("value") == "1203,3"
    assert seen(page, "#exercise-cells .hb-feedback").startswith("✓ Right.")
    assert seen(page, "#exercise-model .hb-feedback").startswith("✗ Not yet.")
    assert seen(page, ".hb-count") == BOTH.format(1, 1)
    tab_to(page, ".hb-reset-book")
    press(page, Keys.ENTER)
    assert "1 question, 0 reflections and 2 exercises." in seen(page, ".hb-count-book")
    press(page, Keys.ESCAPE)
    tab_to(page, ".hb-reset-page")
    press(page, Keys.ENTER)
    assert stored(page) == {}
    assert page.find_element(By.CSS_SELECTOR, FIELD).get_attribute("value") == ""
    assert seen(page, "#exercise-cells .hb-feedback") == ""
    assert seen(page, ".hb-count") == BOTH.format(0, 0)


def test_what_was_kept_is_judged_by_the_answer_of_today(page: Any) -> None:
    key = page.find_element(By.ID, "exercise-cells").get_attribute("data-hb-key")
    kept = {"exercises": {key: {"given": "99", "right": False}}}
    page.execute_script("localStorage['handbook-quiz'] = arguments[0]", json.dumps(kept))
    page.refresh()
    assert seen(page, "#exercise-cells .hb-feedback").startswith("✗ Not yet.")


def test_axe_finds_nothing_and_nothing_overflows(page: Any) -> None:
    axe = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    try_number(page, "1")
    try_number(page, "2")
    answer(page, "exercise-model", "B")
    page.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.execute_script(axe)
    for width in (360, 1440):
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for scheme in ("light", "dark"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            found = page.execute_async_script(
                "axe.run(document, {resultTypes: ['violations']}).then(found => arguments[0]("
                "found.violations.map(v => [v.id, v.nodes.map(n => n.target.join(' '))])))"
            )
            assert found == [], (width, scheme)
        overflow = page.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow == 0
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_without_script_question_hint_and_solution_can_be_read(browser: Any, site: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{site}/index.html")
        assert not any(e.is_displayed() for e in browser.find_elements(By.CSS_SELECTOR, "input"))
        assert not any(e.is_displayed() for e in browser.find_elements(By.CSS_SELECTOR, "button"))
        assert seen(browser, "#exercise-cells form") == "How large is the variance between cows?"
        fold = browser.find_element(By.CSS_SELECTOR, "#exercise-cells .hb-solution summary")
        fold.send_keys(Keys.ENTER)
        assert seen(browser, "#exercise-cells .hb-solution p") == "The variance is printed here."
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

"""The self-checks in a real browser: by keyboard alone, kept there only, and without script."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pypandoc
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

EXTENSION = Path(__file__).parents[2] / "_extensions" / "handbook"
SOURCE = """
# A chapter

::: {.quiz #quiz-icc}
What is the ICC of a model with 200 between and 800 within?

- [ ] 0.25

  That is a ratio of variances, `a<b>c`.

- [x] 0.20

  Two hundred of a thousand.

- [ ] 0.80

  That is the share within.

::: {.hint}
Divide by the total.
:::
:::

::: {.quiz #quiz-both}
Which assumptions does it make?

- [x] Normal random effects

  With mean zero.

- [x] Independent residuals

  Given the random effects.

- [ ] Equal herds

  Herds may differ in size.
:::

::: {.reflection #reflection-why}
Why treat herds as random?

::: {.model-answer}
Many herds cost one variance only.
:::
:::
"""
WHY_A = "✗ A is not right. That is a ratio of variances, a<b>c."
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Quiz</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="quiz.css"></head>
<body><main>{body}</main><script src="quiz.js"></script></body></html>
"""


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
    for name in ("quiz.js", "quiz.css"):
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


def press(page: Any, *keys: str) -> None:
    for key in keys:
        ActionChains(page).send_keys(key).perform()


def tab_to(page: Any, wanted: str) -> None:
    """Move the focus by Tab until it is on the wanted element."""
    for _ in range(60):
        if page.execute_script("return document.activeElement.matches(arguments[0])", wanted):
            return
        press(page, Keys.TAB)
    raise AssertionError(f"Tab never reaches {wanted}")


def seen(page: Any, selector: str) -> str:
    """The visible text of the first match; empty when it is not shown."""
    found = page.find_elements(By.CSS_SELECTOR, selector)
    return " ".join(found[0].text.split()) if found and found[0].is_displayed() else ""


def stored(page: Any) -> dict[str, str]:
    return page.execute_script("return {...localStorage}")


def answer(page: Any, quiz: str, *letters: str) -> None:
    """Choose and check with keys alone, from the top of the page."""
    page.execute_script("document.activeElement.blur(); window.getSelection().removeAllRanges()")
    for letter in letters:
        tab_to(page, f"#{quiz} input")
        while not page.execute_script(
            "return document.activeElement.value === arguments[0]", letter
        ):
            radio = page.execute_script("return document.activeElement.type === 'radio'")
            press(page, Keys.ARROW_DOWN if radio else Keys.TAB)
        if not page.execute_script("return document.activeElement.checked"):
            press(page, Keys.SPACE)
    tab_to(page, f"#{quiz} .hb-check")
    press(page, Keys.ENTER)


def test_a_wrong_choice_shows_why_it_is_wrong_and_nothing_else(page: Any) -> None:
    answer(page, "quiz-icc", "A")
    assert seen(page, "#quiz-icc-a-why") == WHY_A
    assert seen(page, "#quiz-icc-b-why") == seen(page, "#quiz-icc-c-why") == ""
    assert seen(page, "#quiz-icc .hb-feedback").startswith("✗ Not right.")
    assert seen(page, ".hb-count") == "0 of 2 right on this page"


def test_trying_again_by_keyboard_reaches_the_right_answer_and_every_reason(page: Any) -> None:
    answer(page, "quiz-icc", "A")
    tab_to(page, "#quiz-icc .hb-again")
    press(page, Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "quiz-icc-a"
    assert seen(page, "#quiz-icc-a-why") == ""
    assert not page.find_elements(By.CSS_SELECTOR, "#quiz-icc input:checked")
    answer(page, "quiz-icc", "B")
    assert seen(page, "#quiz-icc .hb-feedback").startswith("✓ Right.")
    assert seen(page, "#quiz-icc-c-why") == "✗ C is not right. That is the share within."
    assert seen(page, ".hb-count") == "1 of 2 right on this page"


def test_enter_on_an_option_checks_it(page: Any) -> None:
    tab_to(page, "#quiz-icc input")
    press(page, Keys.ARROW_DOWN, Keys.ENTER)
    assert seen(page, "#quiz-icc .hb-feedback").startswith("✓ Right.")


def test_checking_without_a_choice_asks_for_one(page: Any) -> None:
    answer(page, "quiz-icc")
    assert seen(page, "#quiz-icc .hb-feedback") == "Choose an option first."
    assert stored(page) == {}


def test_several_right_options_must_all_be_chosen(page: Any) -> None:
    answer(page, "quiz-both", "A", "C")
    feedback = seen(page, "#quiz-both .hb-feedback")
    assert feedback.startswith(
        "✗ Not yet. You chose 1 of the 2 right options and 1 that is not right."
    )
    assert seen(page, "#quiz-both-b-why") == ""
    answer(page, "quiz-both", "B")
    tab_to(page, "#quiz-both-c")
    press(page, Keys.SPACE)
    answer(page, "quiz-both")
    assert seen(page, "#quiz-both .hb-feedback").startswith("✓ Right.")


def test_changing_the_choice_takes_the_verdict_back(page: Any) -> None:
    answer(page, "quiz-icc", "A")
    tab_to(page, "#quiz-icc input:checked")
    press(page, Keys.ARROW_DOWN)
    assert seen(page, "#quiz-icc .hb-feedback") == ""
    assert seen(page, "#quiz-icc-a-why") == ""


def test_showing_the_answer_scores_nothing(page: Any) -> None:
    tab_to(page, "#quiz-icc .hb-show")
    press(page, Keys.ENTER)
    assert seen(page, "#quiz-icc-b-why") == "✓ B is right. Two hundred of a thousand."
    assert seen(page, ".hb-count") == "0 of 2 right on this page"
    assert stored(page) == {}


def test_a_screen_reader_hears_the_verdict_with_its_reason(page: Any) -> None:
    answer(page, "quiz-icc", "A")
    live = page.find_element(By.CSS_SELECTOR, "#quiz-icc [role=status][aria-live=polite]")
    assert "That is a ratio of variances, a<b>c." in live.get_attribute("textContent")
    described = page.find_element(By.ID, "quiz-icc-a").get_attribute("aria-describedby")
    assert described == "quiz-icc-a-why"


def test_answers_survive_a_reload_under_one_key_and_are_forgotten_on_reset(page: Any) -> None:
    answer(page, "quiz-icc", "B")
    tab_to(page, "#reflection-why textarea")
    press(page, "They", " are", " many.")
    assert list(stored(page)) == ["handbook-quiz"]
    page.refresh()
    assert seen(page, ".hb-count") == "1 of 2 right on this page"
    assert page.find_element(By.ID, "quiz-icc-b").is_selected()
    assert seen(page, "#quiz-icc .hb-feedback").startswith("✓ Right.")
    written = page.find_element(By.CSS_SELECTOR, "#reflection-why textarea")
    assert written.get_attribute("value") == "They are many."

    tab_to(page, ".hb-reset-page")
    press(page, Keys.ENTER)
    assert stored(page) == {}
    assert seen(page, ".hb-count") == "0 of 2 right on this page"
    assert seen(page, ".hb-score .hb-feedback") == "The answers of this page are forgotten."
    assert not page.find_elements(By.CSS_SELECTOR, "input:checked")
    page.refresh()
    assert seen(page, "#quiz-icc .hb-feedback") == ""


def test_resetting_the_page_keeps_other_pages_and_resetting_the_book_asks(page: Any) -> None:
    other = {"questions": {"elsewhere": {"choice": ["A"], "right": True}}}
    other |= {"reflections": {}, "exercises": {}}
    page.execute_script("localStorage['handbook-quiz'] = arguments[0]", json.dumps(other))
    page.refresh()
    answer(page, "quiz-icc", "B")
    tab_to(page, ".hb-reset-page")
    press(page, Keys.ENTER)
    assert json.loads(stored(page)["handbook-quiz"]) == other
    tab_to(page, ".hb-reset-book")
    press(page, Keys.ENTER)
    assert seen(page, ".hb-count-book").startswith(
        "This forgets what you answered in every chapter: "
        "1 question, 0 reflections and 0 exercises."
    )
    press(page, Keys.ENTER)  # the focus stands on the button that keeps them
    assert json.loads(stored(page)["handbook-quiz"]) == other
    assert page.switch_to.active_element.get_attribute("class") == "hb-reset-book"
    press(page, Keys.ENTER, Keys.TAB, Keys.ENTER)
    assert stored(page) == {}
    assert seen(page, ".hb-score .hb-feedback") == "All answers of the book are forgotten."
    press(page, Keys.ENTER)
    assert seen(page, ".hb-score .hb-feedback") == "No answers are kept yet."


@pytest.mark.parametrize("content", ["not json", "null", "[]", '{"questions": null}', '"text"'])
def test_unreadable_storage_does_not_stop_the_quiz(page: Any, content: str) -> None:
    page.execute_script("localStorage['handbook-quiz'] = arguments[0]", content)
    page.refresh()
    answer(page, "quiz-icc", "B")
    assert seen(page, ".hb-count") == "1 of 2 right on this page"


def test_focus_is_visible_on_every_control(page: Any) -> None:
    for selector in ("#quiz-icc input", "#quiz-icc .hb-check", "summary", "textarea"):
        tab_to(page, selector)
        width = page.execute_script(
            "const e = document.activeElement;"
            "return parseFloat(getComputedStyle(e.closest('.hb-option') ?? e).outlineWidth)"
        )
        assert width >= 2, selector


@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_overflows_the_page(page: Any, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    answer(page, "quiz-both", "A", "C")
    overflow = page.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert overflow == 0


def test_the_page_asks_nothing_of_the_network_and_logs_no_error(browser: Any, site: str) -> None:
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(f"{site}/index.html")
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    asked = [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert [url for url in asked if not url.startswith((site, "data:"))] == []
    assert browser.get_log("browser") == []


def test_without_script_the_answer_opens_from_a_fold(browser: Any, site: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{site}/index.html")
        assert not any(e.is_displayed() for e in browser.find_elements(By.CSS_SELECTOR, "input"))
        assert not any(e.is_displayed() for e in browser.find_elements(By.CSS_SELECTOR, "button"))
        assert seen(browser, "#quiz-icc .hb-options") == "A 0.25 B 0.20 C 0.80"
        assert seen(browser, "#quiz-icc-b-why") == ""
        browser.find_element(By.CSS_SELECTOR, "#quiz-icc .hb-answer summary").send_keys(Keys.ENTER)
        assert seen(browser, "#quiz-icc-a-why") == WHY_A
        assert seen(browser, "#quiz-icc-b-why") == "✓ B is right. Two hundred of a thousand."
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

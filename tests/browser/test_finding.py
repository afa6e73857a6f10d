"""Finding one's way: search, the list of sections, folds, and how much a page shows at first."""

from __future__ import annotations

import json
import re
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from test_pages import PAGES, set_view

FOLDED = "chapters/04-random-slopes.html"
LONG = "chapters/12-diagnostics.html"
# 3,800 since chapters have exercises and code that runs: chapter 8 has 3,711
MOST_ELEMENTS, MOST_SHIFT = 3800, 0.05
#: What was asked, and where the first answer leads: a definition, or the section that explains it.
ANSWERS = {
    "ICC": ["E-glossary.html#gls-intraclass-correlation"],
    "singular": ["E-glossary.html#gls-singular"],
    "Kenward": ["E-glossary.html#gls-kenward-roger-method"],
    "halve": [
        "01-whole-game.html#sec-wg-chance",
        "09-inference.html#sec-inf-variance",
    ],
    "nested": ["E-glossary.html#gls-nested-factor"],
    "missing values": ["C-dictionary.html#sec-di-defaults", "recipes.html#"],
    "sample size": ["E-glossary.html#gls-effective-sample-size", "recipes.html#sec-rec-size"],
    "LinAlgError": ["13-failed-fits.html#sec-ff-linalg", "recipes.html#sec-rec-singular"],
    "p-value": ["09-inference.html#", "recipes.html#", "E-glossary.html#gls-p-value"],
}
WATCH = """
window.shifted = 0;
new PerformanceObserver(list => {
  for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifted += e.value;
}).observe({type: "layout-shift", buffered: true});
"""
# characters that fit the width of each longer paragraph, by the mean width of its own
MEASURE = """
return [...document.querySelectorAll("main > p, main > section > p")]
  .filter(p => p.textContent.length > 300 && !p.querySelector("math, code"))
  .map(p => {
    const line = document.createElement("span");
    line.style.cssText = "white-space: nowrap; position: absolute; visibility: hidden";
    line.textContent = p.textContent;
    p.append(line);
    const mean = line.getBoundingClientRect().width / p.textContent.length * 2;
    line.remove();
    return p.clientWidth / mean;
  });
"""


def asked(browser: Any, words: str) -> list[str]:
    """Type the words into the open search; where the answers lead, once they are the words' own."""
    field = browser.find_element(By.ID, "search-field")
    field.clear()
    for letter in words:
        field.send_keys(letter)
    WebDriverWait(browser, 20).until(
        lambda d: d.execute_script(
            "return document.querySelector('.search-results').dataset.words === arguments[0]", words
        )
    )
    links = browser.find_elements(By.CSS_SELECTOR, ".search-results a")
    return [link.get_attribute("href") for link in links]


def opened(browser: Any, address: str) -> None:
    browser.get(address)
    browser.find_element(By.CSS_SELECTOR, ".search-button").click()


@pytest.mark.parametrize("protocol", ["http", "file"])
def test_search_answers_first_with_the_definition_or_the_section(
    browser: Any, serve: Any, book: Path, protocol: str
) -> None:
    """From a folder too, where a page may read no other file."""
    set_view(browser, 1440, "light")
    home = book / "index.html"
    opened(browser, f"{serve(book)}/index.html" if protocol == "http" else home.as_uri())
    for words, places in ANSWERS.items():
        first = asked(browser, words)[0]
        assert any(place in first for place in places), (words, first)


def test_answers_that_come_late_are_those_to_the_words_in_the_field(
    browser: Any, serve: Any, book: Path
) -> None:
    set_view(browser, 1440, "light")
    browser.get(f"{serve(book)}/index.html")
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    slow = {"offline": False, "latency": 1500, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
    try:
        browser.find_element(By.CSS_SELECTOR, ".search-button").click()
        first = asked(browser, "singular")[0]
        assert first.endswith("#gls-singular")
        time.sleep(1)  # nothing of an earlier letter comes after it
        links = browser.find_elements(By.CSS_SELECTOR, ".search-results a")
        assert links[0].get_attribute("href") == first
    finally:
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", {**slow, "latency": 0})


def test_the_index_names_sections_and_terms_alone(book: Path) -> None:
    (script,) = book.rglob("search-index.js")
    text = script.read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("window.handbookIndex=").rstrip(";\n"))
    titles = [entry["title"] for entry in index]
    assert not [t for t in titles if "#" in t or "Objectives" in t or "(optional)" in t]
    # a line of imports would be code; "from" is a word of prose too
    assert not [e["title"] for e in index if re.search(r"from \w+ import|import \w+ as", e["text"])]
    assert {entry["kind"] for entry in index} == {"section", "aside", "term"}


def test_the_list_of_sections_follows_the_reader(browser: Any, serve: Any, book: Path) -> None:
    set_view(browser, 1440, "light")
    browser.get(f"{serve(book)}/{LONG}")
    for share in (0.3, 0.6, 0.95):
        browser.execute_script(
            "scrollTo({top: arguments[0] * document.documentElement.scrollHeight,"
            " behavior: 'instant'})",
            share,
        )
        time.sleep(0.3)
        inside = browser.execute_script(
            "const at = document.querySelector('.toc a[aria-current]').getBoundingClientRect();"
            "const list = document.querySelector('.toc').getBoundingClientRect();"
            "return at.top >= list.top && at.bottom <= Math.min(list.bottom, innerHeight)"
        )
        assert inside, share


@pytest.mark.parametrize("width", [390, 820])
def test_a_narrow_page_lists_its_sections_under_the_title_and_in_the_drawer(
    browser: Any, serve: Any, book: Path, width: int
) -> None:
    set_view(browser, width, "light")
    browser.get(f"{serve(book)}/{LONG}")
    assert not browser.find_element(By.CSS_SELECTOR, "aside.toc").is_displayed()
    browser.find_element(By.CSS_SELECTOR, ".page-toc summary").click()
    found = WebDriverWait(browser, 5).until(
        lambda d: d.find_elements(By.CSS_SELECTOR, ".page-toc ol a")
    )
    assert len(found) > 10 and found[-1].is_displayed()
    found[-1].send_keys(Keys.ENTER)
    heading = found[-1].get_attribute("hash")[1:]
    WebDriverWait(browser, 5).until(
        lambda d: d.execute_script(
            "return Math.abs(document.getElementById(arguments[0]).getBoundingClientRect().top)"
            " < innerHeight",
            heading,
        )
    )
    menu = browser.find_element(By.CSS_SELECTOR, ".menu-button")
    if menu.is_displayed():
        menu.click()
        drawer = browser.find_elements(By.CSS_SELECTOR, ".book-nav .sections a")
        assert len(drawer) == len(found) and drawer[0].is_displayed()
        drawer[0].send_keys(Keys.ENTER)
        assert not browser.find_element(By.ID, "book-nav").is_displayed()


def test_no_page_shows_more_than_it_must_or_moves_while_it_loads(
    browser: Any, serve: Any, book: Path
) -> None:
    set_view(browser, 390, "light")
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    try:
        for page in PAGES:
            browser.get(f"{serve(book)}/{page}")
            elements = browser.execute_script("return document.querySelectorAll('*').length")
            assert elements <= MOST_ELEMENTS, page
            height = browser.execute_script("return document.documentElement.scrollHeight")
            for top in range(0, height, 3000):
                browser.execute_script(f"scrollTo({{top: {top}, behavior: 'instant'}})")
            assert browser.execute_script("return window.shifted") < MOST_SHIFT, page
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.mark.parametrize("page", PAGES)
def test_all_pictures_but_the_first_come_when_they_are_about_to_be_seen(
    book: Path, page: str
) -> None:
    pictures = re.findall(r"<img [^>]*>", (book / page).read_text(encoding="utf-8"))
    assert all('loading="lazy"' in picture for picture in pictures[1:])
    assert all(' width="' in p and ' height="' in p for p in pictures if ".svg" in p)


def test_a_line_of_text_has_65_to_75_characters(browser: Any, serve: Any, book: Path) -> None:
    set_view(browser, 1440, "light")
    browser.get(f"{serve(book)}/{LONG}")
    browser.execute_async_script("document.fonts.ready.then(arguments[arguments.length - 1])")
    assert 65 <= statistics.median(browser.execute_script(MEASURE)) <= 75


def test_a_fold_holds_its_tables_when_it_is_opened_and_when_a_link_leads_there(
    browser: Any, serve: Any, book: Path
) -> None:
    set_view(browser, 1440, "light")
    address = f"{serve(book)}/{FOLDED}"
    browser.get(address)
    assert not browser.find_elements(By.CSS_SELECTOR, ".hb-proof table")
    fold = browser.find_element(By.CSS_SELECTOR, ".hb-proof")
    held = fold.find_element(By.CSS_SELECTOR, "noscript").get_attribute("textContent")
    browser.execute_script("arguments[0].open = true", fold)
    WebDriverWait(browser, 5).until(
        lambda d: fold.find_elements(By.CSS_SELECTOR, "table, div.sourceCode .copy")
    )
    assert not fold.find_elements(By.CSS_SELECTOR, "noscript")
    named = re.search(r'id="([\w-]+)"', held)
    if named:
        browser.get(f"{address}?again#{named[1]}")
        WebDriverWait(browser, 5).until(lambda d: d.find_element(By.ID, named[1]).is_displayed())


def test_without_script_every_fold_opens_by_itself(browser: Any, serve: Any, book: Path) -> None:
    set_view(browser, 1440, "light")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{serve(book)}/{FOLDED}")
        for fold in (".hb-proof", ".code-fold", ".hb-answer"):
            found = browser.find_element(By.CSS_SELECTOR, fold)
            found.find_element(By.CSS_SELECTOR, "summary").send_keys(Keys.ENTER)
            inner = found.find_elements(By.CSS_SELECTOR, "table, pre, p, div")
            assert any(element.is_displayed() for element in inner), fold
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", [390, 1440])
def test_a_letter_leads_to_its_first_term(browser: Any, serve: Any, book: Path, width: int) -> None:
    set_view(browser, width, "light")
    browser.get(f"{serve(book)}/chapters/E-glossary.html")
    letters = browser.find_elements(By.CSS_SELECTOR, ".hb-letters > *")
    assert "".join(letter.text for letter in letters) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    browser.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
    browser.find_element(By.LINK_TEXT, "R").click()
    place = browser.execute_script(
        "const bar = document.querySelector('.hb-letters').getBoundingClientRect();"
        "const term = document.querySelector(':target').getBoundingClientRect();"
        "return [term.top - bar.bottom, term.top]"
    )
    assert 0 <= place[0] < 120 and place[1] < 400

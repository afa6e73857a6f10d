"""The finished pages in a real browser, as a reader opens them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from offline_render.book import load_project

ROOT = Path(__file__).resolve().parents[2]
PAGES = [c.href for c in load_project(ROOT).chapters]
WIDTHS = [360, 768, 1440]
SCHEMES = ["light", "dark"]


def set_view(browser, width: int, scheme: str) -> None:  # type: ignore[no-untyped-def]
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )


@pytest.mark.parametrize("page", PAGES)
def test_page_loads_whole_and_quietly(browser, serve, book: Path, page: str) -> None:  # type: ignore[no-untyped-def]
    site = serve(book)
    set_view(browser, 1440, "light")
    browser.get_log("browser")
    browser.get(f"{site}/{page}")
    browser.execute_script(
        "document.querySelectorAll('img').forEach(i => { i.loading = 'eager'; })"
    )
    WebDriverWait(browser, 20).until(
        lambda d: d.execute_script("return [...document.images].every(i => i.complete)")
    )
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
    broken = browser.execute_script(
        "return [...document.images].filter(i => !i.naturalWidth).map(i => i.src)"
    )
    assert broken == []
    assert browser.execute_script("return [...document.images].every(i => i.alt.length > 20)")
    origins = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => new URL(e.name).origin)"
    )
    assert {o for o in origins if o != "null"} <= {site.rstrip("/")}
    source = browser.page_source
    if "<math" in source:
        boxes = browser.execute_script(
            "return [...document.querySelectorAll('main math')]"
            ".filter(m => m.checkVisibility()).map(m => m.getBoundingClientRect().width)"
        )
        assert all(width > 0 for width in boxes)
    assert "??" not in browser.find_element(By.TAG_NAME, "main").text


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_scrolls_sideways(browser, serve, book: Path, width: int) -> None:  # type: ignore[no-untyped-def]
    """In one scheme: the other has other colours and nothing else (`test_accessibility`)."""
    site = serve(book)
    set_view(browser, width, "light")
    for page in PAGES:
        browser.get(f"{site}/{page}")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page


def test_search_finds_and_follows_with_keys_alone(browser, serve, book: Path) -> None:  # type: ignore[no-untyped-def]
    set_view(browser, 1440, "light")
    start = f"{serve(book)}/index.html"

    def search() -> None:
        browser.get(start)
        ActionChains(browser).send_keys("/", "intraclass").perform()
        WebDriverWait(browser, 20).until(
            lambda d: (
                "intraclass" in d.find_element(By.CSS_SELECTOR, ".search-results").text.lower()
            )
        )

        def settled(d) -> bool:  # type: ignore[no-untyped-def]
            """Results come while words are typed; the last ones stay."""
            found = d.find_element(By.CSS_SELECTOR, ".search-results")
            before = found.get_attribute("innerHTML")
            time.sleep(1)
            return before == found.get_attribute("innerHTML")

        WebDriverWait(browser, 20).until(settled)

    def arrive(press: str) -> str:
        ActionChains(browser).send_keys(press).perform()
        WebDriverWait(browser, 20).until(lambda d: d.current_url != start)
        return str(browser.current_url)

    search()
    # pages of equal rank come in any order, and a stem may be all that a page has of the word
    wanted = browser.find_element(By.CSS_SELECTOR, ".search-results li a").get_attribute("href")
    first = arrive(Keys.ENTER)  # in the field: the first result
    assert first == wanted
    search()
    for _ in range(10):  # by Tab to the second result
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.execute_script(
            "return document.activeElement.closest('.search-results li:nth-child(2)') !== null"
        ):
            break
    assert arrive(Keys.ENTER) != first
    search()
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not browser.find_element(By.CSS_SELECTOR, "dialog.search").is_displayed()


def test_theme_button_switches_and_the_choice_stays(browser, serve, book: Path) -> None:  # type: ignore[no-untyped-def]
    set_view(browser, 1440, "light")
    browser.get(f"{serve(book)}/index.html")
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(colour)
    browser.find_element(By.CSS_SELECTOR, ".theme-button").click()
    dark = browser.execute_script(colour)
    assert dark != light
    browser.refresh()
    assert browser.execute_script(colour) == dark
    browser.execute_script("localStorage.removeItem('handbook-theme')")


def test_menu_opens_on_a_phone_and_closes_with_escape(browser, serve, book: Path) -> None:  # type: ignore[no-untyped-def]
    set_view(browser, 360, "light")
    browser.get(f"{serve(book)}/index.html")
    nav = browser.find_element(By.ID, "book-nav")
    assert not nav.is_displayed()
    browser.find_element(By.CSS_SELECTOR, ".menu-button").click()
    assert nav.is_displayed()
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not nav.is_displayed()


def test_pages_stay_near_a_megabyte_without_figures(book: Path) -> None:
    """The page with every font, script and style that it may load on the way."""
    shared = sum(path.stat().st_size for path in (book / "site_libs").iterdir())
    for page in PAGES:
        # 390 kB of it are the typeface of formulas; chapter 12 with its exercises has 1.017 MB
        assert (book / page).stat().st_size + shared < 1_050_000, page


def test_a_reference_shows_what_it_leads_to(browser, serve, book: Path) -> None:  # type: ignore[no-untyped-def]
    set_view(browser, 1440, "light")
    browser.get(f"{serve(book)}/chapters/11-prediction.html")
    body = browser.find_element(By.TAG_NAME, "body")
    brand = browser.find_element(By.CSS_SELECTOR, ".brand")
    for there, words in [
        ("#fig-pred-", "Figure 11."),
        ("#eq-pred-", "(11."),
        ("#gls-precision", "One over a variance"),
        ("#ref-", "19"),
        ("03-random-intercept.html#sec-", "random-intercept"),
    ]:
        link = browser.find_element(By.CSS_SELECTOR, f"main a[href*='{there}']")
        browser.execute_script(
            "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", link
        )
        ActionChains(browser).move_to_element(link).perform()
        box = browser.find_element(By.CSS_SELECTOR, ".preview")
        WebDriverWait(browser, 10).until(lambda _, box=box: box.is_displayed())
        assert words in box.text, (there, box.text)
        assert not box.find_elements(By.CSS_SELECTOR, "[id]")
        body.send_keys(Keys.ESCAPE)
        assert not box.is_displayed()
        ActionChains(browser).move_to_element(brand).perform()

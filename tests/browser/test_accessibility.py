"""axe-core finds nothing to mend on any page, light or dark, at any width."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_pages import PAGES, ROOT, SCHEMES, WIDTHS, set_view

AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
RUN = """
const done = arguments[arguments.length - 1];
const only = arguments[0].length ? {runOnly: {type: "rule", values: arguments[0]}} : {};
axe.run(document, {resultTypes: ["violations"], ...only}).then(
  found => done(found.violations.map(v => [v.id, v.help, v.nodes.map(n => n.target.join(" "))])),
  error => done([["axe", String(error), []]]));
"""


def violations(browser: Any, *rules: str) -> Any:
    """What axe finds by the named rules, or by all."""
    browser.set_script_timeout(120)
    return browser.execute_async_script(RUN, rules)


@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_violation(browser: Any, serve: Any, book: Path, page: str) -> None:
    browser.get(f"{serve(book)}/{page}")
    # Answers and model answers are read too: open what is folded.
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    browser.execute_script("document.querySelectorAll('.hb-show').forEach(b => b.click())")
    browser.execute_script(AXE)
    for width in WIDTHS:
        set_view(browser, width, "light")
        assert violations(browser) == [], width
        # the other scheme has other colours and nothing else, as a test below says
        set_view(browser, width, "dark")
        assert violations(browser, "color-contrast") == [], (width, "dark")


def test_the_dark_scheme_changes_colours_alone() -> None:
    sheets = (
        ROOT / "offline_render" / "render" / "assets" / "style.css",
        ROOT / "_extensions" / "handbook" / "quiz.css",
    )
    for sheet in sheets:
        css = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.S)
        css = css.partition("@media print")[0]
        blocks = re.findall(r"([^{};]*(?:\{[^{};]*)?)\{([^{}]*)\}", css)
        dark = [rules for selector, rules in blocks if "dark" in selector]
        assert dark and css.count("color-scheme: dark)") <= len(dark)
        for name, value in re.findall(r"([\w-]+):([^;]+)", ";".join(dark)):
            assert re.fullmatch("#[0-9a-f]{3,6}", value.strip()) or name in {
                "color-scheme", "--figure-filter", "--figure-blend",
            }, name  # fmt: skip
        geometry = re.findall(r"light-dark\(((?:[^()]|\([^()]*\))*)\)", css)
        assert all(re.fullmatch("#[0-9a-f]{3,6}, #[0-9a-f]{3,6}", pair) for pair in geometry)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_violation_in_answers_menu_and_search(
    browser: Any, serve: Any, book: Path, scheme: str
) -> None:
    set_view(browser, 360, scheme)
    browser.get(f"{serve(book)}/chapters/A-assessment.html")
    browser.execute_script(AXE)
    for right in ("true", "false"):
        browser.execute_script(
            """
            for (const quiz of document.querySelectorAll(".hb-quiz")) {
              quiz.querySelector(`[data-hb-right="${arguments[0]}"] input`).click();
              quiz.querySelector(".hb-check").click();
            }
            """,
            right,
        )
        assert violations(browser) == [], right
    browser.execute_script("localStorage.clear()")
    for opener in (".menu-button", ".search-button"):
        browser.find_element(By.CSS_SELECTOR, opener).click()
        assert violations(browser) == [], opener
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)


def test_axe_sees_what_it_is_there_for(browser: Any, serve: Any, tmp_path: Path) -> None:
    page = '<!doctype html><html lang="en"><title>t</title><main><h1>t</h1><img src="x">'
    page += '<p style="color: #777; background: #888">faint</p></main>'
    (tmp_path / "bad.html").write_text(page, encoding="utf-8")
    browser.get(f"{serve(tmp_path)}/bad.html")
    browser.execute_script(AXE)
    assert {"image-alt", "color-contrast"} <= {v[0] for v in violations(browser)}
    assert [v[0] for v in violations(browser, "color-contrast")] == ["color-contrast"]

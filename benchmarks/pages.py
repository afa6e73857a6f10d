"""How soon each page of the finished book answers a reader on a slow phone.

`make handbook` first. Every page is opened in Chromium at the width of a phone, its processor
slowed four times, with an empty cache, from a server on this machine. Printed are, per page:

- elements, when the page has loaded and nothing has been opened;
- first paint, and interactive: when the page's scripts have run and no task longer than 50 ms runs
  any more (those that begin within a second of quiet count);
- blocked: milliseconds of such tasks beyond 50 ms each;
- layout shift, over the load and a scroll through the page.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from selenium import webdriver

ROOT = Path(__file__).resolve().parents[1]
GOALS = {"elements": 3500, "interactive": 1500, "shift": 0.05}
WATCH = """
window.watched = {tasks: [], shift: 0};
const watch = (type, see) => new PerformanceObserver(
  list => list.getEntries().forEach(see)).observe({type, buffered: true});
watch("longtask", e => watched.tasks.push([e.startTime, e.duration]));
watch("layout-shift", e => { if (!e.hadRecentInput) watched.shift += e.value; });
"""
READ = """
const page = performance.getEntriesByType("navigation")[0];
const paint = performance.getEntriesByName("first-contentful-paint")[0];
return {ready: page.domContentLoadedEventEnd, paint: paint ? paint.startTime : 0,
        elements: document.querySelectorAll("*").length, now: performance.now(), ...watched};
"""


class Quiet(SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Leave the table alone."""


def serve(folder: Path) -> str:
    """Serve a folder on this machine; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def chromium(profile: str) -> webdriver.Chrome:
    """Headless Chromium that asks nothing of the network."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "/usr/bin/chromium"
    for flag in ("--headless", "--disable-gpu", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", f"--user-data-dir={profile}"):  # fmt: skip
        options.add_argument(flag)
    if os.geteuid() == 0:  # Chromium refuses its sandbox to root
        options.add_argument("--no-sandbox")
    driver = shutil.which("chromedriver") or "/usr/bin/chromedriver"
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def opened(browser: webdriver.Chrome, address: str) -> dict[str, float]:
    """What one load of a page took."""
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    browser.get(address)
    while True:  # a second without a long task
        time.sleep(1)
        seen: dict[str, Any] = browser.execute_script(READ)
        ends = [start + length for start, length in seen["tasks"]]
        if seen["now"] - max([seen["ready"], *ends]) > 1000:
            break
    height = browser.execute_script("return document.documentElement.scrollHeight")
    for top in range(0, height, 2000):
        browser.execute_script("window.scrollTo({top: arguments[0], behavior: 'instant'})", top)
        time.sleep(0.02)
    return {
        "elements": seen["elements"],
        "paint": seen["paint"],
        "interactive": max([seen["ready"], *ends]),
        "blocked": sum(length - 50 for _, length in seen["tasks"]),
        "shift": browser.execute_script("return watched.shift"),
    }


def main() -> int:
    """Measure and print; 1 where a page misses a goal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--book", type=Path, default=ROOT / "_book", help="the finished book")
    parser.add_argument("--slower", type=float, default=4, help="how many times slower (4)")
    parser.add_argument("--runs", type=int, default=3, help="loads of each page; the median counts")
    parser.add_argument("pages", nargs="*", help="pages, such as chapters/04-random-slopes.html")
    told = parser.parse_args()
    pages = told.pages or [
        path.relative_to(told.book).as_posix()
        for path in [told.book / "index.html", *sorted((told.book / "chapters").glob("*.html"))]
    ]
    site, missed = serve(told.book), 0
    print(f"{'page':<36}{'elements':>9}{'paint ms':>9}{'interactive ms':>15}", end="")
    print(f"{'blocked ms':>11}{'shift':>7}   processor {told.slower:g} times slower")
    with tempfile.TemporaryDirectory() as profile:
        browser = chromium(profile)
        try:
            browser.execute_cdp_cmd("Network.enable", {})
            browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
            )
            browser.get(f"{site}/{pages[0]}")  # the browser's own start
            browser.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": told.slower})
            for page in pages:
                runs = [opened(browser, f"{site}/{page}") for _ in range(told.runs)]
                middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
                over = [name for name, most in GOALS.items() if middle[name] > most]
                missed += bool(over)
                print(
                    f"{page.removeprefix('chapters/'):<36}{middle['elements']:>9.0f}"
                    f"{middle['paint']:>9.0f}{middle['interactive']:>15.0f}"
                    f"{middle['blocked']:>11.0f}{middle['shift']:>7.3f}   {', '.join(over)}"
                )
        finally:
            browser.quit()
    print("goals: " + ", ".join(f"{name} at most {most:g}" for name, most in GOALS.items()))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

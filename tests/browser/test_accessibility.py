"""axe-core finds nothing to mend on any page, light or dark, on a phone or a desk."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from test_pages import PAGES, set_view

AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  found => done(found.violations.map(v => [v.id, v.help, v.nodes.map(n => n.target.join(" "))])),
  error => done([["axe", String(error), []]]));
"""


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1440, "light"), (1440, "dark")])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_violation(
    browser: Any, serve: Any, book: Path, page: str, width: int, scheme: str
) -> None:
    set_view(browser, width, scheme)
    browser.get(f"{serve(book)}/{page}")
    # Answers and model answers are read too: open what is folded.
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    browser.execute_script(AXE)
    browser.set_script_timeout(120)
    violations = browser.execute_async_script(RUN)
    assert violations == []


def test_axe_sees_what_it_is_there_for(browser: Any, serve: Any, tmp_path: Path) -> None:
    page = '<!doctype html><html lang="en"><title>t</title><main><h1>t</h1><img src="x"></main>'
    (tmp_path / "bad.html").write_text(page, encoding="utf-8")
    browser.get(f"{serve(tmp_path)}/bad.html")
    browser.execute_script(AXE)
    browser.set_script_timeout(60)
    assert "image-alt" in [v[0] for v in browser.execute_async_script(RUN)]

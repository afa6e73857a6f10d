"""How long a page is, for the test of the main path and for whoever writes a chapter.

    PYTHONPATH=. python tests/book/length.py chapters/05-contextual-effects.qmd

runs that document's cells, if they aren't kept, and prints the words of its sections.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from bs4 import BeautifulSoup, Tag

#: What a reader may leave out: folds, parts for some readers, and work that is set, not read.
ASIDE = "details, .optional, .exercise, .reflection"
#: Built words of a main path, code and tables included.
MOST = 5_000
#: Words a minute, of a reader who looks at the tables and follows the code.
PACE = 200


@dataclass(frozen=True)
class Length:
    """Built words of a page: the main path, all that is shown, and each section's main path."""

    main: int
    shown: int
    sections: dict[str, int]

    @property
    def minutes(self) -> int:
        """Reading time of the main path, in steps of five minutes."""
        return max(5, 5 * round(self.main / PACE / 5))


def length(page: str) -> Length:
    """Count the words between the title of a page and its links to other pages."""
    soup = BeautifulSoup(page, "html.parser")
    content = soup.find("main") or soup
    for aside in content.select("nav, script, style, .hb-downloads, a.anchor"):
        aside.decompose()
    shown = _words(content)
    for aside in content.select(ASIDE):
        if not aside.decomposed:
            aside.decompose()
    sections: dict[str, int] = {}
    for heading in content.find_all("h2"):
        count = _words(heading)
        for block in heading.find_next_siblings():
            if block.name == "h2":
                break
            count += _words(block)
        sections[" ".join(heading.get_text(" ").split())] = count
    return Length(_words(content), shown, sections)


def _words(tag: Tag) -> int:
    return len(tag.get_text(" ").split())


def page_of(root: Path, source: str) -> str:
    """One document's page, from its cells' kept or new results."""
    from offline_render.book import load_project, split
    from offline_render.render import building, crossref, pandoc, webpages
    from offline_render.render.assemble import assemble
    from offline_render.run import Reporter, run_cells

    project = load_project(root)
    sources = {c.source: split(c.path) for c in project.chapters}
    engine = pandoc.Pandoc(project.work / "pandoc")
    chapter = next(c for c in project.chapters if c.source == source)
    outputs = run_cells(project, sources, Reporter(1), wanted=[source])
    tree = engine.read(assemble(chapter, sources[source], outputs[source]).markdown)
    document = crossref.number(chapter, tree, {})
    _, targets = crossref.numbered(project, sources, engine)
    crossref.resolve(document, targets, building.bibliography_keys(project, engine))
    return webpages.page_body(project, document, engine, building.find_filter(project))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        found = length(page_of(Path(__file__).parents[2], name))
        for title, count in found.sections.items():
            print(f"{count:6,}  {title}")
        print(
            f"{found.main:6,}  main path, {found.minutes} minutes, of {found.shown:,} words: {name}"
        )

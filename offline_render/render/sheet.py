"""The cheat sheet: two pages to print, set in the design of the book."""

from __future__ import annotations

from pathlib import Path

import typst

from ..book import BuildError, Project
from . import fonts
from .paper import edition
from .pdf import design

SOURCE = "chapters/cheat-sheet.typ"
CHART = "chapters/drawings/choosing.svg"
SHEET = "cheat-sheet.pdf"


def write_sheet(project: Project, out: Path) -> list[Path]:
    """Compile the sheet into the site `out`; nothing in a book without one.

    Raises
    ------
    BuildError
        With Typst's message where it refuses the sheet.
    """
    source = project.root / SOURCE
    if not source.is_file():
        return []
    root = project.work / "sheet"
    root.mkdir(parents=True, exist_ok=True)
    chart = project.root / CHART
    (root / chart.name).write_bytes(chart.read_bytes())
    main = root / "sheet.typ"
    text = source.read_text(encoding="utf-8")
    main.write_text(design("look.typ") + text, encoding="utf-8")
    try:
        data = typst.compile(
            str(main),
            root=str(root),
            # a folder of its own: the book's PDF fills another at the same time
            font_paths=[str(fonts.pdf_font_folder(root / "fonts"))],
            ignore_system_fonts=True,
            pdf_standards=["ua-1"],
            sys_inputs={
                "title": project.title, "author": project.author, "edition": edition(project),
            },
        )  # fmt: skip
    except Exception as error:
        hints = "\n".join(getattr(error, "hints", []) or [])
        raise BuildError(f"Typst refuses the cheat sheet: {error}", source, None, hints) from None
    target = out / SHEET
    target.write_bytes(data)
    return [target]

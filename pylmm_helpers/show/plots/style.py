"""The look of the handbook's figures."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def use_style() -> None:
    """Draw figures as the handbook does: white ground, colour-blind-safe colours, the book's font
    where installed.

    Affects the figures made afterwards. For SVG files that are the same byte for
    byte each time, save with ``metadata={"Date": None}``.
    """
    from matplotlib import font_manager, style

    style.use(Path(__file__).with_name("handbook.mplstyle"))
    found = find_spec("font_source_sans_pro")
    known = {f.name for f in font_manager.fontManager.ttflist}
    if found is not None and found.submodule_search_locations and "Source Sans Pro" not in known:
        folder = Path(next(iter(found.submodule_search_locations))) / "files"
        for face in ("Regular", "It", "Semibold"):
            font_manager.fontManager.addfont(folder / f"SourceSansPro-{face}.ttf")

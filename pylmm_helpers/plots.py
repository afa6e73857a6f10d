"""Figures for mixed models. Each takes a fit (or a helper's result) and an Axes, and returns the
Axes.

Nothing is fitted here, and nothing is styled unless `use_style` was called.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pylmm_helpers._plots_groups import caterpillar, shrinkage, spaghetti
from pylmm_helpers._plots_model import boxcox, profile_zeta, residual_fitted
from pylmm_helpers._plots_qq import qq
from pylmm_helpers._qq_band import qq_band

__all__ = [
    "boxcox",
    "caterpillar",
    "profile_zeta",
    "qq",
    "qq_band",
    "residual_fitted",
    "shrinkage",
    "spaghetti",
    "use_style",
]


def use_style() -> None:
    """Draw figures as the handbook does: white ground, colour-blind-safe colours, the book's font
    where installed.

    Affects the figures made afterwards. For SVG files that are the same byte for
    byte each time, save with ``metadata={"Date": None}``.
    """
    import matplotlib as mpl
    from matplotlib import font_manager

    mpl.style.use(Path(__file__).with_name("handbook.mplstyle"))
    found = find_spec("font_source_sans_pro")
    known = {f.name for f in font_manager.fontManager.ttflist}
    if found is not None and found.submodule_search_locations and "Source Sans Pro" not in known:
        folder = Path(next(iter(found.submodule_search_locations))) / "files"
        for face in ("Regular", "It", "Semibold"):
            font_manager.fontManager.addfont(folder / f"SourceSansPro-{face}.ttf")

"""Documents and the results of their cells come in; pages, paper and downloads go out."""

from __future__ import annotations

from .assemble import prose_with_values
from .building import build, install, recover, write_beside
from .crossref import Target, numbered
from .downloads import offered, write_downloads
from .fonts import pdf_font_folder, write_web_fonts
from .formulas import formula_code, quoted, tidy_mathml
from .pandoc import Node, Pandoc
from .paper import WIDE_TABLE, WORDY_COLUMN, edition
from .pdf import design, typst_formulas
from .quizzes import SHEETS
from .searching import UNSEARCHED
from .sheet import SHEET
from .site import ASSETS

__all__ = [
    "ASSETS",
    "SHEET",
    "SHEETS",
    "UNSEARCHED",
    "WIDE_TABLE",
    "WORDY_COLUMN",
    "Node",
    "Pandoc",
    "Target",
    "build",
    "design",
    "edition",
    "formula_code",
    "install",
    "numbered",
    "offered",
    "pdf_font_folder",
    "prose_with_values",
    "quoted",
    "recover",
    "tidy_mathml",
    "typst_formulas",
    "write_beside",
    "write_downloads",
    "write_web_fonts",
]

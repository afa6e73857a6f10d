"""The path through a real Quarto, tried with a program that behaves as Quarto does."""

from __future__ import annotations

from pathlib import Path

import pytest
from minibook import write

from offline_render.errors import BuildError
from offline_render.native import render

GOOD = '#!/bin/sh\nmkdir -p "$3"\necho new > "$3/index.html"\necho new > "$3/book.pdf"\n'
FAILING = '#!/bin/sh\nmkdir -p "$3"\necho half > "$3/index.html"\nexit 1\n'
WITHOUT_PDF = '#!/bin/sh\nmkdir -p "$3"\necho new > "$3/index.html"\n'


def program(folder: Path, text: str) -> Path:
    path = folder / "quarto"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_whole_render_replaces_the_book(tmp_path: Path) -> None:
    root = write(tmp_path / "book")
    out = render(root, program(tmp_path, GOOD))
    assert (out / "index.html").read_text() == "new\n"


@pytest.mark.parametrize("text", [FAILING, WITHOUT_PDF])
def test_a_render_that_fails_or_lacks_the_pdf_leaves_the_last_good_book(
    tmp_path: Path, text: str
) -> None:
    root = write(tmp_path / "book")
    render(root, program(tmp_path, GOOD))
    with pytest.raises(BuildError):
        render(root, program(tmp_path, text))
    assert (root / "_book" / "index.html").read_text() == "new\n"

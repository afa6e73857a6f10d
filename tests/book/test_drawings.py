"""The drawings that open the chapters are what their script draws, and each has its place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cells import CHAPTERS

FOLDER = CHAPTERS / "drawings"
CODE = """
import json, sys
sys.path.insert(0, {folder!r})
import draw
json.dump(draw.draw_all(), sys.stdout)
"""


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    import json

    done = subprocess.run(
        [sys.executable, "-c", CODE.format(folder=str(FOLDER))],
        capture_output=True, text=True, check=True, cwd=CHAPTERS.parent,
        env={**os.environ, "PYTHONPATH": str(CHAPTERS.parent)},
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def test_committed_drawings_are_what_the_script_draws(drawn: dict[str, str]) -> None:
    kept = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")}
    assert set(kept) == set(drawn)
    for name, svg in drawn.items():
        assert numbers(kept[name]) == pytest.approx(numbers(svg), abs=1e-3), name


def numbers(svg: str) -> list[float]:
    """Coordinates of a drawing, which may differ in the last digit between processors."""
    return [float(x) for x in re.findall(r"-?\d+\.\d+", svg)]


def test_each_drawing_stands_in_one_document() -> None:
    # the template borrows one
    documents = CHAPTERS.glob("[!_]*.qmd")
    text = "".join(path.read_text(encoding="utf-8") for path in documents)
    text += (CHAPTERS.parent / "index.qmd").read_text(encoding="utf-8")
    used = re.findall(r"drawings/([\w-]+)\.svg", text)
    assert sorted(used) == sorted(path.stem for path in FOLDER.glob("*.svg"))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.svg")), ids=lambda p: p.stem)
def test_a_drawing_is_plain_and_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 100_000
    assert "<image" not in text and "<script" not in text

"""The section "Python and R side by side" of a chapter: each side runs as it stands.

python, r = blocks("04-random-slopes")
names = run_python(python)
fixed, variance = run_r(r, "fixef(fit)", "sigma(fit)^2")
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
from cells import CHAPTERS

HEADING = "## Python and R side by side"
MARK = "the test asks:"
needs_r = pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")


def blocks(chapter: str) -> tuple[str, str]:
    """The Python and the R code of the section."""
    source = (CHAPTERS / f"{chapter}.qmd").read_text(encoding="utf-8")
    _, found, section = source.partition(f"\n{HEADING}")
    assert found, f"{chapter} has no section {HEADING!r}"
    section = section.partition("\n## ")[0]
    python, r = ("\n".join(re.findall(rf"```{lang}\n(.*?)```", section, flags=re.S))
                 for lang in ("python", "r"))  # fmt: skip
    assert python and r
    return python, r


def run_python(code: str) -> dict[str, Any]:
    """The names that the code leaves behind, run alone."""
    import matplotlib.pyplot

    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    exec(compile(code, "side by side", "exec"), names)
    matplotlib.pyplot.close("all")
    return names


def run_r(code: str, *asked: str) -> list[list[float]]:
    """The numbers of each R expression after the code has run alone in the book's folder."""
    questions = [f'cat("\\n{MARK}", format(unlist({e}), digits = 12), "\\n")' for e in asked]
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", "\n".join([code, *questions])],
        capture_output=True, text=True, cwd=CHAPTERS.parent, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    return [[float(x) for x in line.removeprefix(MARK).split()] for line in lines]

"""Build the book with a real Quarto, under the same promise: ``_book/`` changes only as a whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .build import install, only_one, recover
from .errors import BuildError
from .project import load_project


def render(root: Path, quarto: Path) -> Path:
    """Render the book with ``quarto`` and put it in place.

    Parameters
    ----------
    root : Path
        Folder with ``_quarto.yml``.
    quarto : Path
        The Quarto program, version 1.9 or newer.

    Returns
    -------
    Path
        The folder of the finished book.

    Raises
    ------
    BuildError
        If Quarto stops; its own messages stand above, and the last good book stays in place.
    """
    project = load_project(root)
    with only_one(project):
        recover(project)
        staging = project.work / "book"
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(project.work / "agreement", ignore_errors=True)
        done = subprocess.run(
            [str(quarto), "render", "--output-dir", str(staging.relative_to(root))],
            cwd=root,
            env={**os.environ, "QUARTO_PYTHON": sys.executable},
        )
        if done.returncode or not (staging / "index.html").exists():
            raise BuildError(f"quarto render stopped with exit code {done.returncode}")
        if not list(staging.glob("*.pdf")):
            raise BuildError("quarto render wrote no PDF; see its messages above")
        install(project, staging)
    return project.output

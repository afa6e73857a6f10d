"""Build the book with a real Quarto, under the same promise: ``_book/`` changes only as a whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ..book import HELD, BuildError, load_project, only_one
from ..render import SHEET, SHEETS, install, recover

LOG = "quarto.log"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


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
        If Quarto stops or writes no PDF, with what it said last; the last good book stays.
    """
    project = load_project(root)
    with only_one(project):
        recover(project)
        staging = project.work / "book"
        shutil.rmtree(staging, ignore_errors=True)
        code, said = run(
            [str(quarto), "render", "--output-dir", str(staging.relative_to(root))],
            root,
            project.work / LOG,
        )
        if code or not (staging / "index.html").exists():
            raise BuildError(f"quarto render stopped with exit code {code}: {reason(said)}")
        if not {path.name for path in staging.glob("*.pdf")} - {SHEET, *SHEETS}:
            raise BuildError(f"quarto render wrote no PDF: {reason(said)}")
        install(project, staging)
    return project.output


def run(command: list[str], root: Path, log: Path) -> tuple[int, str]:
    """Run Quarto, its words on the terminal and in ``log``; exit code and words."""
    environment = {**os.environ, "QUARTO_PYTHON": sys.executable, HELD: str(root)}
    # Quarto renders with a data folder of its own, but looks for headings with the user's; pandoc
    # takes ~/.pandoc where this one lacks the folder "pandoc"
    data = log.with_name("pandoc-home")
    (data / "pandoc").mkdir(parents=True, exist_ok=True)
    environment["XDG_DATA_HOME"] = str(data)
    said = []
    try:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except OSError as error:
        return 127, str(error)
    with process, log.open("w", encoding="utf-8") as kept:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.write(line)
            said.append(line)
    return process.returncode, "".join(said)


def reason(said: str) -> str:
    """The line in which Quarto says what went wrong, else its last one."""
    lines = [line.strip() for line in ANSI.sub("", said).splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|error)\b", line)]
    return (errors or lines[-1:] or ["it said nothing"])[0]

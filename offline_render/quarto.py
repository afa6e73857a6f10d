"""Quarto where it is to be had: find it, and try once to install it.

Standard library only at import: set-up uses it before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from .steps import Steps

OLDEST = (1, 9)
SECONDS = 60


def find_quarto(root: Path) -> Path | None:
    """The first Quarto of at least version 1.9 in the virtual environment or on PATH."""
    candidates = [root / ".venv" / "bin" / "quarto", shutil.which("quarto")]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK) and version(Path(candidate)) >= OLDEST:
            return Path(candidate)
    return None


def version(quarto: Path) -> tuple[int, ...]:
    """Version as numbers; (0,) if the program doesn't say one."""
    try:
        done = subprocess.run(
            [str(quarto), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.match(r"(\d+)\.(\d+)", done.stdout.strip())
    return (int(found[1]), int(found[2])) if found and done.returncode == 0 else (0,)


def provide(root: Path, pip: list[str], digest: str, steps: Steps) -> str:
    """Look for Quarto and, once for each lock file, try to install it.

    Parameters
    ----------
    root : Path
        The book's folder, with its virtual environment in ``.venv``.
    pip : list of str
        The command that installs into that environment.
    digest : str
        Stands for the locked requirements; a failed try is remembered for it.
    steps : Steps
        Where the log is and progress is shown.

    Returns
    -------
    str
        One line that says which renderer will be used.
    """
    note = root / ".venv" / "quarto-unavailable"
    found = find_quarto(root)
    if found is None and not (note.exists() and note.read_text() == digest):
        # the package fetches Quarto itself while it is being built
        wanted = f"quarto-cli>={OLDEST[0]}.{OLDEST[1]}"
        steps.run(
            [*pip, "install", "--no-deps", "--retries", "1", wanted],
            counter=lambda text: "trying to install Quarto",
            timeout=SECONDS,
        )
        found = find_quarto(root)
        if found is None:
            note.write_text(digest)
    if found is None:
        return "Quarto 1.9 is not to be had, so the embedded renderer builds the book."
    return f"{found} will render the book."

"""Find the Quarto on PATH; install the pinned one when `make quarto` asks for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ..book import BuildError

OLDEST = (1, 9)
LOCK = "requirements-quarto.lock"


def find_quarto() -> Path | None:
    """The Quarto on PATH, if it is version 1.9 or newer."""
    found = shutil.which("quarto")
    return Path(found) if found and version(Path(found)) >= OLDEST else None


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


def pinned(root: Path) -> Path:
    """The Quarto of `requirements-quarto.lock`, installed beside this Python if it isn't yet.

    Raises
    ------
    BuildError
        If it can't be had; nothing else of the set-up is touched.
    """
    program = Path(sys.executable).parent / ("quarto.exe" if os.name == "nt" else "quarto")
    if program.exists() and version(program) >= OLDEST:
        return program
    print(f"Installing the Quarto of {LOCK} (about 130 MB) ...", flush=True)
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--require-hashes",
            "--disable-pip-version-check", "--retries", "1", "-r", str(root / LOCK),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode or version(program) < OLDEST:
        said = [line for line in done.stdout.splitlines() if line.strip()]
        why = said[-1].strip() if said else "it doesn't start"
        raise BuildError(
            f"the pinned Quarto could not be installed: {why}\n"
            "`make handbook` builds the same book with the embedded renderer."
        )
    return program

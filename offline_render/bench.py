"""Time a cold build and the rebuild after a prose edit, on a copy of the book."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .book import BuildError, load_project

GOALS = {"cold": 60.0, "prose edit": 6.0}


def bench(root: Path) -> None:
    """Print seconds and the ratio to the goal for both kinds of build."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "book"
        skipped = shutil.ignore_patterns(".git", ".venv", ".handbook", "_book", "__pycache__")
        shutil.copytree(root, copy, ignore=skipped)
        fonts = root / ".handbook" / "fonts"
        if fonts.exists():
            shutil.copytree(fonts, copy / ".handbook" / "fonts")
        seconds = {"cold": timed(copy)}
        chapter = next(c for c in load_project(copy).chapters if c.number == "1")
        with chapter.path.open("a", encoding="utf-8") as handle:
            handle.write("\nOne more sentence of prose.\n")
        seconds["prose edit"] = timed(copy)
    print(f"{'build':<12}{'seconds':>9}{'goal':>7}{'ratio':>7}   on {os.cpu_count()} cores")
    for name, value in seconds.items():
        print(f"{name:<12}{value:>9.1f}{GOALS[name]:>7.0f}{value / GOALS[name]:>7.2f}")
    print(json.dumps({"seconds": seconds, "goals": GOALS, "cores": os.cpu_count()}))


def timed(copy: Path) -> float:
    """Seconds of one build in a fresh process."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "offline_render", "build", "--embedded"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BuildError(f"the build to be timed failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - started

"""Spark for the test that compares it with DuckDB, where it is to be had.

pyspark comes from a lock of its own, because it is large and the book does without it; Java comes
from PATH or from Debian's packages. Standard library only: set-up uses it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from .steps import Steps

LOCK = "requirements-spark.lock"
SKIPPED = "so the tests of Spark are skipped; nothing else needs it."


def has_java() -> bool:
    """Whether Spark would find a Java."""
    return shutil.which("java") is not None or "JAVA_HOME" in os.environ


def state(root: Path) -> str:
    """Stands for all that decides whether Spark can be had; set-up remembers it."""
    lock = hashlib.sha256((root / LOCK).read_bytes()).hexdigest()
    return f"{lock} {'with' if has_java() else 'without'} Java"


def provide(root: Path, pip: list[str], steps: Steps) -> str:
    """Install pyspark where there is Java, and say in one line what came of it.

    Parameters
    ----------
    root : Path
        The book's folder, with `requirements-spark.lock` in it.
    pip : list of str
        The command that installs into the virtual environment.
    steps : Steps
        Where the log is and progress is shown.
    """
    if not has_java():
        return f"There is no Java, {SKIPPED}"
    quiet = ["--disable-pip-version-check", "--progress-bar", "off", "--retries", "1"]
    code = steps.run(
        [*pip, "install", *quiet, "--require-hashes", "-r", str(root / LOCK)],
        counter=lambda text: "fetching pyspark, about 450 MB" if "Collecting" in text else "",
        extra_env={"PYTHONNOUSERSITE": "1", "PIP_USER": "0", "PIP_NO_INPUT": "1"},
    )
    if code != 0:
        return f"pyspark could not be installed (see .venv/setup.log), {SKIPPED}"
    return "pyspark and Java are there."

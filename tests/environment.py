"""`make test-environment`: the environment that conda users get, and every chapter in it.

The pip part of environment.yml is installed alone, with the newest versions and no lock, twice: as
it stands, and as it stands where rpy2 can't be had (Windows), which brings the newest pandas. Every
chapter runs in the first with R and without, and in the second without; the tests of the helpers
run in the second. Nothing here is run by `make test`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".handbook" / "environment"


def pip_part() -> str:
    """What environment.yml asks pip for: this package with its extras."""
    config = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    parts = [d["pip"] for d in config["dependencies"] if isinstance(d, dict) and "pip" in d]
    if len(parts) != 1 or len(parts[0]) != 1 or not parts[0][0].startswith("-e ."):
        raise SystemExit("environment.yml: one pip line `-e .[extras]` is expected")
    return str(parts[0][0]).removeprefix("-e ").strip()


def copy_of_the_book(name: str) -> Path:
    """The files of the repository as they stand here, without caches."""
    place = WORK / name / "book"
    shutil.rmtree(place, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    for line in listed.stdout.splitlines():
        if (ROOT / line).is_file():
            (place / line).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / line, place / line)
    return place


def environment(name: str, wanted: str) -> tuple[Path, Path]:
    """A new virtual environment with ``wanted`` installed, editable, from a copy of the book."""
    book = copy_of_the_book(name)
    venv = WORK / name / "venv"
    run(f"{name}: a virtual environment", [sys.executable, "-m", "venv", "--clear", str(venv)])
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    # ABI mode: rpy2 then needs neither a compiler nor R's headers
    run(f"{name}: pip install -e {wanted}", [str(python), "-m", "pip", "install", "--quiet",
        "--disable-pip-version-check", "-e", wanted], book, RPY2_CFFI_MODE="ABI")  # fmt: skip
    run(f"{name}: versions", [str(python), "-m", "pip", "list", "--format=freeze"], book)
    return python, book


def run(words: str, command: list[str], folder: Path = ROOT, **extra: str) -> None:
    """Run a step, its name before it; stop at the first that fails."""
    print(f"== {words}", flush=True)
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYLMM_NO_R")}
    done = subprocess.run(command, cwd=folder, env={**clean, **extra}, check=False)
    if done.returncode:
        raise SystemExit(f"{words}: stopped with exit code {done.returncode}")


def chapters(name: str, python: Path, book: Path, **extra: str) -> None:
    """Run every chapter anew; the first fault stops with its file and line."""
    shutil.rmtree(book / ".handbook", ignore_errors=True)
    run(f"{name}: every chapter", [str(python), "offline_render/pre_render.py"], book, **extra)


def main() -> None:
    wanted = pip_part()
    python, book = environment("whole", wanted)
    chapters("whole, with R", python, book)
    chapters("whole, without R", python, book, PYLMM_NO_R="1")
    without = wanted.replace("lme4,", "").replace(",lme4", "").replace("[lme4]", "")
    python, book = environment("without-rpy2", without)
    chapters("without rpy2", python, book)
    tests = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/helpers"]
    run("without rpy2: tests of the helpers", tests, book)
    print("The environment runs every chapter, with R and without, and the tests of the helpers.")


if __name__ == "__main__":
    main()

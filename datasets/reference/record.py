"""Record what R's lme4 gives for every model of the book, or check what is recorded.

    python datasets/reference/record.py            record everything anew
    python datasets/reference/record.py --check    fit everything again and compare

Needs R with lme4, lmerTest and pbkrtest, and the package's extra "lme4". The published classics
below are recorded first; then the code cells of every chapter run in order, and each call of
lmer() or crosscheck() writes the record of its model. Nothing in this folder changes unless all
of it succeeded; records that no model asks for any more are removed. What nlme gives for
correlated residuals and unequal variances, which lme4 has not, is recorded by nlme/record.R.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parents[1]
sys.path.insert(0, str(PROJECT))

# name: (formula, data set, REML); what the tests of the helpers compare with
CLASSICS = {
    "classic-sleepstudy-slope": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", True),
    "classic-sleepstudy-slope-ml": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", False),
    "classic-sleepstudy-intercept": ("Reaction ~ Days + (1 | Subject)", "sleepstudy", True),
    "classic-dyestuff": ("Yield ~ 1 + (1 | Batch)", "dyestuff", True),
    "classic-dyestuff-ml": ("Yield ~ 1 + (1 | Batch)", "dyestuff", False),
    "classic-dyestuff2": ("Yield ~ 1 + (1 | Batch)", "dyestuff2", True),
    "classic-pastes": ("strength ~ 1 + (1 | batch/cask)", "pastes", True),
    "classic-penicillin": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin", True),
    "classic-rail": ("travel ~ 1 + (1 | Rail)", "rail", True),
    "classic-orthodont-slope": ("distance ~ age * Sex + (age | Subject)", "orthodont", True),
    "classic-orthodont-intercept": ("distance ~ age * Sex + (1 | Subject)", "orthodont", True),
}
# repeated fits on one machine are equal; another build of R's libraries may move the last digits
CHECK_TOLERANCE = 1e-5


def record_classics() -> None:
    """Fit the classics; each call writes its record."""
    from pylmm_helpers.data.datasets import load
    from pylmm_helpers.lme4.check import lmer

    for name, (formula, data, reml) in CLASSICS.items():
        lmer(formula, load(data), reml=reml, name=name)


def run_chapter(path: Path) -> None:
    """Execute the code cells of one chapter in order, in one namespace."""
    from pylmm_helpers.lme4.agreement import python_cells

    space: dict[str, Any] = {"__name__": "__main__", "display": lambda *things: None}
    for line, code in python_cells(path.read_text(encoding="utf-8")):
        # blank lines in front make tracebacks name the line of the .qmd
        exec(compile("\n" * (line - 1) + code, str(path), "exec"), space)


def collect(target: Path) -> None:
    """Write the records of all models into `target`."""
    from pylmm_helpers.lme4.agreement import chapter_files

    env = {**os.environ, "PYLMM_RECORD": "1", "PYLMM_REFERENCE_DIR": str(target)}
    env |= {"MPLBACKEND": "Agg", "PYTHONPATH": str(PROJECT)}
    env.pop("PYLMM_NO_R", None)
    parts = ["classics", *map(str, chapter_files(PROJECT))]
    for part in parts:
        print(f"recording {Path(part).stem} ...", flush=True)
        cwd = PROJECT if part == "classics" else Path(part).parent
        command = [sys.executable, str(FOLDER / "record.py"), "--run", part]
        if subprocess.run(command, env=env, cwd=cwd, check=False).returncode:
            sys.exit(f"{Path(part).name} failed: nothing was changed.")


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Where two recorded results differ by more than CHECK_TOLERANCE (versions aside)."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.keys() != new.keys():
            return [f"{where}: {sorted(old)} against {sorted(new)}"]
        keys = [k for k in old if k != "versions"]
        return [text for k in keys for text in differences(old[k], new[k], f"{where}/{k}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [text for i, (a, b) in pairs for text in differences(a, b, f"{where}[{i}]")]
    if isinstance(old, float) and isinstance(new, float | int):
        same = abs(old - new) <= CHECK_TOLERANCE * max(1.0, abs(old))
    else:
        same = old == new
    return [] if same else [f"{where}: recorded {old!r}, now {new!r}"]


def check(target: Path) -> int:
    """Report how the committed records differ from those in `target`."""
    from pylmm_helpers.lme4.reference import read

    names = {p.name for folder in (FOLDER, target) for p in folder.glob("*.json")}
    wrong = []
    for name in sorted(names):
        old, new = FOLDER / name, target / name
        if not (old.is_file() and new.is_file()):
            wrong.append(f"{name}: {'no model asks for it' if old.is_file() else 'missing'}")
            continue
        try:
            wrong += [f"{name}{text}" for text in differences(read(old), read(new))]
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    print("\n".join(wrong) or f"{len(names)} records repeated, all equal.")
    return 1 if wrong else 0


def install(target: Path) -> None:
    """Replace the committed records by those in `target`, leaving equal ones untouched."""
    new = {path.name: path for path in target.glob("*.json")}
    for path in FOLDER.glob("*.json"):
        if path.name not in new:
            path.unlink()
    for name, path in new.items():
        content = path.read_bytes()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_bytes() != content:
            (FOLDER / name).write_bytes(content)
    print(f"{len(new)} records in {FOLDER.relative_to(PROJECT)}.")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    parser.add_argument("--run", metavar="PART", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        record_classics() if options.run == "classics" else run_chapter(Path(options.run))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        collect(Path(folder))
        if options.check:
            return check(Path(folder))
        install(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())

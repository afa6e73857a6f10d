"""Measure this package against lme4, statsmodels and others; see README.md beside this file."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
R_ENGINES = {"lme4": "default", "lme4 (no derivatives)": "nloptwrap"}
PYTHON_ENGINES = {
    "pylmm_helpers": "pylmm_helpers",
    "mixedlm-rs": "mixedlm_rs",
    "glmm": "glmm",
    "lme-python": "lme_python",
    "mixedlm": "mixedlm",
    "statsmodels": "statsmodels",
}


@dataclass(frozen=True)
class Case:
    """A data set and the models that are fitted to it.

    Attributes
    ----------
    write : function
        Puts the columns into a folder: raw doubles x and y, 32-bit numbers of levels.
    models : dict
        Name to formula.
    warm_up : str
        Rows of the first fit, which isn't timed, as in "a<60,b<60".
    """

    label: str
    rows: int
    write: Callable[[Path], None]
    models: dict[str, str]
    warm_up: str

    @property
    def repetitions(self) -> int:
        """More where a fit is short."""
        return 30 if self.rows <= 10_000 else 7 if self.rows <= 100_000 else 5


def put(folder: Path, **columns: np.ndarray) -> None:
    """Write columns as `Case` says."""
    for name, values in columns.items():
        kind = float if name in ("x", "y") else np.int32
        values.astype(kind).tofile(folder / name)


def levels(rng: np.random.Generator, rows: int, groups: int) -> np.ndarray:
    """Unequal groups of at least one row."""
    return np.concatenate([np.arange(groups), rng.integers(0, groups, rows - groups)])


def one_factor(rows: int, groups: int, shuffled: bool = False) -> Case:
    """Unbalanced groups with random intercepts and slopes; shuffled rows are in no order."""

    def write(folder: Path) -> None:
        rng = np.random.default_rng(rows + groups)
        g = levels(rng, rows, groups)
        g = rng.permutation(g) if shuffled else np.sort(g)
        x = rng.normal(size=rows)  # centred already: lme4 is slower and less exact without
        u = rng.normal(size=(groups, 2)) @ np.array([[1.0, 0.3], [0.0, 0.5]])
        y = 2.0 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(0.0, 1.5, rows)
        put(folder, y=y, x=x, g=g)

    label = f"n = {rows:,}, {groups:,} groups" + (", shuffled" if shuffled else "")
    models = {"intercept": "y ~ x + (1 | g)", "slope": "y ~ x + (1 + x | g)"}
    return Case(label, rows, write, models, "g<20")


def crossed(rows: int, a: int, b: int) -> Case:
    """Two crossed factors."""

    def write(folder: Path) -> None:
        rng = np.random.default_rng(rows + a + b)
        first, second = levels(rng, rows, a), rng.permutation(levels(rng, rows, b))
        x = rng.normal(size=rows)
        y = 2.0 + 0.5 * x + rng.normal(size=a)[first] + 0.7 * rng.normal(size=b)[second]
        put(folder, y=y + rng.normal(0.0, 1.5, rows), x=x, a=first, b=second)

    label = f"n = {rows:,}, {a:,} x {b:,} levels, crossed"
    return Case(label, rows, write, {"intercepts": "y ~ x + (1 | a) + (1 | b)"}, "a<100,b<100")


def three_levels(rows: int, herds: int, cows: int) -> Case:
    """Rows of cows of herds; no cow has two herds."""

    def write(folder: Path) -> None:
        rng = np.random.default_rng(rows + herds + cows)
        cow = levels(rng, rows, cows)
        herd = levels(rng, cows, herds)[cow]
        x = rng.normal(size=rows)
        y = 2.0 + 0.5 * x + rng.normal(size=herds)[herd] + 0.7 * rng.normal(size=cows)[cow]
        put(folder, y=y + rng.normal(0.0, 1.5, rows), x=x, herd=herd, cow=cow)

    label = f"n = {rows:,}, {cows:,} cows of {herds:,} herds"
    return Case(label, rows, write, {"intercepts": "y ~ x + (1 | herd) + (1 | cow)"}, "herd<20")


def insteval() -> Case:
    """InstEval, as lme4 has it; needs R."""

    def write(folder: Path) -> None:
        subprocess.run(["Rscript", "--vanilla", str(HERE / "insteval.R"), str(folder)], check=True)

    models = {
        "two factors": "y ~ 1 + (1 | s) + (1 | d)",
        "three factors": "y ~ 1 + (1 | s) + (1 | d) + (1 | ds)",
    }
    return Case("InstEval, n = 73,421", 73_421, write, models, "s<300,d<300")


QUICK = [one_factor(1_000, 50), one_factor(10_000, 200)]
FULL = [
    *QUICK, one_factor(100_000, 1_000), one_factor(1_000_000, 10_000),
    one_factor(1_000_000, 10_000, shuffled=True), one_factor(1_000_000, 200_000),
]  # fmt: skip
SEVERAL = [
    crossed(100_000, 2_000, 500), three_levels(100_000, 200, 4_000), insteval(),
    three_levels(1_000_000, 5_000, 100_000),
]  # fmt: skip


def run(command: list[str], limit: float) -> dict[str, Any]:
    """One cell: the JSON that the process prints, or what went wrong."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"over {limit:g} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"error": lines[-1][:120] if lines else f"exit {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def available() -> tuple[list[str], list[str]]:
    """Engines that can run here, and those that can't."""
    engines = [
        e
        for e, module in PYTHON_ENGINES.items()
        if importlib.util.find_spec(module) or e == "pylmm_helpers"
    ]
    has_lme4 = (
        shutil.which("Rscript")
        and not subprocess.run(
            ["Rscript", "-e", "library(lme4)"], capture_output=True, check=False
        ).returncode
    )
    engines += list(R_ENGINES) if has_lme4 else []
    return engines, [e for e in [*PYTHON_ENGINES, *R_ENGINES] if e not in engines]


def cell(
    engine: str, case: Case, formula: str, folder: Path, limit: float, everything: bool
) -> dict[str, Any]:
    """Measure one engine on one data set and model."""
    if engine == "statsmodels" and case.rows > 100_000 and not everything:
        return {"error": "not run (--all)"}
    slow = engine == "statsmodels" or (engine.startswith("lme4") and case.rows > 50_000)
    times = str(min(case.repetitions, 2) if slow and case.rows > 1_000 else case.repetitions)
    if engine in R_ENGINES:
        place = [str(folder), formula, case.warm_up, R_ENGINES[engine], times]
        return run(["Rscript", "--vanilla", str(HERE / "lme4.R"), *place], limit)
    place = [engine, str(folder), formula, case.warm_up, times]
    return run([sys.executable, str(HERE / "engines.py"), *place], limit)


def table(case: Case, model: str, cells: dict[str, dict[str, Any]]) -> str:
    """A Markdown table of one data set and model."""
    ours = min(cells["pylmm_helpers"].get("seconds", [float("nan")]))
    lowest = min((c["criterion"] for c in cells.values() if "criterion" in c), default=float("nan"))
    lines = [
        f"\n{case.label}: {case.models[model]}\n",
        "| engine | ms | CPU ms | times this package | peak MB | criterion above the best |",
        "|:---|---:|---:|---:|---:|---:|",
    ]
    for engine, c in cells.items():
        if "error" in c:
            lines.append(f"| {engine} | {c['error']} | | | | |")
            continue
        best = min(c["seconds"])
        lines.append(
            f"| {engine} | {1000 * best:.1f} | {1000 * min(c['cpu']):.1f} | {best / ours:.1f} "
            f"| {c['megabytes']:.0f} | {c['criterion'] - lowest:.1e} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one factor, n up to 1e4 only")
    parser.add_argument("--several", action="store_true", help="several factors only")
    parser.add_argument("--all", action="store_true", help="statsmodels at every size too")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one cell")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    engines, missing = available()
    if missing:
        print(f"Not installed, left out: {', '.join(missing)}")
    cases = QUICK if options.quick else SEVERAL if options.several else FULL + SEVERAL
    results: list[dict[str, Any]] = []
    for case in cases:
        if case.label.startswith("InstEval") and "lme4" not in engines:
            print(f"{case.label}: left out, since its data come with lme4")
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            case.write(folder)
            for model, formula in case.models.items():
                cells = {}
                for engine in engines:
                    print(f"  {case.label}, {model}: {engine} ...", file=sys.stderr, flush=True)
                    cells[engine] = cell(engine, case, formula, folder, options.limit, options.all)
                print(table(case, model, cells), flush=True)
                results.append(
                    {"data": case.label, "rows": case.rows, "model": formula, "engines": cells}
                )
    machine = {
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.platform(),
    }
    options.out.write_text(
        json.dumps({"machine": machine, "missing": missing, "results": results}, indent=1)
    )
    print(f"\nEvery repetition is in {options.out}.")


if __name__ == "__main__":
    main()

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
MODELS = {"intercept": "1", "slope": "1 + x"}
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
class Size:
    """Rows and groups of a data set; shuffled rows are in no order."""

    rows: int
    groups: int
    shuffled: bool = False

    @property
    def label(self) -> str:
        return f"n = {self.rows:,}, {self.groups:,} groups" + (
            ", shuffled" if self.shuffled else ""
        )

    @property
    def repetitions(self) -> int:
        """More where a fit is short."""
        return 30 if self.rows <= 10_000 else 7 if self.rows <= 100_000 else 5


FULL = [
    Size(1_000, 50), Size(10_000, 200), Size(100_000, 1_000), Size(1_000_000, 10_000),
    Size(1_000_000, 10_000, shuffled=True), Size(1_000_000, 200_000),
]  # fmt: skip
QUICK = [Size(1_000, 50), Size(10_000, 200)]


def write_data(size: Size, folder: Path) -> None:
    """Unbalanced groups with random intercepts and slopes; raw doubles and 32-bit group numbers."""
    rng = np.random.default_rng(size.rows + size.groups)
    g = np.concatenate(
        [np.arange(size.groups), rng.integers(0, size.groups, size.rows - size.groups)]
    )
    g = rng.permutation(g) if size.shuffled else np.sort(g)
    x = rng.normal(size=size.rows)  # centred already: lme4 is slower and less exact without
    u = rng.normal(size=(size.groups, 2)) @ np.array([[1.0, 0.3], [0.0, 0.5]])
    y = 2.0 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(0.0, 1.5, size.rows)
    for name, values in (("y", y), ("x", x), ("g", g.astype(np.int32))):
        values.tofile(folder / name)


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
    engine: str, size: Size, model: str, folder: Path, limit: float, everything: bool
) -> dict[str, Any]:
    """Measure one engine on one data set and model."""
    terms = MODELS[model]
    if engine == "statsmodels" and size.rows > 100_000 and not everything:
        return {"error": "not run (--all)"}
    slow = engine == "statsmodels" or (engine.startswith("lme4") and size.rows > 100_000)
    times = str(min(size.repetitions, 2) if slow and size.rows > 1_000 else size.repetitions)
    if engine in R_ENGINES:
        formula = f"y ~ x + ({terms} | g)"
        return run(
            ["Rscript", str(HERE / "lme4.R"), str(folder), formula, R_ENGINES[engine], times], limit
        )
    return run([sys.executable, str(HERE / "engines.py"), engine, str(folder), terms, times], limit)


def table(size: Size, model: str, cells: dict[str, dict[str, Any]]) -> str:
    """A Markdown table of one data set and model."""
    ours = min(cells["pylmm_helpers"].get("seconds", [float("nan")]))
    lowest = min((c["criterion"] for c in cells.values() if "criterion" in c), default=float("nan"))
    lines = [
        f"\n{size.label}, random {model}\n",
        "| engine | ms | times this package | peak MB | criterion above the best |",
        "|:---|---:|---:|---:|---:|",
    ]
    for engine, c in cells.items():
        if "error" in c:
            lines.append(f"| {engine} | {c['error']} | | | |")
            continue
        best = min(c["seconds"])
        lines.append(
            f"| {engine} | {1000 * best:.1f} | {best / ours:.1f} | {c['megabytes']:.0f} "
            f"| {c['criterion'] - lowest:.1e} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="n up to 1e4 only")
    parser.add_argument("--all", action="store_true", help="statsmodels at every size too")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one cell")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    engines, missing = available()
    if missing:
        print(f"Not installed, left out: {', '.join(missing)}")
    results: list[dict[str, Any]] = []
    for size in QUICK if options.quick else FULL:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_data(size, folder)
            for model in MODELS:
                cells = {}
                for engine in engines:
                    print(f"  {size.label}, {model}: {engine} ...", file=sys.stderr, flush=True)
                    cells[engine] = cell(engine, size, model, folder, options.limit, options.all)
                print(table(size, model, cells), flush=True)
                results.append(
                    {
                        "rows": size.rows,
                        "groups": size.groups,
                        "shuffled": size.shuffled,
                        "model": model,
                        "engines": cells,
                    }
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

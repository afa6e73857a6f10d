"""The Python engines of the benchmark, and the timing of one of them in a process of its own.

    python engines.py ENGINE FOLDER FORMULA WARM-UP REPETITIONS

prints one line of JSON: seconds of each repetition (by the clock and of CPU), peak memory, REML
criterion, version. WARM-UP, such as "a<60,b<60", chooses the rows of a first fit that isn't timed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Fit = Callable[[pd.DataFrame, str], float]


def one_factor(formula: str) -> tuple[str, str, str]:
    """Fixed part, random terms and factor of a formula with one bar."""
    fixed, _, random = formula.partition(" + (")
    terms, _, factor = random.rstrip(")").partition(" | ")
    if "(" in factor:
        raise SystemExit("takes one grouping factor only")
    return fixed, terms, factor


def this_package(data: pd.DataFrame, formula: str) -> float:
    from pylmm_helpers import fit_lmm

    return fit_lmm(formula, data).criterion


def statsmodels(data: pd.DataFrame, formula: str) -> float:
    import statsmodels.formula.api as smf

    fixed, terms, factor = one_factor(formula)
    model = smf.mixedlm(fixed, data, groups=factor, re_formula=f"~ {terms}")
    return -2.0 * float(model.fit().llf)


def mixedlm_rs(data: pd.DataFrame, formula: str) -> float:
    import mixedlm_rs as engine

    fixed, terms, factor = one_factor(formula)
    return -2.0 * float(
        engine.mixedlm(fixed, data, groups=factor, re_formula=f"~ {terms}").fit().llf
    )


def mixedlm(data: pd.DataFrame, formula: str) -> float:
    import mixedlm as engine

    return float(engine.lmer(formula, data).REMLcrit())


def glmm(data: pd.DataFrame, formula: str) -> float:
    import glmm as engine

    return -2.0 * float(engine.fit(data, formula).loglik)


def lme_python(data: pd.DataFrame, formula: str) -> float:
    import lme_python as engine

    fit = engine.lmer(formula, data=data, reml=True)
    return float(
        fit.reml_criterion if fit.reml_criterion is not None else -2.0 * fit.log_likelihood
    )


#: Name in the table: function, distribution it comes from.
ENGINES: dict[str, tuple[Fit, str]] = {
    "pylmm_helpers": (this_package, "numpy"),
    "statsmodels": (statsmodels, "statsmodels"),
    "mixedlm": (mixedlm, "mixedlm"),
    "glmm": (glmm, "glmm"),
    "lme-python": (lme_python, "lme-python"),
    "mixedlm-rs": (mixedlm_rs, "mixedlm-rs"),
}


def resident(field: str) -> float:
    """A memory figure of this process in MB: VmRSS (now) or VmHWM (peak)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def forget_peak() -> None:
    """Let VmHWM start again from the present size."""
    with contextlib.suppress(OSError):  # the peak then includes the loading of the data
        Path("/proc/self/clear_refs").write_text("5")


def load(folder: Path) -> pd.DataFrame:
    """The data set as a data frame: x and y are doubles, all else are numbers of levels."""
    columns = {}
    for file in sorted(folder.iterdir()):
        numeric = file.name in ("x", "y")
        values = np.fromfile(file, dtype=float if numeric else np.int32)
        columns[file.name] = values if numeric else values.astype(np.int64)
    return pd.DataFrame(columns)


def first_rows(data: pd.DataFrame, warm_up: str) -> pd.DataFrame:
    """The rows whose levels are below those of the text, as in "a<60,b<60"."""
    for condition in warm_up.split(","):
        name, below = condition.split("<")
        data = data[data[name] < int(below)]
    return data.reset_index(drop=True)


def measure(
    engine: str, folder: Path, formula: str, warm_up: str, repetitions: int
) -> dict[str, Any]:
    """Time whole calls of one engine on one data set."""
    fit, distribution = ENGINES[engine]
    warnings.simplefilter("ignore")
    data = load(folder)
    fit(first_rows(data, warm_up), formula)
    gc.collect()
    forget_peak()
    before = resident("VmRSS")
    seconds, cpu = [], []
    criterion = float("nan")
    for _ in range(repetitions):
        start, cpu_start = time.perf_counter(), time.process_time()
        criterion = fit(data, formula)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    return {
        "seconds": seconds,
        "cpu": cpu,
        "megabytes": resident("VmHWM") - before,
        "criterion": criterion,
        "version": "this tree" if engine == "pylmm_helpers" else version(distribution),
    }


if __name__ == "__main__":
    name, place, model, rows, times = sys.argv[1:]
    print(json.dumps(measure(name, Path(place), model, rows, int(times))))

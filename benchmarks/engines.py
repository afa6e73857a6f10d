"""The Python engines of the benchmark, and the timing of one of them in a process of its own.

    python engines.py ENGINE FOLDER RANDOM REPETITIONS

prints one line of JSON: seconds of each repetition, peak memory, REML criterion, version.
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


def this_package(data: pd.DataFrame, random: str) -> float:
    from pylmm_helpers.engine.fit import fit_lmm

    return fit_lmm("y ~ x", data, "g", random).criterion


def statsmodels(data: pd.DataFrame, random: str) -> float:
    import statsmodels.formula.api as smf

    return -2.0 * float(smf.mixedlm("y ~ x", data, groups="g", re_formula=f"~ {random}").fit().llf)


def mixedlm_rs(data: pd.DataFrame, random: str) -> float:
    import mixedlm_rs as engine

    return -2.0 * float(
        engine.mixedlm("y ~ x", data, groups="g", re_formula=f"~ {random}").fit().llf
    )


def mixedlm(data: pd.DataFrame, random: str) -> float:
    import mixedlm as engine

    return float(engine.lmer(f"y ~ x + ({random} | g)", data).REMLcrit())


def glmm(data: pd.DataFrame, random: str) -> float:
    import glmm as engine

    return -2.0 * float(engine.fit(data, f"y ~ x + ({random} | g)").loglik)


def lme_python(data: pd.DataFrame, random: str) -> float:
    import lme_python as engine

    fit = engine.lmer(f"y ~ x + ({random} | g)", data=data, reml=True)
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
    """The data set as a data frame."""
    return pd.DataFrame(
        {
            "y": np.fromfile(folder / "y", dtype=float),
            "x": np.fromfile(folder / "x", dtype=float),
            "g": np.fromfile(folder / "g", dtype=np.int32).astype(np.int64),
        }
    )


def measure(engine: str, folder: Path, random: str, repetitions: int) -> dict[str, Any]:
    """Time whole calls of one engine on one data set."""
    fit, distribution = ENGINES[engine]
    warnings.simplefilter("ignore")
    data = load(folder)
    fit(data[data["g"].isin(range(20))].reset_index(drop=True), random)
    gc.collect()
    forget_peak()
    before = resident("VmRSS")
    seconds = []
    criterion = float("nan")
    for _ in range(repetitions):
        start = time.perf_counter()
        criterion = fit(data, random)
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": seconds,
        "megabytes": resident("VmHWM") - before,
        "criterion": criterion,
        "version": "this tree" if engine == "pylmm_helpers" else version(distribution),
    }


if __name__ == "__main__":
    name, place, terms, times = sys.argv[1:]
    print(json.dumps(measure(name, Path(place), terms, int(times))))

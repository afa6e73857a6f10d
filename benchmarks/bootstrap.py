"""Time a parametric bootstrap of 1,000 replicates beside lme4's simulate() and refit()."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pylmm_helpers import fit_lmm, parametric_bootstrap, refit

ROWS, GROUPS, REPLICATES, SLOW_REPLICATES = 1_000, 50, 1_000, 100
R_SCRIPT = """
suppressMessages(library(lme4))
args <- commandArgs(TRUE)
d <- read.csv(args[1]); k <- as.integer(args[2])
full <- lmer(y ~ x + (1 + x | g), d); small <- lmer(y ~ x + (1 | g), d)
new <- simulate(small, k, seed = 1)
start <- as.numeric(Sys.time())
for (i in seq_len(k)) suppressWarnings(suppressMessages({
  refit(full, new[[i]]); refit(small, new[[i]]) }))
cat((as.numeric(Sys.time()) - start) / k)
"""


def simulated() -> pd.DataFrame:
    """Rows in equal groups with a random intercept."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(GROUPS), ROWS // GROUPS)
    x = rng.normal(size=ROWS)
    y = x + rng.normal(size=GROUPS)[g] + rng.normal(size=ROWS)
    return pd.DataFrame({"y": y, "x": x, "g": g})


def seconds_of_lme4(data: pd.DataFrame) -> float | None:
    """Seconds that lme4 takes for the two refits of one replicate; None without R."""
    if not shutil.which("Rscript"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        data.to_csv(path, index=False)
        command = ["Rscript", "-e", R_SCRIPT, str(path), str(SLOW_REPLICATES)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the seconds to this JSON file too")
    options = parser.parse_args()
    data = simulated()
    full = fit_lmm("y ~ x", data, "g", "1 + x")
    small = fit_lmm("y ~ x", data, "g")
    parametric_bootstrap(full, small, replicates=2)
    start = time.perf_counter()
    parametric_bootstrap(full, small, replicates=REPLICATES)
    found = {"all replicates at once": (time.perf_counter() - start) / REPLICATES}
    start = time.perf_counter()
    for _ in range(SLOW_REPLICATES):
        refit(full, data["y"]), refit(small, data["y"])
    found["refit() in a loop"] = (time.perf_counter() - start) / SLOW_REPLICATES
    lme4 = seconds_of_lme4(data)
    if lme4 is not None:
        found["lme4's refit() in a loop"] = lme4
    else:
        print("R with lme4 isn't installed: left out.")
    print(f"Bootstrap test of a random slope, {ROWS:,} rows, {GROUPS} groups\n")
    print(f"| way | s for {REPLICATES:,} replicates | times the first |\n|:---|---:|---:|")
    least = found["all replicates at once"]
    for way, seconds in found.items():
        print(f"| {way} | {REPLICATES * seconds:.2f} | {seconds / least:.1f} |")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

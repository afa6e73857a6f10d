"""Fit a random slope to data larger than the memory that DuckDB is given, and time it.

    python benchmarks/larger_than_memory.py [--rows 1e8] [--groups 1e6] [--memory-limit 1.5GB]

The Parquet files are made and removed by the command. For every size it times, one process each, a
plain ``GROUP BY`` with two sums over the same file and the whole way from the file to the fitted
model; where rows fit in memory, it compares with the fit from the rows, and stops if they differ by
more than 1e-8; at the end it times lme4 on as many whole groups as its memory and time allow, and
the way from a file of those groups beside it.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

BYTES_PER_ROW = 20
IN_MEMORY_ROWS = 10_000_000
EXACT = 1e-8
#: Rows at random from their number: predictor, the group's two effects, residual.
ROWS_SQL = """
SELECT (hash(i) % {groups})::INTEGER AS g, x, 5 + 2 * x + a + b * x + e AS y FROM (
  SELECT i,
    ((hash(i + 1000000007) % 2000001)::DOUBLE / 1e6 - 1) * sqrt(3) AS x,
    ((hash((hash(i) % {groups}) * 2) % 2000001)::DOUBLE / 1e6 - 1) * sqrt(3) AS a,
    ((hash((hash(i) % {groups}) * 2 + 1) % 2000001)::DOUBLE / 1e6 - 1) * sqrt(3) / 2 AS b,
    ((hash(i + 3000000019) % 2000001)::DOUBLE / 1e6 - 1) * sqrt(12) AS e
  FROM range({rows}) AS numbers(i))
"""
LME4 = """
suppressMessages(library(lme4))
args <- commandArgs(TRUE); n <- as.numeric(args[2])
from <- file(args[1], "rb"); v <- readBin(from, "double", 3 * n); close(from)
d <- data.frame(g = factor(v[1:n]), x = v[n + 1:n], y = v[2 * n + 1:n]); rm(v)
start <- as.numeric(Sys.time())
fit <- lmer(y ~ x + (1 + x | g), d, control = lmerControl(calc.derivs = FALSE))
seconds <- as.numeric(Sys.time()) - start
peak <- grep("VmHWM", readLines("/proc/self/status"), value = TRUE)
cat(seconds, as.numeric(gsub("[^0-9]", "", peak)) / 2^20, fixef(fit), "\n")
"""
#: Each size that lme4 gets is this many times the one before.
LME4_STEP = 3


def make_file(rows: int, groups: int, path: Path, limit: str) -> None:
    import duckdb

    with duckdb.connect() as database:
        database.execute("SET memory_limit = ?", [limit])
        database.execute("SET temp_directory = ?", [str(path.parent)])
        database.execute("SET preserve_insertion_order = false")
        query = ROWS_SQL.format(rows=rows, groups=groups)
        database.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def plain_sums(path: Path, limit: str) -> dict[str, Any]:
    """Seconds of the least that any method has to do: group the rows and add up two columns."""
    import duckdb

    with duckdb.connect() as database:
        database.execute("SET memory_limit = ?", [limit])
        database.execute("SET temp_directory = ?", [str(path.parent)])
        database.execute("SET preserve_insertion_order = false")
        start = time.perf_counter()
        database.execute(
            f"CREATE TEMP TABLE sums AS SELECT g, sum(x), sum(y) FROM '{path}' GROUP BY g"
        )
        return {"seconds": time.perf_counter() - start}


def whole_way(path: Path, limit: str) -> dict[str, Any]:
    """Seconds from the file to the fitted model, imports of the packages left out."""
    import duckdb  # noqa: F401
    import ibis

    from pylmm_helpers import cross_products, fit_lmm

    ibis.duckdb.connect().disconnect()
    start = time.perf_counter()
    products = cross_products(path, "y ~ x", "g", "1 + x", memory_limit=limit, progress=False)
    middle = time.perf_counter()
    fit = fit_lmm(products)
    estimates = [*fit.fe_params, *fit.theta, fit.scale, fit.criterion]
    return {
        "seconds": time.perf_counter() - start,
        "fit": time.perf_counter() - middle,
        "estimates": [float(value) for value in estimates],
    }


def in_memory(path: Path, limit: str) -> dict[str, Any]:
    """Seconds and estimates of the fit from rows in memory, reading the file left out."""
    import pandas as pd

    from pylmm_helpers import fit_lmm

    data = pd.read_parquet(path)
    start = time.perf_counter()
    fit = fit_lmm("y ~ x", data, "g", "1 + x")
    estimates = [*fit.fe_params, *fit.theta, fit.scale, fit.criterion]
    return {
        "seconds": time.perf_counter() - start,
        "estimates": [float(value) for value in estimates],
    }


WAYS = {"plain": plain_sums, "whole": whole_way, "memory": in_memory}


def measure(way: str, path: Path, limit: str) -> dict[str, Any]:
    """One way in a process of its own, with its peak memory in GB."""
    command = [sys.executable, __file__, "--measure", way, str(path), "--memory-limit", limit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def part_of(path: Path, rows: int, folder: Path) -> tuple[Path, Path, int]:
    """Whole groups that have about that many rows, as Parquet and as R reads them."""
    import duckdb

    part, raw = folder / "part.parquet", folder / "part.raw"
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT g, x, y FROM '{path}' "
            f"WHERE g < (SELECT max(g) + 1 FROM '{path}') * {rows}::DOUBLE "
            f"/ (SELECT count(*) FROM '{path}')) TO '{part}' (FORMAT parquet)"
        )
        with raw.open("wb") as out:
            for name in ("g", "x", "y"):
                column = database.execute(f"SELECT {name} FROM '{part}'").fetchnumpy()[name]
                np.asarray(column, dtype=float).tofile(out)
    return part, raw, len(column)


def time_lme4(raw: Path, rows: int, limit: float) -> dict[str, Any] | None:
    """Seconds of lmer(), its peak memory in GB and its fixed effects; None if it gave up."""
    command = ["Rscript", "--vanilla", "-e", LME4, str(raw), str(rows)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    seconds, peak, *beta = map(float, done.stdout.split())
    return {"seconds": seconds, "peak_gb": peak, "beta": beta}


def available_gb() -> float:
    """Memory that a new process can have."""
    text = Path("/proc/meminfo").read_text(encoding="utf-8")
    return int(text.split("MemAvailable:")[1].split()[0]) / 2**20


def beside_lme4(
    path: Path, sizes: tuple[int, int], limit: float, memory_limit: str, folder: Path
) -> list[dict[str, Any]]:
    """lme4 on parts that grow until memory, time or rows end, with our way on the same rows."""
    rows, most = sizes
    records: list[dict[str, Any]] = []
    print("\n| rows for lme4 | lme4, s | lme4, GB | file to fit, s | ratio | largest difference |")
    print("|---:|---:|---:|---:|---:|---:|")
    while True:
        part, raw, n = part_of(path, min(rows, most), folder)
        ours, theirs = measure("whole", part, memory_limit), time_lme4(raw, n, limit)
        part.unlink()
        raw.unlink()
        if theirs is None:
            print(f"\nlme4 did not finish {n:,} rows in {limit:.0f} s and the memory there is.")
            return records
        off = float(np.max(np.abs(np.array(theirs["beta"]) / ours["estimates"][:2] - 1)))
        records.append({"rows": n, **theirs, "ours": ours["seconds"], "difference": off})
        print(
            f"| {n:,} | {theirs['seconds']:.1f} | {theirs['peak_gb']:.1f} "
            f"| {ours['seconds']:.2f} | {theirs['seconds'] / ours['seconds']:.0f} | {off:.0e} |",
            flush=True,
        )
        needed = {
            "GB of memory": (LME4_STEP * theirs["peak_gb"], available_gb()),
            "seconds": (LME4_STEP * theirs["seconds"], limit),
        }
        over = [f"{a:.0f} {what} ({b:.0f} allowed)" for what, (a, b) in needed.items() if a > b]
        if over or rows >= most:
            if over:
                print(f"\n{LME4_STEP} times the rows would take lme4 {' and '.join(over)}.")
            return records
        rows *= LME4_STEP


def plot(records: list[dict[str, Any]], path: Path) -> float:
    """Draw the growth beside a slope of one, and return the slope over the last step."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = np.array([record["rows"] for record in records], dtype=float)
    whole, plain = (np.array([record[way] for record in records]) for way in ("whole", "plain"))
    slope = float(np.diff(np.log(whole[-2:]))[0] / np.diff(np.log(rows[-2:]))[0])
    fig, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
    ax.loglog(rows, whole, "o-", label="file to fitted model")
    ax.loglog(rows, plain, "s--", label="plain sums")
    ax.loglog(rows, whole[-1] * rows / rows[-1], ":", color="grey", label="in proportion to rows")
    ax.set(xlabel="rows", ylabel="seconds", title=f"slope over the last step: {slope:.2f}")
    ax.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=150)
    return slope


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e8)
    parser.add_argument("--groups", type=float, help="at the largest size; default: rows / 100")
    parser.add_argument("--memory-limit", default="1.5GB")
    parser.add_argument("--folder", type=Path, help="where the files are made (room is needed)")
    parser.add_argument("--lme4-rows", type=float, default=1e6, help="lme4 begins with these")
    parser.add_argument("--lme4-seconds", type=float, default=600, help="give lme4 up after this")
    parser.add_argument("--out", type=Path, default=Path(".handbook/larger-than-memory.json"))
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, file = options.measure
        found = WAYS[way](Path(file), options.memory_limit)
        found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(found))
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # files go then, too
    largest = int(options.rows)
    first = 6 if largest > 10**6 else 4
    sizes = [10**k for k in range(first, 12) if 10**k < largest] + [largest]
    with tempfile.TemporaryDirectory(prefix="pylmm-bench-", dir=options.folder) as folder:
        room, wanted = shutil.disk_usage(folder).free, 1.3 * BYTES_PER_ROW * largest
        if room < wanted:
            print(f"Skipped: {wanted / 1e9:.0f} GB of disk are needed, {room / 1e9:.0f} are free.")
            return
        try:
            run(sizes, options, Path(folder))
        except (KeyboardInterrupt, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "interrupted" not in str(error):
                raise  # DuckDB turns an interrupt into one
            raise SystemExit("Interrupted; the files are removed.") from None


def run(sizes: list[int], options: argparse.Namespace, folder: Path) -> None:
    """Time all sizes and print the table."""
    print(f"Random slope from Parquet, DuckDB limited to {options.memory_limit}\n")
    print("| rows | groups | file, GB | plain sums, s | file to fit, s | ratio | fit alone, s "
          "| peak, GB | largest difference from rows in memory |")  # fmt: skip
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    records: list[dict[str, Any]] = []
    for rows in sizes:
        groups = max(int((options.groups or sizes[-1] / 100) * rows / sizes[-1]), 100)
        path = folder / f"{rows}.parquet"
        make_file(rows, groups, path, options.memory_limit)
        plain, whole = (measure(way, path, options.memory_limit) for way in ("plain", "whole"))
        difference = float("nan")
        if rows <= IN_MEMORY_ROWS:
            held = np.array(measure("memory", path, options.memory_limit)["estimates"])
            difference = float(np.max(np.abs(np.array(whole["estimates"]) / held - 1)))
        record = {
            "rows": rows, "groups": groups, "gb": path.stat().st_size / 1e9,
            "plain": plain["seconds"], "whole": whole["seconds"], "fit": whole["fit"],
            "peak_gb": whole["peak_gb"], "difference": difference,
        }  # fmt: skip
        records.append(record)
        shown = "not tried" if np.isnan(difference) else f"{difference:.0e}"
        print(
            f"| {rows:,} | {groups:,} | {record['gb']:.2f} | {record['plain']:.2f} "
            f"| {record['whole']:.2f} | {record['whole'] / record['plain']:.1f} "
            f"| {record['fit']:.2f} | {record['peak_gb']:.2f} | {shown} |",
            flush=True,
        )
        if rows != sizes[-1]:
            path.unlink()
    slope = plot(records, options.out.with_suffix(".png"))
    print(f"\nSeconds grow as rows to the power {slope:.2f} over the last step.")
    path = folder / f"{sizes[-1]}.parquet"
    lme4: list[dict[str, Any]] = []
    if shutil.which("Rscript") is None:
        print("lme4: R is not there.")
    else:
        ends = int(options.lme4_rows), sizes[-1]
        lme4 = beside_lme4(path, ends, options.lme4_seconds, options.memory_limit, folder)
    result = {"runs": records, "slope": slope, "lme4": lme4}
    options.out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    worst = max((r["difference"] for r in records if r["difference"] > EXACT), default=None)
    if worst is not None:
        raise SystemExit(f"Estimates differ by {worst:.0e} from those of rows in memory.")


if __name__ == "__main__":
    main()

"""Fit cows within herds to a Parquet file from the sums of its cells, and time it.

    python benchmarks/three_levels_on_disk.py [--rows 1e7] [--cows 1e5] [--herds 1e3]

The file is made and removed by the command. Prints the seconds from the file to the sums and from
the sums to the fit, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

#: Cow and herd effects and the residual, uniform with standard deviations near 0.3, 0.3 and 0.6.
ROWS_SQL = """
SELECT cow, herd, x, 5 + x + (hash(cow) % 1000) / 1000 + (hash(herd + 7) % 1000) / 1000
  + (hash(i + 13) % 2000) / 1000 AS y
FROM (SELECT i, i % {cows} AS cow, (i % {cows}) % {herds} AS herd, (hash(i + 5) % 1000) / 1000 AS x
  FROM range({rows}) AS numbers(i))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--cows", type=float, default=1e5)
    parser.add_argument("--herds", type=float, default=1e3)
    options = parser.parse_args()
    rows, cows, herds = (int(v) for v in (options.rows, options.cows, options.herds))
    import duckdb

    from pylmm_helpers import cross_products, fit_lmm

    with tempfile.TemporaryDirectory(prefix="pylmm-bench-") as folder:
        path = Path(folder) / "rows.parquet"
        with duckdb.connect() as database:
            query = ROWS_SQL.format(rows=rows, cows=cows, herds=herds)
            database.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
        start = time.perf_counter()
        products = cross_products(path, "y ~ x + (1 | herd/cow)", progress=False)
        middle = time.perf_counter()
        fit = fit_lmm(products)
        end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print("| rows | cells | file to sums, s | sums to fit, s | peak, GB | criterion |")
    print("|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {rows:,} | {products.ncells:,} | {middle - start:.2f} | {end - middle:.2f} "
        f"| {peak:.2f} | {fit.criterion:.4f} |"
    )


if __name__ == "__main__":
    main()

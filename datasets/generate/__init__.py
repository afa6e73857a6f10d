"""Generators of the handbook's simulated data: `python -m datasets.generate` rewrites all.

The streams are NumPy's Generator over PCG64 with the seed declared in each module; with the
pinned NumPy the files come out byte for byte as they are in the repository, which a test checks.
"""

from __future__ import annotations

from pathlib import Path

from datasets.generate import (
    bp_trial,
    dairy_herds,
    hospital_costs,
    neighbourhood_health,
    test_days,
)
from datasets.generate._codebook import codebook_bytes
from datasets.generate._shared import DataSet, csv_bytes

DATASETS: tuple[DataSet, ...] = (
    dairy_herds.DATASET,
    bp_trial.DATASET,
    neighbourhood_health.DATASET,
    hospital_costs.DATASET,
    test_days.DATASET,
)
FOLDER = Path(__file__).resolve().parents[1]


def write_all(into: Path = FOLDER, published: Path = FOLDER / "published") -> list[Path]:
    """Write the csv files and datapackage.json, and return their paths.

    Parameters
    ----------
    into
        The folder to write to; by default the repository's own datasets/.
    published
        The folder of published files that the codebook lists too.
    """
    contents = {dataset.name: csv_bytes(dataset) for dataset in DATASETS}
    codebook = codebook_bytes(contents, DATASETS, published)
    files = {f"{name}.csv": content for name, content in contents.items()}
    files["datapackage.json"] = codebook
    for name, content in files.items():
        (into / name).write_bytes(content)
    return [into / name for name in files]

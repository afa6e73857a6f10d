"""The recorded values are what R gives today, where R is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = "lme4,lmerTest,pbkrtest,jsonlite"


def r_is_ready() -> bool:
    if shutil.which("Rscript") is None:
        return False
    wanted = ",".join(f'"{name}"' for name in PACKAGES.split(","))
    test = f"quit(status = !all(sapply(c({wanted}), requireNamespace, quietly = TRUE)))"
    return (
        subprocess.run(
            ["Rscript", "--vanilla", "-e", test], capture_output=True, check=False
        ).returncode
        == 0
    )


def numbers(value: Any, where: str = "") -> dict[str, float]:
    """Every number of nested lists and objects, by its place."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    else:
        return {where: float(value)}
    return {k: v for name, part in parts for k, v in numbers(part, f"{where}/{name}").items()}


def test_r_gives_the_recorded_values_again(tmp_path):
    if not r_is_ready():
        pytest.skip(f"needs Rscript with {PACKAGES}")
    made = tmp_path / "helpers.json"
    script = "tests/helpers/record_reference_helpers.R"
    subprocess.run(
        ["Rscript", "--vanilla", script, str(made)], cwd=ROOT, check=True, capture_output=True
    )
    old = json.loads((ROOT / "tests/helpers/reference/helpers.json").read_text())
    new = json.loads(made.read_text())
    old.pop("versions"), new.pop("versions")
    recorded, today = numbers(old), numbers(new)
    assert recorded.keys() == today.keys()
    # other versions of R and lme4 stop their searches a little elsewhere
    different = {
        place: (value, today[place])
        for place, value in recorded.items()
        if value != pytest.approx(today[place], rel=1e-4, abs=1e-5)
    }
    assert not different

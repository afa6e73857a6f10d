"""What lme4, lmerTest and pbkrtest gave (record_reference.R), and the data they were given."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.engine.results import LMMResults

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@cache
def recorded() -> dict[str, Any]:
    return json.loads((HERE / "reference" / "lme4.json").read_text(encoding="utf-8"))


CASES = {case["id"]: case for case in recorded()["cases"]}


def with_key(key: str) -> list[str]:
    """Cases that recorded a quantity."""
    return [name for name, case in CASES.items() if key in case]


def read(name: str) -> pd.DataFrame:
    published = ROOT / "datasets" / "published" / f"{name}.csv"
    return pd.read_csv(published if published.exists() else HERE / "data" / f"{name}.csv")


@cache
def fitted(case_id: str) -> LMMResults:
    """This package's fit of a recorded case."""
    case = CASES[case_id]
    return fit_lmm(
        case["fixed"].replace("factor(", "C("),
        read(case["data"]),
        case["group"],
        case["random"],
        reml=case["reml"],
        weights=case["weights"],
    )


def standard_errors(case: dict[str, Any]) -> np.ndarray:
    return np.sqrt(np.diag(np.atleast_2d(case["vcov"])))

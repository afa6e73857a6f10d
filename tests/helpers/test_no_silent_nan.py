"""A test whose variance or degrees of freedom don't exist is refused with a remedy, never NaN."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pylmm_helpers import LMMResults, coef_table, contrast, fit_lmm
from pylmm_helpers.inference.coefficients import pooled_df


@pytest.fixture
def eight_rows() -> LMMResults:
    """Two crossed factors, two rows a group, a variance of zero; pbkrtest warns of its df."""
    return fit_lmm(
        "y ~ a * b",
        pd.DataFrame(
            {
                "y": [3.0, 3.2, 5.0, 5.2, 4.0, 4.2, 6.0, 6.2],
                "a": list("mmmmnnnn"),
                "b": list("uuvvuuvv"),
                "g": list("pqrsspqr"),
            }
        ),
        "g",
    )


def test_a_joint_kenward_roger_test_without_denominator_is_refused(eight_rows: LMMResults) -> None:
    terms = ["`a[T.n]`", "`a[T.n]:b[T.v]`"]
    with pytest.raises(ValueError, match=r"joint test of .*8 rows in 4 groups.*df='satterthwaite'"):
        contrast(eight_rows, terms)
    row = contrast(eight_rows, terms, df="satterthwaite").iloc[0]
    assert row[["statistic", "df_den"]].tolist() == pytest.approx([50.0, 4.0], rel=1e-6)
    assert row["p_value"] == pytest.approx(0.0015, abs=5e-5)


def outcome(call: Any) -> pd.DataFrame | str:
    try:
        return pd.DataFrame(call())
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("df", ["kenward-roger", "satterthwaite"])
def test_tiny_data_give_numbers_or_a_reason(df: str) -> None:
    rng = np.random.default_rng(0)
    given = refused = 0
    for _ in range(150):
        sizes = rng.integers(1, 4, rng.integers(3, 6))
        g = np.repeat(np.arange(len(sizes)), sizes)
        n = len(g)
        z = rng.integers(0, 2, len(sizes))[g]
        x, y = rng.normal(size=(2, n)).round(1)
        frame = pd.DataFrame({"g": g, "x": x, "z": z, "y": y})
        fit = outcome_of_fit(frame)
        if fit is None:
            continue
        p = len(fit.fe_params)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results = [
                outcome(lambda fit=fit: coef_table(fit, df)),
                *(outcome(lambda fit=fit, k=k, p=p: contrast(fit, np.eye(p)[k:], df=df))
                  for k in range(p - 1)),
            ]  # fmt: skip
        for found in results:
            if isinstance(found, str):
                refused += 1
                assert "Ask for df=" in found
            else:
                given += 1
                assert np.isfinite(found.to_numpy(dtype=float)).all()
    assert given > 100
    assert (refused > 0) == (df == "kenward-roger")


def outcome_of_fit(frame: pd.DataFrame) -> LMMResults | None:
    try:
        return fit_lmm("y ~ x * z", frame, "g")
    except ValueError:  # too few rows for the formula
        return None


def test_infinite_degrees_of_freedom_pool_to_infinity() -> None:
    assert np.isinf(pooled_df(np.array([np.inf, np.inf])))
    # a part known exactly counts 1 in the expectation (df / (df - 2) in the limit)
    assert pooled_df(np.array([np.inf, 10.0])) == pytest.approx(2 * 2.25 / 0.25)

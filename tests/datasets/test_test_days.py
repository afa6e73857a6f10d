"""test_days: its design, and REML gives back its truths within what sampling alone allows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _test_days_recovery import fit_milk, fit_scores, milk_errors, score_errors, variances

from datasets.generate import test_days
from datasets.generate._shared import csv_bytes, random_stream
from pylmm_helpers.data.datasets import load

MILK, SCORES = test_days.DATASET.truths


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return load("test_days")


def test_levels_are_nested_and_technicians_cross_herds(data: pd.DataFrame) -> None:
    for inner, outer in [("lactation", "cow"), ("cow", "herd"), ("herd", "region")]:
        assert (data.groupby(inner)[outer].nunique() == 1).all(), inner
    counts = data[["region", "herd", "technician"]].nunique()
    assert counts.to_dict() == {"region": 6, "herd": 36, "technician": 12}
    # A visit has one technician, a herd several, and a technician visits herds of every kind.
    assert (data.groupby(["herd", "visit"])["technician"].nunique() == 1).all()
    assert (data.groupby("herd")["technician"].nunique() >= 3).all()
    assert (data.groupby("technician")["region"].nunique() >= 3).all()


def test_predictors_live_at_the_levels_that_the_codebook_says(data: pd.DataFrame) -> None:
    for column, level in [("housing", "herd"), ("breed", "cow"), ("parity", "lactation")]:
        assert (data.groupby(level)[column].nunique() == 1).all(), column
    assert (data.groupby("cow")["parity"].nunique() > 1).any()
    # Numbers of cows repeat from herd to herd; the labels of cows don't.
    assert data["cow_number"].nunique() < data["cow"].nunique() / 20


def test_days_of_a_lactation_rise_in_unequal_steps(data: pd.DataFrame) -> None:
    steps = data.groupby("lactation")["dim"].diff().dropna()
    assert steps.min() > 0
    assert steps.nunique() > 10


def test_cows_that_give_little_leave_sooner(data: pd.DataFrame) -> None:
    frame = pd.DataFrame(test_days.simulate(random_stream(test_days.DATASET.seed)))
    np.testing.assert_array_equal(frame["milk_kg"], data["milk_kg"])
    last = data.groupby("lactation").tail(1)
    early = last[(last["dim"] < 230) & (last["visit"] < 650)]
    late = last[last["dim"] >= 270]
    assert 0.1 < len(early) / len(last) < 0.4
    # Milk falls with days in milk; those that left gave less all the same.
    assert early["milk_kg"].mean() < late["milk_kg"].mean() - 1


def test_scores_are_quarter_points(data: pd.DataFrame) -> None:
    assert (data["bcs"] % 0.25 == 0).all()


def test_reml_recovers_the_truth_of_the_milk(data: pd.DataFrame) -> None:
    fit = fit_milk(data)
    fixed = (fit.fe_params - pd.Series(MILK.fixed)) / fit.bse_fe
    errors = milk_errors(MILK, data)
    found = variances(fit) | {"phi": fit.phi}
    random = {name: (found[name] - MILK.random[name]) / errors[name] for name in errors}
    # As the seed was chosen, see the module.
    assert fixed.abs().max() < 2, fixed
    assert set(found) == set(MILK.random)
    assert max(map(abs, random.values())) < 1, random
    assert abs(random["sigma2_region"]) < 0.5


def test_reml_recovers_the_truth_of_the_scores(data: pd.DataFrame) -> None:
    fit = fit_scores(data)
    fixed = (fit.fe_params - pd.Series(SCORES.fixed)) / fit.bse_fe
    errors = score_errors(SCORES, data)
    found = variances(fit)
    random = {name: (found[name] - SCORES.random[name]) / errors[name] for name in errors}
    assert fixed.abs().max() < 2, fixed
    assert set(found) == set(SCORES.random)
    assert max(map(abs, random.values())) < 1, random


def test_many_seeds_scatter_around_the_truth() -> None:
    # Six seeds, not chosen: the mean of each standardised estimate lies within 3.5 / sqrt(6) = 1.43
    # with probability 0.9995; a slope or variance drawn wrongly by a quarter leaves it.
    total = pd.Series(0.0, index=list(MILK.fixed))
    for seed in range(1, 7):
        fit = fit_milk(_drawn(seed))
        total += (fit.fe_params - pd.Series(MILK.fixed)) / fit.bse_fe
    assert (total / 6).abs().max() < 1.43, total / 6


def _drawn(seed: int) -> pd.DataFrame:
    lines = csv_bytes(test_days.DATASET, seed).decode().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    frame = pd.DataFrame(rows, columns=lines[0].split(","))
    for column in test_days.DATASET.columns:
        if column.levels:
            frame[column.name] = pd.Categorical(frame[column.name], list(column.levels))
        elif column.type != "string":
            frame[column.name] = frame[column.name].astype(float)
    return frame

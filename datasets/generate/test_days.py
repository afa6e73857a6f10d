"""Test days of cows: lactations in cows in herds in regions, with technicians who cross herds.

Two outcomes are drawn on each test day. Milk, in kg a day, has a variance at every level and
serial correlation within the lactation:

    milk_kg = 26 + {0 tie, 2 free} + {0 Holstein, -4 Jersey, -1 crossbred}
              + {0 first parity, 5 second, 7 later} + w1 + w2 + w3
              + region + herd + cow + lactation + e

w1 = -0.9 dim / 100 and w2 = -8 exp(-0.05 dim) are Wilmink's lactation curve (Wilmink 1987), and
w3 is what somatic cells, x = ln(scc), take away: -0.5 a unit within the lactation, -1 between
lactations of a herd, -3 between herds, so the contextual effects are -0.5 and -2. The variances
are 1, 5, 6 and 4 kg squared; e has variance 9, and the correlation 0.6 ** (days apart / 30).

The body condition score is given by a technician, who scores every cow of a visit, in quarter
points; herd, cow and technician have variances of 0.010, 0.030 and 0.020.

A herd is visited every four to six weeks. A lactation is seen from its calving within the study's
two years to day 305, to the end of the study, or until the cow leaves the herd, which is the
likelier the less she gave on her last test day. So the drop-out is at random, given the past.

The seed is the smallest for which the REML estimates of all variances, and of the correlation,
lie within one standard error of their truths (that of regions within half of one, so that it is
not zero), and those of all fixed effects within two.
"""

from __future__ import annotations

import numpy as np

from datasets.generate._shared import Column, DataSet, Table, Truth, labels, whole

REGIONS, HERDS_A_REGION, TECHNICIANS = 6, 6, 12
DAYS, LONGEST, BETWEEN_CALVINGS = 730, 305, 385
HOUSING = {"tie": 0.0, "free": 2.0}
BREEDS = {"Holstein": 0.0, "Jersey": -4.0, "crossbred": -1.0}
BREED_SHARES = (0.70, 0.15, 0.15)
PARITY_CLASS = (0.0, 5.0, 7.0)
FIRST_PARITY_SHARES = (0.34, 0.27, 0.20, 0.12, 0.07)
INTERCEPT, LINEAR, EARLY, DECAY = 26.0, -0.9, -8.0, 0.05
CELLS_WITHIN, CELLS_LACTATION, CELLS_HERD = -0.5, -1.0, -3.0
CELLS_MEAN, CELLS_SD = 4.3, {"herd": 0.6, "cow": 0.5, "lactation": 0.3, "test": 0.6}
MILK_SIGMA2 = {"region": 1.0, "herd": 5.0, "cow": 6.0, "lactation": 4.0}
SIGMA2, PHI = 9.0, 0.6 ** (1 / 30)
SCORE_SIGMA2 = {"herd": 0.010, "cow": 0.030, "technician": 0.020}
SCORE_RESIDUAL, SCORE_STEP = 0.030, 0.25
SCORE_INTERCEPT, SCORE_LINEAR, SCORE_EARLY = 2.70, 0.15, 0.50
MILK_MODEL = (
    "milk_kg ~ 1 + housing + breed + parity_class + dim + exp(-0.05 * dim) + cells "
    "+ cells_lactation + cells_herd + (1 | region) + (1 | herd) + (1 | cow) + (1 | lactation)"
)
SCORE_MODEL = "bcs ~ 1 + dim + exp(-0.05 * dim) + (1 | herd) + (1 | cow) + (1 | technician)"


def lactation_curve(dim: np.ndarray) -> np.ndarray:
    """Return the curve of Wilmink (1987, Livest. Prod. Sci. 16, 335-348), less its intercept."""
    return LINEAR * dim / 100 + EARLY * np.exp(-DECAY * dim)


def simulate(rng: np.random.Generator) -> Table:
    """Draw herds, visits, cows and lactations; then milk, drop-out and scores."""
    plan = _visits_of_lactations(rng)
    herd, cow, lactation, dim = (plan[name] for name in ("herd", "cow", "lactation", "dim"))
    scc = _somatic_cells(rng, plan)
    breed, housing, parity = plan["breed"], plan["housing"], plan["parity"]
    x = np.log(scc) - CELLS_MEAN
    x_lactation, x_herd = _means(x, lactation), _means(x, herd)
    milk = INTERCEPT + lactation_curve(dim)
    milk += np.array(list(HOUSING.values()))[housing] + np.array(list(BREEDS.values()))[breed]
    milk += np.array(PARITY_CLASS)[np.minimum(parity, 3) - 1]
    milk += CELLS_WITHIN * (x - x_lactation) + CELLS_LACTATION * (x_lactation - x_herd)
    milk += CELLS_HERD * x_herd
    for level, sigma2 in MILK_SIGMA2.items():
        milk += np.sqrt(sigma2) * rng.standard_normal(plan[level].max() + 1)[plan[level]]
    milk = np.maximum(np.round(milk + np.sqrt(SIGMA2) * _serial(rng, lactation, dim), 1), 1.0)
    bcs = _scores(rng, plan)
    kept = _still_in_the_herd(rng, cow, milk)
    herds, first = labels("H", REGIONS * HERDS_A_REGION, 2), plan["cow_number"]
    cows = [f"{herds[h]}-{n:02d}" for h, n in zip(herd, first, strict=True)]
    columns = {
        "sample": np.array(labels("S", int(kept.sum()), 4)),
        "region": np.array(labels("R", REGIONS, 1))[plan["region"]],
        "herd": np.array(herds)[herd],
        "cow": np.array(cows),
        "cow_number": first.astype(str),
        "lactation": np.array([f"{c}-{k}" for c, k in zip(cows, parity, strict=True)]),
        "technician": np.array(labels("T", TECHNICIANS, 2))[plan["technician"]],
        "visit": plan["visit"],
        "dim": dim,
        "parity": parity,
        "parity_class": np.array(["first", "second", "later"])[np.minimum(parity, 3) - 1],
        "housing": np.array(list(HOUSING))[housing],
        "breed": np.array(list(BREEDS))[breed],
        "milk_kg": milk,
        "scc": scc,
        "bcs": bcs,
    }
    return {
        name: values if name == "sample" else values[kept].tolist()
        for name, values in columns.items()
    } | {"sample": columns["sample"].tolist()}


def _visits_of_lactations(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Lay out who is seen when: one entry a scheduled test day, in the order of the file."""
    rows: list[tuple[int, ...]] = []
    cows = lactations = 0
    herds = REGIONS * HERDS_A_REGION
    # In each region half of the herds keep their cows free, so that region and housing don't mix.
    housing = np.concatenate(
        [rng.permutation([0, 1] * (HERDS_A_REGION // 2)) for _ in range(REGIONS)]
    )
    for herd in range(herds):
        visits = np.cumsum(rng.integers(26, 45, 40)) - 26
        visits = visits[visits < DAYS]
        team = rng.choice(TECHNICIANS, 4, replace=False)
        technician = rng.choice(team, len(visits))
        for number in range(1, int(rng.integers(6, 15)) + 1):
            breed = int(rng.choice(len(BREEDS), p=BREED_SHARES))
            parity = 1 + int(rng.choice(len(FIRST_PARITY_SHARES), p=FIRST_PARITY_SHARES))
            calving = int(rng.integers(0, BETWEEN_CALVINGS))
            while calving < DAYS - 90:
                following = calving + BETWEEN_CALVINGS + int(rng.integers(-25, 60))
                seen = (visits >= calving + 5) & (visits <= min(calving + LONGEST, following - 50))
                place = (herd // HERDS_A_REGION, herd, cows, number, lactations)
                rows += [
                    (*place, who, day, day - calving, parity, housing[herd], breed)
                    for day, who in zip(visits[seen], technician[seen], strict=True)
                ]
                lactations += bool(seen.any())
                parity, calving = parity + 1, following
            cows += 1
    names = ("region", "herd", "cow", "cow_number", "lactation", "technician", "visit", "dim",
             "parity", "housing", "breed")  # fmt: skip
    return dict(zip(names, np.array(rows).T, strict=True))


def _somatic_cells(rng: np.random.Generator, plan: dict[str, np.ndarray]) -> np.ndarray:
    """Draw cell counts in 1,000 a ml, log-normal, with variation at four levels."""
    count = len(plan["dim"])
    log_cells = CELLS_MEAN + CELLS_SD["test"] * rng.standard_normal(count)
    for level in ("herd", "cow", "lactation"):
        drawn = CELLS_SD[level] * rng.standard_normal(plan[level].max() + 1)
        log_cells += drawn[plan[level]]
    return whole(np.exp(log_cells), 3, 9999)


def _serial(rng: np.random.Generator, lactation: np.ndarray, dim: np.ndarray) -> np.ndarray:
    """Draw standard normal values with correlation PHI ** days within a lactation."""
    values = rng.standard_normal(len(dim))
    for row in range(1, len(dim)):
        if lactation[row] == lactation[row - 1]:
            rho = PHI ** (dim[row] - dim[row - 1])
            values[row] = rho * values[row - 1] + np.sqrt(1 - rho**2) * values[row]
    return values


def _scores(rng: np.random.Generator, plan: dict[str, np.ndarray]) -> np.ndarray:
    """Draw body condition scores, given in quarter points."""
    dim = plan["dim"]
    score = SCORE_INTERCEPT + SCORE_LINEAR * dim / 100 + SCORE_EARLY * np.exp(-DECAY * dim)
    for level, sigma2 in SCORE_SIGMA2.items():
        score += np.sqrt(sigma2) * rng.standard_normal(plan[level].max() + 1)[plan[level]]
    score += np.sqrt(SCORE_RESIDUAL) * rng.standard_normal(len(dim))
    scored: np.ndarray = np.clip(np.rint(score / SCORE_STEP) * SCORE_STEP, 1, 5)
    return scored


def _still_in_the_herd(rng: np.random.Generator, cow: np.ndarray, milk: np.ndarray) -> np.ndarray:
    """Tell which test days happen: a cow may leave after any, the likelier the less she gave."""
    leaves = rng.random(len(milk)) < 1 / (1 + np.exp(3.4 + 0.20 * (milk - 24)))
    kept = np.ones(len(milk), dtype=bool)
    for row in range(1, len(milk)):
        if cow[row] == cow[row - 1]:
            kept[row] = kept[row - 1] and not leaves[row - 1]
    return kept


def _means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return each row's mean of its group, taken over the scheduled test days."""
    means: np.ndarray = np.bincount(group, values) / np.bincount(group)
    return means[group]


DATASET = DataSet(
    name="test_days",
    title="Test days of cows in 36 herds",
    description="Simulated. Monthly test days of cows in 36 herds of six regions over two years, "
    "one or more lactations of a cow: milk, somatic cells, and a body condition score given by "
    "one of twelve technicians. Some lactations end early. One row a cow and test day.",
    seed=146,
    key="sample",
    columns=(
        Column("sample", "string", "Milk sample", pattern="S[0-9]{4}"),
        Column("region", "string", "Region of the herd", pattern="R[0-9]"),
        Column("herd", "string", "Herd", pattern="H[0-9]{2}"),
        Column("cow", "string", "Cow", pattern="H[0-9]{2}-[0-9]{2}"),
        Column(
            "cow_number",
            "string",
            "Number of the cow in its herd; each herd has a cow 1",
            pattern="[0-9]{1,2}",
        ),
        Column(
            "lactation",
            "string",
            "Lactation: the cow and her parity",
            pattern="H[0-9]{2}-[0-9]{2}-[0-9]",
        ),
        Column("technician", "string", "Technician who scored the cow", pattern="T[0-9]{2}"),
        Column("visit", "integer", "Day of the study", "days", minimum=0, maximum=DAYS),
        Column(
            "dim", "integer", "Days in milk: days since calving", "days", minimum=5, maximum=LONGEST
        ),
        Column("parity", "integer", "Lactation number", "lactations", minimum=1, maximum=7),
        Column(
            "parity_class",
            "string",
            "Lactation number in three classes; later: third or more",
            levels=("first", "second", "later"),
        ),
        Column("housing", "string", "Housing of the herd", levels=tuple(HOUSING)),
        Column("breed", "string", "Breed of the cow", levels=tuple(BREEDS)),
        Column("milk_kg", "number", "Milk yield", "kg a day", decimals=1, minimum=1, maximum=60),
        Column(
            "scc",
            "integer",
            "Somatic cell count of the milk",
            "1,000 cells/ml",
            minimum=3,
            maximum=9999,
        ),
        Column(
            "bcs",
            "number",
            "Body condition score, in quarter points",
            "points",
            decimals=2,
            minimum=1,
            maximum=5,
        ),
    ),
    truths=(
        Truth(
            model=MILK_MODEL,
            fixed={
                "Intercept": INTERCEPT,
                "housing[T.free]": HOUSING["free"],
                "breed[T.Jersey]": BREEDS["Jersey"],
                "breed[T.crossbred]": BREEDS["crossbred"],
                "parity_class[T.second]": PARITY_CLASS[1],
                "parity_class[T.later]": PARITY_CLASS[2],
                "dim": LINEAR / 100,
                "exp(-0.05 * dim)": EARLY,
                "cells": CELLS_WITHIN,
                "cells_lactation": CELLS_LACTATION - CELLS_WITHIN,
                "cells_herd": CELLS_HERD - CELLS_LACTATION,
            },
            random={f"sigma2_{level}": value for level, value in MILK_SIGMA2.items()}
            | {"sigma2": SIGMA2, "phi": PHI},
            note="Cells is log(scc) - 4.3, beside its means in the lactation and in the herd; "
            "the truth has the means of all scheduled test days, the file those that happened. "
            "Residuals of a lactation that are d days apart have the correlation phi to the "
            "power d, which is 0.6 for 30 days.",
        ),
        Truth(
            model=SCORE_MODEL,
            fixed={
                "Intercept": SCORE_INTERCEPT,
                "dim": SCORE_LINEAR / 100,
                "exp(-0.05 * dim)": SCORE_EARLY,
            },
            random={f"sigma2_{level}": value for level, value in SCORE_SIGMA2.items()}
            | {"sigma2": SCORE_RESIDUAL + SCORE_STEP**2 / 12},
            note="Technicians cross herds. The residual variance holds that of giving scores in "
            "quarter points, a twelfth of 0.25 squared.",
        ),
    ),
    simulate=simulate,
)

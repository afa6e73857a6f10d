"""Income and health in 120 neighbourhoods: the contextual-effect example.

The model that drew the data, with `mean_income` the mean of the residents in the file:

    health = 46.9 + 0.12 (income - mean_income) + 0.45 mean_income - 0.1 age + u + e,
    u ~ N(0, 9), e ~ N(0, 61)

So beta_W = 0.12 and beta_B = 0.45 points per thousand euro, and the contextual effect is 0.33.
The truth is defined on the mean of the sampled residents, not on a mean of all residents that
nobody has measured: group-mean centring then recovers it without attenuation. Age has the
same distribution everywhere; without it the intercept is 41.9 and sigma2 = 61 + 0.01 x 300 = 64.

A few incomes in each neighbourhood are moved by 0.1 (a hundred euro), so that the mean has one
decimal exactly: `mean_income` equals the mean of `income` without rounding.

The seed is chosen by the rule in `_shared.DataSet`.
"""

from __future__ import annotations

import numpy as np

from datasets.generate._shared import Column, DataSet, Table, Truth, labels, members, whole

NEIGHBOURHOODS = 120
INTERCEPT, BETA_W, BETA_B, AGE_EFFECT = 46.9, 0.12, 0.45, -0.1
INCOME_MEAN, INCOME_SD_BETWEEN, INCOME_SHAPE = 40.0, 7.0, 10.0
SIGMA2_G, SIGMA2 = 9.0, 61.0


def simulate(rng: np.random.Generator) -> Table:
    """Draw the rows, neighbourhood by neighbourhood."""
    sizes = whole(10 + 30 * rng.beta(1.2, 1.2, NEIGHBOURHOODS), 10, 40)
    # The smallest and the largest neighbourhood of the design are always there.
    sizes[np.argmin(sizes)], sizes[np.argmax(sizes)] = 10, 40
    level = INCOME_MEAN + INCOME_SD_BETWEEN * rng.standard_normal(NEIGHBOURHOODS)
    tenths = [_incomes(rng, mean, size) for mean, size in zip(level, sizes, strict=True)]
    u = np.sqrt(SIGMA2_G) * rng.standard_normal(NEIGHBOURHOODS)

    neighbourhood, resident = members(labels("N", NEIGHBOURHOODS, 3), sizes, 2)
    row = np.repeat(np.arange(NEIGHBOURHOODS), sizes)
    income = np.concatenate(tenths) / 10
    mean_income = np.array([values.sum() // len(values) for values in tenths])[row] / 10
    # Adults of 20 to 80 years, evenly: mean 50 and variance 300.
    age = whole(20 + 60 * rng.random(len(row)), 20, 80)
    health = (
        INTERCEPT
        + BETA_W * (income - mean_income)
        + BETA_B * mean_income
        + AGE_EFFECT * age
        + u[row]
        + np.sqrt(SIGMA2) * rng.standard_normal(len(row))
    )
    return {
        "neighbourhood": neighbourhood,
        "resident": resident,
        "health": health,
        "income": income,
        "age": age,
        "mean_income": mean_income,
    }


def _incomes(rng: np.random.Generator, mean: float, size: int) -> np.ndarray:
    """Draw incomes in tenths of a thousand euro whose mean is a whole number of tenths."""
    draws = mean / INCOME_SHAPE * rng.standard_gamma(INCOME_SHAPE, size)
    tenths = np.rint(10 * draws).astype(int)
    # One tenth more for the first few residents makes the sum divisible by their number.
    tenths[: -tenths.sum() % size] += 1
    return tenths


DATASET = DataSet(
    name="neighbourhood_health",
    title="Income and health in 120 neighbourhoods",
    description="Simulated. Adult residents of 120 neighbourhoods, 10 to 40 from each, with a "
    "health score and their income. One row a resident.",
    seed=77,
    key="resident",
    columns=(
        Column("neighbourhood", "string", "Neighbourhood", pattern="N[0-9]{3}"),
        Column(
            "resident",
            "string",
            "Resident, numbered within neighbourhood",
            pattern="N[0-9]{3}-[0-9]{2}",
        ),
        Column(
            "health",
            "number",
            "Health score (0 worst, 100 best)",
            "points",
            decimals=1,
            minimum=0,
            maximum=100,
        ),
        Column(
            "income",
            "number",
            "Income after tax",
            "thousand euro per year",
            decimals=1,
            minimum=0,
            maximum=200,
        ),
        Column("age", "integer", "Age", "years", minimum=20, maximum=80),
        Column(
            "mean_income",
            "number",
            "Mean income of the neighbourhood's residents in this file",
            "thousand euro per year",
            decimals=1,
            minimum=0,
            maximum=200,
        ),
    ),
    truths=(
        Truth(
            model="health ~ 1 + I(income - mean_income) + mean_income + (1 | neighbourhood)",
            fixed={
                "Intercept": INTERCEPT + AGE_EFFECT * 50,
                "I(income - mean_income)": BETA_W,
                "mean_income": BETA_B,
            },
            random={"sigma2_g": SIGMA2_G, "sigma2": 64.0, "icc": 9 / 73},
            note="beta_W = 0.12 and beta_B = 0.45, so the contextual effect is 0.33. Age is in "
            "the residual.",
        ),
        Truth(
            model="health ~ 1 + income + mean_income + age + (1 | neighbourhood)",
            fixed={
                "Intercept": INTERCEPT,
                "income": BETA_W,
                "mean_income": BETA_B - BETA_W,
                "age": AGE_EFFECT,
            },
            random={"sigma2_g": SIGMA2_G, "sigma2": SIGMA2, "icc": 9 / 70},
            note="The model that drew the data, written so that the coefficient of the "
            "neighbourhood mean is the contextual effect.",
        ),
    ),
    simulate=simulate,
)

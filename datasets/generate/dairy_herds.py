"""Milk solids of cows in 50 dairy herds: the random-intercept example.

Truth without predictors: mean 180 kg, sigma2_g = 200, sigma2 = 800, so the ICC is 0.20.

Truth with predictors:

    milk_kg = 169 + 6 parity - 0.2 dtfs + {0 pasture, 10 mixed, 20 confined} + u + e,
    u ~ N(0, 150), e ~ N(0, 700)

Feeding has variance 50 between herds (a quarter pasture, a half mixed, a quarter confined),
which with 150 makes 200. Parity and days to first service have the same distribution in
every herd and together variance 36 x 2.3475 + 0.04 x 387.4 = 100 within herds, which with 700
makes 800. Herd size and region have no effect of their own; herd size goes with feeding, so
on its own it seems to have one.

The seed is chosen by the rule in `_shared.DataSet`.
"""

from __future__ import annotations

import numpy as np

from datasets.generate._shared import Column, DataSet, Table, Truth, labels, members, whole

HERDS = 50
FEEDING = {"pasture": 0.0, "mixed": 10.0, "confined": 20.0}
HERDS_BY_FEEDING = {"pasture": 13, "mixed": 25, "confined": 12}
TYPICAL_HERD_SIZE = {"pasture": 70.0, "mixed": 100.0, "confined": 180.0}
HERDS_BY_REGION = {"north": 18, "south": 17, "west": 15}
PARITY_SHARES = (0.30, 0.24, 0.18, 0.13, 0.09, 0.06)
INTERCEPT, PARITY_EFFECT, DTFS_EFFECT = 169.0, 6.0, -0.2
SIGMA2_G, SIGMA2 = 150.0, 700.0


def simulate(rng: np.random.Generator) -> Table:
    """Draw the rows, herd by herd."""
    sizes = whole(8 + 52 * rng.beta(1.1, 2.0, HERDS), 8, 60)
    # The smallest and the largest herd of the design are always there.
    sizes[np.argmin(sizes)], sizes[np.argmax(sizes)] = 8, 60
    feeding = rng.permutation([name for name, n in HERDS_BY_FEEDING.items() for _ in range(n)])
    region = rng.permutation([name for name, n in HERDS_BY_REGION.items() for _ in range(n)])
    typical = np.array([TYPICAL_HERD_SIZE[str(name)] for name in feeding])
    on_farm = whole(typical * np.exp(0.35 * rng.standard_normal(HERDS)), 20, 600)
    herd_size = np.maximum(on_farm, sizes)
    u = np.sqrt(SIGMA2_G) * rng.standard_normal(HERDS)

    herd, cow = members(labels("H", HERDS, 2), sizes, 2)
    row = np.repeat(np.arange(HERDS), sizes)
    parity = 1 + np.searchsorted(np.cumsum(PARITY_SHARES)[:-1], rng.random(len(row)), side="right")
    dtfs = whole(35 + 9.84 * rng.standard_gamma(4.0, len(row)), 30, 250)
    fed = np.array([FEEDING[str(name)] for name in feeding])
    expected = INTERCEPT + PARITY_EFFECT * parity + DTFS_EFFECT * dtfs + fed[row]
    milk_kg = expected + u[row] + np.sqrt(SIGMA2) * rng.standard_normal(len(row))
    return {
        "herd": herd,
        "cow": cow,
        "milk_kg": milk_kg,
        "parity": parity,
        "dtfs": dtfs,
        "herd_size": herd_size[row],
        "feeding": [str(name) for name in feeding[row]],
        "region": [str(name) for name in region[row]],
    }


DATASET = DataSet(
    name="dairy_herds",
    title="Milk solids in 50 dairy herds",
    description="Simulated. Cows sampled from 50 herds, 8 to 60 cows from each, with the milk "
    "solids of their first 100 days in milk. One row a cow.",
    seed=425,
    key="cow",
    columns=(
        Column("herd", "string", "Herd", pattern="H[0-9]{2}"),
        Column("cow", "string", "Cow, numbered within its herd", pattern="H[0-9]{2}-[0-9]{2}"),
        Column(
            "milk_kg",
            "number",
            "Milk solids over the first 100 days in milk",
            "kg",
            decimals=1,
            minimum=20,
            maximum=350,
        ),
        Column("parity", "integer", "Lactation number", "lactations", minimum=1, maximum=6),
        Column(
            "dtfs", "integer", "Days from calving to first service", "days", minimum=30, maximum=250
        ),
        Column("herd_size", "integer", "Cows in milk on the farm", "cows", minimum=8, maximum=600),
        Column("feeding", "string", "Feeding system of the herd", levels=tuple(FEEDING)),
        Column("region", "string", "Region of the farm", levels=tuple(HERDS_BY_REGION)),
    ),
    truths=(
        Truth(
            model="milk_kg ~ 1 + (1 | herd)",
            fixed={"Intercept": 180.0},
            random={"sigma2_g": 200.0, "sigma2": 800.0, "icc": 0.20},
            note="Without predictors the variances contain what the predictors explain: 50 "
            "between herds and 100 within.",
        ),
        Truth(
            model="milk_kg ~ 1 + parity + dtfs + feeding + herd_size + region + (1 | herd)",
            fixed={
                "Intercept": INTERCEPT,
                "parity": PARITY_EFFECT,
                "dtfs": DTFS_EFFECT,
                "feeding[T.mixed]": FEEDING["mixed"],
                "feeding[T.confined]": FEEDING["confined"],
                "herd_size": 0.0,
                "region[T.south]": 0.0,
                "region[T.west]": 0.0,
            },
            random={"sigma2_g": SIGMA2_G, "sigma2": SIGMA2, "icc": 150 / 850},
            note="The model that drew the data. Herd size and region have no effect, so leaving "
            "them out changes no other parameter.",
        ),
    ),
    simulate=simulate,
)

"""Cost and recovery in 25 hospitals, five of them tiny: the shrinkage and Box-Cox example.

Twenty hospitals have 100 patients each and five have 3. Truth without predictors:

    recovery:  mean 70, sigma2_g = 5, sigma2 = 20 (shrinkage 0.96 and 0.43)
    log(cost): mean 8.7, sigma2_g = 0.05, sigma2 = 0.20 (the same shrinkage, lambda 0)

The model that drew the data:

    recovery  = 77.425 - 1.3 severity - 0.06 age + u + e,    u ~ N(0, 5), e ~ N(0, 17)
    log(cost) = 7.9575 + 0.13 severity + 0.006 age + v + d,  v ~ N(0, 0.05), d ~ N(0, 0.17)

Severity has variance 1.4275 and age 169, the same in every hospital, so the two add
1.69 x 1.4275 + 0.0036 x 169 = 3 to the residual variance of recovery and
0.0169 x 1.4275 + 0.000036 x 169 = 0.03 to that of log cost.

Severity is the one column with missing values in a generated file: some 5 % of the patients in the
twenty large hospitals, more often the older ones (3.5 % at 52 years, 7 % at 72), are not graded.
Given age, missingness depends on nothing else (missing at random).

The seed is chosen by the rule in `_shared.DataSet`.
"""

from __future__ import annotations

import numpy as np

from datasets.generate._shared import Column, DataSet, Table, Truth, labels, members, whole

LARGE, SMALL = 20, 5
PATIENTS_LARGE, PATIENTS_SMALL = 100, 3
SEVERITY_SHARES = (0.15, 0.25, 0.30, 0.20, 0.10)
AGE_MEAN, AGE_SD = 62.0, 13.0
RECOVERY_INTERCEPT, RECOVERY_SEVERITY, RECOVERY_AGE = 77.425, -1.3, -0.06
RECOVERY_SIGMA2_G, RECOVERY_SIGMA2 = 5.0, 17.0
COST_INTERCEPT, COST_SEVERITY, COST_AGE = 7.9575, 0.13, 0.006
COST_SIGMA2_G, COST_SIGMA2 = 0.05, 0.17


def simulate(rng: np.random.Generator) -> Table:
    """Draw the rows, hospital by hospital."""
    sizes = rng.permutation([PATIENTS_LARGE] * LARGE + [PATIENTS_SMALL] * SMALL)
    u = np.sqrt(RECOVERY_SIGMA2_G) * rng.standard_normal(LARGE + SMALL)
    v = np.sqrt(COST_SIGMA2_G) * rng.standard_normal(LARGE + SMALL)

    hospital, patient = members(labels("C", LARGE + SMALL, 2), sizes, 3)
    row = np.repeat(np.arange(LARGE + SMALL), sizes)
    severity = 1 + np.searchsorted(
        np.cumsum(SEVERITY_SHARES)[:-1], rng.random(len(row)), side="right"
    )
    age = whole(AGE_MEAN + AGE_SD * rng.standard_normal(len(row)), 18, 99)
    recovery = (
        RECOVERY_INTERCEPT
        + RECOVERY_SEVERITY * severity
        + RECOVERY_AGE * age
        + u[row]
        + np.sqrt(RECOVERY_SIGMA2) * rng.standard_normal(len(row))
    )
    log_cost = (
        COST_INTERCEPT
        + COST_SEVERITY * severity
        + COST_AGE * age
        + v[row]
        + np.sqrt(COST_SIGMA2) * rng.standard_normal(len(row))
    )
    ungraded = rng.random(len(row)) < 0.05 * np.exp2((age - AGE_MEAN) / 20)
    ungraded &= sizes[row] == PATIENTS_LARGE
    return {
        "hospital": hospital,
        "patient": patient,
        "cost": np.exp(log_cost),
        "recovery": recovery,
        "severity": np.where(ungraded, np.nan, severity),
        "age": age,
    }


DATASET = DataSet(
    name="hospital_costs",
    title="Cost and recovery in 25 hospitals of very different size",
    description="Simulated. Patients of 20 hospitals with 100 patients each and 5 hospitals with "
    "3 each, with the cost of their stay and a recovery score. One row a patient.",
    seed=702,
    key="patient",
    columns=(
        Column("hospital", "string", "Hospital", pattern="C[0-9]{2}"),
        Column(
            "patient", "string", "Patient, numbered within hospital", pattern="C[0-9]{2}-[0-9]{3}"
        ),
        Column("cost", "integer", "Cost of the stay", "euro", minimum=500, maximum=100000),
        Column(
            "recovery",
            "number",
            "Recovery score at discharge (0 none, 100 full)",
            "points",
            decimals=1,
            minimum=0,
            maximum=100,
        ),
        Column(
            "severity",
            "integer",
            "Severity on admission (1 mildest, 5 gravest)",
            "grade",
            minimum=1,
            maximum=5,
            missing="Not graded; more often in older patients, and only in the large hospitals. "
            "Missing at random given age.",
        ),
        Column("age", "integer", "Age on admission", "years", minimum=18, maximum=99),
    ),
    truths=(
        Truth(
            model="recovery ~ 1 + (1 | hospital)",
            fixed={"Intercept": 70.0},
            random={"sigma2_g": RECOVERY_SIGMA2_G, "sigma2": 20.0, "icc": 0.20},
            note="Shrinkage factor 5 / (5 + 20 / m): 0.96 for 100 patients, 0.43 for 3.",
        ),
        Truth(
            model="recovery ~ 1 + severity + age + (1 | hospital)",
            fixed={
                "Intercept": RECOVERY_INTERCEPT,
                "severity": RECOVERY_SEVERITY,
                "age": RECOVERY_AGE,
            },
            random={"sigma2_g": RECOVERY_SIGMA2_G, "sigma2": RECOVERY_SIGMA2, "icc": 5 / 22},
            note="The model that drew the recovery score; rows without severity are left out.",
        ),
        Truth(
            model="np.log(cost) ~ 1 + (1 | hospital)",
            fixed={"Intercept": 8.7},
            random={"sigma2_g": COST_SIGMA2_G, "sigma2": 0.20, "icc": 0.20},
            note="On the log scale the same shrinkage; the Box-Cox lambda is near 0.",
        ),
        Truth(
            model="np.log(cost) ~ 1 + severity + age + (1 | hospital)",
            fixed={"Intercept": COST_INTERCEPT, "severity": COST_SEVERITY, "age": COST_AGE},
            random={"sigma2_g": COST_SIGMA2_G, "sigma2": COST_SIGMA2, "icc": 0.05 / 0.22},
            note="The model that drew the cost; rows without severity are left out.",
        ),
    ),
    simulate=simulate,
)

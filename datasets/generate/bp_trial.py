"""A blood-pressure trial in 30 hospitals: the random-slope example.

Patients are randomised within hospital. The model that drew the data:

    bp_reduction = -27.55 + 0.25 baseline_sbp - 0.1 age + (6.5 + 4.5 teaching) treatment
                   + u0 + u1 treatment + e,
    var(u0) = 15, var(u1) = 11.5, cov(u0, u1) = 8, var(e) = 54

Two smaller models hold as well. Without the cross-level interaction the mean treatment effect
is 6.5 + 4.5/3 = 8 mmHg, and its variance 11.5 + 4.5^2 x 2/9 = 16 (a third of the hospitals are
teaching hospitals). Without baseline and age, the intercept variance is 15 + 0.25^2 x 16 = 16
(baseline differs between hospitals with variance 16) and the residual variance
54 + 0.25^2 x 144 + 0.1^2 x 100 = 64. The covariance of intercept and slope is 8 throughout,
a correlation of 0.5 in the smallest model. Sex has no effect, nor has the type of hospital on
control patients.

The seed is chosen by the rule in `_shared.DataSet`.
"""

from __future__ import annotations

import numpy as np

from datasets.generate._shared import Column, DataSet, Table, Truth, labels, members, whole

HOSPITALS, TEACHING = 30, 10
INTERCEPT, BASELINE_EFFECT, AGE_EFFECT = -27.55, 0.25, -0.1
TREATMENT_EFFECT, TEACHING_BONUS = 6.5, 4.5
BASELINE_MEAN, BASELINE_SD_BETWEEN, BASELINE_SD_WITHIN = 155.0, 4.0, 12.0
AGE_MEAN, AGE_SD = 62.0, 10.0
SIGMA2_U0, SIGMA2_U1, SIGMA_U01, SIGMA2 = 15.0, 11.5, 8.0, 54.0


def simulate(rng: np.random.Generator) -> Table:
    """Draw the rows, hospital by hospital."""
    sizes = whole(12 + 48 * rng.beta(1.3, 1.3, HOSPITALS), 12, 60)
    # The smallest and the largest hospital of the design are always there.
    sizes[np.argmin(sizes)], sizes[np.argmax(sizes)] = 12, 60
    teaching = rng.permutation(np.arange(HOSPITALS) < TEACHING)
    baseline_shift = BASELINE_SD_BETWEEN * rng.standard_normal(HOSPITALS)
    root = np.linalg.cholesky(np.array([[SIGMA2_U0, SIGMA_U01], [SIGMA_U01, SIGMA2_U1]]))
    u = rng.standard_normal((HOSPITALS, 2)) @ root.T

    hospital, patient = members(labels("T", HOSPITALS, 2), sizes, 2)
    row = np.repeat(np.arange(HOSPITALS), sizes)
    # Allocation is balanced within each hospital, as blocked randomisation makes it.
    treatment = np.concatenate([rng.permutation(np.arange(size) % 2) for size in sizes])
    baseline = BASELINE_MEAN + baseline_shift[row]
    baseline_sbp = whole(baseline + BASELINE_SD_WITHIN * rng.standard_normal(len(row)), 100, 220)
    age = whole(AGE_MEAN + AGE_SD * rng.standard_normal(len(row)), 25, 95)
    sex = np.where(rng.random(len(row)) < 0.48, "female", "male")
    effect = TREATMENT_EFFECT + TEACHING_BONUS * teaching + u[:, 1]
    bp_reduction = (
        INTERCEPT
        + BASELINE_EFFECT * baseline_sbp
        + AGE_EFFECT * age
        + u[row, 0]
        + effect[row] * treatment
        + np.sqrt(SIGMA2) * rng.standard_normal(len(row))
    )
    return {
        "hospital": hospital,
        "patient": patient,
        "bp_reduction": bp_reduction,
        "treatment": treatment,
        "baseline_sbp": baseline_sbp,
        "age": age,
        "sex": [str(value) for value in sex],
        "hospital_type": ["teaching" if teaching[j] else "community" for j in row],
    }


_COVARIATES = {"baseline_sbp": BASELINE_EFFECT, "age": AGE_EFFECT, "sex[T.male]": 0.0}

DATASET = DataSet(
    name="bp_trial",
    title="A blood-pressure trial in 30 hospitals",
    description="Simulated. A trial randomised within 30 hospitals, 12 to 60 patients in each, "
    "with the fall in systolic blood pressure after 12 weeks. One row a patient.",
    seed=550,
    key="patient",
    columns=(
        Column("hospital", "string", "Hospital", pattern="T[0-9]{2}"),
        Column(
            "patient", "string", "Patient, numbered within hospital", pattern="T[0-9]{2}-[0-9]{2}"
        ),
        Column(
            "bp_reduction",
            "number",
            "Fall in systolic blood pressure, baseline minus 12 weeks (negative: it rose)",
            "mmHg",
            decimals=1,
            minimum=-45,
            maximum=65,
        ),
        Column("treatment", "integer", "Allocation: 0 usual care, 1 new drug", levels=(0, 1)),
        Column(
            "baseline_sbp",
            "integer",
            "Systolic blood pressure at baseline",
            "mmHg",
            minimum=100,
            maximum=220,
        ),
        Column("age", "integer", "Age at baseline", "years", minimum=25, maximum=95),
        Column("sex", "string", "Sex", levels=("female", "male")),
        Column("hospital_type", "string", "Type of hospital", levels=("community", "teaching")),
    ),
    truths=(
        Truth(
            model="bp_reduction ~ 1 + treatment + (1 + treatment | hospital)",
            fixed={"Intercept": 5.0, "treatment": 8.0},
            random={"sigma2_u0": 16.0, "sigma2_u1": 16.0, "sigma_u01": 8.0, "sigma2": 64.0},
            note="Without covariates the variances contain what they explain.",
        ),
        Truth(
            model="bp_reduction ~ 1 + treatment + baseline_sbp + age + sex"
            " + (1 + treatment | hospital)",
            fixed={"Intercept": INTERCEPT, "treatment": 8.0, **_COVARIATES},
            random={"sigma2_u0": 15.0, "sigma2_u1": 16.0, "sigma_u01": 8.0, "sigma2": 54.0},
            note="The treatment effect still contains the difference between hospital types.",
        ),
        Truth(
            model="bp_reduction ~ 1 + treatment * hospital_type + baseline_sbp + age + sex"
            " + (1 + treatment | hospital)",
            fixed={
                "Intercept": INTERCEPT,
                "treatment": TREATMENT_EFFECT,
                "hospital_type[T.teaching]": 0.0,
                "treatment:hospital_type[T.teaching]": TEACHING_BONUS,
                **_COVARIATES,
            },
            random={
                "sigma2_u0": SIGMA2_U0,
                "sigma2_u1": SIGMA2_U1,
                "sigma_u01": SIGMA_U01,
                "sigma2": SIGMA2,
            },
            note="The model that drew the data. Sex has no effect, nor has the type of hospital "
            "on control patients.",
        ),
    ),
    simulate=simulate,
)

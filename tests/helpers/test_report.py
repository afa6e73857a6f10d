"""The reporting paragraph says what was done and what came out, with the fit's own numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.inference.coefficients import coef_table
from pylmm_helpers.inference.profile import profile_ci
from pylmm_helpers.quantities.variance import icc, variance_components
from pylmm_helpers.show.paragraph import report

ROOT = Path(__file__).parents[2]
NB = "\N{NO-BREAK SPACE}"
ENDS = ["ci_low", "ci_high"]


def data(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "datasets" / f"{name}.csv")


@pytest.fixture(scope="module")
def dairy():
    return fit_lmm("milk_kg ~ parity + C(feeding)", data("dairy_herds"), "herd")


def test_methods_name_estimation_model_sizes_and_df_method(dairy):
    text = report(dairy)
    for words in ("restricted maximum likelihood (REML)", "parity and feeding", "random intercept",
                  f"{dairy.nobs:,} observations in {dairy.ngroups} groups", "8 to 60 each",
                  "Kenward and Roger"):  # fmt: skip
        assert words in text


def test_results_carry_the_fits_numbers(dairy):
    text = report(dairy, unit="kg")
    parts, row = variance_components(dairy), coef_table(dairy).loc["parity"]
    ratio = icc(dairy)
    assert f"between-herd variance was {parts.loc['Intercept', 'variance']:.0f} kg²" in text
    low, high = profile_ci(dairy, parameters=["sd(Intercept)"]).loc["sd(Intercept)", ENDS] ** 2
    size = f"SD {parts.loc['Intercept', 'sd']:.1f} kg; 95% CI of the variance"
    assert f"({size} {low:.1f} to {high:.0f})" in text
    assert "those of variances profile the REML criterion" in text
    assert "intraclass correlation of two rows of the same herd, given the predictors," in text
    assert f"parity {row['estimate']:.2f} kg per unit (95% CI {row['ci_low']:.2f} to" in text
    assert f"was {ratio['estimate']:.2f} (95% profile likelihood CI {ratio['ci_low']:.2f}" in text


def test_categories_name_what_they_are_compared_with(dairy):
    assert "feeding mixed (against confined) −" in report(dairy)


def test_maximum_likelihood_is_said_and_uses_satterthwaite():
    text = report(fit_lmm("milk_kg ~ parity", data("dairy_herds"), "herd", reml=False))
    assert "by maximum likelihood (ML)" in text and "Satterthwaite" in text
    assert "Kenward" not in text


def test_a_slope_model_gives_the_correlation_and_no_single_icc():
    fit = fit_lmm("Reaction ~ Days", data("published/sleepstudy"), "Subject", "1 + Days")
    text = report(fit)
    assert "The correlation of intercept and slope of Days was 0.07." in text
    assert "intraclass" not in text and "(10 each)" in text


def test_degrees_of_freedom_are_one_number_and_letters_of_tests_are_italic(dairy):
    df = coef_table(dairy).loc["parity", "df"]
    assert df > 1000
    assert f"; t({df:.1f}){NB}={NB}" in report(dairy)
    assert f"; *t*({df:.1f}){NB}={NB}" in report(dairy)._repr_markdown_()
    assert f", *p*{NB}<{NB}0.001)" in report(dairy)._repr_markdown_()


@pytest.fixture(scope="module")
def trial():
    data_ = data("bp_trial")
    fixed = "bp_reduction ~ treatment * baseline_sbp + C(sex)"
    return fit_lmm(fixed, data_, "hospital", "1 + treatment")


def test_a_difference_has_the_unit_of_the_response_and_a_slope_a_unit_per_unit(trial):
    text = report(trial, unit="mmHg")
    estimates = {item.split(" (95% CI")[0] for item in text.split("Fixed effects: ")[1].split("; ")}
    units = {item.split(" ")[0]: item for item in estimates if "×" not in item}
    assert units["treatment"].endswith(" mmHg") and units["intercept"].endswith(" mmHg")
    assert units["baseline_sbp"].endswith(" mmHg per unit")
    assert any("× baseline_sbp" in e and e.endswith(" mmHg per unit") for e in estimates)
    text = report(trial, unit="mmHg", per={"baseline_sbp": "10 mmHg"})
    assert text.count(" mmHg per 10 mmHg (95%") == 2 and "per unit" not in text
    assert "per" not in report(trial).split("Fixed effects: ")[1]


def test_variances_of_slopes_have_units_too(trial):
    parts = variance_components(trial)
    sizes = parts.loc["treatment", "variance"], parts.loc["treatment", "sd"]
    text = report(trial, unit="mmHg")
    assert f"slope of treatment was {sizes[0]:.1f} mmHg² (SD {sizes[1]:.2f} mmHg;" in text
    sleep = fit_lmm("Reaction ~ Days", data("published/sleepstudy"), "Subject", "1 + Days")
    text = report(sleep, unit="ms", per={"Days": "day"})
    assert "slope of Days was 35.1 (ms per day)² (SD 5.92 ms per day;" in text
    assert "slope of Days was 35.1 (SD 5.92;" in report(sleep)
    assert "was 35.1 (kg/d per unit)² (SD 5.92 kg/d per unit;" in report(sleep, unit="kg/d")


def test_the_variance_of_an_intercept_is_said_to_belong_to_a_place():
    frame = data("published/sleepstudy")
    sleep = fit_lmm("Reaction ~ Days", frame, "Subject", "1 + Days")
    text = report(sleep, unit="kg/d")
    assert "between-Subject variance where Days = 0 was 612 (kg/d)² (SD 24.7 kg/d;" in text
    frame["c"] = frame["Days"] - 4.5
    centred = fit_lmm("Reaction ~ c", frame, "Subject", "1 + c")
    there = centred.cov_re.iloc[0, 0]
    assert f"At the mean, Days = 4.50, the between-Subject variance was {there:,.0f} (kg/" in text
    text = report(centred)
    assert f"between-Subject variance where c = 0, its mean, was {there:,.0f} (SD" in text
    assert "At the mean" not in text and "between-Subject variance was" not in text


def test_labels_stand_for_the_names_of_columns_and_terms(trial):
    labels = {"bp_reduction": "the fall in systolic pressure", "baseline_sbp": "baseline pressure",
              "treatment": "the drug", "hospital": "clinic", "sex": "patient's sex"}  # fmt: skip
    text = report(trial, labels=labels)
    assert "model for the fall in systolic pressure by" in text
    fixed = "the drug, baseline pressure, the drug × baseline pressure and patient's sex"
    assert f"fixed effects of {fixed} and a random intercept and a random slope of the drug" in text
    assert "for each clinic" in text and "between-clinic variance" in text
    assert "; patient's sex male (against female) " in text
    assert "intercept and slope of the drug" in text
    assert not any(f"{name} " in text for name in ("bp_reduction", "baseline_sbp", "hospital"))


def test_a_term_is_labelled_however_the_engine_spells_it():
    frame, labels = data("dairy_herds"), {"I(parity**2)": "parity squared"}
    for fit in (
        fit_lmm("milk_kg ~ parity + I(parity**2)", frame, "herd"),
        smf.mixedlm("milk_kg ~ parity + I(parity**2)", frame, groups="herd").fit(),
    ):
        text = report(fit, labels=labels, per={"I(parity**2)": "lactation²"}, unit="kg")
        assert "parity and parity squared and" in text and "; parity squared −" in text
        assert "I(" not in text and " kg per lactation² (" in text


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("labels", {"party": "parity"}, "'party', which is no column or term"),
        ("per", {"parity": 1}, "as text"),
        ("labels", "parity", "give a dict"),
        ("unit", 1, "as text"),
    ],
)
def test_words_that_would_do_nothing_are_refused(dairy, argument, value, words):
    with pytest.raises(ValueError, match=words):
        report(dairy, **{argument: value})


def test_a_singular_fit_is_said():
    text = report(fit_lmm("Yield ~ 1", data("published/dyestuff2"), "Batch"))
    assert (
        "singular" in text
        and "variance was 0 (SD 0; 95% CI of the variance 0 to" in text
        and "no predictors" in text
    )


def test_dropped_rows_are_counted():
    frame = data("dairy_herds")
    frame.loc[[3, 77], "parity"] = None
    text = report(fit_lmm("milk_kg ~ parity", frame, "herd", missing="drop"))
    assert "2 rows with missing values were left out" in text


def test_a_statsmodels_fit_names_its_engine():
    text = report(smf.mixedlm("milk_kg ~ parity", data("dairy_herds"), groups="herd").fit())
    assert "fitted with statsmodels" in text and "each herd" in text


def test_wald_tests_use_z_and_kenward_roger_needs_reml(dairy):
    text = report(dairy, df="wald")
    assert f"; z{NB}={NB}" in text and f"; *z*{NB}={NB}" in text._repr_markdown_()
    with pytest.raises(ValueError, match="df"):
        report(dairy, df="exact")


def test_small_p_values_are_not_zero_and_minus_signs_are_minus_signs(dairy):
    text = report(dairy)
    assert f"p{NB}<{NB}0.001" in text and "0.000" not in text and " -" not in text


def test_it_prints_and_shows_as_the_same_text(dairy):
    text = report(dairy)
    assert str(text) == repr(text) == text._repr_markdown_().replace("*", "")


def test_symbols_in_term_names_are_not_taken_for_markup():
    text = report(fit_lmm("milk_kg ~ parity + I(parity**2)", data("dairy_herds"), "herd"))
    assert "parity**2" in text
    assert r"parity\*\*2" in text._repr_markdown_()


@pytest.mark.parametrize(
    ("formula", "re_formula", "says"),
    [
        ("y ~ 0 + C(k)", "0 + C(k)", "effects of k and a random mean for each category of k, corr"),
        ("y ~ cond", "0 + cond", "effects of cond and a random mean for each category of cond, c"),
        ("y ~ x + cond - 1", "1", "fixed effects of x and cond and a random intercept for each"),
        ("y ~ -1 + x", "0 + x", "fixed effects of x and a random slope of x for each g,"),
        ("y ~ `a b` + x", "0 + x + cond", "effects of length and x and a random mean for each cat"),
        ("y ~ (x + cond)**2", "1", "fixed effects of x, cond and x × cond and a random intercept"),
        (
            "y ~ bs(x, df=4) - 1",
            "1",
            "fixed effects of bs(x, df=4) and a random intercept for each",
        ),
    ],
)
def test_the_model_is_put_in_words_however_the_formula_is_written(formula, re_formula, says):
    rng = np.random.default_rng(5)
    g = np.repeat(range(12), 12)
    rows = pd.DataFrame({"g": g, "x": rng.normal(size=144), "a b": rng.normal(size=144)})
    rows = rows.assign(k=rng.integers(0, 2, 144), cond=rng.choice(["A", "B"], 144))
    rows["y"] = rng.normal(size=12)[g] + rng.normal(size=144) + rows["x"] * rng.normal(size=12)[g]
    text = report(fit_lmm(formula, rows, "g", re_formula), labels={"a b": "length"})
    assert says in text
    assert "`" not in text and "slope of k" not in text and "slope of cond" not in text
    if "mean for each" in says:
        assert "variance of the mean of" in text and "correlation of" in text


@pytest.mark.parametrize("name", ["Residual", "Total", "variance", "group", "sd"])
def test_a_slope_may_be_called_like_a_variance_component(name):
    frame = data("published/sleepstudy")
    texts = []
    for column in ("Days", name):
        named = frame.rename(columns={"Days": column})
        fit = fit_lmm(f"Reaction ~ {column}", named, "Subject", f"1 + {column}")
        texts.append(report(fit, labels={column: "time"}))
    assert texts[0] == texts[1]

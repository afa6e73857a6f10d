"""BLUPs, shrinkage and predictions against lme4 and against Henderson's mixed-model equations."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t

from pylmm_helpers.engine import refit
from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.quantities import blups, predict, shrinkage_factor

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
R = json.loads((HERE / "reference" / "helpers.json").read_text())["prediction"]


def data(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "datasets" / f"{name}.csv")


FITS = {
    "sleepstudy": lambda: fit_lmm(
        "Reaction ~ Days", data("published/sleepstudy"), "Subject", "1 + Days"
    ),
    "dairy": lambda: fit_lmm("milk_kg ~ parity + feeding", data("dairy_herds"), "herd"),
    "weighted": lambda: fit_lmm(
        "y ~ x + z", pd.read_csv(HERE / "data" / "unbalanced.csv"), "g", weights="w"
    ),
}


@pytest.fixture(scope="module", params=list(FITS))
def case(request):
    return FITS[request.param](), R[request.param]


@pytest.fixture(scope="module")
def sleepstudy():
    return FITS["sleepstudy"]()


def test_blups_and_conditional_sds_are_lme4s(case):
    fit, expected = case
    table = blups(fit)
    assert np.allclose(table["estimate"], expected["estimate"], rtol=1e-5, atol=1e-5)
    assert np.allclose(table["conditional_sd"], expected["conditional_sd"], rtol=1e-5)


def test_prediction_sds_are_from_the_inverse_of_hendersons_equations(case):
    fit, expected = case
    assert np.allclose(blups(fit)["prediction_sd"], expected["prediction_sd"], rtol=1e-5)


def test_standard_errors_of_group_predictions_use_the_joint_covariance(case):
    fit, expected = case
    se = predict(fit, level="group", interval="confidence")["std_error"].to_numpy()[:60]
    assert np.allclose(se, expected["fitted_se"], rtol=1e-5)


def test_prediction_sd_exceeds_conditional_sd_because_means_are_estimated(case):
    table = blups(case[0])
    assert (table["prediction_sd"] > table["conditional_sd"]).all()


def test_new_rows_and_new_groups_are_predicted_as_by_lme4(sleepstudy):
    new = pd.DataFrame({"Days": [0, 3, 12], "Subject": [308, 999, 335]})
    by_group = predict(sleepstudy, new, level="group")
    assert np.allclose(by_group["prediction"], R["new_group"], rtol=1e-6)
    assert list(by_group["known_group"]) == [True, False, True]
    assert np.allclose(predict(sleepstudy, new)["prediction"], R["new_population"], rtol=1e-8)


def test_an_unseen_group_has_the_whole_variance_between_groups(sleepstudy):
    new = {"Days": [4.0], "Subject": [999]}
    z = np.array([1.0, 4.0])
    fixed = z @ sleepstudy.cov_fe.to_numpy() @ z
    between = z @ sleepstudy.cov_re.to_numpy() @ z
    mean = predict(sleepstudy, new, "group", "confidence")["std_error"].iloc[0]
    one = predict(sleepstudy, new, "group", "prediction")["std_error"].iloc[0]
    average = predict(sleepstudy, new, "population", "confidence")["std_error"].iloc[0]
    anyone = predict(sleepstudy, new, "population", "prediction")["std_error"].iloc[0]
    assert mean == pytest.approx(np.sqrt(fixed + between))
    assert one == anyone == pytest.approx(np.sqrt(fixed + between + sleepstudy.scale))
    assert average == pytest.approx(np.sqrt(fixed))


def test_prediction_intervals_cover_new_observations():
    rng = np.random.default_rng(3)
    sizes = rng.integers(3, 9, 60)
    g = np.repeat(np.arange(60), sizes)
    hits = {"group": 0, "population": 0}
    for _ in range(40):
        u = 2.0 * rng.normal(size=80)
        x = rng.normal(size=len(g))
        y = 1.0 + x + u[g] + rng.normal(size=len(g))
        fit = fit_lmm("y ~ x", pd.DataFrame({"y": y, "x": x, "g": g}), "g")
        new = pd.DataFrame({"x": rng.normal(size=80), "g": np.arange(80)})  # 20 unseen groups
        truth = 1.0 + new["x"] + u + rng.normal(size=80)
        for level in hits:
            interval = predict(fit, new, level, "prediction")
            hits[level] += int(truth.between(interval["ci_low"], interval["ci_high"]).sum())
    for level, count in hits.items():
        assert 0.93 < count / 3200 < 0.97, level


def test_fitted_rows_are_the_default(case):
    fit = case[0]
    assert np.allclose(predict(fit, level="group")["prediction"], fit.fittedvalues)
    assert predict(fit).columns.tolist() == ["prediction"]


def test_student_quantiles_widen_the_interval(sleepstudy):
    normal = predict(sleepstudy, {"Days": [1.0]}, interval="confidence")
    student = predict(sleepstudy, {"Days": [1.0]}, interval="confidence", df=17)
    assert (student["ci_high"] - student["ci_low"] > normal["ci_high"] - normal["ci_low"]).all()


def reach_of(table: pd.DataFrame) -> np.ndarray:
    """How many standard errors the limits lie away."""
    return ((table["ci_high"] - table["prediction"]) / table["std_error"]).to_numpy()


def test_new_groups_get_t_with_two_degrees_less_than_groups(sleepstudy):
    new = pd.DataFrame({"Days": [0, 3], "Subject": [308, 999]})
    normal, student = norm.ppf(0.975), t.ppf(0.975, 18 - 2)
    for interval in ("confidence", "prediction"):
        found = reach_of(predict(sleepstudy, new, "group", interval))
        assert np.allclose(found, [normal, student], rtol=1e-12)
        found = reach_of(predict(sleepstudy, new, "group", interval, df=float("inf")))
        assert np.allclose(found, normal, rtol=1e-12)
        found = reach_of(predict(sleepstudy, new, "group", interval, df=5))
        assert np.allclose(found, t.ppf(0.975, 5), rtol=1e-12)
    # the population's mean has no group of its own; somebody of a new group has
    assert np.allclose(reach_of(predict(sleepstudy, new, interval="confidence")), normal)
    assert np.allclose(reach_of(predict(sleepstudy, new, interval="prediction")), student)


def test_with_two_groups_an_interval_for_a_new_one_asks_for_df():
    frame = data("published/sleepstudy").query("Subject in (308, 309)")
    fit = fit_lmm("Reaction ~ Days", frame, "Subject")
    new = {"Days": [4], "Subject": [999]}
    with pytest.raises(ValueError, match=r"2 levels of 'Subject'.*df="):
        predict(fit, new, "group", "confidence")
    with pytest.raises(ValueError, match=r"2 levels of 'Subject'.*df="):
        predict(fit, new, interval="prediction")
    assert predict(fit, new, "group", "confidence", df=1)["ci_low"].notna().all()
    assert predict(fit, {"Days": [4], "Subject": [308]}, "group", "prediction")["ci_low"].notna()[0]
    assert predict(fit, new, interval="confidence")["ci_low"].notna().all()
    assert predict(fit, new, "group").columns.tolist() == ["prediction", "known_group"]


def test_several_factors_take_the_fewest_levels_among_the_new_ones():
    frame = data("published/penicillin")
    fit = fit_lmm("diameter ~ 1 + (1 | plate) + (1 | sample)", frame)  # 24 plates, 6 samples
    new = pd.DataFrame({"plate": ["a", "zz", "a", "zz"], "sample": ["A", "A", "ZZ", "ZZ"]})
    degrees = np.array([np.inf, 22, 4, 4])
    for interval in ("confidence", "prediction"):
        found = reach_of(predict(fit, new, "group", interval))
        assert np.allclose(found, t.ppf(0.975, degrees), rtol=1e-12)
    # a factor that isn't named is averaged over: new for an observation, absent for a mean
    found = reach_of(predict(fit, new, "plate", "prediction"))
    assert np.allclose(found, t.ppf(0.975, 4), rtol=1e-12)
    found = reach_of(predict(fit, new, "plate", "confidence"))
    assert np.allclose(found, t.ppf(0.975, [np.inf, 22, np.inf, 22]), rtol=1e-12)
    found = reach_of(predict(fit, new, "plate", "prediction", df=float("inf")))
    assert np.allclose(found, norm.ppf(0.975), rtol=1e-12)


def test_with_six_groups_t_covers_a_new_groups_mean_and_the_normal_does_not():
    """A new group's mean, 6 groups of 20 rows, ICC 0.8: with t(4) the interval covers about 95 %,
    by the normal about 87 %. With 400 studies the binomial SD is at most 1.7 points, so 91.5 % is
    more than two of them away from either."""
    rng = np.random.default_rng(16)
    g = np.repeat(np.arange(6), 20)
    design = fit_lmm("y ~ 1", pd.DataFrame({"y": rng.normal(size=120), "g": g}), "g")
    held = {None: 0, float("inf"): 0}
    for _ in range(400):
        u = 2.0 * rng.normal(size=7)
        fit = refit(design, u[g] + rng.normal(size=120))
        for df in held:
            limits = predict(fit, {"g": ["new"]}, "group", "confidence", df=df).iloc[0]
            held[df] += int(limits["ci_low"] < u[6] < limits["ci_high"])
    assert held[None] / 400 > 0.915 > held[float("inf")] / 400


def test_shrinkage_of_the_lesson():
    assert shrinkage_factor(5, 20, 100) == pytest.approx(5 / 5.2)
    assert shrinkage_factor(5, 20, 4) == pytest.approx(0.5)
    assert shrinkage_factor(0, 20, 4) == 0.0
    assert shrinkage_factor(5, 0, 1) == 1.0
    assert shrinkage_factor(5, 20, 0) == 0.0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 10**6))
def test_shrinkage_lies_between_0_and_1_and_grows_with_size(between, within, m):
    small, large = shrinkage_factor(between, within, [m, 2 * m])
    assert 0.0 <= small <= large <= 1.0


@pytest.mark.parametrize("bad", [(-1, 1, 3), (1, -1, 3), (0, 0, 3), (1, 1, -2), (np.nan, 1, 2)])
def test_shrinkage_refuses_impossible_variances(bad):
    with pytest.raises(ValueError, match=r"sigma2|m must"):
        shrinkage_factor(*bad)


def test_a_random_intercepts_shrinkage_is_the_formula_and_draws_means_to_zero():
    frame = data("hospital_costs").dropna()
    fit = fit_lmm("recovery ~ 1", frame, "hospital")
    table = blups(fit)
    expected = shrinkage_factor(fit.cov_re.iloc[0, 0], fit.scale, table["n"].to_numpy())
    assert np.allclose(table["shrinkage"], expected)
    means = frame.groupby("hospital")["recovery"].mean() - fit.fe_params["Intercept"]
    assert np.allclose(table["estimate"], expected * means)


def test_a_singular_fit_has_blups_of_zero_with_no_uncertainty_of_their_own():
    fit = fit_lmm("Yield ~ 1", data("published/dyestuff2"), "Batch")
    table = blups(fit)
    assert (table[["estimate", "conditional_sd", "shrinkage"]] == 0).all().all()
    assert not table.isna().any().any()


def test_one_term_of_several_can_be_chosen(sleepstudy):
    both, days = blups(sleepstudy), blups(sleepstudy, "Days")
    assert np.allclose(both.xs("Days", level="term")["estimate"], days["estimate"])
    with pytest.raises(ValueError, match="random effects: Intercept"):
        blups(sleepstudy, "days")


def test_a_fit_from_statsmodels_predicts_as_it_does():
    frame = data("dairy_herds")
    fit = smf.mixedlm("milk_kg ~ parity + C(feeding)", frame, groups="herd").fit()
    assert np.allclose(predict(fit, level="group")["prediction"], fit.fittedvalues)
    again = predict(fit, frame.iloc[:5], level="group", interval="prediction")
    assert np.allclose(again["prediction"], fit.fittedvalues[:5])


def test_transformed_and_categorical_predictors_keep_the_coding_of_the_fit():
    frame = data("dairy_herds")
    fit = fit_lmm("milk_kg ~ np.log(herd_size) + C(feeding)", frame, "herd")
    some = frame[frame["feeding"] == "pasture"].head(3)  # one category only
    expected = predict(fit).loc[some.index, "prediction"]
    assert np.allclose(predict(fit, some)["prediction"], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"new_data": {"days": [1]}}, "'Days'"),
        ({"new_data": {"Days": [1, None]}}, "missing"),
        ({"new_data": {"Days": [1]}, "level": "group"}, "'Subject'"),
        ({"new_data": {"Days": [1], "Subject": [None]}, "level": "group"}, "missing"),
        ({"level": "subject"}, "population"),
        ({"interval": "credible"}, "confidence"),
        ({"interval": "confidence", "confidence": 95}, "level"),
        ({"interval": "confidence", "df": 0}, "df"),
        ({"interval": "confidence", "df": -float("inf")}, "df"),
        ({"interval": "confidence", "df": float("nan")}, "df"),
        ({"new_data": [1, 2]}, "DataFrame"),
        ({"new_data": pd.DataFrame({"Days": []})}, "no rows"),
    ],
)
def test_wrong_requests_are_named(sleepstudy, arguments, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=message):
            predict(sleepstudy, **arguments)


def test_an_unseen_category_is_refused_by_name():
    frame = data("dairy_herds")
    fit = fit_lmm("milk_kg ~ feeding", frame, "herd")
    with pytest.raises(ValueError, match="holds 'zoo'"):
        predict(fit, frame.head(2).assign(feeding="zoo"))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.sampled_from([1e-6, 1e-2, 1.0, 1e6]), st.sampled_from([0.0, -40.0, 1e6]))
def test_units_of_response_and_predictor_change_predictions_as_they_must(scale, shift):
    frame = data("published/sleepstudy")
    fit = FITS["sleepstudy"]()
    moved = frame.assign(r=scale * frame["Reaction"], d=frame["Days"] + shift)
    other = fit_lmm("r ~ d", moved, "Subject", "1 + d")
    mine = predict(fit, level="group", interval="prediction").drop(columns="known_group")
    theirs = predict(other, level="group", interval="prediction").drop(columns="known_group")
    assert np.allclose(theirs / scale, mine, rtol=1e-5)


TEXT_TYPES = ["object", "string[python]", "string[pyarrow]", "category", "unused", "ordered"]


@pytest.mark.parametrize("kind", TEXT_TYPES)
@pytest.mark.parametrize("formula", ["y ~ x * c", "y ~ x * C(c)"])
def test_every_type_of_text_is_the_same_category(kind, formula):
    if "pyarrow" in kind:
        pytest.importorskip("pyarrow")
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"g": np.repeat(range(8), 6), "x": rng.normal(size=48), "y": rng.normal(size=48)}
    )
    frame["c"] = np.array(["a", "b", "c"])[rng.integers(0, 3, 48)]
    dtype = {
        "unused": pd.CategoricalDtype(list("abcd")),
        "ordered": pd.CategoricalDtype(list("abc"), ordered=True),
    }.get(kind, kind)
    typed = frame.assign(c=frame["c"].astype(dtype))
    fit, plain = fit_lmm(formula, typed, "g"), fit_lmm(formula, frame, "g")
    assert np.allclose(fit.fe_params, plain.fe_params)
    rows = typed.head(5)
    expected = predict(plain, level="group", interval="prediction").head(5)
    for new in (rows, frame.head(5)):
        found = predict(fit, new, level="group", interval="prediction")
        assert np.allclose(found.to_numpy(float), expected.to_numpy(float))


def test_new_rows_need_numbers_where_the_fit_had_numbers(sleepstudy):
    frame = sleepstudy.frame.head(3)
    with pytest.raises(ValueError, match=r"'Days' of new_data has type (object|str).*to_numeric"):
        predict(sleepstudy, frame.assign(Days=["0", "1", "2"]))
    with pytest.raises(ValueError, match="'Days' stands twice"):
        predict(sleepstudy, pd.concat([frame, frame[["Days"]]], axis=1))
    with pytest.raises(ValueError, match="'Subject' stands twice"):
        predict(sleepstudy, pd.concat([frame, frame[["Subject"]]], axis=1), level="group")

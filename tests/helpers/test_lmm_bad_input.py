"""A right answer, or a ValueError that names the column and the remedy: nothing else, whatever the
data."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylmm_helpers.data.datasets import load
from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.engine.results import LMMResults
from pylmm_helpers.inference.coefficients import coef_table

HALF = 0.5  # stands in a formula below


def good() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(10), 6)
    x = rng.normal(size=60)
    return pd.DataFrame({"g": g, "x": x, "y": 1 + x + rng.normal(size=10)[g] + rng.normal(size=60)})


def with_columns(**columns: Any) -> pd.DataFrame:
    return good().assign(**columns)


def some(column: str, value: Any) -> pd.DataFrame:
    """The good data with one value in three rows."""
    data = good()
    data[column] = data[column].astype(float)
    data.loc[[3, 17, 40], column] = value
    return data


BAD = {
    "missing predictor": (some("x", np.nan), {}, r"'x' \(3\).*missing='drop'"),
    "missing response": (some("y", np.nan), {}, r"'y' \(3\)"),
    "missing group": (some("g", np.nan), {}, r"'g' \(3\)"),
    "infinite predictor": (some("x", np.inf), {}, "'x' holds 3 infinite"),
    "infinite response": (some("y", -np.inf), {}, "'y' holds 3 infinite"),
    "nothing left": (with_columns(x=np.nan), {"missing": "drop"}, "no complete row.*'x'"),
    "logarithm of negative values": (
        good(),
        {"formula": "np.log(y) ~ x"},
        r"np.log\(y\).*positive",
    ),
    "unknown predictor": (good(), {"formula": "y ~ age"}, "no column 'age'"),
    "misspelt predictor": (
        with_columns(parity=1),
        {"formula": "y ~ paritiy"},
        "Did you mean 'parity'",
    ),
    "unknown group": (good(), {"groups": "herd"}, "no column 'herd'"),
    "unknown random term": (good(), {"re_formula": "1 + age"}, "no column 'age'"),
    "constant predictor": (with_columns(x=3.0), {}, "'x' is constant.*drop it"),
    "almost constant predictor": (with_columns(x=1e6 + 1e-9 * good()["x"]), {}, "'x' is constant"),
    "duplicate predictor": (
        with_columns(copy=good()["x"]),
        {"formula": "y ~ x + copy"},
        "'copy' is a linear combination of 'x'",
    ),
    "sum of predictors": (
        with_columns(a=range(60), b=lambda d: 2 * d["a"] - d["x"]),
        {"formula": "y ~ x + a + b"},
        "'b'.*'x', 'a'",
    ),
    "predictor in other units": (
        with_columns(grams=1000 * good()["x"] + 5),
        {"formula": "y ~ x + grams"},
        "'grams'.*drop one",
    ),
    "column name twice": (pd.concat([good(), good()[["x"]]], axis=1), {}, "'x' stands 2 times"),
    "numbers as text": (
        with_columns(x=good()["x"].astype(str)),
        {},
        "'x' holds numbers stored as text.*to_numeric",
    ),
    "lists in a column": (
        with_columns(x=[[1.0]] * 60),
        {},
        "'x' holds values of type list",
    ),
    "response as text": (
        with_columns(y=good()["y"].astype(str)),
        {},
        "'y' holds numbers stored as text",
    ),
    "response of words": (with_columns(y=["low", "high"] * 30), {}, "response.*one numeric column"),
    "categorical response": (
        with_columns(y=pd.Categorical(["a", "b", "c"] * 20)),
        {},
        "response must be one numeric",
    ),
    "dates": (
        with_columns(x=pd.date_range("2020-01-01", periods=60)),
        {},
        "'x' has type datetime64.*days since",
    ),
    "complex numbers": (with_columns(x=good()["x"] + 1j), {}, "'x' has type complex"),
    "one group": (with_columns(g=1), {}, "'g' has only one group.*ordinary regression"),
    "one row a group": (with_columns(g=range(60)), {}, "'g'.*one row a group"),
    "more random effects than rows": (
        good().iloc[::3],
        {"re_formula": "1 + x"},
        "fewer random terms",
    ),
    "fewer groups than parameters": (
        with_columns(g=good()["g"] % 2),
        {"re_formula": "1 + x"},
        "2 groups in column 'g'.*fewer random terms",
    ),
    "more fixed effects than rows": (
        with_columns(k=range(60)),
        {"formula": "y ~ C(k)"},
        "fewer predictors",
    ),
    "constant response": (with_columns(y=7.0), {}, "response 'y' is constant"),
    "response computed from a predictor": (
        with_columns(y=2 * good()["x"] + 1),
        {},
        "'y' has no residual variation.*drop",
    ),
    "response measured once per group": (
        with_columns(y=good()["g"] ** 2.0),
        {},
        "'y' has no residual variation.*one row per group",
    ),
    "response explained by itself": (good(), {"formula": "y ~ x + y"}, "no residual variation|'y'"),
    "values too large to square": (with_columns(y=1e200 * good()["y"]), {}, "'y'.*change the unit"),
    "values too small to square": (
        with_columns(x=1e-200 * good()["x"]),
        {},
        "'x'.*change the unit",
    ),
    "no rows": (good().iloc[:0], {}, "no rows"),
    "no table": ([1, 2, 3], {}, "DataFrame, not list"),
    "no response": (good(), {"formula": "x"}, "no response"),
    "no fixed effect": (good(), {"formula": "y ~ 0"}, "no fixed effect"),
    "lme4's bar": (good(), {"formula": "y ~ x + (1 | g)"}, "groups=.*re_formula="),
    "bar in re_formula": (good(), {"re_formula": "1 | g"}, "contains '|'"),
    "broken formula": (good(), {"formula": "y ~ x +"}, "can't be read"),
    "formula of another type": (good(), {"formula": 3}, "formula must be text"),
    "random formula of another type": (good(), {"re_formula": None}, "re_formula must be text"),
    "two-sided random formula": (good(), {"re_formula": "y ~ x"}, "one-sided"),
    "no random term": (good(), {"re_formula": "0"}, "no term"),
    "groups as a series": (good(), {"groups": good()["g"]}, "name of one column"),
    "groups left out": (good(), {"groups": None}, "groups is missing"),
    "unknown way with missing values": (good(), {"missing": "omit"}, "'raise' or 'drop'"),
    "negative weights": (good(), {"weights": -np.ones(60)}, "positive and finite"),
    "weights of another length": (good(), {"weights": [1.0, 2.0]}, "one value per row"),
    "weights of words": (with_columns(w="heavy"), {"weights": "w"}, "'w' must be numbers"),
    "unknown weights": (good(), {"weights": "w"}, "no column 'w'"),
    "zero column": (
        with_columns(z=0.0),
        {"re_formula": "0 + z"},
        "'z' is zero in every row",
    ),
    "random term twice": (
        with_columns(copy=good()["x"]),
        {"re_formula": "1 + x + copy"},
        "random-effect term 'copy'.*re_formula",
    ),
    "function of an unknown name": (good(), {"formula": "y ~ spread(x)"}, "no column 'spread'"),
}


WEIGHTS = 1.0 + good().index.to_series() % 5

NOT_WEIGHTS = {
    "dates": pd.Series(pd.date_range("2020-01-01", periods=60)),
    "durations": pd.to_timedelta(WEIGHTS, unit="D"),
    "months": pd.Series(pd.period_range("2020-01", periods=60, freq="M")),
    "complex": WEIGHTS + 0j,
    "complex objects": pd.Series([complex(v) for v in WEIGHTS], dtype=object),
    "short complex objects": pd.Series([np.complex64(v) for v in WEIGHTS], dtype=object),
    "days as objects": pd.Series([np.timedelta64(int(v), "D") for v in WEIGHTS], dtype=object),
    "categories": WEIGHTS.astype("category"),
    "text": WEIGHTS.astype(str),
    "pandas text": WEIGHTS.astype(str).astype("string"),
    "one text among numbers": pd.Series([*WEIGHTS[:-1], "2"], dtype=object),
    "days": pd.Series(pd.date_range("2020-01-01", periods=60)).dt.date,
    "lists": pd.Series([[v] for v in WEIGHTS]),
}


@pytest.mark.parametrize("name", list(NOT_WEIGHTS))
def test_weights_that_only_could_be_converted_are_refused(name: str) -> None:
    values = NOT_WEIGHTS[name]
    data = good().assign(w=values)
    for formula, groups in (("y ~ x", "g"), ("y ~ x + (1 | g) + (1 | h)", None)):
        two = data.assign(h=data.index % 7)
        with pytest.raises(ValueError, match=r"weights column 'w' must be numbers.*to_num"):
            fit_lmm(formula, two, groups, weights="w")
        for weights in (values, values.array):
            with pytest.raises(ValueError, match=r"weights must be numbers.*to_numeric"):
                fit_lmm(formula, two, groups, weights=weights)


def test_numbers_of_any_sort_are_weights() -> None:
    expected = fit_lmm("y ~ x", good(), "g", weights=WEIGHTS).scale
    for values in (
        WEIGHTS.astype(int),
        WEIGHTS.astype("Int64"),
        WEIGHTS.astype("float32"),
        WEIGHTS.astype(object),
        WEIGHTS.map(Decimal),
        WEIGHTS.map(Fraction),
        WEIGHTS.to_list(),
        pd.Index(WEIGHTS),
    ):
        assert fit_lmm("y ~ x", good(), "g", weights=values).scale == expected
    for gap in (None, np.nan, pd.NA):
        values = WEIGHTS.astype(object).where(WEIGHTS.index != 3, gap)
        fit = fit_lmm("y ~ x", good(), "g", weights=values, missing="drop")
        assert fit.n_dropped == 1


@pytest.mark.parametrize("name", list(BAD))
def test_bad_input_is_named_with_its_remedy(name: str) -> None:
    data, changes, words = BAD[name]
    arguments = {"formula": "y ~ x", "data": data, "groups": "g"} | changes
    with pytest.raises(ValueError, match=words) as caught:
        fit_lmm(**arguments)
    assert not isinstance(caught.value, np.linalg.LinAlgError)


def test_missing_rows_are_dropped_when_asked_and_counted() -> None:
    data = some("x", np.nan)
    fit = fit_lmm("y ~ x", data, "g", missing="drop")
    assert (fit.nobs, fit.n_dropped) == (57, 3)
    same = fit_lmm("y ~ x", data.dropna(), "g")
    assert fit.criterion == same.criterion
    assert "3 incomplete rows were dropped" in str(fit.summary())
    one = fit_lmm("y ~ x", data.drop(index=data.index[data["x"].isna()][:2]), "g", missing="drop")
    assert "1 incomplete row was dropped" in str(one.summary())


def test_missing_values_in_other_columns_do_no_harm() -> None:
    assert fit_lmm("y ~ x", with_columns(note=None), "g").nobs == 60


@pytest.mark.parametrize(
    "change",
    [
        {"g": lambda d: "herd " + d["g"].astype(str)},
        {"g": lambda d: pd.Categorical(d["g"], categories=range(20))},
        {"g": lambda d: d["g"] * 1_000_000_007},
        {"g": lambda d: d["g"] / 7},
        {"g": lambda d: [(f"herd {k}" if k % 2 else k) for k in d["g"]]},
        {"x": lambda d: pd.array(d["x"], dtype="Float64")},
        {"x": lambda d: d["x"].astype("float32").astype(float)},
    ],
)
def test_types_of_labels_and_numbers_do_not_matter(change: dict[str, Any]) -> None:
    fit, plain = fit_lmm("y ~ x", good().assign(**change), "g"), fit_lmm("y ~ x", good(), "g")
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-5)
    assert fit.ngroups == 10


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = good().sample(frac=1.0, random_state=1)
    fit, plain = fit_lmm("y ~ x", shuffled, "g", "1 + x"), fit_lmm("y ~ x", good(), "g", "1 + x")
    assert fit.criterion == pytest.approx(plain.criterion, abs=1e-9)
    np.testing.assert_allclose(fit.random_effects, plain.random_effects, atol=1e-6)
    np.testing.assert_allclose(fit.resid.sort_index(), plain.resid, atol=1e-6)


def test_data_are_left_as_they_were() -> None:
    data = good()
    fit_lmm("y ~ x", data, "g", "1 + x")
    pd.testing.assert_frame_equal(data, good())


def test_functions_and_constants_of_the_caller_may_stand_in_a_formula() -> None:
    def square(values: Any) -> Any:
        return values**2

    fit = fit_lmm("y ~ square(x) + I(x * HALF)", good(), "g")
    assert list(fit.fe_params.index) == ["Intercept", "square(x)", "I(x * HALF)"]
    plain = fit_lmm("y ~ I(x**2) + x", good(), "g")
    assert fit.fe_params.iloc[2] == pytest.approx(2 * plain.fe_params["x"])


NASTY = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e300, -1e-300, 1e6])


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, str, str, bool]:
    """Data of many shapes, balances, scales and faults, with a model for them."""
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    g = np.repeat(np.arange(len(sizes)), sizes)
    n = len(g)
    x = rng.normal(size=n) * 10.0 ** draw(st.integers(-6, 6)) + draw(
        st.sampled_from([0.0, 1.0, 1e6])
    )
    scale = 10.0 ** draw(st.integers(-6, 6))
    between = draw(st.sampled_from([0.0, 0.3, 1.0, 1e4]))
    y = scale * (
        rng.normal(size=n)
        + between * rng.normal(size=len(sizes))[g]
        + draw(st.sampled_from([0.0, 5.0]))
    )
    data = pd.DataFrame(
        {"g": g, "x": x, "y": y, "k": rng.integers(0, 3, n), "c": rng.choice(list("abc"), n)}
    )
    fault = draw(
        st.sampled_from(
            ["none"] * 6 + ["value", "copy", "constant x", "constant y", "group x", "text", "exact"]
        )
    )
    if fault == "value":
        data.loc[draw(st.integers(0, n - 1)), draw(st.sampled_from(["x", "y"]))] = draw(NASTY)
    elif fault == "copy":
        data["k"] = 3.0 * data["x"]
    elif fault == "constant x":
        data["x"] = draw(st.sampled_from([0.0, 1.0, 1e6]))
    elif fault == "constant y":
        data["y"] = 1e6
    elif fault == "group x":
        data["x"] = rng.normal(size=len(sizes))[g]
    elif fault == "text":
        data["x"] = data["x"].astype(str)
    elif fault == "exact":
        data["y"] = 2.0 * data["x"]
    formula = draw(
        st.sampled_from(
            ["y ~ x", "y ~ 1", "y ~ x + k", "y ~ x * C(c)", "y ~ 0 + x", "y ~ 0 + C(c) + x"]
        )
    )
    random = draw(st.sampled_from(["1", "1 + x", "0 + x", "1 + x + k"]))
    return data, formula, random, draw(st.booleans())


def check_answer(fit: LMMResults) -> None:
    """Everything finite, the parameters in their range, and no lower criterion nearby."""
    for values in (fit.fe_params, fit.bse_fe, fit.cov_re, fit.resid, fit.random_effects, fit.theta):
        assert np.isfinite(np.asarray(values, dtype=float)).all()
    assert np.isfinite([fit.criterion, fit.aic, fit.bic]).all()
    assert fit.scale > 0
    assert (fit.bse_fe > 0).all()
    assert (np.diag(fit.cov_re) >= 0).all()
    assert fit.converged
    from pylmm_helpers.engine.criterion import criterion

    best = criterion(fit.theta_scaled[None], fit.rows, fit.reml)[0].value[0]
    rng = np.random.default_rng(0)
    for size in (1e-3, 0.1, 1.0):
        near = fit.theta_scaled * (
            1 + size * rng.normal(size=fit.theta_scaled.shape)
        ) + size * rng.normal(size=fit.theta_scaled.shape)
        assert criterion(near[None], fit.rows, fit.reml)[0].value[0] >= best - 2e-6


def attempt(
    data: pd.DataFrame, formula: str, random: str, reml: bool
) -> tuple[LMMResults | None, ValueError | None]:
    try:
        return fit_lmm(formula, data, "g", random, reml=reml), None
    except ValueError as error:
        return None, error


@settings(
    max_examples=250, deadline=5000, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(tables())
def test_any_table_gives_a_right_answer_or_a_reason(
    case: tuple[pd.DataFrame, str, str, bool],
) -> None:
    data, formula, random, reml = case
    fit, refusal = attempt(data, formula, random, reml)
    if fit is None:
        named = [f"'{name}" in str(refusal) for name in ("g", "x", "y", "k", "c", "C(")]
        assert any(named) or "rows" in str(refusal)
        assert not isinstance(refusal, np.linalg.LinAlgError)
        assert len(str(refusal)) > 40
        return
    check_answer(fit)
    method = "kenward-roger" if reml else "satterthwaite"
    table = coef_table(fit, df=method)
    assert np.isfinite(table).all(axis=None)
    assert (table["df"] > 0).all()
    assert table["p_value"].between(0, 1).all()


@settings(max_examples=60, deadline=5000, derandomize=True)
@given(
    st.floats(-6, 6),
    st.floats(-6, 6),
    st.sampled_from([0.0, 1e3, 1e6]),
    st.floats(-1e3, 1e3),
    st.booleans(),
)
def test_units_and_origins_change_nothing_but_units(
    y_power: float, x_power: float, x_mean: float, y_mean: float, reml: bool
) -> None:
    a, b = 10.0**y_power, 10.0**x_power
    data = good()
    plain = fit_lmm("y ~ x", data, "g", "1 + x", reml=reml)
    moved = data.assign(y=a * (data["y"] + y_mean), x=b * (data["x"] + x_mean))
    other = fit_lmm("y ~ x", moved, "g", "1 + x", reml=reml)
    assert other.fe_params["x"] == pytest.approx(a / b * plain.fe_params["x"], rel=1e-6)
    assert other.bse_fe["x"] == pytest.approx(a / b * plain.bse_fe["x"], rel=1e-5)
    assert other.scale == pytest.approx(a**2 * plain.scale, rel=1e-6)
    jacobian = 2 * plain.nobs * np.log(a)
    if reml:
        jacobian -= 2 * 2 * np.log(a) - 2 * np.log(b)
    assert other.criterion == pytest.approx(plain.criterion + jacobian, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("groups", [["plate", "sample"], "plate + sample", "plate:sample", "a/b"])
def test_several_grouping_factors_are_sent_to_what_can_fit_them(groups: object) -> None:
    frame = load("penicillin")
    with pytest.raises(ValueError, match=r"more than one.*has one.*vc_formula.*lmer"):
        fit_lmm("diameter ~ 1", frame, groups)  # type: ignore[arg-type]
    # a column may have such a name
    odd = frame.rename(columns={"plate": "plate/lab"})
    assert fit_lmm("diameter ~ 1", odd, "plate/lab").ngroups == 24

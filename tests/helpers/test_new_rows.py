"""A row of the fit's own data, given as new data, is that row: whatever trip it has made."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylmm_helpers import LMMResults, anova_components, center_within, fit_lmm, predict
from pylmm_helpers.formula.design import PARTS
from pylmm_helpers.formula.levels import Levels
from pylmm_helpers.formula.new_data import as_new_frame, group_numbers, model_columns

HALF = 0.5  # stands in a formula below


def rows(n: int = 60, seed: int = 0) -> pd.DataFrame:
    """Columns of every sort that a model may use."""
    rng = np.random.default_rng(seed)
    g = np.arange(n) % 10
    d = pd.DataFrame(
        {
            "g": g,
            "x": rng.normal(3, 1, n) ** 2 + 0.1,
            "whole": rng.integers(1, 50, n),
            "flag": rng.random(n) > 0.5,
            "k": rng.permutation(np.arange(n) % 3),
            "t": rng.permutation(np.array(["a", "b", "c"])[np.arange(n) % 3]),
            "digits": rng.permutation(np.array(["1", "2", "10"])[np.arange(n) % 3]),
            "grade": rng.permutation(np.array([0.1, 0.3, 2.5])[np.arange(n) % 3]),
        }
    )
    d["y"] = d["x"] + rng.normal(size=10)[g] + rng.normal(size=n)
    return d


#: What the fit's columns may be held as.
HELD: dict[str, list[Callable[[pd.Series], pd.Series]]] = {
    "g": [
        lambda c: c,
        lambda c: c.astype(str),
        lambda c: "h" + c.astype(str),
        lambda c: c / 8,
        lambda c: c.astype("category"),
        lambda c: c.astype(str).astype("category"),
        lambda c: c.astype("Int64"),
        lambda c: c.astype("string"),
        lambda c: c.map(lambda v: f"0{v}"),
        lambda c: pd.Timestamp("2020-01-01") + pd.to_timedelta(c, unit="D"),
    ],
    "x": [
        lambda c: c,
        lambda c: c.astype("float32"),
        lambda c: c.astype("Float64"),
        lambda c: c.astype("double[pyarrow]"),
        lambda c: c.astype("Float32"),
        lambda c: c.astype("float[pyarrow]"),
    ],
    "whole": [
        lambda c: c,
        lambda c: c.astype("int8"),
        lambda c: c.astype("Int64"),
        lambda c: c.astype("uint16"),
        lambda c: c.astype("int32[pyarrow]"),
        lambda c: c.astype(float),
    ],
    "flag": [lambda c: c, lambda c: c.astype("boolean"), lambda c: c.astype("bool[pyarrow]")],
    "k": [
        lambda c: c,
        lambda c: c.astype(float),
        lambda c: c.astype("category"),
        lambda c: c.astype("Int64"),
        lambda c: c.astype("category").cat.as_ordered(),
        lambda c: c.astype(str).astype("category"),
        lambda c: pd.Series(pd.Categorical(c, categories=[2, 0, 1, 9]), index=c.index),
    ],
    "t": [
        lambda c: c,
        lambda c: c.astype("category"),
        lambda c: c.astype("string"),
        lambda c: c.astype("string[pyarrow]"),
        lambda c: c.map({"a": "a", "b": "True", "c": "false"}),
        lambda c: pd.Series(pd.Categorical(c, categories=list("cba"), ordered=True), index=c.index),
    ],
    "digits": [lambda c: c.astype("category"), lambda c: c.astype("string").astype("category")],
    "grade": [lambda c: c.astype("category"), lambda c: c],
}


def through_csv(d: pd.DataFrame, **options: Any) -> pd.DataFrame:
    # pandas 2 reads the last digit exactly only when asked to; pandas 3 always does
    exact = {"float_precision": "round_trip"} if pd.__version__ < "3" else {}
    return pd.read_csv(io.StringIO(d.to_csv(index=False)), **exact, **options)


def through_parquet(d: pd.DataFrame) -> pd.DataFrame:
    store = io.BytesIO()
    d.to_parquet(store)
    return pd.read_parquet(store)


#: Trips that lose the types of columns, or change them.
TRIPS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "none": lambda d: d,
    "csv": through_csv,
    "csv, Arrow types": lambda d: through_csv(d, dtype_backend="pyarrow"),
    "csv, nullable types": lambda d: through_csv(d, dtype_backend="numpy_nullable"),
    "csv by Polars": lambda d: pl.read_csv(
        io.StringIO(d.to_csv(index=False)), infer_schema_length=None
    ),
    "parquet": through_parquet,
    "Polars": lambda d: pl.from_pandas(d),
    "Polars and back": lambda d: pl.from_pandas(d).to_pandas(),
    "nullable types": lambda d: d.convert_dtypes(),
    "Arrow types": lambda d: d.convert_dtypes(dtype_backend="pyarrow"),
    "objects": lambda d: d.astype(object),
    "categories": lambda d: d.assign(
        **{c: d[c].astype("category") for c in d if str(d[c].dtype) not in NUMBERS}
    ),
    "whole numbers as floats": lambda d: d.assign(
        **{c: d[c].astype(float) for c in d.select_dtypes("integer")}
    ),
    "flags as 0 and 1": lambda d: d.assign(flag=d["flag"].astype(int)),
    "a dict of lists": lambda d: d.to_dict("list"),
    "other index": lambda d: d.set_axis([f"r{k}" for k in range(len(d))]),
    "index twice": lambda d: d.set_axis([7] * len(d)),
    "other order of columns": lambda d: d[d.columns[::-1]],
}
NUMBERS = {
    "float64",
    "float32",
    "Float64",
    "Float32",
    "double[pyarrow]",
    "float[pyarrow]",
    "int64",
    "int8",
    "Int64",
    "uint16",
    "int32[pyarrow]",
    "bool",
    "boolean",
    "bool[pyarrow]",
}

FORMULAS = [
    "y ~ x + whole",
    "y ~ x + flag",
    "y ~ np.log(x) + I(whole**2)",
    "y ~ C(k) * x",
    "y ~ t + C(flag)",
    "y ~ t:x + digits",
    "y ~ C(t, Sum) + C(k, Poly)",
    "y ~ C(grade) + scale(x) + center(whole)",
    "y ~ poly(x, 3) + t",
    "y ~ bs(x, df=5)",
    "y ~ cr(x, df=4, constraints='center')",
    "y ~ 0 + cr(x, df=4)",
    "y ~ C(k, Treatment(reference=2))",
    "y ~ C(digits, Helmert)",
    "y ~ x + offset(np.log(whole))",
    "y ~ I(x > 9) + I(t == 'a')",
    "y ~ standardize(x):t - 1",
    "y ~ I(x * HALF) + np.where(flag, x, 0)",
    "y ~ C(flag)*C(k)",
    "y ~ I(whole % 7) + sqrt(x)",
    "y ~ {x / whole} + np.round(x, 1)",
    "y ~ x.clip(1, 9) + whole.astype(float)",
]
RANDOM = ["1", "1 + x", "0 + C(flag)", "1 + center(x)", "flag"]


def held(draw: Callable[[str, int], int]) -> pd.DataFrame:
    """The rows, each column held in one of the ways."""
    d = rows()
    for name, ways in HELD.items():
        d[name] = ways[draw(name, len(ways))](d[name])
    return d


def spelt_for(formula: str, d: pd.DataFrame) -> str:
    """The formula; Treatment(2) names a level as it is held."""
    if "reference=2" in formula and "2" in list(
        getattr(d["k"], "cat", pd.Series(0)).categories if hasattr(d["k"], "cat") else []
    ):
        return formula.replace("reference=2", "reference='2'")
    return formula


def same_rows(fit: LMMResults, given: Any, chosen: np.ndarray) -> None:
    """Bit for bit the fit's rows of X, Z and offset, and its groups."""
    design = fit.design
    assert design is not None
    frame = as_new_frame(given)
    for part, own in zip(PARTS, (fit.X, fit.Z, None), strict=True):
        found = model_columns(design, frame, part)
        if own is None:
            own = fit.offset[:, None]
            found = found.sum(axis=1, keepdims=True)
        np.testing.assert_array_equal(found, own[chosen])
    np.testing.assert_array_equal(
        group_numbers(fit.groups, fit.group_labels, frame), fit.codes[chosen]
    )


@settings(
    max_examples=120, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.data())
def test_a_row_is_that_row_after_any_trip(data: st.DataObject) -> None:
    d = held(lambda name, count: data.draw(st.integers(0, count - 1), label=name))
    formula = spelt_for(data.draw(st.sampled_from(FORMULAS)), d)
    fit = fit_lmm(formula, d, "g", data.draw(st.sampled_from(RANDOM)))
    count = data.draw(st.sampled_from([1, 2, 5, 60]))
    chosen = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(60)[:count]
    trip = data.draw(st.sampled_from(sorted(TRIPS)))
    same_rows(fit, TRIPS[trip](d.iloc[chosen]), chosen)


@pytest.mark.parametrize("formula", FORMULAS)
def test_every_formula_makes_every_trip(formula: str) -> None:
    d = held(lambda name, count: 0)
    fit = fit_lmm(formula, d, "g", "1 + x")
    for trip in TRIPS.values():
        same_rows(fit, trip(d.iloc[[17]]), np.array([17]))
        same_rows(fit, trip(d.iloc[::-2]), np.arange(60)[::-2])
    back = pickle.loads(pickle.dumps(fit))
    same_rows(back, d.iloc[[5]], np.array([5]))


@pytest.mark.parametrize(
    "kind", ["text", "float", "bool", "category of text", "category of floats", "Decimal"]
)
def test_levels_are_matched_by_value(kind: str) -> None:
    from decimal import Decimal

    d = rows().assign(k=lambda d: d["k"] % 2)
    other: dict[str, Callable[[pd.Series], pd.Series]] = {
        "text": lambda c: c.astype(str),
        "float": lambda c: c.astype(float),
        "bool": lambda c: c.astype(bool),
        "category of text": lambda c: c.astype(str).astype("category"),
        "category of floats": lambda c: c.astype(float).astype("category"),
        "Decimal": lambda c: c.map(lambda v: Decimal(v)),
    }
    for hold in (
        lambda c: c.astype("category"),
        lambda c: c,
        other["text"],
        other["bool"],
        other["float"],
        lambda c: c.astype(str).astype("category"),
        lambda c: c.astype(bool).astype("category"),
    ):
        fit = fit_lmm("y ~ C(k) + x", d.assign(k=hold(d["k"])), "g")
        same_rows(fit, d.assign(k=other[kind](d["k"])), np.arange(60))


@pytest.mark.parametrize(
    ("values", "new"),
    [
        (lambda c: c.astype("category"), 7),
        (lambda c: c.astype("category"), "7"),
        (lambda c: c.astype("category"), 1.5),
        (lambda c: c.astype("category"), "one"),
        (lambda c: c.astype(str).astype("category"), 3),
        (lambda c: c.astype(str).astype("category"), "1.0"),
        (lambda c: c.map({0: "a", 1: "b", 2: "c"}), 1),
        (lambda c: c.map({0: "a", 1: "b", 2: "c"}), "A"),
        (lambda c: c.map({0: "a", 1: "b", 2: "c"}), "a "),
        (lambda c: c.map({0: "a", 1: "b", 2: "c"}), True),
        (lambda c: c.map({0: "a", 1: "b", 2: "c"}).astype("category"), 0),
    ],
)
@pytest.mark.parametrize(
    "formula", ["y ~ k", "y ~ C(k)", "y ~ k*x", "y ~ 0 + k", "y ~ C(k, Sum)", "y ~ x"]
)
def test_a_level_never_seen_is_refused_by_name(values: Any, new: Any, formula: str) -> None:
    d = rows().assign(k=lambda d: values(d["k"]))
    fit = fit_lmm(formula, d, "g", "1" if formula != "y ~ x" else "k")
    given = pd.DataFrame({"x": [1.0], "k": [new], "g": [0]})
    for frame in (
        given,
        pl.from_pandas(given),
        given.astype({"k": object}),
        given.astype({"k": "category"}),
    ):
        with pytest.raises(ValueError, match=r"'k' of new_data holds .*not fitted with"):
            predict(fit, frame, level="group")


@pytest.mark.parametrize("new", [2, 0.5, -1, "yes", "2"])
def test_a_column_of_true_and_false_has_two_values(new: Any) -> None:
    fit = fit_lmm("y ~ flag + x", rows(), "g", "1 + flag")
    for value, same in ((True, 1), (False, "false"), (1.0, "TRUE"), ("True", np.True_)):
        a, b = (predict(fit, {"x": [1.0], "flag": [v]})["prediction"][0] for v in (value, same))
        assert a == b
    with pytest.raises(ValueError, match="'flag' of new_data"):
        predict(fit, {"x": [1.0], "flag": [new]})


def test_a_number_that_is_a_category_too_is_refused_by_name() -> None:
    fit = fit_lmm("y ~ C(k) + k:x", rows(), "g")
    same_rows(fit, rows().assign(k=lambda d: d["k"].astype(float)), np.arange(60))
    with pytest.raises(ValueError, match=r"'k' of new_data holds 7.*not fitted with"):
        predict(fit, {"k": [7], "x": [1.0]})


def test_what_could_be_two_levels_is_refused() -> None:
    d = rows().assign(k=lambda d: d["k"].map({0: "1", 1: "01", 2: "1.0"}))
    fit = fit_lmm("y ~ C(k)", d, "g")
    same_rows(fit, d, np.arange(60))
    for value in (1, 1.0, True):
        with pytest.raises(ValueError, match=r"'k'.*more than one of the fit's levels"):
            predict(fit, {"k": [value]})
    labels = rows().assign(g=lambda d: d["g"].map(lambda v: f"{v // 2}" if v % 2 else f"0{v // 2}"))
    named = fit_lmm("y ~ x", labels, "g")
    same_rows(named, labels, np.arange(60))
    with pytest.raises(ValueError, match=r"'g'.*more than one group"):
        predict(named, {"x": [1.0], "g": [1]}, level="group")


@pytest.mark.parametrize(
    ("one", "two"), [(0, "0"), (0, "00"), (1.0, "1"), (2, "2.0"), (True, "True"), (0, "false")]
)
def test_labels_of_two_types_that_mean_the_same_are_told_apart_nowhere(one: Any, two: Any) -> None:
    labels = pd.Series([one, two, "a", "b"] * 15, dtype=object)
    d = rows().assign(w=labels, h=lambda d: d["g"] % 4)
    fits = [
        fit_lmm("y ~ x", d, "w"),
        fit_lmm("y ~ x + (1 | w) + (1 | g)", d),
        fit_lmm("y ~ x + (1 | h/w)", d),
    ]
    for fit in fits:
        for value in (one, two, str(one), np.asarray(one)[()]):
            for held in (object, "category"):
                new = d.iloc[[0]].assign(w=pd.Series([value], dtype=object).astype(held))
                with pytest.raises(ValueError, match=r"'w' of new_data .*more than one group.*fit"):
                    predict(fit, new, level="group")
        for value in ("a", "b"):
            predict(fit, d.iloc[[2]].assign(w=value), level="group")
    for formula in ("y ~ w", "y ~ C(w)", "y ~ x:C(w)"):
        for held in (object, "category"):
            with pytest.raises(ValueError, match=r"'w' holds .*keep them apart; rename"):
                fit_lmm(formula, d.astype({"w": held}), "g")


@pytest.mark.parametrize("value", [["b"], {"b": 1}, {"b"}, np.array(["b"]), ("b", [1]), []])
def test_values_that_are_no_scalars_are_refused_by_column(value: Any) -> None:
    d = rows().assign(h=lambda d: d["g"] % 4)
    one = fit_lmm("y ~ x + t", d, "g")
    several = fit_lmm("y ~ x + t + (1 | g) + (1 | h)", d)
    for name, place in (("t", 0), ("t", 7), ("g", 0), ("g", 7)):
        values = d[name].tolist()
        values[place] = value
        bad = d.assign(**{name: pd.Series(values, dtype=object)})
        calls: list[Callable[[], Any]] = [
            lambda bad=bad: fit_lmm("y ~ x + t", bad, "g"),
            lambda bad=bad: fit_lmm("y ~ x + C(t)", bad, "g"),
            lambda bad=bad: fit_lmm("y ~ x + t + (1 | g) + (1 | h)", bad),
            lambda bad=bad: fit_lmm("y ~ x + t + (1 | h/g)", bad),
            lambda bad=bad: anova_components("y ~ x + t", bad, "g"),
            lambda bad=bad: predict(one, bad, level="group"),
            lambda bad=bad: predict(several, bad, level="group"),
            lambda bad=bad: predict(one, {c: bad[c].tolist() for c in bad}, level="group"),
        ]
        if name == "g":
            calls.append(lambda bad=bad: center_within(bad, "x", "g"))
        for call in calls:
            with pytest.raises(ValueError, match=f"'{name}' holds values of type"):
                call()
    with pytest.raises(ValueError, match="'t' holds values"):
        predict(one, {"x": [1.0, 2.0], "t": ["a", value]})
    if not isinstance(value, dict | set):
        with pytest.raises(ValueError, match="'t' holds values"):
            predict(one, {"x": 1.0, "t": [value, value]})
    with pytest.raises(ValueError, match="'t' of new_data is a set"):
        predict(one, {"x": 1.0, "t": {"a", "b"}})


def test_a_group_of_another_type_is_that_group_and_a_new_one_stays_new() -> None:
    d = rows()
    fit = fit_lmm("y ~ x", d, "g")
    given = pd.DataFrame({"x": 1.0, "g": ["3", 3, 3.0, "3.0", "03", "a", 77, "77", 3.5, True]})
    answer = predict(fit, given, level="group")
    assert answer["known_group"].tolist() == [True] * 5 + [False] * 4 + [True]
    assert answer["prediction"][:5].nunique() == 1
    text = fit_lmm("y ~ x", d.assign(g="h" + d["g"].astype(str)), "g")
    assert not predict(text, {"x": [1.0], "g": [3]}, level="group")["known_group"].any()
    with pytest.raises(ValueError, match=r"reset_index\(\)"):
        predict(fit, d.set_index("g"), level="group")


def test_what_the_caller_does_to_the_data_afterwards_is_no_matter() -> None:
    d = rows()
    fit, plain = fit_lmm("y ~ x + t + C(k)", d, "g"), fit_lmm("y ~ x", d, "g")
    before = d.copy()
    d["t"], d["k"], d["x"] = "z", d["k"].astype(str) + "!", d["x"].astype(str)
    del d["y"]
    for fitted in (fit, plain):
        same_rows(fitted, before, np.arange(60))


WHOLE_DATA = [
    "I(x - np.mean(x))",
    "I(x - x.mean())",
    "x.rank()",
    "I(x / x.max())",
    "I(x / x.sum())",
    "I(x - x.min())",
    "pd.cut(x, 3)",
    "pd.qcut(x, 3)",
    "I(x > x.median())",
    "I(x < x.median())",
    "x.clip(upper=x.quantile(0.9))",
    "x.clip(lower=x.quantile(0.1))",
    "np.cumsum(x)",
    "x.where(x < x.mean(), 0)",
    "I((x - x.mean()) / x.std())",
    "np.argsort(x)",
    "I(x.groupby(t).transform('mean'))",
    "I(x - x.groupby(g).transform('mean'))",
    "np.digitize(x, np.quantile(x, [0.5]))",
    "t.map(t.value_counts())",
    "np.arange(len(x))",
    "x.pct_change()",
    "I(x.shift(1))",
    "np.roll(x, 1)",
    "I(x.expanding().mean())",
    "np.random.normal(size=len(x))",
    "I(0 * x + x.index)",
    "I(whole == whole.max())",
    "C(x > x.mean())",
    "np.polyval(np.polyfit(x, y, 1), x)",
    "I(t.duplicated())",
    "np.log(x) - np.mean(np.log(x))",
    "whole:I(x - x.mean())",
    "t*I(x - np.median(x))",
    "winsor(x)",
]


def winsor(x: Any) -> Any:
    """A function of the caller's that looks at all rows."""
    return np.minimum(x, np.quantile(x, 0.9))


@pytest.mark.parametrize("term", WHOLE_DATA)
def test_what_one_row_does_not_determine_is_refused_when_fitting(term: str) -> None:
    d = rows().assign(whole=lambda d: d["whole"] + 0)
    right = {"formula": f"y ~ {term}", "re_formula": "1"}
    random = {"formula": "y ~ x + whole", "re_formula": f"0 + {term}"}
    for arguments in (right, random):
        with pytest.raises(ValueError) as caught:
            fit_lmm(data=d, groups="g", **arguments)
        text = str(caught.value)
        one_row = "one row alone" in text and "center(x)" in text and "column of the data" in text
        assert one_row or "takes away a term" in text or "infinite or undefined" in text, text
    with pytest.raises(ValueError):
        fit_lmm(
            f"y ~ whole + offset({term})" if "*" not in term and ":" not in term else "y ~", d, "g"
        )


@pytest.mark.parametrize(
    "term",
    [
        "center(x)",
        "scale(x)",
        "standardize(x)",
        "poly(x, 2)",
        "bs(x, df=4)",
        "np.minimum(x, 9)",
        "pd.cut(x, [0, 4, 10, 99], labels=False)",
        "C(x > 9)",
    ],
)
def test_what_remembers_the_data_is_carried_over(term: str) -> None:
    d = rows()
    fit = fit_lmm(f"y ~ {term}", d, "g", f"1 + {term}" if "(x)" in term else "1")
    for k in range(0, 60, 7):
        same_rows(fit, d.iloc[[k]], np.array([k]))


def test_rows_of_new_data_do_not_depend_on_each_other() -> None:
    d = rows()
    fit = fit_lmm("y ~ cr(x, df=4, constraints='center') + poly(whole, 2)*t", d, "g", "1 + x")
    design = fit.design
    assert design is not None
    for part in ("fixed", "random"):
        whole = model_columns(design, d, part)
        for k in range(60):
            np.testing.assert_array_equal(model_columns(design, d.iloc[[k]], part)[0], whole[k])


@pytest.mark.parametrize(
    "value", ["9", "nine", b"9", [9], None, np.nan, np.inf, 1j, pd.Timestamp("2020-01-01")]
)
@pytest.mark.parametrize("formula", ["y ~ x", "y ~ np.log(x)", "y ~ x*t", "y ~ whole + offset(x)"])
def test_what_is_no_number_is_refused_for_a_number(value: Any, formula: str) -> None:
    fit = fit_lmm(formula, rows(), "g")
    given = pd.DataFrame(
        {
            "x": pd.Series([value, value], dtype=object if isinstance(value, list) else None),
            "t": "a",
            "whole": 2,
        }
    )
    with pytest.raises(ValueError, match="'x'"):
        predict(fit, given)
    with pytest.raises(ValueError, match="'x'"):
        predict(fit, given.drop(columns="x"))


@pytest.mark.parametrize(
    "given",
    [
        [1],
        3,
        "x",
        None.__class__,
        pl.Series([1.0]),
        np.zeros((2, 2)),
        {},
        pd.DataFrame(),
        {"x": [1, 2], "t": ["a"]},
        pd.Series([1.0], name="x"),
    ],
)
def test_no_table_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="new_data"):
        predict(fit_lmm("y ~ x", rows(), "g"), given)


VALUES = st.one_of(
    st.integers(-5, 5),
    st.floats(-5, 5, allow_nan=False),
    st.booleans(),
    st.sampled_from(["a", "b", "1", "01", "1.0", "True", "false", "", " 1", "1e0", "-0", "0"]),
    st.decimals(-2, 2, places=1),
)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=8), VALUES)
def test_a_value_is_found_only_where_it_means_the_same(levels: list[Any], value: Any) -> None:
    levels = list(dict.fromkeys(levels))
    known = Levels(levels)
    for k, level in enumerate(levels):
        twins = [
            other
            for other in levels
            if isinstance(other, str) != isinstance(level, str) and worth_the_same(other, level)
        ]
        assert where(known, level) == ((None, "AmbiguousError") if twins else (k, ""))
    place, reason = where(known, value)
    if place is None:
        same_text = isinstance(value, str) and value in [v for v in levels if isinstance(v, str)]
        assert not same_text or reason == "AmbiguousError"
        assert reason in ("UnseenError", "AmbiguousError")
        return
    found = levels[place]
    if (
        isinstance(found, str)
        and isinstance(value, str)
        and all(isinstance(v, str) for v in levels)
    ):
        assert found == value
    elif not isinstance(found, str) and not isinstance(value, str):
        assert float(found) == pytest.approx(float(value), rel=1e-14)
    else:
        assert str(value).strip().lower() == str(found).strip().lower() or as_number(
            value
        ) == as_number(found)


def where(known: Levels, value: Any) -> tuple[int | None, str]:
    """The place of a value, or the name of the error."""
    try:
        return known.position(value), ""
    except Exception as error:
        return None, type(error).__name__


def as_number(value: Any) -> float:
    """What a value is worth."""
    text = str(value).strip().lower()
    return {"true": 1.0, "false": 0.0}.get(text) if text in ("true", "false") else float(text)  # type: ignore[return-value]


def worth_the_same(one: Any, two: Any) -> bool:
    """Whether both are numbers, or texts of numbers, of one value."""
    try:
        return f"{as_number(one):.15g}" == f"{as_number(two):.15g}" or as_number(one) == as_number(
            two
        )
    except ValueError:  # words
        return False


@pytest.mark.filterwarnings("ignore")  # where statsmodels' search ends is no matter
@pytest.mark.parametrize("random", ["1", "1 + flag", "0 + flag", "1 + x"])
@pytest.mark.parametrize(
    "right",
    ["x + flag", "x * flag", "center(x) * flag", "flag:x", "x + flag:x", "0 + flag", "t * flag",
     "flag + I(1 * flag):x", "I(x > 3) + x", "C(flag) + x", "Q('x') + C(t, Treatment('b'))"],
)  # fmt: skip
def test_a_row_of_a_statsmodels_fit_is_that_row(right: str, random: str) -> None:
    d = rows(120)
    fit = smf.mixedlm(f"y ~ {right}", d, groups="g", re_formula=random).fit()
    whole = predict(fit, level="group")["prediction"]
    population = d.assign(y=0.0).iloc[::7]
    # statsmodels' own prediction of new rows is that of the population
    np.testing.assert_allclose(
        predict(fit, population)["prediction"], fit.predict(population), rtol=1e-9
    )
    for k in (0, 51, 119):  # each asks anew which columns the fit's formula makes
        one = predict(fit, d.iloc[[k]], level="group")["prediction"]
        # the columns come from another program, to the last digits but two
        assert one.iloc[0] == pytest.approx(whole.iloc[k], rel=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_a_statsmodels_fit_that_cannot_be_rebuilt_says_why() -> None:
    d = rows(120)
    one = np.ones(len(d))
    for y, X in (
        (d["y"], d[["x"]].assign(one=one)),
        (d["y"], d[["x"]].assign(Intercept=one)),
        (d["y"].to_numpy(), np.column_stack([one, d["x"]])),
    ):
        fit = sm.MixedLM(y, X, groups=d["g"]).fit()
        with pytest.raises(ValueError, match="the fit has no formula") as caught:
            predict(fit, d.iloc[[4]])
        assert "center" not in str(caught.value) and "one row alone" not in str(caught.value)
    fit = smf.mixedlm("y ~ I(x - np.mean(x))", d, groups="g").fit()
    with pytest.raises(ValueError, match=r"one row alone.*center\(x\)"):
        predict(fit, d.iloc[[4]])
    fit = smf.mixedlm("y ~ 0 + I(x > 3)", d, groups="g").fit()
    with pytest.raises(ValueError, match=r"is not among those.*fit the model with") as caught:
        predict(fit, d.iloc[[4]])
    assert "center" not in str(caught.value)

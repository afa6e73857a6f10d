"""Every table of the helpers prints whole in 80 columns, rounded; the object keeps all digits."""

from __future__ import annotations

import copy
import csv
import inspect
import io
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pylmm_helpers
from pylmm_helpers import (
    anova_components,
    blups,
    check_convergence,
    check_singular,
    coef_table,
    contrast,
    crosscheck,
    describe,
    design_effect,
    fit_lmm,
    icc,
    influence,
    information_criteria,
    lmer,
    load,
    lrt,
    parametric_bootstrap,
    predict,
    profile_ci,
    r_squared,
    residuals,
    table,
    tolerance_table,
    variance_components,
    variance_function,
)
from pylmm_helpers.common.printing import ShownFrame, ShownSeries, whole

#: Data to go on with, not tables to read.
DATA = {"load", "center_within", "simulate"}
WIDE = "a_predictor_with_a_name_of_forty_letters_"


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame | pd.Series]:
    sleep = load("sleepstudy")
    data = sleep.assign(**{WIDE: np.tile([0.0, 1.0, 5.0], 60)})
    slope = fit_lmm("Reaction ~ Days", data, groups="Subject", re_formula="1 + Days")
    wide = fit_lmm(f"Reaction ~ Days + {WIDE}", data, groups="Subject")
    small = fit_lmm("Reaction ~ Days", data, groups="Subject")
    null = fit_lmm("Reaction ~ 1", data, groups="Subject")
    return {
        "coef_table": coef_table(wide),
        "satterthwaite": coef_table(slope, df="satterthwaite"),
        "cr2": coef_table(wide, df="cr2"),
        "r_squared": r_squared(slope),
        "r_squared by level": r_squared(small, by_level=True),
        "contrast": contrast(wide, ["Days", WIDE, f"Days - {WIDE}"]),
        "joint": contrast(wide, np.eye(3)[1:]),
        "blups": blups(slope),
        "influence": influence(slope),
        "variance_components": variance_components(slope),
        "variance_function": variance_function(slope, "Days", [0, 1, 2]),
        "icc": icc(null),
        "design_effect": design_effect(null),
        "anova_components": anova_components("Reaction ~ Days", data, groups="Subject"),
        "profile_ci": profile_ci(null),
        "lrt": lrt(slope, small),
        "information_criteria": information_criteria(slope, small),
        "residuals": residuals(slope),
        "group residuals": residuals(slope, level="group"),
        "predict": predict(slope),
        "describe": describe("dairy_herds"),
        "tolerances": tolerance_table(),
        "singular": check_singular(slope).details,
        "convergence": check_convergence(slope).details,
        "bootstrap": parametric_bootstrap(null, replicates=20, rng=1).table,
    }


def lines(shown: str) -> list[str]:
    assert "..." not in shown
    found = shown.split("\n")
    assert max(map(len, found)) <= 80, max(found, key=len)
    return found


def test_every_table_shows_every_column_in_a_terminal_of_80_columns(
    tables: dict[str, pd.DataFrame | pd.Series],
) -> None:
    for name, found in tables.items():
        text = repr(found)
        lines(text)
        for column in found.columns if isinstance(found, pd.DataFrame) else found.index:
            assert re.search(rf"(?<!\S){re.escape(str(column))}(?!\S)", text), (name, column)


def test_no_number_is_longer_than_nine_digits_and_small_p_values_say_so(
    tables: dict[str, pd.DataFrame | pd.Series],
) -> None:
    for name, found in tables.items():
        for number in re.findall(r"(?<![\w.])-?\d+\.\d+(?![\w.])", repr(found)):
            assert len(number.lstrip("-")) <= 10, (name, number)
    assert "<0.001" in repr(tables["coef_table"]) and "<0.001" in repr(tables["lrt"])
    assert 0 < tables["coef_table"]["p_value"].min() < 1e-17


def test_whatever_is_made_of_a_table_is_plain_pandas_with_the_full_numbers(
    tables: dict[str, pd.DataFrame | pd.Series],
) -> None:
    for found in tables.values():
        series = isinstance(found, pd.Series)
        plain = pd.Series if series else pd.DataFrame
        assert type(found) is (ShownSeries if series else ShownFrame)
        full = found.copy()
        for other in (
            found.copy(), copy.copy(found), copy.deepcopy(found), found.iloc[:2],
            pickle.loads(pickle.dumps(found)), pd.concat([found, found]), found.reset_index(),
        ):  # fmt: skip
            assert type(other) in (pd.DataFrame, pd.Series)
        pd.testing.assert_frame_equal(
            pd.DataFrame(pickle.loads(pickle.dumps(found))), pd.DataFrame(full)
        )
        if not series:
            assert type(found.select_dtypes("number").round(3)) is plain
            assert type(found.T) is plain and type(found.iloc[0]) is pd.Series
            read = list(csv.DictReader(io.StringIO(found.to_csv())))
            for column in found.select_dtypes("float"):
                numbers = [float(row[column] or "nan") for row in read]
                assert np.array_equal(numbers, found[column], equal_nan=True)


def test_attributes_go_along() -> None:
    found = coef_table(fit_lmm("Reaction ~ Days", load("sleepstudy"), groups="Subject"))
    again = pickle.loads(pickle.dumps(found))
    assert found.attrs == found.copy().attrs == again.attrs == {"df_method": "kenward-roger"}


def test_a_notebook_gets_the_same_cells_as_html(
    tables: dict[str, pd.DataFrame | pd.Series],
) -> None:
    for found in tables.values():
        if isinstance(found, pd.DataFrame):
            html = found._repr_html_()
            assert "..." not in html and "<table" in html
            for column in found.columns:
                assert f"<th>{column}</th>" in html
    assert "&lt;0.001" in tables["coef_table"]._repr_html_()


def test_every_public_function_that_returns_a_table_lets_it_print_whole() -> None:
    checked = 0
    for name in pylmm_helpers.__all__:
        function = getattr(pylmm_helpers, name)
        if not inspect.isfunction(function) or name in DATA:
            continue
        says = str(inspect.signature(function).return_annotation)
        if "DataFrame" in says or "Series" in says:
            checked += 1
            assert hasattr(function, "__wrapped__"), f"{name} lacks @shown_whole"
    assert checked > 15


@given(
    st.lists(
        st.one_of(
            st.floats(-1e300, 1e300),
            st.floats(-1e4, 1e4),
            st.sampled_from([0.0, -0.0, 1.0, 1e-300, np.nan, np.inf, -np.inf]),
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_what_is_printed_is_the_number_to_three_digits_of_its_columns_smallest(
    values: list[float],
) -> None:
    shown = repr(whole(pd.DataFrame({"x": values}))).split("\n")[1:]
    for value, line in zip(values, shown, strict=True):
        read = float(line.split()[1])
        if np.isfinite(value):
            others = [abs(v) for v in values if np.isfinite(v)]
            assert abs(read - value) <= max(0.0051 * abs(value), 0.0051 * 1e-6 * max(others))
        else:
            assert np.isnan(read) == np.isnan(value) and (np.isnan(read) or read == value)


def test_what_lme4_gave_and_an_agreement_fit_a_terminal(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PYLMM_NO_R", "1")
    monkeypatch.chdir(tmp_path)
    sleep, formula = load("sleepstudy"), "Reaction ~ Days + (Days | Subject)"
    text = repr(lmer(formula, sleep))
    assert {"df_kenward_roger", "variance", "residual", "criterion"} <= set(text.split())
    fit = fit_lmm("Reaction ~ Days", sleep, groups="Subject", re_formula="1 + Days")
    found = crosscheck(fit, formula, "classic-sleepstudy-slope")
    shown = repr(found)
    for column in ("engine", "lme4", "difference", "tolerance", "verdict"):
        assert column in shown
    assert shown.count("agrees") == len(found.table)
    assert shown.endswith(".") and "recorded earlier with R" in shown
    for part in (text, shown, repr(found.table), repr(found.standard_errors)):
        lines(part)


def test_long_tables_show_their_ends_and_their_size() -> None:
    frame = whole(pd.DataFrame({"x": np.arange(500) / 7}))
    assert len(repr(frame).split("\n")) == 14 and repr(frame).endswith("[500 rows x 1 columns]")
    several = frame.set_index(
        pd.MultiIndex.from_product([range(250), ["a", "b"]], names=["g", "t"])
    )
    assert "249, b" in repr(whole(several)) and "g, t" in repr(whole(several))


@pytest.mark.parametrize("cells", [["a" * 200], ["word " * 60], ["`x`"], ["a|b*c_[d]<~^"], []])
def test_a_table_for_the_book_fits_a_terminal_too(cells: list[str]) -> None:
    shown = table(pd.DataFrame({"words": cells, "n": np.arange(len(cells)) * 1.5}), index=False)
    lines(repr(shown))
    assert "".join("".join(cells).split()) in re.sub(r"\s|words|\d\.\d\d", "", repr(shown))

"""What doesn't depend on order, names, types or units doesn't change with them: every public
helper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from symmetries import FIXED, SCALED, Made, compare, flat, in_units, made
from symmetry_entries import ENTRIES, NO_FIT_OF_OTHERS, WITHOUT_DATA

import pylmm_helpers as ph
from pylmm_helpers import plots

#: duckdb announces the next release's names to Ibis
pytestmark = pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning")


@cache
def base(helper: str) -> dict[str, Any]:
    return flat(ENTRIES[helper].answer(made()))


@cache
def fixed(symmetry: str) -> Made:
    return FIXED[symmetry]()


@cache
def scaled(symmetry: str, exponent: float, shift: float) -> Made:
    return SCALED[symmetry](10.0**exponent, shift)


def same_answer(helper: str, m: Made) -> None:
    entry = ENTRIES[helper]
    wrong = compare(base(helper), m, entry.answer(m), entry.rules, entry.tolerance)
    assert not wrong, "\n".join([f"{len(wrong)} differ:", *wrong[:12]])


def pairs(symmetries: Any) -> list[Any]:
    return [
        pytest.param(helper, symmetry, id=f"{helper}, {symmetry}")
        for helper, entry in ENTRIES.items()
        for symmetry in symmetries
        if symmetry not in entry.instead
    ]


def test_every_public_helper_has_an_entry() -> None:
    public = {*ph.__all__, *(f"plots.{name}" for name in plots.__all__)}
    assert public == {*ENTRIES, *WITHOUT_DATA}
    known = {*FIXED, *SCALED}
    assert all(set(entry.instead) <= known for entry in ENTRIES.values())


@pytest.mark.parametrize("helper, symmetry", pairs(FIXED))
def test_order_names_and_types_change_no_answer(helper: str, symmetry: str) -> None:
    same_answer(helper, fixed(symmetry))


OF_OTHERS: dict[str, Callable[[], Made]] = {
    "rows permuted": FIXED["rows permuted"],
    "index duplicated": FIXED["index duplicated"],
    "y in sixteenths": lambda: in_units(y=(0.0, 16.0)),
}


@cache
def of_statsmodels(symmetry: str) -> Made:
    return replace(OF_OTHERS.get(symmetry, made)(), engine="statsmodels", fits={})


@pytest.mark.parametrize("symmetry", OF_OTHERS)
@pytest.mark.parametrize("helper", [h for h in ENTRIES if h not in NO_FIT_OF_OTHERS])
def test_fits_of_statsmodels_do_as_well(helper: str, symmetry: str) -> None:
    """To 1e-3: how near statsmodels' search comes to its estimates depends on the rows' order."""
    entry = ENTRIES[helper]
    if symmetry not in entry.instead:
        original = flat(entry.answer(of_statsmodels("original")))
        m = of_statsmodels(symmetry)
        wrong = compare(original, m, entry.answer(m), entry.rules, 1e-3)
        assert not wrong, "\n".join([f"{len(wrong)} differ:", *wrong[:12]])


#: Powers of ten of the unit, and shifts in spreads of the data; entries that take long try fewer.
UNITS = ((-6.0, 1e3), (6.0, 1e3), (-1.7, 1e4), (2.6, -30.0))


@pytest.mark.parametrize("helper, symmetry", pairs(SCALED))
def test_units_change_no_answer_but_its_unit(helper: str, symmetry: str) -> None:
    for exponent, shift in UNITS[: ENTRIES[helper].units]:
        same_answer(helper, scaled(symmetry, exponent, shift if "shifted" in symmetry else 0.0))

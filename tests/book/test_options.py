"""Cell options that Quarto's own validation would refuse are refused here, with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_render.book import BuildError, Cell, split
from offline_render.book.options import TYPES, check_options

BOOLEANS = ["echo", "eval", "output", "warning", "include", "code-fold"]
TEXTS = ["label", "fig-cap", "fig-alt", "tbl-cap", "code-summary"]
NUMBERS = ["fig-width", "fig-height", "layout-ncol"]


def cell(tmp_path: Path, *options: str) -> tuple[Path, Cell]:
    path = tmp_path / "a.qmd"
    lines = "\n".join(f"#| {option}" for option in options)
    path.write_text(f"# A\n\n```{{python}}\n{lines}\n1\n```\n", encoding="utf-8")
    (found,) = [part for part in split(path) if isinstance(part, Cell)]
    return path, found


def test_every_option_of_the_dialect_has_a_type_that_is_tried_here() -> None:
    assert set(TYPES) == {*BOOLEANS, *TEXTS, *NUMBERS, "fig-subcap"}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", ["null", "~", "", "true", "no", "on", "3", "1.5", "1:30",
                                   "2026-11-26", "{a: 1}"])  # fmt: skip
def test_what_is_no_text_is_refused_where_quarto_wants_text(
    tmp_path: Path, name: str, value: str
) -> None:
    path, found = cell(tmp_path, "echo: true", f"{name}: {value}")
    with pytest.raises(BuildError, match=rf"a\.qmd:5: cell option '{name}'"):
        check_options(path, found)


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize("value", ["yes", "No", "on", "1", "True", '"true"', "null", "[1]"])
def test_a_flag_is_true_or_false(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BuildError, match=f"cell option '{name}' is"):
        check_options(*cell(tmp_path, f"{name}: {value}"))


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ['"4"', "wide", "-1", "0", "1_000", "4in", "0x4"])
def test_a_number_is_a_plain_positive_number(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BuildError, match=f"cell option '{name}' is"):
        check_options(*cell(tmp_path, f"{name}: {value}"))


@pytest.mark.parametrize(
    "option",
    ["label: tbl-a", 'label: "null"', "label: null-statistics", 'fig-cap: "3"', "echo: false",
     "echo: fenced", "output: asis", "code-fold: show", "fig-width: 5.2", "layout-ncol: 2",
     'fig-alt: ["One.", "Two."]', 'fig-subcap: ["One", "Two"]'],
)  # fmt: skip
def test_what_quarto_takes_is_taken(tmp_path: Path, option: str) -> None:
    check_options(*cell(tmp_path, option))


def test_an_option_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"a\.qmd:6: cell option 'echo' is given twice"):
        check_options(*cell(tmp_path, "echo: true", "label: x", "echo: false"))


def test_columns_are_counted_in_whole_numbers(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="layout-ncol"):
        check_options(*cell(tmp_path, "layout-ncol: 1.5"))

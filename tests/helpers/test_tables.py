"""Tables: what the reader sees of numbers, words and missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pypandoc
import pytest

from pylmm_helpers import table


def test_numbers_are_right_aligned_with_their_unit_in_the_header() -> None:
    shown = table(pd.DataFrame({"milk": [1.234, -20.0], "herd": ["a", "b"]}), units={"milk": "kg"})
    lines = shown._repr_markdown_().split("\n")
    assert "milk (kg)" in lines[0]
    assert lines[1].split("|")[2].endswith(":") and lines[1].split("|")[3].startswith(":")
    assert "1.23" in lines[2] and "\u221220.00" in lines[3]


def test_integers_keep_no_decimals_and_missing_values_are_dashes() -> None:
    frame = pd.DataFrame({"n": pd.array([1500, None], dtype="Int64"), "x": [np.nan, np.inf]})
    text = table(frame, index=False)._repr_markdown_()
    assert "1,500" in text and "–" in text and "∞" in text


def test_a_value_too_small_for_its_decimals_is_not_shown_as_zero() -> None:
    assert "3.0e\u221209" in table({"difference": 3e-9})._repr_markdown_()


def test_words_survive_markdown() -> None:
    words = ["feeding[T.mixed]", "a*b*", "x | y", "`y ~ 1 + (1 | g)`", "~a~", "back\\slash"]
    html = pypandoc.convert_text(
        table(pd.DataFrame({"w": words}), index=False)._repr_markdown_(), "html", "markdown"
    )
    for word in words:
        assert (
            f">{word}<" in html.replace("<code>", "`").replace("</code>", "`").replace(">`", ">`")
            or f"<code>{word.strip('`')}</code>" in html
        )


@pytest.mark.parametrize("option", ["units", "names", "digits"])
def test_an_option_for_a_column_that_is_not_there_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=r"names \['y'\].*columns are \['x'\]"):
        table(pd.DataFrame({"x": [1.0]}), **{option: {"y": 1}})  # type: ignore[arg-type]


def test_two_columns_of_one_name_are_both_shown() -> None:
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"])
    assert table(frame, index=False).markdown.splitlines()[-1].split() == ["|", "3", "|", "4", "|"]

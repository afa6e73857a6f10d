"""Colours of group sizes can be read on a light page and on a dark one, which inverts figures."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from pylmm_helpers.show.plots.parts import size_colours

# the dark page's colour, and how much its style sheet inverts (style.css)
DARK, INVERTED = np.array(to_rgb("#12171b")), 0.92


def luminance(colour: np.ndarray) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def on_dark_page(colour: np.ndarray) -> np.ndarray:
    """CSS: invert(0.92), then hue-rotate(180deg) with the matrix of the filter's definition."""
    out = INVERTED * (1 - colour) + (1 - INVERTED) * colour
    grey = np.tile([0.213, 0.715, 0.072], (3, 1))
    return np.clip((2 * grey - np.eye(3)) @ out, 0, 1)


@pytest.mark.parametrize("share", np.linspace(0, 1, 9))
def test_every_size_has_a_contrast_of_three(share: float) -> None:
    sizes = np.exp(np.array([0.0, share * np.log(100), np.log(100)]))
    colour = size_colours(sizes)[0][1, :3]
    assert contrast(colour, np.ones(3)) >= 3
    assert contrast(on_dark_page(colour), DARK) >= 3


def test_larger_groups_are_darker_and_equal_ones_have_no_scale() -> None:
    colours, scale = size_colours(np.array([3.0, 30.0, 100.0]))
    lights = [luminance(c[:3]) for c in colours]
    assert lights == sorted(lights, reverse=True) and scale is not None
    assert size_colours(np.array([5.0, 5.0]))[1] is None

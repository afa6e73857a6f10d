"""What every room may use: arguments and tables come in; refusals with a remedy, and tables that
print whole, go out."""

from __future__ import annotations

from .arguments import (
    a_generator,
    a_level,
    a_mapping,
    a_name,
    a_number,
    counted,
    numbers,
    one_of,
    plain,
    shown,
)
from .array import Array
from .markdown import MISSING, layout
from .printing import printed, shown_whole, whole
from .progress import interactive, progress_bar

__all__ = [
    "MISSING",
    "Array",
    "a_generator",
    "a_level",
    "a_mapping",
    "a_name",
    "a_number",
    "counted",
    "interactive",
    "layout",
    "numbers",
    "one_of",
    "plain",
    "printed",
    "progress_bar",
    "shown",
    "shown_whole",
    "whole",
]

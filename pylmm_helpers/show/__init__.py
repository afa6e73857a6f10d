"""What people look at: fits and tables come in; tables, figures and a report in words go out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .paragraph import report as report
    from .tables import Table as Table
    from .tables import table as table

_HOME = {"Table": "tables", "table": "tables", "report": "paragraph"}
__all__ = ["Table", "report", "table"]


def __getattr__(name: str) -> Any:
    # a table needs neither matplotlib nor statsmodels
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)

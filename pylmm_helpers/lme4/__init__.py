"""The reference: a formula and a table come in; what R's lme4 gives for them, and how far this
package agrees with it, go out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agreement import agreement_records as agreement_records
    from .check import crosscheck as crosscheck
    from .check import lmer as lmer
    from .summary import agreement_summary as agreement_summary
    from .tolerances import tolerance_table as tolerance_table

_HOME = {
    "crosscheck": "check",
    "lmer": "check",
    "agreement_records": "agreement",
    "agreement_summary": "summary",
    "tolerance_table": "tolerances",
}
__all__ = ["agreement_records", "agreement_summary", "crosscheck", "lmer", "tolerance_table"]


def __getattr__(name: str) -> Any:
    # who only starts R, or reads records, waits for no model
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)

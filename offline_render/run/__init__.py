"""Parts of documents come in; results of their cells go out, run anew or kept from before."""

from __future__ import annotations

from .cells import is_record_only, run_cells
from .clock import seconds_of
from .execute import INLINE_MIME, Runner, inputs_digest
from .progress import Reporter

__all__ = [
    "INLINE_MIME",
    "Reporter",
    "Runner",
    "inputs_digest",
    "is_record_only",
    "run_cells",
    "seconds_of",
]

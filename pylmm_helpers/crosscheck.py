"""The address of the first edition: see `pylmm_helpers.lme4`."""

from .lme4.agreement import agreement_records
from .lme4.check import crosscheck, lmer
from .lme4.tolerances import tolerance_table

__all__ = ["agreement_records", "crosscheck", "lmer", "tolerance_table"]

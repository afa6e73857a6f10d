"""The address of the first edition: see `pylmm_helpers.show`."""

from .show.tables import Table, table

__all__ = ["Table", "table"]

"""What a fit knows of its rows and of its model's words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design

from .products import CrossProducts


class FittedRows:
    """The rows and the words of a fit, for `LMMResults`."""

    cross: CrossProducts
    design: Design | None

    @property
    def _rows_of(self) -> Design:
        if self.design is None:
            raise ValueError(
                "this fit was made from cross products: it has no rows; fit the data frame to "
                "get them."
            )
        return self.design

    @property
    def X(self) -> Array:
        """Fixed-effect matrix (n, p)."""
        return self._rows_of.X

    @property
    def Z(self) -> Array:
        """Random-effect columns (n, q)."""
        return self._rows_of.Z

    @property
    def y(self) -> Array:
        """Response (n,)."""
        return self._rows_of.y

    @property
    def offset(self) -> Array:
        """What adds to the fitted values with a known slope of one (n,); zero without
        ``offset(...)``."""
        known = self._rows_of.offset
        return np.broadcast_to(0.0, self._rows_of.y.shape) if known is None else known

    @property
    def codes(self) -> np.ndarray:
        """Group number of each row (n,)."""
        return self._rows_of.codes

    @property
    def frame(self) -> pd.DataFrame:
        """The rows used, all columns of the data."""
        return self._rows_of.frame

    @property
    def group_labels(self) -> pd.Index:
        """Labels of the groups (G,)."""
        return pd.Index(self.cross.group_labels)

    @property
    def groups(self) -> str:
        """Name of the grouping column."""
        return self.cross.group_name

    @property
    def endog_name(self) -> str:
        """The response as the formula spells it."""
        return self.cross.y_name

    @property
    def formula(self) -> str:
        """Formula of the fixed part."""
        return self._rows_of.formula

    @property
    def re_formula(self) -> str:
        """Terms of the random part."""
        return self._rows_of.re_formula

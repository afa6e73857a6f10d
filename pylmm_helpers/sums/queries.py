"""The query that needs every row: products of scaled columns, summed by group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.engine import CrossProducts, Layout, group_inverses
from pylmm_helpers.formula import group_codes

from .arithmetic import number
from .moments import is_constant, short
from .source import Source
from .terms import Terms

#: Up to this many products, all are summed by group in one query: sums of sums lose no digits.
PRODUCTS_BY_GROUP = 60
WORDS = "adding up products by group"
#: Bytes that DuckDB holds for a group while it adds up: its label and place, and each sum.
BYTES_A_GROUP, BYTES_A_SUM = 64, 24
#: Share of the memory limit that one pass may plan to use; the rest is for reading the rows.
SHARE = 0.5


@dataclass(frozen=True)
class Products:
    """Products of m columns: `total` (m, m), `by_group` (q, m, G), `sizes` (G,);
    `labels` has a column for each grouping column."""

    total: Array
    by_group: Array
    sizes: np.ndarray
    labels: pd.DataFrame

    def in_order(self, codes: np.ndarray) -> Products:
        """Groups in the order of their codes."""
        order = np.argsort(codes)
        return Products(
            self.total, self.by_group[..., order], self.sizes[order], self.labels.iloc[order]
        )


@dataclass(frozen=True)
class ScaledTable:
    """The rows as the products see them.

    Attributes
    ----------
    columns : list of expressions
        Scaled columns, the response last; None is the constant.
    z_index, x_index : list of int
    weight : expression or None
    labels : list of expressions
        The grouping columns.
    """

    source: Source
    table: Any
    columns: list[Any]
    z_index: list[int]
    x_index: list[int]
    labels: list[Any]
    weight: Any

    def products(self) -> Products:
        """The sufficient statistics."""
        return sum_products(
            self.source, self.table, self.columns, self.z_index, self.labels, self.weight
        )

    def less_fit(self, beta: Array, spread: float) -> tuple[ScaledTable, Array, float]:
        """The same with the response less ``X beta``, in units of `spread`; with the numbers used,
        which are rounded."""
        beta, spread = np.array([short(b) for b in beta]), short(spread)
        left = self.columns[-1]
        for k, b in zip(self.x_index, beta, strict=True):
            column = number(1.0) if self.columns[k] is None else self.columns[k]
            left = left - column * number(b)
        columns = [*self.columns[:-1], left / number(spread)]
        changed = ScaledTable(
            self.source, self.table, columns, self.z_index, self.x_index, self.labels, self.weight
        )
        return changed, beta, spread

    def within(self, cross: CrossProducts) -> Array:
        """Products (p + 1, p + 1) of what each group's own regression on Z leaves of ``[X y]``.

        The regressions come from the products, and so does their rounding error; a regression of
        what they leave takes that away.
        """
        import ibis

        q, r_index = len(self.z_index), [*self.x_index, len(self.columns) - 1]
        inverses = group_inverses(cross)
        slopes = inverses @ np.moveaxis(cross.ZtR, -1, 0)
        known = pd.DataFrame({"label0": np.asarray(cross.group_labels)})
        for i in range(q):
            for c in range(len(r_index)):
                known[f"b{i}_{c}"] = slopes[:, i, c]
        named = {f"c{k}": column for k, column in enumerate(self.columns) if column is not None}
        if self.weight is not None:
            named["weight"] = self.weight
        rows = self.table.select(label0=self.labels[0], **named)
        rows = rows.join(ibis.memtable(known), "label0")

        def column(k: int) -> Any:
            return rows[f"c{k}"] if self.columns[k] is not None else number(1.0)

        left = []
        for c, k in enumerate(r_index):
            value = column(k)
            for i, z in enumerate(self.z_index):
                value = value - column(z) * rows[f"b{i}_{c}"]
            left.append(value)
        z_columns = [None if self.columns[z] is None else column(z) for z in self.z_index]
        weight = None if self.weight is None else rows["weight"]
        found = sum_products(
            self.source, rows, [*z_columns, *left], list(range(q)), [rows["label0"]], weight
        )
        order = pd.Index(cross.group_labels).get_indexer(found.labels["label0"])
        rest = np.moveaxis(found.in_order(order).by_group[:, q:], -1, 0)
        return np.asarray(found.total[q:, q:] - np.einsum("gic,gij,gjd->cd", rest, inverses, rest))


def scaled_table(
    source: Source, table: Any, terms: Terms, layout: Layout, weight: Any
) -> ScaledTable:
    """The layout's columns as expressions; weights have the mean one."""
    parts = {"x": terms.x, "z": terms.z}
    columns: list[Any] = []
    for (part, position), shift, scale in zip(
        layout.columns, layout.shifts, layout.scales, strict=True
    ):
        column = parts[part][position]
        columns.append(None if is_constant(column) else scaled(column, shift, scale))
    columns.append(scaled(terms.y, layout.y_shift, layout.y_scale))
    return ScaledTable(
        source, table, columns, layout.z_index, layout.x_index, [table[terms.group_name]], weight
    )


def scaled(column: Any, shift: float, scale: float) -> Any:
    """A column less its shift, over its scale."""
    away = column - number(shift) if shift else column
    return away / number(scale)


def sum_products(
    source: Source,
    table: Any,
    columns: list[Any],
    z_index: list[int],
    labels: list[Any],
    weight: Any,
) -> Products:
    """Sums of products of columns (None is the constant) within groups and over all rows."""
    named = {f"c{k}": column for k, column in enumerate(columns) if column is not None}
    if weight is not None:
        named["weight"] = weight
    named_labels = {f"label{k}": label for k, label in enumerate(labels)}
    rows = table.select(**named_labels, **named)
    m = len(columns)
    inside = {(min(z, k), max(z, k)) for z in z_index for k in range(m)}
    others = {(i, j) for i in range(m) for j in range(i, m)} - inside
    if len(inside) + len(others) <= PRODUCTS_BY_GROUP:
        inside, others = inside | others, set()

    def sums(rows: Any, pairs: set[tuple[int, int]]) -> dict[str, Any]:
        found = {}
        for i, j in sorted(pairs):
            factors = [rows[f"c{k}"] for k in (i, j) if columns[k] is not None]
            if weight is not None:
                factors.append(rows["weight"])
            if factors:
                product = factors[0]
                for factor in factors[1:]:
                    product = product * factor
                found[f"p{i}_{j}"] = product.sum()
        return found

    found = by_label(source, rows, list(named_labels), lambda some: sums(some, inside))
    sizes = found["size"].to_numpy(dtype=np.int64)
    total, by_group = np.zeros((m, m)), np.zeros((len(z_index), m, len(found)))
    overall = source.run(rows.aggregate(**sums(rows, others)), WORDS).iloc[0] if others else None
    for i, j in inside | others:
        name = f"p{i}_{j}"
        if overall is not None and (i, j) in others:
            total[i, j] = total[j, i] = float(overall[name])
            continue
        values = found[name].to_numpy(dtype=float) if name in found else sizes.astype(float)
        total[i, j] = total[j, i] = values.sum()
        for q, z in enumerate(z_index):
            if z in (i, j):
                by_group[q, j if z == i else i] = values
    return Products(total, by_group, sizes, found[list(named_labels)])


def by_label(
    source: Source, rows: Any, labels: list[str], sums: Callable[[Any], dict[str, Any]]
) -> pd.DataFrame:
    """One row for each combination of labels: those, size and sums.

    Groups whose sums would outgrow the memory limit are taken in several passes over the rows, a
    part of the groups in each: sums kept on disk in between would be many times the size of the
    rows.
    """
    parts = passes(source, rows, labels, 1 + len(sums(rows)))
    # hashes may be negative, and so may remainders
    part = None
    if parts > 1:
        part = (sum(rows[name].hash() % parts for name in labels) % parts + parts) % parts
    found = []
    for k in range(parts):
        some = rows if part is None else rows.filter(part == k)
        grouped = some.group_by(labels).aggregate(size=some.count(), **sums(some))
        found.append(source.run(grouped, WORDS))
    return pd.concat(found, ignore_index=True)


def passes(source: Source, rows: Any, labels: list[str], sums: int) -> int:
    """How many passes over the rows keep the sums of the groups within DuckDB's memory limit."""
    room = source.room()
    if room is None:
        return 1
    memory, threads = room
    label = rows[labels[0]]
    if len(labels) > 1:
        import ibis

        label = ibis.struct({name: rows[name] for name in labels})
    found = source.run(rows.aggregate(n=label.approx_nunique()), "counting groups")
    bytes_each = BYTES_A_GROUP * len(labels) + BYTES_A_SUM * sums
    needed = float(found["n"].iloc[0]) * threads * bytes_each
    return max(1, int(np.ceil(needed / (SHARE * memory))))


def check_unchanged(first: int, second: int) -> None:
    """Refuse a table that had other rows when it was read again."""
    if first != second:
        raise ValueError(
            f"the table had {first:,} complete rows when it was looked at and "
            f"{second:,} when they were added up: it changed meanwhile. Write it to a file "
            "that stays as it is, and start again."
        )


def codes_of(labels: pd.Series, source: Source, name: str) -> tuple[Any, pd.Index]:
    """Codes and labels of a grouping column as rows in memory would have them."""
    if name in source.categories:
        labels = pd.Series(pd.Categorical(labels, categories=source.categories[name]))
    return group_codes(labels, name)

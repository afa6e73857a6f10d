"""Mixed models on data larger than memory: sufficient statistics from one ``GROUP BY``.

A linear mixed model with one grouping factor needs the rows only for the cross products of its
columns within each group. A database adds those up without ever holding the rows in memory, and
`pylmm_helpers.fit_lmm` takes the result. The estimates are exact: no row is left out, nothing
is approximated.

The steps, each in a module of its own: `source` opens the table (`files` looks
after Parquet files), `terms` turns
the formula into expressions of Ibis (arithmetic in `arithmetic`), `moments` asks for
range and moments of every column, `queries` for the products by group; `several` does so for
models with several random terms, by the combination of all grouping columns. What follows is shared
with data in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from formulaic.utils.context import capture_context

from pylmm_helpers.engine import (
    ALMOST_NOTHING,
    CrossProducts,
    Layout,
    SeveralProducts,
    assemble,
    check_bars_alone,
    check_counts,
    constant_of,
    criterion,
    factor_to_theta,
    lay_out,
    reduce_products,
)
from pylmm_helpers.formula import (
    Bar,
    as_frame,
    check_cells,
    check_choices,
    crossed,
    has_bars,
    names_in,
    parse,
    parse_random,
    require_column,
    take_apart,
)

from .arithmetic import number
from .moments import adds_up, complete_rows, first_pass
from .queries import ScaledTable, check_unchanged, codes_of, scaled_table
from .several import check_double_bars, collect_several
from .source import Source, open_source
from .terms import Terms, category_columns, tiny_frame, translate

__all__ = ["CrossProducts", "cross_products"]

#: More categories than this in one column are an identifier, not a predictor.
MOST_LEVELS = 1_000


def cross_products(
    source: Any,
    formula: str,
    groups: str | None = None,
    re_formula: str = "1",
    weights: str | None = None,
    missing: str = "raise",
    memory_limit: str | None = None,
    progress: bool | None = None,
) -> CrossProducts | SeveralProducts:
    """Sufficient statistics of a mixed model from a table of any size.

    Parameters
    ----------
    source : DataFrame, path or Ibis table
        A pandas or Polars data frame or an Arrow table; the path of a Parquet file, or of a folder
        of them (its folders included, names that start with a dot or an underscore left out); or a
        table of Ibis on any database that it knows, such as DuckDB or Spark, where the work is then
        done.
    formula, groups, re_formula : str
        As in `fit_lmm`, ``offset(x)`` and random terms in the formula included
        (``"y ~ x + (1 + x | herd) + (1 | herd:cow)"``). Terms may hold columns, ``C(...)`` with
        any of formulaic's contrasts, interactions, arithmetic in ``I(...)`` or ``{...}``,
        comparisons, and ``np.log``, ``exp``, ``sqrt``, ``abs`` and the like. Text columns are
        categories in the order of the alphabet, unless ``C(column, levels=[...])`` says otherwise;
        categorical columns of a data frame keep their own order.
    weights : str, optional
        Column of prior weights.
    missing : {"raise", "drop"}
        What to do about rows with a missing value in a column of the model.
    memory_limit : str, optional
        What DuckDB may hold in memory, such as ``"1.5GB"``; for files and data frames. What does
        not fit goes to temporary files, which are removed at the end.
    progress : bool, optional
        Show a progress bar when a query takes long. By default in terminals and notebooks only.

    Returns
    -------
    CrossProducts
        For ``fit_lmm(products, reml=...)``. About ``8 q (p + q + 1)`` bytes a group for p fixed
        and q random terms, whatever the number of rows. With several random terms
        `SeveralProducts`, of about as many bytes for each combination of the factors' levels that
        occurs (q then counts the distinct random columns of all terms).

    Raises
    ------
    ValueError
        For whatever `fit_lmm` refuses, with the same words; for a term that has no counterpart in a
        query; for a source that can't be read.
    MemoryError
        When DuckDB can't do with `memory_limit`.

    Notes
    -----
    The table is read twice (once more for each categorical column): for range, mean and spread of
    every column, then for the products of the centred and scaled columns. Where the sums of all
    groups would outgrow DuckDB's memory limit, the last step reads the table several times, for a
    part of the groups each time. An interrupt ends the running query and leaves no file behind.

    References
    ----------
    Sufficiency: Laird NM, Ware JH (1982). Random-effects models for longitudinal data. Biometrics
    38, 963-974.
    """
    context = capture_context(1)
    whole = formula
    if has_bars(formula):
        check_bars_alone(groups, re_formula)
        formula, bars = take_apart(formula)
        groups = bars[0].columns[0]
    else:
        bars = [Bar(re_formula, (groups,))] if groups is not None else []
    fixed = parse(formula)
    random = [parse_random(bar.terms) for bar in bars] or [parse_random(re_formula)]
    if groups is None:
        raise ValueError("groups is missing; give the name of the column that names the groups.")
    if not (weights is None or isinstance(weights, str)):
        raise ValueError(
            f"weights must be the name of a column of the table, not {type(weights).__name__}."
        )
    with open_source(source, memory_limit, progress) as opened:
        table = opened.table
        names = pd.DataFrame(columns=list(table.columns))
        if isinstance(source, pd.DataFrame):
            names = as_frame(source).iloc[:0]
        check_choices(groups, missing, names)
        every = [term for terms in random for term in terms]
        parts = [*fixed.lhs, *fixed.rhs, *fixed.offset, *every]
        used, tools, *_ = names_in(parts, names, context)
        group_columns = list(dict.fromkeys(name for bar in bars for name in bar.columns))
        needed = [*used, *group_columns, *([weights] if weights else [])]
        for name in needed:
            require_column(names, name)
        opened.check(needed)
        for name in group_columns:
            check_group_type(table, name)
        if weights and not table.schema()[weights].is_numeric():
            raise ValueError(
                f"weights column '{weights}' must be numbers; convert them with pd.to_numeric."
            )
        complete = complete_rows(table, needed)
        coded = category_columns(parts, table, opened.categories)
        levels = {name: levels_of(opened, table.filter(complete), name) for name in coded}
        tiny = tiny_frame(table, used, levels, opened.categories)
        check_crossed(opened, table.filter(complete), [*fixed.rhs, *every], tiny, tools)
        check_double_bars(bars, random, tiny, coded, tools)
        several = [
            translate(formula, bar.terms, fixed, terms, bar.columns, table, tiny, tools)
            for bar, terms in zip(bars, random, strict=True)
        ]
        kept = table.filter(complete) if missing == "drop" else table
        if len(bars) == 1 and len(group_columns) == 1:
            return collect(opened, kept, used, several[0], weights, missing)
        return collect_several(opened, kept, used, whole, bars, several, weights, missing)


def check_group_type(table: Any, groups: str) -> None:
    """Lists, records and durations can't be compared as labels."""
    kind = table.schema()[groups]
    if kind.is_nested() or kind.is_interval():
        raise ValueError(
            f"column '{groups}' has type {kind}, which can't name groups; turn it into text or "
            "whole numbers."
        )


def levels_of(source: Source, table: Any, name: str) -> list[Any]:
    """Categories of a column that occur, in their order."""
    query = table.select(level=table[name]).distinct().limit(MOST_LEVELS + 1)
    found = set(source.run(query, f"looking for the categories of {name}")["level"].tolist())
    if len(found) > MOST_LEVELS:
        raise ValueError(
            f"column '{name}' has more than {MOST_LEVELS} categories; a column with so many is an "
            "identifier, not a predictor. Use it in groups=, or merge categories."
        )
    if not found:
        return ["none", "nothing"]  # no complete row: the first pass says so
    order = source.categories.get(name)
    return sorted(found) if order is None else [level for level in order if level in found]


def check_crossed(source: Source, table: Any, terms: list[Any], tiny: Any, tools: Any) -> None:
    """Refuse crossed categories of which some combination has no row."""
    for term in terms:
        names = crossed(term, tiny, tools)
        if len(names) > 1:
            cells = table.select(*names).distinct()
            found = source.run(cells, f"looking for the cells of {term}")
            check_cells([term], {name: found[name] for name in names}, tools)


def collect(
    source: Source, table: Any, used: list[str], terms: Terms, weights: str | None, missing: str
) -> CrossProducts:
    """Ask for moments, then for products of the rows that are kept, and check both."""
    first = first_pass(source, source.table, used, weights, [terms], missing)
    moments, p = first.moments, len(terms.x)
    x_moments, z_moments = moments[1 : p + 1], moments[p + 1 :]
    layout = lay_out(
        terms, x_moments, z_moments, moments[0],
        constant_of(x_moments, lambda k: adds_up(source, table, terms.x, k)),
        constant_of(z_moments, lambda k: adds_up(source, table, terms.z, k)),
    )  # fmt: skip
    weight = None
    if weights is not None and first.mean_weight is not None:
        weight = table[weights].cast("float64") / number(first.mean_weight)
    rows = scaled_table(source, table, terms, layout, weight)
    facts = {
        "sum_log_weights": first.sum_log_weights,
        "mean_weight": first.mean_weight,
        "y_largest": moments[0].largest,
        "n_dropped": first.rows - first.complete,
    }
    cross = assembled(terms, layout, rows, None, facts)
    check_unchanged(first.complete, cross.nobs)
    reduced, cross = reduce_products(cross, rows.within)
    at, _ = criterion(factor_to_theta(np.eye(cross.q))[None], reduced, False)
    if not at.unexplained()[0] < ALMOST_NOTHING:
        return cross
    # the digits of the residual are lost beside those of y: products of what a fit leaves of it
    spread = float(np.sqrt(max(at.r2[0], 1e-300) / cross.nobs))
    rows, beta, spread = rows.less_fit(at.beta()[0], spread)
    fitted = (layout.y_scale * spread, beta / spread)
    _, cross = reduce_products(assembled(terms, layout, rows, fitted, facts), rows.within)
    return cross


def assembled(
    terms: Terms, layout: Layout, rows: ScaledTable, fitted: Any, facts: Mapping[str, Any]
) -> CrossProducts:
    """Products with the groups in the order of their labels."""
    found = rows.products()
    codes, labels = codes_of(found.labels["label0"], rows.source, terms.group_name)
    check_counts(int(found.sizes.sum()), len(labels), terms)
    found = found.in_order(codes)
    return assemble(
        terms, layout, found.total, found.by_group, found.sizes, labels, fitted=fitted, **facts
    )

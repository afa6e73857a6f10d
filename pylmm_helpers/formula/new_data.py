"""Columns of X and Z, and group numbers, for rows that were not in the fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array, counted

from .columns import as_frame, check_scalars
from .design import PARTS, Design, plain_terms
from .evaluate import model_matrix, names_in
from .foreign import FOREIGN, RebuiltError
from .levels import Levels, listed

#: Rounding that another way through the same arithmetic may leave, beside the largest value.
ROUNDING = 16 * np.finfo(float).eps


def as_new_frame(new_data: Any) -> pd.DataFrame:
    """Read new rows from a DataFrame or from a mapping of columns (single values are repeated)."""
    if isinstance(new_data, Mapping):
        columns = {name for name, v in new_data.items() if pd.api.types.is_list_like(v)}
        for name in columns:
            if isinstance(new_data[name], set | frozenset):
                raise ValueError(
                    f"column {name!r} of new_data is a set, which has no order; give a list"
                )
        try:
            frame = pd.DataFrame(dict(new_data), index=None if columns else [0])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"new_data is no table: {error}; give columns of one length"
            ) from error
    elif hasattr(new_data, "columns"):
        frame = as_frame(new_data)
    else:
        raise ValueError(
            f"new_data is a {type(new_data).__name__}; give a DataFrame or a dict of columns"
        )
    if frame.empty:
        raise ValueError("new_data has no rows; give at least one")
    return frame


def model_columns(design: Design, frame: pd.DataFrame, part: str) -> Array:
    """Columns of a part of the model for the rows of `frame`: X (k, p) for "fixed", Z (k, q) for
    "random", (k, number of offsets) for "offset"."""
    terms = design.terms[part]
    used = [n for n in names_in(terms, frame, design.tools).used if n in design.frame.columns]
    for name in used:
        check_column(name, frame, design)
    frame = frame[used].reset_index(drop=True)
    values = design.factors({name: design.kinds[name].again(frame[name]) for name in used}, part)
    plain = plain_terms(terms, values, len(frame))
    if plain is None:
        return computed_columns(design, pd.DataFrame(values, index=frame.index), part)
    columns, names = plain
    order = in_fit_order(names, part, design)
    return np.column_stack([columns[k] for k in order]) if order else np.zeros((len(frame), 0))


def names_of(design: Design, part: str) -> tuple[str, ...] | None:
    """Names of the columns of X or Z; an offset's have none."""
    return {"fixed": design.x_names, "random": design.z_names}.get(part)


def in_fit_order(found: list[str], part: str, design: Design) -> list[int]:
    """Positions of a part's columns as they stand in the fit."""
    names = names_of(design, part)
    if names is not None and design.recipes is None:
        return design.foreign[part][1]
    if names is None or tuple(found) == names:
        return list(range(len(found)))
    if sorted(found) == sorted(names):
        return [found.index(name) for name in names]
    raise ValueError(
        f"the terms of {design.formula!r} can't be rebuilt for new data as this fit coded them "
        f"({', '.join(names)}); fit the model with fit_lmm"
    )


def computed_columns(design: Design, rows: pd.DataFrame, part: str) -> Array:
    """The same through formulaic."""
    # a product of one row takes another way through BLAS than that of many
    block = rows if len(rows) > 1 else pd.concat([rows, rows], ignore_index=True)
    matrix = model_matrix(design.recipe(part), block, design.tools, "raise")
    found = [str(c) for c in matrix.columns]
    order = in_fit_order(found, part, design)
    values = np.asarray(matrix, dtype=float)[: len(rows), order]
    if not np.isfinite(values).all():
        bad = found[order[int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])]]
        raise ValueError(f"term {bad!r} is infinite or undefined for some rows of new_data")
    return values


def check_own_rows(design: Design) -> None:
    """Refuse terms that a row of the fit, given as new data, would get other values for: those
    computed from all rows together, such as ``x - x.mean()``.

    Where a term is computed, the rows in which it is smallest and largest are tried one by one, and
    some rows from last to first: what depends on the other rows changes in one of these.
    """
    if design.recipes is None:
        check_foreign(design)
    every: list[Any] = [design.x_columns, design.z_columns, [design.offset]]
    for part, own in zip(PARTS, every, strict=True):
        if not len(design.terms[part]) or (design.recipes and design.recipes[part] is None):
            continue
        for rows in telling_rows(design, part, own):
            wanted = np.column_stack([column[rows] for column in own])
            try:
                found = model_columns(design, design.frame.iloc[rows], part)
            except ValueError as error:
                computed = [str(t) for t in design.terms[part] if is_computed(t)]
                what = " + ".join(computed) or design.formula
                raise depends_on_rows(what, str(error).rstrip(".")) from error
            found = found.sum(axis=1, keepdims=True) if part == "offset" else found
            largest = np.array([np.abs(column).max() for column in own])
            off = ~(np.abs(found - wanted) <= (FOREIGN, ROUNDING)[bool(design.recipes)] * largest)
            if off.any():
                row, k = (int(at[0]) for at in np.nonzero(off))
                alone = "from that row alone" if len(rows) == 1 else "among other rows"
                what = f"{wanted[row, k]:.6g} in the fit, {found[row, k]:.6g} {alone}"
                raise depends_on_rows((names_of(design, part) or ["offset(...)"])[k], what)


def check_foreign(design: Design) -> None:
    """Refuse another program's fit whose columns can't be computed for new rows, be they one or
    all."""
    if not design.has_formula:
        raise RebuiltError(
            "the fit has no formula, so the columns of new rows can't be computed from their data; "
            "fit it with a formula, by fit_lmm or smf.mixedlm, or predict its own rows (without "
            "new_data)"
        )
    design.foreign  # noqa: B018 - its own refusals are not about single rows


def telling_rows(design: Design, part: str, columns: list[Any]) -> list[list[int]]:
    """Rows in which the computed columns of a part are smallest or largest, and the first, one by
    one; and up to 64 rows together, from the last to the first."""
    names = names_of(design, part)
    if names is not None and design.recipes:
        python = [
            structure.columns[0]
            for structure in design.recipe(part).structure
            if is_computed(structure.term)
        ]
        columns = [columns[names.index(name)] for name in python]
    ends = [int(end(column)) for column in columns for end in (np.argmin, np.argmax)]
    n = len(design.frame)
    some = np.unique(np.linspace(0, n - 1, min(n, 64)).astype(int))[::-1]
    return [*([row] for row in sorted({0, *ends})), some.tolist()]


def is_computed(term: Any) -> bool:
    """Whether a term is more than columns as they stand."""
    return any(factor.eval_method.value == "python" for factor in term.factors)


def depends_on_rows(what: str, reason: str) -> ValueError:
    """The error for a term that can't be computed from a row alone."""
    return ValueError(
        f"the term {what!r} can't be computed from one row alone ({reason}), so "
        "predictions would depend on which rows are asked for. Write center(x), scale(x) or "
        "another transformation that remembers the data, or make it a column of the data first: "
        "data['x_c'] = ..."
    )


def check_column(name: str, frame: pd.DataFrame, design: Design) -> None:
    """Refuse a predictor that new_data lacks, or that has gaps there."""
    if name not in frame.columns:
        raise ValueError(f"new_data has no column {name!r}, a predictor of the model; add it")
    refuse_copies(name, frame)
    gaps = int(frame[name].isna().sum())
    if gaps:
        raise ValueError(
            f"column {name!r} of new_data has {counted(gaps, 'missing value')}; fill or drop "
            "those rows"
        )


def refuse_copies(name: str, frame: pd.DataFrame) -> None:
    """Refuse a column name that stands twice."""
    if int((frame.columns == name).sum()) > 1:
        raise ValueError(f"column {name!r} stands twice in new_data; rename or drop the copies")


def group_numbers(name: str, labels: pd.Index, frame: pd.DataFrame) -> NDArray[np.intp]:
    """Number (k,) of each row's group, column `name`, among the labels of the fit's groups; -1 for
    groups that the fit has not seen."""
    if name in frame.index.names and name not in frame.columns:
        raise ValueError(f"{name!r} is in the index of new_data; give new_data.reset_index()")
    if name not in frame.columns:
        raise ValueError(
            f"new_data has no column {name!r}; add the group of each row, or predict with "
            "level='population'"
        )
    refuse_copies(name, frame)
    gaps = int(frame[name].isna().sum())
    if gaps:
        raise ValueError(
            f"column {name!r} of new_data has {counted(gaps, 'missing value')}; give new groups "
            "a label of their own"
        )
    return label_positions(labels, frame[name])


def label_positions(labels: pd.Index, column: pd.Series) -> NDArray[np.intp]:
    """Positions (k,) of a column's values among the labels of the fit's groups; -1 for new
    ones."""
    check_scalars(column, str(column.name), labels=True)
    numbers = np.full(len(column), -1, dtype=np.intp)
    if not pd.api.types.infer_dtype(labels).startswith("mixed"):  # text and numbers
        numbers[:] = labels.get_indexer(pd.Index(column))
    missed = numbers < 0
    if missed.any():  # the same group may be named by a label of another type
        known = Levels(labels)
        found, _, ambiguous = known.positions(column[missed])
        if ambiguous:
            same = [labels[k] for k in known.alike(ambiguous[0])]
            remedy = (
                "give the labels the type that they had in the fit"
                if not known.of_two_types(ambiguous[0])
                else "give the groups other names, or labels of one type, and fit again"
            )
            raise ValueError(
                f"column {column.name!r} of new_data holds {listed(ambiguous)}, which could be "
                f"more than one group of the fit ({listed(same)}); {remedy}"
            )
        numbers[missed] = found
    return numbers

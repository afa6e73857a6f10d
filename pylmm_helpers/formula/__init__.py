"""Words to columns: a formula and a table come in; the checked columns of X, Z and y, and the same
columns for other rows, go out."""

from __future__ import annotations

from .bars import Bar, has_bars, take_apart
from .cells import check_cells, check_levels, crossed
from .columns import (
    as_frame,
    check_missing,
    check_range,
    check_scalars,
    check_size,
    group_codes,
    handle_missing,
    in_order,
    no_scalars,
    numbers_as_text,
    plain_values,
    refuse_type,
    require_column,
)
from .design import (
    PARTS,
    Design,
    build_design,
    check_any,
    check_choices,
    check_names,
    check_offset,
    materialise,
    response_and_columns,
)
from .double_bars import check_double
from .evaluate import Names, is_number, model_matrix, names_in
from .foreign import bare_terms
from .levels import Levels, refuse_levels
from .new_data import (
    as_new_frame,
    check_own_rows,
    group_numbers,
    label_positions,
    model_columns,
    refuse_copies,
)
from .parse import parse, parse_random, plain_words
from .r_spelling import NAMES, Spelling, in_r, r_factors, r_term, syntactic
from .same_rows import in_order_of, order_of, row_order
from .structure import Structure, StructureRequest, read_request, read_structure
from .weights import check_weights, read_weights
from .words import FACTOR, Word, closing, column_names, cut, is_sign, split, unquoted, words

__all__ = [
    "FACTOR",
    "NAMES",
    "PARTS",
    "Bar",
    "Design",
    "Levels",
    "Names",
    "Spelling",
    "Structure",
    "StructureRequest",
    "Word",
    "as_frame",
    "as_new_frame",
    "bare_terms",
    "build_design",
    "check_any",
    "check_cells",
    "check_choices",
    "check_double",
    "check_levels",
    "check_missing",
    "check_names",
    "check_offset",
    "check_own_rows",
    "check_range",
    "check_scalars",
    "check_size",
    "check_weights",
    "closing",
    "column_names",
    "crossed",
    "cut",
    "group_codes",
    "group_numbers",
    "handle_missing",
    "has_bars",
    "in_order",
    "in_order_of",
    "in_r",
    "is_number",
    "is_sign",
    "label_positions",
    "materialise",
    "model_columns",
    "model_matrix",
    "names_in",
    "no_scalars",
    "numbers_as_text",
    "order_of",
    "parse",
    "parse_random",
    "plain_values",
    "plain_words",
    "r_factors",
    "r_term",
    "read_request",
    "read_structure",
    "read_weights",
    "refuse_copies",
    "refuse_levels",
    "refuse_type",
    "require_column",
    "response_and_columns",
    "row_order",
    "split",
    "syntactic",
    "take_apart",
    "unquoted",
    "words",
]

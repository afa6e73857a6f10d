"""The expressions of a formula: which columns and functions they name, and their values.

A name that is called is the formula language's (`C`, `scale`, `log`, ...) if that knows it, then
the caller's, then Python's; any other name is a column if there is one. So no variable of the
caller's and no column ever stands in the way of the language.
"""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Container, Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from formulaic.errors import DataMismatchWarning
from formulaic.materializers import PandasMaterializer
from formulaic.utils.layered_mapping import LayeredMapping
from formulaic.utils.stateful_transforms import stateful_eval
from interface_meta import override

from .language import LANGUAGE, arithmetic, as_texts
from .parse import plain_words
from .respell import R_WORDS

MODULES = ("np", "numpy", "contr")
QUOTED = re.compile(r"(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')|`([^`]*)`")


class Names(NamedTuple):
    """Columns that terms use, and functions and constants of the caller's among the names;
    `coded` are the columns that stand in ``C(...)`` only, `also_coded` those that stand elsewhere
    too."""

    used: list[str]
    tools: dict[str, Any]
    coded: set[str]
    also_coded: set[str]


class Reading(ast.NodeTransformer):
    """An expression with its columns told from its functions.

    Attributes
    ----------
    source : str
        The expression with stand-ins for what a column or variable might hide.
    meaning : dict
        What functions stand behind them; `columns` the same for columns.
    used, coded : set of str
        Columns, and those directly in ``C(...)``.
    tools : dict
        Functions and constants of the caller's program.
    """

    def __init__(self, code: str, names: Container[str], context: Mapping[str, Any] | None):
        self.names, self.context = names, context or {}
        self.used: set[str] = set()
        self.coded: set[str] = set()
        self.tools: dict[str, Any] = {}
        self.meaning: dict[str, Any] = {}
        self.columns: dict[str, str] = {}
        self.coding = False
        tree = ast.parse(QUOTED.sub(self.stand_in, code).strip(), mode="eval")
        self.bound = {
            node.arg if isinstance(node, ast.arg) else node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.arg)
            or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        }
        self.source = ast.unparse(self.visit(tree))

    def stand_in(self, found: re.Match[str]) -> str:
        """A name that Python can read for one in backticks."""
        return found[1] or self.column(found[2])

    def column(self, name: str) -> str:
        """A stand-in for a column."""
        known = next((short for short, long in self.columns.items() if long == name), None)
        short = known or f"_column_{len(self.columns)}"
        self.columns[short] = name
        return short

    def function(self, name: str) -> ast.Name:
        """A stand-in for a word of the language."""
        self.meaning[f"_language_{name}"] = LANGUAGE[name]
        return ast.Name(f"_language_{name}", ast.Load())

    def visit_Call(self, node: ast.Call) -> Any:
        """A call, whose name is no column."""
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name is None:
            node.func = self.visit(node.func)
        elif name not in self.bound:
            node.func = self.called(name)
        before, is_coding = self.coding, name == "C"
        for position, argument in enumerate(node.args):
            self.coding = is_coding and position > 0
            inside = self.columns.get(getattr(argument, "id", ""), getattr(argument, "id", None))
            if is_coding and position == 0 and inside is not None and inside in self.names:
                self.coded.add(inside)
                continue
            node.args[position] = self.visit(argument)
        self.coding = is_coding
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        self.coding = before
        return node

    def called(self, name: str) -> ast.expr:
        """The function of that name."""
        if name in LANGUAGE:
            return self.function(name)
        if callable(self.context.get(name)):
            self.tools[name] = self.context[name]
            self.meaning[f"_caller_{name}"] = self.context[name]
            return ast.Name(f"_caller_{name}", ast.Load())
        if callable(getattr(builtins, name, None)):
            self.meaning[f"_python_{name}"] = getattr(builtins, name)
            return ast.Name(f"_python_{name}", ast.Load())
        if name == "offset":
            remedy = "it must stand by itself, joined to the other terms by +"
        else:
            remedy = R_WORDS.get(name, "check its spelling, or make it a column of the data first")
        also = f" (nor a column '{name}', which couldn't be called)" if name in self.names else ""
        also = also or f" and no column '{name}'"
        raise ValueError(f"there is no function '{name}'{also} for {name}(...); {remedy}.")

    def in_arithmetic(self, node: ast.expr) -> ast.expr:
        """An operand, as floats."""
        if isinstance(node, ast.Constant):
            return node
        self.meaning["_arithmetic"] = arithmetic
        return ast.Call(ast.Name("_arithmetic", ast.Load()), [node], [])

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        """Arithmetic; the operators of logic keep their operands."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.BitOr | ast.BitAnd | ast.BitXor | ast.LShift | ast.RShift):
            node.left = self.in_arithmetic(node.left)
            node.right = self.in_arithmetic(node.right)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        """A sign."""
        self.generic_visit(node)
        if isinstance(node.op, ast.USub | ast.UAdd):
            node.operand = self.in_arithmetic(node.operand)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        """A column whose name has dots, a module of the language, or a method."""
        path = ast.unparse(node)
        root = path.split(".")[0]
        if re.fullmatch(r"[\w.]+", path) and root not in self.names and path in self.names:
            self.used.add(path)
            return ast.Name(self.column(path), ast.Load())
        if isinstance(node.value, ast.Name) and root in MODULES:
            node.value = self.function(root)
        else:
            node.value = self.visit(node.value)
        return node

    def visit_Name(self, node: ast.Name) -> Any:
        """A column, a constant of the caller's, a word of the language, or a name not known."""
        name = node.id
        if name in self.bound:
            return node
        if self.coding and name in LANGUAGE:
            return self.function(name)
        if self.coding and not is_tool(name, self.context) and name not in self.columns:
            raise ValueError(
                f"there is no coding '{name}' for C(...); choose Treatment, Sum, Helmert, Poly or "
                "Diff."
            )
        if name in self.columns:
            self.used.add(self.columns[name])
        elif name in self.names:
            self.used.add(name)
        elif is_tool(name, self.context):
            self.tools[name] = self.context[name]
        elif name in LANGUAGE:
            return self.function(name)
        elif not hasattr(builtins, name):
            self.used.add(name)
        return node


def is_tool(name: str, context: Mapping[str, Any]) -> bool:
    """Whether a name of the caller's program is a function, module or constant, not data."""
    value = context.get(name)
    return callable(value) or isinstance(value, ModuleType) or bool(np.isscalar(value))


def names_in(terms: Iterable[Any], frame: pd.DataFrame, context: Mapping[str, Any] | None) -> Names:
    """Columns that the terms use, and the caller's own functions and constants among their
    names."""
    used: set[str] = set()
    coded: set[str] = set()
    tools: dict[str, Any] = {}
    ways: dict[str, str] = {}
    for factor in (factor for term in terms for factor in term.factors):
        if ways.setdefault(factor.expr, factor.eval_method.value) != factor.eval_method.value:
            raise ValueError(
                f"'{factor.expr}' is a column's name and an expression, both in one formula; "
                "rename the column."
            )
        if factor.eval_method.value == "literal":
            continue
        if factor.eval_method.value == "lookup":
            used.add(factor.expr)
            continue
        reading = Reading(factor.expr, frame, context)
        used |= reading.used
        coded |= reading.coded
        tools |= reading.tools
    return Names(sorted(used | coded), tools, coded - used, coded & used)


class Evaluator(PandasMaterializer):  # type: ignore[misc]
    """formulaic's evaluation of terms, with the names read as `Reading` does."""

    REGISTER_NAME = "pylmm_helpers"
    REGISTER_INPUTS = ()

    @override
    def _lookup(self, name: str) -> tuple[Any, set[Any]]:
        value, variables = super()._lookup(name)
        kind = getattr(value, "dtype", None)
        # products of whole numbers in an interaction overflow
        whole = isinstance(kind, np.dtype) and kind.kind in "iu"
        return (value.astype(float) if whole else value), variables

    @override
    def _evaluate(self, expr: str, metadata: Any, spec: Any) -> tuple[Any, set[Any]]:
        reading = Reading(expr, self.data.columns, self.context)
        columns = {short: self.data[long] for short, long in reading.columns.items()}
        around = LayeredMapping({**reading.meaning, **columns}, self.layered_context)
        state = spec.transform_state
        value = stateful_eval(reading.source, around, {reading.source: metadata}, state, spec)
        return as_texts(value, self.data.index if len(self.data) == np.size(value) else None), set()


def model_matrix(
    terms: Any, frame: pd.DataFrame, context: Mapping[str, Any] | None, na_action: str = "ignore"
) -> Any:
    """formulaic's model matrix of terms, or of the recipe (ModelSpec) that an earlier one left;
    whatever goes wrong in an expression becomes a ValueError that names it."""
    try:
        # what comes out undefined is refused by name; a category outside C(..., levels=) is not
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=RuntimeWarning)
            warnings.simplefilter("error", DataMismatchWarning)
            evaluator = Evaluator(frame, dict(context or {}))
            matrix = evaluator.get_model_matrix(terms, na_action=na_action)
    except Exception as error:
        reason = plain_words(error)
        texts = [name for name in frame if not is_number(frame[name])]
        shown = " + ".join(str(term) for term in getattr(terms, "formula", terms))
        hint = " The second argument of C is a coding, such as Sum." if "C(" in shown else ""
        if texts and "valuate" in reason:
            named = " and ".join(f"'{name}'" for name in texts)
            hint += (
                f" Column {named} holds text or categories: numbers are made of text with "
                "pd.to_numeric."
            )
        if isinstance(error, DataMismatchWarning):
            found = re.search(r"\{.*\}", reason)
            left_out = found[0] if found else "some"
            left_out = re.sub(r"np\.\w+\((.*?)\)", r"\1", left_out)
            reason = f"rows hold categories that the fit or levels= leaves out: {left_out}"
            hint = ""
        reason = reason.rstrip(".")
        raise ValueError(f"the terms '{shown}' can't be computed: {reason}.{hint}") from error
    made = sum(len(part.columns) for part in matrix.model_spec.structure)
    if made != matrix.shape[1]:
        raise ValueError(
            f"two terms of '{terms}' give columns of the same name; rename a column of the data."
        )
    return matrix


def is_number(column: pd.Series) -> bool:
    """Whether a column holds real numbers or truth values."""
    kind = column.dtype
    return bool(pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind))

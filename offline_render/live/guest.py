"""Runs one cell in the Python of a reader's browser, and says what it shows.

It travels as ``_live.py``; it imports nothing of the renderer. Each thing shown is one line of
JSON on the standard output, so that the page shows it while the cell runs.
"""

from __future__ import annotations

import ast
import importlib
import io
import json
import linecache
import logging
import os
import sys
import traceback
import types
from typing import Any

JOB = "/tmp/cell.json"
#: Modules that the page's Python lacks, with what a reader is told.
ABSENT = {
    "duckdb": "DuckDB", "ibis": "Ibis", "polars": "Polars", "pyarrow": "Arrow",
    "pymer4": "R", "pyspark": "Spark", "rpy2": "R",
}  # fmt: skip
FIGURE: dict[str, Any] = {
    "format": "svg",
    "metadata": {"Date": None},
    "bbox_inches": "tight",
    "dpi": 220,
}
#: More points of one kind than this are a picture inside the drawing, as in the book.
MOST_POINTS = 500


def tell(kind: str, **more: Any) -> None:
    """Send the page one thing."""
    print(json.dumps({"kind": kind, **more}), file=sys.__stdout__, flush=True)


class Stream(io.TextIOBase):
    """What a cell prints, sent whenever a line is whole."""

    def __init__(self, name: str) -> None:
        self.name, self.held, self.told = name, "", True

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.held += text
        whole, newline, self.held = self.held.rpartition("\n")
        if newline and self.told:
            tell("text", name=self.name, text=whole + newline)
        return len(text)

    def flush(self) -> None:
        if self.held and self.told:
            tell("text", name=self.name, text=self.held)
        self.held = ""


def start() -> None:
    """Import what every page needs; the packages take seconds, and the page says so."""
    os.chdir("/files")
    os.environ["COLUMNS"] = "80"
    import matplotlib

    matplotlib.use("agg")
    # few faces travel; which one takes the place of another is no result of a cell
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    import formulaic  # noqa: F401
    import matplotlib.backends.backend_svg
    import matplotlib.pyplot
    import statsmodels.formula.api  # noqa: F401

    import pylmm_helpers
    from pylmm_helpers import plots  # noqa: F401

    for name in pylmm_helpers.__all__:
        getattr(pylmm_helpers, name)
    small_api()
    forget()


#: What cells take from ``statsmodels.api``; the whole of it would weigh as much as all else.
API = {
    "GEE": "statsmodels.genmod.generalized_estimating_equations",
    "GLM": "statsmodels.genmod.generalized_linear_model",
    "GLS": "statsmodels.regression.linear_model",
    "MixedLM": "statsmodels.regression.mixed_linear_model",
    "OLS": "statsmodels.regression.linear_model",
    "WLS": "statsmodels.regression.linear_model",
    "add_constant": "statsmodels.tools.tools",
    "cov_struct": "statsmodels.genmod",
    "families": "statsmodels.genmod",
}


def small_api() -> None:
    """Stand in for ``statsmodels.api``, where the whole of it isn't there."""
    import statsmodels

    def found(name: str) -> Any:
        if name not in API:
            raise AttributeError(
                f"statsmodels.api.{name} isn't part of the Python in this page; "
                f"there are {', '.join(API)}"
            )
        module = importlib.import_module(API[name])
        return getattr(module, name)

    api = types.ModuleType("statsmodels.api", "A part of statsmodels.api.")
    api.__getattr__ = found  # type: ignore[method-assign]
    sys.modules["statsmodels.api"] = api
    statsmodels.api = api


def forget() -> None:
    """Give the cells a main module with nothing in it."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main


def turn() -> None:
    """Run the cell that the page has written down."""
    with open(JOB, encoding="utf-8") as file:
        job = json.load(file)
    if job.get("forget"):
        forget()
    sys.stdout, sys.stderr = Stream("stdout"), Stream("stderr")
    failed = False
    try:
        sys.stderr.told = not job.get("quiet")
        run(job["code"], job["label"], job.get("width"), job.get("height"))
    except BaseException as error:
        failed = True
        sys.stdout.flush()
        tell("error", **told(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    tell("done", failed=failed)


def run(code: str, label: str, width: float | None, height: float | None) -> None:
    """Execute a cell as a notebook does: the last value and all figures are shown."""
    name = f"<{label}>"
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    tree = ast.parse(code, name)
    last = None
    end = tree.body[-1] if tree.body else None
    if isinstance(end, ast.Expr) and not code.rstrip().endswith(";"):
        del tree.body[-1]
        last = ast.Expression(end.value)
    import matplotlib.pyplot as plt

    space = sys.modules["__main__"].__dict__
    usual = list(plt.rcParams["figure.figsize"])
    plt.rcParams["figure.figsize"] = (width or usual[0], height or usual[1])
    try:
        exec(compile(tree, name, "exec"), space)
        if last is not None:
            show(eval(compile(last, name, "eval"), space))
        figures()
    finally:
        plt.close("all")
        if width or height:
            plt.rcParams["figure.figsize"] = usual


def show(value: Any) -> None:
    """Show a cell's last value: tables as tables, the rest as text."""
    sys.stdout.flush()
    if value is None:
        return
    if hasattr(value, "_repr_markdown_"):
        tell("markdown", text=value._repr_markdown_())
    else:
        tell("value", text=repr(value))


def figures() -> None:
    """Show the figures that are open."""
    import matplotlib.pyplot as plt

    sys.stdout.flush()
    for number in plt.get_fignums():
        figure = plt.figure(number)
        for artist in figure.findobj(lambda one: points(one) > MOST_POINTS):
            artist.set_rasterized(True)
        drawing = io.StringIO()
        figure.savefig(drawing, **FIGURE)
        text = drawing.getvalue()
        tell("figure", svg=text[text.index("<svg") :])


def points(artist: Any) -> int:
    """How many points an artist scatters; none where it joins them by a line."""
    if hasattr(artist, "get_offsets"):
        return len(artist.get_offsets())
    if hasattr(artist, "get_xydata") and artist.get_linestyle() == "None":
        return len(artist.get_xydata())
    return 0


def told(error: BaseException) -> dict[str, str]:
    """An error as Python prints it, without this file's frames, and a word on what's absent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace)
    absent = ""
    cause: BaseException | None = error
    while cause is not None and not absent:
        if isinstance(cause, ImportError):
            absent = ABSENT.get((cause.name or "").partition(".")[0], "")
        cause = cause.__cause__ or cause.__context__
    return {"text": "".join(lines), "absent": absent}

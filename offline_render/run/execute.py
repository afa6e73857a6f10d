"""Run a document's cells with nbclient; keep the results with jupyter-cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from ..book import BuildError, Cell, Chapter, Part, Project
from .cache import CellCache
from .clock import Clock
from .environment import KernelPlace, kernel_place

INLINE_MIME = "application/vnd.handbook.inline+json"
#: What numpy 2 shows of a scalar: no text of a book.
NUMPY_REPR = re.compile(r"np\.\w+\(")
# dpi: of what a drawing holds as a picture
FIGURE = {"metadata": {"Date": None}, "bbox_inches": "tight", "dpi": 220}
SETUP = """\
# inputs {digest}
%config InlineBackend.figure_formats = ['svg']
%config InlineBackend.print_figure_kwargs = {kwargs}
"""
INLINE_CELL = (
    "__import__('IPython').display.display({{{mime!r}: "
    "get_ipython().user_expressions({expressions!r})}}, raw=True)"
)
SIZE_CELL = """\
import matplotlib as _mpl
_figsize = list(_mpl.rcParams["figure.figsize"])
_mpl.rcParams["figure.figsize"] = ({width} or _figsize[0], {height} or _figsize[1])
"""
RESET_CELL = '_mpl.rcParams["figure.figsize"] = _figsize'
TRACE_LINE = re.compile(r"(?:Cell In\[\d+\], line |<ipython-input[^>]*>.*line )(\d+)")
ANSI = re.compile(r"\x1b\[[0-9;]*m")

Progress = Callable[[Chapter, int, int], None]


def inputs_digest(project: Project) -> str:
    """Digest of everything a cell's result depends on besides the document itself."""
    digest = hashlib.sha256()
    files = [
        *sorted((project.root / "pylmm_helpers").rglob("*.py")),
        *sorted((project.root / "pylmm_helpers").rglob("*.mplstyle")),
        *sorted((project.root / "datasets").rglob("*.csv")),
        *sorted((project.root / "datasets").glob("*.json")),
        *sorted((project.root / "datasets" / "reference").rglob("*.json")),
        project.root / "requirements.lock",
    ]
    for path in files:
        if path.is_file():
            digest.update(str(path.relative_to(project.root)).encode())
            digest.update(path.read_bytes())
    digest.update(os.environ.get("PYLMM_NO_R", "").encode())
    return digest.hexdigest()[:16]


def notebook(parts: list[Part], digest: str) -> nbformat.NotebookNode:
    """The notebook of a document; each code cell remembers which part it came from."""
    new = nbformat.v4.new_code_cell
    cells = [new(SETUP.format(digest=digest, kwargs=FIGURE), metadata={"part": -1})]
    for index, part in enumerate(parts):
        if isinstance(part, Cell):
            if not part.option("eval", True):
                continue
            sized = "fig-width" in part.options or "fig-height" in part.options
            if sized:
                size = {
                    "width": part.option("fig-width", 0),
                    "height": part.option("fig-height", 0),
                }
                cells.append(new(SIZE_CELL.format(**size), metadata={"part": -1}))
            cells.append(new(part.code, metadata={"part": index}))
            if sized:
                cells.append(new(RESET_CELL, metadata={"part": -1}))
        elif part.inline:
            expressions = {str(k): text for k, (_, text) in enumerate(part.inline)}
            source = INLINE_CELL.format(mime=INLINE_MIME, expressions=expressions)
            cells.append(new(source, metadata={"part": index}))
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    for position, cell in enumerate(book.cells):
        cell["id"] = f"c{position}"
    return book


class Runner:
    """Runs documents side by side, from the cache where nothing that matters has changed."""

    def __init__(self, project: Project, use_cache: bool = True) -> None:
        self.project = project
        self.use_cache = use_cache
        self.lock = threading.Lock()
        self.cache = CellCache(project.work / "cells")

    def run(
        self,
        work: list[tuple[Chapter, list[Part]]],
        digest: str,
        progress: Progress,
        workers: int | None = None,
    ) -> dict[str, dict[int, list[Any]]]:
        """Outputs of each document's parts: source path -> part index -> list of outputs."""
        results: dict[str, dict[int, list[Any]]] = {}
        todo: list[tuple[Chapter, list[Part], nbformat.NotebookNode]] = []
        for chapter, parts in work:
            book = notebook(parts, digest)
            if len(book.cells) == 1:
                results[chapter.source] = {}
                continue
            kept = self.cache.find(book) if self.use_cache else None
            if kept is not None:
                results[chapter.source] = _by_part(kept)
                progress(chapter, len(kept.cells), len(kept.cells))
            else:
                todo.append((chapter, parts, book))
        todo.sort(key=lambda item: -len(item[2].cells))
        stop = threading.Event()
        with ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 2) as pool:
            futures = {
                pool.submit(self._execute, chapter, parts, book, progress, stop): chapter
                for chapter, parts, book in todo
            }
            failure: BaseException | None = None
            for future, chapter in futures.items():
                try:
                    results[chapter.source] = _by_part(future.result())
                except BaseException as error:
                    stop.set()
                    if failure is None or isinstance(failure, _StoppedError):
                        failure = error
            if failure is not None:
                raise failure
        return results

    def kept(self, parts: list[Part], digest: str) -> dict[int, list[Any]] | None:
        """Outputs of a document's parts from an earlier run; None if there is none."""
        book = self.cache.find(notebook(parts, digest))
        return None if book is None else _by_part(book)

    def _execute(
        self,
        chapter: Chapter,
        parts: list[Part],
        book: nbformat.NotebookNode,
        progress: Progress,
        stop: threading.Event,
    ) -> nbformat.NotebookNode:
        if stop.is_set():
            raise _StoppedError
        with kernel_place(self.project) as place:
            self._run_cells(chapter, parts, book, progress, stop, place)
        _check_inline(chapter, parts, book)
        with self.lock:
            self.cache.store(book, chapter.path)
        return book

    def _run_cells(
        self,
        chapter: Chapter,
        parts: list[Part],
        book: nbformat.NotebookNode,
        progress: Progress,
        stop: threading.Event,
        place: KernelPlace,
    ) -> None:
        total = len(book.cells)
        clock = Clock()

        def on_complete(cell: Any, cell_index: int) -> None:
            part = parts[cell.metadata["part"]] if cell.metadata["part"] >= 0 else None
            if isinstance(part, Cell):
                clock.stop(part.label)
            progress(chapter, cell_index + 1, total)

        def on_start(cell: Any, cell_index: int) -> None:
            if stop.is_set():
                raise _StoppedError
            clock.start()

        client = NotebookClient(
            book,
            timeout=1800,
            kernel_name="python3",
            # Timings would be part of the cache's key.
            record_timing=False,
            kernel_manager_class=place.kernel_manager_class,
            config=place.config,
            resources={"metadata": {"path": str(chapter.path.parent)}},
            on_cell_start=on_start,
            on_cell_executed=lambda cell, cell_index, execute_reply: on_complete(cell, cell_index),
        )
        try:
            client.execute(env=place.environment)
        except CellExecutionError as error:
            raise _cell_failure(chapter, parts, book, error) from None
        except DeadKernelError as error:
            raise BuildError("Python died while running this document", chapter.path) from error
        clock.write(self.project.work, chapter)


class _StoppedError(Exception):
    """Another document failed; this one's remaining cells need not run."""


def _by_part(book: nbformat.NotebookNode) -> dict[int, list[Any]]:
    return {
        cell.metadata["part"]: cell.outputs
        for cell in book.cells
        if cell.metadata.get("part", -1) >= 0
    }


def _cell_failure(
    chapter: Chapter, parts: list[Part], book: nbformat.NotebookNode, error: CellExecutionError
) -> BuildError:
    for cell in book.cells:
        failed = [out for out in cell.get("outputs", []) if out.output_type == "error"]
        if not failed:
            continue
        trace = ANSI.sub("", "\n".join(failed[0].traceback))
        index = cell.metadata["part"]
        summary = f"{failed[0].ename}: {failed[0].evalue}"
        if index < 0:
            return BuildError(f"set-up failed: {summary}", chapter.path, 1, trace)
        part = parts[index]
        if isinstance(part, Cell):
            inner = TRACE_LINE.search(trace)
            line = part.code_line + (int(inner.group(1)) - 1 if inner else 0)
            return BuildError(
                f"cell {part.label!r} failed with {summary}", chapter.path, line, trace
            )
        return BuildError(f"inline code failed with {summary}", chapter.path, part.line, trace)
    return BuildError(f"a cell failed: {error}", chapter.path)


def _check_inline(chapter: Chapter, parts: list[Part], book: nbformat.NotebookNode) -> None:
    for index, outputs in _by_part(book).items():
        part = parts[index]
        if isinstance(part, Cell):
            continue
        answers = outputs[0].data[INLINE_MIME]
        if isinstance(answers, str):
            answers = json.loads(answers)
        for key, answer in answers.items():
            line, expression = part.inline[int(key)]
            shown = str(answer.get("data", {}).get("text/plain", ""))
            if NUMPY_REPR.match(shown):
                raise BuildError(
                    f"inline `{{python}} {expression}` would show {shown}: "
                    "put int(), float() or an f-string round it",
                    chapter.path,
                    line,
                )
            if answer.get("status") != "ok":
                trace = ANSI.sub("", "\n".join(answer.get("traceback", [])))
                raise BuildError(
                    f"inline `{{python}} {expression}` failed with "
                    f"{answer.get('ename')}: {answer.get('evalue')}",
                    chapter.path,
                    line,
                    trace,
                )

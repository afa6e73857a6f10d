"""A progress bar for waits that get long, where somebody is looking."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

#: Shorter calculations show no progress bar.
PATIENCE_SECONDS = 1.0


@contextmanager
def progress_bar(
    words: str, wanted: bool | None = None, patience: float | None = None
) -> Iterator[Any]:
    """A function to be told the percentage; the bar comes when the wait gets long and goes when it
    is over.

    Without `wanted`, there is one where rich is installed and somebody is looking.
    """
    if wanted is None:
        wanted = find_spec("rich") is not None and interactive()
    if not wanted:
        yield lambda percentage: None
        return
    yield from rich_bar(words, PATIENCE_SECONDS if patience is None else patience)


def rich_bar(words: str, patience: float) -> Iterator[Any]:
    """`progress_bar` by rich, which is imported here only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = [TextColumn(words), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=console.is_terminal)
    task, began, started = bar.add_task(words, total=100.0), time.monotonic(), False

    def show(percentage: float) -> None:
        nonlocal started
        if not started and time.monotonic() - began > patience:
            bar.start()
            started = True
        bar.update(task, completed=max(percentage, 0.0))

    try:
        yield show
    finally:
        if started:
            bar.stop()


def interactive() -> bool:
    """Whether somebody is looking: a terminal or a notebook."""
    shell = sys.modules.get("IPython")
    if shell is not None:
        running = shell.get_ipython()
        if running is not None and type(running).__name__ == "ZMQInteractiveShell":
            # documents run in a batch can't be asked for input, and a bar would stay on the page
            return bool(getattr(running.kernel, "_allow_stdin", False))
    return sys.stderr is not None and sys.stderr.isatty()

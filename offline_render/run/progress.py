"""What the person at the terminal sees: one line a step, one bar for the cells."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..book import Chapter


class Reporter:
    """Prints numbered steps and the progress of cells; plain lines where there's no terminal."""

    def __init__(self, steps: int) -> None:
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.steps, self.step_number = steps, 0
        self.lock = threading.Lock()

    @contextmanager
    def step(self, words: str) -> Iterator[None]:
        self.step_number += 1
        started = time.perf_counter()
        self.console.print(f"[{self.step_number}/{self.steps}] {words}", markup=False)
        yield
        self.console.print(f"      {time.perf_counter() - started:.1f} s", style="dim")

    def say(self, words: str) -> None:
        self.console.print(f"      {words}", markup=False)

    @contextmanager
    def cells(self) -> Iterator[CellProgress]:
        if self.console.is_terminal:
            columns = (
                TextColumn("      {task.description}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("cells"), TimeElapsedColumn(),
            )  # fmt: skip
            with Progress(*columns, console=self.console) as bars:
                yield CellProgress(self, bars)
        else:
            yield CellProgress(self, None)


class CellProgress:
    """Called after each cell; a bar a chapter, or a line when a chapter is done."""

    def __init__(self, reporter: Reporter, bars: Progress | None) -> None:
        self.reporter, self.bars = reporter, bars
        self.tasks: dict[str, object] = {}
        self.started = time.perf_counter()

    def __call__(self, chapter: Chapter, done: int, total: int) -> None:
        with self.reporter.lock:
            if self.bars is not None:
                if chapter.source not in self.tasks:
                    self.tasks[chapter.source] = self.bars.add_task(chapter.source, total=total)
                self.bars.update(self.tasks[chapter.source], completed=done)  # type: ignore[arg-type]
            elif done == total:
                seconds = time.perf_counter() - self.started
                self.reporter.say(f"{chapter.source}: {total} of {total} cells, {seconds:.1f} s")

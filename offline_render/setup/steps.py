"""Numbered steps on the terminal, and commands that run with a log and a live counter.

Standard library only: set-up uses it before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Counter = Callable[[str], str]


class SetupError(Exception):
    """Set-up can't go on; the message says why and what to do."""


class Steps:
    """Prints ``[2/4] ...`` lines; on a terminal one line below counts what the step has done."""

    def __init__(self, total: int, log: Path) -> None:
        self.total, self.number, self.log = total, 0, log
        self.live = sys.stdout.isatty()
        self._shown, self._last, self._time = "", "", 0.0

    def step(self, words: str) -> None:
        self.number += 1
        self.clear()
        print(f"[{self.number}/{self.total}] {words}", flush=True)

    def say(self, words: str) -> None:
        self.clear()
        print(f"      {words}", flush=True)

    def count(self, words: str) -> None:
        """Show a changing line; without a terminal, print it every ten seconds."""
        if not words or words == self._last:
            return
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K      {words}"[: width + 4], end="", flush=True)
            self._shown = self._last = words
        elif time.monotonic() - self._time >= 10:
            print(f"      {words}", flush=True)
            self._last, self._time = words, time.monotonic()

    def clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", flush=True)
            self._shown = ""

    def run(
        self,
        command: Sequence[str],
        counter: Counter | None = None,
        extra_env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Run a command with its output in the log.

        Parameters
        ----------
        command : sequence of str
            Program and arguments.
        counter : callable, optional
            Takes the command's output so far, gives the words for the live line.
        extra_env : mapping, optional
            Added to the environment.
        timeout : float, optional
            Seconds after which the command is ended and 124 is returned.

        Returns
        -------
        int
            The exit code; 127 if there is no such program.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            out.write(f"\n$ {' '.join(command)}\n".encode())
            out.flush()
            start, began = out.tell(), time.monotonic()
            try:
                process = subprocess.Popen(
                    command, stdin=None if sys.stdin and sys.stdin.isatty() else subprocess.DEVNULL,
                    stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(extra_env or {})},
                )  # fmt: skip
            except OSError as error:
                out.write(f"{error}\n".encode())
                return 127
            try:
                while process.poll() is None:
                    time.sleep(0.1)
                    if counter is not None:
                        self.count(counter(self.written(start)))
                    if timeout is not None and time.monotonic() - began > timeout:
                        end(process)
                        return 124
            except KeyboardInterrupt:
                end(process)
                raise
            finally:
                self.clear()
        return process.returncode

    def written(self, start: int) -> str:
        """What the log has from byte ``start`` on."""
        with self.log.open("rb") as handle:
            handle.seek(start)
            return handle.read().decode("utf-8", "replace")

    def last_lines(self, count: int = 12) -> str:
        lines = self.log.read_text("utf-8", "replace").rstrip().splitlines()
        return "\n".join(f"      | {line}" for line in lines[-count:])


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a command to stop and give it time to leave its files whole."""
    try:
        process.terminate()
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except PermissionError:
        process.wait()  # it runs as another user (sudo) and has had the terminal's own signal

"""The one exception that stops a build with a message for the author."""

from __future__ import annotations

from pathlib import Path


class BuildError(Exception):
    """A fault in the book's sources, with the place where it stands.

    Parameters
    ----------
    message : str
        What is wrong and what to do about it.
    path : Path, optional
        The source file.
    line : int, optional
        Line in that file, counted from 1.
    detail : str, optional
        Longer text printed below, such as a traceback.
    """

    def __init__(
        self, message: str, path: Path | None = None, line: int | None = None, detail: str = ""
    ) -> None:
        place = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
        super().__init__(f"{place}{message}" + (f"\n{detail}" if detail else ""))
        self.path, self.line = path, line

"""Quarto's pre-render step: run the cells of what it will render, unless they have run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    sys.path.insert(0, str(ROOT))
    from offline_render.book import BuildError
    from offline_render.quarto import before_render

    try:
        before_render(ROOT, named(sys.argv[1:]))
    except BuildError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def named(arguments: list[str]) -> list[str] | None:
    """The documents that Quarto names, or those of the command line; None means all."""
    if arguments:
        return arguments
    # Quarto writes a file instead where the environment would become too long
    listed = os.environ.get("QUARTO_USE_FILE_FOR_PROJECT_INPUT_FILES")
    text = (
        Path(listed).read_text(encoding="utf-8")
        if listed
        else os.environ.get("QUARTO_PROJECT_INPUT_FILES", "")
    )
    return [Path(line).as_posix() for line in text.splitlines() if line.strip()] or None


if __name__ == "__main__":
    sys.exit(main())

"""Quarto's post-render step: what its pages lack, and their downloads. No cell runs here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    sys.path.insert(0, str(ROOT))
    from offline_render.book import BuildError
    from offline_render.quarto import after_render

    out = ROOT / os.environ.get("QUARTO_PROJECT_OUTPUT_DIR", "_book")
    try:
        after_render(ROOT, written(out), out)
    except BuildError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def written(out: Path) -> list[str]:
    """The files that Quarto says it wrote, relative to the site."""
    listed = os.environ.get("QUARTO_USE_FILE_FOR_PROJECT_OUTPUT_FILES")
    text = (
        Path(listed).read_text(encoding="utf-8")
        if listed
        else os.environ.get("QUARTO_PROJECT_OUTPUT_FILES", "")
    )
    files = [ROOT / line for line in text.splitlines() if line.strip()]
    return [file.relative_to(out).as_posix() for file in files if file.is_relative_to(out)]


if __name__ == "__main__":
    sys.exit(main())

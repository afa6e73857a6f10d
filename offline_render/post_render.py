"""Quarto's post-render step: the downloads, beside the pages that Quarto wrote."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from offline_render.build import downloads

    out = Path(os.environ.get("QUARTO_PROJECT_OUTPUT_DIR", "_book"))
    for path in downloads(ROOT, out if out.is_absolute() else ROOT / out):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()

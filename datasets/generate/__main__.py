"""Regenerate the data and their codebook: `python -m datasets.generate [folder]`."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file (python datasets/generate/__main__.py), the repository is not on the path.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from datasets.generate import FOLDER, write_all


def main(arguments: list[str]) -> None:
    """Write into the folder named on the command line, or into datasets/."""
    into = Path(arguments[0]) if arguments else FOLDER
    into.mkdir(parents=True, exist_ok=True)
    for path in write_all(into):
        print(f"wrote {path}")


if __name__ == "__main__":
    main(sys.argv[1:])

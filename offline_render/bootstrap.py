"""Command: ``python3 offline_render/bootstrap.py handbook | test [--again]`` sets the machine up.

A Python that is too old has to be able to read this file, to be told which one is needed.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # run by path, so that the folder above, not this one, is where imports start
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    if sys.version_info < (3, 11):
        sys.exit(
            f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}.\n"
            "Name a newer one, such as: make handbook PYTHON=python3.12"
        )
    from offline_render.setup import main

    sys.exit(main())

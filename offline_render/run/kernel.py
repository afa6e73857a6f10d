"""Starts the kernel of a document: IPython as it is installed, without anybody's settings.

Run by path, as ``python kernel.py EMPTY_FOLDER -f CONNECTION_FILE``; it imports nothing of the
renderer.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    empty = sys.argv.pop(1)
    # run by path, the renderer's own folder would be the first that imports look into
    sys.path[:] = [p for p in sys.path if Path(p) != Path(__file__).resolve().parent]
    from IPython.core import application

    # the machine's start-up files and settings, such as those in /etc/ipython
    application.SYSTEM_CONFIG_DIRS.clear()
    application.ENV_CONFIG_DIRS.clear()
    forget_matplotlibrc(empty)
    draw_clouds_as_pictures()
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


def forget_matplotlibrc(empty: str) -> None:
    """Import matplotlib away from a ``matplotlibrc`` beside the document, with its own fonts only.

    Parameters
    ----------
    empty : str
        A folder without such a file: matplotlib looks into the working directory first of all.
    """
    here, programs = os.getcwd(), os.environ.pop("PATH", None)  # no fc-list to be asked for fonts
    os.chdir(empty)
    try:
        from matplotlib import font_manager, get_data_path
    except ImportError:  # a book without figures
        return
    finally:
        os.chdir(here)
        if programs is not None:
            os.environ["PATH"] = programs
    own = Path(get_data_path())
    manager = font_manager.fontManager
    # the helpers add the book's own font; whatever else the machine has would be chance
    manager.ttflist = [font for font in manager.ttflist if own in Path(font.fname).parents]
    manager.afmlist = [font for font in manager.afmlist if own in Path(font.fname).parents]


def draw_clouds_as_pictures(most: int = 500) -> None:
    """Let figures hold more than ``most`` points of one kind as a picture inside the drawing.

    As shapes they would weigh more than the rest of the page.
    """
    from IPython.core import pylabtools

    plain = pylabtools.print_figure

    def print_figure(fig: Any, *arguments: Any, **options: Any) -> Any:
        for artist in fig.findobj(lambda one: cloud_size(one) > most):
            artist.set_rasterized(True)
        return plain(fig, *arguments, **options)

    pylabtools.print_figure = print_figure


def cloud_size(artist: Any) -> int:
    """How many points an artist scatters; none where it joins them by a line."""
    if hasattr(artist, "get_offsets"):
        return len(artist.get_offsets())
    if hasattr(artist, "get_xydata") and artist.get_linestyle() == "None":
        return len(artist.get_xydata())
    return 0


if __name__ == "__main__":
    main()

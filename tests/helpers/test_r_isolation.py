"""R's start-up files, workspace and options of the user change neither numbers nor words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pylmm_helpers.lme4.start import library_folders

ROOT = Path(__file__).resolve().parents[2]
needs_r = pytest.mark.skipif(
    shutil.which("Rscript") is None
    or find_spec("rpy2") is None
    or os.environ.get("PYLMM_NO_R") == "1",
    reason="R, or the way to it, is not installed",
)
FIT = """
import json, os, sys
import numpy as np, pandas as pd
before = dict(os.environ)
EXTRA
from pylmm_helpers import lmer
rng = np.random.default_rng(4)
herd = np.repeat(np.arange(10), 6)
data = pd.DataFrame({
    "y": rng.normal(size=60), "herd": herd, "x": np.tile(np.arange(6.0), 10),
    "diet": pd.Categorical(np.tile(["hay", "Gras", "mais"], 20), ["mais", "hay", "Gras"]),
})
fit = lmer("y ~ diet + x + (1 | herd)", data)  # herds don't differ: lme4 says so
AFTER
mine = {k for k in {*before, *os.environ} if k.startswith(("R_", "LANG")) and k != "R_HOME"}
json.dump({"source": fit.source, "fe": fit.fe_params.to_dict(), "se": fit.bse_fe.to_dict(),
           "df": fit.df.to_dict(), "scale": fit.scale, "criterion": fit.criterion,
           "singular": bool(fit.singular), "said": fit.messages,
           "changed": sorted(k for k in mine if before.get(k) != os.environ.get(k))}, sys.stdout)
"""
OPTIONS = """options(contrasts = c("contr.sum", "contr.helmert"), OutDec = ",", digits = 2,
  scipen = -9, warn = 2, na.action = "na.fail", useFancyQuotes = FALSE, matprod = "internal",
  lme4.singular.tolerance = 1e-30, warnPartialMatchDollar = TRUE, width = 20)
"""


def fit(
    cwd: Path, environment: dict[str, str], extra: str = "", after: str = ""
) -> dict[str, object]:
    """What `lmer` gives in a process of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("R_", "LC_", "LANG"))}
    done = subprocess.run(
        [sys.executable, "-c", FIT.replace("EXTRA", extra).replace("AFTER", after)],
        cwd=cwd, env={**clean, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **environment},
        capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    found = fit(tmp_path_factory.mktemp("plain"), {})
    assert found["source"] == "live"
    assert found["singular"] and found["said"]
    assert found["changed"] == []
    return found


MASKS = "lmer <- function(...) stop('leaked')\nT <- FALSE\nc <- function(...) stop('x')\n"
PROFILES = {
    "options, masks and words": OPTIONS + MASKS + 'cat("leaked\\n", file = stderr())\n',
    "an error": 'stop("leaked")\n',
}


@needs_r
@pytest.mark.parametrize("profile", PROFILES)
def test_no_start_up_file_of_r_is_read(
    plain: dict[str, object], tmp_path: Path, profile: str
) -> None:
    # all places at once: home, working directory, and the files that variables name
    here, home = tmp_path / "here", tmp_path / "home"
    named = tmp_path / "named.R"
    for place in (here, home):
        place.mkdir()
        (place / ".Rprofile").write_text(PROFILES[profile])
        (place / ".Renviron").write_text("LANGUAGE=de\nR_DEFAULT_PACKAGES=NULL\n")
        (place / ".RData").write_bytes(b"not R's data")
    named.write_text(PROFILES[profile])
    variables = {"R_PROFILE": str(named), "R_PROFILE_USER": str(named), "HOME": str(home),
                 "R_ENVIRON_USER": str(home / ".Renviron"), "LANGUAGE": "de",
                 "R_DEFAULT_PACKAGES": "NULL"}  # fmt: skip
    assert fit(here, variables) == plain


@needs_r
def test_a_session_that_started_r_itself_gets_plain_numbers_and_keeps_its_options(
    plain: dict[str, object], tmp_path: Path
) -> None:
    extra = f"from rpy2 import robjects\nrobjects.r('''{OPTIONS}''')\n"
    after = (
        "now = robjects.r('''c(options()$contrasts[1], options()$OutDec, options()$digits)''')\n"
        "assert [str(v) for v in now] == ['contr.sum', ',', '2'], list(now)\n"
        "assert robjects.r('Sys.getenv(\"LANGUAGE\")')[0] == 'de'\n"
    )
    found = fit(tmp_path, {"LANGUAGE": "de"}, extra, after)
    assert {**found, "changed": []} == plain


@needs_r
def test_folders_of_packages_that_a_renviron_names_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "the library's own"
    folder.mkdir()
    (tmp_path / ".Renviron").write_text(f"R_LIBS_USER='{folder}'\n".replace("'s", "s"))
    plain_name = tmp_path / "the librarys own"
    plain_name.mkdir()
    (tmp_path / ".Rprofile").write_text("stop('leaked')\n")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "R_ENVIRON_USER": str(tmp_path / ".Renviron"),
    }
    assert str(plain_name) in library_folders(environment)


def test_without_r_there_are_no_folders(tmp_path: Path) -> None:
    assert library_folders({"PATH": str(tmp_path)}) == ()
    broken = tmp_path / "Rscript"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert library_folders({"PATH": str(tmp_path)}) == ()

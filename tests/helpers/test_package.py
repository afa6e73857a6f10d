"""What importing the package does, and doesn't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pylmm_helpers


@pytest.mark.parametrize("name", pylmm_helpers.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(pylmm_helpers, name) is not None


@pytest.mark.parametrize(
    "first",
    [
        "from pylmm_helpers import lmer",
        "import pylmm_helpers.crosscheck",
        "import pylmm_helpers.report",
    ],
)
def test_functions_named_like_their_module_stay_functions(first: str) -> None:
    then = "from pylmm_helpers import crosscheck, report"
    code = f"{first}\n{then}\nassert callable(crosscheck) and callable(report)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_it_loads_neither_r_nor_matplotlib_nor_statsmodels() -> None:
    code = (
        "import sys, pylmm_helpers; from pylmm_helpers import fit_lmm; "
        "print([m for m in ('rpy2', 'pymer4', 'matplotlib', 'statsmodels') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fit_glmm'"):
        pylmm_helpers.fit_glmm  # noqa: B018


def test_type_checkers_are_told_that_it_is_typed() -> None:
    assert (Path(pylmm_helpers.__file__).parent / "py.typed").is_file()

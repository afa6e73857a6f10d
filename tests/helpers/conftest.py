"""R for the tests that ask lme4."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module

import pytest


@pytest.fixture(scope="session")
def live_r() -> Iterator[str]:
    """Why there is no R, or nothing; pymer4 wraps lmerTest's functions once, not for each fit."""
    engine, reason = import_module("pylmm_helpers.lme4.check")._pymer4()
    with pytest.MonkeyPatch.context() as patch:
        if engine is not None:
            module = sys.modules[engine.__module__]
            patch.setattr(module, "importr", cache(module.importr))
        yield "" if engine is not None else reason


@pytest.fixture
def with_r(live_r: str) -> None:
    if live_r:
        pytest.skip(live_r)

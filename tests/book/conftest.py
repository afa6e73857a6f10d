"""The web fonts of small books are subset once in a process, not for each book anew."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from offline_render.render import fonts


@pytest.fixture(scope="session", autouse=True)
def _fonts_made_once() -> Iterator[None]:
    # builds in processes of their own, such as the one in a hostile environment, make theirs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fonts, "web_font", cache(fonts.web_font))
        yield

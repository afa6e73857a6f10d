"""The web fonts of small books are subset once for all of them, not for each book anew."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from offline_render.render import fonts


@pytest.fixture(scope="session", autouse=True)
def _fonts_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # builds in processes of their own, such as the one in a hostile environment, make theirs
    folder, subset = tmp_path_factory.getbasetemp(), fonts.web_font
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def web_font(face: Path, unicodes: str) -> bytes:
        name = hashlib.sha256(f"{face} {unicodes}".encode()).hexdigest()
        with FileLock(folder / f"{name}.lock"):
            if not (folder / name).exists():
                (folder / name).write_bytes(subset(face, unicodes))
            return (folder / name).read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fonts, "web_font", web_font)
        yield

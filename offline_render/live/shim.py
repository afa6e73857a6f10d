"""The WASI shim of npm, modules that import one another, as one script for a worker.

A worker of a page that was opened from a folder can't import modules, so each becomes a function
that gives its names.
"""

from __future__ import annotations

import re
import tarfile

PACKAGE = "package/dist/"
#: In the order in which they import one another.
FILES = ("debug", "wasi_defs", "wasi", "fd", "fs_mem")
ALL_NAMES = re.compile(r'import\s*\*\s*as (\w+) from\s*"\./(\w+)\.js";?')
SOME_NAMES = re.compile(r'import\s*\{([\w\s,]+)\}\s*from\s*"\./(\w+)\.js";?')
DECLARED = re.compile(r"\bexport (class|const|let|function) (\w+)")
LISTED = re.compile(r"\bexport\s*\{\s*(\w+) as default\s*\};?")
SOURCE_MAP = re.compile(r"//# sourceMappingURL=.*")
MODULE_WORD = re.compile(r'\b(import|export)\b(?=[\s{*"])')


def bundle(archive: tarfile.TarFile) -> str:
    """A script that defines ``shim``, an object with the names of all modules.

    Raises
    ------
    ValueError
        If a module holds a form of import or export that isn't known here.
    """
    parts = ["const shim = {};"]
    for name in FILES:
        member = archive.extractfile(f"{PACKAGE}{name}.js")
        if member is None:
            raise ValueError(f"{name}.js is missing")
        parts.append(as_function(name, member.read().decode()))
    return "\n".join(parts)


def as_function(name: str, code: str) -> str:
    names = [match[2] for match in DECLARED.finditer(code)]
    code = ALL_NAMES.sub(r"const \1 = shim;", code)
    code = SOME_NAMES.sub(r"const {\1} = shim;", code)
    code = DECLARED.sub(r"\1 \2", SOURCE_MAP.sub("", code))
    default = LISTED.search(code)
    code = LISTED.sub("", code)
    if default:
        names.append(default[1])
    if MODULE_WORD.search(code):
        raise ValueError(f"{name}.js has an import or export of an unknown form")
    return f"(() => {{{code}\nObject.assign(shim, {{{', '.join(dict.fromkeys(names))}}});}})();"

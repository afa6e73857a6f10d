"""What lets the pages' code run: its pieces, without a browser."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from offline_render.book import Cell, load_project, split
from offline_render.live import add_live_code, library, module, pages, runtime, shim, site

ROOT = Path(__file__).resolve().parents[2]


def chapter(name: str):  # type: ignore[no-untyped-def]
    return next(c for c in load_project(ROOT).chapters if c.key == name)


def untaken(text: str, length: int) -> bytes:
    """What python.js makes of the characters of a script."""
    out, held, have = bytearray(), 0, 0
    for character in text:
        held, have = held << 7 | ord(character) & 127, have + 7
        if have >= 8:
            have -= 8
            out.append(held >> have)
            held &= (1 << have) - 1
    return bytes(out[:length])


@pytest.mark.parametrize("content", [b"", b"\n", bytes(range(256)) * 3, b"\xff\x0a\x0d\x22\x5c"])
def test_bytes_survive_as_characters_that_a_script_can_hold(content: bytes) -> None:
    text = runtime.seven(content)
    assert untaken(text, len(content)) == content
    assert not set(text) & set('\n\r"\\')


def test_scripts_are_one_a_line() -> None:
    content = bytes(range(256)) * 50
    lines = runtime.scripts(content).decode().split("\n")
    assert lines.pop() == ""
    assert all(line.startswith('handbookLive.take("') and line.endswith(")") for line in lines)


def test_files_are_packed_behind_their_index() -> None:
    whole = runtime.packed([("a/b", b"one"), ("c", b"")])
    size = int.from_bytes(whole[:4], "little")
    assert json.loads(whole[4 : 4 + size]) == [["a/b", 0, 3], ["c", 3, 0]]
    assert whole[4 + size :] == b"one"


def wasm(names: list[str]) -> bytes:
    """A module with an import, a function for each further name, and their names."""

    def section(kind: int, content: bytes) -> bytes:
        return bytes([kind]) + module.encoded(len(content)) + content

    body = bytes([4, 0, 0x41, 7, 0x0B])
    told = b"".join(
        module.encoded(k) + module.encoded(len(name)) + name.encode()
        for k, name in enumerate(names)
    )
    listed = module.encoded(len(names)) + told
    custom = b"\x04name" + bytes([1]) + module.encoded(len(listed)) + listed
    count = len(names) - 1
    return b"".join([
        b"\0asm\1\0\0\0",
        section(1, b"\x01\x60\x00\x01\x7f"),
        section(2, b"\x01\x01a\x01b\x00\x00"),
        section(3, module.encoded(count) + b"\0" * count),
        section(10, module.encoded(count) + body * count),
        section(0, custom),
    ])  # fmt: skip


def bodies(whole: bytes) -> list[bytes]:
    [(_, at, end)] = [part for part in module.sections(whole) if part[0] == module.CODE]
    count, at = module.number(whole, at)
    out = []
    for _ in range(count):
        length, at = module.number(whole, at)
        out.append(whole[at : at + length])
        at += length
    assert at == end
    return out


def test_functions_of_packages_that_stay_behind_have_no_bodies() -> None:
    own = ["__pyx_pw_7sklearn_4_svm_1fit", "local_helper", "__pyx_tp_new_7sklearn_4_svm_Tree"]
    small = module.smaller(wasm(["imported", "PyList_New", *own, "PyDict_New", "xmlFree"]))
    assert [kind for kind, _, _ in module.sections(small)] == [1, 2, 3, 10]
    kept, empty = bytes([0, 0x41, 7, 0x0B]), module.NO_BODY[1:]
    assert bodies(small) == [kept, empty, empty, empty, kept, empty]
    # a function of another package in their midst: nothing is touched
    mixed = [own[0], "__pyx_pw_5scipy_6linalg_1solve", own[2]]
    assert bodies(module.smaller(wasm(["imported", *mixed]))) == [kept] * 3


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31])
def test_numbers_of_webassembly_are_written_as_they_are_read(value: int) -> None:
    assert module.number(module.encoded(value), 0) == (value, len(module.encoded(value)))


def archive(files: dict[str, str]) -> tarfile.TarFile:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/dist/{name}.js")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    buffer.seek(0)
    return tarfile.open(fileobj=buffer)


def test_modules_of_npm_become_one_script() -> None:
    files = {
        "debug": "class D{}export const debug=new D;",
        "wasi_defs": "export const ERRNO=8;export class Stat{}",
        "wasi": 'import*as wasi from"./wasi_defs.js";let W=class W{};export{W as default};',
        "fd": 'import{debug}from"./debug.js";export class Fd{}',
        "fs_mem": 'import{Fd}from"./fd.js";export class File extends Fd{}',
    }
    script = shim.bundle(archive(files))
    assert "import" not in script and "export" not in script
    for name in ("debug", "ERRNO", "Stat", "W", "Fd", "File"):
        assert name in script.replace("Object.assign", "")
    files["fd"] = "export default 3"
    with pytest.raises(ValueError, match="unknown form"):
        shim.bundle(archive(files))


def test_the_list_of_modules_says_what_it_was_made_of() -> None:
    names = {"os", "pandas", "pandas.core", "pandas.core.frame"}
    assert library.as_text(names) == ": os pandas\npandas: core\npandas.core: frame\n"
    found = library.modules()
    assert {"numpy", "pandas.core.frame", "statsmodels.formula.api"} <= found
    lines = library.MODULES.read_text().splitlines(keepends=True)
    assert library.as_text(found) == "".join(line for line in lines if line[0] != "#")
    assert not any(
        name.startswith(("sklearn", "lxml", "sqlite3", "statsmodels.tsa.", "scipy.signal"))
        for name in found
    )


def test_the_package_and_the_data_travel_with_their_references() -> None:
    places = {place for place, _ in library.book(ROOT)}
    assert {"book/pylmm_helpers/__init__.py", "book/datasets/dairy_herds.csv",
            "book/datasets/datapackage.json"} <= places  # fmt: skip
    assert any(place.startswith("book/datasets/reference/") for place in places)


@pytest.mark.parametrize(
    ("code", "names"),
    [("import numpy as np\nfrom scipy import stats", {"np", "stats"}),
     ("a, b = 1, 2\na.c = 3", {"a", "b"}),
     ("cows['x'] = 1\ncows.drop(columns='y', inplace=True)", {"cows"}),
     ("def f(x):\n    return x", {"f"}),
     ("plt.show()\nprint(x)", set()),
     ("plt.rcParams.update({})", {"plt"})],
)  # fmt: skip
def test_a_cell_gives_what_it_binds_or_changes(code: str, names: set[str]) -> None:
    assert pages.given(code, {"plt"}) == names


def test_a_page_knows_its_cells_in_order() -> None:
    parts = split(chapter("04-random-slopes").path)
    data = pages.page_data(parts, {"fit-sleep": 12.34})
    cells = [part for part in parts if isinstance(part, Cell) and part.option("eval", True)]
    assert [cell["label"] for cell in data["cells"]] == [cell.label for cell in cells]
    [timed] = [cell for cell in data["cells"] if cell["label"] == "fit-sleep"]
    assert timed["seconds"] == 12.3 and "model_line" in timed["defines"]


def test_buttons_come_once_and_only_where_code_is() -> None:
    page = "<html><head>\n<title>t</title></head><body></body></html>"
    one = chapter("03-random-intercept")
    dressed = pages.with_buttons(page, one)
    assert dressed.count('src="../live/live.js"') == 1
    assert pages.with_buttons(dressed, one) == dressed
    assert "data-each" in pages.with_buttons(page, chapter("recipes"))
    assert not pages.runnable(chapter("B-agreement"), split(chapter("B-agreement").path))
    assert not pages.runnable(chapter("choosing"), split(chapter("choosing").path))


def test_without_the_packages_the_site_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "PACKAGES", tmp_path / "nothing")
    said = add_live_code(load_project(ROOT), {}, tmp_path / "out")
    assert "no Run" in said and "\n" not in said
    assert not (tmp_path / "out").exists()


GUEST = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("_live", sys.argv[1])
live = importlib.util.module_from_spec(spec)
spec.loader.exec_module(live)
live.forget()
live.JOB = sys.argv[2]
for job in json.loads(sys.stdin.read()):
    with open(live.JOB, "w") as file:
        json.dump({"label": "c", **job}, file)
    live.turn()
"""


def guest(tmp_path: Path, *jobs: dict[str, object]) -> list[dict[str, object]]:
    """What the page is told while these cells run, here in this Python."""
    done = subprocess.run(
        [sys.executable, "-c", GUEST, str(site.HERE / "guest.py"), str(tmp_path / "job.json")],
        input=json.dumps(jobs), capture_output=True, text=True, check=True,
        env={"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_cell_shows_what_a_notebook_shows(tmp_path: Path) -> None:
    told = guest(
        tmp_path,
        {"code": "x = 2\nprint('one')\nprint('two', end='')\nx * 3"},
        {"code": "x * 3;"},
        {"code": "import warnings\nwarnings.warn('loud')", "quiet": True},
        {"code": "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([x]);"},
        {"code": "from pylmm_helpers import table\ntable({'a': 1})"},
    )
    kinds = [one["kind"] for one in told]
    assert kinds == ["text", "text", "value", "done", "done", "done", "figure", "done",
                     "markdown", "done"]  # fmt: skip
    assert [told[0]["text"], told[1]["text"], told[2]["text"]] == ["one\n", "two", "6"]
    assert str(told[6]["svg"]).startswith("<svg")


def test_an_error_is_told_as_python_prints_it_and_the_session_goes_on(tmp_path: Path) -> None:
    told = guest(
        tmp_path,
        {"code": "def f():\n    return 1 / 0\nf()"},
        {"code": "import pyspark_nothing"},
        {"code": "try:\n    import duckdb\nexcept ImportError:\n    pass\nimport ibis.no"},
        {"code": "f"},
    )
    first = str(told[0]["text"])
    assert first.splitlines()[:3] == [
        "Traceback (most recent call last):", '  File "<c>", line 3, in <module>', "    f()",
    ]  # fmt: skip
    assert first.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "guest.py" not in first and told[1] == {"kind": "done", "failed": True}
    assert told[-2]["kind"] == "value"

"""The renderer's rooms: imports run downwards, through the door, and never in a circle."""

from __future__ import annotations

import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "offline_render"
COMMANDS = {"__main__", "bench", "bootstrap", "post_render", "pre_render", "preview"}
# from the top down: a room imports from those after it only
ROOMS = ("quarto", "render", "live", "run", "speech", "book", "setup")
LONGEST = 300


def modules(root: Path) -> dict[str, Path]:
    """Dotted name of each module of the package, with its file."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, files: dict[str, Path]) -> set[str]:
    """Modules of the package that one of them imports, at its top or within a function."""
    path, found = files[name], set()
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import pandoc` names a module, `from .pandoc import Node` something in one
            found |= {
                inner if (inner := f"{module}.{alias.name}") in files else module
                for alias in node.names
            }
    return found & set(files)


def room(name: str) -> str:
    """The room of a module; the empty string for the commands on top."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else ""


def faults(root: Path) -> list[str]:
    """Imports that go upwards, or past a room's own list of what it offers."""
    found, files = [], modules(root)
    height = {"": -1} | {name: k for k, name in enumerate(ROOMS)}
    for name in files:
        for other in sorted(imported(name, files)):
            here, there = room(name), room(other)
            if here == there:
                continue
            if height[there] < height[here]:
                found.append(f"{name} imports {other}, which lies above it")
            if there and other != f"{PACKAGE}.{there}":
                found.append(f"{name} takes from {other}, not from the room")
    return found


def circle(root: Path) -> list[str]:
    """Modules that import one another, directly or through others; empty if there are none."""
    files = modules(root)
    try:
        TopologicalSorter({name: imported(name, files) for name in files}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def doors(root: Path) -> dict[str, ast.Module]:
    return {
        name: ast.parse((root / PACKAGE / name / "__init__.py").read_text(encoding="utf-8"))
        for name in ROOMS
    }


def written(root: Path, files: dict[str, str]) -> Path:
    """A small package of this shape, for what must be found."""
    for name in ROOMS:
        (root / PACKAGE / name).mkdir(parents=True)
        (root / PACKAGE / name / "__init__.py").touch()
    (root / PACKAGE / "__init__.py").touch()
    for name, text in files.items():
        (root / PACKAGE / name).write_text(text, encoding="utf-8")
    return root


def test_imports_run_downwards_and_through_the_rooms_doors() -> None:
    assert faults(ROOT) == []


def test_no_two_modules_import_each_other() -> None:
    assert circle(ROOT) == []


def test_every_file_is_a_command_or_lies_in_a_room() -> None:
    names = {name.split(".", 1)[1] for name in modules(ROOT) if "." in name}
    assert {name for name in names if name.split(".")[0] not in ROOMS} == COMMANDS
    assert {name.split(".")[0] for name in names} - COMMANDS == set(ROOMS)


def test_each_room_says_what_comes_in_and_what_goes_out() -> None:
    for name, tree in doors(ROOT).items():
        sentence = (ast.get_docstring(tree) or "").split("\n\n")[0]
        assert re.search(r"\bcomes? in\b.*\bgo(es)? out\b.*\.$", sentence, re.S), name


def test_the_package_lists_its_rooms_in_this_order() -> None:
    said = ast.get_docstring(ast.parse((ROOT / PACKAGE / "__init__.py").read_text())) or ""
    assert tuple(re.findall(r"^- ``(\w+)``: ", said, re.M)) == ROOMS


def test_a_room_offers_what_others_use_and_nothing_else() -> None:
    """A name that nobody outside takes is the room's own affair."""
    used: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module, path in modules(ROOT).items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                name = node.module.removeprefix(f"{PACKAGE}.")
                if name in used and name != room(module):
                    used[name] |= {alias.name for alias in node.names}
    for name, tree in doors(ROOT).items():
        (offered,) = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ]
        assert set(offered) == used[name], name


def test_a_name_that_a_room_offers_hides_none_of_its_modules() -> None:
    for name, tree in doors(ROOT).items():
        offered = {
            alias.asname or alias.name
            for node in tree.body if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }  # fmt: skip
        files = {path.stem for path in (ROOT / PACKAGE / name).glob("*.py")}
        assert not offered & files, name


def test_set_up_needs_the_standard_library_only() -> None:
    """It runs before anything is installed."""
    files = modules(ROOT)
    for name in [f"{PACKAGE}.bootstrap", *(n for n in files if room(n) == "setup")]:
        foreign = set()
        for node in ast.walk(ast.parse(files[name].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                foreign |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                foreign.add(node.module.split(".")[0])
        # whether there is a pip is what it asks
        assert foreign - set(sys.stdlib_module_names) <= {PACKAGE, "pip"}, name


def test_no_module_is_longer_than_can_be_read_in_one_go() -> None:
    lengths = {
        name: len(path.read_text(encoding="utf-8").splitlines())
        for name, path in modules(ROOT).items()
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        ("book/lock.py", "from ..run import Runner", "offline_render.run, which lies above it"),
        ("run/cells.py", "def late():\n    from .. import quarto", "offline_render.quarto, which"),
        ("book/lock.py", "from .. import preview", "offline_render.preview, which lies above it"),
        ("render/pdf.py", "from ..book.kept import keep", "takes from offline_render.book.kept"),
        ("preview.py", "import offline_render.book.kept", "takes from offline_render.book.kept"),
    ],
)
def test_an_arrow_upwards_or_past_the_door_would_be_found(
    tmp_path: Path, file: str, code: str, said: str
) -> None:
    root = written(tmp_path, {"preview.py": "", "book/kept.py": "keep = 1\n", file: code})
    (fault,) = faults(root)
    assert said in fault


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    files = {
        "run/cells.py": "from .cache import a\n",
        "run/cache.py": "def late():\n    from . import cells\n",
    }
    assert len(circle(written(tmp_path, files))) == 3

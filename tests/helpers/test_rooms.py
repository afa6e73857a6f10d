"""The rooms of the package: arrows run downwards, no circle, and a face for each room."""

from __future__ import annotations

import ast
import importlib
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import pylmm_helpers

PACKAGE = Path(pylmm_helpers.__file__).parent
#: From the top to the bottom: a room imports from rooms after it only.
ROOMS = (
    "show", "lme4", "quantities", "inference", "sums", "engine", "formula", "data", "common",
)  # fmt: skip
#: Modules of the first edition, whose addresses still work.
OLD = (
    "compute", "contextual", "crosscheck", "datasets", "diagnostics", "inference", "lmm", "plots",
    "prediction", "report", "tables", "transform", "variance",
)  # fmt: skip
#: A module may be a little longer than 300 lines where a cut would part what belongs together.
MOST_LINES = 310
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool) -> list[tuple[str, bool]]:
    """Modules of this package that a module imports, lazily or not, and whether by a dot."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                here = parts[: len(parts) - node.level + is_package]
                base = ".".join([*here, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                path = PACKAGE.parent / full.replace(".", "/")
                # a folder's face may offer a function named as one of its modules
                is_module = path.with_suffix(".py").is_file() and (
                    node.module is None or not offers(base, alias.name)
                )
                found.append((full if is_module else base, node.level > 0))
    return [(name, dotted) for name, dotted in found if name.split(".")[0] == "pylmm_helpers"]


def offers(package: str, name: str) -> bool:
    face = PACKAGE.parent / package.replace(".", "/") / "__init__.py"
    return face.is_file() and f'"{name}"' in face.read_text(encoding="utf-8")


def graph() -> dict[str, list[tuple[str, bool]]]:
    return {
        name_of(path): imports(
            path.read_text(encoding="utf-8"), name_of(path), path.name == "__init__.py"
        )
        for path in MODULES
    }


def upward(edges: dict[str, list[tuple[str, bool]]]) -> list[str]:
    """Imports that run up, or past the face of another room."""
    wrong = []
    for module, found in edges.items():
        room = module.split(".")[1]
        for target, _ in found:
            parts = target.split(".")
            if len(parts) == 1:
                continue  # the version
            if parts[1] not in ROOMS or ROOMS.index(parts[1]) < ROOMS.index(room):
                wrong.append(f"{module} imports {target}")
            elif parts[1] != room and not (PACKAGE.parent / "/".join(parts)).is_dir():
                wrong.append(f"{module} imports {target}, not what its room offers")
    return wrong


def test_the_rooms_are_those_of_the_list() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert folders == set(ROOMS)


def test_rooms_import_downwards_and_through_faces_only() -> None:
    assert upward(graph()) == []


def test_the_check_sees_an_arrow_that_runs_up() -> None:
    source = "def f():\n    from pylmm_helpers.engine import fit_lmm\n"
    assert upward({"pylmm_helpers.formula.x": imports(source, "pylmm_helpers.formula.x", False)})
    past = "from pylmm_helpers.engine.search import optimise\n"
    assert upward({"pylmm_helpers.show.x": imports(past, "pylmm_helpers.show.x", False)})


def test_no_two_modules_import_each_other() -> None:
    edges = {
        module: {t for t, _ in found if t != module and t in known}
        for known in [set(map(name_of, MODULES))]
        for module, found in graph().items()
    }
    # Python runs a folder's face before any of its modules
    for found in edges.values():
        found |= {t.rpartition(".")[0] for t in set(found)} & set(edges)
    for module, found in edges.items():
        parents = {module.rsplit(".", k)[0] for k in range(1, module.count("."))}
        found -= {module, *parents}
    list(TopologicalSorter(edges).static_order())


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_says_what_comes_in_and_what_goes_out(room: str) -> None:
    face = importlib.import_module(f"pylmm_helpers.{room}")
    said = " ".join((face.__doc__ or "").split())
    assert said.endswith(".")
    assert "in" in said.split() or "in;" in said.split() or "in," in said.split()
    assert "out." in said.split()
    for name in getattr(face, "__all__", []):
        assert getattr(face, name) is not None


def test_no_module_hides_what_a_face_offers() -> None:
    for path in MODULES:
        importlib.import_module(name_of(path))
    for face in (name_of(path) for path in MODULES if path.name == "__init__.py"):
        room = importlib.import_module(face)
        for name in getattr(room, "__all__", []):
            assert not isinstance(getattr(room, name), ModuleType), f"{face}.{name}"


@pytest.mark.parametrize("module", OLD)
def test_addresses_of_the_first_edition_still_work(module: str) -> None:
    old = importlib.import_module(f"pylmm_helpers.{module}")
    names = [n for n in old.__all__ if n in pylmm_helpers.__all__ or module == "plots"]
    assert names
    home = pylmm_helpers.plots if module == "plots" else pylmm_helpers
    for name in names:
        assert getattr(old, name) is getattr(home, name)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_held_in_the_head(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    assert ast.get_docstring(ast.parse(source))

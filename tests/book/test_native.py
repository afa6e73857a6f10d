"""The path through a real Quarto, tried with a program that behaves as Quarto does."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from minibook import write

from offline_render import quarto
from offline_render.__main__ import main
from offline_render.book import BuildError
from offline_render.quarto import render
from offline_render.render import pandoc

GOOD = '#!/bin/sh\nmkdir -p "$3"\necho new > "$3/index.html"\necho new > "$3/book.pdf"\n'
FAILING = '#!/bin/sh\nmkdir -p "$3"\necho half > "$3/index.html"\nexit 1\n'
WITHOUT_PDF = '#!/bin/sh\nmkdir -p "$3"\necho new > "$3/index.html"\n'


def program(folder: Path, text: str) -> Path:
    path = folder / "quarto"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_whole_render_replaces_the_book(tmp_path: Path) -> None:
    root = write(tmp_path / "book")
    out = render(root, program(tmp_path, GOOD))
    assert (out / "index.html").read_text() == "new\n"


@pytest.mark.parametrize("text", [FAILING, WITHOUT_PDF])
def test_a_render_that_fails_or_lacks_the_pdf_leaves_the_last_good_book(
    tmp_path: Path, text: str
) -> None:
    root = write(tmp_path / "book")
    render(root, program(tmp_path, GOOD))
    with pytest.raises(BuildError):
        render(root, program(tmp_path, text))
    assert (root / "_book" / "index.html").read_text() == "new\n"


def test_a_failure_says_why_in_quartos_own_words(tmp_path: Path) -> None:
    said = (
        '#!/bin/sh\necho "[1/2] one.qmd"\necho "\033[31mERROR: no such filter\033[0m" >&2\nexit 1\n'
    )
    root = write(tmp_path / "book")
    with pytest.raises(BuildError, match=r"exit code 1: ERROR: no such filter$"):
        render(root, program(tmp_path, said))
    assert "one.qmd" in (root / ".handbook" / "quarto.log").read_text()


def test_pandoc_in_quarto_finds_no_data_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quarto's search for headings of level 1 runs pandoc with the user's init.lua."""
    mine = tmp_path / "home" / "share"
    (mine / "pandoc").mkdir(parents=True)
    (mine / "pandoc" / "init.lua").write_text("error('the init.lua of a user')")
    monkeypatch.setenv("XDG_DATA_HOME", str(mine))
    (tmp_path / "empty.lua").write_text("return {}")
    command = [pandoc.executable(), "-t", "html", "-L", str(tmp_path / "empty.lua")]
    asks = f'{GOOD}echo x | {shlex.join(command)} > "$3/said.html" || exit 1\n'
    out = render(write(tmp_path / "book"), program(tmp_path, asks))
    assert (out / "said.html").read_text() == "<p>x</p>\n"
    # without, it is read
    found = subprocess.run(command, input=b"x", capture_output=True, check=False)
    assert b"the init.lua of a user" in found.stderr


def on_path(monkeypatch: pytest.MonkeyPatch, root: Path, text: str) -> None:
    folder = root.parent / "bin"
    folder.mkdir()
    program(
        folder,
        text.replace("#!/bin/sh\n", "#!/bin/sh\n[ $1 = --version ] && echo 1.9.38 && exit\n"),
    )
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.chdir(root)


def test_the_quarto_on_path_builds_the_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "book")
    on_path(monkeypatch, root, GOOD)
    assert main(["build"]) == 0
    assert (root / "_book" / "index.html").read_text() == "new\n"
    assert main(["build", "--embedded"]) == 0
    assert "Hello." in (root / "_book" / "index.html").read_text()


def test_where_quarto_fails_two_lines_say_why_and_the_embedded_renderer_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "book")
    on_path(monkeypatch, root, FAILING)
    assert main(["build"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(said) == 2 and "exit code 1" in said[0] and "embedded renderer" in said[1]
    assert "Hello." in (root / "_book" / "index.html").read_text()


def test_asked_for_the_pinned_quarto_nothing_else_steps_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "book")
    monkeypatch.chdir(root)
    monkeypatch.setattr(quarto, "pinned", lambda root: program(tmp_path, FAILING))
    assert main(["build", "--quarto"]) == 1
    assert "stopped with exit code 1" in capsys.readouterr().err
    assert not (root / "_book").exists()

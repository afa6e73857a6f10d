"""What Quarto gets from the pre-render step and after rendering: each cell runs once."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from minibook import ONE, write

from offline_render.book import HELD, BuildError, load_project, only_one
from offline_render.quarto import after_render, before_render
from offline_render.render import SHEETS, build, building

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(tmp_path_factory.mktemp("handed"))
    before_render(root, None)
    return root


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def notebook(root: Path, source: str) -> nbformat.NotebookNode:
    path = (root / ".handbook" / "quarto" / source).with_suffix(".ipynb")
    return nbformat.read(path, as_version=4)


def runs(root: Path) -> int:
    return (root / "runs.txt").read_text().count("run")


def test_the_notebook_has_options_results_and_inline_values(made: Path) -> None:
    book = notebook(made, "chapters/one.qmd")
    nbformat.validate(book)
    prose = "\n".join(c.source for c in book.cells if c.cell_type == "markdown")
    assert r"Two and two make 4; *stars* stay: a\*b\*." in prose and "{python}" not in prose
    code = {c.source.split("\n")[0]: c for c in book.cells if c.cell_type == "code"}
    line, table = code["#| label: fig-line"], code["#| label: tbl-small"]
    assert '#| fig-cap: "A line."' in line.source
    assert any("image/svg+xml" in o.get("data", {}) for o in line.outputs)
    assert "| 3 | 4 |" in table.outputs[0].data["text/markdown"]
    # set-up and resizing are the renderer's, not the chapter's
    assert len(code) == 3 and not any("InlineBackend" in c.source for c in book.cells)


def test_the_notebook_names_the_text_it_was_made_from(made: Path) -> None:
    text = (made / "chapters" / "one.qmd").read_bytes()
    expected = hashlib.sha256(text).hexdigest()
    assert notebook(made, "chapters/one.qmd").metadata.handbook.source == expected


def test_a_cell_runs_once_for_quarto_the_downloads_and_the_embedded_renderer(copied: Path) -> None:
    once = runs(copied)
    before_render(copied, ["chapters/one.qmd"])
    out = copied / "_book"
    (out / "chapters").mkdir(parents=True)
    after_render(copied, ["index.html", "chapters/one.html", "chapters/two.html"], out)
    build(copied)
    assert runs(copied) == once


def test_only_the_downloads_of_the_pages_that_were_written_are_written(copied: Path) -> None:
    before_render(copied, None)
    out = copied / "site"
    (out / "chapters").mkdir(parents=True)
    (out / "chapters" / "two.ipynb").write_text("of an earlier rendering")
    written = after_render(copied, ["chapters/one.html"], out)
    with zipfile.ZipFile(out / "handbook-notebooks.zip") as archive:
        assert archive.namelist() == ["one.ipynb", "one.py", "two.ipynb"]
    archives = {"handbook-data.zip", "handbook-notebooks.zip"}
    assert {p.name for p in written} == {"one.ipynb", "one.py", *archives}
    assert after_render(copied, ["Small-book.pdf"], out) == []
    assert after_render(copied, ["chapters/extra.html"], out) == []


def test_pages_get_the_books_own_fonts_and_ask_nobody_for_them(copied: Path) -> None:
    out = copied / "site"
    page = out / "chapters" / "one.html"
    page.parent.mkdir(parents=True)
    page.write_text("<html><head><title>x</title></head><body></body></html>")
    for _ in range(2):  # as a preview does at each save
        after_render(copied, ["chapters/one.html"], out)
    (link,) = re.findall(r'href="([^"]+fonts.css)"', page.read_text())
    css = page.parent / link
    names = re.findall(r'url\("([^"]+)"\)', css.read_text())
    # two weights of each of the two text faces, an italic, code, and formulas
    assert len(names) == 7 and all((css.parent / name).is_file() for name in names)


def test_downloads_are_those_of_the_embedded_renderer(copied: Path) -> None:
    with (copied / "chapters" / "two.qmd").open("a") as chapter:
        chapter.write("\n::: {.quiz}\nWhich?\n\n- [x] This\n\n  Yes.\n\n- [ ] That\n\n  No.\n:::\n")
    book = build(copied)
    before_render(copied, None)
    out = copied / "site"
    (out / "chapters").mkdir(parents=True)
    after_render(copied, ["chapters/one.html"], out)
    for name in ("one.ipynb", "one.py"):
        assert (out / "chapters" / name).read_text() == (book / "chapters" / name).read_text()
    for name in SHEETS:
        assert (out / name).read_bytes() == (book / name).read_bytes()


def test_after_rendering_no_cell_runs_and_one_line_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "fresh")
    assert after_render(root, ["chapters/one.html"], root / "_book") == []
    assert not (root / "runs.txt").exists()
    said = capsys.readouterr().out
    assert said.strip() == "chapters/one.qmd: its cells haven't run, so no notebook and no script"


def test_a_fault_is_named_with_file_and_line_and_stops_quarto(tmp_path: Path) -> None:
    root = write(tmp_path / "book", one=ONE + "\n```{python}\n1 / 0\n```\n")
    with pytest.raises(BuildError, match=r"one\.qmd:\d+: cell .* ZeroDivisionError"):
        before_render(root, None)


def step(root: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step as Quarto does: by path, in the book's folder."""
    shutil.copytree(ROOT / "offline_render", root / "offline_render", dirs_exist_ok=True)
    return subprocess.run(
        [sys.executable, f"offline_render/{name}.py"], cwd=root, capture_output=True, text=True,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def test_the_steps_listen_to_what_quarto_says(copied: Path) -> None:
    shutil.rmtree(copied / ".handbook" / "quarto")
    done = step(copied, "pre_render", QUARTO_PROJECT_INPUT_FILES="index.qmd\nchapters/two.qmd\n")
    assert done.returncode == 0, done.stderr
    kept = copied / ".handbook" / "quarto"
    assert {p.relative_to(kept).as_posix() for p in kept.rglob("*.ipynb")} == {
        "index.ipynb", "chapters/two.ipynb",
    }  # fmt: skip
    listed = copied / "listed.txt"
    listed.write_text("chapters/one.qmd")
    done = step(copied, "pre_render", QUARTO_USE_FILE_FOR_PROJECT_INPUT_FILES=str(listed))
    assert done.returncode == 0 and (kept / "chapters" / "one.ipynb").exists()
    (copied / "_book" / "chapters").mkdir(parents=True)
    done = step(
        copied, "post_render", QUARTO_PROJECT_OUTPUT_DIR="_book",
        QUARTO_PROJECT_OUTPUT_FILES="_book/chapters/one.html\n_book/Small-book.pdf",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (copied / "_book" / "chapters" / "one.ipynb").exists()


def test_a_failing_cell_stops_the_step_with_its_place(tmp_path: Path) -> None:
    root = write(tmp_path / "book", one=ONE + "\n```{python}\n1 / 0\n```\n")
    done = step(root, "pre_render")
    assert done.returncode == 1 and "one.qmd:" in done.stderr and "ZeroDivision" in done.stderr


def test_a_build_that_starts_quarto_lends_it_the_lock(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = load_project(made)
    with only_one(project):
        monkeypatch.setenv(HELD, str(project.root))
        with only_one(project):  # would wait for ever without
            pass


def test_numbers_follow_from_labels_alone(book: Path, root: Path) -> None:
    """Downloads of one page need the numbers of all, whether or not their cells have run."""
    from offline_render.book import split
    from offline_render.render import Pandoc, numbered
    from offline_render.run import Reporter, run_cells

    project = load_project(root)
    sources = {c.source: split(c.path) for c in project.chapters}
    engine = Pandoc(project.work / "pandoc")
    outputs = run_cells(project, sources, Reporter(1))
    whole = {
        c.source: building.assemble(c, sources[c.source], outputs[c.source])
        for c in project.chapters
    }
    _, full = building.link(project, whole, engine)
    _, bare = numbered(project, sources, engine)
    assert {k: v.words for k, v in full.items()} == {k: v.words for k, v in bare.items()}


def test_the_engine_reads_what_is_written_here() -> None:
    """The script runs inside Quarto only; its words must be those of this side."""
    script = (ROOT / "_extensions" / "handbook" / "engine" / "engine.js").read_text(
        encoding="utf-8"
    )
    assert '".handbook/quarto"' in script and "metadata?.handbook?.source" in script
    named = "offline_render/pre_render.py"
    assert f'"{named}"' in script and ast.parse((ROOT / named).read_text(encoding="utf-8"))

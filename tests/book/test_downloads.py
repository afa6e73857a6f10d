"""The notebooks, scripts and data that a reader takes home."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from frictionless import Package
from nbclient import NotebookClient
from traitlets.config import Config

from offline_render.book import Cell, Chapter, load_project, split
from offline_render.render import Target
from offline_render.render.downloads import INSTALL, data_archive, offered, plain_markdown

CHAPTER = Chapter(Path("one.qmd"), "chapters/one.qmd", "1", False)
TARGETS = {
    "fig-a": Target("Figure\u00a01.1", "1.1", CHAPTER, "fig-a"),
    "eq-b": Target("Equation\u00a01.2", "1.2", CHAPTER, "eq-b"),
    "tbl-c": Target("Table\u00a01.3", "1.3", CHAPTER, "tbl-c"),
}
WORDS = {"dohoo2012": ("Dohoo et al.", "2012")}


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("See @fig-a and [-@eq-b].", "See Figure\u00a01.1 and 1.2."),
        ("@dohoo2012 say so [@dohoo2012, ch. 21].",
         "Dohoo et al. (2012) say so (Dohoo et al., 2012, ch. 21)."),
        ("## Title {#sec-x .unnumbered}", "## Title"),
        ("$$\ny = 1\n$$ {#eq-b}", "$$\ny = 1\n$$\n\n(1.2)"),
        (": The symbols. {#tbl-c}", "*Table\u00a01.3: The symbols.*"),
        ('::: {.callout-note title="A word"}\nText.\n:::', "**A word.**\n\nText."),
        ("Said.^[With a note.]", "Said. (With a note.)"),
        ("a@b.org, `@fig-a`", "a@b.org, `Figure\u00a01.1`"),
        ("A [**term**](E-glossary.qmd#gls-term) and [a page](two.qmd).", "A **term** and a page."),
    ],
)  # fmt: skip
def test_markdown_loses_what_a_notebook_would_show_as_code(source: str, shown: str) -> None:
    assert plain_markdown(source, TARGETS, WORDS) == shown


def test_questions_are_left_out_with_their_answers() -> None:
    source = (
        "Before.\n\n::: {.quiz #quiz-a}\nWhich?\n\n- [x] This\n:::\n\n"
        "::: {.reflection}\nWhy?\n\n::: {.model-answer}\nBecause.\n:::\n:::\n\nAfter."
    )
    shown = plain_markdown(source, {}, {})
    assert shown.startswith("Before.") and shown.endswith("After.")
    assert "Which" not in shown and "Because" not in shown and ":::" not in shown
    assert shown.count("questions") == 1


def test_code_blocks_stay_as_they_are() -> None:
    block = "```r\nlmer(y ~ x + (1 | g), data = d) # ::: @fig-a\n```"
    assert plain_markdown(block, TARGETS, WORDS) == block


def chapters_on_offer(book: Path) -> list[Path]:
    return sorted((book / "chapters").glob("*.ipynb"))


def test_every_numbered_chapter_is_offered_on_its_page(book: Path, root: Path) -> None:
    numbered = [c for c in load_project(root).chapters if offered(c, split(c.path))]
    assert [p.stem for p in chapters_on_offer(book)] == sorted(c.key for c in numbered)
    for chapter in numbered:
        page = (book / chapter.href).read_text(encoding="utf-8")
        assert f'href="{chapter.key}.ipynb"' in page and f'href="{chapter.key}.py"' in page
        assert (book / "chapters" / f"{chapter.key}.py").exists()
    front = (book / "index.html").read_text(encoding="utf-8")
    assert 'href="handbook-data.zip"' in front and '.pdf"' in front


def test_notebooks_are_valid_and_spell_everything_out(book: Path) -> None:
    for path in chapters_on_offer(book):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        for leftover in (":::", "{python}", "{#", "[@", "@fig-", "@tbl-", "@sec-", "@eq-"):
            assert leftover not in prose, f"{path.name}: {leftover}"


@pytest.fixture(scope="module")
def reader(book: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Python of a new environment with Jupyter's kernel and the package, as the notebooks say it.

    What the package asks for comes from the registry (or pip's cache), in the versions of the lock.
    """
    folder = tmp_path_factory.mktemp("reader")
    quiet = {"cwd": root, "check": True, "capture_output": True, "text": True}
    [wheel] = book.glob("*.whl")
    [extras] = set(re.findall(r'pip install "\{wheel\}(\[[\w,]+\])"', INSTALL))
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    versions = folder / "versions.txt"
    versions.write_text("\n".join(re.findall(r"^[\w.-]+==[^\\\n]+", lock, re.M)), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], **quiet)
    python = folder / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    asked = ["-c", str(versions), f"{wheel}{extras}", "ipykernel"]
    done = subprocess.run([*pip, *asked], **{**quiet, "check": False})
    if done.returncode != 0:
        said = f"pip could not install what the package asks for:\n{done.stderr[-1500:]}"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    kernel = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
              "display_name": "reader", "language": "python"}  # fmt: skip
    spec = folder / "jupyter" / "kernels" / "reader" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps(kernel), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("OPENBLAS_NUM_THREADS", "1")  # two notebooks run side by side
        patch.delenv("PYTHONPATH", raising=False)
        yield python


def run_notebook(path: Path, folder: Path) -> str:
    """Run a downloaded notebook away from the repository; where it found the package."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(
        nbformat.v4.new_code_cell("import pylmm_helpers; print(pylmm_helpers.__file__)")
    )
    folder.mkdir()
    pipes = {"transport": "ipc", "ip": str(folder / "kernel")}
    client = NotebookClient(
        notebook, timeout=900, kernel_name="reader", config=Config({"KernelManager": pipes}),
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    client.execute()
    return str(notebook.cells[-1].outputs[0].text)


#: Run whole: the first chapter, one with predictions, the published data, and files larger than
#: memory. The others hold the cells that the build has run, and import what is there.
RUN_WHOLE = ("01-whole-game", "11-prediction", "G-classics", "H-large-data")


def test_notebooks_run_top_to_bottom_in_a_clean_environment(
    book: Path, reader: Path, tmp_path: Path
) -> None:
    def run(path: Path) -> str:
        return run_notebook(path, tmp_path / path.stem)

    with ThreadPoolExecutor(2) as pool:
        places = list(pool.map(run, (book / "chapters" / f"{name}.ipynb" for name in RUN_WHOLE)))
    assert all(place.startswith(str(reader.parents[1])) for place in places)


def test_every_notebook_holds_the_cells_of_its_chapter(book: Path, root: Path) -> None:
    for path in chapters_on_offer(book):
        cells = [c.source.strip() for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        parts = split(root / "chapters" / f"{path.stem}.qmd")
        assert cells == [
            part.code.strip()
            for part in parts
            if isinstance(part, Cell) and part.option("eval", True) and part.code.strip()
        ], path.name


def test_what_notebooks_import_is_there_in_a_clean_environment(book: Path, reader: Path) -> None:
    imports = {
        ast.unparse(node)
        for path in chapters_on_offer(book)
        for cell in nbformat.read(path, 4).cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert len(imports) > 20
    # where Spark is missing the notebook says so and goes on
    code = "\n".join(sorted(line for line in imports if "spark" not in line))
    done = subprocess.run([str(reader), "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_script_runs_as_it_is(book: Path, reader: Path, tmp_path: Path) -> None:
    scripts = sorted((book / "chapters").glob("*.py"))
    assert len(scripts) == len(chapters_on_offer(book))
    for script in scripts:
        compile(script.read_text(encoding="utf-8"), script.name, "exec")
    # The code is the notebooks': one shows that the form works.
    done = subprocess.run(
        [str(reader), str(scripts[0])], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # tables and the line on lme4, as a notebook shows them
    assert "std_error" in done.stdout and "agree with lme4" in done.stdout
    assert list(tmp_path.glob(f"{scripts[0].stem}-figure-*.png"))


def test_the_archive_holds_all_data_with_a_valid_codebook(root: Path, tmp_path: Path) -> None:
    content = data_archive(root)
    assert content == data_archive(root)
    target = tmp_path / "data.zip"
    target.write_bytes(content)
    with zipfile.ZipFile(target) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "handbook-data"
    described = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))["resources"]
    assert {r["path"] for r in described} == {
        str(p.relative_to(folder)) for p in folder.rglob("*.csv")
    }
    assert Package(str(folder / "datapackage.json")).validate().valid

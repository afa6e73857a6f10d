"""A chapter run as a script shows its tables and its figures, as a notebook does."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from offline_render.book import Cell, split
from offline_render.render.scripts import as_script, shown


def notebook(*cells: str) -> nbformat.NotebookNode:
    title = nbformat.v4.new_markdown_cell("# A chapter")
    return nbformat.v4.new_notebook(
        cells=[title, *(nbformat.v4.new_code_cell(c) for c in cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}},
    )


def run(script: str, folder: Path, **extra: str) -> str:
    """What a script writes when it is run with `python`."""
    (folder / "chapter.py").write_text(script, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "chapter.py"], cwd=folder, text=True,
        capture_output=True, check=False,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8",
             "COLUMNS": "80", **extra},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "x = 1\nx + 1", "f(\n    1,\n    2,\n)  # why", "'größe – naïve'; f('é')", "(1, 2)",
        'f("""a\nb""").g[0]', "x = 1", "for k in []:\n    k", "print(3)", "f(1);", "# nothing", "",
        "lambda: 0", "await_ = 1; await_", "[k for k in 'é']  # é",
    ],
)  # fmt: skip
def test_a_cell_keeps_its_statements_and_ends_in_showing(code: str) -> None:
    """Taking the calls away again leaves the code, token by token."""
    new = ast.parse(shown(code)).body
    last = new[-1].value
    assert ast.unparse(last.func) == "_show"
    rest = [*new[:-1], *(ast.Expr(argument) for argument in last.args)]
    assert [ast.dump(node) for node in rest] == [ast.dump(n) for n in ast.parse(code).body]
    assert not (last.args and (code.endswith(";") or "print" in code))
    if rest and isinstance(rest[-1], ast.Expr) and not code.endswith(";") and "print" not in code:
        assert len(last.args) == 1


def test_values_are_printed_and_figures_saved_where_there_is_no_screen(tmp_path: Path) -> None:
    book = notebook(
        "import pandas as pd\nframe = pd.DataFrame({'cows': [1, 2]})\nframe",
        "import matplotlib.pyplot as plt",
        "fig, ax = plt.subplots()\nax.plot([1, 2])\nax.set(xlabel='x')",
        "None",
        "print('said')",
        "plt.figure()\nplt.figure()\nx = 'not shown'",
        "'two'; 'one'",
    )
    before = nbformat.writes(book)
    out = run(as_script(book), tmp_path)
    assert nbformat.writes(book) == before  # the notebook has no such calls
    assert "cows\n0     1\n1     2" in out and "said" in out and "one" in out
    assert "matplotlib" not in out and "None" not in out and "not shown" not in out
    assert "two" not in out
    saved = sorted(path.name for path in tmp_path.glob("*.png"))
    assert saved == [f"chapter-figure-{k}.png" for k in (1, 2, 3)]
    assert all(name in out for name in saved)


def test_a_chapter_as_a_script_prints_every_table_and_keeps_to_80_columns(
    root: Path, tmp_path: Path
) -> None:
    parts = split(root / "chapters" / "01-whole-game.qmd")
    cells = [p for p in parts if isinstance(p, Cell) and p.option("eval", True)]
    out = run(as_script(notebook(*(cell.code for cell in cells))), tmp_path, PYLMM_NO_R="1")
    figures = [cell for cell in cells if "fig-cap" in cell.options]
    assert len(list(tmp_path.glob("*.png"))) >= len(figures) >= 3
    endings = [ast.parse(cell.code).body[-1] for cell in cells if cell.code.strip()]
    calls = [ast.unparse(e.value) for e in endings if isinstance(e, ast.Expr)]
    tables = [c for c in calls if c.startswith("table(")]
    checks = [call for cell in cells for call in re.findall(r"= crosscheck\(", cell.code)]
    assert tables and checks and not [c for c in calls if c.startswith("crosscheck(")]
    said = re.sub(r"\s+", " ", out)
    # the proof is a line, here as on the page; its tables stay in what crosscheck gave
    assert f" {len(checks)} models agree with lme4; largest difference" in said
    assert said.count(" agrees; largest difference ") == len(checks)
    assert "tolerance verdict" not in said
    for column in ("column", "estimate", "std_error"):  # of the codebook and the table of effects
        assert column in out
    long = [line for line in out.split("\n") if len(line) > 80]
    assert all("We fitted a linear mixed model" in line or "variance was" in line for line in long)

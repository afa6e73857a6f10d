"""A chapter's notebook as a script that shows what the notebook shows.

Python prints nothing by itself: the last value of a cell and its figures would be lost. In a
script each cell therefore ends in a call of a function that stands at its top.
"""

from __future__ import annotations

import ast
import copy

import jupytext
import nbformat

#: Its name begins with an underscore, so that no cell has it.
SHOW = '''\
def _show(value=None):
    """Do what a notebook does after a cell: print its last value, show its figures."""
    from pathlib import Path

    import matplotlib.pyplot as plt

    figures = [plt.figure(number) for number in plt.get_fignums()]
    if value is not None and not figures:  # a cell that draws ends in a part of the drawing
        print(value, end="\\n\\n")
    if figures and plt.get_backend().lower() != "agg":
        plt.show()
    elif figures:  # there is no screen
        for figure in figures:
            _show.saved += 1
            name = f"{Path(__file__).stem}-figure-{_show.saved}.png"
            figure.savefig(name)
            print(f"[figure saved as {name}]", end="\\n\\n")
    plt.close("all")


_show.saved = 0'''


def as_script(book: nbformat.NotebookNode) -> str:
    """A notebook as a Python script in percent format that prints tables and shows figures."""
    script = copy.deepcopy(book)
    for cell in script.cells:
        if cell.cell_type == "code":
            cell.source = shown(cell.source)
            cell.metadata.clear()  # what a notebook folds, a script shows
    first = next((k for k, c in enumerate(script.cells) if c.cell_type == "code"), 0)
    script.cells.insert(first, nbformat.v4.new_code_cell(SHOW))
    return str(jupytext.writes(script, fmt="py:percent"))


def shown(code: str) -> str:
    """A cell's code with its last value and its figures shown at the end."""
    body = ast.parse(code).body
    last = body[-1] if body else None
    if not isinstance(last, ast.Expr) or code.rstrip().endswith(";"):  # which silences a notebook
        return f"{code}\n_show()"
    call = last.value
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "print":
        return f"{code}\n_show()"
    # ast counts columns in bytes of UTF-8
    lines = [line.encode() for line in code.split("\n")]
    end, stop = (last.end_lineno or last.lineno) - 1, last.end_col_offset
    lines[end] = lines[end][:stop] + b")" + lines[end][stop:]
    line, start = last.lineno - 1, last.col_offset
    lines[line] = lines[line][:start] + b"_show(" + lines[line][start:]
    return b"\n".join(lines).decode()

"""Types of cell options, as Quarto's own validation has them.

Source: Quarto's reference, "Jupyter cell options". A value that PyYAML would bend (`yes`, `on`) and
Quarto's YAML 1.2 would not is refused too, so that both renderers read the same.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from .errors import BuildError
from .source import Cell

TEXT, TEXTS, FLAG, NUMBER, COUNT = "text", "a list of texts", "true or false", "a number", "a count"

# what each option may be; a word in quotes stands for itself
TYPES: dict[str, tuple[str, ...]] = {
    "label": (TEXT,),
    "echo": (FLAG, "'fenced'"),
    "eval": (FLAG,),
    "output": (FLAG, "'asis'"),
    "warning": (FLAG,),
    "include": (FLAG,),
    "code-fold": (FLAG, "'show'"),
    "code-summary": (TEXT,),
    "fig-cap": (TEXT, TEXTS),
    "fig-alt": (TEXT, TEXTS),
    "fig-subcap": (TEXTS,),
    "fig-width": (NUMBER,),
    "fig-height": (NUMBER,),
    "layout-ncol": (COUNT,),
    "tbl-cap": (TEXT,),
}
QUARTO_TAG = "tag:yaml.org,2002:"


def check_options(path: Path, cell: Cell) -> None:
    """Refuse a cell option of another type than Quarto takes, one given twice, or an unknown one.

    Raises
    ------
    BuildError
        Names the file, the line of the option, its value and what it may be.
    """
    text = "\n".join(line.removeprefix("#|").removeprefix(" ") for line in cell.option_lines)
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name, line = str(key.value), cell.line + 1 + key.start_mark.line
        if name not in TYPES:
            known = ", ".join(sorted(TYPES))
            raise BuildError(f"cell option {name!r} is outside the dialect ({known})", path, line)
        if name in seen:
            raise BuildError(f"cell option {name!r} is given twice", path, line)
        seen.add(name)
        if not any(_is(value, kind) for kind in TYPES[name]):
            given = "a list" if isinstance(value, yaml.SequenceNode) else repr(value.value)
            quotes = " (in quotes)" if TEXT in TYPES[name] else ""
            raise BuildError(
                f"cell option {name!r} is {given}; Quarto takes {' or '.join(TYPES[name])}{quotes}",
                path,
                line,
            )


def _is(value: yaml.Node, kind: str) -> bool:
    if kind == TEXTS:
        return isinstance(value, yaml.SequenceNode) and all(_is(v, TEXT) for v in value.value)
    if not isinstance(value, yaml.ScalarNode):
        return False
    plain, tag = value.value, value.tag.removeprefix(QUARTO_TAG)
    if kind == TEXT:
        return tag == "str" and bool(plain.strip())
    if kind == FLAG:
        return tag == "bool" and plain in ("true", "false")
    if kind == NUMBER:
        return tag in ("int", "float") and plain.replace(".", "", 1).isdigit() and float(plain) > 0
    if kind == COUNT:
        return tag == "int" and plain.isdigit() and int(plain) > 0
    return tag == "str" and plain == kind.strip("'")

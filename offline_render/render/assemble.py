"""Put cells and their results back into one Markdown text, as Quarto's engine does."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..book import INLINE, BuildError, Cell, Chapter, Part, Prose, lines_of
from ..run import INLINE_MIME

SPECIAL = re.compile(r"([\\`*_{}\[\]<>#$@~^|])")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
PDF_COLUMNS = 92


@dataclass
class Assembled:
    """Markdown of a whole document and the figure files it names (path -> bytes)."""

    markdown: str
    files: dict[str, bytes]


def assemble(chapter: Chapter, parts: list[Part], outputs: dict[int, list[Any]]) -> Assembled:
    """Markdown with echoed code, printed results, figures and inline values in place."""
    files: dict[str, bytes] = {}
    text: list[str] = []
    for index, part in enumerate(parts):
        if isinstance(part, Prose):
            text.append(prose_with_values(part, outputs.get(index, [])))
        else:
            text.append(_cell(chapter, part, outputs.get(index, []), files))
    return Assembled("\n\n".join(text), files)


def skeleton(parts: list[Part]) -> Assembled:
    """What carries a number, without results: for the numbers of a book whose cells haven't run."""
    text = []
    for part in parts:
        if isinstance(part, Prose):
            text.append(_filled(part.text, lambda: "0"))
        elif part.label.startswith(("fig-", "tbl-")) and part.option("include", True):
            text.append(_float(part.label, "", str(part.options.get(f"{part.label[:3]}-cap", ""))))
    return Assembled("\n\n".join(text), {})


def prose_with_values(part: Prose, outputs: list[Any]) -> str:
    """Prose with each inline expression replaced by its value."""
    if not part.inline:
        return part.text
    answers = outputs[0]["data"][INLINE_MIME]
    if isinstance(answers, str):
        answers = json.loads(answers)
    values = iter(_inline_value(answers[str(k)]["data"]) for k in range(len(part.inline)))
    return _filled(part.text, lambda: next(values))


def _filled(text: str, value: Callable[[], str]) -> str:
    """The text with a value for each inline expression outside code blocks."""
    return "\n".join(
        line if in_code else INLINE.sub(lambda _: value(), line) for line, in_code in lines_of(text)
    )


def _inline_value(data: dict[str, str]) -> str:
    if "text/markdown" in data:
        return data["text/markdown"]
    plain = data.get("text/plain", "")
    if plain[:1] in "'\"":
        plain = str(ast.literal_eval(plain))
    return SPECIAL.sub(r"\\\1", plain)


def _cell(chapter: Chapter, cell: Cell, outputs: list[Any], files: dict[str, bytes]) -> str:
    if not cell.option("include", True):
        return ""
    blocks: list[str] = []
    if cell.option("echo", True) and cell.code.strip():
        blocks.append(_echo(chapter, cell))
    if cell.option("output", True) is not False:
        blocks += _outputs(chapter, cell, outputs, files)
    return "\n\n".join(blocks)


def _echo(chapter: Chapter, cell: Cell) -> str:
    code = cell.code.strip("\n")
    long = max((len(line) for line in code.split("\n")), default=0)
    if long > PDF_COLUMNS:
        raise BuildError(
            f"code line of {long} characters; {PDF_COLUMNS} fit the PDF", chapter.path, cell.line
        )
    fence = "`" * max(3, 1 + max((len(m) for m in re.findall(r"`+", code)), default=0))
    block = f"{fence}{{.python .cell-code}}\n{code}\n{fence}"
    if cell.option("code-fold", False):
        summary = str(cell.option("code-summary", "Code")).replace('"', "&quot;")
        return f'::: {{.hb-fold summary="{summary}"}}\n{block}\n:::'
    return block


def _outputs(
    chapter: Chapter, cell: Cell, outputs: list[Any], files: dict[str, bytes]
) -> list[str]:
    blocks: list[str] = []
    figures: list[str] = []
    tables: list[str] = []
    for out in _joined(outputs):
        if out["output_type"] == "stream":
            if out["name"] == "stderr" and not cell.option("warning", True):
                continue
            blocks.append(_printed(chapter, cell, out["text"], out["name"]))
            continue
        data = out.get("data", {})
        if INLINE_MIME in data:
            continue
        if "image/svg+xml" in data or "image/png" in data:
            figures.append(_figure_file(chapter, cell, data, len(figures) + 1, files))
        elif "text/markdown" in data:
            tables.append(data["text/markdown"])
            if not cell.label.startswith("tbl-"):
                blocks.append(f"::: {{.cell-output .cell-output-display}}\n{tables[-1]}\n:::")
        elif "text/html" in data:
            raise BuildError(
                f"cell {cell.label!r} shows an HTML-only object, which the PDF can't; "
                "wrap a DataFrame in table(...), print() a summary",
                chapter.path,
                cell.line,
            )
        elif "text/plain" in data:
            blocks.append(_printed(chapter, cell, data["text/plain"], "display"))
    if cell.label.startswith("tbl-"):
        if not tables:
            raise BuildError(f"cell {cell.label!r} shows no table", chapter.path, cell.line)
        blocks.append(_float(cell.label, "\n\n".join(tables), str(cell.options["tbl-cap"])))
    if figures:
        blocks.append(_figures(chapter, cell, figures))
    elif cell.label.startswith("fig-"):
        raise BuildError(f"cell {cell.label!r} shows no figure", chapter.path, cell.line)
    return blocks


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs in which a text that came in several pieces is one."""
    out: list[Any] = []
    for one in outputs:
        stream = ("stream", one.get("name"))
        if out and stream == (one["output_type"], out[-1].get("name")):
            out[-1] = {**out[-1], "text": out[-1]["text"] + one["text"]}
            continue
        out.append(one)
    return out


def _printed(chapter: Chapter, cell: Cell, text: str, name: str) -> str:
    text = ANSI.sub("", text).rstrip("\n")
    long = max((len(line) for line in text.split("\n")), default=0)
    if long > PDF_COLUMNS:
        raise BuildError(
            f"cell {cell.label!r} prints a line of {long} characters; {PDF_COLUMNS} fit the PDF",
            chapter.path,
            cell.line,
        )
    fence = "`" * max(3, 1 + max((len(m) for m in re.findall(r"`+", text)), default=0))
    return f"::: {{.cell-output .cell-output-{name}}}\n{fence}\n{text}\n{fence}\n:::"


def _figure_file(
    chapter: Chapter, cell: Cell, data: dict[str, Any], count: int, files: dict[str, bytes]
) -> str:
    name = f"{chapter.key}_files/{cell.label}-{count}"
    if "image/svg+xml" in data:
        svg = data["image/svg+xml"]
        files[name + ".svg"] = ("".join(svg) if isinstance(svg, list) else svg).encode()
        return name + ".svg"
    files[name + ".png"] = base64.b64decode(data["image/png"])
    return name + ".png"


def _figures(chapter: Chapter, cell: Cell, figures: list[str]) -> str:
    if not cell.label.startswith("fig-"):
        raise BuildError(
            f"cell {cell.label!r} shows a figure without label, caption and alt text",
            chapter.path,
            cell.line,
        )
    alts = cell.options["fig-alt"]
    alts = alts if isinstance(alts, list) else [alts]
    if len(alts) != len(figures):
        raise BuildError(
            f"cell {cell.label!r} shows {len(figures)} figures and has {len(alts)} alt texts",
            chapter.path,
            cell.line,
        )
    subcaps = cell.options.get("fig-subcap") or [""] * len(figures)
    images = [_image(path, alt) for path, alt in zip(figures, alts, strict=True)]
    if len(images) > 1:
        columns = str(cell.option("layout-ncol", 1))
        inner = "\n\n".join(
            f"::: {{.hb-panel}}\n{image}\n\n{_panel_caption(k, cap)}\n:::"
            for k, (image, cap) in enumerate(zip(images, subcaps, strict=True))
        )
        body = f':::: {{.hb-panels columns="{columns}"}}\n{inner}\n::::'
    else:
        body = images[0]
    return _float(cell.label, body, str(cell.options["fig-cap"]))


def _panel_caption(k: int, caption: str) -> str:
    # without the backslash it would begin a list
    return f"\\({chr(ord('a') + k)}) {caption}" if caption else ""


def _image(path: str, alt: str) -> str:
    quoted = str(alt).replace("\\", "\\\\").replace('"', '\\"')
    return f'![]({path}){{fig-alt="{quoted}"}}'


def _float(label: str, body: str, caption: str) -> str:
    return f"::::: {{#{label} .hb-float}}\n{body}\n\n:::: {{.hb-caption}}\n{caption}\n::::\n:::::"

"""The dialect that both renderers support, and the check that a document keeps to it."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import BuildError
from .options import check_options
from .source import Cell, Part, Prose, lines_of, split

CLASSES = {
    "callout-note", "callout-tip", "callout-warning", "callout-important", "callout-caution",
    "panel-tabset", "content-visible", "content-hidden", "column-margin", "aside",
    "quiz", "hint", "reflection", "model-answer", "answer-key", "unnumbered", "unlisted",
    "appendix", "objectives", "summary", "explorer",
    "assessment", "needs", "optional", "proof", "exercise", "solution", "check",
    "doors", "door", "book-index",
}  # fmt: skip
ATTRIBUTES = {
    "title", "collapse", "when-format", "unless-format", "fig-alt", "width", "fig-cap", "summary",
    "kind", "within", "unit",
}  # fmt: skip
DIV_IDS = ("refs", "sec-", "fig-", "tbl-", "eq-", "quiz-", "reflection-", "exercise-")
DIV = re.compile(r"^\s*:{3,}\s*\{(?P<attrs>[^}]*)\}\s*$")
BARE_DIV = re.compile(r"^\s*:{3,}\s*(?P<name>[A-Za-z][\w-]*)\s*$")
SHORTCODE = re.compile(r"\{\{<.*?>\}\}")
RAW = re.compile(r"\{=\w+\}")
HTML_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9-]*(\s[^<>]*)?/?>")
CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
MATH_SPAN = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S)
HEADING = re.compile(r"^#{1,6}\s+(?P<words>.+)$")
LABEL_PREFIX = re.compile(r"^(fig|tbl)-[a-z0-9-]+$")


def check_dialect(path: Path) -> None:
    """Raise ``BuildError`` with file and line at the first construct outside the dialect."""
    labels: dict[str, int] = {}
    parts = split(path)
    sections = _section_ids(parts)
    for part in parts:
        if isinstance(part, Cell):
            _check_cell(path, part)
            if "label" in part.options:
                label = part.label
                if label in labels:
                    raise BuildError(
                        f"label {label!r} stands at line {labels[label]} too; labels are unique",
                        path,
                        part.line,
                    )
                if label in sections:
                    raise BuildError(
                        f"label {label!r} is also the id that the heading at line "
                        f"{sections[label]} gets by itself; rename the label, or give the heading "
                        "an id",
                        path,
                        part.line,
                    )
                labels[label] = part.line
        else:
            _check_prose(path, part)


def _section_ids(parts: list[Part]) -> dict[str, int]:
    """Ids that pandoc gives to headings which name none, with their lines."""
    found: dict[str, int] = {}
    for part in parts:
        if isinstance(part, Cell):
            continue
        for offset, (line, in_code) in enumerate(lines_of(part.text)):
            heading = None if in_code else HEADING.match(line)
            if heading and "{#" not in line:
                found.setdefault(_automatic_id(heading["words"]), part.line + offset)
    return found


def _automatic_id(words: str) -> str:
    """Pandoc's `auto_identifiers`: lower case, hyphens for blanks, letters first."""
    plain = re.sub(r"\{[^}]*\}\s*$", "", words)
    kept = re.sub(r"[^\w\s.-]", "", plain.lower())
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", kept.strip()))


def _check_cell(path: Path, cell: Cell) -> None:
    check_options(path, cell)
    label = cell.label
    is_figure = label.startswith("fig-") or "fig-cap" in cell.options
    if is_figure:
        for needed in ("label", "fig-cap", "fig-alt"):
            if needed not in cell.options:
                raise BuildError(f"figure cell {label!r} lacks #| {needed}", path, cell.line)
        if not LABEL_PREFIX.match(label):
            raise BuildError(f"figure label {label!r} must read fig-some-name", path, cell.line)
    if "tbl-cap" in cell.options and not label.startswith("tbl-"):
        raise BuildError("a cell with tbl-cap needs a label tbl-some-name", path, cell.line)
    if label.startswith("tbl-") and "tbl-cap" not in cell.options:
        raise BuildError(f"table cell {label!r} lacks #| tbl-cap", path, cell.line)


def _check_prose(path: Path, prose: Prose) -> None:
    was_code = in_math = False
    tabset = 0  # colons of the open tab set
    for offset, (line, in_code) in enumerate(lines_of(prose.text)):
        number = prose.line + offset
        opens, was_code = in_code and not was_code, in_code
        if opens and "{" in line and not re.search(r"\{\.[\w-]+\}", line):
            raise BuildError("only {python} cells and plain code blocks", path, number)
        if in_code:
            continue
        if line.count("$$") % 2:
            in_math = not in_math
            continue
        if in_math:
            continue
        if tabset and line.strip() == ":" * tabset:
            tabset = 0
        if tabset and re.match(r"#{1,3}\s", line):
            raise BuildError(
                "the title of a tab needs four signs (####): on paper Quarto would number it as a "
                "section",
                path,
                number,
            )
        if SHORTCODE.search(line):
            raise BuildError("shortcodes are outside the dialect", path, number)
        if (div := DIV.match(line)) is not None:
            if ".panel-tabset" in div["attrs"]:
                tabset = len(line.strip()) - len(line.strip().lstrip(":"))
            _check_attributes(path, number, div["attrs"])
            continue
        if (bare := BARE_DIV.match(line)) is not None:
            _check_attributes(path, number, "." + bare["name"])
            continue
        plain = MATH_SPAN.sub("", CODE_SPAN.sub("", line))
        if RAW.search(line):
            raise BuildError("raw HTML, TeX or Typst is outside the dialect", path, number)
        if (tag := HTML_TAG.search(plain)) and not tag.group(0).startswith("<http"):
            raise BuildError(f"raw HTML {tag.group(0)!r} is outside the dialect", path, number)


def _check_attributes(path: Path, number: int, text: str) -> None:
    attributes = re.findall(r'([\w-]+)\s*=\s*(?:"[^"]*"|\'[^\']*\'|[^\s}]+)', text)
    rest = re.sub(r'[\w-]+\s*=\s*("[^"]*"|\'[^\']*\'|[^\s}]+)', "", text)
    for name in attributes:
        if name not in ATTRIBUTES:
            raise BuildError(f"attribute {name!r} is outside the dialect", path, number)
    for word in rest.split():
        if word.startswith(".") and word[1:] not in CLASSES:
            raise BuildError(f"class {word!r} is outside the dialect", path, number)
        if word.startswith("#") and not word[1:].startswith(DIV_IDS):
            raise BuildError(f"id {word!r} is outside the dialect", path, number)

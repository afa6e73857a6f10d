"""What pandoc leaves to do on formulas, before and after it has written them for page and paper.

Spaces are TeX's: thin ones around a function's name, none within a number or inside bars.
"""

from __future__ import annotations

import re
from itertools import cycle
from xml.etree import ElementTree

from ..speech import read_tex

THOUSANDS = re.compile(r"(?<=\d)\{,\}(?=\d{3})")
#: The comma within a number as pandoc writes it, which Typst would set with spaces about it.
COMMA = ' upright(",") '
GROUPED = re.compile(rf"(?<![\w.])\d{{1,3}}(?:{re.escape(COMMA)}\d{{3}})+")
BAR = re.compile(r"(?<!\\)(?<!\\left)(?<!\\right)\|")
SIZED = re.compile(r"\\(?:big|Big|bigg|Bigg)(l|r)(?![a-zA-Z])")
OPERATOR_NAME = re.compile(r"\\operatorname\{(\w+)\}")
APPLY = "\u2061"
THIN = "0.167em"
INFIX = {"=", "∼", "+", "-", "−", "≈", "≤", "≥", "<", ">"}
#: Characters up to which a formula in a sentence stays on one line.
UNBROKEN = 28
TORN = re.compile(r'(\(?)(<math display="inline".*?</math>)([.,;:!?)’”]*)', re.S)


def readable_tex(tex: str) -> str:
    """TeX in which pandoc knows a number by its comma and a pair of bars by its sides."""
    tex = THOUSANDS.sub(r"\\text{,}", tex)
    if len(BAR.findall(tex)) % 2 == 0:
        sides = cycle(["\\left|", "\\right|"])
        tex = BAR.sub(lambda _: next(sides), tex)
    return tex


def print_tex(tex: str) -> str:
    """The same for Typst, where brackets of a given size would count as letters."""
    sides = {"l": "\\left", "r": "\\right"}
    return SIZED.sub(lambda match: sides[match[1]], readable_tex(tex))


def tidy_typst(code: str, tex: str) -> str:
    """Pandoc's Typst with functions' names as operators, and a line's first sign as one between."""
    for name in set(OPERATOR_NAME.findall(tex)):
        code = code.replace(f'"{name}"', f'op("{name}")')
    code = GROUPED.sub(lambda number: f'"{number[0].replace(COMMA, ",")}"', code)
    return re.sub(r"(&\s*(?:quad\s+)?)([+−-])(?= )", r'\1"" \2', code)


def tidy_mathml(page: str) -> str:
    """A page whose MathML has TeX's spaces, and whose inline formulas keep their punctuation."""
    page = re.sub(r"<math .*?</math>", lambda match: _tidy(match[0]), page, flags=re.S)
    return TORN.sub(_held, page)


def _held(match: re.Match[str]) -> str:
    before, formula, after = match.groups()
    if not before and not after:
        return match[0]
    return f'<span class="held">{before}{formula}{after}</span>'


def _tidy(text: str) -> str:
    # A copy in TeX has no use here, and screen readers would read it twice.
    text = re.sub(
        r'<annotation encoding="application/x-tex">.*?</annotation>', "", text, flags=re.S
    )
    text = text.replace("&nbsp;", "\u00a0")  # as Quarto writes it; XML knows no such name
    math = ElementTree.fromstring(text.replace('xmlns="http://www.w3.org/1998/Math/MathML"', "", 1))
    for parent in list(math.iter()):
        if parent.tag in ("mtd", "mrow", "semantics", "math", "msqrt"):
            _space_functions(parent)
        if parent.tag == "mtd":
            _begin_infix(parent)
        if parent.tag == "mtable" and parent.find(".//mtd[@columnalign='right']") is not None:
            parent.set("displaystyle", "true")  # lines of a display, not a matrix
        if parent.tag == "msqrt":
            _fill_root(parent)
        if parent.tag in ("msup", "msubsup") and parent[0].tag == "mover":
            _lower_accent(parent)
    _unwrap(math)
    math.set("xmlns", "http://www.w3.org/1998/Math/MathML")
    return ElementTree.tostring(math, encoding="unicode")


def _unwrap(math: ElementTree.Element) -> None:
    """Leave out what groups one thing alone: it shows nothing, and a page has hundreds."""
    for parent in [*math.iter()]:
        for place, child in enumerate(parent):
            while child.tag in ("mrow", "semantics") and len(child) == 1 and not child.attrib:
                child = child[0]
            parent[place] = child
            if (
                child.tag == "mrow"
                and [c.tag for c in child] == ["mi", "mn"]
                and child[0].text == "−"
            ):
                # the sign of an exponent belongs to its number, and no space parts them
                number = ElementTree.Element("mn")
                number.text = f"−{child[1].text}"
                parent[place] = number
    if len(math) == 1 and math[0].tag == "mrow" and not math[0].attrib:
        math[:] = list(math[0])


def _begin_infix(cell: ElementTree.Element) -> None:
    """A sign at the start of a cell stands between two sides."""
    while len(cell) and cell[0].tag == "mrow":
        cell = cell[0]
    first = next((child for child in cell if child.tag != "mspace"), None)
    if first is not None and first.tag in ("mo", "mi") and first.text in INFIX:
        first.tag = "mo"  # pandoc takes a plus with nothing before it for a letter
        first.set("form", "infix")


def _fill_root(root: ElementTree.Element) -> None:
    """A strut as high as the sign: Chromium lets what the sign has too much hang below the line."""
    tall = any(node.tag.startswith(("msub", "msup", "mfrac")) for node in root.iter())
    height, depth = ("0.9em", "0.35em") if tall else ("0.72em", "0.2em")
    root.append(ElementTree.Element("mspace", width="0", height=height, depth=depth))


def _lower_accent(script: ElementTree.Element) -> None:
    """An exponent stands beside the letter and not beside its hat."""
    padded = ElementTree.Element("mpadded", height="0.62em")
    padded.append(script[0])
    script[0] = padded


def _is_function(node: ElementTree.Element) -> bool:
    return node.tag == "mrow" and len(node) == 2 and node[1].text == APPLY


def _opens(node: ElementTree.Element) -> bool:
    while node.tag == "mrow" and len(node):
        node = node[0]
    return node.tag == "mo"


def _space_functions(parent: ElementTree.Element) -> None:
    children: list[ElementTree.Element] = []
    for child in list(parent):
        if children and _apart(children[-1], child):
            children.append(ElementTree.Element("mspace", width=THIN))
        children.append(child)
    parent[:] = children


def _apart(one: ElementTree.Element, two: ElementTree.Element) -> bool:
    """Whether a function's name needs a thin space between these two."""
    if _is_function(two):
        return not _is_sign(one)
    return _is_function(one) and not _opens(two)


def _is_sign(node: ElementTree.Element) -> bool:
    """Whether a node brings its own space, or none is wanted after it."""
    return node.tag == "mspace" or (node.tag == "mo" and node.get("form") != "postfix")


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


def formula_code(kind: str, tex: str, body: str) -> str:
    """A formula for Typst, ``body``, with its reading in words."""
    display = kind == "DisplayMath"
    block = "true" if display else "false"
    code = f"math.equation(block: {block}, alt: {quoted(read_tex(tex))}, {body})"
    # A short formula in a sentence stays on one line.
    short = not display and len(re.sub(r"\\[a-z]+|[{}_^\s]", "x", tex)) <= UNBROKEN
    return f"#box({code});" if short else f"#{code};"

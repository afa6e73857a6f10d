"""Markdown tables, aligned."""

from __future__ import annotations

#: What stands in a table for a value that is missing.
MISSING = "–"


def layout(columns: list[tuple[str, list[str], bool]]) -> str:
    """A pipe table from titles, cells and whether a column stands to the right."""
    widths = [max([3, len(t), *(len(c) for c in cells)]) for t, cells, _ in columns]
    lines = [
        "| "
        + " | ".join(pad(t, w, r) for (t, _, r), w in zip(columns, widths, strict=True))
        + " |",
        "|"
        + "|".join(
            ("-" * (w + 1) + ":") if right else (":" + "-" * (w + 1))
            for (_, _, right), w in zip(columns, widths, strict=True)
        )
        + "|",
    ]
    for row in zip(*(cells for _, cells, _ in columns), strict=True):
        padded = (pad(c, w, r) for c, w, (_, _, r) in zip(row, widths, columns, strict=True))
        lines.append("| " + " | ".join(padded) + " |")
    return "\n".join(lines)


def pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)

"""The scanner of `reading`: a place in a formula's tokens, and the ways to move it."""

from __future__ import annotations

import re
from collections.abc import Collection

from . import words
from .phrases import join


class Tokens:
    """The tokens of one formula, read from left to right."""

    def __init__(self, tex: str) -> None:
        thousands = re.sub(r"(?<=\d)\\,(?=\d{3})", "{,}", tex)
        self.tex = tex
        self.tokens = words.TOKEN.findall(thousands)
        self.pos = 0
        self.stops: frozenset[str] = frozenset()
        self.previous = ""

    def item(self) -> str:
        """Read one item of a sequence aloud; the grammar says what an item is."""
        raise NotImplementedError

    def peek(self) -> str:
        """Return the next token that is not a space; the empty string at the end."""
        while self.pos < len(self.tokens) and self.tokens[self.pos].isspace():
            self.pos += 1
        return self.tokens[self.pos] if self.pos < len(self.tokens) else ""

    def next(self) -> str:
        """Return the next token and move past it."""
        token = self.peek()
        if not token:
            raise self.error("it ends too early: close its braces or give the missing argument")
        self.pos += 1
        return token

    def expect(self, token: str) -> None:
        """Move past `token`, which must come next."""
        if self.peek() != token:
            where = self.peek() or "its end"
            raise self.error(f"{token} is missing before {where}: balance its braces")
        self.pos += 1

    def error(self, problem: str) -> ValueError:
        """Return the error that names the formula, to be raised."""
        return ValueError(f"cannot read the formula {self.tex.strip()} aloud: {problem}")

    def raw_argument(self) -> str:
        """Return the source between a pair of braces and move past them."""
        self.expect("{")
        start, depth = self.pos, 1
        while depth:
            if self.pos == len(self.tokens):
                raise self.error("a brace stays open: close it")
            depth += {"{": 1, "}": -1}.get(self.tokens[self.pos], 0)
            self.pos += 1
        return "".join(self.tokens[start : self.pos - 1])

    def sequence(self, stops: Collection[str] = (), within: bool = False) -> list[str]:
        """Read items up to a stop; `within` also keeps the stops of the parentheses around."""
        outer = self.stops
        self.stops = frozenset(stops) | (outer if within else frozenset())
        parts: list[str] = []
        while (token := self.peek()) and token not in self.stops | {"}", r"\end", r"\right"}:
            parts.append(self.item())
            self.previous = parts[-1] or self.previous
        self.stops = outer
        return parts

    def enclosed(self, closers: set[str]) -> list[str] | None:
        """Read up to a closing delimiter; None, and no move, when there is none."""
        start = self.pos
        body = self.sequence(closers, within=True)
        if self.peek() in closers:
            return body
        self.pos = start
        return None

    def arguments(self) -> list[str] | None:
        """Read "(a, b)" after a function, as its parts; None when no parenthesis follows."""
        start = self.pos
        while self.peek() in words.SILENT:
            self.pos += 1
        left = self.peek() == r"\left"
        self.pos += left
        opening = self.peek()
        if opening in words.CLOSERS:
            self.pos += 1
            parts = self.sequence() if left else self.enclosed(words.CLOSERS[opening])
            if parts is not None and not (left and self.peek() != r"\right"):
                self.pos += 1 + left
                return [join(part.split("\0")) for part in "\0".join(parts).split("\0,\0")]
        self.pos = start
        return None

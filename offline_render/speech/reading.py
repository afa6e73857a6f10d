r"""Read a TeX formula aloud: the alternative text that a tagged PDF asks of every equation.

`read_tex(r"y_{ij} = \beta_0 + u_j")` gives "y sub i j equals beta sub 0 plus u sub j".

The reader knows the TeX of this book and nothing else. An unknown command stops the build, because
a listener can't tell a wrong reading from a right one. To teach it a command, add a row to
`speech/words.py`. Bold and upright letters are read as plain ones, as a lecturer would say them.
"""

from __future__ import annotations

import re

from . import phrases, words
from .phrases import join
from .tokens import Tokens


def read_tex(tex: str) -> str:
    r"""Give the spoken-English reading of a formula.

    Parameters
    ----------
    tex : str
        The formula, without its dollar signs.

    Returns
    -------
    str
        One line of words, numbers and commas.

    Raises
    ------
    ValueError
        If the formula is empty, unbalanced, or uses a command that has no reading yet.
    """
    reading = join(_Reader(tex).everything())
    if not reading:
        raise ValueError("the formula is empty: write it, or remove its dollar signs")
    return reading


class _Reader(Tokens):
    """A recursive-descent reader: each method reads one construct and moves past it."""

    def __init__(self, tex: str) -> None:
        super().__init__(tex)
        self.in_script = 0

    # sequences

    def everything(self) -> list[str]:
        parts = self.sequence()
        if self.peek():
            raise self.error(f"unmatched {self.peek()}: balance its braces and environments")
        return parts

    def item(self) -> str:
        if self.peek() in ("^", "_", "'"):
            return self.scripts("")
        token = self.next()
        if token in words.SILENT:
            return ""
        return self.scripts(self.atom(token))

    def argument(self) -> str:
        token = self.next()
        if token.isdigit() and len(token) > 1:  # TeX takes one digit: \frac12 is one half
            self.pos -= 1
            self.tokens[self.pos : self.pos + 1] = [token[0], token[1:]]
            token = self.next()
        return self.atom(token)

    # one symbol, group or command

    def atom(self, token: str) -> str:
        if token == "{":
            inner = self.sequence()
            self.expect("}")
            return " ".join(inner)
        if token in words.BARS:
            return self.bars(token)
        if token == r"\\":
            return self.line_break()
        if token == ":" and self.peek() == "=":
            self.pos += 1
            return "is defined as"
        if token in words.IN_SCRIPT and self.in_script:
            return words.IN_SCRIPT[token]
        if token in ("(", "["):
            return self.parenthesis(token)
        if token == "N" and "is distributed as" in self.previous:
            return self.normal()
        if token in words.BIG:
            return self.big(token)
        if token in words.FUNCTIONS:
            return self.function(token)
        if token in words.SYMBOLS:
            return words.SYMBOLS[token]
        if token[-1].isdigit():
            return token.replace("{,}", ",")
        if len(token) == 1 and token.isascii() and token.isalpha():
            return token
        return self.command(token)

    def command(self, token: str) -> str:
        if token in words.PLAIN:
            return self.argument()
        if token in words.TEXT:
            return self.text(token)
        if token in words.DROPPED:
            return self.raw_argument()[:0]
        if token in words.ACCENTS:
            return phrases.accent(self.argument(), words.ACCENTS[token])
        if token in phrases.TWO_ARGUMENTS:
            return phrases.TWO_ARGUMENTS[token](self.argument(), self.argument())
        if token in words.ALPHABETS:
            return self.alphabet(token)
        if token in (r"\underbrace", r"\overbrace"):
            body, label = self.argument(), self.optional("_") or self.optional("^")
            return f"{body}, labelled {label}," if label else body
        if token == r"\sqrt":
            return self.root()
        if token == r"\begin":
            return self.environment()
        if token == r"\left":
            return self.fence()
        if token == r"\arg":
            return self.arg_max("arg" + self.next().lstrip("\\"))
        raise self.error(
            f"{token} has no reading: write it otherwise, or add it to speech/words.py"
        )

    def line_break(self) -> str:
        if self.peek() == "[":  # extra space below a line: \\[4pt]
            while self.next() != "]":
                pass
        return ","

    def optional(self, mark: str) -> str:
        """Read the argument after `mark` if that comes next."""
        if self.peek() != mark:
            return ""
        self.pos += 1
        return join([self.argument()])

    def scripts(self, reading: str) -> str:
        while (mark := self.peek()) and mark in "^_'":
            self.pos += 1
            if mark == "'":
                reading += " " + phrases.prime(reading, self.in_script > 0)
                continue
            self.in_script += 1
            script = join([self.argument()])
            self.in_script -= 1
            if mark == "^":
                reading += " " + phrases.power(reading, script, self.in_script > 0)
            else:
                reading += " " + phrases.below(reading, script)
        return reading

    def root(self) -> str:
        degree = ""
        if self.peek() == "[":
            self.pos += 1
            degree = join(self.sequence({"]"}))
            self.expect("]")
        return phrases.root(degree, join([self.argument()]))

    def alphabet(self, token: str) -> str:
        letter = self.raw_argument()
        if token == r"\mathbb":
            return words.BLACKBOARD.get(letter) or self.function(letter)
        return self.normal() if letter == "N" else f"script {letter}"

    # delimiters

    def bars(self, bar: str) -> str:
        body = self.enclosed({words.BARS[bar]})
        if not body:
            return "given"
        self.pos += 1
        return phrases.between_bars(bar, join(body))

    def parenthesis(self, opening: str) -> str:
        body = self.enclosed(words.CLOSERS[opening])
        if body is None:
            return words.SYMBOLS[opening]
        return f"{words.SYMBOLS[opening]} {' '.join(body)} {words.SYMBOLS[self.next()]}"

    def fence(self) -> str:
        opening = self.next()
        body = join(self.sequence())
        self.expect(r"\right")
        closing = self.next()
        if closing in (words.BARS.get(opening), "|") and opening in words.BARS:
            return phrases.between_bars(opening, body)
        if opening == "." and closing in words.BARS:
            return f"{body}, evaluated at {self.optional('_') or 'the stated point'},"
        if "." in (opening, closing):
            return body
        if opening in words.SYMBOLS and closing in words.SYMBOLS:
            return f"{words.SYMBOLS[opening]} {body} {words.SYMBOLS[closing]}"
        raise self.error(f"{opening} and {closing} have no reading: use ( ), [ ], \\{{ \\}} or | |")

    # named functions and operators

    def text(self, token: str) -> str:
        raw = self.raw_argument()
        name = re.sub(r"\\[,;! ]|\s", "", raw)
        if name in words.ARGUMENT_MAX:
            return self.arg_max(name)
        if name == "N" and "is distributed as" in self.previous:
            return self.normal()
        if name in words.FUNCTIONS:
            return self.function(name)
        if token in (r"\mathrm", r"\operatorname", r"\operatorname*"):
            if "\\" in name:
                return join(_Reader(raw).everything())
            arguments = self.arguments()
            return name if arguments is None else f"{name} {phrases.of(arguments)}"
        pieces = re.split(r"(?<!\\)\$", raw)
        spoken = " ".join(read_tex(piece) if i % 2 else piece for i, piece in enumerate(pieces))
        return re.sub(r"\\([$&#_])", r"\1", spoken.replace(r"\%", " percent").replace("~", " "))

    def function(self, name: str) -> str:
        reading = words.FUNCTIONS.get(name, name)
        bare = name.lstrip("\\") if name in words.ONLY_WITH_ARGUMENT else reading
        start = self.pos
        scripted = self.scripts(bare).replace("log sub", "log base")
        arguments = self.arguments()
        if arguments is not None:
            scripted = reading + scripted.removeprefix(bare)
            return f"{scripted} {phrases.of(arguments, paired=reading in words.PAIRED)}"
        if name in words.ONLY_WITH_ARGUMENT:  # used as a plain letter
            self.pos = start
            return bare
        return f"{scripted} of" if name.startswith("\\") else scripted

    def big(self, token: str) -> str:
        reading, limits = words.BIG[token], {"_": "", "^": ""}
        while (mark := self.peek()) in (r"\limits", r"\nolimits", "_", "^"):
            self.pos += 1
            if mark in limits:
                limits[mark] = join([self.argument()])
        reading += phrases.limits(limits["_"], limits["^"], "as" if token == r"\lim" else "over")
        arguments = self.arguments() if token in (r"\max", r"\min") else None
        return f"{reading} {'of' if arguments is None else phrases.of(arguments, paired=True)}"

    def arg_max(self, name: str) -> str:
        if name not in words.ARGUMENT_MAX:
            raise self.error(r"\arg stands alone: write \arg\max or \arg\min")
        over = self.optional("_")
        return f"the {f'value of {over}' if over else 'argument'} that {words.ARGUMENT_MAX[name]}"

    def normal(self) -> str:
        return phrases.normal(self.optional("_"), self.arguments())

    # environments

    def environment(self) -> str:
        name = self.raw_argument()
        kind = name.rstrip("*")
        if kind not in words.ENVIRONMENTS:
            raise self.error(f"{name} has no reading: use aligned, cases or pmatrix")
        if kind in ("array", "alignat"):
            self.raw_argument()
        rows: list[list[str]] = [[]]
        while True:
            rows[-1].append(join(self.sequence({"&", r"\\"})))
            stop = self.next()
            if stop == r"\end":
                break
            if stop == r"\\":
                self.line_break()
                rows.append([])
            elif stop != "&":
                raise self.error(f"unmatched {stop} in the environment {name}: balance its braces")
        if (closing := self.raw_argument()) != name:
            raise self.error(f"environment {name} is closed by {closing}: close it by its own name")
        return phrases.rows(kind, [row for row in rows if any(row)])

"""The decision chart: questions down the left, and what each answer asks for on the right."""

from __future__ import annotations

from typing import Any, NamedTuple

from matplotlib.patches import FancyBboxPatch
from pens import BLUE, INK, RED, SOFT, canvas, drawing, say

WIDTH = 3.95
LEFT, RIGHT, TURN, LEAF = 0.06, 1.88, 1.95, 2.57
STEP, LINE, PAD, GAP, EDGE = 0.3, 0.155, 0.16, 0.27, 0.06
DOWN, ACROSS = "v", ">"


class Leaf(NamedTuple):
    letter: str
    answer: str
    words: str
    ends: bool = False


class Question(NamedTuple):
    words: str
    leaves: tuple[Leaf, ...]
    onward: str = ""

    @property
    def box(self) -> float:
        return LINE * (self.words.count("\n") + 1) + PAD

    @property
    def room(self) -> float:
        """Its own box, or one step for each leaf if that is more."""
        return max(self.box, STEP * (len(self.leaves) - 1) + 0.16)


#: A leaf that ends leads out of the chart; from the others the way goes on down.
CHART = (
    Question("Is the outcome\ncontinuous?",
             (Leaf("A", "no", "other family", ends=True),), "yes"),
    Question("Do rows come\nin groups?",
             (Leaf("B", "no", "linear regression", ends=True),), "yes"),
    Question("Do these groups\nstand for others?",
             (Leaf("C", "no", "fixed groups", ends=True),), "yes: random"),
    Question("How are the\ngroups arranged?",
             (Leaf("D", "one", "random intercept"), Leaf("E", "nested", "one per level"),
              Leaf("F", "crossed", "one per factor"))),
    Question("Do group means\nof x differ?",
             (Leaf("G", "yes", "split x"),)),
    Question("May its effect differ\nbetween groups?",
             (Leaf("H", "yes", "random slope"),)),
    Question("Do rows follow\nin time?",
             (Leaf("I", "yes", "correlation"),)),
    Question("Will likelihood or AIC\ncompare fixed effects?",
             (Leaf("J", "yes", "fit by ML"), Leaf("K", "no", "fit by REML"))),
    Question("A singular fit,\nor a warning?",
             (Leaf("L", "yes", "clinic first"),), "no"),
    Question("Are residuals sound\nat each level?",
             (Leaf("M", "no", "mend first"),), "yes"),
    Question("What do you ask?",
             (Leaf("N", "an effect", "Kenward-Roger"), Leaf("O", "a variance", "mixture"),
              Leaf("P", "a group", "prediction"))),
)  # fmt: skip


def draw_leaves(ax: Any, question: Question, y: float) -> list[tuple[float, float]]:
    """Answers on their lines, and lettered leaves, a square where the way ends."""
    heads = []
    for n, leaf in enumerate(question.leaves):
        at = y + STEP * ((len(question.leaves) - 1) / 2 - n)
        color = RED if leaf.ends else BLUE
        ax.plot([RIGHT, TURN, TURN, LEAF], [y, y, at, at], color=SOFT, lw=1.3)
        say(ax, (TURN + LEAF) / 2, at + 0.09, leaf.answer, fontsize=8.5)
        ax.plot([LEAF + 0.17], [at], "s" if leaf.ends else "o", color=color, ms=14)
        say(ax, LEAF + 0.17, at, leaf.letter, "white", fontsize=9, weight="semibold")
        say(ax, LEAF + 0.34, at, leaf.words, color, ha="left", fontsize=9.5)
        heads.append((LEAF, at))
    return heads


@drawing("choosing")
def choosing() -> Any:
    total = sum(q.room for q in CHART) + GAP * (len(CHART) - 1) + 2 * EDGE
    figure, ax = canvas(WIDTH, total)
    figure.set_layout_engine("none")
    ax.set_position((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(0, total))
    middle, top, before = (LEFT + RIGHT) / 2, total - EDGE, None
    heads: dict[str, list[tuple[float, float]]] = {DOWN: [], ACROSS: []}
    for question in CHART:
        y = top - question.room / 2
        upper = y + question.box / 2
        if before is not None:
            lower, onward = before
            ax.plot([middle, middle], [lower, upper], color=SOFT, lw=1.3)
            say(ax, middle + 0.12, (lower + upper) / 2, onward, ha="left", fontsize=8.5)
            heads[DOWN].append((middle, upper))
        heads[ACROSS] += draw_leaves(ax, question, y)
        ax.add_patch(FancyBboxPatch(
            (LEFT, y - question.box / 2), RIGHT - LEFT, question.box, fc="white", ec=INK, lw=1.2,
            boxstyle="round,pad=0,rounding_size=0.06",
        ))  # fmt: skip
        say(ax, middle, y, question.words, fontsize=9.5, linespacing=1.1)
        before = (y - question.box / 2, question.onward)
        top -= question.room + GAP
    for way, places in heads.items():
        dx, dy = (0, 0.04) if way == DOWN else (-0.04, 0)
        xs, ys = zip(*places, strict=True)
        ax.plot([x + dx for x in xs], [y + dy for y in ys], way, color=SOFT, ms=6)
    return figure

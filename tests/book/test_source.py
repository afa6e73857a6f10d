"""One rule says which lines of a document are code; pandoc is the judge of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_render.book import BuildError, Prose, check_dialect, lines_of, split
from offline_render.render import Pandoc
from offline_render.render.assemble import skeleton
from offline_render.render.downloads import plain_markdown
from offline_render.render.pandoc import nodes

INSIDE = ["```", "````", "~~~", "# no heading", "`{python} 1`", "::: {.quiz}", ":::", "{{< x >}}"]
FENCES = [("```", "```"), ("```r", "```"), ("````", "````"), ("````", "`````"), ("~~~", "~~~~")]
TEXT = ["Words.", "A `span` here.", "```code``` within a sentence."]


def blocks_with(opening: str, closing: str) -> st.SearchStrategy[list[str]]:
    """Code blocks between two fences, with lines inside that don't close them."""
    ticks = opening.rstrip("r")
    inside = [line for line in INSIDE if set(line) != {ticks[0]} or len(line) < len(ticks)]
    lines = st.lists(st.sampled_from(inside), min_size=1, max_size=3)
    return lines.map(lambda inner: [opening, *inner, closing])


blocks = st.one_of(blocks_with(*fences) for fences in FENCES)
documents = st.lists(st.one_of(blocks, st.sampled_from(TEXT).map(lambda line: [line])), min_size=1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Pandoc:
    return Pandoc(tmp_path_factory.mktemp("pandoc"))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(documents)
def test_pandoc_takes_the_same_lines_for_code(engine: Pandoc, parts: list[list[str]]) -> None:
    text = "\n\n".join("\n".join(part) for part in parts)
    found = [node["c"][1] for node in nodes(engine.read(text)["blocks"], "CodeBlock")]
    assert found == ["\n".join(part[1:-1]) for part in parts if len(part) > 1]
    marked = [line for line, in_code in lines_of(text) if in_code]
    assert marked == [line for part in parts if len(part) > 1 for line in part]


INNER = "```\n# no heading\n::: {.quiz}\n`{python} 1`\n{{< x >}}\n```"
LONGER = f"````\n{INNER}\n````\n"


def test_every_step_spares_a_block_within_a_longer_fence(tmp_path: Path) -> None:
    path = tmp_path / "x.qmd"
    path.write_text(f"# T\n\n{LONGER}\n`{{python}} 2`\n", encoding="utf-8")
    check_dialect(path)
    parts = split(path)
    (prose,) = parts
    assert isinstance(prose, Prose) and [e for _, e in prose.inline] == ["2"]
    assert LONGER in skeleton(parts).markdown and skeleton(parts).markdown.endswith("\n0\n")
    assert LONGER.strip() in plain_markdown(prose.text, {}, {})


def test_what_follows_a_longer_fence_is_checked_again(tmp_path: Path) -> None:
    path = tmp_path / "x.qmd"
    path.write_text(f"# T\n\n````\n```\n````\n\n{{{{< x >}}}}\n{LONGER}", encoding="utf-8")
    with pytest.raises(BuildError, match=r"x\.qmd:7: shortcodes"):
        check_dialect(path)

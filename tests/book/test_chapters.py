"""Every document of the real book: its dialect, its prose, its results."""

from __future__ import annotations

import ast
import json
import re
from codeop import compile_command
from pathlib import Path

import pytest
from exercises import Exercise, cells, exercises
from side_by_side import blocks

from offline_render.book import BuildError, Cell, check_dialect, load_project, split
from offline_render.book.dialect import CODE_SPAN, MATH_SPAN
from pylmm_helpers.lme4.agreement import chapter_labels

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [c.path for c in load_project(ROOT).chapters] + [ROOT / "chapters" / "_template.qmd"]
CHAPTERS = [path for path in DOCUMENTS if re.match(r"\d\d-|_template", path.name)]
#: Documents whose chunks are pasted one after another.
PASTED = [path for path in DOCUMENTS if re.match(r"\d\d-|[GH]-|_template", path.name)]
#: Names for what a single figure or table is made of.
PARTS = {
    "_", "ax", "axes", "columns", "digits", "fig", "formula", "in_r", "left_ax", "lines", "names",
    "right_ax", "rng", "rows", "said", "shown", "fixed_part",
    "studies",
}  # fmt: skip
DECIMAL = re.compile(r"(?<![\w.])(?<!CC BY )\d+\.\d+(?!\.\d|\w)")
PERCENT = re.compile(r"(?<![\w.])\d+(?:\.\d+)?\s?(?:%|per cent)")
# Conventional levels and shares say nothing about the data.
CONVENTIONS = {"50", "80", "90", "95", "99", "100"}
CAPTIONS = ("fig-cap", "fig-alt", "tbl-cap", "fig-subcap")


def truths() -> set[str]:
    """Numbers that the codebook states as truths of the generated data."""
    package = json.loads((ROOT / "datasets" / "datapackage.json").read_text(encoding="utf-8"))
    stated = json.dumps([r.get("truth") for r in package["resources"]])
    return set(re.findall(r"\d+\.\d+", stated))


def typed_results(path: Path, allowed: set[str]) -> list[str]:
    """Places in a document's prose and captions where a result seems typed."""
    found = []
    for part in split(path):
        if isinstance(part, Cell):
            for name in CAPTIONS:
                found += [
                    f"{path.name}:{part.line}: {hit} in {name}"
                    for hit in _hits(str(part.options.get(name, "")), allowed)
                ]
            continue
        text = re.sub(r"^ *(```+|~~~+).*?^ *\1", _blank, part.text, flags=re.S | re.M)
        text = MATH_SPAN.sub(_blank, CODE_SPAN.sub(_blank, text))
        text = re.sub(r"\]\([^)]*\)|https?://\S+", _blank, text)
        text = re.sub(r'\bwithin="[^"]*"', _blank, text)  # how near an answer has to be
        for offset, line in enumerate(text.split("\n")):
            found += [f"{path.name}:{part.line + offset}: {hit}" for hit in _hits(line, allowed)]
    return found


def _blank(match: re.Match[str]) -> str:
    return "\n" * match.group(0).count("\n")


def _hits(text: str, allowed: set[str]) -> list[str]:
    hits = [h for h in DECIMAL.findall(text) if h not in allowed]
    for hit in PERCENT.findall(text):
        if re.match(r"\d+(\.\d+)?", hit).group(0) not in CONVENTIONS | allowed:  # type: ignore[union-attr]
            hits.append(hit)
    return hits


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_document_keeps_to_the_dialect(path: Path) -> None:
    check_dialect(path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_no_result_is_typed(path: Path) -> None:
    assert typed_results(path, truths()) == []


def test_the_search_for_typed_results_finds_them_and_spares_code_and_math(tmp_path: Path) -> None:
    path = tmp_path / "x.qmd"
    path.write_text(
        "# T\n\nThe ICC is 0.21, or 21% of it.\nFine: $0.21$, `0.21`, a 95% interval, "
        "`{python} 0.5`.\n\n```\n0.21\n```\n\n"
        '```{python}\n#| label: fig-x\n#| fig-cap: "About 3.5 kg."\n#| fig-alt: "A."\n1.5\n```\n',
        encoding="utf-8",
    )
    assert typed_results(path, set()) == [
        "x.qmd:3: 0.21", "x.qmd:3: 21%", "x.qmd:10: 3.5 in fig-cap",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["<b>x</b>", "{{< include x >}}", "::: {.nonsense}\nx\n:::", "```{=html}\nx\n```"]
)
def test_a_construct_outside_the_dialect_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.qmd"
    path.write_text(f"# T\n\n{text}\n", encoding="utf-8")
    with pytest.raises(BuildError, match=r"x\.qmd:3"):
        check_dialect(path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_chunks_are_short_and_one_sentence_stands_on_a_line(path: Path) -> None:
    for part in split(path):
        if isinstance(part, Cell):
            lines = [line for line in part.code.strip().split("\n") if line.strip()]
            assert len(lines) <= 15, f"{path.name}:{part.line}: {len(lines)} lines of code"
            continue
        text = re.sub(r"^ *(```+|~~~+).*?^ *\1", _blank, part.text, flags=re.S | re.M)
        for offset, line in enumerate(text.split("\n")):
            plain = MATH_SPAN.sub("m", CODE_SPAN.sub("c", line))
            # the words for a drawing that can't be seen are an attribute, which takes one line
            if plain.startswith(("|", "#", ":", "![")):
                continue
            breaks = re.findall(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)[a-z)]\. [A-Z]", plain)
            assert not breaks, f"{path.name}:{part.line + offset}: two sentences on one line"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_no_sentence_stands_twice(path: Path) -> None:
    prose = "".join(part.text for part in split(path) if not isinstance(part, Cell))
    lines = re.sub(r"^ *(```+|~~~+).*?^ *\1", "", prose, flags=re.S | re.M).splitlines()
    said = [line.strip() for line in lines if len(line) >= 40 and not line.startswith(("|", ":"))]
    assert [line for line in set(said) if said.count(line) > 1] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_code_can_be_pasted_into_a_python_prompt(path: Path) -> None:
    for part in split(path):
        if not isinstance(part, Cell) or not part.option("eval", True):
            continue
        entered: list[str] = []
        for line in [*part.code.strip("\n").split("\n"), ""]:
            entered.append(line)
            # What the prompt does: a statement is complete, unfinished (None) or refused.
            try:
                complete = compile_command("\n".join(entered), symbol="single")
            except SyntaxError as error:
                pytest.fail(f"{path.name}:{part.code_line}: the prompt refuses {line!r}: {error}")
            if complete is not None:
                entered = []
        assert not any(entered), f"{path.name}:{part.code_line}: unfinished at the end"


def test_every_chapter_ran_and_its_models_agree_with_lme4(book: Path) -> None:
    page = (book / "chapters" / "B-agreement.html").read_text(encoding="utf-8")
    records = sorted((ROOT / ".handbook" / "agreement").glob("*.json"))
    labels = {json.loads(p.read_text(encoding="utf-8"))["label"] for p in records}
    used = {
        label
        for path in DOCUMENTS
        if not path.name.startswith("_")
        for label in chapter_labels(path)
    }
    assert used
    assert used <= labels
    said = re.search(r"Of the (\d+) models,\s(\d+)\sagree\swith\slme4\sin\sall", page)
    assert said and said.groups() == (str(len(used)), str(len(used)))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.name)
def test_every_chapter_follows_the_contract(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+?)(?: \{[^}]*\})?$", text, flags=re.M)
    for needed in (
        "Objectives", "Python and R side by side", "Common mistakes", "Check yourself", "Exercises",
        "Summary", "Agreement with lme4",
    ):  # fmt: skip
        assert titles.count(needed) == 1, f"{path.name} lacks the section {needed!r}"
    assert text.count("{.quiz") >= 3 or path.name == "_template.qmd"
    assert "{.quiz" in text and "{.reflection" in text and ".model-answer" in text
    assert "::: {.needs}" in text and "::: {.objectives}" in text and "::: {.summary}" in text
    assert "crosscheck(" in text and "agreement_summary(" in text
    assert "session" not in " ".join(re.findall(r"^#+ .*$", text.lower(), flags=re.M))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.name)
def test_every_chapter_has_exercises_of_several_kinds(path: Path) -> None:
    found = exercises(path)
    assert 2 <= len(found) <= 4
    assert len({exercise.kind for exercise in found}) >= 2
    section = path.read_text(encoding="utf-8").partition("\n## Exercises")[2].partition("\n## ")[0]
    assert section.count("{.exercise") == len(found), "they stand in the section of that name"


@pytest.mark.parametrize(
    "exercise",
    [pytest.param(e, id=e.identifier) for path in CHAPTERS for e in exercises(path)],
)
def test_every_exercise_has_a_task_a_hint_and_a_solution_that_computes(exercise: Exercise) -> None:
    assert exercise.identifier.startswith("exercise-")
    assert {"task", "hint", "solution"} <= set(exercise.parts)
    solution = exercise.parts["solution"]
    chunks = cells(solution)
    assert chunks, "its solution computes"
    assert re.sub(r"```.*?```", "", solution, flags=re.S).strip(), "and says the answer in words"
    for chunk in chunks:
        label = re.search(r"^#\| label: (exercise-[\w-]+)$", chunk, re.M)
        assert label, "a solution prints: it has no figure or table of its own"
    if "check" in exercise.parts:
        options = re.findall(r"^- \[( |x)\] ", exercise.parts["check"], re.M)
        value = re.search(r"`\{python\} [^`]+`$", exercise.parts["check"].strip())
        assert options or value, "its check ends in an inline expression, or has options"


def test_every_kind_of_exercise_is_used_and_no_name_stands_twice() -> None:
    found = [exercise for path in DOCUMENTS for exercise in exercises(path)]
    assert {exercise.kind for exercise in found} == {"again", "decide", "mistake"}
    names = [exercise.identifier for exercise in found]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.name)
def test_both_languages_are_complete_and_run_by_a_test(path: Path) -> None:
    python, r = blocks(path.stem)
    assert re.match(r"(import|from) ", python) and "load(" in python
    assert re.search(r"library\((lme4|lmerTest)\)", r) and "lmer(" in r and "read.csv(" in r
    if path.name != "_template.qmd":
        tests = (ROOT / "tests" / "book" / f"test_chapter_{path.name[:2]}.py").read_text("utf-8")
        assert "run_python(" in tests and "run_r(" in tests


@pytest.mark.parametrize("path", PASTED, ids=lambda p: p.name)
def test_no_name_is_reused_for_another_thing(path: Path) -> None:
    """Parts of a figure or a table aside: they are used up by the chunk that makes them."""
    bound: dict[str, int] = {}
    for part in split(path):
        if not isinstance(part, Cell) or not part.option("eval", True):
            continue
        for name, value in _bindings(part.code):
            line = bound.setdefault(name, part.line)
            if line == part.line or name in PARTS or name in value:
                continue
            pytest.fail(f"{path.name}:{part.line}: {name!r} is another thing since line {line}")


def _bindings(code: str) -> list[tuple[str, set[str]]]:
    """Each name that a cell binds, with the names that it is made of."""
    found = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef):
            found.append((node.name, set()))
        if not isinstance(node, ast.Assign):
            continue
        value = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
        for target in node.targets:
            stored = [n for n in ast.walk(target) if isinstance(n, ast.Name)]
            found += [(n.id, value) for n in stored if isinstance(n.ctx, ast.Store)]
    return found

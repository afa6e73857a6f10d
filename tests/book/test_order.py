"""What reports on other documents runs after all of them, wherever it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from minibook import CONFIG, write

from offline_render.book import BuildError, check_order, load_project, split
from offline_render.run import Reporter, run_cells
from offline_render.run.cells import documents_needed

MAKES = "\n```{python}\n#| label: makes\ncrosscheck = dict\ncrosscheck(label='a')\n```\n"
READS = "\n```{python}\n#| label: reads\nagreement_records = dict\nagreement_records()\n```\n"
RECORDS = """
```{python}
#| label: record
from IPython.display import display

display(
    {"application/vnd.pylmm-helpers.agreement+json": {
        "label": "a model", "source": "recorded", "versions": {"lme4": "1"}, "value": VALUE,
    }},
    raw=True,
)
```
"""
COLLECTS = """
```{python}
#| label: collect
from pathlib import Path

agreement_records = dict
agreement_records()
print("found", *sorted(p.read_text() for p in Path("../.handbook/agreement").glob("*.json")))
```
"""


def book(folder: Path, appendices: str = "[chapters/extra.qmd]", **texts: str) -> Path:
    root = write(folder, **texts)
    config = CONFIG.replace("[chapters/extra.qmd]", appendices)
    (root / "_quarto.yml").write_text(config, encoding="utf-8")
    return root


def check(root: Path) -> None:
    project = load_project(root)
    check_order(project, {c.source: split(c.path) for c in project.chapters})


def outputs(root: Path, **options: object) -> dict[str, str]:
    """What each document's cells printed."""
    project = load_project(root)
    sources = {c.source: split(c.path) for c in project.chapters}
    found = run_cells(project, sources, Reporter(1), **options)  # type: ignore[arg-type]
    return {
        source: "".join(out.get("text", "") for outs in parts.values() for out in outs)
        for source, parts in found.items()
    }


def test_a_report_may_stand_before_what_it_reports_on_but_makes_nothing_itself(
    tmp_path: Path,
) -> None:
    both = "[chapters/extra.qmd, chapters/late.qmd]"
    check(book(tmp_path, both, extra="# Extra\n" + READS, late="# Late\n" + MAKES))
    with pytest.raises(BuildError, match=r"extra\.qmd:\d+: .*beside crosscheck\(\)"):
        check(book(tmp_path, both, extra="# Extra\n" + READS + MAKES, late="# Late\n"))


def test_a_chapter_cannot_report_on_chapters_that_run_beside_it(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"two\.qmd:\d+: agreement_records\(\) in a chapter"):
        check(book(tmp_path, two="# Two\n" + READS))


def test_the_book_itself_is_in_order(root: Path) -> None:
    check(root)


def test_a_report_finds_the_records_of_all_documents_and_no_others(tmp_path: Path) -> None:
    first = RECORDS.replace("VALUE", "1")
    late = RECORDS.replace("VALUE", "3").replace("a model", "late")
    root = book(
        tmp_path, "[chapters/extra.qmd, chapters/late.qmd]",
        two="# Two\n" + first, extra="# Extra\n" + COLLECTS, late="# Late\n" + late,
    )  # fmt: skip
    left_over = root / ".handbook" / "agreement" / "old.json"
    left_over.parent.mkdir(parents=True)
    left_over.write_text('{"label": "an earlier book"}')
    said = outputs(root)["chapters/extra.qmd"]
    assert '"a model"' in said and '"late"' in said and "earlier" not in said
    # a record that changes is seen, though the appendix's own text stays
    (root / "chapters" / "two.qmd").write_text("# Two\n" + RECORDS.replace("VALUE", "2"))
    said = outputs(root)["chapters/extra.qmd"]
    assert '"value": 2' in said and '"value": 1' not in said


def test_a_check_whose_table_is_not_shown_is_recorded_all_the_same(tmp_path: Path) -> None:
    """The record must outlive the run: a cached cell doesn't write the file again."""
    quiet = """
```{python}
#| label: quiet
from pylmm_helpers import crosscheck, fit_lmm, load

fit = fit_lmm("Yield ~ 1", load("dyestuff"), groups="Batch")
found = crosscheck(fit, "Yield ~ 1 + (1 | Batch)", label="cla-dyestuff")
```
"""
    collect = """
```{python}
#| label: collect
from pylmm_helpers import agreement_records

print(list(agreement_records().index))
```
"""
    root = book(tmp_path, two="# Two\n" + quiet, extra="# Extra\n" + collect)
    assert "['cla-dyestuff']" in outputs(root)["chapters/extra.qmd"]
    for path in (root / ".handbook" / "agreement").glob("*.json"):
        path.unlink()
    outputs(root)
    assert [p.name for p in (root / ".handbook" / "agreement").glob("*")] == ["cla-dyestuff.json"]


def test_a_chapter_is_run_alone_and_a_report_with_all_others(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, extra="# Extra\n" + COLLECTS))
    sources = {c.source: split(c.path) for c in project.chapters}
    alone = documents_needed(project, sources, ["chapters/two.qmd"])
    assert [c.source for c in alone] == ["chapters/two.qmd"]
    assert documents_needed(project, sources, ["chapters/extra.qmd"]) == project.chapters
    assert documents_needed(project, sources, None) == project.chapters

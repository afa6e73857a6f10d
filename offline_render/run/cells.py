"""Run the book's cells once, in the order of ``_quarto.yml``, whichever renderer asked for them.

Chapters don't read one another's results, so they run side by side; the appendices come after
them, one after another, and find on disk the agreement records of all documents before them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from ..book import Chapter, Part, Project, cannot_write, tell_damage, write_whole
from .execute import Runner, inputs_digest
from .progress import Reporter

RECORD_MIME = "application/vnd.pylmm-helpers.agreement+json"
Outputs = dict[str, dict[int, list[Any]]]


def run_cells(
    project: Project,
    sources: dict[str, list[Part]],
    reporter: Reporter,
    use_cache: bool = True,
    wanted: Iterable[str] | None = None,
) -> Outputs:
    """Outputs of every document's parts, from the cache where nothing that matters changed.

    Parameters
    ----------
    project : Project
    sources : dict of str to list of Part
        Each document, split.
    reporter : Reporter
        Shows the progress.
    use_cache : bool
        Whether results of earlier runs may serve.
    wanted : iterable of str, optional
        Sources of the documents that are to be rendered; by default all. An appendix brings all
        documents before it along, since it may report on them.

    Returns
    -------
    dict
        Source, then number of the part, then its list of outputs.
    """
    runner = Runner(project, use_cache)
    digest = inputs_digest(project)
    needed = documents_needed(project, wanted)
    chapters = [c for c in needed if not c.appendix]
    with reporter.cells() as progress:
        outputs = runner.run([(c, sources[c.source]) for c in chapters], digest, progress)
        for appendix in (c for c in needed if c.appendix):
            records = write_records(project, outputs)
            drop_later_records(project, records)
            before = json.dumps(records, sort_keys=True)
            seen = hashlib.sha256(f"{digest}-{before}".encode()).hexdigest()[:16]
            outputs |= runner.run([(appendix, sources[appendix.source])], seen, progress)
    _say_recorded(write_records(project, outputs), reporter)
    return outputs


def documents_needed(project: Project, wanted: Iterable[str] | None) -> list[Chapter]:
    """The wanted documents, in order; with an appendix all that stand before it."""
    if wanted is None:
        return project.chapters
    names = set(wanted)
    last = max((k for k, c in enumerate(project.chapters) if c.source in names and c.appendix),
               default=-1)  # fmt: skip
    return [c for k, c in enumerate(project.chapters) if k <= last or c.source in names]


def write_records(project: Project, outputs: Outputs) -> list[dict[str, Any]]:
    """Agreement records of all cells, those from the cache included, as files for the appendix."""
    folder = project.work / "agreement"
    records = {}
    for parts in outputs.values():
        for out in chain.from_iterable(parts.values()):
            record = out.get("data", {}).get(RECORD_MIME)
            if record is None:
                continue
            if isinstance(record, str):
                record = json.loads(record)
            records[str(record["label"])] = record
    for label, record in records.items():
        _write_record(folder / f"{label}.json", record)
    return [records[label] for label in sorted(records)]


def _write_record(target: Path, record: dict[str, Any]) -> None:
    """Write an agreement record, unless the same one is there already."""
    try:
        if json.loads(target.read_text(encoding="utf-8")) == record:
            return
    except FileNotFoundError:
        pass
    except ValueError:
        tell_damage(target, "cut short or changed")
    except OSError as error:
        raise cannot_write(target, error) from error
    write_whole(target, json.dumps(record, indent=1, sort_keys=True).encode())


def is_record_only(out: Any) -> bool:
    """Whether an output holds an agreement record and nothing to show."""
    return set(out.get("data", {})) == {RECORD_MIME}


def drop_later_records(project: Project, records: list[dict[str, Any]]) -> None:
    """An appendix must not find what a later document, or an earlier book, left on disk."""
    known = {f"{record['label']}.json" for record in records}
    for path in (project.work / "agreement").glob("*.json"):
        if path.name not in known:
            path.unlink()


def _say_recorded(records: list[dict[str, Any]], reporter: Reporter) -> None:
    recorded = sorted(
        {r["versions"].get("lme4", "?") for r in records if r["source"] == "recorded"}
    )
    if recorded:
        reporter.say(
            "R isn't here: lme4's columns come from the recorded references "
            f"(lme4 {', '.join(recorded)})"
        )

"""Run the book's cells once, in the order of ``_quarto.yml``, whichever renderer asked for them.

Documents don't read one another's results, so they run side by side; an appendix that reports on
them comes last, and finds on disk the agreement records of all the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from ..book import Chapter, Part, Project, cannot_write, reports, tell_damage, write_whole
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
        Sources of the documents that are to be rendered; by default all. One that reports on the
        others brings them along.

    Returns
    -------
    dict
        Source, then number of the part, then its list of outputs.
    """
    runner = Runner(project, use_cache)
    digest = inputs_digest(project)
    needed = documents_needed(project, sources, wanted)
    reporters = [c for c in needed if reports(c, sources[c.source])]
    others = [c for c in needed if c not in reporters]
    with reporter.cells() as progress:
        outputs = runner.run([(c, sources[c.source]) for c in others], digest, progress)
        records = write_records(project, outputs)
        if reporters:
            drop_other_records(project, records)
            found = json.dumps(records, sort_keys=True)
            seen = hashlib.sha256(f"{digest}-{found}".encode()).hexdigest()[:16]
            outputs |= runner.run([(c, sources[c.source]) for c in reporters], seen, progress)
    _say_recorded(records, reporter)
    return outputs


def documents_needed(
    project: Project, sources: dict[str, list[Part]], wanted: Iterable[str] | None
) -> list[Chapter]:
    """The wanted documents, in order; with one that reports on the others all of them."""
    names = set(sources if wanted is None else wanted)
    if any(reports(c, sources[c.source]) for c in project.chapters if c.source in names):
        return project.chapters
    return [c for c in project.chapters if c.source in names]


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


def drop_other_records(project: Project, records: list[dict[str, Any]]) -> None:
    """The report must not find what an earlier book left on disk."""
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

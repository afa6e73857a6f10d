"""How long each cell of a document took when it last ran; results kept from before don't say."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ..book import Chapter, write_whole


class Clock:
    """Times the cells of one document, by label."""

    def __init__(self) -> None:
        self.started = 0.0
        self.seconds: dict[str, float] = {}

    def start(self) -> None:
        self.started = time.monotonic()

    def stop(self, label: str) -> None:
        self.seconds[label] = round(time.monotonic() - self.started, 2)

    def write(self, work: Path, chapter: Chapter) -> None:
        write_whole(_place(work, chapter), json.dumps(self.seconds, indent=1).encode())


def seconds_of(work: Path, chapter: Chapter) -> dict[str, float]:
    """Seconds of a document's cells, by label; empty where none is known."""
    try:
        found = json.loads(_place(work, chapter).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): float(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _place(work: Path, chapter: Chapter) -> Path:
    return work / "seconds" / f"{chapter.key}.json"

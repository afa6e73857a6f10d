"""Serve the book on this machine and rebuild it when a source changes."""

from __future__ import annotations

import functools
import http.server
import sys
import threading
import time
from pathlib import Path

from .book import BuildError, load_project
from .render import build

WATCHED = (
    "*.qmd", "chapters/*.qmd", "pylmm_helpers/**/*.py", "_quarto.yml", "references.bib",
    "datasets/*.csv", "_extensions/handbook/*", "offline_render/render/assets/*",
)  # fmt: skip


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Requests are of no interest to an author."""


def preview(root: Path, port: int) -> None:
    """Build, serve on 127.0.0.1 and rebuild until interrupted."""
    book = build(root)
    handler = functools.partial(Quiet, directory=str(book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"Read the book at http://127.0.0.1:{server.server_port}/ (stop with Ctrl+C)")
        seen = stamps(root)
        while True:
            time.sleep(1)
            now = stamps(root)
            if now != seen:
                seen = now
                try:
                    build(root)
                except BuildError as error:
                    print(error, file=sys.stderr)


def stamps(root: Path) -> dict[str, float]:
    """Times of change of everything the book is made of."""
    load_project(root)
    return {str(p): p.stat().st_mtime for pattern in WATCHED for p in root.glob(pattern)}

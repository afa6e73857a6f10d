"""Command line: ``python -m offline_render build | preview | check | bench``."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from pathlib import Path

from .book import BuildError, find_root, load_project


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="offline_render", description=__doc__)
    parser.add_argument("command", choices=["build", "preview", "check", "bench"])
    parser.add_argument("--no-cache", action="store_true", help="run every cell anew")
    parser.add_argument("--embedded", action="store_true", help="don't use Quarto")
    parser.add_argument("--quarto", action="store_true", help="use the pinned Quarto and no other")
    parser.add_argument("--port", type=int, default=8000, help="port of preview")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # a terminal that can't show a character shows another one, and the build goes on
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    with warnings.catch_warnings():
        # what packages tell their developers, whatever PYTHONWARNINGS makes of it
        warnings.simplefilter("ignore")
        return obey(options)


def obey(options: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit code says how it went."""
    try:
        root = find_root(Path.cwd())
        if options.command == "check":
            from .book import check_dialect

            for chapter in load_project(root).chapters:
                check_dialect(chapter.path)
        elif options.command == "preview":
            from .preview import preview

            preview(root, options.port)
        elif options.command == "bench":
            from .bench import bench

            bench(root)
        else:
            render_book(root, options)
    except BuildError as error:
        print(
            f"\nThe book was not built; the last good one stays in place.\n{error}", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


def render_book(root: Path, options: argparse.Namespace) -> None:
    """Build with the Quarto on PATH, else with the embedded renderer, which also steps in."""
    from .quarto import LOG, find_quarto, pinned, render
    from .render import build

    if options.quarto:
        render(root, pinned(root))
        return
    quarto = None if options.embedded else find_quarto()
    if quarto is not None:
        try:
            render(root, quarto)
            return
        except BuildError as error:
            print(f"\nQuarto ({quarto}): {error}", file=sys.stderr)
            print(
                f"The embedded renderer builds the book instead; the log is .handbook/{LOG}.",
                file=sys.stderr,
            )
    build(root, use_cache=not options.no_cache)


if __name__ == "__main__":
    sys.exit(main())

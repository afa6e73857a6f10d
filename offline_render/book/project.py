"""What the book consists of, read from ``_quarto.yml``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import BuildError


@dataclass(frozen=True)
class Chapter:
    """One source document and its place in the book.

    ``number`` is "1", "2", ... for chapters, "A", "B", ... for appendices and "" for unnumbered
    documents; ``part`` is the title of the part it stands in, "" outside of parts; ``href`` is the
    page's address relative to the site's root.
    """

    path: Path
    source: str
    number: str
    appendix: bool
    part: str = ""

    @property
    def href(self) -> str:
        return self.source.removesuffix(".qmd") + ".html"

    @property
    def key(self) -> str:
        return Path(self.source).stem

    @property
    def root(self) -> str:
        """Path from this page back to the site's root."""
        return "../" * self.source.count("/")


@dataclass(frozen=True)
class Project:
    """The parsed book: its folder, its settings and its documents in reading order."""

    root: Path
    config: dict[str, Any]
    chapters: list[Chapter]

    @property
    def title(self) -> str:
        return str(self.config["book"]["title"])

    @property
    def subtitle(self) -> str:
        return str(self.config["book"].get("subtitle", ""))

    @property
    def author(self) -> str:
        return str(self.config["book"].get("author", ""))

    @property
    def output(self) -> Path:
        return self.root / self.config["project"].get("output-dir", "_book")

    @property
    def bibliography(self) -> Path:
        return self.root / self.config["bibliography"]

    @property
    def work(self) -> Path:
        """Folder for caches and build records, never part of the book."""
        return self.root / ".handbook"

    @property
    def file_name(self) -> str:
        """What the files that hold the whole book are called, without their ending."""
        return self.title.replace(" ", "-").replace("/", "-")

    @property
    def pdf_name(self) -> str:
        return f"{self.file_name}.pdf"

    @property
    def epub_name(self) -> str:
        return f"{self.file_name}.epub"


def find_root(start: Path) -> Path:
    """Walk up from ``start`` to the folder that holds ``_quarto.yml``."""
    for folder in (start, *start.parents):
        if (folder / "_quarto.yml").exists():
            return folder
    raise BuildError(f"no _quarto.yml in {start} or above; run from the book's folder")


def load_project(root: Path) -> Project:
    """Read ``_quarto.yml`` and number its documents as Quarto does.

    Raises
    ------
    BuildError
        If the file isn't a Quarto book or names a document that doesn't exist.
    """
    config_path = root / "_quarto.yml"
    try:
        config = yaml.safe_load(config_path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BuildError(f"not valid YAML: {error}", config_path) from error
    if not isinstance(config, dict) or "book" not in config:
        raise BuildError("no `book:` section; the embedded renderer builds books only", config_path)
    book = config["book"]
    chapters: list[Chapter] = []
    for appendix, key in ((False, "chapters"), (True, "appendices")):
        count = 0
        for source, part in _in_parts(book.get(key) or [], config_path):
            path = root / source
            if not path.is_file():
                raise BuildError(f"`{key}:` names {source}, which doesn't exist", config_path)
            number = ""
            if not _unnumbered(path):
                count += 1
                number = chr(ord("A") + count - 1) if appendix else str(count)
            chapters.append(Chapter(path, source, number, appendix, part))
    return Project(root, config, chapters)


def _in_parts(entries: list[Any], config: Path) -> Iterator[tuple[str, str]]:
    """Each document with the title of its part."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry, ""
        elif isinstance(entry, dict) and set(entry) == {"part", "chapters"}:
            title = str(entry["part"])
            if title.endswith(".qmd"):
                raise BuildError(f"part {title} is a document; give a part a title", config)
            for source in entry["chapters"] or []:
                yield str(source), title
        else:
            raise BuildError(
                f"{entry!r} is neither a document nor a `part:` with `chapters:`", config
            )


def _unnumbered(path: Path) -> bool:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return ".unnumbered" in line or line.rstrip().endswith("{-}")
    raise BuildError("no `# Title` heading; every document of the book begins with one", path)

"""Files kept between builds: written whole, checked when read, made anew when damaged."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from .errors import BuildError

MARK = b"sha256 "


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                # without it, a power failure may leave the new name on an empty file
                os.fsync(file.fileno())
            os.chmod(part, 0o644)
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> BuildError:
    """The message for a folder that can't be written: no rights, a full disk, a file in its way."""
    return BuildError(
        f"can't write {path}: {error.strerror or error}. The build keeps its results there; free "
        "the place, or give yourself the right to write"
    )


def keep(path: Path, content: bytes) -> None:
    """Keep a result, with the checksum that `recall` looks at."""
    digest = hashlib.sha256(content).hexdigest().encode()
    write_whole(path, MARK + digest + b"\n" + content)


def recall(path: Path) -> bytes | None:
    """A kept result, or None where there is none or what is there is damaged."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        tell_damage(path, error.strerror or str(error))
        return None
    length = len(MARK) + 2 * hashlib.sha256().digest_size + 1
    first, content = whole[:length], whole[length:]
    if first != MARK + hashlib.sha256(content).hexdigest().encode() + b"\n":
        tell_damage(path, "cut short or changed")
        return None
    return content


def remembered(
    folder: Path, name: str, inputs: Iterable[bytes], make: Callable[[], bytes]
) -> bytes:
    """What ``make`` gives, or gave before from the same inputs; one result is kept of a name."""
    digest = hashlib.sha256()
    for content in inputs:
        digest.update(hashlib.sha256(content).digest())
    path = folder / f"{name}-{digest.hexdigest()}"
    known = recall(path)
    if known is None:
        known = make()
        for old in folder.glob(f"{name}-*"):
            old.unlink()
        keep(path, known)
    return known


def tell_damage(path: Path, what: str) -> None:
    """Say in one line that a kept file won't serve."""
    print(f"      Kept file {path} is damaged ({what}); it is made anew.", file=sys.stderr)

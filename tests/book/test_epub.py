"""The EPUB: valid by epubcheck, with the book's numbers, formulas, questions and links."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from offline_render.book import load_project


@pytest.fixture(scope="module")
def epub(book: Path) -> Path:
    [path] = book.glob("*.epub")
    return path


@pytest.fixture(scope="module")
def texts(epub: Path) -> dict[str, str]:
    with zipfile.ZipFile(epub) as archive:
        names = [n for n in archive.namelist() if n.endswith(".xhtml")]
        return {name: archive.read(name).decode("utf-8") for name in names}


def test_epubcheck_finds_nothing(epub: Path) -> None:
    program, java = shutil.which("epubcheck"), shutil.which("java")
    if program is None or java is None:
        pytest.skip("epubcheck is not installed")
    # Debian's program is the archive itself, which not every kernel starts
    command = [java, "-jar", str(Path(program).resolve()), str(epub)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert not re.search(r"\b(ERROR|FATAL|WARNING)\b\(", done.stdout + done.stderr)


def test_every_document_is_there_with_its_number(texts: dict[str, str], root: Path) -> None:
    everything = "".join(texts.values())
    for chapter in load_project(root).chapters:
        if chapter.number:
            title = re.search(r"^# (.+?)(?: \{.*)?$", chapter.path.read_text("utf-8"), re.M)
            assert title is not None
            words = " ".join(f"{chapter.number} {title[1]}".split())
            plain = " ".join(re.sub(r"<[^>]+>", "", everything).split())
            assert words.replace("'", "’") in plain.replace("'", "’"), chapter.source


def test_links_lead_somewhere(texts: dict[str, str]) -> None:
    ids = {
        (name.rpartition("/")[2], found)
        for name, text in texts.items()
        for found in re.findall(r'\sid="([^"]+)"', text)
    }
    for name, text in texts.items():
        here = name.rpartition("/")[2]
        for url in re.findall(r'href="([^"]+)"', text):
            file, _, fragment = url.partition("#")
            if fragment and not re.match(r"[a-z]+:", url):
                target = file.rpartition("/")[2] or here
                assert (target, fragment) in ids, (name, url)


def test_questions_have_their_answers_at_the_end_and_folded_proof_is_left_out(
    texts: dict[str, str],
) -> None:
    everything = "".join(texts.values())
    assert "Answer key" in everything and "<input" not in everything
    assert "hb-proof" not in everything and "<math" in everything

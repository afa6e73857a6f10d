"""The book's typefaces, taken from installed packages: subset for the web, whole for the PDF."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from fontTools import subset

from ..book import BuildError, keep, recall, tell_damage, write_whole

SERIF = ("font_source_serif_pro", "files")
SANS = ("font_source_sans_pro", "files")
MATH = ("ziamath", "fonts")
MONO = ("matplotlib", "mpl-data/fonts/ttf")
LATIN = "U+0020-007E,U+00A0-024F,U+0370-03FF,U+2000-206F,U+20AC,U+2122,U+2190-21FF,U+2200-22FF"
MATHS = (
    LATIN + ",U+0300-036F,U+2100-214F,U+2300-23FF,U+25A0-25FF,U+27C0-27EF,U+2980-29FF,"
    "U+2A00-2AFF,U+1D400-1D7FF"
)
FACES = {
    "serif-400.woff2": (*SERIF, "SourceSerifPro-Regular.ttf", LATIN),
    "serif-400-italic.woff2": (*SERIF, "SourceSerifPro-It.ttf", LATIN),
    "serif-600.woff2": (*SERIF, "SourceSerifPro-Semibold.ttf", LATIN),
    "sans-400.woff2": (*SANS, "SourceSansPro-Regular.ttf", LATIN),
    "sans-600.woff2": (*SANS, "SourceSansPro-Semibold.ttf", LATIN),
    "mono-400.woff2": (*MONO, "DejaVuSansMono.ttf", LATIN + ",U+2500-257F,U+25A0-25FF"),
    "math.woff2": (*MATH, "STIXTwoMath-Regular.ttf", MATHS),
}
SERIF_CUTS = ("Regular", "It", "Semibold", "SemiboldIt", "Bold", "BoldIt")
SANS_CUTS = ("Regular", "It", "Semibold", "SemiboldIt")
PDF_FACES = [
    *((*SERIF, f"SourceSerifPro-{cut}.ttf") for cut in SERIF_CUTS),
    *((*SANS, f"SourceSansPro-{cut}.ttf") for cut in SANS_CUTS),
    (*MATH, "STIXTwoMath-Regular.ttf"),
]


def source(package: str, folder: str, name: str) -> Path:
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec else []
    path = Path(places[0]) / folder / name if places else Path(name)
    if not path.is_file():
        raise BuildError(f"font {name} is missing; install the {package.replace('_', '-')} package")
    return path


def write_web_fonts(kept: Path, libs: Path) -> None:
    """Write the web fonts into ``libs``, making each once and keeping it in ``kept``."""
    for name, (package, folder, face, unicodes) in FACES.items():
        data = recall(kept / name)
        if data is None:
            data = web_font(source(package, folder, face), unicodes)
            keep(kept / name, data)
        (libs / name).write_bytes(data)


def web_font(face: Path, unicodes: str) -> bytes:
    """The part of a face that the book's characters need, compressed for the web."""
    with tempfile.TemporaryDirectory(prefix="handbook-") as folder:
        part = Path(folder) / "part.woff2"
        subset.main(
            [
                str(face),
                f"--unicodes={unicodes}",
                "--layout-features=*",
                "--flavor=woff2",
                f"--output-file={part}",
                "--drop-tables+=FFTM",
            ]
        )
        return part.read_bytes()


def pdf_font_folder(kept: Path) -> Path:
    """A folder with just the faces that the PDF uses, each the same as in its package."""
    wanted = {
        face: source(package, folder, face).read_bytes() for package, folder, face in PDF_FACES
    }
    for path in kept.glob("*"):
        if path.name not in wanted:
            path.unlink()
    for face, data in wanted.items():
        path = kept / face
        if path.exists() and path.read_bytes() == data:
            continue
        if path.exists():
            tell_damage(path, "cut short or changed")
        write_whole(path, data)
    return kept

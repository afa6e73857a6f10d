"""A formula in TeX comes in; the words in which a lecturer would read it aloud go out."""

from __future__ import annotations

from .reading import read_tex

__all__ = ["read_tex"]

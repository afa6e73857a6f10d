"""A Quarto program comes in; the book that it rendered from cells run here goes out."""

from __future__ import annotations

from .handover import after_render, before_render
from .native import LOG, render
from .program import find_quarto, pinned

__all__ = ["LOG", "after_render", "before_render", "find_quarto", "pinned", "render"]

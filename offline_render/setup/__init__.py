"""A bare machine comes in; one with R, a virtual environment and the locked packages goes out.

Standard library only, and no other room: it runs before anything is installed.
"""

from __future__ import annotations

from .environment import main

__all__ = ["main"]

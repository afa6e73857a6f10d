"""The embedded renderer: builds the handbook and gives Quarto its executed cells.

On top stand the commands: ``__main__`` (with ``preview`` and ``bench``), ``bootstrap``, which sets
the machine up, and the two steps that Quarto calls, ``pre_render`` and ``post_render``. Below them
lie seven rooms. A room imports from those further down this list only, and takes what it needs
from the room, not from a file in it:

- ``quarto``: executed cells to Quarto, and its pages to the book's
- ``render``: sources and results of cells to pages, paper and downloads
- ``live``: pages to pages whose code runs in the browser
- ``run``: cells to their results
- ``speech``: formulas to words
- ``book``: the book's folder to documents and their parts
- ``setup``: a bare machine to a ready one
"""

"""The embedded renderer: builds the handbook where no Quarto is to be had.

Reading order: ``project`` (what the book consists of), ``source`` (a .qmd as cells and prose),
``execute`` (run the cells), ``assemble`` (cells back to Markdown), ``crossref`` (numbers and
links), ``webpages`` and ``pdf`` (the two outputs), ``build`` (the order of it all).
"""

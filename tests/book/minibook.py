"""A book of two short chapters, for tests of the renderer."""

from __future__ import annotations

from pathlib import Path

CONFIG = """\
project: {type: book, output-dir: _book}
book:
  title: Small book
  author: Nobody
  chapters: [index.qmd, chapters/one.qmd, chapters/two.qmd, chapters/references.qmd]
  appendices: [chapters/extra.qmd]
bibliography: references.bib
"""
BIB = "@book{known, author = {Known, A.}, title = {A Title}, year = {2001}, publisher = {P}}\n"
ONE = """\
# First {#sec-first}

Two and two make `{python} 2 + 2`; *stars* stay: `{python} "a*b*"`.
See @fig-line, @tbl-small, @eq-model, @sec-later and @known.

$$
y_{ij} = \\beta_0 + u_j
$$ {#eq-model}

```{python}
#| label: fig-line
#| fig-cap: "A line."
#| fig-alt: "Line chart of one to three, rising."
import matplotlib.pyplot as plt

fig, ax = plt.subplots()
ax.plot([1, 2, 3]);
```

```{python}
#| label: tbl-small
#| tbl-cap: "Two rows."
from IPython.display import Markdown

Markdown("| a | b |\\n|---|---|\\n| 1 | 2 |\\n| 3 | 4 |")
```

```{python}
#| label: counting
#| echo: false
from pathlib import Path

with Path("../runs.txt").open("a") as handle:
    handle.write("run\\n")
```
"""
TWO = """\
# Second {#sec-second}

## Later {#sec-later}

Back to @fig-line, [-@tbl-small] and [the start](one.qmd#sec-first); appendix: @sec-extra.

::: {.callout-note title="A title"}
Inside.
:::

::: {.panel-tabset}
#### Python

In Python.

#### In R

In R.
:::

::: {.content-visible when-format="html"}
Only on pages.
:::
"""


def write(folder: Path, **changed: str) -> Path:
    """Write the book into ``folder``; ``changed`` replaces documents by their stem."""
    texts = {
        "index": "# Preface {.unnumbered}\n\nHello.\n",
        "one": ONE,
        "two": TWO,
        "references": "# References {.unnumbered}\n\n::: {#refs}\n:::\n",
        "extra": "# Extra {#sec-extra}\n\nText.\n",
    } | changed
    (folder / "chapters").mkdir(parents=True, exist_ok=True)
    (folder / "_quarto.yml").write_text(CONFIG, encoding="utf-8")
    (folder / "references.bib").write_text(BIB, encoding="utf-8")
    for stem, text in texts.items():
        place = folder if stem == "index" else folder / "chapters"
        (place / f"{stem}.qmd").write_text(text, encoding="utf-8")
    return folder

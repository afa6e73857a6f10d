"""Models with several random terms: a formula with bars and a data frame come in, a fit with its
estimates goes out.

The path, each step in a module that can be read alone: `formula` takes the random terms out of the
formula, `design` lays out the columns and groupings, `fit` scales them, `sums` multiplies them
level by level and cell by cell and orders the factors, `solve` eliminates them, `criterion` gives
the likelihood with its slopes, `blocks` the part of single levels in them, `search` finds the
minimum, `results` turns it into estimates. `identified` and `labels`
say what the data can't tell or a reader may not have meant. `information` and `ddf` give degrees of
freedom, `errors` the variances of predictions and residuals. What the helpers say of a fit stands
in `quantities`, `prediction`, `diagnostics`, `checks`, `compare` and `bootstrap`.
"""

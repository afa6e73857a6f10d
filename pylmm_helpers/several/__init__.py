"""Models with several random terms: a formula with bars and a data frame come in, a fit with its
estimates goes out.

The path, each step in a module that can be read alone: `formula` takes the random terms out of the
formula, `design` lays out the columns and groupings, `fit` scales them, `sums` multiplies them
level by level and cell by cell and orders the factors, `solve` eliminates them, `criterion` gives
the likelihood with its slopes, `blocks` the part of single levels in them, `search` finds the
minimum, `results` turns it into estimates. `information` and `ddf` give degrees of freedom,
`prediction` and `quantities` what the fit says, `compare` tests.
"""

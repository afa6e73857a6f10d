"""Reading a model fitted in R: values, names and what R said.

Nothing here fits a model. `crosscheck.lmer` fits (through pymer4) and calls `extract` to read the
R object at full double precision; printed tables of R or pymer4 are never parsed for numbers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from .formula import MixedFormula

# Every number comes from the fitted object itself. Lb_ddf is pbkrtest's df for one contrast.
_EXTRACT = """
function(m, kenward_roger) {
  p <- length(lme4::fixef(m))
  unit <- function(i) { l <- numeric(p); l[i] <- 1; l }
  groups <- lapply(lme4::ranef(m, condVar = TRUE), function(re) {
    post <- attr(re, "postVar")
    list(levels = rownames(re), terms = colnames(re), modes = as.matrix(re),
         post = if (is.list(post)) post else list(post))
  })
  terms <- attr(m@flist, "assign")
  # in the formula's order, the blocks in lme4's own; getME(m, "mmList") gives the same, but makes
  # a factor of all combinations of nested labels, 44 million for 548 lactations of six regions
  matrices <- lapply(lme4::findbars(formula(m)), function(bar)
    model.matrix(eval(substitute(~ x, list(x = bar[[2]]))), m@frame))
  mm <- lapply(unname(m@cnms), function(columns)
    Find(function(z) identical(colnames(z), columns), matrices))
  out <- list(
    fe_names = names(lme4::fixef(m)), fe = unname(lme4::fixef(m)),
    cov_fe = as.matrix(vcov(m)), X = lme4::getME(m, "X"),
    theta = unname(lme4::getME(m, "theta")), scale = sigma(m)^2,
    criterion = unname(m@devcomp$cmp[[if (lme4::isREML(m)) "REML" else "dev"]]),
    llf = as.numeric(logLik(m)), aic = AIC(m), bic = BIC(m), n = nobs(m),
    blocks = lapply(unname(lme4::VarCorr(m)), function(v) unclass(v)[, , drop = FALSE]),
    block_group = names(m@flist)[terms], mm = mm,
    groups = groups, singular = lme4::isSingular(m),
    satterthwaite = vapply(seq_len(p), function(i)
      lmerTest::contest1D(m, unit(i), ddf = "Satterthwaite")$df, 0),
    messages = as.character(c(m@optinfo$conv$lme4$messages, unlist(m@optinfo$warnings))),
    versions = c(R = as.character(getRversion()), sapply(c("lme4", "lmerTest"),
      function(x) as.character(packageVersion(x)))))
  if (kenward_roger && requireNamespace("pbkrtest", quietly = TRUE)) {
    adjusted <- pbkrtest::vcovAdj(m)
    out$kr_se <- sqrt(diag(as.matrix(adjusted)))
    out$kr_df <- vapply(seq_len(p), function(i)
      pbkrtest::Lb_ddf(unit(i), vcov(m), adjusted), 0)
    out$versions <- c(out$versions, pbkrtest = as.character(packageVersion("pbkrtest")))
  }
  out
}
"""


def match_names(
    r_names: list[str], matrix: np.ndarray, candidates: list[str], frame: pd.DataFrame
) -> list[str]:
    """Formulaic's names for the columns of R's design matrix.

    Columns are matched by their values, so the mapping does not depend on how either side spells
    a term, and a match proves the same coding. A column that formulaic does not build (`poly`,
    `ns`) keeps R's name.

    Parameters
    ----------
    r_names : list of str
        R's names, p of them.
    matrix : ndarray (n, p)
        R's design matrix.
    candidates : list of str
        Right-hand sides in formulaic's spelling, the likeliest first.
    frame : DataFrame
        The n rows that R used.
    """
    from formulaic import model_matrix

    ours: list[tuple[str, np.ndarray]] = []
    for rhs in dict.fromkeys(candidates):
        try:
            built = model_matrix(rhs, frame, context={})
        # formulaic has many errors; all mean an R-only function: nothing to match, R's names stay
        except Exception:
            continue
        ours += [(str(name), np.asarray(built[name], dtype=float)) for name in built.columns]
    result: list[str] = []
    for j, r_name in enumerate(r_names):
        column = matrix[:, j]
        limit = 1e-10 * max(1e-300, float(np.abs(column).max()))
        hits = (n for n, v in ours if n not in result and np.abs(v - column).max() <= limit)
        known = "Intercept" if r_name == "(Intercept)" else r_name.replace("splines::", "")
        result.append(next(hits, known))
    return result


def fit_weighted(model: Any, weights: str, reml: bool, control: str) -> Any:
    """The R object of a model with prior weights, which pymer4 0.8.2 hands to nobody.

    Parameters
    ----------
    model : pymer4 Lmer
        Not fitted yet; gives formula and data.
    weights : str
        Column of its data, a name that R takes as it is.
    reml, control
        As in `crosscheck.lmer`.
    """
    from pymer4.bridge import pandas2R
    from rpy2 import robjects

    fit = robjects.r(
        "function(text, data, reml) lmerTest::lmer(stats::as.formula(text), data = data, "
        f"REML = reml, weights = {weights}, control = lme4::lmerControl({control}))"
    )
    return fit(model.formula, pandas2R(model.data), reml)


@contextmanager
def quiet_console() -> Iterator[list[str]]:
    """Take over R's console for a block; yields what R wrote, and gives the console back."""
    from rpy2.rinterface_lib import callbacks

    names = ("consolewrite_print", "consolewrite_warnerror")
    saved = {name: getattr(callbacks, name) for name in names}
    written: list[str] = []
    try:
        callbacks.consolewrite_print = lambda text: None
        callbacks.consolewrite_warnerror = written.append
        yield written
    finally:
        for name, callback in saved.items():
            setattr(callbacks, name, callback)


@contextmanager
def library_path_kept() -> Iterator[None]:
    """Undo what rpy2 does to LD_LIBRARY_PATH when it starts R inside this process.

    It comes too late for this process, and every later child would inherit it: a Python that is
    linked to a library of its own then loads the system's, and fails.
    """
    before = os.environ.get("LD_LIBRARY_PATH")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("LD_LIBRARY_PATH", None)
        else:
            os.environ["LD_LIBRARY_PATH"] = before


def console_messages(written: list[str]) -> list[str]:
    """R's messages and warnings, one string each, from what it wrote to the console."""
    # R numbers warnings and wraps long ones after "In call :"; both are layout, not content
    text = re.sub(r"In addition:\s*|Warning messages?:\s*\n", "", "".join(written))
    text = re.sub(r"\n +", " ", text)
    text = re.sub(r"(?m)^In [^\n]*? : *", "", re.sub(r"(?m)^\d+: ", "", text))
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    # loading a package complains about an empty library folder, which is no word on the model
    return [line for line in lines if not line.endswith("contains no packages")]


def extract(
    model: Any, parsed: MixedFormula, frame: pd.DataFrame, names: dict[str, str], kr: bool
) -> dict[str, Any]:
    """Everything `LmerFit` holds, as JSON-ready values, from a fitted R `merMod`.

    Parameters
    ----------
    model : rpy2 object
        `lmerModLmerTest` as pymer4 keeps it in `model_obj`.
    parsed, frame
        The formula and the rows (`model_frame`) it was fitted to.
    names : dict
        What R calls each column (`safe_names`).
    kr : bool
        Compute Kenward-Roger too (time and memory grow with the square of the rows).
    """
    from rpy2 import robjects

    out = robjects.r(_EXTRACT)(model, kr)

    def values(name: str) -> list[float]:
        return [float(v) for v in out.rx2(name)]

    matrix = np.array(out.rx2("X"))
    terms_alone = [f"1 + {term}" for term in parsed.fixed_terms]
    fixed = match_names(list(out.rx2("fe_names")), matrix, [parsed.fixed, *terms_alone], frame)
    column_of = {name: column for column, name in names.items()}

    def columns_of(group: str) -> tuple[str, ...]:
        # a/b/c is named c:(b:a)
        parts = group.replace("(", "").replace(")", "").split(":")
        return tuple(column_of.get(part, part) for part in parts)

    blocks: list[dict[str, Any]] = []
    renamed: dict[str, str] = {}
    for i, block in enumerate(out.rx2("blocks")):
        group = str(out.rx2("block_group")[i])
        r_terms, matrix = list(block.rownames), np.array(out.rx2("mm")[i])
        # lme4 sorts its terms by number of groups, so the formula's order says nothing
        own = [t.expr for t in parsed.random if set(t.columns) >= set(columns_of(group))]
        terms = match_names(r_terms, matrix, own or [t.expr for t in parsed.random], frame)
        renamed.update(zip(r_terms, terms, strict=True))
        blocks.append(
            {"group": ":".join(columns_of(group)), "terms": terms, "cov": np.array(block).tolist()}
        )
    groups = {}
    for name, group in out.rx2("groups").items():
        posts = [np.array(p) for p in group.rx2("post")]
        groups[":".join(columns_of(str(name)))] = {
            "levels": list(group.rx2("levels")),
            "terms": [renamed.get(t, t) for t in group.rx2("terms")],
            "modes": np.array(group.rx2("modes")).tolist(),
            "var": _block_diagonal(posts).tolist(),
        }
    record: dict[str, Any] = {
        "fixed": fixed,
        "fe_params": values("fe"),
        "cov_fe": np.array(out.rx2("cov_fe")).tolist(),
        "theta": values("theta"),
        "blocks": blocks,
        "groups": groups,
        "n": int(out.rx2("n")[0]),
        "singular": bool(out.rx2("singular")[0]),
        "satterthwaite": values("satterthwaite"),
        "messages": list(out.rx2("messages")),
        "versions": {k: str(v) for k, v in out.rx2("versions").items()},
    }
    record.update({k: values(k)[0] for k in ("scale", "criterion", "llf", "aic", "bic")})
    if "kr_df" in list(out.names):
        record["kenward_roger"] = {"se": values("kr_se"), "df": values("kr_df")}
    return record


def _block_diagonal(parts: list[np.ndarray]) -> np.ndarray:
    """Conditional covariances (q, q, G) of a group's terms, joined to (G, sum q, sum q)."""
    size, count = sum(p.shape[0] for p in parts), parts[0].shape[2]
    full, start = np.zeros((count, size, size)), 0
    for part in parts:
        stop = start + part.shape[0]
        full[:, start:stop, start:stop] = np.moveaxis(part, 2, 0)
        start = stop
    return full

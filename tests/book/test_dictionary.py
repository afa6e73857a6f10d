"""Appendix C: the spellings run, and each name in its tables gives the quantity beside it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from pylmm_helpers import blups, coef_table, fit_lmm, icc, influence, load, residuals

PAGE = (Path(__file__).parents[2] / "chapters" / "C-dictionary.qmd").read_text(encoding="utf-8")
needs_r = pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
SYMBOLS = {
    r"$\beta$": "beta",
    r"$\text{SE}(\hat{\beta})$": "se",
    r"$\sigma^2$": "sigma2",
    r"$\sigma_g^2$": "sigma2_g",
    r"$\ell$": "loglik",
    r"$-2\ell$": "criterion",
}


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    frame = load("sleepstudy").rename(columns={"Reaction": "y", "Days": "x", "Subject": "g"})
    return frame.astype({"g": str})


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)


def rows(label: str) -> dict[str, list[list[str]]]:
    """Code spans of each column, by the symbol of the row."""
    table = PAGE[: PAGE.index("{#" + label + "}")].rpartition("\n\n: ")[0].rpartition("\n\n")[2]
    out = {}
    for line in table.splitlines()[2:]:
        # a bar within code parts no cells
        cells = [c.strip() for c in re.findall(r"((?:`[^`]*`|[^|`])+)", line.strip("|"))]
        out[cells[0]] = [re.findall(r"`([^`]+)`", cell) for cell in cells[1:]]
    return out


def fits_of_block(code: str, data: pd.DataFrame) -> list[Any]:
    """The results of the last two statements of a block."""
    names: dict[str, Any] = {"data": data}
    *first, one, two = [line for line in code.splitlines() if line.strip()]
    exec("\n".join(first), names)
    return [eval(line, names) for line in (one, two)]


def values(names: dict[str, Any], columns: dict[str, list[list[str]]], k: int) -> dict[str, Any]:
    """Each code span of column `k`, evaluated."""
    return {symbol: eval(cell[k][0], names) for symbol, cell in columns.items() if cell[k]}


def expected(data: pd.DataFrame) -> dict[str, np.ndarray]:
    fit = fit_lmm("y ~ x", data, groups="g", re_formula="1 + x")
    return {
        "beta": fit.fe_params.to_numpy(),
        "se": fit.bse_fe.to_numpy(),
        "sigma2": np.array([fit.scale]),
        "sigma2_g": np.array([fit.cov_re.iloc[0, 0]]),
        "loglik": np.array([fit.llf]),
        "criterion": np.array([fit.criterion]),
    }


def check(found: dict[str, Any], data: pd.DataFrame) -> None:
    right = expected(data)
    for symbol, name in SYMBOLS.items():
        got = np.atleast_1d(np.asarray(found[symbol], dtype=float))
        # statsmodels stops at four digits of the variances
        np.testing.assert_allclose(got, right[name], rtol=2e-3, err_msg=symbol)


@pytest.mark.parametrize("number", [0, 1])
def test_names_in_python(number: int, data: pd.DataFrame) -> None:
    _, fit = fits_of_block(blocks("python")[number], data)
    found = values(
        {"fit": fit, "blups": blups, "coef_table": coef_table, "icc": icc},
        rows("tbl-di-symbols"),
        number + 1,
    )
    check(found, data)
    assert len(found) >= 9
    assert len(found[r"$\hat{y}_{ij}$"]) == len(data)


def test_names_in_pymer4(data: pd.DataFrame) -> None:
    pytest.importorskip("rpy2.robjects")
    models = pytest.importorskip("pymer4.models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = models.Lmer("y ~ x + (1 + x | g)", data=data)
        fit.fit(REML=True, summarize=False)
    found = values({"fit": fit}, rows("tbl-di-r"), 2)
    check(found, data)
    # the trap: coefficients of each group
    assert len(fit.fixef) == data["g"].nunique()
    assert 'Lmer("y ~ x + (1 + x | g)", data=data).fit(REML=True)' in blocks("python")[2]


PACKAGES = {"lme4": "lme4", "nlme": "nlme"}


def run_r(lines: list[str], folder: Path) -> str:
    """What R prints; a test is skipped if a package that it needs isn't there."""
    script = folder / "script.R"
    script.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        ["Rscript", "--vanilla", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if missing := re.search(r"there is no package called .(\w+).", done.stderr):
        pytest.skip(f"{missing[1]} is not installed")
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_data(data: pd.DataFrame, folder: Path) -> str:
    """The line of R that reads the data, with a category and the group as a factor."""
    path = folder / "data.csv"
    kind = np.where(data["x"] > 4, "late", "early")
    data.assign(kind=kind).to_csv(path, index=False)
    return f'data <- read.csv("{path.as_posix()}"); data$g <- factor(data$g)'


@needs_r
@pytest.mark.parametrize("package", PACKAGES)
def test_spellings_names_and_traps_in_r(package: str, data: pd.DataFrame, tmp_path: Path) -> None:
    k = list(PACKAGES).index(package)
    one, two = blocks("r")[k].strip().splitlines()
    names = {s: cells[k] for s, cells in rows("tbl-di-r").items() if cells[k]}
    lines = [
        f"suppressMessages(library({package}))",
        read_data(data, tmp_path),
        f"first <- {one}",
        f"fit <- {two}",
        "out <- list()",
        *(
            f"out[[{json.dumps(symbol)}]] <- as.numeric(unlist({spans[0]}))"
            for symbol, spans in names.items()
        ),
        "ml <- refitML(fit)" if package == "lme4" else 'ml <- update(fit, method = "ML")',
        "out$ml <- c(deviance(ml), -2 * as.numeric(logLik(ml)), suppressWarnings(REMLcrit(ml)))"
        if package == "lme4"
        else "out$ml <- summary(ml)$tTable[, 2] / sqrt(diag(vcov(ml)))",
        'for (k in names(out)) cat(k, "\\t", paste(format(out[[k]], digits = 12), '
        'collapse = " "), "\\n")',
    ]
    found = {
        key.strip(): [float(v) for v in text.split()]
        for key, _, text in (line.partition("\t") for line in run_r(lines, tmp_path).splitlines())
    }
    check(found, data)
    if package == "lme4":
        deviance, minus_two_loglik, other = found["ml"]
        assert deviance == pytest.approx(minus_two_loglik) and abs(other - deviance) > 1
    else:
        # the trap: standard errors by ML are adjusted, and degrees of freedom are those of rows
        assert found["ml"] == pytest.approx([np.sqrt(180 / 178)] * 2, rel=1e-6)
        assert found[r"$\nu$"] == [161, 161]


def more_calls() -> list[tuple[int, str, str]]:
    """Column, task and call of each cell of the table of R's calls beyond the fit."""
    return [
        (k, task, call)
        for task, cells in rows("tbl-di-more-r").items()
        for k, cell in enumerate(cells)
        for call in cell
    ]


def test_every_task_has_a_call_in_r_and_its_cells_are_words_or_calls() -> None:
    table = rows("tbl-di-more-r")
    assert len(table) >= 12 and all(any(cells) for cells in table.values())
    assert set(rows("tbl-di-more-stata-sas")) > {"Kenward-Roger", "cluster-robust standard errors"}
    for label in ("symbols", "r", "stata-sas", "defaults", "more-r", "more-stata-sas"):
        line = next(line for line in PAGE.splitlines() if f"{{#tbl-di-{label}}}" in line)
        assert re.search(r"\b(run|manual)\b", line), f"{label}: run, or from the manual?"


def test_what_was_not_compared_with_a_manual_has_a_dagger_that_is_explained() -> None:
    assert "Cells with a dagger (†) could not be compared" in PAGE
    for label in ("stata-sas", "defaults", "more-stata-sas"):
        table, caption = PAGE[: PAGE.index("{#tbl-di-" + label + "}")].rsplit("\n\n: ", 1)
        assert "†" in table.rpartition("\n\n")[2] and "†: not compared" in caption, label
    assert "[@statacorp2019]" in PAGE and "[@sas2022]" in PAGE


def test_robust_errors_of_stata_and_sas_go_without_kenward_and_roger() -> None:
    line = next(x for x in PAGE.splitlines() if x.startswith("| cluster-robust standard errors"))
    assert "`vce(cluster g)`, by ML only and without `dfmethod()`" in line
    assert "without `ddfm=kr`" in line
    assert "`LinAlgError: Singular matrix` (@sec-ff-linalg)" in PAGE


MARK = "== call"
#: Each call stands at the top level, where update() looks, and with nothing that another attached.
ONE_CALL = """
for (name in setdiff(search(), before)) detach(name, character.only = TRUE)
cat("{mark}\\n")
tryCatch(eval(parse(text = {code}), envir = globalenv()),
         error = function(e) cat("STOPPED:", conditionMessage(e), "\\n"))
"""


@pytest.fixture(scope="module")
def said_in_r(
    data: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[int, str], str]:
    """What R prints for each call, one process for each of the two programs."""
    found: dict[tuple[int, str], str] = {}
    starts = ["suppressMessages({library(lmerTest); library(pbkrtest)})", "library(nlme)"]
    for k, start in enumerate(starts):
        folder = tmp_path_factory.mktemp("calls")
        calls = [call for column, _, call in more_calls() if column == k]
        lines = [start, read_data(data, folder), "before <- search()"]
        for call in calls:
            fits = [
                [
                    "fit <- lmer(y ~ x + (1 + x | g), data = data)",
                    "small <- lmer(y ~ 1 + (1 + x | g), data = data)",
                ],
                # the data name themselves in the call, so that update() finds them
                ["fit <- lme(y ~ x, random = ~ 1 + x | g, data = data)"],
            ][k]
            if "AR1(" in call:
                # with a random slope as well, ten days don't tell the two apart
                fits[-1] = "fit <- lme(y ~ x, random = ~ 1 | g, data = data)"
            shows = "print(class(found)); print(found, digits = 8)"
            code = json.dumps("\n".join([*fits, f"found <- {call}", shows]))
            lines.append(ONE_CALL.format(mark=MARK, code=code))
        parts = run_r(lines, folder).split(f"{MARK}\n")[1:]
        assert len(parts) == len(calls)
        found |= {(k, call): said for call, said in zip(calls, parts, strict=True)}
    return found


@needs_r
@pytest.mark.parametrize(("k", "task", "call"), more_calls())
def test_a_call_beyond_the_fit_runs_in_r(
    k: int, task: str, call: str, said_in_r: dict[tuple[int, str], str]
) -> None:
    said = said_in_r[k, call]
    if missing := re.search(r"STOPPED: there is no package called .(\w+).", said):
        pytest.skip(f"{missing[1]} is not installed")
    assert "STOPPED" not in said, said
    right = {
        "Kenward-Roger, table of effects": r"\b17\b",
        "Kenward-Roger, $F$ tests": r"\b17\b.*45\.85",
        "Kenward-Roger, two models": r"45\.85\d* +1\.0+ +17",
        "one contrast": r"45\.85|6\.77",
        "cluster-robust tests": r"\b1\.55\b",
        "a variance for each kind": r"late",
        "correlation over time": r"Phi",
        "the same, unequal gaps": r"Phi",
        "autocorrelation of residuals": r"\bACF\b",
    }.get(task)
    assert right is None or re.search(right, said), said


@needs_r
def test_residuals_and_distances_in_r_are_the_books(data: pd.DataFrame, tmp_path: Path) -> None:
    table, model = rows("tbl-di-more-r"), fit_lmm("y ~ x", data, "g", re_formula="1 + x")
    want = residuals(model)
    tasks = ["conditional residuals", "marginal residuals", r"residuals over $\hat{\sigma}$"]
    lines = [
        "suppressMessages(library(lme4))",
        read_data(data, tmp_path),
        "a <- lmer(y ~ x + (1 + x | g), data = data)",
        "b <- nlme::lme(y ~ x, random = ~ 1 + x | g, data = data)",
    ]
    lines += [
        f'fit <- {name}; cat(as.numeric({table[task][k][0]}), "\\n")'
        for task in tasks
        for k, name in enumerate("ab")
    ]
    lines.append(f'fit <- a; cat({table["groups left out"][0][0]}, "\\n")')
    got = [[float(v) for v in line.split()] for line in run_r(lines, tmp_path).splitlines()]
    scaled = want["conditional"] / np.sqrt(model.scale)
    for ours, theirs in zip(
        np.repeat([want["conditional"], want["marginal"], scaled], 2, axis=0), got, strict=False
    ):
        # R prints seven digits, and the programs stop their search at about five
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-3 * np.abs(ours).max())
    distance = influence(model)["cooks_distance"].sort_index()
    # lme4 divides by pG/(G - p)
    np.testing.assert_allclose(np.sort(got[-1]), np.sort(distance) * 16 / 18, rtol=0.02)


DEFAULTS = """
suppressMessages(library(lme4))
gap <- data; gap$x[1] <- NA
a <- lmer(y ~ x + (1 + x | g), data = data)
b <- nlme::lme(y ~ x, random = ~ 1 + x | g, data = data)
again <- try(nlme::lme(y ~ x, random = ~ 1 + x | g, data = gap), silent = TRUE)
omit <- nlme::lme(y ~ x, random = ~ 1 + x | g, data = gap, na.action = na.omit)
cat(isREML(a), b$method == "REML",
    "p-value" %in% colnames(summary(b)$tTable), "Pr(>|t|)" %in% colnames(coef(summary(a))),
    VarCorr(a)$g[1, 2] != 0, nlme::getVarCov(b)[1, 2] != 0,
    nobs(lmer(y ~ x + (1 | g), data = gap)) == 179, inherits(again, "try-error"),
    nrow(resid(omit, level = 0:1)) == 179)
"""


@needs_r
def test_the_defaults_of_lme4_and_nlme_are_those_of_the_table(
    data: pd.DataFrame, tmp_path: Path
) -> None:
    said = run_r([read_data(data, tmp_path), DEFAULTS], tmp_path).split()
    # of lme4 alone there are no p-values
    assert said == ["TRUE"] * 3 + ["FALSE"] + ["TRUE"] * 5


def test_traps_of_statsmodels(data: pd.DataFrame) -> None:
    fit = smf.mixedlm("y ~ x", data, groups="g").fit(reml=True)
    assert np.isnan(fit.aic) and np.isnan(fit.bic)
    population = fit.model.exog @ fit.fe_params.to_numpy()
    np.testing.assert_allclose(fit.predict(data), population)
    gap = data.assign(x=data["x"].where(data.index > 0))
    with pytest.raises(Exception, match="missing"):
        smf.mixedlm("y ~ x", gap, groups="g")
    assert smf.mixedlm("y ~ x", gap, groups="g", missing="drop").nobs == len(data) - 1


def test_standard_errors_of_statsmodels_can_be_a_fifth_off() -> None:
    rng, most = np.random.default_rng(1), 0.0
    for _ in range(40):
        size = rng.integers(2, 7, 6)
        g = np.repeat(np.arange(6), size)
        x = rng.normal(size=len(g)) + rng.normal(size=6)[g]
        y = 0.5 * x + rng.normal(size=6)[g] + rng.normal(size=len(g))
        frame = pd.DataFrame({"y": y, "x": x, "g": g})
        own = fit_lmm("y ~ x", frame, groups="g")
        if own.cov_re.iloc[0, 0] < 0.05:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = smf.mixedlm("y ~ x", frame, groups="g").fit(reml=True)
        if theirs.converged:
            most = max(most, float((theirs.bse_fe / own.bse_fe - 1).abs().max()))
    assert most > 0.2


@pytest.fixture(scope="module")
def two_factors() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    a, b, c = (
        np.repeat(np.arange(8), 18),
        np.tile(np.repeat(np.arange(3), 6), 8),
        np.arange(144) % 6,
    )
    y = 2 * rng.normal(size=8)[a] + 1.5 * rng.normal(size=24)[3 * a + b] + rng.normal(size=6)[c]
    frame = pd.DataFrame({"y": y + rng.normal(size=144), "x": rng.normal(size=144), "one": 1})
    return frame.assign(a=[f"a{k}" for k in a], b=[f"b{k}" for k in b], c=[f"c{k}" for k in c])


def criteria(fits: list[Any]) -> list[float]:
    return [-2 * float(fit.llf) for fit in fits]


def test_two_factors_in_python(two_factors: pd.DataFrame) -> None:
    table, names = rows("tbl-di-levels"), {"fit_lmm": fit_lmm, "smf": smf, "data": two_factors}
    own = [eval(cell[0], names) for cell in table["helpers"]]
    theirs = [eval(cell[0], names).fit(reml=True) for cell in table["statsmodels"]]
    assert criteria(theirs) == pytest.approx(criteria(own), abs=1e-4)
    assert [fit.ngroups_by_group for fit in own] == [{"a:b": 24, "a": 8}, {"a": 8, "c": 6}]


@needs_r
@pytest.mark.parametrize("package", ["lme4", "nlme"])
def test_two_factors_in_r(package: str, two_factors: pd.DataFrame, tmp_path: Path) -> None:
    table = rows("tbl-di-levels")
    two_factors.to_csv(tmp_path / "two.csv", index=False)
    lines = [
        f'setwd("{tmp_path.as_posix()}")',
        f"suppressMessages(library({package}))",
        'data <- read.csv("two.csv", stringsAsFactors = TRUE)',
        *(f"cat(-2 * as.numeric(logLik({cell[0]})), '\\n')" for cell in table[package]),
    ]
    found = [float(line) for line in run_r(lines, tmp_path).split()]
    own = [eval(cell[0], {"fit_lmm": fit_lmm, "data": two_factors}) for cell in table["helpers"]]
    assert found == pytest.approx(criteria(own), abs=1e-3)

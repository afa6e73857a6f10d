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

from pylmm_helpers import blups, coef_table, fit_lmm, icc, load

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
        cells = [c.strip() for c in line.strip("|").split(" | ")]
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
    found = values({"fit": fit}, rows("tbl-di-r"), 1)
    check(found, data)
    # the trap: coefficients of each group
    assert len(fit.fixef) == data["g"].nunique()
    assert 'Lmer("y ~ x + (1 + x | g)", data=data).fit(REML=True)' in blocks("python")[2]


@needs_r
def test_spellings_names_and_traps_in_r(data: pd.DataFrame, tmp_path: Path) -> None:
    data.to_csv(tmp_path / "data.csv", index=False)
    one, two = blocks("r")[0].strip().splitlines()
    names = {s: cells[0] for s, cells in rows("tbl-di-r").items() if cells[0]}
    lines = [
        "suppressMessages(library(lme4))",
        f'data <- read.csv("{(tmp_path / "data.csv").as_posix()}")',
        f"first <- {one}",
        f"fit <- {two}",
        "out <- list()",
        *(
            f"out[[{json.dumps(symbol)}]] <- as.numeric(unlist({spans[0]}))"
            for symbol, spans in names.items()
        ),
        "ml <- refitML(fit)",
        "out$ml <- c(deviance(ml), -2 * as.numeric(logLik(ml)), suppressWarnings(REMLcrit(ml)))",
        'for (k in names(out)) cat(k, "\\t", paste(format(out[[k]], digits = 12), '
        'collapse = " "), "\\n")',
    ]
    script = tmp_path / "names.R"
    script.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        ["Rscript", "--vanilla", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = {
        key.strip(): [float(v) for v in text.split()]
        for key, _, text in (line.partition("\t") for line in done.stdout.splitlines())
    }
    check(found, data)
    deviance, minus_two_loglik, other = found["ml"]
    assert deviance == pytest.approx(minus_two_loglik) and abs(other - deviance) > 1


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

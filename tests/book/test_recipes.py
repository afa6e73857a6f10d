"""Recipes: each block runs alone on a file that isn't the book's, and Python agrees with R."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot  # noqa: F401  (so that `run_python` can close the figures)
import numpy as np
import pandas as pd
import pytest
from cells import CHAPTERS
from side_by_side import needs_r, run_python, run_r

from offline_render.book.dialect import check_dialect
from pylmm_helpers import compare_groups, fit_lmm, lrt, marginal_means

PAGE = CHAPTERS / "recipes.qmd"
TEXT = PAGE.read_text(encoding="utf-8")
WEEKS = np.array([0, 1, 2, 4, 8])
BLOCK = re.compile(r"```(python|r)\n(.*?)```", re.S)


@dataclass(frozen=True)
class Recipe:
    """A heading with its id, its two blocks and the sentences after them."""

    heading: str
    blocks: dict[str, str]
    body: str


def recipes() -> dict[str, Recipe]:
    """Every section of the page that holds code, by its id."""
    found = {}
    for section in re.split(r"^(?=#{2,3} )", TEXT, flags=re.M)[1:]:
        title, body = section.split("\n", 1)
        heading, name = re.fullmatch(r"#+ (.+) \{#sec-rec-([\w-]+) \.unnumbered\}", title).groups()
        blocks = BLOCK.findall(body)
        if blocks:
            assert [language for language, _ in blocks] == ["python", "r"], heading
            found[name] = Recipe(heading, dict(blocks), body)
    return found


RECIPES = recipes()
PREPARE = ["names", "wide"]  # those that write my_data.csv from another file
KR = '"Pr(>|t|)"'
# Python, R, relative tolerance: optimisers of both stop within 1e-3 of the least criterion's place
SAME = {
    "reference": [("coef_table(fit)['p_value']['programme[T.new care]']",
                   f"coef(summary(fit, ddf = 'Kenward-Roger'))[2, {KR}]", 2e-3)],
    "pvalue": [
        ("effects['estimate']", "effects[, 'Estimate']", 1e-4),
        ("effects['p_value']", f"effects[, {KR}]", 5e-3),
        ("effects['df']", "effects[, 'df']", 2e-3),
        ("same.fit().fe_params", "effects[, 'Estimate']", 1e-3),
    ],
    "few": [
        ("kr['p_value']", f"kr[, {KR}]", 5e-3),
        ("means.params", "coef(means)", 1e-9),
        ("means.pvalues", f"coef(summary(means))[, {KR}]", 1e-6),
    ],
    "icc": [
        ("share['estimate']", "share[['icc']]", 1e-4),
        # 500 draws from the model against a profile: two methods, one message
        ("[share['ci_low'], share['ci_high']]", "share[-1]", 0.25),
    ],
    "slope": [
        ("coef_table(fit)['std_error']", "coef(summary(fit, ddf = 'Kenward-Roger'))[, 2]", 2e-3),
        ("[slope, sd]", "c(slope, sd)", 2e-3),
    ],
    "variance": [
        ("[intercept['statistic'].iloc[0], slope['statistic'].iloc[0]]", "chi2", 1e-4),
        ("slope['p_value'].iloc[0]", "(above(1, chi2[2]) + above(2, chi2[2])) / 2", 1e-3),
    ],
    "context": [
        ("effects['estimate']", "effects[, 'Estimate']", 1e-4),
        ("effects['p_value']", f"effects[, {KR}]", 5e-3),
    ],
    "levels": [
        ("coef_table(fit)['p_value']", f"coef(summary(fit, ddf = 'Kenward-Roger'))[, {KR}]", 1e-2),
        ("shares['share']", "shares[c('doctor:clinic', 'clinic', 'rater')]", 2e-3),
    ],
    "repeated": [
        ("effects['estimate']", "fixef(fit)", 1e-3),
        ("effects['std_error']", "summary(fit)$tTable[, 'Std.Error']", 2e-3),
        ("test['statistic'].iloc[0]", "anova(plain, fit)$L.Ratio[2]", 1e-3),
    ],
    "singular": [
        ("float(fit.singular)", "as.numeric(isSingular(fit))", 0),
        ("effects['p_value']", f"effects[, {KR}]", 5e-3),
    ],
    "caterpillar": [("clinics.sort_index()['estimate']",
                     "clinics$clinic[order(rownames(clinics$clinic)), 1]", 1e-3)],
    # lme4 multiplies by (G - p) / G, of 40 clinics and 3 coefficients
    "residuals": [("left_out.sort_index()['cooks_distance']",
                   "left_out[order(names(left_out))] * 40 / 37", 2e-2)],
    "boxcox": [
        ("power.estimate", "power", 1e-3),
        ("ratios['estimate']", "exp(effects[, 'Estimate'])", 1e-4),
    ],
    "means": [
        ("means['estimate']", "means$Estimate", 1e-4),
        ("means['df']", "means$df", 2e-3),
        ("pairs['p_value']", f"pairs[[{KR}]]", 5e-3),
    ],
    "size": [("plan['groups'].iloc[0]", "ceiling(2 * plan$n)", 0)],
    "report": [
        ("fit.fe_params", "fixef(fit)", 1e-4),
        # the text rounds to the second digit of the standard error
        ("[float(re.search(r'against new care\\) (-?[.0-9]+)', text)[1])]",
         "effects[2, 'Estimate']", 3e-2),
        ("[fit.nobs, fit.ngroups, fit.n_dropped]",
         "c(nobs(fit), ngrps(fit), length(na.action(fit@frame)))", 0),
    ],
    "missing": [
        ("[fit.nobs, len(data)]", "c(nobs(fit), nrow(data))", 0),
        ("coef_table(gap)['p_value']",
         f"coef(summary(gap, ddf = 'Kenward-Roger'))[, {KR}]", 5e-3),
    ],
}  # fmt: skip


def clinic_rows(rng: np.random.Generator, clinic: int, first: int) -> list[dict[str, Any]]:
    """Visits of one clinic's patients, whose numbers go on from `first`."""
    usual = bool(clinic % 2)
    habit = rng.normal(10, 2)
    of_clinic, slope = rng.normal(0, 0.10), rng.normal(0.02, 0.012)
    of_doctor = rng.normal(0, 0.06, rng.integers(2, 5))
    of_rater = [-0.06, 0.03, 0.08, -0.02, 0.0, -0.04]
    near = 0.6 ** np.abs(np.subtract.outer(WEEKS, WEEKS))
    rows = []
    for patient in range(first, first + int(rng.integers(4, 15))):
        doctor, male = rng.integers(len(of_doctor)), rng.random() < 0.5
        age, dose = int(rng.integers(30, 80)), round(habit + rng.normal(0, 3), 1)
        raters = rng.integers(len(of_rater), size=len(WEEKS))
        level = 3.4 + 0.004 * (age - 50) + 0.05 * male - 0.12 * (not usual)
        level += slope * (dose - 10) + 0.03 * (habit - 10)
        level += of_clinic + of_doctor[doctor] + rng.normal(0, 0.10)
        visits = rng.multivariate_normal(np.zeros(len(WEEKS)), 0.18**2 * near)
        for week, rater, visit in zip(WEEKS, raters, visits, strict=True):
            y = np.exp(level - 0.015 * week + of_rater[rater] + visit)
            rows.append({
                "clinic": f"c{clinic:02d}", "doctor": f"d{doctor}", "patient": f"p{patient:03d}",
                "rater": f"r{rater + 1}", "week": week, "y": round(float(y), 1),
                "age years": float(age), "sex": "male" if male else "female",
                "programme": "usual care" if usual else "new care", "dose": dose,
            })  # fmt: skip
    return rows


def some_study() -> pd.DataFrame:
    """Forty clinics of unequal size, with blanks, words and missing values."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for clinic in range(1, 41):
        rows += clinic_rows(rng, clinic, first=len(rows) // len(WEEKS) + 1)
    data = pd.DataFrame(rows)
    without_age = rng.choice(data["patient"].unique(), 8, replace=False)
    data.loc[data["patient"].isin(without_age), "age years"] = np.nan
    data.loc[rng.choice(len(data), 15, replace=False), "y"] = np.nan
    return data


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reader's files: the recipes' one, and two that must be prepared."""
    folder = tmp_path_factory.mktemp("study")
    data = some_study()
    data.to_csv(folder / "my_data.csv", index=False)
    other = data.rename(columns={"clinic": "hospital", "y": "SBP"})
    words = other["dose"].astype(str)
    words[::97] = "n.d."
    other.assign(dose=words).to_csv(folder / "my_file.csv", index=False)
    wide = data.pivot(index=["clinic", "patient"], columns="week", values="y")
    wide.add_prefix("week").reset_index().to_csv(folder / "my_wide.csv", index=False)
    return folder


@pytest.fixture
def here(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, to work in; a block may write there."""
    copy = tmp_path / "here"
    shutil.copytree(study, copy)
    monkeypatch.chdir(copy)
    return copy


def flat(value: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(value, dtype=float)).ravel()


def test_the_page_keeps_to_the_dialect() -> None:
    check_dialect(PAGE)
    assert "# Recipes {#sec-recipes .unnumbered}" in TEXT


def test_every_block_of_the_page_is_tested() -> None:
    """No block outside a recipe, and none that isn't compared with R."""
    assert sum(len(r.blocks) for r in RECIPES.values()) == len(re.findall(r"^```\w", TEXT, re.M))
    assert set(RECIPES) == {*PREPARE, *SAME}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_complete(name: str) -> None:
    """Both tabs, a file to read, fifteen lines at most, and a section that explains it."""
    recipe = RECIPES[name]
    assert re.findall(r"^#### (.+)$", recipe.body, re.M) == ["Python", "R"]
    after = recipe.body.rpartition("\n:::\n")[2]
    assert re.search(r"@sec-[a-z]", after), "no section explains it"
    for language, code in recipe.blocks.items():
        assert "read_csv(" in code or "read.csv(" in code
        assert language == "r" or "import " in code
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= 15 and max(map(len, lines)) <= 80
    if "fit_lmm" in recipe.blocks["python"] and name != "reference":
        assert recipe.heading.endswith("?"), "a heading asks what the reader asks"


def test_sections_that_explain_exist() -> None:
    everything = "".join(p.read_text(encoding="utf-8") for p in CHAPTERS.glob("*.qmd"))
    named = {*re.findall(r"@(sec-[\w-]+)", TEXT), *re.findall(r"\(#(sec-[\w-]+)\)", TEXT)}
    assert not {label for label in named if f"{{#{label}" not in everything}


def test_headings_hold_the_words_that_readers_search() -> None:
    headings = " ".join(r.heading for r in RECIPES.values())
    for words in ["p-value", "Few groups", "ICC", "random slope", "variance zero", "contextual",
                  "Nested", "crossed", "Repeated measures", "AR1", "Singular", "LinAlgError",
                  "caterpillar", "residual", "Box-Cox", "marginal means", "sample size", "report",
                  "Missing values", "reference level"]:  # fmt: skip
        assert words in headings


def test_statsmodels_is_spelled_once() -> None:
    spelled = [n for n, r in RECIPES.items() if "smf.mixedlm" in r.blocks["python"]]
    assert spelled == ["pvalue"]


def test_the_table_names_the_columns_that_recipes_use() -> None:
    assert set(re.findall(r"^\| `([\w ]+)` \|", TEXT, re.M)) == set(some_study().columns)


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("name", RECIPES)
def test_python_runs_alone_and_agrees_with_r(name: str, here: Path) -> None:
    recipe = RECIPES[name]
    names = run_python(recipe.blocks["python"])
    if name in PREPARE:
        ours = pd.read_csv(here / "my_data.csv")
        assert ours["y"].notna().any()
    if shutil.which("Rscript") is None:
        return
    checks = SAME.get(name, [])
    answers = run_r(f'setwd("{here}")\n{recipe.blocks["r"]}', *(asked for _, asked, _ in checks))
    if name in PREPARE:
        theirs = pd.read_csv(here / "my_data.csv")
        pd.testing.assert_frame_equal(ours, theirs[ours.columns], check_dtype=False)
    names["re"] = re
    for (expression, _, rel), theirs in zip(checks, answers, strict=True):
        found = flat(eval(expression, names))
        assert found == pytest.approx(flat(theirs), rel=rel, abs=1e-6), expression


def test_cluster_robust_errors_of_few_groups_by_hand(here: Path) -> None:
    """CR2 as Pustejovsky & Tipton (2018) write it, which R has in a package that may be absent."""
    names = run_python(RECIPES["few"].blocks["python"])
    fit, data = names["fit"], names["data"].dropna(subset=["y"])
    clinic = data["clinic"].to_numpy()
    X = np.column_stack([np.ones(len(data)), data["programme"] == "usual care"]).astype(float)
    within = np.equal.outer(clinic, clinic)
    V = fit.scale * np.eye(len(data)) + float(fit.cov_re.iloc[0, 0]) * within
    W = np.linalg.inv(V)
    M = np.linalg.inv(X.T @ W @ X)
    residual = data["y"].to_numpy() - X @ (M @ X.T @ W @ data["y"].to_numpy())
    meat = np.zeros_like(M)
    for one in np.unique(clinic):
        rows = np.flatnonzero(clinic == one)
        x, D = X[rows], np.linalg.cholesky(V[np.ix_(rows, rows)]).T
        values, vectors = np.linalg.eigh(D @ (V[np.ix_(rows, rows)] - x @ M @ x.T) @ D.T)
        adjust = D.T @ (vectors / np.sqrt(values)) @ vectors.T @ D
        score = x.T @ W[np.ix_(rows, rows)] @ adjust @ residual[rows]
        meat += np.outer(score, score)
    by_hand = np.sqrt(np.diag(M @ meat @ M))
    assert names["cr2"]["std_error"].to_numpy(dtype=float) == pytest.approx(by_hand, rel=1e-6)


@needs_r
def test_intervals_of_clinics_are_a_little_wider_than_rs(here: Path) -> None:
    """R's take the fixed effects as known."""
    recipe = RECIPES["caterpillar"]
    clinics = run_python(recipe.blocks["python"])["clinics"].sort_index()
    ours = (clinics["ci_high"] - clinics["ci_low"]).to_numpy(dtype=float)
    by_name = "with(as.data.frame(clinics), condsd[order(as.character(grp))])"
    (sds,) = run_r(f'setwd("{here}")\n{recipe.blocks["r"]}', by_name)
    ratio = ours / (2 * 1.96 * np.array(sds))
    assert ((ratio > 1) & (ratio < 1.2)).all()


def test_what_the_page_says_of_reading_a_file(here: Path) -> None:
    """The alphabet's reference, backticks, missing values by column, unknown spellings."""
    data = pd.read_csv("my_data.csv").query("week == 0")
    formula = "y ~ programme + `age years` + (1 | clinic)"
    fit = fit_lmm(formula, data, missing="drop")
    assert "programme[T.usual care]" in fit.fe_params
    with pytest.raises(ValueError, match="needs backticks"):
        fit_lmm("y ~ age years + (1 | clinic)", data, missing="drop")
    empty = data[["age years", "y"]].isna().sum()
    with pytest.raises(ValueError, match="missing values in column") as stopped:
        fit_lmm(formula, data)
    for column, count in empty.items():
        assert f"'{column}' ({count})" in str(stopped.value)
    used = data.dropna(subset=["y", "age years"])
    assert fit.nobs == len(used) and f"{len(data) - len(used)} incomplete" in str(fit.summary())
    assert pd.Series(pd.Categorical(["Usual care"], ["usual care", "new care"])).isna().all()


def test_other_calls_that_the_page_names(here: Path) -> None:
    """They take the recipes' fits as they are."""
    data = pd.read_csv("my_data.csv").query("week == 0")
    fit = fit_lmm("y ~ `age years` + sex + (1 | clinic)", data, missing="drop")
    assert len(compare_groups(fit, "c01", "c02")) == 1
    assert len(marginal_means(fit, "sex", weights="proportional")) == 2
    raters = fit_lmm("y ~ programme + C(rater) + (1 | clinic/doctor)", data, missing="drop")
    assert "C(rater)[T.r2]" in raters.fe_params
    visits = pd.read_csv("my_data.csv")
    plain = fit_lmm("y ~ week + (1 | patient)", visits, missing="drop")
    steps = fit_lmm("y ~ week + (1 | patient)", visits, missing="drop", correlation="ar1(week)")
    test = lrt(steps, plain).iloc[0]
    assert float(test["p_value"]) <= float(test["p_value_naive"])

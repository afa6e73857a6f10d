"""How every public helper is called, and how its answer goes with the units of the data.

A helper without an entry here fails a test; see `symmetries` for the words used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from symmetries import GROUPS, ROWS, Made, Unit, original

import pylmm_helpers as ph
from pylmm_helpers import plots

ONE, TEXT, WORDS = Unit(), Unit(kind="text"), Unit(kind="words")
Y, Y2 = Unit(y=1), Unit(y=2)
Y_AT = Unit(y=1, at="y")
RESIDUAL, RESIDUAL_SD = Unit(y=2, w=1), Unit(y=1, w=0.5)
SLOPE = Unit(y=1, x=-1)
SHIFTED = "x shift, y shift"
FAR = "x shift"  # the intercept is then another place's


@dataclass(frozen=True)
class Entry:
    """One helper.

    Attributes
    ----------
    answer : callable
        From `Made` to the parts of the answer.
    rules : list of (pattern, Unit)
        For ``part|column|row``; the first that matches counts.
    tolerance : float
        Relative to the largest number of a column. The default is what is left of the digits after
        a search whose last step promised 1e-8 of the criterion; others say why.
    instead : mapping
        Symmetries that hold in another way or can't be had, with the reason.
    units : int
        How many other units are tried; fewer where an answer takes long.
    """

    answer: Callable[[Made], Mapping[str, Any]]
    rules: list[tuple[str, Unit]]
    tolerance: float = 1e-6
    instead: Mapping[str, str] = field(default_factory=dict)
    units: int = 4


def logs(times: float, reml: bool, p: int, with_x: int) -> Unit:
    """A criterion (times 1) or log-likelihood (times -1/2) of p fixed effects, `with_x` of them
    slopes of x."""
    rows = ROWS - p if reml else ROWS
    return Unit(log_y=times * 2 * rows, log_x=times * 2 * with_x if reml else 0.0)


def coefficients(part: str) -> list[tuple[str, Unit]]:
    """Rules of a table of tests of the fixed effects."""
    size, moved = r"(estimate|ci_low|ci_high|std_error)", "x shift, y shift, reference"
    return [
        (
            rf"{part}\|(estimate|ci_low|ci_high)\|Intercept",
            Unit(y=1, at="y", breaks=FAR + ", reference"),
        ),
        (rf"{part}\|std_error\|Intercept", Unit(y=1, breaks=FAR + ", reference")),
        (rf"{part}\|df\|Intercept", Unit(breaks=FAR + ", reference")),
        (rf"{part}\|(statistic|p_value)\|Intercept", Unit(breaks=moved)),
        (rf"{part}\|{size}\|(x|u)", SLOPE),
        (rf"{part}\|{size}\|z", Y),
        (rf"{part}\|{size}\|k.*", Unit(y=1, breaks="reference")),
        (rf"{part}\|(df|statistic|p_value)\|k.*", Unit(breaks="reference")),
        (rf"{part}\|(df|statistic|p_value)\|(x|u|z)", ONE),
    ]


# ---- fits


def parts_of(m: Made, name: str, fit: Any) -> dict[str, Any]:
    terms = [str(t) for t in fit.cov_re.index]
    rows = (
        {}
        if fit.design is None
        else {
            f"{name} fitted": m.by_row(fit.fittedvalues),
            f"{name} resid": m.by_row(fit.resid),
        }
    )
    return {
        f"{name} table": pd.DataFrame({"estimate": fit.fe_params, "std_error": fit.bse_fe}),
        f"{name} cov_re": pd.Series(
            {f"{a} {b}": fit.cov_re.loc[a, b] for a in terms for b in terms if a <= b}
        ),
        f"{name} theta": pd.Series(fit.theta),
        f"{name} sizes": pd.Series(
            {
                "scale": fit.scale,
                "criterion": fit.criterion,
                "llf": fit.llf,
                "aic": fit.aic,
                "bic": fit.bic,
            }
        ),
        f"{name} counts": pd.Series(
            {
                "n": fit.nobs,
                "groups": fit.ngroups,
                "df": fit.df_resid,
                "lost": fit.n_dropped,
                "converged": fit.converged,
                "singular": fit.singular,
            }
        ),
        f"{name} effects": m.by_group(fit.random_effects),
        **rows,
        **structure_of(name, fit),
    }


def structure_of(name: str, fit: Any) -> dict[str, Any]:
    """Phi and the ratios of SD, where the residuals have them."""
    if fit.structure is None:
        return {}
    values = {"phi": fit.phi}
    if fit.structure.ratios is not None:
        values |= {f"ratio {label}": ratio for label, ratio in fit.variance_ratios.items()}
    return {f"{name} structure": pd.Series(values)}


def fit_rules(name: str, p: int, with_x: int, reml: bool) -> list[tuple[str, Unit]]:
    criterion, llf = logs(1.0, reml, p, with_x), logs(-0.5, reml, p, with_x)
    intercept = Unit(y=1, breaks="x shift" if "slope" in name else "")
    weight = 1.0 if name in ("weighted", "weighted slope", "offset") else 0.0
    return [
        *coefficients(rf"{name} table"),
        (rf"{name} cov_re\|Intercept Intercept\|", Unit(y=2, breaks=intercept.breaks)),
        (rf"{name} cov_re\|Intercept x\|", Unit(y=2, x=-1, breaks=FAR)),
        (rf"{name} cov_re\|x x\|", Unit(y=2, x=-2)),
        (rf"{name} theta\|0\|", Unit(w=-weight / 2, breaks=intercept.breaks)),
        (rf"{name} theta\|[12]\|", Unit(x=-1, w=-weight / 2, breaks=FAR)),
        (rf"{name} sizes\|scale\|", Unit(y=2, w=weight)),
        (rf"{name} sizes\|llf\|", llf),
        (rf"{name} sizes\|.*\|", criterion),
        (rf"{name} counts\|.*", TEXT),
        (rf"{name} effects\|Intercept\|.*", intercept),
        (rf"{name} effects\|x\|.*", SLOPE),
        (rf"{name} fitted\|.*", Y_AT),
        (rf"{name} resid\|.*", Y),
        (rf"{name} structure\|.*", ONE),
    ]


FITS = {
    "plain": (5, 1, True),
    "slope": (3, 1, True),
    "ml": (3, 1, False),
    "weighted": (3, 1, True),
    "weighted slope": (3, 1, True),
    "offset": (3, 1, True),
    "ar1": (3, 1, True),
    "classes": (3, 1, True),
}
REFITTED = [
    rule for name in ("plain", "weighted slope", "offset") for rule in fit_rules(name, *FITS[name])
]


def fit_lmm(m: Made) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name in FITS:
        parts |= parts_of(m, name, m.fit(name))
    return parts


def refitted(m: Made) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name in ("plain", "weighted slope", "offset"):
        fit = m.fit(name)
        parts |= parts_of(m, name, ph.refit(fit, fit.y))
    return parts


def products(m: Made) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name, options in (
        ("plain", {"formula": "y ~ x + z + k"}),
        ("weighted slope", {"formula": "y ~ x + z", "re_formula": "1 + x", "weights": "w"}),
        ("offset", {"formula": "y ~ x + z + offset(o)", "weights": "w"}),
    ):
        sums = ph.cross_products(m.frame, groups="g", progress=False, **options)  # type: ignore[arg-type]
        parts |= parts_of(m, name, ph.fit_lmm(sums))
    return parts


def frozen_results(m: Made) -> dict[str, Any]:
    """What `LMMResults` prints: its words."""
    return {
        "summary": str(m.fit("plain").summary()).splitlines()[0],
        "notes": pd.Series(m.fit("weighted").summary().notes),
        "repr": repr(m.fit("weighted slope")),
    }


def bars(m: Made, random: str = "(1 | g) + (1 | k)", fixed: str = "x + z") -> Any:
    """A model with two factors that cross."""
    return m.once(random + fixed, lambda: ph.fit_lmm(f"y ~ {fixed} + {random}", m.frame))


def several_results(m: Made) -> dict[str, Any]:
    """Two crossed factors, with all that helpers say of them."""
    fit = bars(m)
    old = {new: label for label, new in m.levels.items()}
    categories = fit.random_effects_by_group["k"]
    variances = {name: cov.iloc[0, 0] for name, cov in fit.cov_re_by_group.items()}
    return {
        "table": pd.DataFrame({"estimate": fit.fe_params, "std_error": fit.bse_fe}),
        "variances": pd.Series({**variances, "residual": fit.scale}),
        "theta": pd.Series(fit.theta),
        "criterion": pd.Series({"criterion": fit.criterion}),
        "effects": m.by_group(fit.random_effects_by_group["g"]),
        "categories": categories.set_axis([old[label] for label in categories.index]).sort_index(),
        "resid": m.by_row(fit.resid),
        "fitted": m.by_row(fit.fittedvalues),
        "predicted": m.by_row(ph.predict(fit, level="g", interval=None)["prediction"]),
        "again": m.by_row(
            ph.predict(fit, m.pandas(), interval="confidence")[["prediction", "std_error"]]
        ),
        "residuals": m.by_row(
            ph.residuals(fit)[["marginal", "conditional", "marginal_std", "conditional_std"]]
        ),
        "of levels": m.by_group(ph.residuals(fit, "g")[["standardised"]]),
        "coef": ph.coef_table(fit),
        "icc": ph.icc(fit)[["estimate", "ci_low", "ci_high"]],
        "repr": repr(fit),
    }


# ---- variances


def variance_components(m: Made) -> dict[str, Any]:
    at = 2.0 * m.w_unit
    return {
        "plain": ph.variance_components(m.fit("plain")),
        "slope": ph.variance_components(m.fit("slope")),
        "weighted": ph.variance_components(m.fit("weighted"), weight=at),
        "weighted slope": ph.variance_components(m.fit("weighted slope"), weight=at),
        "unweighted rows": ph.variance_components(m.fit("weighted")),
    }


def component_rules() -> list[tuple[str, Unit]]:
    return [
        (r".*\|group\|.*", TEXT),
        (r"unweighted rows\|variance\|Residual", RESIDUAL),
        (r"unweighted rows\|sd\|Residual", RESIDUAL_SD),
        (r".*\|share\|.*|.*\|correlation\|cov.*", Unit(breaks=FAR)),
        (r".*slope\|variance\|Intercept", Unit(y=2, breaks=FAR)),
        (r".*slope\|sd\|Intercept", Unit(y=1, breaks=FAR)),
        (r".*slope\|variance\|x", Unit(y=2, x=-2)),
        (r".*slope\|sd\|x", SLOPE),
        (r".*\|variance\|cov.*", Unit(y=2, x=-1, breaks=FAR)),
        (r".*\|variance\|.*", Y2),
        (r".*\|sd\|.*", Y),
        (r".*\|correlation\|.*", TEXT),
    ]


def variance_function(m: Made) -> dict[str, Any]:
    values = m.x([-1.0, 0.0, 0.5, 2.0])
    parts = {
        "slope": ph.variance_function(m.fit("slope"), "x", values),
        "weighted": ph.variance_function(
            m.fit("weighted slope"), "x", values, weight=2.0 * m.w_unit
        ),
        "bars": ph.variance_function(bars(m, "(x | g) + (1 | k)"), "x", values),
    }
    return {name: part.rename(columns={"x": "value"}) for name, part in parts.items()}


def icc(m: Made) -> dict[str, Any]:
    at = 2.0 * m.w_unit
    return {
        "plain": ph.icc(m.fit("plain")),
        "delta": ph.icc(m.fit("plain"), "delta"),
        "f": ph.icc(m.fit("one"), "f"),
        "f offset": ph.icc(m.fit("offset alone"), "f"),
        "slope": ph.icc(m.fit("slope")),
        "weighted": ph.icc(m.fit("weighted"), weight=at),
        "weighted slope": ph.icc(m.fit("weighted slope"), weight=at),
    }


def r_squared(m: Made) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name in ("plain", "slope"):
        parts[f"{name} all"] = ph.r_squared(m.fit(name))
        by = ph.r_squared(m.fit(name), by_level=True)
        parts[f"{name} levels"] = by.drop(columns="note")
        parts[f"{name} notes"] = by["note"]
    return parts


def design_effect(m: Made) -> dict[str, Any]:
    return {
        "plain": ph.design_effect(m.fit("plain")),
        "weighted": ph.design_effect(m.fit("weighted"), weight=2.0 * m.w_unit),
        "bars": ph.design_effect(bars(m)).fillna(0.0),
        "numbers": ph.design_effect(0.2, m.pandas()["g"].astype(str).value_counts()),
    }


def anova_components(m: Made) -> dict[str, Any]:
    return {
        "one": ph.anova_components("y ~ 1", m.frame, "g"),
        "more": ph.anova_components("y ~ x + z + k", m.frame, "g"),
        "offset": ph.anova_components("y ~ x + offset(o)", m.frame, "g"),
        "no intercept": ph.anova_components("e ~ 0 + x", m.frame, "g"),
        "nested": nested(m),
    }


def nested(m: Made) -> pd.DataFrame:
    """A balanced design of three fours of groups, with the first three rows of each."""
    first = np.concatenate([np.flatnonzero(original()["g"] == g)[:3] for g in range(GROUPS)])
    frame = m.pandas().loc[np.isin(m.order, first)]
    old = {new: label for label, new in m.labels.items()}
    four = [f"four {old[g] // 4}" for g in frame["g"]]
    return ph.anova_components("y ~ 1", frame.assign(four=four), ["four", "g"])


def marginal_means(m: Made) -> dict[str, Any]:
    fit = m.fit("plain")
    old = {new: label for label, new in m.levels.items()}
    means = ph.marginal_means(fit, "k")
    pairs = ph.marginal_means(fit, "k", pairs=True, df="satterthwaite")
    rows = {}
    for pair, row in pairs.iterrows():
        first, second = (old[word] for word in str(pair).split(" - "))
        turn = first > second  # another order of the categories turns a pair round
        low, high = (-row["ci_high"], -row["ci_low"]) if turn else (row["ci_low"], row["ci_high"])
        sign = -1.0 if turn else 1.0
        rows[" - ".join(sorted([first, second]))] = {
            "estimate": sign * row["estimate"], "std_error": row["std_error"], "df": row["df"],
            "statistic": sign * row["statistic"], "p_value": row["p_value"], "ci_low": low,
            "ci_high": high,
        }  # fmt: skip
    values = m.x([-1.0, 0.5])
    at = ph.marginal_means(fit, "k", at={"x": [values[0]]}, weights="proportional")
    return {
        "means": means.set_axis([old[label] for label in means.index]).sort_index(),
        "at": at.set_axis([old[label] for label in at.index]).sort_index(),
        "pairs": pd.DataFrame(rows).T.sort_index(),
    }


def compare_groups(m: Made) -> dict[str, Any]:
    first, second = m.labels[2], m.labels[9]
    slope, many = m.fit("slope"), bars(m)
    at = {"x": m.x([0.5]), "z": [1.0]}
    return {
        "one": ph.compare_groups(m.fit("plain"), first, second).reset_index(drop=True),
        "slope": ph.compare_groups(slope, first, second, at).reset_index(drop=True),
        "several": ph.compare_groups(many, first, second, group="g").reset_index(drop=True),
    }


# ---- planning


def simulated(m: Made) -> dict[str, Any]:
    return {
        name: m.by_row(ph.simulate(m.fit(name), 2, rng=3)) for name in ("plain", "weighted slope")
    }


def said(m: Made) -> dict[str, float]:
    """A slope of x to find, and variances, in the units of the data."""
    y, x = m.y_unit[1], m.x_unit[1]
    return {
        "effect": 0.4 * y / x, "predictor_sd": x, "sigma2_g": 0.5 * y**2, "sigma2": 2.0 * y**2
    }  # fmt: skip


def sample_size(m: Made) -> dict[str, Any]:
    slope = 0.1 * (m.y_unit[1] / m.x_unit[1]) ** 2
    return {
        "herds": ph.sample_size(cluster_size=6, cv=0.4, **said(m)),
        "cows": ph.sample_size(level="row", groups=30, sigma2_slope=slope, **said(m)),
        "cheapest": ph.sample_size(cost_group=9, cost_unit=1, **said(m)),
    }


def power(m: Made) -> dict[str, Any]:
    found = ph.power(
        groups=10, cluster_size=4, level="row", method="simulation", replicates=12, rng=5, **said(m)
    )
    return {
        "formula": ph.power(groups=[20, 40], cluster_size=[5, 9], **said(m)),
        "simulation": found,
    }


def simulate_power(m: Made) -> dict[str, Any]:
    effect = 0.9 * m.y_unit[1] / m.x_unit[1]
    return {
        "own": ph.simulate_power(m.fit("slope"), "x", effect, replicates=8, rng=5),
        "more": ph.simulate_power(m.fit("intercept"), "x", effect, 15, replicates=8, rng=5),
    }


def power_figure(m: Made, ax: Any) -> Any:
    return plots.power(ph.power(groups=[20, 40], cluster_size=[5, 9], **said(m)), ax=ax)


# ---- inference


def coef_table(m: Made) -> dict[str, Any]:
    return {
        f"{name} {df}": ph.coef_table(m.fit(name), df=df)
        for name in ("plain", "slope", "weighted slope")
        for df in ("kenward-roger", "satterthwaite", "wald", "cr2")
        if df != "cr2" or "weighted" not in name
    }


def contrast(m: Made) -> dict[str, Any]:
    slope = m.fit("slope")
    scaled = {
        "x": m.x_unit[1],
        "z": -0.5,
    }  # a step of x and half a step of z, in the original units
    k = m.levels
    middle, top = f"k[T.{k['mid']}]", f"k[T.{k['top']}]"
    parts = {
        "one": ph.contrast(slope, scaled),
        "rhs": ph.contrast(slope, "x", rhs=1.2 * m.y_unit[1] / m.x_unit[1]),
        "joint": ph.contrast(slope, ["x", "z"]),
        "joint rhs": ph.contrast(
            slope, ["x", "z"], rhs=[1.2 * m.y_unit[1] / m.x_unit[1], 0.5 * m.y_unit[1]]
        ),
        "joint wald": ph.contrast(m.fit("weighted slope"), ["x", "z"], df="wald"),
        "repeated": ph.contrast(
            slope,
            ["x", "z", {"x": m.x_unit[1], "z": 1.0}],
            rhs=np.array([1.0 / m.x_unit[1], 0.2, 1.2]) * m.y_unit[1],
        ),
    }
    names = list(m.fit("plain").fe_params.index)
    if {middle, top} <= set(names):
        parts["levels"] = ph.contrast(m.fit("plain"), {top: 1.0, middle: -1.0})
    else:
        parts["levels"] = ph.contrast(m.fit("plain"), {middle: -1.0})
    joint = [n for n in names if n.startswith("k[")]
    parts["all levels"] = ph.contrast(m.fit("plain"), joint)
    return {name: part.reset_index(drop=True) for name, part in parts.items()}


def lrt(m: Made) -> dict[str, Any]:
    return {
        "fixed": ph.lrt(m.fit("ml"), m.fit("ml small")),
        "slope": ph.lrt(m.fit("slope"), m.fit("intercept")),
        "weighted": ph.lrt(m.fit("weighted slope"), m.fit("weighted")),
        "none": ph.lrt(m.fit("intercept"), "ols"),
        "both": ph.lrt(m.fit("slope"), "ols"),
    }


def bootstrap(m: Made) -> dict[str, Any]:
    found = ph.parametric_bootstrap(m.fit("weighted slope"), replicates=40, rng=3)
    test = ph.parametric_bootstrap(m.fit("slope"), m.fit("intercept"), replicates=40, rng=3)
    fixed = ph.parametric_bootstrap(m.fit("ml"), m.fit("ml small"), replicates=40, rng=3)
    return {
        "intervals": found.table,
        "draws": found.draws,
        "test": test.table,
        "statistics": test.statistics,
        "fixed": fixed.table,
        "fixed statistics": fixed.statistics,
    }


def profile_ci(m: Made) -> dict[str, Any]:
    return {
        "slope": ph.profile_ci(m.fit("slope")),
        "weighted": ph.profile_ci(
            m.fit("weighted"), method="ml", parameters=["sd(Intercept)", "sigma"]
        ),
    }


def parameter_rules(part: str, weighted: bool) -> list[tuple[str, Unit]]:
    """Rules of a table with all parameters of a slope model."""
    number = r"(estimate|bias|std_error|ci_low|ci_high)"
    at = r"(estimate|ci_low|ci_high)"
    return [
        (rf"{part}\|{at}\|Intercept", Unit(y=1, at="y", breaks=FAR)),
        (rf"{part}\|{number}\|(Intercept|sd\(Intercept\))", Unit(y=1, breaks=FAR)),
        (rf"{part}\|{number}\|(x|sd\(x\))", SLOPE),
        (rf"{part}\|{number}\|z", Y),
        (rf"{part}\|{number}\|sigma", RESIDUAL_SD if weighted else Y),
        (rf"{part}\|{number}\|cor.*", Unit(breaks=FAR)),
    ]


def information(m: Made) -> dict[str, Any]:
    table = ph.information_criteria(m.fit("ml"), m.fit("ml small"))
    return {"table": table.reset_index(drop=True)}


# ---- predictors


def center_within(m: Made) -> dict[str, Any]:
    table = ph.center_within(m.frame, "x", "g")
    return {"rows": m.by_row(table[["x_within", "x_mean"]])}


def contextual(m: Made) -> dict[str, Any]:
    frame = ph.center_within(m.frame, "x", "g")
    parts = {}
    for form in ("x_within + x_mean", "x + x_mean", "x_within + x"):
        within, between = form.split(" + ")
        fit = ph.fit_lmm(f"y ~ {form}", frame, groups="g")
        parts[form] = ph.contextual_effect(fit, within, between)
    crossed = ph.fit_lmm("y ~ x_within + x_mean + (1 | g) + (1 | k)", frame)
    parts["bars"] = ph.contextual_effect(crossed, "x_within", "x_mean", group="g")
    return parts


# ---- predictions and diagnostics


def blups(m: Made) -> dict[str, Any]:
    return {
        "plain": m.by_group(ph.blups(m.fit("plain"))),
        "weighted slope": m.by_group(ph.blups(m.fit("weighted slope"))),
    }


def shrinkage_factor(m: Made) -> dict[str, Any]:
    fit = m.fit("plain")
    factor = ph.shrinkage_factor(fit.cov_re.iloc[0, 0], fit.scale, fit.cross.sizes)
    return {
        "factor": m.by_group(pd.Series(factor, index=fit.random_effects.index)),
        "bars": m.by_group(ph.shrinkage_factor(bars(m), group="g")),
    }


def predict(m: Made) -> dict[str, Any]:
    new = pd.DataFrame({"x": m.x([-1.0, 0.0, 3.0]), "z": [0.5, 1.0, -2.0]})
    new["k"] = [m.levels[k] for k in ("low", "top", "mid")]
    known = new.assign(g=[m.labels[g] for g in (0, 7, 11)])
    parts = {}
    for name in ("plain", "slope"):
        fit = m.fit(name)
        parts[f"{name} own"] = m.by_row(ph.predict(fit, level="group", interval="prediction"))
        parts[f"{name} population"] = ph.predict(fit, new, interval="confidence", df=10)
        parts[f"{name} new"] = ph.predict(fit, new, interval="prediction")
        parts[f"{name} group"] = ph.predict(fit, known, level="group", interval="confidence")
    parts["offset own"] = m.by_row(ph.predict(m.fit("offset"), interval="prediction"))
    parts["offset new"] = ph.predict(
        m.fit("offset"), known.assign(o=m.y_unit[1] * np.array([2.0, -4.0, 8.0])), level="group"
    )
    weighted = m.fit("weighted slope")
    parts["weighted"] = ph.predict(weighted, known, level="group", interval="confidence")
    parts["weighted new"] = ph.predict(weighted, new, interval="prediction", weight=2.0 * m.w_unit)
    return parts


def residuals(m: Made) -> dict[str, Any]:
    parts = {}
    for name in ("plain", "weighted slope", "offset"):
        table = m.by_row(ph.residuals(m.fit(name)))
        old = {new: label for label, new in m.labels.items()}
        parts[f"{name} rows"] = table.assign(group=[old[g] for g in table["group"]])
        parts[f"{name} groups"] = m.by_group(ph.residuals(m.fit(name), "group"))
    return parts


def influence(m: Made) -> dict[str, Any]:
    return {
        "plain": m.by_group(ph.influence(m.fit("plain"))),
        "weighted slope": m.by_group(ph.influence(m.fit("weighted slope"))),
        "offset": m.by_group(ph.influence(m.fit("offset"))),
        "bars": m.by_group(ph.influence(bars(m), "g")),
    }


def checked(check: Callable[[Any], Any]) -> Callable[[Made], dict[str, Any]]:
    def answer(m: Made) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        for name in ("plain", "slope", "weighted slope", "singular"):
            found = check(m.fit(name))
            parts |= {
                f"{name} ok": found.ok,
                f"{name} finding": found.finding,
                f"{name} details": found.details,
            }
        return parts

    return answer


def powers(m: Made) -> ph.BoxCox:
    return m.once("powers", lambda: ph.boxcox_lmm(m.fit("intercept"), lambdas=[-1, 0, 1, 2]))


def boxcox(m: Made) -> dict[str, Any]:
    found = powers(m)
    return {
        "ends": pd.Series({"estimate": found.estimate, "low": found.ci_low, "high": found.ci_high}),
        "profile": found.profile,
        "mean": found.geometric_mean,
        "words": repr(found),
    }


def boxcox_methods(m: Made) -> dict[str, Any]:
    found = powers(m)
    y = m.y([30.0, 40.0, 50.0])
    frame = m.pandas()
    logs = ph.fit_lmm("t ~ x + z", frame.assign(t=found.transform(frame["y"], 0.0)), "g")
    new = {"x": m.x([-1.0, 3.0]), "z": [0.5, -2.0]}
    return {
        "mean": found.mean(logs, new, lambda_=0.0),
        "there and back": found.inverse(found.transform(y, 0.5), 0.5),
        "logs": np.diff(found.transform(y, 0)),
    }


# ---- words and figures


def report(m: Made) -> dict[str, Any]:
    return {
        "plain": str(ph.report(m.fit("plain"), unit="kg")),
        "weighted": str(ph.report(m.fit("weighted"), weight=2.0 * m.w_unit)),
        "weighted slope": str(ph.report(m.fit("weighted slope"))),
    }


def table(m: Made) -> dict[str, Any]:
    """Rows stand in the order of the frame, whatever its types and index."""
    frame = m.pandas()[["x", "z", "k"]]
    shown = ph.table(frame, digits=3, index=False).markdown.splitlines()[2:]
    return {"lines": m.by_row(pd.Series(shown, index=frame.index))}


def drawn(draw: Callable[[Made, Any], Any]) -> Callable[[Made], dict[str, Any]]:
    """Coordinates of what a plot shows, sorted: in which order points are drawn says nothing."""

    def answer(m: Made) -> dict[str, Any]:
        _, ax = plt.subplots()
        try:
            draw(m, ax)
            xs, ys = [], []
            for line in ax.lines:
                if line.get_transform() == ax.transData and len(line.get_xdata()) > 1:
                    xs += list(np.asarray(line.get_xdata(), dtype=float))
                    ys += list(np.asarray(line.get_ydata(), dtype=float))
            for group in ax.collections:
                if len(points := np.asarray(group.get_offsets(), dtype=float)) > 1:
                    xs, ys = xs + list(points[:, 0]), ys + list(points[:, 1])
            return {
                "across": np.sort(xs),
                "up": np.sort(ys),
                "labels": f"{ax.get_xlabel()}; {ax.get_ylabel()}",
            }
        finally:
            plt.close("all")

    return answer


def figure(draw: Callable[[Made, Any], Any], across: Unit, up: Unit, **options: Any) -> Entry:
    rules = [(r"across\|.*", across), (r"up\|.*", up), (r"labels\|.*", WORDS)]
    return Entry(drawn(draw), rules, **options)


ORDERED = dict.fromkeys(
    (
        "groups as numbers",
        "groups as text",
        "groups as category",
        "groups as dates",
        "groups as fractions",
    ),
    "other random numbers go to other groups",
)
OTHER_POWERS = {
    "y far away": "powers of values that hardly differ",
    "y shifted": "a shift gives another family of transformations",
}
#: Two ends of an interval found by bisection to 1e-7 of a step.
BISECTED = 1e-5

ANOTHER_DRAW = {**ORDERED, "rows permuted": "other random numbers go to other rows"}
PLANNED = [
    (r".*\|(groups|cluster_size|rows|replicates|no_test)\|.*", TEXT),
    (r".*\|(effect|std_error)\|.*", SLOPE),
    (r".*", ONE),
]

ENTRIES: dict[str, Entry] = {
    "fit_lmm": Entry(
        fit_lmm, [r for name, (p, k, reml) in FITS.items() for r in fit_rules(name, p, k, reml)]
    ),
    "refit": Entry(refitted, REFITTED),
    "LMMResults": Entry(frozen_results, [(r".*", WORDS)]),
    "cross_products": Entry(
        products,
        REFITTED,
        instead={"index MultiIndex": "database tables have no index"},
        units=2,
    ),
    "variance_components": Entry(variance_components, component_rules()),
    "variance_function": Entry(
        variance_function,
        [
            (r".*\|value\|.*", Unit(x=1, at="x")),
            (r".*\|group\|.*", TEXT),
            (r".*\|share\|.*", ONE),
            (r".*\|(between|total|residual)\|.*", Y2),
            (r".*\|sd_between\|.*", Y),
            (r".*\|icc\|.*", ONE),
        ],
    ),
    "icc": Entry(
        icc, [(r".*\|(estimate|ci_low|ci_high|level)\|", ONE), (r".*\|sigma2(_g)?\|", Y2)], BISECTED
    ),
    "design_effect": Entry(design_effect, [(r".*", ONE)]),
    "anova_components": Entry(
        anova_components,
        [
            (r"no intercept\|note\|.*", Unit(kind="text", breaks=SHIFTED)),
            (r"no intercept\|(df|n0|f|p_value)\|.*", Unit(breaks=SHIFTED)),
            (r"no intercept\|sd\|.*", Unit(y=1, breaks=SHIFTED)),
            (r"no intercept\|.*", Unit(y=2, breaks=SHIFTED)),
            (r".*\|(df|n0|rows|f|p_value)\|.*", ONE),
            (r".*\|(expected_mean_sq|tested_against)\|.*", TEXT),
            (r".*\|(sum_sq|mean_sq|variance)\|.*", Y2),
            (r".*\|sd\|.*", Y),
            (r".*\|note\|.*", TEXT),
        ],
    ),
    "SeveralResults": Entry(
        several_results,
        [
            *coefficients("table"),
            (r"variances\|.*", Y2),
            (r"theta\|.*", ONE),
            (r"criterion\|.*", logs(1.0, True, 3, 1)),
            (r"(effects|categories|resid)\|.*", Y),
            *coefficients("coef"),
            (r"(residuals|of levels)\|.*(_std|standardised)\|.*", ONE),
            (r"residuals\|.*", Y),
            (r"again\|std_error\|.*", Y),
            (r"(fitted|predicted|again)\|.*", Y_AT),
            (r"icc\|.*", ONE),
            (r"repr.*", TEXT),
        ],
    ),
    "r_squared": Entry(
        r_squared,
        [
            (r".*notes\|.*", TEXT),
            (r".*\|(share|explained)\|.*", ONE),
            (r".*", Y2),
        ],
    ),
    "compare_groups": Entry(compare_groups, [(r".*", Y)]),
    "marginal_means": Entry(
        marginal_means,
        [
            (r"(means|at)\|(estimate|ci_low|ci_high)\|.*", Y_AT),
            (r".*\|(estimate|ci_low|ci_high|std_error)\|.*", Y),
            (r".*", ONE),
        ],
        # the integral of the studentised range is good to eight digits
        tolerance=1e-5,
    ),
    "simulate": Entry(simulated, [(r".*", Y_AT)], instead=ANOTHER_DRAW),
    "sample_size": Entry(sample_size, PLANNED),
    "power": Entry(power, PLANNED, units=3),
    "simulate_power": Entry(simulate_power, PLANNED, instead=ANOTHER_DRAW, units=2),
    "plots.power": figure(power_figure, ONE, ONE, units=2),
    "coef_table": Entry(coef_table, coefficients(".*")),
    "contrast": Entry(
        contrast,
        [
            (r"rhs\|(estimate|ci_low|ci_high|std_error)\|.*", SLOPE),
            (r".*\|(estimate|ci_low|ci_high|std_error)\|.*", Y),
            (r".*", ONE),
        ],
    ),
    "lrt": Entry(lrt, [(r".*\|(reference|method)\|.*", TEXT), (r".*", ONE)]),
    "parametric_bootstrap": Entry(
        bootstrap,
        [
            *parameter_rules("intervals", True),
            (r"draws\|(Intercept)\|.*", Unit(y=1, at="y", breaks=FAR)),
            (r"draws\|sd\(Intercept\)\|.*", Unit(y=1, breaks=FAR)),
            (r"draws\|cor.*", Unit(breaks=FAR)),
            (r"draws\|sigma\|.*", RESIDUAL_SD),
            (r"draws\|(x|sd\(x\))\|.*", SLOPE),
            (r"draws\|z\|.*", Y),
            (r"(test|fixed|statistics|fixed statistics)\|.*", ONE),
        ],
        1e-4,
        instead=ORDERED,
        units=3,
    ),
    "profile_ci": Entry(
        profile_ci,
        [
            (r".*\|(lme4_name|method)\|.*", TEXT),
            (r"weighted\|.*\|sd\(Intercept\)", Y),
            *parameter_rules("slope", False),
            *parameter_rules("weighted", True),
        ],
        BISECTED,
        units=2,
    ),
    "information_criteria": Entry(
        information,
        [
            (r"table\|(n|n_params|method)\|.*", TEXT),
            (r"table\|loglik\|.*", logs(-0.5, False, 3, 1)),
            (r"table\|(aic|bic)\|.*", logs(1.0, False, 3, 1)),
            (r"table\|delta.*", ONE),
        ],
    ),
    "center_within": Entry(
        center_within, [(r".*\|x_within\|.*", Unit(x=1)), (r".*\|x_mean\|.*", Unit(x=1, at="x"))]
    ),
    "contextual_effect": Entry(
        contextual,
        [(r".*\|(estimate|std_error|ci_low|ci_high)\|.*", SLOPE), (r".*", ONE)],
    ),
    "blups": Entry(
        blups,
        [
            (r".*\|n\|.*", TEXT),
            (r"weighted slope\|shrinkage\|.*Intercept.*", Unit(breaks=FAR)),
            (r".*\|shrinkage\|.*", ONE),
            (r"weighted slope\|.*Intercept.*", Unit(y=1, breaks=FAR)),
            (r"weighted slope\|.*'x'.*", SLOPE),
            (r"plain\|.*", Y),
        ],
    ),
    "shrinkage_factor": Entry(shrinkage_factor, [(r".*", ONE)]),
    "predict": Entry(
        predict,
        [
            (r".*\|known_group\|.*", TEXT),
            (r".*\|(prediction|ci_low|ci_high)\|.*", Y_AT),
            (r".*\|std_error\|.*", Y),
        ],
    ),
    "residuals": Entry(
        residuals,
        [
            (r".*\|(n|group)\|.*", TEXT),
            (r".*rows\|fitted.*", Y_AT),
            (r".*rows\|(marginal|conditional)\|.*", Y),
            (r"(plain|offset) groups\|(residual|sd)\|.*", Y),
            (r".*groups\|(residual|sd)\|.*Intercept.*", Unit(y=1, breaks=FAR)),
            (r".*groups\|(residual|sd)\|.*'x'.*", SLOPE),
            (r".*slope groups\|standardised\|.*Intercept.*", Unit(breaks=FAR)),
            (r".*", ONE),
        ],
    ),
    "influence": Entry(
        influence,
        [
            (r".*\|(n|note)\|.*", TEXT),
            (r".*\|(cooks_distance|covratio|change_theta)\|.*", ONE),
            (r"bars\|var\[.*", Y2),
            (r"(weighted slope|offset)\|residual_variance\|.*", RESIDUAL),
            (r".*\|residual_variance\|.*", Y2),
            (r".*\|var\[x\]\|.*", Unit(y=2, x=-2)),
            (r"(plain|offset)\|var\[Intercept\]\|.*", Y2),
            (r".*\|var\[Intercept\]\|.*", Unit(y=2, breaks=FAR)),
            (r".*\|cov.*", Unit(y=2, x=-1, breaks=FAR)),
            (r".*\|beta\[Intercept\]\|.*", Unit(y=1, at="y", breaks="x shift, reference")),
            (r".*\|beta\[x\]\|.*", SLOPE),
            (r".*\|beta\[z\]\|.*", Y),
            (r".*\|beta\[k.*", Unit(y=1, breaks="reference")),
        ],
        units=3,
    ),
    "check_singular": Entry(
        checked(ph.check_singular),
        [
            (
                r"singular finding\|.*",
                Unit(kind="text", breaks=FAR),
            ),  # whether the correlation is 1 or -1
            (r".* (ok|finding)\|.*", TEXT),
            (r"singular details.*", Unit(kind="words")),
            (r".*", ONE),
        ],
    ),
    "check_convergence": Entry(
        checked(ph.check_convergence),
        [
            (r".* (ok|finding)\|.*", TEXT),
            (r".*(gradient|shift of).*", Unit(kind="words")),  # zeros but for rounding
            (r".*curvature", Unit(breaks=FAR)),
            (r"plain.*criterion.*", logs(1.0, True, 5, 1)),
            (r"singular.*criterion.*", logs(1.0, True, 2, 1)),
            (r".*criterion.*", logs(1.0, True, 3, 1)),
        ],
    ),
    "boxcox_lmm": Entry(
        boxcox,
        [
            (r"ends\|.*", Unit(breaks="y shift")),
            (r"mean\|.*", Unit(y=1, breaks="y shift")),
            (r"profile\|lambda_\|.*", ONE),
            (r"profile\|drop\|.*", Unit(breaks="y shift")),
            (r"profile\|llf\|.*", Unit(log_y=-ROWS, breaks="y shift")),
            (r"words\|.*", Unit(kind="words", breaks="y shift")),
        ],
        BISECTED,
        instead=OTHER_POWERS,
        units=3,
    ),
    "BoxCox": Entry(
        boxcox_methods,
        [
            (r"there.*", Y_AT),
            (r"logs.*", Unit(breaks="y shift")),
            (r"mean.*", Unit(y=1, breaks="y shift")),
        ],
        instead=OTHER_POWERS,
        units=2,
    ),
    "report": Entry(
        report,
        [(r".*", Unit(kind="words", breaks="reference"))],
        instead={"levels reordered": "the levels stand in their order"},
        units=2,
    ),
    "table": Entry(
        table,
        [(r".*", TEXT)],
        instead=dict.fromkeys(
            ("x scaled", "x shifted", "x far away", "stored as whole"),
            "a table shows the numbers as they are",
        ),
    ),
    "plots.qq": figure(lambda m, ax: plots.qq(m.fit("plain"), ax=ax), ONE, ONE),
    "plots.caterpillar": figure(lambda m, ax: plots.caterpillar(m.fit("plain"), ax=ax), Y, ONE),
    "plots.shrinkage": figure(lambda m, ax: plots.shrinkage(m.fit("plain"), ax=ax), Y, ONE),
    "plots.spaghetti": figure(
        lambda m, ax: plots.spaghetti(m.fit("slope"), "x", shrink=False, ax=ax),
        Unit(x=1, at="x"),
        Y_AT,
    ),
    "plots.residual_fitted": figure(
        lambda m, ax: plots.residual_fitted(m.fit("plain"), ax=ax), Y_AT, ONE
    ),
    "plots.residual_autocorrelation": figure(
        lambda m, ax: plots.residual_autocorrelation(m.fit("plain"), "t", ax=ax), ONE, ONE
    ),
    "plots.boxcox": figure(
        lambda m, ax: plots.boxcox(powers(m), ax=ax),
        Unit(breaks="y shift"),
        Unit(log_y=-ROWS, breaks="y shift"),
        tolerance=BISECTED,
        units=2,
        instead=OTHER_POWERS,
    ),
    "plots.profile_zeta": figure(
        lambda m, ax: plots.profile_zeta(m.fit("intercept"), "x", ax=ax),
        SLOPE,
        ONE,
        tolerance=BISECTED,
        units=2,
    ),
}

#: Helpers that make their own fits, or take none.
NO_FIT_OF_OTHERS = {
    "fit_lmm", "refit", "LMMResults", "cross_products", "anova_components", "center_within",
    "contextual_effect", "shrinkage_factor", "table", "sample_size", "power", "plots.power",
}  # fmt: skip

#: Public names that are given no data of the caller's, or only what another entry gives them.
WITHOUT_DATA = {
    "load": "reads the package's own files",
    "describe": "reads the package's own files",
    "Table": "what `table` returns",
    "Check": "what the checks return",
    "agreement_records": "reads the records of a build",
    "agreement_summary": "shows what `crosscheck` gave",
    "tolerance_table": "shows constants",
    "plots.qq_band": "is given a number of values only",
    "plots.use_style": "sets colours and fonts",
    "plots": "each of its functions has an entry",
    "lmer": "R's own fit, beside which `crosscheck` puts one whose symmetries are tested here",
    "crosscheck": "R's own fit beside one whose symmetries are tested here",
}

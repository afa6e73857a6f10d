"""A model with an offset is the model of the response less the offset: in every helper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from symmetries import original

import pylmm_helpers as ph
from pylmm_helpers import plots

#: duckdb announces the next release's names to Ibis
pytestmark = pytest.mark.filterwarnings("ignore:fetch_.*deprecated:DeprecationWarning")

DATA = original()
LESS = DATA.assign(y=DATA["y"] - DATA["o"])
OPTIONS: dict[str, dict[str, Any]] = {
    "intercept": {},
    "slope": {"re_formula": "1 + x"},
    "weighted slope": {"re_formula": "1 + x", "weights": "w"},
    "weighted, ML": {"weights": "w", "reml": False},
}
NEW = DATA.iloc[[3, 20, 60]].assign(x=[0.5, -2.0, 8.0], o=[3.0, -1.5, 0.25])


@pytest.fixture(params=OPTIONS, scope="module")
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    options = OPTIONS[request.param]
    return (
        ph.fit_lmm("y ~ x + z + offset(o)", DATA, groups="g", **options),
        ph.fit_lmm("y ~ x + z", LESS, groups="g", **options),
    )


def way(fit: Any) -> dict[str, str]:
    return {} if fit.reml else {"df": "satterthwaite"}  # Kenward-Roger is for REML


def weight(fit: Any) -> dict[str, float]:
    return {} if fit.design.weights is None else {"weight": 1.5}


#: Answers in which the offset has no part.
SAME: dict[str, Callable[[Any], Any]] = {
    "fixed effects": lambda fit: fit.fe_params,
    "covariance": lambda fit: fit.cov_fe,
    "random effects": lambda fit: fit.random_effects,
    "likelihoods": lambda fit: pd.Series([fit.criterion, fit.aic, fit.bic, fit.scale]),
    "resid": lambda fit: fit.resid,
    "refit": lambda fit: ph.refit(fit, fit.y[::-1] + fit.offset - fit.offset[::-1]).fe_params,
    "coef_table": lambda fit: ph.coef_table(fit, **way(fit)),
    "contrast": lambda fit: ph.contrast(fit, {"x": 1.0, "z": -1.0}, **way(fit)),
    "lrt": lambda fit: ph.lrt(fit, "ols").drop(columns=["method", "reference"], errors="ignore"),
    "parametric_bootstrap": lambda fit: ph.parametric_bootstrap(fit, replicates=20).draws,
    "profile_ci": lambda fit: ph.profile_ci(fit, parameters=["x"])[["ci_low", "ci_high"]],
    "variance_components": lambda fit: ph.variance_components(fit)[["variance", "sd"]],
    "icc": lambda fit: ph.icc(fit, **weight(fit)),
    "blups": ph.blups,
    "groups": lambda fit: ph.residuals(fit, "group"),
    "influence": lambda fit: ph.influence(fit).drop(columns="note"),
    "check_convergence": lambda fit: ph.check_convergence(fit).details.iloc[:2],
}


@pytest.mark.parametrize("name", SAME)
def test_what_the_offset_leaves_alone(pair: tuple[Any, Any], name: str) -> None:
    ours, less = (np.asarray(SAME[name](fit), dtype=float) for fit in pair)
    # the response less the offset is the same to the last bit, so that both searches are one
    np.testing.assert_allclose(ours, less, rtol=1e-9, atol=1e-9)


def test_fitted_values_and_predictions_hold_the_offset(pair: tuple[Any, Any]) -> None:
    ours, less = pair
    o = DATA["o"].to_numpy()[:, None]
    np.testing.assert_allclose(ours.fittedvalues - o[:, 0], less.fittedvalues, rtol=1e-12)
    rows, less_rows = ph.residuals(ours), ph.residuals(less)
    for name in ("fitted", "fitted_marginal"):
        np.testing.assert_allclose(rows[name] - o[:, 0], less_rows[name], rtol=1e-12)
    rest = [name for name in rows if name not in ("group", "fitted", "fitted_marginal")]
    np.testing.assert_allclose(rows[rest], less_rows[rest], rtol=1e-9, atol=1e-9)
    moved = ["prediction", "ci_low", "ci_high"]
    for level in ("population", "group"):
        for new, known, extra in ((None, o, {}), (NEW, NEW[["o"]].to_numpy(), weight(ours))):
            for interval in ("confidence", "prediction"):
                at = extra if interval == "prediction" else {}
                one, two = (
                    ph.predict(fit, new, level=level, interval=interval, **at) for fit in pair
                )
                np.testing.assert_allclose(one[moved] - known, two[moved], rtol=1e-12)
                np.testing.assert_allclose(one["std_error"], two["std_error"], rtol=1e-12)


def test_sums_know_the_offset(pair: tuple[Any, Any]) -> None:
    design = pair[0].design
    sums = ph.cross_products(
        DATA,
        "y ~ x + z + offset(o)",
        groups="g",
        re_formula=design.re_formula,
        weights=None if design.weights is None else "w",
        progress=False,
    )
    found = ph.fit_lmm(sums, reml=pair[0].reml)
    # two ways of adding up; the search promises 1e-8 of the criterion
    np.testing.assert_allclose(found.fe_params, pair[1].fe_params, rtol=1e-7)
    assert found.criterion == pytest.approx(pair[1].criterion, rel=1e-9)


def test_curves_of_a_plot_hold_the_typical_offset(pair: tuple[Any, Any]) -> None:
    lines = []
    for fit in pair:
        _, ax = plt.subplots()
        plots.spaghetti(fit, "x", shrink=False, ax=ax)
        curves = [line for line in ax.lines if len(line.get_xdata())]
        lines.append([np.asarray(line.get_ydata(), dtype=float) for line in curves])
        plt.close("all")
    for ours, less in zip(*lines, strict=True):
        np.testing.assert_allclose(ours, less + DATA["o"].median(), rtol=1e-9)

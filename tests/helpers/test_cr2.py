"""CR2 errors and their degrees of freedom against R's clubSandwich (record_cr2.R)."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from recorded import HERE, ROOT

from pylmm_helpers import coef_table, contrast, fit_lmm, load, marginal_means

CASES = {
    case["id"]: case
    for case in json.loads((HERE / "reference" / "cr2.json").read_text("utf-8"))["cases"]
}


def read(name: str) -> pd.DataFrame:
    places = [ROOT / "datasets", ROOT / "datasets" / "published", HERE / "data"]
    data = pd.read_csv(next(p for p in (d / f"{name}.csv" for d in places) if p.exists()))
    if name == "several_schools":
        data["school_class"] = data["school"].astype(str) + "." + data["class"].astype(str)
    return data


def fitted(case: dict[str, Any]) -> Any:
    data, kind = read(case["data"]), case["kind"]
    if kind == "mixed":
        return fit_lmm(case["formula"], data, reml=case["reml"])
    if kind == "ols":
        return smf.ols(case["formula"], data).fit()
    structure = getattr(sm.cov_struct, kind.capitalize())()
    model = smf.gee(case["formula"], case["cluster"], data, cov_struct=structure)
    return model.fit(ctol=1e-8, maxiter=500)


def options(case: dict[str, Any]) -> dict[str, Any]:
    return {"df": "cr2"} | ({} if case["default"] else {"cluster": case["cluster"]})


def same_term(case: dict[str, Any], table: pd.DataFrame) -> list[int]:
    """Which of R's rows each of ours is: the categories have other names there."""
    theirs = [name.replace("(Intercept)", "Intercept") for name in case["names"]]
    ours = [name.replace("[T.", "").replace("]", "") for name in table.index]
    return [theirs.index(name) for name in ours]


@pytest.mark.parametrize("name", list(CASES))
def test_errors_and_df_are_those_of_clubsandwich(name: str) -> None:
    case = CASES[name]
    table = coef_table(fitted(case), **options(case))
    rows = same_term(case, table)
    # the estimates of mixed models and GEE have their searches' errors; CR2 itself is good to 1e-12
    for column, key in (("estimate", "beta"), ("std_error", "se"), ("df", "df"), ("p_value", "p")):
        want = np.array(case[key], dtype=float)[rows]
        np.testing.assert_allclose(table[column], want, rtol=1e-6, atol=1e-12, err_msg=column)
    assert table.attrs["df_method"] == "cr2"


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if isinstance(c["joint"], list)])
def test_joint_tests_are_those_of_clubsandwich(name: str) -> None:
    case = CASES[name]
    fit = fitted(case)
    rows = same_term(case, coef_table(fit, **options(case)))
    L = np.array([[float(row == want - 1) for row in rows] for want in case["joint"]])
    test = contrast(fit, L, **options(case)).iloc[0]
    assert test["df_num"] == case["df_num"]
    assert test["statistic"] == pytest.approx(case["F"], rel=1e-6)
    assert test["df_den"] == pytest.approx(case["df_denom"], rel=1e-6)
    assert test["f_scale"] == pytest.approx(case["delta"], rel=1e-6)
    assert test["p_value"] == pytest.approx(case["p_joint"], rel=1e-5)


def test_the_definition_row_by_row() -> None:
    """Dense matrices, straight from the definition, on the smallest data."""
    data = read("u3")
    fit = fit_lmm("y ~ x + z", data, "g")
    X, codes = fit.X, fit.codes
    V = np.eye(fit.nobs) * fit.scale
    V += float(fit.cov_re.iloc[0, 0]) * (codes[:, None] == codes)
    W = np.linalg.inv(V)
    M = np.linalg.inv(X.T @ W @ X)
    e = fit.y - X @ fit.fe_params.to_numpy()
    A = np.zeros_like(V)
    for g in range(fit.ngroups):
        own = np.ix_(codes == g, codes == g)
        root = power(V[own], 0.5)
        B = V[own] - X[codes == g] @ M @ X[codes == g].T
        A[own] = root @ power(root @ B @ root, -0.5) @ root
    weights = M @ X.T @ W @ A
    each = np.array([weights[:, codes == g] @ e[codes == g] for g in range(fit.ngroups)])
    variance = np.sum(each**2, axis=0)
    table = coef_table(fit, df="cr2")
    np.testing.assert_allclose(table["std_error"], np.sqrt(variance), rtol=1e-10)
    H = np.eye(fit.nobs) - X @ M @ X.T @ W
    for k, df in enumerate(table["df"]):
        G = np.array([H[codes == g].T @ weights[k, codes == g] for g in range(fit.ngroups)])
        P = G @ V @ G.T
        assert df == pytest.approx(np.trace(P) ** 2 / np.sum(P**2), rel=1e-9)
        # the reason for CR2: no bias where V is right
        assert np.trace(P) == pytest.approx(M[k, k], rel=1e-9)


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * values**exponent) @ vectors.T)


def test_balanced_data_have_the_df_of_the_groups() -> None:
    table = coef_table(fit_lmm("Reaction ~ Days", load("sleepstudy"), "Subject", "Days"), df="cr2")
    np.testing.assert_allclose(table["df"], [17.0, 17.0], rtol=1e-9)


def test_a_fit_of_statsmodels_and_the_means() -> None:
    data = load("dairy_herds")
    ours = fit_lmm("milk_kg ~ parity + feeding", data, "herd")
    theirs = smf.mixedlm("milk_kg ~ parity + feeding", data, groups="herd").fit()
    want = coef_table(ours, df="cr2")
    found = coef_table(theirs, df="cr2").loc[want.index]
    np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-9)
    pair = marginal_means(ours, "feeding", pairs=True, adjust="none", df="cr2").iloc[0]
    name = next(n for n in ours.fe_params.index if "mixed" in n)
    alone = contrast(ours, {name: -1.0}, df="cr2").iloc[0]
    assert list(pair) == pytest.approx(list(alone[list(pair.index)]), rel=1e-10)


def test_labels_of_rows_do_as_a_column_does() -> None:
    data = load("dairy_herds")
    fit = smf.ols("milk_kg ~ parity", data).fit()
    by_name = coef_table(fit, df="cr2", cluster="herd")
    for labels in (data["herd"], list(data["herd"]), data["herd"].to_numpy()):
        np.testing.assert_array_equal(coef_table(fit, df="cr2", cluster=labels), by_name)
    matrices = sm.OLS(data["milk_kg"].to_numpy(), sm.add_constant(data["parity"].to_numpy())).fit()
    again = coef_table(matrices, df="cr2", cluster=data["herd"])
    np.testing.assert_allclose(again, by_name, rtol=1e-10)


def test_rows_that_statsmodels_dropped() -> None:
    data = load("hospital_costs")
    kept = data.dropna(subset=["severity"])
    one = smf.ols("recovery ~ severity", data).fit()
    two = smf.ols("recovery ~ severity", kept).fit()
    np.testing.assert_allclose(
        coef_table(one, df="cr2", cluster="hospital"), coef_table(two, df="cr2", cluster="hospital")
    )


def test_few_clusters_are_named() -> None:
    few = coef_table(fitted(CASES["ols-region"]), **options(CASES["ols-region"]))
    assert few.attrs["clusters"] == 3
    assert "with 3 clusters the df fall to 2.0" in few.attrs["note"]
    data = load("dairy_herds")
    fewer = smf.ols("milk_kg ~ parity + dtfs + herd_size", data).fit()
    note = coef_table(fewer, df="cr2", cluster="region").attrs["note"]
    assert "3 clusters of 'region' are fewer than the 4 coefficients" in note
    enough = coef_table(fit_lmm("milk_kg ~ parity", data, "herd"), df="cr2")
    assert "note" not in enough.attrs and enough.attrs["clusters"] == 50


def test_units_and_origin_do_not_matter() -> None:
    data = read("unbalanced")
    one = coef_table(fit_lmm("y ~ x + z", data, "g", "x"), df="cr2")
    data["x"] = 1e5 + 1e-3 * data["x"]
    two = coef_table(fit_lmm("y ~ x + z", data, "g", "x"), df="cr2")
    # 1e5 takes eight digits from x as it is stored
    np.testing.assert_allclose(
        one.loc["x", "std_error"], 1e-3 * two.loc["x", "std_error"], rtol=1e-5
    )
    np.testing.assert_allclose(one.loc["z"], two.loc["z"], rtol=1e-5)
    np.testing.assert_allclose(one.loc["x", "df"], two.loc["x", "df"], rtol=1e-5)


def test_clusters_a_thousand_times_fifty() -> None:
    rng = np.random.default_rng(1)
    herd = np.repeat(np.arange(1000), 50)
    data = pd.DataFrame({"herd": herd, "x": rng.normal(size=50_000)})
    data["y"] = data["x"] * (1.0 + rng.normal(size=1000)[herd]) + rng.normal(size=1000)[herd]
    data["y"] += rng.normal(size=50_000)
    fit = fit_lmm("y ~ x", data, "herd", "x")
    start = time.process_time()
    table = coef_table(fit, df="cr2")
    # 0.2 s on the machine that this was written on
    assert time.process_time() - start < 4.0
    # the model is right here, so that both errors estimate the same
    assert table["std_error"].to_numpy() == pytest.approx(fit.bse_fe.to_numpy(), rel=0.1)
    assert (table["df"] > 900).all()


DAIRY = load("dairy_herds")
HERDS = fit_lmm("milk_kg ~ parity", DAIRY, "herd")
OLS = smf.ols("milk_kg ~ parity", DAIRY).fit()


@pytest.mark.parametrize(
    ("fit", "asked", "words"),
    [
        (HERDS, {"cluster": "herd"}, "cluster= is for df='cr2'"),
        (HERDS, {"df": "cr2", "cluster": "barn"}, "'barn' is no column"),
        (HERDS, {"df": "cr2", "cluster": "cow"}, "'herd' has rows in several clusters of 'cow'"),
        (HERDS, {"df": "cr2", "cluster": [1, 2]}, "a label for each of the"),
        (HERDS, {"df": "cr2", "cluster": 3}, "cluster is 3"),
        (HERDS, {"df": "cr2", "cluster": ["all"] * len(DAIRY)}, "has a single level"),
        (HERDS, {"df": "cr2", "cluster": [None, *DAIRY["herd"][1:]]}, "no label in 1 row"),
        (OLS, {"df": "cr2"}, "an OLS fit doesn't know its clusters"),
        (OLS, {}, "ask for df='cr2' and name the clusters"),
        (
            smf.wls("milk_kg ~ parity", DAIRY, weights=DAIRY["herd_size"]).fit(),
            {"df": "cr2", "cluster": "herd"},
            "expected a fit from",
        ),
        (
            fit_lmm("milk_kg ~ parity", DAIRY, "herd", weights="herd_size"),
            {"df": "cr2"},
            "fit with weights",
        ),
        (
            fit_lmm("Reaction ~ Days", load("sleepstudy"), "Subject", correlation="ar1(Days)"),
            {"df": "cr2"},
            "CR2 is not here for .*robust errors allow for it",
        ),
        (OLS.model.fit_regularized(alpha=0.1), {"df": "cr2", "cluster": "herd"}, "expected a fit"),
        (
            smf.ols("milk_kg ~ parity + I(2 * parity)", DAIRY).fit(),
            {"df": "cr2", "cluster": "herd"},
            "repeat others",
        ),
        (
            smf.gee("dtfs ~ parity", "herd", DAIRY, family=sm.families.Poisson()).fit(),
            {"df": "cr2"},
            "family Poisson",
        ),
        (
            smf.gee("milk_kg ~ parity", "herd", DAIRY, weights=DAIRY["herd_size"]).fit(),
            {"df": "cr2"},
            "GEE fit has weights",
        ),
        (
            fit_lmm("y ~ x + (1 | rater) + (1 | item)", read("several_raters")),
            {"df": "cr2"},
            "are crossed",
        ),
        (
            fit_lmm("y ~ x + (1 | rater) + (1 | item)", read("several_raters")),
            {"df": "cr2", "cluster": "rater"},
            "'item' has rows in several clusters",
        ),
    ],
    ids=[
        "other df", "no column", "too fine", "too short", "number", "one", "missing",
        "ols without", "ols kr", "wls", "weights", "ar1", "penalty", "doubled", "poisson",
        "gee weights", "crossed", "crossed by one",
    ],
)  # fmt: skip
def test_what_can_not_be_answered_is_named(fit: Any, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        coef_table(fit, **asked)


def test_a_term_of_one_cluster_alone_is_named() -> None:
    own = (DAIRY["herd"] == "H01").astype(float)
    data = DAIRY.assign(own=own, rest=1.0 - own)
    fit = smf.ols("milk_kg ~ 0 + own + rest", data).fit()
    with pytest.raises(ValueError, match="single clusters of 'herd' determine own"):
        coef_table(fit, df="cr2", cluster="herd")
    with pytest.raises(ValueError, match="determine"):
        contrast(fit, "rest = 0, own = 0", df="cr2", cluster="herd")
    assert contrast(fit, "rest", df="cr2", cluster="herd")["df"].iloc[0] > 10.0


def test_more_rows_than_the_clusters_can_test_together() -> None:
    fit = smf.ols("milk_kg ~ parity + dtfs + herd_size", DAIRY).fit()
    with pytest.raises(ValueError, match="test fewer rows together"):
        contrast(fit, "parity = 0, dtfs = 0, herd_size = 0", df="cr2", cluster="region")

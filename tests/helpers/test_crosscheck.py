"""lmer() and crosscheck(): against known lme4 values, with R and from the records."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from pylmm_helpers.data.datasets import load
from pylmm_helpers.engine.fit import fit_lmm
from pylmm_helpers.lme4 import reference
from pylmm_helpers.lme4.agreement import (
    MIMETYPE,
    AgreementError,
    agreement_records,
    chapter_labels,
    python_cells,
)
from pylmm_helpers.lme4.check import CONTROLS, crosscheck, lmer
from pylmm_helpers.lme4.tolerances import tolerance_table

RECORDS = sorted((Path(__file__).parents[2] / "datasets" / "reference").glob("*.json"))
SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="session")
def sleep() -> pd.DataFrame:
    return load("sleepstudy")


@pytest.fixture(autouse=True)
def away_from_the_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's agreement records must not land among those of the book."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_r(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLMM_NO_R", "1")


@pytest.fixture
def herds() -> pd.DataFrame:
    rng = np.random.default_rng(20)
    herd = np.repeat(np.arange(12), 9)
    feeding = np.array(["pasture", "mixed", "confined"])[herd % 3]
    parity = rng.integers(1, 5, herd.size)
    milk = 300 + 8 * parity + 14 * rng.normal(size=12)[herd] + 28 * rng.normal(size=herd.size)
    return pd.DataFrame(
        {"milk": milk, "parity": parity, "feeding": feeding, "herd": [f"H{k}" for k in herd]}
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty book; the records of lme4 stay those of the repository."""
    monkeypatch.setenv("PYLMM_REFERENCE_DIR", str(reference.reference_folder()))
    (tmp_path / "chapters").mkdir()
    (tmp_path / "_quarto.yml").write_text("project: {type: book}\n")
    monkeypatch.chdir(tmp_path / "chapters")
    return tmp_path


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of records that a test may spoil, holding the sleepstudy ones."""
    for path in RECORDS:
        if path.stem.startswith("classic-sleepstudy"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("PYLMM_REFERENCE_DIR", str(tmp_path))
    return tmp_path


def check_sleepstudy(fit) -> None:
    """Values of lme4 1.1-31, lmerTest 3.1-3 and pbkrtest 0.5.2, as the design lists them."""
    assert fit.criterion == pytest.approx(1743.62827196, abs=1e-8)
    assert fit.theta == pytest.approx([0.96673279, 0.01516906, 0.23090960], abs=1e-8)
    assert np.sqrt(fit.scale) == pytest.approx(25.59181589, abs=1e-7)
    assert list(fit.fe_params.index) == ["Intercept", "Days"]
    assert fit.fe_params.to_numpy() == pytest.approx([251.4051048485, 10.4672859596], rel=1e-11)
    assert fit.bse_fe.to_numpy() == pytest.approx([6.824555776, 1.545788932], rel=1e-6)
    assert fit.df.to_numpy() == pytest.approx(np.full((2, 2), 17.0), abs=1e-4)
    assert (fit.n, fit.ngroups, fit.singular) == (180, 18, False)


def test_lmer_gives_the_known_values_of_sleepstudy(with_r, sleep):
    fit = lmer(SLEEP, sleep)
    assert fit.source == "live"
    check_sleepstudy(fit)
    assert set(fit.versions) == {"R", "lme4", "lmerTest", "pbkrtest"}
    assert fit.random_effects.index.tolist() == sorted(set(sleep["Subject"]))
    assert fit.random_effects_var.shape == (18, 2, 2)


def test_without_r_the_record_gives_the_same_values_and_says_so(without_r, sleep):
    fit = lmer(SLEEP, sleep)
    assert fit.source == "recorded"
    check_sleepstudy(fit)
    assert "recorded earlier with R " in fit._repr_markdown_()


@pytest.mark.parametrize("module", ["rpy2", "pymer4"])
def test_a_machine_without_pymer4_or_rpy2_reads_the_record(monkeypatch, sleep, module):
    monkeypatch.setitem(sys.modules, module, None)
    for name in [n for n in sys.modules if n.startswith(f"{module}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert lmer(SLEEP, sleep).source == "recorded"


def test_rows_in_another_order_are_other_data_for_a_record(without_r, records, sleep):
    with pytest.raises(ValueError, match="other data"):
        lmer(SLEEP, sleep.iloc[::-1], name="classic-sleepstudy-slope")


def test_a_record_of_changed_data_is_refused(without_r, records, sleep):
    changed = sleep.assign(Reaction=sleep["Reaction"] + (sleep.index == 3))
    with pytest.raises(ValueError, match=r"other data.*record\.py"):
        lmer(SLEEP, changed, name="classic-sleepstudy-slope")
    with pytest.raises(ValueError, match=r"other data.*record\.py"):
        lmer(SLEEP, changed)


def test_a_record_of_another_formula_or_method_is_refused(without_r, records, sleep):
    with pytest.raises(ValueError, match="formula"):
        lmer("Reaction ~ Days + (1 | Subject)", sleep, name="classic-sleepstudy-slope")
    with pytest.raises(ValueError, match="reml=True"):
        lmer(SLEEP, sleep, reml=False, name="classic-sleepstudy-slope")


def test_rounding_in_the_last_bit_is_not_other_data(without_r, sleep):
    noisy = sleep.assign(Reaction=np.nextafter(sleep["Reaction"], np.inf))
    assert lmer(SLEEP, noisy).source == "recorded"


def test_without_r_and_without_record_the_error_says_how_to_get_either(without_r, herds):
    with pytest.raises(ValueError, match=r"install R.*record\.py"):
        lmer("milk ~ parity + (1 | herd)", herds)


def places(node: object, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    """Paths to everything inside a record."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, item in items:
        yield (*above, name)
        if isinstance(item, dict | list):
            yield from places(item, *above, name)


def at(node: Any, *path: str | int) -> Any:
    return at(node[path[0]], *path[1:]) if path else node


DYESTUFF = (Path(__file__).parents[2] / "datasets/reference/classic-dyestuff.json").read_bytes()
# no model's numbers hang on these: data for repeating the fit, Kenward-Roger, single versions
FREE = {("data",), ("lme4", "kenward_roger"), ("lme4", "versions")}
IN_RECORD = [p for p in places(json.loads(DYESTUFF)) if p[:1] not in FREE and p[:2] not in FREE]


def damaged(monkeypatch: pytest.MonkeyPatch, folder: Path, content: bytes) -> str:
    """What the reader of a damaged record is told."""
    monkeypatch.setenv("PYLMM_REFERENCE_DIR", str(folder))
    (folder / "classic-dyestuff.json").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        lmer("Yield ~ 1 + (1 | Batch)", load("dyestuff"), name="classic-dyestuff")
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", DYESTUFF[:900], b"\xff\xfe" + DYESTUFF, b"[]", b"null", b"3", b"{}",
     DYESTUFF.replace(b'"lme4"', b'"lme"'), DYESTUFF.replace(b'"key"', b'"k"'),
     DYESTUFF.replace(b'"theta": [', b'"theta": [NaN, ')],
    ids=range(11),
)  # fmt: skip
def test_a_damaged_record_is_named_with_a_remedy(without_r, tmp_path, monkeypatch, content):
    said = damaged(monkeypatch, tmp_path, content)
    assert "classic-dyestuff.json is damaged" in said
    assert "git checkout datasets" in said and "record.py" in said


@pytest.mark.parametrize("path", IN_RECORD, ids=lambda p: "/".join(map(str, p)))
@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_whatever_a_record_has_lost_is_noticed(without_r, tmp_path, monkeypatch, path, how):
    record = json.loads(DYESTUFF)
    parent = at(record, *path[:-1])
    if how == "removed":
        del parent[path[-1]]
    else:
        parent[path[-1]] = None
    said = damaged(monkeypatch, tmp_path, json.dumps(record).encode())
    # a key without its parts belongs to another model, and says so
    assert "classic-dyestuff.json" in said and "record.py" in said


def test_the_comparison_of_records_names_a_damaged_one(tmp_path, monkeypatch, capsys):
    path = Path(__file__).parents[2] / "datasets" / "reference" / "record.py"
    spec = importlib.util.spec_from_file_location("record", path)
    assert spec and spec.loader
    record = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(record)
    folders = [tmp_path / "committed", tmp_path / "new"]
    for folder, content in zip(folders, (DYESTUFF[:-500], DYESTUFF), strict=True):
        folder.mkdir()
        (folder / "classic-dyestuff.json").write_bytes(content)
    monkeypatch.setattr(record, "FOLDER", folders[0])
    assert record.check(folders[1]) == 1
    assert "committed/classic-dyestuff.json is damaged" in capsys.readouterr().out
    (folders[0] / "classic-dyestuff.json").write_bytes(DYESTUFF)
    assert record.check(folders[1]) == 0


def test_a_damaged_record_of_another_model_is_named_too(without_r, tmp_path, monkeypatch):
    monkeypatch.setenv("PYLMM_REFERENCE_DIR", str(tmp_path))
    (tmp_path / "other.json").write_text("{")
    with pytest.raises(ValueError, match=r"other\.json is damaged"):
        lmer("Yield ~ 1 + (1 | Batch)", load("dyestuff"))


def test_recording_writes_what_reading_finds(with_r, tmp_path, monkeypatch, herds):
    monkeypatch.setenv("PYLMM_REFERENCE_DIR", str(tmp_path))
    monkeypatch.setenv("PYLMM_RECORD", "1")
    formula = "milk ~ parity * feeding + (1 | herd)"
    live = lmer(formula, herds, name="herds")
    monkeypatch.delenv("PYLMM_RECORD")
    monkeypatch.setenv("PYLMM_NO_R", "1")
    recorded = lmer(formula, herds, name="herds")
    assert (recorded.source, recorded.versions) == ("recorded", live.versions)
    pd.testing.assert_series_equal(recorded.fe_params, live.fe_params, check_exact=True)
    pd.testing.assert_frame_equal(recorded.random_effects, live.random_effects, check_exact=True)
    assert recorded.criterion == live.criterion
    frame = reference.recorded_frame(json.loads((tmp_path / "herds.json").read_text()))
    assert lmer(formula, frame, name="herds").criterion == live.criterion


def without_data(path: Path) -> bool:
    return reference.recorded_frame(json.loads(path.read_text(encoding="utf-8"))) is None


def test_only_the_large_register_is_recorded_without_its_data():
    """Its models are compared where the chapter makes the data, in test_large_data.py."""
    names = {path.stem for path in RECORDS if without_data(path)}
    assert names == {"register-rows", "register-slope", "register-weights"}


@pytest.mark.parametrize(
    "path", [path for path in RECORDS if not without_data(path)], ids=lambda path: path.stem
)
def test_every_record_is_repeated_by_live_r(with_r, path):
    record = json.loads(path.read_text(encoding="utf-8"))
    frame, key = reference.recorded_frame(record), record["key"]
    assert frame is not None
    control = None if key["control"] == "tight" else key["control"]
    # degrees of freedom are not compared, and Kenward and Roger's take most of the time
    live = lmer(key["formula"], frame, reml=key["reml"], control=control, kenward_roger=False)
    kept = record["lme4"]
    tight = 1e-4 if control is None else 5e-3
    assert live.criterion == pytest.approx(kept["criterion"], abs=1e-6)
    assert list(live.fe_params.index) == kept["fixed"]
    error = np.abs(live.fe_params.to_numpy() - kept["fe_params"]) / live.bse_fe.to_numpy()
    assert error.max() < tight
    assert live.theta == pytest.approx(kept["theta"], abs=tight)
    assert live.scale == pytest.approx(kept["scale"], rel=tight)


def test_there_are_records():
    assert len(RECORDS) > 5


def test_names_and_levels_follow_pandas_categories(with_r, herds):
    order = ["pasture", "confined", "mixed"]
    data = herds.assign(feeding=pd.Categorical(herds["feeding"], [*order, "never seen"]))
    fit = lmer("milk ~ feeding * parity + (1 | herd)", data)
    own = fit_lmm("milk ~ feeding * parity", data, groups="herd")
    assert list(fit.fe_params.index) == [
        "Intercept", "feeding[T.confined]", "feeding[T.mixed]", "parity",
        "feeding[T.confined]:parity", "feeding[T.mixed]:parity",
    ]  # fmt: skip
    assert np.abs((fit.fe_params - own.fe_params[fit.fe_params.index]) / fit.bse_fe).max() < 1e-5


@pytest.mark.parametrize(
    "ours, theirs",
    [
        ("milk ~ C(parity)", "milk ~ factor(parity) + (1 | herd)"),
        ("milk ~ C(parity)", "milk ~ C(parity) + (1 | herd)"),
        ("np.log(milk) ~ I(parity**2) + parity", "log(milk) ~ I(parity^2) + parity + (1 | herd)"),
        ("milk ~ parity:feeding", "milk ~ feeding:parity + (1|herd)"),
    ],
)
def test_both_spellings_of_a_term_are_the_same_term(with_r, herds, ours, theirs):
    assert crosscheck(fit_lmm(ours, herds, groups="herd"), theirs, "spelling").agrees


def test_a_slope_of_a_factor_is_named_as_formulaic_names_it(with_r, sleep):
    data = sleep.assign(late=np.where(sleep["Days"] > 4, "yes", "no"))
    fit = lmer("Reaction ~ late + (late | Subject)", data)
    assert list(fit.cov_re.index) == ["Intercept", "late[T.yes]"]
    assert list(fit.random_effects.columns) == ["Intercept", "late[T.yes]"]


def test_several_grouping_factors_are_kept_apart(without_r):
    fit = lmer("strength ~ 1 + (1 | batch/cask)", load("pastes"))
    # Bates et al., lme4's own documentation of these data: SDs 2.904 and 1.287, residual 0.823
    sd = fit.variance_components["sd"]
    assert sd.round(3).tolist() == [2.904, 1.287, 0.823]
    with pytest.raises(ValueError, match="several grouping factors"):
        _ = fit.cov_re


def test_what_r_says_is_kept(with_r, herds, capfd):
    u = load("dyestuff2")
    singular = lmer("Yield ~ 1 + (1 | Batch)", u)
    assert singular.singular
    assert any("singular" in text for text in singular.messages)
    scaled = herds.assign(
        huge=herds["parity"] ** 7 * 1e6 + np.arange(len(herds)), twice=herds["parity"] * 2
    )
    fit = lmer("milk ~ parity + twice + huge + (1 | herd)", scaled)
    assert any("rank deficient" in text for text in fit.messages)
    assert any("very different scales" in text for text in fit.messages)
    assert "very different scales" in fit._repr_markdown_()
    assert capfd.readouterr() == ("", "")


def test_no_warning_of_pymer4_leaks(with_r, sleep, recwarn):
    lmer(SLEEP, sleep)
    assert [str(w.message) for w in recwarn.list] == []


@pytest.mark.parametrize(
    "formula, says",
    [
        ("Reaction ~ Days", "no random effect"),
        ("Reaction + Days", "write 'response ~"),
        ("Reaction ~ Days + (1 | Subject", "brackets"),
        ("Reaction ~ Dayz + (1 | Subject)", "'Dayz'"),
        ("Reaction ~ Days + (1 | Person)", "'Person'"),
        ("Reaction ~ C(Days, Nonsense) + (1 | Subject)", "category"),
    ],
)
def test_a_bad_formula_is_named(sleep, formula, says):
    with pytest.raises(ValueError, match=says):
        lmer(formula, sleep)


def test_r_errors_come_as_value_errors_with_r_s_words(with_r, sleep):
    one_each = sleep.assign(row=[f"r{k}" for k in range(len(sleep))])
    with pytest.raises(ValueError, match="number of levels"):
        lmer("Reaction ~ Days + (1 | row)", one_each)


def test_gaps_are_named_or_dropped_on_request(sleep, without_r):
    gappy = sleep.assign(Days=sleep["Days"].astype(float).where(sleep.index != 5))
    with pytest.raises(ValueError, match=r"missing values in Days \(1\)"):
        lmer(SLEEP, gappy)
    with pytest.raises(ValueError, match="infinite"):
        lmer(SLEEP, sleep.assign(Days=np.inf))
    with pytest.raises(ValueError, match="'Subject' has one group"):
        lmer(SLEEP, sleep[sleep["Subject"] == sleep["Subject"].iloc[0]])


def test_crosscheck_agrees_on_a_statsmodels_fit(without_r, sleep):
    fit = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
    agreement = crosscheck(fit, SLEEP, label="classic-sleepstudy-slope")
    table = agreement.table
    assert agreement.agrees
    assert table.loc["REML criterion", "lme4"] == pytest.approx(1743.62827196, abs=1e-8)
    assert table["diff_engine"].max() < 1e-6
    assert (table[["engine", "statsmodels", "lme4"]].notna()).all(axis=None)
    shown = agreement._repr_markdown_()
    assert "Pairs are the engine's and statsmodels' difference" in shown
    assert "recorded earlier with R" in shown
    assert "another quantity" in shown  # the definition of statsmodels' own standard errors
    assert r"inverse of $\mathbf{X}^\top \mathbf{V}^{-1} \mathbf{X}$. Its own `bse_fe`" in shown


def test_r_code_in_what_lme4_says_is_code_and_can_be_pasted(without_r):
    formula, yields = "Yield ~ 1 + (1 | Batch)", load("dyestuff2")
    said = "lme4 says: boundary (singular) fit: see `help('isSingular')`"
    assert said in lmer(formula, yields, name="cla-dyestuff2")._repr_markdown_()
    fit = fit_lmm("Yield ~ 1", yields, "Batch")
    assert said in crosscheck(fit, formula, label="cla-dyestuff2").notes


def test_the_standard_errors_of_statsmodels_are_shown_for_what_they_are(with_r):
    rng = np.random.default_rng(48)
    g = np.repeat(np.arange(6), [1, 2, 3, 9, 3, 12])
    x = rng.normal(size=g.size) + g * (g % 2)
    y = x + 0.8 * rng.normal(size=6)[g] + rng.normal(size=g.size)
    data = pd.DataFrame({"y": y, "x": x, "g": [f"g{k}" for k in g]})
    fit = smf.mixedlm("y ~ x", data, groups="g").fit()
    errors = crosscheck(fit, "y ~ x + (1 | g)", "own-errors").standard_errors
    assert (errors["statsmodels_phi"] / errors["lme4"] - 1).abs().max() < 2e-3
    assert (errors["statsmodels_own"] / errors["lme4"] - 1).abs().max() > 0.1


@pytest.mark.parametrize(
    "kind, factor",
    [("fixed effect", 1.001), ("standard error", 1.01), ("residual variance", 1.001)],
)
def test_an_estimate_that_is_off_stops(without_r, project, sleep, monkeypatch, kind, factor):
    fit = fit_lmm("Reaction ~ Days", sleep, groups="Subject", re_formula="Days")
    assert crosscheck(fit, SLEEP, "classic-sleepstudy-slope").agrees
    written = project / ".handbook" / "agreement" / "classic-sleepstudy-slope.json"
    assert written.is_file()
    name = {"fixed effect": "fe_params", "standard error": "bse_fe"}.get(kind, "scale")
    right = getattr(fit, name)
    monkeypatch.setattr(type(fit), name, property(lambda self: right * factor))
    with pytest.raises(AgreementError, match="outside tolerance") as caught:
        crosscheck(fit, SLEEP, "classic-sleepstudy-slope")
    table = caught.value.agreement.table
    assert kind in set(table.loc[table["verdict"] == "engine differs", "kind"])
    assert "**engine differs**" in str(caught.value)
    assert not written.exists(), "a record of a model that no longer agrees must go"


def test_the_better_of_two_optimisers_counts(with_r):
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(8), 6)
    for k in range(3):
        x, y = rng.normal(size=48) * 10.0 ** (k - 2), rng.normal(size=48) * 10.0 ** (k - 3)
    data = pd.DataFrame({"y": y, "x": x, "g": [f"a{k}" for k in g]})
    formula = "y ~ x + (x | g)"
    stuck = lmer(formula, data, control=CONTROLS[0])
    better = lmer(formula, data)
    assert better.criterion < stuck.criterion - 0.5
    assert any("another optimiser" in text for text in better.messages)
    own = fit_lmm("y ~ x", data, groups="g", re_formula="x")
    assert crosscheck(own, formula, "two").agrees
    with pytest.raises(AgreementError, match="lme4 is not at the optimum"):
        crosscheck(own, formula, "two", control=CONTROLS[0])


def test_a_value_that_is_not_a_number_is_no_agreement(without_r, sleep, monkeypatch):
    fit = fit_lmm("Reaction ~ Days", sleep, groups="Subject", re_formula="Days")
    monkeypatch.setattr(type(fit), "scale", property(lambda self: float("nan")))
    with pytest.raises(AgreementError):
        crosscheck(fit, SLEEP, "classic-sleepstudy-slope")


def test_a_known_difference_of_statsmodels_is_announced_and_must_be_real(without_r):
    children = load("orthodont")
    formula = "distance ~ age * Sex + (age | Subject)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what this test is about
        fit = smf.mixedlm("distance ~ age * Sex", children, "~age", groups="Subject").fit()
    assert not fit.converged
    with pytest.raises(AgreementError, match="did not converge"):
        crosscheck(fit, formula, "classic-orthodont-slope")
    known = crosscheck(
        fit, formula, "classic-orthodont-slope", statsmodels_differs="its optimiser gave up"
    )
    assert known.agrees
    assert known.record["verdict"] == "statsmodels differs"
    assert "its optimiser gave up" in known._repr_markdown_()
    good = smf.mixedlm("distance ~ age * Sex", children, groups="Subject").fit()
    with pytest.raises(ValueError, match="remove statsmodels_differs"):
        crosscheck(good, "distance ~ age * Sex + (1 | Subject)", "classic-orthodont-intercept",
                   statsmodels_differs="no reason")  # fmt: skip


def test_another_model_than_the_formula_is_refused(without_r, sleep):
    fit = fit_lmm("Reaction ~ Days", sleep, groups="Subject", re_formula="Days")
    with pytest.raises(ValueError, match="response"):
        crosscheck(fit, "Days ~ Reaction + (1 | Subject)", "other")
    with pytest.raises(ValueError, match="rows"):
        crosscheck(fit, SLEEP, "other", data=sleep.iloc[:-1])
    with pytest.raises(ValueError, match="crosscheck takes"):
        crosscheck("not a fit", SLEEP, "other")
    short = fit_lmm("Reaction ~ 1", sleep, groups="Subject", re_formula="Days")
    with pytest.raises(ValueError, match="same model"):
        crosscheck(short, SLEEP, "classic-sleepstudy-slope")


def test_ml_and_rows_with_gaps_are_taken_from_the_fit(with_r, sleep):
    gappy = sleep.assign(Days=sleep["Days"].astype(float).where(sleep.index % 50 != 5))
    fit = smf.mixedlm("Reaction ~ Days", gappy, groups="Subject", missing="drop").fit(reml=False)
    agreement = crosscheck(fit, "Reaction ~ Days + (1 | Subject)", "gaps", data=gappy)
    assert (agreement.record["n"], agreement.record["reml"]) == (176, False)
    assert "ML deviance" in agreement.table.index
    assert "ICC" in agreement.table.index


def test_crossed_and_nested_factors_of_statsmodels_stand_beside_the_engine(without_r):
    pastes = load("pastes")
    fit = smf.mixedlm("strength ~ 1", pastes, groups="batch", re_formula="1",
                      vc_formula={"cask": "0 + C(cask)"}).fit()  # fmt: skip
    agreement = crosscheck(fit, "strength ~ 1 + (1 | batch/cask)", "classic-pastes")
    variances = agreement.table[agreement.table["kind"] == "variance"]
    assert list(variances.index) == ["variance of batch:cask", "variance of batch"]
    assert variances[["engine", "statsmodels"]].notna().all().all()


def test_the_record_travels_with_the_output_and_into_the_project(without_r, project, sleep):
    fit = fit_lmm("Reaction ~ Days", sleep, groups="Subject", re_formula="Days")
    agreement = crosscheck(fit, SLEEP, "classic-sleepstudy-slope")
    bundle = agreement._repr_mimebundle_()
    saved = json.loads((project / ".handbook/agreement/classic-sleepstudy-slope.json").read_text())
    assert bundle[MIMETYPE] == agreement.record == saved
    assert {"text/plain", "text/markdown"} < set(bundle)
    assert saved["data"] == "sleepstudy"
    assert saved["source"] == "recorded"
    assert os.listdir(project / ".handbook/agreement") == ["classic-sleepstudy-slope.json"]


def chapter(project: Path, name: str, *labels: str) -> None:
    cells = [f'```{{python}}\n#| label: x\ncrosscheck(fit, f, label="{x}")\n```\n' for x in labels]
    plot = '```{python}\nax.plot(x, y, label="herd mean")\n```\n'
    unrun = '```{python}\n#| eval: false\ncrosscheck(fit, f, label="unrun")\n```\n'
    (project / "chapters" / name).write_text("# Title\n\n" + "\n".join([*cells, plot, unrun]))


def test_records_are_collected_by_chapter(without_r, project, sleep):
    for name, re in [("classic-sleepstudy-slope", "Days"), ("classic-sleepstudy-intercept", "1")]:
        formula = f"Reaction ~ Days + ({re} | Subject)"
        crosscheck(
            fit_lmm("Reaction ~ Days", sleep, groups="Subject", re_formula=re), formula, name
        )
    chapter(project, "02-b.qmd", "classic-sleepstudy-slope")
    chapter(project, "_template.qmd", "of-the-template")
    table = agreement_records()
    assert table.index.tolist() == ["classic-sleepstudy-slope"]  # the other is in no chapter
    row = table.loc["classic-sleepstudy-slope"]
    assert (row["chapter"], row["n"], row["reml"], row["verdict"]) == ("02-b", 180, True, "agrees")
    assert row["max_diff_engine"] < 1e-6
    chapter(project, "01-a.qmd", "never-run")
    with pytest.raises(ValueError, match=r"01-a\.qmd.*never-run"):
        agreement_records(project)
    chapter(project, "01-a.qmd", "classic-sleepstudy-slope")
    with pytest.raises(ValueError, match=r"twice.*01-a\.qmd.*02-b\.qmd"):
        agreement_records(project)


def test_a_label_that_is_not_a_plain_string_is_refused(project):
    path = project / "chapters" / "03-c.qmd"
    path.write_text("Text\n\n```{python}\nx = 1\ncrosscheck(fit, f, label=name)\n```\n")
    with pytest.raises(ValueError, match=r"03-c\.qmd, line 5"):
        chapter_labels(path)


def test_outside_a_book_nothing_is_written(without_r, tmp_path, sleep):
    fit = fit_lmm("Reaction ~ Days", sleep, groups="Subject", re_formula="Days")
    crosscheck(fit, SLEEP, "classic-sleepstudy-slope")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"_quarto\.yml"):
        agreement_records()


def test_cells_are_found_with_their_lines():
    text = "a\n```{python}\n#| label: one\nx = 1\n```\n\n"
    text += "````{python}\ny = '```'\n````\n```python\nz\n```\n"
    assert list(python_cells(text)) == [(3, "#| label: one\nx = 1"), (8, "y = '```'")]


def test_every_tolerance_has_its_reason():
    table = tolerance_table()
    assert (table["reason"].str.len() > 20).all()
    assert (table["engine"] < table["statsmodels"]).all()
    assert (table["statsmodels"] <= 5e-2).all()


def test_starting_r_leaves_the_environment_of_later_children_alone(with_r: None) -> None:
    """A Python started afterwards must find its own libraries, not those beside R."""
    code = (
        "import os; before = dict(os.environ)\n"
        "from pylmm_helpers.lme4.check import _pymer4\n"
        "assert _pymer4()[0] is not None\n"
        "print(before.get('LD_LIBRARY_PATH') == os.environ.get('LD_LIBRARY_PATH'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]

"""Real lme4 beside this package and statsmodels: `lmer`, `crosscheck`, `agreement_records`.

The only module that touches pymer4, and only when called. Where R is missing (or PYLMM_NO_R=1 is
set) both functions read what R gave when datasets/reference/record.py ran, and say so. With
PYLMM_RECORD=1 every live fit is recorded.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pylmm_helpers.common import a_name, plain

from . import bridge as _rbridge
from . import comparison as _comparison
from . import formula as _rformula
from . import frame as _rframe
from . import own as _ownfit
from . import reference as _reference
from . import start as _rstart
from .agreement import Agreement, AgreementError, agreement_records, save_record
from .results import LmerFit, from_record
from .tolerances import TOLERANCES, Tolerance, tolerance_table

__all__ = ["TOLERANCES", "Agreement", "AgreementError", "LmerFit", "Tolerance",
           "agreement_records", "crosscheck", "lmer", "tolerance_table"]  # fmt: skip

# lme4's default stops so early that variances are known to about 3e-3; these settings leave 1e-5,
# so that a comparison tests the estimate, not the stop. Either optimiser may stick at a boundary
# that is no optimum: when the first one ends there, or complains, the second has a try.
CONTROLS = (
    "optimizer='bobyqa', optCtrl=list(rhoend=1e-9)",
    "optimizer='nloptwrap', optCtrl=list(xtol_abs=1e-10, ftol_abs=1e-12)",
)
# pbkrtest builds n x n matrices: 0.2 s at 1,750 rows, a minute at 20,000.
KENWARD_ROGER_ROWS = 3_000
# several factors fill those matrices: five minutes at 2,900 rows
KENWARD_ROGER_SEVERAL = 1_000


def lmer(
    formula: str,
    data: pd.DataFrame,
    reml: bool = True,
    name: str | None = None,
    missing: str = "raise",
    control: str | None = None,
    kenward_roger: bool | None = None,
    weights: Any = None,
) -> LmerFit:
    """Fit a linear mixed model with R's lme4, or read what R gave for it earlier.

    Parameters
    ----------
    formula : str
        lme4 formula, such as ``"milk_kg ~ parity + (1 | herd)"``, in R's spelling or formulaic's:
        ``C(x)`` is ``factor(x)``, ``np.log`` is ``log``, ``center(x)`` is ``scale(x, scale =
        FALSE)``, ``Q("a b")`` the column in backticks, and ``C(x, Sum)`` a factor with that coding.
    data : DataFrame
        One row per observation. Text and category columns, ordered ones too, become factors with
        treatment contrasts; the first category (or the first in sorted order) is the reference, as
        in formulaic.
    reml : bool
        REML (default) or ML.
    name : str, optional
        Name of the recorded reference; by default a digest of model and data.
    missing : {"raise", "drop"}
        What to do with rows that have a gap in a column the model uses.
    control : str, optional
        Arguments of R's ``lmerControl``. Default: `CONTROLS`, tighter than lme4's own, and the
        better of two optimisers where the first ends at a boundary; ``""`` gives lme4's own.
    kenward_roger : bool, optional
        Compute Kenward-Roger (REML only). Default: up to `KENWARD_ROGER_ROWS` rows, with several
        random terms `KENWARD_ROGER_SEVERAL`. Never with weights, which pbkrtest leaves out of
        account.
    weights : str or array (n,), optional
        Prior weights w: the residual variance of a row is sigma^2 / w. R gets them divided by
        their mean; `scale` and `theta` are those of the weights as they were given.

    Returns
    -------
    LmerFit
        Estimates, standard errors, degrees of freedom, variances and BLUPs, in attributes named as
        those of `LMMResults`.

    Raises
    ------
    ValueError
        For a formula or data that cannot be fitted (R's own words included), a function without a
        known counterpart in R, a missing value, or when there is neither R nor a matching record.

    References
    ----------
    Bates, Maechler, Bolker & Walker (2015), doi:10.18637/jss.v067.i01; Kuznetsova, Brockhoff &
    Christensen (2017), doi:10.18637/jss.v082.i13; Halekoh & Hojsgaard (2014),
    doi:10.18637/jss.v059.i09.
    """
    if name is not None:
        a_name(name, "name", "the record")
    parsed = _rformula.parse(formula)
    frame = _rframe.model_frame(parsed, data, missing, weights)
    r_text = _rframe.to_r(parsed, frame)
    r_data = _rframe.r_frame(parsed, frame)
    for column in parsed.group_columns:
        if r_data[column].nunique() < 2:
            raise ValueError(f"column {column!r} has one group: a random effect needs several.")
    key = {
        "formula": _reference.normalised(formula),
        "reml": bool(reml),
        "control": "tight" if control is None else control,
        "data_sha256": _reference.data_digest(r_data),
    }
    if kenward_roger is None:
        most = KENWARD_ROGER_ROWS if parsed.single else KENWARD_ROGER_SEVERAL
        kenward_roger = len(frame) <= most
    kenward_roger = kenward_roger and reml and weights is None
    engine, reason = _pymer4()
    if engine is None:
        try:
            record, path = _reference.find(key, name)
        except _reference.NoRecordError as error:
            raise ValueError(
                f"lme4 cannot be asked for {formula!r}: {reason}; and there is {error}. Either "
                "install R with lme4, lmerTest and pbkrtest and this package's extra 'lme4', or "
                "record the model where R is: python datasets/reference/record.py"
            ) from error
        try:
            return from_record(record["lme4"], formula, reml, "recorded", frame)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise _reference.DamagedRecordError(path, error) from error
    controls = CONTROLS if control is None else (control,)
    asked = _Asked(engine, parsed, r_text, frame, r_data, reml, kenward_roger)
    result = _fit_live(asked, controls)
    if os.environ.get("PYLMM_RECORD") == "1":
        _reference.save(key, name, result, frame)
    return from_record(result, formula, reml, "live", frame)


def _pymer4() -> tuple[Any, str]:
    """pymer4's Lmer class, or None and why there is none."""
    if os.environ.get("PYLMM_NO_R") == "1":
        if os.environ.get("PYLMM_RECORD") == "1":
            raise ValueError("PYLMM_RECORD=1 needs R, but PYLMM_NO_R=1 forbids it: unset one.")
        return None, "PYLMM_NO_R=1 is set"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rpy2 warns about the R it finds or misses
            with (
                _rbridge.library_path_kept(), _rstart.plain_start(),
                _rbridge.quiet_console(), _rstart.plain_options(),
            ):  # fmt: skip
                from pymer4.models import Lmer
                from rpy2 import robjects

                # importr would wrap every function of the package at each call
                robjects.r('loadNamespace("lmerTest")')
        return Lmer, ""
    # a missing R shows as ImportError, OSError, ValueError or an error of R's own
    except Exception as error:
        return None, f"R with lme4 and lmerTest, or pymer4, is missing ({error})"


@dataclass(frozen=True)
class _Asked:
    """A model for R: pymer4's class, the formula in both spellings, and the rows in both forms."""

    engine: Any
    parsed: _rformula.MixedFormula
    r_text: str
    frame: pd.DataFrame
    r_data: pd.DataFrame
    reml: bool
    kenward_roger: bool


def _fit_live(asked: _Asked, controls: tuple[str, ...]) -> dict[str, Any]:
    """The fit under the first control, or a better one under the next where that is in doubt."""
    best = _fit_once(asked, controls[0])
    for control in controls[1:]:
        if not (best["singular"] or best["messages"]):
            break
        other = _fit_once(asked, control)
        if other["criterion"] < best["criterion"] - 1e-8:
            worse = f"another optimiser stopped at a criterion of {best['criterion']:.6f}"
            best = {**other, "messages": [*other["messages"], worse]}
    return best


def _fit_once(asked: _Asked, control: str) -> dict[str, Any]:
    """Fit through pymer4 and read the R object; R's words go to `messages`."""
    names = _rframe.safe_names([str(c) for c in asked.r_data.columns])
    weights = names.get(_rframe.WEIGHTS)
    r_data, unit = asked.r_data.rename(columns=names), 1.0
    if weights is not None:
        # weights of mean 1 make the same model, and theta a size that lme4's optimisers start from
        unit = float(r_data[weights].mean())
        r_data[weights] /= unit
    model = asked.engine(asked.r_text, data=r_data)
    # pymer4 would discard what R says, and go on discarding it after the fit
    model._set_R_stdout = lambda verbose: None
    with _rbridge.quiet_console() as written, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", FutureWarning)  # pymer4 0.8.2 uses DataFrame.applymap
        with contextlib.redirect_stdout(io.StringIO()), _rstart.plain_options():
            try:
                if weights is None:
                    model.fit(summarize=False, REML=asked.reml, control=control, no_warnings=True)
                    fitted = model.model_obj
                else:
                    fitted = _rbridge.fit_weighted(model, weights, asked.reml, control)
                result = _rbridge.extract(
                    fitted, asked.parsed, asked.frame, names, asked.kenward_roger
                )
                result["scale"] *= unit
                result["theta"] = [value / unit**0.5 for value in result["theta"]]
            except Exception as error:  # R's error, or pymer4 stumbling over R's answer
                said = "; ".join([str(error).strip(), *_rbridge.console_messages(written)])
                raise ValueError(
                    f"lme4 could not fit {asked.parsed.text!r}: {plain(said)}"
                ) from error
    python = [str(w.message) for w in caught if not issubclass(w.category, FutureWarning)]
    said_all = [*result["messages"], *_rbridge.console_messages(written), *python]
    result["messages"] = list(dict.fromkeys(plain(text).strip() for text in said_all))
    return result


def crosscheck(
    fit: Any,
    formula: str,
    label: str,
    data: pd.DataFrame | None = None,
    control: str | None = None,
    statsmodels_differs: str = "",
) -> Agreement:
    """Compare a fitted model with lme4, quantity by quantity; raise when one is off.

    lme4 gets the weights of the fit. For a statsmodels fit the same model is also fitted by
    `fit_lmm` ("engine"). With several random terms each factor is compared: variances and
    covariances, theta, the level whose mode and the one whose conditional SD is furthest off; and
    then the degrees of freedom of the fixed effects, unless the fit is singular. Differences are
    scaled and tolerances chosen as `TOLERANCES` says.

    Parameters
    ----------
    fit : MixedLMResults, LMMResults or SeveralResults
        The fitted model.
    formula : str
        The same model as an lme4 formula.
    label : str
        Unique in the book; names the recorded reference and the agreement record.
    data : DataFrame, optional
        The data of the fit; by default what the fit itself keeps.
    control : str, optional
        As in `lmer`.
    statsmodels_differs : str, optional
        Why statsmodels is known to be off here. Its differences are then shown with this reason and
        don't raise; the engine must agree all the same, and statsmodels must really differ.

    Returns
    -------
    Agreement
        Shows as a table; carries the record of the build.

    Raises
    ------
    AgreementError
        When a quantity is outside its tolerance; the message holds the table.
    ValueError
        When `formula` is another model than `fit` (response, terms, rows, ML or REML).
    """
    a_name(label, "label", "the comparison")
    parsed = _rformula.parse(formula)
    own = _ownfit.describe_fit(fit, parsed, data)
    weights = _rframe.WEIGHTS if _rframe.WEIGHTS in own.data else None
    reference = lmer(formula, own.data, reml=own.reml, name=label, missing="drop", control=control,
                     weights=weights)  # fmt: skip
    agreement = _comparison.compare(own, reference, parsed, statsmodels_differs)
    frame = _rframe.model_frame(parsed, own.data, "drop", weights)
    r_data = _rframe.r_frame(parsed, frame)
    key = {"formula": formula, "data_sha256": _reference.data_digest(r_data)}
    record = {
        "label": label,
        "formula": formula,
        "data": _reference.identify(frame, key)[0],
        **agreement.record,
    }
    agreement = replace(agreement, record=record)
    save_record(agreement)
    if not agreement.agrees:
        bad = ", ".join(map(str, agreement.table.index[agreement.table["verdict"] != "agrees"]))
        raise AgreementError(
            f"{label}: {bad} outside tolerance for {formula}\n\n{agreement._repr_markdown_()}",
            agreement,
        )
    return agreement

"""`LmerFit`: what lme4 gave for a model, live or recorded, as pandas objects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import shown_whole

from . import frame as _rframe
from .agreement import pipe_table

#: R code in lme4's messages: ``help('isSingular')``, ``?isSingular``, ``max|grad|``.
R_CODE = re.compile(r"\b\w+\('[^']*'\)|(?<!\S)\?\w+|\b\w+\|\w+\|")


@dataclass(frozen=True)
class LmerFit:
    """A linear mixed model fitted by R's lme4, at full double precision.

    Attributes
    ----------
    formula : str
        The lme4 formula.
    reml : bool
        REML (True) or ML.
    fe_params, bse_fe : Series (p,)
        Fixed effects and their standard errors (from Phi), by formulaic's term names.
    cov_fe : DataFrame (p, p)
        Covariance of the fixed effects, in squared units of the response.
    df : DataFrame (p, 1 or 2)
        Degrees of freedom: columns satterthwaite (lmerTest) and, where computed, kenward_roger
        (pbkrtest).
    bse_kr : Series (p,) or None
        Standard errors from the Kenward-Roger covariance.
    cov_re_by_group : dict of str to DataFrame (q, q)
        Covariance of the random effects for each grouping factor.
    random_effects_by_group : dict of str to DataFrame (G, q)
        Conditional modes (BLUPs).
    random_effects_var_by_group : dict of str to ndarray (G, q, q)
        Conditional covariances of the random effects.
    scale : float
        Residual variance.
    theta : ndarray
        Relative Cholesky factor, lower triangle by column, in lme4's order.
    criterion : float
        REML criterion or ML deviance (minus twice the log-likelihood `llf`).
    llf, aic, bic : float
        As R's logLik, AIC and BIC.
    n : int
        Rows used.
    group_counts : dict of str to int
        Number of groups of each grouping factor.
    singular : bool
        lme4's isSingular.
    messages : tuple of str
        What R said while fitting: lme4's messages and R's warnings.
    source : str
        "live", or "recorded" with the versions that recorded it.
    versions : dict
        Versions of R, lme4, lmerTest and pbkrtest that gave these numbers.
    weighted : bool
        Fitted with prior weights; `scale` is then the variance of a row of weight 1.
    """

    formula: str
    reml: bool
    fe_params: pd.Series
    bse_fe: pd.Series
    cov_fe: pd.DataFrame
    df: pd.DataFrame
    bse_kr: pd.Series | None
    cov_re_by_group: dict[str, pd.DataFrame]
    random_effects_by_group: dict[str, pd.DataFrame]
    random_effects_var_by_group: dict[str, np.ndarray]
    scale: float
    theta: np.ndarray
    criterion: float
    llf: float
    aic: float
    bic: float
    n: int
    group_counts: dict[str, int]
    singular: bool
    messages: tuple[str, ...]
    source: str
    versions: dict[str, str]
    weighted: bool = False

    def _sole(self, values: dict[str, Any], name: str) -> Any:
        if len(values) > 1:
            raise ValueError(
                f"{self.formula} has several grouping factors ({', '.join(values)}): use "
                f"{name}_by_group[...]."
            )
        return next(iter(values.values()))

    @property
    def cov_re(self) -> pd.DataFrame:
        """Covariance of the random effects of the only grouping factor."""
        frame: pd.DataFrame = self._sole(self.cov_re_by_group, "cov_re")
        return frame

    @property
    def random_effects(self) -> pd.DataFrame:
        """Conditional modes of the only grouping factor, groups by terms."""
        frame: pd.DataFrame = self._sole(self.random_effects_by_group, "random_effects")
        return frame

    @property
    def random_effects_var(self) -> np.ndarray:
        """Conditional covariances (G, q, q) of the only grouping factor."""
        array: np.ndarray = self._sole(self.random_effects_var_by_group, "random_effects_var")
        return array

    @property
    def ngroups(self) -> int:
        """Number of groups of the only grouping factor."""
        return int(self._sole(self.group_counts, "group_counts"))

    @property
    @shown_whole
    def variance_components(self) -> pd.DataFrame:
        """Variances and SDs (squared units and units of the response), the residual last."""
        rows = [
            (group, term, float(cov.loc[term, term]))
            for group, cov in self.cov_re_by_group.items()
            for term in cov.index
        ]
        rows.append(("residual", "", self.scale))
        frame = pd.DataFrame(rows, columns=["group", "term", "variance"])
        return frame.assign(sd=np.sqrt(frame["variance"])).set_index(["group", "term"])

    @property
    def icc(self) -> float:
        """Intraclass correlation of a model with one random intercept.

        Raises
        ------
        ValueError
            For any other model, and for one with weights, whose residual variance is that of a
            row of weight 1.
        """
        if self.weighted:
            raise ValueError(f"{self.formula} has weights: its ICC depends on a row's weight.")
        cov = self.cov_re
        if list(cov.index) != ["Intercept"]:
            raise ValueError(f"{self.formula} has random slopes: its ICC depends on them.")
        between = float(np.asarray(cov)[0, 0])
        return between / (between + self.scale)

    @shown_whole
    def coef_table(self) -> pd.DataFrame:
        """Estimate, standard error and degrees of freedom of the fixed effects."""
        table = pd.DataFrame({"estimate": self.fe_params, "std_error": self.bse_fe})
        return table.join(self.df.add_prefix("df_"))

    def said(self) -> list[str]:
        """What lme4 said, as Markdown: R code in backticks, so that its quotes stay straight."""
        return ["lme4 says: " + R_CODE.sub(r"`\g<0>`", message) for message in self.messages]

    def provenance(self) -> str:
        """One sentence: live or recorded, and by which versions."""
        made = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        how = "fitted now by" if self.source == "live" else "recorded earlier with"
        return f"lme4 values {how} {made}."

    def _sizes(self) -> str:
        method = "REML criterion" if self.reml else "deviance"
        groups = ", ".join(f"{k} {name}" for name, k in self.group_counts.items())
        return f"{self.n} rows, {groups}; {method} {self.criterion:.4f}."

    def __repr__(self) -> str:
        notes = [fill(text.replace("`", ""), 79) for text in (*self.said(), self.provenance())]
        tables = [repr(self.coef_table()), repr(self.variance_components)]
        return "\n\n".join([fill(f"{self.formula}: {self._sizes()}", 79), *tables, *notes])

    def _repr_markdown_(self) -> str:
        header = ["term", *self.coef_table().columns]
        fixed = [[f"`{t}`", *(f"{v:.6g}" for v in r)] for t, r in self.coef_table().iterrows()]
        random = [
            [f"{at[0]} `{at[1]}`" if at[1] else str(at[0]), *(f"{v:.6g}" for v in row)]
            for at, row in zip(
                self.variance_components.index.to_list(),
                self.variance_components.to_numpy(),
                strict=True,
            )
        ]
        lines = [
            f"`{self.formula}`: {self._sizes()}",
            pipe_table(header, fixed),
            pipe_table(["random effect", "variance", "SD"], random),
            *self.said(),
            self.provenance(),
        ]
        return "\n\n".join(lines) + "\n"


def from_record(
    result: dict[str, Any], formula: str, reml: bool, source: str, frame: pd.DataFrame
) -> LmerFit:
    """An `LmerFit` from what `_rbridge.extract` read, whether now or when it was recorded.

    Parameters
    ----------
    result : dict
        The extracted values.
    formula, reml, source
        As in `LmerFit`.
    frame : DataFrame
        The rows of the model; gives the groups their own labels in place of R's strings.
    """
    fixed = pd.Index(result["fixed"])
    p = len(fixed)
    cov_fe = pd.DataFrame(_numbers(result["cov_fe"], p, p), fixed, fixed)
    kr = result.get("kenward_roger")
    df = pd.DataFrame({"satterthwaite": _numbers(result["satterthwaite"], p)}, index=fixed)
    if kr is not None:
        df["kenward_roger"] = _numbers(kr["df"], p)
    blocks: dict[str, list[pd.DataFrame]] = {}
    for block in result["blocks"]:
        q = len(block["terms"])
        cov = pd.DataFrame(_numbers(block["cov"], q, q), block["terms"], block["terms"])
        blocks.setdefault(block["group"], []).append(cov)
    n_theta = sum(len(b) * (len(b) + 1) // 2 for parts in blocks.values() for b in parts)
    if set(result["groups"]) != set(blocks):
        raise ValueError("its random effects and their variances are of different groups")
    modes, variances = {}, {}
    for name, group in result["groups"].items():
        known = _rframe.levels_of(frame, name)
        index = pd.Index([known.get(v, v) for v in group["levels"]], name=name)
        G, q = len(index), len(group["terms"])
        modes[name] = pd.DataFrame(_numbers(group["modes"], G, q), index, group["terms"])
        variances[name] = _numbers(group["var"], G, q, q)
    return LmerFit(
        formula=formula,
        reml=reml,
        fe_params=pd.Series(_numbers(result["fe_params"], p), fixed),
        bse_fe=pd.Series(np.sqrt(np.diag(cov_fe)), fixed),
        cov_fe=cov_fe,
        df=df,
        bse_kr=None if kr is None else pd.Series(_numbers(kr["se"], p), fixed),
        # (1 | g) + (0 + x | g) are two blocks of one factor: independent, so zero between them
        cov_re_by_group={g: pd.concat(parts).fillna(0.0) for g, parts in blocks.items()},
        random_effects_by_group=modes,
        random_effects_var_by_group=variances,
        theta=_numbers(result["theta"], n_theta),
        group_counts={name: len(values) for name, values in modes.items()},
        messages=tuple(result["messages"]),
        source=source,
        versions=dict(result["versions"]),
        weighted=_rframe.WEIGHTS in frame,
        **{k: float(result[k]) for k in ("scale", "criterion", "llf", "aic", "bic")},
        n=int(result["n"]),
        singular=bool(result["singular"]),
    )


def _numbers(values: Any, *shape: int) -> np.ndarray:
    """Values as an array of that shape; a damaged record has others."""
    array = np.array(values, dtype=float)
    if array.shape != shape:
        raise ValueError(f"an array of shape {array.shape} stands where {shape} belongs")
    return array

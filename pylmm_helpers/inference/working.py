"""What cluster-robust errors take from a fit: rows, residuals, clusters and working covariance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pylmm_helpers.common import Array, counted, shown
from pylmm_helpers.engine import LMMResults, any_results, frame_of

#: Models of statsmodels with the kind of results that carries least squares or GEE; fits with a
#: penalty have others.
STATSMODELS = {("OLS", "OLSResults"), ("OLS", "RegressionResults"), ("GEE", "GEEResults")}
#: Numbers that the columns of one cluster may take (8 bytes each).
MOST_NUMBERS = 100_000_000


@dataclass(frozen=True)
class Block:
    """One cluster: its working covariance over sigma^2 is ``I + sign Z Z'``."""

    X: Array
    e: Array
    Z: Array
    sign: float


@dataclass(frozen=True)
class Effects:
    """Columns (n, q) of a factor's random effects, each already multiplied by the root of their
    relative covariance, and each row's level (n,)."""

    name: str
    columns: Array
    codes: NDArray[np.intp]


@dataclass(frozen=True)
class Working:
    """A linear model with a working covariance that is block-diagonal in clusters.

    Attributes
    ----------
    names : tuple of str
        Terms of the fixed part.
    beta : ndarray (p,)
    X : ndarray (n, p)
    e : ndarray (n,)
        Response less ``X beta``.
    clusters : ndarray (n,)
        Number of each row's cluster.
    name : str
        What the clusters are called.
    effects : list of Effects
        What makes rows of a cluster alike; none for independence.
    sign : float
        -1 for an exchangeable correlation below zero, else 1.
    """

    names: tuple[str, ...]
    beta: Array
    X: Array
    e: Array
    clusters: NDArray[np.intp]
    name: str
    effects: list[Effects] = field(default_factory=list)
    sign: float = 1.0

    @property
    def cross(self) -> Any:
        """The names, where helpers for contrasts look for them."""
        return SimpleNamespace(x_names=self.names, p=len(self.names))

    @property
    def number(self) -> int:
        """How many clusters there are."""
        return int(self.clusters.max()) + 1

    def blocks(self) -> Iterator[Block]:
        """The clusters, one after the other."""
        order = np.argsort(self.clusters, kind="stable")
        ends = np.cumsum(np.bincount(self.clusters))
        for rows in np.split(order, ends[:-1]):
            Z = [np.empty((len(rows), 0))]
            for effect in self.effects:
                levels, own = np.unique(effect.codes[rows], return_inverse=True)
                q = effect.columns.shape[1]
                self.check_room(len(rows), len(levels) * q)
                wide = np.zeros((len(rows), len(levels), q))
                wide[np.arange(len(rows)), own] = effect.columns[rows]
                Z.append(wide.reshape(len(rows), -1))
            yield Block(self.X[rows], self.e[rows], np.hstack(Z), self.sign)

    def check_room(self, rows: int, columns: int) -> None:
        """Refuse a cluster whose columns would fill the memory."""
        if rows * columns > MOST_NUMBERS:
            raise ValueError(
                f"a cluster of {self.name!r} has {rows} rows and {columns} random effects, whose "
                f"columns take {rows * columns * 8e-9:.1f} GB; take smaller clusters (cluster=), "
                "or another df."
            )


def working(fit: Any, cluster: Any = None) -> Working:
    """Rows, residuals, clusters and working covariance of a mixed model, or of an OLS or GEE fit of
    statsmodels.

    Raises
    ------
    ValueError
        Fits with weights, other families or structures; no clusters, a single one, or clusters that
        cut through the levels of a random effect.
    """
    kind = kind_of(fit)
    model = from_ols(fit, cluster) if kind == "OLS" else None
    model = from_gee(fit, cluster) if kind == "GEE" else model
    model = model or from_mixed(any_results(fit, structures=True), cluster)
    if model.number < 2:
        raise ValueError(
            f"cluster {model.name!r} has a single level; robust errors come from differences "
            "between clusters. Name a finer one, or take another df."
        )
    return model


def kind_of(fit: Any) -> str:
    """ "OLS" or "GEE" for such a fit of statsmodels, else an empty text."""
    name = type(getattr(fit, "model", None)).__name__
    results = type(getattr(fit, "_results", fit)).__name__
    return name if (name, results) in STATSMODELS else ""


def from_ols(fit: Any, cluster: Any) -> Working:
    """`working` for ordinary least squares: the rows are taken for independent."""
    model = fit.model
    X, y = np.asarray(model.exog, dtype=float), np.asarray(model.endog, dtype=float)
    if cluster is None:
        raise ValueError(
            "an OLS fit doesn't know its clusters; name their column, as in cluster='herd', or "
            "give a label for each row."
        )
    if np.linalg.matrix_rank(X) < X.shape[1]:
        raise ValueError("columns of the OLS fit repeat others; leave out those that do.")
    codes, name = read_clusters(cluster, frame_of(model, len(y)))
    beta = np.asarray(fit.params, dtype=float)
    return Working(tuple(map(str, model.exog_names)), beta, X, y - X @ beta, codes, name)


def from_gee(fit: Any, cluster: Any) -> Working:
    """`working` for generalised estimating equations with a Gaussian response."""
    model = fit.model
    family = model.family
    if type(family).__name__ != "Gaussian" or type(family.link).__name__.lower() != "identity":
        raise ValueError(
            f"this GEE fit has the family {type(family).__name__} with the link "
            f"{type(family.link).__name__}; CR2 is here for linear models (Gaussian, identity)."
        )
    for extra in ("weights", "offset", "exposure", "constraint"):
        if getattr(model, extra, None) is not None:
            raise ValueError(f"this GEE fit has {extra}; CR2 is not defined here for such a fit.")
    structure = type(model.cov_struct).__name__
    if structure not in ("Independence", "Exchangeable"):
        raise ValueError(
            f"the working correlation {structure} of this GEE fit is not known here; take "
            "Independence() or Exchangeable()."
        )
    if not getattr(fit, "converged", True):
        raise ValueError("this GEE fit did not converge; fit it with a larger maxiter.")
    X, y = np.asarray(model.exog, dtype=float), np.asarray(model.endog, dtype=float)
    groups, own = coded(pd.Series(np.asarray(model.groups)), "groups"), "groups"
    codes, name = groups, own
    if cluster is not None:
        codes, name = read_clusters(cluster, frame_of(model, len(y)))
    beta = np.asarray(fit.params, dtype=float)
    names = tuple(map(str, model.exog_names))
    effects, sign = [], 1.0
    if structure == "Exchangeable":
        rho, largest = float(model.cov_struct.dep_params), int(np.bincount(groups).max())
        if not (largest - 1) * rho > -1.0 or not rho < 1.0:
            raise ValueError(
                f"the working correlation of this GEE fit, {rho:.3g}, is none that groups of "
                f"{largest} rows can have; take Independence()."
            )
        sign = 1.0 if rho >= 0.0 else -1.0
        size = np.full((len(y), 1), np.sqrt(abs(rho) / (1.0 - rho)))
        effects = [Effects(own, size, groups)]
        check_nested(effects[0], codes, name)
    return Working(names, beta, X, y - X @ beta, codes, name, effects, sign)


def from_mixed(res: Any, cluster: Any) -> Working:
    """`working` for a mixed model: V as fitted, residuals about the fixed part alone."""
    if res.cross.mean_weight is not None:
        raise ValueError(
            "CR2 is not defined here for a fit with weights: its adjustment would depend on how "
            "rows and weights are combined. Fit without weights, or take df='satterthwaite'."
        )
    if res.structure is not None:
        raise ValueError(
            f"CR2 is not here for {res.structure.request.words}; fit the model without it, since "
            "robust errors allow for it, or take df='satterthwaite'."
        )
    effects = effects_of(res)
    if cluster is not None:
        codes, name = read_clusters(cluster, res.frame)
    else:
        top = min(effects, key=lambda effect: int(effect.codes.max()))
        codes, name = top.codes, top.name
    for effect in effects:
        check_nested(effect, codes, name, given=cluster is not None)
    scaling = res.cross.scaling
    e = res._rows_of.target - scaling.y_shift - scaling.fixed(res.X, res.beta_scaled)
    beta = res.fe_params.to_numpy()
    return Working(tuple(res.cross.x_names), beta, res.X, e, codes, name, effects)


def effects_of(res: Any) -> list[Effects]:
    """The random effects of a fit, factor by factor, times the root of their covariance."""
    if isinstance(res, LMMResults):
        columns = res.cross.scaling.z(res.Z) @ res.factor_scaled
        return [Effects(res.groups, columns, res.codes)]
    found = []
    for name, own in res.design.by_factor.items():
        Z = np.column_stack([c for k in own for c in res.design.parts[k].z_columns])
        columns = res.scaled_z(name, Z) @ res.lambdas[name]
        found.append(Effects(name, columns, res.design.factors[name].codes))
    return found


def check_nested(
    effect: Effects, clusters: NDArray[np.intp], name: str, given: bool = True
) -> None:
    """Refuse clusters between which a level of the random effect makes rows alike."""
    home = np.zeros(int(effect.codes.max()) + 1, dtype=np.intp)
    home[effect.codes] = clusters
    if np.array_equal(home[effect.codes], clusters):
        return
    if given:
        raise ValueError(
            f"a level of {effect.name!r} has rows in several clusters of {name!r}, so that the "
            f"clusters are not independent; name a column whose levels contain those of "
            f"{effect.name!r}."
        )
    raise ValueError(
        f"{effect.name!r} and {name!r} are crossed, so that neither makes independent clusters; "
        "name a column whose levels contain those of both (cluster=), or take "
        "df='satterthwaite'."
    )


def read_clusters(cluster: Any, frame: pd.DataFrame) -> tuple[NDArray[np.intp], str]:
    """Number of each row's cluster, from a column's name or a label for each row."""
    if isinstance(cluster, str):
        if cluster not in frame.columns:
            raise ValueError(
                f"cluster={cluster!r} is no column of the data; its columns are "
                f"{list(map(str, frame.columns))}."
            )
        return coded(frame[cluster], cluster), cluster
    values = np.asarray(cluster)
    if values.ndim != 1 or len(values) != len(frame):
        raise ValueError(
            f"cluster is {shown(cluster)}; name a column of the data, or give a label for each of "
            f"the {len(frame)} rows of the fit."
        )
    name = str(getattr(cluster, "name", None) or "cluster")
    return coded(pd.Series(values), name), name


def coded(labels: pd.Series, name: str) -> NDArray[np.intp]:
    """Numbers (n,) for labels, each of which must be there."""
    codes = pd.factorize(labels)[0]
    missing = int(np.count_nonzero(codes < 0))
    if missing:
        raise ValueError(
            f"cluster {name!r} has no label in {counted(missing, 'row')}; leave those rows out of "
            "the fit, or give them a label."
        )
    return np.asarray(codes, dtype=np.intp)

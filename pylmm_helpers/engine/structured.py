"""The fit of a model with one grouping factor whose residuals are correlated or of unequal
variance."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.formula import Design, Structure

from .criterion import criterion, factor_to_theta, theta_to_factor
from .lag_sums import LagSums, classes_of, lag_sums
from .products import CrossProducts, GroupRows, group_rows
from .reduce import reduce_products
from .rows import within_of
from .scaling import WhitenedRows, prepare
from .search import minimise
from .structure_search import search, search_near

#: Variances of the random effects start no nearer to zero than this, where the slope vanishes.
LEAST = 0.05
#: Steps in the search for theta at one point: where it takes more, the criterion is level.
MOST_STEPS = 30
#: Groups of which the neighbourhood of the minimum is searched first, and the seed that picks them.
SAMPLE_GROUPS, SAMPLE_SEED = 1_000, 20000310


class OneFactor:
    """A model with one grouping factor, for the search over the parameters of its structure."""

    def __init__(self, design: Design, reml: bool) -> None:
        assert design.structure is not None
        white = WhitenedRows(prepare(design))
        self.reml, self.structure, self.white = reml, design.structure, white
        self.classes = classes_of(design.structure)
        self.ngroups = white.ngroups
        self.sums = self.sums_of()
        start = neutral(design.structure)
        products = white.products(start) if self.sums is None else self.sums.products(start)
        self.template = white.ready.assembled(*products)
        rows, cross = reduce_products(self.template, lambda c: within_of(c, *white.split(start)))
        # whether the variation within groups has to be taken from the rows, for its digits
        self.exact = cross.RtR_within is not None
        self.plain = rows

    def sums_of(self) -> LagSums | None:
        """The products as sums over classes of rows, where that is cheaper."""
        z_index = self.white.ready.layout.z_index
        return lag_sums(
            self.structure, self.white.rows, z_index, self.white.codes, self.ngroups, self.classes
        )

    def cross(self, structure: Structure) -> CrossProducts:
        """The products under a structure's values."""
        if self.sums is None:
            total, by_group, log_det = self.white.products(structure)
        else:
            total, by_group, log_det = self.sums.products(structure)
        z, r = self.white.ready.layout.z_index, [*self.white.ready.layout.x_index, -1]
        return replace(
            self.template, ZtZ=by_group[:, z], ZtR=by_group[:, r], RtR=total[np.ix_(r, r)],
            sum_log_weights=-log_det, RtR_within=None,
        )  # fmt: skip

    @property
    def nobs(self) -> int:
        """Rows."""
        return self.template.nobs

    def reduced(self, structure: Structure) -> tuple[GroupRows, float]:
        """Pseudo-rows of the groups under a structure's values, and ``log |R|``."""
        cross = self.cross(structure)
        if self.exact:
            again = within_of(cross, *self.white.split(structure))
            cross = replace(cross, RtR_within=again)
        return group_rows(cross), -cross.sum_log_weights

    def value_at(self, structure: Structure, theta: Array) -> float:
        """The criterion for given phi, ratios and theta (d,)."""
        rows, log_det = self.reduced(structure)
        return float(criterion(theta[None], rows, self.reml)[0].value[0]) + log_det

    def value(self, structure: Structure, near: Array) -> tuple[float, Array]:
        """The criterion for given phi and ratios, and theta (d,)."""
        rows, log_det = self.reduced(structure)
        found = minimise(away(near, rows.q)[None], rows, self.reml, MOST_STEPS)
        return float(found.value[0]) + log_det, found.theta[0]

    def sample(self) -> OneFactor | None:
        """The same model for some of many groups, to find the neighbourhood of the minimum."""
        if self.ngroups < 4 * SAMPLE_GROUPS:
            return None
        rng = np.random.default_rng(SAMPLE_SEED)
        chosen = np.sort(rng.choice(self.ngroups, SAMPLE_GROUPS, replace=False))
        number = np.full(self.ngroups, -1, dtype=np.intp)
        number[chosen] = np.arange(SAMPLE_GROUPS)
        there = copy(self)
        keep = number[self.white.codes] >= 0
        there.white = self.white.part(keep, number, SAMPLE_GROUPS)
        there.structure, there.ngroups = there.white.structure, SAMPLE_GROUPS
        there.classes = classes_of(there.structure)
        there.template = replace(
            self.template, sizes=self.template.sizes[chosen],
            group_labels=self.template.group_labels[chosen],
        )  # fmt: skip
        there.sums = there.sums_of()
        return there


def neutral(structure: Structure) -> Structure:
    """The structure without correlation and with equal SD."""
    ratios = None if structure.levels is None else np.ones(len(structure.levels))
    return structure.at(None if structure.gaps is None else 0.0, ratios)


def away(theta: Array, q: int) -> Array:
    """A theta (d,) beside one on the boundary, from which every variance can grow."""
    factor = theta_to_factor(theta, q).copy()
    size = np.maximum(np.abs(np.diag(factor)), LEAST)
    factor[np.arange(q), np.arange(q)] = size
    return factor_to_theta(factor)


def level_ratios(structure: Structure, residuals: Array) -> Array | None:
    """SD ratios (levels,) to start from: those of a plain fit's residuals (n,)."""
    if structure.level_codes is None:
        return None
    count = np.bincount(structure.level_codes)
    sd = np.sqrt(np.bincount(structure.level_codes, residuals**2) / count)
    sd = np.maximum(sd, 1e-3 * sd.max())
    return np.asarray(np.clip(sd / sd[0], 1e-2, 1e2))


def beginning(problem: OneFactor) -> tuple[Array, Array | None]:
    """Theta (d,) and SD ratios of the model without a structure, to start from."""
    rows, cross = problem.plain, problem.template
    found = minimise(factor_to_theta(np.eye(rows.q))[None], rows, problem.reml, MOST_STEPS)
    if problem.structure.level_codes is None:
        return found.theta[0], None
    at, _ = criterion(found.theta, rows, problem.reml)
    white, layout = problem.white, problem.white.ready.layout
    left = white.rows[-1] - at.beta()[0] @ white.rows[layout.x_index]
    # less the mean of each group, which random intercepts and slopes mostly are
    left -= (np.bincount(white.codes, left) / cross.sizes)[white.codes]
    residuals = np.empty(len(left))
    residuals[problem.structure.order] = left
    return found.theta[0], level_ratios(problem.structure, residuals)


def fit_structured(design: Design, reml: bool, plain: Callable[..., Any]) -> Any:
    """Search the structure's parameters, then fit the model at their values by `plain`."""
    structure = design.structure
    assert structure is not None
    problem = OneFactor(design, reml)
    near, ratios = beginning(problem)
    for _ in range(3):
        found, value = search(problem, structure, ratios, near)
        fit = plain(replace(design, structure=found), reml, problem.white.cross(found))
        # the search goes from valley to valley of theta; the fit looks at all of them
        if float(fit.at.value[0]) - fit.cross.sum_log_weights > value - 1e-6:
            break
        near, ratios = fit.theta_scaled, found.ratios
    return fit


def refit_near(design: Design, reml: bool, fit: Any, plain: Callable[..., Any]) -> Any:
    """The model of an earlier fit for the response in `design`, searched from that fit's estimates;
    phi may end at its bound."""
    problem = OneFactor(design, reml)
    found, _ = search_near(problem, fit.structure, fit.theta_scaled)
    return plain(replace(design, structure=found), reml, problem.white.cross(found))

"""The profile of a model with several random terms: one fit for each held value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine import Index, family
from pylmm_helpers.engine.several import (
    HeldTerm,
    SeveralResults,
    Sums,
    is_small,
    minimise,
    off_zero,
    optimise,
    starts,
    terms_of,
)

from ..zeta import OFF_ZERO, SIZES, Profile
from .parameters import parameters


class SeveralProfile(Profile):
    """`Profile` from the sums of several factors."""

    def __init__(self, fit: SeveralResults, reml: bool) -> None:
        self.fit, self.sums, self.reml = fit, fit.sums, reml
        at = fit.at if reml == fit.reml else optimise(self.sums, reml).at
        self.theta, self.best = at.theta, at.value
        self.log_sigma = 0.5 * float(np.log(at.r2 / at.nu))
        self.estimates = parameters(fit, at)
        inverse = np.linalg.inv(at.root[: self.sums.p, : self.sums.p])
        cov = fit.scalings[0].cov_beta(at.r2 / at.nu * inverse.T @ inverse)
        self.errors = np.sqrt(np.diag(cov))
        self.families, self.places, each = [], [], []
        factors = [f.name for f in self.sums.factors]
        parts: dict[int, list[slice]] = {}
        for k, part in terms_of(self.sums):
            parts.setdefault(k, []).append(part)
        y_scale = fit.scalings[0].y_scale
        for name in fit.group_names:
            k = factors.index(name)
            for part, position in zip(parts[k], fit.design.by_factor[name], strict=True):
                z_map = fit.scalings[position].z_map
                size = len(z_map) * (len(z_map) + 1) // 2
                self.families += [family(z_map, y_scale, i) for i in range(size)]
                self.places += [(k, part)] * size
                each += [self.sums.n / self.sums.factors[k].levels] * size
        # sigma belongs to no term
        self.families.append(family(np.eye(1), y_scale, 1))
        self.places.append((-1, slice(0)))
        self.rows_each = np.array([*each, 1.0])
        self.each = sum(f.size for f in self.sums.factors) * (self.sums.p + 1)
        self.near: dict[int, tuple[Array, float]] = {}

    def with_variance(self, which: Index, values: Array, thorough: bool) -> Array:
        """`least` for standard deviations, correlations and sigma."""
        found = np.empty(len(which))
        away = off_zero(self.theta, self.sums, OFF_ZERO)
        for m, (i, value) in enumerate(zip(which, values, strict=True)):
            k, part = self.places[i]
            held = HeldTerm(
                self.sums, self.reml, self.families[i], k, part, value / self.families[i].unit
            )
            first = [(away, self.log_sigma)]
            if int(i) in self.near:
                first.insert(0, self.near[int(i)])
            if thorough and is_small(self.sums):
                first += [(s * starts(self.sums)[0], self.log_sigma) for s in SIZES]
            elif not thorough:
                first = first[:1]
            best = np.inf
            for theta, log_sigma in first:
                value_there, at, sigma_there = held.minimise(held.start(theta, log_sigma))
                if value_there < best:
                    best = value_there
                    self.near[int(i)] = off_zero(at.theta, self.sums, OFF_ZERO), sigma_there
            found[m] = best
        return found

    def with_fixed_effect(self, j: Index, values: Array, thorough: bool) -> Array:
        """`least` for fixed effects: ``x_j * value`` goes to the response, the other columns are
        fitted."""
        found = np.empty(len(j))
        away = off_zero(self.theta, self.sums, OFF_ZERO)
        for m, (k, value) in enumerate(zip(j, values, strict=True)):
            sums = self.moved(int(k), float(value))
            if thorough and is_small(sums):
                found[m] = optimise(sums, self.reml).at.value
            else:
                found[m] = minimise(away, sums, self.reml).at.value
        return found

    def moved(self, j: int, value: float) -> Sums:
        """The sums for the fit in which fixed effect j has a given value."""
        scaling, p = self.fit.scalings[0], self.sums.p
        direction = scaling.x_map[j]  # beta_j = y_scale * direction @ beta_scaled + shift
        goal = (value - scaling.y_shift * scaling.constant[j]) / scaling.y_scale
        goal -= float(direction @ scaling.offset)
        change = np.zeros((p + 1, p))
        change[:p, : p - 1] = np.linalg.svd(direction[None])[2][1:].T
        change[:p, -1] = -goal * direction / (direction @ direction)
        change[p, -1] = 1.0
        old = self.sums
        return replace(
            old,
            ZR=[np.einsum("krg,rc->kcg", block, change) for block in old.ZR],
            DR=old.DR @ change,
            RR=change.T @ old.RR @ change,
        )

"""The likelihood of a transformed response under a model with several random terms: only the
products that the response is in are formed anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pylmm_helpers.common import Array
from pylmm_helpers.engine.several import (
    Point,
    SeveralResults,
    Sums,
    minimise,
    optimise,
    settle,
    way_down,
)
from pylmm_helpers.inference.several import Refits


class Likelihood:
    """The ML log-likelihood of any response under the model of a fit; each search starts where the
    last one ended."""

    def __init__(self, fit: SeveralResults) -> None:
        self.refits = Refits(replace(fit, reml=False))
        self.theta = fit.at.theta
        self.mean, self.sd = float(fit.y.mean()), float(fit.y.std())
        weights = fit.design.first.weights
        self.log_weights = 0.0 if weights is None else float(np.log(weights).sum())
        self.log_scale = float(np.log(fit.scalings[0].y_scale))

    def __call__(self, y: Array) -> float:
        """Log-likelihood of a response (n,)."""
        n, sd = len(y), float(y.std())
        # in the unit of the fit's own response, whose products have kept their digits
        sums = self.refits.sums((y - y.mean()) * (self.sd / sd) + self.mean)
        at = self.best(sums)
        log_unit = self.log_scale + np.log(sd / self.sd)
        return -0.5 * (at.value + 2.0 * n * float(log_unit) - self.log_weights)

    def best(self, sums: Sums) -> Point:
        """The maximum, sought from the last one, and from many points where that ends at a false
        boundary."""
        # a variance that was zero for one power may grow for the next
        found = minimise(np.where(self.theta == 0.0, 1e-2, self.theta), sums, False)
        at = settle(found).at
        if not found.converged or way_down(at) is not None:
            at = optimise(sums, False).at
        self.theta = at.theta
        return at

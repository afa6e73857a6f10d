"""Two levels of a factor compared, in a fit with several random terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import shown
from pylmm_helpers.engine.several import SeveralResults, parent_levels, solved
from pylmm_helpers.formula import model_columns

from ..sides import check_known, fixed_difference, two_rows
from .errors import phi
from .prediction import a_factor, level_numbers
from .variance import shared_factors


def difference_of_levels(
    fit: SeveralResults, first: Any, second: Any, new_data: Any, group: str | None
) -> tuple[float, float]:
    """The difference of two levels, with those of the factors that theirs is nested in, and its
    variance."""
    if group is None and len(fit.group_names) > 1:
        raise ValueError(
            f"the fit has the factors {', '.join(map(repr, fit.group_names))}; say which one is "
            f"compared, as in group={fit.group_names[0]!r}"
        )
    factor = a_factor(fit, fit.group_names[0] if group is None else group)
    numbers = level_numbers(fit, labels_frame(fit, factor, [first, second]), factor)
    check_known(numbers, [first, second], factor)
    known = shared_factors(fit)[factor]
    frame = two_rows(new_data, [z for name in known for z in fit.z_names[name]])
    fixed, d = fixed_difference(fit, frame)
    p, prior, effects = fit.sums.p, 0.0, 0.0
    W = [np.zeros((f.q, 1, f.levels)) for f in fit.sums.factors]
    for name in known:
        place = numbers
        if name != factor:
            above = parent_levels(fit.design.factors[factor], fit.design.factors[name])
            assert above is not None
            place = above[numbers]
        own = fit.design.by_factor[name]
        Z = np.ones((2, len(fit.z_names[name])))
        if frame is not None:
            Z = np.hstack([model_columns(fit.design.with_rows[k], frame, "random") for k in own])
        # coefficients of the levels' effects; a level that both share stands once
        w = fit.scaled_z(name, Z) * np.array([[1.0], [-1.0]])
        if place[0] == place[1]:
            w, place = w.sum(axis=0, keepdims=True), place[:1]
        factor_root = fit.lambdas[name]
        half = w @ factor_root
        prior += float(np.sum(half**2))
        W[fit.number[name]][:, 0, place] = factor_root @ half.T
        d = d - np.einsum("nq,qpn->p", w, fit.coefficients[name][:, :p, place])
        effects += float(np.sum(w * fit.effects_scaled[name][place]))
    found, _ = solved(fit.at, W, 1)
    given = sum(float(np.sum(w * u)) for w, u in zip(W, found, strict=True))
    variance = fit.scale * max(prior - given, 0.0) + float(d @ phi(fit) @ d)
    return fixed + float(fit.scalings[0].y_scale) * effects, variance


def labels_frame(fit: SeveralResults, factor: str, labels: list[Any]) -> pd.DataFrame:
    """Two labels of a factor as columns."""
    index = fit.labels_by_group[factor]
    if not isinstance(index, pd.MultiIndex):
        return pd.DataFrame({factor: labels})
    names = [str(name) for name in index.names]
    for label in labels:
        if not isinstance(label, tuple) or len(label) != len(names):
            raise ValueError(
                f"{shown(label)} is no level of {factor!r}; give a tuple of {', '.join(names)}"
            )
    return pd.DataFrame({name: [label[k] for label in labels] for k, name in enumerate(names)})

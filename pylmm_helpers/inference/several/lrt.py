"""Likelihood ratio tests of models with several random terms: one term more or less."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from pylmm_helpers.common import Array
from pylmm_helpers.engine import triangular
from pylmm_helpers.engine.several import (
    SeveralResults,
    Term,
    TooLargeError,
    evaluate,
    expected_form,
    first_derivatives,
    lambdas_of,
    random_terms,
    terms_of,
    theta_of,
    vector_of,
)
from pylmm_helpers.formula import in_order_of

from ..mixture import chi2_tail, cone_weights_of, describe, mixture_tail
from ..nesting import check_reml, is_ordinary, same_data, span_map, without_random_effects


class SeveralDifferencesError(ValueError):
    """Nested models that differ by more than one random effect."""


@dataclass(frozen=True)
class Difference:
    """What the full model has more.

    Attributes
    ----------
    term : int
        Position of the full model's random term that differs; -1 if only fixed effects do.
    kept, dropped : int
        Effects of that term that the reduced model has and lacks.
    df : int
        Difference in variance parameters.
    """

    term: int
    kept: int
    dropped: int
    df: int


def same_partition(a: Term, b: Term) -> bool:
    """Whether two terms group the rows alike, whatever the labels."""
    if a.levels != b.levels:
        return False
    return len(np.unique(a.codes * b.levels + b.codes)) == a.levels


def matched(full: list[Term], reduced: list[Term]) -> list[list[int]]:
    """For each term of the full model the reduced model's terms that are part of it."""
    found: list[list[int]] = [[] for _ in full]
    for position, term in enumerate(reduced):
        for k, other in enumerate(full):
            if same_partition(term, other) and inside(term, other):
                found[k].append(position)
                break
        else:
            raise ValueError(
                f"the models are not nested: the full one has no random term that contains {term}. "
                "Give the full model first, or compare them by information_criteria."
            )
    return found


def inside(part: Term, whole: Term) -> bool:
    """Whether one term's columns are combinations of another's."""
    try:
        z_map(whole, part)
    except ValueError:
        return False
    return True


def z_map(whole: Term, part: Term) -> Array:
    """C with ``part.Z = whole.Z @ C``; ValueError if there is none."""
    fit: Any = SimpleNamespace(Z=whole.Z, cross=SimpleNamespace(scaling=whole.scaling))
    return span_map(fit, part.Z, part.z_names, "random")


def difference(full: list[Term], reduced: list[Term]) -> Difference:
    """The one random term in which the models differ; refuses more than one."""
    found = []
    for k, own in enumerate(matched(full, reduced)):
        q, kept = len(full[k].z_names), sum(len(reduced[j].z_names) for j in own)
        df = full[k].parameters - sum(reduced[j].parameters for j in own)
        if df:
            found.append(Difference(k, kept, q - kept, df))
            if len(own) > 1 and kept < q:
                found.append(found[-1])
    if len(found) > 1 or any(d.dropped > 2 or (d.dropped == 2 and d.kept) for d in found):
        names = ", ".join(str(full[d.term]) for d in found)
        raise SeveralDifferencesError(
            f"the models differ by more than one random effect, in {names}: the mixture of "
            "chi-squared distributions is known for one. Drop them one at a time, or use "
            "parametric_bootstrap(full, reduced)."
        )
    return found[0] if found else Difference(-1, 0, 0, 0)


def lrt(full: Any, reduced: Any, as_results: Any) -> pd.DataFrame:
    """`pylmm_helpers.lrt` where a model has several random terms."""
    big: Any = full if isinstance(full, SeveralResults) else as_results(full)
    terms = random_terms(big)
    if is_ordinary(reduced):
        ordinary = without_random_effects(as_one_factor(big), reduced)
        x_map, value, small_terms, small = ordinary.x_map, ordinary.reduced_criterion, [], None
    else:
        small = reduced if isinstance(reduced, SeveralResults) else as_results(reduced)
        small = in_order_of(big, small)
        same_data(rows_of(big), rows_of(small))
        names = list(big.cross.x_names), list(small.cross.x_names)
        if len(names[0]) < len(names[1]):
            raise ValueError(
                "the second model has terms that the first lacks; give the full model first."
            )
        x_map = span_map(big, small.X, names[1], "fixed")
        check_reml(big, small.X, names[1])
        value, small_terms = small.criterion, random_terms(small)
    change = difference(terms, small_terms)
    fixed = int(x_map.shape[0] - x_map.shape[1])
    if fixed == 0 and change.term < 0:
        raise ValueError(
            "the models have the same fixed and random effects; there is nothing to test."
        )
    if value < big.criterion - 1e-5 * max(1.0, abs(big.criterion) * 1e-6):
        raise ValueError(
            "the reduced model fits better than the full one that contains it: the full model's "
            "optimiser stopped too early. Check its convergence."
        )
    statistic = max(0.0, value - big.criterion)
    degrees, weights = [fixed + change.df], [1.0]
    if change.dropped == 1:
        degrees, weights = [fixed + change.kept, fixed + change.kept + 1], [0.5, 0.5]
    elif change.dropped == 2:
        degrees = [fixed + k for k in range(4)]
        weights = new_term_weights(big, terms, small_terms, change.term)
    df = fixed + change.df
    return pd.DataFrame(
        {
            "statistic": [statistic],
            "df": [df],
            "p_value": [mixture_tail(statistic, degrees, weights)],
            "p_value_naive": [chi2_tail(statistic, df)],
            "reference": [describe(degrees, weights)],
            "method": ["REML" if big.reml else "ML"],
        },
        index=pd.Index(["likelihood ratio"], name="test"),
    )


def rows_of(fit: Any) -> Any:
    """Rows, response, weights and method of a fit, as `same_data` asks for them."""
    design = fit.design.first if isinstance(fit, SeveralResults) else fit.design
    return SimpleNamespace(
        nobs=fit.nobs,
        y=fit.y,
        offset=fit.offset,
        endog_name=fit.endog_name,
        reml=fit.reml,
        design=design,
    )


def as_one_factor(fit: SeveralResults) -> Any:
    """What the comparison with ordinary regression asks of a fit."""
    cross = SimpleNamespace(
        p=fit.sums.p, q=0, RtR=fit.sums.RR, scaling=fit.scalings[0], x_names=fit.cross.x_names
    )
    return SimpleNamespace(
        cross=cross, X=fit.X, y=fit.y, offset=fit.offset, nobs=fit.nobs, reml=fit.reml,
        design=fit.design.first,
        _rows_of=fit.design.first, criterion=fit.criterion,
        at=SimpleNamespace(value=[fit.at.value]),
    )  # fmt: skip


def new_term_weights(
    big: SeveralResults, terms: list[Term], small: list[Term], new: int
) -> list[float]:
    """Weights of chi-squared 0 to 3 for a new term of two effects, whose covariance matrix must be
    positive semidefinite, at the reduced model."""
    sums = big.sums
    lambdas = [np.zeros_like(L) for L in lambdas_of(big.at.theta, sums)]
    # the terms of the search are those of each factor in turn; find the formula's among them
    order = [k for f in sums.factors for k in big.design.by_factor[f.name]]
    pairs = matched(terms, small)
    for (factor, part), k in zip(terms_of(sums), order, strict=True):
        roots = [
            np.linalg.solve(
                big.scalings[k].z_map,
                z_map(terms[k], small[j]) @ small[j].factor,
            )
            for j in pairs[k]
        ]
        if roots:
            root = np.hstack(roots)
            lambdas[factor][part, part] = triangular(np.pad(root, ((0, 0), (0, len(root)))))
    at = evaluate(theta_of(lambdas, sums), sums, big.reml)
    first = first_derivatives(at)
    try:
        information = expected_form(at, first)
    except TooLargeError as error:
        raise ValueError(
            f"the weights of the mixture take all pairs of levels, and {error}; add the effects of "
            f"{terms[new]} one at a time."
        ) from error
    trace = vector_of(sums, first.trace)
    information = information - np.outer(trace, trace) / at.nu
    own, start = np.zeros(len(trace), dtype=bool), 0
    for k in order:
        own[start : start + terms[k].parameters] = k == new
        start += terms[k].parameters
    A, B, C = (
        information[np.ix_(own, own)],
        information[np.ix_(own, ~own)],
        information[np.ix_(~own, ~own)],
    )
    return cone_weights_of(0.5 * (A - B @ np.linalg.pinv(C) @ B.T))

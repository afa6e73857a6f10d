"""Whether the variances of a model can be told from its fixed effects, and from each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pylmm_helpers.common import Array

from .criterion import criterion, derivatives, factor_to_theta, symmetric_basis, triangle
from .products import CrossProducts, GroupRows

#: Share of the information on variances that the fixed effects may leave and still count as none.
NO_INFORMATION = 1e-9
#: Eigenvalues of the scaled information below this share of the largest are zero but for rounding.
NULL = 1e-10
#: Share of a null direction that a parameter may take part with and still count as free of it.
TOUCHED = 1e-5


def check_identified(rows: GroupRows, cross: CrossProducts, reml: bool) -> None:
    """Refuse REML where the fixed effects leave nothing to estimate a group variance from.

    That takes a column of X for each group; then the information on the variances, less what the
    fixed effects use up, vanishes.
    """
    if not reml or rows.p < rows.Z.shape[-1]:
        return
    q, basis = rows.q, symmetric_basis(rows.q)
    theta = factor_to_theta(np.eye(q))[None]
    at, whitened = criterion(theta, rows, True)
    forms = [derivatives(at, whitened, rows, flag).trace2[0] for flag in (True, False)]
    left, all_of_it = (np.einsum("kij,ijmn,lmn->kl", basis, form, basis) for form in forms)
    scale = np.sqrt(np.diag(all_of_it))
    if np.linalg.eigvalsh(left / np.outer(scale, scale))[0] < NO_INFORMATION:
        raise ValueError(
            f"the fixed effects of {cross.formula!r} already tell the groups of column "
            f"'{cross.group_name}' apart, so REML can't estimate a variance between them; drop "
            "predictors that are constant within groups."
        )


@dataclass(frozen=True)
class Identification:
    """Which variances and covariances of the random effects the data can tell apart.

    Attributes
    ----------
    directions : ndarray (k, q, q)
        Changes of the random effects' covariance, in scaled columns, that leave the criterion as
        it is (after a change of sigma^2 where `residual` is False).
    known : ndarray (q, q) of bool
        Elements of `cov_re` that no such change touches.
    residual : bool
        Whether sigma^2 is identified.
    names : tuple of str
        What is not known: "var(x)", "cov(Intercept, x)", "residual variance".
    finding : str
        The same and why, in a Markdown sentence; empty if all is identified.
    constant : tuple of str
        Random slopes whose predictor is constant within every group.
    """

    directions: Array
    known: NDArray[np.bool_]
    residual: bool
    names: tuple[str, ...]
    finding: str
    constant: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everything is identified."""
        return len(self.directions) == 0


def identification(rows: GroupRows, cross: CrossProducts, reml: bool) -> Identification:
    """Null directions of the expected information on covariances and sigma^2.

    It is taken where the relative covariance is the identity in scaled columns, for at a zero
    variance the information on covariances vanishes though they are identified elsewhere.
    """
    q, basis = rows.q, symmetric_basis(rows.q)
    at, whitened = criterion(factor_to_theta(np.eye(q))[None], rows, reml)
    d = derivatives(at, whitened, rows, reml)
    size = len(basis)
    information = np.empty((size + 1, size + 1))
    information[:size, :size] = np.einsum("kij,ijmn,lmn->kl", basis, d.trace2[0], basis)
    information[:size, size] = np.einsum("kij,ij->k", basis, d.trace[0])
    information[size, :size] = information[:size, size]
    information[size, size] = rows.nobs - (rows.p if reml else 0)  # of V itself, not of I
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    null = vectors[:, values < NULL * values[-1]].T / scale
    # V = I + sum of Z_i Z_i': a step along V is one along I and along every variance
    steps = np.einsum("nk,kij->nij", null[:, :size], basis) + null[:, -1:, None] * np.eye(q)
    length = np.sqrt(np.sum(steps**2, axis=(1, 2)) + null[:, -1] ** 2)[:, None, None]
    z_map = cross.scaling.z_map / np.linalg.norm(cross.scaling.z_map, axis=1, keepdims=True)
    touched = np.abs(z_map @ (steps / length) @ z_map.T) > TOUCHED
    known = ~touched.any(axis=0)
    residual = bool(np.all(np.abs(null[:, -1]) <= TOUCHED * length[:, 0, 0]))
    return Identification(steps, known, residual, *words(cross, known, residual))


def words(
    cross: CrossProducts, known: NDArray[np.bool_], residual: bool
) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Names of what is not known, the finding, and the terms that are constant within groups."""
    z = [str(name) for name in cross.z_names]
    lost = [(j, i) for j, i in zip(*triangle(len(z)), strict=True) if not known[i, j]]
    names = [f"var({z[i]})" if i == j else f"cov({z[j]}, {z[i]})" for j, i in lost]
    names += [] if residual else ["residual variance"]
    if not names:
        return (), "", ()
    variances = [z[i] for j, i in lost if i == j]
    phrases = [f"the variance of {listed(variances)}"] if variances else []
    phrases += [f"the covariance of `{z[j]}` and `{z[i]}`" for j, i in lost if i != j]
    phrases += [] if residual else ["the residual variance"]
    text = phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
    involved = {k for pair in lost for k in pair if z[k] != "Intercept"}
    constant = tuple(z[k] for k in sorted(involved) if constant_within(cross, k))
    groups = f"the groups of `{cross.group_name}`"
    why = (
        f"{listed([*constant])} {'is' if len(constant) == 1 else 'are'} constant within {groups}"
        if constant
        else f"{groups} have too few rows, or too few different values, to tell them apart"
    )
    return tuple(names), f"{text[0].upper()}{text[1:]} can't be estimated: {why}.", constant


def constant_within(cross: CrossProducts, j: int) -> bool:
    """Whether random term j has one value in each group."""
    scaling = cross.scaling
    back = np.linalg.inv(scaling.z_map)
    products = np.einsum("ai,abg,bj->ijg", back, cross.ZtZ, back)
    intercept = [k for k, name in enumerate(cross.z_names) if name == "Intercept"]
    if not intercept:
        return False
    k = intercept[0]
    within = products[j, j] - products[j, k] ** 2 / products[k, k]
    return bool(np.all(within <= 1e-10 * np.maximum(products[j, j], products[j, j].max())))


def listed(names: list[str]) -> str:
    """Terms in backticks, the last after "and"."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]

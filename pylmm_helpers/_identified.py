"""Whether the variances of a model can be told from its fixed effects at all."""

from __future__ import annotations

import numpy as np

from pylmm_helpers._crossprod import CrossProducts, GroupRows
from pylmm_helpers._profile import criterion, derivatives, factor_to_theta, symmetric_basis

#: Share of the information on variances that the fixed effects may leave and still count as none.
NO_INFORMATION = 1e-9


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

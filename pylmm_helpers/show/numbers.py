"""Numbers as a report writes them."""

from __future__ import annotations

import numpy as np

MINUS = "\N{MINUS SIGN}"


def places(se: float) -> int:
    """Decimals that show two digits of a standard error."""
    return int(np.clip(1 - np.floor(np.log10(se)), 0, 12)) if se > 0 else 2


def decimals(value: float, digits: int) -> str:
    """So many decimals, with a true minus sign and none before zero."""
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def three(value: float) -> str:
    """Three significant digits, whole numbers in full."""
    if value == 0.0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2e}".replace("-", MINUS)
    return decimals(value, int(max(0, 2 - np.floor(np.log10(abs(value))))))

"""The sentences of a report on correlated residuals and on residual variances that differ."""

from __future__ import annotations

from typing import Any

from .numbers import decimals, three
from .words import Words

KINDS = {
    "ar1": "a first-order autoregression over whole steps of {time}",
    "car1": "an autoregression in continuous {time}",
}


def structure_methods(res: Any, words: Words) -> str:
    """What the model says of its residuals; nothing where they are independent and alike."""
    found = res.structure
    if found is None:
        return ""
    text = ""
    if found.phi is not None:
        time = words.name(found.request.time)
        time += f" (in {found.unit})" if found.unit else ""
        factor = words.name(found.group_name)
        text += (
            f" Residuals of the same {factor} were correlated by "
            f"{KINDS[str(found.request.kind)].format(time=time)}."
        )
    if found.ratios is not None:
        name = words.name(found.request.variances)
        text += f" The residual variance was estimated for each {name}."
    return text


def structure_results(res: Any, words: Words) -> str:
    """The estimates of the structure."""
    found = res.structure
    if found is None:
        return ""
    text = ""
    if found.phi is not None:
        unit = found.unit.removesuffix("s") or f"unit of {words.name(found.request.time)}"
        text += f" The correlation of two residuals one {unit} apart was {decimals(found.phi, 2)}."
    if found.ratios is not None:
        name = words.name(found.request.variances)
        first, *others = zip(found.levels, found.ratios, strict=True)
        parts = [f"{three(ratio)} times as large for {name} {level}" for level, ratio in others]
        text += (
            f" The residual standard deviation above is that of {name} {first[0]}; it was "
            f"{', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}."
        )
    return text

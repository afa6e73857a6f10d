"""Names and units of a report: what outcome, groups and terms are called, and what they measure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from pylmm_helpers.common import Array, a_mapping, shown

#: A column that stands for a category: ``feeding[T.mixed]``; without T. in a model that has no
#: column to compare with.
CATEGORY = re.compile(
    r"(?:C\(\s*(?P<inner>\w+)\s*(?:,.*)?\)|(?P<plain>\w+))\[(?P<coded>T\.)?(?!S\.)(?P<level>.+)\]"
)
#: A unit that can be squared as it stands.
ONE_WORD = re.compile(r"[^\s\d/·×^*²³⁻]+")


@dataclass(frozen=True)
class Words:
    """Words for one fit; a name without a label stands as it is.

    Attributes
    ----------
    unit : str
        Unit of the response.
    labels : mapping
        Words for the response, the groups, columns and terms.
    per : mapping
        Units of predictors.
    """

    res: Any
    unit: str
    labels: Mapping[str, str]
    per: Mapping[str, str]

    def name(self, name: str) -> str:
        """The label of a column, or of a term that is written as in the formula."""
        return self.labels.get(tight(name), name)

    def fixed(self) -> str:
        """The fixed part in words."""
        names = [self.term(t) for t in right_side(self.res)]
        if not names:
            return "no predictors"
        listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
        return f"fixed effects of {listed}"

    def random(self) -> str:
        """The random part in words."""
        terms = [str(t) for t in self.res.cov_re.index]
        parts = ["a random intercept"] if "Intercept" in terms else []
        means = dict.fromkeys(column_of(t) for t in terms if self.is_mean(t))
        parts += [f"a random mean for each category of {self.name(column)}" for column in means]
        rest = [self.term(t) for t in terms if t != "Intercept" and not self.is_mean(t)]
        if rest:
            parts.append(f"a random slope of {' and '.join(rest)}")
        several = len(terms) > 1 and (len(parts) > 1 or bool(means))
        return " and ".join(parts) + (", correlated," if several else "")

    def is_mean(self, term: str) -> bool:
        """Whether a random effect is the mean of one category, as in a model without intercept."""
        found = CATEGORY.fullmatch(term)
        return bool(found and not found["coded"] and "Intercept" not in self.res.cov_re.index)

    def effect(self, term: str) -> str:
        """A random effect in words: the intercept, the mean of a category or the slope of a
        predictor."""
        if term == "Intercept":
            return "intercept"
        return f"{'mean' if self.is_mean(term) else 'slope'} of {self.term(term)}"

    def term(self, name: str) -> str:
        """Write ``feeding[T.mixed]`` as "feeding mixed (against confined)"."""
        if tight(name) in self.labels:
            return self.name(name)
        return " × ".join(self._factor(part) for part in factors(name))

    def _factor(self, part: str) -> str:
        if part == "Intercept":
            return "intercept"
        found = CATEGORY.fullmatch(part)
        if tight(part) in self.labels or found is None:
            return self.name(part)
        column, level = found["inner"] or found["plain"], found["level"]
        if self.res.design is None or column not in self.res.frame.columns:
            return part
        others = [m for n in self.res.fe_params.index if (m := CATEGORY.fullmatch(str(n)))]
        coded = {m["level"] for m in others if (m["inner"] or m["plain"]) == column}
        rest = sorted(set(self.res.frame[column].astype(str)) - coded)
        against = f" (against {rest[0]})" if found["coded"] and len(rest) == 1 else ""
        return f"{self.name(column)} {level}{against}"

    def unit_of(self, name: str) -> str:
        """Unit of a coefficient: the response's, and per what unless it is a difference."""
        if name == "Intercept":
            return self.unit
        if tight(name) in self.per:
            units = [self.per[tight(name)]]
        else:
            if self.is_difference(name):
                return self.unit
            found = [(self.per.get(tight(p)), self.is_difference(p)) for p in factors(name)]
            units = [unit or "" for unit, difference in found if unit or not difference]
            if not units:  # the product of two differences
                return self.unit
            if not all(units):
                units = ["unit"] if self.unit else []
        return f"{self.unit} per {' × '.join(units)}".strip() if units else ""

    def is_difference(self, name: str) -> bool:
        """Whether a step of the column is a step between two groups, as of a column of 0 and 1."""
        parts = factors(name)
        if name.endswith("]"):  # a coded category, or a column of a basis, which has no unit
            return len(parts) == 1 or all(self.is_difference(p) for p in parts)
        values = self._column(name)
        if values is None:
            return False
        low, high = values.min(), values.max()
        return bool(np.isclose(high - low, 1.0) and np.isin(values, (low, high)).all())

    def _column(self, name: str) -> Array | None:
        design = self.res.design
        if design is None:
            return None
        for names, columns in (
            (design.x_names, design.x_columns),
            (design.z_names, design.z_columns),
        ):
            if name in names:
                return columns[list(names).index(name)]
        if name in design.frame.columns:  # of an interaction whose main effect is left out
            values = design.frame[name].to_numpy()
            return values.astype(float) if values.dtype.kind in "bif" else None
        return None


def words_for(terms: Sequence[Any], unit: str, labels: object, per: object) -> list[Words]:
    """Words for each random term; what the caller gave is checked first. A name that the fit lacks
    is refused, since it would do nothing.

    Raises
    ------
    ValueError
        For a unit that is no text, or labels or units that are no mapping of known names to text.
    """
    if not isinstance(unit, str):
        raise ValueError(f"unit is {shown(unit)}; give the unit of the response as text, or ''")
    known = (_texts(terms, labels, "labels"), _texts(terms, per, "per"))
    return [Words(term, unit.strip(), *known) for term in terms]


def _texts(every: Sequence[Any], given: object, argument: str) -> dict[str, str]:
    example = {"labels": "baseline pressure", "per": "mmHg"}[argument]
    a_mapping(given, argument, f"a dict such as {{'baseline_sbp': '{example}'}}")
    if not isinstance(given, Mapping):
        return {}
    res = every[0]
    random = [str(n) for term in every for n in term.cov_re.index]
    terms = list(dict.fromkeys([*map(str, res.fe_params.index), *random]))
    known = {
        res.endog_name,
        *(term.groups for term in every),
        *terms,
        *(p for t in terms for p in factors(t)),
    }
    known |= {*right_side(res), *(p for t in right_side(res) for p in factors(t))}
    if res.design is not None:
        known |= {str(c) for c in res.frame.columns}
    spellings = {tight(name) for name in known}
    for name, text in given.items():
        if not isinstance(name, str) or tight(name) not in spellings:
            raise ValueError(
                f"{argument} has {name!r}, which is no column or term of this model; terms: "
                f"{', '.join(terms)}"
            )
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{argument}[{name!r}] is {shown(text)}; give it as text")
    return {tight(name): text.strip() for name, text in given.items()}


def tight(name: str) -> str:
    """A name as it is looked up: patsy spells ``I(x**2)`` as ``I(x ** 2)``."""
    return re.sub(r"\s+", "", name)


def column_of(part: str) -> str:
    """The column of a category, or the expression of a basis: ``C(x)[T.a]`` is x."""
    found = CATEGORY.fullmatch(part)
    if found:
        return str(found["inner"] or found["plain"])
    whole = re.fullmatch(r"C\(\s*(\w+)\s*(?:,.*)?\)\[.+\]", part)
    return whole[1] if whole else re.sub(r"\[[^\[\]]*\]$", "", part)


def right_side(res: Any) -> list[str]:
    """Predictors of the model, each once, without the intercept; ``C(x, ...)`` is x. In the
    formula's own order and spelling where that is a plain sum, else as the columns have them."""
    names = [str(n) for n in res.fe_params.index if n != "Intercept"]
    if res.design is None:
        return names
    built = list(dict.fromkeys(":".join(column_of(p) for p in factors(n)) for n in names))
    written = _written(res.formula)
    keys = [{":".join(sorted(map(tight, factors(n)))) for n in some} for some in (built, written)]
    return written if keys[0] == keys[1] else built


def _written(formula: str) -> list[str]:
    # a plus within brackets belongs to its term
    parts = re.split(r"\+(?![^()]*\))", formula.split("~", 1)[1])
    names: list[str] = []
    for part in parts:
        name = re.sub(r"\bC\(\s*(\w+)\s*(?:,[^()]*(?:\([^()]*\))?[^()]*)?\)", r"\1", part.strip())
        crossed = re.split(r"\s*(?<!\*)\*(?!\*)\s*", name)
        if len(crossed) == 1 or "(" in name:
            names.append(name)
            continue
        for size in range(1, len(crossed) + 1):  # a * b is a, b and a:b
            names += [":".join(some) for some in combinations(crossed, size)]
    return [n for n in dict.fromkeys(names) if n not in ("", "1")]


def factors(name: str) -> list[str]:
    """Parts of an interaction; a colon within brackets is a part of a name."""
    return re.split(r"\s*:\s*(?![^\[(]*[\])])", name)


def squared(unit: str) -> str:
    """The unit of a variance."""
    if not unit:
        return ""
    return f"{unit}²" if ONE_WORD.fullmatch(unit) else f"({unit})²"

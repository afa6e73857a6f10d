"""Changes of the data that change no answer but in its units, and the comparison after them.

A `Made` is one data set of the tests after such a change; a `Unit` says how a number of an answer
goes with the units of the data, and `undone` takes the change out of an answer again.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

import pylmm_helpers as ph

#: Size of the data, which the criterion's units need.
GROUPS, ROWS = 12, 72
LEVELS = ("low", "mid", "top")


@dataclass(frozen=True)
class Unit:
    """Powers of the units of response, predictor and weight in a number.

    Attributes
    ----------
    y, x, w : float
        Powers.
    at : {"", "y", "x"}
        Whose shift moves the number as well.
    log_y, log_x : float
        What a likelihood gains for each unit of log scale.
    breaks : str
        Changes that turn it into another quantity: "x shift", "y shift", "reference", "order".
    kind : {"number", "text", "words"}
        "text" must stay as it is; "words" but for the numbers in them.
    """

    y: float = 0.0
    x: float = 0.0
    w: float = 0.0
    at: str = ""
    log_y: float = 0.0
    log_x: float = 0.0
    breaks: str = ""
    kind: str = "number"


@dataclass(frozen=True)
class Made:
    """The data after a change, and how to speak of them.

    Attributes
    ----------
    frame : DataFrame of pandas, or a table of another library
    order : ndarray (n,)
        Which row of the original stands where.
    y_unit, x_unit : (shift, scale)
    w_unit : float
    labels, levels : mapping
        The new name of each group and of each level of k.
    changed : frozenset of str
        The words that `Unit.breaks` knows.
    """

    frame: Any
    order: np.ndarray
    y_unit: tuple[float, float] = (0.0, 1.0)
    x_unit: tuple[float, float] = (0.0, 1.0)
    w_unit: float = 1.0
    labels: Mapping[Any, Any] = field(default_factory=lambda: {g: g for g in range(GROUPS)})
    levels: Mapping[str, str] = field(default_factory=lambda: {k: k for k in LEVELS})
    changed: frozenset[str] = frozenset()
    engine: str = "fit_lmm"
    fits: dict[str, Any] = field(default_factory=dict)

    def x(self, values: Any) -> Any:
        return np.asarray(values, dtype=float) * self.x_unit[1] + self.x_unit[0]

    def y(self, values: Any) -> Any:
        return np.asarray(values, dtype=float) * self.y_unit[1] + self.y_unit[0]

    def fit(self, name: str) -> Any:
        """The fit of a model of `MODELS`, made once."""
        formula, options = MODELS[name]
        ours = "weights" in options or "offset(" in formula or name == "singular"
        if self.engine == "statsmodels" and not ours:
            return self.once(name, lambda: mixedlm(formula, self.pandas(), **options))
        return self.once(name, lambda: ph.fit_lmm(formula, self.frame, groups="g", **options))

    def once(self, name: str, work: Callable[[], Any]) -> Any:
        """What several entries need, worked out once."""
        if name not in self.fits:
            self.fits[name] = work()
        return self.fits[name]

    def pandas(self) -> pd.DataFrame:
        """The frame for helpers that are given columns of it."""
        return self.frame if isinstance(self.frame, pd.DataFrame) else self.frame.to_pandas()

    def by_row(self, answer: Any) -> Any:
        """An answer with one row for each of the data, under the numbers of the original rows."""
        index = self.pandas().index
        assert answer.index.equals(index), "the answer has not the index of the data"
        return answer.set_axis(pd.Index(self.order, name="row")).sort_index()

    def by_group(self, answer: Any) -> Any:
        """An answer for each group (and term), under the original labels."""
        old = {new: label for label, new in self.labels.items()}
        if isinstance(answer.index, pd.MultiIndex):
            pairs = [(old[group], *rest) for group, *rest in answer.index]
            return answer.set_axis(pd.MultiIndex.from_tuples(pairs))
        return answer.set_axis([old[group] for group in answer.index])


#: The models that entries speak of.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("y ~ x + z + k", {}),
    "one": ("y ~ 1", {}),
    "slope": ("y ~ x + z", {"re_formula": "1 + x"}),
    "ml": ("y ~ x + z", {"reml": False}),
    "ml small": ("y ~ z", {"reml": False}),
    "intercept": ("y ~ x + z", {}),
    "weighted": ("y ~ x + z", {"weights": "w"}),
    "weighted slope": ("y ~ x + z", {"weights": "w", "re_formula": "1 + x"}),
    "singular": ("e ~ x", {"weights": "w", "re_formula": "1 + x"}),
    "two": ("y ~ x + u", {}),
    "offset": ("y ~ x + z + offset(o)", {"weights": "w"}),
    "offset alone": ("y ~ 1 + offset(o)", {}),
    "ar1": ("y ~ x + z", {"correlation": "ar1(t)"}),
    "classes": ("y ~ x + z", {"correlation": "ar1(t)", "variances": "c"}),
}


def mixedlm(formula: str, data: pd.DataFrame, re_formula: str = "1", reml: bool = True) -> Any:
    """The same model by statsmodels, with statsmodels' own estimates."""
    # statsmodels drops the labels of an index that repeats itself
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its doubts about convergence are no part of this
        model = smf.mixedlm(formula, data, groups=data["g"], re_formula=re_formula)
        return model.fit(reml=reml, method=["bfgs"], gtol=1e-9)


@cache
def original() -> pd.DataFrame:
    """Data of twelve unequal groups; all numbers are eighths or sixteenths, which float32 and large
    offsets hold exactly."""
    rng = np.random.default_rng(20150601)
    sizes = rng.permutation([3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9])
    g = np.repeat(np.arange(GROUPS), sizes)
    n = len(g)
    x = np.round(8 * (rng.normal(size=n) + rng.normal(size=GROUPS)[g])) / 8
    z = np.round(8 * rng.normal(size=GROUPS)[g]) / 8
    k = rng.integers(0, 3, size=n)
    w = rng.integers(1, 9, size=n) / 4
    u = np.array([rng.normal(size=(GROUPS, 2))]).reshape(GROUPS, 2)
    noise = rng.normal(size=n) / np.sqrt(w)
    y = 40 + 1.5 * x + z + 0.8 * k + 1.5 * u[g, 0] + 0.9 * u[g, 1] * x + noise
    e = np.round(16 * (x + rng.normal(size=n))) / 16
    frame = pd.DataFrame(
        {
            "y": np.round(16 * y) / 16,
            "x": x,
            "z": z,
            "k": np.array(LEVELS)[k],
            "g": g,
            "w": w,
            "e": e,
        }
    )
    assert n == ROWS
    place = frame.groupby("g").cumcount().to_numpy()
    # of another size and shape than what the model has for it: it can't be lost unseen
    return frame.assign(
        u=frame["x"].groupby(frame["g"]).transform("first"),
        o=np.round(16 * (8 * np.sin(np.arange(n)) + 0.25 * x**2)) / 16,
        # times with a gap, and classes of rows
        t=place + (place > 2),
        c=np.where(np.arange(n) % 3 == 0, "third", "other"),
    )


def made(frame: pd.DataFrame | None = None, **facts: Any) -> Made:
    frame = original() if frame is None else frame
    facts.setdefault("order", np.arange(len(frame)))
    return Made(frame, **facts)


def in_units(
    y: tuple[float, float] = (0, 1), x: tuple[float, float] = (0, 1), w: float = 1
) -> Made:
    """The data in other units: shift and scale of y and of x, scale of the weights."""
    frame = original()
    frame = frame.assign(
        y=frame["y"] * y[1] + y[0],
        e=frame["e"] * y[1] + y[0],
        o=frame["o"] * y[1],
        x=frame["x"] * x[1] + x[0],
        u=frame["u"] * x[1] + x[0],
        w=frame["w"] * w,
    )
    changed = {f"{name} shift" for name, unit in (("y", y), ("x", x)) if unit[0]}
    return made(frame, y_unit=y, x_unit=x, w_unit=w, changed=frozenset(changed))


def permuted() -> Made:
    order = np.random.default_rng(3).permutation(ROWS)
    return made(original().iloc[order], order=order)


def with_index(kind: str) -> Made:
    n = np.arange(ROWS)
    index = {
        "duplicated": pd.Index(n // 3),
        "text": pd.Index([f"row {(7 * i) % ROWS}" for i in n]),
        "dates": pd.date_range("2020-01-01", periods=ROWS)[::-1],
        "MultiIndex": pd.MultiIndex.from_arrays([n % 5, n % 7], names=["g", "y"]),
    }[kind]
    return made(original().set_axis(index))


def relabelled(kind: str) -> Made:
    new: dict[Any, Any] = {g: (7 * g) % GROUPS for g in range(GROUPS)}
    labels = {
        "numbers": {g: 10**12 - 37 * new[g] for g in new},
        "text": {g: f"herd {new[g]}" for g in new},
        "category": {g: f"{new[g]}" for g in new},
        "dates": {g: pd.Timestamp("2020-01-01") + pd.Timedelta(days=new[g]) for g in new},
        "fractions": {g: new[g] + 0.5 for g in new},
    }[kind]
    column = original()["g"].map(labels)
    if kind == "category":
        column = column.astype(pd.CategoricalDtype(["unused", *sorted(labels.values())[::-1]]))
    changed = frozenset({"order"})
    return made(original().assign(g=column), labels=labels, changed=changed)


def recoded(kind: str) -> Made:
    """Other names of the levels, another order of them, another reference."""
    frame = original()
    if kind == "renamed":
        levels = {"low": "Alt", "mid": "Beq", "top": "Cur"}
        return made(frame.assign(k=frame["k"].map(levels)), levels=levels)
    order = {"reordered": ["low", "top", "mid"], "reference": ["top", "low", "mid"]}[kind]
    changed = frozenset({"reference"} if kind == "reference" else ())
    return made(frame.assign(k=pd.Categorical(frame["k"], order)), changed=changed)


def stored(kind: str) -> Made:
    """The same values in other types, or in a table of another library."""
    frame = original()
    numbers = ["y", "x", "z", "w", "e", "u", "o"]
    types: dict[str, dict[str, Any]] = {
        "float32": dict.fromkeys(numbers, "float32"),
        "nullable": {**dict.fromkeys(numbers, "Float64"), "k": "string", "g": "Int64"},
        "arrow": {
            **dict.fromkeys(numbers, "double[pyarrow]"),
            "k": "string[pyarrow]",
            "g": "int64[pyarrow]",
        },
        "category": {"k": "category", "g": "category"},
        "small": {"g": "uint8", "w": "float32"},
        "object": {"k": object, "g": object},
    }
    if kind in types:
        return made(frame.astype(types[kind]))
    if kind == "whole":  # eighths and sixteenths become whole numbers in another unit
        units = in_units(y=(0, 16.0), x=(0, 8.0), w=4.0)
        whole = dict.fromkeys(("y", "x", "w", "e", "u", "o"), "int64")
        return replace(units, frame=units.frame.astype(whole), fits={})
    if kind == "polars":
        import polars

        return made(polars.from_pandas(frame))  # type: ignore[arg-type]
    import pyarrow

    return made(pyarrow.Table.from_pandas(frame, preserve_index=False))


FIXED: dict[str, Callable[[], Made]] = {
    "rows permuted": permuted,
    **{
        f"index {k}": lambda k=k: with_index(k)
        for k in ("duplicated", "text", "dates", "MultiIndex")
    },
    **{
        f"groups as {k}": lambda k=k: relabelled(k)
        for k in ("numbers", "text", "category", "dates", "fractions")
    },
    **{f"levels {k}": lambda k=k: recoded(k) for k in ("renamed", "reordered", "reference")},
    **{
        f"stored as {k}": lambda k=k: stored(k)
        for k in (
            "float32",
            "nullable",
            "arrow",
            "category",
            "small",
            "object",
            "whole",
            "polars",
            "arrow table",
        )
    },
    "x far away": lambda: in_units(x=(1.7e9, 1.0)),
    "y far away": lambda: in_units(y=(1e9, 1.0)),
}

#: What a factor (0.000001 to 1000000) and a shift do; the shift is in spreads of the data.
SCALED: dict[str, Callable[[float, float], Made]] = {
    "x scaled": lambda scale, shift: in_units(x=(0.0, scale)),
    "x shifted": lambda scale, shift: in_units(x=(shift * scale, scale)),
    "y scaled": lambda scale, shift: in_units(y=(0.0, scale)),
    "y shifted": lambda scale, shift: in_units(y=(shift * scale, scale)),
    "weights scaled": lambda scale, shift: in_units(w=scale),
}


def flat(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Every number and word of an answer under ``part|column|row``."""
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if isinstance(part, pd.DataFrame):
            for j, column in enumerate(part.columns):
                for row, value in zip(part.index, part.iloc[:, j], strict=True):
                    found[f"{name}|{column}|{row}"] = value
        elif isinstance(part, pd.Series):
            found |= {f"{name}|{row}|": value for row, value in part.items()}
        elif isinstance(part, np.ndarray):
            found |= {f"{name}||{i}": value for i, value in enumerate(part.ravel())}
        else:
            found[f"{name}||"] = part
    return found


def unit_of(key: str, rules: Sequence[tuple[str, Unit]]) -> Unit:
    for pattern, unit in rules:
        if re.fullmatch(pattern, key):
            return unit
    raise AssertionError(f"no rule says how {key!r} goes with the units of the data")


def undone(m: Made, value: Any, unit: Unit) -> Any:
    """A number in the original units, a text in the original names."""
    if unit.kind != "number":
        text = str(value)
        if unit.kind == "words":
            text = re.sub(r"[-\u2212]?\d+(,\d{3})*(\.\d+)?(e[-+\u2212]?\d+)?", "#", text)
        return text
    shift = {"y": m.y_unit[0], "x": m.x_unit[0], "": 0.0}[unit.at]
    scale = m.y_unit[1] ** unit.y * m.x_unit[1] ** unit.x * m.w_unit**unit.w
    gain = unit.log_y * np.log(m.y_unit[1]) + unit.log_x * np.log(m.x_unit[1])
    return (float(value) - shift - gain) / scale


def named_back(m: Made, key: str) -> str:
    """A key with the original names of the levels."""
    for old, new in m.levels.items():
        key = re.sub(rf"\b{re.escape(new)}\b", old, key) if new != old else key
    return key


def compare(
    base: Mapping[str, Any],
    m: Made,
    parts: Mapping[str, Any],
    rules: Sequence[tuple[str, Unit]],
    tolerance: float,
) -> list[str]:
    """What differs between the answer for the original data and the one for changed data."""
    found = {named_back(m, key): value for key, value in flat(parts).items()}
    kept = {key: unit_of(key, rules) for key in {**base, **found}}
    kept = {k: u for k, u in kept.items() if not any(c in u.breaks for c in m.changed)}
    lost = [k for k in kept if k not in found or k not in base]
    if lost:
        return [f"{k}: only in one of the answers" for k in lost[:5]]
    same = made()
    sizes: dict[tuple[str, Unit], float] = {}
    for key, unit in kept.items():
        if unit.kind == "number" and np.isfinite(value := undone(same, base[key], unit)):
            column = (key.rsplit("|", 1)[0], unit)
            sizes[column] = max(sizes.get(column, 0.0), abs(value))
    wrong = []
    for key, unit in kept.items():
        old, new = undone(same, base[key], unit), undone(m, found[key], unit)
        if unit.kind != "number":
            if named_back(m, new) != old:
                wrong.append(f"{key}: {old!r} became {new!r}")
            continue
        if (np.isnan(old) and np.isnan(new)) or old == new:
            continue
        size = sizes.get((key.rsplit("|", 1)[0], unit), 0.0)
        # a number that moves with a shift is known to the digits that the shift leaves
        rounding = 8 * np.finfo(float).eps * abs(m.y_unit[0] / m.y_unit[1]) if unit.at == "y" else 0
        if unit.at == "x":
            rounding = 8 * np.finfo(float).eps * abs(m.x_unit[0] / m.x_unit[1])
        if not abs(new - old) <= tolerance * max(size, abs(old)) + rounding:
            wrong.append(f"{key}: {old:.12g} became {new:.12g}")
    return wrong

"""Values by the names of parameters, where arrays stand among them, and calls."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn.cli.check.loading import Home
from tinygrad_nn.cli.check.pairs import forward_of, parameters
from tinygrad_nn.op import data_of

__all__ = [
    "DRAWN",
    "TARGET",
    "Place",
    "Point",
    "Task",
    "UnclearError",
    "at",
    "call",
    "code_of",
    "elementwise",
    "floating",
    "installed",
    "listed",
    "places_of",
    "shown",
    "taken",
    "values_for",
    "variables_of",
    "which_number",
]

TARGET = re.compile(r"(?i)(y|t|labels?|targets?|truth|\w*_true|\w*_targets?|actual)")
"""Names of what is given, where one gradient alone is returned."""

DRAWN = (3, 4)
"""The shape of an array for a function that any array will do for."""

Point = tuple[Any, ...]
"""Values of the arrays that are checked."""


class UnclearError(Exception):
    """A pair that cannot be judged, with the reason."""


class Task(NamedTuple):
    """What is judged, and how it is called.

    ``formula`` takes the arrays, ``vjp`` the gradient that arrives before them; neither
    is there where autograd is judged. ``codes`` are forward and backward, whose local
    names the chain is read from. ``lacking`` are arrays without a gradient.
    ``of_result``: the slope's own parameter is called otherwise than the operand.
    ``backward`` is what the user wrote.
    """

    called: str
    f: Callable[..., Any]
    arrays: tuple[Any, ...]
    names: tuple[str, ...]
    formula: Callable[..., Any] | None = None
    vjp: Callable[..., Any] | None = None
    codes: tuple[CodeType | None, CodeType | None] = (None, None)
    lacking: tuple[str, ...] = ()
    of_result: bool = False
    backward: Any = None


def values_for(first: Any, home: Home, beside: Home | None) -> dict[str, Any]:
    """All that is known by name, for a function: its own example goes first."""
    values = {} if beside is None else beside.values
    for name, value in home.values.items():
        values.setdefault(name, value)
    known = [p.name for p in parameters(first) or ()]
    if inspect.isclass(first):
        forward = getattr(first, forward_of(first) or "forward")
        known = [p.name for p in parameters(forward) or ()][1:]  # but for self
    holders = [home.names.get("example")]
    if beside is not None:
        holders.append(beside.names.get("example"))
    for example in (*holders, getattr(first, "example", None)):
        given = example() if callable(example) else example
        if isinstance(given, Mapping):
            values |= given
        elif isinstance(given, (tuple, list)):
            values |= dict(zip(known, given, strict=False))
        elif given is not None and len(known) == 1:
            values[known[0]] = given
    return values


class Place(NamedTuple):
    """Where an array of the point stands: a value, or an entry of a dictionary."""

    holder: str
    key: str | None

    @property
    def name(self) -> str:
        """What the array is called."""
        return self.holder if self.key is None else self.key


def floating(value: Any) -> bool:
    """Whether a value is an array of floats, or one."""
    return (
        isinstance(value, (np.ndarray, np.floating, float))
        and np.asarray(value).dtype.kind == "f"
    )


def places_of(names: Sequence[str], values: Mapping[str, Any]) -> Iterator[Place]:
    """Floating arrays among values, those in dictionaries too."""
    for name in dict.fromkeys(names):
        value = values.get(name)
        if isinstance(value, Mapping):
            yield from (
                Place(name, str(key)) for key, x in value.items() if floating(x)
            )
        elif floating(value):
            yield Place(name, None)


def at(values: Mapping[str, Any], places: Sequence[Place], point: Point) -> Any:
    """Put a point into the values, and leave these as they are."""
    full = dict(values)
    for place, x in zip(places, point, strict=True):
        if place.key is None:
            full[place.holder] = x
            continue
        if full[place.holder] is values[place.holder]:
            full[place.holder] = dict(values[place.holder])
        full[place.holder][place.key] = x
    return full


def taken(values: Mapping[str, Any], place: Place) -> Any:
    """Return the array at a place."""
    value = values[place.holder]
    return value if place.key is None else value[place.key]


def call(
    function: Callable[..., Any],
    takes: Sequence[inspect.Parameter],
    values: Mapping[str, Any],
) -> Any:
    """Call a function with the values that have the names of its parameters."""
    given: list[Any] = []
    named: dict[str, Any] = {}
    for p in takes:
        if p.name in values and not named and p.kind is not p.KEYWORD_ONLY:
            given.append(values[p.name])
        elif p.name in values:
            named[p.name] = values[p.name]
        elif p.default is not p.empty:
            named[p.name] = p.default
        else:
            raise UnclearError(f"no value for {p.name!r}")
    return function(*given, **named)


def variables_of(function: Any, values: Mapping[str, Any]) -> list[str]:
    """Variables of the file that a function reads, itself or by what it calls."""
    found: dict[str, None] = {}
    waiting, seen = [function], set()
    while waiting:
        function = waiting.pop()
        code, known = code_of(function), getattr(function, "__globals__", {})
        if code is None or code in seen:
            continue
        seen.add(code)
        for name in code.co_names:
            if name in known and name in values and known[name] is not None:
                found.setdefault(name)
            elif inspect.isfunction(known.get(name)):
                waiting.append(known[name])
    return list(found)


@contextmanager
def installed(function: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """Set variables that a function reads, for a while."""
    known = getattr(inspect.unwrap(function), "__globals__", {})
    before = {name: known[name] for name in values if name in known}
    known.update({name: values[name] for name in before})
    try:
        yield
    finally:
        known.update(before)


def code_of(function: Any) -> CodeType | None:
    """Return the code of a function of Python; None of another."""
    return getattr(inspect.unwrap(function), "__code__", None)


def shown(name: str, x: Any) -> str:
    """Write an array as its name and shape."""
    shape = np.shape(data_of(x))
    return f"{name} {shape}" if shape else name


def listed(names: Sequence[str]) -> str:
    """Write names as they are quoted in a sentence."""
    return ", ".join(map(repr, names))


def which_number(name: str, shape: tuple[int, ...]) -> str:
    """Ask what a gradient is the gradient of, where a function returns an array."""
    return (
        f"{name} returns an array {shape}, and the gradient takes none that arrives: "
        "let it take one, backward(dout, …), or write a function that makes a number "
        "of it, cost(A, Y)"
    )


def elementwise(f: Callable[..., Any], x: np.ndarray) -> bool:
    """Whether each element of the result depends on the element at its place alone."""
    start = np.asarray(data_of(f(x.copy())), np.float64)
    if start.shape != x.shape or not x.size:
        return False
    moved = False
    for i in {0, x.size // 2, x.size - 1}:
        there = np.asarray(x, np.float64).copy()
        there.flat[i] += 0.01 * (1 + abs(there.flat[i]))
        differs = np.asarray(data_of(f(there))).ravel() != start.ravel()
        if differs[np.arange(x.size) != i].any():
            return False
        moved |= bool(differs[i])
    return moved

"""Whose gradients a function returns: by keys, by the return statement, by number."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn.cli.check.pairs import returned
from tinygrad_nn.cli.check.values import TARGET, Place, UnclearError, listed, taken

__all__ = ["bare", "bare_for", "in_order", "whose"]


def bare(name: str) -> str:
    """Take the word for a gradient off a name: ``"dW1"`` is W1's.

    >>> bare("dW1"), bare("grad_W"), bare("W_grad"), bare("data")
    ('W1', 'W', 'W', 'data')
    """
    for pattern in (
        r"(?:grad|gradient|d)_(\w+)",
        r"(\w+)_(?:grad|gradient)",
        r"d([A-Z]\w*|[a-z]\d*|[a-z]+_\w+)",
    ):
        match = re.fullmatch(pattern, name)
        if match:
            return match[1]
    return name


def bare_for(name: str, known: Sequence[str]) -> str:
    """Take the word off, in any way that gives a name that is known."""
    for candidate in (bare(name), name.removeprefix("d"), name):
        if candidate in known:
            return candidate
    return bare(name)


def whose(
    given: Any,
    places: list[Place],
    values: Mapping[str, Any],
    gradient: Callable[..., Any] | None,
    name: str,
) -> tuple[list[Place], tuple[str, ...]]:
    """Return the arrays whose gradients are given, and those that lack one."""
    known = [place.name for place in places]
    if isinstance(given, Mapping):
        named = {bare_for(str(key), known) for key in given}
        active = [place for place in places if place.name in named]
        if not active:
            raise UnclearError(
                f"{name} returns {listed(list(map(str, given)))}: none is the "
                f"gradient of {listed(known)}"
            )
        holders = {place.holder for place in active if place.key is not None}
        lacking = [p.name for p in places if p.holder in holders and p not in active]
        return active, tuple(lacking)
    every = list(given) if isinstance(given, (tuple, list)) else [given]
    names = _names_of(gradient, len(every), known)
    if names is not None:
        by_name = {place.name: place for place in places}
        return [by_name[n] for n in names], ()
    if len(every) == len(places):
        return places, ()
    arrays = [place for place in places if np.ndim(taken(values, place))]
    inputs = [place for place in arrays if not TARGET.fullmatch(place.name)]
    direct = [place for place in inputs if place.key is None]
    for some in (arrays, inputs, direct):
        if len(every) == len(some):
            return some, ()
        if len(every) == 1:
            shape = np.shape(every[0])
            fits = [p for p in some if np.shape(taken(values, p)) == shape]
            if len(fits) == 1:
                return fits, ()
    raise UnclearError(
        f"{name} returns {len(every)} gradient{'s' * (len(every) != 1)} for "
        f"{listed(known) or 'no floating array'}: return a dictionary, "
        "{'dW': …, 'db': …}"
    )


def _names_of(
    gradient: Callable[..., Any] | None, count: int, known: Sequence[str]
) -> list[str] | None:
    """Names of results, as the return statement tells them: ``return dW, db``."""
    if gradient is None:
        return None
    names = [bare_for(name, known) for name in returned(gradient)]
    fits = len(names) == count and set(names) <= set(known)
    return names if fits and len(set(names)) == count else None


def in_order(
    given: Any, places: Sequence[Place], gradient: Callable[..., Any] | None
) -> tuple[Any, ...]:
    """Return the gradients that were given, in the order of their arrays."""
    known = [place.name for place in places]
    if isinstance(given, Mapping):
        named = {bare_for(str(key), known): x for key, x in given.items()}
        return tuple(named[name] for name in known)
    every = list(given) if isinstance(given, (tuple, list)) else [given]
    names = _names_of(gradient, len(every), known)
    if names is not None:
        named = dict(zip(names, every, strict=True))
        return tuple(named[name] for name in known)
    return tuple(every)

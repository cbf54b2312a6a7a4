"""A class with forward and backward, on the way to a task."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, final

import numpy as np

from tinygrad_nn.cli.check.pairs import backward_of, forward_of, parameters, returned
from tinygrad_nn.cli.check.results import bare
from tinygrad_nn.cli.check.values import (
    DRAWN,
    TARGET,
    Place,
    Point,
    Task,
    UnclearError,
    call,
    code_of,
    floating,
    listed,
    shown,
    which_number,
)
from tinygrad_nn.op import data_of

__all__ = ["LayerPair"]

_RATE = re.compile(r"lr|eta|learning_?rate|step_size")
_LEFT = ("output", "outputs", "out", "value", "A", "a", "y", "Z", "z")
"""Where a forward pass that returns nothing leaves its result."""


@final
class LayerPair:
    """A class with forward and backward, on the way to a task."""

    def __init__(self, name: str, kind: Any, values: dict[str, Any], seed: int) -> None:
        self.name, self.values = name, values
        self.instance = self._instance(kind)
        self.forward = forward_of(kind) or "forward"
        self.takes = parameters(getattr(self.instance, self.forward)) or []
        self.backward = backward_of(kind) or "backward"
        self.gives = parameters(getattr(self.instance, self.backward)) or []
        self.notes: list[str] = []
        lacking = [
            p.name for p in self.takes if p.default is p.empty and p.name not in values
        ]
        if len(lacking) == 1 == len(self.takes):
            x = np.random.default_rng([seed, 7]).standard_normal(DRAWN)
            # Where it does not run, the user is to say what it takes.
            with suppress(Exception):
                self._run({**values, lacking[0]: x}, [], ())
                values[lacking.pop()] = x
                self.notes.append("at an array drawn here")
        if lacking:
            raise UnclearError(
                f"no value for {listed(lacking)} of {name}.{self.forward}: set it in "
                f"the file, {lacking[0]} = …, or {name}.example = ({lacking[0]},)"
            )
        self.arrives = next(
            (
                p.name
                for p in self.gives
                if p.default is p.empty
                and p.name not in {q.name for q in self.takes}
                and not _RATE.fullmatch(p.name)
            ),
            None,
        )

        if self.arrives is not None and TARGET.fullmatch(self.arrives):
            raise UnclearError(
                f"{name}.{self.backward} takes {self.arrives!r}, and {name}."
                f"{self.forward} does not: it is the gradient of another function than "
                "the forward pass. Write CHECK = [(loss, gradient, arrays…)]"
            )

    def _instance(self, kind: Any) -> Any:
        for value in self.values.values():
            if type(value) is kind:
                return value
        takes = parameters(kind) or []
        try:
            return call(kind, takes, self.values)
        except Exception as error:
            lacking = [p.name for p in takes if p.default is p.empty]
            raise UnclearError(
                f"no {self.name} to judge: it takes {listed(lacking)}. Make one in "
                f"the file, layer = {self.name}(…)"
            ) from error

    def _run(
        self, values: Mapping[str, Any], places: Sequence[Place], point: Point
    ) -> tuple[Any, Any]:
        """Return a fresh layer after its forward pass, and the value."""
        layer = copy.deepcopy(self.instance)
        full = dict(values)
        for place, given in zip(places, point, strict=True):
            # A layer that steps does so in place.
            x = given.copy() if isinstance(given, np.ndarray) else given
            if place.key is None:
                full[place.holder] = x
            elif place.holder:
                getattr(layer, place.holder)[place.key] = x
            else:
                setattr(layer, place.key, x)
        value = call(getattr(layer, self.forward), self.takes, full)
        if isinstance(value, (tuple, list)):
            value = value[0]
        if value is None:
            value = next((vars(layer)[k] for k in _LEFT if k in vars(layer)), None)
        if value is None:
            raise UnclearError(
                f"{self.name}.{self.forward} returns None: expected the result, or "
                "that in self.output"
            )
        return layer, value

    def _backward(
        self, layer: Any, values: Mapping[str, Any], g: Any
    ) -> dict[str, Any]:
        known = dict(values)
        if self.arrives is not None:
            known[self.arrives] = g
        # What steps itself says its gradients by the steps, at the rate one.
        known |= {p.name: 1.0 for p in self.gives if _RATE.fullmatch(p.name)}
        before = copy.deepcopy(
            {name: x for name, x in vars(layer).items() if floating(x)}
        )
        given = call(getattr(layer, self.backward), self.gives, known)
        found = _by_attribute(layer, [p.name for p in self.takes])
        if any(_RATE.fullmatch(p.name) for p in self.gives):
            found = _steps(before, layer) | found
        if given is None:
            return found
        inputs = [p.name for p in self.takes if floating(self.values.get(p.name))]
        if isinstance(given, Mapping):
            for key, value in given.items():
                found.setdefault(bare(str(key)), value)
            return found
        every = list(given) if isinstance(given, (tuple, list)) else [given]
        # What is left in the layer as well is a weight's: ``return self.dW``.
        every = [x for x in every if not any(x is other for other in found.values())]
        names = [bare(name) for name in returned(getattr(layer, self.backward))]
        if len(names) != len(every) or not set(names) <= {*inputs, *vars(layer)}:
            if len(every) != len(inputs):
                inputs = [name for name in inputs if not TARGET.fullmatch(name)]
            names = inputs
        return found | dict(zip(names, every, strict=False))

    def task(self) -> Task:
        """Say what is judged, and how it is called.

        Raises
        ------
        UnclearError
            Where backward gives no gradient that is known.
        """
        layer, value = self._run(self.values, [], ())
        g = np.ones(np.shape(data_of(value)))
        given = self._backward(layer, self.values, g)
        places = [
            Place(p.name, None)
            for p in self.takes
            if floating(self.values.get(p.name)) and p.name in given
        ]
        places += [place for place in self._weights() if place.name in given]
        if not places:
            raise UnclearError(
                f"{self.name}.{self.backward} gives no gradient that is known: return "
                "that of the input, and leave those of W in self.dW"
            )
        if self.arrives is None and np.size(g) != 1:
            raise UnclearError(which_number(f"{self.name}.{self.forward}", np.shape(g)))

        def f(*point: Any) -> Any:
            return self._run(self.values, places, point)[1]

        def vjp(g: Any, *point: Any) -> tuple[Any, ...]:
            layer, _ = self._run(self.values, places, point)
            found = self._backward(layer, self.values, g)
            return tuple(found[place.name] for place in places)

        def formula(*point: Any) -> tuple[Any, ...]:
            return vjp(1.0, *point)

        arrays = [self._at(place) for place in places]
        what = f"{self.name}.{self.backward} against {self.name}.{self.forward}"
        held = [shown(p.name, x) for p, x in zip(places, arrays, strict=True)]
        return Task(
            "; ".join([f"{what}, by {', '.join(held)}", *self.notes]),
            f,
            tuple(arrays),
            tuple(place.name for place in places),
            formula if self.arrives is None else None,
            None if self.arrives is None else vjp,
            (
                code_of(getattr(layer, self.forward)),
                code_of(getattr(layer, self.backward)),
            ),
            backward=getattr(layer, self.backward),
        )

    def _at(self, place: Place) -> np.ndarray:
        if place.key is None:
            return np.asarray(self.values[place.holder])
        if place.holder:
            return np.asarray(getattr(self.instance, place.holder)[place.key])
        return np.asarray(getattr(self.instance, place.key))

    def _weights(self) -> Iterator[Place]:
        """Arrays of the layer that its forward pass reads, and does not replace."""
        layer, _ = self._run(self.values, [], ())
        for name, value in vars(self.instance).items():
            now = getattr(layer, name, None)
            if isinstance(value, np.ndarray) and floating(value):
                if isinstance(now, np.ndarray) and np.array_equal(now, value):
                    yield Place("", name)
            elif isinstance(value, dict) and name in (
                "params",
                "parameters",
                "weights",
            ):
                yield from (Place(name, k) for k, x in value.items() if floating(x))


def _steps(before: Mapping[str, Any], layer: Any) -> dict[str, Any]:
    """What the weights of a layer were lessened by."""
    now = vars(layer)
    return {
        name: x - now[name]
        for name, x in before.items()
        if np.shape(now.get(name)) == np.shape(x) and np.any(x != now[name])
    }


def _by_attribute(layer: Any, inputs: Sequence[str]) -> dict[str, Any]:
    """Gradients that a layer left in itself: ``dW``, ``dweights``, ``grads["W"]``."""
    known = {*inputs, *vars(layer)}
    found: dict[str, Any] = {}
    for name, value in vars(layer).items():
        if isinstance(value, Mapping) and bare(name) in ("grads", "gradients", "grad"):
            found |= {bare(str(key)): x for key, x in value.items()}
        elif bare(name) != name and value is not None:
            found[bare(name)] = value
        elif name.startswith("d") and name[1:] in known and value is not None:
            found[name[1:]] = value
    return found

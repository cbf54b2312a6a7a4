"""What a training step can read or change besides its arguments.

A compiled step is the program of one run of the user's Python. That is right as long as
this Python does the same every time. Whether it does is seen from outside: by what it
changes while it is traced (a counter, a list of what it saw, a random generator of its
own), and by what others change later (a callback that lowers ``model.temperature``).
"""

from __future__ import annotations

import functools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, final

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.nn import Module
from tinygrad_nn.optim import Optimizer
from tinygrad_nn.tensor import Tensor

__all__ = ["Surroundings"]

MOST_PLACES = 2000
"""Beyond these many nothing is looked at: a step reads no more of its surroundings."""

MOST_ITEMS = 10_000
MOST_BYTES = 1 << 20
"""Longer lists and larger arrays are data."""

FEW_ELEMENTS = 64
"""An array of so many may be a setting; programs read larger ones anew each time."""

# What a compiled step reads anew each time, or what only names things.
_LIVE = frozenset({"_states", "steps", "_lr", "_schedule", "_path", "name"})
_PLAIN = (int, float, complex, str, bytes, bool, type(None), type, ModuleType)
_FOREIGN = sys.stdlib_module_names | {"numpy"}


class _Place(NamedTuple):
    """Something that can change: what it was, how to see it, how to put it back."""

    name: str
    seen: Callable[[], Any]
    put: Callable[[Any], None]
    was: Any
    lives: bool


@final
class Surroundings:
    """Attributes, closures, globals, lists, generators that some objects may use.

    Not everything: containers of data, what other modules keep to themselves, and
    files are not looked at.

    Parameters
    ----------
    roots : dict
        Objects by name: a model, a loss, an optimiser.

    Examples
    --------
    >>> class Loss:
    ...     calls = 0
    ...     def __call__(self, x):
    ...         self.calls += 1
    >>> loss = Loss()
    >>> around = Surroundings({"loss": loss})
    >>> around.changed() is None
    True
    >>> loss(1)
    >>> around.changed()
    'loss.calls'
    >>> around.restore()
    >>> loss.calls
    0
    """

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self._places: list[_Place] = []
        self._met: dict[int, Any] = {}  # which also keeps every id the one object's
        self._homes = {id(scope) for root in roots.values() for scope in _scopes(root)}
        self._add("random", random.getstate, random.setstate, lives=True)
        self._add(
            "np.random",
            np.random.get_state,
            np.random.set_state,
            lives=True,
        )
        waiting = list(roots.items())
        while waiting and len(self._places) < MOST_PLACES:
            name, item = waiting.pop()
            if isinstance(item, _PLAIN) or id(item) in self._met:
                continue
            self._met[id(item)] = item
            waiting += self._within(name, item)

    def changed(self, *, by_others: bool = False) -> str | None:
        """Name something that is not as it was, None if there is nothing.

        ``by_others`` leaves out what a compiled step itself uses and changes.
        """
        for place in self._places:
            if not (by_others and place.lives):
                key = _difference(place.was, place.seen())
                if key is not None:
                    return f"{place.name}{key}"
        return None

    def restore(self) -> None:
        """Put everything back."""
        for place in self._places:
            if _difference(place.was, place.seen()) is not None:
                place.put(place.was)

    # --- looking around ---

    def _add(
        self,
        name: str,
        seen: Callable[[], Any],
        put: Callable[[Any], None],
        *,
        lives: bool = False,
    ) -> None:
        self._places.append(_Place(name, seen, put, seen(), lives))

    def _within(self, name: str, item: Any) -> list[tuple[str, Any]]:
        """Note what can change in an item; return what is in it, by name."""
        held: list[tuple[str, Any]] = []
        if isinstance(item, (dict, list, set, deque, tuple, frozenset)):
            held = self._container(name, item)
        elif isinstance(item, FunctionType):
            held = self._function(name, item)
        elif isinstance(item, MethodType):
            held = [(name, item.__self__), (name, item.__func__)]
        elif isinstance(item, functools.partial):
            held = [(name, item.func), (name, item.args), (name, item.keywords)]
        elif hasattr(item, "__dict__") and not _is_foreign(type(item)):
            held = self._object(name, item)
        else:
            self._note(name, item)
        return held

    def _note(self, name: str, item: Any) -> None:
        """Note an array, a Tensor or a generator."""
        if isinstance(item, np.ndarray):
            if item.nbytes <= MOST_BYTES and item.flags.writeable:
                put = functools.partial(np.copyto, item)
                self._add(name, item.copy, put, lives=item.size > FEW_ELEMENTS)
        elif isinstance(item, Tensor):
            # Its value is read anew each time; what is computed hangs on these.
            self._add(
                name, lambda: (item.requires_grad, item.dtype, item.shape), _leave
            )
        elif isinstance(item, np.random.Generator):
            bits = item.bit_generator
            seen = functools.partial(getattr, bits, "state")
            put = functools.partial(setattr, bits, "state")
            self._add(name, seen, put, lives=True)
        elif isinstance(item, np.random.RandomState):
            self._add(name, item.get_state, item.set_state, lives=True)

    def _container(self, name: str, item: Any) -> list[tuple[str, Any]]:
        if len(item) > MOST_ITEMS:
            return []
        if not isinstance(item, (tuple, frozenset)):
            self._add(name, item.copy, functools.partial(_refill, item))
        if isinstance(item, dict):
            return [(f"{name}[{key!r}]", value) for key, value in item.items()]
        return [(f"{name}[{i}]", value) for i, value in enumerate(item)]

    def _object(self, name: str, item: Any) -> list[tuple[str, Any]]:
        attributes = vars(item)

        def seen() -> dict[str, Any]:
            return {f".{k}": v for k, v in attributes.items() if k not in _LIVE}

        def put(was: dict[str, Any]) -> None:
            for key in [key for key in attributes if key not in _LIVE]:
                del attributes[key]
            attributes.update((key[1:], value) for key, value in was.items())

        self._add(name, seen, put)
        held = [(f"{name}{key}", value) for key, value in seen().items()]
        return held + [(name, function) for function in _methods(item)]

    def _function(self, name: str, item: FunctionType) -> list[tuple[str, Any]]:
        if item.__code__.co_filename in recording.OURS:
            return []
        held: list[tuple[str, Any]] = [
            (name, item.__defaults__),
            (name, item.__kwdefaults__),
        ]
        cells = dict(
            zip(item.__code__.co_freevars, item.__closure__ or (), strict=True)
        )
        if cells:

            def enclosed() -> dict[str, Any]:
                return {f": {k}": _content(cell) for k, cell in cells.items()}

            def enclose(was: dict[str, Any]) -> None:
                for key, cell in cells.items():
                    cell.cell_contents = was[f": {key}"]

            self._add(name, enclosed, enclose)
            held += [(f"{name}: {k}", _content(cell)) for k, cell in cells.items()]
        scope = item.__globals__
        if id(scope) in self._homes:
            names = [key for key in _names(item.__code__) if key in scope]

            def known() -> dict[str, Any]:
                return {f": {key}": scope.get(key) for key in names}

            def know(was: dict[str, Any]) -> None:
                scope.update((key[2:], value) for key, value in was.items())

            self._add(name, known, know)
            held += [(f"{name}: {key}", scope[key]) for key in names]
        return held


def _scopes(root: Any) -> Iterator[dict[str, Any]]:
    """Yield the global names of the modules in which a model or a loss is written."""
    functions = [root] if isinstance(root, FunctionType) else _methods(root)
    if isinstance(root, Module):
        functions += [f for _, part in root.named_modules() for f in _methods(part)]
    yield from (function.__globals__ for function in functions)


def _methods(item: Any) -> list[FunctionType]:
    """Return the functions of an object's classes that are not ours."""
    return [
        function
        for kind in type(item).__mro__
        for function in vars(kind).values()
        if isinstance(function, FunctionType)
        and function.__code__.co_filename not in recording.OURS
        and not isinstance(item, Optimizer)
        and not _is_foreign(kind)
    ]


def _is_foreign(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _FOREIGN


def _names(code: CodeType) -> set[str]:
    """Return the names that code may look up, inner functions included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return None


def _refill(container: Any, was: Any) -> None:
    container.clear()
    (container.extend if hasattr(container, "extend") else container.update)(was)


def _leave(_: Any) -> None:
    """Leave it: a trace puts Tensors back itself."""


def _difference(a: Any, b: Any) -> str | None:
    """Return None where two states are the same, or which part is not."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*b, *a]:
            if key not in a or key not in b or not _same(a[key], b[key]):
                return key if isinstance(key, str) and key[:1] in ".:" else ""
        return None
    if isinstance(a, (list, deque, set, tuple)):
        same = len(a) == len(b)
        if same and isinstance(a, set):
            same = {id(x) for x in a} == {id(x) for x in b}
        elif same:
            same = all(map(_same, a, b))
        return None if same else ""
    return None if _same(a, b) else ""


def _same(a: Any, b: Any) -> bool:
    """Whether nothing that was computed from one would differ for the other."""
    same = a is b
    if same or type(a) is not type(b):
        return same
    if isinstance(a, np.ndarray):
        nan = a.dtype.kind == "f"
        same = a.dtype == b.dtype and np.array_equal(a, b, equal_nan=nan)
    elif isinstance(a, (int, float, complex, str, bytes, np.generic, np.dtype)):
        same = bool(a == b) or (a != a and b != b)  # noqa: PLR0124 (nan)
    elif isinstance(a, tuple):
        same = len(a) == len(b) and all(map(_same, a, b))
    elif isinstance(a, dict):  # the state of a generator: dicts in dicts
        same = a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return same

"""One of two functions that are compared: called on floats, and computed exactly."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.check.fields import Field, Resample, TooDeep
from tinygrad_nn.check.golden import graph_text
from tinygrad_nn.check.replay import numbers, replay
from tinygrad_nn.errors import OpError
from tinygrad_nn.op import data_of
from tinygrad_nn.recording import OURS
from tinygrad_nn.tensor import Tensor

__all__ = ["Outputs", "Side", "Stopped", "Trial", "paired"]

_MOST_NUMBERS = 200_000
_NUMPY = str(Path(np.__file__).parent)
_CHOOSES = "what it records depends on values"

Outputs = dict[str, np.ndarray]
"""What a function returned, each part by its name."""


class Stopped(Exception):  # noqa: N818 (an answer, not a mistake)
    """A function cannot be computed exactly: says what stopped it."""


class Trial(NamedTuple):
    """A point in floats, at which graphs are recorded, and one of exact numbers."""

    point: Sequence[Any]
    field: Field
    exact: Sequence[Any]


class Side:
    """A function of arrays, and the ways to read it.

    Parameters
    ----------
    function
        Returns a number, an array or a Tensor, or a tuple, list or dictionary of them.
    title
        What the reports call it: f or g.
    """

    def __init__(self, function: Callable[..., Any], title: str) -> None:
        self.function = function
        self.title = title
        self._recorded: tuple[Any, list[Any], dict[str, Any]] | None = None
        self._chooses = False

    def floats(self, point: Sequence[Any]) -> Outputs:
        """Call it on arrays of floats; on Tensors, where that fails."""
        with np.errstate(all="ignore"):
            try:
                found = self._parts(self.function(*_copies(point)))
            except Exception as first:  # noqa: BLE001 (raised below)
                try:
                    found = self._parts(self.function(*_tensors(point)))
                except Exception:  # noqa: BLE001 (the first error is the user's)
                    raise first from None
        return {name: np.asarray(data_of(x)) for name, x in found.items()}

    def readings(self, trial: Trial) -> Iterator[Outputs | Stopped]:
        """Compute it on exact numbers, in every way that there is.

        The graph that it records is replayed; or, as hand-written NumPy, it runs on
        object arrays. Where both are possible, they differ in what they simplify.
        A graph is left out where the function chooses by values what to record.
        """
        recorded = self._records(trial)
        if recorded and not self._chooses:
            field = trial.field
            field.asked = set()
            replayed = self._read(self._replayed, trial)
            by_graph, field.asked = field.asked, set()
            run = self._read(self._run, trial)
            # A sign that no op of the graph asks for is an `if` of the function.
            if isinstance(run, Stopped) or field.asked <= by_graph:
                yield replayed
            yield run
        else:
            run = self._read(self._run, trial)
            if recorded and isinstance(run, Stopped):
                run = Stopped(f"{self.title}: {_CHOOSES}; {run}")
            yield run

    def probe(self, points: Sequence[Sequence[Any]]) -> None:
        """Record it at several points, to see whether its graph depends on values.

        An ``if`` on values leaves no trace in a graph: a proof by the graph of one
        branch would say nothing of the other.
        """
        programs = set()
        for point in points:
            with contextlib.suppress(Exception), np.errstate(all="ignore"):
                parts = self._parts(self.function(*_tensors(point)))
                outputs = [x for x in parts.values() if isinstance(x, Tensor)]
                # Where 0 * inf is met, gradients go a careful way of their own.
                if all(np.isfinite(data_of(x)).all() for x in graph.ancestors(outputs)):
                    programs.add(graph_text(*outputs))
        self._chooses = len(programs) > 1

    def _read(
        self, reading: Callable[[Trial], Outputs], trial: Trial
    ) -> Outputs | Stopped:
        try:
            with np.errstate(all="ignore"):
                return reading(trial)
        except (Resample, TooDeep):
            raise
        except Exception as error:  # noqa: BLE001 (a user's function raises any)
            return Stopped(f"{self.title}: {_told(error)}")

    def _records(self, trial: Trial) -> bool:
        """Call it on Tensors at a new point; return whether it runs on them."""
        if self._recorded is None or self._recorded[0] is not trial.point:
            tensors = _tensors(trial.point)
            try:
                with np.errstate(all="ignore"):
                    parts = self._parts(self.function(*tensors))
            except Exception:  # noqa: BLE001 (it may be NumPy that no Tensor records)
                return False
            self._recorded = trial.point, tensors, parts
        return True

    def _replayed(self, trial: Trial) -> Outputs:
        if self._recorded is None:
            raise OpError("expected a recorded graph; got none")
        _, tensors, parts = self._recorded
        outputs = [x for x in parts.values() if isinstance(x, Tensor)]
        size = sum(np.size(data_of(x)) for x in graph.ancestors(outputs))
        if size > _MOST_NUMBERS:
            raise OpError(f"{size} numbers are too many to compute with exactly")
        if not outputs:
            raise OpError(
                "expected a Tensor; got arrays of floats. Return tg.gradients(…), not "
                "what .backward() leaves in .grad"
            )
        values = {
            x: np.asarray(array)
            for x, array in zip(tensors, trial.exact, strict=True)
            if isinstance(x, Tensor)
        }
        found = iter(replay(outputs, values, trial.field.number, exact=True))
        return {
            name: next(found)
            if isinstance(x, Tensor)
            else numbers(x, trial.field.number)
            for name, x in parts.items()
        }

    def _run(self, trial: Trial) -> Outputs:
        parts = self._parts(self.function(*_copies(trial.exact)))
        if any(isinstance(x, Tensor) for x in parts.values()):
            raise OpError("expected arrays; got Tensors")
        return {
            name: array
            if (array := np.asarray(x)).dtype.kind in "Ob"
            else numbers(array, trial.field.number)
            for name, x in parts.items()
        }

    def _parts(self, value: Any) -> dict[str, Any]:
        """Take what was returned apart."""
        if isinstance(value, Mapping):
            parts = {str(name): x for name, x in value.items()}
        elif isinstance(value, (tuple, list)):
            parts = {f"[{i}]": x for i, x in enumerate(value)}
        else:
            parts = {"": value}
        for name, x in parts.items():
            if x is None or isinstance(x, (Mapping, str)):
                raise OpError(
                    f"{self.title}: expected an array or a number{_of(name)}; got "
                    f"{type(x).__name__}"
                )
        return parts


def paired(
    f: Sequence[str], g: Sequence[str], arguments: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Return a title and both names for each part: by key, else in order.

    ``"W"`` and ``"dW"`` are one name. Of a tuple, the parts belong to the arguments in
    their order, wherever the other function returns a dictionary named after them.

    >>> paired(["[0]", "[1]"], ["db", "dW"], ["W", "b"])
    [('dW', '[0]', 'dW'), ('db', '[1]', 'db')]
    >>> paired(["W"], ["dW"], [])
    [('W', 'W', 'dW')]
    """
    if len(f) != len(g):
        raise OpError(
            f"equivalent: expected as many results of f as of g; got {list(f)} and "
            f"{list(g)}"
        )
    left, right = _keys(f), _keys(g)
    if left and right:
        for bare in (False, True):
            first, second = (
                {name.removeprefix("d") if bare else name: name for name in side}
                for side in (f, g)
            )
            if first.keys() == second.keys():
                return [(first[key], first[key], second[key]) for key in first]
        raise OpError(
            f"equivalent: expected the same names; got {list(f)} and {list(g)}"
        )
    keyed = f if left else g if right else None
    if keyed is None:
        titles = [a or "the result" for a in f]
        return list(zip(titles, f, g, strict=True))
    order = {
        name: arguments.index(plain)
        for name in keyed
        for plain in (name, name.removeprefix("d"))
        if plain in arguments
    }
    if len(order) == len(keyed):
        keyed = sorted(keyed, key=order.__getitem__)
    ours, theirs = (keyed, g) if left else (f, keyed)
    return list(zip(keyed, ours, theirs, strict=True))


def _keys(names: Sequence[str]) -> bool:
    return all(name and not name.startswith("[") for name in names)


def _of(name: str) -> str:
    return f" for {name}" if name else ""


def _copies(point: Sequence[Any]) -> list[Any]:
    return [x.copy() if isinstance(x, np.ndarray) else x for x in point]


def _tensors(point: Sequence[Any]) -> list[Any]:
    """Floating arrays as Tensors that require a gradient: none is lost silently."""
    return [
        Tensor(x.copy(), requires_grad=True)
        if isinstance(x, np.ndarray) and x.dtype.kind == "f"
        else x
        for x in _copies(point)
    ]


def _told(error: Exception) -> str:
    """Return what was raised and the user's line that led to it."""
    what = str(error) or type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        inside = frame.filename in OURS or frame.filename.startswith(_NUMPY)
        if not inside and not frame.filename.startswith("<"):
            return f"{what} ({frame.filename}:{frame.lineno}: {frame.line})"
    return what

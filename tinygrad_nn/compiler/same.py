"""Whether a function does the same when it is traced again."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.program import Program
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.scalars import Scalar

__all__ = ["refuse_difference"]


def refuse_difference(first: Program, second: Program) -> None:
    """Raise where two traces of one function differ: it depends on something else.

    Random numbers drawn with ``np.random`` inside of a step, or a counter of its own,
    would otherwise be frozen as they were when the step was traced.
    """
    names: dict[Node, Node] = {}
    if len(first.nodes) != len(second.nodes):
        raise _differs(first.nodes[-1] if first.nodes else None)
    for a, b in zip(first.nodes, second.nodes, strict=True):
        names[a] = b
        same = a._op is b._op and len(inputs_of(a)) == len(inputs_of(b))
        if not same or not _equal_settings(settings_of(a), settings_of(b)):
            raise _differs(a)
        for x, y in zip(inputs_of(a), inputs_of(b), strict=True):
            if not _equal(x, y, names, first, second):
                raise _differs(a)


def _equal(
    x: Any, y: Any, names: dict[Node, Node], first: Program, second: Program
) -> bool:
    if isinstance(x, Node) and isinstance(y, Node):
        if x in names or x in first.places:
            return names.get(x) is y or first.places.get(x) == second.places.get(y)
        return _equal_values(x._value, y._value)
    if isinstance(x, Scalar) and isinstance(y, Scalar):
        return x.text == y.text
    return _equal_values(x, y)


def _equal_values(x: Any, y: Any) -> bool:
    if x is y:
        return True
    if isinstance(x, (np.ndarray, np.generic)) and isinstance(y, type(x)):
        return bool(x.dtype == y.dtype and np.array_equal(x, y, equal_nan=True))
    return type(x) is type(y) and repr(x) == repr(y)


def _equal_settings(x: Any, y: Any) -> bool:
    return x.keys() == y.keys() and all(_equal_setting(x[k], y[k]) for k in x)


def _equal_setting(x: Any, y: Any) -> bool:
    if isinstance(x, tuple) and isinstance(y, tuple):
        return len(x) == len(y) and all(map(_equal_setting, x, y))
    if isinstance(x, Node):
        return isinstance(y, Node)
    return _equal_values(x, y)


def _differs(node: Any) -> CompileError:
    what = "" if node is None else f" at {graph.line(node)}"
    return CompileError(
        f"compile: a step does the same each time; got another program{what} when it "
        "was traced again. Draw random numbers with tg.nn.Dropout or outside of the "
        "step, and pass what changes as an argument"
    )

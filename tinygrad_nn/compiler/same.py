"""Whether a function does the same when it is traced again."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.compiler.structure import mapped
from tinygrad_nn.errors import CompileError
from tinygrad_nn.op import Node, inputs_of, settings_of
from tinygrad_nn.rewriting.program import Program
from tinygrad_nn.scalars import Scalar

__all__ = ["failed_again", "refuse_difference", "refuse_other_structure"]


def refuse_difference(first: Program, second: Program) -> None:
    """Raise where two traces of one function differ: it depends on something else.

    Random numbers drawn with ``np.random`` inside of a step, a counter of its own, or a
    value kept from call to call, would otherwise be frozen as they were when the step
    was traced.

    Raises
    ------
    CompileError
        Names the first line that did something else, and what.
    """
    names: dict[Node, Node] = {}
    for a, b in zip(first.nodes, second.nodes, strict=False):
        names[a] = b
        what = _difference(a, b, names, first, second)
        if what is not None:
            raise _differs(a, what)
    many, more = len(first.nodes), len(second.nodes)
    if many != more:
        longer = first if many > more else second
        raise _differs(longer.nodes[min(many, more)], f"{more} ops instead of {many}")
    for i, (x, y) in enumerate(zip(first.results, second.results, strict=False)):
        if not _equal(x, y, names, first, second):
            raise _differs(None, f"{_instead(x, y)} as result {i}")
    counts = [(len(p.results), len(p.writes)) for p in (first, second)]
    if counts[0] != counts[1]:
        raise _differs(None, "other results or effects")


def refuse_other_structure(first: Any, second: Any) -> None:
    """Raise where a function returns its results in another structure."""
    one, other = (mapped(lambda _: None, results) for results in (first, second))
    if one != other:
        raise _differs(None, f"results like {other} instead of {one}")


def failed_again(error: Exception) -> CompileError:
    """Return the error of a function that fails the second time alone."""
    return _differs(None, f"{type(error).__name__}: {error}")


def _difference(
    a: Any, b: Any, names: dict[Node, Node], first: Program, second: Program
) -> str | None:
    """Return how an op is another one in the second program, or None."""
    if a._op is not b._op or len(inputs_of(a)) != len(inputs_of(b)):
        return f"{_title(b)} instead of {_title(a)}"
    if not _equal_settings(settings_of(a), settings_of(b)):
        return f"other settings of {_title(a)}"
    for x, y in zip(inputs_of(a), inputs_of(b), strict=True):
        if not _equal(x, y, names, first, second):
            return _instead(x, y)
    return None


def _equal(
    x: Any, y: Any, names: dict[Node, Node], first: Program, second: Program
) -> bool:
    if isinstance(x, Node) and isinstance(y, Node):
        if x in names or x in first.places:
            return names.get(x) is y or _same_place(
                first.places.get(x), second.places.get(y)
            )
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


def _title(node: Any) -> str:
    name: str = node._op.name
    return name


def _same_place(x: Any, y: Any) -> bool:
    """Whether two leaves are read from one place; == of Tensors goes by elements."""
    return type(x) is type(y) is not type(None) and all(
        a is b or (isinstance(a, int) and a == b) for a, b in zip(x, y, strict=True)
    )


def _instead(x: Any, y: Any) -> str:
    was, now = _shown(x), _shown(y)
    return f"other numbers in {now}" if was == now else f"{now} instead of {was}"


def _shown(x: Any) -> str:
    """Return what an operand is, in a few words."""
    if isinstance(x, Node) and x._op is not None:
        return f"the result of {_title(x)} at {graph.line(x)}"
    value = x._value if isinstance(x, Node) else x
    if np.ndim(value) == 0:
        return f"the value {str(value)[:40]}"
    return f"an array {np.shape(value)}"


def _differs(node: Any, what: str) -> CompileError:
    where = "" if node is None else f"at {graph.line(node)} "
    return CompileError(
        "compile: a step does the same each time, and is traced twice to see it; got "
        f"{where}{what} the second time, and it would stay so for ever. Draw "
        "random numbers with tg.nn.Dropout or outside of the step, keep what goes on "
        "from call to call in a Tensor (t.data = …), and pass what changes as an "
        "argument"
    )

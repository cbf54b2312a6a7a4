"""A recorded graph, computed again on other numbers by the ops' own bodies.

An op's body is plain NumPy, and NumPy computes with arrays of objects: operators are
those of the elements, and ``np.exp`` calls each element's ``exp``. So a class of
numbers is all that is needed to evaluate a graph to many digits, or exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import graph
from tinygrad_nn.errors import UnsupportedError
from tinygrad_nn.op import Node, Op, data_of
from tinygrad_nn.tensor import Tensor

__all__ = ["numbers", "replay"]

Numbers = np.ndarray
"""An object array of numbers, or an array of booleans or integers."""


def replay(
    outputs: Sequence[Tensor],
    values: Mapping[Tensor, Numbers],
    number: Callable[[float], Any],
    *,
    exact: bool = False,
) -> list[Numbers]:
    """Compute the values of recorded Tensors again, from other numbers.

    Parameters
    ----------
    outputs
        Tensors of one recorded graph, or of several.
    values
        For Tensors, mostly leaves, the object arrays to take in their place, of the
        same shapes. Every other leaf is a constant.
    number
        The class of numbers: it makes one from a float (of a constant), knows Python's
        operators with its like, with floats and with integers, and has the methods
        that NumPy calls on elements, such as ``exp``, ``log1p`` and ``tanh``.
    exact
        The numbers do not round, and so an op is computed as its definition says
        (`Op.exact`), without the shift or the case by sign that its body needs.

    Returns
    -------
    For each output an array in its shape: objects, or booleans where the output is.

    Raises
    ------
    UnsupportedError
        For an op whose body cannot run on such numbers; it names the op and its line.
        Errors of arithmetic that the numbers raise pass through.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from tinygrad_nn.tensor import Tensor
    >>> x = Tensor([1.0, 2.0])
    >>> y = (1 / (1 + x * x)).sum()
    >>> replay([y], {x: numbers([1.0, 2.0], Fraction)}, Fraction)
    [array(Fraction(7, 10), dtype=object)]
    """
    known: dict[Node, Numbers] = dict(values.items())

    def cut(node: Node) -> tuple[Op | None, tuple[Any, ...], Any]:
        return (None, (), {}) if node in values else graph.source(node)

    waiting = _uses(outputs, cut)
    for node in _in_order(outputs, cut):
        op, inputs, settings = cut(node)
        if op is None or op.kind == "random":
            if node not in known:  # what was drawn stays drawn
                known[node] = numbers(data_of(node), number)
            continue
        operands = [
            known[x] if isinstance(x, Node) else _constant(x, number) for x in inputs
        ]
        known[node] = _computed(node, op, operands, settings, number, exact)
        for x in inputs:  # an array is dropped with its last reader
            if isinstance(x, Node):
                waiting[x] -= 1
                if not waiting[x]:
                    del known[x]
    return [known[output] for output in outputs]


def numbers(data: Any, number: Callable[[float], Any]) -> Numbers:
    """Return an object array of the numbers of an array; booleans stay as they are.

    >>> from fractions import Fraction
    >>> numbers([0.5, 2.0], Fraction)
    array([Fraction(1, 2), Fraction(2, 1)], dtype=object)
    """
    array: Numbers = np.asarray(data)
    if array.dtype.kind == "b":
        return array
    made: Numbers = np.empty(array.shape, object)
    for place, x in zip(np.ndindex(array.shape), array.ravel().tolist(), strict=True):
        made[place] = number(x) if isinstance(x, (int, float)) else x
    return made


def _in_order(
    outputs: Sequence[Tensor],
    how: Callable[[Node], tuple[Op | None, tuple[Any, ...], Any]],
) -> Iterator[Node]:
    """Leaves first, for a leaf that was changed is younger than its readers."""
    found = graph.ancestors(outputs, how)
    yield from (node for node in found if how(node)[0] is None)
    yield from (node for node in found if how(node)[0] is not None)


def _uses(
    outputs: Sequence[Tensor],
    how: Callable[[Node], tuple[Op | None, tuple[Any, ...], Any]],
) -> dict[Node, int]:
    """How often each value is read; an output once more, by the caller."""
    uses: dict[Node, int] = {}
    for node in graph.ancestors(outputs, how):
        for x in how(node)[1]:
            if isinstance(x, Node):
                uses[x] = uses.get(x, 0) + 1
    for output in outputs:
        uses[output] = uses.get(output, 0) + 1
    return uses


def _constant(value: Any, number: Callable[[float], Any]) -> Any:
    """Return an operand that is no node as numbers; integers are exact already."""
    value = data_of(value)
    if isinstance(value, float):  # np.float64 is one
        return number(float(value))
    if isinstance(value, (np.ndarray, np.generic)):
        return numbers(value, number)
    return value


def _computed(
    node: Node,
    op: Op,
    operands: list[Any],
    settings: Mapping[str, Any],
    number: Callable[[float], Any],
    exact: bool,
) -> Numbers:
    dtype = settings.get("dtype")
    if dtype is not None and np.dtype(dtype).kind == "f":
        # These numbers have no other dtype, and True is 1 among them.
        operands = [np.asarray(x).astype(object) for x in operands]
        settings = {**settings, "dtype": None}
    body = op.exact if exact and op.exact is not None else op.function
    try:
        try:
            value = body(*operands, **settings)
        except TypeError:  # np.maximum(x, 0) leaves 0 there, which has no sqrt
            operands = [
                numbers(x, number)
                if isinstance(x, np.ndarray) and x.dtype.kind == "O"
                else x
                for x in operands
            ]
            try:
                value = body(*operands, **settings)
            except TypeError:  # LAPACK knows floats alone
                if op.exact is None:
                    raise
                value = op.exact(*operands, **settings)
        if op.exact is not None and _rounded(value, operands):
            value = op.exact(*operands, **settings)
    except (TypeError, ValueError, AttributeError) as error:
        line = graph.line(node)
        place = "" if line is None else f" at {line}"
        raise UnsupportedError(
            f"{op.name}{place}: expected a body that runs on object arrays; got "
            f"{type(error).__name__}: {error}. Give the op a body over exact numbers: "
            "exact=…"
        ) from error
    array = value if isinstance(value, np.ndarray) else _wrapped(value)
    # A float that a body made of booleans or integers is a number from here on.
    return numbers(array, number) if array.dtype.kind == "f" else array


def _rounded(value: Any, operands: Sequence[Any]) -> bool:
    """Whether a body made floats of numbers: ``np.linalg.qr`` converts what it gets."""
    return np.asarray(value).dtype.kind == "f" and any(
        isinstance(x, np.ndarray) and x.dtype.kind == "O" and x.size for x in operands
    )


def _wrapped(value: Any) -> Numbers:
    """Return the 0-d array of one number: NumPy takes such arrays apart."""
    if isinstance(value, (bool, np.bool_)):
        return np.asarray(value)
    array: Numbers = np.empty((), object)
    array[()] = value
    return array

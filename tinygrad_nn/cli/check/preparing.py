"""From a pair to what `check_gradients` takes: functions called by their own names.

A course writes ``forward_propagation(X, parameters)``, ``compute_cost(A2, Y)`` and
``backward_propagation(parameters, cache, X, Y)``. So every function is called with the
values that have the names of its parameters: the file's example and variables, what
the forward pass returns, and, for a parameter like ``dout``, the gradient that arrives.
What has no value is asked for, and not guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn.cli.check.functions import FunctionPair
from tinygrad_nn.cli.check.layers import LayerPair
from tinygrad_nn.cli.check.loading import Home
from tinygrad_nn.cli.check.pairs import Pair, parameters
from tinygrad_nn.cli.check.values import (
    Task,
    UnclearError,
    code_of,
    elementwise,
    shown,
    values_for,
    which_number,
)
from tinygrad_nn.op import data_of

__all__ = ["prepared"]


def prepared(pair: Pair, home: Home, beside: Home | None, seed: int) -> list[Task]:
    """Make a pair ready to be judged.

    Returns
    -------
    list
        One task; or a second one, for the derivative of each element: taken of the
        result, ``1 - a**2``, instead of the operand.

    Raises
    ------
    UnclearError
        Where a value is lacking, or it is not clear what is the gradient of what.
    """
    if pair.kind == "malformed":
        raise UnclearError("expected (f, gradient, arrays…) in CHECK; got another")
    if pair.kind == "declared":
        return [_declared(pair)]
    functions = {} if beside is None else dict(beside.defined)
    functions |= home.defined
    reasons = []
    for name, first in pair.firsts:
        try:
            values = values_for(first, home, beside)
            if pair.kind == "layer":
                return [LayerPair(name, first, values, seed).task()]
            return FunctionPair(pair, name, first, functions, values, seed).tasks()
        except UnclearError as reason:  # noqa: PERF203 (the next name may do)
            reasons.append(reason)
    raise reasons[0]


def _declared(pair: Pair) -> Task:
    (name, f), arrays = pair.firsts[0], pair.arrays
    if not arrays:
        raise UnclearError("CHECK holds no arrays: write (f, gradient, array, …)")
    known = parameters(f) or []
    names = tuple(p.name for p in known[: len(arrays)])
    if len(names) < len(arrays):
        names = tuple(f"x{i}" for i in range(len(arrays)))
    called = f"{name}({', '.join(shown(n, x) for n, x in zip(names, arrays))})"  # noqa: B905 (made equally long above)
    gradient = pair.gradient
    if gradient is None:
        return Task(f"autograd of {called}", f, arrays, names)
    needed = [p for p in parameters(gradient) or () if p.default is p.empty]
    codes = (code_of(f), code_of(gradient))
    value = np.asarray(data_of(f(*arrays)))
    takes_one_more = len(needed) == len(arrays) + 1
    if takes_one_more or (not needed and value.size != 1):
        return Task(called, f, arrays, names, None, gradient, codes, backward=gradient)
    if value.size != 1:
        if len(arrays) == 1 and elementwise(f, np.asarray(arrays[0])):
            slope = each(gradient)
            return Task(called, f, arrays, names, None, slope, codes, backward=gradient)
        raise UnclearError(which_number(name, value.shape))
    return Task(called, f, arrays, names, gradient, None, codes, backward=gradient)


def each(slope: Callable[..., Any]) -> Callable[..., Any]:
    return lambda g, x: g * np.asarray(slope(x))

"""Questions about Tensors that have plain answers: truths, types, memory, text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_nn import recording
from tinygrad_nn.op import Node, data_of

__all__ = ["PLAIN"]

Call = Callable[..., Any]


def _of_values(function: Call) -> Call:
    """Return a function that reads numbers, which no compiled step can."""

    def answer(*args: Any, **options: Any) -> Any:
        def value(x: Any) -> Any:
            trace = recording.current().trace
            if trace is not None and isinstance(x, Node):
                trace.refuse_reading(x, f"np.{function.__name__}")
            return data_of(x)

        given = {name: _within(x, value) for name, x in options.items()}
        return function(*_within(args, value), **given)

    return answer


def _of_shapes(function: Call) -> Call:
    """Return a function that asks for shapes and dtypes only."""

    def answer(*args: Any, **options: Any) -> Any:
        given = {name: _within(x, _stand_in) for name, x in options.items()}
        return function(*_within(args, _stand_in), **given)

    return answer


def _within(x: Any, change: Call) -> Any:
    """Change Tensors, inside of lists and tuples too."""
    if isinstance(x, (list, tuple)):
        return type(x)(_within(part, change) for part in x)
    return change(x)


def _stand_in(x: Any) -> Any:
    if not isinstance(x, Node):
        return x
    return np.broadcast_to(np.zeros((), x._value.dtype), x._value.shape)


_READING: tuple[Call, ...] = (
    *(np.allclose, np.array_equal, np.array_equiv, np.min_scalar_type),
    *(np.array2string, np.array_repr, np.array_str),
    *(np.may_share_memory, np.shares_memory),
    *(np.ravel_multi_index, np.unravel_index),
)
_ASKING: tuple[Call, ...] = (
    *(np.can_cast, np.common_type, np.iscomplexobj, np.isrealobj, np.result_type),
    *(np.diag_indices_from, np.tril_indices_from, np.triu_indices_from),
)

PLAIN: Mapping[Call, Call] = {
    **{function: _of_values(function) for function in _READING},
    **{function: _of_shapes(function) for function in _ASKING},
}
"""NumPy's functions that say something about Tensors, and how they are answered."""

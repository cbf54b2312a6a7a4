"""What NumPy has and a Tensor has not, each with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_nn.errors import NotOfferedError

__all__ = ["ATTRIBUTES", "INSTEAD", "NotOffered"]

_IN_PLACE = "a recorded value does not change. "
_BYTES = "a Tensor has no memory layout of its own. Leave the graph with .numpy()"

ATTRIBUTES: Mapping[str, str] = {
    "base": _BYTES,
    "byteswap": _BYTES,
    "ctypes": _BYTES,
    "dump": "it writes a pickle. Use tg.save, or .numpy() and np.save",
    "dumps": "it writes a pickle. Use tg.save, or .numpy() and np.save",
    "fill": _IN_PLACE + "Write tg.full_like(t, value)",
    "flags": _BYTES,
    "flat": "it iterates over memory. Write t.ravel(), and t.ravel()[i]",
    "getfield": _BYTES,
    "partition": _IN_PLACE + "Write t = tg.partition(t, kth)",
    "put": _IN_PLACE + "Write t = t.at[index].set(values)",
    "resize": _IN_PLACE + "Write t = tg.resize(t, shape)",
    "setfield": _BYTES,
    "setflags": _BYTES,
    "sort": _IN_PLACE + "Write t = tg.sort(t, axis)",
    "strides": _BYTES,
    "to_device": "values are NumPy's. To compute elsewhere, tg.compile a step",
    "tobytes": "bytes have no gradient. Leave the graph with .numpy()",
    "tofile": "a file has no gradient. Leave the graph with .numpy()",
    "view": "bytes have no gradient. Write t.astype(dtype), or t.reshape(shape)",
}
"""Attributes of an ndarray that a Tensor has not."""

INSTEAD: Mapping[Any, str] = {
    np.copyto: "it writes into an array. Write tg.where(mask, values, x)",
    np.fill_diagonal: "it writes into an array. Write tg.where(np.eye(n, m) > 0, v, x)",
    np.place: "it writes into an array. Write x.at[mask].set(values)",
    np.put: "it writes into an array. Write x.at[index].set(values)",
    np.putmask: "it writes into an array. Write tg.where(mask, values, x)",
    np.put_along_axis: "it writes into an array. Write x = tg.put_along_axis(x, …)",
}
"""Functions of NumPy that no Tensor takes, for a reason of their own."""


class NotOffered:
    """An attribute that is refused by name, for instances and the class alike.

    >>> class Thing:
    ...     view = NotOffered("view", "write astype")
    >>> hasattr(Thing(), "view")
    False
    """

    __slots__ = ("_advice", "_name")

    def __init__(self, name: str, advice: str) -> None:
        self._name = name
        self._advice = advice

    def __get__(self, instance: Any, owner: type) -> Any:
        """Refuse."""
        raise NotOfferedError(
            f"{owner.__name__}.{self._name}: not offered, for {self._advice}"
        )

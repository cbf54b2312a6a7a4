"""Ops that `jax.numpy` has no name for: their own bodies, read by another library.

A body is plain NumPy. With `jax.numpy` in the place of ``np`` most bodies run on JAX's
arrays as they stand, and are compiled; one that looks at values, or writes into arrays,
is called back on the host. So is one of linear algebra: JAX reads both triangles of a
symmetric matrix, and gives nan where NumPy refuses a singular one.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from tinygrad_nn.compiler.blame import explained
from tinygrad_nn.op import Node

__all__ = ["Elsewhere", "over"]


class Elsewhere:
    """A call of an op's body from source over `jax.numpy`.

    Parameters
    ----------
    node
        What is computed; its value says the shape and the dtype.
    settings
        Settings of the op.
    """

    def __init__(self, node: Node, settings: dict[str, Any]) -> None:
        assert node._op is not None  # noqa: S101 (what a program is made of)
        self._body = node._op.body
        self._function = node._op.function
        self._shape = tuple(node._value.shape)
        self._dtype = node._value.dtype
        self._settings = settings
        self._jax: Any = None
        self._node = node
        self._error: BaseException | None = None
        self._here = "linalg" in self._function.__code__.co_names

    def bind(self, jax: Any) -> None:
        """Say what JAX is."""
        self._jax = jax
        self._function = over(self._function, jax.numpy, {})

    def __call__(self, *operands: Any) -> Any:
        """Compute the node, on the device if its body can."""
        if self._here:
            return self._called_back(*operands)
        try:
            value = self._function(*operands, **self._settings)
            fits = value.shape == self._shape and value.dtype == self._dtype
        except Exception:  # noqa: BLE001 (a body may do anything that NumPy can)
            fits = False
        return value if fits else self._called_back(*operands)

    def _called_back(self, *operands: Any) -> Any:
        like = self._jax.ShapeDtypeStruct(self._shape, self._dtype)
        return self._jax.pure_callback(
            self._on_the_host, like, *operands, vmap_method="sequential"
        )

    def _on_the_host(self, *operands: Any) -> Any:
        try:
            value = self._body(*map(np.asarray, operands), **self._settings)
        except (TypeError, ValueError, IndexError) as error:
            # JAX would print it, and raise another: the runner asks for the first.
            self._error = self._error or explained(error, self._node)
            return np.zeros(self._shape, self._dtype)
        return np.asarray(value, self._dtype)

    def refused(self) -> BaseException | None:
        """Return what the body raised on the host since it was asked."""
        error, self._error = self._error, None
        return error


def over(function: Any, namespace: Any, known: dict[int, Any]) -> Any:
    """Return a function whose ``np``, and that of those it calls, is another library.

    >>> import types
    >>> def body(x):
    ...     return np.exp(x)
    >>> loud = types.SimpleNamespace(exp=lambda x: f"exp of {x}")
    >>> over(body, loud, {})(3)
    'exp of 3'
    """
    if id(function) in known:
        return known[id(function)]
    if function.__closure__:
        return function
    names: dict[str, Any] = {}
    made = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    known[id(function)] = made
    names.update(function.__globals__)
    for name in function.__code__.co_names:
        value = names.get(name)
        value = getattr(value, "__wrapped__", value)  # the body of an op of ours
        if value is np:
            names[name] = namespace
        elif isinstance(value, FunctionType):
            names[name] = over(value, namespace, known)
    return made

"""Methods of NumPy's ufuncs: ``reduce``, ``accumulate`` and ``outer``.

A reduction is the function that NumPy has for it, along axis 0 unless told otherwise.
``at`` and ``reduceat``, and options without a meaning here, are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_nn import functional, ops
from tinygrad_nn.errors import ShapeError, UnsupportedError
from tinygrad_nn.functional.arguments import as_array, is_default
from tinygrad_nn.functional.ufuncs import BARE, with_options
from tinygrad_nn.op import Array, data_of

__all__ = ["call_method"]

_REDUCED: Mapping[np.ufunc, tuple[str, tuple[str, ...]]] = {
    np.add: ("sum", ("dtype", "initial", "where")),
    np.bitwise_and: ("all", ("where",)),
    np.bitwise_or: ("any", ("where",)),
    np.logaddexp: ("logsumexp", ()),
    np.logical_and: ("all", ("where",)),
    np.logical_or: ("any", ("where",)),
    np.maximum: ("max", ("initial", "where")),
    np.minimum: ("min", ("initial", "where")),
    np.multiply: ("prod", ("dtype", "initial", "where")),
}
"""What a ufunc's reduction is, and which options that function knows."""

_RUNNING: Mapping[np.ufunc, str] = {
    np.add: "cumsum",
    np.logaddexp: "logcumsumexp",
    np.maximum: "cummax",
    np.minimum: "cummin",
    np.multiply: "cumprod",
}
_OF_BITS = (np.bitwise_and, np.bitwise_or)

_UNTOLD = object()
_OPTIONS: Mapping[str, Any] = {
    "axis": 0,
    "dtype": None,
    "out": None,
    "keepdims": False,
    "initial": _UNTOLD,
    "where": True,
}


def call_method(
    ufunc: np.ufunc, method: str, inputs: Sequence[Any], options: Mapping[str, Any]
) -> Array:
    """Call a method of a ufunc on Tensors.

    Raises
    ------
    UnsupportedError
        For a method, or an option of one, that is not offered, by name.

    Examples
    --------
    >>> call_method(np.add, "reduce", (np.ones((2, 3)),), {})
    array([2., 2., 2.])
    """
    title = f"np.{ufunc.__name__}.{method}"
    out = options.get("out")
    if any(x is not None for x in (out if isinstance(out, tuple) else (out,))):
        raise UnsupportedError(
            f"{title}: a Tensor cannot be written into an ndarray (out=), which would "
            "lose its gradient. Use the result"
        )
    if method == "outer" and ufunc in BARE:
        return _outer(ufunc, inputs, options)
    if method == "reduce" and ufunc in _REDUCED:
        return _reduce(title, ufunc, inputs, options)
    if method == "accumulate" and ufunc in _RUNNING:
        return _accumulate(title, ufunc, inputs, options)
    raise UnsupportedError(f"{title}: not recorded on a Tensor. {_advice(method)}")


def _advice(method: str) -> str:
    return {
        "at": "Add at places with tg.scatter_add, or choose elements with tg.where",
        "reduceat": "Reduce the parts, and join them with tg.stack",
    }.get(method, "Use the function, or np.sum, np.prod, np.max, np.cumsum")


def _read(
    title: str, inputs: Sequence[Any], options: Mapping[str, Any], known: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """Return the array, and the options that are not as they are by default."""
    x, *more = inputs
    given = dict(zip(_OPTIONS, more, strict=False)) | dict(options)
    given.pop("out", None)
    axis = given.pop("axis", _OPTIONS["axis"])
    told = {
        name: value
        for name, value in given.items()
        if not is_default(value, _OPTIONS.get(name, _UNTOLD))
    }
    for name, value in told.items():
        if name not in known:
            raise UnsupportedError(
                f"{title}: {name}= is not offered on Tensors; got {value!r:.40}. "
                "Leave it out"
            )
    return as_array(x), {"axis": axis, **told}


def _reduce(
    title: str, ufunc: np.ufunc, inputs: Sequence[Any], options: Mapping[str, Any]
) -> Array:
    name, known = _REDUCED[ufunc]
    x, given = _read(title, inputs, options, ("keepdims", *known))
    if data_of(x).ndim == 0 and given["axis"] in (0, -1):
        given["axis"] = None  # as NumPy takes a number
    if ufunc in _OF_BITS and data_of(x).dtype != np.bool_:
        raise UnsupportedError(
            f"{title}: expected booleans; got dtype {data_of(x).dtype}. Compare first, "
            "or leave the graph with .numpy()"
        )
    reduced: Callable[..., Any] = _function(title, name)
    return reduced(x, **given)


def _accumulate(
    title: str, ufunc: np.ufunc, inputs: Sequence[Any], options: Mapping[str, Any]
) -> Array:
    known = ("dtype",) if ufunc in (np.add, np.multiply) else ()
    x, given = _read(title, inputs, options, known)
    if data_of(x).ndim == 0:
        raise ShapeError(f"{title}: expected at least one axis; got shape ()")
    return _function(title, _RUNNING[ufunc])(x, **given)


def _function(title: str, name: str) -> Callable[..., Any]:
    """Return the function of this name: of NumPy's signature, or else the op."""
    found = getattr(functional, name, None) or getattr(ops, name, None)
    if found is None:
        raise UnsupportedError(f"{title}: not recorded on a Tensor")
    call: Callable[..., Any] = found
    return call


def _outer(ufunc: np.ufunc, inputs: Sequence[Any], options: Mapping[str, Any]) -> Array:
    """Apply to every pair of elements: the first operand's axes come first."""
    x, y = (as_array(z) for z in inputs)
    shape = (*data_of(x).shape, *(1,) * data_of(y).ndim)
    pair = (ops.reshape(x, shape), y)
    if options:
        return with_options(BARE[ufunc], ufunc, pair, options)
    return BARE[ufunc](*pair)

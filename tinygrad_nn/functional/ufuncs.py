"""NumPy's ufuncs, with what they take besides operands.

An op is called with its operands and nothing else; here it gets the name and the
signature that NumPy's function has. ``dtype=`` computes in that dtype, as NumPy does;
``out=`` and ``where=``, which write into memory, are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, UnsupportedError
from tinygrad_nn.functional.arguments import cast, is_default
from tinygrad_nn.op import Array, Node, data_of

__all__ = [
    "BARE",
    "abs",
    "absolute",
    "add",
    "cos",
    "divide",
    "equal",
    "exp",
    "expm1",
    "fabs",
    "greater",
    "greater_equal",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "matmul",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "positive",
    "power",
    "reciprocal",
    "sign",
    "sin",
    "sqrt",
    "square",
    "subtract",
    "tanh",
    "true_divide",
    "with_options",
]

Call = Callable[..., Any]

BARE: dict[np.ufunc, Call] = {}
"""What a ufunc is on Tensors, without options: `Tensor` answers NumPy by this."""

_DEFAULTS: Mapping[str, Any] = {
    "out": None,
    "where": True,
    "casting": "same_kind",
    "order": "K",
    "dtype": None,
    "subok": True,
    "signature": None,
}
_OF_AXES: Mapping[str, Any] = {"axes": None, "axis": None, "keepdims": False}
"""What those take besides that work on whole rows, as `matmul`; they have no where."""


def _takes(ufunc: np.ufunc) -> Mapping[str, Any]:
    """Options of a ufunc with their defaults, in NumPy's order."""
    if ufunc.signature is None:
        return _DEFAULTS
    rest = {name: _DEFAULTS[name] for name in _DEFAULTS if name not in ("out", "where")}
    return {"out": None, **_OF_AXES, **rest}


def _signature(ufunc: np.ufunc, *operands: str) -> Signature:
    first = [Parameter(name, Parameter.POSITIONAL_ONLY) for name in operands]
    out = Parameter("out", Parameter.POSITIONAL_OR_KEYWORD, default=None)
    rest = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default)
        for name, default in _takes(ufunc).items()
        if name != "out"
    ]
    return Signature([*first, out, *rest])


_ONE = _signature(np.exp, "x")
_TWO = _signature(np.add, "x1", "x2")
_TWO_OF_AXES = _signature(np.matmul, "x1", "x2")


def with_options(
    call: Call, ufunc: np.ufunc, operands: tuple[Any, ...], options: Mapping[str, Any]
) -> Any:
    """Call with what NumPy's ufunc would take as well.

    Raises
    ------
    UnsupportedError
        For ``out=``, ``where=`` and the like, by name.
    """
    title = f"np.{ufunc.__name__}"
    given = dict(options)
    if len(operands) > ufunc.nin:
        given["out"] = operands[ufunc.nin]
        operands = operands[: ufunc.nin]
    out = given.pop("out", None)
    if any(x is not None for x in (out if isinstance(out, tuple) else (out,))):
        raise UnsupportedError(
            f"{title}: a Tensor cannot be written into an ndarray (out=, an in-place "
            "operator such as Z += t), which would lose its gradient. Write Z = Z + t"
        )
    dtype = given.pop("dtype", None)
    known = _takes(ufunc)
    for name, value in given.items():
        if name not in known:
            raise OpError(
                f"{title}: no option {name!r}; it takes {list(known)}, and of these "
                "Tensors know dtype"
            )
        if not is_default(value, known[name]):
            advice = (
                "Choose elements with tg.where" if name == "where" else "Leave it out"
            )
            raise UnsupportedError(
                f"{title}: {name}= is not offered on Tensors; got {value!r:.40}. "
                f"{advice}"
            )
    if dtype is None:
        return call(*operands)
    if np.dtype(dtype).kind != "f":
        raise UnsupportedError(
            f"{title}: dtype={np.dtype(dtype)} is not offered on Tensors; expected a "
            "floating one. Use .astype()"
        )
    result = call(*[cast(x, dtype) for x in operands])
    if data_of(result).dtype != np.dtype(dtype):
        raise UnsupportedError(
            f"{title}: gives {data_of(result).dtype} whatever dtype= says; got "
            f"dtype={np.dtype(dtype)}. Use .astype()"
        )
    return result


def _spelled(call: Call, ufunc: np.ufunc) -> Call:
    """Return the function with the name and the signature of NumPy's ufunc."""
    BARE[ufunc] = call
    spelled: Call
    if ufunc.nin == 1:

        def spelled(x: Any, /, *more: Any, **options: Any) -> Any:
            if more or options:
                return with_options(call, ufunc, (x, *more), options)
            return call(x)

        signature = _ONE
    else:

        def spelled(x1: Any, x2: Any, /, *more: Any, **options: Any) -> Any:
            if more or options:
                return with_options(call, ufunc, (x1, x2, *more), options)
            return call(x1, x2)

        signature = _TWO if ufunc.signature is None else _TWO_OF_AXES
    spelled.__name__ = spelled.__qualname__ = ufunc.__name__
    spelled.__doc__ = call.__doc__
    spelled.__module__ = call.__module__
    spelled.__signature__ = signature  # type: ignore[attr-defined]
    if hasattr(call, "op"):
        spelled.op = call.op  # type: ignore[attr-defined]
    return spelled


# --- what is more than an op ---


def _requires_grad(x: Any) -> bool:
    return isinstance(x, Node) and x.requires_grad


def _tie(x: Any, y: Any) -> float:
    """Each operand's share at a tie: the subgradient of least norm.

    Over one operand that requires a gradient, it is 0; over two, a half each.
    """
    return 0.5 if _requires_grad(x) and _requires_grad(y) else 0.0


def _maximum(x: Array, y: Array) -> Array:
    """Larger of two operands, element by element.

    At a tie the gradient is 0 for one operand that requires a gradient, and a half
    each for two: ``maximum(0, z)`` is `relu`.

    >>> maximum(0, np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return ops.maximum(x, y, _tie(x, y))


def _minimum(x: Array, y: Array) -> Array:
    """Smaller of two operands, element by element; ties as in `maximum`.

    >>> minimum(0, np.array([-1.0, 2.0]))
    array([-1.,  0.])
    """
    return ops.minimum(x, y, _tie(x, y))


def _positive(x: Array) -> Array:
    """The operand itself.

    >>> positive(np.array([1.0, -2.0]))
    array([ 1., -2.])
    """
    return x if isinstance(x, Node) else np.positive(x)


def _of_reals(call: Call, ufunc: np.ufunc, kinds: str) -> Call:
    """Refuse Tensors of integers or booleans where NumPy's result would be such."""

    def checked(x: Any) -> Any:
        if isinstance(x, Node) and x._value.dtype.kind in kinds:
            raise UnsupportedError(
                f"np.{ufunc.__name__}: of {x._value.dtype} gives integers in NumPy, "
                "and is not recorded. Convert first: x.astype(float)"
            )
        return call(x)

    checked.__doc__ = call.__doc__
    checked.__module__ = call.__module__
    checked.op = call.op  # type: ignore[attr-defined]
    return checked


# --- the word list ---

abs = absolute = _spelled(ops.abs, np.absolute)
add = _spelled(ops.add, np.add)
cos = _spelled(ops.cos, np.cos)
divide = true_divide = _spelled(ops.divide, np.divide)
equal = _spelled(ops.equal, np.equal)
exp = _spelled(ops.exp, np.exp)
expm1 = _spelled(ops.expm1, np.expm1)
fabs = _spelled(_of_reals(ops.abs, np.fabs, "iub"), np.fabs)
greater = _spelled(ops.greater, np.greater)
greater_equal = _spelled(ops.greater_equal, np.greater_equal)
isnan = _spelled(ops.isnan, np.isnan)
less = _spelled(ops.less, np.less)
less_equal = _spelled(ops.less_equal, np.less_equal)
log = _spelled(ops.log, np.log)
log1p = _spelled(ops.log1p, np.log1p)
logical_and = _spelled(ops.logical_and, np.logical_and)
logical_not = _spelled(ops.logical_not, np.logical_not)
logical_or = _spelled(ops.logical_or, np.logical_or)
matmul = _spelled(ops.matmul, np.matmul)
maximum = _spelled(_maximum, np.maximum)
minimum = _spelled(_minimum, np.minimum)
multiply = _spelled(ops.multiply, np.multiply)
negative = _spelled(ops.negative, np.negative)
not_equal = _spelled(ops.not_equal, np.not_equal)
positive = _spelled(_positive, np.positive)
power = _spelled(ops.power, np.power)
reciprocal = _spelled(_of_reals(ops.reciprocal, np.reciprocal, "iub"), np.reciprocal)
sign = _spelled(ops.sign, np.sign)
sin = _spelled(ops.sin, np.sin)
sqrt = _spelled(ops.sqrt, np.sqrt)
square = _spelled(_of_reals(ops.square, np.square, "b"), np.square)
subtract = _spelled(ops.subtract, np.subtract)
tanh = _spelled(ops.tanh, np.tanh)

"""What is more than an op and works element by element; no rules here.

The first half is behind NumPy's ufuncs, which `ufuncs` gives their signatures; the
second half are functions of NumPy with signatures of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import UnsupportedError
from tinygrad_nn.functional.arguments import as_array, cast, refuse_out
from tinygrad_nn.op import Array, Node, data_of

__all__ = [
    "angle",
    "around",
    "fix",
    "imag",
    "isclose",
    "iscomplex",
    "isneginf",
    "isposinf",
    "isreal",
    "real",
    "round",
    "sinc",
]

Call = Callable[..., Any]


# --- choices ---


def _requires_grad(x: Any) -> bool:
    return isinstance(x, Node) and x.requires_grad


def _tie(x: Any, y: Any) -> float:
    """Each operand's share at a tie: the subgradient of least norm.

    Over one operand that requires a gradient, it is 0; over two, a half each.
    """
    return 0.5 if _requires_grad(x) and _requires_grad(y) else 0.0


def maximum(x: Array, y: Array) -> Array:
    """Larger of two operands, element by element.

    At a tie the gradient is 0 for one operand that requires a gradient, and a half
    each for two: ``maximum(0, z)`` is `relu`.

    >>> maximum(0, np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return ops.maximum(x, y, _tie(x, y))


def minimum(x: Array, y: Array) -> Array:
    """Smaller of two operands, element by element; ties as in `maximum`.

    >>> minimum(0, np.array([-1.0, 2.0]))
    array([-1.,  0.])
    """
    return ops.minimum(x, y, _tie(x, y))


def fmax(x: Array, y: Array) -> Array:
    """Larger of two operands, or the one that is a number; ties as in `maximum`.

    >>> fmax(np.array([-1.0, 2.0]), np.array([0.0, np.nan]))
    array([0., 2.])
    """
    return ops.fmax(x, y, _tie(x, y))


def fmin(x: Array, y: Array) -> Array:
    """Smaller of two operands, or the one that is a number; ties as in `minimum`.

    >>> fmin(np.array([-1.0, 2.0]), np.array([0.0, np.nan]))
    array([-1.,  2.])
    """
    return ops.fmin(x, y, _tie(x, y))


def heaviside(x: Array, y: Array) -> Array:
    """0 below zero, 1 above, and the second operand at zero; flat in the first.

    >>> heaviside(np.array([-1.0, 0.0, 2.0]), 0.5)
    array([0. , 0.5, 1. ])
    """
    x, y = _floating(np.heaviside, x, y)
    return ops.where(ops.equal(x, 0), y, ops.unit_step(x))


def copysign(x: Array, y: Array) -> Array:
    """Size of the first operand with the sign of the second, which may be -0.0.

    The second has no path; the gradient at ``x = 0`` is 0, as that of `abs`.

    >>> copysign(np.array([1.0, -2.0]), np.array([-0.0, 1.0]))
    array([-1.,  2.])
    """
    x, y = _floating(np.copysign, x, y)
    return ops.multiply(ops.abs(x), ops.unit_sign(y))


# --- numbers and their parts ---


def _floating(ufunc: np.ufunc, *operands: Array) -> list[Array]:
    """Return operands in the floating dtypes of NumPy's loop: 1 as well, and True."""
    kinds = [type(x) if type(x) in (int, float) else _dtype(x) for x in operands]
    if np.dtype(object) in kinds:  # numbers of many digits
        return list(operands)
    loop = ufunc.resolve_dtypes((*kinds, *(None,) * ufunc.nout))
    return [
        x if getattr(kind, "kind", "") == "f" else cast(x, dtype)
        for x, kind, dtype in zip(operands, kinds, loop, strict=False)
    ]


def _dtype(x: Array) -> np.dtype[Any]:
    value = data_of(x)
    return value.dtype if isinstance(value, np.generic) else np.asarray(value).dtype


def _of_numbers(ufunc: np.ufunc, x: Array) -> Array:
    """Return the operand, unless it is a Tensor of booleans, which are no numbers."""
    if isinstance(x, Node) and x._value.dtype.kind == "b":
        raise UnsupportedError(
            f"np.{ufunc.__name__}: expected numbers; got dtype bool. "
            "Convert first: x.astype(float)"
        )
    return x if isinstance(x, Node) else ufunc(x)


def positive(x: Array) -> Array:
    """The operand itself.

    >>> positive(np.array([1.0, -2.0]))
    array([ 1., -2.])
    """
    return _of_numbers(np.positive, x)


def conjugate(x: Array) -> Array:
    """The operand itself, for it is real.

    >>> conjugate(np.array([1.0, -2.0]))
    array([ 1., -2.])
    """
    return _of_numbers(np.conjugate, x)


def float_power(x: Array, y: Array) -> Array:
    """First operand to the power of the second, in float64 at least.

    >>> float_power(np.array([2, 4]), -1)
    array([0.5 , 0.25])
    """
    return ops.power(_wide(x), _wide(y))


def _wide(x: Array) -> Array:
    """Return an operand in float64, or in the wider dtype that it has."""
    x = as_array(x)
    dtype = np.promote_types(data_of(x).dtype, np.float64)
    return x if data_of(x).dtype == dtype else cast(x, dtype)


def deg2rad(x: Array) -> Array:
    """Radians of an angle in degrees.

    >>> deg2rad(np.array([0.0, 180.0]))
    array([0.        , 3.14159265])
    """
    (x,) = _floating(np.deg2rad, x)
    return ops.multiply(x, math.pi / 180)


def rad2deg(x: Array) -> Array:
    """Degrees of an angle in radians.

    >>> rad2deg(np.array([0.0, np.pi]))
    array([  0., 180.])
    """
    (x,) = _floating(np.rad2deg, x)
    return ops.multiply(x, 180 / math.pi)


radians, degrees = deg2rad, rad2deg


def modf(x: Array) -> tuple[Array, Array]:
    """Part behind the point, and whole part; both with the sign of the number.

    The gradient is that of the first: the second is constant.

    >>> modf(np.array([1.25, -1.25]))
    (array([ 0.25, -0.25]), array([ 1., -1.]))
    """
    (x,) = _floating(np.modf, x)
    return ops.fraction(x), ops.trunc(x)


def frexp(x: Array) -> tuple[Array, Array]:
    """Mantissa between a half and one, and exponent, which is constant.

    >>> frexp(np.array([1.0, 6.0]))
    (array([0.5 , 0.75]), array([1, 3], dtype=int32))
    """
    exponent = ops.exponent(x)
    return ops.ldexp(x, ops.negative(exponent)), exponent


def divmod(x: Array, y: Array) -> tuple[Array, Array]:
    """Whole quotient, which is constant, and the rest.

    >>> divmod(np.array([5.0, -5.0]), 3.0)
    (array([ 1., -2.]), array([2., 1.]))
    """
    return ops.floor_divide(x, y), ops.remainder(x, y)


# --- kinds of operands ---


def of_reals(call: Call, ufunc: np.ufunc, kinds: str) -> Call:
    """Refuse Tensors of integers or booleans where NumPy's result would be such."""

    def checked(x: Any) -> Any:
        if not isinstance(x, Node):
            x = as_array(x) if isinstance(x, (list, tuple)) else x
        if isinstance(x, Node):
            if x._value.dtype.kind in kinds:
                raise UnsupportedError(
                    f"np.{ufunc.__name__}: of {x._value.dtype} gives integers in "
                    "NumPy, and is not recorded. Convert first: x.astype(float)"
                )
        elif _dtype(x).kind in kinds:
            return ufunc(x)
        return call(x)

    checked.__doc__ = call.__doc__
    checked.__module__ = call.__module__
    checked.op = call.op  # type: ignore[attr-defined]
    return checked


def _of_truths(logical: Call, sign: str) -> Call:
    """Make an operator of booleans; on integers NumPy's would work on bits."""

    def apply(*operands: Any) -> Any:
        if not any(isinstance(x, Node) for x in operands):
            return _BITWISE[sign](*operands)
        for x in operands:
            dtype = np.asarray(data_of(x)).dtype
            if dtype != np.bool_:
                raise UnsupportedError(
                    f"{sign}: expected booleans; got dtype {dtype}. Compare first: "
                    "(x > 0) & (x < 1), or leave the graph with .numpy()"
                )
        return logical(*operands)

    apply.__doc__ = logical.__doc__
    apply.__module__ = logical.__module__
    apply.op = logical.op  # type: ignore[attr-defined]
    return apply


_BITWISE = {
    "&": np.bitwise_and,
    "|": np.bitwise_or,
    "^": np.bitwise_xor,
    "~": np.invert,
}

and_ = _of_truths(ops.logical_and, "&")
or_ = _of_truths(ops.logical_or, "|")
xor = _of_truths(ops.logical_xor, "^")
not_ = _of_truths(ops.logical_not, "~")


# --- functions of NumPy that are no ufuncs ---


def sinc(x: Array) -> Array:
    """``sin(πx) / (πx)``, which is 1 at 0; slopes of every order have all digits.

    >>> sinc(np.array([0.0, 0.5]))
    array([1.        , 0.63661977])
    """
    return ops.sinc(as_array(x))


def round(a: Array, decimals: int = 0, out: None = None) -> Array:
    """Nearest number of so many decimals; constant.

    >>> round(np.array([0.5, 1.26, -1.2]), decimals=1)
    array([ 0.5,  1.3, -1.2])
    """
    refuse_out("np.round", out)
    return ops.round(as_array(a), decimals=decimals)


around = round


def fix(x: Array, out: None = None) -> Array:
    """Whole number toward zero; constant.

    >>> fix(np.array([-1.5, 1.5]))
    array([-1.,  1.])
    """
    refuse_out("np.fix", out)
    return ops.trunc(as_array(x))


def isclose(
    a: Array, b: Array, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Array:
    """Whether the operands differ by no more than a tolerance.

    >>> isclose(np.array([1.0, 2.0]), np.array([1.0 + 1e-9, 2.1]))
    array([ True, False])
    """
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if isinstance(tolerance, Node):
            raise UnsupportedError(
                f"np.isclose: {name} is constant; got a Tensor. Use {name}.numpy()"
            )
    return ops.isclose(a, b, rtol, atol, equal_nan)


def isneginf(x: Array, out: None = None) -> Array:
    """Whether an element is negative and infinite.

    >>> isneginf(np.array([-np.inf, np.inf]))
    array([ True, False])
    """
    refuse_out("np.isneginf", out)
    return ops.equal(as_array(x), -np.inf)


def isposinf(x: Array, out: None = None) -> Array:
    """Whether an element is positive and infinite.

    >>> isposinf(np.array([-np.inf, np.inf]))
    array([False,  True])
    """
    refuse_out("np.isposinf", out)
    return ops.equal(as_array(x), np.inf)


def real(val: Array) -> Array:
    """The operand itself, for it is real.

    >>> real(np.array([1.0, -2.0]))
    array([ 1., -2.])
    """
    return as_array(val)


def imag(val: Array) -> Array:
    """Zeros, for the operand is real; there is no path to it.

    >>> imag(np.array([1.0, -2.0]))
    array([0., 0.])
    """
    val = as_array(val)
    flat = ops.sign(val) if data_of(val).dtype.kind == "f" else val
    return ops.where(False, flat, False)


def angle(z: Array, deg: bool = False) -> Array:
    """Angle of a real number in the complex plane: 0, or π below zero.

    >>> angle(np.array([1.0, -2.0]), deg=True)
    array([  0., 180.])
    """
    turned = ops.arctan2(0.0, as_array(z))
    return ops.multiply(turned, 180 / math.pi) if deg else turned


def isreal(x: Array) -> Array:
    """True for every element: Tensors are real.

    >>> isreal(np.array([1.0, np.nan]))
    array([ True,  True])
    """
    return ops.equal(imag(x), 0)


def iscomplex(x: Array) -> Array:
    """False for every element: Tensors are real.

    >>> iscomplex(np.array([1.0, np.nan]))
    array([False, False])
    """
    return ops.not_equal(imag(x), 0)

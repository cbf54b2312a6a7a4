"""NumPy's ufuncs, with what they take besides operands.

An op is called with its operands and nothing else; here it gets the name and the
signature that NumPy's function has. ``dtype=`` computes in that dtype, as NumPy does;
``out=`` and ``where=``, which write into memory, are refused by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, UnsupportedError
from tinygrad_nn.functional import contraction, elementwise
from tinygrad_nn.functional.arguments import cast, is_default
from tinygrad_nn.op import data_of

__all__ = [
    "BARE",
    "OF_SCIPY",
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "conj",
    "conjugate",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "degrees",
    "divide",
    "divmod",
    "equal",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "float_power",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frexp",
    "greater",
    "greater_equal",
    "handler_of",
    "heaviside",
    "hypot",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "ldexp",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "matmul",
    "matvec",
    "maximum",
    "minimum",
    "mod",
    "modf",
    "multiply",
    "negative",
    "not_equal",
    "positive",
    "pow",
    "power",
    "rad2deg",
    "radians",
    "reciprocal",
    "remainder",
    "rint",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "spacing",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "title_of",
    "true_divide",
    "trunc",
    "with_options",
]

Call = Callable[..., Any]

BARE: dict[np.ufunc, Call] = {}
"""What a ufunc is on Tensors, without options: `Tensor` answers NumPy by this."""

OF_SCIPY: dict[str, Call] = {}
"""What SciPy's ufuncs are on Tensors, by their names there."""

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


def signature_of(ufunc: np.ufunc) -> Signature:
    """Return the signature that NumPy gives a ufunc."""
    operands = ("x",) if ufunc.nin == 1 else ("x1", "x2")
    first = [Parameter(name, Parameter.POSITIONAL_ONLY) for name in operands]
    nothing = None if ufunc.nout == 1 else (None,) * ufunc.nout
    out = Parameter("out", Parameter.POSITIONAL_OR_KEYWORD, default=nothing)
    rest = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default)
        for name, default in _takes(ufunc).items()
        if name != "out"
    ]
    return Signature([*first, out, *rest])


def _refuse_options(
    title: str, given: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """Refuse what the ufunc does not take, and what Tensors do not offer of it."""
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


def handler_of(ufunc: np.ufunc) -> Call | None:
    """Return what a ufunc is on Tensors, without options; None for one that is not.

    >>> handler_of(np.exp)(0.0), handler_of(np.gcd)
    (np.float64(1.0), None)
    """
    loaded = sys.modules.get("scipy.special")
    for name, call in OF_SCIPY.items() if ufunc not in BARE else ():
        if getattr(loaded, name, None) is ufunc:
            return call
    return BARE.get(ufunc)


def title_of(ufunc: np.ufunc) -> str:
    """Return the name of a ufunc as users write it.

    >>> title_of(np.exp)
    'np.exp'
    """
    name = ufunc.__name__
    if getattr(np, name, None) is ufunc:
        return f"np.{name}"
    if getattr(sys.modules.get("scipy.special"), name, None) is ufunc:
        return f"scipy.special.{name}"
    return f"the ufunc {name}"


def with_options(
    call: Call, ufunc: np.ufunc, operands: tuple[Any, ...], options: Mapping[str, Any]
) -> Any:
    """Call with what NumPy's ufunc would take as well.

    Raises
    ------
    UnsupportedError
        For ``out=``, ``where=`` and the like, by name.
    """
    title = title_of(ufunc)
    given = dict(options)
    if len(operands) > ufunc.nin:
        given["out"] = operands[ufunc.nin :]
        operands = operands[: ufunc.nin]
    out = given.pop("out", None)
    if any(x is not None for x in (out if isinstance(out, tuple) else (out,))):
        raise UnsupportedError(
            f"{title}: a Tensor cannot be written into an ndarray (out=, an in-place "
            "operator such as Z += t), which would lose its gradient. Write Z = Z + t"
        )
    dtype = given.pop("dtype", None)
    rows = () if ufunc.signature is None else _OF_AXES
    axes = {name: given.pop(name) for name in rows if name in given}
    if axes:
        call = partial(contraction.on_axes, ufunc, call, **axes)
    _refuse_options(title, given, _takes(ufunc))
    if dtype is None:
        return call(*operands)
    if np.dtype(dtype).kind != "f":
        raise UnsupportedError(
            f"{title}: dtype={np.dtype(dtype)} is not offered on Tensors; expected a "
            "floating one. Use .astype()"
        )
    result = call(*[cast(x, dtype) for x in operands])
    for part in result if isinstance(result, tuple) else (result,):
        if data_of(part).dtype != np.dtype(dtype):
            raise UnsupportedError(
                f"{title}: gives {data_of(part).dtype} whatever dtype= says; got "
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

    else:

        def spelled(x1: Any, x2: Any, /, *more: Any, **options: Any) -> Any:
            if more or options:
                return with_options(call, ufunc, (x1, x2, *more), options)
            return call(x1, x2)

    spelled.__name__ = spelled.__qualname__ = ufunc.__name__
    spelled.__doc__ = call.__doc__
    spelled.__module__ = __name__  # where pickle looks for it
    spelled.__signature__ = signature_of(ufunc)  # type: ignore[attr-defined]
    if hasattr(call, "op"):
        spelled.op = call.op  # type: ignore[attr-defined]
    return spelled


# --- the word list ---

abs = absolute = _spelled(ops.abs, np.absolute)
add = _spelled(ops.add, np.add)
acos = arccos = _spelled(ops.arccos, np.arccos)
acosh = arccosh = _spelled(ops.arccosh, np.arccosh)
arcsin = asin = _spelled(ops.arcsin, np.arcsin)
arcsinh = asinh = _spelled(ops.arcsinh, np.arcsinh)
arctan = atan = _spelled(ops.arctan, np.arctan)
arctan2 = atan2 = _spelled(ops.arctan2, np.arctan2)
arctanh = atanh = _spelled(ops.arctanh, np.arctanh)
bitwise_and = _spelled(elementwise.and_, np.bitwise_and)
bitwise_or = _spelled(elementwise.or_, np.bitwise_or)
bitwise_xor = _spelled(elementwise.xor, np.bitwise_xor)
cbrt = _spelled(ops.cbrt, np.cbrt)
ceil = _spelled(ops.ceil, np.ceil)
conj = conjugate = _spelled(elementwise.conjugate, np.conjugate)
copysign = _spelled(elementwise.copysign, np.copysign)
cos = _spelled(ops.cos, np.cos)
cosh = _spelled(ops.cosh, np.cosh)
deg2rad = _spelled(elementwise.deg2rad, np.deg2rad)
degrees = _spelled(elementwise.degrees, np.degrees)
divide = true_divide = _spelled(ops.divide, np.divide)
divmod = _spelled(elementwise.divmod, np.divmod)
equal = _spelled(ops.equal, np.equal)
exp = _spelled(ops.exp, np.exp)
exp2 = _spelled(ops.exp2, np.exp2)
expm1 = _spelled(ops.expm1, np.expm1)
fabs = _spelled(elementwise.of_reals(ops.abs, np.fabs, "iub"), np.fabs)
float_power = _spelled(elementwise.float_power, np.float_power)
floor = _spelled(ops.floor, np.floor)
floor_divide = _spelled(ops.floor_divide, np.floor_divide)
fmax = _spelled(elementwise.fmax, np.fmax)
fmin = _spelled(elementwise.fmin, np.fmin)
fmod = _spelled(ops.fmod, np.fmod)
frexp = _spelled(elementwise.frexp, np.frexp)
greater = _spelled(ops.greater, np.greater)
greater_equal = _spelled(ops.greater_equal, np.greater_equal)
heaviside = _spelled(elementwise.heaviside, np.heaviside)
hypot = _spelled(ops.hypot, np.hypot)
bitwise_invert = bitwise_not = invert = _spelled(elementwise.not_, np.invert)
isfinite = _spelled(ops.isfinite, np.isfinite)
isinf = _spelled(ops.isinf, np.isinf)
isnan = _spelled(ops.isnan, np.isnan)
ldexp = _spelled(ops.ldexp, np.ldexp)
less = _spelled(ops.less, np.less)
less_equal = _spelled(ops.less_equal, np.less_equal)
log = _spelled(ops.log, np.log)
log10 = _spelled(ops.log10, np.log10)
log1p = _spelled(ops.log1p, np.log1p)
log2 = _spelled(ops.log2, np.log2)
logaddexp = _spelled(ops.logaddexp, np.logaddexp)
logaddexp2 = _spelled(ops.logaddexp2, np.logaddexp2)
logical_and = _spelled(ops.logical_and, np.logical_and)
logical_not = _spelled(ops.logical_not, np.logical_not)
logical_or = _spelled(ops.logical_or, np.logical_or)
logical_xor = _spelled(ops.logical_xor, np.logical_xor)
matmul = _spelled(ops.matmul, np.matmul)
maximum = _spelled(elementwise.maximum, np.maximum)
minimum = _spelled(elementwise.minimum, np.minimum)
modf = _spelled(elementwise.modf, np.modf)
multiply = _spelled(ops.multiply, np.multiply)
negative = _spelled(elementwise.of_reals(ops.negative, np.negative, ""), np.negative)
not_equal = _spelled(ops.not_equal, np.not_equal)
positive = _spelled(elementwise.positive, np.positive)
pow = power = _spelled(ops.power, np.power)
rad2deg = _spelled(elementwise.rad2deg, np.rad2deg)
radians = _spelled(elementwise.radians, np.radians)
reciprocal = _spelled(
    elementwise.of_reals(ops.reciprocal, np.reciprocal, "iub"), np.reciprocal
)
mod = remainder = _spelled(ops.remainder, np.remainder)
rint = _spelled(ops.rint, np.rint)
sign = _spelled(ops.sign, np.sign)
signbit = _spelled(ops.signbit, np.signbit)
sin = _spelled(ops.sin, np.sin)
sinh = _spelled(ops.sinh, np.sinh)
spacing = _spelled(ops.spacing, np.spacing)
sqrt = _spelled(ops.sqrt, np.sqrt)
square = _spelled(elementwise.of_reals(ops.square, np.square, "b"), np.square)
subtract = _spelled(ops.subtract, np.subtract)
tan = _spelled(ops.tan, np.tan)
tanh = _spelled(ops.tanh, np.tanh)
trunc = _spelled(ops.trunc, np.trunc)
vecdot = _spelled(contraction.vecdot, np.vecdot)
matvec: Call = contraction.matvec
vecmat: Call = contraction.vecmat
if hasattr(np, "matvec"):  # since NumPy 2.2
    matvec = _spelled(matvec, np.matvec)
    vecmat = _spelled(vecmat, np.vecmat)

"""What an elementwise op is in C: text for one element, of texts for its operands.

Numbers mean what they mean in NumPy: a nan stays a nan through `maximum`, integers
wrap around, and a mask that is multiplied with is 0 or 1.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import numpy as np

from tinygrad_nn.op import Node, inputs_of
from tinygrad_nn.rewriting.ufuncs import ufunc_of
from tinygrad_nn.scalars import Scalar

__all__ = [
    "HELPERS",
    "PREAMBLE",
    "TYPES",
    "expression",
    "is_expressible",
    "literal",
    "loop_dtypes",
]

TYPES = {
    "float64": "double",
    "float32": "float",
    "bool": "unsigned char",
    **{f"int{bits}": f"int{bits}_t" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"uint{bits}_t" for bits in (8, 16, 32, 64)},
}
"""dtypes that have a C form."""
STORED = TYPES | {"float16": "uint16_t", str(np.dtype(np.longdouble)): "long double"}
"""dtypes that can at least be copied, by what they are copied as."""

PREAMBLE = """\
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
"""
HELPERS = {
    "tanh_of": """\
// tanh by way of exp(-2|x|) - 1: at most 3 units in the last place.
static inline double tanh_of(double x)
{
    const double y = -2 * fabs(x);
    const double z = y < -50 ? -50 : y;
    // z = n log(2) + r with a whole n, which the lowest bits of t are.
    const double t = z * 0x1.71547652b82fep+0 + 0x1.8p52;
    const double n = t - 0x1.8p52;
    const double r = z - n * 0x1.62e42fefa3800p-1 - n * 0x1.ef35793c76730p-45;
    const double rr = r * r, a = 0.5000000000000001 + r * 0.16666666666666669;
    const double b = 0.04166666666662413 + r * 0.008333333333330062;
    const double c = 0.0013888888917213717 + r * 0.00019841269863053618;
    const double d = 2.4801521295954376e-05 + r * 2.7557268459997064e-06;
    const double e = 2.7620088445409746e-07 + r * 2.510038549551032e-08;
    const double p = r + rr * (a + rr * b + rr * rr * (c + rr * d + rr * rr * e));
    uint64_t bits;
    memcpy(&bits, &t, 8);
    bits = (bits << 52) + 0x3ff0000000000000u;
    double s;  // 2 to the n
    memcpy(&s, &bits, 8);
    const double less = s * p + (s - 1);
    return copysign(-less / (2 + less), x);
}
""",
    "log1p_of": """\
// log1p between 0 and 1, as 2 atanh(x / (2 + x)): at most 3 units in the last place.
static inline double log1p_of(double x)
{
    const double s = x / (2 + x), z = s * s, zz = z * z;
    const double a = 0.33333333333333076 + z * 0.20000000000092874;
    const double b = 0.14285714272727057 + z * 0.11111112040373837;
    const double c = 0.09090870416252403 + z * 0.07693307021152004;
    const double d = 0.06650187016337313 + z * 0.06055084364034609;
    const double e = 0.0416225325593041 + z * 0.08522081781390699;
    const double p = a + zz * b + zz * zz * (c + zz * d + zz * zz * e);
    return 2 * s + 2 * s * (z * p);
}
""",
}
"""Functions of our own, in terms that do not wait for each other (Estrin's scheme).

The coefficients are those of the polynomials that meet the function where Chebyshev's
would (error below 5e-17 of it).
"""

_FLOAT = {
    np.add: "{0} + {1}",
    np.subtract: "{0} - {1}",
    np.multiply: "{0} * {1}",
    np.divide: "{0} / {1}",
    np.negative: "-{0}",
    np.positive: "{0}",
    np.reciprocal: "1 / {0}",
    np.square: "{0} * {0}",
    np.power: "pow{f}({0}, {1})",
    np.absolute: "fabs{f}({0})",
    np.fabs: "fabs{f}({0})",
    np.sign: "{0} != {0} ? {0} : ({T})(({0} > 0) - ({0} < 0))",
    np.maximum: "({0} >= {1}) | ({0} != {0}) ? {0} : {1}",
    np.minimum: "({0} <= {1}) | ({0} != {0}) ? {0} : {1}",
    np.arctan2: "atan2{f}({0}, {1})",
    np.hypot: "hypot{f}({0}, {1})",
    np.arctan: "atan{f}({0})",
    np.arcsin: "asin{f}({0})",
    np.arccos: "acos{f}({0})",
    np.arcsinh: "asinh{f}({0})",
    np.arccosh: "acosh{f}({0})",
    np.arctanh: "atanh{f}({0})",
    np.fmod: "fmod{f}({0}, {1})",
    np.fmax: "fmax{f}({0}, {1})",
    np.fmin: "fmin{f}({0}, {1})",
    np.rint: "rint{f}({0})",
} | {
    getattr(np, name): name + "{f}({0})"
    for name in (
        *("exp", "expm1", "log", "log1p", "log2", "log10", "exp2", "sqrt", "cbrt"),
        *("sin", "cos", "tan", "sinh", "cosh", "tanh", "floor", "ceil", "trunc"),
    )
}
_WHOLE = {
    np.add: "({T})(({U}){0} + ({U}){1})",
    np.subtract: "({T})(({U}){0} - ({U}){1})",
    np.multiply: "({T})(({U}){0} * ({U}){1})",
    np.negative: "({T})(0 - ({U}){0})",
    np.positive: "{0}",
    np.square: "({T})(({U}){0} * ({U}){0})",
    np.absolute: "{0} < 0 ? ({T})(0 - ({U}){0}) : {0}",
    np.sign: "({T})(({0} > 0) - ({0} < 0))",
    np.maximum: "{0} >= {1} ? {0} : {1}",
    np.minimum: "{0} <= {1} ? {0} : {1}",
}
_TRUTH = {
    np.add: "{0} | {1}",
    np.multiply: "{0} & {1}",
    np.maximum: "{0} | {1}",
    np.minimum: "{0} & {1}",
}
_COMPARED = {
    np.equal: "{0} == {1}",
    np.not_equal: "{0} != {1}",
    np.greater: "{0} > {1}",
    np.greater_equal: "{0} >= {1}",
    np.less: "{0} < {1}",
    np.less_equal: "{0} <= {1}",
    np.logical_and: "({0} != 0) & ({1} != 0)",
    np.logical_or: "({0} != 0) | ({1} != 0)",
    np.logical_xor: "({0} != 0) != ({1} != 0)",
    np.logical_not: "{0} == 0",
    np.isnan: "{0} != {0}",
    np.isfinite: "{0} - {0} == 0",
    np.isinf: "({0} == {0}) & ({0} - {0} != 0)",
    np.signbit: "signbit({0}) != 0",
}
FUNCTIONS = frozenset(
    name + suffix
    for text in _FLOAT.values()
    for name in re.findall(r"([a-z0-9]+)\{f\}", text)
    for suffix in ("", "f")
)
"""What generated code calls; no variable has such a name."""
_MASKS = frozenset(_COMPARED)
CHEAP = _MASKS | {
    *(np.add, np.subtract, np.multiply, np.negative, np.maximum, np.minimum),
    *(np.absolute, np.square, np.positive),
}
"""ufuncs that are computed again sooner than stored."""


def kind_of(x: Any) -> Any:
    """Return what `ufunc.resolve_dtypes` takes for an operand: a dtype, or a type."""
    if isinstance(x, Node):
        return x._value.dtype
    if isinstance(x, Scalar):
        return float
    if isinstance(x, bool):
        return np.dtype(bool)
    if isinstance(x, float) and not isinstance(x, np.generic):
        return float
    if isinstance(x, int):
        return int
    return np.asarray(x).dtype


@lru_cache(maxsize=1024)
def _resolved(ufunc: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    found: tuple[Any, ...] = ufunc.resolve_dtypes((*kinds, *([None] * ufunc.nout)))
    return found


def loop_dtypes(node: Any) -> list[Any]:
    """Return the dtypes that operands are converted to before an op computes."""
    inputs = inputs_of(node)
    if node._op.name == "astype":
        return [np.dtype(kind_of(inputs[0]))]
    if node._op.name == "where":
        condition = kind_of(inputs[0])
        return [np.dtype(condition), node._value.dtype, node._value.dtype]
    kinds = tuple(kind_of(x) for x in inputs)
    return list(_resolved(ufunc_of(node._op), kinds)[: len(inputs)])


def is_expressible(node: Any) -> bool:
    """Return whether an elementwise op has a C form for its dtypes."""
    op = node._op
    known = op.name in ("where", "astype") or (
        op.pointwise and ufunc_of(op) is not None
    )
    if not known or str(node._value.dtype) not in TYPES:
        return False
    try:
        dtypes = loop_dtypes(node)
    except TypeError:
        return False
    if any(str(dtype) not in TYPES for dtype in dtypes):
        return False
    if any(str(np.dtype(kind_of(x))) not in TYPES for x in inputs_of(node)):
        return False
    if op.name in ("where", "astype"):
        return True
    ufunc = ufunc_of(op)
    if ufunc in _COMPARED:
        return len({str(dtype) for dtype in dtypes}) == 1
    return ufunc in _table(dtypes[0]) and len({str(x) for x in dtypes}) == 1


def _table(dtype: Any) -> dict[Any, str]:
    if dtype.kind == "f":
        return _FLOAT
    return _TRUTH if dtype.kind == "b" else _WHOLE


def expression(node: Any, operands: list[str], *, bounded: bool = False) -> str:
    """Return one element of a node, its operands being of the loop's dtypes.

    ``bounded``: whether they lie between 0 and 1, or are nan.
    """
    op = node._op
    dtypes = loop_dtypes(node)
    if op.name == "where":
        return f"{operands[0]} ? {operands[1]} : {operands[2]}"
    if op.name == "astype":
        return converted(operands[0], dtypes[0], node._value.dtype)
    ufunc = ufunc_of(op)
    dtype = dtypes[0]
    if ufunc in _COMPARED:
        return _COMPARED[ufunc].format(*operands)
    if ufunc is np.tanh and dtype == np.float64:
        return f"tanh_of({operands[0]})"
    if ufunc is np.log1p and dtype == np.float64 and bounded:
        return f"log1p_of({operands[0]})"
    if ufunc in (np.maximum, np.minimum) and dtype.kind == "f":
        short = _with_a_number(inputs_of(node), operands, ufunc)
        if short is not None:
            return short
    T = TYPES[str(dtype)]
    U = T if T.startswith("u") else f"u{T}"
    f = "f" if dtype == np.float32 else ""
    return _table(dtype)[ufunc].format(*operands, T=T, U=U, f=f)


def _with_a_number(inputs: Any, operands: list[str], ufunc: Any) -> str | None:
    """Return the larger of a number and something: one comparison, which nan fails."""
    for i in (0, 1):
        x = inputs[i]
        plain = isinstance(x, (int, float)) and not isinstance(x, Scalar)
        if plain and not math.isnan(x):
            c, z = operands[i], operands[1 - i]
            sign = "<=" if ufunc is np.maximum else ">="
            return f"{z} {sign} {c} ? {c} : {z}"
    return None


def converted(text: str, have: Any, wanted: Any) -> str:
    """Return an element in another dtype."""
    if have == wanted:
        return text
    if wanted == np.bool_:
        return f"({text} != 0)"
    if have == np.bool_ and wanted.kind == "f":  # a cast would not be vectorised
        return f"({text} ? {literal(1, wanted)} : {literal(0, wanted)})"
    return f"({TYPES[str(wanted)]}){text}"


def literal(value: Any, dtype: Any) -> str:
    """Return a number as C says it.

    >>> literal(0.1, np.dtype(np.float32)), literal(2, np.dtype(np.float64))
    ('0.1f', '2.0')
    """
    with np.errstate(all="ignore"):
        number = np.asarray(value).astype(dtype)
    if dtype.kind == "f":
        plain = float(number)
        if math.isnan(plain):
            return "NAN"
        if math.isinf(plain):
            return "INFINITY" if plain > 0 else "(-INFINITY)"
        text = str(number) if dtype == np.float32 else repr(plain)
        if "." not in text and "e" not in text:
            text += ".0"
        text += "f" if dtype == np.float32 else ""
        return f"({text})" if text.startswith("-") else text
    whole = int(number)
    if dtype == np.uint64:
        return f"{whole}ull"
    if whole == -(1 << 63):
        return "INT64_MIN"
    suffix = "ll" if dtype == np.int64 and abs(whole) > 1 << 31 else ""
    return f"({whole}{suffix})" if whole < 0 else f"{whole}{suffix}"

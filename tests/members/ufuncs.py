"""Members of functions that work element by element."""

from __future__ import annotations

import math
import operator

import numpy as np

import tinygrad_nn as tg
from members.rows import composition

_ONE = ((), (3,), (2, 3), (2, 1, 3), (0,))
_ROWS = [(shape, {}) for shape in _ONE]
_PAIRS = (((), ()), ((3,), (3,)), ((2, 1), (3,)), ((), (2, 3)), ((0,), (1,)))
_POSITIVE = ((-2.0, 2.0), (0.5, 2.0))


def _part(function, i):
    """Return the i-th result of a function that has two."""
    return lambda *operands: function(*operands)[i]


COMPOSITIONS = [
    *composition("sinc", tg.sinc, _ROWS),
    *composition("deg2rad", tg.deg2rad, _ROWS),
    *composition("rad2deg", tg.rad2deg, _ROWS),
    *composition("radians", tg.radians, _ROWS[:2]),
    *composition("degrees", tg.degrees, _ROWS[:2]),
    *composition("fmax", tg.fmax, _PAIRS),
    *composition("fmin", tg.fmin, _PAIRS),
    *composition("copysign", lambda x: tg.copysign(x, -0.5), _ROWS),
    *composition(
        "heaviside", lambda y: tg.heaviside(np.zeros(3, np.float16), y), _ROWS[:3]
    ),
    *composition("divmod", _part(tg.divmod, 1), _PAIRS, _POSITIVE),
]

BY_NUMPY = {
    name: getattr(np, name)
    for name in ("deg2rad", "degrees", "fmax", "fmin", "rad2deg", "radians", "sinc")
} | {
    "copysign": lambda x: np.copysign(x, -0.5),
    "divmod": _part(np.divmod, 1),
    "heaviside": lambda y: np.heaviside(np.zeros(3, np.float16), y),
}

ELSEWHERE = (
    *("angle", "around", "conjugate", "fix", "float_power", "frexp", "imag"),
    *("iscomplex", "isneginf", "isposinf", "isreal", "modf", "positive", "real"),
)
"""Constant, the operand itself, or in two parts: `test_vocabulary_ufuncs` has these."""

SPELLINGS = {
    name: [getattr(np, name)]
    for name in (
        *("arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh"),
        *("cbrt", "ceil", "cosh", "exp2", "floor", "floor_divide", "fmod", "hypot"),
        *("isclose", "isfinite", "isinf", "ldexp", "log10", "log2", "logaddexp"),
        *("logaddexp2", "logical_xor", "remainder", "rint", "round", "signbit"),
        *("sinh", "spacing", "tan", "trunc"),
    )
}
SPELLINGS["arccos"] += [np.acos, tg.acos]
SPELLINGS["arccosh"] += [np.acosh, tg.acosh]
SPELLINGS["arcsin"] += [np.asin, tg.asin]
SPELLINGS["arcsinh"] += [np.asinh, tg.asinh]
SPELLINGS["arctan"] += [np.atan, tg.atan]
SPELLINGS["arctan2"] += [np.atan2, tg.atan2]
SPELLINGS["arctanh"] += [np.atanh, tg.atanh]
SPELLINGS["floor"] += [math.floor]
SPELLINGS["ceil"] += [math.ceil]
SPELLINGS["trunc"] += [math.trunc, np.fix, tg.fix]
SPELLINGS["round"] += [np.around, tg.around]
SPELLINGS["round"] += [lambda x, decimals=0: x.round(decimals)]
SPELLINGS["round"] += [lambda x, decimals=0: round(x, decimals)]
SPELLINGS["remainder"] += [np.mod, tg.mod, operator.mod]
SPELLINGS["remainder"] += [lambda x, y: divmod(x, y)[1]]
SPELLINGS["floor_divide"] += [operator.floordiv, lambda x, y: divmod(x, y)[0]]
SPELLINGS["floor_divide"] += [lambda x, y: np.divmod(x, y)[0]]
SPELLINGS["logical_xor"] += [np.bitwise_xor, tg.bitwise_xor, operator.xor]
SPELLINGS["exponent"] = [lambda x: np.frexp(x)[1]]
SPELLINGS["fraction"] = [lambda x: np.modf(x)[0]]

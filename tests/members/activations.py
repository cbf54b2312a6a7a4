"""Members of activations, and of vectors along an axis: definitions beside them.

A member's body is its definition, in NumPy's functions, so that values and gradients
of a composition are held to what it stands for, at fifty digits too.
"""

from __future__ import annotations

import math

import laws
import numpy as np

import tinygrad_nn as tg
from tinygrad_nn.ops.samples import cases

_SHAPES = (((),), ((2, 3),), ((2, 1, 3),), ((0,),))


def _elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(x))


def _celu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(x / alpha))


def _selu(x):
    return 1.0507009873554804934193349852946 * _elu(
        x, 1.6732632423543772848170429916717
    )


def _erfc(x):
    x = np.asarray(x)
    found = np.frompyfunc(lambda v: getattr(v, "erfc", lambda: math.erfc(v))(), 1, 1)(x)
    return found if x.dtype == object else np.asarray(found, float)


def _gelu(x, approximate="tanh"):
    if approximate == "none":
        return 0.5 * x * _erfc(-math.sqrt(0.5) * x)
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + np.tanh(u))


def _limited(x, low, high):
    return np.minimum(np.maximum(x, low), high)


def _softshrink(x, threshold=0.5):
    moved = np.where(x > threshold, x - threshold, x + threshold)
    return np.where(np.abs(x) <= threshold, 0.0, moved)


def _glu(x, axis=-1):
    first, second = np.split(x, 2, axis)
    return first / (1 + np.exp(-second))


def _softmin(x, axis=-1):
    shares = np.exp(-x)
    return shares / np.sum(shares, axis=axis, keepdims=True)


def _dropout(x, rate, rng):
    kept = np.random.default_rng(rng).random(np.shape(x)) >= rate
    return x * (kept * (1 / (1 - rate)))


def _length(x, ord, axis):
    if ord == 1:
        return np.sum(np.abs(x), axis=axis, keepdims=True)
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=True))


def _normalize(x, ord=2, axis=-1):
    return x / _length(x, ord, axis)


def _cosine(x, y, axis=-1):
    return np.sum(_normalize(x, 2, axis) * _normalize(y, 2, axis), axis=axis)


def _distance(x, y, ord=2, axis=-1, keepdims=False):
    length = _length(x - y, ord, axis)
    return length if keepdims else np.squeeze(length, axis)


def _each(**settings):
    return [(*shapes, settings) for shapes in _SHAPES]


_PAIRS = (((3,), (3,)), ((2, 3), (2, 3)), ((2, 1, 3), (4, 3)))

_WIDE = ((-4.0, 4.0),)
_TABLE = {
    "leaky_relu": (
        lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
        [*_each(), *_each(negative_slope=0.3), ((3,), {"negative_slope": 0})],
    ),
    "elu": (_elu, [((2, 3), {}), ((2, 3), {"alpha": 0.5}), ((0,), {"alpha": -2})]),
    "celu": (_celu, [*_each(), ((2, 3), {"alpha": 0.3})]),
    "selu": (_selu, _each()),
    "gelu": (
        _gelu,
        [*_each(), ((3,), {"approximate": "tanh"}), ((2, 3), {"approximate": "none"})],
    ),
    "relu6": (lambda x: _limited(x, 0, 6), _each()),
    "hardtanh": (
        lambda x, low=-1.0, high=1.0: _limited(x, low, high),
        [*_each(), ((3,), {"low": 0, "high": 0.5})],
    ),
    "hardsigmoid": (lambda x: _limited((x + 3) / 6, 0, 1), _each()),
    "hardswish": (lambda x: x * _limited((x + 3) / 6, 0, 1), _each()),
    "threshold": (
        lambda x, threshold, value: np.where(x > threshold, x, value),
        _each(threshold=0.1, value=-2.0),
    ),
    "softshrink": (_softshrink, [*_each(), ((3,), {"threshold": 0})]),
    "hardshrink": (
        lambda x, threshold=0.5: np.where(np.abs(x) > threshold, x, 0.0),
        [*_each(), ((3,), {"threshold": 0})],
    ),
    "glu": (
        _glu,
        [((4,), {}), ((2, 6), {}), ((4, 3), {"axis": 0}), ((2, 0), {"axis": 1})],
    ),
    "softmin": (_softmin, [((3,), {}), ((2, 3), {"axis": 0}), ((2, 3), {"axis": (0, 1)})]),
    "dropout": (_dropout, _each(rate=0.4, rng=7)),
    "normalize": (
        _normalize,
        [((3,), {}), ((2, 3), {"axis": 0}), ((2, 3), {"ord": 1}), ((0, 3), {})],
    ),
    "cosine_similarity": (_cosine, [*_PAIRS, ((3, 2), (3, 2), {"axis": 0})]),
    "pairwise_distance": (
        _distance,
        [*_PAIRS, ((3, 2), (2,), {"ord": 1}), ((3, 2), (2,), {"axis": 0, "keepdims": True})],
    ),
}  # fmt: skip

COMPOSITIONS = [
    laws.Member(name, getattr(tg, name), definition, sample)
    for name, (definition, rows) in _TABLE.items()
    for sample in cases(*rows, limits=_WIDE)
]


def _of_both(name, definition):
    """Return the definition of arrays, and of Tensors the function itself."""

    def call(*operands, **settings):
        recorded = any(isinstance(x, tg.Tensor) for x in operands)
        return (getattr(tg, name) if recorded else definition)(*operands, **settings)

    return call


BY_NUMPY = {name: _of_both(name, row[0]) for name, row in _TABLE.items()}

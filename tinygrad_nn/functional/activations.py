"""Activations that are compositions of ops, and `dropout`.

Those in pieces have kinks, and one rule holds at all of them: the slope is the least
between those on either side, 0 if their signs differ. Where a function jumps, the slope
is that of the piece taken. Every function has its limits at infinity, in value and
slope; a branch that is not taken overflows nowhere. Those without settings that are an
op itself, such as `silu`, are in `ops.activations`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn import ops
from tinygrad_nn.errors import OpError, ShapeError
from tinygrad_nn.functional.arguments import (
    as_array,
    axis_of,
    reduced_axes_of,
    shape_of,
)
from tinygrad_nn.op import Array, data_of

__all__ = [
    "celu",
    "dropout",
    "elu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "relu6",
    "selu",
    "softmin",
    "softshrink",
    "threshold",
]

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805
_FLAT = 1000.0
"""A distance below 0 from which an exponential is 0."""
_GAUSSIAN = 40.0
"""A distance from 0 beyond which a normal distribution has no number of its own."""


# --- straight above 0, bent below -------------------------------------------------


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """Relu that goes on below 0: ``x`` above 0, ``negative_slope * x`` below.

    At 0 the slope is the least between ``negative_slope`` and 1; for one from 0 to 1
    itself. Maas, Hannun, Ng (2013), "Rectifier Nonlinearities Improve Neural Network
    Acoustic Models". A slope that is learned is that of `prelu`.

    >>> leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    slope = float(negative_slope)
    return ops.relu(x) if slope == 0 else ops.prelu(as_array(x), slope)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """Exponential linear unit: ``x`` above 0, ``alpha (exp(x) - 1)`` below.

    With alpha = 1 it is smooth; otherwise the slope at 0 is the least between alpha and
    1. Clevert, Unterthiner, Hochreiter (2016), "Fast and Accurate Deep Network Learning
    by Exponential Linear Units".

    >>> elu(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return ops.elu(as_array(x), float(alpha))


def selu(x: Array) -> Array:
    """Self-normalising exponential linear unit: ``1.0507 elu(x, 1.6733)``.

    The two numbers keep mean 0 and variance 1 from layer to layer. At 0 the slope is
    1.0507, the least of the two. Klambauer, Unterthiner, Mayr, Hochreiter (2017),
    "Self-Normalizing Neural Networks".

    >>> selu(np.array([-1000.0, 0.0, 1.0]))
    array([-1.75809934,  0.        ,  1.05070099])
    """
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


def celu(x: Array, alpha: float = 1.0) -> Array:
    """Elu that is smooth for every alpha > 0: ``alpha (exp(x / alpha) - 1)`` below 0.

    Barron (2017), "Continuously Differentiable Exponential Linear Units".

    >>> celu(np.array([-1000.0, 0.0, 2.0]), alpha=2.0)
    array([-2.,  0.,  2.])
    """
    x, alpha = as_array(x), _positive("celu", "alpha", alpha)
    inside = ops.maximum(ops.minimum(x, alpha), -_FLAT * alpha)
    below = alpha * ops.expm1(inside / alpha)
    return ops.where(ops.greater(x, 0), x, below)


# --- x times a gate ---------------------------------------------------------------


def gelu(x: Array, approximate: str = "tanh") -> Array:
    """Gaussian error linear unit: ``x`` times the share of a normal below it.

    ``approximate="tanh"`` is the formula of the paper, ``x/2 (1 + tanh(sqrt(2/pi)
    (x + 0.044715 x**3)))``; ``"none"`` is the definition, ``x/2 (1 + erf(x/sqrt(2)))``,
    and needs SciPy. They differ by 5e-4 at most. Hendrycks, Gimpel (2016), "Gaussian
    Error Linear Units".

    Raises
    ------
    OpError
        For another ``approximate``.
    MissingExtraError
        For ``"none"`` without SciPy.

    Examples
    --------
    >>> gelu(np.array([-1000.0, 0.0, 1.0]))
    array([-0.        ,  0.        ,  0.84119199])
    """
    x = as_array(x)
    if approximate == "tanh":
        return ops.gelu_tanh(x)
    if approximate != "none":
        raise OpError(f"gelu: approximate is 'tanh' or 'none'; got {approximate!r}")
    return _gated(x, _GAUSSIAN, lambda x: x * (0.5 * ops.erfc(-math.sqrt(0.5) * x)))


def _gated(x: Array, open_at: float, function: Callable[[Array], Array]) -> Array:
    """Return a function that is 0 below ``-open_at`` and ``x`` from ``open_at`` on."""
    inside = ops.maximum(ops.minimum(x, open_at), -open_at)
    return ops.where(ops.greater_equal(x, open_at), x, function(inside))


def hardswish(x: Array) -> Array:
    """``x`` times its `hardsigmoid`: 0 below -3, ``x`` above 3, a parabola between.

    The slope at -3 is 0, that at 3 is 1. Howard et al. (2019), "Searching for
    MobileNetV3".

    >>> hardswish(np.array([-4.0, 0.0, 1.0, 4.0]))
    array([-0.        ,  0.        ,  0.66666667,  4.        ])
    """
    return _gated(as_array(x), 3.0, lambda x: x * (x + 3.0) / 6.0)


def glu(x: Array, axis: int = -1) -> Array:
    """Gated linear unit: the first half along ``axis`` times the sigmoid of the second.

    ``(…, 2 n) -> (…, n)``. Dauphin, Fan, Auli, Grangier (2017), "Language Modeling
    with Gated Convolutional Networks".

    Raises
    ------
    ShapeError
        Where the axis is not of even size.

    Examples
    --------
    >>> glu(np.array([[2.0, 3.0, 0.0, 1000.0]]))
    array([[1., 3.]])
    """
    x = as_array(x)
    axis = axis_of("glu", x, axis)
    size = x.shape[axis]
    if size % 2:
        raise ShapeError(
            f"glu: expected an even size along axis {axis}, for a half and its gates; "
            f"got x{x.shape}"
        )
    first = (*[slice(None)] * axis, slice(0, size // 2))
    second = (*[slice(None)] * axis, slice(size // 2, size))
    return ops.multiply(ops.getitem(x, first), ops.sigmoid(ops.getitem(x, second)))


# --- straight pieces --------------------------------------------------------------


def relu6(x: Array) -> Array:
    """Relu that ends at 6; its slope at 0 and at 6 is 0.

    Krizhevsky (2010), "Convolutional Deep Belief Networks on CIFAR-10".

    >>> relu6(np.array([-1.0, 2.0, 7.0]))
    array([0., 2., 6.])
    """
    return ops.minimum(ops.relu(as_array(x)), 6.0)


def hardtanh(x: Array, low: float = -1.0, high: float = 1.0) -> Array:
    """``x`` limited to ``low`` and ``high``; its slope at a limit is 0.

    Collobert (2004), "Large Scale Machine Learning".

    >>> hardtanh(np.array([-2.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    if not low < high:
        raise OpError(f"hardtanh: low is less than high; got {low!r} and {high!r}")
    return ops.minimum(ops.maximum(as_array(x), low), high)


def hardsigmoid(x: Array) -> Array:
    """Three straight pieces for a sigmoid: ``x / 6 + 1/2``, limited to 0 and 1.

    The slope at -3 and at 3 is 0. Howard et al. (2019), "Searching for MobileNetV3";
    Courbariaux, Bengio, David (2015) have one of slope 1/2.

    >>> hardsigmoid(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([0.  , 0.5 , 0.75, 1.  ])
    """
    return ops.minimum(ops.maximum(as_array(x) / 6.0 + 0.5, 0.0), 1.0)


def threshold(x: Array, threshold: float, value: float) -> Array:
    """``x`` where it is above ``threshold``, else ``value``.

    Where it jumps, at the threshold itself, the value is taken and the slope is 0.

    >>> threshold(np.array([0.5, 1.0, 1.5]), threshold=1.0, value=0.0)
    array([0. , 0. , 1.5])
    """
    x = as_array(x)
    return ops.where(ops.less_equal(x, float(threshold)), float(value), x)


def softshrink(x: Array, threshold: float = 0.5) -> Array:
    """``x`` moved towards 0 by ``threshold``, and 0 where it would pass it.

    The slope at the thresholds is 0. It is the step of least squares with an L1
    penalty: Donoho (1995), "De-noising by soft-thresholding".

    >>> softshrink(np.array([-2.0, 0.25, 1.0]))
    array([-1.5,  0. ,  0.5])
    """
    x, size = as_array(x), _distance("softshrink", threshold)
    if size == 0:
        return ops.multiply(x, 1.0)
    return ops.subtract(ops.relu(x - size), ops.relu(ops.subtract(-size, x)))


def hardshrink(x: Array, threshold: float = 0.5) -> Array:
    """``x`` where it is further from 0 than ``threshold``, else 0.

    Where it jumps, at the thresholds, value and slope are 0. Donoho, Johnstone (1994),
    "Ideal spatial adaptation by wavelet shrinkage".

    >>> hardshrink(np.array([-2.0, 0.25, 1.0]))
    array([-2.,  0.,  1.])
    """
    x, size = as_array(x), _distance("hardshrink", threshold)
    if size == 0:
        return ops.multiply(x, 1.0)
    return ops.where(ops.less_equal(ops.abs(x), size), 0.0, x)


# --- along an axis ----------------------------------------------------------------


def softmin(x: Array, axis: Any = -1) -> Array:
    """Softmax of ``-x``: the smallest element gets the largest share.

    >>> softmin(np.array([1000.0, 1000.0, 2000.0]))
    array([0.5, 0.5, 0. ])
    """
    x = as_array(x)
    reduced_axes_of("softmin", x, axis)
    return ops.softmax(ops.subtract(0.0, x), axis)


# --- noise ------------------------------------------------------------------------


def dropout(
    x: Array, rate: float = 0.5, rng: Any = None, training: bool = True
) -> Array:
    """Set a random part of the elements to 0, and divide the rest by ``1 - rate``.

    So the expected value does not change. The mask is drawn anew in every call, and
    constant in the graph. Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov
    (2014), "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".

    Parameters
    ----------
    x
        Of any shape.
    rate
        Share of elements that is dropped, from 0 to less than 1.
    rng
        A `numpy.random.Generator`, a seed, or None for fresh entropy. With a seed every
        call draws the same mask; a compiled step asks for a generator or a seed.
    training
        Whether to drop anything; if not, ``x`` comes back.

    Raises
    ------
    OpError
        For a rate outside of [0, 1).

    Examples
    --------
    >>> dropout(np.ones(6), 0.5, rng=0)
    array([2., 0., 0., 0., 2., 2.])
    """
    if isinstance(rate, (bool, str)) or not 0 <= rate < 1:
        raise OpError(
            f"dropout: rate is the share that is dropped, 0 <= rate < 1; got {rate!r}"
        )
    if not training or rate == 0:
        return x
    x, rate = as_array(x), float(rate)
    dtype = data_of(x).dtype
    scale = dtype.type if dtype.kind == "f" else np.float64
    if isinstance(rng, (int, np.integer)):  # in every call the same numbers
        drawn = np.random.default_rng(rng).random(shape_of(x))
    else:
        drawn = ops.uniform(x, np.random.default_rng(rng))
    kept = ops.greater_equal(drawn, rate)
    return ops.multiply(x, ops.multiply(kept, scale(1 / (1 - rate))))


# --- settings ---------------------------------------------------------------------


def _positive(title: str, name: str, number: float) -> float:
    if not number > 0:
        raise OpError(f"{title}: {name} is a number > 0; got {number!r}")
    return float(number)


def _distance(title: str, number: float) -> float:
    if not number >= 0:
        raise OpError(f"{title}: threshold is a distance >= 0; got {number!r}")
    return float(number)

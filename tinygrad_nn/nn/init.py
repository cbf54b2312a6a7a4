"""Initialisers: the numbers a layer's parameters start from.

An initialiser is a function ``(shape, rng) -> ndarray`` of float64. The shape is
``(n_out, n_in)``, as `Dense` holds its weight; what the published rules call fan-in
and fan-out are read from it. ``rng`` is a `numpy.random.Generator` (or the older
``RandomState``), an integer seed, or None for fresh entropy. One generator handed to
several layers gives each its own numbers; an integer starts anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_nn.errors import ModelError, ShapeError
from tinygrad_nn.nn.names import lookup
from tinygrad_nn.shapes import Shape

__all__ = [
    "GAINS",
    "INITIALISERS",
    "Initialiser",
    "constant",
    "for_activation",
    "gain",
    "generator",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "named",
    "normal",
    "ones",
    "orthogonal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Initialiser = Callable[[Shape, Any], np.ndarray]
"""``(shape, rng) -> ndarray``."""

GAINS = {
    "celu": 1.2451983007,
    "elu": 1.2451983007,
    "gelu": 1.5335805217,
    "hardshrink": 1.0,
    "hardsigmoid": 1.0,
    "hardswish": 1.7366572128,
    "hardtanh": 1.0,
    "identity": 1.0,
    "leaky_relu": math.sqrt(2.0 / (1.0 + 0.01**2)),
    "log_sigmoid": math.sqrt(2.0),
    "log_softmax": 1.0,
    "mish": 1.4868475813,
    "relu": math.sqrt(2.0),
    "relu6": 1.4142135651,
    "selu": 1.0,
    "sigmoid": 1.0,
    "silu": 1.6765324703,
    "softmax": 1.0,
    "softmin": 1.0,
    "softplus": math.sqrt(2.0),
    "softshrink": 1.0,
    "softsign": 1.0,
    "swish": 1.6765324703,
    "tanh": 5.0 / 3.0,
    "tanhshrink": 1.0,
}
"""By how much an activation shrinks a signal, so by how much weights make up for it.

relu and what is like it: one over the root of the second moment that is left of a
normal signal, 1/2 for relu (He et al. 2015, equation 10; 15 for leaky_relu); selu is
made such that it is 1 (Klambauer et al. 2017). Of a signal of another size gelu, silu
and hardswish pass another share, so many layers of them want normalisation. tanh: LeCun
et al. (1998), "Efficient BackProp", section 4.4, where the slope in the working range
is 3/5. softplus and log_sigmoid are treated as the relu that they are far from 0. The
rest have 1, the slope that Glorot and Bengio (2010) assume.
"""

_PRELU = math.sqrt(2.0 / (1.0 + 0.25**2))  # at the slope that it starts from
_LIKE_RELU = frozenset(
    {
        *("celu", "elu", "gelu", "hardswish", "leaky_relu", "log_sigmoid", "mish"),
        *("prelu", "relu", "relu6", "selu", "silu", "softplus", "swish"),
    }
)


def generator(rng: Any = None) -> Any:
    """Return the generator itself, or a new one from an integer seed or None.

    Raises
    ------
    ModelError
        For anything else.

    Examples
    --------
    >>> generator(7).integers(10) == generator(7).integers(10)
    np.True_
    """
    if isinstance(rng, (np.random.Generator, np.random.RandomState)):
        return rng
    whole = isinstance(rng, (int, np.integer)) and not isinstance(rng, bool)
    if rng is None or (whole and rng >= 0):
        return np.random.default_rng(rng)
    raise ModelError(
        "rng: expected a numpy.random.Generator, a seed (an integer of at least 0) or "
        f"None; got {rng!r}. Write rng=np.random.default_rng(0)"
    )


def gain(activation: str) -> float:
    """Gain of an activation by its name.

    >>> gain("tanh") == 5 / 3
    True
    """
    return lookup("gain", activation, GAINS)


def _fans(shape: Shape, rule: str) -> tuple[int, int]:
    """Fan-in and fan-out of ``(n_out, n_in, …)``."""
    if len(shape) < 2:
        raise ShapeError(
            f"{rule}: expected shape (n_out, n_in); got {tuple(shape)}. "
            "Use zeros, constant, normal or uniform for other shapes"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _normal(shape: Shape, rng: Any, variance: float) -> np.ndarray:
    numbers: np.ndarray = math.sqrt(variance) * generator(rng).standard_normal(shape)
    return numbers


def _uniform(shape: Shape, rng: Any, variance: float) -> np.ndarray:
    """Uniform on [-limit, limit], whose variance is limit**2 / 3."""
    limit = math.sqrt(3 * variance)
    numbers: np.ndarray = generator(rng).uniform(-limit, limit, shape)
    return numbers


# --- the same whatever the layer -------------------------------------------------


def zeros(shape: Shape, rng: Any = None) -> np.ndarray:
    """All zeros: right for biases; weights that start so never differ.

    >>> zeros((1, 2))
    array([[0., 0.]])
    """
    del rng
    return np.zeros(shape)


def ones(shape: Shape, rng: Any = None) -> np.ndarray:
    """All ones.

    >>> ones((1, 2))
    array([[1., 1.]])
    """
    del rng
    return np.ones(shape)


def constant(value: float) -> Initialiser:
    """Make an initialiser that fills with one number.

    >>> constant(0.5)((1, 2), None)
    array([[0.5, 0.5]])
    """

    def constant(shape: Shape, rng: Any = None) -> np.ndarray:
        del rng
        return np.full(shape, float(value))

    return constant


def normal(scale: float = 1.0) -> Initialiser:
    """Make an initialiser: normal, mean 0, standard deviation ``scale``.

    >>> normal(0.01)((2, 3), 0).shape
    (2, 3)
    """

    def normal(shape: Shape, rng: Any = None) -> np.ndarray:
        # The product, as tutorials write it: 0.01 * randn, number for number.
        numbers: np.ndarray = scale * generator(rng).standard_normal(shape)
        return numbers

    return normal


def uniform(scale: float = 1.0) -> Initialiser:
    """Make an initialiser: uniform on ``[-scale, scale)``.

    >>> bool(abs(uniform(0.1)((2, 3), 0)).max() <= 0.1)
    True
    """

    def uniform(shape: Shape, rng: Any = None) -> np.ndarray:
        numbers: np.ndarray = generator(rng).uniform(-scale, scale, shape)
        return numbers

    return uniform


# --- scaled by the layer's sizes --------------------------------------------------


def he_normal(
    shape: Shape, rng: Any = None, *, gain: float = math.sqrt(2.0)
) -> np.ndarray:
    """Draw from a normal with variance ``gain**2 / n_in``: 2 / n_in for relu.

    He, Zhang, Ren, Sun (2015), "Delving Deep into Rectifiers", equation 10.

    >>> he_normal((64, 128), 0).std().round(3)  # sqrt(2 / 128) = 0.125
    np.float64(0.125)
    """
    n_in, _ = _fans(shape, "he_normal")
    return _normal(shape, rng, gain**2 / max(n_in, 1))


def he_uniform(
    shape: Shape, rng: Any = None, *, gain: float = math.sqrt(2.0)
) -> np.ndarray:
    """Draw uniformly with the variance of `he_normal`: limit ``gain * sqrt(3 / n_in)``.

    >>> he_uniform((64, 128), 0).std().round(3)
    np.float64(0.125)
    """
    n_in, _ = _fans(shape, "he_uniform")
    return _uniform(shape, rng, gain**2 / max(n_in, 1))


def xavier_normal(shape: Shape, rng: Any = None, *, gain: float = 1.0) -> np.ndarray:
    """Draw from a normal with variance ``gain**2 * 2 / (n_in + n_out)``.

    Glorot, Bengio (2010), "Understanding the difficulty of training deep
    feedforward neural networks", equation 12.

    >>> xavier_normal((128, 128), 0).std().round(3)  # sqrt(2 / 256) = 0.088
    np.float64(0.088)
    """
    n_in, n_out = _fans(shape, "xavier_normal")
    return _normal(shape, rng, gain**2 * 2 / max(n_in + n_out, 1))


def xavier_uniform(shape: Shape, rng: Any = None, *, gain: float = 1.0) -> np.ndarray:
    """Draw uniformly within ``gain * sqrt(6 / (n_in + n_out))`` of 0: "normalized".

    Glorot, Bengio (2010), equation 16.

    >>> xavier_uniform((128, 128), 0).std().round(3)
    np.float64(0.088)
    """
    n_in, n_out = _fans(shape, "xavier_uniform")
    return _uniform(shape, rng, gain**2 * 2 / max(n_in + n_out, 1))


def lecun_normal(shape: Shape, rng: Any = None) -> np.ndarray:
    """Draw from a normal with variance ``1 / n_in``.

    LeCun, Bottou, Orr, Müller (1998), "Efficient BackProp", equation 16.

    >>> lecun_normal((64, 100), 0).std().round(2)
    np.float64(0.1)
    """
    n_in, _ = _fans(shape, "lecun_normal")
    return _normal(shape, rng, 1 / max(n_in, 1))


def lecun_uniform(shape: Shape, rng: Any = None) -> np.ndarray:
    """Draw uniformly with the variance of `lecun_normal`: limit ``sqrt(3 / n_in)``.

    >>> lecun_uniform((64, 100), 0).std().round(2)
    np.float64(0.1)
    """
    n_in, _ = _fans(shape, "lecun_uniform")
    return _uniform(shape, rng, 1 / max(n_in, 1))


def orthogonal(shape: Shape, rng: Any = None) -> np.ndarray:
    """Draw a matrix whose rows are orthonormal, or its columns where they are fewer.

    It keeps lengths, so a signal that goes through it many times neither grows nor
    fades: what recurrent weights start from. Saxe, McClelland, Ganguli (2014).

    >>> matrix = orthogonal((3, 3), 0)
    >>> np.allclose(matrix @ matrix.T, np.eye(3))
    True
    """
    n_in, _ = _fans(shape, "orthogonal")
    n_out = shape[0]
    numbers = generator(rng).standard_normal((max(n_out, n_in), min(n_out, n_in)))
    q, r = np.linalg.qr(numbers)
    # With the signs of r's diagonal, all orthogonal matrices are equally likely.
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    matrix: np.ndarray = (q if n_out >= n_in else q.T).reshape(shape)
    return matrix


# The rules go by their first authors' given names as well as by their family names.
glorot_normal = xavier_normal
glorot_uniform = xavier_uniform
kaiming_normal = he_normal
kaiming_uniform = he_uniform

INITIALISERS: dict[str, Initialiser] = {
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "kaiming_normal": kaiming_normal,
    "kaiming_uniform": kaiming_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "ones": ones,
    "orthogonal": orthogonal,
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
    "zeros": zeros,
}
"""Initialisers that a name stands for, as in ``Dense(…, init="he_normal")``."""


def named(init: Any) -> Initialiser:
    """Return an initialiser, given itself or its name.

    Raises
    ------
    ModelError
        For an unknown name, with the closest one, or what cannot be called.

    Examples
    --------
    >>> named("zeros") is zeros
    True
    """
    if isinstance(init, str):
        return lookup("init", init, INITIALISERS)
    if callable(init):
        return init  # type: ignore[no-any-return]
    raise ModelError(
        "init: expected a function (shape, rng) -> array or a name; "
        f"got {type(init).__name__}. Write init=nn.init.constant(0.1) for a number"
    )


def for_activation(activation: str) -> Initialiser:
    """Return the initialiser that suits an activation, with its gain.

    He's normal rule before relu and its like, which drop a part of the signal (before
    selu, whose gain is 1, it is LeCun's); Glorot's uniform rule with the activation's
    gain before the rest. An activation that the table does not know counts as the
    identity.

    >>> square = (500, 500)  # both rules then have the variance gain**2 / 500
    >>> round(float(for_activation("relu")(square, 0).std() * 500**0.5), 1)
    1.4
    >>> round(float(for_activation("tanh")(square, 0).std() * 500**0.5), 1)
    1.7
    """
    factor = GAINS.get(activation, _PRELU if activation == "prelu" else 1.0)
    rule = he_normal if activation in _LIKE_RELU else xavier_uniform

    def chosen(shape: Shape, rng: Any = None) -> np.ndarray:
        return rule(shape, rng, gain=factor)

    return chosen
